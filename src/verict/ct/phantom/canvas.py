"""One axial slice being painted: shapes come as depths on a coarse grid and get sharp edges on the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

GRID_MM = 2.5  # between the points at which depths are computed; depths are smooth, edges follow their zero


@dataclass(frozen=True, eq=False)
class Raster:
    """Where the pixels of a slice lie, (size,) in mm, the same along y and x, and the coarse grid beneath."""

    at_mm: np.ndarray
    grid_mm: np.ndarray
    weights: np.ndarray
    pixel_mm: float

    @property
    def y(self) -> np.ndarray:
        """(n, 1) float32 heights of the coarse grid, in mm."""
        return self.grid_mm[:, None]

    @property
    def x(self) -> np.ndarray:
        """(1, n) float32 positions of the coarse grid across, in mm."""
        return self.grid_mm[None]

    def rows(self, low_mm: float, high_mm: float) -> slice:
        """The pixels between two positions."""
        first, last = np.searchsorted(self.at_mm, [low_mm, high_mm])
        return slice(int(first), int(last))


@lru_cache(maxsize=4)
def make_raster(size: int, pixel_mm: float) -> Raster:
    """The raster of `size` pixels a side, centred on the middle of the chest."""
    at_mm = (np.arange(size) - (size - 1) / 2) * pixel_mm
    count = int(np.ceil(at_mm[-1] / GRID_MM)) + 3
    grid_mm = np.arange(-count, count + 1) * GRID_MM
    position = at_mm / GRID_MM + count
    first = np.floor(position).astype(int)
    t = position - first
    cubic = np.array([-t**3 + 2 * t**2 - t, 3 * t**3 - 5 * t**2 + 2, -3 * t**3 + 4 * t**2 + t, t**3 - t**2]) / 2
    weights = np.zeros((size, len(grid_mm)), np.float32)  # cubic convolution, Keys, 10.1109/TASSP.1981.1163711
    for step, weight in enumerate(cubic):
        weights[np.arange(size), first + step - 1] = weight
    return Raster(at_mm.astype(np.float32), grid_mm.astype(np.float32), weights, pixel_mm)


Box = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Canvas:
    """A slice at height `z_mm`: `hu` is (size, size) float32, painted in place."""

    raster: Raster
    z_mm: float
    hu: np.ndarray

    def find_box(self, depth: np.ndarray, reach_mm: float = 0.0) -> Box | None:
        """The pixels around all that is deeper than -reach_mm; None where there is nothing."""
        near = depth > -(reach_mm + GRID_MM)
        rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
        if not rows.size:
            return None
        grid = self.raster.grid_mm
        box = (self.raster.rows(grid[rows[0]] - GRID_MM, grid[rows[-1]] + GRID_MM),
               self.raster.rows(grid[columns[0]] - GRID_MM, grid[columns[-1]] + GRID_MM))
        return None if 0 in (box[0].stop - box[0].start, box[1].stop - box[1].start) else box

    def refine(self, depth: np.ndarray, box: Box) -> np.ndarray:
        """A depth of the coarse grid on the pixels of a box, float32."""
        down, across = self.raster.weights[box[0]], self.raster.weights[box[1]]
        rows, columns = (np.flatnonzero(w.any(axis=0)) for w in (down, across))
        r, c = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        return (down[:, r] @ depth[r, c].astype(np.float32, copy=False)) @ across[:, c].T

    def cover(self, depth: np.ndarray) -> np.ndarray:
        """How much of each pixel lies inside, from 0 to 1, by its depth in mm."""
        return np.clip(depth * np.float32(1 / self.raster.pixel_mm) + np.float32(0.5), 0, 1)

    def paint(self, depth: np.ndarray, value: np.ndarray | float) -> None:
        """Paint a shape given on the coarse grid; `value` in HU, one or one a pixel of the whole slice."""
        box = self.find_box(depth)
        if box is not None:
            self.blend(box, self.cover(self.refine(depth, box)), value)

    def blend(self, box: Box, cover: np.ndarray, value: np.ndarray | float) -> None:
        """Mix a value into a box of pixels by how much of each it covers."""
        part = self.hu[box]
        value = value[box] if isinstance(value, np.ndarray) and value.shape == self.hu.shape else value
        part += (value - part) * cover

    def lift(self, cover: np.ndarray, value: float) -> None:
        """Mix a value into the whole slice where it is brighter than what is there."""
        hu = self.hu
        hu += np.maximum(value - hu, 0) * cover

    def window(self, y: float, x: float, half_y: float, half_x: float) -> tuple[Box, np.ndarray, np.ndarray]:
        """A box of pixels around a place in mm, and their (n, 1) y and (1, m) x in mm."""
        box = self.raster.rows(y - half_y, y + half_y), self.raster.rows(x - half_x, x + half_x)
        return box, self.raster.at_mm[box[0]][:, None], self.raster.at_mm[box[1]][None]
