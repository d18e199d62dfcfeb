"""Small scans of known content to learn inpainting from."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from verict.training.diffusion_inpaint.chests import KnownNodule, KnownScan

SPACING_MM = 1.25, 0.8, 0.8


def make_scan(name: str = "made", *, with_nodule: bool = True, is_real: bool = False, seed: int = 0) -> KnownScan:
    """Lung with coarse-grained noise, 32 x 72 x 72 voxels, with a nodule of 12 mm in one half."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((32, 72, 72)), 1.2)
    hu = -850 + noise * (60 / noise.std())
    nodules: tuple[KnownNodule, ...] = ()
    if with_nodule:
        z, y, x = np.ix_(*((np.arange(n) - c) * s for n, c, s in zip(hu.shape, (16, 24, 24), SPACING_MM, strict=True)))
        hu[np.sqrt(z**2 + y**2 + x**2) < 6] = 40
        nodules = (KnownNodule((16.0, 24.0, 24.0), 12.0, 40.0),)
    return KnownScan(name, np.rint(hu).astype(np.int16), np.ones(hu.shape, bool), SPACING_MM, nodules, nodules, is_real)
