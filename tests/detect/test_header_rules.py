"""Each header rule on a series that breaks it, and on the honest neighbour that looks much like it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from header_series import ROOT, Series, honest_series
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from verict.ct.volume import Note
from verict.detect.evidence import Confidence
from verict.detect.header import HeaderDetector
from verict.detect.header_rules import RULES

NOTABLE, UNUSUAL, CONTRADICTION = Confidence.NOTABLE, Confidence.UNUSUAL, Confidence.CONTRADICTION
Change = Callable[[Series], object]
FEW = (3,)


@dataclass(frozen=True)
class Case:
    """A change that a rule must find with a confidence, and one it must let pass."""

    code: str
    confidence: Confidence
    broken: Change
    honest: Change
    slices: tuple[int, ...] | None = None
    count: int = 10


def change(keyword: str, value: object, slices: tuple[int, ...] | None = None) -> Change:
    return lambda s: s.set(keyword, value, slices)


def both(*changes: Change) -> Change:
    return lambda s: [each(s) for each in changes]


def each(keyword: str, value_of: Callable[[int], object]) -> Change:
    return lambda s: s.each(keyword, value_of)


def nothing(s: Series) -> None:
    """The honest series as it is."""


def copy_attribute(source: str, target: str) -> Change:
    return lambda s: [s.set(target, str(h[source].value), (z,)) for z, h in enumerate(s.headers)]


def item(**values: object) -> Sequence:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return Sequence([dataset])


def renumber_uids(s: Series) -> None:
    """What de-identification does: new UIDs everywhere, each file consistent."""
    for z, header in enumerate(s.headers):
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"1.3.6.1.4.1.14519.5.2.1.9.{z + 1}"
        header.PatientIdentityRemoved = "YES"


def rename_data_set_only(s: Series, *, declared: bool) -> None:
    for z, header in enumerate(s.headers):
        header.SOPInstanceUID = f"1.3.6.1.4.1.14519.5.2.1.9.{z + 1}"
        if declared:
            header.PatientIdentityRemoved = "YES"


def scale_pixels(factor: int) -> Change:
    def apply(s: Series) -> None:
        s.hu = ((s.hu // factor) * factor).astype(np.int16)
        for header in s.headers:
            del header.SmallestImagePixelValue, header.LargestImagePixelValue

    return apply


def brighten(*slices: int, by: int) -> Change:
    def apply(s: Series) -> None:
        for z in slices:
            y, x = np.unravel_index(s.hu[z].argmax(), s.hu[z].shape)
            s.hu[z, y, x] += by

    return apply


def repeat_slice(s: Series) -> None:
    s.hu[6] = s.hu[2]
    s.drop("SmallestImagePixelValue")
    s.drop("LargestImagePixelValue")


def store_hu(lowest: int | None = None, padding: int | None = None) -> Change:
    def apply(s: Series) -> None:
        s.set("RescaleIntercept", "0")
        s.set("PixelRepresentation", 1)
        s.set("BitsStored", 16)
        s.set("HighBit", 15)
        s.drop("SmallestImagePixelValue")
        s.drop("LargestImagePixelValue")
        if lowest is not None:
            s.hu[:, 0, 0] = lowest
        if padding is not None:
            for header in s.headers:
                header.add_new("PixelPaddingValue", "SS", padding)

    return apply


def shift_positions(offset_of: Callable[[int], float]) -> Change:
    return each("ImagePositionPatient", lambda z: ["-192", "-310", f"{-403.5 + 2.5 * z + offset_of(z):g}"])


def resave_without_software(s: Series) -> None:
    s.drop("SoftwareVersions", FEW)
    s.headers[3].add_new(0x00080000, "UL", 100)


def clear_upper_bits(s: Series) -> None:
    s.notes.append(Note("bits_above_stored", "bits outside BitsStored were set in 1 slices and cleared"))


def note_gap(s: Series) -> None:
    s.notes.append(Note("gap", "a gap"))


def add_overlay(s: Series) -> None:
    s.headers[2].add_new(0x60003000, "OW", b"\1\0")


def malform_uid(s: Series) -> None:
    for header in s.headers:
        header.add_new("SeriesInstanceUID", "LO", "1.2.840.0113619.2")  # pydicom refuses it as a UID


def add_private(s: Series) -> None:
    for header in s.headers:
        header.add_new(0x00090010, "LO", "MAKER")


def overlong(s: Series) -> None:
    for header in s.headers:
        header["SliceThickness"].value = "2.5"
        header.add_new("SliceLocation", "LO", "2.5000000000000001")  # pydicom refuses to make such a decimal string


CASES = (
    Case("meta_instance_uid_mismatch", CONTRADICTION, lambda s: rename_data_set_only(s, declared=False), renumber_uids),
    Case("meta_instance_uid_mismatch", UNUSUAL, lambda s: rename_data_set_only(s, declared=True), renumber_uids),
    Case("meta_uid_reused", CONTRADICTION, change("MediaStorageSOPInstanceUID", f"{ROOT}.1"), renumber_uids),
    Case(
        "meta_class_mismatch",
        CONTRADICTION,
        change("MediaStorageSOPClassUID", "1.2.840.10008.5.1.4.1.1.7", FEW),
        nothing,
        slices=FEW,
    ),
    Case(
        "class_not_ct",
        UNUSUAL,
        change("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7"),
        change("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2.2"),
    ),
    Case("duplicate_instance_uid", CONTRADICTION, change("SOPInstanceUID", f"{ROOT}.7.3.1", (0, 3)), nothing, (0, 3)),
    Case("invalid_uid", UNUSUAL, malform_uid, change("SeriesInstanceUID", "2.25.9")),
    Case("invalid_uid", UNUSUAL, lambda s: s.drop("StudyInstanceUID"), lambda s: s.drop("FrameOfReferenceUID")),
    Case(
        "mixed_uid_issuers",
        UNUSUAL,
        change("SOPInstanceUID", "1.2.826.0.1.3680043.8.498.77", FEW),
        change("SOPInstanceUID", "1.2.840.113619.99.1", FEW),
        slices=FEW,
    ),
    Case("frame_of_reference_varies", UNUSUAL, change("FrameOfReferenceUID", f"{ROOT}.8", FEW), nothing, FEW),
    Case("frame_of_reference_varies", NOTABLE, each("FrameOfReferenceUID", lambda z: f"{ROOT}.{z + 9}"), renumber_uids),
    Case(
        "original_but_secondary",
        NOTABLE,
        change("ImageType", ["ORIGINAL", "SECONDARY", "AXIAL"]),
        change("ImageType", ["DERIVED", "SECONDARY", "AXIAL"]),
    ),
    Case(
        "mixed_writer",
        UNUSUAL,
        change("ImplementationVersionName", "PYDICOM 3.0.1", FEW),
        change("ImplementationVersionName", "OFFIS_DCMTK_367"),
        slices=FEW,
    ),
    Case(
        "mixed_transfer_syntax",
        UNUSUAL,
        change("TransferSyntaxUID", "1.2.840.10008.1.2.4.80", FEW),
        change("TransferSyntaxUID", "1.2.840.10008.1.2.4.80"),
        slices=FEW,
    ),
    Case("mixed_equipment", CONTRADICTION, change("DeviceSerialNumber", "99999", FEW), nothing, slices=FEW),
    Case("mixed_equipment", CONTRADICTION, change("Manufacturer", "GE", FEW), change("Manufacturer", "Siemens", FEW)),
    Case(
        "mixed_station", UNUSUAL, change("StationName", "WORKSTATION", FEW), change("StationName", "ANON"), slices=FEW
    ),
    Case("mixed_series", CONTRADICTION, change("StudyInstanceUID", f"{ROOT}.99", FEW), renumber_uids, slices=FEW),
    Case("mixed_patient", UNUSUAL, change("PatientID", "SOMEBODY-ELSE", FEW), change("PatientID", "ANON"), slices=FEW),
    Case(
        "mixed_patient",
        NOTABLE,
        both(
            change("PatientID", "CORRECTED-1", FEW),
            change("OriginalAttributesSequence", item(ReasonForTheAttributeModification="COERCE"), FEW),
        ),
        change("OriginalAttributesSequence", item(ReasonForTheAttributeModification="COERCE")),
    ),
    Case(
        "mixed_settings",
        UNUSUAL,
        change("ConvolutionKernel", "B70f", FEW),
        change("SliceThickness", "2.50", FEW),
        slices=FEW,
    ),
    Case(
        "mixed_settings",
        NOTABLE,
        change("KVP", "140", (0, 2, 4, 6, 8)),
        each("XRayTubeCurrent", lambda z: str(200 + z)),
    ),
    Case(
        "mixed_image_type",
        UNUSUAL,
        change("ImageType", ["DERIVED", "PRIMARY", "AXIAL"], FEW),
        change("ImageType", ["ORIGINAL", "PRIMARY", "AXIAL", "HELIX"], FEW),
        slices=FEW,
    ),
    Case("mixed_attributes", UNUSUAL, resave_without_software, add_private, slices=FEW),
    Case("mixed_attributes", NOTABLE, lambda s: s.drop("SoftwareVersions", (0, 2, 4, 6)), add_private),
    Case(
        "mixed_number_format",
        UNUSUAL,
        change("SliceThickness", "2.500000", FEW),
        change("SliceThickness", "2.500000"),
        FEW,
    ),
    Case(
        "orientation_not_orthogonal",
        CONTRADICTION,
        change("ImageOrientationPatient", ["1", "0.2", "0", "0", "1", "0"]),
        change("ImageOrientationPatient", ["0.9999", "0.0087", "0", "-0.0087", "0.9999", "0"]),
    ),
    Case(
        "slice_location_steps",
        UNUSUAL,
        each("SliceLocation", lambda z: f"{100 + 5 * z}"),
        each("SliceLocation", lambda z: f"{-1000 + 2.5 * z:g}"),
    ),
    Case("slice_location_is_counter", UNUSUAL, copy_attribute("InstanceNumber", "SliceLocation"), nothing),
    Case(
        "slice_location_is_counter",
        NOTABLE,
        copy_attribute("InstanceNumber", "SliceLocation"),
        change("SliceLocation", "-403.5"),
        count=1,
    ),
    Case(
        "position_is_counter",
        UNUSUAL,
        each("ImagePositionPatient", lambda z: ["-192", "-310", f"{2.5 * (10 - z):g}"]),
        each("ImagePositionPatient", lambda z: ["-192", "-310", f"{2.5 * (10 - z) + 0.7:g}"]),
    ),
    Case(
        "position_is_counter",
        NOTABLE,
        change("ImagePositionPatient", ["-192", "-310", "2.5"]),
        change("ImagePositionPatient", ["-192", "-310", "2.7"]),
        count=1,
    ),
    Case("spacing_disagrees", UNUSUAL, change("SpacingBetweenSlices", "2"), change("SpacingBetweenSlices", "2.52")),
    Case(
        "spacing_disagrees", NOTABLE, change("SpacingBetweenSlices", "1.25"), lambda s: s.drop("SpacingBetweenSlices")
    ),
    Case("slices_apart", NOTABLE, change("SliceThickness", "1"), change("SliceThickness", "5")),
    Case(
        "field_of_view_disagrees",
        UNUSUAL,
        change("ReconstructionDiameter", "349"),
        change("ReconstructionDiameter", "386"),
    ),
    Case(
        "field_of_view_disagrees",
        NOTABLE,
        both(change("ReconstructionDiameter", "349"), change("ImageType", ["DERIVED", "SECONDARY"])),
        lambda s: s.drop("ReconstructionDiameter"),
    ),
    Case(
        "reconstruction_exceeds_collection",
        UNUSUAL,
        change("DataCollectionDiameter", "350"),
        change("DataCollectionDiameter", "383.916"),
    ),
    Case(
        "pixels_not_square",
        UNUSUAL,
        change("PixelSpacing", ["0.75", "0.70"]),
        change("PixelSpacing", ["0.75", "0.7501"]),
    ),
    Case(
        "posture_disagrees",
        NOTABLE,
        change("PatientPosition", "HFP"),
        both(change("PatientPosition", "FFP"), change("ImageOrientationPatient", ["-1", "0", "0", "0", "-1", "0"])),
    ),
    Case("tilt_disagrees", NOTABLE, change("GantryDetectorTilt", "15"), change("GantryDetectorTilt", "0.5")),
    Case("instance_number_repeated", UNUSUAL, change("InstanceNumber", 9, (1, 2)), nothing, slices=(1, 2)),
    Case("instance_number_repeated", NOTABLE, change("InstanceNumber", 1), nothing),
    Case(
        "instance_number_missing",
        NOTABLE,
        each("InstanceNumber", lambda z: 10 - z if z > 4 else 20 - z),
        each("InstanceNumber", lambda z: 3 + 2 * z),
    ),
    Case(
        "instance_number_order",
        UNUSUAL,
        both(change("InstanceNumber", 7, (2,)), change("InstanceNumber", 8, (3,))),
        each("InstanceNumber", lambda z: z + 1),
    ),
    Case("instance_number_order", NOTABLE, each("InstanceNumber", lambda z: z // 2 + 5 * (z % 2)), nothing),
    Case(
        "counted_across_gap",
        UNUSUAL,
        shift_positions(lambda z: 10.0 if z >= 6 else 0.0),
        both(
            shift_positions(lambda z: 10.0 if z >= 6 else 0.0),
            each("InstanceNumber", lambda z: 14 - z - (4 if z >= 6 else 0)),
        ),
        slices=(6,),
    ),
    Case("value_impossible", CONTRADICTION, change("KVP", "-120"), change("KVP", "0")),
    Case("value_unusual", UNUSUAL, change("KVP", "200"), change("KVP", "70")),
    Case(
        "value_malformed",
        UNUSUAL,
        lambda s: [h.add_new("TableHeight", "SH", "155,5") for h in s.headers],
        change("TableHeight", "+1.555E+02"),
    ),
    Case("value_malformed", UNUSUAL, change("KVP", ["120", "120"], FEW), change("KVP", ""), slices=FEW),
    Case("number_too_long", UNUSUAL, overlong, each("SliceLocation", lambda z: f"{403.5 - 2.5 * z:.12f}")),
    Case("pitch_disagrees", UNUSUAL, change("SpiralPitchFactor", 0.9), change("SpiralPitchFactor", 1.19)),
    Case("pitch_disagrees", UNUSUAL, change("TableSpeed", 30.0), change("TableSpeed", 46.1)),
    Case(
        "exposure_disagrees",
        NOTABLE,
        change("Exposure", "10"),
        both(change("Exposure", "10"), change("Manufacturer", "GE MEDICAL SYSTEMS")),
    ),
    Case(
        "twin_units_disagree", UNUSUAL, change("XRayTubeCurrentInuA", 90000.0), change("XRayTubeCurrentInuA", 200400.0)
    ),
    Case(
        "source_beyond_detector",
        CONTRADICTION,
        change("DistanceSourceToPatient", "1100"),
        change("DistanceSourceToPatient", "0"),
    ),
    Case("declared_range_disagrees", CONTRADICTION, brighten(3, by=500), nothing, slices=FEW),
    Case("declared_range_disagrees", UNUSUAL, brighten(3, by=-300), brighten(3, by=1), slices=FEW),
    Case(
        "declared_range_disagrees",
        NOTABLE,
        change("LargestImagePixelValue", 255),
        change("LargestImagePixelValue", 4095),
    ),
    Case("bits_disagree", UNUSUAL, change("HighBit", 15), both(change("BitsStored", 16), change("HighBit", 15))),
    Case("beyond_bits_stored", UNUSUAL, clear_upper_bits, note_gap),
    Case("hu_written_back", UNUSUAL, store_hu(-3024, -2000), store_hu(-2000, -2000)),
    Case("hu_stored_directly", NOTABLE, store_hu(), both(store_hu(), change("ImageType", ["DERIVED", "PRIMARY"]))),
    Case("coarse_steps", UNUSUAL, scale_pixels(4), scale_pixels(1)),
    Case("pixels_repeated", CONTRADICTION, repeat_slice, lambda s: s.hu.fill(-1000), slices=(2, 6)),
    Case(
        "pixels_repeated",
        UNUSUAL,
        both(repeat_slice, change("ImageType", ["DERIVED", "PRIMARY"])),
        lambda s: s.hu.fill(-1000),
    ),
    Case("dates_out_of_order", UNUSUAL, change("AcquisitionDate", "20190509"), change("AcquisitionDate", "20190511")),
    Case(
        "dates_out_of_order",
        NOTABLE,
        both(change("AcquisitionDate", "20180509"), change("PatientIdentityRemoved", "YES")),
        both(
            *(change(f"{k}Date", "20000101") for k in ("Study", "Series", "Acquisition", "Content", "InstanceCreation"))
        ),
    ),
    Case("content_before_acquisition", NOTABLE, change("ContentTime", "100000"), change("ContentTime", "101640")),
    Case("born_after_study", UNUSUAL, change("PatientBirthDate", "20200101"), change("PatientBirthDate", "20190512")),
    Case(
        "born_after_study",
        NOTABLE,
        both(change("PatientBirthDate", "20200101"), change("PatientIdentityRemoved", "YES")),
        change("PatientBirthDate", ""),
    ),
    Case("age_disagrees", UNUSUAL, change("PatientAge", "041Y"), change("PatientAge", "068Y")),
    Case(
        "age_disagrees",
        NOTABLE,
        both(change("PatientAge", "041Y"), change("LongitudinalTemporalInformationModified", "MODIFIED")),
        change("PatientAge", "011M"),
    ),
    Case("date_before_ct", UNUSUAL, change("StudyDate", "19600329"), change("StudyDate", "19720101")),
    Case(
        "date_before_ct",
        NOTABLE,
        both(change("StudyDate", "19600329"), change("PatientIdentityRemoved", "YES")),
        change("StudyDate", ""),
    ),
    Case(
        "date_malformed",
        UNUSUAL,
        lambda s: [h.add_new("ContentDate", "LO", "20190231") for h in s.headers],
        lambda s: [h.add_new("ContentDate", "LO", "2019.05.12") for h in s.headers],
    ),
    Case("made_later_than_the_rest", UNUSUAL, change("InstanceCreationTime", "1430", FEW), nothing, slices=FEW),
    Case(
        "marked_as_forgery",
        CONTRADICTION,
        change("DerivationDescription", "synthetic forgery by verict: a repainted cube"),
        change("DerivationDescription", "simulated by verict, no patient was scanned"),
    ),
    Case(
        "marked_as_forgery",
        CONTRADICTION,
        change(
            "ContributingEquipmentSequence",
            item(Manufacturer="verict", ContributionDescription="synthetic forgery by verict"),
        ),
        change("ContributingEquipmentSequence", item(Manufacturer="verict", ContributionDescription="phantom")),
    ),
    Case("overlay", NOTABLE, add_overlay, add_private, slices=(2,)),
    Case("curve", NOTABLE, lambda s: s.headers[2].add_new(0x50003000, "OW", b"\1\0"), add_private, slices=(2,)),
    Case("lookup_table", NOTABLE, change("VOILUTSequence", item(LUTExplanation="bone")), change("WindowCenter", "40")),
    Case("burned_in_annotation", NOTABLE, change("BurnedInAnnotation", "YES"), change("BurnedInAnnotation", "NO")),
    Case("derived", NOTABLE, change("ImageType", ["DERIVED", "PRIMARY"]), change("DerivationDescription", "")),
    Case(
        "other_equipment",
        NOTABLE,
        change("ContributingEquipmentSequence", item(Manufacturer="Router Inc.")),
        change("ContributingEquipmentSequence", Sequence([])),
    ),
    Case("lossy_compression", NOTABLE, change("LossyImageCompression", "01"), change("LossyImageCompression", "00")),
    Case(
        "lossy_not_declared",
        UNUSUAL,
        change("TransferSyntaxUID", "1.2.840.10008.1.2.4.51"),
        both(change("TransferSyntaxUID", "1.2.840.10008.1.2.4.51"), change("LossyImageCompression", "01")),
    ),
    Case("deidentified", NOTABLE, renumber_uids, change("PatientIdentityRemoved", "NO")),
    Case(
        "attributes_corrected",
        NOTABLE,
        change("OriginalAttributesSequence", item(ReasonForTheAttributeModification="COERCE")),
        nothing,
    ),
    Case("signature_not_checked", NOTABLE, change("DigitalSignaturesSequence", item(MACIDNumber=1)), nothing),
)


def run(case: Case, apply: Change) -> list:
    series = honest_series(case.count)
    apply(series)
    return [f for f in HeaderDetector().examine(series.volume(), None).findings if f.code == case.code]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}-{case.confidence}")
def test_a_rule_finds_what_breaks_it(case: Case) -> None:
    findings = run(case, case.broken)
    assert findings, "nothing was found"
    assert findings[0].confidence is case.confidence
    assert findings[0].tags
    if case.slices is not None:
        assert findings[0].slices == case.slices


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}-{case.confidence}")
def test_a_rule_lets_its_honest_neighbour_pass(case: Case) -> None:
    assert run(case, case.honest) == []


def test_every_rule_and_every_degree_of_it_has_a_case() -> None:
    known = {(rule.code, confidence) for rule in RULES for confidence in rule.confidences}
    assert known - {(case.code, case.confidence) for case in CASES} == {("duplicate_instance_uid", NOTABLE)}


def test_one_file_stored_twice_is_notable() -> None:
    series = honest_series(6)
    series.headers[3] = series.headers[2].copy()
    series.headers[3].file_meta = series.headers[2].file_meta
    series.hu[3] = series.hu[2]
    (finding,) = [f for f in HeaderDetector().examine(series.volume(), None).findings if "instance_uid" in f.code]
    assert (finding.code, finding.confidence, finding.slices) == ("duplicate_instance_uid", NOTABLE, (2, 3))


@pytest.mark.parametrize(
    "apply",
    [
        renumber_uids,
        change("TransferSyntaxUID", "1.2.840.10008.1.2.4.80"),
        both(
            change("ImplementationClassUID", "1.2.276.0.7230010.3.0.3.6.7"),
            change("ImplementationVersionName", "OFFIS_DCMTK_367"),
        ),
        both(change("PatientID", "NEW-1"), change("AccessionNumber", "77"), change("PatientName", "")),
        both(
            *(change(f"{k}Date", "20000101") for k in ("Study", "Series", "Acquisition", "Content")),
            change("PatientIdentityRemoved", "YES"),
        ),
    ],
    ids=["deidentified", "recompressed", "rewritten", "coerced", "fixed dates"],
)
def test_everyday_handling_is_notable_at_most(apply: Change) -> None:
    series = honest_series()
    apply(series)
    findings = HeaderDetector().examine(series.volume(), None).findings
    assert {f.confidence for f in findings} <= {NOTABLE}


def test_five_of_275_slices_saved_again_are_found() -> None:
    series = honest_series(275)
    saved_again = tuple(range(130, 135))
    series.set("ImplementationClassUID", "1.2.826.0.1.3680043.8.498.1", saved_again)
    series.set("TransferSyntaxUID", "1.2.840.10008.1.2", saved_again)
    series.set("PixelSpacing", ["0.750000", "0.750000"], saved_again)
    findings = HeaderDetector().examine(series.volume(), None).findings
    assert {f.code for f in findings} == {"mixed_writer", "mixed_transfer_syntax", "mixed_number_format"}
    assert all(f.slices == saved_again and f.confidence is UNUSUAL for f in findings)
