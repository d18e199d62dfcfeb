"""What changed since a series was signed: its files beside its manifest, answered as an examiner would.

Slices are counted from 0 upwards along the normal of their planes, as `verict scan` counts them, in the order they had
when they were signed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from verict.custody.coercion import CoercionRecord
from verict.custody.content import ObjectContent, order_objects
from verict.custody.manifest import Entry, Manifest
from verict.custody.matching import Pairing, SeenObject, pair_objects, same_pixels, select_objects
from verict.custody.pixels import PixelKind
from verict.custody.values import ENCODING_ONLY, name_of_path

INSTANCE_NUMBER = "00200013"


class Outcome(StrEnum):
    """What is said of a series, or of one of its objects; the gravest that holds."""

    VALID = "valid"
    REENCODED = "re-encoded"
    COERCED = "coerced"
    SIGNATURE_REMOVED = "signature removed"
    CHANGED = "changed"
    MISSING = "missing"
    DUPLICATED = "duplicated"
    ADDED = "added"

    @property
    def is_intact(self) -> bool:
        """Whether pixels and all that describes them are what was signed, in an object that may be there."""
        return self in (Outcome.VALID, Outcome.REENCODED, Outcome.COERCED)


class PixelState(StrEnum):
    """Pixels now beside pixels then; ``UNKNOWN`` where they cannot be decoded to be compared."""

    SAME = "same"
    CHANGED = "changed"
    UNKNOWN = "cannot be compared"


@dataclass(frozen=True)
class AttributeChange:
    """One attribute that is not what it was: ``changed``, ``added`` or ``removed``; ``coerced`` if it says so."""

    path: str
    how: str
    coerced: bool

    @property
    def name(self) -> str:
        """Keyword and tag."""
        return name_of_path(self.path)


@dataclass(frozen=True)
class FileChanges:
    """One object of the manifest or one file that is none.

    ``slice_index`` is the place it had when it was signed, None where it had none; ``name`` the file, "" where it is
    missing. ``frames`` are those of a multi-frame object whose pixels changed, ``pixels_of`` the slice whose pixels
    it bears instead of its own. ``bit_for_bit``: the whole file is what it was, file meta information included.
    """

    name: str
    slice_index: int | None
    sop_instance_uid: str
    outcome: Outcome
    pixels: PixelState = PixelState.SAME
    frames: tuple[int, ...] = ()
    pixels_of: int | None = None
    attributes: tuple[AttributeChange, ...] = ()
    signatures_removed: int = 0
    moved: bool = False
    bit_for_bit: bool = False
    was_syntax: str = ""
    now_syntax: str = ""

    @property
    def renumbered(self) -> bool:
        """Whether its InstanceNumber is another one."""
        return any(change.path == INSTANCE_NUMBER for change in self.attributes)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "file": self.name or None,
            "slice": self.slice_index,
            "sop_instance_uid": self.sop_instance_uid,
            "outcome": self.outcome.value,
            "pixels": self.pixels.value,
            "frames": list(self.frames),
            "pixels_of_slice": self.pixels_of,
            "attributes": [{"attribute": c.name, "path": c.path, "how": c.how, "coerced": c.coerced}
                           for c in self.attributes],
            "signatures_removed": self.signatures_removed,
            "moved": self.moved,
            "bit_for_bit": self.bit_for_bit,
            "transfer_syntax_was": self.was_syntax or None,
            "transfer_syntax_is": self.now_syntax or None,
        }  # fmt: skip


@dataclass(frozen=True)
class SeriesChanges:
    """One series beside its manifest: one row for each object then and for each file now."""

    series_instance_uid: str
    slice_count: int
    frame_count: int
    files: tuple[FileChanges, ...]

    @property
    def outcome(self) -> Outcome:
        """The gravest of all objects; missing, added and duplicated ones make the series changed."""
        outcomes = {file.outcome for file in self.files}
        if outcomes & {Outcome.CHANGED, Outcome.MISSING, Outcome.ADDED, Outcome.DUPLICATED}:
            return Outcome.CHANGED
        order = (Outcome.SIGNATURE_REMOVED, Outcome.COERCED, Outcome.REENCODED)
        return next((outcome for outcome in order if outcome in outcomes), Outcome.VALID)

    @property
    def is_intact(self) -> bool:
        """Whether everything that was signed is there, unchanged but for encoding and recorded coercion."""
        return self.outcome.is_intact

    def outcome_of(self, sop_instance_uid: str) -> Outcome | None:
        """The gravest outcome among the files of an object; None for one that the manifest does not know."""
        found = [file.outcome for file in self.files if file.sop_instance_uid == sop_instance_uid]
        return max(found, key=list(Outcome).index, default=None)


def compare_series(manifest: Manifest, objects: Iterable[ObjectContent]) -> SeriesChanges:
    """Say what became of each object of a manifest, and which files are none of them.

    Parameters
    ----------
    manifest
        What was signed; that it was is not asked here, see `verict.custody.cms`.
    objects
        Everything found, of other series too.
    """
    pairing = pair_objects(manifest, select_objects(manifest, objects))
    moved = _find_moved(pairing)
    by_pixels: dict[tuple[str, ...], int] = {}
    for index, entry in enumerate(manifest.entries):
        if entry.pixels.kind is not PixelKind.NONE:
            by_pixels.setdefault(entry.pixels.frames, index)
    files = []
    for index, entry in enumerate(manifest.entries):
        seen = pairing.pairs.get(index)
        if seen is None:
            files.append(FileChanges("", index, entry.sop_instance_uid, Outcome.MISSING))
        else:
            files.append(_compare_object(manifest, index, seen, by_pixels, moved=index in moved))
    for index, seen in pairing.copies:
        files.append(_describe_extra(seen, Outcome.DUPLICATED, index, by_pixels, manifest.entries[index]))
    files += [_describe_extra(seen, Outcome.ADDED, None, by_pixels, None) for seen in pairing.added]
    frames = sum(max(1, len(entry.pixels.frames)) for entry in manifest.entries)
    return SeriesChanges(manifest.series_instance_uid, len(manifest.entries), frames, tuple(files))


def _compare_object(
    manifest: Manifest, index: int, seen: SeenObject, by_pixels: dict[tuple[str, ...], int], *, moved: bool
) -> FileChanges:
    entry, content = manifest.entries[index], seen.content
    pixels, frames = _compare_pixels(entry, content)
    attributes = _compare_attributes(manifest, entry, seen)
    removed = len(set(entry.signatures) - set(content.signatures))
    if pixels is not PixelState.SAME or moved or any(not change.coerced for change in attributes):
        outcome = Outcome.CHANGED
    elif removed:
        outcome = Outcome.SIGNATURE_REMOVED
    elif attributes:
        outcome = Outcome.COERCED
    else:
        outcome = Outcome.VALID if content.transfer_syntax == entry.transfer_syntax else Outcome.REENCODED
    return FileChanges(
        name=content.name,
        slice_index=index,
        sop_instance_uid=entry.sop_instance_uid,
        outcome=outcome,
        pixels=pixels,
        frames=frames,
        pixels_of=by_pixels.get(content.pixels.frames) if pixels is PixelState.CHANGED else None,
        attributes=attributes,
        signatures_removed=removed,
        moved=moved,
        bit_for_bit=content.file_sha256 == entry.file_sha256,
        was_syntax=entry.transfer_syntax,
        now_syntax=content.transfer_syntax,
    )


def _compare_pixels(entry: Entry, content: ObjectContent) -> tuple[PixelState, tuple[int, ...]]:
    """How the pixels stand, and the frames that changed where there are several."""
    was, now = entry.pixels, content.pixels
    if same_pixels(was, now):
        return PixelState.SAME, ()
    if was.kind is not now.kind and PixelKind.BYTES in (was.kind, now.kind) and PixelKind.NONE not in (
        was.kind, now.kind
    ):  # fmt: skip
        return PixelState.UNKNOWN, ()
    if len(was.frames) == len(now.frames) > 1:
        frames = tuple(i for i, (a, b) in enumerate(zip(was.frames, now.frames, strict=True)) if a != b)
        return PixelState.CHANGED, frames
    return PixelState.CHANGED, ()


def _compare_attributes(manifest: Manifest, entry: Entry, seen: SeenObject) -> tuple[AttributeChange, ...]:
    then, now = entry.attributes, seen.tokens
    paths = then.keys() | now.keys()
    if seen.content.transfer_syntax != entry.transfer_syntax:
        paths -= ENCODING_ONLY
    different = sorted(path for path in paths if then.get(path) != now.get(path))
    if not different:
        return ()
    record = CoercionRecord(seen.content.values)
    changes = []
    for path in different:
        how = "added" if path not in then else "removed" if path not in now else "changed"
        changes.append(AttributeChange(path, how, record.explains(path, manifest, entry)))
    return tuple(changes)


def _find_moved(pairing: Pairing) -> frozenset[int]:
    """The slices that lie elsewhere among the others than when they were signed, as few as explain the order."""
    uids = {id(seen.content): index for index, seen in pairing.pairs.items()}
    now = [uids[id(content)] for content in order_objects(seen.content for seen in pairing.pairs.values())]
    displaced = [was for was, index in zip(sorted(now), now, strict=True) if was != index]
    if len(displaced) == 2:  # two that changed places: both moved, not one of them past the other
        return frozenset(displaced)
    return frozenset(now) - frozenset(_longest_ascent(now))


def _longest_ascent(numbers: list[int]) -> list[int]:
    """A longest ascending subsequence, by patience sorting."""
    tails: list[int] = []  # positions in `numbers` of the smallest last element of an ascent of each length
    before: list[int | None] = []
    for position, number in enumerate(numbers):
        low, high = 0, len(tails)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if numbers[tails[middle]] < number else (low, middle)
        before.append(tails[low - 1] if low else None)
        tails[low : low + 1] = [position]
    ascent: list[int] = []
    step = tails[-1] if tails else None
    while step is not None:
        ascent.append(numbers[step])
        step = before[step]
    return ascent[::-1]


def _describe_extra(
    seen: SeenObject, outcome: Outcome, index: int | None, by_pixels: dict[tuple[str, ...], int], entry: Entry | None
) -> FileChanges:
    """A file beyond those of the manifest, and whose pixels it bears."""
    content = seen.content
    source = by_pixels.get(content.pixels.frames)
    same = entry is not None and same_pixels(entry.pixels, content.pixels)
    return FileChanges(
        name=content.name,
        slice_index=index,
        sop_instance_uid=content.sop_instance_uid,
        outcome=outcome,
        pixels=PixelState.SAME if same else PixelState.CHANGED,
        pixels_of=None if same else source,
        bit_for_bit=entry is not None and content.file_sha256 == entry.file_sha256,
        now_syntax=content.transfer_syntax,
    )
