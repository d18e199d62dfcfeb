"""Heart, great vessels, windpipe, gullet, and what lies below the diaphragm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from verict.ct.phantom.canvas import Canvas
from verict.ct.phantom.shapes import Ellipsoid, Tube, join
from verict.ct.phantom.trunk import Trunk

AIR_HU = -990.0
WINDPIPE = ((200.0, 8.0, 0.0), (120.0, 8.0, 1.0), (70.0, 12.0, 2.0), (37.0, 15.0, 0.0))  # mm (z, y, x)
BRONCHI = {"right": ((38.0, 15.0, -2.0), (24.0, 17.0, -16.0), (13.0, 19.0, -29.0)),
           "left": ((38.0, 15.0, 2.0), (22.0, 19.0, 20.0), (7.0, 21.0, 39.0))}
CHAMBERS = ("right ventricle", "left ventricle", "right atrium", "left atrium")
THICK_WALL_MM = 5.0  # muscle that lies before what is behind it
MARGIN_MM = 2.5  # fat and pleura between an organ of the mediastinum and the lung
Depths = dict[str, np.ndarray]


@dataclass(frozen=True)
class Organ:
    """A part of the mediastinum: its shape, HU of its filling, and a wall with its own HU."""

    name: str
    shape: Tube | Ellipsoid
    hu: float
    wall_mm: float = 0.0
    wall_hu: float = 45.0


@dataclass(frozen=True, eq=False)
class Mediastinum:
    """All organs between the lungs, in the order they are painted."""

    organs: tuple[Organ, ...]
    trunk: Trunk

    def depths(self, z: float, y: np.ndarray, x: np.ndarray) -> Depths:
        """Depth inside each organ that comes near a height, mm."""
        found = {o.name: np.asarray(o.shape.depth((z, y, x)), np.float32)
                 for o in self.organs if o.shape.crosses(z, 25.0)}
        lumpy = 2.2 * self.trunk.wobble(z * 1.6, y * 1.6, x * 1.6, 14)
        for name in CHAMBERS:
            if name in found:
                found[name] += lumpy
        return found

    def space(self, depths: Sequence[np.ndarray], z: np.ndarray | float, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Depth inside the mediastinum: the organs, the fat in their creases, and the septum between the lungs."""
        front = self.trunk.front_y(z)
        thin = 2.5 + 7 * np.clip((np.asarray(self.trunk.level(z)) - 25) / 60, 0, 1)
        ahead = np.clip((y - front) / (12 - front), 0, 1)  # 0 at the breastbone, 1 at the windpipe
        inside = thin + 9 * ahead**2 - np.abs(x - 3 + 4 * self.trunk.wobble(z, y, 0 * x, 5))
        for depth in depths:
            inside = join(inside, depth + MARGIN_MM, 12.0)
        return inside + 0.8 * self.trunk.wobble(z, y, x, 6)

    def paint(self, canvas: Canvas, depths: Depths, grain: np.ndarray) -> None:
        """Paint all organs; `grain` (size, size) HU is added to each."""
        near = [o for o in self.organs if o.name in depths]
        heart = [depths[o.name] for o in near if o.name in CHAMBERS]
        if heart:
            sac = heart[0]
            for depth in heart[1:]:
                sac = join(sac, depth, 30.0)
            canvas.paint(sac + 3.5, 15 + grain)
            canvas.paint(sac + 2.3, -92 + grain)
        for organ in near:  # walls first: where two vessels meet there is none between them
            if organ.wall_mm:
                canvas.paint(depths[organ.name], organ.wall_hu + grain)
        for organ in near:
            if organ.wall_mm > THICK_WALL_MM:
                canvas.paint(depths[organ.name], organ.wall_hu + grain)
            canvas.paint(depths[organ.name] - organ.wall_mm, organ.hu + grain)


def lung_depth(trunk: Trunk, mediastinum: Mediastinum, points: np.ndarray) -> np.ndarray:
    """Depth inside the lungs of (n, 3) points in mm (z, y, x)."""
    z, y, x = points.T
    organs = [o.shape.depth((z, y, x)) for o in mediastinum.organs]
    return np.minimum(trunk.lung_space(z, y, x), -mediastinum.space(organs, z, y, x))


def draw_mediastinum(rng: np.random.Generator, trunk: Trunk) -> Mediastinum:
    """Heart and great vessels of a random patient; contrast medium or none."""
    blood = float(rng.choice([42.0, rng.uniform(110, 190), rng.uniform(190, 300)]))  # native, late, arterial
    venous = blood if blood < 50 else float(rng.uniform(0.6, 1.3) * blood)
    muscle = 50.0 if blood < 50 else 95.0
    wide, deep = trunk.half_width_mm / 130, trunk.half_depth_mm / 88
    shift = rng.uniform(-4, 4, 3)
    bulge = float(rng.uniform(0.92, 1.12))

    def place(z: float, y: float, x: float) -> tuple[float, float, float]:
        back = float(trunk.spine_y(z * trunk.stretch)) - 55  # what lies before the spine bends with it
        share = float(np.clip((y + 30) / 60, 0, 1))
        return ((z + shift[0]) * trunk.stretch, y * deep + share * back + 0.5 * shift[1], x * wide + 0.5 * shift[2])

    def tube(name: str, nodes: list[tuple[float, float, float]], radius: float | list[float], hu: float,
             wall_mm: float = 1.2) -> Organ:
        jittered = [np.add(place(*n), rng.normal(0, 1.0, 3)) for n in nodes]
        size = np.multiply(radius, rng.uniform(0.9, 1.1))
        return Organ(name, Tube.through(jittered, size if np.ndim(size) else float(size)), hu, wall_mm)

    def chamber(name: str, centre: tuple[float, float, float], half: tuple[float, float, float], hu: float,
                wall_mm: float, *, tilted: bool) -> Organ:
        axis = (-0.45, -0.42, 0.79) if tilted else None  # to the apex: left, forward and down
        size = np.multiply(half, bulge * rng.uniform(0.94, 1.06, 3))
        return Organ(name, Ellipsoid.around(place(*centre), size, axis), hu, wall_mm, muscle)

    organs = (
        chamber("right ventricle", (-50, -43, 6), (46, 21, 34), venous, 3.0, tilted=True),
        chamber("left ventricle", (-50, -14, 40), (44, 33, 34), blood, 10.0, tilted=True),
        chamber("right atrium", (-38, -14, -30), (32, 25, 22), venous, 2.0, tilted=False),
        chamber("left atrium", (-18, 18, 3), (20, 17, 30), blood, 2.0, tilted=False),
        tube("upper right vein", [(-16, 16, -22), (-8, 14, -38), (0, 12, -50)], [7, 6, 5], blood, 0.8),
        tube("lower right vein", [(-24, 22, -18), (-34, 28, -42)], [7, 5.5], blood, 0.8),
        tube("upper left vein", [(-12, 12, 26), (-4, 4, 42), (4, 0, 54)], [7, 6, 5], blood, 0.8),
        tube("lower left vein", [(-22, 22, 26), (-30, 30, 46)], [7, 5.5], blood, 0.8),
        tube("inferior vena cava", [(-150, 16, -20), (-90, 10, -24), (-50, -4, -28)], 11, venous),
        tube("superior vena cava", [(64, -10, -25), (20, -10, -28), (-14, -10, -28)], 9, venous),
        tube("pulmonary trunk", [(-20, -42, 14), (4, -34, 19), (20, -16, 22), (26, -4, 22)], 13, venous),
        tube("left pulmonary artery", [(24, -6, 24), (26, 8, 36), (16, 18, 48)], [11, 10, 8], venous),
        tube("right pulmonary artery", [(22, -8, 16), (17, -1, -8), (13, 3, -30), (2, 8, -40)], [10, 10, 9, 7], venous),
        tube("ascending aorta", [(-24, -12, 4), (0, -20, -12), (26, -20, -15), (46, -13, -9), (57, -2, 0)], 15, blood),
        tube("aortic arch", [(57, -2, 0), (61, 10, 9), (57, 24, 17), (44, 35, 22)], [15, 13.5, 13, 12.5], blood),
        tube("descending aorta", [(46, 34, 22), (20, 33, 23), (-50, 32, 20), (-110, 30, 11), (-200, 26, 4)], 12, blood),
        tube("brachiocephalic artery", [(62, -2, -2), (90, 2, -12), (112, 6, -20), (180, 0, -26)], 6, blood),
        tube("left carotid", [(64, 6, 7), (110, 6, 14), (190, 0, 24)], 4, blood),
        tube("left subclavian", [(62, 16, 15), (95, 18, 22), (117, 10, 40), (122, 0, 75)], 5, blood),
        tube("left brachiocephalic vein", [(100, -14, 36), (86, -26, 24), (72, -25, -2), (62, -14, -24)], 6.5, venous),
        tube("right brachiocephalic vein", [(120, -4, -34), (92, -14, -30), (62, -13, -25)], 6.5, venous),
        tube("azygos", [(40, -6, -24), (42, 12, -22), (38, 30, -10), (0, 34, -4), (-110, 32, -2)], [4, 4, 4, 3, 3], venous),
        tube("gullet", [(190, 30, 2), (110, 30, 4), (50, 26, 5), (0, 27, 4), (-50, 26, 8), (-100, 14, 20)],
             [7, 7, 7, 7, 8, 9], 40.0, 0.5),
        Organ("windpipe", Tube.through([place(*n) for n in WINDPIPE], [9.5, 9.5, 9.0, 9.5]), AIR_HU, 1.5),
        *(Organ(f"{side} main bronchus", Tube.through([place(*n) for n in nodes], [8.3, 7.5, 6.8]), AIR_HU, 1.4)
          for side, nodes in BRONCHI.items()),
        *(Organ(f"node {i}", Ellipsoid.around(place(*at), rng.uniform(2, 6, 3)), 45.0)
          for i, at in enumerate(_choose_nodes(rng))),
    )
    return Mediastinum(organs, trunk)


def _choose_nodes(rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Places of small lymph nodes: before, beside and below the windpipe, at the aorta."""
    places = [(60, -2, -16), (48, -4, -14), (66, -24, 4), (30, 2, 26), (22, 22, 2), (70, 12, -16), (10, 26, -10)]
    return [places[i] for i in rng.permutation(len(places))[: rng.integers(2, len(places) + 1)]]


def paint_abdomen(canvas: Canvas, trunk: Trunk, cage: np.ndarray, grain: np.ndarray, gas_level_mm: float) -> None:
    """What lies below the diaphragm: liver, stomach with its gas before its fluid, spleen, fat, and the muscle itself."""
    y, x, z = canvas.raster.y, canvas.raster.x, canvas.z_mm
    dome, slope = trunk.dome_z(y, x)
    below = np.minimum((dome - z) * slope, cage - 1.0)
    if (below <= -4).all():
        return
    spine = trunk.spine_y(z)
    w, d = trunk.half_width_mm, trunk.half_depth_mm
    below = np.minimum(below, np.hypot(y - spine, x) - 24)
    canvas.paint(below, -100 + grain)
    low = float(trunk.level(z))
    liver = np.minimum(below - 2.5, 0.36 * w - x - 0.3 * (y + 0.9 * d) - 0.12 * (low + 90) + 5 * trunk.wobble(z, y, x, 7))
    canvas.paint(liver, 62 + grain)
    stomach = Ellipsoid.around((-132 * trunk.stretch, -0.22 * d, 0.46 * w), (58, 0.56 * d, 0.36 * w)).depth((z, y, x))
    stomach = np.minimum(np.minimum(stomach, below - 3), -liver - 3) + 1.5 * trunk.wobble(z, y, x, 8)
    canvas.paint(stomach, 45 + grain)
    canvas.paint(stomach - 3.5, 12 + grain)
    canvas.paint(np.minimum(stomach - 3.5, gas_level_mm - y + 0 * x), -980.0)
    spleen = Ellipsoid.around((-130 * trunk.stretch, 0.40 * d, 0.66 * w), (52, 0.50 * d, 0.30 * w)).depth((z, y, x))
    canvas.paint(np.minimum(np.minimum(spleen, below - 3), -stomach - 5), 52 + grain)
    canvas.paint(1.4 - np.abs(below - 1.4), 45 + grain)
