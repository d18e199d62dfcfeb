"""Forgeries of single slices in general: any paint, any noise, any footprint, any blend, drawn at random.

No forger in particular is imitated. What they have in common is that a part of a slice is replaced by what did not come
out of the scanner at this place: smoothed, resampled, taken from elsewhere, with a structure put on top, with noise
added by some law, or with nothing of these but a second pass through an interpolation. A network that learns to see
such parts on slices of many scanners has less to unlearn when a new forger comes. Each draw says which methods and
touch-ups of the lab it resembles, so that a measurement that leaves one of them out can leave it out here, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from verict.tamper.cubes import as_dtype, sigmoid

LUNG_BELOW_HU = -700.0  # an injection's noise sits on what is denser
RESEMBLES_PAINT = {
    "smooth": ("inpaint", "diffusion"),
    "median": ("inpaint",),
    "resample": ("ctgan", "splice", "splice-poisson", "diffusion"),
    "elsewhere": ("copy-move",),
    "other": ("splice", "splice-poisson"),
    "same": (),
}
RESEMBLES_NOISE = {
    "none": ("none",), "white": ("white",), "grains": ("zoomed",), "law": (), "copied": ("copied",),
    "matched": ("matched",), "resampled": ("resampled",),
}  # fmt: skip
BALL = "parametric"  # what a structure put on top resembles


@dataclass(frozen=True, eq=False)
class Blend:
    """One forged slice.

    Parameters
    ----------
    hu
        (y, x), dtype of the slice.
    is_bright
        Whether a structure was put on top.
    paint, noise
        Names in `RESEMBLES_PAINT` and `RESEMBLES_NOISE`.
    resembles
        Methods and touch-ups of the lab it is akin to.
    """

    hu: np.ndarray
    is_bright: bool
    paint: str
    noise: str
    resembles: frozenset[str]


def blend_slice(
    hu: np.ndarray, centre_yx: tuple[int, int], pixel_mm: float, rng: np.random.Generator, other: np.ndarray
) -> Blend:
    """Forge one place of a slice.

    Parameters
    ----------
    hu
        (y, x) HU, any real dtype.
    centre_yx
        Pixel in the middle of the forged part.
    pixel_mm
        Size of a pixel.
    rng
        Of all choices.
    other
        (h, w) HU of another slice, of at least 72 mm a side, to take tissue from.
    """
    half = round(rng.uniform(9, 24) / pixel_mm)
    y, x = (int(np.clip(c, half, n - half - 1)) for c, n in zip(centre_yx, hu.shape, strict=True))
    box = np.s_[y - half : y + half + 1, x - half : x + half + 1]
    here = hu[box].astype(np.float32)
    paint = str(rng.choice(list(RESEMBLES_PAINT), p=[0.2, 0.1, 0.25, 0.15, 0.15, 0.15]))
    noise = str(rng.choice(list(RESEMBLES_NOISE)))
    if paint == "same" and noise == "none":
        noise = "resampled"
    new = _PAINTS[paint](hu, here, (y, x), half, other, rng)
    is_bright = bool(rng.random() < 0.5)
    resembles = {*RESEMBLES_PAINT[paint], *RESEMBLES_NOISE[noise]}
    core = _footprint(here.shape, rng, largest=0.75)
    if paint != "same":
        new = here + core * (new - here)
    if is_bright:
        new = _put_ball(new, pixel_mm, rng)
        resembles.add(BALL)
    added = _make_noise(noise, hu, new, here, at=(y, x), half=half, rng=rng)
    window = _footprint(here.shape, rng, largest=1.0)
    if is_bright and rng.random() < 0.5:  # as CT-GAN blends what it injects
        window = window * sigmoid((new - LUNG_BELOW_HU) / 70)
        result = np.maximum(here, here + window * (new + added - here))
    else:
        result = here + window * (new + added - here)
    out = hu.copy()
    out[box] = as_dtype(np.maximum(result, -1024), hu.dtype)
    return Blend(out, is_bright, paint, noise, frozenset(resembles))


def _footprint(shape: tuple[int, int], rng: np.random.Generator, *, largest: float) -> np.ndarray:
    """(h, w) float32 weights: box, disc or blob, its edge hard, soft or a bell."""
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    y, x = y[:, None] / rng.uniform(0.6, 1.0), x[None] / rng.uniform(0.6, 1.0)
    angle = rng.uniform(0, np.pi / 2) if rng.random() < 0.3 else 0.0
    y, x = y * np.cos(angle) - x * np.sin(angle), y * np.sin(angle) + x * np.cos(angle)
    power = float(rng.choice([2.0, 2.0, 4.0, 30.0]))  # from an ellipse to a box
    radius = (np.abs(y) ** power + np.abs(x) ** power) ** (1 / power) / (largest * rng.uniform(0.8, 1.0))
    if rng.random() < 0.3:
        wave = ndimage.gaussian_filter(rng.standard_normal(shape), min(shape) / 6)
        radius = radius * (1 + 0.25 * wave / (wave.std() + 1e-6))
    if rng.random() < 0.3:
        return np.exp(-((radius * 1.3) ** float(rng.choice([2, 4, 8])))).astype(np.float32)
    return sigmoid((1 - radius) / rng.uniform(0.01, 0.15)).astype(np.float32)


def _smooth(hu, here, at, half, other, rng) -> np.ndarray:
    return ndimage.gaussian_filter(here, rng.uniform(0.6, 5.0))


def _median(hu, here, at, half, other, rng) -> np.ndarray:
    return ndimage.median_filter(here, int(rng.choice([3, 5, 7])))


def _resample(hu, here, at, half, other, rng) -> np.ndarray:
    """Through another grid, moved by parts of a pixel, and back."""
    grid = rng.uniform(0.5, 1.3)
    order, move = int(rng.choice([1, 3, 3])), rng.uniform(-0.5, 0.5, 2)
    reduced = ndimage.shift(ndimage.zoom(here, grid, order=order, mode="nearest"), move, order=order, mode="nearest")
    back = [n / m for n, m in zip(here.shape, reduced.shape, strict=True)]
    return ndimage.zoom(reduced, back, order=order, mode="nearest")


def _elsewhere(hu, here, at, half, other, rng) -> np.ndarray:
    """The slice's own tissue, turned or mirrored or not."""
    place = [int(rng.integers(max(half, n // 5), min(n - half - 1, 4 * n // 5))) for n in hu.shape]
    found = hu[place[0] - half : place[0] + half + 1, place[1] - half : place[1] + half + 1].astype(np.float32)
    found = np.rot90(found, int(rng.integers(4)))
    found = found[::-1] if rng.random() < 0.5 else found
    return _fit_level(found, here)


def _other(hu, here, at, half, other, rng) -> np.ndarray:
    """Tissue of another slice, resampled by the ratio of their pixels or by any other."""
    side = round((2 * half + 1) * rng.uniform(0.7, 1.0))
    side = min(side, *(n - 1 for n in other.shape))
    y, x = (int(rng.integers(n - side)) for n in other.shape)
    found = other[y : y + side, x : x + side].astype(np.float32)
    factors = [n / side for n in here.shape]
    return _fit_level(ndimage.zoom(found, factors, order=int(rng.choice([1, 3])), mode="nearest"), here)


def _same(hu, here, at, half, other, rng) -> np.ndarray:
    return here.copy()


_PAINTS = {
    "smooth": _smooth, "median": _median, "resample": _resample, "elsewhere": _elsewhere, "other": _other,
    "same": _same,
}  # fmt: skip


def _fit_level(found: np.ndarray, here: np.ndarray) -> np.ndarray:
    """Moved to the level of what it replaces, halfway at least: nobody pastes bone into lung."""
    return found + (np.median(here) - np.median(found))


def _put_ball(image: np.ndarray, pixel_mm: float, rng: np.random.Generator) -> np.ndarray:
    """A solid or ground-glass ball with a bent surface and a soft edge; HU never falls."""
    n = image.shape[0]
    y, x = (np.mgrid[:n, :n].astype(np.float32) - n / 2 - rng.uniform(-2, 2)) * pixel_mm
    radius_mm = min(rng.uniform(2.5, 10), 0.75 * n * pixel_mm / 2)
    bent = ndimage.gaussian_filter(rng.standard_normal(image.shape), 6)
    bent = 1 + rng.uniform(0, 0.3) * bent / (bent.std() + 1e-6)
    inside = sigmoid((radius_mm * bent - np.hypot(y, x)) / rng.uniform(0.2, 0.8))
    level = rng.uniform(-60, 90) if rng.random() < 0.75 else rng.uniform(-600, -200)
    texture = ndimage.gaussian_filter(rng.standard_normal(image.shape), rng.uniform(0.0, 2.0))
    ball = level + rng.uniform(0, 25) * texture / (texture.std() + 1e-6)
    kept = rng.random() < 0.5  # whether what lies beneath keeps its noise
    fine = image - ndimage.gaussian_filter(image, 2.0) if kept else 0.0
    return image + inside * np.maximum(ball + fine - image, 0)


def _make_noise(
    law: str, hu: np.ndarray, new: np.ndarray, here: np.ndarray, *, at: tuple[int, int], half: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """(h, w) float32 HU to be added."""
    shape = here.shape
    fine = here - ndimage.gaussian_filter(here, 1.5)
    spread = max(float(1.4826 * np.median(np.abs(fine - np.median(fine)))), 3.0)
    level = spread * rng.uniform(0.4, 1.6)
    if law == "none":
        return np.zeros(shape, np.float32)
    if law == "white":
        return _scaled(rng.standard_normal(shape), level)
    if law == "grains":
        grain = rng.uniform(1.1, 2.2)
        small = rng.standard_normal([int(np.ceil(n / grain)) + 2 for n in shape])
        return _scaled(ndimage.zoom(small, grain, order=int(rng.choice([1, 3])))[: shape[0], : shape[1]], level)
    if law == "law":
        ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
        k = np.maximum(np.hypot(ky, kx) / 0.5, 1 / max(shape))
        gain = k ** rng.uniform(-0.5, 1.0) * np.exp(-((k / rng.uniform(0.5, 1.2)) ** rng.uniform(2, 6)))
        return _scaled(np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * gain, shape), level)
    if law == "copied":
        place = [int(rng.integers(max(half, n // 5), min(n - half - 1, 4 * n // 5))) for n in hu.shape]
        found = hu[place[0] - half : place[0] + half + 1, place[1] - half : place[1] + half + 1].astype(np.float32)
        found = np.where(found > -800, np.median(found[found <= -800]) if (found <= -800).any() else -800, found)
        return (found - found.mean()).astype(np.float32)
    if law == "matched":  # the spectrum of what stands here, its phases drawn anew, in place of the new paint's own
        flat = np.clip(fine, -4 * spread, 4 * spread)
        phase = np.angle(np.fft.rfft2(rng.standard_normal(shape)))
        drawn = np.fft.irfft2(np.abs(np.fft.rfft2(flat)) * np.exp(1j * phase), shape)
        return (drawn - (new - ndimage.gaussian_filter(new, 1.5)) * (new < -500)).astype(np.float32)
    return (_resample(hu, new, at, half, new, rng) - new).astype(np.float32)


def _scaled(noise: np.ndarray, level: float) -> np.ndarray:
    return (noise * (level / (float(noise.std()) + 1e-6))).astype(np.float32)
