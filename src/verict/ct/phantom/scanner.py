"""A simulated CT scanner: anatomy in, slices in HU out, with noise and artefacts made in the projections.

Filtered back-projection is linear. A slice is therefore the anatomy as the kernel shows it, plus the filtered
back-projection of what the measured line integrals are off by: quantum and electronic noise, starved rays,
beam hardening. Only these errors are back-projected, once a slice; the anatomy itself suffers from no limit of
the projector. Errors belong to thin rows along z; each slice sums those its sensitivity profile covers, so
that overlapping slices share noise as those of a helical scan do.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import fft

from verict.ct.phantom.hardening import WATER_PER_MM, measure_rays
from verict.ct.phantom.kernels import KERNELS, Kernel, KernelShape, kernel_response
from verict.ct.phantom.projection import VIEWS, Projector

PHOTONS_PER_MM2 = 6e7  # detected at the isocentre in a turn at dose 1, in air: docs/phantom.md, "How much noise"
LEAST_COUNTS = 1.0  # a starved ray reads no less, or its logarithm would have no end
ROW_MM = 1.5  # thickest row of anatomy averaged into a slice
HU_RANGE = (-1024, 3071)  # 12 stored bits, as scanners write
_BATCH = 8  # slices worked on at once


class Anatomy(typing.Protocol):
    """Anything that can be scanned."""

    def draw_slab(self, z_mm: np.ndarray, size: int, pixel_mm: float) -> np.ndarray:
        """Sharp thin slices without noise at these heights, (len(z_mm), size, size) float32 HU.

        A slice depends on its own height alone; called from several threads at once.
        """


@dataclass(frozen=True)
class Protocol:
    """What the console is set to.

    Parameters
    ----------
    kernel
        Reconstruction kernel.
    dose
        Tube current times time, relative: 1 is a routine chest. The variance of quantum noise goes as 1 / dose.
    electronic_noise
        Standard deviation of what the electronics add to each ray, in counts.
    thickness_mm
        Width of the slice sensitivity profile at half its height.
    increment_mm
        Distance of slice centres; smaller than `thickness_mm` makes slices overlap.
    row_mm
        How far helical interpolation reaches along z: it rounds the profile's flanks and so gives neighbouring
        slices common noise.
    pixel_mm
        Side of a pixel.
    blur_mm
        Width of the focal spot, and of a detector cell, at the isocentre: they blur the anatomy, not the noise.
    beam_hardening
        Whether the beam holds many energies; water is corrected for, bone and metal are not.
    outside_hu
        What stands outside the circle of reconstruction; None where the square is filled with the image.
    """

    kernel: KernelShape = KERNELS[Kernel.STANDARD]
    dose: float = 1.0
    electronic_noise: float = 5.0
    thickness_mm: float = 2.0
    increment_mm: float = 2.0
    row_mm: float = 1.0
    pixel_mm: float = 0.7
    blur_mm: float = 0.6
    beam_hardening: bool = False
    outside_hu: int | None = None


def acquire(
    anatomy: Anatomy,
    protocol: Protocol,
    rng: np.random.Generator,
    *,
    slices: int,
    size: int = 512,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> np.ndarray:
    """Scan an anatomy.

    Parameters
    ----------
    anatomy
        What lies in the scanner; heights are relative to the middle of the volume.
    protocol
        How it is scanned.
    rng
        The same generator in the same state gives the same bytes, whatever `workers` is.
    slices, size
        Shape of the volume.
    progress
        Called with (slices done, slices in all).
    workers
        Threads; default one a core, at most 8.

    Returns
    -------
    np.ndarray
        (slices, size, size) int16 HU, -1024 to 3071, from the feet to the head.
    """
    scan = _Scan(anatomy, protocol, size, int(rng.integers(2**63)))
    out = np.empty((slices, size, size), np.int16)
    with ThreadPoolExecutor(max(1, min(workers or os.cpu_count() or 1, 8))) as pool:
        for first in range(0, slices, _BATCH):
            batch = range(first, min(first + _BATCH, slices))
            for index, hu in zip(batch, scan.make_slices(batch, slices, pool), strict=True):
                out[index] = hu
            if progress is not None:
                progress(batch.stop, slices)
    return out


def slice_profile(protocol: Protocol) -> tuple[float, np.ndarray]:
    """The slice sensitivity profile in rows.

    Returns
    -------
    tuple
        Distance of rows in mm, a whole part of the increment, and (2 n + 1,) float64 weights of the rows around
        a slice's centre, which sum to 1: a box of the slice's thickness rounded by helical interpolation.
    """
    thickest = min(protocol.thickness_mm / 2, ROW_MM)
    row_mm = protocol.increment_mm / np.ceil(protocol.increment_mm / thickest - 1e-6)
    reach = int(np.ceil((protocol.thickness_mm / 2 + protocol.row_mm) / row_mm))
    at_mm = (np.arange(-32 * reach - 16, 32 * reach + 17) + 0.0) * (row_mm / 32)
    box = np.clip((protocol.thickness_mm / 2 - np.abs(at_mm)) * (32 / row_mm) + 0.5, 0, 1)
    half = max(1, round(protocol.row_mm / row_mm * 32))
    triangle = 1 - np.abs(np.arange(-half + 1, half)) / half
    smooth = np.convolve(box, triangle / triangle.sum(), mode="same")
    weights = smooth[: (2 * reach + 1) * 32].reshape(2 * reach + 1, 32).sum(axis=1)
    weights = weights + weights[::-1]
    return row_mm, weights / weights.sum()


class _Scan:
    """One acquisition: draws each row of anatomy once and keeps what later slices still need."""

    def __init__(self, anatomy: Anatomy, protocol: Protocol, size: int, entropy: int) -> None:
        self.anatomy, self.protocol, self.size, self.entropy = anatomy, protocol, size, entropy
        self.row_mm, self.weights = slice_profile(protocol)
        self.steps = round(protocol.increment_mm / self.row_mm)  # rows from one slice to the next
        self.reach = len(self.weights) // 2
        corner_per_mm = 0.5**0.5 / protocol.pixel_mm  # the highest frequency of the pixels' Fourier plane
        self.projector = Projector(size, protocol.pixel_mm, max(protocol.kernel.cutoff_per_mm, corner_per_mm))
        self.response = kernel_response(self.projector.frequency_per_mm, protocol.kernel)
        self.shown = _show_response(size, protocol)
        offset_mm = np.abs(self.projector.offset_mm)
        photons = protocol.dose * PHOTONS_PER_MM2 / VIEWS * self.projector.pitch_mm * self.row_mm
        self.incident = (photons * shape_bowtie(offset_mm)).astype(np.float32)
        self.drawn: dict[int, np.ndarray] = {}
        self.errors: dict[int, np.ndarray] = {}

    def make_slices(self, batch: range, slices: int, pool: ThreadPoolExecutor) -> Iterator[np.ndarray]:
        """The slices of a batch, (size, size) int16 each; batches must come in order."""
        first, last = batch[0] * self.steps - self.reach, batch[-1] * self.steps + self.reach
        for rows in (self.drawn, self.errors):
            for row in [r for r in rows if r < first]:
                del rows[row]
        new = [row for row in range(first, last + 1) if row not in self.drawn]
        heights_mm = (np.array(new) - (slices - 1) / 2 * self.steps) * self.row_mm
        self.drawn.update(zip(new, pool.map(self._draw_row, heights_mm), strict=True))
        groups = sorted({row // self.steps for row in range(first, last + 1) if row not in self.errors})
        for errors in pool.map(self._make_errors, groups):
            self.errors.update(errors)
        return pool.map(self._make_slice, batch)

    def _draw_row(self, z_mm: float) -> np.ndarray:
        return self.anatomy.draw_slab(np.array([z_mm]), self.size, self.protocol.pixel_mm)[0]

    def _make_errors(self, group: int) -> dict[int, np.ndarray]:
        """Errors of the rows between two slices, (views, bins) float32 each; they share one projection."""
        rows = [r for r in range(group * self.steps, (group + 1) * self.steps) if r in self.drawn]
        mean_hu = self.drawn[rows[0]] if len(rows) == 1 else np.mean([self.drawn[r] for r in rows], axis=0)
        ideal, measured = measure_rays(mean_hu, self.projector, beam_hardening=self.protocol.beam_hardening)
        expected = self.incident * np.exp(-measured.raw)
        spread = np.sqrt(expected + np.float32(self.protocol.electronic_noise**2))
        few = expected < 20  # where the normal distribution stops being a good Poisson distribution
        hardened = measured.corrected - ideal
        errors = {}
        for row in rows:
            if row in self.errors:
                continue
            rng = np.random.default_rng((self.entropy, row + 2**31))  # rows below the first slice are negative
            normal = rng.standard_normal(expected.shape, np.float32)
            counts = expected + spread * normal
            counts[few] = rng.poisson(expected[few]) + self.protocol.electronic_noise * normal[few]
            noise = np.log(np.maximum(expected, 1e-6) / np.maximum(counts, LEAST_COUNTS))
            errors[row] = hardened + noise if self.protocol.beam_hardening else noise
        return errors

    def _make_slice(self, index: int) -> np.ndarray:
        rows = range(index * self.steps - self.reach, index * self.steps + self.reach + 1)
        hu = np.zeros((self.size, self.size), np.float32)
        rays = np.zeros((VIEWS, self.projector.bins), np.float32)
        for row, weight in zip(rows, self.weights.astype(np.float32), strict=True):
            hu += weight * self.drawn[row]
            rays += weight * self.errors[row]
        hu = fft.irfft2(fft.rfft2(hu) * self.shown, s=hu.shape)
        hu += self.projector.reconstruct(rays, self.response) * np.float32(1000 / WATER_PER_MM)
        if self.protocol.outside_hu is not None:
            from_centre = np.arange(self.size) - (self.size - 1) / 2
            hu[np.hypot(from_centre[:, None], from_centre) > self.size / 2] = self.protocol.outside_hu
        return np.clip(np.rint(hu), *HU_RANGE).astype(np.int16)


def shape_bowtie(offset_mm: np.ndarray) -> np.ndarray:
    """Share of the beam let through at each distance from the axis, 1 at the axis, by the bowtie filter.

    It evens out a cylinder of water 350 mm wide by half, and no ray gets less than a tenth.
    """
    chord_mm = np.sqrt(np.clip(350.0**2 - (2 * offset_mm) ** 2, 0, None))
    return np.maximum(np.exp(-0.5 * WATER_PER_MM * (350 - chord_mm)), 0.1)


def _show_response(size: int, protocol: Protocol) -> np.ndarray:
    """(size, size // 2 + 1) float32 what kernel, focal spot and detector cell leave of the anatomy."""
    y, x = fft.fftfreq(size, protocol.pixel_mm)[:, None], fft.rfftfreq(size, protocol.pixel_mm)
    frequency = np.hypot(y, x)
    return (kernel_response(frequency, protocol.kernel) * np.sinc(protocol.blur_mm * frequency) ** 2).astype(np.float32)
