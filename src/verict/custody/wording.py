"""The comparison in words: one sentence for a series, one line for a file; no attribute's value stands in them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from pydicom.config import IGNORE
from pydicom.uid import UID

from verict.custody.changes import INSTANCE_NUMBER, AttributeChange, FileChanges, Outcome, PixelState, SeriesChanges
from verict.custody.values import name_of_path
from verict.errors import printable, say_count

NAMED_ATTRIBUTES = 8
NUMBERING = "slices are counted from 0 upwards along their normal, as when they were signed"


def say_series(changes: SeriesChanges) -> str:
    """What became of the series, in one sentence."""
    outcome, count = changes.outcome, changes.slice_count
    whole = say_count(count, "slice")
    if outcome is Outcome.CHANGED:
        return f"changed since it was signed: {'; '.join(_list_changes(changes))}"
    if outcome is Outcome.SIGNATURE_REMOVED:
        stripped = _where(changes, lambda file: file.signatures_removed > 0)
        return f"signature removed: what was signed inside the objects of {stripped} is gone; the content is unchanged"
    if outcome is Outcome.COERCED:
        coerced = _where(changes, lambda file: bool(file.attributes))
        return (
            f"coerced: {_say_coerced(changes.files)} in {coerced}; the former values recorded in the objects are what "
            f"was signed, the new ones are not the signer's word; everything else in {whole} is unchanged"
        )
    if outcome is Outcome.REENCODED:
        return f"re-encoded, content identical: {_say_reencoded(changes)}; pixels and attributes are what was signed"
    if all(file.bit_for_bit for file in changes.files):
        return f"valid: {whole}, bit for bit"
    rewritten = sum(not file.bit_for_bit for file in changes.files)
    written = "file was" if rewritten == 1 else "files were"
    return (
        f"valid: {whole}, the same in pixels and attributes; {rewritten} {written} written anew in the same transfer "
        "syntax"
    )


def say_file(file: FileChanges) -> str:
    """What became of one object, in one line."""
    if file.outcome is Outcome.MISSING:
        return "missing"
    if file.outcome is Outcome.ADDED:
        return "added: not in the manifest" + _say_copied(file)
    if file.outcome is Outcome.DUPLICATED:
        other = "" if file.pixels is PixelState.SAME else ", with other pixels"
        return f"a second file of slice {file.slice_index}{other}{_say_copied(file)}"
    said = []
    if file.pixels is PixelState.CHANGED:
        frames = f" in frames {say_numbers(file.frames)}" if file.frames else ""
        said.append(f"pixels changed{frames}{_say_copied(file)}")
    elif file.pixels is PixelState.UNKNOWN:
        said.append("pixels cannot be compared: they cannot be decoded here, or could not when they were signed")
    said += ["lies elsewhere among the slices"] if file.moved else []
    said += _list_attributes(file)
    if file.signatures_removed:
        said.append(f"{say_count(file.signatures_removed, 'signature')} removed")
    if file.was_syntax != file.now_syntax:
        said.append(f"now {_say_syntax(file.now_syntax)}")
    if said:
        return "; ".join(said)
    return "unchanged, bit for bit" if file.bit_for_bit else "unchanged, the file was written anew"


def describe_series(changes: SeriesChanges) -> dict[str, object]:
    """The comparison for JSON."""
    return {
        "series_instance_uid": changes.series_instance_uid,
        "outcome": changes.outcome.value,
        "intact": changes.is_intact,
        "sentence": say_series(changes),
        "numbering": NUMBERING,
        "slices_signed": changes.slice_count,
        "files": [{**file.as_dict(), "words": say_file(file)} for file in changes.files],
    }


def say_numbers(numbers: Iterable[int]) -> str:
    """Numbers for reading, runs of three and more as ranges.

    >>> say_numbers([81, 82, 83, 103]), say_numbers([3, 7]), say_numbers([5])
    ('81 to 83 and 103', '3 and 7', '5')
    """
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    said: list[str] = []
    for run in runs:
        said += [f"{run[0]} to {run[-1]}"] if len(run) > 2 else [str(number) for number in run]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}" if said else "none"


def _where(changes: SeriesChanges, holds: Callable[[FileChanges], bool]) -> str:
    """The slices for which something holds: by number, or "all slices"."""
    found = [file.slice_index for file in changes.files if file.slice_index is not None and holds(file)]
    if changes.slice_count > 1 and len(set(found)) == changes.slice_count:
        return f"all {changes.slice_count} slices"
    return f"{'slice' if len(set(found)) == 1 else 'slices'} {say_numbers(found)}"


def _list_changes(changes: SeriesChanges) -> list[str]:
    """What makes the series changed, the gravest first."""
    files = changes.files
    kept = [file for file in files if file.outcome is Outcome.CHANGED]
    said = _list_pixel_changes(changes, kept)
    if any(file.outcome is Outcome.MISSING for file in files):
        said.append(f"{_where(changes, lambda file: file.outcome is Outcome.MISSING)} missing")
    added = [file for file in files if file.outcome is Outcome.ADDED]
    if added:
        copied = sorted({file.pixels_of for file in added if file.pixels_of is not None})
        bearing = f" (bearing the pixels of {_slices(copied)})" if copied else ""
        said.append(f"{say_count(len(added), 'file')} added{bearing}")
    if any(file.outcome is Outcome.DUPLICATED for file in files):
        said.append(f"{_where(changes, lambda file: file.outcome is Outcome.DUPLICATED)} duplicated")
    if any(file.moved for file in kept):
        said.append(f"order changed: {_where(changes, lambda file: file.moved)} moved")
    if any(file.renumbered for file in kept):
        said.append(f"InstanceNumber changed in {_where(changes, lambda file: file.renumbered)}")
    said += _list_attribute_changes(changes, kept)
    if any(file.signatures_removed for file in files):
        said.append(f"signature removed from {_where(changes, lambda file: file.signatures_removed > 0)}")
    return said


def _list_pixel_changes(changes: SeriesChanges, kept: Sequence[FileChanges]) -> list[str]:
    said = []
    painted = [file for file in kept if file.pixels is PixelState.CHANGED]
    if len(painted) == 1 and painted[0].frames:
        said.append(f"pixels changed in frames {say_numbers(painted[0].frames)}")
    elif painted:
        said.append(f"pixels changed in {_where(changes, lambda file: file in painted)}")
    borrowed = {file.slice_index: file.pixels_of for file in painted if file.pixels_of is not None}
    for index, source in sorted(borrowed.items(), key=str):
        if borrowed.get(source) != index:
            said.append(f"slice {index} bears the pixels of slice {source}")
        elif index is not None and source is not None and index < source:
            said.append(f"slices {index} and {source} bear each other's pixels")
    if any(file.pixels is PixelState.UNKNOWN for file in kept):
        unknown = _where(changes, lambda file: file.pixels is PixelState.UNKNOWN)
        said.append(f"pixels of {unknown} cannot be compared, as no decoder is at hand")
    return said


def _list_attribute_changes(changes: SeriesChanges, kept: Sequence[FileChanges]) -> list[str]:
    """Each attribute with the slices it changed in; attributes of the same slices together."""
    by_change: dict[tuple[str, str], set[int]] = {}
    for file in kept:
        for change in _without_nested(file.attributes):
            if not change.coerced and change.path != INSTANCE_NUMBER and file.slice_index is not None:
                by_change.setdefault((change.path, change.how), set()).add(file.slice_index)
    by_place: dict[tuple[str, frozenset[int]], list[str]] = {}
    for (path, how), indices in by_change.items():
        by_place.setdefault((how, frozenset(indices)), []).append(name_of_path(path))
    said = []
    for (how, slices), names in by_place.items():
        place = f"all {changes.slice_count} slices" if len(slices) == changes.slice_count > 1 else _slices(slices)
        said.append(f"{_list_names(sorted(names))} {how} in {place}")
    return said


def _without_nested(changes: Sequence[AttributeChange]) -> list[AttributeChange]:
    """The changes without those inside a sequence that was added or removed as a whole."""
    whole = {(change.path, change.coerced) for change in changes if change.how != "changed"}
    return [
        change
        for change in changes
        if not any((change.path[:end], change.coerced) in whole for end, c in enumerate(change.path) if c == "[")
    ]


def _list_attributes(file: FileChanges) -> list[str]:
    said = []
    attributes = _without_nested(file.attributes)
    for coerced in (False, True):
        for how in ("changed", "added", "removed"):
            names = [c.name for c in attributes if c.how == how and c.coerced is coerced]
            if names:
                said.append(f"{'coerced, ' if coerced else ''}{how}: {_list_names(names)}")
    return said


def _say_coerced(files: Iterable[FileChanges]) -> str:
    names = {c.name.partition(" ")[0] for file in files for c in file.attributes if not c.path.startswith("04000561")}
    return _list_names(sorted(names)) if names else "nothing but the record of coercion"


def _list_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_ATTRIBUTES} more" if len(names) > NAMED_ATTRIBUTES else ""
    return ", ".join(names[:NAMED_ATTRIBUTES]) + more


def _say_reencoded(changes: SeriesChanges) -> str:
    syntaxes = sorted({file.now_syntax for file in changes.files if file.now_syntax != file.was_syntax})
    where = _where(changes, lambda file: file.now_syntax != file.was_syntax)
    return f"{where} now in {', '.join(map(_say_syntax, syntaxes))}"


def _say_copied(file: FileChanges) -> str:
    return "" if file.pixels_of is None else f", with the pixels of slice {file.pixels_of}"


def _slices(numbers: Collection[int]) -> str:
    return f"{'slice' if len(set(numbers)) == 1 else 'slices'} {say_numbers(numbers)}"


def _say_syntax(uid: str) -> str:
    name = UID(uid, validation_mode=IGNORE).name if uid.startswith("1.2.840.10008.") else uid
    return printable(name) or "without a transfer syntax"
