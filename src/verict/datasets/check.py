"""Is a collection whole? Counts, the known properties of the published set, and damage told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from verict.datasets.campaigns import CAMPAIGN_FILE, Campaign, read_campaign
from verict.datasets.slicefile import SliceFacts, read_slice_facts
from verict.datasets.uci import Layout, ScanFolder, SiteType, UciCollection, read_collection
from verict.errors import DatasetError, InputError

SCHEMA = "verict.data-check/1"


class Severity(StrEnum):
    """What an observation means for the collection."""

    KNOWN = "known"  # a property of the published set: handle it, nothing is broken
    NOTE = "note"  # worth knowing, nothing is broken
    DAMAGE = "damage"  # files or labels are missing, broken or contradict each other


class Code(StrEnum):
    """Everything the check looks for."""

    UNPLACED_TB = "unplaced_tb"
    TWIN = "twin"
    SINGLE_SLICES = "single_slices"
    LABELS_ONLY = "labels_only"
    UNLABELLED_SCAN = "unlabelled_scan"
    SHARED_UUID = "shared_uuid"
    STRAY = "stray"
    BROKEN_LABELS = "broken_labels"
    MISSING_LABELS = "missing_labels"
    UNPLACED_ROW = "unplaced_row"
    DUPLICATE_ROW = "duplicate_row"
    CONTRADICTING_ROWS = "contradicting_rows"
    MISSING_SCAN = "missing_scan"
    MISSING_SLICE = "missing_slice"
    SLICE_GAP = "slice_gap"
    REPEATED_SLICE = "repeated_slice"
    UNREADABLE_FILE = "unreadable_file"
    TRUNCATED_FILE = "truncated_file"
    NOT_CT = "not_ct"
    OUTSIDE_IMAGE = "outside_image"
    WRONG_PATIENT = "wrong_patient"
    WRONG_NUMBER = "wrong_number"


TITLES: dict[Code, tuple[Severity, str]] = {
    Code.UNPLACED_TB: (Severity.KNOWN, "TB rows at slice, x, y = 0,0,0: a site has to be chosen in the lungs"),
    Code.TWIN: (Severity.KNOWN, "scans in both experiments at identical places: before and after, keep them together"),
    Code.SINGLE_SLICES: (Severity.NOTE, "scans of labelled slices alone: single slices only, no neighbours"),
    Code.LABELS_ONLY: (Severity.NOTE, "label tables without scans: no slices to check"),
    Code.UNLABELLED_SCAN: (Severity.NOTE, "scans that no row speaks of"),
    Code.SHARED_UUID: (Severity.NOTE, "scans in both experiments whose places differ: keep them together"),
    Code.STRAY: (Severity.NOTE, "entries that are no scan and no slice, passed over"),
    Code.BROKEN_LABELS: (Severity.DAMAGE, "label tables or folders that cannot be used"),
    Code.MISSING_LABELS: (Severity.DAMAGE, "experiments with scans but without a label table"),
    Code.UNPLACED_ROW: (Severity.DAMAGE, "FB, FM or TM rows at slice, x, y = 0,0,0"),
    Code.DUPLICATE_ROW: (Severity.DAMAGE, "rows given twice"),
    Code.CONTRADICTING_ROWS: (Severity.DAMAGE, "one place with two types in one experiment"),
    Code.MISSING_SCAN: (Severity.DAMAGE, "labelled scans that are not there"),
    Code.MISSING_SLICE: (Severity.DAMAGE, "labelled slices that are not there"),
    Code.SLICE_GAP: (Severity.DAMAGE, "gaps in the slice numbers of a scan"),
    Code.REPEATED_SLICE: (Severity.DAMAGE, "slice numbers that two files have"),
    Code.UNREADABLE_FILE: (Severity.DAMAGE, "files that cannot be read as DICOM"),
    Code.TRUNCATED_FILE: (Severity.DAMAGE, "files whose pixel data is missing or cut short"),
    Code.NOT_CT: (Severity.DAMAGE, "files that are no CT slice"),
    Code.OUTSIDE_IMAGE: (Severity.DAMAGE, "places outside the image"),
    Code.WRONG_PATIENT: (Severity.DAMAGE, "slices whose PatientID differs from the scan's folder"),
    Code.WRONG_NUMBER: (Severity.DAMAGE, "slices whose InstanceNumber differs from the file name"),
}


@dataclass(frozen=True)
class Observation:
    """One thing seen, at one place. ``message`` never holds a header value of the patient."""

    code: Code
    message: str

    @property
    def severity(self) -> Severity:
        """What it means for the collection."""
        return TITLES[self.code][0]


@dataclass(frozen=True)
class ClassCount:
    """Rows and distinct scans of one class in one experiment's label table."""

    experiment: int
    type: SiteType
    rows: int
    scans: int


@dataclass(frozen=True)
class DiskCount:
    """What of one experiment is on disk: scans, and slices in them."""

    experiment: int
    scans: int
    slices: int


@dataclass(frozen=True)
class CheckReport:
    """All the check saw of one collection."""

    root: str
    layout: Layout | None
    classes: tuple[ClassCount, ...] = ()
    disk: tuple[DiskCount, ...] = ()
    distinct_uuids: int = 0
    header_facts: tuple[str, ...] = ()
    observations: tuple[Observation, ...] = field(default=(), repr=False)

    @property
    def is_sound(self) -> bool:
        """Whether nothing seen is damage."""
        return not self.of(Severity.DAMAGE)

    def of(self, severity: Severity) -> tuple[Observation, ...]:
        """The observations of one severity."""
        return tuple(o for o in self.observations if o.severity is severity)

    def as_dict(self) -> dict:
        """The whole report for JSON, every code listed with its count, zero included."""
        counts = Counter(o.code for o in self.observations)
        return {
            "schema": SCHEMA,
            "root": self.root,
            "layout": self.layout.value if self.layout else None,
            "sound": self.is_sound,
            "classes": [
                {"experiment": c.experiment, "type": c.type.value, "rows": c.rows, "scans": c.scans}
                for c in self.classes
            ],
            "disk": [{"experiment": d.experiment, "scans": d.scans, "slices": d.slices} for d in self.disk],
            "distinct_uuids": self.distinct_uuids,
            "header_facts": list(self.header_facts),
            "counts": {code.value: counts[code] for code in Code},
            "observations": [
                {"code": o.code.value, "severity": o.severity.value, "message": o.message} for o in self.observations
            ],
        }


def check_collection(root: str | Path, *, on_slice: Callable[[int, int], None] | None = None) -> CheckReport:
    """Check a collection of either layout, or label tables alone.

    Every slice's header is read and the length of its pixel data measured; nothing is decoded.

    Parameters
    ----------
    root
        As for `verict.datasets.uci.read_collection`.
    on_slice
        Called with (slices read so far, slices in all), for a progress bar.

    Raises
    ------
    UsageError
        If root is not a folder, or nothing in it is a collection.
    """
    try:
        collection, campaign = read_collection(root), read_campaign(root)
    except DatasetError as error:
        return CheckReport(str(root), None, observations=(Observation(Code.BROKEN_LABELS, str(error)),))
    seen = [*_check_rows(collection), *_check_scans(collection)]
    seen += _check_campaign(collection, campaign) if campaign else []
    facts: dict[tuple[int, str], dict[int, SliceFacts]] = {}
    total, done = sum(len(scan.slices) for scan in collection.scans.values()), 0
    for key, scan in collection.scans.items():
        facts[key] = {}
        for number, file in scan.slices.items():
            try:
                facts[key][number] = read_slice_facts(file)
            except InputError as error:
                code = Code.TRUNCATED_FILE if error.tag else Code.UNREADABLE_FILE
                seen.append(Observation(code, str(error)))
            done += 1
            if on_slice:
                on_slice(done, total)
        seen += _check_headers(scan, facts[key], of_campaign=campaign is not None)
    seen += _check_places(collection, facts)
    order = list(Code)
    return CheckReport(
        root=str(root),
        layout=collection.layout,
        classes=_count_classes(collection),
        disk=_count_disk(collection),
        distinct_uuids=len(collection.uuids),
        header_facts=_header_facts(facts, campaign),
        observations=tuple(sorted(seen, key=lambda o: order.index(o.code))),
    )


def _count_classes(collection: UciCollection) -> tuple[ClassCount, ...]:
    counts = []
    for experiment in sorted(collection.label_files):
        for kind in SiteType:
            uuids = [r.uuid for r in collection.rows if (r.experiment, r.type) == (experiment, kind)]
            counts.append(ClassCount(experiment, kind, len(uuids), len(set(uuids))))
    return tuple(counts)


def _count_disk(collection: UciCollection) -> tuple[DiskCount, ...]:
    scans = {e: [s for (number, _), s in collection.scans.items() if number == e]
             for e in sorted(collection.experiments_on_disk)}
    return tuple(DiskCount(e, len(found), sum(len(s.slices) for s in found)) for e, found in scans.items())


def _check_rows(collection: UciCollection) -> Iterator[Observation]:
    """Labels against labels."""
    types: dict[tuple, list[SiteType]] = {}
    for row in collection.rows:
        where = f"experiment {row.experiment}, {row.type} of scan {row.uuid}"
        if row.is_placed:
            types.setdefault((row.experiment, row.uuid, row.slice, row.x, row.y), []).append(row.type)
        elif row.type is SiteType.TB:
            yield Observation(Code.UNPLACED_TB, where)
        else:
            yield Observation(Code.UNPLACED_ROW, where)
    for (experiment, uuid, number, x, y), found in types.items():
        where = f"experiment {experiment}, scan {uuid}, slice {number}, x {x}, y {y}"
        if len(set(found)) < len(found):
            yield Observation(Code.DUPLICATE_ROW, f"{where}: {len(found)} times")
        if len(set(found)) > 1:
            yield Observation(Code.CONTRADICTING_ROWS, f"{where}: {' and '.join(dict.fromkeys(found))}")
    places: dict[int, dict[str, set[tuple[int, int, int]]]] = {1: {}, 2: {}}
    for row in collection.rows:
        places[row.experiment].setdefault(row.uuid, set()).add((row.slice, row.x, row.y))
    for uuid in collection.uuids:
        first, second = places[1].get(uuid), places[2].get(uuid)
        if first and second:
            kinds = [" and ".join(sorted({r.type for r in collection.rows_of(e, uuid)})) for e in (1, 2)]
            text = f"scan {uuid}: {kinds[0]} in experiment 1, {kinds[1]} in experiment 2"
            shared = (first & second) - {(0, 0, 0)}
            yield Observation(Code.TWIN if shared else Code.SHARED_UUID, f"{text}, {len(shared)} identical places")


def _check_scans(collection: UciCollection) -> Iterator[Observation]:
    """Labels against folders and file names."""
    if collection.layout is Layout.LABELS_ONLY:
        yield Observation(Code.LABELS_ONLY, "no experiment folder here")
        return
    labelled = dict.fromkeys((row.experiment, row.uuid) for row in collection.rows)
    for experiment, uuid in labelled:
        if (experiment, uuid) not in collection.scans:
            yield Observation(Code.MISSING_SCAN, f"experiment {experiment}, scan {uuid}")
    for experiment in collection.experiments_on_disk:
        if experiment not in collection.label_files:
            yield Observation(Code.MISSING_LABELS, f"labels_exp{experiment}.csv")
    for entry in collection.strays:
        yield Observation(Code.STRAY, str(entry))
    for (experiment, uuid), scan in collection.scans.items():
        where = f"experiment {experiment}, scan {uuid}"
        wanted = {row.slice for row in collection.rows_of(experiment, uuid) if row.is_placed}
        if (experiment, uuid) not in labelled:
            yield Observation(Code.UNLABELLED_SCAN, where)
        for number in sorted(wanted - scan.slices.keys()):
            yield Observation(Code.MISSING_SLICE, f"{where}, slice {number}")
        yield from _check_numbers(scan, wanted, where)


def _check_numbers(scan: ScanFolder, wanted: set[int], where: str) -> Iterator[Observation]:
    for entry in scan.repeats:
        yield Observation(Code.REPEATED_SLICE, str(entry))
    for entry in scan.strays:
        yield Observation(Code.STRAY, str(entry))
    if scan.slices and scan.slices.keys() <= wanted:
        yield Observation(Code.SINGLE_SLICES, f"{where}: slice {', '.join(map(str, scan.slices))}")
        return
    numbers = list(scan.slices)
    for before, after in pairwise(numbers):
        if after - before > 1:
            yield Observation(Code.SLICE_GAP, f"{where}: nothing between slice {before} and {after}")


def _check_campaign(collection: UciCollection, campaign: Campaign) -> Iterator[Observation]:
    """Labels against what a campaign says of itself."""
    painted = {(r.uuid, r.slice, r.x, r.y) for r in collection.rows if r.type.is_tampered}
    for uuid, number, x, y in sorted(painted ^ campaign.rows.keys()):
        text = f"scan {uuid}, slice {number}, x {x}, y {y}: stands in one of label table and {CAMPAIGN_FILE} only"
        yield Observation(Code.BROKEN_LABELS, text)


def _check_headers(scan: ScanFolder, facts: dict[int, SliceFacts], *, of_campaign: bool) -> Iterator[Observation]:
    """File names against headers; those of a campaign keep the patient of its source."""
    for number, fact in facts.items():
        file = scan.slices[number]
        if fact.modality != "CT":
            yield Observation(Code.NOT_CT, f"{file}: Modality {fact.modality or 'missing'}")
        if fact.instance_number != number:
            found = "missing" if fact.instance_number is None else fact.instance_number
            yield Observation(Code.WRONG_NUMBER, f"{file}: InstanceNumber {found}")
        if fact.patient_id != scan.uuid and not of_campaign:
            yield Observation(Code.WRONG_PATIENT, f"{file}: PatientID is not {scan.uuid}")


def _check_places(
    collection: UciCollection, facts: dict[tuple[int, str], dict[int, SliceFacts]]
) -> Iterator[Observation]:
    """Labels against image sizes."""
    for row in collection.rows:
        fact = facts.get((row.experiment, row.uuid), {}).get(row.slice)
        if fact and row.is_placed and not (row.x < fact.columns and row.y < fact.rows):
            yield Observation(
                Code.OUTSIDE_IMAGE,
                f"experiment {row.experiment}, {row.type} of scan {row.uuid}, slice {row.slice}: x {row.x}, y {row.y} "
                f"in an image of {fact.columns} columns and {fact.rows} rows",
            )


def _header_facts(facts: dict[tuple[int, str], dict[int, SliceFacts]], campaign: Campaign | None) -> tuple[str, ...]:
    """What the headers of the collection are worth, in words."""
    slices = [(number, fact) for scan in facts.values() for number, fact in scan.items()]
    if not slices:
        return ()
    scanners = Counter(fact.scanner for _, fact in slices)
    named = {" ".join(part for part in scanner if part) or "no scanner named" for scanner in scanners}
    said = [f"{len(scanners)} scanner and kernel entries in {len(facts)} scans: {', '.join(sorted(named)[:5])}"
            + (" and more" if len(named) > 5 else "")]
    if campaign is not None:
        said.insert(0, f"a campaign of verict, {campaign.sha256[:16]}: headers are its sources' own, but for the mark")
    elif len(scanners) == 1 and len(facts) > 1:
        said = [f"one cloned template: all {len(facts)} scans name {named.pop()}, so header values say nothing about "
                "the real scanner"]
    differing = sum(not fact.media_uid_agrees for _, fact in slices)
    said.append(f"MediaStorageSOPInstanceUID differs from SOPInstanceUID in {differing} of {len(slices)} slices")
    counted = sum(
        fact.position_z_mm is not None and fact.slice_thickness_mm is not None
        and abs(fact.position_z_mm - number * fact.slice_thickness_mm) < 0.01 for number, fact in slices
    )
    said.append(f"z position is slice number x SliceThickness in {counted} of {len(slices)} slices")
    thickness = [fact.slice_thickness_mm for _, fact in slices if fact.slice_thickness_mm is not None]
    if thickness:
        said.append(f"SliceThickness {min(thickness):.3g} to {max(thickness):.3g} mm")
    return tuple(said)
