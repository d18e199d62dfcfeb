"""What the attributes of an object say, each as a digest of its own, however the object is encoded.

A value gets the same digest in implicit and explicit VR, in either byte order, in sequences of defined and undefined
length, and with or without padding. What belongs to the encoding is left out: file meta information, group lengths,
Pixel Data (see `verict.custody.pixels`), trailing padding. An explicit VR of another kind than the dictionary's counts
as part of the value, since readers may then not find a number where one is. Source: PS3.5 6.2 (value representations,
which spaces mean nothing), 7.5 (sequences), 7.2 (group length), A.4 (fragments).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import lru_cache

import numpy as np
from pydicom.datadict import dictionary_VR, keyword_for_tag

from verict.ct.container import MAX_SEQUENCE_DEPTH, PIXEL_DATA, PixelElement
from verict.ct.part10 import UNDEFINED_LENGTH, Part10, read_head, tag_text
from verict.custody.profiles import changes_picture
from verict.errors import InputError

ORIGINAL_ATTRIBUTES, MODIFIED_ATTRIBUTES = "04000561", "04000550"  # PS3.3 C.12.1.1.9
SIGNATURES, MAC_PARAMETERS, SIGNATURE_VALUE = "FFFAFFFA", "4FFE0001", "04000120"  # PS3.3 C.12.1.1.3

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_ITEM_BYTES = {False: b"\xfe\xff\x00\xe0", True: b"\xff\xfe\xe0\x00"}
ENCODING_ONLY = frozenset({"7FE00001", "7FE00002"})  # offsets into fragments (PS3.3 C.7.6.3.1.8): change with them
_LENGTH_TO_END, _PADDING = 0x00080001, 0xFFFCFFFC
_KINDS = {"text": "AE AS CS DA DT LO LT PN SH ST TM UC UI UR UT", "number": "DS IS", "short": "US SS",
          "long": "UL SL OL", "float": "FL OF", "double": "FD OD", "very long": "SV UV OV", "bytes": "OB OW",
          "tag": "AT", "sequence": "SQ", "unknown": "UN"}  # fmt: skip
_KIND_OF = {vr: kind for kind, vrs in _KINDS.items() for vr in vrs.split()}
_KNOWN_TO_ALL = frozenset({0x0020, 0x0028})  # groups so old that no archive turns their attributes into UN
_WIDTHS = {b"US": 2, b"SS": 2, b"OW": 2, b"AT": 2, b"UL": 4, b"SL": 4, b"FL": 4, b"OF": 4, b"OL": 4,
           b"FD": 8, b"OD": 8, b"SV": 8, b"UV": 8, b"OV": 8}  # fmt: skip
_SPACES_BOTH_ENDS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "PN", "SH", "TM", "UI"})
_SPACES_BEHIND = frozenset({"LT", "ST", "UC", "UR", "UT"})


def digest_values(part: Part10, pixels: PixelElement | None, *, file: str) -> dict[str, bytes]:
    """The SHA-256 of the normalised value of each attribute, by its path.

    Parameters
    ----------
    part
        From `verict.ct.part10.open_part10`, complete, and passed by `verict.ct.container.walk`.
    pixels
        Pixel Data of the top level as that walk found it, which is left out; any further one is a value like others.
    file
        Its name, for messages.

    Returns
    -------
    dict
        Path to digest. A path is the tag in 8 digits; in a sequence ``00081140[2].00081155``, items counted from 1;
        with ``#2`` behind a tag that stands there a second time. A sequence's own value is its number of items.

    Raises
    ------
    InputError
        If a length leaves its parent or sequences nest too deep.
    """
    reader = _Reader(part, pixels, file)
    reader.read_dataset(part.start, len(part.data), part.implicit, "", 0)
    return reader.found


@lru_cache(maxsize=4096)
def name_of_path(path: str) -> str:
    """A path for reading: keywords where they are known, and the last tag.

    >>> name_of_path("00081140[1].00081155")
    'ReferencedImageSequence[1].ReferencedSOPInstanceUID (0008,1155)'
    >>> name_of_path("00290010")
    'private (0029,0010)'
    """
    words = []
    for step in path.split("."):
        tag = int(step[:8], 16)
        keyword = keyword_for_tag(tag) or ("private" if tag >> 16 & 1 else "unknown")
        words.append(keyword + step[8:])
    return f"{'.'.join(words)} {tag_text(tag)}"


@lru_cache(maxsize=4096)
def _known_vr(tag: int) -> str:
    """The VR of the public dictionary (PS3.6); "" for private and unknown tags."""
    if tag >> 16 & 1:
        return ""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


@lru_cache(maxsize=4096)
def _is_of_another_kind(tag: int, vr: str) -> bool:
    """Whether an explicit VR is none that the public dictionary allows, in a way that hides a value from readers."""
    known = _known_vr(tag)
    is_strict = tag >> 16 in _KNOWN_TO_ALL or changes_picture(tag)
    if not known or not vr or (vr == "UN" and not is_strict):
        return False
    if is_strict and vr in ("DS", "IS"):  # 0.5 read as a whole number is 0
        return vr not in known
    return _KIND_OF.get(vr) not in {_KIND_OF.get(one) for one in known.split(" or ")}


class _Reader:
    """Walks one dataset to its leaves; ``found`` grows as it goes."""

    def __init__(self, part: Part10, pixels: PixelElement | None, file: str) -> None:
        self.found: dict[str, bytes] = {}
        self._data, self._big = part.data, part.big
        self._pixels, self._file = pixels, file

    def read_dataset(self, position: int, end: int | None, implicit: bool, prefix: str, depth: int) -> int:
        """Read elements up to ``end``, or up to an item's delimiter where that is None; give where they end."""
        data, seen = self._data, Counter[int]()
        limit = len(data) if end is None else end
        while position < limit:
            if not depth and limit - position < 8 and not any(data[position:limit]):
                break
            tag, vr, start, length = read_head(data, position, implicit, self._big, self._file)
            if tag == _ITEM_END and end is None:
                return start
            if not depth and tag == _PADDING:  # whose length is often wrong, see verict.ct.container
                position = start + length
                continue
            if not depth and tag == PIXEL_DATA and self._pixels is not None and position == self._pixels.header:
                position = self._pixels.end
                continue
            seen[tag] += 1
            path = f"{prefix}{tag:08X}" + (f"#{seen[tag]}" if seen[tag] > 1 else "")
            if length != UNDEFINED_LENGTH and start + length > limit:
                raise self._leaves_parent(tag, length)
            position = self._read_element(tag, vr, (start, length), implicit, path, depth)
        if end is None:
            raise self._leaves_parent(_ITEM_END, 0)
        return position

    def _read_element(
        self, tag: int, vr: bytes, place: tuple[int, int], implicit: bool, path: str, depth: int
    ) -> int:
        start, length = place
        stop = None if length == UNDEFINED_LENGTH else start + length
        if stop is None and vr in (b"OB", b"OW"):
            return self._read_fragments(start, path)
        if stop is None or self._is_sequence(tag, vr, start):
            end = self._read_sequence(start, stop, implicit or vr == b"UN", path, depth)
            if vr == b"UN" and _is_of_another_kind(tag, "UN"):
                self.found[path] = hashlib.sha256(b"VR UN" + self.found[path]).digest()
            return end
        if self._may_be_sequence(tag, vr, start, length):
            kept, self.found = self.found, {}
            try:
                end = self._read_sequence(start, stop, True, path, depth)
                kept |= self.found
                return end
            except InputError:
                if depth >= MAX_SEQUENCE_DEPTH:
                    raise
            finally:
                self.found = kept
        if tag & 0xFFFF and tag != _LENGTH_TO_END:
            digest = hashlib.sha256(_normalise(tag, vr, self._data[start:stop], self._big)).digest()
            if _is_of_another_kind(tag, vr.decode("ascii")):
                digest = hashlib.sha256(b"VR " + vr + digest).digest()
            self.found[path] = digest
        return stop

    def _is_sequence(self, tag: int, vr: bytes, start: int) -> bool:
        return vr == b"SQ" or (vr in (b"", b"UN") and _known_vr(tag) == "SQ")

    def _may_be_sequence(self, tag: int, vr: bytes, start: int, length: int) -> bool:
        """Whether a value of unknown kind begins as a sequence does: implicit VR loses what private ones are."""
        return length >= 8 and not _known_vr(tag) and self._data[start : start + 4] == _ITEM_BYTES[self._big]

    def _read_sequence(self, position: int, end: int | None, implicit: bool, path: str, depth: int) -> int:
        if depth >= MAX_SEQUENCE_DEPTH:
            raise InputError("sequences are nested too deep", file=self._file, found=f"more than {depth} levels",
                             expected="a few levels, as CT headers have",
                             next_step="treat the file as damaged or hostile")  # fmt: skip
        items, limit = 0, len(self._data) if end is None else end
        while position < limit:
            tag, _, start, length = read_head(self._data, position, True, self._big, self._file)
            if tag == _SEQUENCE_END and end is None:
                position = start
                break
            if tag != _ITEM:
                raise InputError("a sequence is damaged", file=self._file, tag=tag_text(tag),
                                 expected="an item (FFFE,E000)", next_step="export the file again")  # fmt: skip
            items += 1
            stop = None if length == UNDEFINED_LENGTH else start + length
            if stop is not None and stop > limit:
                raise self._leaves_parent(tag, length)
            position = self.read_dataset(start, stop, implicit, f"{path}[{items}].", depth + 1)
        self.found[path] = hashlib.sha256(_ITEM_BYTES[False] * items).digest()
        return position

    def _read_fragments(self, position: int, path: str) -> int:
        """A nested encapsulated value, such as an icon's: its fragments one after the other."""
        digest = hashlib.sha256()
        while True:
            tag, _, start, length = read_head(self._data, position, True, False, self._file)
            position = start
            if tag == _SEQUENCE_END:
                self.found[path] = digest.digest()
                return position
            if tag != _ITEM or start + length > len(self._data):
                raise self._leaves_parent(tag, length)
            digest.update(length.to_bytes(4, "little") + self._data[start : start + length])
            position += length

    def _leaves_parent(self, tag: int, length: int) -> InputError:
        return InputError("an element does not end where it should", file=self._file, tag=tag_text(tag),
                          found=f"length {length}", next_step="copy or export the file again")  # fmt: skip


def _normalise(tag: int, vr: bytes, value: bytes, big: bool) -> bytes:
    """A value in little endian, without the spaces that mean nothing."""
    width = _WIDTHS.get(vr, 1)
    if big and width > 1 and len(value) % width == 0:
        value = np.frombuffer(value, f">u{width}").astype(f"<u{width}").tobytes()
    kind = _known_vr(tag)
    if kind in _SPACES_BOTH_ENDS:
        return b"\\".join(one.strip(b" \0") for one in value.split(b"\\"))
    return value.rstrip(b" \0") if kind in _SPACES_BEHIND else value
