"""A small lung with scanner-like noise, vessels, a wall and nodules, for tests of families that forge it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from tamper.places import LUNG, TISSUE, make_volume

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.tamper.forgery import Donor, ForgeryKind, Target

SIZE_MM = (56.0, 84.0, 110.0)
WALL_MM = 92.0  # along x: soft tissue beyond
MARGIN_MM = 6.0
NOISE_HU = 30.0
PLAIN = np.s_[5:40, 75:100, 66:76]  # voxels of 1.25 x 0.8 x 0.8 mm without vessels
Nodules = Sequence[tuple[tuple[float, float, float], float]]
"""Middles (z, y, x) in mm and diameters."""


def make_lung(
    spacing_mm: tuple[float, float, float] = (1.25, 0.8, 0.8), nodules: Nodules = (), seed: int = 0,
    noise_hu: float = NOISE_HU,
) -> tuple[CTVolume, LungRegion]:
    """Lung with a wall at the far x, the region with its margin of 6 mm, vessels along y every 16 mm."""
    shape = tuple(round(n / s) for n, s in zip(SIZE_MM, spacing_mm, strict=True))
    rng = np.random.default_rng(seed)
    z, y, x = np.ix_(*(np.arange(n) * s for n, s in zip(shape, spacing_mm, strict=True)))
    hu = np.full(shape, float(LUNG))
    for at_z, at_x in ((8, 10), (24, 26), (40, 42), (14, 66), (36, 82)):
        hu += (0 - LUNG) * np.clip(1.5 - np.sqrt((z - at_z) ** 2 + (x - at_x) ** 2), 0, 1) * np.ones_like(y)
    for (at_z, at_y, at_x), diameter in nodules:
        away = np.sqrt((z - at_z) ** 2 + (y - at_y) ** 2 + (x - at_x) ** 2)
        hu += (TISSUE - hu) * np.clip(diameter / 2 - away + 0.5, 0, 1)
    hu += (TISSUE - hu) * np.clip(x - WALL_MM + 0.5, 0, 1)
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), [0.4 / spacing_mm[0], 0.9, 0.9])
    hu += noise * (noise_hu / noise.std())
    mask = np.broadcast_to(x < WALL_MM + MARGIN_MM, shape).copy()
    return make_volume(np.rint(hu).astype(np.int16), spacing_mm), LungRegion(mask, np.ones(shape[0], bool))


def aim_at(
    scan: tuple[CTVolume, LungRegion], place_mm: tuple[float, float, float], kind: ForgeryKind,
    diameter_mm: float | None = None, donors: Sequence[Donor] = (),
) -> Target:
    """A target at a place in mm, unchecked."""
    volume, lungs = scan
    z, y, x = (round(p / s) for p, s in zip(place_mm, volume.spacing_mm, strict=True))
    return Target(volume.hu, volume.spacing_mm, lungs.mask, (z, y, x), kind, volume.runs[0], diameter_mm,
                  tuple(donors))


def fine_texture(hu: np.ndarray) -> np.ndarray:
    """What a Gaussian of one pixel takes away in plane, float64."""
    hu = hu.astype(float)
    return hu - ndimage.gaussian_filter(hu, (0, 1, 1))
