"""Puts a signature into an object's bytes and leaves every other byte as it was.

What is inserted: an item in the MAC Parameters Sequence (4FFE,0001) and one in the Digital Signatures Sequence
(FFFA,FFFA). Only the lengths of those sequences and of their groups, where such stand in the file, are renewed.
"""

from __future__ import annotations

import struct
import zlib

from verict.ct.part10 import DEFLATED
from verict.custody.elements import ParsedObject
from verict.custody.signature import DIGITAL_SIGNATURES, MAC_PARAMETERS

Edit = tuple[int, int, bytes]
"""Replace ``data[start:end]`` by these bytes."""


def splice_signature(parsed: ParsedObject, mac_item: bytes, signature_item: bytes) -> list[bytes | memoryview]:
    """The file with one signature more, in pieces to write one after another.

    Parameters
    ----------
    parsed
        The object as it is.
    mac_item, signature_item
        The new items, encoded as the object is.
    """
    edits = _append_item(parsed, MAC_PARAMETERS, mac_item) + _append_item(parsed, DIGITAL_SIGNATURES, signature_item)
    pieces: list[bytes | memoryview] = []
    view, pos = memoryview(parsed.data), parsed.start
    for start, end, replacement in sorted(edits, key=lambda edit: edit[:2]):
        pieces += [view[pos:start], replacement]
        pos = end
    pieces.append(view[pos:])
    if parsed.transfer_syntax == DEFLATED:
        return [parsed.head, _deflate(pieces)]
    return [parsed.head, *pieces]


def _append_item(parsed: ParsedObject, tag: int, item: bytes) -> list[Edit]:
    order, implicit = ">" if parsed.coding.big else "<", parsed.coding.implicit
    existing = parsed.find(tag)
    if existing is None:
        at = next((e.start for e in parsed.elements if e.tag > tag), len(parsed.data))
        if implicit:
            new = struct.pack(order + "HHI", tag >> 16, tag & 0xFFFF, len(item)) + item
        else:
            new = struct.pack(order + "HH2sHI", tag >> 16, tag & 0xFFFF, b"SQ", 0, len(item)) + item
        return [(at, at, new), *_renew_group_length(parsed, tag, len(new))]
    edits = [(existing.value_end, existing.value_end, item)]
    if not existing.undefined:
        length = struct.pack(order + "I", existing.value_end - existing.value + len(item))
        edits.append((existing.value - 4, existing.value, length))
    return edits + _renew_group_length(parsed, tag, len(item))


def _renew_group_length(parsed: ParsedObject, tag: int, more: int) -> list[Edit]:
    """The group length of the sequence's own group grows; there is one only where a signature was before."""
    element = parsed.find(tag & 0xFFFF0000)
    if element is None or element.value_end - element.value != 4:
        return []
    order = ">" if parsed.coding.big else "<"
    (length,) = struct.unpack_from(order + "I", parsed.data, element.value)
    return [(element.value, element.value_end, struct.pack(order + "I", (length + more) & 0xFFFFFFFF))]


def _deflate(pieces: list[bytes | memoryview]) -> bytes:
    """A dataset deflated anew, of even length (PS3.5 A.5)."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = b"".join(deflater.compress(piece) for piece in pieces) + deflater.flush()
    return packed + b"\0" * (len(packed) & 1)
