"""MAC Parameters Sequence and Digital Signatures Sequence: read without trust, and written (PS3.3 C.12.1.1.3)."""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from itertools import pairwise

from verict.custody.byte_stream import head_bytes, is_signable_tag, stream_elements, to_little_endian
from verict.custody.elements import Coding, Element, Item
from verict.custody.profiles import PURPOSE_CODES, PURPOSE_SCHEME, Purpose

MAC_PARAMETERS, DIGITAL_SIGNATURES = 0x4FFE0001, 0xFFFAFFFA
_MAC_ID, _SYNTAX, _ALGORITHM, _SIGNED_TAGS = 0x04000005, 0x04000010, 0x04000015, 0x04000020
_UID, _TIME, _TYPE, _CERTIFICATE, _SIGNATURE = 0x04000100, 0x04000105, 0x04000110, 0x04000115, 0x04000120
_PURPOSE = 0x04000401
_CODE, _SCHEME, _MEANING = 0x00080100, 0x00080102, 0x00080104
_OUTSIDE_MAC = frozenset({_CERTIFICATE, _SIGNATURE, 0x04000305, 0x04000310})  # PS3.3 C.12.1.1.3.1.1
_CERTIFICATE_TYPE = "X509_1993_SIG"  # the one PS3.3 defines
_PLAIN = re.compile(rb"[!-~]*")
_DATE_TIME = re.compile(r"(\d{14})(\.\d{1,6})?([+-]\d{4})?")

MAC_NAMES = {"SHA256": "sha256", "SHA384": "sha384", "SHA512": "sha512",
             "RIPEMD160": "ripemd160", "SHA1": "sha1", "MD5": "md5"}  # fmt: skip
"""Defined terms of MACAlgorithm (0400,0015), and their names in hashlib."""

STRONG_MACS = ("SHA256", "SHA384", "SHA512")
MAX_SIGNED_TAGS = 16383  # an AT value in explicit VR has 65534 bytes at most


class MalformedSignatureError(ValueError):
    """A signature that cannot be one; the message says why. Caught where verdicts are made."""


@dataclass(frozen=True)
class MacParameters:
    """One item of the MAC Parameters Sequence."""

    number: int
    transfer_syntax: str
    algorithm: str
    tags: tuple[int, ...]


@dataclass(frozen=True)
class SignatureItem:
    """One item of the Digital Signatures Sequence; ``elements`` are as they lie in the file."""

    mac_number: int
    uid: str
    signed_at: datetime
    signed_at_text: str
    certificate: bytes
    signature: bytes
    purpose: str
    elements: tuple[Element, ...]

    def stream(self, data: bytes, coding: Coding) -> Iterator[bytes | memoryview]:
        """The part of the byte stream that stands for this item: all of it but certificate, signature, timestamp."""
        inside = [e for e in self.elements if is_signable_tag(e.tag) and e.tag not in _OUTSIDE_MAC]
        yield from stream_elements(data, coding, inside)


def read_mac_parameters(data: bytes, coding: Coding, item: Item) -> MacParameters:
    """Read one item of the MAC Parameters Sequence.

    Raises
    ------
    MalformedSignatureError
        If it does not hold exactly its four attributes in the form PS3.5 gives them.
    """
    found = _open_item(data, item, coding)
    if [tag for tag in found if tag & 0xFFFF] != [_MAC_ID, _SYNTAX, _ALGORITHM, _SIGNED_TAGS]:
        raise MalformedSignatureError("the MAC parameters do not hold exactly their four attributes")
    tags = _read_tags(_value(data, found, _SIGNED_TAGS, b"AT"), coding.big)
    syntax, algorithm = _text(data, found, _SYNTAX, b"UI"), _text(data, found, _ALGORITHM, b"CS")
    return MacParameters(_number(data, found, coding), syntax, algorithm, tags)


@lru_cache(maxsize=16)  # the objects of a series list the same tags
def _read_tags(raw: bytes, big: bool) -> tuple[int, ...]:
    if len(raw) % 4 or not raw:
        raise MalformedSignatureError("DataElementsSigned (0400,0020) is no list of tags")
    tags = tuple(g << 16 | e for g, e in struct.iter_unpack(">HH" if big else "<HH", raw))
    if any(a >= b for a, b in pairwise(tags)):
        raise MalformedSignatureError("DataElementsSigned (0400,0020) is not in the order of the tags")
    return tags


def read_signature(data: bytes, coding: Coding, item: Item) -> SignatureItem:
    """Read one item of the Digital Signatures Sequence.

    Raises
    ------
    MalformedSignatureError
        If an attribute is missing, twice there or not in the form PS3.3 C.12.1.1.3 gives it.
    """
    found = _open_item(data, item, coding)
    kind = _text(data, found, _TYPE, b"CS")
    if kind != _CERTIFICATE_TYPE:
        raise MalformedSignatureError(f"CertificateType (0400,0110) is {kind!r}, expected {_CERTIFICATE_TYPE}")
    written = _text(data, found, _TIME, b"DT")
    return SignatureItem(
        _number(data, found, coding),
        _text(data, found, _UID, b"UI"),
        parse_date_time(written),
        written,
        trim_der(_value(data, found, _CERTIFICATE, b"OB"), "CertificateOfSigner (0400,0115)"),
        _value(data, found, _SIGNATURE, b"OB"),
        _read_purpose(data, found),
        item.elements,
    )


def parse_date_time(text: str) -> datetime:
    """A DICOM DT with seconds; without an offset taken as UTC.

    Raises
    ------
    MalformedSignatureError
        If it is none.

    >>> parse_date_time("20260102030405.5+0100").isoformat()
    '2026-01-02T03:04:05.500000+01:00'
    """
    found = _DATE_TIME.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        zone = UTC
        if found[3]:
            sign = -1 if found[3][0] == "-" else 1
            zone = timezone(sign * timedelta(hours=int(found[3][1:3]), minutes=int(found[3][3:])))
        digits = found[1]
        day = (int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
        time = (int(digits[8:10]), int(digits[10:12]), int(digits[12:]))
        return datetime(*day, *time, int((found[2] or ".")[1:].ljust(6, "0")), tzinfo=zone)
    except ValueError as error:
        raise MalformedSignatureError("DigitalSignatureDateTime (0400,0105) is no date and time") from error


def trim_der(value: bytes, what: str) -> bytes:
    """The DER structure at the start of a value whose only other byte is a null that makes its length even.

    Raises
    ------
    MalformedSignatureError
        If it is cut off, or anything but one padding null follows.
    """
    if len(value) < 2 or value[0] != 0x30:
        raise MalformedSignatureError(f"{what} is no ASN.1 structure")
    size, start = value[1], 2
    if size & 0x80:
        count = size & 0x7F
        if not 1 <= count <= 4 or len(value) < 2 + count:
            raise MalformedSignatureError(f"{what} is cut off or of a length that cannot be")
        size, start = int.from_bytes(value[2 : 2 + count], "big"), 2 + count
    end = start + size
    if end > len(value):
        raise MalformedSignatureError(f"{what} is cut off")
    if value[end:] not in (b"", b"\0") or (value[end:] and len(value) & 1):
        raise MalformedSignatureError(f"{what} is followed by bytes that are no padding")
    return value[:end]


@lru_cache(maxsize=16)
def mac_parameters_item(parameters: MacParameters, coding: Coding) -> bytes:
    """One item of the MAC Parameters Sequence, encoded as the file is."""
    signed = b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in parameters.tags)
    return encode_item(
        [
            (_MAC_ID, b"US", struct.pack("<H", parameters.number)),
            (_SYNTAX, b"UI", _even(parameters.transfer_syntax, b"\0")),
            (_ALGORITHM, b"CS", _even(parameters.algorithm, b" ")),
            (_SIGNED_TAGS, b"AT", signed),
        ],
        coding,
    )


def signed_part(number: int, signed_at: datetime, purpose: Purpose | None) -> list[tuple[int, bytes, bytes]]:
    """(tag, VR, little endian value) of what of a new signature item enters the byte stream; a fresh UID in it."""
    time = signed_at.strftime("%Y%m%d%H%M%S.%f%z")
    part = [
        (_MAC_ID, b"US", struct.pack("<H", number)),
        (_UID, b"UI", _even(f"2.25.{uuid.uuid4().int}", b"\0")),
        (_TIME, b"DT", _even(time, b" ")),
        (_TYPE, b"CS", _even(_CERTIFICATE_TYPE, b" ")),
    ]
    if purpose is not None:
        value, meaning = PURPOSE_CODES[purpose]
        code = [(_CODE, b"SH", _even(value, b" ")), (_SCHEME, b"SH", _even(PURPOSE_SCHEME, b" ")),
                (_MEANING, b"LO", _even(meaning, b" "))]  # fmt: skip
        part.append((_PURPOSE, b"SQ", encode_item(code, Coding(implicit=False, big=False))))
    return part


def stream_part(part: Sequence[tuple[int, bytes, bytes]]) -> bytes:
    """The byte stream of `signed_part`: of the purpose's item its content alone, without lengths."""
    out = bytearray()
    for tag, vr, value in part:
        if vr == b"SQ":
            out += head_bytes(tag, vr, None) + value[:4] + value[8:] + b"\xfe\xff\xdd\xe0"
        else:
            out += head_bytes(tag, vr, len(value)) + value
    return bytes(out)


def signature_item(
    part: Sequence[tuple[int, bytes, bytes]], certificate: bytes, signature: bytes, coding: Coding
) -> bytes:
    """One item of the Digital Signatures Sequence, encoded as the file is."""
    whole = [*part, (_CERTIFICATE, b"OB", _even(certificate, b"\0")), (_SIGNATURE, b"OB", _even(signature, b"\0"))]
    return encode_item(sorted(whole), coding)


def encode_item(elements: Sequence[tuple[int, bytes, bytes]], coding: Coding) -> bytes:
    """An item of defined length."""
    body = b"".join(encode_element(*element, coding) for element in elements)
    return struct.pack((">" if coding.big else "<") + "HHI", 0xFFFE, 0xE000, len(body)) + body


def encode_element(tag: int, vr: bytes, value: bytes, coding: Coding) -> bytes:
    """An element of defined length; ``value`` is little endian, of a sequence its items in explicit VR."""
    order = ">" if coding.big else "<"
    if vr == b"SQ" and (coding.big or coding.implicit):
        value = _recode_code_item(value, coding)
    else:
        value = bytes(to_little_endian(value, vr, coding.big))
    if coding.implicit:
        return struct.pack(order + "HHI", tag >> 16, tag & 0xFFFF, len(value)) + value
    if vr in (b"SQ", b"OB"):
        return struct.pack(order + "HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value
    return struct.pack(order + "HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def _recode_code_item(item: bytes, coding: Coding) -> bytes:
    """An item of text elements in explicit little endian, encoded anew."""
    elements, pos = [], 8
    while pos < len(item):
        group, number, vr, length = struct.unpack_from("<HH2sH", item, pos)
        elements.append((group << 16 | number, vr, item[pos + 8 : pos + 8 + length]))
        pos += 8 + length
    return encode_item(elements, coding)


def _read_purpose(data: bytes, found: dict[int, Element]) -> str:
    sequence = found.get(_PURPOSE)
    if sequence is None or not sequence.items:
        return ""
    codes = {value: purpose for purpose, (value, _) in PURPOSE_CODES.items()}
    code = sequence.items[0].elements
    texts = {e.tag: bytes(data[e.value : e.value_end]).decode("ascii", "replace").strip(" \0") for e in code}
    value = texts.get(_CODE, "")
    if texts.get(_SCHEME) == PURPOSE_SCHEME and value in codes:
        return str(codes[value])
    return texts.get(_MEANING) or value


def _open_item(data: bytes, item: Item, coding: Coding) -> dict[int, Element]:
    """The elements of an item by their tags, none of them twice, its group length right where there is one.

    No signature covers a group length, so a wrong one would be a changed byte that nobody sees.
    """
    found = {element.tag: element for element in item.elements}
    if len(found) < len(item.elements):
        raise MalformedSignatureError("an attribute of the signature stands there twice")
    group = next((element for element in item.elements if not element.tag & 0xFFFF), None)
    if group is not None:
        length = int.from_bytes(data[group.value : group.value_end], "big" if coding.big else "little")
        if group.tag != _MAC_ID & 0xFFFF0000 or length != item.value_end - group.end:
            raise MalformedSignatureError("a group length in the signature is wrong")
    return found


def _value(data: bytes, found: dict[int, Element], tag: int, vr: bytes) -> bytes:
    element = found.get(tag)
    if element is None or element.vr != vr or element.items is not None:
        raise MalformedSignatureError(
            f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is missing or of another value representation"
        )
    return data[element.value : element.value_end]


def _text(data: bytes, found: dict[int, Element], tag: int, vr: bytes) -> str:
    value = _value(data, found, tag, vr)
    pad = b"\0" if vr == b"UI" else b" "
    text = value[:-1] if value.endswith(pad) else value
    if len(value) & 1 or _PLAIN.fullmatch(text) is None:
        raise MalformedSignatureError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is not plain text with regular padding")
    return text.decode("ascii")


def _number(data: bytes, found: dict[int, Element], coding: Coding) -> int:
    value = _value(data, found, _MAC_ID, b"US")
    if len(value) != 2:
        raise MalformedSignatureError("MACIDNumber (0400,0005) is no number")
    return int.from_bytes(value, "big" if coding.big else "little")


def _even(value: str | bytes, pad: bytes) -> bytes:
    encoded = value.encode("ascii") if isinstance(value, str) else value
    return encoded + pad if len(encoded) & 1 else encoded
