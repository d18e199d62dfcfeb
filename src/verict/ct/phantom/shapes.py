"""Shapes as depths: how deep a point lies inside, in mm, negative outside. Points are (z, y, x) in mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

Point = tuple[np.ndarray | float, np.ndarray | float, np.ndarray | float]  # z, y, x, of shapes that broadcast


@dataclass(frozen=True)
class Tube:
    """A round tube along a bent path: (n, 3) nodes in mm (z, y, x), n >= 2, and the (n,) radius at each in mm."""

    path: np.ndarray
    radius: np.ndarray

    @classmethod
    def through(cls, nodes: ArrayLike, radius: ArrayLike) -> Tube:
        """A tube of one radius, or of one a node."""
        path = np.array(nodes, float)
        return cls(path, np.broadcast_to(np.array(radius, float), len(path)))

    def depth(self, at: Point) -> np.ndarray:
        """Depth inside the tube, in mm."""
        deepest: np.ndarray | None = None
        for start, end, wide, narrow in zip(
            self.path[:-1], self.path[1:], self.radius[:-1], self.radius[1:], strict=True
        ):
            along = end - start
            offset = [a - s for a, s in zip(at, start, strict=True)]
            part = np.clip(sum(o * a for o, a in zip(offset, along, strict=True)) / (along @ along), 0, 1)
            distance = np.sqrt(sum((o - part * a) ** 2 for o, a in zip(offset, along, strict=True)))
            depth = wide + (narrow - wide) * part - distance
            deepest = depth if deepest is None else np.maximum(deepest, depth)
        if deepest is None:
            raise ValueError("a tube needs two nodes")
        return deepest

    def pick_edge(self, rng: np.random.Generator) -> np.ndarray:
        """A random point of the wall, (3,) mm."""
        place = rng.uniform(0, len(self.path) - 1)
        nodes = np.arange(len(self.path))
        middle = np.array([np.interp(place, nodes, axis) for axis in self.path.T])
        along = self.path[min(int(place) + 1, len(nodes) - 1)] - self.path[int(place)]
        aside = np.cross(along, rng.standard_normal(3))
        return middle + aside / np.linalg.norm(aside) * np.interp(place, nodes, self.radius)

    def crosses(self, z_mm: float, margin_mm: float) -> bool:
        """Whether the tube comes as near as this to the height."""
        return bool(
            (self.path[:, 0] + self.radius).max() > z_mm - margin_mm
            and (self.path[:, 0] - self.radius).min() < z_mm + margin_mm
        )


@dataclass(frozen=True)
class Ellipsoid:
    """Centre and half axes in mm; `turn` holds the axes as rows, (3, 3), each of length 1 in (z, y, x)."""

    centre: np.ndarray
    half: np.ndarray
    turn: np.ndarray

    @classmethod
    def around(cls, centre: ArrayLike, half: ArrayLike, long_axis: ArrayLike | None = None) -> Ellipsoid:
        """Half axes along z, y and x; with a long axis the first lies along it."""
        turn = np.eye(3)
        if long_axis is not None:
            basis = np.linalg.qr(np.column_stack([np.asarray(long_axis, float), [0, 1, 0], [0, 0, 1]]))[0]
            turn = basis.T
        return cls(np.array(centre, float), np.array(half, float), turn)

    def depth(self, at: Point) -> np.ndarray:
        """Depth inside, in mm; to first order in the distance to the surface."""
        offset = [a - c for a, c in zip(at, self.centre, strict=True)]
        own = [sum(t * o for t, o in zip(row, offset, strict=True)) / h
               for row, h in zip(self.turn, self.half, strict=True)]
        near = np.sqrt(sum(o * o for o in own))
        slope = np.sqrt(sum((o / h) ** 2 for o, h in zip(own, self.half, strict=True)))
        return near * (1 - near) / np.maximum(slope, 1e-6) + 1e-6

    def pick_edge(self, rng: np.random.Generator) -> np.ndarray:
        """A random point of the surface, (3,) mm."""
        direction = rng.standard_normal(3)
        return self.centre + self.turn.T @ (self.half * direction / np.linalg.norm(direction))

    def crosses(self, z_mm: float, margin_mm: float) -> bool:
        """Whether it comes as near as this to the height."""
        return bool(abs(z_mm - self.centre[0]) < float(np.abs(self.turn[:, 0] * self.half).sum()) + margin_mm)


def join(one: np.ndarray, other: np.ndarray, smooth_mm: float) -> np.ndarray:
    """Depth inside either shape, the crease between them filled over about `smooth_mm`."""
    near = np.clip(smooth_mm - np.abs(one - other), 0, None)
    return np.maximum(one, other) + near * near / (4 * smooth_mm)


def oval_depth(
    y: np.ndarray, x: np.ndarray, half_y: np.ndarray | float, half_x: np.ndarray | float, power: np.ndarray | float
) -> np.ndarray:
    """Depth along the ray to the middle inside |y / half_y|^power + |x / half_x|^power = 1, in mm."""
    near = (np.abs(y / half_y) ** power + np.abs(x / half_x) ** power) ** (1 / power)
    return np.hypot(y, x) * (1 / np.maximum(near, 1e-3) - 1)


def segment_depth(
    y: np.ndarray, x: np.ndarray, start: tuple[float, float], end: tuple[float, float], radius: float
) -> np.ndarray:
    """Depth inside a rod in the plane, both ends as (y, x), in mm."""
    along = end[0] - start[0], end[1] - start[1]
    part = np.clip(
        ((y - start[0]) * along[0] + (x - start[1]) * along[1]) / (along[0] ** 2 + along[1] ** 2 + 1e-9), 0, 1
    )
    return radius - np.hypot(y - start[0] - part * along[0], x - start[1] - part * along[1])
