"""The headers of one series as columns: every value read once, never raising, whatever the headers hold.

Values are taken from pydicom's raw elements where they are still raw: in a series nearly all of
them are equal byte for byte, so each distinct one is parsed once, without pydicom's conversions
and the warnings these give for malformed values.
"""

from __future__ import annotations

import math
import re
import struct
import warnings
from collections import Counter
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag

from verict.ct.enhanced import PARSE_ERRORS
from verict.ct.volume import CTVolume
from verict.detect.evidence import TagValue

IDENTITY = frozenset(
    (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientAge",
        "PatientSex",
        "OtherPatientIDs",
        "OtherPatientNames",
        "IssuerOfPatientID",
        "AccessionNumber",
    )
)
"""Keywords whose values are never shown, only that they differ."""

_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "SV": "q", "UV": "Q"}  # PS3.5 6.2
_OPAQUE = {"OB", "OW", "OD", "OF", "OL", "OV"}
_BY_SIGN = {"US or SS", "US or SS or OW"}
_SHOWN = 64
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_FOREIGN = re.compile(rb"\x1b\$[()]?[@-Z].*?(?=[\\^=]|\x1b\([BJ]|$)|\x1b\([BJ]", re.DOTALL)  # ISO 2022, PS3.5 6.1.2.5


@lru_cache(maxsize=512)
def tag_of(keyword: str) -> BaseTag:
    """The tag of a DICOM keyword."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return Tag(tag)


def label_tag(keyword: str) -> str:
    """A tag as ``(gggg,eeee)``."""
    tag = tag_of(keyword)
    return f"({tag.group:04X},{tag.element:04X})"


class HeaderTable:
    """One row a file (frames of a multi-frame file share one), one column a keyword, read when first asked for.

    Parameters
    ----------
    volume
        A series with headers. Fewer headers than slices are taken as far as they go.
    """

    def __init__(self, volume: CTVolume) -> None:
        self.volume = volume
        places: dict[int, int] = {}
        rows: list[pydicom.Dataset] = []
        slices: list[list[int]] = []
        for z, header in enumerate(volume.headers[: volume.slice_count]):
            header = pydicom.Dataset() if header is None else header
            row = places.setdefault(id(header), len(rows))
            if row == len(rows):
                rows.append(header)
                slices.append([])
            slices[row].append(z)
        self.rows = tuple(rows)
        self.slices_of_row = tuple(map(tuple, slices))
        self._metas = tuple(getattr(row, "file_meta", None) for row in rows)
        self._columns: dict[str, tuple[str | None, ...]] = {}
        self._numbers: dict[str, tuple[tuple[float, ...], ...]] = {}
        self._parsed: dict[tuple, str] = {}

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def has_frames(self) -> bool:
        """Whether any file holds several frames."""
        return any(len(z) > 1 for z in self.slices_of_row)

    def texts(self, keyword: str) -> tuple[str | None, ...]:
        r"""(rows,) the value as text, values joined by ``\``; "" where empty, None where absent or unreadable."""
        if keyword not in self._columns:
            tag = tag_of(keyword)
            source = self._metas if tag.group == 2 else self.rows
            self._columns[keyword] = tuple(self._read(dataset, tag) for dataset in source)
        return self._columns[keyword]

    def numbers(self, keyword: str) -> tuple[tuple[float, ...], ...]:
        """(rows,) the values as finite floats; empty where absent, empty or malformed."""
        if keyword not in self._numbers:
            self._numbers[keyword] = tuple(parse_numbers(text or "") or () for text in self.texts(keyword))
        return self._numbers[keyword]

    def number(self, keyword: str) -> tuple[Any, ...]:
        """(rows,) the value as float where it is exactly one finite number, else None.

        Typed loosely: rules pick rows by index once they have checked them, which a type checker cannot follow.
        """
        return tuple(v[0] if len(v) == 1 else None for v in self.numbers(keyword))

    def first(self, keyword: str) -> str:
        """The first text that is not empty, or ""."""
        return next((text for text in self.texts(keyword) if text), "")

    def any_has(self, keyword: str) -> tuple[int, ...]:
        """Rows in which the attribute is present and not empty."""
        return tuple(i for i, text in enumerate(self.texts(keyword)) if text)

    def items(self, row: int, keyword: str) -> tuple[pydicom.Dataset, ...]:
        """The items of a sequence in one row; none where it cannot be read."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                element = self.rows[row].get_item(tag_of(keyword))
                if isinstance(element, RawDataElement) and element.VR not in ("SQ", "UN", None):
                    return ()  # pydicom would log its value
                value = self.rows[row][tag_of(keyword)].value
                return tuple(item for item in value if isinstance(item, pydicom.Dataset))
            except PARSE_ERRORS:
                return ()

    def text_in(self, item: pydicom.Dataset, keyword: str) -> str:
        """A value inside a sequence item, "" where missing."""
        return self._read(item, tag_of(keyword)) or ""

    @cached_property
    def tag_sets(self) -> tuple[frozenset, ...]:
        """(rows,) the set of tags in each header."""
        return tuple(frozenset(row.keys()) for row in self.rows)

    @cached_property
    def all_tags(self) -> frozenset:
        """Every tag that any header holds."""
        return frozenset().union(*set(self.tag_sets))

    @cached_property
    def is_deidentified(self) -> bool:
        """Whether the series says that its patient's identity was removed (PS3.3 C.7.1.1)."""
        return self.first("PatientIdentityRemoved").upper() == "YES"

    @cached_property
    def is_derived(self) -> bool:
        """Whether the series calls itself DERIVED (PS3.3 C.7.6.1.1.2)."""
        return any((text or "").upper().startswith("DERIVED") for text in self.texts("ImageType"))

    @cached_property
    def has_positions(self) -> bool:
        """Whether every row gives its ImagePositionPatient, so that positions are the file's own."""
        return all(len(values) == 3 for values in self.numbers("ImagePositionPatient"))

    @cached_property
    def positions_mm(self) -> np.ndarray:
        """(rows,) float64 position along the normal of the first slice of each row."""
        return self.volume.positions_mm[[z[0] for z in self.slices_of_row]]

    def slices(self, rows: tuple[int, ...] | list[int]) -> tuple[int, ...]:
        """The z indices of some rows; none where they are all rows."""
        if len(set(rows)) == len(self.rows):
            return ()
        return tuple(sorted(z for row in set(rows) for z in self.slices_of_row[row]))

    def tag(self, keyword: str, found: object, expected: str = "") -> TagValue:
        """One attribute a finding rests on, its value fit to be shown."""
        return TagValue(label_tag(keyword), keyword, self.show(keyword, str(found)), expected)

    def show(self, keyword: str, text: str) -> str:
        """A value as it may be shown: short, printable, and nothing of the patient's identity."""
        if keyword in IDENTITY:
            return "(not shown)" if text else "(empty)"
        if any(token in text.casefold() for token in self._identity_tokens):
            return "(not shown: holds a patient attribute)"
        text = "".join(c if c.isprintable() else "?" for c in text)
        return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"

    @cached_property
    def _identity_tokens(self) -> frozenset[str]:
        tokens: set[str] = set()
        for keyword in ("PatientName", "OtherPatientNames"):
            for text in set(self.texts(keyword)):
                tokens.update(part for part in re.split(r"[\^=\\ ]", (text or "").casefold()) if len(part) >= 4)
        for keyword in ("PatientID", "OtherPatientIDs", "PatientBirthDate"):
            tokens.update(text.casefold() for text in set(self.texts(keyword)) if text and len(text) >= 6)
        return frozenset(tokens)

    def _read(self, dataset: pydicom.Dataset | None, tag: BaseTag) -> str | None:
        if dataset is None:
            return None
        try:
            element = dataset.get_item(tag)
            if element is None:
                return None
            if not isinstance(element, RawDataElement):
                return _text_of_value(element.value)
            key = (tag, element.VR, element.is_little_endian, element.value)
            if key not in self._parsed:
                self._parsed[key] = self._read_raw(dataset, element)
            return self._parsed[key]
        except PARSE_ERRORS:
            return None

    def _read_raw(self, dataset: pydicom.Dataset, element: RawDataElement) -> str:
        value = element.value or b""
        vr = element.VR if element.VR not in (None, "UN") else dictionary_VR(element.tag)
        if vr in _BY_SIGN:
            vr = "SS" if self._read(dataset, tag_of("PixelRepresentation")) == "1" else "US"
        if vr == "SQ":
            return "sequence" if value else ""
        if vr in _OPAQUE:
            return f"{len(value)} bytes" if value else ""
        if vr in _BINARY:
            code = _BINARY[vr]
            count = len(value) // struct.calcsize(code)
            numbers = struct.unpack_from(f"{'<' if element.is_little_endian else '>'}{count}{code}", value)
            return "\\".join(map(str, numbers))
        text = _plain_text(_FOREIGN.sub(b"?", value).decode("latin-1"))
        return "\\".join(part.strip(" \0") for part in text.split("\\"))


def _text_of_value(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"{len(value)} bytes" if value else ""
    if isinstance(value, pydicom.Sequence):
        return "sequence" if len(value) else ""
    if isinstance(value, list | tuple | pydicom.multival.MultiValue):
        return "\\".join(_text_of_value(v) for v in value)
    return _plain_text(str(value)).strip(" \0")


def _plain_text(text: str) -> str:
    """Characters beyond ASCII as one question mark a run: the same whether pydicom has decoded the value or not."""
    return text if text.isascii() else _BEYOND_ASCII.sub("?", text)


def parse_numbers(text: str) -> tuple[float, ...] | None:
    r"""Finite numbers separated by ``\``, or None where any is not one.

    >>> parse_numbers("0.5\\0.5"), parse_numbers("0,5"), parse_numbers("nan")
    ((0.5, 0.5), None, None)
    """
    if not text:
        return ()
    values = []
    for part in text.split("\\"):
        try:
            value = float(part)
        except ValueError:
            return None
        if not math.isfinite(value) or "_" in part:
            return None
        values.append(value)
    return tuple(values)


def split_by_value(values: tuple, *, count_empty: bool = False) -> tuple[object, dict[object, tuple[int, ...]]]:
    """The commonest of some values, and the rows that hold each other one.

    Empty values (None, "", ()) count as no value unless ``count_empty``.
    """
    counts = Counter(v for v in values if count_empty or v not in (None, "", ()))
    if len(counts) < 2:
        return (next(iter(counts)) if counts else None), {}
    common = counts.most_common(1)[0][0]
    others = {value: tuple(i for i, v in enumerate(values) if v == value) for value in counts if value != common}
    return common, others


def is_minority(odd: int, total: int) -> bool:
    """Whether a few rows stand against many: at most a fifth of at least five."""
    return total >= 5 and 0 < odd <= total / 5
