"""A simulated CT scanner: kernels, and noise made in the projections.

The noise is made as a scanner makes it: in the projections, its variance from what each ray passed
through, then filtered and back-projected. It is therefore streaky, shaped by the kernel, and strongest at
the body's centre.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from scipy import fft, ndimage, sparse

WATER_PER_MM = 0.019  # attenuation of water at the mean energy of a 120 kV beam, about 70 keV (NIST XCOM)
VIEWS = 720  # projections over half a turn; clinical scanners take about 1,000 a turn
HELICAL_WEIGHT = 0.15  # part of a slice that comes from each neighbour, as in helical interpolation


class Kernel(StrEnum):
    """How sharply the slices are reconstructed."""

    SOFT = "soft"
    STANDARD = "standard"
    LUNG = "lung"


_CUTOFF_PER_MM = {Kernel.SOFT: 0.62, Kernel.STANDARD: 0.88, Kernel.LUNG: 1.0}  # where the kernel passes nothing
_EDGE_GAIN = {Kernel.SOFT: 0.0, Kernel.STANDARD: 0.1, Kernel.LUNG: 1.6}  # edge enhancement at half the cutoff


def kernel_response(frequency_per_mm: np.ndarray, kernel: Kernel) -> np.ndarray:
    """What the kernel passes of each spatial frequency (cycles per mm), 1 at zero, 0 from its cutoff on."""
    part = np.clip(frequency_per_mm / _CUTOFF_PER_MM[kernel], 0, 1)
    return 0.5 * (1 + np.cos(np.pi * part)) * (1 + _EDGE_GAIN[kernel] * np.sin(np.pi * part) ** 2)


def simulate_noise(
    hu: np.ndarray, spacing_mm: tuple[float, float, float], kernel: Kernel, rng: np.random.Generator
) -> np.ndarray:
    """Noise of a scan of `hu`, (z, y, x) float32 in arbitrary units.

    Each slice is projected (parallel beam), each ray gets white noise with the variance of its Poisson
    count, exp(line integral), and the noise alone is filtered with ramp times kernel and back-projected.
    Both projections go through the central slice theorem: views are lines in the slice's Fourier plane.
    """
    side = max(hu.shape[1:])
    bins = fft.next_fast_len(int(1.5 * side), real=True)  # rays a view, enough for the corners
    grid = fft.next_fast_len(int(1.5 * side))
    lines = _fourier_lines(grid, bins)
    taper_y, taper_x = (_grid_taper(n, grid) for n in hu.shape[1:])
    frequency = fft.rfftfreq(bins) / spacing_mm[1]
    ramp = (frequency * kernel_response(frequency, kernel)).astype(np.float32)
    noise = np.empty(hu.shape, np.float32)
    for z, slice_hu in enumerate(hu):
        attenuation = np.clip(1 + slice_hu / 1000, 0, None) * np.float32(WATER_PER_MM * spacing_mm[1])
        plane = np.zeros((grid, grid), np.float32)
        plane[: hu.shape[1], : hu.shape[2]] = attenuation / taper_y[:, None] / taper_x
        plane = np.roll(plane, (-(hu.shape[1] // 2), -(hu.shape[2] // 2)), (0, 1))
        spectrum = (lines.T @ fft.fft2(plane).ravel()).reshape(VIEWS, -1)
        integrals = np.clip(fft.irfft(spectrum, bins, axis=1), 0, 12)
        rays = rng.standard_normal(integrals.shape, np.float32) * np.exp(integrals / 2)
        spectrum = fft.rfft(rays, axis=1) * ramp
        plane = fft.ifft2((lines @ spectrum.ravel()).reshape(grid, grid)).real
        plane = np.roll(plane, (hu.shape[1] // 2, hu.shape[2] // 2), (0, 1))
        noise[z] = plane[: hu.shape[1], : hu.shape[2]] / taper_y[:, None] / taper_x
    return mix_slices(noise)


def _fourier_lines(grid: int, bins: int) -> sparse.csr_matrix:
    """(grid * grid, views * (bins // 2 + 1)) float32 cubic B-spline weights of each view's line in the plane."""
    angle = np.arange(VIEWS) * np.pi / VIEWS
    radius = np.arange(bins // 2 + 1) * (grid / bins)
    weights, places = [], []
    for along in (np.sin(angle), np.cos(angle)):
        position = (along[:, None] * radius).ravel()
        first = np.floor(position).astype(np.int64) - 1
        t = (position - first - 1)[:, None]
        cubic = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
        weights.append(np.hstack(cubic).astype(np.float32) / 6)
        places.append((first[:, None] + np.arange(4)) % grid)
    values = weights[0][:, :, None] * weights[1][:, None, :]
    cells = places[0][:, :, None] * grid + places[1][:, None, :]
    indptr = np.arange(values.shape[0] + 1) * 16
    return sparse.csc_matrix((values.ravel(), cells.ravel(), indptr), (grid * grid, values.shape[0])).tocsr()


def _grid_taper(size: int, grid: int) -> np.ndarray:
    """What the cubic B-spline of `_fourier_lines` does to an image, to be divided out."""
    return (np.sinc((np.arange(size) - size // 2) / grid) ** 4).astype(np.float32)


def mix_slices(values: np.ndarray) -> np.ndarray:
    """(z, y, x) with a part of each slice taken from its neighbours."""
    weights = [HELICAL_WEIGHT, 1 - 2 * HELICAL_WEIGHT, HELICAL_WEIGHT]
    return ndimage.correlate1d(values, weights, axis=0, mode="nearest")


def apply_kernel(hu: np.ndarray, spacing_mm: tuple[float, float, float], kernel: Kernel) -> np.ndarray:
    """(z, y, x) float32 HU as the kernel shows them."""
    y = fft.fftfreq(hu.shape[1], spacing_mm[1])[:, None]
    x = fft.rfftfreq(hu.shape[2], spacing_mm[2])
    response = kernel_response(np.hypot(y, x), kernel).astype(np.float32)
    return np.stack([fft.irfft2(fft.rfft2(s) * response, s=s.shape) for s in hu])
