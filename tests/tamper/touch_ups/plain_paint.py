"""Families as plain as can be, whose paint the touch-ups are tested on."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from verict.tamper.cubes import cube_around
from verict.tamper.forgery import ForgeryKind, Paint, Target


class SmoothCuboid:
    """A hard-edged cuboid of 32 mm; its middle 20 mm what the rest looks like when smoothed, or with a nodule in it."""

    name = "smooth-cuboid"
    summary = "a cuboid with a smooth middle"
    kinds = frozenset(ForgeryKind)

    def paint(self, target: Target, rng: np.random.Generator) -> Paint:
        sides = np.maximum(np.rint(32 / np.array(target.spacing_mm)), 1).astype(int)
        cube = cube_around(target.centre, sides, target.hu.shape, run=target.run)
        hu = target.hu[cube.box].astype(np.float32)
        z, y, x = np.ix_(*(o * s for o, s in zip(cube.offsets, target.spacing_mm, strict=True)))
        hole = np.maximum(np.maximum(abs(z), abs(y)), abs(x)) <= 10
        known = (~hole & (hu < -600)).astype(np.float32)
        wide = [5 / s for s in target.spacing_mm]
        filled = ndimage.gaussian_filter(known * hu, wide, mode="nearest")
        filled /= np.maximum(ndimage.gaussian_filter(known, wide, mode="nearest"), 1e-6)
        if target.kind is ForgeryKind.INJECT:
            filled += (40 - filled) * np.clip(6.5 - np.sqrt(z**2 + y**2 + x**2), 0, 1)
        return Paint(cube.box, np.where(hole, filled, hu), None, {"cuboid_voxels_zyx": sides.tolist()})


class SoftBall:
    """A smooth ball of 12 mm with a soft rim of its own."""

    name = "soft-ball"
    summary = "a smooth ball blended by itself"
    kinds = frozenset(ForgeryKind)

    def paint(self, target: Target, rng: np.random.Generator) -> Paint:
        sides = np.maximum(np.rint(24 / np.array(target.spacing_mm)), 1).astype(int)
        cube = cube_around(target.centre, sides, target.hu.shape, run=target.run)
        hu = target.hu[cube.box].astype(np.float32)
        z, y, x = np.ix_(*(o * s for o, s in zip(cube.offsets, target.spacing_mm, strict=True)))
        weight = np.clip((8 - np.sqrt(z**2 + y**2 + x**2)) / 4, 0, 1).astype(np.float32)
        value = 40 if target.kind is ForgeryKind.INJECT else -850
        return Paint(cube.box, hu + weight * (value - hu), weight)
