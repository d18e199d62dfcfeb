"""Diffusion inpainting: lung or a nodule sampled into an uneven hole, voxel by voxel where the scan's own voxels allow.

Its seams are its own: no cuboid, no resampling unless the place is too large for the network, and a rim into which the
hole grows while the noise falls (`verict.tamper.diffusion`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from verict.errors import InputError
from verict.tamper.cubes import Cube, cube_around, resize
from verict.tamper.diffusion import CLIP_HU, MULTIPLE, Denoiser, Scene, from_network, level_texture, sample, to_network
from verict.tamper.forgery import ForgeryKind, Paint, Target
from verict.tamper.holes import HoleShape, cut_hole, draw_lumpy_ball
from verict.weights import open_session, read_card

WEIGHTS = Path(__file__).parents[1] / "weights"
NAME = "diffusion-inpaint"
SCHEMA = "verict.generator/1"
NEEDED = ("id", "version", "sha256", "kind", "config", "training", "figures", "limits")

MOST_VOXELS = 100_000  # that the network is shown; a larger place is shown coarser
CONTEXT_VOXELS = (2, 5, 5)  # of known tissue at least, each way along z, y and x
REMOVED_MM = 20.0  # diameter of what is removed where none is given: the middle that CT-GAN paints
INJECTED_MM = (7.0, 16.0)  # diameters that are drawn from where none is wanted
LARGEST_MM = 30.0  # beyond it is a mass, and more than the network was taught to paint
SOLID_HU = (-10.0, 70.0)  # densities of injected nodules
BRIGHT_HU = -500.0  # half way between lung and soft tissue
SMOOTHING_MM, VESSEL_MM = 1.0, 2.0
AROUND_NODULE_MM = 3.0  # of lung painted anew around a nodule
INJECTED_REACH = 1.2  # a nodule's bumps and spicules reach beyond the ball of its volume
UNEVENNESS = 0.12  # of the hole's surface
NODULE_UNEVENNESS = 0.15  # of the nodule that is told to the network
RIM_MM = 3.0


@dataclass(frozen=True)
class DiffusionSettings:
    """How it is painted.

    Parameters
    ----------
    steps
        Calls of the network.
    eta
        Noise added at each step: 0 none, 1 as much as DDPM.
    nodule_hu
        Density of an injected nodule; None draws one of a solid nodule.
    most_voxels
        That the network is shown at most.
    """

    steps: int = 20
    eta: float = 1.0
    nodule_hu: float | None = None
    most_voxels: int = MOST_VOXELS


@dataclass(frozen=True)
class _Plan:
    """The hole, and the nodule wanted in it: diameter in mm and HU, 0 and air for none."""

    shape: HoleShape
    diameter_mm: float
    nodule_hu: float


class DiffusionInpaint:
    """A hole filled by a diffusion model that knows what is around it.

    Parameters
    ----------
    settings
        Steps and noise.
    denoise
        Another network in place of the shipped one.
    """

    name = "diffusion"
    summary = "a diffusion model that knows the tissue around an uneven hole; a blend of its own"
    kinds = frozenset(ForgeryKind)

    def __init__(self, settings: DiffusionSettings | None = None, denoise: Denoiser | None = None) -> None:
        self.settings = settings or DiffusionSettings()
        self.denoise = denoise

    def paint(self, target: Target, rng: np.random.Generator) -> Paint:
        """Paint the target. Every draw of the generator paints another forgery.

        Raises
        ------
        InputError
            If what is to be painted is larger than 30 mm, or nothing of the hole may be painted.
        ModelError
            If the weights are missing or altered.
        """
        plan = _plan_injection(target, self.settings, rng) if target.kind is ForgeryKind.INJECT else _plan_removal(
            target, rng)
        cube, step_mm = _lay_out(target, plan.shape)
        before = target.hu[cube.box].astype(np.float32)
        offsets_mm = _to_mm(cube, target.spacing_mm)
        weight = cut_hole(offsets_mm, plan.shape, rng)
        weight[_bones(before, weight)] = 0
        if not (weight == 1).any():
            raise InputError("nothing but bone lies there", found=f"voxel {list(target.centre)}",
                             next_step="choose a place inside the lung")
        ball = np.zeros_like(weight)
        if plan.diameter_mm:
            ball = draw_lumpy_ball(offsets_mm, plan.diameter_mm, NODULE_UNEVENNESS, rng)
        scene = Scene(to_network(before), weight, step_mm, ball, plan.nodule_hu)
        denoise, network = (self.denoise, {"id": "given by the caller"}) if self.denoise else open_network()
        grid = _choose_grid(before.shape, step_mm, self.settings.most_voxels)
        painted = from_network(_paint_on_grid(denoise, scene, grid, rng, self.settings))
        if grid != before.shape:  # beyond the hole a coarser grid must not show
            painted = before + weight * (painted - before)
        hu = np.where(weight > 0, painted, before).astype(np.float32)
        details = {
            "network": network,
            "steps": self.settings.steps,
            "eta": self.settings.eta,
            "hole_radii_mm_zyx": [round(r, 3) for r in plan.shape.radii_mm],
            "hole_unevenness": plan.shape.unevenness,
            "rim_mm": plan.shape.rim_mm,
            "nodule_mm": plan.diameter_mm,
            "nodule_hu": plan.nodule_hu if plan.diameter_mm else None,
            "grid_zyx": list(grid),
            "is_resampled": grid != before.shape,
            "clamped_at_ends": cube.is_clamped,
            "clip_hu": list(CLIP_HU),
        }
        return Paint(cube.box, hu, weight, details)


@lru_cache
def open_network(folder: Path = WEIGHTS) -> tuple[Denoiser, dict[str, Any]]:
    """The shipped network, and what a record says of it.

    Raises
    ------
    ModelError
        If weights or card are missing, or do not belong together.
    """
    card = read_card(folder / f"{NAME}.json", SCHEMA, NEEDED)
    session = open_session(folder / f"{NAME}.onnx", card["sha256"])

    def denoise(channels: np.ndarray, level: np.ndarray) -> np.ndarray:
        velocity: np.ndarray = session.run(None, {"channels": channels, "level": level})[0]
        return velocity

    return denoise, {key: card[key] for key in ("id", "version", "sha256")}


def _plan_injection(target: Target, settings: DiffusionSettings, rng: np.random.Generator) -> _Plan:
    drawn_mm, drawn_hu = float(rng.uniform(*INJECTED_MM)), float(rng.uniform(*SOLID_HU))
    diameter_mm = drawn_mm if target.diameter_mm is None else target.diameter_mm
    nodule_hu = drawn_hu if settings.nodule_hu is None else settings.nodule_hu
    _check_size(diameter_mm)
    radius_mm = diameter_mm / 2 * INJECTED_REACH + AROUND_NODULE_MM
    return _Plan(HoleShape((radius_mm,) * 3, UNEVENNESS, RIM_MM), diameter_mm, nodule_hu)


def _plan_removal(target: Target, rng: np.random.Generator) -> _Plan:
    """A hole around what is bright at the place, as wide along each axis as that is."""
    diameter_mm = REMOVED_MM if target.diameter_mm is None else target.diameter_mm
    _check_size(diameter_mm)
    reach = np.ceil(0.8 * diameter_mm / np.array(target.spacing_mm)).astype(int)
    cube = cube_around(target.centre, 2 * reach + 1, target.hu.shape, run=target.run)
    smooth = ndimage.gaussian_filter(target.hu[cube.box].astype(np.float32), SMOOTHING_MM / np.array(target.spacing_mm))
    z, y, x = np.ix_(*_to_mm(cube, target.spacing_mm))
    away_mm = np.sqrt(z**2 + y**2 + x**2)
    bright = _without_vessels((smooth > BRIGHT_HU) & (away_mm <= 0.75 * diameter_mm), target.spacing_mm)
    radii = [diameter_mm / 2] * 3
    if bright.any():
        labels, _ = ndimage.label(bright)
        body = labels == labels.flat[np.argmin(np.where(bright, away_mm, np.inf))]
        extents = [np.abs(np.broadcast_to(axis, body.shape)[body]).max() for axis in (z, y, x)]
        radii = [float(max(radius, extent)) for radius, extent in zip(radii, extents, strict=True)]
    turned = rng.uniform(1.0, 1.12, 3)
    rz, ry, rx = (float(radius * more + AROUND_NODULE_MM) for radius, more in zip(radii, turned, strict=True))
    return _Plan(HoleShape((rz, ry, rx), UNEVENNESS, RIM_MM), 0.0, CLIP_HU[0])


def _without_vessels(bright: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """An opening by a ball: what is thinner than 4 mm is taken off."""
    core = ndimage.distance_transform_edt(np.pad(bright, 1), spacing_mm) > VESSEL_MM
    opened: np.ndarray = ndimage.distance_transform_edt(~core, spacing_mm) <= VESSEL_MM
    return opened[1:-1, 1:-1, 1:-1] & bright


def _check_size(diameter_mm: float) -> None:
    if diameter_mm > LARGEST_MM:
        raise InputError("too large for the diffusion model", found=f"{diameter_mm:g} mm",
                         expected=f"at most {LARGEST_MM:g} mm", next_step="choose another method")


def _lay_out(target: Target, shape: HoleShape) -> tuple[Cube, tuple[float, float, float]]:
    """The voxels to be looked at: the hole with known tissue around, cut off at the faces of the run."""
    wanted = [
        2 * (int(np.ceil(reach / mm)) + context)
        for reach, mm, context in zip(shape.reach_mm, target.spacing_mm, CONTEXT_VOXELS, strict=True)
    ]
    sides = [-(-n // MULTIPLE) * MULTIPLE for n in wanted]
    return cube_around(target.centre, sides, target.hu.shape, run=target.run), target.spacing_mm


def _to_mm(cube: Cube, spacing_mm: Sequence[float]) -> list[np.ndarray]:
    return [offset * mm for offset, mm in zip(cube.offsets, spacing_mm, strict=True)]


def _bones(hu: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """What is brighter than the network can show and goes on outside the hole: ribs are left as they are."""
    labels, count = ndimage.label(hu > CLIP_HU[1])
    outside = np.zeros(count + 1, bool)
    outside[labels[weight == 0]] = True
    outside[0] = False
    kept: np.ndarray = outside[labels]
    return kept


def _choose_grid(shape: Sequence[int], step_mm: Sequence[float], most_voxels: int) -> tuple[int, int, int]:
    """The shape itself, or one coarser along its finest axes so that it holds no more voxels than that."""
    sides, finest = list(shape), min(step_mm)
    while np.prod(sides) > most_voxels:
        finest *= 1.02
        sides = [min(n, round(n * mm / finest)) for n, mm in zip(shape, step_mm, strict=True)]
    z, y, x = sides
    return z, y, x


def _paint_on_grid(
    denoise: Denoiser, scene: Scene, grid: tuple[int, int, int], rng: np.random.Generator,
    settings: DiffusionSettings,
) -> np.ndarray:
    """Sample on the grid, its sides filled up to what the network takes, and bring it back to the scene's voxels."""
    shape = scene.known.shape
    fill_up = [(0, -n % MULTIPLE) for n in grid]

    def bring(values: np.ndarray, mode: str) -> np.ndarray:
        coarse = values if grid == shape else resize(values, grid)
        padded: np.ndarray = np.pad(coarse, fill_up, mode=mode)  # type: ignore[call-overload]
        return padded

    z, y, x = (mm * n / m for mm, n, m in zip(scene.step_mm, shape, grid, strict=True))
    weight = np.clip(bring(scene.weight, "constant"), 0, 1)
    ball = np.clip(bring(scene.ball, "constant"), 0, 1)
    shown = Scene(bring(scene.known, "edge"), weight, (z, y, x), ball, scene.nodule_hu)
    painted = level_texture(sample(denoise, shown, rng, steps=settings.steps, eta=settings.eta), shown)
    painted = painted[tuple(slice(0, n) for n in grid)]
    return painted if grid == shape else resize(painted, shape)
