"""Fits the diffusion model that `verict.detect.back_in_time` runs, and its rivals."""
