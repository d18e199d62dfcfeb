"""Metal in the simulated chest: a pacemaker with its lead, wires in the breastbone, or screws in the spine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from verict.ct.phantom.bones import Bones
from verict.ct.phantom.canvas import Canvas
from verict.ct.phantom.segments import Segments, join_segments
from verict.ct.phantom.shapes import Ellipsoid
from verict.ct.phantom.trunk import Trunk

METAL_HU = 12_000.0  # titanium at 70 keV, about 13 times as dense to X-rays as water (NIST XCOM)


class MetalKind(StrEnum):
    """What the patient bears."""

    PACEMAKER = "pacemaker"
    STERNAL_WIRES = "sternal wires"
    SPINE_SCREWS = "spine screws"


@dataclass(frozen=True, eq=False)
class Metal:
    """Rods and wires, and a case where there is one."""

    kind: MetalKind
    rods: Segments
    case: Ellipsoid | None

    def paint(self, canvas: Canvas) -> None:
        """Paint what a slice shows of it."""
        canvas.lift(self.rods.cover(canvas), METAL_HU)
        if self.case is not None and self.case.crosses(canvas.z_mm, 2):
            canvas.paint(self.case.depth((canvas.z_mm, canvas.raster.y, canvas.raster.x)), METAL_HU)


def draw_metal(rng: np.random.Generator, trunk: Trunk, bones: Bones) -> Metal:
    """One random kind of metal."""
    kind = MetalKind(rng.choice(list(MetalKind)))
    if kind is MetalKind.STERNAL_WIRES:
        return Metal(kind, _wires(trunk), None)
    if kind is MetalKind.SPINE_SCREWS:
        return Metal(kind, _screws(rng, trunk, bones), None)
    level, wide = 62 * trunk.stretch, trunk.half_width_mm / 130
    skin = float(trunk.front_y(level)) - 18
    case = Ellipsoid.around((level, skin + 16, 82 * wide), (24, 4, 22))
    lead = [(level, skin + 18, 66 * wide), (92, -28, 60 * wide), (88, -26, 34), (76, -24, 6), (60, -12, -25),
            (0, -10, -28), (-40, -16, -30), (-62, -40, 0), (-74, -42, 34)]
    return Metal(kind, _along(np.array(lead, float), 1.0), case)


def _along(nodes: np.ndarray, radius: float) -> Segments:
    nodes = nodes.astype(np.float32)
    wide = np.full(len(nodes) - 1, radius, np.float32)
    return Segments(nodes[:-1], nodes[1:], wide, wide)


def _wires(trunk: Trunk) -> Segments:
    """Loops around the breastbone, one every 22 mm."""
    turn = np.linspace(0, 2 * np.pi, 13)
    loops = []
    for level in np.arange(-60, 85, 22) * trunk.stretch:
        front = float(trunk.front_y(level)) - 8
        loop = np.column_stack([level + 2 * np.sin(turn), front + 8 * np.sin(turn), 15 * np.cos(turn)])
        loops.append(_along(loop, 0.5))
    return join_segments(loops)


def _screws(rng: np.random.Generator, trunk: Trunk, bones: Bones) -> Segments:
    """Screws through the pedicles of a few vertebrae, with a rod on each side."""
    first = int(rng.integers(-4, 1))
    parts = []
    for side in (-1, 1):
        heads = []
        for number in range(first, first + int(rng.integers(3, 5))):
            level = bones.first_z_mm + (number + 0.55) * bones.vertebra_mm
            middle = float(trunk.spine_y(level))
            parts.append(_along(np.array([[level, middle - 6, side * 6.0], [level, middle + 36, side * 16.0]]), 2.6))
            heads.append([level, middle + 37, side * 16.0])
        parts.append(_along(np.array(heads), 2.8))
    return join_segments(parts)
