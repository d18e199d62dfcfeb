"""The walk over untrusted bytes: what it finds, and that it neither recurses, hangs nor follows a false length."""

import struct
import warnings

import pytest
from builders import (
    TRANSFER_SYNTAXES,
    dataset_bytes,
    make_body_hu,
    make_slice_dataset,
)
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from verict.ct.container import header_bytes, walk
from verict.ct.enhanced import parse_header
from verict.ct.instance import ROWS, WANTED
from verict.ct.part10 import NeedMore, looks_like_dicom, open_part10, tag_text
from verict.errors import InputError, NotDicomError, VerictError


def _slice(**options):
    return make_slice_dataset(make_body_hu(1, 32, 32)[0], **options)


def _nested(depth, *, undefined):
    """A SQ element holding ``depth`` levels, as explicit little-endian bytes."""
    value = b""
    for _ in range(depth):
        if undefined:
            item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + value + b"\xfe\xff\x0d\xe0\0\0\0\0"
            value = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" + item + b"\xfe\xff\xdd\xe0\0\0\0\0"
        else:
            item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(value)) + value
            value = b"\x08\x00\x15\x11SQ\0\0" + struct.pack("<I", len(item)) + item
    return value


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_every_transfer_syntax_is_walked_to_its_pixels(syntax):
    data = dataset_bytes(_slice(transfer_syntax=syntax))
    part = open_part10(data, file="a.dcm")
    layout = walk(part, WANTED, file="a.dcm")
    assert part.transfer_syntax == syntax
    assert int.from_bytes(layout.values[ROWS], "big" if part.big else "little") == 32
    assert layout.pixel is not None
    assert layout.pixel.short_by == 0
    header = parse_header(part, layout, file="a.dcm")
    assert header.Rows == 32
    assert "PixelData" not in header
    assert header.file_meta.TransferSyntaxUID == syntax


def test_attributes_behind_the_pixels_are_kept():
    dataset = _slice()
    dataset.add_new(0xFFFAFFFA, "SQ", Sequence([Dataset()]))
    data = dataset_bytes(dataset)
    part = open_part10(data, file="a.dcm")
    assert 0xFFFAFFFA in parse_header(part, walk(part, WANTED, file="a.dcm"), file="a.dcm")


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_bulky_private_and_overlay_values_are_emptied_and_their_tags_stay(syntax):
    dataset = _slice(transfer_syntax=syntax)
    dataset.add_new(0x00090010, "LO", "VENDOR")
    dataset.add_new(0x00091001, "OB", b"x" * 5000)
    dataset.add_new(0x00091002, "LT", "y" * 5000)
    dataset.add_new(0x00091003, "LO", "short")
    dataset.add_new(0x60003000, "OW", b"\1" * 6000)
    dataset.add_new(0x00204000, "LT", "c" * 5000)
    part = open_part10(dataset_bytes(dataset), file="a.dcm")
    header = parse_header(part, walk(part, WANTED, file="a.dcm", bulk=4096), file="a.dcm")
    for tag in (0x00091001, 0x00091002, 0x60003000):
        assert tag in header
        assert not header.get_item(tag).value
    assert header.get_item(0x00091003).value.strip() == b"short"
    assert len(header.ImageComments) == 5000
    assert header.Rows == 32


@pytest.mark.parametrize("undefined", [True, False])
def test_deep_nesting_is_refused_without_recursion(undefined):
    depth = 20_000 if undefined else 300
    data = dataset_bytes(_slice())
    bad = data[:132] + data[132:].replace(
        b"\x08\x00\x16\x00UI", _nested(depth, undefined=undefined) + b"\x08\0\x16\0UI", 1
    )
    part = open_part10(bad, file="a.dcm")
    with pytest.raises(InputError, match="nested too deep"):
        walk(part, WANTED, file="a.dcm")


@pytest.mark.parametrize("undefined", [True, False])
def test_modest_nesting_is_accepted(undefined):
    data = dataset_bytes(_slice())
    good = data[:132] + data[132:].replace(
        b"\x08\x00\x16\x00UI", _nested(10, undefined=undefined) + b"\x08\0\x16\0UI", 1
    )
    part = open_part10(good, file="a.dcm")
    assert walk(part, WANTED, file="a.dcm").pixel is not None


def test_a_length_that_leaves_the_file_is_named_with_its_tag():
    data = dataset_bytes(_slice(ImageComments="comment"))
    at = data.index(b"\x20\x00\x00\x40LT")
    bad = data[: at + 6] + b"\xf0\xff" + data[at + 8 :]
    with pytest.raises(InputError) as caught:
        walk(open_part10(bad, file="a.dcm"), WANTED, file="a.dcm")
    assert caught.value.tag == "(0020,4000)"
    assert caught.value.expected == "65520 bytes"


def test_an_invalid_vr_is_named():
    data = dataset_bytes(_slice())
    bad = data.replace(b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00Q?", 1)
    with pytest.raises(InputError, match="damaged"):
        walk(open_part10(bad, file="a.dcm"), WANTED, file="a.dcm")


def test_the_beginning_of_a_file_asks_for_more():
    data = dataset_bytes(_slice())
    part = open_part10(data[:600], file="a.dcm", complete=False)
    with pytest.raises(NeedMore):
        walk(part, WANTED, file="a.dcm")


def test_a_deflated_file_stops_at_its_limit():
    data = dataset_bytes(_slice(transfer_syntax=DeflatedExplicitVRLittleEndian))
    part = open_part10(data, file="a.dcm", inflate_limit=100)
    assert not part.complete
    assert len(part.data) == 100


def test_a_file_without_preamble_is_read_and_noted():
    data = dataset_bytes(_slice())
    part = open_part10(data[132:], file="a.dcm")
    assert walk(part, WANTED, file="a.dcm").pixel is not None
    assert [code for code, _ in part.notes] == ["no_preamble"]


@pytest.mark.parametrize("data", [b"", b"hello world", b"\xff\xd8\xff\xe0 jpeg", b"%PDF-1.4", b"\0" * 200])
def test_other_files_are_no_dicom_and_never_quoted(data):
    assert not looks_like_dicom(data)
    with pytest.raises(NotDicomError) as caught:
        open_part10(data, file="a.dcm")
    assert "hello" not in str(caught.value)


def test_header_bytes_leave_out_only_the_pixels():
    data = dataset_bytes(_slice())
    part = open_part10(data, file="a.dcm")
    layout = walk(part, WANTED, file="a.dcm")
    assert len(header_bytes(part, layout)) == len(data) - part.start - (layout.pixel.end - layout.pixel.header)


def test_tag_text():
    assert tag_text(0x7FE00010) == "(7FE0,0010)"


@given(st.binary(max_size=400))
def test_arbitrary_bytes_only_raise_what_is_promised(tail):
    for data in (tail, b"\0" * 128 + b"DICM" + tail, b"\x08\x00\x05\x00CS\x02\x00ab" + tail):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser warns of broken values; `read_series` turns that into a note
            try:
                part = open_part10(data, file="a.dcm")
                layout = walk(part, WANTED, file="a.dcm", bulk=4096)
                parse_header(part, layout, file="a.dcm")
            except (VerictError, NeedMore) as error:
                assert isinstance(error, NeedMore) or error.one_line()
