"""The simulated chest's anatomy, sharp and without noise.

Coordinates are mm from the centre of the chest: z grows to the head, y to the back, x to the patient's left
(right of the picture), as in an axial scan of a patient lying on the back.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from verict.ct.phantom.bones import Bones, draw_bones
from verict.ct.phantom.canvas import Canvas, make_raster
from verict.ct.phantom.metal import Metal, draw_metal
from verict.ct.phantom.nodules import Ground, Nodule, NoduleOrder, draw_nodules
from verict.ct.phantom.organs import Mediastinum, draw_mediastinum, lung_depth, paint_abdomen
from verict.ct.phantom.segments import Segments, join_segments
from verict.ct.phantom.texture import Texture, make_texture
from verict.ct.phantom.trees import grow_tree, split_bundle, to_vessels
from verict.ct.phantom.trunk import LUNG_BASE_MM, LUNG_TOP_MM, Trunk, draw_trunk

AIR_HU = -1000.0
_HILUM = {-1: (14.0, 5.0, -32.0), 1: (17.0, 14.0, 45.0)}  # mm (z, y, x), of the artery; right and left
_BRONCHUS = {-1: (13.0, 19.0, -29.0), 1: (7.0, 21.0, 39.0)}
_ENDS, _VEINS = 5500, 4500  # last twigs of an arterial and of a venous tree, at most
_CANDIDATES = 90_000  # places tried for twigs; about a quarter lies in the lungs


@dataclass(frozen=True)
class Parenchyma:
    """The lung between vessels and airways.

    Parameters
    ----------
    hu
        At the middle of the chest.
    gradient_hu_per_mm
        How much denser towards the back, by gravity.
    texture_sd_hu
        Spread of the fine structure, on voxels of half a mm.
    skew
        How far bright grains outweigh dark ones; 0 for a symmetric texture.
    emphysema
        Share of the upper lung lost to air, 0 for none.
    """

    hu: float
    gradient_hu_per_mm: float
    texture_sd_hu: float
    skew: float
    emphysema: float


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One simulated patient; `draw_slab` shows it at any height."""

    trunk: Trunk
    mediastinum: Mediastinum
    bones: Bones
    parenchyma: Parenchyma
    grains: tuple[Texture, Texture]
    vessels: Segments
    airways: Segments
    nodules: tuple[Nodule, ...]
    specks: Segments
    metal: Metal | None
    gas_level_mm: float

    @property
    def z_range_mm(self) -> tuple[float, float]:
        """Heights between which there is lung."""
        return LUNG_BASE_MM * self.trunk.stretch, LUNG_TOP_MM * self.trunk.stretch

    def draw_slab(self, z_mm: np.ndarray, size: int, pixel_mm: float) -> np.ndarray:
        """The anatomy on infinitely thin planes.

        Parameters
        ----------
        z_mm
            (n,) heights, mm from the centre of the chest, in any order.
        size, pixel_mm
            Pixels a side, and their side; the middle of the picture is the middle of the chest.

        Returns
        -------
        np.ndarray
            (n, size, size) float32 HU. Each plane depends on its own height alone.
        """
        raster = make_raster(int(size), float(pixel_mm))
        out = np.empty((len(z_mm), size, size), np.float32)
        for canvas in (Canvas(raster, float(z), hu) for z, hu in zip(z_mm, out, strict=True)):
            self._draw(canvas)
        return out

    def _draw(self, canvas: Canvas) -> None:
        y, x, z, raster = canvas.raster.y, canvas.raster.x, canvas.z_mm, canvas.raster
        canvas.hu[:] = AIR_HU
        fine = self.grains[0].plane(z, raster.at_mm, raster.at_mm)
        fine += self.grains[1].plane(z, raster.at_mm, raster.at_mm)
        fine *= np.float32(0.5**0.5)
        soft = 5 * fine
        cage = self.trunk.cage_depth(z, y, x)
        self._paint_wall(canvas, cage, soft)
        depths = self.mediastinum.depths(z, y, x)
        lung = np.minimum(self.trunk.lung_space(z, y, x), -self.mediastinum.space(list(depths.values()), z, y, x))
        self._paint_lungs(canvas, lung, fine)
        self._paint_trees(canvas)
        paint_abdomen(canvas, self.trunk, cage, soft, self.gas_level_mm)
        self.mediastinum.paint(canvas, depths, soft)
        whole = slice(0, len(raster.at_mm)), slice(0, len(raster.at_mm))
        self.bones.paint(canvas, self.trunk, canvas.refine(cage, whole), fine)
        for nodule in self.nodules:
            nodule.paint(canvas)
        canvas.lift(self.specks.cover(canvas), 850.0)
        if self.metal is not None:
            self.metal.paint(canvas)

    def _paint_wall(self, canvas: Canvas, cage: np.ndarray, soft: np.ndarray) -> None:
        """Table, cover, skin, fat, muscle with its fat planes, and the fat inside the cage."""
        y, x, z, trunk = canvas.raster.y, canvas.raster.x, canvas.z_mm, self.trunk
        body = trunk.body_depth(z, y, x)
        self._paint_table(canvas)
        folds = trunk.wobble(z * 0.7, y * 1.6, x * 1.6, 9)
        canvas.paint(0.7 - np.abs(body + 7 + 5 * folds) - np.clip((y + 20) / 8, 0, 40), -880.0)
        canvas.paint(body, 30 + soft)
        canvas.paint(body - 1.8, -105 + soft)
        if trunk.breast > 0.3:
            canvas.paint(np.minimum(trunk.gland(z, y, x), body - 6), 25 + soft)
        thick = trunk.wall_thickness(z, y, x)
        wave = trunk.wobble(z, y, x, 10)
        muscle = np.minimum(cage + thick, body - 5)
        canvas.paint(muscle, 52 + soft)
        for share, which in ((0.36, 10), (0.62, 11), (0.85, 12)):  # fat planes between layers of muscle
            plane = -cage - 12 - share * (thick - 10) + 4.5 * (wave if which == 10 else trunk.wobble(z, y, x, which))
            band = 1.0 + 1.3 * trunk.wobble(z * 1.4, y * 1.4, x * 1.4, which + 3) - np.abs(plane)
            canvas.paint(np.minimum(np.minimum(band, muscle - 1), np.minimum(-cage - 12, (thick - 15) / 4)), -85 + soft)
        inner = cage + 1.0
        canvas.paint(inner, -98 + soft)
        gutter = np.minimum(inner, y - trunk.spine_y(z) - 12 + 3 * wave)  # beside the arches of the vertebrae
        canvas.paint(np.minimum(gutter, 34 - np.abs(x)), 48 + soft)

    def _paint_table(self, canvas: Canvas) -> None:
        """A curved shell of carbon fibre around foam, with a pad."""
        at, trunk = canvas.raster.at_mm, self.trunk
        middle = float(trunk.spine_y(0.0)) + 0.55 * trunk.fat_mm + 74
        box = canvas.raster.rows(0.0, at[-1] + 1), slice(0, len(at))
        below = at[box[0]][:, None] - middle + at[None] ** 2 / 950
        for first, last, value in ((-9, 0, -930.0), (0, 25, -965.0), (0, 1.5, -60.0), (23.5, 25, -60.0)):
            canvas.blend(box, canvas.cover(np.minimum(below - first, last - below)), value)

    def _paint_lungs(self, canvas: Canvas, lung: np.ndarray, fine: np.ndarray) -> None:
        """Parenchyma with its gradient, texture, emphysema, and the fissures."""
        box = canvas.find_box(lung)
        if box is None:
            return
        y, x, z, own, trunk = canvas.raster.y, canvas.raster.x, canvas.z_mm, self.parenchyma, self.trunk
        base = own.hu + own.gradient_hu_per_mm * y + 14 * trunk.wobble(z, y, x, 16)
        base += 0.12 * (float(trunk.level(z)) < -60) * (-60 - float(trunk.level(z)))
        vigour = canvas.refine(np.exp(0.32 * trunk.wobble(z * 1.7, y * 1.7, x * 1.7, 17)), box)
        texture = fine[box] * np.float32(own.skew)
        texture = np.expm1(texture, out=texture) if own.skew > 0 else fine[box].copy()
        if own.skew > 0:  # mean and sd of a log-normal brought to 0 and 1
            growth = np.exp(own.skew**2 / 2)
            texture = (texture - np.float32(growth - 1)) / np.float32(growth * np.sqrt(growth**2 - 1))
        hu = canvas.refine(base, box) + texture * vigour * np.float32(own.texture_sd_hu)
        if own.emphysema > 0:
            high = np.clip((float(trunk.level(z)) + 60) / 120, 0.15, 1)
            patch = trunk.wobble(z * 4, y * 4, x * 4, 18) - 2.2 + 2.4 * own.emphysema * high
            lost = np.clip(canvas.refine(patch, box) * 2.5, 0, 1)
            hu += (-975 + 0.25 * (hu - own.hu) - hu) * lost
        for fissure in self._fissures(z, y, x):
            near = canvas.refine(fissure, box)
            hu += np.float32(210) * np.exp(-0.5 * (near / 0.65) ** 2)
        canvas.blend(box, canvas.cover(canvas.refine(lung, box)), np.clip(hu, -1000, -250))

    def _fissures(self, z: float, y: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
        """Distance from the oblique fissures and, on the right, the horizontal one, mm."""
        level, d = float(self.trunk.level(z)), self.trunk.half_depth_mm
        bend = 9 * self.trunk.wobble(z, y, x, 13) + 0.0022 * (np.abs(x) - 70) ** 2
        oblique = (level - 5) * 0.62 - 0.78 * (y - 0.1 * d + bend)  # from high behind to low ahead
        oblique = oblique + 4 * np.sign(x)
        flat = level - 2 - 0.16 * (np.abs(x) - 60) + 0.6 * bend
        ahead = np.where((x < 0) & (y < level * 0.8 + 0.1 * d), flat * 0.9, 99.0)
        return [oblique, ahead.astype(np.float32)]

    def _paint_trees(self, canvas: Canvas) -> None:
        vessels = self.vessels.cover(canvas)
        canvas.lift(vessels, self.mediastinum.blood_hu)
        walls = self.airways.widen(1.1, 0.4).cover(canvas)
        canvas.lift(walls, 10)
        hu = canvas.hu
        hu += (-985 - hu) * self.airways.cover(canvas)


def draw_anatomy(
    seed: int | np.random.Generator, *, nodules: int | NoduleOrder = 0, metal: bool = False,
    texture_sd_hu: float | None = None, emphysema: float | None = None,
) -> Anatomy:
    """A random patient: every size, position and tree varies with the seed.

    Parameters
    ----------
    seed
        The same one gives the same patient.
    nodules
        How many, or what exactly.
    metal
        Whether the patient bears a pacemaker, wires in the breastbone or screws in the spine.
    texture_sd_hu, emphysema
        As in `Parenchyma`; random where None.

    Raises
    ------
    InputError
        If the lungs do not hold so many nodules.
    """
    rng = np.random.default_rng(seed)
    slow = make_texture(rng, (64, 64, 64), 6.0, knee_per_mm=0.012, slope=5.0)
    trunk = draw_trunk(rng, slow)
    mediastinum = draw_mediastinum(rng, trunk)
    bones = draw_bones(rng, trunk)
    grains = tuple(make_texture(rng, shape, 0.6, knee_per_mm=0.06, slope=1.5)
                   for shape in ((90, 225, 225), (100, 200, 200)))  # different periods: no place repeats another
    parenchyma = Parenchyma(
        hu=float(rng.uniform(-900, -840)),
        gradient_hu_per_mm=float(rng.uniform(0.2, 0.6)),
        texture_sd_hu=float(rng.uniform(45, 65)) if texture_sd_hu is None else texture_sd_hu,
        skew=0.9,
        emphysema=float(max(0.0, rng.uniform(-1.0, 0.8))) if emphysema is None else emphysema,
    )
    points = _fill_lungs(trunk, mediastinum, rng)
    vessels, airways = _grow_lungs(points, trunk, rng)
    order = nodules if isinstance(nodules, NoduleOrder) else NoduleOrder(nodules)
    found = draw_nodules(order, Ground(partial(lung_depth, trunk, mediastinum), points, vessels), rng)
    return Anatomy(
        trunk, mediastinum, bones, parenchyma, (grains[0], grains[1]), vessels, airways, found,
        _draw_specks(mediastinum, rng), draw_metal(rng, trunk, bones) if metal else None, float(rng.uniform(-45, -5)),
    )


def _fill_lungs(trunk: Trunk, mediastinum: Mediastinum, rng: np.random.Generator) -> np.ndarray:
    """(n, 3) float64 random places inside the lungs, mm (z, y, x)."""
    low = np.array([LUNG_BASE_MM * trunk.stretch, -1.1 * trunk.half_depth_mm, -trunk.half_width_mm])
    high = np.array([LUNG_TOP_MM * trunk.stretch, 1.1 * trunk.half_depth_mm, trunk.half_width_mm])
    points = rng.uniform(low, high, (_CANDIDATES, 3))
    return points[lung_depth(trunk, mediastinum, points) > 2.0]


def _grow_lungs(points: np.ndarray, trunk: Trunk, rng: np.random.Generator) -> tuple[Segments, Segments]:
    """Vessels and airways of both lungs."""
    wide, deep = trunk.half_width_mm / 130, trunk.half_depth_mm / 88
    scale = np.array([trunk.stretch, deep, wide])
    vessels, airways = [], []
    for side in (-1, 1):
        own = points[np.sign(points[:, 2]) == side]
        lumen, arteries = split_bundle(grow_tree(np.array(_BRONCHUS[side]) * scale, own[:_ENDS], rng), rng)
        airways.append(lumen)
        vessels.append(arteries)
        root = np.array([-12.0, 16.0, side * 42.0]) * scale
        vessels.append(to_vessels(grow_tree(root, own[-_VEINS:], rng), rng, largest_mm=5.5))
        hilum = np.array(_HILUM[side]) * scale
        stem = hilum, np.array(_BRONCHUS[side]) * scale, 7.0, 5.0
        vessels.append(Segments(*(np.array([v], np.float32) for v in stem)))
    return join_segments(vessels), join_segments(airways)


def _draw_specks(mediastinum: Mediastinum, rng: np.random.Generator) -> Segments:
    """Small calcifications in the wall of the aorta and in lymph nodes."""
    places = []
    for organ in mediastinum.organs:
        if organ.name in ("aortic arch", "descending aorta") or organ.name.startswith("node"):
            for _ in range(int(rng.poisson(0.9 if "aort" in organ.name else 0.25))):
                places.append(organ.shape.pick_edge(rng))
    centre = np.array(places, np.float32).reshape(-1, 3)
    size = rng.uniform(0.6, 2.2, len(centre)).astype(np.float32)
    return Segments(centre, centre + rng.normal(0, 2.0, centre.shape).astype(np.float32), size, size * np.float32(0.7))
