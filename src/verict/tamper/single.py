"""One forgery of one series: the place, the donor, the forged copy and the record of what was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from verict.ct.lungs import LungRegion, find_lungs
from verict.ct.volume import CTVolume
from verict.datasets.masses import measure_mass
from verict.errors import InputError
from verict.provenance import collect_provenance, sha256_of
from verict.tamper.donors import cut_donor
from verict.tamper.forgery import Donor, Family, Forgery, ForgeryKind, Target, TouchUp, forge
from verict.tamper.mark import MARK, is_marked, write_forgery
from verict.tamper.sites import CandidateSite, find_injection_sites, find_removal_sites, is_plain
from verict.tamper.source import Progress, read_source
from verict.tamper.target import aim, check_inside, voxel_at

SCHEMA = "verict.tamper/1"
DONOR_TRIES = 8  # places of healthy lung of a donor that are tried


@dataclass(frozen=True)
class Place:
    """A place as given: three numbers in the order z, y, x; voxels from 0, or patient LPS in mm."""

    zyx: tuple[float, float, float]
    in_mm: bool = False


@dataclass(frozen=True)
class Order:
    """A forgery as asked for.

    Parameters
    ----------
    series
        Folder, file or zip with exactly one CT series.
    kind, family, touch_up, seed
        What is done, see `verict.tamper.forgery.forge`.
    at
        Where; None chooses a site.
    diameter_mm
        Of the nodule to be removed, or wanted for the one to be injected.
    donor, donor_at
        A series to take tissue from, and where; None chooses a site of it.
    """

    series: Path
    kind: ForgeryKind
    family: Family
    touch_up: TouchUp
    seed: int = 0
    at: Place | None = None
    diameter_mm: float | None = None
    donor: Path | None = None
    donor_at: Place | None = None


@dataclass(frozen=True, eq=False)
class Result:
    """A forgery that is not written yet, and the volume it was made of.

    ``site`` says where and how that was chosen; ``is_chosen`` whether verict chose it.
    """

    volume: CTVolume
    target: Target
    forgery: Forgery
    site: CandidateSite
    is_chosen: bool


def carry_out(order: Order, *, progress: Progress | None = None) -> Result:
    """Read the series, find or check the place, and forge it. Nothing is written.

    Raises
    ------
    InputError
        As `verict.tamper.source.read_source`, `verict.tamper.target.aim` and the family; also where no place is
        given and none fits.
    UsageError, ModelError, MissingExtraError
        As `verict.tamper.forgery.forge`.
    """
    report = progress or (lambda *_: None)
    volume = read_source(order.series, progress=progress)
    report("finding the lungs", 0, 0)
    lungs = find_lungs(volume)
    report("choosing the place", 0, 0)
    site = _choose_site(volume, lungs, order) if order.at is None else _given_site(volume, lungs, order, order.at)
    diameter_mm = order.diameter_mm or site.diameter_mm or None
    target = aim(volume, lungs, site.centre, order.kind, diameter_mm=diameter_mm)
    if order.donor is not None:
        target = replace(target, donors=(_take_donor(order, order.donor, progress),))
    report("painting", 0, 0)
    return Result(volume, target, forge(target, order.family, order.touch_up, seed=order.seed), site, order.at is None)


def write_result(result: Result, folder: Path, *, made_at: datetime | None = None) -> list[Path]:
    """Write the forged copy, marked.

    Raises
    ------
    InputError, OutputError
        As `verict.tamper.mark.write_forgery`.
    """
    return write_forgery(result.volume, result.forgery.hu, folder, result.forgery.record, made_at=made_at)


def describe_result(
    result: Result, files: Sequence[Path], options: Mapping[str, Any], *, made_at: datetime | None = None
) -> dict[str, Any]:
    """The record of a written forgery, JSON-ready; no patient's name, no path.

    Parameters
    ----------
    result, files
        From `carry_out` and `write_result`.
    options
        As asked for, defaults included.
    made_at
        With its time zone; now unless given.
    """
    volume, forgery = result.volume, result.forgery
    before, after = volume.hu[forgery.box].astype(np.float32), forgery.hu[forgery.box].astype(np.float32)
    change = after - before
    middle = result.target.centre
    return {
        "schema": SCHEMA,
        "mark": MARK,
        "forgery": forgery.record,
        "site": {
            "chosen_by_verict": result.is_chosen,
            "how": result.site.how,
            "centre_voxel_zyx": list(middle),
            "centre_mm_lps": [round(float(v), 3) for v in volume.to_patient_mm(*middle)],
        },
        "change": {
            "footprint_voxels": int(forgery.footprint.sum()),
            "changed_voxels": int((change != 0).sum()),
            "lowest_hu": round(float(change.min()), 1),
            "highest_hu": round(float(change.max()), 1),
            "mean_absolute_hu": round(float(np.abs(change).mean()), 2),
        },
        "source": {
            "series_instance_uid": volume.series_instance_uid,
            "sha256": volume.input_sha256,
            "slices": volume.slice_count,
            "shape_zyx": list(volume.hu.shape),
            "spacing_mm_zyx": list(volume.spacing_mm),
            "is_marked_as_forged": is_forged(volume),
        },
        "files": [{"name": file.name, "sha256": sha256_of(file)} for file in files],
        "provenance": collect_provenance(options, utc=made_at),
    }


def is_forged(volume: CTVolume) -> bool:
    """Whether any slice bears the mark already."""
    return any(is_marked(header) for header in volume.headers)


def find_voxel(volume: CTVolume, place: Place) -> tuple[int, int, int]:
    """The voxel of a place as given; voxels with a fraction go to the nearest.

    Raises
    ------
    InputError
        As `verict.tamper.target.check_inside` and `voxel_at`; where x and z in mm seem to be swapped, it says so.
    """
    if not place.in_mm:
        z, y, x = (round(v) for v in place.zyx)
        return check_inside(volume, (z, y, x))
    try:
        return voxel_at(volume, place.zyx[::-1])
    except InputError as error:
        try:
            voxel_at(volume, place.zyx)
        except InputError:
            raise error from None
        z_mm, y_mm, x_mm = place.zyx[::-1]
        raise InputError(error.problem, found=error.found, expected=error.expected,
                         next_step=f"the order is z,y,x in mm too: did you mean {z_mm:g},{y_mm:g},{x_mm:g}?") from None


def _given_site(volume: CTVolume, lungs: LungRegion, order: Order, at: Place) -> CandidateSite:
    """The place as given; a nodule there is measured where its diameter is not told."""
    z, y, x = find_voxel(volume, at)
    if order.kind is ForgeryKind.REMOVE and order.diameter_mm is None:
        target = aim(volume, lungs, (z, y, x), order.kind)  # refuse before measuring
        mass = measure_mass(volume, lungs, target.centre)
        if mass is not None and mass.is_nodule:
            return CandidateSite(z, y, x, round(mass.diameter_mm, 1), "given; its diameter measured")
    return CandidateSite(z, y, x, 0.0, "given")


def _choose_site(volume: CTVolume, lungs: LungRegion, order: Order) -> CandidateSite:
    if order.kind is ForgeryKind.REMOVE:
        sites = find_removal_sites(volume, lungs)
        wanted = "a solid nodule that stands free in the lung, about 7 to 30 mm"
    else:
        sites = find_injection_sites(volume, lungs, 1, np.random.default_rng(order.seed))
        wanted = "plain lung off the wall and the mediastinum, with slices 15.5 mm each way"
    if not sites:
        found = "no lung" if not lungs.any_found else f"none in {volume.slice_count} slices"
        raise InputError(f"no place to {order.kind} a cancer was found", file=order.series, found=found,
                         expected=wanted, next_step="name a place" if lungs.any_found
                         else "choose a CT of the chest")
    return sites[0]


def _take_donor(order: Order, path: Path, progress: Progress | None) -> Donor:
    """Tissue of another series: a nodule to be injected, healthy lung to be laid over one."""
    volume = read_source(path, progress=progress)
    lungs = find_lungs(volume)
    if order.kind is ForgeryKind.INJECT:
        site = _donated_nodule(volume, lungs, order, path)
        return _cut(volume, lungs, site, order.kind)
    if order.donor_at is not None:
        z, y, x = find_voxel(volume, order.donor_at)
        if not is_plain(volume, lungs, (z, y, x)):
            raise InputError("the donor shows no plain lung there", file=path, found=f"z, y, x = {z}, {y}, {x}",
                             expected="lung without vessel, nodule or bulla within 4 mm")
        return _cut(volume, lungs, CandidateSite(z, y, x, 0.0, "given"), order.kind)
    error = InputError("the donor has no place of plain lung", file=path, next_step="name a place of it")
    for site in find_injection_sites(volume, lungs, DONOR_TRIES, np.random.default_rng(order.seed), apart_mm=0.0):
        try:
            return _cut(volume, lungs, site, order.kind)
        except InputError as refused:
            error = refused
    raise error


def _donated_nodule(volume: CTVolume, lungs: LungRegion, order: Order, path: Path) -> CandidateSite:
    if order.donor_at is None:
        sites = find_removal_sites(volume, lungs)
        if not sites:
            raise InputError("no nodule was found in the donor", file=path, next_step="name its place")
        return sites[0]
    z, y, x = find_voxel(volume, order.donor_at)
    mass = measure_mass(volume, lungs, (z, y, x))
    if mass is None:
        raise InputError("the donor shows no nodule there", file=path, found=f"z, y, x = {z}, {y}, {x}",
                         expected="something brighter than -400 HU within 6 mm")
    return CandidateSite(z, y, x, round(mass.diameter_mm, 1), "given; its diameter measured")


def _cut(volume: CTVolume, lungs: LungRegion, site: CandidateSite, kind: ForgeryKind) -> Donor:
    source = f"series SHA-256 {volume.input_sha256[:16]}, voxel z, y, x = {site.z}, {site.y}, {site.x}"
    return cut_donor(volume, lungs, site.centre, kind, diameter_mm=site.diameter_mm, source=source)
