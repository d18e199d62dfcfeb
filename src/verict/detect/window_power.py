"""Power spectra of whole windows, by radius and direction: finer in frequency than blocks, and with all content."""

from __future__ import annotations

import numpy as np
from scipy import fft

from verict.detect.residual import median_3x3

WINDOW_PX = 32
AIR_HU = -1100  # clipped below: padding and air
CEILINGS_HU = (-500, 1000)  # lung texture alone; lung texture with nodules and vessels
RINGS = ((1, 3), (3, 5), (5, 7), (7, 9), (9, 11), (11, 13), (13, 15), (15, 17), (17, 23))  # cycles a window
SECTOR_RINGS = ((4, 8), (8, 12), (12, 17))  # cycles a window
SECTORS = 8
POWER_FLOOR = 0.1  # HU^2, keeps the logarithm finite on constant windows

IMAGES = 2 * len(CEILINGS_HU)
RADIAL = len(RINGS)
BANDS = RADIAL + len(SECTOR_RINGS) * SECTORS


def measure_window_power(hu: np.ndarray, top: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Log power of windows in each band, for HU clipped at each ceiling and what a 3 x 3 median removes from it.

    Parameters
    ----------
    hu
        (y, x) int16 or float32 Hounsfield units.
    top, left
        (n,) upper left pixel of each window; windows must lie inside the image.

    Returns
    -------
    numpy.ndarray
        (n, IMAGES, BANDS) float32: `RADIAL` rings, then `SECTORS` sectors of each of `SECTOR_RINGS`.
    """
    power = np.empty((len(top), IMAGES, BANDS), np.float32)
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


def split_sectors(power: np.ndarray) -> np.ndarray:
    """(n, IMAGES, len(SECTOR_RINGS), SECTORS) view of the sectors in (n, IMAGES, BANDS)."""
    return power[..., RADIAL:].reshape(len(power), IMAGES, len(SECTOR_RINGS), SECTORS)


def _band_matrix() -> np.ndarray:
    """(WINDOW_PX * (WINDOW_PX // 2 + 1), BANDS) float32: mean power in each ring and each ring's sectors."""
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
