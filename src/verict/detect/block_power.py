"""Noise power in small blocks: few blocks of a window hold a vessel, the others show the noise alone.

Power is averaged as its logarithm, so a block with a vessel weighs no more than any other, and the blocks of
lung texture are averaged apart from those that reach bright structures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from verict.detect.residual import median_3x3

BLOCK_PX = 8
BLOCK_STRIDE_PX = 4
AIR_HU = -1100  # clipped below: padding and air
CEILING_HU = 1000  # clipped above: metal; contrast-filled vessels keep their noise
BRIGHT_HU = -550  # a block that reaches it, after a 3 x 3 median, holds a vessel, a nodule or a wall
RADII = ((1, 2.5), (2.5, 4), (4, 5.5), (5.5, 7), (7, 10))  # DCT index, in half cycles a block
SECTORS_DEG = ((0, 30), (30, 60), (60, 91))  # from along x to along y
POWER_FLOOR = 0.5  # HU^2, keeps the logarithm finite where clipping left nothing
SHRINK_BLOCKS = 6.0  # as many blocks at the slice's median are added to each window
POOLS = (("dark", 3), ("dark", 6), ("bright", 1), ("bright", 3), ("all", 1), ("all", 3), ("all", 6))  # reach in blocks

GROUPS = len(RADII) * len(SECTORS_DEG)
WIDEST_PX = max(reach for _, reach in POOLS) * BLOCK_STRIDE_PX + BLOCK_PX // 2  # from a window's centre


@dataclass(frozen=True, eq=False)
class _Blocks:
    """The blocks of a slice whose centres lie in the lungs.

    Grid ``shape``, ``rows`` and ``columns`` (m,), log ``power`` (m, GROUPS) float32, whether ``bright`` (m,).
    """

    shape: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray
    power: np.ndarray
    bright: np.ndarray


def measure_block_power(
    hu: np.ndarray, lung_mask: np.ndarray, rows_px: np.ndarray, columns_px: np.ndarray
) -> np.ndarray:
    """Mean log power of the blocks around each window's centre, less that of the slice's median window.

    Parameters
    ----------
    hu
        (y, x) int16 or float32 Hounsfield units.
    lung_mask
        (y, x) bool; only blocks centred in it count.
    rows_px, columns_px
        (n,) first pixel of the block on which each window is centred, multiples of `BLOCK_STRIDE_PX`.

    Returns
    -------
    numpy.ndarray
        (n, len(POOLS) * GROUPS) float32, shrunk to 0 where a window holds few such blocks.
    """
    blocks = _cut_blocks(hu, lung_mask)
    rows, columns = rows_px // BLOCK_STRIDE_PX, columns_px // BLOCK_STRIDE_PX
    return np.concatenate([_pool(blocks, which, reach, rows, columns) for which, reach in POOLS], axis=1)


def _dct_matrices() -> tuple[np.ndarray, np.ndarray]:
    """(64, 64) orthonormal 2D DCT-II of a flat block, and (64, GROUPS) averaging of its squares; float32."""
    line = fft.dct(np.eye(BLOCK_PX), axis=0, norm="ortho")
    u, v = np.meshgrid(np.arange(BLOCK_PX), np.arange(BLOCK_PX), indexing="ij")
    radius, angle = np.hypot(u, v).ravel(), np.degrees(np.arctan2(u, v)).ravel()
    groups = [
        (radius >= low) & (radius < high) & (angle >= start) & (angle < stop)
        for low, high in RADII
        for start, stop in SECTORS_DEG
    ]
    mean = np.array([g / g.sum() for g in groups]).T
    return np.kron(line, line).T.astype(np.float32), mean.astype(np.float32)


_DCT, _MEAN = _dct_matrices()


def dct_of_blocks(blocks: np.ndarray) -> np.ndarray:
    """(m, 64) orthonormal 2D DCT-II of (m, 64) float32 blocks of `BLOCK_PX` pixels a side."""
    return blocks @ _DCT


def mean_over_groups() -> np.ndarray:
    """(64, `GROUPS`) float32: the mean over the waves of each ring and sector, ring by ring."""
    return _MEAN


def _cut_blocks(hu: np.ndarray, lung_mask: np.ndarray) -> _Blocks:
    image = np.clip(hu, AIR_HU, CEILING_HU)
    view = np.lib.stride_tricks.sliding_window_view(image, (BLOCK_PX, BLOCK_PX))[::BLOCK_STRIDE_PX, ::BLOCK_STRIDE_PX]
    shape = view.shape[:2]
    centres = np.s_[BLOCK_PX // 2 :: BLOCK_STRIDE_PX, BLOCK_PX // 2 :: BLOCK_STRIDE_PX]
    rows, columns = np.nonzero(lung_mask[centres][: shape[0], : shape[1]])
    blocks = view[rows, columns].reshape(len(rows), -1).astype(np.float32)
    power = np.log(np.square(dct_of_blocks(blocks)) @ _MEAN + POWER_FLOOR)
    highest = ndimage.maximum_filter(median_3x3(image), BLOCK_PX)[centres][rows, columns]
    return _Blocks(shape, rows, columns, power, highest >= BRIGHT_HU)


def _pool(blocks: _Blocks, which: str, reach: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(n, GROUPS) mean log power of the blocks around each window, less the median window's, shrunk to it."""
    chosen = {"dark": ~blocks.bright, "bright": blocks.bright, "all": np.ones_like(blocks.bright)}[which]
    planes = np.zeros((GROUPS + 1, *blocks.shape), np.float32)
    planes[:-1, blocks.rows[chosen], blocks.columns[chosen]] = blocks.power[chosen].T
    planes[-1, blocks.rows[chosen], blocks.columns[chosen]] = 1
    size = 2 * reach + 1
    for axis in (1, 2):
        planes = ndimage.uniform_filter1d(planes, size, axis=axis, mode="constant")
    here = planes[:, rows, columns]
    count = here[-1] * size**2
    mean = here[:-1] / np.maximum(here[-1], 1e-6)
    enough = count >= SHRINK_BLOCKS
    median = np.median(mean[:, enough], axis=1) if enough.any() else np.zeros(GROUPS, np.float32)
    shrunk = (mean - median[:, None]) * (count / (count + SHRINK_BLOCKS))
    return np.where(count > 0.5, shrunk, 0).T
