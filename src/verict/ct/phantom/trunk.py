"""The trunk of the simulated patient: outline, rib cage, lungs, diaphragm, and where the spine runs.

Coordinates are mm from the centre of the chest: z to the head, y to the back, x to the patient's left, as in a
scan of a patient lying on the back. Sizes are those of an adult, drawn by eye after real scans.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verict.ct.phantom.shapes import Ellipsoid, join, oval_depth
from verict.ct.phantom.texture import Texture

LUNG_TOP_MM, LUNG_BASE_MM = 132.0, -150.0  # of a patient of mean height
_LEVEL = np.array([-200, -150, -60, 0, 40, 80, 110, 140, 200.0])  # mm, of the tables below
_CAGE_WIDTH = np.array([0.93, 0.97, 1.0, 0.97, 0.90, 0.78, 0.66, 0.52, 0.45])  # of half the chest's width
_CAGE_FRONT = np.array([0.90, 0.97, 1.0, 0.96, 0.82, 0.62, 0.44, 0.30, 0.25])  # of its depth before the centre
_CAGE_BACK = np.array([22, 24, 28, 29, 29, 27, 23, 18, 15.0])  # mm behind the middle of the vertebral bodies
_BODY_WIDTH = np.array([22, 22, 26, 34, 46, 74, 110, 135, 120.0])  # mm beside the cage: arms are up
_WALL_FRONT = np.array([10, 10, 8, 16, 20, 16, 18, 22, 24.0])  # mm of muscle, at the front beside the middle
_WALL_SIDE = np.array([10, 11, 13, 24, 34, 52, 84, 108, 96.0])
_WALL_BACK = np.array([26, 28, 30, 30, 32, 34, 38, 44, 44.0])


@dataclass(frozen=True, eq=False)
class Trunk:
    """Sizes of one patient, and the soft random field that keeps every outline from being round.

    Parameters
    ----------
    stretch
        Height against the mean.
    half_width_mm, half_depth_mm
        Inside of the rib cage at its widest.
    fat_mm, breast
        Fat under the skin; size of the breasts, 0 for none.
    kyphosis_mm
        How far the spine bends forward up to the neck.
    dome_mm
        Height of the right and left half of the diaphragm, before `stretch`.
    slow
        Field with structure of some cm.
    """

    stretch: float
    half_width_mm: float
    half_depth_mm: float
    fat_mm: float
    breast: float
    kyphosis_mm: float
    dome_mm: tuple[float, float]
    slow: Texture

    def level(self, z: np.ndarray | float) -> np.ndarray | float:
        """The height in a patient of mean size, mm."""
        return z / self.stretch

    def spine_y(self, z: np.ndarray | float) -> np.ndarray:
        """Middle of the vertebral bodies, mm."""
        up = (np.asarray(self.level(z)) + 30) / 150
        return 0.63 * self.half_depth_mm - np.where(up > 0, self.kyphosis_mm, 10.0) * up**2

    def front_y(self, z: np.ndarray | float) -> np.ndarray:
        """Inside of the front wall, mm."""
        return -self.half_depth_mm * np.interp(self.level(z), _LEVEL, _CAGE_FRONT)

    def wobble(self, z: np.ndarray | float, y: np.ndarray, x: np.ndarray, which: int) -> np.ndarray:
        """One of several soft random fields, sd 1."""
        return self.slow.at(np.asarray(z, np.float32) + 61.0 * which, y + 37.0 * which, x - 53.0 * which)

    def cage_depth(self, z: np.ndarray | float, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Depth inside the ribs, mm; negative in the wall."""
        level = self.level(z)
        back = self.spine_y(z) + np.interp(level, _LEVEL, _CAGE_BACK)
        front = self.front_y(z)
        half_x = self.half_width_mm * np.interp(level, _LEVEL, _CAGE_WIDTH)
        depth = oval_depth(y - (front + back) / 2, x, (back - front) / 2, half_x, 2.35)
        return depth + 1.6 * self.wobble(z, y, x, 0)

    def dome_z(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Height of the diaphragm in mm, and the factor that turns a height above it into a distance."""
        height = np.full(np.broadcast_shapes(np.shape(y), np.shape(x)), -400.0, np.float32)
        slope = np.ones_like(height)
        for side, top in zip((-1, 1, 0), (*self.dome_mm, self.dome_mm[0] - 8), strict=True):  # last: under the heart
            u = (x - side * 0.52 * self.half_width_mm) / (0.55 * self.half_width_mm)
            v = (y + 0.12 * self.half_depth_mm) / (0.97 * self.half_depth_mm)
            far = np.sqrt(u * u + v * v)
            here = self.stretch * (top - 16 * far**2 - 26 * far**5)
            steep = (32 * far + 130 * far**4) / (0.6 * self.half_width_mm)
            slope = np.where(here > height, 1 / np.sqrt(1 + steep * steep), slope)
            height = np.maximum(height, here)
        return height + 3 * self.wobble(0.0, y, x, 1), slope

    def lung_space(self, z: np.ndarray | float, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Depth inside the lungs as far as wall, spine and diaphragm bound them; the mediastinum is left out."""
        depth = self.cage_depth(z, y, x) - 1.5
        spine = self.spine_y(z)
        column = oval_depth(y - spine, x, 19.0, 21.0, 2.2)
        arch = np.minimum(17 + 0.42 * np.clip(y - spine, 0, 40) - np.abs(x), y - spine)
        depth = -join(-depth, np.maximum(column, arch), 10.0)
        dome, slope = self.dome_z(y, x)
        depth = np.minimum(depth, (z - dome) * slope)
        return np.minimum(depth, self._apex_depth(z, y, np.abs(x), spine))

    def _apex_depth(self, z: np.ndarray | float, y: np.ndarray, across: np.ndarray, spine: np.ndarray) -> np.ndarray:
        """Depth inside the round top of either lung: no bound below it."""
        start, top = 55.0 * self.stretch, LUNG_TOP_MM * self.stretch
        up = np.clip((np.asarray(z) - start) / (top - start), 0, 0.9999)
        width = np.sqrt(1 - up**2)
        half_x, half_y = 0.46 * self.half_width_mm, 0.95 * self.half_depth_mm
        shift = up * 0.06 * self.half_width_mm
        depth = oval_depth(y - spine + 24 + 10 * (1 - up), across - 0.42 * self.half_width_mm + shift,
                           half_y * width, half_x * width, 2.0)
        return np.where(np.asarray(z) < start, 1e3, np.where(np.asarray(z) >= top, -20.0, depth))

    def body_depth(self, z: float, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Depth under the skin, mm."""
        level = self.level(z)
        back = self.spine_y(z) + np.interp(level, _LEVEL, _CAGE_BACK) + 8 + np.interp(level, _LEVEL, _WALL_BACK)
        back += 0.6 * self.fat_mm
        front = self.front_y(z) - 10 - 0.75 * np.interp(level, _LEVEL, _WALL_FRONT) - 0.8 * self.fat_mm
        half_x = self.half_width_mm * np.interp(level, _LEVEL, _CAGE_WIDTH)
        half_x += np.interp(level, _LEVEL, _BODY_WIDTH) + self.fat_mm
        power = np.where(y > (front + back) / 2, 2.9, 2.3)  # flat where the patient lies
        depth = oval_depth(y - (front + back) / 2, x, (back - front) / 2, half_x, power)
        depth += 2.0 * self.wobble(z, y, x, 2)
        return join(depth, self._breasts(z, y, x, front), 14.0) if self.breast > 0.05 else depth

    def _breasts(self, z: float, y: np.ndarray, x: np.ndarray, front: np.ndarray) -> np.ndarray:
        size = self.breast
        centre = (-5 * self.stretch, float(front) + 14, 0.62 * self.half_width_mm)
        half = (50 + 12 * size, 22 + 24 * size, 48 + 12 * size)
        return np.maximum(*(Ellipsoid.around((centre[0], centre[1], s * centre[2]), half).depth((z, y, x))
                            for s in (-1, 1)))

    def gland(self, z: float, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Depth inside the glands of the breasts, mm, ragged."""
        front = self.front_y(z) - 10 - 0.75 * np.interp(self.level(z), _LEVEL, _WALL_FRONT) - 0.8 * self.fat_mm
        return self._breasts(z, y, x, front) - 15 + 7 * self.wobble(z * 1.5, y * 2, x * 2, 3)

    def wall_thickness(self, z: float, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Thickness of ribs and muscle together around the cage, mm."""
        level = self.level(z)
        front, side, back = (np.interp(level, _LEVEL, t) for t in (_WALL_FRONT, _WALL_SIDE, _WALL_BACK))
        turn = np.arctan2(np.abs(x), y - 0.2 * self.half_depth_mm)  # 0 at the back, pi at the front
        midline = 0.35 + 0.65 * np.clip(np.abs(x) / 45, 0, 1)
        round_ = np.interp(turn, [0, 0.45, 0.95, 1.6, 2.3, np.pi], [back, 0.75 * back, 0.8 * side, side, front,
                                                                   front * 0.8])
        return 9 + round_ * np.where(turn > 2, midline, 1) * (1 + 0.13 * self.wobble(z, y, x, 4))


def draw_trunk(rng: np.random.Generator, slow: Texture) -> Trunk:
    """A random adult."""
    dome = rng.uniform(-90, -66)
    return Trunk(
        stretch=float(rng.uniform(0.9, 1.1)),
        half_width_mm=float(rng.uniform(120, 139)),
        half_depth_mm=float(rng.uniform(78, 96)),
        fat_mm=float(rng.uniform(7, 26)),
        breast=float(max(0.0, rng.uniform(-0.8, 1.0))),
        kyphosis_mm=float(rng.uniform(24, 44)),
        dome_mm=(float(dome), float(dome - rng.uniform(6, 18))),
        slow=slow,
    )
