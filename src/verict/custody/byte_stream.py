"""The canonical byte stream a MAC is calculated over (PS3.3 C.12.1.1.3.1.1, PS3.15 C.1).

Explicit VR little endian, whatever the file is encoded in. Sequences and items carry no lengths, items no
delimiter; a sequence ends with its delimiter. Fragments of encapsulated pixel data are written like items.
The standard leaves open what becomes of values no writer should write; they go in as DCMTK takes them: an odd
length is filled up with a null, and of several trailing spaces those that padding does not need are left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

import numpy as np

from verict.custody.elements import Coding, Element
from verict.custody.value_representations import LONG_VRS

_ITEM = b"\xfe\xff\x00\xe0"  # (FFFE,E000)
_SEQUENCE_END = b"\xfe\xff\xdd\xe0"  # (FFFE,E0DD)
_SWAPPED = {b"US": 2, b"SS": 2, b"OW": 2, b"AT": 2, b"UL": 4, b"SL": 4, b"FL": 4, b"OF": 4, b"OL": 4,
            b"FD": 8, b"OD": 8, b"OV": 8, b"SV": 8, b"UV": 8}  # fmt: skip
"""Bytes of one number of each VR whose values depend on the byte order (PS3.5 7.3)."""
_TEXT = frozenset({b"AE", b"AS", b"CS", b"DA", b"DS", b"DT", b"IS", b"LO", b"LT", b"PN", b"SH", b"ST", b"TM",
                   b"UC", b"UR", b"UT"})  # fmt: skip
"""VRs padded with spaces (PS3.5 6.2)."""
_LEFT_OUT = frozenset({0x00080001, 0x4FFE0001, 0xFFFAFFFA, 0xFFFCFFFC})
"""LengthToEnd, MACParametersSequence, DigitalSignaturesSequence, DataSetTrailingPadding."""


def is_signable_tag(tag: int) -> bool:
    """Whether PS3.3 C.12.1.1.3.1.1 lets an element of this tag be signed, as far as its tag goes.

    >>> is_signable_tag(0x00100020), is_signable_tag(0x00100000), is_signable_tag(0xFFFAFFFA)
    (True, False, False)
    """
    return tag >= 0x00080000 and tag & 0xFFFF != 0 and tag not in _LEFT_OUT


def is_signable(element: Element) -> bool:
    """Whether an element may be signed: neither by its tag forbidden, nor UN, nor a sequence that holds UN."""
    if element.vr == b"UN" or not is_signable_tag(element.tag):
        return False
    if element.items is None or element.vr != b"SQ":
        return True
    return not any(_holds_unknown(item.elements) for item in element.items)


def split_signable(elements: Iterable[Element]) -> tuple[list[Element], list[Element]]:
    """(elements that may be signed, those that may not though their tag would let them)."""
    signable: list[Element] = []
    left_out: list[Element] = []
    for element in elements:
        tag = element[0]
        if tag < 0x00080000 or not tag & 0xFFFF or tag in _LEFT_OUT:
            continue
        if element.vr != b"UN" and (element.items is None or is_signable(element)):
            signable.append(element)
        else:
            left_out.append(element)
    return signable, left_out


def _holds_unknown(elements: Iterable[Element]) -> bool:
    return any(
        element.vr == b"UN" or (element.items is not None and any(_holds_unknown(i.elements) for i in element.items))
        for element in elements
    )


def stream_elements(data: bytes, coding: Coding, elements: Iterable[Element]) -> Iterator[bytes | memoryview]:
    """The canonical bytes of elements, in pieces to hash one after another.

    What stands in the file as in the stream is handed out as it lies, neighbours as one piece.
    """
    view = memoryview(data)
    plain = not coding.implicit and not coding.big
    run_start = run_end = -1
    for element in elements:
        _, vr, start, _, _, end, items, _ = element
        if plain and items is None and not (end - start) & 1 and (
            vr not in _TEXT or data[end - 1] != 0x20 or data[end - 2] != 0x20  # no padding but what evenness needs
        ):
            if start == run_end:
                run_end = end
                continue
            if run_end >= 0:
                yield view[run_start:run_end]
            run_start, run_end = start, end
            continue
        if run_end >= 0:
            yield view[run_start:run_end]
            run_start = run_end = -1
        out: list[bytes | memoryview] = []
        _add_element(out, view, element, coding)
        yield from out
    if run_end >= 0:
        yield view[run_start:run_end]


def head_bytes(tag: int, vr: bytes, length: int | None) -> bytes:
    """Tag, VR and length as the stream holds them; a sequence has no length."""
    if length is None:
        return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, 0)
    if vr in LONG_VRS:
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, length)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, length)


def _add_element(out: list[bytes | memoryview], data: memoryview, element: Element, coding: Coding) -> None:
    if element.items is not None:
        out.append(head_bytes(element.tag, element.vr if element.vr == b"SQ" else b"OB", None))
        for item in element.items:
            out.append(_ITEM)
            if element.vr == b"SQ":
                for inner in item.elements:
                    if is_signable_tag(inner.tag):
                        _add_element(out, data, inner, coding)
            else:
                out.append(data[item.value : item.value_end])
                if (item.value_end - item.value) & 1:
                    out.append(b"\0")
        out.append(_SEQUENCE_END)
        return
    value: bytes | memoryview = data[element.value : element.value_end]
    pad = b""
    if len(value) & 1:
        pad = b"\0"
    elif element.vr in _TEXT and value[-1:] == b" ":
        value = bytes(value).rstrip(b" ")
        pad = b" " * (len(value) & 1)
    out.append(head_bytes(element.tag, element.vr, len(value) + len(pad)))
    out.append(to_little_endian(value, element.vr, coding.big))
    if pad:
        out.append(pad)


def to_little_endian(value: bytes | memoryview, vr: bytes, big: bool) -> bytes | memoryview:
    """A value in little endian; the same turns a little endian value into big endian."""
    width = _SWAPPED.get(vr, 1)
    if not big or width == 1 or len(value) % width:
        return value
    return np.frombuffer(value, f"u{width}").byteswap().tobytes()
