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
from verict.datasets.campaigns import Campaign, read_campaign
from verict.datasets.sites import labels_near
from verict.datasets.splits import Scanner, group_of, scanner_of
from verict.datasets.uci import LabelRow, ScanFolder, SiteType, UciCollection, read_collection
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
    """A labelled place of one slice, pixel (y, x); in a campaign with the method and touch-up it was forged by."""

    kind: SiteType
    y: int
    x: int
    method: str = ""
    touch_up: str = ""


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
        The model; a scan of the published set has one of its own, since its headers tell nothing.
    volume, lungs
        Pixels and lung region.
    numbers
        (z,) InstanceNumber of each slice; for labelled scans the file's name.
    labels
        By slice index z, each once; those outside the image are left out.
    avoid_mm
        By slice index z: (n, 2) places untouched sites must stay clear of, see `labels_near`.
    of_campaign
        Whether it is a labelled scan of a campaign, whose headers are its source's own; those of the published set
        are one template.
    retouched
        Slices z of which no pixel is as it was, see `verict.datasets.campaigns.ForgedRow`.
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
    of_campaign: bool = False
    retouched: frozenset[int] = frozenset()

    @property
    def headers_tell(self) -> bool:
        """Whether its headers say whose it is and which scanner made it."""
        return self.source is Source.AUTHENTIC or self.of_campaign


def identify_patient(patient: str) -> str:
    """16 hexadecimal digits of a patient's SHA-256: tells in a model card who was learnt from without naming them."""
    return hashlib.sha256(patient.encode()).hexdigest()[:16]


def identify_slice(hu: np.ndarray) -> str:
    """16 hexadecimal digits of the SHA-256 of one slice's (y, x) HU: the same pixels, whatever file they are in."""
    return hashlib.sha256(np.ascontiguousarray(hu, dtype=np.int16).tobytes()).hexdigest()[:16]


def patient_of(volume: CTVolume) -> str:
    """Whose a series is, by its headers: PatientID, else the study, else the series; never to be printed."""
    return str(volume.headers[0].get("PatientID") or volume.study_instance_uid or volume.series_instance_uid)


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
        yield Scan(
            Source.AUTHENTIC,
            next(iter(Path(files.label).parts), folder.name),
            patient_of(volume),
            scanner_of(volume.headers[0]),
            volume,
            find_lungs(volume),
            tuple(int(h.get("InstanceNumber") or z) for z, h in enumerate(volume.headers)),
        )


def read_labelled_scans(
    folder: Path, progress: Progress, failures: list[InputError] | None = None
) -> Iterator[Scan]:
    """Every scan of a collection in the UCI layout, with its labels.

    Patients and scanners of the published set are told by the folder's name alone, since all its headers are one
    template. Those of a campaign (`verict.datasets.campaigns`) are told by its headers, which are its sources' own:
    a model that was fitted on the source is known to have seen the patient.

    Parameters are those of `read_authentic_scans`, and so are the errors; further `DatasetError` where the
    label tables or a campaign's description are wrong.
    """
    collection, campaign = read_collection(folder), read_campaign(folder)
    if not collection.scans:
        raise DatasetError("no scans beside the label tables", file=folder, next_step="verict data check tells more")
    for index, scan in enumerate(collection.scans.values()):
        progress("reading labelled scans", index, len(collection.scans))
        yield from read_labelled_scan(collection, campaign, scan, failures)


def read_labelled_scan(
    collection: UciCollection, campaign: Campaign | None, scan: ScanFolder, failures: list[InputError] | None = None
) -> Iterator[Scan]:
    """Every series of one scan of a collection, as `read_labelled_scans` gives it; published scans hold one each.

    Raises
    ------
    InputError
        If a series cannot be read and ``failures`` is None.
    """
    for files in _find(scan.folder, failures, may_be_empty=True):
        volume = _read(files, failures)
        if volume is not None:
            numbers = tuple(_number_of(file, failures) for file in volume.source_files)
            rows = collection.rows_of(scan.experiment, scan.uuid)
            yield _label(rows, scan.uuid, volume, numbers, campaign)


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


def _label(
    all_rows: Sequence[LabelRow], uuid: str, volume: CTVolume, numbers: tuple[int, ...], campaign: Campaign | None
) -> Scan:
    rows = [row for row in all_rows if row.is_placed]
    spacing = volume.spacing_mm
    if campaign is None:  # numbers of the published set count SliceThickness, and single slices have no other step
        spacing = (volume.slice_thickness_mm or spacing[0], *spacing[1:])
    retouched = campaign.whole_slices_of(uuid) if campaign else frozenset()
    return Scan(
        Source.LABELLED,
        uuid,
        patient_of(volume) if campaign else group_of(uuid),
        scanner_of(volume.headers[0]) if campaign else Scanner("uci", uuid),
        volume,
        find_lungs(volume),
        numbers,
        {z: _labels_on(rows, n, volume.hu.shape[1:], campaign) for z, n in enumerate(numbers)},
        {z: labels_near(rows, n, spacing) for z, n in enumerate(numbers)},
        of_campaign=campaign is not None,
        retouched=frozenset(z for z, n in enumerate(numbers) if n in retouched),
    )


def _labels_on(
    rows: Sequence[LabelRow], number: int, shape: tuple[int, ...], campaign: Campaign | None
) -> tuple[Label, ...]:
    """The labels of one slice of (rows, columns): a place counts once, however often it is listed."""
    inside = (r for r in rows if r.slice == number and r.y < shape[0] and r.x < shape[1])
    return tuple(dict.fromkeys(Label(r.type, r.y, r.x, *_forged_by(r, campaign)) for r in inside))


def _forged_by(row: LabelRow, campaign: Campaign | None) -> tuple[str, str]:
    """Method and touch-up of a row, where they are known."""
    forged = campaign.rows.get((row.uuid, row.slice, row.x, row.y)) if campaign else None
    return (forged.method, forged.touch_up) if forged else ("", "")


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
