"""Finding every CT series below a path, from headers only, and saying what is left aside and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

from verict.ct.classify import Kind, classify, is_chest, lacks_image, name_of_object
from verict.ct.grouping import group_instances
from verict.ct.instance import Instance, read_instance
from verict.ct.sources import DiskFile, Source, ZipMember, list_sources, open_zip
from verict.ct.volume import Note
from verict.errors import InputError, NotDicomError, say_count

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".ima"})
_READERS = 4  # headers are short: reading waits for the disk, parsing for the interpreter


@dataclass(frozen=True)
class SeriesFiles:
    """One axial CT series to be read: its files and what discovery already saw.

    Parameters
    ----------
    series_instance_uid, study_instance_uid
        As in the headers; "" where missing.
    label
        The folder it lies in, relative to what was asked for.
    chest
        False where the headers name another body part; whether there is lung only the pixels say.
    items
        One `Instance` a file.
    notes
        What was split, set aside or missing.
    """

    series_instance_uid: str
    study_instance_uid: str
    label: str
    chest: bool
    items: tuple[Instance, ...]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class NotExamined:
    """Objects or a series left aside, and why.

    ``counts`` is False for what never had a verdict to give (scouts, reports, non-chest series), True where
    a chest CT could not be judged.
    """

    what: str
    reason: str
    files: int = 1
    series_instance_uid: str = ""
    counts: bool = False


@dataclass(frozen=True)
class Discovery:
    """Everything found below a path: ``series`` are to be read, the rest says why it is not."""

    source: str
    series: tuple[SeriesFiles, ...]
    not_examined: tuple[NotExamined, ...]
    failures: tuple[InputError, ...]


def find_series(path: str | Path, *, progress: Callable[[int, int], None] | None = None) -> Discovery:
    """Find every CT series in a file, a folder tree or a zip.

    Parameters
    ----------
    path
        A DICOM file, a folder, or a zip of DICOM files.
    progress
        Called with (files seen, files in all).

    Returns
    -------
    Discovery
        Axial CT series to read, objects set aside with the reason, and one error for each file that failed.
        A path that cannot be used at all is one failure, never an exception.
    """
    path = Path(path)
    try:
        listing = list_sources(path)
        single = len(listing.sources) == 1 and path.is_file()
        instances, others, failures = _read_all(listing.sources, single=single, progress=progress)
    except InputError as error:
        return Discovery(str(path), (), (), (error,))
    failures = [*listing.failures, *failures]
    skipped = _skipped_beside(others, listing.special, listing.linked_twice)
    series, set_aside, damaged = _sort_out(instances)
    failures += damaged
    if not listing.sources and not failures:
        failures.append(
            InputError("nothing to examine", file=path, found="no files", next_step="name a folder with DICOM files")
        )
    elif not instances and not failures:
        failures.append(
            NotDicomError(
                "no DICOM file found",
                file=path,
                found=say_count(len(listing.sources), "other file"),
                next_step="name a folder with DICOM files",
            )
        )
    return Discovery(str(path), tuple(series), (*set_aside, *skipped), tuple(failures))


def _read_all(
    sources: list[Source], *, single: bool, progress: Callable[[int, int], None] | None
) -> tuple[list[Instance], list[Source], list[InputError]]:
    instances: list[Instance] = []
    others: list[Source] = []
    failures: list[InputError] = []
    with ExitStack() as stack:
        archive: ZipFile | None = None
        if sources and isinstance(sources[0], ZipMember):
            archive = stack.enter_context(open_zip(sources[0].path))

        def examine(source: Source) -> Instance | InputError:
            try:
                return read_instance(source, archive)
            except InputError as error:
                return error

        pool = stack.enter_context(ThreadPoolExecutor(_READERS, "verict-find"))
        for done, (source, outcome) in enumerate(zip(sources, pool.map(examine, sources), strict=True), start=1):
            if isinstance(outcome, Instance):
                instances.append(outcome)
            elif isinstance(outcome, NotDicomError) and not single and not _claims_dicom(source):
                others.append(source)
            else:
                failures.append(outcome)
            if progress is not None:
                progress(done, len(sources))
    return instances, others, failures


def _claims_dicom(source: Source) -> bool:
    name = source.path.name if isinstance(source, DiskFile) else PurePosixPath(source.name.replace("\\", "/")).name
    return PurePosixPath(name).suffix.lower() in DICOM_SUFFIXES and not name.startswith("._")


def _skipped_beside(others: list[Source], special: list[str], linked_twice: list[str]) -> list[NotExamined]:
    zips = sum(source.name.lower().endswith(".zip") for source in others)
    beside = (
        (zips, "zip inside", "zips inside", "a zip is opened only when it is named itself"),
        (len(others) - zips, "other file", "other files", "not DICOM"),
        (len(special), "special file", "special files", f"not a regular file: {', '.join(special[:3])}"),
        (len(linked_twice), "linked folder", "linked folders", f"already entered: {', '.join(linked_twice[:3])}"),
    )
    return [NotExamined(f"{n} {one if n == 1 else many}", reason, n) for n, one, many, reason in beside if n]


def _sort_out(instances: Iterable[Instance]) -> tuple[list[SeriesFiles], list[NotExamined], list[InputError]]:
    """Split instances into series to read, objects set aside, and CT images whose header is not whole."""
    damaged: list[InputError] = []
    to_group: list[Instance] = []
    aside: dict[tuple[str, str, str], int] = Counter()
    aside_by_uid: dict[str, Counter[str]] = defaultdict(Counter)
    for instance in instances:
        kind, reason = classify(instance)
        if kind is Kind.AXIAL_CT:
            to_group.append(instance)
            continue
        if lacks_image(instance):
            damaged.append(_no_image(instance))
            continue
        what = name_of_object(instance, kind)
        aside[what, reason, instance.series_instance_uid] += 1
        aside_by_uid[instance.series_instance_uid][what] += 1
    series = [_series_of(group, notes, aside_by_uid) for group, notes in group_instances(to_group)]
    skipped = [NotExamined(what, reason, count, uid) for (what, reason, uid), count in aside.items()]
    return series, skipped, damaged


def _no_image(instance: Instance) -> InputError:
    """A file cut off between two attributes, or written by half: never to be passed over as if it were no image."""
    return InputError(
        "a CT image without an image" if instance.modality else "a header that does not say what the file is",
        file=instance.source.name,
        tag="Rows (0028,0010), Columns (0028,0011)",
        found="nothing or zero",
        expected="the size of the image",
        next_step="copy or export the file again",
    )


def _series_of(items: list[Instance], notes: tuple[Note, ...], aside_by_uid: dict[str, Counter[str]]) -> SeriesFiles:
    first = items[0]
    folders = sorted({item.source.folder for item in items})
    all_notes = list(notes)
    if len(folders) > 1:
        all_notes.append(Note("several_folders", f"the series lies in {len(folders)} folders; read as one series"))
    for what, count in aside_by_uid.get(first.series_instance_uid, {}).items():
        if first.series_instance_uid:
            all_notes.append(Note("set_aside", f"{count} of the same SeriesInstanceUID set aside: {what}"))
    if any(item.image_type[:1] == ("DERIVED",) for item in items):
        all_notes.append(Note("derived", "ImageType says DERIVED: the pixels were computed from other images"))
    if any(not item.modality for item in items):
        all_notes.append(Note("modality_missing", "Modality is missing; taken for CT by the SOP class"))
    if any(not item.sop_class_uid for item in items):
        all_notes.append(Note("sop_class_missing", "SOPClassUID is missing; taken for CT by the Modality"))
    for code, message in sorted({note for item in items for note in item.notes}):
        all_notes.append(Note(code, message))
    return SeriesFiles(
        series_instance_uid=first.series_instance_uid,
        study_instance_uid=first.study_instance_uid,
        label=folders[0],
        chest=is_chest(first),
        items=tuple(items),
        notes=tuple(all_notes),
    )
