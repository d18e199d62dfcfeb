"""A place of the same scan, copied: healthy lung over a nodule, or a nodule over healthy lung.

Copy-move is the best known forgery of single images (Fridrich, Soukal, Lukáš, "Detection of copy-move forgery in
digital images", DFRWS 2003). Here it is done in 3D and voxel by voxel: mirrored and turned by quarter turns only, so
that nothing is resampled.

Traces it leaves, none of them CT-GAN's: an irregular footprint with a soft rim and no cube; inside of it the noise of
this very scanner with its true variance and spectrum, so that no spectrum gives it away, except that a quarter turn or
a mirror turns the noise's direction; the same noise twice in one scan, once mirrored or turned, which a search for
repeated residuals finds if it tries the sixteen ways; in the soft rim the variance dips to k^2 + (1 - k)^2.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy import ndimage

from verict.errors import InputError
from verict.tamper.cubes import Cube, cube_around
from verict.tamper.forgery import ForgeryKind, Paint, Target
from verict.tamper.lung_map import BRIGHT_HU, LungMap, is_apart, map_lung
from verict.tamper.paste import (
    Outline,
    crop_paint,
    describe_place,
    fit_to_rim,
    keep_brighter,
    leave_wall,
    reach_for_removal,
    seam_cost,
    soften,
)
from verict.tamper.vicinity import Vicinity, compactness, cut_vicinity, diameter_of, extent_of, find_nodule

WORTH_MM = 20.0  # of diameter outweigh that a structure is no ball at all
RING_MM = (1.0, 5.0)  # beyond a structure's surface
FREE_SHARE = 0.15  # of that ring may be as bright without counting: the vessels of a free nodule


@dataclass(frozen=True)
class Turn:
    """A mirror and turn that maps voxels onto voxels: first along z, then along y, then quarter turns of the slice."""

    flip_z: bool
    flip_y: bool
    quarters: int

    def apply(self, values: np.ndarray) -> np.ndarray:
        """The (z, y, x) array as it lies after the turn."""
        axes = tuple(axis for axis, flip in enumerate((self.flip_z, self.flip_y)) if flip)
        return np.rot90(np.flip(values, axes), self.quarters, (1, 2))

    def turn_vector(self, vector: np.ndarray) -> np.ndarray:
        """Where a (y, x) direction of the slice points after the turn."""
        y, x = (-vector[0] if self.flip_y else vector[0]), vector[1]
        for _ in range(self.quarters):
            y, x = -x, y
        return np.array([y, x])

    @property
    def is_none(self) -> bool:
        """Whether it leaves everything as it is."""
        return not (self.flip_z or self.flip_y or self.quarters)


class CopyMove:
    """A place of the same scan, mirrored or turned, pasted voxel by voxel with a soft irregular mask."""

    name = "copy-move"
    summary = "healthy lung, or the largest nodule-like structure, of the same scan, mirrored or turned"
    kinds = frozenset(ForgeryKind)
    outline = Outline()

    def paint(self, target: Target, rng: np.random.Generator) -> Paint:
        """Paint the target.

        Raises
        ------
        InputError
            If the scan has no suitable source, or the place is in the wall or holds hardly any lung.
        """
        lung_map = map_lung(target)
        if target.kind is ForgeryKind.INJECT:
            vicinity, weight, copy, details = self._find_structure(target, lung_map, rng)
        else:
            vicinity, weight, copy, details = self._find_healthy(target, lung_map, rng)
        patch, levels = fit_to_rim(copy.patch, vicinity, weight)
        if target.kind is ForgeryKind.INJECT:
            weight = keep_brighter(weight, patch, vicinity)
        hu = vicinity.hu + weight * (patch - vicinity.hu)
        details |= copy.describe(lung_map) | levels | describe_place(vicinity, self.outline)
        return crop_paint(vicinity, hu, weight, details)

    def _find_healthy(
        self, target: Target, lung_map: LungMap, rng: np.random.Generator
    ) -> tuple[Vicinity, np.ndarray, Copy, dict[str, object]]:
        """The healthy lung that suits best what is around the nodule."""
        vicinity = cut_vicinity(target, reach_for_removal(target.diameter_mm, self.outline))
        mask, how = extent_of(vicinity, target.diameter_mm)
        weight = soften(mask, vicinity, self.outline, rng)
        sides = _sides_of(weight, vicinity)
        copies = []
        for source in lung_map.find_healthy(target.centre, sides, vicinity.lung_hu, rng):
            turn = choose_turn(lung_map.wall_at(source), lung_map.wall_at(target.centre), target.spacing_mm, rng)
            copies.append(_copy(target, source, sides, turn, vicinity))
        if not copies:
            raise _no_source("healthy lung as large as the place", target)
        costs = [seam_cost(copy.patch, vicinity, weight) for copy in copies]
        covered: dict[str, object] = {"covered": how, "covered_diameter_mm": _diameter(mask, target)}
        return vicinity, weight, copies[int(np.argmin(costs))], covered

    def _find_structure(
        self, target: Target, lung_map: LungMap, rng: np.random.Generator
    ) -> tuple[Vicinity, np.ndarray, Copy, dict[str, object]]:
        """The structure that passes best for the nodule that is wanted."""
        best: tuple[float, tuple[int, int, int], Vicinity, np.ndarray] | None = None
        for source, radius_mm in lung_map.find_structures(target.diameter_mm):
            there = cut_vicinity(replace(target, centre=source), 2 * radius_mm + self.outline.reach_mm + 4)
            nodule = find_nodule(there, 2.8 * radius_mm)
            if nodule is None or (there.cube.is_clamped and (nodule[0].any() or nodule[-1].any())):
                continue  # nothing there, or cut off by the scan's end
            sides = _sides_of(nodule, there, margin_mm=self.outline.reach_mm)
            if not is_apart(source, target.centre, sides):
                continue
            cost = _structure_cost(nodule, there, target.diameter_mm)
            if best is None or cost < best[0]:
                best = cost, source, there, nodule
        if best is None:
            raise _no_source("structure that passes for a nodule, apart from the place", target)
        _, source, there, nodule = best
        sides = _sides_of(nodule, there, margin_mm=self.outline.reach_mm)
        turn = choose_turn(np.zeros(2), np.zeros(2), target.spacing_mm, rng)
        vicinity = cut_vicinity(target, max(n * s for n, s in zip(sides, target.spacing_mm, strict=True)) / 2)
        mask = _place(turn.apply(_gather(nodule, there.cube, sides)), vicinity.cube, np.zeros(vicinity.hu.shape, bool))
        depth_mm = turn.apply(_gather(there.depth_mm, there.cube, sides))  # 0 where the scan ends before the box does
        depth_mm = _place(depth_mm, vicinity.cube, np.zeros_like(vicinity.hu))
        weight = soften(mask, vicinity, self.outline, rng)
        weight = np.where(mask, weight, leave_wall(weight, depth_mm, self.outline))
        copied: dict[str, object] = {"diameter_mm": _diameter(nodule, target)}
        return vicinity, weight, _copy(target, source, sides, turn, vicinity), copied


def _structure_cost(nodule: np.ndarray, there: Vicinity, wanted_mm: float | None) -> float:
    """How badly a structure passes for the nodule that is wanted.

    Counted against it: another size, or where none is wanted a small one; that it is not round; that vessels or the
    wall touch it.
    """
    diameter_mm = diameter_of(nodule, there.spacing_mm)
    size = -diameter_mm / WORTH_MM if wanted_mm is None else abs(math.log(diameter_mm / wanted_mm))
    beyond_mm = ndimage.distance_transform_edt(~nodule, there.spacing_mm)
    ring = (beyond_mm > RING_MM[0]) & (beyond_mm <= RING_MM[1])
    amid = 0.0
    if ring.any():
        bright, wall = (float(some[ring].mean()) for some in (there.hu > BRIGHT_HU, there.depth_mm <= 0))
        amid = 3 * max(0.0, bright - FREE_SHARE) + 2 * wall
    return size + 1 - compactness(nodule, there) + amid


def choose_turn(
    wall_there: np.ndarray, wall_here: np.ndarray, spacing_mm: tuple[float, float, float], rng: np.random.Generator
) -> Turn:
    """One at random of the turns after which the wall lies about where it should; never none at all.

    ``wall_there`` and ``wall_here`` are (y, x) directions away from the wall, (0, 0) where it is far.
    """
    is_square = math.isclose(spacing_mm[1], spacing_mm[2], rel_tol=1e-3)
    turns = [Turn(z, y, q) for z in (False, True) for y in (False, True) for q in range(4)]
    turns = [t for t in turns if not t.is_none and (is_square or t.quarters in (0, 2))]
    fits = np.array([t.turn_vector(wall_there) @ wall_here for t in turns])
    return turns[int(rng.choice(np.flatnonzero(fits >= fits.max() - 0.15)))]


@dataclass(frozen=True, eq=False)
class Copy:
    """A box of the scan, turned and laid over the target's vicinity; outside of it ``patch`` is the scan itself."""

    patch: np.ndarray
    source: tuple[int, int, int]
    sides: tuple[int, int, int]
    turn: Turn
    centre: tuple[int, int, int]

    def describe(self, lung_map: LungMap) -> dict[str, object]:
        """For the record."""
        return {
            "source_centre_voxel_zyx": list(self.source),
            "source_sides_voxels_zyx": list(self.sides),
            **asdict(self.turn),
            "is_from_other_lung": lung_map.is_left(self.source) != lung_map.is_left(self.centre),
        }


def _copy(
    target: Target, source: tuple[int, int, int], sides: tuple[int, int, int], turn: Turn, vicinity: Vicinity
) -> Copy:
    cube = cube_around(source, sides, target.hu.shape, run=target.run)
    turned = turn.apply(_gather(target.hu[cube.box].astype(np.float32), cube, sides))
    return Copy(_place(turned, vicinity.cube, vicinity.hu.copy()), source, sides, turn, target.centre)


def _gather(values: np.ndarray, cube: Cube, sides: tuple[int, int, int]) -> np.ndarray:
    """The box of those odd sides around the middle of a cube of values, 0 where the cube ends before."""
    out = np.zeros(sides, values.dtype)
    inside, at = _overlap(cube, sides)
    out[at] = values[inside]
    return out


def _place(values: np.ndarray, cube: Cube, onto: np.ndarray) -> np.ndarray:
    """Lay a box of odd sides over the middle of an array of the cube's shape."""
    inside, at = _overlap(cube, values.shape)
    onto[inside] = values[at]
    return onto


def _overlap(cube: Cube, sides: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The part of a box around the middle that a cube holds: where in the cube, and where in the box."""
    inside, at = [], []
    for offset, n in zip(cube.offsets, sides, strict=True):
        low, high = max(int(offset[0]), -(n // 2)), min(int(offset[-1]), n // 2)
        inside.append(slice(low - int(offset[0]), high - int(offset[0]) + 1))
        at.append(slice(low + n // 2, high + n // 2 + 1))
    return tuple(inside), tuple(at)


def _sides_of(mask: np.ndarray, vicinity: Vicinity, margin_mm: float = 0.0) -> tuple[int, int, int]:
    """Odd sides of the box around the middle that holds a mask, as long along y as along x."""
    reach = [max(abs(int(o[i.min()])), abs(int(o[i.max()]))) + math.ceil(margin_mm / s) for o, i, s in
             zip(vicinity.cube.offsets, np.nonzero(mask), vicinity.spacing_mm, strict=True)]
    wide = 2 * max(reach[1:]) + 1
    return 2 * reach[0] + 1, wide, wide


def _diameter(mask: np.ndarray, target: Target) -> float:
    return round(diameter_of(mask, target.spacing_mm), 2)


def _no_source(wanted: str, target: Target) -> InputError:
    return InputError("this scan holds nothing that could be copied here", found=f"no {wanted}",
                      expected=f"another place of slices {target.run.start} to {target.run.stop - 1}",
                      next_step="choose another place or another method")
