"""Scans with all that is known of them: whose, by which scanner, where the lungs are, what is labelled.

One scan at a time, so that a collection of any size can be gone through.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np

from verict.ct.discover import SeriesFiles, find_series
from verict.ct.lungs import LungRegion, find_lungs
from verict.ct.read import read_series
from verict.ct.volume import CTVolume
from verict.datasets.sites import labels_near
from verict.datasets.splits import Scanner, group_of, scanner_of
from verict.datasets.uci import LabelRow, SiteType, read_collection
from verict.errors import DatasetError, InputError, UsageError

NOWHERE = np.empty((0, 2))

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done and how many there are."""


UNNUMBERED = -1  # where a slice's file name is no number: no label row has it


class Source(StrEnum):
    """Which collection a scan is of."""

    AUTHENTIC = "authentic"  # nobody is known to have touched it
    LABELLED = "labelled"  # the UCI layout: label rows say where pixels were painted


@dataclass(frozen=True)
class Label:
    """A labelled place of one slice, pixel (y, x)."""

    kind: SiteType
    y: int
    x: int


@dataclass(frozen=True, eq=False)
class Scan:
    """One series in memory.

    Parameters
    ----------
    source
        Which collection it is of.
    folder
        Its folder below the collection's: the uuid of a labelled scan.
    patient
        What samples are grouped by: the UCI group (twins whole), else PatientID, else the study; never printed.
    scanner
        The model; a labelled scan has one of its own, since the headers of that data set tell nothing.
    volume, lungs
        Pixels and lung region.
    numbers
        (z,) InstanceNumber of each slice; for labelled scans the file's name.
    labels
        By slice index z, each once; those outside the image are left out.
    avoid_mm
        By slice index z: (n, 2) places untouched sites must stay clear of, see `labels_near`.
    """

    source: Source
    folder: str
    patient: str
    scanner: Scanner
    volume: CTVolume
    lungs: LungRegion
    numbers: tuple[int, ...] = ()
    labels: dict[int, tuple[Label, ...]] = field(default_factory=dict)
    avoid_mm: dict[int, np.ndarray] = field(default_factory=dict)


def identify_patient(patient: str) -> str:
    """16 hexadecimal digits of a patient's SHA-256: tells in a model card who was learnt from without naming them."""
    return hashlib.sha256(patient.encode()).hexdigest()[:16]


def identify_slice(hu: np.ndarray) -> str:
    """16 hexadecimal digits of the SHA-256 of one slice's (y, x) HU: the same pixels, whatever file they are in."""
    return hashlib.sha256(np.ascontiguousarray(hu, dtype=np.int16).tobytes()).hexdigest()[:16]


def read_authentic_scans(
    folder: Path, progress: Progress, failures: list[InputError] | None = None
) -> Iterator[Scan]:
    """Every CT series below a folder, as one nobody is known to have touched.

    Parameters
    ----------
    folder
        Any folder tree; the first folder below it names the collection a series is counted with.
    progress
        See `Progress`.
    failures
        Gets an error for each file and series that cannot be read; without it the first one is raised.

    Raises
    ------
    UsageError
        If the folder is not there.
    DatasetError
        If it holds no CT series.
    InputError
        If a series cannot be read and ``failures`` is None.
    """
    found = _find(folder, failures)
    for index, files in enumerate(found):
        progress("reading authentic scans", index, len(found))
        volume = _read(files, failures)
        if volume is None:
            continue
        header = volume.headers[0]
        yield Scan(
            Source.AUTHENTIC,
            next(iter(Path(files.label).parts), folder.name),
            str(header.get("PatientID") or volume.study_instance_uid or volume.series_instance_uid),
            scanner_of(header),
            volume,
            find_lungs(volume),
            tuple(int(h.get("InstanceNumber") or z) for z, h in enumerate(volume.headers)),
        )


def read_labelled_scans(
    folder: Path, progress: Progress, failures: list[InputError] | None = None
) -> Iterator[Scan]:
    """Every scan of a collection in the UCI layout, with its labels.

    Parameters are those of `read_authentic_scans`, and so are the errors; further `DatasetError` where the
    label tables are wrong.
    """
    collection = read_collection(folder)
    if not collection.scans:
        raise DatasetError("no scans beside the label tables", file=folder, next_step="verict data check tells more")
    for index, scan in enumerate(collection.scans.values()):
        progress("reading labelled scans", index, len(collection.scans))
        for files in _find(scan.folder, failures, may_be_empty=True):
            volume = _read(files, failures)
            if volume is not None:
                numbers = tuple(_number_of(file, failures) for file in volume.source_files)
                yield _label(collection.rows_of(scan.experiment, scan.uuid), scan.uuid, volume, numbers)


def _number_of(file: str, failures: list[InputError] | None) -> int:
    """A slice's number, which is its file's name; `UNNUMBERED` where it has none, which is told."""
    name = Path(file).stem
    if name.isascii() and name.isdecimal():
        return int(name)
    error = InputError("the slice bears no number, so no label can name it", file=file, found=Path(file).name,
                       expected="a name like 76.dcm", next_step="rename it by its number, or take it out")  # fmt: skip
    if failures is None:
        raise error
    failures.append(error)
    return UNNUMBERED


def _label(all_rows: Sequence[LabelRow], uuid: str, volume: CTVolume, numbers: tuple[int, ...]) -> Scan:
    rows = [row for row in all_rows if row.is_placed]
    spacing = (volume.slice_thickness_mm or volume.spacing_mm[0], *volume.spacing_mm[1:])
    return Scan(
        Source.LABELLED,
        uuid,
        group_of(uuid),
        Scanner("uci", uuid),
        volume,
        find_lungs(volume),
        numbers,
        {z: _labels_on(rows, n, volume.hu.shape[1:]) for z, n in enumerate(numbers)},
        {z: labels_near(rows, n, spacing) for z, n in enumerate(numbers)},
    )


def _labels_on(rows: Sequence[LabelRow], number: int, shape: tuple[int, ...]) -> tuple[Label, ...]:
    """The labels of one slice of (rows, columns): a place counts once, however often it is listed."""
    inside = (r for r in rows if r.slice == number and r.y < shape[0] and r.x < shape[1])
    return tuple(dict.fromkeys(Label(r.type, r.y, r.x) for r in inside))


def _find(
    folder: Path, failures: list[InputError] | None, *, may_be_empty: bool = False
) -> tuple[SeriesFiles, ...]:
    if not folder.is_dir():
        raise UsageError("no such folder", file=folder, next_step="name a folder of CT series")
    found = find_series(folder)
    if failures is not None:
        failures += found.failures
    elif found.failures:
        raise found.failures[0]
    if not found.series and not may_be_empty:
        raise DatasetError("no CT series here", file=folder, expected="DICOM files of CT series")
    return found.series


def _read(files: SeriesFiles, failures: list[InputError] | None) -> CTVolume | None:
    try:
        volume = read_series(files)
    except InputError as error:
        if failures is None:
            raise
        failures.append(error)
        return None
    if failures is not None:
        failures += volume.failures
    elif volume.failures:
        raise volume.failures[0]
    return volume
