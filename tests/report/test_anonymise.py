"""Nothing of the patient, the place or the day is left in an anonymous result, in JSON, HTML or on a terminal."""

from __future__ import annotations

import io
import re

import pydicom
import pytest
from report.results import (
    MACHINE,
    PATIENT,
    SERIES_UID,
    SOP_ROOT,
    make_failure,
    make_nodule,
    make_place,
    make_reading,
    make_region,
    make_result,
    make_series,
    make_shown_series,
)
from rich.console import Console

from verict.ct.volume import Note
from verict.detect.evidence import Confidence, Finding, TagValue
from verict.detect.nodule.reading import Shown
from verict.detect.result import Failure, NotExamined, ScanResult
from verict.report.anonymise import LEFT_OUT, anonymise_result, name_study
from verict.report.html import to_html
from verict.report.json import to_json, to_text
from verict.report.table import render_studies, render_summary, summarise_study

SECRETS = {
    "PatientName": "Beispiel^Anna",
    "PatientID": "ID-44-0815",
    "PatientBirthDate": "19481103",
    "PatientSex": "F",
    "PatientAge": "057Y",
    "PatientAddress": "Hauptstrasse 1",
    "InstitutionName": "Klinikum Nord",
    "InstitutionAddress": "Am Wald 7",
    "ReferringPhysicianName": "Weiss^Otto",
    "AccessionNumber": "ACC991122",
    "StudyDate": "20051224",
    "AcquisitionDate": "20051225",
    "StudyID": "ST-77",
    "StationName": "CTROOM2",
    "DeviceSerialNumber": "SN-55-1234",
    "StudyDescription": "Thorax Beispiel",
    "SeriesDescription": "Anna nativ",
}
FOLDER = "/archive/Beispiel_Anna/2005-12-24"


def _header() -> pydicom.Dataset:
    header = pydicom.Dataset()
    for keyword, value in SECRETS.items():
        setattr(header, keyword, value)
    return header


def _telltale() -> ScanResult:
    """A result whose every text repeats what must not leave the hospital."""
    tags = tuple(TagValue("(0010,0010)", keyword, value, value) for keyword, value in SECRETS.items())
    sentence = (
        f"Beispiel^Anna, born 19481103 (057Y), ID-44-0815, accession ACC991122 at Klinikum Nord on 2005-12-24, "
        f"series {SERIES_UID}, slice {SOP_ROOT}.12, other 1.2.826.0.1.77.20051224, file {FOLDER}/003 or 007.dcm"
    )
    finding = Finding("x", sentence, sentence, Confidence.UNUSUAL, tags, (sentence,))
    series = make_series(
        reason=sentence,
        regions=(make_region(evidence=sentence),),
        findings=(finding,),
        notes=(Note("gap", sentence, (f"{SOP_ROOT}.3", "1.2.826.0.1.99")),),
        shows=make_reading(Shown.CANCER, make_nodule(where=sentence), reason=sentence),
        places=(make_place(region=0, sentence=sentence),),
        source="Beispiel_Anna/2005-12-24",
        description={**{k: SECRETS[k] for k in PATIENT}, **MACHINE, "ConvolutionKernel": "B70f Anna"},
        header=_header(),
        sop_instance_uids=tuple(f"{SOP_ROOT}.{z}" for z in range(30)),
    )
    details = {"problem": sentence, "file": f"{FOLDER}/003", "tag": "Rows (0028,0010)", "found": sentence}
    return make_result(
        series,
        source=FOLDER,
        not_examined=(NotExamined(f"{FOLDER}/scout", sentence, 1, "1.2.826.0.1.55"),),
        failures=(Failure(f"{FOLDER}/003: {sentence}", details), make_failure()),
        provenance={
            "utc": "2026-01-02T03:04:05Z", "options": {"series": SERIES_UID, "workers": 2}, "source": FOLDER,
            "inputs": [f"{FOLDER}/003", {"path": "x", "seen": sentence}], "libraries": {"numpy": "2.4.6"},
        },
    )  # fmt: skip


def _render_text(result: ScanResult) -> str:
    console = Console(file=io.StringIO(), width=100)
    shown = anonymise_result(result)
    console.print(render_summary(shown), render_studies([summarise_study(shown, name_study(result))]))
    return console.file.getvalue()


@pytest.mark.parametrize("render", [
    lambda r: to_text(r, anonymous=True), lambda r: to_html(r, anonymous=True), _render_text,
], ids=["json", "html", "text"])  # fmt: skip
def test_nothing_identifying_is_left(render) -> None:
    result = _telltale()
    text = render(result)
    secrets = {v for k, v in SECRETS.items() if k not in ("PatientSex", "PatientName")}
    secrets |= {"Beispiel", "Anna", "2005-12-24", "/archive", SERIES_UID, SOP_ROOT, "1.2.826", "007.dcm", "MUSTER"}
    assert {s for s in secrets if s in text} == set()


def test_what_is_not_identifying_stays() -> None:
    document = to_json(_telltale(), anonymous=True)
    series = document["series"][0]
    assert document["anonymous"] is True
    assert document["source"] == name_study(_telltale())
    assert series["description"]["Manufacturer"] == "GE MEDICAL SYSTEMS"
    assert series["regions"][0]["centre_mm_lps"] == [-62.4, 18.2, -241.5]
    assert series["input_sha256"] == "ab" * 32
    assert document["provenance"]["utc"] == "2026-01-02T03:04:05Z"
    assert document["provenance"]["libraries"] == {"numpy": "2.4.6"}
    assert document["provenance"]["options"] == {"series": LEFT_OUT, "workers": 2}
    assert document["failures"][1]["message"] == (
        "pixel data is truncated; tag PixelData (7FE0,0010); expected 32768 bytes"
    )


def test_uids_become_stand_ins_that_lead_back_to_the_slice() -> None:
    series = to_json(make_result(make_series()), anonymous=True)["series"][0]
    assert series["series_instance_uid"] == "series-abababababab"
    assert series["regions"][0]["sop_instance_uids"][2] == "series-abababababab/slice-0012"
    assert series["notes"][0]["sop_instance_uids"] == ["series-abababababab/slice-0010"]


def test_nodules_keep_their_place_and_lose_their_uids() -> None:
    named = to_json(make_result(make_shown_series()))["series"][0]
    series = to_json(make_result(make_shown_series()), anonymous=True)["series"][0]
    assert [n["sop_instance_uid"] for n in series["shows"]["nodules"]] == [
        "series-abababababab/slice-0020", "series-abababababab/slice-0025",
    ]  # fmt: skip
    assert series["places"] == named["places"]
    assert series["shows"]["reason"] == named["shows"]["reason"]
    assert [n["where"] for n in series["shows"]["nodules"]] == ["left lung, upper third", "right lung"]


def test_a_nodule_without_a_uid_stays_without_one() -> None:
    reading = make_reading(Shown.CANCER, make_nodule(sop_instance_uid=""))
    series = to_json(make_result(make_series(shows=reading)), anonymous=True)["series"][0]
    assert series["shows"]["nodules"][0]["sop_instance_uid"] == ""


def test_stand_ins_do_not_depend_on_uids() -> None:
    one = make_series(series_instance_uid="1.2.3.4", regions=(), pictures=())
    other = make_series(series_instance_uid="1.2.3.5", regions=(), pictures=())
    assert to_json(make_result(one), anonymous=True)["series"] == to_json(make_result(other), anonymous=True)["series"]


def test_technical_attributes_pass_and_all_others_do_not() -> None:
    tags = (
        TagValue("(0018,0050)", "SliceThickness", "2.5", "1.25"),
        TagValue("(0002,0010)", "TransferSyntaxUID", "1.2.840.10008.1.2.1"),
        TagValue("(0008,0018)", "SOPInstanceUID", "1.2.840.113619.2.55.3"),
        TagValue("(0008,0008)", "ImageType", "ORIGINAL\\PRIMARY\\AXIAL"),
        TagValue("(0009,1001)", "", "anything private"),
        TagValue("(0010,0040)", "PatientSex", "F", ""),
    )
    finding = Finding("x", "t", "w", Confidence.UNUSUAL, tags)
    shown = to_json(make_result(make_series(findings=(finding,))), anonymous=True)["series"][0]["findings"][0]["tags"]
    assert [(t["found"], t["expected"]) for t in shown] == [
        ("2.5", "1.25"), ("1.2.840.10008.1.2.1", ""), (LEFT_OUT, ""), ("ORIGINAL\\PRIMARY\\AXIAL", ""), (LEFT_OUT, ""),
        (LEFT_OUT, ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "place", ["/data/1.2.826.0.1.5/smith/x", "C:\\data\\1.2.826.0.1.5\\smith", "1.2.826.0.1.5_smith.dcm"]
)
def test_paths_that_hold_uids_go_as_a_whole(place: str) -> None:
    shown = to_text(make_result(make_series(reason=f"see {place}; done.")), anonymous=True)
    assert "smith" not in shown
    assert "1.2.826" not in shown
    assert "see (left out); done." in shown


def test_plain_sentences_keep_their_words() -> None:
    said = "4.1 times the power on 14 slices, at 0.53 mm and/or 120 kVp; score 9.1, 3 of 1200 cells, z 10-14"
    assert to_json(make_result(make_series(reason=said)), anonymous=True)["series"][0]["reason"] == said


def test_the_result_itself_is_not_changed() -> None:
    result = _telltale()
    before = to_text(result)
    anonymise_result(result)
    assert to_text(result) == before
    assert SERIES_UID in before


def test_study_name_follows_the_input_alone() -> None:
    first, second = make_series(), make_series(input_sha256="cd" * 32)
    assert re.fullmatch(r"study-[0-9a-f]{12}", name_study(make_result(first)))
    assert name_study(make_result(first, second)) == name_study(make_result(second, first, source="elsewhere"))
    assert name_study(make_result(first)) != name_study(make_result(second))
    assert name_study(make_result()) == "study"
