"""CT-GAN's cuboid: cut at 1 mm, equalised, masked, painted by a network, and undone again.

Mirsky et al., USENIX Security 2019, section 5, and its published code. The touch-up that follows is
`verict.tamper.ctgan_touch_up`. Training cuts and equalises by the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from verict.datasets.cuboids import MARGIN_PX, SIDE_MM
from verict.errors import UsageError

SIDE = SIDE_MM  # samples of 1 mm along each axis
HOLE = (slice(6, 26),) * 3  # what is masked, and painted anew: 20 mm
BINS = 10_000  # of the equalisation's histogram
LIMIT = 0.5  # of what a network may paint, in normalised units
CEILING_HU = 2000.0  # what is painted above is averaged away
CEILING_CUBE = 5  # with its neighbours in a cube of so many voxels
FLOOR_HU = -1000.0  # nothing is painted below

Generator = Callable[[np.ndarray], np.ndarray]
"""A network: (32, 32, 32) float32 normalised, its hole 0, to (32, 32, 32) float32 normalised."""


@dataclass(frozen=True, eq=False)
class Equaliser:
    """Histogram equalisation over the training cuboids, its normalisation, and the way back.

    Parameters
    ----------
    lowest_hu, highest_hu
        Centres of the first and the last bin.
    level
        (bins,) share of the training voxels up to each bin, rising, 0 to 1.
    mean
        Of the equalised training voxels. Normalised values are (level - mean) / (highest - lowest level).
    """

    lowest_hu: float
    highest_hu: float
    level: np.ndarray
    mean: float

    @classmethod
    def fit(cls, cuboids_hu: np.ndarray, bins: int = BINS) -> Equaliser:
        """Fit on cuboids of any shape, in HU.

        Raises
        ------
        UsageError
            If all voxels have the same value.
        """
        counts, edges = np.histogram(cuboids_hu, bins)
        if np.ptp(cuboids_hu) == 0:
            raise UsageError("a histogram of one value cannot be equalised", found=f"{edges[0]:g} HU")
        half = (edges[1] - edges[0]) / 2
        level = np.round(np.cumsum(counts, dtype=np.int64) / cuboids_hu.size, 8)
        mean = float((level * counts).sum() / cuboids_hu.size)  # each voxel at the level of its bin
        return cls(float(edges[0] + half), float(edges[-1] - half), level, mean)

    @property
    def hu(self) -> np.ndarray:
        """(bins,) float64 centre of each bin."""
        return np.linspace(self.lowest_hu, self.highest_hu, len(self.level))

    @property
    def span(self) -> float:
        """Highest less lowest level."""
        return float(self.level[-1] - self.level[0])

    def normalise(self, hu: np.ndarray) -> np.ndarray:
        """HU to float32 about -0.5 to 0.5; beyond the training's range the nearest value."""
        return ((np.interp(hu, self.hu, self.level) - self.mean) / self.span).astype(np.float32)

    def undo(self, values: np.ndarray) -> np.ndarray:
        """Normalised values, kept within ±0.5, to float32 HU; a level of several bins is the first of them."""
        wanted = np.clip(values, -LIMIT, LIMIT).astype(np.float64) * self.span + self.mean
        above = np.clip(np.searchsorted(self.level, wanted), 0, len(self.level) - 1)
        below = np.maximum(above - 1, 0)
        rise = self.level[above] - self.level[below]
        part = np.where(rise > 0, (self.level[above] - wanted) / np.where(rise > 0, rise, 1), 0.0)
        return (self.hu[above] - np.clip(part, 0, 1) * (self.hu[above] - self.hu[below])).astype(np.float32)


def cuboid_voxels(spacing_mm: Sequence[float]) -> np.ndarray:
    """Sides (z, y, x) in voxels of a scan of the 32 mm that are cut, 1 at least.

    >>> cuboid_voxels((2.5, 0.7, 0.7)).tolist()
    [13, 46, 46]
    """
    return np.maximum(np.rint(SIDE / np.asarray(spacing_mm)), 1).astype(int)


def sample_cuboid(
    hu: np.ndarray,
    spacing_mm: Sequence[float],
    centre_zyx: Sequence[int],
    *,
    run: slice | None = None,
    sides: Sequence[int] = (SIDE,) * 3,
) -> np.ndarray:
    """Cut a cuboid of 1 mm voxels around a voxel, by cubic splines, nearest edges.

    Sample k lies k - (side - 1) / 2 mm from the centre along each axis.

    Parameters
    ----------
    hu
        (z, y, x) HU.
    spacing_mm
        (z, y, x) in mm.
    centre_zyx
        Voxel.
    run
        The slices it may be cut from; all unless given. Beyond them, and beyond the image, the nearest value stands.
    sides
        Number of samples along z, y and x.

    Returns
    -------
    numpy.ndarray
        float32 HU of that shape.
    """
    limits = ((run.start, run.stop) if run else (0, hu.shape[0]), *((0, n) for n in hu.shape[1:]))
    axes = [c + (np.arange(n) - (n - 1) / 2) / s for c, n, s in zip(centre_zyx, sides, spacing_mm, strict=True)]
    axes = [np.clip(a, low, high - 1) for a, (low, high) in zip(axes, limits, strict=True)]
    first = [max(int(a[0]) - MARGIN_PX, low) for a, (low, _) in zip(axes, limits, strict=True)]
    stop = [min(int(a[-1]) + 2 + MARGIN_PX, high) for a, (_, high) in zip(axes, limits, strict=True)]
    crop = hu[tuple(slice(a, b) for a, b in zip(first, stop, strict=True))].astype(np.float32)
    return _interpolate(crop, [a - f for a, f in zip(axes, first, strict=True)])


def to_voxels(cuboid: np.ndarray, offsets: Sequence[np.ndarray], spacing_mm: Sequence[float]) -> np.ndarray:
    """A cuboid of 1 mm samples on the scan's own voxels, by cubic splines, nearest edges.

    Parameters
    ----------
    cuboid
        (32, 32, 32), its middle the centre.
    offsets
        Of the wanted voxels from the centre, in voxels, along z, y and x.
    spacing_mm
        (z, y, x) in mm.

    Returns
    -------
    numpy.ndarray
        float32, as many voxels along each axis as there are offsets.
    """
    axes = [(n - 1) / 2 + offset * s for n, offset, s in zip(cuboid.shape, offsets, spacing_mm, strict=True)]
    return _interpolate(cuboid, [np.clip(a, 0, n - 1) for a, n in zip(axes, cuboid.shape, strict=True)])


def paint_cuboid(cuboid_hu: np.ndarray, equaliser: Equaliser, generator: Generator) -> np.ndarray:
    """What a network paints where a cuboid was, in HU.

    Parameters
    ----------
    cuboid_hu
        (32, 32, 32) HU at 1 mm.
    equaliser
        That of the network's training.
    generator
        The network. It gets the cuboid normalised, with 0 in the middle 20 mm.

    Returns
    -------
    numpy.ndarray
        (32, 32, 32) float32 HU, -1000 to 2000 but where the mean of a voxel's neighbours lies above.
    """
    masked = equaliser.normalise(cuboid_hu)
    masked[HOLE] = 0
    return tame(equaliser.undo(generator(masked)))


def tame(hu: np.ndarray) -> np.ndarray:
    """Average voxels above 2000 HU with the neighbours in a 5 mm cube, raise those below -1000 HU to it."""
    above = hu > CEILING_HU
    if above.any():
        hu = np.where(above, ndimage.uniform_filter(hu, CEILING_CUBE, mode="nearest"), hu)
    return np.maximum(hu, np.float32(FLOOR_HU))


def _interpolate(values: np.ndarray, axes: Sequence[np.ndarray]) -> np.ndarray:
    """Cubic splines at the grid of these indices along z, y and x."""
    values = ndimage.spline_filter(values.astype(np.float32), order=3, mode="nearest", output=np.float32)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    return ndimage.map_coordinates(values, grid, order=3, mode="nearest", prefilter=False, output=np.float32)
