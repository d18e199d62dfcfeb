"""Nodules and masses of a scan, found and measured without a network: what a removal may take away.

`verict.datasets.sites.find_masses` names places slice by slice; a large vessel cut across is among them. Here they are
joined over slices and measured in 3D, where a vessel is long, the hilum and the diaphragm go on, and a nodule ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import pdist

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.datasets.cuboids import room_around
from verict.datasets.sites import (
    MASS_APART_MM,
    MASS_HU,
    MASS_RADIUS_MM,
    PARENCHYMA_HU,
    SMOOTHING_MM,
    find_masses,
)

REACH_MM = 32  # half side of the cube a mass is measured in: shells around the largest ball end within
LARGEST_RADIUS_MM = 15.0  # of the largest ball: from 30 mm on it is a mass, and larger than the repainted cuboid
LEAST_RADIUS_MM = 2.5  # of the largest ball: smaller ones are crossings of vessels
ELONGATION = 1.6  # at most, longest over shortest axis in 3D; vessels of the authentic scans have 1.75 and more
OCCUPIED_SHARE = 0.16  # at most, of the shell between 1.5 and 2 radii: a mass ends there, hilum and diaphragm do not
TAIL_MM = 1.5  # half the thickness from which a tail counts as part of a nodule: vessels of the outer lung are thinner
TAIL_SMOOTHING_MM = 0.7  # sigma; less than for finding, since thin parts are measured
LUNG_SHARE = 0.6  # at least, of the 6 mm around: hilum and chest wall have 0.55 and less


@dataclass(frozen=True)
class Mass:
    """A compact bright structure, measured in 3D.

    Parameters
    ----------
    centre
        (z, y, x) voxel, the centroid.
    diameter_mm
        Of the ball of its volume.
    ball_radius_mm
        Of the largest ball that fits.
    elongation
        Longest over shortest axis, by second moments.
    occupied_share
        Of the shell between 1.5 and 2 ball radii, how much still belongs to it: 0 for what stands free.
    lung_share
        Of the 6 mm around 1.5 ball radii, how much is lung.
    long_axis_mm
        Longest distance across it on one slice, as readers measure it: lobes and tails thicker than 3 mm count.
    """

    centre: tuple[int, int, int]
    diameter_mm: float
    ball_radius_mm: float
    elongation: float
    occupied_share: float
    lung_share: float
    long_axis_mm: float

    @property
    def is_nodule(self) -> bool:
        """Whether it is shaped and placed like a nodule of the lung."""
        return (
            LEAST_RADIUS_MM <= self.ball_radius_mm <= LARGEST_RADIUS_MM
            and self.elongation <= ELONGATION
            and self.occupied_share <= OCCUPIED_SHARE
            and self.lung_share >= LUNG_SHARE
        )

    @property
    def rank(self) -> float:
        """Higher is larger and rounder: diameter in mm over elongation."""
        return self.diameter_mm / self.elongation


def find_nodules(volume: CTVolume, lungs: LungRegion) -> list[Mass]:
    """Every structure that is shaped and placed like a nodule, the largest and roundest first.

    Bright is what, smoothed by 1 mm, lies above -400 HU. Nodules with wide contact to the chest wall or the hilum,
    below about 7 mm and of ground glass are mostly not among them.
    """
    masses = [measure_mass(volume, lungs, place) for place in _join_slices(volume, lungs)]
    ranked = sorted((m for m in masses if m is not None and m.is_nodule), key=lambda m: (-m.rank, m.centre))
    kept: list[Mass] = []
    for mass in ranked:
        gaps_mm = [(np.subtract(mass.centre, other.centre) * volume.spacing_mm, other) for other in kept]
        if all(np.linalg.norm(gap) > max(MASS_APART_MM, other.diameter_mm) for gap, other in gaps_mm):
            kept.append(mass)
    return kept


def _join_slices(volume: CTVolume, lungs: LungRegion) -> list[tuple[int, int, int]]:
    """The middle of each group of masses of single slices that lie above each other."""
    no_labels = np.zeros((0, 2))
    found = np.array([
        (z, site.y, site.x)
        for z in np.flatnonzero(lungs.found)
        for site in find_masses(volume.hu[z], lungs.mask[z], volume.spacing_mm[1:], no_labels)
    ], int).reshape(-1, 3)
    if not len(found):
        return []
    steps = np.abs(found[:, None] - found[None]) * volume.spacing_mm
    along_z = steps[..., 0] <= max(MASS_RADIUS_MM, volume.spacing_mm[0])
    near = along_z & (np.hypot(steps[..., 1], steps[..., 2]) <= MASS_APART_MM)
    count, group = connected_components(coo_array(near), directed=False)
    members = [found[group == number] for number in range(count)]
    return [tuple(int(v) for v in member[len(member) // 2]) for member in members]  # type: ignore[misc]


def measure_mass(volume: CTVolume, lungs: LungRegion, place_zyx: Sequence[int]) -> Mass | None:
    """Measure the bright structure at a voxel, or the thickest within 6 mm of it; None where there is none.

    The cube around it is resampled to 1 mm. What is thinner than half the largest ball (vessels and spicules that
    reach it, thin contact with the wall) is taken off by an opening; the diameter is that of what is left within 1.5
    radii of the ball's centre.
    """
    hu, region = _cut_cube(volume, lungs, place_zyx)
    smooth = ndimage.gaussian_filter(hu, SMOOTHING_MM)
    depth_mm = ndimage.distance_transform_edt(smooth > MASS_HU)
    axis = np.arange(-REACH_MM, REACH_MM + 1)
    at = _measure_from(axis, (0, 0, 0))
    best = int(np.argmax(np.where((at <= MASS_APART_MM) & region, depth_mm, -1)))
    middle = np.array(np.unravel_index(best, depth_mm.shape))
    radius = float(depth_mm.flat[best])
    if radius < 1:
        return None
    thin_mm = max(1.5, radius / 2)
    thick = ndimage.distance_transform_edt(depth_mm <= thin_mm) <= thin_mm if radius > thin_mm else smooth > MASS_HU
    away = _measure_from(axis, middle - REACH_MM)
    labels, _ = ndimage.label(thick & (away <= 2 * radius + 2))
    part = labels == labels[tuple(middle)]
    shell = (away > 1.5 * radius + 1) & (away <= 2 * radius + 2)
    body = part & (away <= 1.5 * radius + 1)
    around = (away > 1.5 * radius + 1) & (away <= 1.5 * radius + 7)
    lung = region & (smooth < PARENCHYMA_HU)
    occupied = float(part[shell].mean())
    whole = _with_its_tails(hu, middle, away <= 2 * radius + 2) if occupied <= OCCUPIED_SHARE else body
    offset_mm = np.argwhere(body).mean(0) - REACH_MM
    centre = np.rint(np.array(place_zyx) + offset_mm / volume.spacing_mm).astype(int)
    z, y, x = (int(v) for v in np.clip(centre, 0, np.array(volume.hu.shape) - 1))
    return Mass(
        centre=(z, y, x),
        diameter_mm=float(np.cbrt(6 * body.sum() / np.pi)),
        ball_radius_mm=radius,
        elongation=_elongation(np.argwhere(part)),
        occupied_share=occupied,
        lung_share=float(lung[around].mean()),
        long_axis_mm=max(_measure_across(body), _measure_across(whole)),
    )


def _cut_cube(volume: CTVolume, lungs: LungRegion, place_zyx: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """HU and lung region of the cube around a voxel at 1 mm; beyond the scan its outermost values repeat."""
    run, _, _ = room_around(volume, int(place_zyx[0]))
    limits = ((run.start, run.stop - 1), *((0, n - 1) for n in volume.hu.shape[1:]))
    offsets_mm = np.arange(-REACH_MM, REACH_MM + 1.0)
    axes = [np.clip(c + offsets_mm / s, *limit)
            for c, s, limit in zip(place_zyx, volume.spacing_mm, limits, strict=True)]
    first = [int(np.floor(a[0])) for a in axes]
    box = tuple(slice(a, int(np.ceil(axis[-1])) + 1) for a, axis in zip(first, axes, strict=True))
    grid = np.stack(np.meshgrid(*(a - f for a, f in zip(axes, first, strict=True)), indexing="ij"))
    hu = ndimage.map_coordinates(volume.hu[box].astype(np.float32), grid, order=1)
    nearest = tuple(np.rint(grid).astype(int))
    return hu, lungs.mask[box][nearest]


def _measure_from(axis: np.ndarray, point: Sequence[int] | np.ndarray) -> np.ndarray:
    """Distance of each voxel of a cube with that axis from a point of it."""
    z, y, x = np.ix_(axis - point[0], axis - point[1], axis - point[2])
    return np.sqrt(z**2 + y**2 + x**2)


def _elongation(points: np.ndarray) -> float:
    """Longest over shortest axis of a set of voxels, by second moments; each voxel is 1 mm wide itself."""
    axes = np.linalg.eigvalsh(np.cov(points.T) + np.eye(3) / 12) if len(points) > 1 else np.ones(3)
    return float(np.sqrt(axes[-1] / axes[0]))


def _with_its_tails(hu: np.ndarray, middle: np.ndarray, near: np.ndarray) -> np.ndarray:
    """(z, y, x) bool: what is connected with a voxel and thicker than twice `TAIL_MM`."""
    bright = ndimage.gaussian_filter(hu, TAIL_SMOOTHING_MM) > MASS_HU
    core = ndimage.distance_transform_edt(bright) > TAIL_MM
    thick = (ndimage.distance_transform_edt(~core) <= TAIL_MM) & near
    labels, _ = ndimage.label(thick)
    at = tuple(middle)
    return thick & (labels == labels[at]) if labels[at] else thick & False


def _measure_across(body: np.ndarray) -> float:
    """Longest distance within one slice of a (z, y, x) bool cube at 1 mm, from edge to edge."""
    longest = 0.0
    for layer in body[body.any(axis=(1, 2))]:
        edge = np.argwhere(layer & ~ndimage.binary_erosion(layer))
        longest = max(longest, float(pdist(edge).max(initial=0.0)) + 1.0)
    return longest
