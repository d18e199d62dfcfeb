"""The bytes of one DICOM file, walked without trust: where the values are, where the pixels are.

The walk uses no recursion, follows no length that leaves the file and gives up at a bounded depth, so that only
files it has passed are ever given to a full parser. Source: PS3.5 7.1 (data elements), 7.5 (sequences), A.4
(encapsulated pixel data), PS3.10 7.1 (file meta information).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from verict.errors import InputError, NotDicomError, PixelError

MAX_SEQUENCE_DEPTH = 24  # CT headers nest 3 or 4 deep; a hostile one nests thousands deep
UNDEFINED_LENGTH = 0xFFFFFFFF  # PS3.5 7.1.1
PIXEL_DATA = 0x7FE00010
DEFLATED = "1.2.840.10008.1.2.1.99"
IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"

_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SHORT_VRS = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
     b"ST", b"TM", b"UI", b"UL", b"US"}
)  # fmt: skip
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


class NeedMore(Exception):  # noqa: N818  (a signal between reader and walker, never shown)
    """The walk came to the end of a buffer that is only the beginning of the file."""


@dataclass(frozen=True, eq=False)
class Part10:
    """One DICOM file in memory, opened but not parsed.

    ``data`` holds the dataset (inflated where the file is deflated) and ``start`` its offset there.
    ``complete`` is False where ``data`` is only the beginning.
    """

    data: bytes
    start: int
    transfer_syntax: str
    implicit: bool
    big: bool
    preamble: bytes = b""
    meta: bytes = field(default=b"", repr=False)
    complete: bool = True
    notes: tuple[tuple[str, str], ...] = ()


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


def looks_like_dicom(head: bytes) -> bool:
    """Whether the first bytes of a file are a DICOM file's, with or without preamble."""
    if head[128:132] == b"DICM":
        return True
    if len(head) < 8:
        return False
    group, element = struct.unpack_from("<HH", head)
    if group not in (0x0002, 0x0008) or element > 0x0100:
        return False
    return head[4:6] in _SHORT_VRS or head[4:6] in _LONG_VRS or struct.unpack_from("<I", head, 4)[0] < 256


def open_part10(data: bytes, *, file: str, complete: bool = True, inflate_limit: int = 1 << 20) -> Part10:
    """Read preamble and file meta information and find where the dataset starts.

    Parameters
    ----------
    data
        The file, or its beginning.
    file
        Its name, for messages.
    complete
        Whether ``data`` is the whole file.
    inflate_limit
        The most bytes a deflated dataset may inflate to; beyond it the result is incomplete.

    Raises
    ------
    NotDicomError
        If the bytes are no DICOM file.
    InputError
        If the file meta information is damaged.
    """
    if not looks_like_dicom(data):
        raise NotDicomError(
            "not a DICOM file",
            file=file,
            found=_describe(data),
            expected="a DICOM file (PS3.10)",
            next_step="check the export",
        )
    notes: list[tuple[str, str]] = []
    has_preamble = data[128:132] == b"DICM"
    pos = meta_start = 132 if has_preamble else 0
    if not has_preamble:
        notes.append(("no_preamble", "the file has no DICOM preamble; read as a bare dataset (PS3.10 7.1)"))
    syntax = ""
    while data[pos : pos + 2] == b"\x02\x00":
        tag, _, offset, length = _read_head(data, pos, False, False, file)
        if length == UNDEFINED_LENGTH or offset + length > len(data):
            _ends_early(data, offset, complete, file)
        if tag == 0x00020010:
            syntax = data[offset : offset + length].rstrip(b"\0 ").decode("ascii", "replace")
        pos = offset + length
    meta = data[meta_start:pos]
    if not syntax:
        notes.append(("transfer_syntax_missing", "TransferSyntaxUID is missing; found out from the bytes"))
    if syntax == DEFLATED:
        inflated, whole = _inflate(data[pos:], inflate_limit, complete=complete, file=file)
        return Part10(inflated, 0, syntax, False, False, data[:128], meta, whole, tuple(notes))
    big = syntax == EXPLICIT_BIG
    implicit = _sniff_implicit(data, pos)
    if implicit != (syntax == IMPLICIT_LITTLE) and syntax and len(data) > pos:
        notes.append(("vr_encoding", "implicit and explicit VR do not agree with TransferSyntaxUID; read as found"))
    preamble = data[:128] if has_preamble else b""
    return Part10(data, pos, syntax or (IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE), implicit, big, preamble,
                  meta, complete, tuple(notes))  # fmt: skip


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
        tag, vr, offset, length = _read_head(data, pos, part.implicit, big, file, complete=part.complete)
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
            _ends_early(data, offset, part.complete, file, tag=tag, needed=length)
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


def tag_text(tag: int) -> str:
    """A tag as ``(gggg,eeee)``.

    >>> tag_text(0x00280030)
    '(0028,0030)'
    """
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _describe(data: bytes) -> str:
    """What a file that is not DICOM seems to be; its content is never quoted, it may name a patient."""
    if not data:
        return "an empty file"
    known = ((b"\xff\xd8\xff", "a JPEG picture"), (b"\x89PNG", "a PNG picture"), (b"%PDF", "a PDF document"),
             (b"PK\x03\x04", "a zip"), (b"\x1f\x8b", "a gzip file"))  # fmt: skip
    for start, name in known:
        if data.startswith(start):
            return name
    plain = all(byte >= 32 or byte in (9, 10, 13) for byte in data[:64])
    return "text" if plain else "other binary data"


def _read_head(
    data: bytes, pos: int, implicit: bool, big: bool, file: str, *, complete: bool = True
) -> tuple[int, bytes, int, int]:
    """(tag, VR, value offset, value length) of the element at ``pos``; VR is b"" where implicit."""
    if pos + 8 > len(data):
        _ends_early(data, pos, complete, file)
    order = ">" if big else "<"
    group, element = struct.unpack_from(order + "HH", data, pos)
    tag = group << 16 | element
    if implicit or group == 0xFFFE:
        return tag, b"", pos + 8, struct.unpack_from(order + "I", data, pos + 4)[0]
    vr = data[pos + 4 : pos + 6]
    if vr in _SHORT_VRS:
        return tag, vr, pos + 8, struct.unpack_from(order + "H", data, pos + 6)[0]
    if vr not in _LONG_VRS:
        raise InputError(
            f"the header is damaged at byte {pos}",
            file=file,
            tag=tag_text(tag),
            found=f"value representation {vr!r}",
            expected="one of PS3.5 table 6.2-1",
            next_step="export the file again",
        )
    if pos + 12 > len(data):
        _ends_early(data, pos, complete, file)
    return tag, vr, pos + 12, struct.unpack_from(order + "I", data, pos + 8)[0]


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
            tag, vr, offset, length = _read_head(data, pos, implicit, big, file, complete=part.complete)
            if tag == (_SEQUENCE_END if kind == "sequence" else _ITEM_END) and end is None:
                stack.pop()
                pos = offset
                continue
            if kind == "sequence" and tag != _ITEM:
                raise _damaged_sequence(tag, pos, file)
            limit = None if length == UNDEFINED_LENGTH else offset + length
            if limit is not None and limit > (len(data) if end is None else end):
                _ends_early(data, offset, part.complete, file, tag=tag, needed=length)
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
                        expected="a CT header nests a few levels",
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


def _inflate(packed: bytes, limit: int, *, complete: bool, file: str) -> tuple[bytes, bool]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(packed, limit)
    except zlib.error as error:
        raise InputError(
            "the deflated dataset is damaged", file=file, found=str(error), next_step="export the file again"
        ) from error
    if complete and not inflater.eof and len(inflated) < limit:
        raise InputError(
            "the deflated dataset ends early",
            file=file,
            found=f"{len(inflated)} bytes",
            next_step="copy or export the file again",
        )
    return inflated, inflater.eof


def _sniff_implicit(data: bytes, pos: int) -> bool:
    vr = data[pos + 4 : pos + 6]
    return not (vr in _SHORT_VRS or vr in _LONG_VRS)


def _item_bytes(big: bool) -> bytes:
    return b"\xff\xfe\xe0\x00" if big else b"\xfe\xff\x00\xe0"


def _may_be_left_out(tag: int, vr: bytes) -> bool:
    group = tag >> 16
    return bool(group & 1) or group & 0xFF00 in (0x6000, 0x5000) or group == 0xFFFC or vr == b"UN"


def _ends_early(
    data: bytes, pos: int, complete: bool, file: str, *, tag: int | None = None, needed: int | None = None
) -> None:
    """Say that the file ends where more was promised, or ask for more of it."""
    if not complete:
        raise NeedMore
    raise InputError(
        "the file ends early",
        file=file,
        tag=None if tag is None else tag_text(tag),
        found=f"{len(data) - pos} bytes left" if needed is not None else f"{len(data)} bytes",
        expected=None if needed is None else f"{needed} bytes",
        next_step="copy or export the file again",
    )
