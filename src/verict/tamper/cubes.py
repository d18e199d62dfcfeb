"""Cubes of voxels around a place: where they lie, cut off at the scan's faces, and how they are resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

Box = tuple[slice, slice, slice]
"""A box of voxels, (z, y, x), every slice with its start and stop."""


@dataclass(frozen=True, eq=False)
class Cube:
    """A box of voxels around a centre, cut off at the faces of the volume.

    Parameters
    ----------
    box
        Where it lies in the volume.
    offsets
        Of the box's voxels from the centre, in voxels, along z, y and x.
    is_clamped
        Whether the volume's faces cut something off.
    """

    box: Box
    offsets: tuple[np.ndarray, np.ndarray, np.ndarray]
    is_clamped: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along z, y and x."""
        z, y, x = (len(offset) for offset in self.offsets)
        return z, y, x


def cube_around(
    centre: Sequence[int] | np.ndarray,
    sides: Sequence[int] | np.ndarray,
    shape: Sequence[int],
    *,
    run: slice | None = None,
) -> Cube:
    """The cube of so many voxels along (z, y, x) whose voxel ``side // 2`` is the centre.

    ``run`` are the slices it may reach over; all unless given.
    """
    centre, sides = np.asarray(centre), np.asarray(sides)
    first, stop = np.zeros(3, int), np.array(shape)
    if run is not None:
        first[0], stop[0] = run.start, run.stop
    low, high = centre - sides // 2, centre - sides // 2 + sides
    start, end = np.maximum(low, first), np.minimum(high, stop)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(start, end, strict=True))
    dz, dy, dx = (np.arange(a, b) - c for a, b, c in zip(start, end, centre, strict=True))
    return Cube((z, y, x), (dz, dy, dx), bool((start > low).any() or (end < high).any()))


def resize(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Resample to another shape by cubic splines, nearest edges."""
    factors = [n / m for n, m in zip(shape, values.shape, strict=True)]
    return ndimage.zoom(values, factors, order=3, mode="nearest")


def sigmoid(values: np.ndarray) -> np.ndarray:
    """The logistic function, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * values))


def as_dtype(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The values in another dtype; where that holds whole numbers, rounded and kept within its limits."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(dtype)
