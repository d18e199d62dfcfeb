from __future__ import annotations

import pydicom
import pytest
from datasets.uci_folders import make_slice, write_slice
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from verict.datasets.slicefile import read_slice_facts
from verict.errors import NotDicomError, PixelError

PLAIN = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
COMPRESSED = [RLELossless, JPEGLSLossless]


def write_as(file, syntax):
    ds = make_slice("1001", 7)
    if syntax in COMPRESSED:
        ds.compress(syntax, generate_instance_uid=False)
    else:
        ds.file_meta.TransferSyntaxUID = syntax
    write_slice(file, ds)
    return file


@pytest.mark.parametrize("syntax", PLAIN + COMPRESSED)
def test_whole_files_of_any_transfer_syntax(tmp_path, syntax):
    facts = read_slice_facts(write_as(tmp_path / "7.dcm", syntax))
    assert (facts.instance_number, facts.patient_id, facts.modality) == (7, "1001", "CT")
    assert (facts.rows, facts.columns) == (48, 64)
    assert facts.scanner == ("GE MEDICAL SYSTEMS", "LightSpeed16", "STANDARD")
    assert (facts.slice_thickness_mm, facts.position_z_mm) == (2.5, 17.5)
    assert facts.media_uid_agrees


@pytest.mark.parametrize("syntax", PLAIN + COMPRESSED)
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, -1])
def test_truncation_anywhere_is_seen(tmp_path, syntax, kept):
    file = write_as(tmp_path / "7.dcm", syntax)
    content = file.read_bytes()
    cut = len(content) - 10 if kept < 0 else int(len(content) * kept)
    if syntax == DeflatedExplicitVRLittleEndian and kept < 0:
        cut = len(content) - 40  # the checksum at the end may go missing without losing a pixel
    file.write_bytes(content[:cut])
    with pytest.raises((PixelError, NotDicomError)) as caught:
        read_slice_facts(file)
    assert caught.value.file == str(file)


@pytest.mark.parametrize("syntax", PLAIN)
def test_pixel_data_shorter_than_the_image(tmp_path, syntax):
    ds = make_slice("1001", 7)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = ds.PixelData[:-100]
    write_slice(tmp_path / "7.dcm", ds)
    with pytest.raises(PixelError, match=r"truncated pixel data.*found 6044 bytes; expected 6144 bytes"):
        read_slice_facts(tmp_path / "7.dcm")


def test_no_pixel_data(tmp_path):
    ds = make_slice("1001", 7)
    del ds.PixelData
    write_slice(tmp_path / "7.dcm", ds)
    with pytest.raises(PixelError, match="no pixel data"):
        read_slice_facts(tmp_path / "7.dcm")
    ds = make_slice("1001", 7)
    ds.Rows = 0
    write_slice(tmp_path / "7.dcm", ds)
    with pytest.raises(PixelError, match="truncated pixel data"):
        read_slice_facts(tmp_path / "7.dcm")


@pytest.mark.parametrize("content", [b"", b"text", b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"\xff" * 64])
def test_what_is_no_dicom(tmp_path, content):
    file = tmp_path / "7.dcm"
    file.write_bytes(content)
    with pytest.raises((NotDicomError, PixelError)):
        read_slice_facts(file)


def test_unreadable_values_and_folders(tmp_path):
    ds = make_slice("1001", 7)
    file = tmp_path / "7.dcm"
    write_slice(file, ds)
    file.write_bytes(file.read_bytes().replace(b"IS\x02\x007 ", b"IS\x02\x00x "))
    with pytest.raises(NotDicomError, match="cannot be read as DICOM; found ValueError"):
        read_slice_facts(file)
    with pytest.raises(NotDicomError):
        read_slice_facts(tmp_path)
    with pytest.raises(NotDicomError):
        read_slice_facts(tmp_path / "none.dcm")


def test_missing_headers_are_told_as_missing(tmp_path):
    ds = make_slice("1001", 7)
    for keyword in ("InstanceNumber", "PatientID", "Modality", "SliceThickness", "ImagePositionPatient"):
        delattr(ds, keyword)
    write_slice(tmp_path / "7.dcm", ds)
    facts = read_slice_facts(tmp_path / "7.dcm")
    assert (facts.instance_number, facts.patient_id, facts.modality) == (None, "", "")
    assert (facts.slice_thickness_mm, facts.position_z_mm) == (None, None)


def test_a_file_meta_uid_that_differs_is_seen(tmp_path):
    ds = make_slice("1001", 7)
    ds.file_meta.FileMetaInformationVersion = b"\0\1"
    ds.preamble = b"\0" * 128
    pydicom.dcmwrite(tmp_path / "7.dcm", ds)
    assert not read_slice_facts(tmp_path / "7.dcm").media_uid_agrees
