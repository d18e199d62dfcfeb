"""Holes to be painted over and balls to be painted into them: ellipsoids with an uneven edge, soft at the rim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

LUMP_MM = 7.0  # distance of the bumps of an uneven edge
NEAR_MM, FAR_MM = 3.0, 10.0  # reach of the smooth fill: fine near the edge of a hole, coarse in its middle
FADES_AT = 0.02  # share of known voxels around from which on a wall is no longer thought to go on
TEXTURE_MM, SPREAD_REACH_MM = 1.5, 6.0  # texture is finer than that; its spread is that of what lies as near
SAMPLES_ALONG_Z = 5  # of a slice, where it is thicker than a nodule's edge is sharp

Offsets = Sequence[np.ndarray]
"""Distances of voxels from a centre along z, y and x, in mm: three one-dimensional arrays."""


@dataclass(frozen=True)
class HoleShape:
    """An ellipsoid whose surface is uneven.

    Parameters
    ----------
    radii_mm
        Along z, y and x, to where the weight is one half.
    unevenness
        Standard deviation of the surface, as a part of the radius.
    rim_mm
        Over how many mm the weight falls from 1 to 0.
    """

    radii_mm: tuple[float, float, float]
    unevenness: float = 0.1
    rim_mm: float = 3.0

    @property
    def reach_mm(self) -> tuple[float, float, float]:
        """How far from the centre along z, y and x the weight can be above 0."""
        z, y, x = (r * (1 + 2 * self.unevenness) + self.rim_mm / 2 for r in self.radii_mm)
        return z, y, x


def cut_hole(offsets_mm: Offsets, shape: HoleShape, rng: np.random.Generator) -> np.ndarray:
    """The weight of a hole, 0 to 1, float32: 1 inside, 0 outside, falling linearly over the rim."""
    z, y, x = np.ix_(*offsets_mm)
    rz, ry, rx = shape.radii_mm
    away = np.sqrt((z / rz) ** 2 + (y / ry) ** 2 + (x / rx) ** 2)  # 1 on the ellipsoid
    lumps = np.clip(uneven_field(offsets_mm, LUMP_MM, rng), -2, 2)
    depth_mm = (1 + shape.unevenness * lumps - away) * np.cbrt(rz * ry * rx)
    return np.clip(depth_mm / shape.rim_mm + 0.5, 0, 1).astype(np.float32)


def uneven_field(offsets_mm: Offsets, grain_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth random values over the voxels, mean 0 and standard deviation 1 before interpolation, float32.

    Bumps lie ``grain_mm`` apart in patient mm, whatever the voxels' size.
    """
    steps = [(axis - axis[0]) / grain_mm for axis in offsets_mm]
    grains = rng.standard_normal([int(np.ceil(s[-1])) + 2 for s in steps], np.float32)
    grid = np.stack(np.meshgrid(*(s + 0.5 for s in steps), indexing="ij"))
    field: np.ndarray = ndimage.map_coordinates(grains, grid, order=1, mode="nearest", output=np.float32)
    return field


def draw_ball(offsets_mm: Offsets, diameter_mm: float, surface: np.ndarray | float = 1.0) -> np.ndarray:
    """How much of each voxel a ball fills, 0 to 1, float32: partial volume along z included.

    ``surface`` is how far out the ball reaches in each voxel's direction, as a part of its radius.
    """
    steps = [abs(float(axis[1] - axis[0])) if len(axis) > 1 else 1.0 for axis in offsets_mm]
    parts = (np.arange(SAMPLES_ALONG_Z) - (SAMPLES_ALONG_Z - 1) / 2) / SAMPLES_ALONG_Z * steps[0]
    edge_mm = max(steps[1], steps[2])
    total = np.zeros([len(axis) for axis in offsets_mm], np.float32)
    for part in parts:
        z, y, x = np.ix_(offsets_mm[0] + part, *offsets_mm[1:])
        depth_mm = diameter_mm / 2 * surface - np.sqrt(z**2 + y**2 + x**2)
        total += np.clip(depth_mm / edge_mm + 0.5, 0, 1).astype(np.float32)
    return total / len(parts)


def draw_lumpy_ball(
    offsets_mm: Offsets, diameter_mm: float, unevenness: float, rng: np.random.Generator
) -> np.ndarray:
    """A ball with bumps of about its radius' width, float32, 0 to 1; its volume is that of the ball.

    ``unevenness`` is the standard deviation of the surface, as a part of the radius.
    """
    lumps = np.clip(uneven_field(offsets_mm, diameter_mm / 2.5, rng), -2, 2)
    surface = 1 + unevenness * lumps
    lumpy = draw_ball(offsets_mm, diameter_mm, surface)
    wanted, found = float(draw_ball(offsets_mm, diameter_mm).sum()), float(lumpy.sum())
    return draw_ball(offsets_mm, diameter_mm * float(np.cbrt(wanted / max(found, 1e-3))), surface)


def fill_smoothly(values: np.ndarray, hole: np.ndarray, step_mm: Sequence[float]) -> np.ndarray:
    """The values with the hole filled from its surroundings: a weighted mean of what is near, float32.

    Near the edge what lies within 3 mm weighs most, in the middle what lies within 10 mm; where nothing is known,
    the mean of all that is.
    """
    known = (~hole).astype(np.float32)
    masked = np.where(hole, 0, values).astype(np.float32)
    total, weight = 0.0, 0.0
    for reach_mm, part in ((NEAR_MM, 1.0), (FAR_MM, 1e-2)):
        sigma = [reach_mm / s for s in step_mm]
        total = total + part * ndimage.gaussian_filter(masked, sigma, mode="nearest", truncate=3)
        weight = weight + part * ndimage.gaussian_filter(known, sigma, mode="nearest", truncate=3)
    mean = float(values[~hole].mean()) if not hole.all() else 0.0
    fill = (total + 1e-6 * mean) / (weight + 1e-6)
    return np.where(hole, fill, values).astype(np.float32)


def guess_tissue(
    values: np.ndarray, hole: np.ndarray, step_mm: Sequence[float], *, below: float
) -> np.ndarray:
    """The values with the hole filled as lung, but where a wall or a wide vessel beside it goes on; float32.

    Lung is what lies below ``below``. It is filled from lung alone and the rest from the rest, as `fill_smoothly`
    does, so that no wall greys the lung beside it. The rest goes on where more than half of what is known within
    about 3 mm is no lung. Nothing within the hole is read.
    """
    bright = ~hole & (values >= below)
    dark = ~hole & ~bright
    if not dark.any() or not bright.any():
        return fill_smoothly(values, hole, step_mm)
    sigma = [NEAR_MM / s for s in step_mm]
    near, known = (ndimage.gaussian_filter(part.astype(np.float32), sigma, mode="nearest", truncate=3)
                   for part in (bright, ~hole))
    share = np.clip((near / (known + FADES_AT) - 0.35) / 0.3, 0, 1)
    lung, rest = fill_smoothly(values, ~dark, step_mm), fill_smoothly(values, ~bright, step_mm)
    return np.where(hole, lung + share * (rest - lung), values).astype(np.float32)


def smooth_in_plane(values: np.ndarray, step_mm: Sequence[float]) -> np.ndarray:
    """The values without their texture: smoothed by 1.5 mm in each slice."""
    smooth: np.ndarray = ndimage.gaussian_filter(values, [0, TEXTURE_MM / step_mm[1], TEXTURE_MM / step_mm[2]])
    return smooth


def mark_plain(smooth: np.ndarray, step_mm: Sequence[float], *, below: float) -> np.ndarray:
    """(z, y, x) bool: where smoothed values lie below ``below`` there and 1.5 mm around in plane, away from vessels."""
    apart = [1, *(2 * int(np.ceil(TEXTURE_MM / s)) + 1 for s in step_mm[1:])]
    plain: np.ndarray = ndimage.maximum_filter(smooth, apart) < below
    return plain


def measure_spread(
    filled: np.ndarray, hole: np.ndarray, step_mm: Sequence[float], *, below: float
) -> np.ndarray:
    """Standard deviation of the fine texture around each voxel, and around a hole for those within; float32.

    Texture is what smoothing by 1.5 mm in plane takes away, in plain lung (`mark_plain`). Where there is no such place,
    all that is known counts. What fills the hole is no texture.
    """
    smooth = smooth_in_plane(filled, step_mm)
    counts = ~hole & mark_plain(smooth, step_mm, below=below)
    if not counts.any():
        counts = ~hole if not hole.all() else hole
    variance = np.where(counts, (filled - smooth) ** 2, 0).astype(np.float32)
    sigma = [SPREAD_REACH_MM / s for s in step_mm]
    near, weight = (ndimage.gaussian_filter(v, sigma, mode="nearest", truncate=3)
                    for v in (variance, counts.astype(np.float32)))
    overall = float(variance.sum() / counts.sum())
    return np.sqrt((near + 1e-3 * overall) / (weight + 1e-3)).astype(np.float32)
