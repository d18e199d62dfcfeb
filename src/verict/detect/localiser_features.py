"""What the localiser is shown of a slice: the spectrum detector's features, and three kinds more.

Beside `verict.detect.spectrum_features`: *spread*, how unlike each other the blocks of a place are; *peaks*, how far
the power of a block is concentrated in few waves, which Gaussian noise never does; and *depth*, the power of what
differs from the neighbouring slices, whose noise a scanner correlates and a forger seldom does. A slice without
neighbours has no depth, and says so. Beside them stands the *level* of the slice's own noise by radius, the same for
all its places: what is unusual depends on the kernel. Training and scanning both call `slice_channels`: there is no
second version.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from verict.detect.block_power import (
    AIR_HU,
    BLOCK_PX,
    BLOCK_STRIDE_PX,
    BRIGHT_HU,
    CEILING_HU,
    GROUPS,
    POWER_FLOOR,
    RADII,
    SECTORS_DEG,
    dct_of_blocks,
    mean_over_groups,
)
from verict.detect.residual import median_3x3
from verict.detect.spectrum_features import (
    FEATURE_COUNT,
    IMAGES,
    RADIAL,
    STRIDE_PX,
    WINDOW_PX,
    SliceFeatures,
    lung_box,
    slice_features,
)

RINGS = len(RADII)
POOLS = (("dark", 3), ("bright", 1), ("all", 1))  # as in `block_power`: which blocks, reach in blocks
LEAST_BLOCKS = 6.0  # as many blocks at the slice's median are added to each pool
TEXTURE = slice(FEATURE_COUNT, FEATURE_COUNT + 2 * len(POOLS) * RINGS + 1)
DEPTH = slice(TEXTURE.stop, TEXTURE.stop + len(POOLS) * GROUPS + 1)
LEVEL = slice(DEPTH.stop, DEPTH.stop + IMAGES * RADIAL)
CHANNEL_COUNT = LEVEL.stop
"""Channels: those of the spectrum detector first, then `TEXTURE`, `DEPTH` and `LEVEL`."""


def slice_channels(
    hu: np.ndarray, neighbours: Sequence[np.ndarray], lung_mask: np.ndarray, spacing_mm: tuple[float, float]
) -> SliceFeatures:
    """Everything the localiser sees of one slice.

    Parameters
    ----------
    hu
        (y, x) int16 or float32 Hounsfield units.
    neighbours
        The slice before and the slice after, or the one there is, or none; each like ``hu``.
    lung_mask
        (y, x) bool.
    spacing_mm
        (y, x) in mm, both above 0.

    Returns
    -------
    SliceFeatures
        ``values`` (n, `CHANNEL_COUNT`); n is 0 where the slice holds too little lung.
    """
    plain = slice_features(hu, lung_mask, spacing_mm)
    if plain.median is None:
        return SliceFeatures(plain.shape, plain.rows, plain.columns, np.empty((0, CHANNEL_COUNT), np.float32))
    box = lung_box(lung_mask)
    to_block = (WINDOW_PX - BLOCK_PX) // 2
    rows = (plain.rows * STRIDE_PX - box[0].start + to_block) // BLOCK_STRIDE_PX
    columns = (plain.columns * STRIDE_PX - box[1].start + to_block) // BLOCK_STRIDE_PX
    own = np.clip(hu[box], AIR_HU, CEILING_HU)
    blocks = _Blocks(own, lung_mask[box])
    waves = np.square(dct_of_blocks(blocks.cut(own)))
    parts = [
        plain.values,
        *_texture(blocks, waves, rows, columns),
        *_depth(blocks, own, neighbours, box, rows, columns),
        np.broadcast_to(plain.median[:, :RADIAL].ravel(), (len(rows), IMAGES * RADIAL)),
    ]
    return SliceFeatures(plain.shape, plain.rows, plain.columns, np.concatenate(parts, axis=1).astype(np.float32))


class _Blocks:
    """The blocks of a slice centred in the lungs, and which of them reach a bright structure."""

    def __init__(self, image: np.ndarray, lung_mask: np.ndarray) -> None:
        self.shape = tuple((n - BLOCK_PX) // BLOCK_STRIDE_PX + 1 for n in image.shape)
        centres = np.s_[BLOCK_PX // 2 :: BLOCK_STRIDE_PX, BLOCK_PX // 2 :: BLOCK_STRIDE_PX]
        self.rows, self.columns = np.nonzero(lung_mask[centres][: self.shape[0], : self.shape[1]])
        highest = ndimage.maximum_filter(median_3x3(image), BLOCK_PX)[centres][self.rows, self.columns]
        self.bright = highest >= BRIGHT_HU

    def cut(self, image: np.ndarray) -> np.ndarray:
        """(m, 64) float32 pixels of each block."""
        view = np.lib.stride_tricks.sliding_window_view(image, (BLOCK_PX, BLOCK_PX))
        view = view[::BLOCK_STRIDE_PX, ::BLOCK_STRIDE_PX]
        return view[self.rows, self.columns].reshape(len(self.rows), -1).astype(np.float32)

    def pool(
        self, values: np.ndarray, which: str, reach: int, rows: np.ndarray, columns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(n, values) mean over the chosen blocks around each place, and (n,) how many they are."""
        chosen = {"dark": ~self.bright, "bright": self.bright, "all": np.ones_like(self.bright)}[which]
        planes = np.zeros((values.shape[1] + 1, *self.shape), np.float32)
        planes[:-1, self.rows[chosen], self.columns[chosen]] = values[chosen].T
        planes[-1, self.rows[chosen], self.columns[chosen]] = 1
        size = 2 * reach + 1
        for axis in (1, 2):
            planes = ndimage.uniform_filter1d(planes, size, axis=axis, mode="constant")
        here = planes[:, rows, columns]
        return (here[:-1] / np.maximum(here[-1], 1e-6)).T, here[-1] * size**2


def _relative(mean: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Less the median place's, shrunk to it where few blocks are behind a value; 0 where none is."""
    enough = count >= LEAST_BLOCKS
    median = np.median(mean[enough], axis=0) if enough.any() else np.zeros(mean.shape[1], np.float32)
    shrunk = (mean - median) * (count / (count + LEAST_BLOCKS))[:, None]
    return np.where(count[:, None] > 0.5, shrunk, 0)


def _texture(blocks: _Blocks, waves: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> list[np.ndarray]:
    """For each pool and ring: spread of log power from block to block, and how peaked the waves of a block are.

    Last the share of blocks that reach a bright structure.
    """
    grouped = waves @ mean_over_groups()
    ring = np.log(grouped.reshape(len(waves), RINGS, len(SECTORS_DEG)).mean(axis=2) + POWER_FLOOR)
    peaked = ring - (np.log(waves + POWER_FLOOR) @ mean_over_groups()).reshape(len(waves), RINGS, -1).mean(axis=2)
    both = np.concatenate([ring, ring**2, peaked], axis=1)
    parts = []
    for which, reach in POOLS:
        mean, count = blocks.pool(both, which, reach, rows, columns)
        variance = mean[:, RINGS : 2 * RINGS] - mean[:, :RINGS] ** 2
        spread = np.log(np.maximum(variance, 0) + 0.05)
        parts.append(_relative(np.concatenate([spread, mean[:, 2 * RINGS :]], axis=1), count))
    share, _ = blocks.pool(blocks.bright[:, None].astype(np.float32), "all", 1, rows, columns)
    return [*parts, share]


def _depth(
    blocks: _Blocks, own: np.ndarray, neighbours: Sequence[np.ndarray], box: tuple[slice, slice],
    rows: np.ndarray, columns: np.ndarray,
) -> list[np.ndarray]:
    """For each pool and group: log power of the slice less the mean of its neighbours; then 1, or all 0 without any."""
    if not len(neighbours):
        return [np.zeros((len(rows), len(POOLS) * GROUPS + 1), np.float32)]
    around = np.mean([np.clip(other[box], AIR_HU, CEILING_HU).astype(np.float32) for other in neighbours], axis=0)
    waves = np.square(dct_of_blocks(blocks.cut(own.astype(np.float32) - around)))
    power = np.log(waves @ mean_over_groups() + POWER_FLOOR)
    parts = [_relative(*blocks.pool(power, which, reach, rows, columns)) for which, reach in POOLS]
    return [*parts, np.ones((len(rows), 1), np.float32)]
