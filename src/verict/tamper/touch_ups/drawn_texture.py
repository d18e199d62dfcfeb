"""Texture drawn anew from learnt spectra: phases of its own, the power, the directions and the slices of the scan.

`draw_noise` is Gaussian. `draw_tissue` is not, as lung is not: small vessels are few and bright. Its values are brought
to those of a real window in several bands of frequency, and back to the spectrum, in turns: the amplitude-adjusted
surrogates of Schreiber and Schmitz (Phys. Rev. Lett. 77, 635, 1996), band by band as Heeger and Bergen do for textures
(SIGGRAPH 1995). No voxel of the scan is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy import fft, ndimage

from verict.tamper.touch_ups.along_z import power_along_z
from verict.tamper.touch_ups.scan_texture import MARGIN_PX, Texture, between_rings, smooth_power, window_spectra

BAND_PX = (1.0, 2.0, 4.0)  # standard deviations of the Gaussians between whose means the bands lie
TURNS = 7
PADDING = 12  # voxels beyond which texture is hardly correlated
QUANTILES = 801
LEAST_NOISE_PART = 0.02  # of all power is noise, at any frequency
LEVEL_LIMIT = 0.8  # most that a frequency is brought to its level by, as a logarithm of amplitude
LEVEL_STEP = 0.35  # of it that is made up in a turn; a half would be all
LEVEL_MM = 8.0  # along z, to either side of the middle, in which the level is measured


def noise_power_of(texture: Texture, window: int) -> np.ndarray:
    """(side, side) power of one window that its structure does not account for."""
    power = texture.power[window]
    return np.maximum(power - texture.structure_power[window], LEAST_NOISE_PART * power)


def padded(shape: Sequence[int]) -> tuple[int, int, int]:
    """A larger shape, so that what is cut from its corner does not wrap around, quick to transform."""
    z, y, x = (fft.next_fast_len(n + PADDING, real=True) for n in shape)
    return z, y, x


def spectrum_of(power: np.ndarray, correlation: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """(z, y, x) power at each frequency of a volume, from that of windows and their correlation along z.

    Parameters
    ----------
    power
        (side, side) in-plane.
    correlation
        (lags, rings).
    shape
        Of the volume.
    """
    slices, rows, columns = shape
    side = power.shape[-1]
    grid = np.meshgrid(*(np.fft.fftfreq(n) * side for n in (rows, columns)), indexing="ij")
    plane = np.exp(ndimage.map_coordinates(np.log(power), grid, order=1, mode="grid-wrap"))
    radius = np.hypot(*grid)
    plane = np.where(radius < 1, plane * radius**2, plane)  # no window is as wide; the mean is left alone
    along = power_along_z(correlation, slices)
    low, high, part = between_rings(rows, columns, side)
    spectrum: np.ndarray = plane * (along[:, low] * (1 - part) + along[:, high] * part)
    return spectrum


def draw_noise(spectrum: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of that power spectrum, float64."""
    noise: np.ndarray = fft.irfftn(_random_spectrum(spectrum, rng), spectrum.shape)
    return noise


def draw_tissue(
    texture: Texture, window: int, shape: Sequence[int], slice_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """Lung like one of the windows, less its mean: its power, and values spread like its own in every band.

    Sparse texture has its power in few places: without more ado most of what is drawn would be weaker than the window
    it is like. So the power at each frequency is set by what is found in the middle of the shape, in every turn anew.

    Parameters
    ----------
    texture
        Of lung.
    window
        The window to be like.
    shape
        (z, y, x) in voxels.
    slice_mm
        Between slices.

    Returns
    -------
    numpy.ndarray
        float32 HU.
    """
    power = texture.power[window]
    room = (shape[0], *(max(n, texture.side) for n in shape[1:]))  # a box may be smaller than a window
    large = padded(room)
    wanted = _random_spectrum(spectrum_of(power, texture.correlation, large), rng)
    amplitude, field = np.abs(wanted), fft.irfftn(wanted, large)
    place = (np.arange(field.size) + 0.5) / field.size
    spread = [np.interp(place, np.linspace(0, 1, QUANTILES), q) for q in _quantiles(texture.stacks[window])]
    square = np.fft.fftfreq(large[1])[:, None] ** 2 + np.fft.rfftfreq(large[2]) ** 2
    means = [np.exp(-2 * (np.pi * sigma) ** 2 * square) for sigma in (0.0, *BAND_PX)]
    level = np.zeros(power.shape)
    steps = _steps(large, texture.side)
    middle = _middle_of(shape, slice_mm, texture.side)
    for _ in range(TURNS):
        found = smooth_power((np.abs(window_spectra(field[middle])) ** 2).mean(axis=0), power)
        level = np.clip(level + LEVEL_STEP * np.log(power / np.maximum(found, 1e-6)), -LEVEL_LIMIT, LEVEL_LIMIT)
        gain = np.exp(ndimage.map_coordinates(level, steps, order=1, mode="grid-wrap"))
        parts = fft.rfftn(field)
        field = fft.irfftn(parts * means[-1], large)
        for values, finer, coarser in zip(spread[:-1], means[:-1], means[1:], strict=True):
            field += _spread_like(fft.irfftn(parts * (finer - coarser), large), values)
        parts = fft.rfftn(_spread_like(field, spread[-1]))
        field = fft.irfftn(parts / np.maximum(np.abs(parts), 1e-9) * amplitude * gain, large)
    return field[: shape[0], : shape[1], : shape[2]].astype(np.float32)


def _steps(shape: Sequence[int], side: int) -> tuple[np.ndarray, ...]:
    """In-plane frequencies of half a spectrum, as of `scipy.fft.rfftn`, in steps of a window's."""
    return np.meshgrid(np.fft.fftfreq(shape[1]) * side, np.fft.rfftfreq(shape[2]) * side, indexing="ij")


def _middle_of(shape: Sequence[int], slice_mm: float, side: int) -> tuple[slice, ...]:
    """The window in the middle of a shape, over at most five slices within 8 mm."""
    reach = max(0, min(2, int(LEVEL_MM / slice_mm)))
    corner = [max(0, n // 2 - side // 2) for n in shape[1:]]
    middle = shape[0] // 2
    return (slice(max(0, middle - reach), middle + reach + 1), *(slice(c, c + side) for c in corner))


def _random_spectrum(spectrum: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Half a spectrum, as of `scipy.fft.rfftn`, of white noise weighted to that power."""
    half = spectrum[..., : spectrum.shape[-1] // 2 + 1]
    drawn: np.ndarray = fft.rfftn(rng.standard_normal(spectrum.shape)) * np.sqrt(half)
    return drawn


def _quantiles(like: np.ndarray) -> list[np.ndarray]:
    """Quantiles of the values in each band, and of all together; mean 0 and standard deviation 1."""
    means = [like] + [ndimage.gaussian_filter(like, (0, s, s), mode="nearest") for s in BAND_PX]
    quantiles = []
    for part in [finer - coarser for finer, coarser in pairwise(means)] + [like]:
        inner = part[:, MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
        values = (inner - inner.mean()) / max(float(inner.std()), 1e-6)
        quantiles.append(np.quantile(values, np.linspace(0, 1, QUANTILES)))
    return quantiles


def _spread_like(field: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The field with its values, in their order, replaced by others (sorted, standard deviation 1) of its spread."""
    ranked = np.empty(field.size)
    ranked[np.argsort(field, axis=None)] = values * field.std()
    return ranked.reshape(field.shape)
