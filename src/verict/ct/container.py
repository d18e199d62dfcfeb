"""The bytes of one DICOM file, walked without trust: where the values are, where the pixels are.

The walk uses no recursion, follows no length that leaves the file and gives up at a bounded depth, so that only
files it has passed are ever given to a full parser. Source: PS3.5 7.1 (data elements), 7.5 (sequences), A.4
(encapsulated pixel data), PS3.10 7.1 (file meta information).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from verict.ct.part10 import UNDEFINED_LENGTH, Part10, ends_early, read_head, tag_text
from verict.errors import InputError, PixelError

MAX_SEQUENCE_DEPTH = 24  # CT headers nest 3 or 4 deep; a hostile one nests thousands deep
PIXEL_DATA = 0x7FE00010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


@dataclass(frozen=True)
class PixelElement:
    """Where Pixel Data lies in `Part10.data`: value offset, length in bytes, and the end of the element.

    ``fragments`` lists (offset, length) of each fragment of encapsulated data, the offset table first;
    None where the data is native. ``short_by`` is how many bytes the file lacks.
    """

    header: int
    offset: int
    length: int
    end: int
    fragments: tuple[tuple[int, int], ...] | None
    short_by: int = 0


@dataclass(frozen=True, eq=False)
class Layout:
    """What a walk found: raw top-level values by tag, the pixel element, and bulky values to leave out."""

    values: dict[int, bytes]
    pixel: PixelElement | None
    bulky: tuple[tuple[int, int, int], ...] = ()


def walk(part: Part10, wanted: frozenset[int], *, file: str, last: int | None = None, bulk: int = 0) -> Layout:
    """Walk the top level of a dataset.

    Parameters
    ----------
    part
        From `open_part10`.
    wanted
        Tags whose raw value is kept; the first occurrence counts.
    file
        Its name, for messages.
    last
        Stop after this tag (headers only). None walks to the end, into every sequence, and finds the pixels.
    bulk
        Values longer than this in private, overlay and unknown elements are listed as bulky; 0 lists none.

    Raises
    ------
    InputError
        If a length leaves the file, a VR does not exist, or sequences nest too deep.
    NeedMore
        If ``part`` is incomplete and the walk came to its end.
    """
    data, end, big = part.data, len(part.data), part.big
    values: dict[int, bytes] = {}
    pixel: PixelElement | None = None
    bulky: list[tuple[int, int, int]] = []
    pos = part.start
    while pos < end:
        if end - pos < 8 and part.complete and not any(data[pos:end]):
            break
        tag, vr, offset, length = read_head(data, pos, part.implicit, big, file, complete=part.complete)
        if last is not None and tag > last:
            break
        if tag == PIXEL_DATA:
            pixel = _locate_pixels(part, pos, offset, length, file)
            pos = pixel.end
            continue
        if length == UNDEFINED_LENGTH:
            pos = _skip_sequence(part, offset, None, part.implicit or vr == b"UN", file)
            continue
        if offset + length > end:
            if tag >> 16 == 0xFFFC and part.complete:  # data set trailing padding: nothing is lost
                bulky.append((pos, offset, end - offset))
                break
            ends_early(data, offset, part.complete, file, tag=tag, needed=length)
        if tag in wanted and tag not in values:
            values[tag] = data[offset : offset + length]
        elif last is None and length >= 8:
            _check_value(part, vr, offset, length, file)
            if bulk and length > bulk and _may_be_left_out(tag, vr):
                bulky.append((pos, offset, length))
        pos = offset + length
    return Layout(values, pixel, tuple(bulky))


def header_bytes(part: Part10, layout: Layout) -> bytes:
    """The dataset without Pixel Data and with bulky values emptied, ready for a full parser."""
    cuts: list[tuple[int, int, bytes]] = []
    for head, offset, length in layout.bulky:
        kept = part.data[head : offset - 4] + b"\0\0\0\0"
        if offset - head == 8 and not part.implicit:  # short form: the length is two bytes
            kept = part.data[head : offset - 2] + b"\0\0"
        cuts.append((head, offset + length, kept))
    if layout.pixel is not None:
        cuts.append((layout.pixel.header, min(layout.pixel.end, len(part.data)), b""))
    pieces, pos = [], part.start
    for start, stop, kept in sorted(cuts):
        pieces += [part.data[pos:start], kept]
        pos = stop
    pieces.append(part.data[pos:])
    return b"".join(pieces)


def _check_value(part: Part10, vr: bytes, offset: int, length: int, file: str) -> None:
    """Walk into a value that is, or may be, a sequence of known length."""
    nested = vr == b"SQ"
    if nested or (vr in (b"UN", b"") and part.data[offset : offset + 4] == _item_bytes(part.big)):
        _skip_sequence(part, offset, offset + length, part.implicit or not nested, file, strict=nested)


def _skip_sequence(part: Part10, pos: int, stop: int | None, implicit: bool, file: str, *, strict: bool = True) -> int:
    """Walk a sequence from its first item to its end and return the offset behind it, without recursion.

    ``strict`` False is for values that only may be a sequence: anything that does not fit is then no error.
    """
    # A stack of (what is open, where it ends or None, whether implicit): sequences hold items, items hold elements.
    stack: list[tuple[str, int | None, bool]] = [("sequence", stop, implicit)]
    data, big = part.data, part.big
    try:
        while stack:
            kind, end, implicit = stack[-1]
            if end is not None and pos >= end:
                stack.pop()
                continue
            tag, vr, offset, length = read_head(data, pos, implicit, big, file, complete=part.complete)
            if tag == (_SEQUENCE_END if kind == "sequence" else _ITEM_END) and end is None:
                stack.pop()
                pos = offset
                continue
            if kind == "sequence" and tag != _ITEM:
                raise _damaged_sequence(tag, pos, file)
            limit = None if length == UNDEFINED_LENGTH else offset + length
            if limit is not None and limit > (len(data) if end is None else end):
                ends_early(data, offset, part.complete, file, tag=tag, needed=length)
            pos = offset
            if kind == "sequence":
                stack.append(("item", limit, implicit))
            elif vr == b"SQ" or limit is None or (vr == b"" and data[offset : offset + 4] == _item_bytes(big)):
                stack.append(("sequence", limit, implicit or vr == b"UN"))
                if len(stack) > 2 * MAX_SEQUENCE_DEPTH:
                    raise InputError(
                        "sequences are nested too deep",
                        file=file,
                        tag=tag_text(tag),
                        found=f"more than {MAX_SEQUENCE_DEPTH} levels",
                        expected="a few levels, as CT headers have",
                        next_step="treat the file as damaged or hostile",
                    )
            elif limit is not None:
                pos = limit
    except InputError as error:
        if strict or stop is None or "too deep" in error.problem:
            raise
        return stop
    return pos


def _damaged_sequence(tag: int, pos: int, file: str) -> InputError:
    return InputError(
        f"a sequence is damaged at byte {pos}",
        file=file,
        tag=tag_text(tag),
        expected="an item (FFFE,E000)",
        next_step="export the file again",
    )


def _locate_pixels(part: Part10, head: int, offset: int, length: int, file: str) -> PixelElement:
    end = len(part.data)
    if length != UNDEFINED_LENGTH:
        short_by = max(0, offset + length - end)
        return PixelElement(head, offset, length - short_by, min(offset + length, end), None, short_by)
    fragments: list[tuple[int, int]] = []
    pos = offset
    while pos + 8 <= end:
        tag, size = struct.unpack_from("<HHI", part.data, pos)[:2], struct.unpack_from("<I", part.data, pos + 4)[0]
        number = tag[0] << 16 | tag[1]
        if number == _SEQUENCE_END:
            return PixelElement(head, offset, pos - offset, pos + 8, tuple(fragments))
        if number != _ITEM or size == UNDEFINED_LENGTH:
            raise PixelError(
                f"the compressed pixel data is damaged at byte {pos}",
                file=file,
                tag="PixelData (7FE0,0010)",
                found=tag_text(number),
                expected="a fragment (FFFE,E000)",
                next_step="export the file again",
            )
        if pos + 8 + size > end:
            fragments.append((pos + 8, end - pos - 8))
            return PixelElement(head, offset, end - offset, end, tuple(fragments), pos + 8 + size - end)
        fragments.append((pos + 8, size))
        pos += 8 + size
    return PixelElement(head, offset, end - offset, end, tuple(fragments), short_by=8)


def _item_bytes(big: bool) -> bytes:
    return b"\xff\xfe\xe0\x00" if big else b"\xfe\xff\x00\xe0"


def _may_be_left_out(tag: int, vr: bytes) -> bool:
    group = tag >> 16
    return bool(group & 1) or group & 0xFF00 in (0x6000, 0x5000) or group == 0xFFFC or vr == b"UN"
