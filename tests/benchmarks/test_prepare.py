"""What is cut where: TB rows at the corner under the leaky protocol alone; cuts are kept, with hashes."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from benchmarks.small_collection import ROWS, build_small_collection
from datasets.uci_folders import build_collection, labels_file, scan_folder

from verict.benchmarks import prepare as module
from verict.benchmarks.prepare import INDEX, cut_corner, prepare
from verict.benchmarks.protocols import CLEAN, LEAKY
from verict.ct.discover import find_series
from verict.ct.lungs import find_lungs
from verict.ct.read import read_series
from verict.errors import DatasetError, InputError


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return build_small_collection(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def prepared(collection, tmp_path_factory):
    return prepare(collection, tmp_path_factory.mktemp("out") / "cache")


def test_every_row_is_there_under_both_protocols(prepared):
    count = sum(map(len, ROWS.values()))
    for protocol in (CLEAN, LEAKY):
        samples = prepared.under(protocol)
        assert len(samples) == count
        assert samples.cuboid.shape == (count, 32, 32, 32)
        assert samples.window.shape == (count, 64, 64)
    np.testing.assert_array_equal(prepared.placed.kind, prepared.cornered.kind)
    np.testing.assert_array_equal(prepared.placed.uuid, prepared.cornered.uuid)
    assert prepared.left_out == ()


def test_no_cuboid_lies_at_the_corner_under_clean(prepared):
    samples = prepared.under(CLEAN)
    assert not samples.at_corner.any()
    assert not ((samples.z == 0) & (samples.y == 0) & (samples.x == 0)).any()


def test_only_rows_without_a_place_lie_at_the_corner_under_leaky(prepared):
    samples = prepared.under(LEAKY)
    np.testing.assert_array_equal(samples.at_corner, samples.kind == "TB")
    cut = samples.cuboid[samples.at_corner]
    assert cut.max() < -900, "air beside the body"


def test_chosen_sites_lie_in_the_lungs(prepared, collection):
    samples = prepared.placed
    for row in np.flatnonzero(samples.kind == "TB"):
        volume = read_series(find_series(scan_folder(collection, str(samples.uuid[row]))).series[0])
        assert find_lungs(volume).mask[samples.z[row], samples.y[row], samples.x[row]]


def test_no_patient_is_named(prepared):
    assert not set(prepared.placed.patient) & set(prepared.placed.uuid)


def test_both_experiments_of_a_twin_are_one_patient(prepared):
    own = prepared.placed.uuid == "6031"
    assert own.sum() == 2
    assert len(set(prepared.placed.patient[own])) == 1


def test_the_corner_is_cut_as_if_it_were_a_place(collection):
    volume = read_series(find_series(scan_folder(collection, "1008")).series[0])
    cut = cut_corner(volume)
    assert cut.shape == (32, 32, 32)
    np.testing.assert_allclose(cut[:16, :16, :16], volume.hu[0, 0, 0], atol=0.5)


def test_cuts_are_kept_and_not_made_again(collection, tmp_path, monkeypatch):
    first = prepare(collection, tmp_path)
    monkeypatch.setattr(module, "read_labelled_scan", lambda *_: pytest.fail("a scan was read again"))
    again = prepare(collection, tmp_path)
    assert (first.placed.digest, first.cornered.digest) == (again.placed.digest, again.cornered.digest)
    assert first.sha256 == again.sha256


def test_a_changed_cut_and_a_cut_of_other_files_are_made_anew(collection, tmp_path):
    own = tmp_path / "collection"
    shutil.copytree(collection, own)
    first = prepare(own, tmp_path / "cache")
    cut = tmp_path / "cache" / "1-1001-at.npz"
    cut.write_bytes(b"something else")
    index = json.loads((tmp_path / "cache" / INDEX).read_text())
    assert len(index["1-1001-at"]["sha256"]) == 64
    assert prepare(own, tmp_path / "cache").placed.digest == first.placed.digest
    slice_file = scan_folder(own, "1001") / "012.dcm"
    slice_file.write_bytes(slice_file.read_bytes()[:-2] + b"\x07\x00")
    changed = prepare(own, tmp_path / "cache")
    assert changed.sha256 != first.sha256


def test_rows_that_cannot_be_cut_are_left_out_and_told(collection, tmp_path):
    own = tmp_path / "collection"
    shutil.copytree(collection, own)
    file = labels_file(own)
    file.write_text(file.read_text() + "FB,1001,99,19,32\n")
    prepared = prepare(own, tmp_path / "cache")
    assert len(prepared.placed) == sum(map(len, ROWS.values()))
    (error,) = prepared.left_out
    assert "slice 99" in error.one_line()


def test_a_collection_of_single_slices_says_that_no_cuboid_can_be_cut(tmp_path):
    build_collection(tmp_path / "data", slices=range(3, 4))
    with pytest.raises(DatasetError, match="no place could be cut"):
        prepare(tmp_path / "data", tmp_path / "cache")


def test_label_tables_without_scans_are_refused(tmp_path):
    (tmp_path / "labels_exp1.csv").write_text("type,uuid,slice,x,y\nFB,1,2,3,4\n")
    with pytest.raises(DatasetError, match="no scans beside"):
        prepare(tmp_path, tmp_path / "cache")


def test_a_damaged_slice_is_told_with_its_name(collection, tmp_path):
    own = tmp_path / "collection"
    shutil.copytree(collection, own)
    (scan_folder(own, "1004") / "005.dcm").write_bytes(b"no DICOM")
    failures: list[InputError] = []
    prepare(own, tmp_path / "cache", failures=failures)
    assert any("005.dcm" in failure.one_line() for failure in failures)
    with pytest.raises(InputError, match=r"005\.dcm"):
        prepare(own, tmp_path / "other")
