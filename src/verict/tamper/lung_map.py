"""A coarse map of a scan's lungs, to find what can be copied from one place to another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from verict.ct.lungs import RULES
from verict.errors import InputError
from verict.tamper.forgery import Target
from verict.tamper.vicinity import is_lung

MAP_MM = 1.5  # side of the map's voxels, about, where the scan's own are smaller
BRIGHT_HU = -400.0  # half way between lung and solid tissue
CANDIDATES = 24  # places of healthy lung that are offered
DRAWN_FROM = 50  # times as many places, the best of the scan, are drawn from
DEEP_MM = 20.0  # from here on it makes no difference how deep in the lung a place lies
DEPTH_WORTH_MM = 4.0  # a source lying so much deeper or less deep costs as much as one that is
LEVEL_WORTH_HU = 40.0  # so much lighter or darker, or as one of which
BRIGHT_WORTH = 0.03  # such a share is a large vessel or wall
STRUCTURES = 8  # that are offered
SMALLEST_RADIUS_MM = 2.5  # of a structure that passes for a nodule
LARGEST_RADIUS_MM = 11.0
RING_MM = (2.0, 6.0)  # beyond a structure's surface, where lung must be
RING_SHARE = 0.5  # of that ring, at least, is lung
ELONGATION = 2.0  # length over width, at most: a longer structure is a vessel seen along
APART_MM = 8.0  # between the middles of two structures; what is nearer is one


@dataclass(frozen=True, eq=False)
class LungMap:
    """The slices of a target's run, reduced to the box that holds the lungs.

    Parameters
    ----------
    hu
        (z, y, x) float32 means of blocks.
    depth_mm
        (z, y, x) float32 distance to the nearest wall, the margin of `verict.ct.lungs` taken off; negative in it.
    first
        (z, y, x) voxel of the scan at which the map begins.
    factors
        Voxels of the scan a voxel of the map, along (z, y, x).
    spacing_mm
        (z, y, x) of the map.
    low, high
        First voxel, and last + 1, of the scan that may be read.
    """

    hu: np.ndarray
    depth_mm: np.ndarray
    first: np.ndarray
    factors: np.ndarray
    spacing_mm: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def to_map(self, voxel: tuple[int, ...]) -> tuple[int, int, int]:
        """The map's voxel that holds a voxel of the scan, or the nearest one."""
        z, y, x = np.clip((np.array(voxel) - self.first) // self.factors, 0, np.array(self.hu.shape) - 1)
        return int(z), int(y), int(x)

    def to_scan(self, place: np.ndarray) -> tuple[int, int, int]:
        """The voxel of the scan in the middle of one of the map's."""
        z, y, x = self.first + place * self.factors + self.factors // 2
        return int(z), int(y), int(x)

    def is_left(self, voxel: tuple[int, ...]) -> bool:
        """Whether a place lies in the left half of the image, as far as the lungs go."""
        return self.to_map(voxel)[2] < self.hu.shape[2] / 2

    def has_room(self, voxel: tuple[int, ...] | np.ndarray, sides: tuple[int, ...]) -> bool:
        """Whether a box of those odd sides around a voxel can be read."""
        half = np.array(sides) // 2
        return bool((voxel - half >= self.low).all() and (voxel + half < self.high).all())

    def wall_at(self, voxel: tuple[int, ...]) -> np.ndarray:
        """(y, x) direction away from the wall, of length 1; 0 where the wall is far."""
        z, y, x = self.to_map(voxel)
        if self.depth_mm[z, y, x] > DEEP_MM:
            return np.zeros(2)
        near = self.depth_mm[z, max(0, y - 4) : y + 5, max(0, x - 4) : x + 5]
        slope = np.array([np.gradient(near, axis=axis).mean() if near.shape[axis] > 1 else 0.0 for axis in (0, 1)])
        slope /= self.spacing_mm[1:]
        return slope / max(float(np.hypot(*slope)), 1e-6)

    def find_healthy(
        self, centre: tuple[int, int, int], sides: tuple[int, int, int], lung_hu: float, rng: np.random.Generator
    ) -> list[tuple[int, int, int]]:
        """Voxels amid healthy lung as far from the wall as the centre is, each box apart from the centre's.

        Drawn at random from the best: of like depth and level, with few large vessels.
        """
        size = np.maximum(1, np.rint(np.array(sides) / self.factors)).astype(int)
        lung = is_lung(self.hu)
        share = ndimage.uniform_filter(lung.astype(np.float32), size, mode="nearest")
        level = ndimage.uniform_filter(np.where(lung, self.hu, 0), size, mode="nearest") / np.maximum(share, 0.01)
        bright = ndimage.uniform_filter((self.hu > BRIGHT_HU).astype(np.float32), size, mode="nearest")
        depth_mm = np.minimum(self.depth_mm, DEEP_MM)
        cost = np.abs(depth_mm - depth_mm[self.to_map(centre)]) / DEPTH_WORTH_MM
        cost += np.abs(level - lung_hu) / LEVEL_WORTH_HU + bright / BRIGHT_WORTH
        fits = self._fits(centre, sides) & (self.depth_mm > 0) & (share > 0.5)
        places = np.argwhere(fits)
        best = places[np.argsort(cost[fits], kind="stable")[: CANDIDATES * DRAWN_FROM]]
        return [self.to_scan(place) for place in rng.permutation(best)[:CANDIDATES]]

    def _fits(self, centre: tuple[int, int, int], sides: tuple[int, int, int]) -> np.ndarray:
        """Where a box can be read and has no voxel in common with the one around the centre; (z, y, x) bool."""
        axes = [f + np.arange(n) * k + k // 2 for f, n, k in zip(self.first, self.hu.shape, self.factors, strict=True)]
        room = [(a - n // 2 >= lo) & (a + n // 2 < hi)
                for a, n, lo, hi in zip(axes, sides, self.low, self.high, strict=True)]
        apart = [np.abs(a - c) >= n for a, c, n in zip(axes, centre, sides, strict=True)]
        fits: np.ndarray = np.logical_and.reduce(np.meshgrid(*room, indexing="ij"))
        fits &= np.logical_or.reduce(np.meshgrid(*apart, indexing="ij"))
        return fits

    def find_structures(self, diameter_mm: float | None) -> list[tuple[tuple[int, int, int], float]]:
        """What passes for a nodule, the largest first, or the nearest to a diameter: middle voxel and radius in mm.

        Bright, in the lung, compact and mostly surrounded by lung: nodules and masses, and vessels cut across.
        """
        bright = (self.hu > BRIGHT_HU) & (self.depth_mm > 0)
        radius_mm = ndimage.distance_transform_edt(bright, self.spacing_mm)
        near = np.maximum(1, np.rint(APART_MM / self.spacing_mm)).astype(int)
        middle = (radius_mm >= SMALLEST_RADIUS_MM) & (radius_mm <= LARGEST_RADIUS_MM)
        middle &= radius_mm == ndimage.maximum_filter(radius_mm, 2 * (near // 2) + 1)
        places = np.argwhere(middle)
        radii = radius_mm[middle]
        order = np.argsort(-radii if diameter_mm is None else np.abs(2 * radii - diameter_mm), kind="stable")
        found: list[tuple[tuple[int, int, int], float]] = []
        for place, radius in zip(places[order], radii[order], strict=True):
            apart_mm = [np.linalg.norm((place - self.to_map(other)) * self.spacing_mm) for other, _ in found]
            if min(apart_mm, default=np.inf) >= APART_MM and self._passes_for_nodule(place, float(radius), bright):
                found.append((self.to_scan(place), float(radius)))
            if len(found) == STRUCTURES:
                break
        return found

    def _passes_for_nodule(self, place: np.ndarray, radius_mm: float, bright: np.ndarray) -> bool:
        """Whether it is compact and lung lies around it."""
        reach = np.ceil((2 * radius_mm + RING_MM[1]) / self.spacing_mm).astype(int)
        start = np.maximum(place - reach, 0)
        box = tuple(slice(a, b) for a, b in zip(start, place + reach + 1, strict=True))
        offsets = [(np.arange(n) + a - p) * s for n, a, p, s in
                   zip(bright[box].shape, start, place, self.spacing_mm, strict=True)]
        z, y, x = np.ix_(*offsets)
        away_mm = np.sqrt(z**2 + y**2 + x**2)
        ring = (away_mm > radius_mm + RING_MM[0]) & (away_mm <= radius_mm + RING_MM[1])
        if not ring.any() or is_lung(self.hu[box])[ring].mean() < RING_SHARE:
            return False
        inside = np.argwhere(bright[box] & (away_mm <= 2 * radius_mm)) * self.spacing_mm
        if len(inside) < 4:
            return True
        spread = np.linalg.eigvalsh(np.cov(inside.T) + np.diag(self.spacing_mm**2 / 12))
        return math.sqrt(spread[-1] / max(spread[0], 1e-9)) <= ELONGATION


def is_apart(a: tuple[int, ...], b: tuple[int, ...], sides: tuple[int, ...]) -> bool:
    """Whether boxes of those sides around two voxels have no voxel in common."""
    return any(abs(p - q) >= n for p, q, n in zip(a, b, sides, strict=True))


def map_lung(target: Target) -> LungMap:
    """Reduce the lungs of a target's run to a coarse map.

    Raises
    ------
    InputError
        If there is no lung in it.
    """
    lung = target.lung[target.run]
    in_slice = np.asarray(lung.any(axis=2))
    sides = [np.flatnonzero(in_slice.any(1)), np.flatnonzero(in_slice.any(0)), np.flatnonzero(lung.any((0, 1)))]
    if not sides[0].size:
        raise InputError("no lung in the slices of this place", next_step="choose a series that shows the lungs")
    box = [slice(int(s[0]), int(s[-1]) + 1) for s in sides]
    factors = np.array([max(1, min(round(MAP_MM / s), b.stop - b.start))
                        for s, b in zip(target.spacing_mm, box, strict=True)])
    counts = [(b.stop - b.start) // f for b, f in zip(box, factors, strict=True)]
    z, y, x = (slice(b.start, b.start + n * f) for b, n, f in zip(box, counts, factors, strict=True))
    blocks = target.hu[target.run][z, y, x].reshape(counts[0], factors[0], counts[1], factors[1], counts[2], factors[2])
    spacing_mm = factors * np.array(target.spacing_mm)
    coarse = lung[z, y, x][tuple(slice(f // 2, None, f) for f in factors)]
    depth_mm = ndimage.distance_transform_edt(np.pad(coarse, ((0, 0), (1, 1), (1, 1))), spacing_mm)[:, 1:-1, 1:-1]
    return LungMap(
        hu=blocks.mean((1, 3, 5), dtype=np.float32),
        depth_mm=(depth_mm - RULES.margin_mm).astype(np.float32),
        first=np.array([target.run.start + z.start, y.start, x.start]),
        factors=factors,
        spacing_mm=spacing_mm,
        low=np.array([target.run.start, 0, 0]),
        high=np.array([target.run.stop, *target.hu.shape[1:]]),
    )
