from __future__ import annotations

import json
import shutil

import pytest
from datasets.uci_folders import (
    HEADER,
    SLICES,
    build_collection,
    labels_file,
    make_slice,
    scan_folder,
    write_slice,
)

from verict.datasets.check import TITLES, Code, Severity, check_collection
from verict.errors import UsageError

KNOWN_IN_A_SOUND_ONE = {Code.UNPLACED_TB, Code.TWIN}


def codes(report):
    return {o.code for o in report.observations}


def damage(root):
    return [(o.code, o.message) for o in check_collection(root).of(Severity.DAMAGE)]


@pytest.fixture(params=["Tampered Scans", "CT_Scans"])
def layout(request):
    return request.param


def test_every_code_has_its_severity_and_words():
    assert set(TITLES) == set(Code)


def test_a_sound_collection(tmp_path, layout):
    report = check_collection(build_collection(tmp_path, layout))
    assert report.is_sound
    assert report.layout == layout
    assert codes(report) == KNOWN_IN_A_SOUND_ONE
    assert {(c.experiment, c.type.value): (c.rows, c.scans) for c in report.classes} == {
        (1, "TB"): (2, 1), (1, "TM"): (1, 1), (1, "FB"): (1, 1), (1, "FM"): (0, 0),
        (2, "TB"): (0, 0), (2, "TM"): (0, 0), (2, "FB"): (1, 1), (2, "FM"): (1, 1),
    }
    assert [(d.experiment, d.scans, d.slices) for d in report.disk] == [(1, 3, 18), (2, 2, 12)]
    assert report.distinct_uuids == 4
    (twin,) = [o for o in report.observations if o.code is Code.TWIN]
    assert twin.message == "scan 6031: TM in experiment 1, FB in experiment 2, 1 identical places"
    assert report.header_facts[0].startswith("one cloned template: all 5 scans name GE MEDICAL SYSTEMS LightSpeed16")
    assert "z position is slice number x SliceThickness in 30 of 30 slices" in report.header_facts


def test_the_real_single_slices_are_sound(shared_data):
    report = check_collection(shared_data / "ctgan")
    assert report.is_sound
    assert codes(report) == {Code.SINGLE_SLICES}
    assert len(report.observations) == 40
    assert [(d.scans, d.slices) for d in report.disk] == [(40, 55)]
    assert report.header_facts[0].startswith("one cloned template: all 40 scans")
    assert "MediaStorageSOPInstanceUID differs from SOPInstanceUID in 55 of 55 slices" in report.header_facts
    assert "z position is slice number x SliceThickness in 55 of 55 slices" in report.header_facts


def test_the_published_tables_alone_are_sound(shared_data):
    report = check_collection(shared_data / "labels")
    assert report.is_sound
    counts = report.as_dict()["counts"]
    assert {code: n for code, n in counts.items() if n} == {"unplaced_tb": 21, "twin": 2, "labels_only": 1}
    assert report.distinct_uuids == 98
    assert not report.disk


def test_single_slices_are_told_from_gaps(tmp_path, layout):
    build_collection(tmp_path, layout)
    folder = scan_folder(tmp_path, "1001", layout=layout)
    (folder / "2.dcm").unlink()
    assert damage(tmp_path) == [(Code.SLICE_GAP, "experiment 1, scan 1001: nothing between slice 1 and 3")]
    for number in set(SLICES) - {2, 3}:
        (folder / f"{number}.dcm").unlink()
    report = check_collection(tmp_path)
    assert report.is_sound
    (single,) = [o for o in report.observations if o.code is Code.SINGLE_SLICES]
    assert single.message == "experiment 1, scan 1001: slice 3"


def test_missing_slices_and_scans(tmp_path, layout):
    build_collection(tmp_path, layout)
    (scan_folder(tmp_path, "6031", layout=layout) / "4.dcm").unlink()
    shutil.rmtree(scan_folder(tmp_path, "2001", experiment=2, layout=layout))
    assert damage(tmp_path) == [
        (Code.MISSING_SCAN, "experiment 2, scan 2001"),
        (Code.MISSING_SLICE, "experiment 1, scan 6031, slice 4"),
        (Code.SLICE_GAP, "experiment 1, scan 6031: nothing between slice 3 and 5"),
    ]


def test_missing_tables(tmp_path):
    build_collection(tmp_path)
    labels_file(tmp_path, experiment=2).unlink()
    report = check_collection(tmp_path)
    assert [(o.code, o.message) for o in report.of(Severity.DAMAGE)] == [(Code.MISSING_LABELS, "labels_exp2.csv")]
    assert {Code.UNLABELLED_SCAN} <= codes(report)


def test_broken_tables_are_damage(tmp_path):
    build_collection(tmp_path)
    labels_file(tmp_path).write_text(f"{HEADER}\nFB,1001,three,20,30\n", encoding="utf-8")
    report = check_collection(tmp_path)
    assert codes(report) == {Code.BROKEN_LABELS}
    assert "line 2, column slice" in report.observations[0].message
    assert report.layout is None


def test_files_that_are_cut_short_or_no_dicom(tmp_path, layout):
    build_collection(tmp_path, layout)
    folder = scan_folder(tmp_path, "1001", layout=layout)
    content = (folder / "2.dcm").read_bytes()
    (folder / "2.dcm").write_bytes(content[:-1])
    (folder / "5.dcm").write_bytes(b"not a slice")
    (folder / "6.dcm").write_bytes(content[:300])
    found = dict(damage(tmp_path))
    assert found.keys() == {Code.TRUNCATED_FILE, Code.UNREADABLE_FILE}
    assert len(damage(tmp_path)) == 3
    assert "5.dcm: cannot be read as DICOM" in found[Code.UNREADABLE_FILE]


def test_rows_that_contradict(tmp_path):
    build_collection(tmp_path)
    lines = [HEADER, "FB,1001,3,20,30", "FB,1001,3,20,30", "FM,1001,4,9,9", "TM,1001,4,9,9", "FM,1003,0,0,0",
             "FB,6031,2,64,10", "FB,6031,2,63,47", "FB,6031,2,10,48"]
    labels_file(tmp_path).write_text("\n".join(lines), encoding="utf-8")
    assert damage(tmp_path) == [
        (Code.UNPLACED_ROW, "experiment 1, FM of scan 1003"),
        (Code.DUPLICATE_ROW, "experiment 1, scan 1001, slice 3, x 20, y 30: 2 times"),
        (Code.CONTRADICTING_ROWS, "experiment 1, scan 1001, slice 4, x 9, y 9: FM and TM"),
        (Code.OUTSIDE_IMAGE,
         "experiment 1, FB of scan 6031, slice 2: x 64, y 10 in an image of 64 columns and 48 rows"),
        (Code.OUTSIDE_IMAGE,
         "experiment 1, FB of scan 6031, slice 2: x 10, y 48 in an image of 64 columns and 48 rows"),
    ]
    shared = [o.message for o in check_collection(tmp_path).observations if o.code is Code.SHARED_UUID]
    assert shared == ["scan 6031: FB in experiment 1, FB in experiment 2, 0 identical places"]


def test_headers_that_contradict_the_folder(tmp_path, layout):
    build_collection(tmp_path, layout)
    folder = scan_folder(tmp_path, "1001", layout=layout)
    write_slice(folder / "1.dcm", make_slice("4711", 1))
    write_slice(folder / "2.dcm", make_slice("1001", 5))
    other = make_slice("1001", 6)
    other.Modality = "MR"
    write_slice(folder / "6.dcm", other)
    write_slice(folder / "004.dcm", make_slice("1001", 4))
    found = damage(tmp_path)
    assert {code for code, _ in found} == {
        Code.WRONG_PATIENT, Code.WRONG_NUMBER, Code.NOT_CT, Code.REPEATED_SLICE,
    }
    assert len(found) == 4
    assert not any("4711" in message for _, message in found)


def test_notes_are_no_damage(tmp_path):
    build_collection(tmp_path)
    write_slice(scan_folder(tmp_path, "5005") / "1.dcm", make_slice("5005", 1))
    (scan_folder(tmp_path, "1001") / "notes.txt").touch()
    (scan_folder(tmp_path, "1001").parent / "extra").mkdir()
    report = check_collection(tmp_path)
    assert report.is_sound
    assert codes(report) == KNOWN_IN_A_SOUND_ONE | {Code.UNLABELLED_SCAN, Code.STRAY}


def test_several_scanners_are_listed(tmp_path):
    build_collection(tmp_path)
    for number in SLICES:
        ds = make_slice("1001", number)
        ds.ManufacturerModelName = "Discovery"
        ds.ImagePositionPatient = [0, 0, -1]
        write_slice(scan_folder(tmp_path, "1001") / f"{number}.dcm", ds)
    facts = check_collection(tmp_path).header_facts
    assert facts[0].startswith("2 scanner and kernel entries in 5 scans: GE MEDICAL SYSTEMS Discovery STANDARD, GE")
    assert "z position is slice number x SliceThickness in 24 of 30 slices" in facts


def test_report_as_json_lists_every_code(tmp_path):
    build_collection(tmp_path)
    (scan_folder(tmp_path, "1001") / "6.dcm").write_bytes(b"")
    report = json.loads(json.dumps(check_collection(tmp_path).as_dict()))
    assert report["schema"] == "verict.data-check/1"
    assert report["sound"] is False
    assert report["counts"].keys() == {code.value for code in Code}
    assert report["counts"]["unreadable_file"] == 1
    assert {o["severity"] for o in report["observations"]} == {"known", "damage"}


def test_progress_counts_every_slice(tmp_path):
    seen = []
    check_collection(build_collection(tmp_path), on_slice=lambda *counts: seen.append(counts))
    assert seen == [(n, 30) for n in range(1, 31)]


def test_what_is_no_collection(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError):
            check_collection(folder)
