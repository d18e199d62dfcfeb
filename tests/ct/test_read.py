"""A whole series into memory: pixels, geometry, notes, failures; and nothing but verict's errors, whatever comes."""

import hashlib
import struct
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from builders import (
    TRANSFER_SYNTAXES,
    dataset_bytes,
    make_body_hu,
    make_enhanced,
    make_series,
    make_slice_dataset,
    write_dataset,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEGLSLossless

from verict.ct import container, read
from verict.ct.discover import find_series
from verict.ct.read import read_series
from verict.errors import GeometryError, InputError, PixelError, VerictError

SMALL = {"slices": 4, "rows": 32, "columns": 32}


def _read(path, **options):
    (series,) = find_series(path).series
    return read_series(series, **options)


def _codes(volume):
    return [note.code for note in volume.notes]


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_pixels_geometry_and_identity_come_back(tmp_path, syntax):
    hu = np.clip(make_body_hu(5, 32, 48), -1024, 3071)
    files = make_series(tmp_path, hu=hu, spacing_mm=(2.5, 0.7, 0.8), transfer_syntax=syntax)
    volume = _read(tmp_path)
    assert volume.hu.dtype == np.int16
    assert np.array_equal(volume.hu, hu)
    assert volume.spacing_mm == (2.5, 0.7, 0.8)
    assert volume.slice_thickness_mm == 2.5
    assert volume.notes == ()
    assert volume.failures == ()
    assert volume.source_files == tuple(file.name for file in files)
    assert volume.frame_numbers == (1,) * 5
    affine = volume.affine
    assert np.allclose(affine @ [4, 0, 0, 1], [-100, -90, -190, 1])
    assert np.allclose(affine @ [0, 10, 0, 1], [-100, -83, -200, 1])
    assert np.allclose(affine @ [0, 0, 10, 1], [-92, -90, -200, 1])
    assert volume.sop_instance_uids == tuple(pydicom.dcmread(file).SOPInstanceUID for file in files)


def test_file_names_do_not_decide_the_order(tmp_path):
    hu = make_body_hu(4, 32, 32)
    files = make_series(tmp_path, hu=hu)
    for file, name in zip(files, "dbca", strict=True):
        file.rename(tmp_path / name)
    assert np.array_equal(_read(tmp_path).hu, hu)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(tmp_path, workers):
    make_series(tmp_path, **SMALL)
    seen = []
    volume = _read(tmp_path, workers=workers, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert np.array_equal(volume.hu, make_body_hu(4, 32, 32))


def test_fractional_slopes_give_float32(tmp_path):
    hu = make_body_hu(3, 32, 32)
    make_series(tmp_path, hu=hu, slope=0.25, intercept=-1024.5, signed=False)
    volume = _read(tmp_path)
    assert volume.hu.dtype == np.float32
    assert np.abs(volume.hu - hu).max() <= 0.25


def test_one_fractional_slope_among_integers_makes_the_series_float(tmp_path):
    files = make_series(tmp_path, **SMALL)
    _edit(files[2], RescaleSlope="0.5")
    volume = _read(tmp_path)
    assert volume.hu.dtype == np.float32
    expected = make_body_hu(4, 32, 32).astype(np.float32)
    expected[2] *= 0.5
    assert np.array_equal(volume.hu, expected)


def test_slopes_and_intercepts_may_differ_from_slice_to_slice(tmp_path):
    files = make_series(tmp_path, **SMALL)
    _edit(files[1], RescaleIntercept="100")
    volume = _read(tmp_path)
    assert volume.hu.dtype == np.int16
    assert np.array_equal(volume.hu[1], make_body_hu(4, 32, 32)[1] + 100)


def test_a_range_beyond_int16_gives_float32(tmp_path):
    files = make_series(tmp_path, **SMALL, signed=False)
    dataset = pydicom.dcmread(files[3])
    values = np.frombuffer(dataset.PixelData, np.uint16).copy()
    values[7] = 60000
    dataset.PixelData = values.tobytes()
    dataset.save_as(files[3])
    volume = _read(tmp_path)
    assert volume.hu.dtype == np.float32
    assert volume.hu[3].flat[7] == 60000 - 1024
    assert np.array_equal(volume.hu[:3], make_body_hu(4, 32, 32)[:3])


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_enhanced_multi_frame_ct(tmp_path, syntax):
    hu = make_body_hu(6, 32, 32)
    make_enhanced(tmp_path / "e.dcm", hu=hu, spacing_mm=(3.0, 0.6, 0.9), transfer_syntax=syntax, shuffle=True)
    volume = _read(tmp_path)
    assert np.array_equal(volume.hu, hu)
    assert volume.spacing_mm == (3.0, 0.6, 0.9)
    assert volume.slice_thickness_mm == 3.0
    assert sorted(volume.frame_numbers) == [1, 2, 3, 4, 5, 6]
    assert len(set(volume.sop_instance_uids)) == 1
    assert volume.headers[0] is volume.headers[5]
    assert volume.notes == ()


def test_an_enhanced_ct_without_frame_groups_is_a_geometry_error(tmp_path):
    path = make_enhanced(tmp_path / "e.dcm", slices=3, rows=32, columns=32)
    dataset = pydicom.dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence
    write_dataset(dataset, path)
    with pytest.raises(GeometryError, match="multi-frame"):
        _read(tmp_path)


def test_headers_are_kept_without_pixels(tmp_path):
    make_series(tmp_path, **SMALL, Manufacturer="MAKER")
    volume = _read(tmp_path)
    for header, uid in zip(volume.headers, volume.sop_instance_uids, strict=True):
        assert "PixelData" not in header
        assert header.Manufacturer == "MAKER"
        assert uid == header.SOPInstanceUID
        assert uid == header.file_meta.MediaStorageSOPInstanceUID
        assert len(header.preamble) == 128


def test_the_input_hash_covers_every_file_and_no_order(tmp_path):
    files = make_series(tmp_path, **SMALL)
    digests = sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    assert _read(tmp_path).input_sha256 == hashlib.sha256("".join(digests).encode()).hexdigest()


def test_a_zip_gives_the_same_volume_as_its_folder(tmp_path):
    files = make_series(tmp_path / "s", **SMALL, transfer_syntax=JPEGLSLossless)
    with zipfile.ZipFile(tmp_path / "s.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, f"../{file.name}")
    folder, packed = _read(tmp_path / "s"), _read(tmp_path / "s.zip")
    assert np.array_equal(folder.hu, packed.hu)
    assert folder.input_sha256 == packed.input_sha256


def test_a_gap_a_tilt_and_a_duplicate_are_notes(tmp_path):
    files = make_series(tmp_path, slices=9, rows=32, columns=32, tilt_deg=15.0)
    files[4].unlink()
    dataset = pydicom.dcmread(files[1])
    dataset.SOPInstanceUID = "1.2.3"
    dataset.InstanceNumber = 77
    write_dataset(dataset, tmp_path / "again.dcm")
    volume = _read(tmp_path)
    assert volume.slice_count == 8
    assert _codes(volume) == ["duplicate_position", "gap", "gantry_tilt"]
    assert volume.spacing_mm[0] == pytest.approx(1.0)
    assert [len(range(*run.indices(8))) for run in volume.runs] == [4, 4]
    assert volume.affine is None


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"RescaleSlope": None}, "rescale_assumed"),
        ({"RescaleIntercept": None}, "rescale_assumed"),
        ({"RescaleType": "US"}, "rescale_type"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "monochrome1"),
        ({"PhotometricInterpretation": None}, "photometric"),
        ({"ImageOrientationPatient": None}, "orientation_missing"),
        ({"ImagePositionPatient": None}, "position_missing"),
        ({"InstanceNumber": None}, "instance_number_missing"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}, "derived"),
    ],
)
def test_each_repair_is_a_note_and_the_pixels_stay(tmp_path, attributes, code):
    make_series(tmp_path, **SMALL, **attributes)
    volume = _read(tmp_path)
    assert _codes(volume) == [code]
    assert np.array_equal(volume.hu, make_body_hu(4, 32, 32))


def test_padding_is_air_and_counted(tmp_path):
    hu = make_body_hu(2, 32, 32)
    hu[:, :3] = -2000
    make_series(tmp_path, hu=hu, PixelPaddingValue=-2000)
    volume = _read(tmp_path)
    assert volume.hu.min() == -1024
    assert _codes(volume) == ["padding_pixels"]
    assert volume.notes[0].message.startswith(f"{2 * 3 * 32} ")


def test_surplus_pixel_bytes_are_noted(tmp_path):
    files = make_series(tmp_path, **SMALL)
    dataset = pydicom.dcmread(files[0])
    dataset.PixelData += b"hidden"
    write_dataset(dataset, files[0])
    assert _codes(_read(tmp_path)) == ["surplus_pixel_bytes"]


def test_a_bad_slice_is_left_out_reported_and_leaves_a_gap(tmp_path):
    files = make_series(tmp_path, slices=6, rows=32, columns=32)
    files[2].write_bytes(files[2].read_bytes()[:-100])
    volume = _read(tmp_path)
    assert np.array_equal(volume.hu, make_body_hu(6, 32, 32)[[0, 1, 3, 4, 5]])
    assert volume.positions_mm.tolist() == [-200, -199, -197, -196, -195]
    assert _codes(volume) == ["gap", "slices_failed"]
    (failure,) = volume.failures
    assert isinstance(failure, PixelError)
    assert failure.file == "003.dcm"


def test_when_every_slice_is_bad_the_first_reason_is_given(tmp_path):
    for file in make_series(tmp_path, **SMALL, transfer_syntax=JPEGLSLossless):
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(PixelError, match="none of 4 slices can be read; the first: the pixels are truncated"):
        _read(tmp_path)


@pytest.mark.parametrize(
    ("attributes", "error"),
    [
        ({"PixelSpacing": None}, GeometryError),
        ({"PixelSpacing": ["0", "0"]}, GeometryError),
        ({"PixelSpacing": ["-0.7", "0.7"]}, GeometryError),
        ({"ImageOrientationPatient": ["0"] * 6}, GeometryError),
        ({"RescaleSlope": "0"}, PixelError),
        ({"SamplesPerPixel": 3}, PixelError),
        ({"BitsAllocated": 8}, PixelError),
        ({"PixelData": None}, PixelError),
        ({"Rows": 65535}, PixelError),
    ],
)
def test_a_series_that_cannot_be_used_says_why(tmp_path, attributes, error):
    make_series(tmp_path, **SMALL, **attributes)
    with pytest.raises(error) as caught:
        _read(tmp_path)
    for part in (caught.value.file, caught.value.tag, caught.value.found, caught.value.expected):
        assert part
    assert caught.value.next_step


@pytest.mark.parametrize(("tag", "text"), [(b"\x28\x00\x53\x10DS", b"NaN "), (b"\x28\x00\x30\x00DS", b"nan\\nan ")])
def test_not_a_number_is_not_taken_for_one(tmp_path, tag, text):
    files = make_series(tmp_path, **SMALL)
    for file in files:
        data = file.read_bytes()
        at = data.index(tag)
        length = struct.unpack_from("<H", data, at + 6)[0]
        file.write_bytes(data[: at + 6] + struct.pack("<H", len(text)) + text + data[at + 8 + length :])
    with pytest.raises(InputError, match=r"RescaleSlope|PixelSpacing"):
        _read(tmp_path)


def test_a_modality_lut_is_refused(tmp_path):
    lut = Dataset()
    lut.LUTDescriptor = [2, 0, 16]
    make_series(tmp_path, slices=1, rows=32, columns=32, ModalityLUTSequence=Sequence([lut]))
    with pytest.raises(PixelError, match="Modality LUT"):
        _read(tmp_path)


def test_a_deflate_bomb_is_stopped(tmp_path, monkeypatch):
    dataset = make_slice_dataset(make_body_hu(1, 32, 32)[0], transfer_syntax=DeflatedExplicitVRLittleEndian)
    dataset.DataSetTrailingPadding = b"\0" * (8 << 20)
    write_dataset(dataset, tmp_path / "bomb.dcm")
    monkeypatch.setattr(read, "DEFLATED_HEADER_BYTES", 1 << 20)
    with pytest.raises(PixelError, match="deflate bomb"):
        _read(tmp_path)


def test_deep_sequences_are_refused_and_the_healthy_slices_read(tmp_path):
    files = make_series(tmp_path, **SMALL)
    value = b""
    for _ in range(400):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(value)) + value
        value = b"\x40\x00\x75\x02SQ\0\0" + struct.pack("<I", len(item)) + item
    data = files[0].read_bytes()
    at = data.index(b"\xe0\x7f\x10\x00")
    files[0].write_bytes(data[:at] + value + data[at:])
    volume = _read(tmp_path)
    assert volume.slice_count == 3
    assert "nested too deep" in str(volume.failures[0])


def test_parser_warnings_become_a_note_without_values(tmp_path, recwarn):
    files = make_series(tmp_path, **SMALL)
    data = files[0].read_bytes()
    at = data.index(b"\x08\x00\x16\x00UI")
    charset = b"\x08\x00\x05\x00CS\x08\x00SECRET  "
    files[0].write_bytes(data[:at] + charset + data[at:])
    volume = _read(tmp_path)
    assert _codes(volume) == ["parser_warnings"]
    assert "SECRET" not in str(volume.notes)
    assert not recwarn.list


def test_patient_values_reach_no_error(tmp_path):
    secret = {"patient_id": "SECRET-ID", "PatientName": "Secret^Name", "PatientBirthDate": "19500101"}
    files = make_series(tmp_path, **SMALL, **secret)
    files[1].write_bytes(files[1].read_bytes()[:-9])
    volume = _read(tmp_path)
    shown = str(volume.notes) + str(volume.failures)
    assert volume.failures
    assert not any(word in shown for word in ("SECRET", "Secret", "19500101"))


def test_without_headers_nothing_identifies_the_volume(tmp_path):
    make_series(tmp_path, **SMALL)
    bare = _read(tmp_path).without_headers()
    assert bare.headers == ()
    assert not any((*bare.source_files, *bare.sop_instance_uids, bare.series_instance_uid, bare.study_instance_uid))


def _edit(path, **attributes):
    dataset = pydicom.dcmread(path)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    write_dataset(dataset, path)


def _valid(syntax):
    dataset = make_slice_dataset(make_body_hu(1, 32, 32)[0], signed=False, bits_stored=12, transfer_syntax=syntax)
    item = Dataset()
    item.CodeValue = "1"
    dataset.ProcedureCodeSequence = Sequence([item])
    return dataset_bytes(dataset)


_VALID = {syntax: _valid(syntax) for syntax in TRANSFER_SYNTAXES}


def _survive(data):
    """Find and read bytes as a file; whatever happens is a verict error, a reason, or a volume."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        path = Path(folder) / "a.dcm"
        path.write_bytes(data)
        found = find_series(path)
        assert found.series or found.not_examined or found.failures
        for series in found.series:
            try:
                volume = read_series(series, workers=1)
            except VerictError as error:
                assert error.one_line()
            else:
                assert volume.hu.shape[0] == len(volume.headers)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(TRANSFER_SYNTAXES), st.data())
def test_damaged_files_raise_nothing_but_verict_errors(syntax, data):
    good = bytearray(_VALID[syntax])
    for _ in range(data.draw(st.integers(0, 4), label="flips")):
        at = data.draw(st.one_of(st.integers(132, min(1600, len(good) - 1)), st.integers(0, len(good) - 1)), label="at")
        good[at] = data.draw(st.integers(0, 255), label="byte")
    cut = data.draw(st.one_of(st.just(len(good)), st.integers(0, len(good))), label="cut")
    _survive(bytes(good[:cut]))


@settings(max_examples=60)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_but_verict_errors(tail):
    _survive(tail)
    _survive(b"\0" * 128 + b"DICM" + tail)
    whole = _VALID[ExplicitVRLittleEndian]
    _survive(whole[:400] + tail + whole[400:])


AUTHENTIC = {
    "lidc-0314-philips-D": (275, (1.0, 0.78125, 0.78125)),
    "petctdx-philips-L": (64, (5.0, 0.841796875, 0.841796875)),
    "petctdx-philips-B": (64, (5.0, 0.841796875, 0.841796875)),
    "petctdx-siemens-B70f": (30, (8.0, 0.646484375, 0.646484375)),
    "petctdx-siemens-B40f": (30, (8.0, 0.646484375, 0.646484375)),
    "cmbcrc-ge-LUNG": (100, (2.5, 0.898438, 0.898438)),
    "fusedct-siemens-B31f": (98, (1.0, 0.759765625, 0.759765625)),
}


@pytest.mark.parametrize("folder", AUTHENTIC)
def test_authentic_series_are_found_whole(shared_data, folder):
    found = find_series(shared_data / "authentic" / folder)
    assert not found.failures
    assert not found.not_examined
    (series,) = found.series
    assert len(series.items) == AUTHENTIC[folder][0]


@pytest.mark.parametrize("folder", ["petctdx-siemens-B40f", "cmbcrc-ge-LUNG", "fusedct-siemens-B31f"])
def test_authentic_series_read_as_an_independent_decoder_reads_them(shared_data, folder):
    volume = _read(shared_data / "authentic" / folder)
    assert volume.spacing_mm == pytest.approx(AUTHENTIC[folder][1], abs=1e-3)
    assert not volume.failures
    assert len(volume.runs) == 1
    assert volume.affine is not None
    middle = volume.slice_count // 2
    dataset = pydicom.dcmread(shared_data / "authentic" / folder / volume.source_files[middle])
    expected = dataset.pixel_array.astype(int) * int(dataset.RescaleSlope) + int(dataset.RescaleIntercept)
    padding = expected < -1024
    assert np.array_equal(volume.hu[middle][~padding], expected[~padding])
    assert (volume.hu[middle][padding] == -1024).all()


def test_single_slices_of_many_patients_stay_apart(shared_data):
    found = find_series(shared_data / "authentic" / "tcga-singles")
    assert len(found.series) == 48
    assert sum("duplicate_instance" in [n.code for n in series.notes] for series in found.series) == 3
    volume = read_series(found.series[0])
    assert volume.slice_count == 1
    assert volume.spacing_mm[0] == volume.slice_thickness_mm


def test_the_fakes_are_read_by_scan_of_their_folder(shared_data):
    found = find_series(shared_data / "ctgan")
    assert not found.failures
    assert len(found.series) == 40
    assert sum(len(series.items) for series in found.series) == 55
    volume = read_series(found.series[0])
    assert volume.hu.dtype == np.int16
    assert volume.headers[0].ImageType == ["ORIGINAL", "SECONDARY", "AXIAL"]


def test_the_depth_limit_is_far_above_real_headers_and_below_recursion():
    assert 8 < container.MAX_SEQUENCE_DEPTH < 100
