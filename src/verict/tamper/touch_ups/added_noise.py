"""CT-GAN's touch-ups: noise added over the paint and blended in with it; and none at all.

A cuboid without a blend of its own gets CT-GAN's larger cube and its windows (`verict.tamper.ctgan_touch_up`; facts of
Mirsky et al., USENIX Security 2019, and its published code). A family that blends by a weight of its own gets the same
noise within that weight and nothing beyond: (paint + noise) x weight is its paint and noise x weight.

What they leave: along z the cube ends in a step, for nothing fades there. On removal the noise stands on top of the
paint's own, by a window that leaves a square. White noise has no cutoff of any kernel and no likeness between slices;
zoomed noise has a cutoff of its own; copied noise is real, but stands in one scan as often as it was copied.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from verict.tamper.ctgan_touch_up import (
    TOUCH_UP_FACTOR,
    blend,
    copied_noise,
    lung_spread_hu,
    noise_level_hu,
    touched_up_voxels,
    zoom_of,
    zoomed_noise,
)
from verict.tamper.cubes import cube_around
from verict.tamper.forgery import Paint, Target, describe_box


class Untouched:
    """Pastes the paint as it is."""

    name = "none"
    summary = "pasted as it is"

    def apply(self, target: Target, paint: Paint, rng: np.random.Generator) -> Paint:
        """The paint itself, hard edges included."""
        return Paint(paint.box, paint.hu, paint.weight, {"noise": "none"})


class AddedNoise(ABC):
    """What the three noises share: where they go and how they are blended in."""

    def apply(self, target: Target, paint: Paint, rng: np.random.Generator) -> Paint:
        """Add noise over the larger cube and blend, or within the paint's own weight.

        ``details`` say the level of the noise, the cube's side in voxels, whether the scan's or the run's ends cut it
        off, and for copied noise which box of the scan it is.
        """
        lung_sd_hu = lung_spread_hu(target.hu[paint.box].astype(np.float32))
        if paint.weight is not None:
            noise, details = self.draw(target, paint.hu.shape, lung_sd_hu, rng)
            return Paint(paint.box, paint.hu + paint.weight * noise, paint.weight, {**details, "within": "own weight"})
        side = touched_up_side(paint)
        cube = cube_around(target.centre, (side,) * 3, target.hu.shape, run=target.run)
        before = target.hu[cube.box].astype(np.float32)
        painted = lay_over(before, cube.box, paint)
        noise, details = self.draw(target, painted.shape, lung_sd_hu, rng)
        reach = [offset / (side / 2) for offset in cube.offsets[1:]]
        touched_up = blend(before, painted, noise, reach, target.kind)
        details = {**details, "within": "cube", "touched_up_voxels": side, "clamped_at_ends": cube.is_clamped}
        return Paint(cube.box, touched_up.astype(np.float32), None, details)

    @abstractmethod
    def draw(
        self, target: Target, shape: tuple[int, ...], lung_sd_hu: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, dict[str, object]]:
        """Noise of that shape in HU, and what to say of it."""


class White(AddedNoise):
    """Gaussian noise, every voxel by itself."""

    name = "white"
    summary = "white Gaussian noise over the larger cube, blended in as CT-GAN does"

    def draw(
        self, target: Target, shape: tuple[int, ...], lung_sd_hu: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, dict[str, object]]:
        """30 HU on removal, 0.6 of the lung's spread on injection."""
        sd_hu = noise_level_hu(target.kind, lung_sd_hu)
        return rng.standard_normal(shape, np.float32) * np.float32(sd_hu), {"noise": "white", "noise_hu": sd_hu}


class Zoomed(AddedNoise):
    """Gaussian noise with grains of more than one voxel."""

    name = "zoomed"
    summary = "Gaussian noise zoomed to the lung's spread over the larger cube, CT-GAN's second noise"

    def draw(
        self, target: Target, shape: tuple[int, ...], lung_sd_hu: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, dict[str, object]]:
        """The level of `White`, zoomed by 1.3 x 60 HU / the lung's spread."""
        sd_hu, zoom = noise_level_hu(target.kind, lung_sd_hu), zoom_of(lung_sd_hu, TOUCH_UP_FACTOR)
        noise = zoomed_noise(shape, zoom, sd_hu, rng, margin=2 if shape[0] == 1 else 0)
        return noise, {"noise": "zoomed", "noise_hu": sd_hu, "zoom": zoom}


class Copied(AddedNoise):
    """Real noise of one fixed place of the scan, the same for every site: the published code's default."""

    name = "copied"
    summary = "noise copied from one fixed place of the scan over the larger cube, CT-GAN's default"

    def draw(
        self, target: Target, shape: tuple[int, ...], lung_sd_hu: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, dict[str, object]]:
        """From (0.5, 0.43, 0.27) of (z, y, x); what lies above -800 HU is flattened, the mean removed."""
        noise, start = copied_noise(target.hu, shape)
        z, y, x = (slice(a, a + n) for a, n in zip(start, shape, strict=True))
        return noise, {"noise": "copied", "noise_hu": float(noise.std()), "copied_from": describe_box((z, y, x))}


def touched_up_side(paint: Paint) -> int:
    """Side in voxels of CT-GAN's larger cube around a cuboid, that of the whole cuboid where the scan's end cut it."""
    return touched_up_voxels(np.asarray(paint.details.get("cuboid_voxels_zyx", paint.hu.shape)))


def lay_over(before: np.ndarray, box: tuple[slice, ...], paint: Paint) -> np.ndarray:
    """What stood in a box, with the part of the paint that lies in it laid over it hard-edged; float32."""
    painted = before.astype(np.float32)
    both = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, paint.box, strict=True)]
    if all(a < b for a, b in both):
        here, there = (
            tuple(slice(a - s.start, b - s.start) for (a, b), s in zip(both, origin, strict=True))
            for origin in (box, paint.box)
        )
        painted[here] = paint.hu[there]
    return painted
