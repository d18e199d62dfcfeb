"""Nodules to learn from: the few real ones, and many measured variations of them.

A nodule is cut with its surroundings and varied: turned freely in 3D, scaled, warped. Two of three variations are put
into healthy lung of other places, so that the network learns to place a nodule into what it sees around; the third
keeps its own surroundings. Whatever the number of variations, there are no more nodules than were found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from verict.ct.volume import CTVolume
from verict.datasets.cuboids import room_around
from verict.datasets.masses import Mass
from verict.datasets.sites import MASS_HU
from verict.tamper.ctgan_cuboid import SIDE, sample_cuboid
from verict.training.ctgan.data import ROOM, Bank

CUT = 64  # samples of 1 mm a side: a nodule with surroundings to be scaled down
DIAMETERS_MM = (8.0, 18.0)  # of what is painted; the published training has 10 to 16 mm nodules, the hole is 20 mm
SCALES = (0.5, 1.5)  # at most, so that texture stays plausible
WARP_MM, WARP_GRAIN_MM = 1.2, 7.0  # standard deviation of the displacement, and how slowly it changes
THIN_SHARE = 6  # of its diameter: what is thinner on both sides, vessels and bridges to the wall, is no part of it
SOFT_MM = 2.5  # beyond the nodule's surface its own rim fades into the lung it is put into
OWN_SURROUNDINGS = 1 / 3  # of the variations


@dataclass(frozen=True, eq=False)
class RealNodule:
    """A nodule of a scan, cut with its surroundings.

    Parameters
    ----------
    hu
        (64, 64, 64) float32 HU at 1 mm.
    weight
        The same shape: 1 in the nodule, fading to 0 within 2.5 mm of its surface.
    diameter_mm
        Of the ball of its volume.
    source
        Which scan it is of.
    """

    hu: np.ndarray
    weight: np.ndarray
    diameter_mm: float
    source: str


def cut_nodules(volume: CTVolume, masses: Sequence[Mass], source: str) -> list[RealNodule]:
    """The nodules of a scan; `verict.datasets.masses.find_nodules` finds them by stated criteria."""
    return [_cut_nodule(volume, mass, source) for mass in masses]


def _cut_nodule(volume: CTVolume, mass: Mass, source: str) -> RealNodule:
    run, _, _ = room_around(volume, mass.centre[0])
    hu = sample_cuboid(volume.hu, volume.spacing_mm, mass.centre, run=run, sides=(CUT,) * 3)
    away = np.linalg.norm(np.indices(hu.shape) - (CUT - 1) / 2, axis=0)
    bright = (ndimage.gaussian_filter(hu, 0.7) > MASS_HU) & (away <= 0.75 * mass.diameter_mm + 2)
    thin = max(round(mass.diameter_mm / THIN_SHARE), 1)
    labels, _ = ndimage.label(ndimage.binary_opening(bright, iterations=thin))
    inner = labels[away <= mass.diameter_mm / 4]
    body = labels == np.bincount(inner[inner > 0]).argmax() if (inner > 0).any() else away <= mass.diameter_mm / 2
    weight = np.clip(1 - ndimage.distance_transform_edt(~body) / SOFT_MM, 0, 1).astype(np.float32)
    return RealNodule(hu, weight, float(np.cbrt(6 * body.sum() / np.pi)), source)


def vary_nodules(
    nodules: Sequence[RealNodule], healthy: Bank, count: int, rng: np.random.Generator
) -> tuple[list[np.ndarray], list[str]]:
    """Variations of nodules with room to turn and shift them.

    Parameters
    ----------
    nodules
        Each gets its turn.
    healthy
        Cuboids of lung to put them into.
    count
        How many variations.
    rng
        Source of all randomness.

    Returns
    -------
    cuboids_hu
        (32, 48, 48) float32 HU each.
    sources
        The scan each nodule is of.
    """
    cuboids, sources = [], []
    for number in range(count):
        nodule = nodules[number % len(nodules)]
        own = rng.random() < OWN_SURROUNDINGS
        ground = None if own else healthy.hu(rng.integers(len(healthy), size=1))[0]
        cuboids.append(_vary(nodule, ground, rng))
        sources.append(nodule.source)
    return cuboids, sources


def _vary(nodule: RealNodule, ground: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    wanted_mm = rng.uniform(*DIAMETERS_MM)
    scale = float(np.clip(wanted_mm / nodule.diameter_mm, *SCALES))
    shape = (SIDE, ROOM, ROOM)
    points = np.indices(shape, np.float32) - (np.array(shape).reshape(3, 1, 1, 1) - 1) / 2
    warp = rng.standard_normal((3, *shape)).astype(np.float32)
    warp = ndimage.gaussian_filter(warp, (0, *(WARP_GRAIN_MM,) * 3))
    points = (points + warp * (WARP_MM / warp.std())) / scale
    quaternion = rng.standard_normal(4)
    if ground is None:
        quaternion[:2] = 0  # about z only, so that the surroundings stay a patient's lying one
    turn = Rotation.from_quat(quaternion).as_matrix()[::-1, ::-1]  # of (z, y, x)
    grid = np.einsum("ij,jzyx->izyx", turn, points) + (CUT - 1) / 2
    hu: np.ndarray = ndimage.map_coordinates(nodule.hu, grid, order=1, mode="reflect")
    if ground is None:
        return hu
    weight = ndimage.map_coordinates(nodule.weight, grid, order=1)
    return np.maximum(ground + weight * (hu - ground), ground)
