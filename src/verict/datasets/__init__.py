"""Labelled collections: the UCI layouts, splits, cuboids, sites."""
