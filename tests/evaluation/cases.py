"""Subjects and cases built by hand, whose figures can be worked out on paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from detect.volumes import CALIBRATION, ORIGIN_PX, STRIDE_PX, make_volume

from verict.datasets.scans import Label, Source
from verict.datasets.splits import Scanner
from verict.datasets.uci import SiteType
from verict.detect.evidence import ScoreMap
from verict.evaluation.case import Case, Place, PlaceKind, Seen, Subject, without_pixels

PIXEL_MM = 1.0


def pixel_of(cell: int) -> int:
    """Pixel row or column nearest the centre of a cell, from below."""
    return int(ORIGIN_PX + cell * STRIDE_PX)


def make_case(
    values: np.ndarray,
    *,
    labels: Sequence[tuple[str, int, int, int]] = (),
    places: Sequence[Place] = (),
    patient: str = "p",
    source: Source | None = None,
    positions_mm: Sequence[float] | None = None,
    mark: float | None = None,
    lung: Sequence[bool] | None = None,
    kernel: str = "",
    scanner: Scanner | None = None,
    avoid_mm: dict[int, np.ndarray] | None = None,
) -> Case:
    """A case of that (z, rows, columns) map, pixels of 1 mm; slices 100 mm apart unless told, so no neighbours.

    ``labels`` are (kind, z, row of cells, column of cells); labelled where there are any, else authentic.
    """
    values = np.asarray(values, np.float32)
    count, rows, columns = values.shape
    size = (pixel_of(rows - 1) + 17, pixel_of(columns - 1) + 17)
    where = list(positions_mm) if positions_mm is not None else [100.0 * z for z in range(count)]
    volume = make_volume(where, size=size, pixel_mm=(PIXEL_MM, PIXEL_MM), thickness_mm=1.0)
    by_slice: dict[int, list[Label]] = {}
    for kind, z, row, column in labels:
        by_slice.setdefault(z, []).append(Label(SiteType(kind), pixel_of(row), pixel_of(column)))
    near = {z: np.array([(n.y * PIXEL_MM, n.x * PIXEL_MM) for n in own]) for z, own in by_slice.items()}
    subject = Subject(
        source=source or (Source.LABELLED if labels else Source.AUTHENTIC),
        folder="folder",
        patient=patient,
        scanner=scanner or Scanner("ge", "a"),
        kernel=kernel,
        geometry=without_pixels(volume),
        lung_slices=np.ones(count, bool) if lung is None else np.array(lung, bool),
        labels={z: tuple(own) for z, own in by_slice.items()},
        avoid_mm=near if avoid_mm is None else avoid_mm,
        places=tuple(places),
    )
    calibration = CALIBRATION if mark is None else {**CALIBRATION, "mark_threshold": mark}
    return Case(subject, ScoreMap(values, STRIDE_PX, ORIGIN_PX), calibration, Seen.UNSEEN)


def place(kind: str, row: int, column: int, *, z: int = 0, look: tuple[float, float, float] = (0, 10, -400)) -> Place:
    """A place at the centre of a cell; ``look`` is centre HU, diameter in mm and ring HU."""
    return Place(PlaceKind(kind), z, pixel_of(row), pixel_of(column), *look)
