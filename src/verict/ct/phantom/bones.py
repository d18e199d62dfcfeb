"""Bones: spine, ribs with their cartilage, breastbone, shoulder blades, collar bones, heads of the upper arms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verict.ct.phantom.canvas import Canvas
from verict.ct.phantom.shapes import Ellipsoid, Tube, join, segment_depth
from verict.ct.phantom.trunk import Trunk

CORTEX_HU, MARROW_HU, DISC_HU, CARTILAGE_HU = 780.0, 180.0, 85.0, 115.0
RIB_DEPTH_MM = 7.0  # of a rib's middle behind the inner face of the wall
RIBS = 12


@dataclass(frozen=True)
class Bones:
    """Bones of one patient.

    Parameters
    ----------
    vertebra_mm
        Height of a vertebra with its disc.
    first_z_mm
        Height of the lower end of some vertebra: the others follow from it.
    disc_mm
        Height of a disc.
    drop
        How steeply ribs descend, 1 for the mean.
    marrow_hu
        Of vertebrae and breastbone; falls with age.
    blade_tip_mm
        Height of the shoulder blades' lower tips.
    """

    vertebra_mm: float
    first_z_mm: float
    disc_mm: float
    drop: float
    marrow_hu: float
    blade_tip_mm: float

    def paint(self, canvas: Canvas, trunk: Trunk, cage: np.ndarray, grain: np.ndarray) -> None:
        """Paint all bones; `cage` is the depth inside the ribs on every pixel, mm, `grain` a fine field of sd 1."""
        self._paint_wall_bones(canvas, trunk, cage, grain)
        self._paint_breastbone(canvas, trunk, grain)
        self._paint_shoulders(canvas, trunk, grain)
        self._paint_spine(canvas, trunk, grain)

    def _paint_wall_bones(self, canvas: Canvas, trunk: Trunk, cage: np.ndarray, grain: np.ndarray) -> None:
        """Ribs and shoulder blades: both follow the wall, by depth in it and angle around the spine."""
        rows, columns = np.nonzero((cage < 0.5) & (cage > -36))
        at = canvas.raster.at_mm
        turn = np.arctan2(np.abs(at[columns]), at[rows] - 0.25 * trunk.half_depth_mm) / np.pi  # 0 back, 1 front
        deep = -cage[rows, columns]
        ribs = deep < 2 * RIB_DEPTH_MM
        for side in (-1, 1):
            some = np.flatnonzero(ribs & ((at[columns] < 0) == (side < 0)))
            self._paint_ribs(canvas, trunk, (rows[some], columns[some]), (deep[some], turn[some]), grain, side)
        self._paint_blades(canvas, trunk, (rows, columns), (deep, turn), grain)

    def _paint_ribs(self, canvas: Canvas, trunk: Trunk, pixels: tuple[np.ndarray, np.ndarray],
                    place: tuple[np.ndarray, np.ndarray], grain: np.ndarray, side: int) -> None:
        deep, turn = place
        fine = grain[pixels]
        for number in range(1, RIBS + 1):
            head_z = trunk.stretch * (128 + 1.5 * side) - (number - 1) * self.vertebra_mm
            drop = self.drop * float(np.interp(number, [1, 3, 6, 10, 12], [42, 72, 96, 98, 70])) * trunk.stretch
            if not head_z - drop - 45 < canvas.z_mm < head_z + 12:
                continue
            end = float(np.interp(number, [1, 2, 7, 10, 11, 12], [0.80, 0.82, 0.76, 0.62, 0.5, 0.36]))
            last = 0.985 if number <= 7 else 0.86 if number <= 10 else end
            down = np.clip(turn / end, 0, 1)
            middle_z = head_z - drop * (0.75 * down**1.2 + 0.25 * down**3)
            middle_z += np.clip(turn - end, 0, None) * 28.0 * max(0, number - 2)  # cartilage climbs to the breastbone
            high, thick = (6.0, 3.4) if number < 11 else (4.5, 3.0)
            near = np.hypot((canvas.z_mm - middle_z) / (high * (1 + 0.25 * down)), (deep - RIB_DEPTH_MM) / thick)
            depth = (1 - near) * thick
            bone = np.minimum(depth, (end - turn) * 180)
            cartilage = np.minimum(np.minimum(depth + 0.4, (turn - end) * 180), (last - turn) * 180)
            self._dab(canvas, pixels, np.minimum(cartilage, 20), CARTILAGE_HU + 12 * fine)
            self._dab(canvas, pixels, bone, CORTEX_HU + 60 * fine)
            self._dab(canvas, pixels, bone - 1.1, MARROW_HU + 80 + 60 * fine)

    def _paint_blades(self, canvas: Canvas, trunk: Trunk, pixels: tuple[np.ndarray, np.ndarray],
                      place: tuple[np.ndarray, np.ndarray], grain: np.ndarray) -> None:
        up = (float(trunk.level(canvas.z_mm)) - self.blade_tip_mm) / 130  # 0 at the tip, 1 at the top
        if not 0 < up < 1:
            return
        deep, turn = place
        near_end, far_end = 0.33 - 0.09 * up, 0.37 + 0.16 * min(1.0, 1.6 * up)
        share = np.clip((turn - near_end) / (far_end - near_end), 0, 1)
        half = 1.5 + 3.0 * np.abs(2 * share - 1) ** 6 + 2.0 * share**4
        middle = 19 + 5 * np.sin(np.pi * share) * up + 6 * up * share
        depth = half - np.abs(deep - middle)
        depth = np.minimum(depth, np.minimum(turn - near_end, far_end - turn) * 280 + half)
        fine = grain[pixels]
        self._dab(canvas, pixels, depth, 720 + 60 * fine)
        self._dab(canvas, pixels, depth - 1.2, 220 + 60 * fine)

    def _dab(self, canvas: Canvas, pixels: tuple[np.ndarray, np.ndarray], depth: np.ndarray, value: np.ndarray | float
             ) -> None:
        """Paint chosen pixels by their depth."""
        inside = np.flatnonzero(depth > -canvas.raster.pixel_mm)
        if inside.size:
            chosen = pixels[0][inside], pixels[1][inside]
            part = canvas.hu[chosen]
            value = value[inside] if isinstance(value, np.ndarray) else value
            canvas.hu[chosen] = part + (value - part) * canvas.cover(depth[inside])

    def _bone(self, canvas: Canvas, box: tuple[slice, slice], depth: np.ndarray, cortex_mm: float,
              marrow: np.ndarray | float) -> None:
        canvas.blend(box, canvas.cover(depth), CORTEX_HU)
        canvas.blend(box, canvas.cover(depth - cortex_mm), marrow)

    def _paint_breastbone(self, canvas: Canvas, trunk: Trunk, grain: np.ndarray) -> None:
        z = canvas.z_mm
        level = float(trunk.level(z))
        if not -85 < level < 92:
            return
        front = float(trunk.front_y(z)) - 8
        half_x = float(np.interp(level, [-85, -60, 40, 52, 60, 85, 92], [5, 15, 18, 17, 25, 30, 22]))
        thick = float(np.interp(level, [-85, -70, 80, 92], [3, 5.5, 6, 3]))
        box, y, x = canvas.window(front, 0, 24, 44)
        v = y - front - x * x / 300 + 1.2 * np.sin(x / 9 + level / 30)
        depth = 4 - np.hypot(np.clip(np.abs(x) - half_x + 4, 0, None), np.clip(np.abs(v) - thick + 4, 0, None))
        depth = np.minimum(depth, thick - np.abs(v))
        joint = abs(level - 52) < 2.0  # between handle and body
        self._bone(canvas, box, depth, 20.0 if joint else 1.2, self.marrow_hu - 60 + 45 * grain[box])

    def _paint_shoulders(self, canvas: Canvas, trunk: Trunk, grain: np.ndarray) -> None:
        level, wide = float(trunk.level(canvas.z_mm)), trunk.half_width_mm / 130
        if level < 68:
            return
        front = float(trunk.front_y(88 * trunk.stretch))
        for side in (-1, 1):
            out = side * wide
            collar = Tube.through([(85, front - 4, 26 * out), (97, front - 12, 62 * out), (112, front + 12, 104 * out),
                                   (124, front + 42, 140 * out)], [9.5, 7, 6.5, 7.5])
            head = Ellipsoid.around((112, 4, 157 * out), (24, 23, 23))
            ridge = Tube.through([(80, 48, 104 * out), (100, 44, 128 * out), (116, 30, 160 * out)], [3, 5.5, 7])
            socket = Tube.through([(88, 22, 118 * out), (104, 12, 133 * out)], [6, 11])
            for shape, cortex in ((ridge, 1.4), (socket, 1.5), (head, 1.5), (collar, 1.8)):
                if not shape.crosses(level, 3):
                    continue
                depth = shape.depth((level, canvas.raster.y, canvas.raster.x))
                box = canvas.find_box(depth)
                if box is not None:
                    fine = canvas.refine(depth, box)
                    self._bone(canvas, box, fine, cortex, self.marrow_hu + 40 + 45 * grain[box])

    def _paint_spine(self, canvas: Canvas, trunk: Trunk, grain: np.ndarray) -> None:
        middle = float(trunk.spine_y(canvas.z_mm))
        phase = ((canvas.z_mm - self.first_z_mm) / self.vertebra_mm) % 1.0
        body = 1 - self.disc_mm / self.vertebra_mm
        size = float(np.interp(trunk.level(canvas.z_mm), [-150, 0, 140], [1.14, 1.0, 0.82]))
        box, y, x = canvas.window(middle + 18, 0, 60 * size, 60 * size)
        v, u = (y - middle) / size, np.abs(x) / size  # of a vertebra of the middle of the chest, right side as left
        fine = grain[box]
        canvas.blend(box, canvas.cover((8.5 - np.hypot(v - 22, u)) * size + 1.5), -50.0)  # fat around the cord
        self._paint_arch(canvas, box, (v, u), phase / body, size, fine)
        waist = 0.93 + 0.07 * abs(2 * min(phase / body, 1.0) - 1) ** 2
        near = ((u / (17.5 * waist)) ** 2.4 + np.abs((v + 0.5) / (15.0 * waist)) ** 2.4) ** (1 / 2.4)
        depth = np.minimum((1 - near) * 15.0, np.hypot(v - 24, u) - 9.5) * size
        edge = min(phase, body - phase) * self.vertebra_mm  # mm inside the nearer end plate; negative in a disc
        if edge < 0:
            canvas.blend(box, canvas.cover(depth), DISC_HU + 6 * fine)
        else:
            plate = float(np.clip(1.6 - edge, 0, 1))
            marrow = self.marrow_hu + 40 * fine
            self._bone(canvas, box, depth, 1.1, marrow + plate * (400 - marrow))
        canvas.blend(box, canvas.cover((5.2 - np.hypot(v - 22, 0.85 * u)) * size), 36.0)  # the cord

    def _paint_arch(self, canvas: Canvas, box: tuple[slice, slice], at: tuple[np.ndarray, np.ndarray], part: float,
                    size: float, fine: np.ndarray) -> None:
        """What surrounds the cord: pedicles in a vertebra's upper half, laminae, transverse and spinous processes."""
        v, u = at
        rods = [segment_depth(v, u, (30 + 3 * part, 13), (36, 0), 3.4),
                segment_depth(v, u, (34, 0), (44 + 12 * abs(np.cos(np.pi * part)), 0), 3.0)]
        if 0.4 < part < 0.95:
            rods.append(segment_depth(v, u, (8, 12.5), (27, 13.5), 4.2))
        if 0.35 < part < 0.85:
            rods.append(segment_depth(v, u, (27, 14), (35, 33), 4.6))
        if part > 0.75 or part < 0.15:
            rods.append(segment_depth(v, u, (25, 14), (29, 13), 5.0))  # the joints between two arches
        depth = rods[0]
        for rod in rods[1:]:
            depth = join(depth, rod, 3.0)
        self._bone(canvas, box, depth * size, 1.5, MARROW_HU + 120 + 50 * fine)


def draw_bones(rng: np.random.Generator, trunk: Trunk) -> Bones:
    """Bones of a random adult."""
    vertebra = 24.5 * trunk.stretch * float(rng.uniform(0.96, 1.04))
    return Bones(
        vertebra_mm=vertebra,
        first_z_mm=float(rng.uniform(0, vertebra)),
        disc_mm=float(rng.uniform(3.5, 6.0)),
        drop=float(rng.uniform(0.85, 1.15)),
        marrow_hu=float(rng.uniform(110, 230)),
        blade_tip_mm=float(rng.uniform(-35, 5)),
    )
