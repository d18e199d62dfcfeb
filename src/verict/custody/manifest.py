"""The manifest of a series: what it is made of, in which order, as canonical JSON (RFC 8785) outside the series.

A signature inside an object cannot see that a neighbour was removed, added or put elsewhere: the manifest can. Schema
verict.manifest/1, described in docs/manifest.schema.json and docs/custody-manifest.md. No attribute value stands in it:
each is an HMAC (RFC 2104) under a key of the manifest's own, so that two manifests say nothing about each other; but
the key is in the manifest, so whoever holds one can try guesses at short values. Keep it as you keep the scan.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from verict import __version__
from verict.custody.content import ObjectContent, order_objects
from verict.custody.pixels import PixelDigests, PixelKind
from verict.errors import InputError, did_you_mean

SCHEMA = "verict.manifest/1"
MAX_MANIFEST_BYTES = 256 << 20  # 100,000 objects have about 60 MB
KEY_BYTES, TOKEN_BYTES = 32, 16  # 128 bits: nobody finds another value with the same token

_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[0-9a-f]{32}")
_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_STEP = r"[0-9A-F]{8}(#\d+)?"
_PATH = re.compile(rf"{_STEP}(\[\d+\]\.{_STEP})*")
_NEXT_STEP = "take the manifest that verict sign wrote"


@dataclass(frozen=True, eq=False)
class Entry:
    """One object of a series as it was when the manifest was made; ``attributes`` maps paths to tokens."""

    sop_instance_uid: str
    sop_class_uid: str
    instance_number: int | None
    transfer_syntax: str
    file_sha256: str
    pixels: PixelDigests
    attributes: Mapping[str, str] = field(repr=False)
    signatures: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Manifest:
    """One series: its entries in the order of their positions. ``created`` is the signer's word."""

    study_instance_uid: str
    series_instance_uid: str
    created: str
    made_by: str
    key: bytes = field(repr=False)
    entries: tuple[Entry, ...]

    def token(self, path: str, digest: bytes) -> str:
        """What stands for the value of an attribute whose normalised value has this digest."""
        message = path.encode("ascii") + b"\0" + digest
        return hmac.digest(self.key, message, "sha256")[:TOKEN_BYTES].hex()


def build_manifest(
    objects: Iterable[ObjectContent], *, key: bytes | None = None, utc: datetime | None = None
) -> Manifest:
    """Make the manifest of the objects of one series.

    Parameters
    ----------
    objects
        All of one SeriesInstanceUID, in any order.
    key
        32 bytes; None: new random ones.
    utc
        When it is made; None: now.

    Raises
    ------
    InputError
        If there is none, they are of several series, or an SOPInstanceUID is missing or stands twice.
    """
    ordered = order_objects(objects)
    series = sorted({one.series_instance_uid for one in ordered})
    if len(series) != 1 or not series[0]:
        raise InputError("a manifest is of one series", tag="SeriesInstanceUID (0020,000E)",
                         found=f"{len(series)} different or none", next_step="sign each series by itself")  # fmt: skip
    seen: dict[str, str] = {}
    for one in ordered:
        if not one.sop_instance_uid or one.sop_instance_uid in seen:
            raise InputError("an object cannot be told from others", file=one.name, tag="SOPInstanceUID (0008,0018)",
                             found=f"the same as {seen[one.sop_instance_uid]}" if one.sop_instance_uid else "nothing",
                             expected="one of its own", next_step="remove the copy before you sign")  # fmt: skip
        seen[one.sop_instance_uid] = one.name
    when = (utc or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    empty = Manifest(ordered[0].study_instance_uid, series[0], when, f"verict {__version__}",
                     secrets.token_bytes(KEY_BYTES) if key is None else key, ())  # fmt: skip
    return Manifest(**{**vars(empty), "entries": tuple(_entry_of(empty, one) for one in ordered)})


def _entry_of(manifest: Manifest, one: ObjectContent) -> Entry:
    return Entry(
        sop_instance_uid=one.sop_instance_uid,
        sop_class_uid=one.sop_class_uid,
        instance_number=one.instance_number,
        transfer_syntax=one.transfer_syntax,
        file_sha256=one.file_sha256,
        pixels=one.pixels,
        attributes={path: manifest.token(path, digest) for path, digest in one.values.items()},
        signatures=one.signatures,
    )


def to_bytes(manifest: Manifest) -> bytes:
    """The manifest as canonical JSON: sorted keys, no spaces, no number that is not whole (RFC 8785)."""
    shared = _shared_attributes(manifest.entries)
    document = {
        "schema": SCHEMA,
        "made_by": manifest.made_by,
        "created": manifest.created,
        "study_instance_uid": manifest.study_instance_uid,
        "series_instance_uid": manifest.series_instance_uid,
        "attribute_key": manifest.key.hex(),
        "shared_attributes": shared,
        "objects": [_describe(entry, shared) for entry in manifest.entries],
    }
    return _canonical(document)


def _shared_attributes(entries: tuple[Entry, ...]) -> dict[str, str]:
    """The attributes that are the same in every object: written once, as most are."""
    first, *rest = entries
    return {path: token for path, token in first.attributes.items()
            if all(entry.attributes.get(path) == token for entry in rest)}  # fmt: skip


def _describe(entry: Entry, shared: Mapping[str, str]) -> dict[str, Any]:
    return {
        "sop_instance_uid": entry.sop_instance_uid,
        "sop_class_uid": entry.sop_class_uid,
        "instance_number": entry.instance_number,
        "transfer_syntax_uid": entry.transfer_syntax,
        "file_sha256": entry.file_sha256,
        "pixels": {
            "of": entry.pixels.kind.value,
            "sha256": list(entry.pixels.frames),
            "unused_bits_sha256": entry.pixels.unused_bits or None,
        },
        "attributes": {path: token for path, token in entry.attributes.items() if path not in shared},
        "signatures": list(entry.signatures),
    }


def _canonical(document: object) -> bytes:
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8")


def from_bytes(data: bytes, *, file: object) -> Manifest:
    """Read a manifest back, and refuse whatever `to_bytes` would not have written.

    Raises
    ------
    InputError
        If it is no manifest of this schema, or not in canonical form.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise _refuse(file, f"{len(data)} bytes", f"at most {MAX_MANIFEST_BYTES}")
    try:
        document = json.loads(data.decode("utf-8"))
        canonical = _canonical(document)
    except (ValueError, RecursionError) as error:
        raise _refuse(file, type(error).__name__, "JSON") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else type(document).__name__
        raise _refuse(file, found, f"schema {SCHEMA}")
    if canonical != data:  # also where a key stands twice
        raise _refuse(file, "another spelling of it", "canonical JSON (RFC 8785)")
    return _Checker(file).manifest(document)


class _Checker:
    """Takes a parsed document apart; what does not fit is an `InputError` that says where."""

    def __init__(self, file: object) -> None:
        self._file = file

    def manifest(self, document: dict[str, Any]) -> Manifest:
        text, number = "text", "objects"
        self._keys(document, "the manifest", ("schema", "made_by", "created", "study_instance_uid",
                   "series_instance_uid", "attribute_key", "shared_attributes", "objects"))  # fmt: skip
        shared = self._attributes(document["shared_attributes"])
        objects = document["objects"]
        self._need(isinstance(objects, list) and bool(objects), number, "a list with at least one")
        entries = tuple(self._entry(one, shared) for one in objects)
        uids = {entry.sop_instance_uid for entry in entries}
        self._need(len(uids) == len(entries), "objects", "each SOPInstanceUID once")
        for name in ("made_by", "study_instance_uid", "series_instance_uid"):
            self._need(isinstance(document[name], str), name, text)
        self._match(document["created"], _UTC, "created")
        self._match(document["attribute_key"], _SHA256, "attribute_key")
        return Manifest(document["study_instance_uid"], document["series_instance_uid"], document["created"],
                        document["made_by"], bytes.fromhex(document["attribute_key"]), entries)  # fmt: skip

    def _entry(self, one: Any, shared: Mapping[str, str]) -> Entry:
        self._keys(one, "an object", ("sop_instance_uid", "sop_class_uid", "instance_number", "transfer_syntax_uid",
                   "file_sha256", "pixels", "attributes", "signatures"))  # fmt: skip
        for name in ("sop_instance_uid", "sop_class_uid", "transfer_syntax_uid"):
            self._need(isinstance(one[name], str), name, "text")
        self._need(bool(one["sop_instance_uid"]), "sop_instance_uid", "text")
        number = one["instance_number"]
        self._need(number is None or type(number) is int, "instance_number", "a whole number or null")
        self._match(one["file_sha256"], _SHA256, "file_sha256")
        self._need(isinstance(one["signatures"], list), "signatures", "a list")
        for signature in one["signatures"]:
            self._match(signature, _SHA256, "signatures")
        own = self._attributes(one["attributes"])
        self._need(not own.keys() & shared.keys(), "attributes", "none that is shared")
        return Entry(one["sop_instance_uid"], one["sop_class_uid"], number, one["transfer_syntax_uid"],
                     one["file_sha256"], self._pixels(one["pixels"]), {**shared, **own},
                     tuple(one["signatures"]))  # fmt: skip

    def _pixels(self, pixels: Any) -> PixelDigests:
        self._keys(pixels, "pixels", ("of", "sha256", "unused_bits_sha256"))
        self._need(pixels["of"] in list(PixelKind), "pixels.of", ", ".join(PixelKind))
        self._need(isinstance(pixels["sha256"], list), "pixels.sha256", "a list")
        for digest in pixels["sha256"]:
            self._match(digest, _SHA256, "pixels.sha256")
        kind = PixelKind(pixels["of"])
        self._need(bool(pixels["sha256"]) == (kind is not PixelKind.NONE), "pixels.sha256", "a digest a frame")
        unused = pixels["unused_bits_sha256"]
        if unused is not None:
            self._match(unused, _SHA256, "pixels.unused_bits_sha256")
        return PixelDigests(kind, tuple(pixels["sha256"]), unused or "")

    def _attributes(self, attributes: Any) -> dict[str, str]:
        self._need(isinstance(attributes, dict), "attributes", "an object")
        for path, token in attributes.items():
            self._match(path, _PATH, "attributes")
            self._match(token, _TOKEN, "attributes")
        return attributes

    def _keys(self, value: Any, what: str, expected: tuple[str, ...]) -> None:
        self._need(isinstance(value, dict), what, "an object")
        for key in value:
            if key not in expected:
                raise _refuse(self._file, f"{key} in {what}", did_you_mean(key, expected))
        for key in expected:
            self._need(key in value, what, key)

    def _match(self, value: Any, pattern: re.Pattern[str], what: str) -> None:
        self._need(isinstance(value, str) and pattern.fullmatch(value) is not None, what, pattern.pattern)

    def _need(self, holds: bool, what: str, expected: str) -> None:
        if not holds:
            raise _refuse(self._file, f"something else as {what}", expected)


def read_bytes_of(path: Path, limit: int = MAX_MANIFEST_BYTES) -> bytes:
    """The bytes of a manifest or a signature.

    Raises
    ------
    InputError
        If the file cannot be read or is far too large.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise InputError("the file cannot be read", file=path, found=error.strerror,
                         next_step="check that it exists and its rights") from error  # fmt: skip
    if len(data) > limit:
        raise _refuse(path, f"more than {limit} bytes", "some megabytes")
    return data


def _refuse(file: object, found: object, expected: str) -> InputError:
    return InputError("not a manifest of a series", file=file, found=found, expected=expected, next_step=_NEXT_STEP)


def name_of(manifest: Manifest) -> str:
    """A short name of the series for messages that must not show its UID."""
    return f"series {hashlib.sha256(manifest.series_instance_uid.encode()).hexdigest()[:12]}"
