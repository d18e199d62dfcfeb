"""How the noise of a small window differs from the noise around it: the features of the spectrum detector.

A scanner's noise has the spectrum of its reconstruction kernel and streaks along its projections; painted
noise is white, zoomed, smoothed or from elsewhere, and painted structures lack the kernel's edges. Power is
measured in blocks (`block_power`) and in whole windows (`window_power`); both are compared with the slice's
median window and with a ring of windows around. Training and scanning both call `slice_features`: there is
no second version.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verict.detect.block_power import BLOCK_PX, GROUPS, POOLS, WIDEST_PX, measure_block_power
from verict.detect.window_power import (
    IMAGES,
    RADIAL,
    SECTOR_RINGS,
    WINDOW_PX,
    measure_window_power,
    split_sectors,
)

STRIDE_PX = 8  # between windows
ORIGIN_PX = WINDOW_PX / 2 - 0.5  # centre of the first window
MIN_CELLS = 24  # fewer windows than this say nothing of a slice's own noise

PAINTED_HALF_SIDE_MM = 21.0  # largest square a CT-GAN touch-up paints: 1.3 x 32 mm / 2
RING_WIDTH_MM = 25.0
MIN_RING_CELLS = 6

_BLOCK_VALUES = len(POOLS) * GROUPS
FEATURE_COUNT = 2 * _BLOCK_VALUES + IMAGES * (2 * RADIAL + 3 * len(SECTOR_RINGS))


@dataclass(frozen=True, eq=False)
class SliceFeatures:
    """The windows of one slice.

    ``rows`` and ``columns`` (n,) index a grid of ``shape``; ``values`` is (n, FEATURE_COUNT) float32. n is 0
    where the slice holds too little lung. ``median`` is the median window's log power, (IMAGES, BANDS) float32, by
    which scanners differ; None where there are no windows.
    """

    shape: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    median: np.ndarray | None = None

    def to_map(self, scores: np.ndarray) -> np.ndarray:
        """(rows, columns) float32 map of one score a window, NaN elsewhere."""
        grid = np.full(self.shape, np.nan, np.float32)
        grid[self.rows, self.columns] = scores
        return grid


def grid_shape(rows_px: int, columns_px: int) -> tuple[int, int]:
    """Rows and columns of the window grid of an image of that size; 0 where it is smaller than a window."""
    rows, columns = (max(0, (n - WINDOW_PX) // STRIDE_PX + 1) for n in (rows_px, columns_px))
    return rows, columns


def slice_features(hu: np.ndarray, lung_mask: np.ndarray, spacing_mm: tuple[float, float]) -> SliceFeatures:
    """Features of every window of a slice that is centred in the lungs.

    Parameters
    ----------
    hu
        (y, x) int16 or float32 Hounsfield units.
    lung_mask
        (y, x) bool.
    spacing_mm
        (y, x) in mm, both above 0.

    Returns
    -------
    SliceFeatures
        Block power less the slice's median, and less the ring's mean; window power by radius likewise; how
        unevenly window power is spread over directions, by itself and against the ring.
    """
    shape = grid_shape(*hu.shape)
    centre = WINDOW_PX // 2
    centres = lung_mask[centre::STRIDE_PX, centre::STRIDE_PX][: shape[0], : shape[1]]
    rows, columns = np.nonzero(centres)
    if len(rows) < MIN_CELLS:
        nothing = np.empty(0, np.intp)
        return SliceFeatures(shape, nothing, nothing, np.empty((0, FEATURE_COUNT), np.float32))
    box = lung_box(lung_mask)
    top, left = rows * STRIDE_PX - box[0].start, columns * STRIDE_PX - box[1].start
    to_block = (WINDOW_PX - BLOCK_PX) // 2
    blocks = measure_block_power(hu[box], lung_mask[box], top + to_block, left + to_block)
    windows = measure_window_power(hu[box], top, left)
    median = np.median(windows, axis=0)
    relative = (windows - median).reshape(len(rows), -1)
    ring = _ring_mean(np.concatenate([blocks, relative], axis=1), rows, columns, spacing_mm)
    block_ring, window_ring = ring[:, :_BLOCK_VALUES], ring[:, _BLOCK_VALUES:].reshape(windows.shape)
    relative = relative.reshape(windows.shape)
    here, around = split_sectors(windows), split_sectors(window_ring + median)
    spread = here.std(axis=-1)
    parts = (
        blocks,
        blocks - block_ring,
        relative[..., :RADIAL],
        (relative - window_ring)[..., :RADIAL],
        spread,
        spread - around.std(axis=-1),
        (here - around).std(axis=-1),
    )
    values = np.concatenate([p.reshape(len(rows), -1) for p in parts], axis=1)
    return SliceFeatures(shape, rows, columns, values.astype(np.float32), median)


def lung_box(lung_mask: np.ndarray) -> tuple[slice, slice]:
    """The part of a slice that can matter to its windows, on the window grid."""
    reach = max(WIDEST_PX, WINDOW_PX // 2) + STRIDE_PX
    box = []
    for axis, length in enumerate(lung_mask.shape):
        inside = np.flatnonzero(lung_mask.any(axis=1 - axis))
        start = max(0, int(inside[0]) - reach) // STRIDE_PX * STRIDE_PX
        box.append(slice(start, min(length, int(inside[-1]) + reach)))
    return box[0], box[1]


def _ring_mean(
    values: np.ndarray, rows: np.ndarray, columns: np.ndarray, spacing_mm: tuple[float, float]
) -> np.ndarray:
    """(n, features) mean over the ring around each window; 0, the median, where the ring holds few windows.

    The ring starts where no window overlaps the largest square painted around the centre.
    """
    step_y, step_x = STRIDE_PX * spacing_mm[0], STRIDE_PX * spacing_mm[1]
    inner = PAINTED_HALF_SIDE_MM + WINDOW_PX / 2 * float(np.hypot(*spacing_mm))
    outer = inner + RING_WIDTH_MM
    height, width = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    down, across = np.mgrid[-height:height, -width:width]
    distance = np.hypot(down * step_y, across * step_x)
    in_ring = ((distance >= inner) & (distance <= outer)).astype(np.float32)
    neighbours = in_ring[rows[:, None] - rows + height, columns[:, None] - columns + width]
    count = neighbours.sum(axis=1, keepdims=True)
    return np.where(count >= MIN_RING_CELLS, (neighbours @ values) / np.maximum(count, 1), 0)
