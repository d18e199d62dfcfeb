"""One CT series into memory: decoded in parallel straight into one array of Hounsfield units."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from zipfile import ZipFile

import numpy as np
import pydicom

from verict.ct import decode, hounsfield
from verict.ct import instance as tags
from verict.ct.container import Layout, walk
from verict.ct.discover import SeriesFiles
from verict.ct.enhanced import frame_of_instance, frames_of_header, parse_header
from verict.ct.instance import Instance
from verict.ct.order import Frame, Ordered, describe_geometry, order_frames, thickness_of
from verict.ct.part10 import NeedMore, Part10, open_part10
from verict.ct.sources import MAX_RATIO, ZipMember, open_zip, read_bytes
from verict.ct.volume import CTVolume, Note
from verict.errors import InputError, PixelError, say_count

BULK_BYTES = 4096  # longer private, overlay and unknown values are emptied in the kept headers
DEFLATED_HEADER_BYTES = 16 << 20  # the most a deflated dataset may unpack to beside its pixels
MAX_WORKERS = 8
Progress = Callable[[int, int], None]


@dataclass
class _Outcome:
    """What one worker has to say of one file."""

    digest: str = ""
    header: pydicom.Dataset | None = None
    bulky: int = 0
    out_of_range: bool = False
    remarks: Counter[str] = field(default_factory=Counter)
    read: list[tuple[int, Frame]] = field(default_factory=list)
    errors: list[tuple[int, InputError]] = field(default_factory=list)


def read_series(series: SeriesFiles, *, workers: int | None = None, progress: Progress | None = None) -> CTVolume:
    """Read one series.

    Parameters
    ----------
    series
        From `verict.ct.discover.find_series`.
    workers
        Files decoded at once; default one a core, at most 8.
    progress
        Called with (files read, files in all).

    Returns
    -------
    CTVolume
        (z, y, x) int16 HU, or float32 where a rescale slope is fractional or the range needs it. Slices that
        failed are missing from it and listed in ``failures``. In ``headers``, private, overlay and unknown
        values over 4 KiB are empty; their tags stay.

    Raises
    ------
    InputError
        If no slice can be read, or the series has no usable geometry (`GeometryError`).
    """
    workers = max(1, min(workers or os.cpu_count() or 1, MAX_WORKERS))
    with warnings.catch_warnings(record=True) as caught, ExitStack() as stack:
        warnings.simplefilter("always")
        archive = None
        if series.items and isinstance(series.items[0].source, ZipMember):
            archive = stack.enter_context(open_zip(series.items[0].source.path))
        frames, headers, lost = _plan(series, archive)
        ordered = order_frames(frames)
        hu, outcomes = _decode_all(series, ordered, archive, workers, progress)
        for index, header in headers.items():
            outcomes[index].header = header
        return _assemble(series, ordered, hu, outcomes, lost, caught)


def open_instance(instance: Instance, archive: ZipFile | None = None) -> tuple[Part10, Layout, str]:
    """Load one file whole, walk all of it, and give its SHA-256.

    Raises
    ------
    InputError
        If it cannot be read or is damaged.
    """
    name = instance.source.name
    data = read_bytes(instance.source, archive)
    digest = hashlib.sha256(data).hexdigest()
    claimed = 4 * instance.rows * instance.columns * max(1, instance.frames)
    limit = DEFLATED_HEADER_BYTES + min(claimed, MAX_RATIO * len(data))
    try:
        part = open_part10(data, file=name, inflate_limit=limit)
        layout = walk(part, tags.WANTED, file=name, bulk=BULK_BYTES)
    except NeedMore:
        raise PixelError(
            "the deflated dataset unpacks to more than its header promises (deflate bomb)",
            file=name,
            found=f"more than {limit} bytes",
            next_step="treat the file as damaged or hostile",
        ) from None
    return part, layout, digest


def _plan(
    series: SeriesFiles, archive: ZipFile | None
) -> tuple[list[Frame], dict[int, pydicom.Dataset], list[InputError]]:
    """Every frame of the series; multi-frame files are opened for it, single frames come from discovery."""
    frames: list[Frame] = []
    headers: dict[int, pydicom.Dataset] = {}
    lost: list[InputError] = []
    for index, item in enumerate(series.items):
        if item.frames == 1 and not item.is_enhanced:
            frames.append(frame_of_instance(index, item))
            continue
        try:
            part, layout, _ = open_instance(item, archive)
            headers[index] = parse_header(part, layout, file=item.source.name)
            frames += frames_of_header(index, item, headers[index])
        except InputError as error:
            lost.append(error)
    if not frames:
        raise lost[0] if lost else InputError("the series holds no files", found="nothing")
    return frames, headers, lost


def _decode_all(
    series: SeriesFiles, ordered: Ordered, archive: ZipFile | None, workers: int, progress: Progress | None
) -> tuple[np.ndarray, list[_Outcome]]:
    """Decode into int16, or float32 where a slope needs it; once more into float32 if the range turns out to."""
    first = series.items[0]
    shape = (len(ordered.frames), first.rows, first.columns)
    jobs: dict[int, list[tuple[int, Frame]]] = defaultdict(list)
    for z, frame in enumerate(ordered.frames):
        jobs[frame.item].append((z, frame))

    def decode_into(hu: np.ndarray) -> list[_Outcome]:
        outcomes: list[_Outcome] = []
        with ThreadPoolExecutor(workers, "verict-read") as pool:
            for outcome in pool.map(
                lambda index: _read_file(series.items[index], jobs.get(index, []), hu, archive),
                range(len(series.items)),
            ):
                outcomes.append(outcome)
                if progress is not None:
                    progress(len(outcomes), len(series.items))
        return outcomes

    if all(hounsfield.fits_int16(frame.slope, frame.intercept) for frame in ordered.frames):
        hu = _allocate(shape, np.int16, first.source.name)
        outcomes = decode_into(hu)
        if not any(outcome.out_of_range for outcome in outcomes):
            return hu, outcomes
        del hu  # two arrays at once would break the memory bound
    hu = _allocate(shape, np.float32, first.source.name)
    return hu, decode_into(hu)


def _allocate(shape: tuple[int, int, int], dtype: type, name: str) -> np.ndarray:
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError) as error:
        raise PixelError(
            "the series does not fit in memory",
            file=name,
            found=" x ".join(map(str, shape)) + " voxels",
            next_step="check Rows and Columns, or use a machine with more memory",
        ) from error


def _read_file(
    instance: Instance, wanted: list[tuple[int, Frame]], hu: np.ndarray, archive: ZipFile | None
) -> _Outcome:
    """Read, check, hash and decode one file; every failure is in the outcome."""
    outcome = _Outcome()
    name = instance.source.name
    try:
        part, layout, outcome.digest = open_instance(instance, archive)
        if not wanted:
            return outcome
        shape = decode.read_format(layout.values, big=part.big, file=name)
        if (shape.rows, shape.columns) != hu.shape[1:]:
            raise PixelError("the file changed while it was read", file=name, next_step="run the scan again")
        if instance.frames == 1 and not instance.is_enhanced:
            outcome.header = parse_header(part, layout, file=name)
        outcome.bulky = len(layout.bulky)
        _remark_format(outcome, part, layout, shape)
    except InputError as error:
        outcome.errors = [(z, error) for z, _ in wanted]
        return outcome
    for z, frame in wanted:
        try:
            rescale = hounsfield.read_rescale(layout.values, frame, enhanced=instance.is_enhanced, file=frame.name)
            stored, cleared = decode.decode_frame(part, layout.pixel, shape, frame.number, file=frame.name)
            padded, fitted = hounsfield.to_hu(stored, rescale, shape, hu[z])
        except InputError as error:
            outcome.errors.append((z, error))
            continue
        outcome.out_of_range |= not fitted
        outcome.remarks["bits_above_stored"] += cleared
        outcome.remarks["padding_pixels"] += padded
        outcome.remarks["rescale_assumed"] += rescale.assumed
        outcome.remarks["rescale_type"] += rescale.other_type
        outcome.read.append((z, frame))
    return outcome


def _remark_format(outcome: _Outcome, part: Part10, layout: Layout, shape: decode.PixelFormat) -> None:
    photometric = tags.text_of(layout.values.get(tags.PHOTOMETRIC))
    outcome.remarks["monochrome1"] += photometric == "MONOCHROME1"
    outcome.remarks["photometric"] += photometric not in ("MONOCHROME1", "MONOCHROME2")
    outcome.remarks["lossy"] += part.transfer_syntax in decode.LOSSY
    pixel = layout.pixel
    if pixel is not None and pixel.fragments is None:
        outcome.remarks["surplus_pixel_bytes"] += pixel.length > shape.frame_bytes * shape.frames + 1


def _assemble(
    series: SeriesFiles,
    ordered: Ordered,
    hu: np.ndarray,
    outcomes: list[_Outcome],
    lost: list[InputError],
    caught: list[warnings.WarningMessage],
) -> CTVolume:
    """Close the holes failed slices left, describe what remains, and gather the notes."""
    failed = sorted((entry for outcome in outcomes for entry in outcome.errors), key=lambda entry: entry[0])
    failures = [*lost, *ordered.failures, *dict.fromkeys(error for _, error in failed)]
    kept = sorted((entry for outcome in outcomes for entry in outcome.read), key=lambda entry: entry[0])
    if not kept:
        raise _nothing_left(failures, len(ordered.frames))
    indices = [z for z, _ in kept]
    if len(kept) < len(hu):
        for target, z in enumerate(indices):
            if target != z:
                hu[target] = hu[z]
        hu = hu[: len(kept)]
    frames = tuple(frame for _, frame in kept)
    origins = ordered.origins_mm[indices]
    normal = np.cross(ordered.row_direction, ordered.column_direction)
    spacing, geometry_notes = describe_geometry(origins, normal, frames)
    notes = [*series.notes, *ordered.notes, *geometry_notes, *_pixel_notes(outcomes)]
    if failures:
        lost_text = say_count(len(failures), "slice or file", "slices or files")
        notes.append(Note("slices_failed", f"missing here because reading failed: {lost_text}"))
    notes += _warning_notes(caught)
    digests = sorted(outcome.digest for outcome in outcomes)
    return CTVolume(
        hu=hu,
        origins_mm=origins,
        row_direction=ordered.row_direction,
        column_direction=ordered.column_direction,
        spacing_mm=(spacing, *ordered.pixel_spacing_mm),
        series_instance_uid=series.series_instance_uid,
        study_instance_uid=series.study_instance_uid,
        sop_instance_uids=tuple(frame.sop_instance_uid for frame in frames),
        frame_numbers=tuple(frame.number for frame in frames),
        source_files=tuple(series.items[frame.item].source.name for frame in frames),
        headers=tuple(outcomes[frame.item].header for frame in frames),  # type: ignore[misc]
        slice_thickness_mm=thickness_of(frames),
        notes=tuple(notes),
        failures=tuple(failures),
        input_sha256=hashlib.sha256("".join(digests).encode()).hexdigest(),
    )


def _nothing_left(failures: list[InputError], count: int) -> InputError:
    first = failures[0]
    if count == 1:
        return first
    return type(first)(
        f"none of {count} slices can be read; the first: {first.problem}",
        file=first.file,
        tag=first.tag,
        found=first.found,
        expected=first.expected,
        next_step=first.next_step,
    )


def _pixel_notes(outcomes: list[_Outcome]) -> list[Note]:
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total.update(outcome.remarks)
    words = {
        "bits_above_stored": ("slice", "bits outside BitsStored were set in {} and cleared (PS3.5 8.1.1)"),
        "padding_pixels": ("padding pixel", "{} set to -1024 HU (PixelPaddingValue)"),
        "rescale_assumed": ("slice", "RescaleSlope or RescaleIntercept missing in {}; slope 1, intercept 0 assumed"),
        "rescale_type": ("slice", "RescaleType is not HU in {}; values are taken for Hounsfield units"),
        "monochrome1": ("file", "PhotometricInterpretation is MONOCHROME1 in {}: only the display is inverted, not HU"),
        "photometric": ("file", "PhotometricInterpretation is neither MONOCHROME1 nor MONOCHROME2 in {}"),
        "lossy": ("file", "compressed with a loss, or perhaps so: {}; fine noise is no longer the scanner's"),
        "surplus_pixel_bytes": ("file", "Pixel Data is longer than the image in {}; the surplus was not read"),
    }
    return [Note(code, text.format(say_count(total[code], one))) for code, (one, text) in words.items() if total[code]]


def _warning_notes(caught: list[warnings.WarningMessage]) -> list[Note]:
    """Count the parser's warnings by value representation; their text may hold patient values and is not kept."""
    counts: Counter[str] = Counter()
    for warning in caught:
        match = re.search(r"\bVR (?:of )?'?([A-Z]{2})\b", str(warning.message))
        counts[match.group(1) if match else "other"] += 1
    if not counts:
        return []
    listed = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return [Note("parser_warnings", f"the header parser warned of values that break the standard: {listed}")]
