"""Checks that a place of a scan can be forged, and says why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import ndimage

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.datasets.cuboids import LEAST_SHARE, SIDE_MM, room_around
from verict.datasets.sites import PARENCHYMA_HU, SMOOTHING_MM
from verict.errors import GeometryError, InputError, UsageError
from verict.tamper.forgery import Donor, ForgeryKind, Target

SURROUND_LEAST_MM = 8.0  # radius at least of the ball in which lung is looked for around a mass
SURROUND_SHARE = 0.36  # of that ball must be lung: mass on the pleura 0.44, slab between lungs 0.31, flat wall 0.16
FARTHEST_MM = 25.0  # from lung to the middle of a mass: half of 5 cm, the largest hole `verict.ct.lungs` fills
NODULE_MM = (1.0, 60.0)  # diameters that make sense: what a CT resolves, what fits a lung


@dataclass(frozen=True)
class Surroundings:
    """What lies around a voxel.

    ``distance_mm`` from the nearest lung, inf where there is none near; ``lung_share`` of a ball of twice that
    radius, 8 mm at least, that is lung.
    """

    distance_mm: float
    lung_share: float

    @property
    def is_lung(self) -> bool:
        """Whether a mass with this voxel in its middle would be one of the lung, those on the pleura included."""
        return self.distance_mm <= FARTHEST_MM and self.lung_share >= SURROUND_SHARE


def aim(
    volume: CTVolume,
    lungs: LungRegion,
    centre_zyx: Sequence[int],
    kind: ForgeryKind,
    *,
    diameter_mm: float | None = None,
    donors: Sequence[Donor] = (),
) -> Target:
    """Check a place and make a target of it.

    A cancer is injected into the lung region (`verict.ct.lungs.find_lungs`: lung, what lies within it and a margin
    of 6 mm at the pleura). It is removed from there too, and from beyond the region where the place is surrounded by
    lung as the middle of a mass on the pleura is, see `look_around`.

    Parameters
    ----------
    volume
        The untouched scan.
    lungs
        Its lung region.
    centre_zyx
        Voxel (z, y, x), whole numbers from 0.
    kind
        INJECT or REMOVE.
    diameter_mm
        Of the nodule to be removed, or wanted for the one to be injected: 1 to 60 mm.
    donors
        What may be spliced in.

    Raises
    ------
    GeometryError
        If the spacing of the scan is missing.
    InputError
        If the place lies outside the volume or the lung, its slice has no neighbours, a gap lies within the 32 mm
        along z that the forgery repaints, or less than half of them are slices.
    UsageError
        If the diameter makes no sense.
    """
    kind = ForgeryKind(kind)
    if diameter_mm is not None and not NODULE_MM[0] <= diameter_mm <= NODULE_MM[1]:
        raise UsageError("a diameter no nodule of the lung has", found=diameter_mm,
                         expected=f"{NODULE_MM[0]:g} to {NODULE_MM[1]:g} mm")
    if volume.slice_count > 1:  # of a single slice it is told that it is single
        check_spacing(volume)
    centre = check_inside(volume, centre_zyx)
    run = check_slices(volume, centre[0])
    _check_lung(volume, lungs, centre, kind)
    return Target(
        hu=volume.hu,
        spacing_mm=volume.spacing_mm,
        lung=lungs.mask,
        centre=centre,
        kind=kind,
        run=run,
        diameter_mm=diameter_mm,
        donors=tuple(donors),
    )


def check_spacing(volume: CTVolume) -> None:
    """Refuse a volume whose voxels have no size.

    Raises
    ------
    GeometryError
        Naming the spacing.
    """
    if not all(np.isfinite(s) and s > 0 for s in volume.spacing_mm):
        raise GeometryError(
            "the size of the voxels is not known", tag="PixelSpacing (0028,0030), SliceThickness (0018,0050)",
            found=f"z, y, x = {_say(volume.spacing_mm)} mm", expected="three positive numbers",
            next_step="a forgery needs a series of slices with positions and pixel spacing",
        )


def check_inside(volume: CTVolume, centre_zyx: Sequence[int]) -> tuple[int, int, int]:
    """The voxel as three integers.

    Raises
    ------
    InputError
        If it lies outside the volume, naming the axis.
    """
    z, y, x = (int(c) for c in centre_zyx)
    for value, count, axis in zip((z, y, x), volume.hu.shape, ("slices", "rows", "columns"), strict=True):
        if not 0 <= value < count:
            raise InputError(
                "the target lies outside the volume", found=f"z, y, x = {z}, {y}, {x}",
                expected=f"{axis} 0 to {count - 1}",
                next_step="places are counted from 0, z first, slices in the order of their positions",
            )
    return z, y, x


def voxel_at(volume: CTVolume, point_mm: Sequence[float]) -> tuple[int, int, int]:
    """The voxel (z, y, x) whose middle lies nearest to a point.

    Parameters
    ----------
    volume
        The scan.
    point_mm
        Patient coordinates (LPS) in mm, x first as everywhere in DICOM.

    Raises
    ------
    GeometryError
        If the spacing of the scan is missing.
    InputError
        If the point lies more than half a voxel outside the scan, or in a gap between slices.
    """
    check_spacing(volume)
    point = np.asarray(point_mm, float)
    off_mm = volume.positions_mm - point @ volume.normal
    z = int(np.argmin(np.abs(off_mm)))
    from_origin = point - volume.origins_mm[z]
    y, x = (int(np.rint(from_origin @ direction / step)) for direction, step in
            zip((volume.column_direction, volume.row_direction), volume.spacing_mm[1:], strict=True))
    rows, columns = volume.hu.shape[1:]
    if 0 <= y < rows and 0 <= x < columns and abs(off_mm[z]) <= volume.spacing_mm[0] / 2 + 1e-3:
        return z, y, x
    found = "x, y, z = {:.5g}, {:.5g}, {:.5g} mm".format(*point)
    if min(off_mm) < 0 < max(off_mm) and 0 <= y < rows and 0 <= x < columns:
        raise InputError(
            "the target lies in a gap between slices", found=f"{found}, the nearest slice {abs(off_mm[z]):.3g} mm away",
            expected=f"a slice within {volume.spacing_mm[0] / 2:.3g} mm", next_step="choose a place on a slice",
        )
    corners = np.array([volume.to_patient_mm(*corner) for corner in product(*((0, n - 1) for n in volume.hu.shape))])
    limits = ", ".join(f"{axis} {low:.5g} to {high:.5g}" for axis, low, high in
                       zip("xyz", corners.min(0), corners.max(0), strict=True))
    raise InputError("the target lies outside the volume", found=found, expected=f"{limits} mm",
                     next_step="patient coordinates (LPS) in mm are meant")


def check_slices(volume: CTVolume, z: int) -> slice:
    """The slices without a gap around a slice, if they are enough for the cuboid that a forgery repaints.

    Half of its 32 mm must be slices (`verict.datasets.cuboids.LEAST_SHARE`), and what is missing must lie beyond the
    scan's first or last slice.

    Raises
    ------
    InputError
        If they are not enough, naming what is there.
    """
    reach_mm = (SIDE_MM - 1) / 2
    run, below_mm, above_mm = room_around(volume, z)
    found = f"{below_mm:.4g} mm of slices below slice {z} and {above_mm:.4g} mm above"
    if run.stop - run.start == 1:
        raise InputError(
            "the slice of the target has no neighbours",
            found="a single slice" if volume.slice_count == 1 else f"slice {z} alone between gaps",
            expected=f"slices {reach_mm:g} mm each way", next_step="a forgery is made in 3D: choose a whole series",
        )
    if (below_mm < reach_mm and run.start > 0) or (above_mm < reach_mm and run.stop < volume.slice_count):
        raise InputError(
            "slices are missing within the cuboid around the target", found=f"{found} before a gap",
            expected=f"{reach_mm:g} mm each way", next_step="choose a place further from the gap",
        )
    if min(below_mm, reach_mm) + min(above_mm, reach_mm) < LEAST_SHARE * 2 * reach_mm:
        raise InputError(
            "too few slices for the cuboid around the target", found=found,
            expected=f"at least {LEAST_SHARE * 2 * reach_mm:g} of its {2 * reach_mm:g} mm",
            next_step="choose a place further inside the scan",
        )
    return run


def look_around(volume: CTVolume, lungs: LungRegion, centre_zyx: Sequence[int]) -> Surroundings:
    """How far from lung a voxel lies, and how much of what is around it is lung.

    Lung is what lies in the region and, smoothed by 1 mm in plane, below -600 HU. In the middle of a mass of radius r
    that lung surrounds, the distance is r and 7/8 of the ball of radius 2 r are lung; in the middle of half a ball on
    a flat pleura 0.44 and more; in the middle of a slab with lung on either side, as the mediastinum is, 0.31; within a
    flat wall 0.16, whatever its distance from lung.
    """
    z, y, x = (int(c) for c in centre_zyx)
    run, _, _ = room_around(volume, z)
    spacing = np.array(volume.spacing_mm)
    reach = np.ceil(2 * FARTHEST_MM / spacing).astype(int)
    start = np.maximum((z, y, x) - reach, (run.start, 0, 0))
    stop = np.minimum((z, y, x) + reach + 1, (run.stop, *volume.hu.shape[1:]))
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    smooth = ndimage.gaussian_filter(volume.hu[box].astype(np.float32), (0, *SMOOTHING_MM / spacing[1:]))
    tissue = lungs.mask[box] & (smooth < PARENCHYMA_HU)
    offsets = [(np.arange(a, b) - c) * s for a, b, c, s in zip(start, stop, (z, y, x), spacing, strict=True)]
    dz, dy, dx = np.ix_(*offsets)
    away_mm = np.sqrt(dz**2 + dy**2 + dx**2)
    distance_mm = float(away_mm[tissue].min(initial=np.inf))
    if distance_mm > FARTHEST_MM:
        return Surroundings(np.inf, 0.0)
    ball = away_mm <= max(2 * distance_mm, SURROUND_LEAST_MM)
    return Surroundings(distance_mm, float(tissue[ball].mean()))


def _check_lung(volume: CTVolume, lungs: LungRegion, centre: tuple[int, int, int], kind: ForgeryKind) -> None:
    if not lungs.any_found:
        raise InputError("no lung was found in this series", next_step="choose a CT of the chest")
    if lungs.mask[centre]:
        return
    around = look_around(volume, lungs, centre)
    if kind is ForgeryKind.REMOVE and around.is_lung:
        return
    is_near = np.isfinite(around.distance_mm)
    near = f"the nearest lung {around.distance_mm:.3g} mm away" if is_near else "no lung near"
    raise InputError(
        "the target lies outside the lung", found=f"z, y, x = {_say(centre)}, {near}",
        expected="a voxel of the lung region" if kind is ForgeryKind.INJECT
        else "a voxel of the lung region or of a mass that lung surrounds",
        next_step="leave the place out to have one chosen",
    )


def _say(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
