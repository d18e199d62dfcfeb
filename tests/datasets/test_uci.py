from __future__ import annotations

import errno
import os
from collections import Counter

import pytest
from datasets.uci_folders import ROWS, SLICES, build_collection, labels_file, make_slice, scan_folder, write_slice
from hypothesis import given
from hypothesis import strategies as st

from verict.datasets.uci import LabelRow, Layout, SiteType, read_collection, read_labels
from verict.errors import DatasetError, UsageError

LAYOUTS = ["Tampered Scans", "CT_Scans"]


def counts(rows, experiment):
    here = [r for r in rows if r.experiment == experiment]
    return {t.value: (sum(r.type is t for r in here), len({r.uuid for r in here if r.type is t})) for t in SiteType}


def test_published_tables_hold_what_was_counted(shared_data):
    collection = read_collection(shared_data / "labels")
    assert collection.layout is Layout.LABELS_ONLY
    assert counts(collection.rows, 1) == {"TB": (15, 10), "TM": (23, 10), "FB": (61, 30), "FM": (34, 30)}
    assert counts(collection.rows, 2) == {"TB": (6, 5), "TM": (12, 5), "FB": (11, 5), "FM": (7, 5)}
    assert Counter(r.experiment for r in collection.rows) == {1: 133, 2: 36}
    assert [len({r.uuid for r in collection.rows if r.experiment == e}) for e in (1, 2)] == [80, 20]
    assert len(collection.uuids) == 98
    assert {r.type for r in collection.rows if not r.is_placed} == {SiteType.TB}
    assert sum(not r.is_placed for r in collection.rows) == 21


def test_published_twins_lie_at_identical_places(shared_data):
    rows = read_collection(shared_data / "labels").rows
    both = {r.uuid for r in rows if r.experiment == 1} & {r.uuid for r in rows if r.experiment == 2}
    assert both == {"6031", "7507"}
    for uuid in both:
        places = [{(r.slice, r.x, r.y) for r in rows if (r.uuid, r.experiment) == (uuid, e)} for e in (1, 2)]
        assert places[0] == places[1]


def test_real_slices_are_found(shared_data):
    collection = read_collection(shared_data / "ctgan")
    assert collection.layout is Layout.TAMPERED_SCANS
    assert counts(collection.rows, 1) == {"TB": (0, 0), "TM": (0, 0), "FB": (34, 20), "FM": (21, 20)}
    assert len(collection.scans) == 40
    assert all(collection.file_of(row).is_file() for row in collection.rows)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("inside", [False, True])
def test_both_layouts_from_above_and_inside(tmp_path, layout, inside):
    build_collection(tmp_path, layout)
    collection = read_collection(tmp_path / layout if inside else tmp_path)
    assert collection.layout == layout
    assert collection.experiments_on_disk == (1, 2)
    assert [f"{r.type},{r.uuid},{r.slice},{r.x},{r.y}" for r in collection.rows] == ROWS[1] + ROWS[2]
    assert set(collection.scans) == {(1, "1001"), (1, "6031"), (1, "1003"), (2, "2001"), (2, "6031")}
    first = collection.rows[0]
    assert collection.scan_of(first).slices.keys() == set(SLICES)
    assert collection.file_of(first) == scan_folder(tmp_path, "1001", layout=layout) / "3.dcm"
    assert collection.rows_of(1, "1003") == (LabelRow(1, SiteType.TB, "1003", 0, 0, 0),) * 2


def test_tables_inside_ct_scans_and_beside_tampered_scans(tmp_path):
    for layout in LAYOUTS:
        root = build_collection(tmp_path / layout.lower(), layout)
        for experiment in (1, 2):
            file = labels_file(root, experiment=experiment, layout=layout)
            file.rename((root if file.parent != root else root / layout) / file.name)
        assert len(read_collection(root).rows) == 6
        assert len(read_collection(root / layout).rows) == 6


def test_names_match_whatever_their_case(tmp_path):
    build_collection(tmp_path)
    (tmp_path / "Tampered Scans" / "Experiment 1 - Blind").rename(tmp_path / "Tampered Scans" / "experiment 1 - blind")
    (tmp_path / "Tampered Scans").rename(tmp_path / "TAMPERED SCANS")
    assert read_collection(tmp_path).experiments_on_disk == (1, 2)


def test_rows_without_place_or_file_have_no_file(tmp_path):
    collection = read_collection(build_collection(tmp_path))
    unplaced = next(r for r in collection.rows if not r.is_placed)
    write_slice(scan_folder(tmp_path, "1003") / "0.dcm", make_slice("1003", 0))
    assert read_collection(tmp_path).file_of(unplaced) is None
    assert collection.file_of(LabelRow(1, SiteType.FB, "1001", 99, 1, 1)) is None
    assert collection.file_of(LabelRow(2, SiteType.FB, "1001", 3, 1, 1)) is None


def test_strays_and_repeats_are_kept_apart(tmp_path):
    build_collection(tmp_path)
    folder = scan_folder(tmp_path, "1001")
    (folder / "notes.txt").touch()
    (folder / ".DS_Store").touch()
    (folder / "7.dcm").mkdir()
    write_slice(folder / "003.dcm", make_slice("1001", 3))
    (folder.parent / "readme").touch()
    collection = read_collection(tmp_path)
    scan = collection.scans[1, "1001"]
    assert [p.name for p in scan.strays] == ["7.dcm", "notes.txt"]
    assert len(scan.repeats) == 1
    assert set(scan.slices) == set(SLICES)
    assert [p.name for p in collection.strays] == ["readme"]


def test_not_a_collection(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        read_collection(tmp_path / "none")
    with pytest.raises(UsageError, match="no labelled collection here"):
        read_collection(tmp_path)


def test_contradicting_collections(tmp_path):
    root = build_collection(tmp_path / "both")
    build_collection(root, "CT_Scans")
    with pytest.raises(DatasetError, match="two layouts"):
        read_collection(root)
    bare = build_collection(tmp_path / "bare")
    for experiment in (1, 2):
        labels_file(bare, experiment=experiment).unlink()
    with pytest.raises(DatasetError, match="without label tables"):
        read_collection(bare)
    twice = build_collection(tmp_path / "twice")
    (twice / "labels_exp1.csv").write_bytes(labels_file(twice).read_bytes())
    assert len(read_collection(twice).rows) == 6
    (twice / "labels_exp1.csv").write_text("type,uuid,slice,x,y\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="two different label tables of experiment 1"):
        read_collection(twice)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("XB,1,2,3,4", "line 2, column type: cannot be used; found 'XB'; expected TB, TM, FB or FM"),
        (",1,2,3,4", "column type: cannot be used; found an empty field"),
        ("FB,12a,2,3,4", "column uuid"),
        ("FB,1,2.0,3,4", "column slice: cannot be used; found '2.0'; expected a whole number, 0 or more"),
        ("FB,1,2,-3,4", "column x"),
        ("FB,1,2,3,four", "column y"),
        ("FB,1,2,3", "line 2: missing columns"),
        ("FB,1,2,3,4,5", "line 2: extra columns"),
    ],
)
def test_unusable_rows(tmp_path, row, words):
    file = tmp_path / "labels_exp1.csv"
    file.write_text(f"type,uuid,slice,x,y\n{row}\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=words):
        read_labels(file, 1)


_ROW = st.builds(LabelRow, st.just(2), st.sampled_from(SiteType), st.integers(0, 99_999).map(str),
                 *[st.integers(0, 999_999_999)] * 3)


@given(st.lists(_ROW, max_size=20), st.permutations(["type", "uuid", "slice", "x", "y"]))
def test_labels_come_back_in_any_column_order(tmp_path_factory, rows, columns):
    lines = [",".join(columns), *(",".join(f" {getattr(r, c)} " for c in columns) for r in rows)]
    file = tmp_path_factory.getbasetemp() / "labels_exp2.csv"
    file.write_text("\r\n".join(lines), encoding="utf-8-sig")
    assert read_labels(file, 2) == tuple(rows)


def test_what_is_no_plain_file_is_a_stray(tmp_path):
    folder = scan_folder(build_collection(tmp_path), "1001")
    os.mkfifo(folder / "8.dcm")
    (folder / "9.dcm").symlink_to(folder / "9.dcm")
    (folder / "10.dcm").symlink_to(folder / "none")
    labels_file(tmp_path, experiment=2).unlink()
    os.mkfifo(labels_file(tmp_path, experiment=2))
    collection = read_collection(tmp_path)
    assert [p.name for p in collection.scans[1, "1001"].strays] == ["10.dcm", "8.dcm", "9.dcm"]
    assert set(collection.label_files) == {1}


def test_a_refusing_file_system_is_told(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(type(tmp_path), "iterdir", refuse)
    with pytest.raises(DatasetError, match=r"the collection cannot be read; found Permission denied") as caught:
        read_collection(tmp_path)
    assert caught.value.file == str(tmp_path)
