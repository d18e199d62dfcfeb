"""What lies around a target: the lung's level and grain, the wall, and the nodule that stands there.

Shared by the families that learn nothing. All lengths are in mm, so that thick slices and fine pixels are alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from verict.ct.lungs import RULES
from verict.errors import InputError
from verict.tamper.ctgan_touch_up import LUNG_BELOW_HU
from verict.tamper.cubes import Cube, cube_around
from verict.tamper.forgery import Target

AIR_BELOW_HU = -1000.0  # gas, no lung
LEAST_LUNG_MM3 = 500.0  # of lung around a place, to take its level from
BRIGHTEST_HU = 100.0  # that counts for where a nodule's edge is
LEAST_CONTRAST_HU = 150.0  # a nodule stands out by
LARGEST_NODULE_MM = 40.0  # looked for where no diameter is told
UNKNOWN_NODULE_MM = 12.0  # taken where no diameter is told and none stands out
DEPTH_REACH_MM = 6.0  # deeper in the lung, depth is not told
MASK_GRAIN_MM = 1.5  # the lung region is drawn on a grid of 2 mm: its steps are smoothed by this
OFF_CENTRE_MM = 5.0  # a nodule may lie so far from the place that was named


@dataclass(frozen=True, eq=False)
class Vicinity:
    """A cube of a scan around a target.

    Parameters
    ----------
    cube
        Where it lies; within the target's run.
    axes_mm
        Places of its voxels from the target's centre, along z, y and x.
    hu
        (z, y, x) float32.
    depth_mm
        (z, y, x) float32 how far each voxel lies inside the lung, in plane: up to `DEPTH_REACH_MM`, negative in
        the wall. Nodules and vessels inside the lung are inside.
    spacing_mm
        (z, y, x) of the scan.
    lung_hu
        Median of the lung around.
    """

    cube: Cube
    axes_mm: tuple[np.ndarray, np.ndarray, np.ndarray]
    hu: np.ndarray
    depth_mm: np.ndarray
    spacing_mm: tuple[float, float, float]
    lung_hu: float

    @property
    def distance_mm(self) -> np.ndarray:
        """(z, y, x) distance from the target's centre."""
        return distance_from_centre(self.axes_mm)


def distance_from_centre(axes_mm: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """(z, y, x) distance from the place where all axes are 0."""
    z, y, x = np.ix_(*axes_mm)
    return np.sqrt(z**2 + y**2 + x**2)


def cut_vicinity(target: Target, reach_mm: float) -> Vicinity:
    """Cut what lies within ``reach_mm`` of the target along each axis, as far as the scan and its run go.

    Raises
    ------
    InputError
        If the centre lies outside the run or in the wall, or there is hardly any lung around it.
    """
    z = target.centre[0]
    if not target.run.start <= z < target.run.stop or any(
        not 0 <= c < n for c, n in zip(target.centre, target.hu.shape, strict=True)
    ):
        raise InputError(
            "the place lies outside the slices it belongs to",
            found=f"voxel {list(target.centre)}",
            expected=f"slice index {target.run.start} to {target.run.stop - 1}, within {target.hu.shape}",
        )
    sides = sides_for(reach_mm, target.spacing_mm)
    cube = cube_around(target.centre, sides, target.hu.shape, run=target.run)
    z_mm, y_mm, x_mm = (o * s for o, s in zip(cube.offsets, target.spacing_mm, strict=True))
    hu = target.hu[cube.box].astype(np.float32)
    depth_mm = _depth_in_lung(target, cube)
    lung = is_lung(hu) & (depth_mm > 0)
    volume_mm3 = float(lung.sum()) * math.prod(target.spacing_mm)
    if volume_mm3 < LEAST_LUNG_MM3:
        raise InputError(
            "there is hardly any lung around this place",
            found=f"{volume_mm3:.0f} mm3 of lung within {reach_mm:.0f} mm",
            expected=f"at least {LEAST_LUNG_MM3:.0f} mm3",
            next_step="choose a place inside the lungs",
        )
    return Vicinity(cube, (z_mm, y_mm, x_mm), hu, depth_mm, target.spacing_mm, float(np.median(hu[lung])))


def sides_for(reach_mm: float, spacing_mm: tuple[float, float, float]) -> tuple[int, int, int]:
    """Voxels along z, y and x of a cube that reaches so far from its middle voxel, each an odd number."""
    z, y, x = (2 * math.ceil(reach_mm / s) + 1 for s in spacing_mm)
    return z, y, x


def is_lung(hu: np.ndarray) -> np.ndarray:
    """Whether each voxel has the value of aerated lung."""
    return (hu < LUNG_BELOW_HU) & (hu > AIR_BELOW_HU)


def _depth_in_lung(target: Target, cube: Cube) -> np.ndarray:
    """In-plane distance to the wall, the margin of `verict.ct.lungs` taken off, float32."""
    margin_mm = RULES.margin_mm
    pad = [math.ceil((margin_mm + DEPTH_REACH_MM) / s) + 1 for s in target.spacing_mm[1:]]
    wide = [slice(max(0, b.start - p), b.stop + p) for b, p in zip(cube.box[1:], pad, strict=True)]
    inner = tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(cube.box[1:], wide, strict=True))
    depth = np.empty(cube.shape, np.float32)
    for out, lung in zip(depth, target.lung[cube.box[0], wide[0], wide[1]], strict=True):
        if lung.all():
            out[:] = DEPTH_REACH_MM
        else:
            inside = ndimage.distance_transform_edt(lung, target.spacing_mm[1:])
            out[:] = inside[inner] - margin_mm
    depth = ndimage.gaussian_filter(depth, [MASK_GRAIN_MM / s for s in target.spacing_mm], mode="nearest")
    return np.clip(depth, -margin_mm, DEPTH_REACH_MM)


def find_nodule(vicinity: Vicinity, diameter_mm: float | None) -> np.ndarray | None:
    """The nodule at the centre: what is bright and thick there, without the vessels that leave it.

    Parameters
    ----------
    vicinity
        What to search.
    diameter_mm
        Of the nodule, as far as it is known; nothing is taken from farther away than that allows.

    Returns
    -------
    numpy.ndarray or None
        (z, y, x) bool; None where nothing stands out from the lung.
    """
    distance = vicinity.distance_mm
    smooth = ndimage.gaussian_filter(vicinity.hu, [min(1.0 / s, 2.0) for s in vicinity.spacing_mm], mode="nearest")
    near = distance <= (OFF_CENTRE_MM if diameter_mm is None else max(2.0, min(OFF_CENTRE_MM, diameter_mm / 3)))
    near &= vicinity.depth_mm > 0
    if not near.any() or smooth[near].max() < vicinity.lung_hu + LEAST_CONTRAST_HU:
        return None
    peak = min(float(smooth[near].max()), BRIGHTEST_HU)  # calcium does not raise where the edge is
    reach_mm = LARGEST_NODULE_MM / 2 if diameter_mm is None else 0.7 * diameter_mm + 2
    bright = (smooth > (vicinity.lung_hu + peak) / 2) & (vicinity.depth_mm > 0) & (distance <= reach_mm)
    padded = np.pad(bright, ((1, 1), (0, 0), (0, 0)), "edge")  # at the scan's end a nodule is cut, not thin
    thick_mm = ndimage.distance_transform_edt(padded, vicinity.spacing_mm)[1:-1]
    waist_mm = min(2.0, 0.6 * float(thick_mm[near].max()))
    parts, _ = ndimage.label(thick_mm >= waist_mm)
    middle = np.unravel_index(int(np.argmax(np.where(near, thick_mm, -1))), parts.shape)
    if not parts[middle]:
        return None
    from_part_mm = ndimage.distance_transform_edt(parts != parts[middle], vicinity.spacing_mm)
    nodule: np.ndarray = bright & (from_part_mm <= waist_mm + 0.5)
    return nodule


def extent_of(vicinity: Vicinity, diameter_mm: float | None) -> tuple[np.ndarray, str]:
    """The nodule at the centre, or where none stands out a ball as large as it is said to be; and which of the two."""
    nodule = find_nodule(vicinity, diameter_mm)
    if nodule is not None:
        return nodule, "nodule found by its brightness"
    ball = vicinity.distance_mm <= (diameter_mm or UNKNOWN_NODULE_MM) / 2
    return ball, "ball, as no nodule stands out"


def diameter_of(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Diameter in mm of the ball of the same volume."""
    return float((6 / math.pi * mask.sum() * math.prod(spacing_mm)) ** (1 / 3))


def compactness(mask: np.ndarray, vicinity: Vicinity) -> float:
    """Radius of the ball of the same volume over the farthest distance from the middle: 1 for a ball, else less."""
    places = np.argwhere(mask) * vicinity.spacing_mm
    farthest_mm = float(np.linalg.norm(places - places.mean(axis=0), axis=1).max()) + min(vicinity.spacing_mm) / 2
    return diameter_of(mask, vicinity.spacing_mm) / 2 / farthest_mm


def grain_of(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Spread in HU of the finest texture of the lung in plane: noise for the most part; 0 where there is no lung.

    Robust standard deviation (1.4826 x median absolute deviation) of what a Gaussian of 1 mm takes away.
    """
    fine = hu - ndimage.gaussian_filter(hu, [0, 1.0 / spacing_mm[1], 1.0 / spacing_mm[2]], mode="nearest")
    some = fine[is_lung(hu)]
    return float(1.4826 * np.median(np.abs(some - np.median(some)))) if some.size else 0.0
