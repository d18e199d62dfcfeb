"""The simulated chest's anatomy, sharp and without noise.

Coordinates are mm relative to the centre of the volume: z grows to the head, y to the back, x to the
patient's left (right of the picture), as in an axial scan of a patient lying on the back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft


@dataclass(frozen=True)
class Nodule:
    """A round nodule of the simulated chest, centre in mm relative to the centre of the volume."""

    centre_zyx_mm: tuple[float, float, float]
    diameter_mm: float
    hu: float = 30.0


NODULES = (
    Nodule((0.0, -30.0, -88.0), 11.0),
    Nodule((-14.0, 20.0, 92.0), 9.0),
    Nodule((12.0, 34.0, -78.0), 8.0),
)


def nodule_voxel(nodule: Nodule, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """(3,) float64 (z, y, x) voxel position of a nodule's centre."""
    return np.array(nodule.centre_zyx_mm) / spacing_mm + (np.array(shape) - 1) / 2


def draw_chest(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], rng: np.random.Generator
) -> np.ndarray:
    """The anatomy alone, sharp and without noise, (z, y, x) float32 HU."""
    z, y, x = (((np.arange(n) - (n - 1) / 2) * s).astype(np.float32) for n, s in zip(shape, spacing_mm, strict=True))
    texture = _lung_texture(shape, spacing_mm, rng)
    vessels = _draw_tubes(shape, spacing_mm, [s for side in (-1, 1) for _ in range(2) for s in _vessel_tree(side, rng)])
    airways = [s for side in (-1, 1) for s in _airway_tree(side, rng)]
    lumen = _draw_tubes(shape, spacing_mm, airways)
    walls = _draw_tubes(shape, spacing_mm, [(a, b, r * 1.15 + 0.6) for a, b, r in airways])
    hu = np.empty(shape, np.float32)
    for i, height in enumerate(z):
        pen = _Pen(y[:, None], x[None], spacing_mm[1], np.full(shape[1:], -1000, np.float32))
        _draw_wall(pen, float(height))
        lung = _lung_cover(pen, float(height))
        parenchyma = -850 + 0.45 * pen.y + texture[i]  # denser towards the back, by gravity
        parenchyma += (45 - parenchyma) * vessels[i]
        parenchyma += (20 - parenchyma) * walls[i]
        parenchyma += (-990 - parenchyma) * lumen[i]
        for nodule in NODULES:
            radius2 = (nodule.diameter_mm / 2) ** 2 - (height - nodule.centre_zyx_mm[0]) ** 2
            if radius2 > 0:
                cover = pen.cover(nodule.centre_zyx_mm[1], nodule.centre_zyx_mm[2], radius2**0.5, radius2**0.5)
                parenchyma += (nodule.hu - parenchyma) * cover
        pen.hu += (parenchyma - pen.hu) * lung
        _draw_centre(pen, float(height))
        hu[i] = pen.hu
    return hu


@dataclass
class _Pen:
    """Paints soft-edged ellipses on one slice; y and x in mm."""

    y: np.ndarray
    x: np.ndarray
    pixel_mm: float
    hu: np.ndarray

    def cover(self, y: float, x: float, half_y: float, half_x: float) -> np.ndarray:
        """How much of each pixel an ellipse covers, (y, x) float32 from 0 to 1."""
        radius = np.hypot((self.y - y) / half_y, (self.x - x) / half_x)
        return np.clip(0.5 + (1 - radius) * (min(half_y, half_x) / self.pixel_mm), 0, 1)

    def paint(self, value: float, y: float, x: float, half_y: float, half_x: float) -> None:
        """Paint an ellipse, touching only the pixels around it."""
        rows = np.flatnonzero(np.abs(self.y[:, 0] - y) <= half_y * (1 + self.pixel_mm / min(half_y, half_x)))
        columns = np.flatnonzero(np.abs(self.x[0] - x) <= half_x * (1 + self.pixel_mm / min(half_y, half_x)))
        if rows.size and columns.size:
            box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            part = _Pen(self.y[box[0]], self.x[:, box[1]], self.pixel_mm, self.hu[box])
            part.hu += (value - part.hu) * part.cover(y, x, half_y, half_x)


def _draw_wall(pen: _Pen, z: float) -> None:
    table = np.abs(pen.y - 126 + pen.x**2 / 900)
    pen.hu += (-870 - pen.hu) * np.clip(7 - table, 0, 1)
    pen.hu += (-250 - pen.hu) * np.clip(1.5 - np.abs(table - 7), 0, 1)
    for inset, value in ((0, 0), (2, -100), (16, 55)):  # skin, fat, muscle
        pen.paint(value, 0, 0, 113 - 0.9 * inset, 162 - inset - 0.1 * max(z, 0))
    for side in (-1, 1):
        for k in range(7):  # ribs run obliquely: each slice cuts them at other places around the wall
            turn = -1.25 + 0.42 * ((k + z / 24) % 7)
            y, x = 96 * np.sin(turn), side * 136 * np.cos(turn)
            for value, size in ((550, 1.0), (250, 0.65)):
                pen.paint(value, y, x, (5.5 + 3 * abs(np.cos(turn))) * size, (4.5 + 4 * abs(np.sin(turn))) * size)
        pen.paint(400, 62 - 0.1 * z, side * 118, 24, 3)  # shoulder blade
    pen.paint(300, -92, 0, 6, 16)  # breastbone


def _lung_cover(pen: _Pen, z: float) -> np.ndarray:
    size = 1 - 0.0022 * max(z, -60) - 0.00001 * z * z  # narrower towards the apex
    cover = np.zeros_like(pen.hu)
    for side in (-1, 1):
        cover = np.maximum(cover, pen.cover(2, side * 73, 84 * size, 55 * size))
    heart = 1 - 0.012 * (z + 30)
    if heart > 0:
        cover *= 1 - pen.cover(-28, 22, 44 * min(heart, 1.1), 56 * min(heart, 1.1))
    dome = 70 * (1 - ((z + 90) / 50) ** 2)  # mm, the liver under the right half of the diaphragm
    if dome > 0:
        cover *= 1 - pen.cover(0, -75, dome, 0.75 * dome)
    return cover * (1 - pen.cover(10, 0, 72, 27))


def _draw_centre(pen: _Pen, z: float) -> None:
    pen.paint(-80, -60, 0, 14, 12)  # fat before the heart
    pen.paint(120, -22 + 0.1 * z, -12, 15, 15)  # ascending aorta or right heart
    pen.paint(120, 44, 16, 12, 12)  # descending aorta
    pen.paint(115, -12, 22, 12, 20) if -25 < z < 25 else None  # pulmonary trunk
    pen.paint(35, 36, 3, 6, 8)  # oesophagus
    if z > 0:
        pen.paint(40, 18, 0, 11, 12)
        pen.paint(-990, 18, 0, 8.5, 9.5)  # trachea
    else:
        for side in (-1, 1):
            pen.paint(-990, 18, side * (8 - 0.55 * z), 6.5, 7.5)  # main bronchi
    disc = (z + 300) % 24 < 5
    pen.paint(90 if disc else 420, 70, 0, 15, 18)
    pen.paint(80 if disc else 190, 70, 0, 13.5, 16.5)
    for side in (-1, 1):
        pen.paint(350, 88, side * 14, 4, 17)  # transverse processes
    pen.paint(350, 98, 0, 10, 4)
    pen.paint(25, 88, 0, 7, 8)  # spinal canal


_Tube = tuple[np.ndarray, np.ndarray, float]  # both ends in mm (z, y, x), radius in mm


def _vessel_tree(side: int, rng: np.random.Generator) -> list[_Tube]:
    start = np.array([rng.uniform(-12, 8), rng.uniform(-4, 16), side * 30.0])
    tubes: list[_Tube] = []
    for direction in ([1, -0.4, side], [0.2, -1, side], [0.1, 0.8, side], [-1, 0.6, side], [-0.8, -0.6, side]):
        tubes += _grow(start, np.array(direction, float), rng.uniform(3.2, 4.4), 0.35, rng)
    return tubes


def _airway_tree(side: int, rng: np.random.Generator) -> list[_Tube]:
    tubes: list[_Tube] = []
    for direction in ([0.9, 0, side], [-0.2, -0.7, side], [-1, 0.5, side]):
        tubes += _grow(np.array([-10.0, 16, side * 22]), np.array(direction, float), 3.6, 1.6, rng)
    return tubes


def _grow(start: np.ndarray, direction: np.ndarray, radius: float, least_mm: float, rng: np.random.Generator) -> list:
    """A tree down to `least_mm`: each end goes on a little narrower and sends a thinner branch aside."""
    tubes, ends = [], [(start, direction / np.linalg.norm(direction), radius)]
    while ends:
        start, direction, radius = ends.pop()
        end = start + direction * (4.0 + 2.5 * radius) * rng.uniform(0.7, 1.3)
        tubes.append((start, end, radius))
        aside = rng.standard_normal(3)
        aside -= (aside @ direction) * direction
        aside /= np.linalg.norm(aside)
        wide = rng.uniform(0.80, 0.95)
        thin = (1 - wide**3) ** (1 / 3)  # the cubes of the radii add up (Murray, 10.1073/pnas.12.3.207)
        for width, turn in ((wide, -rng.uniform(0.05, 0.3)), (thin, rng.uniform(0.5, 1.0))):
            if radius * width > least_mm:
                child = direction + turn * aside
                ends.append((end, child / np.linalg.norm(child), radius * width))
    return tubes


def _draw_tubes(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], tubes: list[_Tube]) -> np.ndarray:
    """How much of each voxel the tubes cover, (z, y, x) float32 from 0 to 1."""
    cover = np.zeros(shape, np.float32)
    spacing = np.array(spacing_mm)
    last = np.array(shape) - 1
    middle = last / 2
    soft = spacing_mm[1]
    for start, end, radius in tubes:
        reach = radius + soft
        low = np.maximum(np.ceil((np.minimum(start, end) - reach) / spacing + middle), 0).astype(int)
        high = np.minimum(np.floor((np.maximum(start, end) + reach) / spacing + middle), last).astype(int)
        if (high < low).any():
            continue
        box = tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))
        axes = [(np.arange(a, b + 1) - m) * s for a, b, m, s in zip(low, high, middle, spacing, strict=True)]
        offset = [v - s for v, s in zip(np.ix_(*axes), start, strict=True)]
        along = end - start
        part = np.clip(sum(o * a for o, a in zip(offset, along, strict=True)) / (along @ along), 0, 1)
        distance = np.sqrt(sum((o - part * a) ** 2 for o, a in zip(offset, along, strict=True)))
        filled = min(1.0, (radius / soft) ** 2)  # a vessel thinner than a pixel fills only part of it
        cover[box] = np.maximum(cover[box], filled * np.clip(0.5 + (radius - distance) / soft, 0, 1))
    return cover


def _lung_texture(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], rng: np.random.Generator, sd_hu: float = 30.0
) -> np.ndarray:
    """Fine structure of the parenchyma: a random field that loses amplitude with frequency, (z, y, x) float32 HU."""
    z, y = (fft.fftfreq(n, s) for n, s in zip(shape[:2], spacing_mm[:2], strict=True))
    x = fft.rfftfreq(shape[2], spacing_mm[2])
    frequency = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2).astype(np.float32)
    field = fft.rfftn(rng.standard_normal(shape, np.float32), workers=2) / (0.04 + frequency) ** 2.2
    field = fft.irfftn(field, s=shape, workers=2)
    return field * (sd_hu / field.std())
