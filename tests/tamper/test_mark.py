"""Every forged instance says that it is one."""

from __future__ import annotations

import ast
import inspect
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from builders import make_body_hu, make_series
from pydicom.dataset import Dataset

import verict
from verict.ct.discover import find_series
from verict.ct.lungs import find_lungs
from verict.ct.read import read_series
from verict.ct.volume import CTVolume
from verict.ct.write import write_modified, write_series
from verict.detect.header import HeaderDetector
from verict.detect.header_rules import additions
from verict.detect.spectrum import SpectrumDetector
from verict.tamper.mark import CONTROL, MARK, is_marked, mark_forged, write_control, write_forgery
from verict.tamper.repaint import ForgeryKind, repaint


@pytest.fixture
def volume(tmp_path: Path) -> CTVolume:
    hu = np.full((4, 64, 64), -850, np.int16)
    files = write_series(hu, tmp_path / "ct", spacing_mm=(2.0, 1.0, 1.0))
    headers = [pydicom.dcmread(f, stop_before_pixels=True) for f in files]
    return CTVolume(
        hu=hu,
        origins_mm=np.array([h.ImagePositionPatient for h in headers], float),
        row_direction=np.array([1.0, 0, 0]),
        column_direction=np.array([0, 1.0, 0]),
        spacing_mm=(2.0, 1.0, 1.0),
        series_instance_uid=headers[0].SeriesInstanceUID,
        study_instance_uid=headers[0].StudyInstanceUID,
        sop_instance_uids=tuple(h.SOPInstanceUID for h in headers),
        frame_numbers=(1,) * 4,
        source_files=tuple(map(str, files)),
        headers=tuple(headers),
    )


def test_every_instance_bears_the_mark(tmp_path: Path, volume: CTVolume) -> None:
    forged, footprint, record = repaint(volume.hu, volume.spacing_mm, (1, 32, 32), kind=ForgeryKind.REMOVE, seed=1)
    files = write_forgery(volume, forged, tmp_path / "forged", record)
    assert len(files) == volume.slice_count
    seen = {volume.series_instance_uid, *volume.sop_instance_uids}
    for z, file in enumerate(files):
        ds = pydicom.dcmread(file)
        assert is_marked(ds)
        assert not is_marked(volume.headers[z])
        assert ds.ImageType[:2] == ["DERIVED", "SECONDARY"]
        assert ds.DerivationDescription.startswith(MARK)
        assert "synthetic forgery" in ds.DerivationDescription
        assert "verict" in ds.DerivationDescription
        assert "kind remove" in ds.DerivationDescription
        item = ds.ContributingEquipmentSequence[-1]
        assert item.Manufacturer == "verict"
        assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "109103"
        assert ds.SOPInstanceUID not in seen
        assert volume.series_instance_uid != ds.SeriesInstanceUID
        seen.add(ds.SOPInstanceUID)
        stored = ds.pixel_array.astype(int) + int(ds.RescaleIntercept)
        np.testing.assert_array_equal(stored, np.maximum(forged[z], -1024))
    assert footprint.any()


def test_no_option_removes_the_mark() -> None:
    given = ["folder", "record", "made_at", "uid_seed"]
    assert list(inspect.signature(write_forgery).parameters) == ["volume", "hu", *given]
    assert list(inspect.signature(write_control).parameters) == ["volume", *given]


def test_the_same_seed_writes_the_same_bytes_and_another_one_other_uids(tmp_path: Path, volume: CTVolume) -> None:
    def write(name: str, seed: str | None) -> list[Path]:
        return write_forgery(volume, volume.hu, tmp_path / name, {"kind": "remove"}, uid_seed=seed)

    first, again, other = write("a", "case 1"), write("b", "case 1"), write("c", "case 2")
    assert [f.read_bytes() for f in first] == [f.read_bytes() for f in again]
    uids = [pydicom.dcmread(f).SOPInstanceUID for f in (*first, *other, *write("d", None), *write("e", None))]
    assert len(set(uids)) == len(uids) == 16


def test_the_time_is_written_where_one_is_given(tmp_path: Path, volume: CTVolume) -> None:
    when = datetime(2024, 5, 6, 7, 8, 9)
    file = write_forgery(volume, volume.hu, tmp_path / "a", {"kind": "remove"}, made_at=when)[0]
    assert pydicom.dcmread(file).ContributingEquipmentSequence[-1].ContributionDateTime == "20240506070809"
    file = write_forgery(volume, volume.hu, tmp_path / "b", {"kind": "remove"})[0]
    assert "ContributionDateTime" not in pydicom.dcmread(file).ContributingEquipmentSequence[-1]


def test_a_control_is_marked_and_says_that_nothing_was_painted(tmp_path: Path, volume: CTVolume) -> None:
    for file, before in zip(write_control(volume, tmp_path / "a", {"case": 7}), volume.hu, strict=True):
        ds = pydicom.dcmread(file)
        assert is_marked(ds)
        assert ds.DerivationDescription == f"{MARK}: kind {CONTROL}; case 7"
        assert ds.ImageType[0] == "DERIVED"
        np.testing.assert_array_equal(ds.pixel_array.astype(int) + int(ds.RescaleIntercept), before)


def test_what_is_nested_or_no_ascii_keeps_the_description_readable() -> None:
    ds = Dataset()
    mark_forged(ds, {"kind": "inject", "paint": {"steps": [1, 2]}, "donor": "J\u00f6rg\n2"})
    assert ds.DerivationDescription == f"{MARK}: kind inject; donor J\\xf6rg\\n2"


def test_equipment_that_was_named_before_stays() -> None:
    ds = Dataset()
    other = Dataset()
    other.Manufacturer = "HOUSE"
    ds.ContributingEquipmentSequence = [other]
    mark_forged(ds, {"kind": "inject"})
    assert [i.Manufacturer for i in ds.ContributingEquipmentSequence] == ["HOUSE", "verict"]
    assert ds.ImageType == ["DERIVED", "SECONDARY", "AXIAL"]


def test_a_long_record_still_fits() -> None:
    ds = Dataset()
    mark_forged(ds, {"note": "x" * 3000})
    assert len(ds.DerivationDescription) == 1024  # ST, PS3.5 6.2
    assert is_marked(ds)


def test_what_is_told_of_a_control_is_what_the_examiner_looks_for() -> None:
    assert CONTROL == additions.FORGERY_CONTROL
    assert additions.FORGERY_MARK in MARK


def _read(folder: Path) -> CTVolume:
    return read_series(find_series(folder).series[0])


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> CTVolume:
    """A small series that has lungs, read as every command reads it."""
    folder = tmp_path_factory.mktemp("chest")
    make_series(folder, hu=make_body_hu(3, 256, 256, seed=4), spacing_mm=(2.5, 1.25, 1.25))
    return _read(folder)


@pytest.mark.parametrize("write", [write_forgery, write_control])
def test_the_mark_is_found_in_the_headers_and_changes_no_pixel_detector(
    tmp_path: Path, chest: CTVolume, write: Callable[..., list[Path]]
) -> None:
    hu = chest.hu.copy()
    if write is write_forgery:
        hu[1, 110:140, 60:90] = -850
        write_forgery(chest, hu, tmp_path / "marked", {"kind": "remove"})
    else:
        write_control(chest, tmp_path / "marked", {})
    write_modified(chest, hu, tmp_path / "bare", change=lambda ds: None)
    marked, bare = _read(tmp_path / "marked"), _read(tmp_path / "bare")
    finding = HeaderDetector().examine(marked).findings[0]
    assert finding.code == "marked_as_forgery"
    assert finding.slices == ()  # all of them
    assert "3 of 3 slices" in finding.title
    assert ("nothing was painted" in finding.title) == (write is write_control)
    assert "marked_as_forgery" not in {f.code for f in HeaderDetector().examine(bare).findings}
    maps = []
    for volume in (marked, bare, chest if write is write_control else replace(chest, hu=hu)):
        evidence = SpectrumDetector().examine(volume, find_lungs(volume), workers=1)
        assert evidence.score_map is not None
        maps.append(evidence.score_map.values)
    assert np.isfinite(maps[0]).any()
    assert maps[0].tobytes() == maps[1].tobytes() == maps[2].tobytes()


def test_forged_pixels_leave_through_the_mark_alone() -> None:
    """Nobody but the mark copies a series with other pixels, and nobody but `verict.ct.write` writes DICOM files."""
    source = Path(inspect.getfile(verict)).parent
    names = ("write_modified", "save_as", "dcmwrite")
    using = {name: set() for name in names}
    for file in source.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            word = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
            if word in names:
                using[word].add(file.relative_to(source).as_posix())
    assert using == {"write_modified": {"tamper/mark.py"}, "save_as": {"ct/write.py"}, "dcmwrite": set()}


def test_a_real_scanner_s_headers_take_the_mark(tmp_path: Path, shared_data: Path) -> None:
    (series,) = find_series(shared_data / "authentic" / "petctdx-siemens-B40f").series
    volume = read_series(series)
    for number, write in enumerate((lambda f: write_forgery(volume, volume.hu, f, {"kind": "remove"}),
                                    lambda f: write_control(volume, f, {}))):
        files = write(tmp_path / str(number))
        assert all(is_marked(pydicom.dcmread(file, stop_before_pixels=True)) for file in files)
        again = _read(tmp_path / str(number))
        np.testing.assert_array_equal(again.hu, volume.hu)
        np.testing.assert_array_equal(again.origins_mm, volume.origins_mm)
        assert HeaderDetector().examine(again).findings[0].code == "marked_as_forgery"


def test_dciodvfy_finds_no_error(tmp_path: Path, volume: CTVolume, dcmtk) -> None:
    for file in write_forgery(volume, volume.hu, tmp_path / "forged", {"kind": "remove"}):
        done = subprocess.run([dcmtk("dciodvfy"), file], capture_output=True, text=True, check=False)
        assert done.returncode == 0
        assert "Error" not in done.stdout + done.stderr
