"""Tissue cut out of one scan, to be spliced into another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.datasets.cuboids import Voxel, cut_cuboid
from verict.errors import DatasetError, InputError, UsageError
from verict.tamper.forgery import Donor, ForgeryKind
from verict.tamper.vicinity import distance_from_centre, is_lung

NODULE_RIM_MM = 12.0  # of lung kept around a donated nodule, on each side
HEALTHY_SIDE_MM = 49  # of donated healthy lung: covers a nodule of 30 mm with its soft edge
HEALTHY_SHARE = 0.75  # at least, of the middle of healthy lung, has the value of aerated lung; the rest is vessels
LUNG_AROUND_SHARE = 0.35  # at least, of what is donated with a nodule: one on the pleura has lung on one side


def cut_donor(
    volume: CTVolume,
    lungs: LungRegion,
    site: Sequence[int],
    kind: ForgeryKind,
    *,
    diameter_mm: float = 0.0,
    source: str,
) -> Donor:
    """Cut a nodule with its surroundings, or healthy lung, at 1 mm by cubic splines.

    Parameters
    ----------
    volume, lungs
        The scan to take it from, and its lung region.
    site
        Voxel (z, y, x) in the middle.
    kind
        INJECT cuts a nodule, REMOVE healthy lung.
    diameter_mm
        Of the nodule; has no meaning for healthy lung.
    source
        Which scan and place it is from, for the record; never a patient's name.

    Returns
    -------
    Donor
        (n, n, n), n odd, the site's voxel in the middle: the diameter and 12 mm around it, or 49 mm of healthy lung.

    Raises
    ------
    InputError
        If the place cannot be cut, is no lung, or is not healthy where it should be.
    UsageError
        If a nodule's diameter is not given.
    """
    kind = ForgeryKind(kind)
    if kind is ForgeryKind.INJECT and not diameter_mm > 0:
        raise UsageError("a donated nodule needs its diameter", found=diameter_mm, expected="more than 0 mm")
    z, y, x = (int(c) for c in site)
    if not all(0 <= c < n for c, n in zip((z, y, x), lungs.mask.shape, strict=True)) or not lungs.mask[z, y, x]:
        raise InputError("the donated place lies outside the lung", file=source, found=f"voxel {[z, y, x]}",
                         expected="a place inside the lungs")
    is_nodule = kind is ForgeryKind.INJECT
    side = 2 * math.ceil(diameter_mm / 2 + NODULE_RIM_MM) + 1 if is_nodule else HEALTHY_SIDE_MM
    _check_slices(volume, z, (diameter_mm / 2 if is_nodule else side / 2), source)
    try:
        hu = cut_cuboid(volume, Voxel(z, y, x), side_mm=side, order=3)
    except DatasetError as error:
        raise InputError("the donated place cannot be cut out", file=source, found=error.problem,
                         next_step="choose a place with slices around it") from error
    donor = Donor(np.clip(hu, -1024, 3071), kind, float(diameter_mm) if is_nodule else 0.0, source)
    _check_tissue(donor)
    return donor


def _check_slices(volume: CTVolume, z: int, reach_mm: float, source: str) -> None:
    """What is donated must not reach beyond the scan's first or last slice, where the last one would be repeated."""
    run = next(r for r in volume.runs if r.start <= z < r.stop)
    half_mm = volume.spacing_mm[0] / 2
    below_mm = volume.positions_mm[z] - volume.positions_mm[run.start] + half_mm
    above_mm = volume.positions_mm[run.stop - 1] - volume.positions_mm[z] + half_mm
    if min(below_mm, above_mm) < reach_mm:
        raise InputError("too few slices around the donated place", file=source,
                         found=f"{below_mm:.3g} mm below and {above_mm:.3g} mm above",
                         expected=f"{reach_mm:.3g} mm each way", next_step="choose a place further inside the scan")


def _check_tissue(donor: Donor) -> None:
    """A nodule must have lung around it, healthy lung must be just that."""
    lung = is_lung(donor.hu)
    axis = np.arange(len(lung)) - (len(lung) - 1) / 2
    if donor.kind is ForgeryKind.INJECT:
        share, least, wanted = lung.mean(), LUNG_AROUND_SHARE, "lung around the nodule"
    else:
        share = lung[distance_from_centre((axis, axis, axis)) <= axis[-1]].mean()
        least, wanted = HEALTHY_SHARE, "healthy lung throughout"
    if share < least:
        raise InputError("what is donated is not what it should be", file=donor.source,
                         found=f"{share:.0%} with the value of aerated lung", expected=f"{least:.0%}: {wanted}",
                         next_step="choose another place of that scan")
