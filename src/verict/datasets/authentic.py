"""Folders of chest CT that nobody is known to have touched, as series with patient and scanner model."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from verict.ct.volume import GAP_STEPS
from verict.datasets.splits import Scanner, scanner_of
from verict.datasets.tables import read_table
from verict.datasets.uci import SiteType
from verict.errors import DatasetError, NotDicomError, UsageError

_NODULE_COLUMNS = ("folder", "type", "instance_number", "z_mm", "x", "y", "extent_px", "z_min_mm", "z_max_mm", "source")
_TAGS = ["Manufacturer", "ManufacturerModelName", "ConvolutionKernel", "PatientID", "SeriesInstanceUID",
         "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber"]


@dataclass(frozen=True)
class AuthenticSeries:
    """One series of an authentic folder.

    ``patient`` is the published pseudonym: for grouping only, never to be printed beside a verdict.
    ``files`` are ordered along the slice normal. ``is_contiguous``: at least three slices, no two
    neighbours more than `GAP_STEPS` usual steps apart (the median step, or SliceThickness if less); False
    for the single slices of a sampled series.
    """

    folder: str
    series_instance_uid: str
    patient: str
    scanner: Scanner
    kernel: str
    slice_thickness_mm: float | None
    is_contiguous: bool
    files: tuple[Path, ...] = field(repr=False)


@dataclass(frozen=True)
class Nodule:
    """A documented nodule of an authentic series.

    ``x`` column and ``y`` row in pixels of the slice with that InstanceNumber; z positions in patient
    mm; ``extent_px`` its largest in-plane size.
    """

    folder: str
    type: SiteType
    instance_number: int
    z_mm: float
    x: int
    y: int
    extent_px: int
    z_min_mm: float
    z_max_mm: float
    source: str


def read_authentic(root: str | Path) -> tuple[AuthenticSeries, ...]:
    """List the series of every folder below root, from headers only.

    Returns
    -------
    tuple of AuthenticSeries
        By folder name, then SeriesInstanceUID.

    Raises
    ------
    UsageError
        If root is not a folder.
    NotDicomError
        If a ``.dcm`` file is not DICOM.
    DatasetError
        If root holds no series, or a slice lacks its patient, series or position.
    """
    root = Path(root)
    if not root.is_dir():
        raise UsageError("no such folder", file=root, next_step="name the folder of authentic series")
    series: list[AuthenticSeries] = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        found: dict[str, list[tuple[float, Path, pydicom.Dataset]]] = defaultdict(list)
        for file in sorted(folder.rglob("*.dcm")):
            header = _read_header(file)
            found[str(header.SeriesInstanceUID)].append((_position_mm(header), file, header))
        series += [_describe(folder.name, uid, slices) for uid, slices in sorted(found.items())]
    if not series:
        raise DatasetError("no authentic series here", file=root, expected="folders of .dcm files")
    return tuple(series)


def read_nodules(file: str | Path) -> tuple[Nodule, ...]:
    """Read the table of documented nodules, ``nodules.csv``.

    Raises
    ------
    DatasetError
        Naming file, line, column, found and expected.
    """
    nodules = []
    for row in read_table(Path(file), _NODULE_COLUMNS):
        if row.fields["type"] not in SiteType.__members__:
            raise row.refuse("type", "TB, TM, FB or FM")
        nodules.append(
            Nodule(
                row.text("folder", "a folder name"), SiteType(row.fields["type"]), row.whole("instance_number"),
                row.decimal("z_mm"), row.whole("x"), row.whole("y"), row.whole("extent_px"),
                row.decimal("z_min_mm"), row.decimal("z_max_mm"), row.fields["source"],
            )
        )
    return tuple(nodules)


def _read_header(file: Path) -> pydicom.Dataset:
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
    except (InvalidDicomError, OSError, EOFError) as error:
        raise NotDicomError("cannot be read as DICOM", file=file, found=type(error).__name__) from error
    for keyword in ("PatientID", "SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient"):
        if not header.get(keyword):
            raise DatasetError("a slice cannot be placed", file=file, tag=keyword, found="nothing")
    return header


def _position_mm(header: pydicom.Dataset) -> float:
    """Position along the slice normal (PS3.3 C.7.6.2.1.1)."""
    row, column = np.reshape([float(v) for v in header.ImageOrientationPatient], (2, 3))
    return float(np.cross(row, column) @ [float(v) for v in header.ImagePositionPatient])


def _describe(folder: str, uid: str, slices: list[tuple[float, Path, pydicom.Dataset]]) -> AuthenticSeries:
    slices = sorted(slices, key=lambda s: s[:2])
    header = slices[0][2]
    thickness = header.get("SliceThickness")
    thickness_mm = float(thickness) if thickness is not None else None
    steps = np.diff([position for position, _, _ in slices])
    usual_mm = min(float(np.median(steps)) if len(steps) else 0.0, thickness_mm or np.inf)
    kernel = header.get("ConvolutionKernel") or ""
    return AuthenticSeries(
        folder=folder,
        series_instance_uid=uid,
        patient=str(header.PatientID),
        scanner=scanner_of(header),
        kernel=kernel if isinstance(kernel, str) else "\\".join(kernel),
        slice_thickness_mm=thickness_mm,
        is_contiguous=bool(len(steps) >= 2 and steps.min() > 0 and steps.max() <= GAP_STEPS * usual_mm),
        files=tuple(file for _, file, _ in slices),
    )
