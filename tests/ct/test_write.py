"""Series written by verict: valid, whole or not there at all, and true to the pixels."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from verict.ct.volume import CTVolume
from verict.ct.write import SeriesHeader, simulated_attributes, write_modified, write_series
from verict.errors import InputError, OutputError

SPACING_MM = (2.5, 0.75, 0.7)


@pytest.fixture
def hu() -> np.ndarray:
    return np.random.default_rng(0).integers(-1024, 3072, (3, 20, 24)).astype(np.int16)


def hu_of(ds: Dataset) -> np.ndarray:
    return ds.pixel_array.astype(np.int32) * int(ds.RescaleSlope) + int(ds.RescaleIntercept)


def load_volume(files: list[Path]) -> CTVolume:
    datasets = [pydicom.dcmread(f) for f in files]
    pixels = [hu_of(d) for d in datasets]
    origins = np.array([d.ImagePositionPatient for d in datasets], float)
    for d in datasets:
        del d.PixelData
    first = datasets[0]
    return CTVolume(
        hu=np.array(pixels).astype(np.int16),
        origins_mm=origins,
        row_direction=np.array([1.0, 0, 0]),
        column_direction=np.array([0, 1.0, 0]),
        spacing_mm=(float(origins[1, 2] - origins[0, 2]), *map(float, first.PixelSpacing)),
        series_instance_uid=first.SeriesInstanceUID,
        study_instance_uid=first.StudyInstanceUID,
        sop_instance_uids=tuple(d.SOPInstanceUID for d in datasets),
        frame_numbers=(1,) * len(files),
        source_files=tuple(map(str, files)),
        headers=tuple(datasets),
    )


def test_pixels_and_geometry_come_back(tmp_path: Path, hu: np.ndarray) -> None:
    files = write_series(
        hu, tmp_path / "ct", spacing_mm=SPACING_MM, header=SeriesHeader(origin_mm=(-100.25, -90.5, 12.125))
    )
    assert files == sorted((tmp_path / "ct").iterdir())
    for z, file in enumerate(files):
        ds = pydicom.dcmread(file)
        np.testing.assert_array_equal(hu_of(ds), hu[z])
        assert [float(v) for v in ds.ImagePositionPatient] == [-100.25, -90.5, 12.125 + 2.5 * z]
        assert [float(v) for v in ds.PixelSpacing] == [0.75, 0.7]
        assert ds.InstanceNumber == z + 1
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert ds.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian


@pytest.mark.parametrize(
    ("low", "high", "bits", "signed", "intercept"),
    [(-1024, 3071, 12, 0, -1024), (-1025, 0, 16, 1, 0), (0, 3072, 16, 1, 0), (-32768, 32767, 16, 1, 0)],
)
def test_stored_bits_fit_the_values(
    tmp_path: Path, low: int, high: int, bits: int, signed: int, intercept: int
) -> None:
    hu = np.array([[[low, high]]], np.int32)
    ds = pydicom.dcmread(write_series(hu, tmp_path / "ct", spacing_mm=SPACING_MM)[0])
    assert (ds.BitsStored, ds.HighBit, ds.PixelRepresentation) == (bits, bits - 1, signed)
    assert ds.RescaleIntercept == intercept
    np.testing.assert_array_equal(hu_of(ds), hu[0])


def test_fractions_are_rounded(tmp_path: Path) -> None:
    ds = pydicom.dcmread(write_series(np.array([[[-1024.4, 3071.4, 7.6]]]), tmp_path / "a", spacing_mm=SPACING_MM)[0])
    assert ds.BitsStored == 12
    np.testing.assert_array_equal(hu_of(ds), [[-1024, 3071, 8]])


def test_uids_follow_the_seed(tmp_path: Path, hu: np.ndarray) -> None:
    def uids(name: str, seed: str | None) -> set[str]:
        files = write_series(hu, tmp_path / name, spacing_mm=SPACING_MM, header=SeriesHeader(uid_seed=seed))
        read = [pydicom.dcmread(f) for f in files]
        assert len({d.SeriesInstanceUID for d in read}) == len({d.StudyInstanceUID for d in read}) == 1
        return {u for d in read for u in (d.SOPInstanceUID, d.SeriesInstanceUID, d.StudyInstanceUID)}

    assert len(uids("a", "x")) == 5
    assert uids("b", "x") == uids("c", "x")
    assert not uids("d", "x") & uids("e", "y")
    assert not uids("f", None) & uids("g", None)


def test_a_simulated_scan_says_so(tmp_path: Path, hu: np.ndarray) -> None:
    files = write_series(
        hu, tmp_path / "ct", spacing_mm=SPACING_MM, header=SeriesHeader(attributes=simulated_attributes())
    )
    for file in files:
        ds = pydicom.dcmread(file)
        assert ds.ImageType[0] == "DERIVED"
        assert "simulated" in ds.DerivationDescription
        assert ds.QualityControlSubject == "YES"
        assert "PHANTOM" in str(ds.PatientName)


@pytest.mark.parametrize("values", [(-1000, 400), (-2000, 400)])
@pytest.mark.parametrize("simulated", [True, False])
def test_dciodvfy_finds_no_error(tmp_path: Path, dcmtk, values: tuple[int, int], simulated: bool) -> None:
    hu = np.full((2, 16, 16), values[0], np.int16)
    hu[:, 4:8] = values[1]
    header = SeriesHeader(taken=datetime(2024, 5, 6, 7, 8), attributes=simulated_attributes() if simulated else {})
    files = write_series(hu, tmp_path / "ct", spacing_mm=SPACING_MM, header=header)
    copies = write_modified(load_volume(files), hu, tmp_path / "copy", change=lambda ds: None)
    for file in (*files, *copies):
        done = subprocess.run([dcmtk("dciodvfy"), file], capture_output=True, text=True, check=False)
        assert done.returncode == 0
        assert "Error" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("hu", "spacing_mm", "word"),
    [
        (np.zeros((4, 4)), SPACING_MM, "volume"),
        (np.zeros((0, 4, 4)), SPACING_MM, "volume"),
        (np.full((1, 2, 2), np.nan), SPACING_MM, "cannot hold"),
        (np.full((1, 2, 2), 40000), SPACING_MM, "cannot hold"),
        (np.zeros((1, 2, 2)), (0.0, 1.0, 1.0), "spacing"),
        (np.zeros((1, 2, 2)), (1.0, float("nan"), 1.0), "spacing"),
    ],
)
def test_what_cannot_be_ct_is_refused(tmp_path: Path, hu: np.ndarray, spacing_mm: tuple, word: str) -> None:
    with pytest.raises(InputError, match=word):
        write_series(hu, tmp_path / "ct", spacing_mm=spacing_mm)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_anything_in_it_is_refused(tmp_path: Path, hu: np.ndarray) -> None:
    (tmp_path / "ct").mkdir()
    (tmp_path / "ct" / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="not an empty folder"):
        write_series(hu, tmp_path / "ct", spacing_mm=SPACING_MM)
    with pytest.raises(OutputError, match="not an empty folder"):
        write_series(hu, tmp_path / "ct" / "mine.txt", spacing_mm=SPACING_MM)
    assert [p.name for p in tmp_path.rglob("*")] == ["ct", "mine.txt"]


def test_an_empty_folder_is_used_and_parents_are_made(tmp_path: Path, hu: np.ndarray) -> None:
    (tmp_path / "empty").mkdir()
    assert len(write_series(hu, tmp_path / "empty", spacing_mm=SPACING_MM)) == 3
    assert len(write_series(hu, tmp_path / "a" / "b", spacing_mm=SPACING_MM)) == 3
    assert not [p for p in tmp_path.rglob("*") if p.name.endswith(".partial")]


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, hu: np.ndarray) -> None:
    volume = load_volume(write_series(hu, tmp_path / "ct", spacing_mm=SPACING_MM))
    done = []

    def fail_on_the_third(ds: Dataset) -> None:
        done.append(ds)
        if len(done) == 3:
            raise InputError("no")

    with pytest.raises(InputError):
        write_modified(volume, volume.hu, tmp_path / "copy", change=fail_on_the_third)
    assert [p.name for p in tmp_path.iterdir()] == ["ct"]


def test_a_modified_copy_keeps_headers_and_takes_the_pixels(tmp_path: Path, hu: np.ndarray) -> None:
    attributes = {"SmallestImagePixelValue": 3, "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "CT"]}
    header = SeriesHeader(attributes=attributes)
    volume = load_volume(write_series(hu, tmp_path / "ct", spacing_mm=SPACING_MM, header=header))
    changed = volume.hu[:, ::-1].copy()
    files = write_modified(volume, changed, tmp_path / "copy", change=lambda ds: setattr(ds, "ImageComments", "note"))
    series = set()
    for z, (file, before) in enumerate(zip(files, volume.headers, strict=True)):
        ds = pydicom.dcmread(file)
        np.testing.assert_array_equal(hu_of(ds), changed[z])
        assert ds.ImageType == ["DERIVED", "SECONDARY", "AXIAL", "CT"]
        assert ds.ImageComments == "note"
        assert ds.PatientID == before.PatientID
        assert ds.StudyInstanceUID == before.StudyInstanceUID
        assert ds.ImagePositionPatient == before.ImagePositionPatient
        assert ds.SOPInstanceUID != before.SOPInstanceUID
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
        assert "SmallestImagePixelValue" not in ds
        assert before.ImageType[0] == "ORIGINAL"  # the original's headers are left alone
        series.add(ds.SeriesInstanceUID)
    assert len(series) == 1
    assert volume.series_instance_uid not in series


def test_values_beyond_the_stored_bits_become_the_nearest(tmp_path: Path, hu: np.ndarray) -> None:
    volume = load_volume(write_series(hu, tmp_path / "ct", spacing_mm=SPACING_MM))
    changed = volume.hu.copy()
    changed[0, 0, :2] = -2000, 5000
    ds = pydicom.dcmread(write_modified(volume, changed, tmp_path / "copy", change=lambda ds: None)[0])
    assert hu_of(ds)[0, :2].tolist() == [-1024, 3071]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_copy_of_another_transfer_syntax_is_converted(tmp_path: Path, hu: np.ndarray, syntax: str) -> None:
    files = write_series(hu, tmp_path / "ct", spacing_mm=SPACING_MM)
    volume = load_volume(files)
    big = syntax == ExplicitVRBigEndian
    headers = []
    for number, file in enumerate(files):
        ds = pydicom.dcmread(file)
        del ds.PixelData
        ds.add_new(0x00290010, "LO", "HOUSE")
        ds.add_new(0x00291001, "US", 258)
        fresh = Dataset(dict(ds.items()))
        fresh.file_meta = ds.file_meta
        fresh.file_meta.TransferSyntaxUID = syntax
        other = tmp_path / f"{number}.dcm"
        fresh.save_as(other, implicit_vr=not big, little_endian=not big, enforce_file_format=True)
        headers.append(pydicom.dcmread(other))
    copies = write_modified(
        replace(volume, headers=tuple(headers)), volume.hu, tmp_path / "copy", change=lambda ds: None
    )
    for z, file in enumerate(copies):
        ds = pydicom.dcmread(file)
        np.testing.assert_array_equal(hu_of(ds), volume.hu[z])
        assert ds.Rows == 20
        assert ds[0x00290010].value == "HOUSE"
        assert [float(v) for v in ds.PixelSpacing] == [0.75, 0.7]
        if big:
            assert ds[0x00291001].value == 258


def test_a_copy_needs_headers_and_the_same_shape(tmp_path: Path, hu: np.ndarray) -> None:
    volume = load_volume(write_series(hu, tmp_path / "ct", spacing_mm=SPACING_MM))
    with pytest.raises(InputError, match="another shape"):
        write_modified(volume, hu[:2], tmp_path / "copy", change=lambda ds: None)
    with pytest.raises(InputError, match="headers"):
        write_modified(volume.without_headers(), hu, tmp_path / "copy", change=lambda ds: None)
    assert not (tmp_path / "copy").exists()
