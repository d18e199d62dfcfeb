"""Nodules of known place, size, density and shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from verict.ct.phantom.canvas import Canvas
from verict.ct.phantom.segments import Segments
from verict.errors import InputError

APART_MM = 12.0  # between the surfaces of two nodules, at least
SMALL_MM = 6.0  # below it a solid nodule shows no more than a ball
TRIES = 4000
_SPHERE = 600  # directions over which a lumpy shape is brought to its stated volume


class NoduleShape(StrEnum):
    """What a nodule looks like."""

    ROUND = "round"
    LOBULATED = "lobulated"
    SPICULATED = "spiculated"
    GROUND_GLASS = "ground-glass"
    PART_SOLID = "part-solid"


class Attachment(StrEnum):
    """What a nodule touches."""

    FREE = "free"
    VESSEL = "vessel"
    WALL = "wall"


_LOOKING: dict[str, float] = dict(zip(NoduleShape, (0.3, 0.25, 0.2, 0.13, 0.12), strict=True))
_TOUCHING: dict[str, float] = dict(zip(Attachment, (0.5, 0.3, 0.2), strict=True))


@dataclass(frozen=True, eq=False)
class Nodule:
    """A nodule of the simulated chest.

    Parameters
    ----------
    centre_zyx_mm
        From the centre of the chest.
    diameter_mm
        Of the sphere of the same volume; spicules not counted.
    hu
        Of its filling; ground glass lets the lung's own texture through.
    shape, attachment
        What it looks like, and what it was put against; a free one may still meet a small vessel.
    core_mm, core_hu
        Diameter and density of the solid core of a part-solid nodule, else 0.
    lobes
        (n, 4) direction (z, y, x) and height of each bump of the surface, as a share of the radius.
    spicules
        Rays that leave the surface; None for shapes without.
    """

    centre_zyx_mm: tuple[float, float, float]
    diameter_mm: float
    hu: float
    shape: NoduleShape
    attachment: Attachment
    core_mm: float
    core_hu: float
    lobes: np.ndarray
    spicules: Segments | None

    def paint(self, canvas: Canvas) -> None:
        """Paint what a slice shows of the nodule."""
        z, y, x = self.centre_zyx_mm
        reach = 1.2 * self.diameter_mm + 2  # no lobe or soft edge reaches farther
        if abs(canvas.z_mm - z) < reach:
            box, at_y, at_x = canvas.window(y, x, reach, reach)
            if box[0].stop > box[0].start and box[1].stop > box[1].start:
                self._fill(canvas, box, (canvas.z_mm - z, at_y - y, at_x - x))
        if self.spicules is not None:
            cover = self.spicules.cover(canvas)
            canvas.lift(cover, self.hu - 60)

    def _fill(self, canvas: Canvas, box: tuple[slice, slice], off: tuple[float, np.ndarray, np.ndarray]) -> None:
        away = np.sqrt(off[0] ** 2 + off[1] ** 2 + off[2] ** 2)
        depth = self._radius(off, away) - away
        if self.shape in (NoduleShape.GROUND_GLASS, NoduleShape.PART_SOLID):
            part = canvas.hu[box]
            cover = np.clip(depth / 2.5 + 0.5, 0, 1)  # mm, ground glass ends gradually
            part += np.maximum(self.hu + 0.5 * (part + 850) - part, 0) * cover
            if self.core_mm:
                canvas.blend(box, canvas.cover(depth - (self.diameter_mm - self.core_mm) / 2), self.core_hu)
        else:
            canvas.blend(box, np.clip(depth / max(canvas.raster.pixel_mm, 0.6) + 0.5, 0, 1), self.hu)

    def _radius(self, off: tuple[float, np.ndarray, np.ndarray], away: np.ndarray) -> np.ndarray:
        """Distance of the surface from the centre in the direction of each point, mm."""
        unit = [o / np.maximum(away, 1e-6) for o in off]
        return self.diameter_mm / 2 * _bumps(self.lobes, unit)


def _bumps(lobes: np.ndarray, unit: list[np.ndarray]) -> np.ndarray:
    """Radius in each direction against that of the sphere of the same volume."""
    total = np.ones_like(unit[1] + unit[2])
    for *direction, height in lobes[1:]:
        cosine = sum(u * d for u, d in zip(unit, direction, strict=True))
        total = total + height * np.exp(4.0 * (cosine - 1))
    return total * lobes[0, 3]


def _draw_lobes(rng: np.random.Generator, count: int, height: float) -> np.ndarray:
    """(count + 1, 4) bumps; row 0 holds the factor that keeps the volume."""
    direction = rng.standard_normal((count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    lobes = np.vstack([[0, 0, 0, 1], np.column_stack([direction, rng.uniform(0.5, 1.0, count) * height])])
    turn = np.arange(_SPHERE) + 0.5  # directions spread evenly over the sphere, along a spiral
    z = 1 - 2 * turn / _SPHERE
    around = np.sqrt(1 - z * z)
    unit = [z, around * np.sin(np.pi * (1 + 5**0.5) * turn), around * np.cos(np.pi * (1 + 5**0.5) * turn)]
    lobes[0, 3] = np.mean(_bumps(lobes, unit) ** 3) ** (-1 / 3)
    return lobes


@dataclass(frozen=True)
class NoduleOrder:
    """What nodules to draw.

    Parameters
    ----------
    count
        How many.
    diameter_mm
        Smallest and largest; small ones are more frequent.
    shapes, attachments
        What they may look like and touch.
    z_mm, reach_mm
        Heights between which, and distance from the axis along x and y within which, they may lie.
    """

    count: int
    diameter_mm: tuple[float, float] = (4.0, 22.0)
    shapes: tuple[NoduleShape, ...] = tuple(NoduleShape)
    attachments: tuple[Attachment, ...] = tuple(Attachment)
    z_mm: tuple[float, float] = (-math.inf, math.inf)
    reach_mm: float = math.inf


@dataclass(frozen=True, eq=False)
class Ground:
    """Where nodules may lie.

    Parameters
    ----------
    lung_depth
        Gives the depth inside the lungs of (n, 3) points, mm.
    points
        (n, 3) places inside the lungs to choose from, mm (z, y, x).
    vessels
        Vessels that nodules may touch.
    """

    lung_depth: Callable[[np.ndarray], np.ndarray]
    points: np.ndarray
    vessels: Segments


def draw_nodules(order: NoduleOrder, ground: Ground, rng: np.random.Generator) -> tuple[Nodule, ...]:
    """Random nodules inside the lungs, apart from each other.

    Raises
    ------
    InputError
        If the lungs do not hold so many.
    """
    low, high = order.diameter_mm
    placed: list[tuple[np.ndarray, float]] = []
    done: list[Nodule] = []
    points = ground.points
    inside = (points[:, 0] > order.z_mm[0]) & (points[:, 0] < order.z_mm[1])
    ground = replace(ground, points=points[inside & (np.abs(points[:, 1:]).max(axis=1, initial=0) < order.reach_mm)])
    sizes = np.sort(np.exp(rng.uniform(np.log(low), np.log(high), order.count)))[::-1]  # small ones are more frequent
    for size in sizes:
        attachment = Attachment(_choose(order.attachments, _TOUCHING, rng))
        centre = _find_place(size / 2, attachment, ground, placed, rng)
        if centre is None and attachment is not Attachment.FREE and Attachment.FREE in order.attachments:
            attachment = Attachment.FREE
            centre = _find_place(size / 2, attachment, ground, placed, rng)
        if centre is None:
            raise InputError(
                "the lungs do not hold so many nodules", found=order.count, expected=f"at most {len(done)} here",
                next_step="ask for fewer, or for more slices",
            )
        placed.append((centre, size / 2))
        shape = draw_shape(size, rng, order.shapes)
        done.append(make_nodule(centre, float(size), attachment, shape, rng))
    return tuple(done)


def _find_place(
    radius: float, attachment: Attachment, ground: Ground, placed: list[tuple[np.ndarray, float]],
    rng: np.random.Generator,
) -> np.ndarray | None:
    """A centre at the right depth and far from the others, (3,) mm; None where none was found."""
    if not len(ground.points):
        return None
    places, vessels = ground.points[rng.integers(len(ground.points), size=TRIES)], ground.vessels
    if attachment is Attachment.VESSEL:
        wide = np.flatnonzero((vessels.radius > 0.9) & (vessels.radius < 3.0))
        low, high = ground.points.min(axis=0), ground.points.max(axis=0)
        wide = wide[((vessels.start[wide] > low) & (vessels.start[wide] < high)).all(axis=1)]
        if not wide.size:
            return None
        nearest = wide[rng.integers(len(wide), size=TRIES)]
        aside = rng.standard_normal((len(nearest), 3))
        aside /= np.linalg.norm(aside, axis=1, keepdims=True)
        places = np.clip(vessels.start[nearest] + aside * (0.9 * radius + vessels.radius[nearest, None]), low, high)
    depth = ground.lung_depth(places)
    least, most = (0.75 * radius, radius) if attachment is Attachment.WALL else (radius + 2, 400.0)
    fits = (depth > least) & (depth < most)
    for other, wide_mm in placed:
        fits &= np.linalg.norm(places - other, axis=1) > radius + wide_mm + APART_MM
    some = np.flatnonzero(fits)
    return places[some[0]].astype(float) if some.size else None


def _choose(some: tuple[str, ...], weights: dict[str, float], rng: np.random.Generator) -> str:
    """One of the allowed kinds, by weight."""
    weight = np.array([weights[s] for s in some])
    return some[int(rng.choice(len(some), p=weight / weight.sum()))]


def draw_shape(
    size: float, rng: np.random.Generator, shapes: tuple[NoduleShape, ...] = tuple(NoduleShape)
) -> NoduleShape:
    """One of the allowed shapes by how often it is seen; a small solid nodule is round."""
    shape = NoduleShape(_choose(shapes, _LOOKING, rng))
    if size < SMALL_MM and NoduleShape.ROUND in shapes and shape is not NoduleShape.GROUND_GLASS:
        return NoduleShape.ROUND
    return shape


def make_nodule(
    centre: np.ndarray, size: float, attachment: Attachment, shape: NoduleShape, rng: np.random.Generator
) -> Nodule:
    """A nodule of that place (3,) mm, diameter in mm and shape; density, surface and spicules are drawn."""
    hu = float(rng.uniform(-10, 70))
    if shape is NoduleShape.ROUND and rng.uniform() < 0.15:
        hu = float(rng.uniform(250, 600))  # calcified
    if shape in (NoduleShape.GROUND_GLASS, NoduleShape.PART_SOLID):
        hu = float(rng.uniform(-680, -520))
    core = size * float(rng.uniform(0.35, 0.65)) if shape is NoduleShape.PART_SOLID else 0.0
    count, height = {NoduleShape.LOBULATED: (6, 0.45), NoduleShape.ROUND: (4, 0.08)}.get(shape, (7, 0.22))
    spicules = _draw_spicules(centre, size / 2, rng) if shape is NoduleShape.SPICULATED else None
    z, y, x = (float(c) for c in centre)
    return Nodule((z, y, x), size, hu, shape, attachment, core, float(rng.uniform(0, 60)) if core else 0.0,
                  _draw_lobes(rng, count, height), spicules)


def _draw_spicules(centre: np.ndarray, radius: float, rng: np.random.Generator) -> Segments:
    count = int(rng.integers(14, 34))
    direction = rng.standard_normal((count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    bent = direction + rng.normal(0, 0.25, (count, 3))
    first = centre + direction * radius * 0.8
    middle = first + direction * radius * rng.uniform(0.25, 0.6, (count, 1))
    last = middle + bent * radius * rng.uniform(0.15, 0.6, (count, 1))
    wide = np.clip(radius * rng.uniform(0.08, 0.16, count), 0.35, 1.6)
    parts = [np.concatenate(p).astype(np.float32) for p in
             ((first, middle), (middle, last), (wide, 0.6 * wide), (0.6 * wide, 0.15 * wide))]
    return Segments(parts[0], parts[1], parts[2], parts[3])
