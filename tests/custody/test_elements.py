"""Every element with its place in the bytes, and what is refused as no dataset."""

from __future__ import annotations

import struct

import pytest
from custody.objects import BIG, DEFLATED, EXPLICIT, IMPLICIT, JPEG_LS, SYNTAXES, Writer, make_elements, make_object
from hypothesis import given
from hypothesis import strategies as st

from verict.custody.byte_stream import is_signable, split_signable, stream_elements
from verict.custody.elements import Element, parse_object
from verict.errors import InputError, NotDicomError

W = Writer()


@pytest.mark.parametrize("name", SYNTAXES)
def test_the_elements_cover_the_dataset_without_gap(name: str) -> None:
    parsed = parse_object(make_object(SYNTAXES[name]), file="slice")
    ends = [parsed.start, *(element.end for element in parsed.elements)]
    assert [element.start for element in parsed.elements] == ends[:-1]
    assert ends[-1] == len(parsed.data)
    assert [element.tag for element in parsed.elements] == sorted(make_elements(Writer(SYNTAXES[name])))
    assert parsed.irregular == ()
    assert parsed.text(0x00080018) == parsed.media_instance_uid == "1.2.826.0.1.3680043.10.1544.7"


def _stream(data: bytes) -> bytes:
    parsed = parse_object(data, file="slice")
    chosen = [e for e in parsed.elements if is_signable(e) and not e.tag >> 16 & 1 and e.tag != 0x7FE00010]
    return b"".join(map(bytes, stream_elements(parsed.data, parsed.coding, chosen)))


@pytest.mark.parametrize("name", SYNTAXES)
def test_the_byte_stream_is_the_same_in_every_encoding(name: str) -> None:
    assert _stream(make_object(SYNTAXES[name])) == _stream(make_object(EXPLICIT))


@pytest.mark.parametrize("name", SYNTAXES)
def test_the_byte_stream_of_a_sequence_has_no_lengths(name: str) -> None:
    """PS3.15 C.1: a sequence without its length, an item without length and delimiter."""
    w = Writer(SYNTAXES[name])
    text = w.element(0x00080104, b"LO", b"odd")
    undefined = w.element(0x00081032, b"SQ", w.item(text, undefined=True) + w.item(b"") + w.end(), undefined=True)
    defined = w.element(0x00081032, b"SQ", w.item(text) + w.item(b"", undefined=True))
    for element in (undefined, defined):
        parsed = parse_object(make_object(SYNTAXES[name], x00081032=element), file="slice")
        found = parsed.find(0x00081032)
        assert found is not None
        assert b"".join(map(bytes, stream_elements(parsed.data, parsed.coding, [found]))) == bytes.fromhex(
            "08003210 5351 0000  feff00e0  08000401 4c4f 0400 6f646400  feff00e0  feffdde0"
        )


def test_numbers_of_big_endian_are_turned() -> None:
    w = Writer(BIG)
    parsed = parse_object(make_object(BIG, x00280010=w.element(0x00280010, b"US", b"\1\2")), file="slice")
    rows, pixels = parsed.find(0x00280010), parsed.find(0x7FE00010)
    assert rows is not None and pixels is not None
    assert parsed.data[rows.value : rows.value_end] == b"\2\1"
    stream = b"".join(map(bytes, stream_elements(parsed.data, parsed.coding, [rows, pixels])))
    assert stream == bytes.fromhex("28001000 5553 0200 0102  e07f1000 4f57 0000 08000000 0100 0200 0300 0400")


def test_encapsulated_pixels_are_streamed_like_items() -> None:
    parsed = parse_object(make_object(JPEG_LS), file="slice")
    pixels = parsed.find(0x7FE00010)
    assert pixels is not None
    stream = b"".join(map(bytes, stream_elements(parsed.data, parsed.coding, [pixels])))
    assert stream == bytes.fromhex("e07f1000 4f42 0000 feff00e0 feff00e0 010203040506 feffdde0")


def test_un_and_what_holds_it_may_not_be_signed() -> None:
    parsed = parse_object(make_object(), file="slice")
    signable, left_out = split_signable(parsed.elements)
    assert [e.tag for e in left_out] == [0x00081110, 0x00091002]
    assert len(signable) + len(left_out) == len(parsed.elements)
    assert [e.tag for e in parsed.elements if is_signable(e)] == [e.tag for e in signable]


def test_private_values_of_implicit_vr_are_unknown_but_their_creators_are_not() -> None:
    parsed = parse_object(make_object(IMPLICIT), file="slice")
    assert {e.tag: e.vr for e in parsed.elements if e.tag >> 16 & 1} == {
        0x00090010: b"LO", 0x00091001: b"UN", 0x00091002: b"UN", 0x00091003: b"UN",
    }  # fmt: skip


def test_private_values_of_implicit_vr_can_be_looked_up() -> None:
    w = Writer(IMPLICIT)
    data = make_object(IMPLICIT, x00190010=w.element(0x00190010, b"LO", b"GEMS_ACQU_01"),
                       x00191002=w.element(0x00191002, b"SL", b"\1\0\0\0"))  # fmt: skip
    element = parse_object(data, file="slice", private=True).find(0x00191002)
    assert element is not None and element.vr == b"SL"
    element = parse_object(data, file="slice").find(0x00191002)
    assert element is not None and element.vr == b"UN"


DAMAGED = {
    "cut in the file meta information": make_object()[:200],
    "file meta information longer than the file": make_object().replace(b"UI\x1a\0", b"UI\xff\xff", 1),
    "cut in a head": make_object()[:-14],
    "cut in a value": make_object()[:-3],
    "an unknown VR": make_object(x00080060=struct.pack("<HH2sH", 8, 0x60, b"ZZ", 2) + b"CT"),
    "a delimiter alone": make_object(x00080060=W.end()),
    "an item alone": make_object(x00080060=W.item(b"")),
    "an element longer than its item": make_object(
        x00081032=W.element(0x00081032, b"SQ", W.item(W.element(0x00080100, b"SH", b"abcd"))[:-2])),
    "an item longer than its sequence": make_object(
        x00081032=W.element(0x00081032, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, 100) + b"abcd")),
    "no item in a sequence": make_object(x00081032=W.element(0x00081032, b"SQ", b"12345678")),
    "an open item without its end": make_object(
        x00081032=W.element(0x00081032, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF))),
    "text of undefined length": make_object(x00081030=W.element(0x00081032, b"UT", W.end(), undefined=True)),
    "pixels without their end": make_object(JPEG_LS)[:-8],
    "a deflated dataset cut off": make_object(DEFLATED)[:-20],
    "no deflated dataset": Writer(DEFLATED).file(b"")[:-4] + b"\xff" * 50,
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_told(name: str) -> None:
    with pytest.raises(InputError) as told:
        parse_object(DAMAGED[name], file="slice")
    assert told.value.file == "slice"


def test_what_is_no_dicom_file_is_told() -> None:
    for data in (b"", b"text", b"\0" * 500):
        with pytest.raises(NotDicomError):
            parse_object(data, file="slice")


def test_what_hangs_in_un_is_never_looked_into() -> None:
    inner = W.element(0x00091010, b"UN", W.item(Writer(IMPLICIT).element(0x00081150, b"UI", b"1.2 ")) + W.end(),
                      undefined=True)  # fmt: skip
    assert parse_object(make_object(x00091010=inner), file="slice").irregular == ()


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_told(tail: bytes) -> None:
    data = make_object()
    try:
        parsed = parse_object(data[:900] + tail, file="slice")
    except InputError:
        return
    assert all(isinstance(element, Element) for element in parsed.elements)


@given(st.integers(132, 400), st.binary(min_size=1, max_size=8), st.booleans())
def test_a_changed_head_is_parsed_or_told(place: int, put: bytes, longer: bool) -> None:
    data = make_object()
    changed = data[:place] + put + data[place + (0 if longer else len(put)) :]
    try:
        parse_object(changed, file="slice", private=True)
    except InputError as told:
        assert told.file == "slice"
