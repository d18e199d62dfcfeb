"""Which file is which object of a manifest, when files may be missing, copied, renamed or given other UIDs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from verict.custody.content import ObjectContent
from verict.custody.manifest import Entry, Manifest
from verict.custody.pixels import PixelDigests, PixelKind

_POSITION, _INSTANCE_NUMBER = "00200032", "00200013"


@dataclass(frozen=True, eq=False)
class SeenObject:
    """A file beside a manifest: its content, and its values as the manifest would write them."""

    content: ObjectContent
    manifest: Manifest

    @cached_property
    def tokens(self) -> dict[str, str]:
        """Path to token of every attribute, see `Manifest.token`."""
        return {path: self.manifest.token(path, digest) for path, digest in self.content.values.items()}


@dataclass(frozen=True, eq=False)
class Pairing:
    """``pairs`` by index of the entry; ``copies`` have the SOPInstanceUID of an entry that is paired already."""

    pairs: dict[int, SeenObject] = field(default_factory=dict)
    copies: list[tuple[int, SeenObject]] = field(default_factory=list)
    added: list[SeenObject] = field(default_factory=list)


def select_objects(manifest: Manifest, objects: Iterable[ObjectContent]) -> list[ObjectContent]:
    """The files that claim to be of a manifest's series.

    Those of its SeriesInstanceUID or of one of its SOPInstanceUIDs; where there is none, the series that hold pixels
    of it: a copy that was given UIDs of its own.
    """
    objects = list(objects)
    known = {entry.sop_instance_uid for entry in manifest.entries}
    claimed = [one for one in objects
               if one.series_instance_uid == manifest.series_instance_uid or one.sop_instance_uid in known]  # fmt: skip
    if claimed:
        return claimed
    frames = {entry.pixels.frames for entry in manifest.entries if entry.pixels.kind is PixelKind.VALUES}
    series = {one.series_instance_uid for one in objects if one.pixels.frames in frames}
    return [one for one in objects if one.series_instance_uid in series]


def pair_objects(manifest: Manifest, objects: Sequence[ObjectContent]) -> Pairing:
    """Find the file of each entry: by SOPInstanceUID, then by pixels, then by position or InstanceNumber."""
    pairing = Pairing()
    index = {entry.sop_instance_uid: number for number, entry in enumerate(manifest.entries)}
    by_entry: dict[int, list[SeenObject]] = defaultdict(list)
    left: list[SeenObject] = []
    for one in objects:
        seen = SeenObject(one, manifest)
        number = index.get(one.sop_instance_uid)
        if number is None:
            left.append(seen)
        else:
            by_entry[number].append(seen)
    for number, candidates in by_entry.items():
        entry = manifest.entries[number]
        best = max(candidates, key=lambda seen: _likeness(entry, seen))
        pairing.pairs[number] = best
        pairing.copies.extend((number, seen) for seen in candidates if seen is not best)
    pairing.added.extend(_pair_rest(manifest, pairing.pairs, left))
    return pairing


def same_pixels(one: PixelDigests, other: PixelDigests) -> bool:
    """Whether two objects have the same pixels, unused bits included."""
    return (one.kind, one.frames, one.unused_bits) == (other.kind, other.frames, other.unused_bits)


def _likeness(entry: Entry, seen: SeenObject) -> tuple[bool, bool, int]:
    content = seen.content
    equal = sum(entry.attributes.get(path) == token for path, token in seen.tokens.items())
    return content.file_sha256 == entry.file_sha256, same_pixels(entry.pixels, content.pixels), equal


def _pair_rest(manifest: Manifest, pairs: dict[int, SeenObject], left: list[SeenObject]) -> list[SeenObject]:
    """Pair files of unknown SOPInstanceUID with entries that have none yet; give those that stay over."""

    def pixels_of(entry: Entry | None, seen: SeenObject | None) -> object:
        pixels = entry.pixels if entry is not None else seen.content.pixels if seen is not None else None
        return None if pixels is None or pixels.kind is PixelKind.NONE else pixels.frames

    def token_of(path: str) -> Callable[[Entry | None, SeenObject | None], object]:
        return lambda entry, seen: (
            entry.attributes.get(path) if entry is not None else seen.tokens.get(path) if seen is not None else None
        )

    position, number = token_of(_POSITION), token_of(_INSTANCE_NUMBER)
    for traits in ((pixels_of, position), (pixels_of,), (position,), (number,)):
        waiting: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for index, entry in enumerate(manifest.entries):
            if index not in pairs:
                waiting[tuple(trait(entry, None) for trait in traits)].append(index)
        rest = []
        for seen in left:
            key = tuple(trait(None, seen) for trait in traits)
            if None not in key and waiting.get(key):
                pairs[waiting[key].pop(0)] = seen
            else:
                rest.append(seen)
        left = rest
    return left
