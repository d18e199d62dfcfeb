"""The strongest attacker's touch-up: texture drawn from the scan's own spectrum, blended so that no variance dips.

What stood there keeps the weight b, from 1 at the edge of the paint to 0 where all is paint. Content goes linearly, b
and 1 - b. Noise goes by weights whose squares add to one, b for the real and sqrt(1 - b²) for the drawn: a linear blend
of two independent noises would leave (b² + (1 - b)²) of the variance, half of it in the middle of the zone.

- What the paint has of noise is taken off by the bilateral filter of `scan_texture`, edges are kept. Tissue is drawn
  that has the level, the in-plane spectrum with its directions and the correlation along z of one untouched window
  near, drawn at random: as windows differ, so do forgeries. What the same filter takes off it is the noise; where its
  structure is not used, noise takes the place of the power that both have in common.
- Smooth paint lacks the small vessels of lung as well, which hold most of the power below half the Nyquist frequency.
  What structure the paint lacks is made up by that of the drawn tissue, as far as the energy of structure lies below
  what is usual around. Where a network or a splice painted texture, less is added or none.
- Where the paint is dense, noise is that of soft tissue near.
- Along z tissue does not fade where a cuboid ends; it is drawn on condition of the real lung in the slices before and
  after. A fade would be blind to thick slices, of which a cuboid has four.
- Nothing reads below the lowest value of the scan, where scanners cut off.

For families without a weight the cuboid fades over its outer 6 mm in the plane, which they paint for context, and no
larger cube is touched. On injection the window is CT-GAN's in HU; the rule that HU never falls is not kept, for it
leaves only the upper half of the noise. For families with a weight all stays within it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from verict.errors import InputError
from verict.tamper.cubes import sigmoid
from verict.tamper.forgery import ForgeryKind, Paint, Target
from verict.tamper.touch_ups.along_z import ChangeOver
from verict.tamper.touch_ups.drawn_texture import draw_noise, draw_tissue, noise_power_of, padded, spectrum_of
from verict.tamper.touch_ups.scan_texture import (
    MARGIN_PX,
    Texture,
    Tissue,
    learn_texture,
    ring_power,
    smooth_power,
    split,
    window_spectra,
)

FADE_MM = 6.0  # the context CT-GAN paints around its hole
LEAST_FADES = 4  # into which a side of the cuboid must part
OWN_FADE_MM = 2.0  # for a weight that ends abruptly: noise needs a rim where content needs none
SEAM_WEIGHT = 0.1  # from here on content is wholly a weight's own
COARSE_MM = 6.0  # structure is what differs from a Gaussian mean of this standard deviation
FINE_MM = 2.0  # the same where its energy is compared, as the slope of a smooth fill is no structure
ENERGY_MM = 4.0  # over which its energy is averaged
BRIGHTEST = 3.0  # energy that counts of what stood there, in that of usual structure: a nodule is no texture
LEAST_SHOWN = 0.2  # of the structure that stood in a slice; below, what the paint has in common with it is chance
CORE = 0.98  # from this share of paint on nothing is read from what stood there
SOFT_BETWEEN_HU = (-600.0, -100.0)  # lung below, soft tissue above
CLIPPED = 8.0  # standard deviations of noise beyond which a voxel is a vessel one could name or a wall, not texture


class Matched:
    """Noise and texture drawn from the scan's own spectrum and slice correlation."""

    name = "matched"
    summary = "noise drawn from the scan's own spectrum and slice correlation, blended without a dip in the variance"

    def apply(self, target: Target, paint: Paint, rng: np.random.Generator) -> Paint:
        """Take the paint's noise off, draw noise and what structure is missing, and blend.

        ``weight`` is how far a voxel is not what stood there, 1 - b.

        Raises
        ------
        InputError
            If too little lung around the place is untouched to learn from.
        """
        lung = learn_texture(target, paint.box, Tissue.LUNG)
        if lung is None:
            raise InputError(
                "too little untouched lung around the place to learn its texture from",
                found="fewer than 12 windows of 16 pixels", expected="lung beside the painted box",
                next_step="choose a place deeper in the lung, or another touch-up",
            )
        before = target.hu[paint.box].astype(np.float32)
        mixed = _mix(target, paint, before, lung.noise_hu)
        drawn = np.sqrt(1 - mixed.kept**2)
        dense = _smoothstep((mixed.content - SOFT_BETWEEN_HU[0]) / (SOFT_BETWEEN_HU[1] - SOFT_BETWEEN_HU[0]))
        ends = _Ends.of(target, paint, mixed, lung.noise_hu)
        window = int(rng.choice(lung.typical))
        tissue = ends.draw_tissue(lung, window, rng)
        structure = split(tissue, lung.noise_hu)
        usual = float((_fine(structure, target.spacing_mm, FINE_MM) ** 2).mean())
        share = np.minimum(_missing_structure(target, paint, mixed, usual), drawn) * np.sqrt(1 - dense)
        lacking = draw_noise(spectrum_of(_lacking_power(lung, window), lung.correlation, padded(before.shape)), rng)
        noise = tissue - structure
        noise += np.sqrt((1 - share**2) / (1 + mixed.kept)) * lacking[tuple(slice(n) for n in before.shape)]
        soft = learn_texture(target, paint.box, Tissue.SOFT) if (dense * drawn).any() else None
        if soft is not None:
            power = _soft_power(soft, int(rng.choice(soft.typical)), paint, dense, lung.noise_hu)
            noise = np.sqrt(1 - dense) * noise + np.sqrt(dense) * ends.draw_noise(soft, power, rng)
        hu = mixed.content + mixed.kept * (before - mixed.stood) + drawn * noise + share * structure
        hu = np.where(mixed.kept < 1, np.maximum(hu, float(target.hu[target.run].min())), before)
        details = {
            "noise": "matched",
            "windows": len(lung.corners),
            "window_px": lung.side,
            "drawn_like_window": lung.corners[window].tolist(),
            "lung_noise_hu": round(lung.noise_hu, 2),
            "soft_tissue_windows": 0 if soft is None else len(soft.corners),
            "correlated_slices": len(lung.correlation) - 1,
            "structure_added": round(float((share**2).mean()), 4),
            "within": "cuboid" if paint.weight is None else "own weight",
        }
        return Paint(paint.box, hu.astype(np.float32), (1 - mixed.kept).astype(np.float32), details)


@dataclass(frozen=True, eq=False)
class _Mixed:
    """Content, without noise: ``stood`` there, and blended with the paint's.

    ``paint`` is the share of the paint in it, ``kept`` the weight of the real noise; all (z, y, x) float32.
    """

    stood: np.ndarray
    content: np.ndarray
    paint: np.ndarray
    kept: np.ndarray


def _mix(target: Target, paint: Paint, before: np.ndarray, noise_hu: float) -> _Mixed:
    """Blend the content of the paint with what stood there."""
    stood, painted = split(before, noise_hu), split(paint.hu, noise_hu)
    if paint.weight is not None:
        inside_mm = np.stack([ndimage.distance_transform_edt(w > 0, target.spacing_mm[1:]) for w in paint.weight])
        share = np.minimum(paint.weight, _fade(inside_mm / OWN_FADE_MM)).astype(np.float32)
        content = stood + np.clip(paint.weight / SEAM_WEIGHT, 0, 1) * (painted - stood)
        return _Mixed(stood, content, share, 1 - share)
    along, down, across = _edge_fades(target, paint)
    share = along[:, None, None] * (down[:, None] * across)
    if target.kind is ForgeryKind.INJECT:
        share = share * sigmoid((painted + 700) / 70)
    return _Mixed(stood, stood + share * (painted - stood), share, 1 - share)


def _edge_fades(target: Target, paint: Paint) -> list[np.ndarray]:
    """Along z, y and x: 0 at the cuboid's faces, 1 inside; no fade at a face where the run or the image ends."""
    fades = []
    limits = ((target.run.start, target.run.stop), *((0, n) for n in target.hu.shape[1:]))
    for side, (first, stop), step_mm in zip(paint.box, limits, target.spacing_mm, strict=True):
        count = side.stop - side.start
        from_face_mm = (np.arange(count) + 0.5) * step_mm
        width_mm = min(FADE_MM, count * step_mm / LEAST_FADES)
        fade = np.ones(count, np.float32)
        if side.start > first:
            fade = np.minimum(fade, _fade(from_face_mm / width_mm))
        if side.stop < stop:
            fade = np.minimum(fade, _fade(from_face_mm[::-1] / width_mm))
        fades.append(fade.astype(np.float32))
    return fades


def _fade(part: np.ndarray) -> np.ndarray:
    """From 0 to 1 so that the weights of real and drawn noise are a cosine and a sine of the part of the way."""
    faded: np.ndarray = 1 - np.cos(math.pi / 2 * np.clip(part, 0, 1))
    return faded


@dataclass(frozen=True, eq=False)
class _Ends:
    """What is drawn over a box, and how it goes on from the slices of which something real is left.

    Real noise fades as `_mix` says. Real structure is left as far as the paint shows it: a network shows its context
    again, up to the face of the hole. ``noise_angles`` and ``structure_angles`` are (n,), ``known`` (m,) the slices
    with something real, those of the box being 0 to n - 1, ``real`` and ``real_noise`` (m, y, x) what they hold less
    its coarse mean, and its noise.
    """

    shape: tuple[int, int, int]
    slice_mm: float
    noise_angles: np.ndarray
    structure_angles: np.ndarray
    known: np.ndarray
    real: np.ndarray
    real_noise: np.ndarray

    @classmethod
    def of(cls, target: Target, paint: Paint, mixed: _Mixed, noise_hu: float) -> _Ends:
        """For a cuboid what its faces along z need; paint with a weight of its own ends of itself."""
        count, first = len(paint.hu), paint.box[0].start
        noise, structure, known = np.full(count, math.pi / 2), np.full(count, math.pi / 2), np.empty(0, int)
        if paint.weight is None:
            noise = np.arccos(1 - _edge_fades(target, paint)[0])
            structure = _shown_angles(target, paint, mixed)
            reach = max(2, round(FADE_MM / target.spacing_mm[0]))
            at = np.arange(max(target.run.start - first, -reach), min(target.run.stop - first, count + reach))
            known = at[_at(np.minimum(noise, structure), at) < math.pi / 2 - 1e-6]
        real = target.hu[first + known, paint.box[1], paint.box[2]].astype(np.float32)
        limit = CLIPPED * max(noise_hu, 1)
        return cls(
            shape=(count, *paint.hu.shape[1:]),
            slice_mm=target.spacing_mm[0],
            noise_angles=noise,
            structure_angles=structure,
            known=known,
            real=np.clip(_fine(real, target.spacing_mm, COARSE_MM), -limit, limit),
            real_noise=real - split(real, noise_hu),
        )

    def draw_noise(self, texture: Texture, power: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Gaussian noise of that in-plane power."""
        spectrum = spectrum_of(power, texture.correlation, padded(self.shape))
        noise = draw_noise(spectrum, rng)[: self.shape[0], : self.shape[1], : self.shape[2]]
        left = _left_over(_passed(texture))
        change = self._change(np.zeros_like(left))
        return change.continue_from(noise, self.real_noise, texture.correlation, left, texture.side)

    def draw_tissue(self, lung: Texture, window: int, rng: np.random.Generator) -> np.ndarray:
        """Lung like a window's, without its mean."""
        tissue = draw_tissue(lung, window, self.shape, self.slice_mm, rng)
        passed = _passed(lung)
        change, every = self._change(np.sqrt(passed)), np.ones_like(passed)
        return change.continue_from(tissue, self.real, lung.correlation, every, lung.side).astype(np.float32)

    def _change(self, structure: np.ndarray) -> ChangeOver:
        """By (rings,) share of structure in the amplitude: what is real at a ring is left as its parts are."""
        left = (1 - structure) * np.cos(self.noise_angles)[:, None] + structure * np.cos(self.structure_angles)[:, None]
        angles = np.arccos(np.clip(left, 0, 1))
        return ChangeOver(angles, _at(angles, self.known), self.known)


def _at(angles: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Angles (n, ...) of slices, 0 beyond those that are drawn."""
    inside = (places >= 0) & (places < len(angles))
    found = angles[np.clip(places, 0, len(angles) - 1)]
    return np.where(inside.reshape(-1, *[1] * (angles.ndim - 1)), found, 0)


def _passed(texture: Texture) -> np.ndarray:
    """(rings,) share of the power that is structure to the filter."""
    passed: np.ndarray = ring_power(texture.structure_power.mean(axis=0)) / ring_power(texture.power.mean(axis=0))
    return np.clip(passed, 0, 1)


def _lacking_power(lung: Texture, window: int) -> np.ndarray:
    """(side, side) power of noise that what the filter takes off a window does not hold."""
    stack = lung.stacks[window]
    off = window_spectra((stack - split(stack, lung.noise_hu))[:, MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX])
    taken = smooth_power((np.abs(off) ** 2).mean(axis=0), lung.power[window])
    return np.maximum(noise_power_of(lung, window) - taken, 1e-6)


def _shown_angles(target: Target, paint: Paint, mixed: _Mixed) -> np.ndarray:
    """Arc cosine of how much of the structure that stood in a slice the content shows, deeper in never more of it."""
    stood, content = (_fine(part, target.spacing_mm, FINE_MM) for part in (mixed.stood, mixed.content))
    _, down, across = _edge_fades(target, paint)
    middle = np.ix_(np.arange(len(stood)), down == 1, across == 1)
    stood, content = stood[middle], content[middle]
    shown = (stood * content).sum(axis=(1, 2)) / np.maximum((stood**2).sum(axis=(1, 2)), 1e-6)
    half = (len(shown) + 1) // 2
    least = np.minimum(
        np.r_[np.minimum.accumulate(shown[:half]), np.full(len(shown) - half, np.inf)],
        np.r_[np.full(len(shown) - half, np.inf), np.minimum.accumulate(shown[::-1][:half])[::-1]],
    )
    angles: np.ndarray = np.arccos(np.clip(np.where(least < LEAST_SHOWN, 0, least), 0, 1))
    return angles


def _left_over(passed: np.ndarray) -> np.ndarray:
    """Power of what a filter takes off, in all that is not what it passes, from the power it passes.

    A linear filter that passes g of the amplitude takes off (1 - g)² of the power, and 1 - g² is not what it passes.
    """
    amplitude = np.sqrt(np.clip(passed, 0, 1))
    share: np.ndarray = (1 - amplitude) / (1 + amplitude)
    return share


def _soft_power(soft: Texture, window: int, paint: Paint, dense: np.ndarray, noise_hu: float) -> np.ndarray:
    """(side, side) power of the noise that dense paint lacks.

    The filter leaves coarse noise where there is any. Paint of which it takes off as much as of soft tissue is taken to
    have kept as much; paint of which it takes off nothing has none, and gets all of it.
    """
    fine = noise_power_of(soft, window)
    real = np.concatenate([stack - split(stack, noise_hu) for stack in soft.stacks])
    own = (paint.hu - split(paint.hu, noise_hu))[dense > 0.5]
    has = float((own**2).mean() / max(float((real**2).mean()), 1e-6)) if own.size else 1.0
    power: np.ndarray = fine + (1 - min(has, 1.0)) * np.maximum(soft.power[window] - fine, 0)
    return power


def _missing_structure(target: Target, paint: Paint, mixed: _Mixed, usual: float) -> np.ndarray:
    """(z, y, x) 0 to 1: how much drawn structure is to be added, as an amplitude.

    Its square is what the content lacks of the energy it should have, in that of usual structure. Where all is paint
    it should have what is usual. In the fade it should have what was kept and what is usual in proportion, except for
    what the paint shows again of what stood there.
    """
    stood, content = (_fine(part, target.spacing_mm, FINE_MM) for part in (mixed.stood, mixed.content))
    core = mixed.paint > CORE
    sigma = [0.0, *(ENERGY_MM / s for s in target.spacing_mm[1:])]
    energy_stood, energy, alike = (_zone_mean(v, core, sigma) for v in (stood**2, content**2, stood * content))
    share = np.maximum(mixed.paint, 1e-3)
    shown = np.clip((alike / np.maximum(energy_stood, 1e-3) - (1 - share)) / share, 0, 1)
    kept = np.minimum(energy_stood, BRIGHTEST * usual)
    wanted = np.where(core, usual, shown * energy + (1 - shown) * ((1 - share) * kept + share * usual))
    missing = np.clip((wanted - energy) / max(usual, 1e-6), 0, 1)
    if paint.weight is None:  # in the plane a cuboid's context shows what stood there up to the face of the hole
        _, down, across = _edge_fades(target, paint)
        missing = np.where(down[:, None] * across > CORE, missing, 0)
    smooth = ndimage.gaussian_filter(missing, [0.0, *(1 / s for s in target.spacing_mm[1:])], mode="nearest")
    return np.sqrt(smooth)


def _fine(structure: np.ndarray, spacing_mm: tuple[float, float, float], coarse_mm: float) -> np.ndarray:
    """What differs from a Gaussian mean of that standard deviation in the plane."""
    sigma = [0.0, *(coarse_mm / s for s in spacing_mm[1:])]
    fine: np.ndarray = structure - ndimage.gaussian_filter(structure, sigma, mode="nearest")
    return fine


def _zone_mean(values: np.ndarray, zone: np.ndarray, sigma: list[float]) -> np.ndarray:
    """Local mean in which a zone and what is beyond it do not mix."""
    mean = np.zeros(values.shape, np.float32)
    for part in (zone, ~zone):
        weight = part.astype(np.float32)
        total = ndimage.gaussian_filter(values * weight, sigma, mode="nearest")
        mean += weight * total / np.maximum(ndimage.gaussian_filter(weight, sigma, mode="nearest"), 1e-6)
    return mean


def _smoothstep(part: np.ndarray) -> np.ndarray:
    """From 0 to 1 without a kink."""
    inside = np.clip(part, 0, 1)
    smooth: np.ndarray = inside * inside * (3 - 2 * inside)
    return smooth
