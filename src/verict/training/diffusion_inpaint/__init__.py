"""Fits the inpainting diffusion model that `verict.tamper.families.diffusion` runs."""
