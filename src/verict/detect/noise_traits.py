"""What the noise of a whole series is like: the traits that say whether thresholds fitted on other scans mean anything.

Five things that processing of a whole series changes and a painted place does not, measured in lung texture:

- ``pixel_mm``: the size of a pixel. Frequencies of the spectrum detector are counted in pixels.
- ``power``: log power in seven rings of frequency. A reconstruction kernel gives it its course; resampling to a finer
  matrix leaves the highest rings empty, smoothing and sharpening bend it.
- ``gaussian``: whether the finest differences are spread as a scanner's are, nearly Gaussian. Edge-keeping filters and
  wavelet coders leave many near 0 and a few large ones.
- ``jpeg_grid``, ``wavelet_grid``: whether what JPEG, or the irreversible wavelet of JPEG 2000, would round away is
  emptier on the codec's own grid than beside it. Nothing but that codec makes it so.

Each is the median over slices, so that what was done to a few slices of a series does not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.detect.residual import median_3x3
from verict.detect.window_power import RADIAL, WINDOW_PX, measure_window_power

SLICES = 12  # of a series are measured, spread evenly over those with lung
AIR_HU, CEILING_HU = -1100, 1000  # clipped beyond: padding, metal
BRIGHT_HU = -550  # pixels within two of one this bright, after a 3 x 3 median, hold structure
WINDOW_STRIDE_PX = 8
INSIDE_PX = 4  # from a window's corners to the points that must be lung too
LEAST_WINDOWS, LEAST_TILES, LEAST_BLOCKS = 12, 8, 30  # fewer say nothing of a slice
RINGS = slice(RADIAL - 7, RADIAL)  # lower ones hold anatomy
TILE_PX = 16
TILE_DARK = 0.7  # of a tile, at least
BLOCK_PX = 8  # of JPEG
BLOCK_DARK = 0.6
HIGH_INDEX = 4  # sum of a coefficient's two indices from which JPEG's tables are coarse
ROUNDING_HU = 0.3  # whole HU have this standard deviation of rounding, 1 / sqrt(12)
MAD_TO_SD = 1.4826  # of a Gaussian
POWER_FLOOR = 0.5  # HU^2, keeps logarithms finite
LIFTING = (-1.586134342, -0.052980118, 0.882911075, 0.443506852)  # 9/7 wavelet (ISO/IEC 15444-1 table F.4)


@dataclass(frozen=True, eq=False)
class NoiseTraits:
    """The traits of one series, see the module.

    Parameters
    ----------
    pixel_mm
        Geometric mean of the spacing along y and x.
    power
        (7,) log of HU^2, from ring 3 of `verict.detect.window_power.RINGS` to the corner.
    gaussian
        Log of robust over root mean square difference: 0 for Gaussian noise, lower for sparser.
    jpeg_grid, wavelet_grid
        Log power beside the grid less that on it: about 0, higher after the codec.
    slices
        How many slices were measured.
    """

    pixel_mm: float
    power: np.ndarray
    gaussian: float
    jpeg_grid: float
    wavelet_grid: float
    slices: int


def measure_traits(volume: CTVolume, lungs: LungRegion) -> NoiseTraits | None:
    """The traits of a series, or None where no slice holds lung enough.

    Parameters
    ----------
    volume
        Pixels and spacing; headers are not looked at.
    lungs
        Its lung region.
    """
    found = np.flatnonzero(lungs.found)
    if len(found) > SLICES:
        found = found[np.linspace(0, len(found) - 1, SLICES).round().astype(int)]
    measured = [m for z in found if (m := _measure_slice(volume.hu[z], lungs.mask[z])) is not None]
    if not measured:
        return None
    power, gaussian, jpeg, wavelet = (np.median(values, axis=0) for values in zip(*measured, strict=True))
    pixel_mm = float(np.sqrt(volume.spacing_mm[1] * volume.spacing_mm[2]))
    return NoiseTraits(pixel_mm, power, float(gaussian), float(jpeg), float(wavelet), len(measured))


def _measure_slice(hu: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, float, float, float] | None:
    """Power (7,), gaussian, jpeg_grid and wavelet_grid of one (y, x) slice."""
    if min(hu.shape) < 2 * WINDOW_PX or not mask.any():
        return None
    box = _lung_box(mask)
    hu, mask = hu[box], mask[box]
    power = _ring_power(hu, mask)
    if power is None:
        return None
    image = np.clip(hu, AIR_HU, CEILING_HU)
    dark = mask & (ndimage.maximum_filter(median_3x3(image), 5) < BRIGHT_HU)
    image = image.astype(np.float32)
    gaussian = _gaussianity(image, dark)
    on, beside = (_block_power(image[o:, o:], dark[o:, o:]) for o in (0, BLOCK_PX // 2))
    if gaussian is None or on is None or beside is None:
        return None
    details, shifted = (_detail_power(image[o:, o:], dark[o:, o:]) for o in (0, 1))
    return power, gaussian, beside - on, shifted - details


def _lung_box(mask: np.ndarray) -> tuple[slice, slice]:
    """The part of a slice that can matter, a window wider than the lungs; it begins on the grid of tiles and blocks."""
    box = []
    for axis, length in enumerate(mask.shape):
        inside = np.flatnonzero(mask.any(axis=1 - axis))
        start = max(0, int(inside[0]) - WINDOW_PX) // TILE_PX * TILE_PX
        box.append(slice(start, min(length, int(inside[-1]) + WINDOW_PX)))
    return box[0], box[1]


def _ring_power(hu: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """(7,) median over windows that lie in lung, of lung texture alone."""
    stops = [max(0, n - WINDOW_PX + 1) for n in hu.shape]
    top, left = np.meshgrid(*(np.arange(0, stop, WINDOW_STRIDE_PX) for stop in stops), indexing="ij")
    near, far, middle = INSIDE_PX, WINDOW_PX - INSIDE_PX, WINDOW_PX // 2
    inside = mask[top + middle, left + middle]
    for y in (near, far):
        for x in (near, far):
            inside &= mask[top + y, left + x]
    if inside.sum() < LEAST_WINDOWS:
        return None
    power: np.ndarray = np.median(measure_window_power(hu, top[inside], left[inside])[:, 0, RINGS], axis=0)
    return power


def _gaussianity(image: np.ndarray, dark: np.ndarray) -> float | None:
    """Median over tiles of how Gaussian the differences across the diagonals of neighbouring pixels are."""
    finest = image[:-1, :-1] - image[1:, :-1] - image[:-1, 1:] + image[1:, 1:]
    tiles = _cut(finest, TILE_PX)[_cut(dark[:-1, :-1], TILE_PX).mean(axis=1) >= TILE_DARK]
    if len(tiles) < LEAST_TILES:
        return None
    robust = MAD_TO_SD * np.median(np.abs(tiles), axis=1) + ROUNDING_HU
    spread = np.sqrt(np.square(tiles).mean(axis=1)) + ROUNDING_HU
    return float(np.median(np.log(robust / spread)))


def _block_power(image: np.ndarray, dark: np.ndarray) -> float | None:
    """Mean log power of the finer cosine coefficients of the blocks that begin at the first pixel."""
    blocks = _cut(image, BLOCK_PX)[_cut(dark, BLOCK_PX).mean(axis=1) >= BLOCK_DARK]
    if len(blocks) < LEAST_BLOCKS:
        return None
    coefficients = fft.dctn(blocks.reshape(-1, BLOCK_PX, BLOCK_PX), axes=(1, 2), norm="ortho")
    high = np.add.outer(np.arange(BLOCK_PX), np.arange(BLOCK_PX)) >= HIGH_INDEX
    return float(np.log(np.square(coefficients[:, high]) + POWER_FLOOR).mean())


def _detail_power(image: np.ndarray, dark: np.ndarray) -> float:
    """Mean log power of the finest wavelet details, three subbands, where all four pixels are lung texture."""
    height, width = (n // 2 * 2 for n in image.shape)
    whole = dark[:height, :width].reshape(height // 2, 2, width // 2, 2).all(axis=(1, 3))
    low, high = _lift(image[:height, :width])
    bands = [part.T for half in (low, high) for part in _lift(half.T)][1:]
    return float(np.mean([np.log(np.square(band[whole]) + POWER_FLOOR).mean() for band in bands]))


def _lift(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Approximation and detail of the 9/7 wavelet along the first axis, of even length; edges repeated."""
    even, odd = image[0::2].copy(), image[1::2].copy()
    for first, second in (LIFTING[:2], LIFTING[2:]):
        odd += first * (even + np.concatenate([even[1:], even[-1:]]))
        even += second * (odd + np.concatenate([odd[:1], odd[:-1]]))
    return even, odd


def _cut(image: np.ndarray, side: int) -> np.ndarray:
    """(tiles, side * side) of an image; what is left over is dropped."""
    rows, columns = (n // side for n in image.shape)
    tiles = image[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return tiles.transpose(0, 2, 1, 3).reshape(rows * columns, side * side)
