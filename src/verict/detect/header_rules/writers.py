"""Rules on one series that came from two hands: slices that differ from the rest where none should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from pydicom.datadict import keyword_for_tag
from pydicom.tag import BaseTag

from verict.detect.evidence import Confidence, TagValue
from verict.detect.header_rules.rule import Hit, Rule, rule
from verict.detect.header_rules.table import HeaderTable, is_minority, split_by_value

_WRITER = ("ImplementationClassUID", "ImplementationVersionName")
_EQUIPMENT = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber")
_STATION = ("SoftwareVersions", "StationName", "InstitutionName")
_SERIES = ("StudyInstanceUID", "SeriesInstanceUID", "Modality")
_PATIENT = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")
_SETTINGS = (
    "Rows",
    "Columns",
    "PixelSpacing",
    "SliceThickness",
    "KVP",
    "ConvolutionKernel",
    "FilterType",
    "PatientPosition",
    "ReconstructionDiameter",
    "DataCollectionDiameter",
    "GantryDetectorTilt",
    "SpiralPitchFactor",
    "ScanOptions",
    "BitsStored",
    "PixelRepresentation",
    "RescaleIntercept",
    "RescaleSlope",
)
_FORMATTED = (
    "SliceThickness",
    "KVP",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ReconstructionDiameter",
    "DataCollectionDiameter",
    "TableHeight",
    "RescaleIntercept",
    "RescaleSlope",
)
_SAVED_AGAIN = "part of the series was sent, archived or migrated by another system"


def _grouped(table: HeaderTable, columns: dict[str, tuple]) -> Iterator[tuple[tuple[int, ...], Hit]]:
    """For each group of rows that differs from the rest: the rows, and a hit naming all it differs in."""
    groups: dict[tuple[int, ...], list[TagValue]] = {}
    for keyword, values in columns.items():
        common, others = split_by_value(values)
        if others:
            rows = tuple(sorted(row for group in others.values() for row in group))
            found = _plain(next(iter(others))) if len(others) == 1 else f"{len(others)} other values"
            groups.setdefault(rows, []).append(table.tag(keyword, found, table.show(keyword, _plain(common))))
    for rows, tags in groups.items():
        yield rows, Hit(tuple(tags), table.slices(rows), f"{len(rows)} of {len(table)} slices")


def _plain(value: object) -> str:
    return "\\".join(f"{v:g}" for v in value) if isinstance(value, tuple) else str(value)


def _texts(table: HeaderTable, keywords: tuple[str, ...], *, casefold: bool = False) -> dict[str, tuple]:
    columns = {keyword: table.texts(keyword) for keyword in keywords}
    if casefold:
        columns = {k: tuple(t.casefold() if t else t for t in texts) for k, texts in columns.items()}
    return columns


@rule(
    "mixed_writer",
    "Some files were written by another program than the rest",
    Confidence.UNUSUAL,
    why="Each program that writes a file signs it with ImplementationClassUID and ImplementationVersionName (PS3.10 "
    "7.1). In a series that was sent as a whole they agree; a few slices saved again by an editor differ.",
    benign=(_SAVED_AGAIN,),
)
def mixed_writer(table: HeaderTable) -> Iterator[Hit]:
    """Implementation class or version differs within a series."""
    for _, hit in _grouped(table, _texts(table, _WRITER)):
        yield hit


@rule(
    "mixed_transfer_syntax",
    "The files of the series are encoded in different ways",
    Confidence.UNUSUAL,
    why="A series is stored under one transfer syntax; slices that were opened and saved again often come out "
    "uncompressed among compressed ones.",
    benign=(_SAVED_AGAIN, "an archive that compresses slice by slice and was interrupted"),
)
def mixed_transfer_syntax(table: HeaderTable) -> Iterator[Hit]:
    """TransferSyntaxUID differs within a series."""
    for _, hit in _grouped(table, _texts(table, ("TransferSyntaxUID",))):
        yield hit


@rule(
    "mixed_equipment",
    "Slices of one series name different scanners",
    Confidence.CONTRADICTION,
    why="A series is made by one piece of equipment (PS3.3 A.1.2.3): manufacturer, model and serial number agree "
    "on all of its slices.",
    benign=("two series merged under one number by an archive",),
)
def mixed_equipment(table: HeaderTable) -> Iterator[Hit]:
    """Manufacturer, model or serial number differs within a series."""
    for _, hit in _grouped(table, _texts(table, _EQUIPMENT, casefold=True)):
        yield hit


@rule(
    "mixed_station",
    "Slices of one series name different software, stations or institutions",
    Confidence.UNUSUAL,
    why="Software version, station and institution belong to the equipment and agree over a series.",
    benign=(_SAVED_AGAIN, "an archive that corrected the entry on part of the series"),
)
def mixed_station(table: HeaderTable) -> Iterator[Hit]:
    """SoftwareVersions, StationName or InstitutionName differs within a series."""
    for _, hit in _grouped(table, _texts(table, _STATION, casefold=True)):
        yield hit


@rule(
    "mixed_series",
    "Slices of one series belong to different studies or modalities",
    Confidence.CONTRADICTION,
    why="A series belongs to one study and holds one modality (PS3.3 A.1.2).",
    benign=("two series merged under one number by an archive",),
)
def mixed_series(table: HeaderTable) -> Iterator[Hit]:
    """StudyInstanceUID, SeriesInstanceUID or Modality differs within a series."""
    for _, hit in _grouped(table, _texts(table, _SERIES)):
        yield hit


@rule(
    "mixed_patient",
    "Slices of one series name different patients",
    Confidence.UNUSUAL,
    Confidence.NOTABLE,
    why="All slices of a series are of one patient. Slices under another name were taken from elsewhere or corrected "
    "in part. The values are not shown.",
    benign=("a patient merge or correction in the archive that reached only part of the series",),
    degrees="NOTABLE where OriginalAttributesSequence records a correction",
)
def mixed_patient(table: HeaderTable) -> Iterator[Hit]:
    """Patient attributes differ within a series; values are never shown."""
    corrected = bool(table.any_has("OriginalAttributesSequence"))
    for keyword in _PATIENT:
        _, others = split_by_value(table.texts(keyword))
        rows = tuple(i for group in others.values() for i in group)
        if rows:
            found = TagValue(table.tag(keyword, "").tag, keyword, f"differs ({len(others) + 1} values)", "one value")
            confidence = Confidence.NOTABLE if corrected else Confidence.UNUSUAL
            yield Hit((found,), table.slices(rows), keyword, confidence)


@rule(
    "mixed_settings",
    "Some slices were made with other settings than the rest",
    Confidence.UNUSUAL,
    Confidence.NOTABLE,
    why="Kernel, voltage, pixel spacing, bit depth and patient position are set once for a reconstruction. A few "
    "slices with other values were not made together with the rest.",
    benign=("several acquisitions or reconstructions stored as one series",),
    degrees="UNUSUAL where a few slices stand against the rest, else NOTABLE",
)
def mixed_settings(table: HeaderTable) -> Iterator[Hit]:
    """An acquisition or reconstruction setting differs within a series."""
    columns = {
        keyword: tuple(n or t for n, t in zip(table.numbers(keyword), table.texts(keyword), strict=True))
        for keyword in _SETTINGS
    }
    for rows, hit in _grouped(table, columns):
        few = is_minority(len(rows), len(table))
        yield replace(hit, confidence=Confidence.UNUSUAL if few else Confidence.NOTABLE)


@rule(
    "mixed_image_type",
    "Some slices are marked original, others derived",
    Confidence.UNUSUAL,
    why="The first two values of ImageType say whether pixels come from the scanner or were computed from other "
    "images (PS3.3 C.7.6.1.1.2); within one series they agree.",
    benign=("a workstation that stored processed slices into the original series",),
)
def mixed_image_type(table: HeaderTable) -> Iterator[Hit]:
    """ImageType values 1 and 2 differ within a series."""
    kinds = tuple("\\".join(t.upper().split("\\")[:2]) if t else None for t in table.texts("ImageType"))
    for _, hit in _grouped(table, {"ImageType": kinds}):
        yield hit


@rule(
    "mixed_attributes",
    "Some slices carry other attributes than the rest",
    Confidence.UNUSUAL,
    Confidence.NOTABLE,
    why="One program writes the same set of attributes into every slice of a series. A few slices that lack some or "
    "have more, group lengths included, went through another program.",
    benign=(_SAVED_AGAIN, "attributes that scanners write only on the first slice or on contrast slices"),
    degrees="UNUSUAL where a few slices stand against the rest, else NOTABLE",
)
def mixed_attributes(table: HeaderTable) -> Iterator[Hit]:
    """The set of tags differs between slices."""
    counts = Counter(table.tag_sets)
    if len(counts) < 2:
        return
    usual = counts.most_common(1)[0][0]
    rows = tuple(i for i, tags in enumerate(table.tag_sets) if tags != usual)
    few = is_minority(len(rows), len(table))
    extra = frozenset().union(*(tags - usual for tags in counts))
    missing = frozenset().union(*(usual - tags for tags in counts))
    shown = [_tag_value(tag, "present", "absent as on most slices") for tag in sorted(extra)[:6]]
    shown += [_tag_value(tag, "absent", "present as on most slices") for tag in sorted(missing)[:6]]
    yield Hit(
        tuple(shown),
        table.slices(rows),
        f"{len(rows)} of {len(table)} slices, {len(extra)} attributes more, {len(missing)} fewer",
        Confidence.UNUSUAL if few else Confidence.NOTABLE,
    )


def _tag_value(tag: BaseTag, found: str, expected: str) -> TagValue:
    keyword = keyword_for_tag(tag) or ("group length" if tag.element == 0 else "private or unknown")
    return TagValue(f"({tag.group:04X},{tag.element:04X})", keyword, found, expected)


@rule(
    "mixed_number_format",
    "Some slices spell the same numbers differently",
    Confidence.UNUSUAL,
    why="Numbers are stored as text, and a program always spells them its own way: 2.5 and 2.500000 on slices of one "
    "series show that two programs wrote them.",
    benign=(_SAVED_AGAIN,),
)
def mixed_number_format(table: HeaderTable) -> Iterator[Hit]:
    """Numerically equal decimal strings that are spelt differently."""
    alike = (k for k in _FORMATTED if len(set(table.numbers(k)) - {()}) == 1)
    for _, hit in _grouped(table, {keyword: table.texts(keyword) for keyword in alike}):
        yield hit


RULES: tuple[Rule, ...] = (
    mixed_writer,
    mixed_transfer_syntax,
    mixed_equipment,
    mixed_station,
    mixed_series,
    mixed_patient,
    mixed_settings,
    mixed_image_type,
    mixed_attributes,
    mixed_number_format,
)
