"""A reader of DER that takes nothing but DER: definite lengths in their shortest form, nothing left over (X.690 10.1).

Only what a detached CMS signature is made of. It follows no length that leaves its parent and knows no recursion, so
hostile bytes cost at most one pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

INTEGER, OCTET_STRING, NULL, OBJECT_IDENTIFIER = 0x02, 0x04, 0x05, 0x06
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31
MAX_OID_BYTES = 64
_TIME = re.compile(r"[0-9]{14}Z")


class DerError(ValueError):
    """Bytes that are not the DER that was expected; the message says what was found."""


@dataclass(frozen=True)
class Node:
    """One element: its identifier octet, its content, and the whole encoding it came in."""

    tag: int
    content: bytes
    encoded: bytes


def context(number: int, *, constructed: bool = True) -> int:
    """The identifier octet of a context-specific tag (X.690 8.1.2).

    >>> hex(context(0)), hex(context(1, constructed=False))
    ('0xa0', '0x81')
    """
    return 0x80 | (0x20 if constructed else 0) | number


def read_one(data: bytes, tag: int, what: str) -> Node:
    """The one element that ``data`` holds, and nothing behind it.

    Raises
    ------
    DerError
        If it is another element, is not DER, or something follows it.
    """
    node, end = _read(data, 0)
    if end != len(data):
        raise DerError(f"{len(data) - end} bytes behind {what}")
    if node.tag != tag:
        raise DerError(f"{what} has the identifier 0x{node.tag:02x}, not 0x{tag:02x}")
    return node


def children(node: Node) -> list[Node]:
    """The elements inside a constructed element, in their order.

    Raises
    ------
    DerError
        If they are not DER.
    """
    found, position = [], 0
    while position < len(node.content):
        child, position = _read(node.content, position)
        found.append(child)
    return found


class Fields:
    """The children of a SEQUENCE, taken one by one in the order of its definition."""

    def __init__(self, node: Node, what: str) -> None:
        if node.tag != SEQUENCE:
            raise DerError(f"{what} has the identifier 0x{node.tag:02x}, not that of a SEQUENCE")
        self._left = children(node)
        self._what = what

    def take(self, tag: int, name: str) -> Node:
        """The next child, which must have this identifier."""
        found = self.take_if(tag)
        if found is None:
            raise DerError(f"{self._what} lacks {name}")
        return found

    def take_if(self, tag: int) -> Node | None:
        """The next child if it has this identifier."""
        return self._left.pop(0) if self._left and self._left[0].tag == tag else None

    def finish(self) -> None:
        """Refuse children that the definition does not know."""
        if self._left:
            raise DerError(f"{self._what} holds something more, identifier 0x{self._left[0].tag:02x}")


def integer_of(node: Node) -> int:
    """The value of an INTEGER in its shortest form (X.690 8.3.2)."""
    content = node.content
    if not content or (len(content) > 1 and (content[0], content[1] >> 7) in ((0, 0), (0xFF, 1))):
        raise DerError("an INTEGER is not in its shortest form")
    return int.from_bytes(content, "big", signed=True)


def oid_of(node: Node) -> str:
    """The value of an OBJECT IDENTIFIER in dotted form (X.690 8.19)."""
    content = node.content
    if not content or len(content) > MAX_OID_BYTES or content[-1] & 0x80:
        raise DerError("an OBJECT IDENTIFIER is empty, too long or cut off")
    arcs, value, first = [], 0, True
    for byte in content:
        if first and byte == 0x80:
            raise DerError("an OBJECT IDENTIFIER is not in its shortest form")
        value, first = value << 7 | byte & 0x7F, not byte & 0x80
        if first:
            arcs.append(value)
            value = 0
    top = min(arcs[0] // 40, 2)
    return ".".join(map(str, (top, arcs[0] - 40 * top, *arcs[1:])))


def time_of(node: Node) -> datetime:
    """The value of a UTCTime or GeneralizedTime as RFC 5652 11.3 restricts them: in seconds and in Z."""
    text = node.content.decode("ascii", "replace")
    formats: dict[int, Callable[[str], str]] = {UTC_TIME: _add_century, GENERALIZED_TIME: str}
    if node.tag not in formats:
        raise DerError(f"a time has the identifier 0x{node.tag:02x}")
    try:
        full = formats[node.tag](text)
        if not _TIME.fullmatch(full):
            raise ValueError
        return datetime.strptime(full, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise DerError("a time is none in seconds and in Z") from None


def is_sorted_set(node: Node) -> bool:
    """Whether the elements of a SET OF stand in ascending order of their encodings, as DER wants (X.690 11.6)."""
    encodings = [child.encoded for child in children(node)]
    return encodings == sorted(encodings)


def _add_century(text: str) -> str:
    return ("19" if text[:2] >= "50" else "20") + text


def _read(data: bytes, position: int) -> tuple[Node, int]:
    if position + 2 > len(data):
        raise DerError("the encoding is cut off")
    tag, length, start = data[position], data[position + 1], position + 2
    if tag & 0x1F == 0x1F:
        raise DerError("an identifier of several octets")
    if length >= 0x80:
        count = length & 0x7F
        octets = data[start : start + count]
        start += count
        if not 1 <= count <= 4 or len(octets) < count:
            raise DerError("a length that is indefinite, gigantic or cut off")
        length = int.from_bytes(octets, "big")
        if length < 0x80 or octets[0] == 0:
            raise DerError("a length that is not in its shortest form")
    end = start + length
    if end > len(data):
        raise DerError("a length that leaves its parent")
    return Node(tag, data[start:end], data[position:end]), end
