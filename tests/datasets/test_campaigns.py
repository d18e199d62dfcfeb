"""A campaign is told from the published set by its description, and read by its sources' own headers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datasets.uci_folders import build_collection, make_slice, scan_folder, write_slice

from verict.datasets.campaigns import CAMPAIGN_FILE, SCHEMA, ForgedRow, read_campaign
from verict.datasets.check import Code, check_collection
from verict.datasets.scans import Label, read_labelled_scans
from verict.datasets.splits import Scanner
from verict.datasets.uci import SiteType
from verict.errors import DatasetError

FORGED = {"FB,1001,3,20,30": ("ctgan", "copied", None), "FM,2001,2,31,8": ("splice", "resampled", [1, 2]),
          "FB,6031,4,10,12": ("inpaint", "none", None)}


def describe(rows: dict[str, tuple] = FORGED) -> dict:
    scans: dict[str, list] = {}
    for text, (method, touch_up, whole) in rows.items():
        _, uuid, number, x, y = text.split(",")
        row = {"slice": int(number), "x": int(x), "y": int(y), "method": method, "touch_up": touch_up}
        scans.setdefault(uuid, []).append(row | {"whole_slices": whole})
    untouched = {"slice": 4, "x": 10, "y": 12, "method": None, "touch_up": None, "whole_slices": None}
    scans.setdefault("6031", []).append(untouched)
    return {"schema": SCHEMA, "sha256": "ab" * 32, "scans": [{"uuid": u, "rows": r} for u, r in scans.items()]}


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    root = build_collection(tmp_path)
    for number in range(1, 7):  # headers of its own: another patient, another scanner
        ds = make_slice("2001", number)
        ds.PatientID, ds.Manufacturer, ds.ManufacturerModelName = "A-17", "SIEMENS", "Sensation 10"
        write_slice(scan_folder(root, "2001", experiment=2) / f"{number}.dcm", ds)
    (root / CAMPAIGN_FILE).write_text(json.dumps(describe()), encoding="utf-8")
    return root


@pytest.mark.parametrize("inside", ["", "Tampered Scans"])
def test_it_is_found_from_its_root_and_from_the_layout_folder(campaign, inside):
    found = read_campaign(campaign / inside)
    assert found is not None
    assert found.sha256 == "ab" * 32
    assert found.rows["1001", 3, 20, 30] == ForgedRow("ctgan", "copied")
    assert found.rows["2001", 2, 31, 8] == ForgedRow("splice", "resampled", (1, 2))
    assert len(found.rows) == 3, "untouched rows are not among them"
    assert found.whole_slices_of("2001") == {1, 2}
    assert found.whole_slices_of("1001") == frozenset()


def test_the_published_layout_alone_is_none(tmp_path):
    assert read_campaign(build_collection(tmp_path)) is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "cannot be read"),
        ('{"schema": "verict.scan/1"}', "not a campaign of this version"),
        ("[]", "not a campaign of this version"),
        (json.dumps({"schema": SCHEMA, "sha256": "0", "scans": [{"uuid": "1"}]}), "not whole"),
    ],
)
def test_a_description_that_cannot_be_used_is_refused(campaign, content, problem):
    (campaign / CAMPAIGN_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=problem):
        read_campaign(campaign)
    with pytest.raises(DatasetError, match=problem):
        next(read_labelled_scans(campaign, lambda *_: None))


def test_patient_and_scanner_are_the_headers_own_and_rows_know_their_forgery(campaign):
    scans = {(s.folder, s.patient): s for s in read_labelled_scans(campaign, lambda *_: None)}
    scan = scans["2001", "A-17"]
    assert scan.scanner == Scanner("siemens", "sensation10")
    assert scan.headers_tell
    assert scan.labels[1] == (Label(SiteType.FM, 8, 31, "splice", "resampled"),)
    assert scan.retouched == {0, 1}, "slices 1 and 2 are the first two along z"
    assert not any(s.retouched for s in scans.values() if s.folder != "2001")


def test_without_the_description_nothing_of_it_is_believed(campaign):
    (campaign / CAMPAIGN_FILE).unlink()
    scans = {s.folder: s for s in read_labelled_scans(campaign, lambda *_: None)}
    assert scans["2001"].patient == "uci:2001"
    assert scans["2001"].scanner == Scanner("uci", "2001")
    assert not scans["2001"].headers_tell
    assert scans["2001"].labels[1] == (Label(SiteType.FM, 8, 31),)


def test_a_check_takes_the_sources_patients_for_right_and_compares_the_rows(campaign):
    codes = {o.code for o in check_collection(campaign).observations}
    assert Code.WRONG_PATIENT not in codes
    assert Code.BROKEN_LABELS not in codes
    fewer = describe({key: value for key, value in FORGED.items() if "1001" not in key})
    (campaign / CAMPAIGN_FILE).write_text(json.dumps(fewer), encoding="utf-8")
    broken = [o.message for o in check_collection(campaign).observations if o.code is Code.BROKEN_LABELS]
    assert len(broken) == 1
    assert "scan 1001, slice 3, x 20, y 30" in broken[0]
    (campaign / CAMPAIGN_FILE).unlink()
    assert Code.WRONG_PATIENT in {o.code for o in check_collection(campaign).observations}
