"""Fits the network of `verict.detect.nodule`, and measures it."""
