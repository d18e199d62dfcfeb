"""Noise with the structures pressed down: every voxel's whitened residual over what is usual around it.

A vessel's edge is ten times as high as the noise, and anatomy resembles itself. Divided by the residual's own local
level and cut off, an edge weighs no more than noise does. Divided by the scan's own spectrum before, all frequencies
weigh alike, so that what two places share is counted voxel by voxel and not grain by grain.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import fft, ndimage

AIR_HU = -1100  # clipped below: padding and air
CEILING_HU = 300  # clipped above: bone, metal, contrast
MEAN_PX = 5  # side of the mean that is taken off
LEVEL_PX = 11  # side of the square that local level is taken from
LIMIT = 2.5  # in local levels; beyond it is structure
EDGE_HU = 80.0  # a residual beyond it is an edge: cut off before the spectrum is taken
ROUNDING_HU2 = 1 / 6  # variance of rounding to whole HU in two places: no frequency with less is made to count
SPECTRUM_SLICES = 12  # from which the scan's spectrum is taken
RINGS = 48  # of it, from 0 to the corner


def high_pass(hu: np.ndarray) -> np.ndarray:
    """(..., y, x) float32 HU less their mean in `MEAN_PX` x `MEAN_PX` pixels of the same slice.

    Linear, so that noise which was added to a slice is added to its residual.
    """
    clipped = np.clip(hu, AIR_HU, CEILING_HU).astype(np.float32)
    return clipped - _mean(clipped, MEAN_PX)


def find_whitening(hu: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """How much each frequency has to be raised for the residual of the lungs to be white.

    Parameters
    ----------
    hu
        (z, y, x) Hounsfield units.
    mask
        (z, y, x) bool, the lungs.

    Returns
    -------
    numpy.ndarray
        (y, x // 2 + 1) float32, for `scipy.fft.rfft2` of a slice; of the radius alone, so that turning a slice turns
        its whitened residual.
    """
    lit = np.flatnonzero(mask.any(axis=(1, 2)))
    chosen = lit[np.linspace(0, len(lit) - 1, min(SPECTRUM_SLICES, len(lit))).astype(int)]
    ring = _rings(hu.shape[1:])
    count = np.maximum(np.bincount(ring.ravel(), minlength=RINGS), 1)
    power = np.zeros(RINGS)
    for z in chosen:
        residual = np.where(mask[z], np.clip(high_pass(hu[z]), -EDGE_HU, EDGE_HU), 0)
        energy = np.abs(fft.rfft2(residual)) ** 2 / mask[z].sum()
        power += np.bincount(ring.ravel(), energy.ravel(), minlength=RINGS) / count / len(chosen)
    return (1 / np.sqrt(power + ROUNDING_HU2)).astype(np.float32)[ring]


def level_residual(hu: np.ndarray, whitening: np.ndarray, *, workers: int = 1) -> np.ndarray:
    """(z, y, x) float32 whitened residual in units of its own local level, between -`LIMIT` and `LIMIT`.

    Parameters
    ----------
    hu
        (z, y, x) Hounsfield units.
    whitening
        As `find_whitening` gives it for slices of this size.
    workers
        Threads.
    """

    def level(of_slice: np.ndarray) -> np.ndarray:
        residual = np.clip(high_pass(of_slice), -EDGE_HU, EDGE_HU)
        residual = fft.irfft2(fft.rfft2(residual) * whitening, residual.shape)
        usual = np.sqrt(np.maximum(_mean(np.square(residual), LEVEL_PX), 1e-6))
        return np.clip(residual / usual, -LIMIT, LIMIT).astype(np.float32)

    out = np.empty(hu.shape, np.float32)
    with ThreadPoolExecutor(workers) as pool:
        for z, values in enumerate(pool.map(level, hu)):
            out[z] = values
    return out


def _rings(shape: tuple[int, int]) -> np.ndarray:
    """(y, x // 2 + 1) int: which ring of the spectrum a frequency is in."""
    radius = np.hypot(*np.meshgrid(fft.fftfreq(shape[0]), fft.rfftfreq(shape[1]), indexing="ij"))
    return np.minimum((radius / np.sqrt(0.5) * RINGS).astype(int), RINGS - 1)


def _mean(values: np.ndarray, size: int) -> np.ndarray:
    """Mean over squares of that many pixels, slice by slice, edges repeated."""
    for axis in (-2, -1):
        values = ndimage.uniform_filter1d(values, size, axis=axis, mode="nearest")
    return values
