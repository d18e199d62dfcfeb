"""Inpainting by a diffusion model: what its network sees, and the loop that samples from it.

The network is told the tissue around a hole, a smooth guess of what is in it, where the hole is and what nodule is
wanted there. Known tissue stands in its input without noise, the hole as noise that is taken away step by step
(Saharia et al., Palette, arXiv 2111.05826), by the deterministic to stochastic steps of DDIM (Song et al., arXiv
2010.02502, eq. 12 and 16). The network predicts the velocity (Salimans and Ho, arXiv 2202.00512).

The rim of a hole is soft. It is not mixed from paint and tissue, which would lower the noise there by k^2 + (1 - k)^2:
the hole grows into the rim while the noise falls, so that the outermost voxels are only retouched (as in Levin and
Fried, Differential Diffusion, arXiv 2306.00950).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from verict.tamper.holes import guess_tissue, mark_plain, measure_spread, smooth_in_plane

CLIP_HU = (-1024.0, 300.0)  # all lung and soft tissue; what is brighter is shown to the network as 300 HU
MIDDLE_HU, UNIT_HU = -750.0, 200.0  # the network's 0 and 1: lung texture has a spread of about 0.4
NODULE_UNIT_HU = 1000.0  # a nodule of 0 HU in air of -1000 HU is told to the network as 1
MULTIPLE = 8  # the network halves the voxels' number three times
CHANNELS = 5  # noisy hole in known tissue; guess; hole; nodule; spread of texture
LUNG_BELOW_HU = -600.0  # smoothed: where texture is measured
WALL_ABOVE_HU = -500.0  # walls and vessels, half way between lung and soft tissue
SPREADS = 0.1, 1.5  # limits of what texture is expected: 20 and 300 HU
LEAST_LEVELLED, LEVELS = 50, (0.4, 1.6)  # voxels from which texture is levelled, and by which factors at most
TRAINING_STEPS = 1000  # the noise levels that are learnt
COSINE_OFFSET = 0.008  # Nichol and Dhariwal, arXiv 2102.09672, eq. 17

Denoiser = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(1, 5, z, y, x) float32 and (1,) float32 noise level 0 to 999, to the velocity (1, 1, z, y, x)."""


def to_network(hu: np.ndarray) -> np.ndarray:
    """HU, clipped to -1024 to 300, in the network's units; float32."""
    return ((np.clip(hu, *CLIP_HU) - MIDDLE_HU) / UNIT_HU).astype(np.float32)


def from_network(values: np.ndarray) -> np.ndarray:
    """The network's units in HU, float32, -1024 to 300."""
    return np.clip(values * UNIT_HU + MIDDLE_HU, *CLIP_HU).astype(np.float32)


def tell_nodule(ball: np.ndarray, nodule_hu: float) -> np.ndarray:
    """What the network is told of a nodule: how much of each voxel it fills, times how dense it is."""
    density = (np.clip(nodule_hu, *CLIP_HU) + NODULE_UNIT_HU) / NODULE_UNIT_HU
    return (ball * density).astype(np.float32)


def kept_signal() -> np.ndarray:
    """(1000,) share of the signal's variance left at each noise level: the cosine schedule (arXiv 2102.09672)."""
    part = np.linspace(0, TRAINING_STEPS, TRAINING_STEPS + 1) / TRAINING_STEPS
    kept = np.cos((part + COSINE_OFFSET) / (1 + COSINE_OFFSET) * np.pi / 2) ** 2
    steps = np.clip(1 - kept[1:] / kept[:-1], 0, 0.999)
    return np.cumprod(1 - steps)


@dataclass(frozen=True, eq=False)
class Scene:
    """What is known of a place before it is painted.

    Parameters
    ----------
    known
        (z, y, x) float32, the tissue in the network's units; what stands in the hole is not read but at the rim.
    weight
        (z, y, x) float32, 0 to 1: how far each voxel is to be paint.
    step_mm
        (z, y, x) distance of voxels.
    ball
        (z, y, x) float32, 0 to 1: how much of each voxel the wanted nodule fills; zero where lung is wanted.
    nodule_hu
        Its density.
    """

    known: np.ndarray
    weight: np.ndarray
    step_mm: tuple[float, float, float]
    ball: np.ndarray
    nodule_hu: float


@dataclass(frozen=True, eq=False)
class Prior:
    """What is thought of a scene before it is painted; (z, y, x) float32 each.

    Parameters
    ----------
    guess
        In the hole: what goes on there, without texture, and the ball of the wanted nodule.
    smooth
        The tissue around, without texture.
    spread
        Of texture around each voxel, which the hole is to have, too.
    """

    guess: np.ndarray
    smooth: np.ndarray
    spread: np.ndarray


def think(scene: Scene) -> Prior:
    """The prior of a scene; nothing is read where the weight is 1."""
    hole = scene.weight > 0
    walls, lung = (float(to_network(np.array(hu))) for hu in (WALL_ABOVE_HU, LUNG_BELOW_HU))
    filled = guess_tissue(scene.known, hole, scene.step_mm, below=walls)
    wanted = filled + scene.ball * (to_network(np.array(scene.nodule_hu)) - filled)
    smooth = smooth_in_plane(np.where(scene.weight == 1, filled, scene.known), scene.step_mm)
    spread = np.clip(measure_spread(filled, hole, scene.step_mm, below=lung), *SPREADS)
    return Prior(wanted.astype(np.float32), smooth.astype(np.float32), spread.astype(np.float32))


def to_channels(scene: Scene, prior: Prior, hole: np.ndarray, noisy: np.ndarray) -> np.ndarray:
    """(5, z, y, x) float32: what the network sees; ``hole`` is bool, ``noisy`` is read within it."""
    shown, guess = np.where(hole, noisy, scene.known), np.where(hole, prior.guess, prior.smooth)
    nodule = tell_nodule(scene.ball, scene.nodule_hu)
    return np.stack([shown, guess, hole, nodule, prior.spread]).astype(np.float32)


def sample(
    denoise: Denoiser, scene: Scene, rng: np.random.Generator, *, steps: int = 20, eta: float = 1.0
) -> np.ndarray:
    """Paint a scene.

    Parameters
    ----------
    denoise
        The network.
    scene
        What is known; every side a multiple of 8 voxels.
    rng
        Of all noise.
    steps
        How often the network is called.
    eta
        How much fresh noise each step adds: 0 none (DDIM), 1 as much as DDPM.

    Returns
    -------
    numpy.ndarray
        (z, y, x) float32 in the network's units; where the weight is 0, what is known.
    """
    kept = kept_signal()
    levels = np.linspace(TRAINING_STEPS - 1, 0, steps + 1).round().astype(int)[:-1]
    prior = think(scene)
    noisy, before = rng.standard_normal(scene.known.shape, np.float32), scene.weight == 1
    for number, level in enumerate(levels):
        hole = scene.weight > level / TRAINING_STEPS
        joined = hole & ~before
        noise = rng.standard_normal(noisy.shape, np.float32)
        noisy = np.where(joined, np.sqrt(kept[level]) * scene.known + np.sqrt(1 - kept[level]) * noise, noisy)
        channels = to_channels(scene, prior, hole, noisy)
        velocity = denoise(channels[None], np.array([level], np.float32))[0, 0]
        following = float(kept[levels[number + 1]]) if number + 1 < steps else 1.0
        noisy = _step(noisy, velocity, (float(kept[level]), following), eta, rng)
        before = hole
    return np.where(before, noisy, scene.known).astype(np.float32)


def level_texture(painted: np.ndarray, scene: Scene) -> np.ndarray:
    """Bring the fine texture of painted lung to the spread of the texture around it.

    A network that never saw a scan's reconstruction kernel paints the texture of those it saw. Vessels, walls and
    nodules are left as they are painted, and so is the rim as far as it is not paint.

    Parameters
    ----------
    painted
        (z, y, x) float32 of `sample`.
    scene
        What it was painted into.
    """
    smooth = smooth_in_plane(painted, scene.step_mm)
    texture, spread = painted - smooth, think(scene).spread
    below = float(to_network(np.array(LUNG_BELOW_HU)))
    lung = (scene.weight > 0) & (scene.ball == 0) & mark_plain(smooth, scene.step_mm, below=below)
    if lung.sum() < LEAST_LEVELLED:
        return painted
    gain = np.clip(np.sqrt((spread[lung] ** 2).mean() / max(float((texture[lung] ** 2).mean()), 1e-6)), *LEVELS)
    levelled: np.ndarray = painted + lung * scene.weight * np.float32(gain - 1) * texture
    return levelled


def _step(
    noisy: np.ndarray, velocity: np.ndarray, kept: Sequence[float], eta: float, rng: np.random.Generator
) -> np.ndarray:
    """One step of DDIM, from the noise level that keeps ``kept[0]`` of the signal to that which keeps ``kept[1]``."""
    now, then = kept
    clean = np.sqrt(now) * noisy - np.sqrt(1 - now) * velocity
    clean = np.clip(clean, (CLIP_HU[0] - MIDDLE_HU) / UNIT_HU, (CLIP_HU[1] - MIDDLE_HU) / UNIT_HU)
    noise = (noisy - np.sqrt(now) * clean) / np.sqrt(1 - now)
    fresh = eta * np.sqrt((1 - then) / (1 - now) * (1 - now / then))
    stepped = np.sqrt(then) * clean + np.sqrt(max(1 - then - fresh**2, 0.0)) * noise
    if fresh > 0:
        stepped = stepped + fresh * rng.standard_normal(noisy.shape, np.float32)
    return stepped.astype(np.float32)
