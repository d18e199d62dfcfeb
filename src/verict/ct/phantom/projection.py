"""Parallel projections and filtered back-projection of one slice, both through its Fourier plane.

By the central slice theorem a projection's spectrum is a line through the slice's two-dimensional spectrum
(Kak and Slaney 1988, 10.1137/1.9780898719277, section 3.2). Both directions are then one sparse matrix, which
spreads the lines over a Cartesian grid or reads them from it, and fast Fourier transforms.
"""

from __future__ import annotations

import numpy as np
from scipy import fft, sparse

VIEWS = 720  # projections over half a turn; clinical scanners take about 1,000 a turn


class Projector:
    """Projects square slices of one size, and reconstructs them.

    Parameters
    ----------
    size
        Rows and columns of a slice.
    pixel_mm
        Side of a pixel.
    cutoff_per_mm
        Cycles per mm the rays must carry. Above the pixels' own limit, 0.5 / `pixel_mm`, what is reconstructed
        folds back, as in a scanner, whose kernels do not ask for the size of the pixels.

    Attributes
    ----------
    pitch_mm
        Distance of the rays of a view.
    offset_mm
        (bins,) float32 distance of each ray of a view from the axis of rotation.
    """

    def __init__(self, size: int, pixel_mm: float, cutoff_per_mm: float) -> None:
        self.size, self.pixel_mm = size, pixel_mm
        self.pitch_mm = min(pixel_mm, 0.5 / cutoff_per_mm)
        span_mm = 1.5 * size * pixel_mm  # over the corners of the slice
        self.bins = fft.next_fast_len(int(np.ceil(span_mm / self.pitch_mm)), real=True)
        self._grid = fft.next_fast_len(int(1.5 * size))
        places = fft.fftfreq(self.bins, 1 / self.bins)
        self.offset_mm = (places * self.pitch_mm).astype(np.float32)
        self.frequency_per_mm = fft.rfftfreq(self.bins, self.pitch_mm)
        self._lines = _fourier_lines(self._grid, self.frequency_per_mm * self._grid * pixel_mm)
        taper = np.sinc((np.arange(size) - size // 2) / self._grid) ** 4  # what the cubic B-spline does to an image
        self._untaper = (1 / (taper[:, None] * taper)).astype(np.float32)
        self._carried = self.frequency_per_mm <= 0.5 / pixel_mm

    def project(self, values: np.ndarray) -> np.ndarray:
        """Line integrals.

        Parameters
        ----------
        values
            (size, size) float32, per mm, 0 outside.

        Returns
        -------
        np.ndarray
            (views, bins) float32. Rays are in the order of `offset_mm`.
        """
        plane = np.zeros((self._grid, self._grid), np.float32)
        plane[: self.size, : self.size] = values * self._untaper
        plane = np.roll(plane, (-(self.size // 2), -(self.size // 2)), (0, 1))
        spectrum = (self._lines.T @ fft.fft2(plane).ravel()).reshape(VIEWS, -1)
        spectrum *= self._carried * np.float32(self.pixel_mm**2 / self.pitch_mm)
        return fft.irfft(spectrum, self.bins, axis=1)

    def reconstruct(self, rays: np.ndarray, response: np.ndarray) -> np.ndarray:
        """Filtered back-projection.

        Parameters
        ----------
        rays
            (views, bins) float32 line integrals.
        response
            (bins // 2 + 1,) what the kernel passes of each of `frequency_per_mm`; the ramp is added here.

        Returns
        -------
        np.ndarray
            (size, size) float32, per mm.
        """
        step = self.frequency_per_mm[1]
        ramp = self.frequency_per_mm.copy()
        ramp[0] = step / 12  # the end correction of the sum over radii (Euler and Maclaurin)
        weight = 2 * np.pi / VIEWS * step * ramp * response * self.pitch_mm * self._grid**2
        spectrum = fft.rfft(rays, axis=1) * weight.astype(np.float32)
        plane = fft.ifft2((self._lines @ spectrum.ravel()).reshape(self._grid, self._grid)).real
        plane = np.roll(plane, (self.size // 2, self.size // 2), (0, 1))
        return plane[: self.size, : self.size] * self._untaper


def _fourier_lines(grid: int, radius: np.ndarray) -> sparse.csr_matrix:
    """(grid * grid, views * radii) float32 cubic B-spline weights of each view's line in the plane."""
    angle = np.arange(VIEWS) * np.pi / VIEWS
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
