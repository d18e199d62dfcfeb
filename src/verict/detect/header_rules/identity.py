"""Rules on who an object says it is: file meta information, UIDs, classes, frame of reference."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from verict.ct.classify import CT_CLASSES
from verict.detect.evidence import Confidence
from verict.detect.header_rules.rule import Hit, Rule, rule
from verict.detect.header_rules.table import HeaderTable, is_minority, split_by_value

_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")  # PS3.5 9.1
_UID_LENGTH = 64  # PS3.5 9.1
_LONG_ROOTS = {"1.3.6.1.4.1": 7, "1.2.826.0.1.3680043": 7}  # arcs under which organisations are one level further down


@rule(
    "meta_instance_uid_mismatch",
    "The file header names another object than the data set",
    Confidence.CONTRADICTION,
    Confidence.UNUSUAL,
    why="MediaStorageSOPInstanceUID must equal SOPInstanceUID (PS3.10 7.1). A program that takes one file as a "
    "template for another and changes only the data set leaves the template's number behind.",
    benign=("a de-identification script that renewed the UIDs of the data set only",),
    degrees="UNUSUAL where the series says it was de-identified and every file keeps a number of its own",
)
def meta_instance_uid_mismatch(table: HeaderTable) -> Iterator[Hit]:
    """MediaStorageSOPInstanceUID differs from SOPInstanceUID."""
    meta, own = table.texts("MediaStorageSOPInstanceUID"), table.texts("SOPInstanceUID")
    rows = [i for i in range(len(table)) if meta[i] and own[i] and meta[i] != own[i]]
    if rows:
        renamed = table.is_deidentified and len({meta[i] for i in rows}) == len(rows)
        yield Hit(
            (table.tag("MediaStorageSOPInstanceUID", meta[rows[0]], f"SOPInstanceUID {own[rows[0]]}"),),
            table.slices(rows),
            f"{len(rows)} of {len(table)} files",
            Confidence.UNUSUAL if renamed else Confidence.CONTRADICTION,
        )


@rule(
    "meta_uid_reused",
    "Several objects carry one and the same file header number",
    Confidence.CONTRADICTION,
    why="MediaStorageSOPInstanceUID identifies one object (PS3.10 7.1). Different objects with the same number were "
    "made from one file as a template.",
    benign=("a conversion script that copied one file header to all slices",),
)
def meta_uid_reused(table: HeaderTable) -> Iterator[Hit]:
    """One MediaStorageSOPInstanceUID on objects of different SOPInstanceUID."""
    meta, own = table.texts("MediaStorageSOPInstanceUID"), table.texts("SOPInstanceUID")
    groups: dict[str, list[int]] = defaultdict(list)
    for i, uid in enumerate(meta):
        if uid:
            groups[uid].append(i)
    for uid, rows in groups.items():
        if len({own[i] for i in rows}) > 1:
            yield Hit(
                (table.tag("MediaStorageSOPInstanceUID", uid, "one number an object"),),
                table.slices(rows),
                f"{len(rows)} of {len(table)} files",
            )


@rule(
    "meta_class_mismatch",
    "The file header names another kind of object than the data set",
    Confidence.CONTRADICTION,
    why="MediaStorageSOPClassUID must equal SOPClassUID (PS3.10 7.1); a file that was written as one kind of object "
    "and relabelled as another differs.",
    benign=("a converter that changed the class in one place only",),
)
def meta_class_mismatch(table: HeaderTable) -> Iterator[Hit]:
    """MediaStorageSOPClassUID differs from SOPClassUID."""
    meta, own = table.texts("MediaStorageSOPClassUID"), table.texts("SOPClassUID")
    rows = [i for i in range(len(table)) if meta[i] and own[i] and meta[i] != own[i]]
    if rows:
        yield Hit(
            (table.tag("MediaStorageSOPClassUID", meta[rows[0]], f"SOPClassUID {own[rows[0]]}"),), table.slices(rows)
        )


@rule(
    "class_not_ct",
    "A CT series made of objects that are not CT images",
    Confidence.UNUSUAL,
    why="A scanner stores CT as CT Image Storage or its enhanced kinds (PS3.4 B.5). Another class means that the "
    "images went through other software.",
    benign=("secondary captures", "exports by workstations that write no CT objects"),
)
def class_not_ct(table: HeaderTable) -> Iterator[Hit]:
    """SOPClassUID is no CT class though Modality is CT."""
    classes, modality = table.texts("SOPClassUID"), table.texts("Modality")
    rows = [i for i in range(len(table)) if modality[i] == "CT" and classes[i] and classes[i] not in CT_CLASSES]
    if rows:
        yield Hit((table.tag("SOPClassUID", classes[rows[0]], "a CT image storage class"),), table.slices(rows))


@rule(
    "duplicate_instance_uid",
    "Different slices carry the same SOP Instance UID",
    Confidence.CONTRADICTION,
    Confidence.NOTABLE,
    why="SOPInstanceUID is unique in the world (PS3.3 C.12.1); two different slices with one number cannot both be "
    "the object it was given to.",
    benign=("the same file stored twice",),
    degrees="NOTABLE where the slices lie at the same position with the same pixels",
)
def duplicate_instance_uid(table: HeaderTable) -> Iterator[Hit]:
    """One SOPInstanceUID in several files."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i, uid in enumerate(table.texts("SOPInstanceUID")):
        if uid:
            groups[uid].append(i)
    for uid, rows in groups.items():
        if len(rows) < 2:
            continue
        first, *rest = [table.slices_of_row[i][0] for i in rows]
        hu, positions = table.volume.hu, table.volume.positions_mm
        same = all(abs(positions[z] - positions[first]) < 0.01 and (hu[z] == hu[first]).all() for z in rest)
        yield Hit(
            (table.tag("SOPInstanceUID", uid, "one number a slice"),),
            table.slices(rows),
            f"{len(rows)} files",
            Confidence.NOTABLE if same else Confidence.CONTRADICTION,
        )


@rule(
    "invalid_uid",
    "A unique identifier is missing or malformed",
    Confidence.UNUSUAL,
    why="UIDs are digits and dots, at most 64 characters, no component with a leading zero (PS3.5 9.1); scanners "
    "make them by the rules, hand-made programs often do not.",
    benign=("old or careless de-identification software",),
)
def invalid_uid(table: HeaderTable) -> Iterator[Hit]:
    """A UID that PS3.5 9.1 does not allow, or none where one is required."""
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "SOPClassUID", "FrameOfReferenceUID"):
        texts = table.texts(keyword)
        verdicts = {text: _is_valid(text, required=keyword != "FrameOfReferenceUID") for text in set(texts)}
        rows = [i for i, text in enumerate(texts) if not verdicts[text]]
        if rows:
            found = texts[rows[0]] or "(missing)"
            yield Hit((table.tag(keyword, found, "a valid UID"),), table.slices(rows), keyword)


def _is_valid(text: str | None, *, required: bool) -> bool:
    if not text:
        return not required
    return len(text) <= _UID_LENGTH and _UID.fullmatch(text) is not None


def issuer_of(uid: str) -> str:
    """The part of a UID that names the organisation that made it.

    >>> issuer_of("1.3.6.1.4.1.14519.5.2.1"), issuer_of("1.2.840.113619.2.55")
    ('1.3.6.1.4.1.14519', '1.2.840.113619')
    """
    if uid.startswith("2.25."):
        return "2.25"  # PS3.5 B.2: made of a UUID, names nobody
    depth = next((n for arc, n in _LONG_ROOTS.items() if uid.startswith(arc + ".")), 4)
    return ".".join(uid.split(".")[:depth])


@rule(
    "mixed_uid_issuers",
    "Some slices were numbered by another organisation than the rest",
    Confidence.UNUSUAL,
    why="The front of a UID names whose equipment made the object. Slices of one series with different fronts were "
    "not all made by the same equipment.",
    benign=("a workstation that renumbered part of a series",),
)
def mixed_uid_issuers(table: HeaderTable) -> Iterator[Hit]:
    """SOPInstanceUIDs of one series under different organisation roots."""
    issuers = tuple(issuer_of(uid) if uid else None for uid in table.texts("SOPInstanceUID"))
    common, others = split_by_value(issuers)
    for issuer, rows in others.items():
        yield Hit(
            (table.tag("SOPInstanceUID", f"{issuer}...", f"{common}... as on the other slices"),),
            table.slices(rows),
            f"{len(rows)} of {len(table)} slices",
        )


@rule(
    "frame_of_reference_varies",
    "The slices do not share one frame of reference",
    Confidence.UNUSUAL,
    Confidence.NOTABLE,
    why="All images of a series lie in one coordinate system and share FrameOfReferenceUID (PS3.3 C.7.4.1); a slice "
    "with another one came from elsewhere.",
    benign=("de-identification software that gave every slice a number of its own", "two acquisitions joined"),
    degrees="UNUSUAL where a few slices stand against the rest, else NOTABLE",
)
def frame_of_reference_varies(table: HeaderTable) -> Iterator[Hit]:
    """FrameOfReferenceUID differs within a series."""
    common, others = split_by_value(table.texts("FrameOfReferenceUID"))
    rows = [i for group in others.values() for i in group]
    if rows:
        few = is_minority(len(rows), len(table))
        yield Hit(
            (table.tag("FrameOfReferenceUID", f"{len(others) + 1} different values", f"{common}"),),
            table.slices(rows) if few else (),
            f"{len(others) + 1} in {len(table)} slices",
            Confidence.UNUSUAL if few else Confidence.NOTABLE,
        )


@rule(
    "original_but_secondary",
    "The images call themselves original and secondary at once",
    Confidence.NOTABLE,
    why="ImageType SECONDARY says the image was made after the examination (PS3.3 C.7.6.1.1.2), ORIGINAL that its "
    "pixels come straight from the scanner.",
    benign=("scanners that mark later reconstructions of the same raw data so",),
)
def original_but_secondary(table: HeaderTable) -> Iterator[Hit]:
    """ImageType ORIGINAL with SECONDARY."""
    texts = table.texts("ImageType")
    rows = [i for i, text in enumerate(texts) if (text or "").upper().split("\\")[:2] == ["ORIGINAL", "SECONDARY"]]
    if rows:
        yield Hit((table.tag("ImageType", texts[rows[0]], "ORIGINAL\\PRIMARY"),), table.slices(rows))


RULES: tuple[Rule, ...] = (
    meta_instance_uid_mismatch,
    meta_uid_reused,
    meta_class_mismatch,
    class_not_ct,
    duplicate_instance_uid,
    invalid_uid,
    mixed_uid_issuers,
    frame_of_reference_varies,
    original_but_secondary,
)
