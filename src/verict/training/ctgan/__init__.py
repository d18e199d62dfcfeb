"""Trains the two networks of CT-GAN: one injects, one removes."""
