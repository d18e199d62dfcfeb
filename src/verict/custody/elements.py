"""Every element of a dataset with its place in the bytes, so that signing can splice and never rewrite.

Source: PS3.5 7.1 (data elements), 7.5 (nested datasets), A.4 (encapsulated pixel data), 6.2.2 (UN).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from struct import Struct
from typing import NamedTuple

from pydicom.datadict import keyword_for_tag

from verict.ct.part10 import (
    DEFLATED,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    UNDEFINED_LENGTH,
    NeedMore,
    open_part10,
    tag_text,
)
from verict.custody.value_representations import LONG_VRS, SHORT_VRS, look_up_vr
from verict.errors import InputError, NotDicomError

MAX_DEPTH = 32  # datasets within datasets; CT objects hold six at most
MAX_INFLATED_BYTES = 256 << 20
MAX_INFLATE_RATIO = 200  # an all-air slice deflates a hundred times
NATIVE = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED)
PIXEL_REPRESENTATION = 0x00280103
PIXEL_DATA = 0x7FE00010
SOP_INSTANCE_UID = 0x00080018
DIRECTORY_RECORDS = 0x00041220  # PS3.3 F.3.2.2

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD  # PS3.5 7.5


class Element(NamedTuple):
    """One element: ``data[start:end]`` holds all of it, ``data[value:value_end]`` its value.

    ``items`` is None where the value is no sequence of items. ``undefined`` tells an undefined length.
    """

    tag: int
    vr: bytes
    start: int
    value: int
    value_end: int
    end: int
    items: tuple[Item, ...] | None = None
    undefined: bool = False


class Item(NamedTuple):
    """One item: a nested dataset, or a fragment of encapsulated pixel data without ``elements``."""

    value: int
    value_end: int
    elements: tuple[Element, ...]


@dataclass(frozen=True)
class Coding:
    """How a dataset is encoded. ``private`` looks private VRs up where the file does not state them."""

    implicit: bool
    big: bool
    private: bool = False


@dataclass(frozen=True, eq=False)
class ParsedObject:
    """One object, every element placed.

    Parameters
    ----------
    data
        The dataset's bytes; those of the file, or the inflated ones where it is deflated.
    start
        Where the dataset begins in ``data``.
    head
        Preamble and file meta information, as in the file.
    transfer_syntax
        TransferSyntaxUID of the file meta information.
    media_instance_uid
        MediaStorageSOPInstanceUID of the file meta information.
    media_class_uid
        MediaStorageSOPClassUID of the file meta information.
    elements
        The elements of the dataset, in file order.
    irregular
        Where the bytes say something no canonical byte stream holds, in words: reserved bytes that are not
        zero, elements out of order or twice, a transfer syntax that is not the file's.
    """

    data: bytes
    start: int
    head: bytes
    transfer_syntax: str
    media_instance_uid: str
    media_class_uid: str
    coding: Coding
    elements: tuple[Element, ...]
    irregular: tuple[str, ...]
    file: str

    @cached_property
    def by_tag(self) -> dict[int, Element]:
        """The elements of the dataset itself by their tags; of several of one tag the first."""
        return {element.tag: element for element in reversed(self.elements)}

    def find(self, tag: int) -> Element | None:
        """The element of this tag in the dataset itself."""
        return self.by_tag.get(tag)

    def text(self, tag: int) -> str:
        """The text of an element of the dataset, empty where it is missing."""
        return text_of(self.data, self.find(tag))


def find_element(elements: Sequence[Element], tag: int) -> Element | None:
    """The first element of this tag."""
    return next((element for element in elements if element.tag == tag), None)


def text_of(data: bytes, element: Element | None) -> str:
    """The text of an element without its padding; empty where there is none."""
    if element is None or element.items is not None:
        return ""
    return data[element.value : element.value_end].rstrip(b"\0 ").decode("ascii", "replace")


@lru_cache(maxsize=4096)
def name_tag(tag: int) -> str:
    """A tag with its keyword, as messages show it.

    >>> name_tag(0x00100020)
    '(0010,0020) PatientID'
    """
    return f"{tag_text(tag)} {keyword_for_tag(tag) or ('private' if tag >> 16 & 1 else 'unknown')}"


def parse_object(data: bytes, *, file: str, private: bool = False) -> ParsedObject:
    """Parse one DICOM file to its last byte.

    Parameters
    ----------
    data
        The whole file.
    file
        Its name, for messages.
    private
        Look the VRs of private elements up in the dictionary where the file is in implicit VR.

    Raises
    ------
    NotDicomError
        If it is no DICOM file, or a DICOMDIR.
    InputError
        If it is damaged, nested too deeply, or inflates to far more than it holds.
    """
    try:
        opened = open_part10(data, file=file, complete=False, inflate_limit=1)  # it need not inflate: done below
    except NeedMore as error:
        raise InputError(
            "the file ends within its file meta information", file=file, found=f"{len(data)} bytes",
            next_step="copy or export the file again",
        ) from error  # fmt: skip
    start = (132 if data[128:132] == b"DICM" else 0) + len(opened.meta)
    head = data[:start]
    irregular = []
    if opened.transfer_syntax == DEFLATED:
        data, start, padding = _inflate(data, start, file)
        if padding not in (b"", b"\0"):
            irregular.append(f"{len(padding)} bytes follow the deflated dataset (PS3.5 A.5 allows one null)")
    if any(code == "vr_encoding" for code, _ in opened.notes):
        irregular.append("the dataset is not encoded as TransferSyntaxUID (0002,0010) says")
    coding = Coding(opened.implicit, opened.big, private)
    walker = _Walker(data, file, irregular)
    elements = walker.dataset(start, len(data), coding, 0)[0]
    pixels = find_element(elements, PIXEL_DATA)
    if not pixels and find_element(elements, DIRECTORY_RECORDS) and not find_element(elements, SOP_INSTANCE_UID):
        raise NotDicomError("no object but the directory of a medium (DICOMDIR)", file=file)
    if pixels is not None and pixels.undefined != (opened.transfer_syntax not in NATIVE):
        irregular.append("native or encapsulated pixel data against TransferSyntaxUID (0002,0010)")
    meta_uid = _meta_text(opened.meta, 0x00020003, file)
    return ParsedObject(data, start, head, opened.transfer_syntax, meta_uid, opened.media_class, coding, elements,
                        tuple(irregular), file)  # fmt: skip




def _is_badly_padded(uid: bytes) -> bool:
    return b" " in uid or uid.endswith(b"\0\0") or b"\0" in uid[:-1]


_PLAIN_HEADS: dict[bytes, tuple[int, bytes, bool]] = {}
"""(tag, VR, whether it is a UID) by the six bytes that begin an element of explicit little endian; -1 ends a run."""

_MAX_HEADS = 1 << 14  # kept; what a hostile file makes up beyond is read anew each time


def _read_plain_head(head: bytes) -> tuple[int, bytes, bool]:
    tag, vr = int.from_bytes(head[:2], "little") << 16 | int.from_bytes(head[2:4], "little"), head[4:]
    known = (tag, vr, vr == b"UI") if vr in SHORT_VRS and tag < 0xFFFE0000 else (-1, b"", False)
    if len(_PLAIN_HEADS) < _MAX_HEADS:
        _PLAIN_HEADS[head] = known
    return known


_HEAD = {big: Struct((">" if big else "<") + "HH2sH").unpack_from for big in (False, True)}
_TAG_LENGTH = {big: Struct((">" if big else "<") + "HHI").unpack_from for big in (False, True)}
_LENGTH = {big: Struct((">" if big else "<") + "I").unpack_from for big in (False, True)}
_SHORT = {big: Struct((">" if big else "<") + "H").unpack_from for big in (False, True)}


class _Walker:
    """Walks one object's bytes; keeps what is irregular."""

    def __init__(self, data: bytes, file: str, irregular: list[str]) -> None:
        self.data, self.file, self.irregular = data, file, irregular

    def dataset(
        self, pos: int, end: int, coding: Coding, depth: int, *, open_ended: bool = False
    ) -> tuple[tuple[Element, ...], int, int]:
        """(elements, end of the last, position after the delimiter) of a dataset."""
        if depth > MAX_DEPTH:
            raise self.damaged(pos, f"datasets nested {depth} deep", f"at most {MAX_DEPTH}")
        data, last, signed = self.data, -1, False
        elements: list[Element] = []
        creators: dict[int, str] = {}
        plain = not coding.implicit and not coding.big
        while True:
            if plain:
                pos, last = self._plain_run(pos, end, elements, last)
            if pos >= end:
                break
            tag, vr, value, length = self._head(pos, end, coding, signed, creators)
            if open_ended and tag == ITEM_END:
                self._check_delimiter(pos, coding)
                return tuple(elements), pos, value
            if tag >> 16 == 0xFFFE:
                raise self.damaged(pos, f"delimiter {tag_text(tag)}", "an element")
            if tag <= last:
                self.irregular.append(f"{name_tag(tag)} stands twice or out of order")
            last = tag
            element = self._element(Element(tag, vr, pos, value, length, end), coding, depth)
            if tag == PIXEL_REPRESENTATION and length == 2:
                signed = bool(_SHORT[coding.big](data, value)[0])
            elif coding.private and coding.implicit and tag >> 16 & 1 and tag & 0xFFFF < 0x100:
                creators[tag] = text_of(data, element)
            elements.append(element)
            pos = element.end
        if open_ended:
            raise self.damaged(pos, "the end", "an item delimiter")
        return tuple(elements), pos, pos

    def _element(self, opened: Element, coding: Coding, depth: int) -> Element:
        """An element whose head is read; ``opened`` holds its length and its dataset's end for its ends."""
        tag, vr, start, value, length, limit = opened[:6]
        if vr == b"SQ" or length == UNDEFINED_LENGTH:
            known = len(self.irregular)
            try:
                return self._sequence(opened, coding, depth)
            except InputError:
                if not (coding.implicit and tag >> 16 & 1) or length == UNDEFINED_LENGTH:
                    raise
            del self.irregular[known:]  # a sequence by the dictionary of private attributes alone: as any value unknown
            vr = b"UN"
        if length > limit - value:
            raise self.damaged(start, f"{limit - value} bytes left for {tag_text(tag)}", f"{length} bytes")
        if vr == b"UI" and _is_badly_padded(self.data[value : value + length]):
            self.irregular.append(f"{name_tag(tag)} is padded with more than one null (PS3.5 9.1)")
        return Element(tag, vr, start, value, value + length, value + length)

    def _plain_run(self, pos: int, end: int, elements: list[Element], last: int) -> tuple[int, int]:
        """Take the elements of short VRs in order and of explicit little endian, as most are, up to the first other.

        What `dataset` does for any element, in the few steps these need; it alone decides on whatever is special.
        """
        data, heads, make = self.data, _PLAIN_HEADS, tuple.__new__
        while pos + 8 <= end:
            head = data[pos : pos + 6]
            known = heads.get(head) or _read_plain_head(head)
            tag, vr, is_uid = known
            value = pos + 8
            after = value + data[pos + 6] + (data[pos + 7] << 8)
            if tag <= last or after > end or (is_uid and _is_badly_padded(data[value:after])):
                break
            elements.append(make(Element, (tag, vr, pos, value, after, after, None, False)))
            pos, last = after, tag
        return pos, last

    def _head(
        self, pos: int, end: int, coding: Coding, signed: bool, creators: dict[int, str]
    ) -> tuple[int, bytes, int, int]:
        """(tag, VR, place of the value, its length) of the element or delimiter at a place."""
        if pos + 8 > end:
            raise self.damaged(pos, f"{end - pos} bytes left", "a whole element")
        group, number, vr, length = _HEAD[coding.big](self.data, pos)
        tag = group << 16 | number
        if group == 0xFFFE or coding.implicit:
            length = _LENGTH[coding.big](self.data, pos + 4)[0]
            known = creators if coding.private else None
            return tag, b"" if group == 0xFFFE else look_up_vr(tag, known, signed=signed), pos + 8, length
        if vr in SHORT_VRS:
            return tag, vr, pos + 8, length
        if vr not in LONG_VRS:
            raise self.damaged(pos, f"value representation {vr!r}", "one of PS3.5 table 6.2-1")
        if pos + 12 > end:
            raise self.damaged(pos, f"{end - pos} bytes left", "a whole element")
        if length:
            self.irregular.append(f"the reserved bytes of {name_tag(tag)} are not zero")
        return tag, vr, pos + 12, _LENGTH[coding.big](self.data, pos + 8)[0]

    def _sequence(self, opened: Element, coding: Coding, depth: int) -> Element:
        """The items of a sequence or of encapsulated pixels, see `_element`."""
        tag, vr, start, pos, length, limit = opened[:6]
        undefined = length == UNDEFINED_LENGTH
        if not undefined and length > limit - pos:
            raise self.damaged(start, f"{limit - pos} bytes left for {tag_text(tag)}", f"{length} bytes")
        if vr == b"UN":  # PS3.5 6.2.2 note 2: implicit little endian inside; never signed, so it may be irregular
            coding = Coding(implicit=True, big=False)
            self = _Walker(self.data, self.file, [])
        elif vr != b"SQ" and not (tag == PIXEL_DATA and vr in (b"OB", b"OW") and not coding.big):
            raise self.damaged(start, f"{tag_text(tag)} of undefined length with VR {vr!r}", "a defined length")
        fragments = vr in (b"OB", b"OW")
        end = limit if undefined else pos + length
        items: list[Item] = []
        first = pos
        while undefined or pos < end:
            if pos + 8 > end:
                raise self.damaged(pos, f"{end - pos} bytes left", "an item or a delimiter")
            group, number, size = _TAG_LENGTH[coding.big](self.data, pos)
            item_tag = group << 16 | number
            if undefined and item_tag == SEQUENCE_END:
                self._check_delimiter(pos, coding)
                return Element(tag, vr, start, first, pos, pos + 8, tuple(items), True)
            if item_tag != ITEM:
                raise self.damaged(pos, tag_text(item_tag), "an item")
            item, pos = self._item(pos + 8, size, end, coding, depth, fragment=fragments)
            items.append(item)
        return Element(tag, vr, start, first, end, end, tuple(items))

    def _item(
        self, pos: int, size: int, end: int, coding: Coding, depth: int, *, fragment: bool
    ) -> tuple[Item, int]:
        if size == UNDEFINED_LENGTH and not fragment:
            elements, last, after = self.dataset(pos, end, coding, depth + 1, open_ended=True)
            return Item(pos, last, elements), after
        if size > end - pos:
            raise self.damaged(pos, f"an item of {size} bytes", f"at most {end - pos}")
        inner = () if fragment else self.dataset(pos, pos + size, coding, depth + 1)[0]
        return Item(pos, pos + size, inner), pos + size

    def _check_delimiter(self, pos: int, coding: Coding) -> None:
        if _LENGTH[coding.big](self.data, pos + 4)[0]:
            self.irregular.append(f"a delimiter at byte {pos} has a length that is not zero")

    def damaged(self, pos: int, found: str, expected: str) -> InputError:
        """The error for bytes that are no dataset."""
        return InputError(
            f"the dataset is damaged at byte {pos}", file=self.file, found=found, expected=expected,
            next_step="copy or export the file again",
        )  # fmt: skip


def _inflate(data: bytes, start: int, file: str) -> tuple[bytes, int, bytes]:
    """(inflated dataset, its start, what follows the deflated stream)."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    limit = max(MAX_INFLATED_BYTES, MAX_INFLATE_RATIO * len(data))
    try:
        inflated = inflater.decompress(data[start:], limit)
    except zlib.error as error:
        raise InputError("the deflated dataset is damaged", file=file, found=str(error)) from error
    if not inflater.eof:
        raise InputError(
            "the deflated dataset ends early or inflates to far more than it holds", file=file,
            found=f"{len(inflated)} bytes", expected=f"at most {limit} bytes", next_step="export the file again",
        )  # fmt: skip
    return inflated, 0, inflater.unused_data


def _meta_text(meta: bytes, tag: int, file: str) -> str:
    elements = _Walker(meta, file, []).dataset(0, len(meta), Coding(implicit=False, big=False), 0)[0]
    return text_of(meta, find_element(elements, tag))
