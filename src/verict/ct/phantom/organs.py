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
    """All organs between the lungs, in the order they are painted, and the HU of arterial blood."""

    organs: tuple[Organ, ...]
    trunk: Trunk
    blood_hu: float

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


_Node = tuple[float, float, float]  # mm (z, y, x) in a patient of mean size
_HEART: tuple[tuple[str, _Node, _Node, str, float, bool], ...] = (  # name, centre, half axes, blood, wall in mm, tilted
    ("right ventricle", (-50, -43, 6), (46, 21, 34), "venous", 3.0, True),
    ("left ventricle", (-50, -14, 40), (44, 33, 34), "arterial", 10.0, True),
    ("right atrium", (-38, -14, -30), (32, 25, 22), "venous", 2.0, False),
    ("left atrium", (-18, 18, 3), (20, 17, 30), "arterial", 2.0, False),
)
_VESSELS: tuple[tuple[str, tuple[_Node, ...], tuple[float, ...], str], ...] = (  # name, nodes, radii in mm, blood
    ("upper right vein", ((-16, 16, -22), (-8, 14, -38), (0, 12, -50)), (7, 6, 5), "arterial"),
    ("lower right vein", ((-24, 22, -18), (-34, 28, -42)), (7, 5.5), "arterial"),
    ("upper left vein", ((-12, 12, 26), (-4, 4, 42), (4, 0, 54)), (7, 6, 5), "arterial"),
    ("lower left vein", ((-22, 22, 26), (-30, 30, 46)), (7, 5.5), "arterial"),
    ("inferior vena cava", ((-150, 16, -20), (-90, 10, -24), (-50, -4, -28)), (11,), "venous"),
    ("superior vena cava", ((64, -10, -25), (20, -10, -28), (-14, -10, -28)), (9,), "venous"),
    ("pulmonary trunk", ((-20, -42, 14), (4, -34, 19), (20, -16, 22), (26, -4, 22)), (13,), "venous"),
    ("left pulmonary artery", ((24, -6, 24), (26, 8, 36), (16, 18, 48)), (11, 10, 8), "venous"),
    ("right pulmonary artery", ((22, -8, 16), (17, -1, -8), (13, 3, -30), (2, 8, -40)), (10, 10, 9, 7), "venous"),
    ("ascending aorta", ((-24, -12, 4), (0, -20, -12), (26, -20, -15), (46, -13, -9), (57, -2, 0)), (15,), "arterial"),
    ("aortic arch", ((57, -2, 0), (61, 10, 9), (57, 24, 17), (44, 35, 22)), (15, 13.5, 13, 12.5), "arterial"),
    ("descending aorta", ((46, 34, 22), (20, 33, 23), (-50, 32, 20), (-110, 30, 11), (-200, 26, 4)), (12,), "arterial"),
    ("brachiocephalic artery", ((62, -2, -2), (90, 2, -12), (112, 6, -20), (180, 0, -26)), (6,), "arterial"),
    ("left carotid", ((64, 6, 7), (110, 6, 14), (190, 0, 24)), (4,), "arterial"),
    ("left subclavian", ((62, 16, 15), (95, 18, 22), (117, 10, 40), (122, 0, 75)), (5,), "arterial"),
    ("left brachiocephalic vein", ((100, -14, 36), (86, -26, 24), (72, -25, -2), (62, -14, -24)), (6.5,), "venous"),
    ("right brachiocephalic vein", ((120, -4, -34), (92, -14, -30), (62, -13, -25)), (6.5,), "venous"),
    ("azygos", ((40, -6, -24), (42, 12, -22), (38, 30, -10), (0, 34, -4), (-110, 32, -2)), (4, 4, 4, 3, 3), "venous"),
)
_GULLET: tuple[_Node, ...] = ((190, 30, 2), (110, 30, 4), (50, 26, 5), (0, 27, 4), (-50, 26, 8), (-100, 14, 20))
_LYMPH_NODES: tuple[_Node, ...] = (
    (60, -2, -16), (48, -4, -14), (66, -24, 4), (30, 2, 26), (22, 22, 2), (70, 12, -16), (10, 26, -10),
)
_TO_APEX = (-0.45, -0.42, 0.79)  # of the heart: left, forward and down


def draw_mediastinum(rng: np.random.Generator, trunk: Trunk) -> Mediastinum:
    """Heart and great vessels of a random patient; contrast medium or none."""
    arterial = float(rng.choice([42.0, rng.uniform(110, 190), rng.uniform(190, 300)]))  # HU: native, late, early
    contrast = arterial > 50
    blood = {"arterial": arterial, "venous": float(rng.uniform(0.6, 1.3)) * arterial if contrast else arterial}
    shift = rng.uniform(-4, 4, 3)
    bulge = float(rng.uniform(0.92, 1.12))

    def place(node: _Node) -> np.ndarray:
        z, y, x = node
        back = float(trunk.spine_y(z * trunk.stretch)) - 55  # what lies before the spine bends with it
        share = float(np.clip((y + 30) / 60, 0, 1))
        return np.array([
            (z + shift[0]) * trunk.stretch,
            y * trunk.half_depth_mm / 88 + share * back + 0.5 * shift[1],
            x * trunk.half_width_mm / 130 + 0.5 * shift[2],
        ])

    def tube(name: str, nodes: tuple[_Node, ...], radii: tuple[float, ...], hu: float, wall_mm: float) -> Organ:
        path = [place(n) + rng.normal(0, 1.0, 3) for n in nodes]
        return Organ(name, Tube.through(path, np.array(radii) * rng.uniform(0.9, 1.1)), hu, wall_mm)

    def chamber(name: str, centre: _Node, half: _Node, hu: float, wall_mm: float, *, tilted: bool) -> Organ:
        size = np.array(half) * bulge * rng.uniform(0.94, 1.06, 3)
        shape = Ellipsoid.around(place(centre), size, _TO_APEX if tilted else None)
        return Organ(name, shape, hu, wall_mm, 95.0 if contrast else 50.0)

    chosen = rng.permutation(len(_LYMPH_NODES))[: rng.integers(2, len(_LYMPH_NODES) + 1)]
    organs = (
        *(chamber(name, centre, half, blood[of], wall_mm, tilted=tilted)
          for name, centre, half, of, wall_mm, tilted in _HEART),
        *(tube(name, nodes, radii, blood[of], 1.2) for name, nodes, radii, of in _VESSELS),
        tube("gullet", _GULLET, (7, 7, 7, 7, 8, 9), 40.0, 0.5),
        Organ("windpipe", Tube.through([place(n) for n in WINDPIPE], [9.5, 9.5, 9.0, 9.5]), AIR_HU, 1.5),
        *(Organ(f"{side} main bronchus", Tube.through([place(n) for n in nodes], [8.3, 7.5, 6.8]), AIR_HU, 1.4)
          for side, nodes in BRONCHI.items()),
        *(Organ(f"node {i}", Ellipsoid.around(place(_LYMPH_NODES[i]), rng.uniform(2, 6, 3)), 45.0) for i in chosen),
    )
    return Mediastinum(organs, trunk, arterial)


def paint_abdomen(canvas: Canvas, trunk: Trunk, cage: np.ndarray, grain: np.ndarray, gas_level_mm: float) -> None:
    """What lies below the diaphragm: liver, stomach with gas before fluid, spleen, fat, and the muscle itself."""
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
    border = 0.36 * w - x - 0.3 * (y + 0.9 * d) - 0.12 * (low + 90) + 5 * trunk.wobble(z, y, x, 7)
    liver = np.minimum(below - 2.5, border)
    canvas.paint(liver, 62 + grain)
    stomach = Ellipsoid.around((-132 * trunk.stretch, -0.22 * d, 0.46 * w), (58, 0.56 * d, 0.36 * w)).depth((z, y, x))
    stomach = np.minimum(np.minimum(stomach, below - 3), -liver - 3) + 1.5 * trunk.wobble(z, y, x, 8)
    canvas.paint(stomach, 45 + grain)
    canvas.paint(stomach - 3.5, 12 + grain)
    canvas.paint(np.minimum(stomach - 3.5, gas_level_mm - y + 0 * x), -980.0)
    spleen = Ellipsoid.around((-130 * trunk.stretch, 0.40 * d, 0.66 * w), (52, 0.50 * d, 0.30 * w)).depth((z, y, x))
    canvas.paint(np.minimum(np.minimum(spleen, below - 3), -stomach - 5), 52 + grain)
    canvas.paint(1.4 - np.abs(below - 1.4), 45 + grain)
