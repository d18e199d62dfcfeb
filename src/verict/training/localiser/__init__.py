"""Fits the localiser: forgeries made on the fly, three designs of network, and what they are worth."""
