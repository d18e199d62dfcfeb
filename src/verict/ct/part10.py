"""Opening one DICOM file: preamble, file meta information, encoding; and reading one element's head without trust.

Source: PS3.10 7.1 (file meta information), PS3.5 7.1 (data elements) and A.5 (deflated transfer syntax).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import NoReturn

from verict.errors import InputError, NotDicomError

UNDEFINED_LENGTH = 0xFFFFFFFF  # PS3.5 7.1.1
DEFLATED = "1.2.840.10008.1.2.1.99"
IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"

_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SHORT_VRS = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
     b"ST", b"TM", b"UI", b"UL", b"US"}
)  # fmt: skip


class NeedMore(Exception):  # noqa: N818  (a signal between reader and walker, never shown)
    """The walk came to the end of a buffer that is only the beginning of the file."""


@dataclass(frozen=True, eq=False)
class Part10:
    """One DICOM file in memory, opened but not parsed.

    ``data`` holds the dataset (inflated where the file is deflated) and ``start`` its offset there.
    ``complete`` is False where ``data`` is only the beginning. ``media_class`` is MediaStorageSOPClassUID.
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
    media_class: str = ""


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
    syntax = media_class = ""
    while data[pos : pos + 2] == b"\x02\x00":
        tag, _, offset, length = read_head(data, pos, False, False, file)
        if length == UNDEFINED_LENGTH or offset + length > len(data):
            ends_early(data, offset, complete, file)
        if tag == 0x00020010:
            syntax = _text(data[offset : offset + length])
        elif tag == 0x00020002:
            media_class = _text(data[offset : offset + length])
        pos = offset + length
    meta = data[meta_start:pos]
    if not syntax:
        notes.append(("transfer_syntax_missing", "TransferSyntaxUID is missing; found out from the bytes"))
    if syntax == DEFLATED:
        inflated, whole = _inflate(data[pos:], inflate_limit, complete=complete, file=file)
        return Part10(inflated, 0, syntax, False, False, data[:128], meta, whole, tuple(notes),
                      media_class)  # fmt: skip
    big = syntax == EXPLICIT_BIG
    implicit = _sniff_implicit(data, pos)
    if implicit != (syntax == IMPLICIT_LITTLE) and syntax and len(data) > pos:
        notes.append(("vr_encoding", "implicit and explicit VR do not agree with TransferSyntaxUID; read as found"))
    preamble = data[:128] if has_preamble else b""
    return Part10(data, pos, syntax or (IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE), implicit, big, preamble,
                  meta, complete, tuple(notes), media_class)  # fmt: skip


def tag_text(tag: int) -> str:
    """A tag as ``(gggg,eeee)``.

    >>> tag_text(0x00280030)
    '(0028,0030)'
    """
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def read_head(
    data: bytes, pos: int, implicit: bool, big: bool, file: str, *, complete: bool = True
) -> tuple[int, bytes, int, int]:
    """(tag, VR, value offset, value length) of the element at ``pos``; VR is b"" where implicit."""
    if pos + 8 > len(data):
        ends_early(data, pos, complete, file)
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
        ends_early(data, pos, complete, file)
    return tag, vr, pos + 12, struct.unpack_from(order + "I", data, pos + 8)[0]


def ends_early(
    data: bytes, pos: int, complete: bool, file: str, *, tag: int | None = None, needed: int | None = None
) -> NoReturn:
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


def _text(value: bytes) -> str:
    return value.rstrip(b"\0 ").decode("ascii", "replace")


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
