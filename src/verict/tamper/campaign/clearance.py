"""Which rows may share a scan: painted ones whose cubes stay apart, untouched ones clear of all paint."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from verict.datasets.sites import CLEAR_IN_PLANE_MM, CUBOID_MM, clear_z_mm
from verict.tamper.ctgan_touch_up import touched_up_voxels

WHOLE_SLICE_TOUCH_UPS = frozenset({"jpeg2000", "resampled"})  # leave no pixel of a slice as it was
SPARE_VOXELS = 2  # between the cubes of two painted rows

Voxel = tuple[int, int, int]


def reach_voxels(spacing_mm: Sequence[float]) -> int:
    """Side of the cube a touch-up may reach over, in voxels, the same number along each axis.

    >>> reach_voxels((1.0, 0.7, 0.7))
    59
    """
    return touched_up_voxels([round(CUBOID_MM / s) for s in spacing_mm])


def are_apart(first: Voxel, second: Voxel, touch_ups: tuple[str, str], spacing_mm: Sequence[float]) -> bool:
    """Whether two painted rows of one scan cannot touch the same voxel, as far as can be foretold.

    Parameters
    ----------
    first, second
        Voxels (z, y, x).
    touch_ups
        Of either.
    spacing_mm
        (z, y, x) in mm.
    """
    gaps = np.abs(np.subtract(first, second))
    needed = reach_voxels(spacing_mm) + SPARE_VOXELS
    if WHOLE_SLICE_TOUCH_UPS.intersection(touch_ups):
        return bool(gaps[0] >= needed)
    return bool(gaps.max() >= needed)


def is_clear(untouched: Voxel, painted: Voxel, touch_up: str, spacing_mm: Sequence[float]) -> bool:
    """Whether an untouched row is clear of a painted one, by the rule for untouched places of `verict.datasets.sites`.

    At least 48 mm away in plane, or beyond max(40 mm, half the touched-up cube) along z; of a touch-up of whole
    slices only the latter.
    """
    dz, dy, dx = np.abs(np.subtract(untouched, painted)) * spacing_mm
    if dz > clear_z_mm((float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2]))):
        return True
    return touch_up not in WHOLE_SLICE_TOUCH_UPS and math.hypot(dy, dx) >= CLEAR_IN_PLANE_MM


def is_beside(first: Voxel, second: Voxel, spacing_mm: Sequence[float]) -> bool:
    """Whether the cuboids of two untouched rows do not overlap."""
    return bool((np.abs(np.subtract(first, second)) * spacing_mm).max() >= CUBOID_MM)


def fits(
    voxel: Voxel, touch_up: str, others: Iterable[tuple[Voxel, str]], spacing_mm: Sequence[float]
) -> bool:
    """Whether a row may be added to a scan; ``touch_up`` is "" for an untouched row."""
    for other, its_touch_up in others:
        if touch_up and its_touch_up:
            fine = are_apart(voxel, other, (touch_up, its_touch_up), spacing_mm)
        elif touch_up:
            fine = is_clear(other, voxel, touch_up, spacing_mm)
        elif its_touch_up:
            fine = is_clear(voxel, other, its_touch_up, spacing_mm)
        else:
            fine = is_beside(voxel, other, spacing_mm)
        if not fine:
            return False
    return True
