"""Windows of lung and of soft tissue: their noise power spectra, and the features a classifier judges them by."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage, stats

SIDE = 32  # pixels
STEP = 16  # pixels between windows
LARGEST_LUNG_HU = -600  # smoothed: windows without a vessel one could name
SOFT_HU = (-10, 130)
TAPER = np.hanning(SIDE + 2)[1:-1][:, None] * np.hanning(SIDE + 2)[1:-1]
FREQUENCY_Y, FREQUENCY_X = np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)  # cycles per pixel
RADIUS = np.hypot(FREQUENCY_Y, FREQUENCY_X)
RADIAL_EDGES = np.linspace(1.5, 22.7, 12) / SIDE
SECTORS = ((np.arctan2(FREQUENCY_Y, FREQUENCY_X) / np.pi * 8 + 0.5) // 1 % 8).astype(int)
SECTOR_BANDS = ((0.08, 0.2), (0.2, 0.35), (0.35, 0.5))


@dataclass(frozen=True, eq=False)
class Series:
    """A volume and what it is.

    ``hu`` (z, y, x) int16, ``lungs`` (z, y, x) bool; slices of one patient or of one simulated chest share
    ``patient``. ``stacked`` is False where neighbouring slices are not neighbours in the body.
    """

    name: str
    patient: str
    hu: np.ndarray
    lungs: np.ndarray
    pixel_mm: float
    increment_mm: float
    stacked: bool = True


def find_windows(series: Series, *, soft: bool = False, most: int = 600) -> np.ndarray:
    """(n, 3) z, y, x corners of windows wholly in lung, or in soft tissue, at most so many, spread evenly."""
    found = []
    for z, hu in enumerate(series.hu):
        smooth = ndimage.gaussian_filter(hu.astype(np.float32), 2.5 if soft else 1.5)
        if soft:
            inside = (smooth > SOFT_HU[0]) & (smooth < SOFT_HU[1]) & ~series.lungs[z]
        else:
            inside = (smooth > -1000) & (smooth < LARGEST_LUNG_HU) & series.lungs[z]
        share = ndimage.uniform_filter(inside.astype(np.float32), SIDE)[SIDE // 2 :: STEP, SIDE // 2 :: STEP]
        y, x = np.nonzero(share > 0.985)
        fits = (y * STEP + SIDE <= hu.shape[0]) & (x * STEP + SIDE <= hu.shape[1])
        found += [(z, a * STEP, b * STEP) for a, b in zip(y[fits], x[fits], strict=True)]
    step = max(1, len(found) / most)
    return np.array([found[int(i * step)] for i in range(min(len(found), most))]).reshape(-1, 3)


def measure_spectrum(series: Series, corners: np.ndarray, edges_per_mm: np.ndarray) -> np.ndarray:
    """Noise power spectrum in HU² mm², one value a band, NaN for a band without a frequency.

    A plane and its squares are fitted to each window and taken away (as in IEC 61223-3-5 practice), windows
    are weighted with a Hann taper, and their power is averaged.
    """
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    basis, _ = np.linalg.qr(np.stack([np.ones(SIDE * SIDE), *(v.ravel() for v in (y, x, y * y, x * x, x * y))], 1))
    total = np.zeros((SIDE, SIDE))
    for corner in corners:
        flat = _cut(series.hu, corner).astype(float).ravel()
        flat -= basis @ (basis.T @ flat)
        total += np.abs(np.fft.fft2(flat.reshape(SIDE, SIDE) * TAPER)) ** 2
    total *= series.pixel_mm**2 / (TAPER**2).sum() / max(len(corners), 1)
    frequency = RADIUS / series.pixel_mm
    bands = [(frequency >= a) & (frequency < b) for a, b in pairwise(edges_per_mm)]
    return np.array([total[band].mean() if band.any() else np.nan for band in bands])


def correlate_along_z(series: Series, corners: np.ndarray, lags: tuple[int, ...] = (1, 2, 3, 4)) -> np.ndarray:
    """Median correlation of the windows' high-pass residual with that so many slices on, one value a lag."""
    found = np.full(len(lags), np.nan)
    for i, lag in enumerate(lags):
        pairs = [(_residual(series.hu, c), _residual(series.hu, c + np.array([lag, 0, 0]))) for c in corners[::2]
                 if c[0] + lag < len(series.hu)]
        if pairs and series.stacked:
            found[i] = np.median([np.mean(a * b) for a, b in pairs])
    return found


def describe_windows(series: Series, corners: np.ndarray) -> np.ndarray:
    """(n, 38) float64: what the noise of each window looks like once its strength is taken out.

    Of the high-pass residual (window less its 3-pixel mean), scaled to unit variance: logarithm of the power
    in 11 radial bands, in 8 directions by 3 bands relative to all directions, kurtosis, skewness, and the
    correlation with the same window one slice on (NaN without one).
    """
    return np.array([_describe(series, corner) for corner in corners])


def _describe(series: Series, corner: np.ndarray) -> list[float]:
    residual = _residual(series.hu, corner)
    power = np.abs(np.fft.fft2(residual * TAPER)) ** 2
    radial = [power[(a <= RADIUS) & (b > RADIUS)].mean() for a, b in pairwise(RADIAL_EDGES)]
    sectors = []
    for low, high in SECTOR_BANDS:
        ring = (low <= RADIUS) & (high > RADIUS)
        sectors += [power[ring & (s == SECTORS)].mean() / power[ring].mean() for s in range(8)]
    neighbour = np.nan
    if series.stacked:
        step = np.array([1 if corner[0] + 1 < len(series.hu) else -1, 0, 0])
        neighbour = float(np.mean(residual * _residual(series.hu, corner + step)))
    return [*np.log(radial), *np.log(sectors), stats.kurtosis(residual, None), stats.skew(residual, None), neighbour]


def _cut(hu: np.ndarray, corner: np.ndarray) -> np.ndarray:
    z, y, x = corner
    return hu[z, y : y + SIDE, x : x + SIDE]


def _residual(hu: np.ndarray, corner: np.ndarray) -> np.ndarray:
    window = _cut(hu, corner).astype(np.float64)
    residual = window - ndimage.uniform_filter(window, 3)
    residual -= residual.mean()
    return residual / max(residual.std(), 1e-9)
