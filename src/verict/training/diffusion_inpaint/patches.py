"""Patches to learn inpainting from: a place of a scan, a hole in it, and the nodule that stands there, if any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from verict.errors import DatasetError
from verict.tamper.diffusion import CLIP_HU, Scene, to_network
from verict.tamper.holes import HoleShape, cut_hole, draw_ball
from verict.training.diffusion_inpaint.chests import KnownNodule, KnownScan

THIN, MEDIUM, THICK = 1.6, 3.6, 12.0  # mm between slices, up to
SHAPES = {
    THIN: ((24, 40, 40), (16, 32, 32), (24, 48, 48)),
    MEDIUM: ((16, 40, 40), (16, 32, 32), (8, 48, 48)),
    THICK: ((8, 48, 48), (8, 56, 56)),
}
"""Voxels (z, y, x) of the patches of scans whose slices lie so far apart."""

BATCH_VOXELS = 65_000
NODULE_SHARE = 0.4  # of the batches; the rest paints lung
REAL_SHARE = 0.65  # of the healthy patches; the rest is of simulated chests
REAL_NODULE_SHARE = 0.1
HOLE_MM = (6.0, 15.0)  # radius of holes in healthy lung
CLEAR_MM = 3.0  # between a hole that is learnt as healthy and the nearest nodule
BRIGHT_HU, BRIGHT_SHARE = -500.0, 0.25  # a hole with more than this share above is no healthy lung
MORE_HOLES, MORE_HOLE_MM = 3, (4.0, 10.0)  # tried beside the first, where lung is healthy, and their radii
COARSER = (0.3, 1.6)  # how often a patch is shown coarser than it is, and by how much at most
SHIFT_HU = 20.0  # standard deviation by which the whole patch is lighter or darker
PLACES = 30_000  # of each scan that healthy patches are centred on
TRIES = 200


@dataclass(frozen=True, eq=False)
class Place:
    """Where to cut: the patch's middle and the hole's, in voxels, the hole's radius in mm, and its nodule."""

    scan: KnownScan
    middle: np.ndarray
    hole: np.ndarray
    radius_mm: float
    nodule: KnownNodule | None


@dataclass(eq=False)
class PatchSource:
    """Draws batches of patches; the same generator state gives the same batch.

    Parameters
    ----------
    scans
        What is learnt from.
    """

    scans: Sequence[KnownScan]
    _places: dict[str, np.ndarray] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for scan in self.scans:
            self._places[scan.name] = _healthy_places(scan)
        if not any(len(p) for p in self._places.values()):
            raise DatasetError("no healthy lung to learn from", found=f"{len(self.scans)} scans")

    def draw_batch(self, rng: np.random.Generator) -> list[tuple[np.ndarray, Scene]]:
        """Patches of one shape: what stands in each hole, in the network's units, and the scene without it."""
        scans = [scan for scan in self.scans if len(self._places[scan.name])]
        kind = _slice_class(_choose(scans, rng))
        shape = SHAPES[kind][int(rng.integers(len(SHAPES[kind])))]
        scans = [scan for scan in scans if _slice_class(scan) == kind and len(scan.hu) >= shape[0]]
        count = max(1, round(BATCH_VOXELS / np.prod(shape)))
        return [_cut(self._draw_place(scans, shape, rng), shape, rng) for _ in range(count)]

    def _draw_place(self, scans: Sequence[KnownScan], shape: Sequence[int], rng: np.random.Generator) -> Place:
        with_nodule = [scan for scan in scans if scan.nodules]
        for _ in range(TRIES):
            if with_nodule and rng.random() < NODULE_SHARE:
                place = _place_nodule(_choose(with_nodule, rng, REAL_NODULE_SHARE), shape, rng)
            else:
                scan = _choose(scans, rng)
                place = _place_hole(scan, self._places[scan.name], shape, rng)
            if place is not None:
                return place
        raise DatasetError("no place to learn from was found", found=f"patches of {tuple(shape)} voxels")


def _choose(scans: Sequence[KnownScan], rng: np.random.Generator, real_share: float = REAL_SHARE) -> KnownScan:
    """A scan at random: real ones with their share together, each by its number of slices."""
    slices = np.array([len(scan.hu) for scan in scans], float)
    is_real = np.array([scan.is_real for scan in scans])
    for group, share in ((is_real, real_share), (~is_real, 1 - real_share)):
        slices[group] *= share / max(slices[group].sum(), 1)
    return scans[int(rng.choice(len(scans), p=slices / slices.sum()))]


def _slice_class(scan: KnownScan) -> float:
    return next((limit for limit in SHAPES if scan.spacing_mm[0] <= limit), THICK)


def _healthy_places(scan: KnownScan) -> np.ndarray:
    """(n, 3) voxels of lung, the same for the same scan; places near nodules are among them."""
    lung = np.flatnonzero(scan.lung & (scan.hu < BRIGHT_HU))
    if not len(lung):
        return np.zeros((0, 3), int)
    chosen = np.random.default_rng(len(lung)).choice(lung, PLACES)
    return np.stack(np.unravel_index(chosen, scan.hu.shape), axis=1)


def _reach(shape: Sequence[int], scan: KnownScan) -> float:
    """Largest radius of a hole that leaves known tissue around it in plane, mm."""
    return (shape[1] / 2 - 4) * scan.spacing_mm[1]


def _place_hole(
    scan: KnownScan, places: np.ndarray, shape: Sequence[int], rng: np.random.Generator
) -> Place | None:
    hole = places[rng.integers(len(places))].astype(float)
    radius_mm = min(float(rng.uniform(*HOLE_MM)), _reach(shape, scan))
    for nodule in scan.avoid:
        away_mm = np.linalg.norm((hole - nodule.centre_zyx) * scan.spacing_mm)
        if away_mm < 1.3 * radius_mm + nodule.diameter_mm / 2 + CLEAR_MM:
            return None
    reach = np.maximum(np.floor(radius_mm / np.array(scan.spacing_mm)).astype(int), 1)
    low, high = np.maximum(hole - reach, 0).astype(int), (hole + reach + 1).astype(int)
    inside = scan.hu[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    if (inside > BRIGHT_HU).mean() > BRIGHT_SHARE:
        return None
    return Place(scan, hole + rng.uniform(-0.12, 0.12, 3) * shape, hole, radius_mm, None)


def _place_nodule(scan: KnownScan, shape: Sequence[int], rng: np.random.Generator) -> Place | None:
    nodule = scan.nodules[int(rng.integers(len(scan.nodules)))]
    radius_mm = float(nodule.diameter_mm / 2 * rng.uniform(1.15, 1.5) + rng.uniform(1.0, 4.0))
    if radius_mm > 1.3 * _reach(shape, scan):
        return None
    hole = np.array(nodule.centre_zyx) + rng.uniform(-1.5, 1.5, 3) / scan.spacing_mm
    return Place(scan, hole + rng.uniform(-0.08, 0.08, 3) * shape, hole, min(radius_mm, _reach(shape, scan)), nodule)


def _cut(place: Place, shape: Sequence[int], rng: np.random.Generator) -> tuple[np.ndarray, Scene]:
    """Cut a place out, perhaps coarser, shifted and mirrored; returns what is there, and the scene with its hole."""
    scan = place.scan
    coarser = float(rng.uniform(1, COARSER[1])) if rng.random() < COARSER[0] else 1.0
    sides = np.minimum(np.round(np.multiply(shape, coarser)).astype(int), scan.hu.shape)
    start = np.clip(np.round(place.middle - sides / 2).astype(int), 0, np.array(scan.hu.shape) - sides)
    hu = scan.hu[tuple(slice(a, a + n) for a, n in zip(start, sides, strict=True))].astype(np.float32)
    step = np.array(scan.spacing_mm) * sides / shape
    if coarser > 1:
        hu = ndimage.zoom(hu, np.divide(shape, sides), order=3, mode="nearest", grid_mode=True)
    centres = (np.arange(n) + 0.5 for n in shape)  # of the voxels, in steps from the patch's corner
    corners = [c * s for c, s in zip(centres, step, strict=True)]
    offsets = [c - (h - a + 0.5) * mm for c, h, a, mm in zip(corners, place.hole, start, scan.spacing_mm, strict=True)]
    form = HoleShape(tuple(place.radius_mm * rng.uniform(0.8, 1.2, 3)), float(rng.uniform(0, 0.2)), 0.5)
    weight = np.maximum(cut_hole(offsets, form, rng), _more_holes(hu, step, _taken(place, start), rng))
    ball, nodule_hu = np.zeros(tuple(shape), np.float32), CLIP_HU[0]
    if place.nodule is not None:
        away = [c - (n - a + 0.5) * mm for c, n, a, mm in
                zip(corners, place.nodule.centre_zyx, start, scan.spacing_mm, strict=True)]
        ball, nodule_hu = draw_ball(away, place.nodule.diameter_mm), place.nodule.hu
    flips = tuple(slice(None, None, -1) if rng.random() < 0.5 else slice(None) for _ in range(3))
    shown = to_network(hu + rng.normal(0, SHIFT_HU))
    parts = [np.ascontiguousarray(part[flips]) for part in (shown, weight, ball)]
    z, y, x = (float(s) for s in step)
    return parts[0], Scene(parts[0], parts[1], (z, y, x), parts[2], nodule_hu)


def _taken(place: Place, start: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Balls in which no further hole may be: middle in mm from the patch's corner, radius in mm."""
    return [((np.array(nodule.centre_zyx) - start + 0.5) * place.scan.spacing_mm, nodule.diameter_mm / 2 + CLEAR_MM)
            for nodule in place.scan.avoid]


def _more_holes(
    hu: np.ndarray, step: np.ndarray, taken: Sequence[tuple[np.ndarray, float]], rng: np.random.Generator
) -> np.ndarray:
    """Weight of further holes in the healthy lung of a patch: more to learn from at the same cost."""
    weight = np.zeros(hu.shape, np.float32)
    for _ in range(MORE_HOLES):
        middle = rng.uniform(0.1, 0.9, 3) * hu.shape * step
        radius_mm = float(rng.uniform(*MORE_HOLE_MM))
        offsets = [(np.arange(n) + 0.5) * s - m for n, s, m in zip(hu.shape, step, middle, strict=True)]
        form = HoleShape(tuple(radius_mm * rng.uniform(0.8, 1.2, 3)), float(rng.uniform(0, 0.2)), 0.5)
        hole = cut_hole(offsets, form, rng)
        inside = hu[hole > 0.5]
        is_clear = all(np.linalg.norm(middle - point) > 1.3 * radius_mm + reach for point, reach in taken)
        if is_clear and len(inside) and (inside > BRIGHT_HU).mean() <= BRIGHT_SHARE:
            weight = np.maximum(weight, hole)
    return weight
