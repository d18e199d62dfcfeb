"""Which instances form one series, and which share a SeriesInstanceUID without belonging together."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from verict.ct.container import walk
from verict.ct.instance import Instance
from verict.ct.part10 import NeedMore, open_part10
from verict.ct.sources import MAX_RATIO, read_bytes
from verict.ct.volume import Note
from verict.errors import InputError, say_count

ORIENTATION_TOLERANCE = 1e-3  # direction cosines; writers round to 4 or more digits
SPACING_TOLERANCE = 1e-3  # relative; a real difference of kernels or zoom is larger

Group = tuple[list[Instance], tuple[Note, ...]]


def group_instances(instances: Iterable[Instance]) -> Iterator[Group]:
    """Group axial CT instances into series.

    The SeriesInstanceUID groups; instances of one UID that differ in Modality, patient, matrix, orientation or
    pixel spacing are different series, and so are copies of the same SOP instances with other pixels.

    Yields
    ------
    list of Instance, tuple of Note
        One series, and what was decided about it.
    """
    by_uid: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        by_uid[instance.series_instance_uid or f"folder:{instance.source.folder}"].append(instance)
    for key, members in by_uid.items():
        notes: list[Note] = []
        if key.startswith("folder:"):
            notes.append(Note("series_uid_missing", "SeriesInstanceUID is missing; files of one folder taken together"))
        parts = _split_by_geometry(members)
        if len(parts) > 1:
            notes.append(
                Note(
                    "mixed_series",
                    f"one SeriesInstanceUID, {len(parts)} different series: {_difference(parts)} differ; each is "
                    "examined alone",
                )
            )
        for part in parts:
            for group, more in _split_copies(part):
                yield from ((acquisition, (*notes, *more, *last)) for acquisition, last in _split_acquisitions(group))


def _signature(instance: Instance) -> tuple[object, ...]:
    return instance.modality, instance.patient_digest, instance.rows, instance.columns, instance.frames > 1


def _split_by_geometry(members: list[Instance]) -> list[list[Instance]]:
    by_key: dict[tuple[object, ...], list[Instance]] = defaultdict(list)
    for instance in members:
        by_key[(*_signature(instance), instance.orientation, instance.pixel_spacing_mm)].append(instance)
    parts: list[list[Instance]] = []
    for candidates in by_key.values():
        for part in parts:
            if _belongs(candidates[0], part[0]):
                part += candidates
                break
        else:
            parts.append(list(candidates))
    return parts


def _belongs(one: Instance, other: Instance) -> bool:
    if _signature(one) != _signature(other):
        return False
    return _close(one.orientation, other.orientation, ORIENTATION_TOLERANCE, relative=False) and _close(
        one.pixel_spacing_mm, other.pixel_spacing_mm, SPACING_TOLERANCE, relative=True
    )


def _close(one: tuple[float, ...] | None, other: tuple[float, ...] | None, tolerance: float, *, relative: bool) -> bool:
    if one is None or other is None:
        return one is other
    return all(abs(a - b) <= tolerance * (abs(a) if relative else 1) for a, b in zip(one, other, strict=True))


def _difference(parts: list[list[Instance]]) -> str:
    firsts = [part[0] for part in parts]
    named: dict[str, set[Any]] = {
        "Modality": {i.modality for i in firsts},
        "PatientID": {i.patient_digest for i in firsts},
        "Rows or Columns": {(i.rows, i.columns) for i in firsts},
        "NumberOfFrames": {i.frames > 1 for i in firsts},
        "ImageOrientationPatient": {i.orientation for i in firsts},
        "PixelSpacing": {i.pixel_spacing_mm for i in firsts},
    }
    return ", ".join(name for name, values in named.items() if len(values) > 1)


def _split_copies(members: list[Instance]) -> Iterator[Group]:
    """Drop exact copies of an instance; give copies with other pixels a series of their own."""
    by_sop: dict[str, list[Instance]] = defaultdict(list)
    for instance in members:
        by_sop[instance.sop_instance_uid].append(instance)
    repeated = {uid for uid, same in by_sop.items() if uid and len(same) > 1}
    if not repeated:
        yield members, ()
        return
    buckets: list[dict[str, Instance]] = []
    taken: dict[str, list[tuple[str, int]]] = defaultdict(list)  # SOP UID -> (content, bucket)
    without_uid: list[Instance] = []
    dropped: list[str] = []
    preferred: dict[str, int] = {}  # folder -> bucket its last clash went to
    for instance in members:
        uid = instance.sop_instance_uid
        if not uid:
            without_uid.append(instance)
            continue
        content = _pixel_digest(instance) if uid in repeated else ""
        if any(content == known for known, _ in taken[uid]):
            dropped.append(uid)
            continue
        index = preferred.get(instance.source.folder, 0)
        while index < len(buckets) and uid in buckets[index]:
            index += 1
        if index == len(buckets):
            buckets.append({})
        if len(taken[uid]):
            preferred[instance.source.folder] = index
        buckets[index][uid] = instance
        taken[uid].append((content, index))
    notes = []
    if dropped:
        notes.append(
            Note(
                "duplicate_instance",
                f"{say_count(len(dropped), 'more copy', 'more copies')} of a SOPInstanceUID with the same pixels; one "
                "of each is used",
                tuple(dropped),
            )
        )
    clashing = tuple(uid for uid, known in taken.items() if len(known) > 1)
    if clashing:
        notes.append(
            Note(
                "sop_instance_clash",
                f"different pixels under {say_count(len(clashing), 'shared SOPInstanceUID')}; the copies are examined "
                "as series of their own",
                clashing,
            )
        )
    for index, bucket in enumerate(buckets):
        yield [*bucket.values(), *(without_uid if index == 0 else ())], tuple(notes)


def _pixel_digest(instance: Instance) -> str:
    """SHA-256 of an instance's pixel bytes as stored; of the whole file where they cannot be found."""
    try:
        data = read_bytes(instance.source)
        part = open_part10(data, file=instance.source.name, inflate_limit=(1 << 20) + MAX_RATIO * len(data))
        pixel = walk(part, frozenset(), file=instance.source.name).pixel
    except (InputError, NeedMore):
        return f"unreadable {instance.source.name}"
    stored = data if pixel is None else part.data[pixel.offset : pixel.offset + pixel.length]
    return instance.transfer_syntax + hashlib.sha256(stored).hexdigest()


def _split_acquisitions(members: list[Instance]) -> Iterator[Group]:
    """Split a series that holds several whole acquisitions of the same positions."""
    positions = [item.position_mm for item in members]
    numbers = {item.acquisition_number for item in members}
    if len(set(positions)) == len(members) or len(numbers) < 2 or None in positions:
        yield members, ()
        return
    parts: dict[int | None, list[Instance]] = defaultdict(list)
    for item in members:
        parts[item.acquisition_number].append(item)
    if any(len({item.position_mm for item in part}) < len(part) for part in parts.values()):
        yield members, ()
        return
    note = Note(
        "several_acquisitions",
        f"{len(parts)} acquisitions of the same positions in one series, told apart by AcquisitionNumber",
    )
    for part in parts.values():
        yield part, (note,)
