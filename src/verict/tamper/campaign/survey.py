"""What a source has to offer a campaign: nodules, plain lung, tissue to donate; or why it cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from verict.ct.discover import SeriesFiles, find_series
from verict.ct.lungs import LungRegion, find_lungs
from verict.ct.read import read_series
from verict.ct.volume import CTVolume
from verict.ct.write import check_copyable
from verict.datasets.authentic import Nodule, read_nodules
from verict.datasets.sites import LungPlace, describe_place
from verict.datasets.splits import Scanner, scanner_of
from verict.datasets.tables import read_table
from verict.datasets.uci import COLUMNS, SiteType
from verict.errors import DatasetError, InputError, UsageError
from verict.tamper.donors import cut_donor
from verict.tamper.forgery import Donor, ForgeryKind
from verict.tamper.mark import is_marked
from verict.tamper.sites import (
    CandidateSite,
    find_healthy_sites,
    find_injection_sites,
    find_removal_sites,
    place_documented,
)
from verict.tamper.target import aim, check_slices

NODULES_FILE, LABELS_FILE, PHANTOM_FILE = "nodules.csv", "labels.csv", "phantom.json"
INJECTION_SITES, INJECTION_APART_MM = 24, 24.0  # noted of each source, and how far apart: half a touched-up cube
HEALTHY_DEPTHS_MM = (6.0, 10.0, 15.0, 20.0, 27.0, 35.0)  # wanted of untouched places; published removals lie so deep
HEALTHY_EACH, HEALTHY_APART_MM = 2, 16.0  # places noted of each depth, and how far apart
DONORS_OF_A_KIND = 3  # cut out of each source
_ALONE = nullcontext()
PLACE_WORDS = {True: "label", False: "found"}


@dataclass(frozen=True)
class Spot:
    """A place of a source.

    Parameters
    ----------
    voxel
        (z, y, x).
    place
        Where in the lungs it lies.
    diameter_mm
        Of the nodule there; None for plain lung.
    origin
        "label", "found" or "chosen".
    how
        How it was chosen, in words.
    """

    voxel: tuple[int, int, int]
    place: LungPlace
    diameter_mm: float | None
    origin: str
    how: str


@dataclass(frozen=True, eq=False)
class Source:
    """A series that may be forged, not yet read.

    ``name`` is its folder below the one it was found in; ``documented`` the nodules of `NODULES_FILE` for it.
    """

    name: str
    files: SeriesFiles
    documented: tuple[Nodule, ...] = ()


@dataclass(frozen=True, eq=False)
class Survey:
    """What was seen of a source.

    Parameters
    ----------
    source
        The series.
    input_sha256
        Of its files, see `verict.ct.volume.CTVolume`.
    patient
        What `verict.datasets.scans` groups it by; never written.
    scanner, kernel
        As the headers tell.
    shape, spacing_mm
        (z, y, x).
    numbers
        (z,) slice number of each slice: its InstanceNumber, see `number_slices`.
    nodules, plain, healthy
        Where a cancer may be removed, where one may be injected, and plain lung to be left alone.
    donors
        By kind: what the keeper of donated tissue gave back for each, in order.
    """

    source: Source
    input_sha256: str
    patient: str
    scanner: Scanner
    kernel: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    numbers: tuple[int, ...]
    nodules: tuple[Spot, ...]
    plain: tuple[Spot, ...]
    healthy: tuple[Spot, ...]
    donors: dict[ForgeryKind, tuple[int, ...]]


Keeper = Callable[[Donor], int]
"""Puts donated tissue aside and gives the number it is found by."""


def find_sources(folders: Sequence[Path]) -> tuple[list[Source], list[tuple[str, str]]]:
    """Every series below some folders, ordered by name, and what was found and cannot be used, with the reason.

    Raises
    ------
    UsageError
        If a folder is not there.
    DatasetError
        If a table of nodules cannot be used, or no folder holds a series.
    """
    sources: list[Source] = []
    unusable: list[tuple[str, str]] = []
    for folder in folders:
        if not folder.is_dir():
            raise UsageError("no such folder", file=folder, next_step="name a folder of CT series")
        nodules = _read_nodules(folder)
        found = find_series(folder)
        unusable += [(Path(error.file or folder).name, error.problem) for error in found.failures]
        for files in found.series:
            name = files.label if files.label not in ("", ".") else folder.resolve().name
            top = next(iter(Path(files.label).parts), folder.resolve().name)
            sources.append(Source(name, files, tuple(n for n in nodules if n.folder == top)))
    if not sources:
        raise DatasetError("no CT series here", file=folders[0], expected="DICOM files of CT series")
    return sorted(sources, key=lambda s: (s.name, s.files.series_instance_uid)), unusable


def read_source(source: Source, disk: AbstractContextManager = _ALONE) -> tuple[CTVolume, LungRegion]:
    """The series and its lungs, every slice numbered as `number_slices` says.

    Parameters
    ----------
    source
        From `find_sources`.
    disk
        Held while headers are parsed, where other threads may do so too: warnings are caught for the whole process.

    Raises
    ------
    InputError
        If a slice cannot be read, the headers bear verict's mark, there is no lung, or no copy could be written.
    """
    with disk:
        volume = read_series(source.files)
    if volume.failures:
        raise volume.failures[0]
    check_copyable(volume)
    if any(is_marked(header) for header in volume.headers):
        raise InputError("the series is a forgery by verict itself", next_step="forge scans nobody touched")
    lungs = find_lungs(volume)
    if not lungs.any_found:
        raise InputError("no lung was found")
    return number_slices(volume), lungs


def number_slices(volume: CTVolume) -> CTVolume:
    """The volume with slice numbers that label rows can name: InstanceNumber, or 1 upwards where that is no count.

    A count goes up or down by one from slice to slice. Headers that are changed are copies.
    """
    told = [header.get("InstanceNumber") for header in volume.headers]
    numbers = [int(n) for n in told if n is not None]
    if len(numbers) == len(told) and min(numbers) >= 0 and set(np.diff(numbers)) in ({1}, {-1}, set()):
        return volume
    headers = []
    for number, header in enumerate(volume.headers, start=1):
        changed = Dataset(dict(header.items()))
        changed["InstanceNumber"] = DataElement("InstanceNumber", "IS", number)  # a new one: elements are shared
        headers.append(changed)
    return replace(volume, headers=tuple(headers))


def survey_source(
    source: Source, seed: int, keep: Keeper, disk: AbstractContextManager = _ALONE
) -> Survey:
    """Read a source and note what it has to offer.

    Parameters
    ----------
    source
        From `find_sources`.
    seed
        Of the choice of places; together with the series' own pixels.
    keep
        See `Keeper`.
    disk
        As for `read_source`.

    Raises
    ------
    InputError, DatasetError
        If it, or the table of its nodules, cannot be used, with the reason.
    """
    volume, lungs = read_source(source, disk)
    lungs = _leave_out_short_runs(volume, lungs)
    rng = np.random.default_rng([seed, int(volume.input_sha256[:8], 16)])
    nodules = _find_nodules(source, volume, lungs)
    plain = _find_plain(volume, lungs, nodules, rng)
    if not nodules and not plain:
        raise _why_nothing_fits(volume, lungs)
    healthy = _find_healthy(volume, lungs, nodules, rng)
    header = volume.headers[0]
    kernel = header.get("ConvolutionKernel") or ""
    z, y, x = volume.hu.shape
    return Survey(
        source=source,
        input_sha256=volume.input_sha256,
        patient=str(header.get("PatientID") or volume.study_instance_uid or volume.series_instance_uid),
        scanner=scanner_of(header),
        kernel=kernel if isinstance(kernel, str) else "\\".join(kernel),
        shape=(z, y, x),
        spacing_mm=volume.spacing_mm,
        numbers=tuple(int(h.InstanceNumber) for h in volume.headers),
        nodules=nodules,
        plain=plain,
        healthy=healthy,
        donors={
            ForgeryKind.INJECT: _cut_donors(source, volume, lungs, ForgeryKind.INJECT, nodules, keep),
            ForgeryKind.REMOVE: _cut_donors(
                source, volume, lungs, ForgeryKind.REMOVE, sorted(healthy, key=lambda s: -s.place.depth_mm), keep
            ),
        },
    )


def _leave_out_short_runs(volume: CTVolume, lungs: LungRegion) -> LungRegion:
    """The lungs of stretches without a gap that hold a cuboid: elsewhere no place need be looked for.

    Raises
    ------
    InputError
        Why the longest stretch is too short, if all are.
    """
    found, refusal = np.zeros_like(lungs.found), None
    for run in sorted(volume.runs, key=lambda r: r.start - r.stop):
        try:
            check_slices(volume, (run.start + run.stop) // 2)
        except InputError as error:
            refusal = refusal or error
        else:
            found[run] = lungs.found[run]
    if refusal is not None and not found.any():
        raise refusal
    return replace(lungs, found=found)


def _read_nodules(folder: Path) -> tuple[Nodule, ...]:
    for file in (folder / NODULES_FILE, folder.resolve().parent / NODULES_FILE):
        if file.is_file():
            return tuple(n for n in read_nodules(file) if n.type is SiteType.TM)
    return ()


def _find_nodules(source: Source, volume: CTVolume, lungs: LungRegion) -> tuple[Spot, ...]:
    """Labelled ones as given, then those found; only those that can be aimed at."""
    labelled = [*place_documented(volume, source.documented), *_read_labels(source, volume)]
    spots = []
    for index, site in enumerate(find_removal_sites(volume, lungs, documented=labelled)):
        if site.diameter_mm > 0 and _refusal(volume, lungs, site, ForgeryKind.REMOVE) is None:
            spots.append(_note(volume, lungs, site, PLACE_WORDS[index < len(labelled)]))
    return tuple(spots)


def _read_labels(source: Source, volume: CTVolume) -> list[CandidateSite]:
    """The TM rows of the table in the series' own folder, as `verict phantom` writes it, with the sizes it tells."""
    folder = Path(source.files.items[0].source.path).parent
    table = folder / LABELS_FILE
    if not table.is_file():
        return []
    sizes_mm = _read_sizes(folder / PHANTOM_FILE)
    numbers = [int(header.InstanceNumber) for header in volume.headers]
    sites = []
    for row in read_table(table, COLUMNS):
        if row.fields["type"] != SiteType.TM:
            continue
        number, y, x = (row.whole(column) for column in ("slice", "y", "x"))
        if number not in numbers or y >= volume.hu.shape[1] or x >= volume.hu.shape[2]:
            raise row.refuse("slice", "a place of the series beside the table")
        z = numbers.index(number)
        sites.append(CandidateSite(z, y, x, sizes_mm.get((z, y, x), 0.0), "label of the series' own table"))
    return sites


def _read_sizes(file: Path) -> dict[tuple[int, int, int], float]:
    """Diameter in mm of a phantom's nodules by voxel; empty where nothing can be learnt."""
    try:
        nodules = json.loads(file.read_text(encoding="utf-8"))["nodules"]
        return {tuple(round(v) for v in n["centre_voxel_zyx"]): float(n["diameter_mm"]) for n in nodules}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _find_plain(
    volume: CTVolume, lungs: LungRegion, nodules: Iterable[Spot], rng: np.random.Generator
) -> tuple[Spot, ...]:
    avoid = [spot.voxel for spot in nodules]
    sites = find_injection_sites(volume, lungs, INJECTION_SITES, rng, apart_mm=INJECTION_APART_MM, avoid=avoid)
    fit = (s for s in sites if _refusal(volume, lungs, s, ForgeryKind.INJECT) is None)
    return tuple(_note(volume, lungs, site, "chosen") for site in fit)


def _find_healthy(
    volume: CTVolume, lungs: LungRegion, nodules: Iterable[Spot], rng: np.random.Generator
) -> tuple[Spot, ...]:
    """Plain lung of every depth, in both lungs, at any height: the plan takes what lies like its removals."""
    like = [
        LungPlace(bool(i % 2), depth_mm, float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.1, 0.9)))
        for i in range(HEALTHY_EACH)
        for depth_mm in HEALTHY_DEPTHS_MM
    ]
    avoid = [spot.voxel for spot in nodules]
    sites = find_healthy_sites(volume, lungs, like, rng, apart_mm=HEALTHY_APART_MM, avoid=avoid)
    return tuple(_note(volume, lungs, site, "chosen") for site in sites)


def _note(volume: CTVolume, lungs: LungRegion, site: CandidateSite, origin: str) -> Spot:
    if lungs.mask[site.z].any():
        place = describe_place(lungs.mask, volume.spacing_mm[1:], site.centre, whole_scan=True)
    else:
        place = LungPlace(on_left=True, depth_mm=0.0, front_to_back=0.5, height=0.0)
    return Spot(site.centre, place, site.diameter_mm or None, origin, site.how)


def _refusal(volume: CTVolume, lungs: LungRegion, site: CandidateSite, kind: ForgeryKind) -> InputError | None:
    try:
        aim(volume, lungs, site.centre, kind, diameter_mm=site.diameter_mm or None)
    except InputError as error:
        return error
    except UsageError as error:  # a label's diameter that makes no sense
        return InputError(error.problem, found=error.found, expected=error.expected)
    return None


def _why_nothing_fits(volume: CTVolume, lungs: LungRegion) -> InputError:
    """What `aim` says of the middle of the lung; where that is fine, the lung is too narrow."""
    middle = np.argwhere(lungs.mask)
    z, y, x = (int(v) for v in middle[len(middle) // 2])
    reason = _refusal(volume, lungs, CandidateSite(z, y, x, 0.0, ""), ForgeryKind.INJECT)
    return reason or InputError("no nodule was found and no plain lung with room around it")


def _cut_donors(
    source: Source, volume: CTVolume, lungs: LungRegion, kind: ForgeryKind, spots: Iterable[Spot], keep: Keeper
) -> tuple[int, ...]:
    kept: list[int] = []
    for spot in spots:
        if len(kept) == DONORS_OF_A_KIND:
            break
        try:
            where = f"{source.name}, voxel {', '.join(map(str, spot.voxel))}"
            donor = cut_donor(volume, lungs, spot.voxel, kind, diameter_mm=spot.diameter_mm or 0.0, source=where)
        except InputError:
            continue
        kept.append(keep(donor))
    return tuple(kept)
