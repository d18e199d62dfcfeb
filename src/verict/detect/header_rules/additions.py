"""Rules on what was added after acquisition: overlays, tables, derivation, compression, marks."""

from __future__ import annotations

from collections.abc import Iterator

from verict.detect.evidence import Confidence, TagValue
from verict.detect.header_rules.rule import Hit, Rule, rule
from verict.detect.header_rules.table import HeaderTable

FORGERY_MARK = "synthetic forgery"
"""The words in DerivationDescription by which verict's own forgers mark what they make."""

FORGERY_CONTROL = "control, copied without any painting"
"""Further words where such an object is an untouched copy that stands beside forgeries."""

_LOSSY_SYNTAXES = {  # transfer syntaxes that can only be lossy (PS3.5 A.4, 10)
    "1.2.840.10008.1.2.4.50": "JPEG Baseline",
    "1.2.840.10008.1.2.4.51": "JPEG Extended",
}


@rule(
    "marked_as_forgery",
    "Marked as a synthetic forgery by its maker",
    Confidence.CONTRADICTION,
    why="The object says of itself that it was forged for research. What it shows in the changed place was never seen "
    "by a scanner.",
    benign=("none: it is what it says, a test object that should not be among patient images",),
)
def marked_as_forgery(table: HeaderTable) -> Iterator[Hit]:
    """DerivationDescription or an item of ContributingEquipmentSequence holds the forger's mark."""
    texts, contributed = table.texts("DerivationDescription"), set(table.any_has("ContributingEquipmentSequence"))
    rows = [i for i, text in enumerate(texts) if _says_forgery(text) or (i in contributed and _marking_items(table, i))]
    if rows:
        tags = [table.tag("ImageType", table.texts("ImageType")[rows[0]] or "")]
        if _says_forgery(texts[rows[0]]):
            tags.append(table.tag("DerivationDescription", FORGERY_MARK))
        tags += [table.tag("ContributingEquipmentSequence", maker) for maker in _marking_items(table, rows[0])]
        is_control = all(FORGERY_CONTROL in (texts[row] or "") for row in rows)
        says = ", by its own words a control in which nothing was painted" if is_control else ""
        yield Hit(tuple(tags), table.slices(rows), f"{len(rows)} of {len(table)} slices{says}")


def _says_forgery(text: str | None) -> bool:
    return FORGERY_MARK in (text or "").casefold()


def _marking_items(table: HeaderTable, row: int) -> list[str]:
    """Manufacturers of contributing equipment that names its contribution a forgery."""
    items = table.items(row, "ContributingEquipmentSequence")
    marking = (item for item in items if _says_forgery(table.text_in(item, "ContributionDescription")))
    return [table.text_in(item, "Manufacturer") or "unnamed" for item in marking]


def _groups(table: HeaderTable, first: int, last: int) -> list[int]:
    """Even groups between two numbers that any header holds."""
    return sorted({tag.group for tag in table.all_tags if first <= tag.group <= last and not tag.group % 2})


def _rows_of_group(table: HeaderTable, groups: list[int]) -> list[int]:
    wanted = set(groups)
    return [i for i, tags in enumerate(table.tag_sets) if any(tag.group in wanted for tag in tags)]


@rule(
    "overlay",
    "An overlay is laid over the images",
    Confidence.NOTABLE,
    why="Graphics in groups 6000 to 60FF are drawn over the pixels by viewers (PS3.3 C.9.2): they can hide or point "
    "at anything. verict judges the pixels beneath and does not draw them.",
    benign=("annotations by the scanner or a reader",),
)
def overlay(table: HeaderTable) -> Iterator[Hit]:
    """Any even group 6000 to 60FF."""
    groups = _groups(table, 0x6000, 0x60FF)
    if groups:
        rows = _rows_of_group(table, groups)
        tags = tuple(TagValue(f"({g:04X},3000)", "OverlayData", "present", "absent") for g in groups[:4])
        yield Hit(tags, table.slices(rows), f"{len(rows)} of {len(table)} slices")


@rule(
    "curve",
    "Curve data are attached to the images",
    Confidence.NOTABLE,
    why="Groups 5000 to 50FF were retired in 2004; viewers that know them draw them over the image.",
    benign=("old workstations",),
)
def curve(table: HeaderTable) -> Iterator[Hit]:
    """Any even group 5000 to 50FF."""
    groups = _groups(table, 0x5000, 0x50FF)
    if groups:
        tags = tuple(TagValue(f"({g:04X},3000)", "CurveData", "present", "absent") for g in groups[:4])
        yield Hit(tags, table.slices(_rows_of_group(table, groups)))


@rule(
    "lookup_table",
    "A lookup table changes how the stored values are shown",
    Confidence.NOTABLE,
    why="CT values follow from slope and intercept alone (PS3.3 C.8.2.1). A table in the object lets a viewer show "
    "something else than is stored.",
    benign=("presentation settings saved into the images by a workstation",),
)
def lookup_table(table: HeaderTable) -> Iterator[Hit]:
    """ModalityLUTSequence, VOILUTSequence or PresentationLUTSequence present."""
    for keyword in ("ModalityLUTSequence", "VOILUTSequence", "PresentationLUTSequence"):
        rows = table.any_has(keyword)
        if rows:
            yield Hit((table.tag(keyword, "present", "absent"),), table.slices(rows), keyword)


@rule(
    "burned_in_annotation",
    "Text or marks are burned into the pixels",
    Confidence.NOTABLE,
    why="BurnedInAnnotation YES says that the pixels were written into after reconstruction.",
    benign=("secondary captures and dose screens",),
)
def burned_in_annotation(table: HeaderTable) -> Iterator[Hit]:
    """BurnedInAnnotation is YES."""
    rows = [i for i, text in enumerate(table.texts("BurnedInAnnotation")) if (text or "").upper() == "YES"]
    if rows:
        yield Hit((table.tag("BurnedInAnnotation", "YES", "NO"),), table.slices(rows))


@rule(
    "derived",
    "The images say that they were derived from others",
    Confidence.NOTABLE,
    why="DERIVED, a derivation description or source images mean that the pixels are not as the scanner made them.",
    benign=("reformats, averaging, metal artefact reduction", "recompression noted by the archive"),
)
def derived(table: HeaderTable) -> Iterator[Hit]:
    """ImageType DERIVED, DerivationDescription or SourceImageSequence."""
    kinds = table.texts("ImageType")
    rows = [i for i, text in enumerate(kinds) if (text or "").upper().startswith("DERIVED")]
    tags = [table.tag("ImageType", kinds[rows[0]] or "", "ORIGINAL")] if rows else []
    for keyword in ("DerivationDescription", "SourceImageSequence", "DerivationCodeSequence"):
        having = table.any_has(keyword)
        if having:
            rows = sorted({*rows, *having})
            words = table.texts(keyword)[having[0]] if keyword == "DerivationDescription" else "present"
            tags.append(table.tag(keyword, words, "absent"))
    if tags:
        yield Hit(tuple(tags), table.slices(rows))


@rule(
    "other_equipment",
    "Other equipment had a hand in the images",
    Confidence.NOTABLE,
    why="ContributingEquipmentSequence (PS3.3 C.12.1.1.5) and secondary capture attributes name the programs an object "
    "went through after the scanner.",
    benign=("de-identification and routing software that names itself, as it should",),
)
def other_equipment(table: HeaderTable) -> Iterator[Hit]:
    """ContributingEquipmentSequence or a secondary capture device is named."""
    rows = table.any_has("ContributingEquipmentSequence")
    if rows:
        makers = {table.text_in(item, "Manufacturer") for item in table.items(rows[0], "ContributingEquipmentSequence")}
        found = ", ".join(sorted(makers - {""})) or "present"
        yield Hit((table.tag("ContributingEquipmentSequence", found, "absent"),), table.slices(rows))
    for keyword in ("SecondaryCaptureDeviceManufacturer", "SecondaryCaptureDeviceSoftwareVersions"):
        rows = table.any_has(keyword)
        if rows:
            device = table.texts(keyword)[rows[0]]
            yield Hit((table.tag(keyword, device, "absent in CT images"),), table.slices(rows))
            return


@rule(
    "lossy_compression",
    "The pixels were once compressed with loss",
    Confidence.NOTABLE,
    why="Lossy compression changes noise everywhere in the image; what the pixel detectors say rests on that noise.",
    benign=("archives and teleradiology that compress with loss",),
)
def lossy_compression(table: HeaderTable) -> Iterator[Hit]:
    """LossyImageCompression is 01."""
    rows = [i for i, text in enumerate(table.texts("LossyImageCompression")) if text == "01"]
    if rows:
        found = [table.tag("LossyImageCompression", "01", "00")]
        ratio = table.texts("LossyImageCompressionRatio")[rows[0]]
        if ratio:
            found.append(table.tag("LossyImageCompressionRatio", ratio))
        yield Hit(tuple(found), table.slices(rows))


@rule(
    "lossy_not_declared",
    "The pixels are compressed with loss, and the header does not say so",
    Confidence.UNUSUAL,
    why="Who compresses with loss must set LossyImageCompression to 01, for good (PS3.3 C.7.6.1.1.5). Programs that "
    "are not made for medical images leave that out.",
    benign=("careless conversion software",),
)
def lossy_not_declared(table: HeaderTable) -> Iterator[Hit]:
    """A transfer syntax that is always lossy without LossyImageCompression 01."""
    syntaxes, declared = table.texts("TransferSyntaxUID"), table.texts("LossyImageCompression")
    rows = [i for i, syntax in enumerate(syntaxes) if syntax in _LOSSY_SYNTAXES and declared[i] != "01"]
    if rows:
        tags = (
            table.tag("TransferSyntaxUID", _LOSSY_SYNTAXES[syntaxes[rows[0]] or ""]),
            table.tag("LossyImageCompression", declared[rows[0]] or "(missing)", "01"),
        )
        yield Hit(tags, table.slices(rows))


@rule(
    "deidentified",
    "The series was de-identified",
    Confidence.NOTABLE,
    why="UIDs, dates and names were replaced: what the headers say of identity and time is the anonymiser's work, "
    "and the file no longer is bit for bit what the scanner made.",
    benign=("research and teaching collections: expected there",),
)
def deidentified(table: HeaderTable) -> Iterator[Hit]:
    """PatientIdentityRemoved YES, or modified temporal information."""
    tags = []
    if table.is_deidentified:
        tags.append(table.tag("PatientIdentityRemoved", "YES"))
    moved = table.first("LongitudinalTemporalInformationModified").upper()
    if moved in ("MODIFIED", "REMOVED"):
        tags.append(table.tag("LongitudinalTemporalInformationModified", moved))
    if tags:
        yield Hit(tuple(tags))


@rule(
    "attributes_corrected",
    "Attributes were corrected by an archive",
    Confidence.NOTABLE,
    why="OriginalAttributesSequence (PS3.3 C.12.1.1.9) keeps what an archive changed, mostly patient or order numbers.",
    benign=("patient reconciliation and coercion in a PACS: everyday work",),
)
def attributes_corrected(table: HeaderTable) -> Iterator[Hit]:
    """OriginalAttributesSequence present."""
    rows = table.any_has("OriginalAttributesSequence")
    if rows:
        yield Hit((table.tag("OriginalAttributesSequence", "present"),), table.slices(rows))


@rule(
    "signature_not_checked",
    "The images hold a digital signature, which reading headers does not check",
    Confidence.NOTABLE,
    why="A valid signature says more than any of these rules: see custody, or scan with --trust.",
    benign=("signed objects are sound practice",),
)
def signature_not_checked(table: HeaderTable) -> Iterator[Hit]:
    """DigitalSignaturesSequence present."""
    rows = table.any_has("DigitalSignaturesSequence")
    if rows:
        yield Hit((table.tag("DigitalSignaturesSequence", "present"),), table.slices(rows))


RULES: tuple[Rule, ...] = (
    marked_as_forgery,
    overlay,
    curve,
    lookup_table,
    burned_in_annotation,
    derived,
    other_equipment,
    lossy_compression,
    lossy_not_declared,
    deidentified,
    attributes_corrected,
    signature_not_checked,
)
