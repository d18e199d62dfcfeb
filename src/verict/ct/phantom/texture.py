"""Random fields in space: blocks that repeat beyond the body, sampled anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage


@dataclass(frozen=True, eq=False)
class Texture:
    """A random field of mean 0 and sd 1: a block (z, y, x) float32 that repeats, one value every `pitch_mm`."""

    block: np.ndarray
    pitch_mm: float

    def at(self, z: np.ndarray | float, y: np.ndarray | float, x: np.ndarray | float) -> np.ndarray:
        """The field at any points, float32, linear between values; coordinates in mm, of shapes that broadcast."""
        if np.ndim(z) == 0 and np.shape(y)[1:] == (1,) and np.shape(x)[:1] == (1,):  # a plane: one axis after the other
            plane = _lerp(self.block, np.array([z]) / self.pitch_mm, axis=0)[0]
            return _lerp(_lerp(plane, np.ravel(y) / self.pitch_mm, axis=0), np.ravel(x) / self.pitch_mm, axis=1)
        points = np.broadcast_arrays(*(np.asarray(v, np.float32) / np.float32(self.pitch_mm) for v in (z, y, x)))
        return ndimage.map_coordinates(self.block, points, order=1, mode="grid-wrap", prefilter=False)

    def plane(self, z_mm: float, y_mm: np.ndarray, x_mm: np.ndarray) -> np.ndarray:
        """The field on one plane, (len(y_mm), len(x_mm)) float32, smooth between the values of the block."""
        plane = _mix(self.block, np.array([z_mm]) / self.pitch_mm, axis=0)[0]
        return _mix(_mix(plane, y_mm / self.pitch_mm, axis=0), x_mm / self.pitch_mm, axis=1)


def _lerp(block: np.ndarray, position: np.ndarray, axis: int) -> np.ndarray:
    """Linear interpolation along one axis of a block that repeats."""
    first = np.floor(position).astype(np.int64)
    shape = [1] * block.ndim
    shape[axis] = len(position)
    t = (position - first).astype(np.float32).reshape(shape)
    size = block.shape[axis]
    here, there = (block.take((first + step) % size, axis=axis) for step in (0, 1))
    return here + t * (there - here)


def _mix(block: np.ndarray, position: np.ndarray, axis: int) -> np.ndarray:
    """Cubic interpolation along one axis of a block that repeats (Keys, 10.1109/TASSP.1981.1163711, a = -1/2).

    Divided by the length of the weights, so that the field spreads as much between values as on them.
    """
    first = np.floor(position).astype(np.int64)
    t = position - first
    weights = np.array([-t**3 + 2 * t**2 - t, 3 * t**3 - 5 * t**2 + 2, -3 * t**3 + 4 * t**2 + t, t**3 - t**2]) / 2
    shape = [1] * block.ndim
    shape[axis] = len(position)
    total: np.ndarray | None = None
    for step, weight in enumerate(weights.astype(np.float32)):
        part = block.take((first + step - 1) % block.shape[axis], axis=axis)
        part *= weight.reshape(shape)
        total = part if total is None else np.add(total, part, out=total)
    if total is None:
        raise ValueError("no weights")
    return total


def make_texture(
    rng: np.random.Generator, shape: tuple[int, int, int], pitch_mm: float, *, knee_per_mm: float, slope: float
) -> Texture:
    """A field whose amplitude falls with spatial frequency as (knee^2 + frequency^2)^(-slope / 2)."""
    axes = [fft.fftfreq(n, pitch_mm) for n in shape[:2]] + [fft.rfftfreq(shape[2], pitch_mm)]
    squared = sum(f**2 for f in np.ix_(*axes)).astype(np.float32)
    field = fft.rfftn(rng.standard_normal(shape, np.float32)) * (knee_per_mm**2 + squared) ** np.float32(-slope / 2)
    field[0, 0, 0] = 0
    block = fft.irfftn(field, s=shape)
    return Texture((block / block.std()).astype(np.float32), pitch_mm)
