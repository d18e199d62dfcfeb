"""The header detector as a whole: honest series, how findings count, identity, odd headers, many frames."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from header_series import CT, honest_series
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset

from verict.ct.volume import CTVolume
from verict.detect.evidence import Confidence, Evidence, Finding
from verict.detect.header import HeaderDetector, examine_across, fingerprint, order_findings
from verict.detect.header_rules import RULES
from verict.detect.header_rules.table import HeaderTable, tag_of
from verict.detect.registry import create

IDENTITY = {
    "PatientName": "Doubtfire^Euphegenia",
    "PatientID": "PATIENT-4711",
    "PatientBirthDate": "19500307",
    "OtherPatientIDs": "SECOND-0815",
}


def examine(volume: CTVolume) -> Evidence:
    return HeaderDetector().examine(volume, None)


def test_an_honest_series_gives_no_finding() -> None:
    assert examine(honest_series().volume()).findings == ()


@pytest.mark.parametrize("slices", [1, 2, 3, 40])
def test_series_of_any_length_are_examined(slices: int) -> None:
    assert examine(honest_series(slices).volume()).findings == ()


def test_the_registry_creates_the_detector() -> None:
    detector = create("header")
    assert (detector.name, detector.needs.headers, detector.needs.lungs) == ("header", True, False)


def test_a_volume_without_headers_is_noted_and_not_judged() -> None:
    evidence = examine(honest_series().volume().without_headers())
    assert evidence.findings == ()
    assert [note.code for note in evidence.notes] == ["headers_missing"]


def test_the_surest_findings_come_first() -> None:
    given_order = [Finding(str(i), "", "", c) for i, c in enumerate(Confidence)]
    assert [f.confidence for f in order_findings(given_order)] == list(reversed(list(Confidence)))


def test_no_patient_value_is_ever_shown() -> None:
    series = honest_series(patient=IDENTITY["PatientID"])
    for keyword, value in IDENTITY.items():
        series.set(keyword, value)
    series.set("PatientID", "OTHER-0042", (1,))
    series.set("PatientName", "Hillard^Daniel", (1,))
    series.set("PatientBirthDate", "20300101", (2,))
    series.set("PatientAge", "011Y", (3,))
    series.set("DerivationDescription", "synthetic forgery of Euphegenia, PATIENT-4711")
    series.set("SoftwareVersions", "for OTHER-0042 and SECOND-0815", (4,))
    series.set("StationName", "Hillard", (5,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of the broken date
        series.set("StudyDate", "1950030", (6,))
    findings = examine(series.volume()).findings
    codes = {f.code for f in findings}
    assert {"mixed_patient", "born_after_study", "age_disagrees", "marked_as_forgery", "mixed_station"} <= codes
    shown = repr(findings).casefold() + repr(fingerprint(series.volume())).casefold()
    for secret in ("euphegenia", "doubtfire", "hillard", "daniel", "patient-4711", "other-0042", "0815", "19500307"):
        assert secret not in shown, secret
    assert "20300101" not in shown
    assert "011y" not in shown


def test_raw_and_converted_headers_give_the_same_findings() -> None:
    series = honest_series()
    series.set("SliceThickness", "3.5", (4,))
    series.set("KVP", "900")
    series.set("PatientComments", "\u00e4rztlich")
    series.set("SpecificCharacterSet", "ISO_IR 100")
    series.set("InstitutionName", "Universit\u00e4t")
    raw = []
    for header in series.headers:
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, header, enforce_file_format=True)
        buffer.seek(0)
        raw.append(pydicom.dcmread(buffer))
    converted = examine(series.volume()).findings
    assert {f.code for f in converted} == {"mixed_settings", "value_impossible"}
    assert examine(replace(series.volume(), headers=tuple(raw))).findings == converted


def test_frames_of_one_file_are_one_object() -> None:
    series = honest_series(8)
    shared = series.headers[0]
    for keyword in ("ImagePositionPatient", "SliceLocation", "SmallestImagePixelValue", "LargestImagePixelValue"):
        delattr(shared, keyword)
    shared.file_meta.MediaStorageSOPClassUID = shared.SOPClassUID = f"{CT}.1"
    shared.NumberOfFrames = 8
    volume = series.volume()
    volume = replace(volume, headers=(shared,) * 8, sop_instance_uids=(str(shared.SOPInstanceUID),) * 8)
    assert examine(volume).findings == ()


def test_an_empty_header_gives_findings_and_no_error() -> None:
    series = honest_series(3)
    volume = replace(series.volume(), headers=(Dataset(), Dataset(), Dataset()))
    assert {f.code for f in examine(volume).findings} == {"invalid_uid"}
    assert fingerprint(volume).patient is None


def test_fewer_headers_than_slices_are_taken_as_far_as_they_go() -> None:
    volume = honest_series(6).volume()
    assert examine(replace(volume, headers=volume.headers[:4])).findings == ()


ODD_VALUES = st.one_of(
    st.sampled_from([b"", b" ", b"\\", b"\\\\", b"nan", b"inf", b"-1e999", b"1,5", b"0", b"-1", b"1\\2", b"1_0"]),
    st.sampled_from([b"\xff\xfe", b"\xe4\xf6", b"\0\0\0", b"9" * 400, b"20001345", b"99999999", b"999Y", b"2561"]),
    st.binary(max_size=40),
)


class RecordingTable(HeaderTable):
    """Remembers what the rules ask for."""

    asked: set[str]

    def texts(self, keyword: str) -> tuple[str | None, ...]:
        self.__dict__.setdefault("asked", set()).add(keyword)
        return super().texts(keyword)


def keywords_read_by_rules() -> list[str]:
    table = RecordingTable(honest_series(6).volume())
    for rule in RULES:
        rule.findings(table)
    return sorted(keyword for keyword in table.asked if tag_of(keyword).group != 2)


READ_BY_RULES = keywords_read_by_rules()
ODD_HEADERS = st.lists(  # keyword, VR index, value, little endian: as a reader gives a header, its VR sometimes wrong
    st.tuples(st.sampled_from(READ_BY_RULES), st.integers(0, 9), st.one_of(ODD_VALUES, st.none()), st.booleans()),
    unique_by=lambda element: element[0],
    max_size=30,
)


def put_odd_values(header: Dataset, elements: list[tuple[str, int, bytes | None, bool]]) -> None:
    for keyword, which, value, little in elements:
        tag = tag_of(keyword)
        vr = dict(enumerate([None, "UN", "LO", "US", "FD", "SQ"])).get(which, dictionary_VR(tag).split()[0])
        header[tag] = RawDataElement(tag, vr, len(value or b""), value, 0, False, little)


@settings(max_examples=60)
@given(st.lists(ODD_HEADERS, min_size=3, max_size=7), ODD_HEADERS, st.booleans())
def test_no_header_makes_a_rule_raise(described: list, everywhere: list, bare: bool) -> None:
    series = honest_series(len(described))
    if bare:
        series.headers = [Dataset() for _ in described]
    for header, elements in zip(series.headers, described, strict=True):
        put_odd_values(header, elements[:10])
        put_odd_values(header, everywhere)
        if len(elements) % 3 == 0:
            header.file_meta = FileMetaDataset()
    volume = replace(honest_series(len(described)).volume(), headers=tuple(series.headers))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evidence = examine(volume)
        print_of_volume = fingerprint(volume)
    assert all(isinstance(finding, Finding) for finding in evidence.findings)
    assert isinstance(hash(print_of_volume), int)
    examine_across([print_of_volume, fingerprint(honest_series().volume())])


@pytest.mark.parametrize("value", [None, b"\x01\x02", ["a", "b"], "not a number", 7])
@pytest.mark.parametrize("keyword", ["ImageType", "PatientID", "StationName", "SOPInstanceUID"])
def test_values_of_the_wrong_kind_are_survived(keyword: str, value: object) -> None:
    series = honest_series(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns when such values are set
        for header in series.headers:
            header.add_new(keyword, "LO", value)
        assert isinstance(examine(series.volume()), Evidence)


def test_numbers_are_read_under_every_encoding() -> None:
    tag = tag_of("PixelPaddingValue")
    signed = Dataset({tag: RawDataElement(tag, None, 2, b"\x30\xf8", 0, True, True)})
    signed.PixelRepresentation = 1
    big = Dataset({tag: RawDataElement(tag, "SS", 2, b"\xf8\x30", 0, False, False)})
    unsigned = Dataset({tag: RawDataElement(tag, "US", 2, b"\x30\xf8", 0, False, True)})
    volume = replace(honest_series(3).volume(), headers=(signed, big, unsigned))
    assert HeaderTable(volume).number("PixelPaddingValue") == (-2000.0, -2000.0, 63536.0)


def test_rules_are_well_formed() -> None:
    codes = [rule.code for rule in RULES]
    assert len(set(codes)) == len(codes)
    for rule in RULES:
        assert rule.confidences and rule.benign and rule.why.endswith("."), rule.code
        assert bool(rule.degrees) == (len(rule.confidences) > 1), rule.code
        assert rule.check.__doc__, rule.code


def test_slices_are_named_where_a_finding_holds_for_some() -> None:
    series = honest_series(20)
    series.set("ImplementationVersionName", "EDITOR_2", (7, 8, 9))
    (finding,) = examine(series.volume()).findings
    assert finding.slices == (7, 8, 9)
    assert (finding.tags[0].found, finding.tags[0].expected) == ("EDITOR_2", "SCANNER_1")


def test_pixels_are_not_changed() -> None:
    series = honest_series()
    before = series.hu.copy()
    examine(series.volume())
    assert np.array_equal(series.hu, before)
