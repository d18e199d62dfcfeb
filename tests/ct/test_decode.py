"""Every transfer syntax back to the same stored values, and clear errors for what cannot be decoded."""

import struct
import subprocess
import sys

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
    set_pixels,
    write_dataset,
)
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from verict.ct import decode
from verict.ct.container import walk
from verict.ct.discover import find_series
from verict.ct.instance import WANTED
from verict.ct.part10 import open_part10
from verict.ct.read import read_series
from verict.errors import PixelError

COMPRESSED = [RLELossless, JPEGLSLossless, JPEG2000Lossless]


def _decode(data, number=1):
    part = open_part10(data, file="a.dcm", inflate_limit=1 << 24)
    layout = walk(part, WANTED, file="a.dcm")
    shape = decode.read_format(layout.values, big=part.big, file="a.dcm")
    return decode.decode_frame(part, layout.pixel, shape, number, file="a.dcm")


def _hu(rows=40, columns=56):
    return np.clip(make_body_hu(1, rows, columns)[0], -1024, 2000)


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
@pytest.mark.parametrize(("signed", "bits"), [(True, 16), (True, 12), (False, 12), (False, 16)])
def test_stored_values_come_back_bit_for_bit(syntax, signed, bits):
    hu = _hu()
    stored, cleared = _decode(
        dataset_bytes(make_slice_dataset(hu, transfer_syntax=syntax, signed=signed, bits_stored=bits))
    )
    assert stored.dtype.kind == ("i" if signed else "u")
    assert np.array_equal(stored.astype(int) - (0 if signed else 1024), hu)
    assert not cleared


@pytest.mark.parametrize("option", ["+el", "+e1"])
@pytest.mark.parametrize(("signed", "bits"), [(True, 16), (True, 12), (False, 12)])
def test_jpeg_lossless_as_dcmtk_writes_it(tmp_path, dcmtk, require_extra, option, signed, bits):
    require_extra("imagecodecs")
    files = make_series(tmp_path / "plain", slices=2, rows=40, columns=56, signed=signed, bits_stored=bits)
    (tmp_path / "packed").mkdir()
    for file in files:
        subprocess.run([dcmtk("dcmcjpeg"), option, file, tmp_path / "packed" / file.name], check=True)
    plain = read_series(find_series(tmp_path / "plain").series[0])
    packed = read_series(find_series(tmp_path / "packed").series[0])
    assert np.array_equal(plain.hu, packed.hu)
    assert packed.notes == ()


@pytest.mark.parametrize("option", ["+el", "+e1"])
def test_jpeg_lossless_without_the_extra_says_which(tmp_path, dcmtk, monkeypatch, option):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    (file,) = make_series(tmp_path / "plain", slices=1, rows=32, columns=32)
    subprocess.run([dcmtk("dcmcjpeg"), option, file, tmp_path / "packed.dcm"], check=True)
    with pytest.raises(PixelError) as caught:
        read_series(find_series(tmp_path / "packed.dcm").series[0])
    assert caught.value.next_step == "pip install 'verict[jpeg-lossless]'"


def test_a_jpeg_lossless_stream_built_here_names_the_extra(monkeypatch):
    """The same without DCMTK: only the frame header is looked at before the decoder is asked for."""
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    frame = b"\xff\xd8\xff\xc3\x00\x0b\x10" + struct.pack(">HHB", 32, 32, 1) + b"\x01\x11\x00\xff\xd9\x00"
    with pytest.raises(PixelError, match="optional decoder"):
        _decode(_with_frame(frame, "1.2.840.10008.1.2.4.70"))


def _with_frame(frame, syntax, rows=32):
    dataset = make_slice_dataset(_hu(rows, 32), signed=False)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    dataset.PixelData = pydicom.encaps.encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset_bytes(dataset)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_truncated_pixels_say_how_many_bytes_there_are(syntax):
    data = dataset_bytes(make_slice_dataset(_hu(), transfer_syntax=syntax))
    with pytest.raises(PixelError, match="truncated") as caught:
        _decode(data[:-600])
    assert "bytes" in caught.value.found
    assert "bytes" in caught.value.expected


def test_pixels_shorter_than_rows_times_columns_are_truncated():
    dataset = make_slice_dataset(_hu())
    dataset.Rows = 8000
    with pytest.raises(PixelError) as caught:
        _decode(dataset_bytes(dataset))
    assert caught.value.found == f"{40 * 56 * 2} bytes"
    assert caught.value.expected.startswith(f"{8000 * 56 * 2} bytes")


@pytest.mark.parametrize("syntax", COMPRESSED)
def test_a_code_stream_of_another_size_is_refused_before_decoding(syntax):
    dataset = make_slice_dataset(_hu(), transfer_syntax=syntax, signed=False)
    dataset.Rows = 50
    with pytest.raises(PixelError):
        _decode(dataset_bytes(dataset))


def test_a_code_stream_that_claims_gigabytes_is_refused_by_its_header(monkeypatch):
    data = bytearray(dataset_bytes(make_slice_dataset(_hu(), transfer_syntax=JPEGLSLossless)))
    at = data.index(b"\xff\xf7")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    monkeypatch.setattr(decode, "_decode_jpeg_ls", None)
    with pytest.raises(PixelError, match="another size") as caught:
        _decode(bytes(data))
    assert caught.value.found.startswith("65535 x 65535")


@pytest.mark.parametrize("syntax", COMPRESSED)
def test_garbage_in_place_of_a_code_stream_is_an_error(syntax):
    with pytest.raises(PixelError):
        _decode(_with_frame(b"\x01\x02" * 40, syntax))


def test_an_unknown_compression_is_named():
    with pytest.raises(PixelError, match="not one verict reads") as caught:
        _decode(_with_frame(b"\xff\xd8\xff\xd9", "1.2.840.10008.1.2.4.50"))
    assert caught.value.found == "1.2.840.10008.1.2.4.50"


def test_pixels_stored_against_their_transfer_syntax_are_an_error():
    dataset = make_slice_dataset(_hu())
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    with pytest.raises(PixelError, match="not stored as the transfer syntax says"):
        _decode(dataset_bytes(dataset))


@pytest.mark.parametrize(
    ("attributes", "tag"),
    [
        ({"BitsAllocated": 8}, "BitsAllocated"),
        ({"BitsAllocated": 12}, "BitsAllocated"),
        ({"BitsAllocated": None}, "BitsAllocated"),
        ({"SamplesPerPixel": 3}, "SamplesPerPixel"),
        ({"Rows": 1}, "Rows"),
        ({"Columns": 1}, "Columns"),
        ({"Columns": 60000}, "Columns"),
        ({"BitsStored": 20}, "BitsStored"),
        ({"BitsStored": 1}, "BitsStored"),
        ({"HighBit": 3}, "HighBit"),
        ({"HighBit": 16}, "HighBit"),
        ({"NumberOfFrames": "-1"}, "NumberOfFrames"),
        ({"PixelData": None}, "PixelData"),
    ],
)
def test_impossible_image_attributes_are_named(attributes, tag):
    with pytest.raises(PixelError) as caught:
        _decode(dataset_bytes(make_slice_dataset(_hu(), **attributes)))
    assert tag in caught.value.tag
    assert caught.value.expected


@pytest.mark.parametrize("signed", [True, False])
def test_bits_above_bits_stored_are_cleared_and_told(signed):
    hu = _hu()
    dataset = make_slice_dataset(hu, signed=signed, bits_stored=12)
    raw = np.frombuffer(dataset.PixelData, np.uint16).copy()
    raw[::3] ^= 0x5000
    dataset.PixelData = raw.tobytes()
    stored, cleared = _decode(dataset_bytes(dataset))
    assert cleared
    assert np.array_equal(stored.astype(int) - (0 if signed else 1024), hu)


def test_a_high_bit_at_the_top_is_shifted_down():
    dataset = make_slice_dataset(_hu(), signed=False, bits_stored=12)
    values = np.frombuffer(dataset.PixelData, np.uint16)
    dataset.PixelData = (values << 4).tobytes()
    dataset.HighBit = 15
    stored, cleared = _decode(dataset_bytes(dataset))
    assert cleared
    assert np.array_equal(stored.ravel(), values)


def test_a_jpeg_ls_frame_in_several_fragments_is_joined(tmp_path):
    hu = _hu()
    dataset = make_slice_dataset(hu, transfer_syntax=JPEGLSLossless)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = pydicom.encaps.encapsulate([frame], fragments_per_frame=3)
    assert np.array_equal(_decode(dataset_bytes(dataset))[0], hu)


def test_frames_in_several_fragments_follow_the_offset_table(tmp_path):
    hu = np.clip(make_body_hu(3, 32, 32), -1024, 2000)
    path = make_enhanced(tmp_path / "e.dcm", hu=hu, transfer_syntax=JPEGLSLossless)
    dataset = pydicom.dcmread(path)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=3))
    dataset.PixelData = pydicom.encaps.encapsulate(frames, fragments_per_frame=2)
    dataset["PixelData"].is_undefined_length = True
    data = dataset_bytes(dataset)
    for number in (1, 2, 3):
        assert np.array_equal(_decode(data, number)[0].astype(int) - 1024, hu[number - 1])
    dataset.PixelData = pydicom.encaps.encapsulate(frames, fragments_per_frame=2, has_bot=False)
    with pytest.raises(PixelError, match="told apart"):
        _decode(dataset_bytes(dataset), 2)


def test_a_frame_that_does_not_exist_is_an_error():
    with pytest.raises(PixelError, match="does not exist"):
        _decode(dataset_bytes(make_slice_dataset(_hu())), 2)


def test_32_bit_pixels_are_read():
    dataset = make_slice_dataset(_hu())
    values = np.arange(40 * 56, dtype=np.int32).reshape(40, 56) - 100_000
    set_pixels(dataset, values, ExplicitVRLittleEndian)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 32, 32, 31
    assert np.array_equal(_decode(dataset_bytes(dataset))[0], values)


@pytest.mark.parametrize(
    "frame", [b"", b"\xff\xd8", b"\xff\xd8\xff\xc4\x00\x02", b"\xff\xd8" + b"\xff" * 50, b"x" * 99]
)
def test_code_streams_without_a_frame_header_have_no_size(frame):
    assert decode.codestream_size(frame) is None


def test_importing_the_reader_loads_no_optional_decoder():
    program = (
        "import sys, verict.ct.read; "
        "bad = [m for m in ('imagecodecs', 'gdcm', 'torch', 'sklearn', 'pandas') if m in sys.modules]; "
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_written_file_is_found_again(tmp_path):
    write_dataset(make_slice_dataset(_hu()), tmp_path / "a" / "b.dcm")
    assert len(find_series(tmp_path).series) == 1
