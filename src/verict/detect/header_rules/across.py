"""Rules across series: one header used for several patients.

What is kept of a series is a fingerprint: hashes and two lengths, no value of the patient. It is made for
comparing within one run and is not to be written anywhere: short patient numbers can be guessed from a hash.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

from verict.ct.volume import CTVolume
from verict.detect.evidence import Confidence, Finding, TagValue
from verict.detect.header_rules.rule import Hit, Rule, rule
from verict.detect.header_rules.table import HeaderTable, label_tag

_FIELD_TOLERANCE = 0.02  # as for one series, see field_of_view_disagrees
_MANY_PATIENTS = 3  # two may be one patient under two numbers


@dataclass(frozen=True)
class HeaderFingerprint:
    """What is compared across series; every number but the lengths is a 64-bit hash.

    ``patient`` is None where PatientID is missing: such a series is nobody's in particular. The issuer of the
    number is left out, since archives add it to some studies of a patient and not to others.
    ``acquisition`` is None where too little is known to compare. ``field_mm`` is Rows x PixelSpacing.
    """

    series_instance_uid: str
    patient: int | None
    instances: frozenset[int]
    file_headers: frozenset[int]
    frames_of_reference: frozenset[int]
    acquisition: int | None
    field_mm: float | None


def fingerprint(volume: CTVolume) -> HeaderFingerprint:
    """What is kept of one series to compare it with others: small, hashable, nothing of the patient.

    Parameters
    ----------
    volume
        A series with headers; missing or malformed attributes are left out of the comparison.
    """
    table = HeaderTable(volume)
    own, meta = table.texts("SOPInstanceUID"), table.texts("MediaStorageSOPInstanceUID")
    instances = _hashes(own)
    patient = table.first("PatientID").strip().upper()
    spacing = next((values for values in table.numbers("PixelSpacing") if values), ())
    rows = next((value for value in table.number("Rows") if value), None)
    return HeaderFingerprint(
        series_instance_uid=volume.series_instance_uid,
        patient=_hash(patient) if patient else None,
        instances=instances,
        file_headers=instances if meta == own else _hashes(meta),
        frames_of_reference=_hashes(table.texts("FrameOfReferenceUID")),
        acquisition=_hash_acquisition(table),
        field_mm=round(rows * spacing[0], 2) if rows and spacing else None,
    )


def _hash_acquisition(table: HeaderTable) -> int | None:
    """Where the patient lay and what was exposed: values that differ from patient to patient, taken together."""
    fixed = ("TableHeight", "ReconstructionDiameter", "DataCollectionDiameter")
    modulated = ("XRayTubeCurrent", "Exposure", "ExposureTime")
    values = {keyword: sorted(set(table.number(keyword)) - {None}) for keyword in fixed + modulated}
    corner = sorted({position[:2] for position in table.numbers("ImagePositionPatient") if len(position) == 3})
    enough = values["TableHeight"] and values["ReconstructionDiameter"] and values["XRayTubeCurrent"] and corner
    if not enough or any(len(values[keyword]) > 1 for keyword in fixed) or len(corner) > 1:
        return None
    return _hash(table.first("ManufacturerModelName"), repr(values), repr(corner))


def _hash(*parts: str) -> int:
    return int.from_bytes(blake2b("\x1f".join(parts).encode(), digest_size=8, person=b"verict-header").digest(), "big")


def _hashes(texts: tuple[str | None, ...]) -> frozenset[int]:
    return frozenset(_hash(text) for text in texts if text)


class Crowd:
    """Fingerprints of several series, indexed by what they may share."""

    def __init__(self, fingerprints: Iterable[HeaderFingerprint]) -> None:
        self.members = tuple(dict.fromkeys(fingerprints))
        self.by_instance: dict[int, list[HeaderFingerprint]] = defaultdict(list)
        self.by_file_header: dict[int, list[HeaderFingerprint]] = defaultdict(list)
        self.by_frame: dict[int, list[HeaderFingerprint]] = defaultdict(list)
        self.by_acquisition: dict[int, list[HeaderFingerprint]] = defaultdict(list)
        for one in self.members:
            for index, keys in (
                (self.by_instance, one.instances),
                (self.by_file_header, one.file_headers),
                (self.by_frame, one.frames_of_reference),
            ):
                for key in keys:
                    index[key].append(one)
            if one.acquisition is not None:
                self.by_acquisition[one.acquisition].append(one)


def _patients(series: Iterable[HeaderFingerprint]) -> set[int]:
    return {one.patient for one in series if one.patient is not None}


def _others(one: HeaderFingerprint, keys: Iterable[int], index: dict[int, list[HeaderFingerprint]]) -> set:
    """Other series that share any of some keys."""
    sharing = {other for key in keys for other in index[key] if len(index[key]) > 1}
    return {other for other in sharing if other.series_instance_uid != one.series_instance_uid}


@rule(
    "cloned_file_header",
    "The file header is that of another series",
    Confidence.CONTRADICTION,
    why="MediaStorageSOPInstanceUID identifies one object in the world (PS3.10 7.1). Objects of several series that "
    "carry the same one were made from one file as a template.",
    benign=("a conversion script that copied one file header to everything it wrote",),
)
def cloned_file_header(one: HeaderFingerprint, crowd: Crowd) -> Iterator[Hit]:
    """One MediaStorageSOPInstanceUID in several series, on different objects."""
    foreign = one.file_headers - one.instances
    sharing = _others(one, foreign, crowd.by_file_header)
    sharing |= {other for other in _others(one, one.file_headers, crowd.by_file_header) if _has_foreign(other, one)}
    if sharing:
        yield Hit((_shared("MediaStorageSOPInstanceUID", one, sharing),), detail=_count(one, sharing))


def _has_foreign(other: HeaderFingerprint, one: HeaderFingerprint) -> bool:
    return bool((other.file_headers - other.instances) & one.file_headers)


@rule(
    "shared_instance_uid",
    "Images of another series carry the same numbers",
    Confidence.CONTRADICTION,
    Confidence.UNUSUAL,
    why="SOPInstanceUID identifies one image, and an image belongs to one series of one patient (PS3.3 A.1.2).",
    benign=("a series stored a second time under another series number",),
    degrees="UNUSUAL where the series are of one patient, or the patient is not named",
)
def shared_instance_uid(one: HeaderFingerprint, crowd: Crowd) -> Iterator[Hit]:
    """One SOPInstanceUID in several series."""
    sharing = _others(one, one.instances, crowd.by_instance)
    if sharing:
        apart = len(_patients({one, *sharing})) > 1
        confidence = Confidence.CONTRADICTION if apart else Confidence.UNUSUAL
        yield Hit((_shared("SOPInstanceUID", one, sharing),), detail=_count(one, sharing), confidence=confidence)


@rule(
    "cloned_frame_of_reference",
    "Another patient has the same frame of reference",
    Confidence.CONTRADICTION,
    Confidence.UNUSUAL,
    why="FrameOfReferenceUID names the coordinate system of one patient on one table (PS3.3 C.7.4.1). Shared by "
    "several patients it was copied along with the rest of a header.",
    benign=("one patient under several numbers", "research data mapped into one atlas"),
    degrees="CONTRADICTION from three patients on, UNUSUAL for two",
)
def cloned_frame_of_reference(one: HeaderFingerprint, crowd: Crowd) -> Iterator[Hit]:
    """One FrameOfReferenceUID in series of several patients."""
    sharing = {o for o in _others(one, one.frames_of_reference, crowd.by_frame) if _apart(one, o)}
    if sharing:
        many = len(_patients({one, *sharing})) >= _MANY_PATIENTS
        confidence = Confidence.CONTRADICTION if many else Confidence.UNUSUAL
        yield Hit((_shared("FrameOfReferenceUID", one, sharing),), detail=_count(one, sharing), confidence=confidence)


def _apart(one: HeaderFingerprint, other: HeaderFingerprint) -> bool:
    return one.patient is not None and other.patient is not None and one.patient != other.patient


@rule(
    "cloned_acquisition",
    "Another patient has the same acquisition details",
    Confidence.CONTRADICTION,
    Confidence.UNUSUAL,
    why="Table height, image corner, reconstruction diameter, tube current, time and exposure differ from patient to "
    "patient. All equal while the images differ in size, they belong to one of the patients at most.",
    benign=("a phantom or quality protocol repeated under several numbers",),
    degrees="CONTRADICTION where the widths of the images differ, UNUSUAL from three patients on",
)
def cloned_acquisition(one: HeaderFingerprint, crowd: Crowd) -> Iterator[Hit]:
    """Equal acquisition details in several patients, with images of different width or in three patients."""
    keys = () if one.acquisition is None else (one.acquisition,)
    sharing = {other for other in _others(one, keys, crowd.by_acquisition) if _apart(one, other)}
    if not sharing:
        return
    widths = [other.field_mm for other in {one, *sharing} if other.field_mm]
    resized = bool(widths) and max(widths) > min(widths) * (1 + _FIELD_TOLERANCE)
    if resized or len(_patients({one, *sharing})) >= _MANY_PATIENTS:
        tags = [_shared("TableHeight", one, sharing), _shared("XRayTubeCurrent", one, sharing)]
        if resized:
            found = f"images {min(widths):.0f} to {max(widths):.0f} mm wide under one value"
            keyword = "ReconstructionDiameter"
            tags.append(TagValue(label_tag(keyword), keyword, found, "the width of the image"))
        confidence = Confidence.CONTRADICTION if resized else Confidence.UNUSUAL
        yield Hit(tuple(tags), detail=_count(one, sharing), confidence=confidence)


def _shared(keyword: str, one: HeaderFingerprint, sharing: set) -> TagValue:
    return TagValue(label_tag(keyword), keyword, f"the same in {len(sharing)} other series", "different")


def _count(one: HeaderFingerprint, sharing: set) -> str:
    patients = len(_patients(sharing) - {one.patient})
    return f"shared by {len(sharing) + 1} series" + (f", {patients} other patients" if patients else "")


RULES: tuple[Rule, ...] = (cloned_file_header, shared_instance_uid, cloned_frame_of_reference, cloned_acquisition)


def examine_across(fingerprints: Iterable[HeaderFingerprint]) -> dict[str, tuple[Finding, ...]]:
    """Findings that only show when series are laid side by side, by SeriesInstanceUID; series without any are left out.

    Parameters
    ----------
    fingerprints
        One for each series read in this run, see `fingerprint`.
    """
    crowd = Crowd(fingerprints)
    found: dict[str, tuple[Finding, ...]] = {}
    for one in crowd.members:
        findings = tuple(finding for each in RULES for finding in each.findings(one, crowd))
        if findings:
            found[one.series_instance_uid] = found.get(one.series_instance_uid, ()) + findings
    return found
