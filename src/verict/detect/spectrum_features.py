"""How the noise of a small window differs from the noise around it: the features of the spectrum detector.

A scanner's noise has the spectrum of its reconstruction kernel and streaks along its projections; painted
noise is white, zoomed, smoothed or from elsewhere. So each window is compared with a ring of windows around
it, and with the whole slice. Training and scanning both call `slice_features`: there is no second version.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

WINDOW_PX = 32
STRIDE_PX = 8
ORIGIN_PX = WINDOW_PX / 2 - 0.5  # centre of the first window, in pixels
MIN_CELLS = 24  # fewer windows than this say nothing of a slice's own noise

AIR_HU = -1100  # clipped below: padding and air
CEILINGS_HU = (-500, 300)  # lung texture alone; lung texture with nodules and vessels
RINGS = ((1, 3), (3, 5), (5, 7), (7, 9), (9, 11), (11, 13), (13, 15), (15, 17), (17, 23))  # cycles a window
SECTOR_RINGS = ((4, 8), (8, 12), (12, 17))  # cycles a window
SECTORS = 8
POWER_FLOOR = 0.1  # HU^2, keeps the logarithm finite on constant windows

PAINTED_HALF_SIDE_MM = 21.0  # largest square a CT-GAN touch-up paints: 1.3 x 32 mm / 2
RING_WIDTH_MM = 25.0
MIN_RING_CELLS = 6

_IMAGES = 2 * len(CEILINGS_HU)
_RADIAL = len(RINGS)
_BANDS = _RADIAL + len(SECTOR_RINGS) * SECTORS
FEATURE_COUNT = _IMAGES * (2 * _RADIAL + 3 * len(SECTOR_RINGS))


@dataclass(frozen=True, eq=False)
class SliceFeatures:
    """The windows of one slice.

    ``rows`` and ``columns`` (n,) index a grid of ``shape``; ``values`` is (n, FEATURE_COUNT) float32. n is 0
    where the slice holds too little lung.
    """

    shape: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray

    def to_map(self, scores: np.ndarray) -> np.ndarray:
        """(rows, columns) float32 map of one score a window, NaN elsewhere."""
        grid = np.full(self.shape, np.nan, np.float32)
        grid[self.rows, self.columns] = scores
        return grid


def grid_shape(rows_px: int, columns_px: int) -> tuple[int, int]:
    """Rows and columns of the window grid of an image of that size; 0 where it is smaller than a window."""
    return tuple(max(0, (n - WINDOW_PX) // STRIDE_PX + 1) for n in (rows_px, columns_px))  # type: ignore[return-value]


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
        Differences of log power from the slice's median window and from the ring's mean window, in each
        radial band, and how unevenly power is spread over directions, for four images: HU clipped at -500
        and at 300, and what a 3 x 3 median removes from each.
    """
    shape = grid_shape(*hu.shape)
    offset = WINDOW_PX // 2
    centres = lung_mask[
        offset : offset + shape[0] * STRIDE_PX : STRIDE_PX, offset : offset + shape[1] * STRIDE_PX : STRIDE_PX
    ][: shape[0], : shape[1]]
    rows, columns = np.nonzero(centres)
    if len(rows) < MIN_CELLS:
        nothing = np.empty(0, np.intp)
        return SliceFeatures(shape, nothing, nothing, np.empty((0, FEATURE_COUNT), np.float32))
    power = _window_power(hu, rows * STRIDE_PX, columns * STRIDE_PX)
    flat = power.reshape(len(rows), -1)
    median = np.median(flat, axis=0)
    ring, count = _ring_mean(flat, shape, rows, columns, spacing_mm)
    ring = np.where((count >= MIN_RING_CELLS)[:, None], ring, median).reshape(power.shape)
    median = median.reshape(power.shape[1:])
    sectors = (len(rows), _IMAGES, len(SECTOR_RINGS), SECTORS)
    here, around = power[..., _RADIAL:].reshape(sectors), ring[..., _RADIAL:].reshape(sectors)
    spread = here.std(axis=-1)
    parts = (
        (power - median)[..., :_RADIAL],
        (power - ring)[..., :_RADIAL],
        spread,
        spread - around.std(axis=-1),
        (here - around).std(axis=-1),
    )
    values = np.concatenate([p.reshape(len(rows), -1) for p in parts], axis=1)
    return SliceFeatures(shape, rows, columns, values.astype(np.float32))


def median_3x3(image: np.ndarray) -> np.ndarray:
    """(y, x) median of each 3 x 3 neighbourhood, edges repeated; same dtype.

    A network of 19 exchanges over whole arrays, about ten times as fast as a rank filter on int16.
    """
    padded = np.pad(image, 1, mode="edge")
    height, width = image.shape
    v = [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    for a, b in _MEDIAN_EXCHANGES:
        v[a], v[b] = np.minimum(v[a], v[b]), np.maximum(v[a], v[b])
    return v[4]


_MEDIAN_EXCHANGES = (  # median of nine by compare-and-exchange (J. L. Smith, Xcell Journal 23, 1996)
    (1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3),
    (5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2),
)  # fmt: skip


def _band_matrix() -> np.ndarray:
    """(WINDOW_PX * (WINDOW_PX // 2 + 1), _BANDS) float32: mean power in each ring and each ring's sectors."""
    ky, kx = np.meshgrid(np.fft.fftfreq(WINDOW_PX) * WINDOW_PX, np.arange(WINDOW_PX // 2 + 1), indexing="ij")
    radius, angle = np.hypot(ky, kx), np.mod(np.arctan2(ky, kx), np.pi)
    twice = np.where((kx == 0) | (kx == WINDOW_PX // 2), 1.0, 2.0)  # the half spectrum stands for both halves
    bands = [twice * ((radius >= low) & (radius < high)) for low, high in RINGS]
    width = np.pi / SECTORS
    for low, high in SECTOR_RINGS:
        ring = twice * ((radius >= low) & (radius < high))
        bands += [ring * (np.mod(angle - s * width + width / 2, np.pi) < width) for s in range(SECTORS)]
    return np.stack([(b / b.sum()).ravel() for b in bands], axis=1).astype(np.float32)


_BAND_MATRIX = _band_matrix()
_TAPER = np.outer(np.hanning(WINDOW_PX), np.hanning(WINDOW_PX)).astype(np.float32)


def _window_power(hu: np.ndarray, top: np.ndarray, left: np.ndarray) -> np.ndarray:
    """(n, _IMAGES, _BANDS) float32 log power of the windows with those upper left corners."""
    power = np.empty((len(top), _IMAGES, _BANDS), np.float32)
    index = 0
    for ceiling in CEILINGS_HU:
        image = np.clip(hu, AIR_HU, ceiling)
        for layer in (image, image - median_3x3(image)):
            view = np.lib.stride_tricks.sliding_window_view(layer, (WINDOW_PX, WINDOW_PX))
            windows = view[top, left].astype(np.float32)
            windows -= windows.mean(axis=(1, 2), keepdims=True)
            windows *= _TAPER
            spectrum = fft.rfft2(windows, axes=(1, 2))
            energy = spectrum.real**2 + spectrum.imag**2
            power[:, index] = np.log(energy.reshape(len(top), -1) @ _BAND_MATRIX + POWER_FLOOR)
            index += 1
    return power


def _ring_mean(
    values: np.ndarray,
    shape: tuple[int, int],
    rows: np.ndarray,
    columns: np.ndarray,
    spacing_mm: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """(n, features) mean over the ring around each window, and (n,) how many windows the ring holds.

    The ring starts where no window overlaps the largest square painted around the centre.
    """
    step_y, step_x = STRIDE_PX * spacing_mm[0], STRIDE_PX * spacing_mm[1]
    half_diagonal_mm = WINDOW_PX / 2 * float(np.hypot(*spacing_mm))
    inner = PAINTED_HALF_SIDE_MM + half_diagonal_mm
    outer = inner + RING_WIDTH_MM
    reach_y, reach_x = min(shape[0], int(outer / step_y) + 1), min(shape[1], int(outer / step_x) + 1)
    offsets = np.mgrid[-reach_y : reach_y + 1, -reach_x : reach_x + 1]
    distance = np.hypot(offsets[0] * step_y, offsets[1] * step_x)
    ring = ((distance >= inner) & (distance <= outer)).astype(np.float32)
    planes = np.zeros((values.shape[1] + 1, *shape), np.float32)
    planes[:-1, rows, columns] = values.T
    planes[-1, rows, columns] = 1
    padded = tuple(fft.next_fast_len(n + 2 * r, real=True) for n, r in zip(shape, (reach_y, reach_x), strict=True))
    total = fft.irfft2(fft.rfft2(planes, padded, axes=(1, 2)) * fft.rfft2(ring, padded), padded, axes=(1, 2))
    total = total[:, reach_y : reach_y + shape[0], reach_x : reach_x + shape[1]][:, rows, columns]
    count = np.rint(total[-1])
    return (total[:-1] / np.maximum(count, 1)).T, count
