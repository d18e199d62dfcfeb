"""Places of whole collections, scored from maps: residuals by a network at a step are kept on disk as cells.

The network runs once over each slice that holds places; what residuals are compared with is decided afterwards, in
seconds.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
from kept_slices import KeptSlices

from verict.detect.at_place import REACH_MM
from verict.detect.back_in_time import CELL_PX, ORIGIN_PX, Cells, Denoise, Reading, residual_of, score_cells, to_cells
from verict.detect.evidence import ScoreMap
from verict.evaluation.case import Case, PlaceKind, Seen
from verict.evaluation.fair import RANKED_ONLY
from verict.evaluation.matching import match_places
from verict.evaluation.places import PlaceTable, join_tables, tabulate_places

Maps = Mapping[int, np.ndarray]
"""(rows, columns) of a scan by index z."""
Grid = tuple[int, float]
"""Stride and origin of a map, in pixels."""


class Collection:
    """The places of some scans, which of them are compared with which, and what maps say of them.

    Parameters
    ----------
    files
        Of `kept_slices.keep_files`.

    Attributes
    ----------
    table
        All places, without scores.
    removed, lung
        Rows of removals, and of the untouched lung of labelled slices that they are compared with.
    injected, matches, is_match
        Rows of injections and of untouched structures, and (injected, matches) bool which of these are like which.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = list(files)
        tables = []
        for index, file in enumerate(self.files):
            subject = _load(file).subject
            nothing = np.empty((subject.geometry.slice_count, 0, 0), np.float32)
            case = Case(subject, ScoreMap(nothing, *(CELL_PX, ORIGIN_PX)), RANKED_ONLY, Seen.UNSEEN)
            own = tabulate_places([case])
            own.case[:] = index
            tables.append(own)
        self.table: PlaceTable = reduce(join_tables, [t for t in tables if len(t)])
        indexed = replace(self.table, score=np.arange(len(self.table), dtype=float))
        self.removed = indexed.of(PlaceKind.FB).score.astype(int)
        self.lung = indexed.of(PlaceKind.PARENCHYMA, labelled=True).score.astype(int)
        matching = match_places(indexed)
        self.injected, self.matches = (t.score.astype(int) for t in (matching.positives, matching.negatives))
        self.is_match = matching.is_match

    def compared(self, index: int) -> set[int]:
        """Slices z of a scan, by its number, that hold a place which is compared with another."""
        has_match = self.is_match.any(axis=1), self.is_match.any(axis=0)
        rows = np.concatenate([self.removed, self.lung, self.injected[has_match[0]], self.matches[has_match[1]]])
        return {int(z) for z in self.table.z[rows[self.table.case[rows] == index]]}

    def score(self, maps_of: Callable[[int], Maps], grid: Grid = (CELL_PX, ORIGIN_PX)) -> np.ndarray:
        """(places,) the highest within reach, as `verict.detect.at_place.score_at` has it; by the number of a scan.

        Where a scan has no map of a slice the places on it are nowhere: -inf.
        """
        out = np.full(len(self.table), -np.inf)
        for index, file in enumerate(self.files):
            rows = np.flatnonzero(self.table.case == index)
            if len(rows):
                spacing, maps = _load(file).subject.geometry.spacing_mm[1:], maps_of(index)
                for row in rows:
                    if (values := maps.get(int(self.table.z[row]))) is not None:
                        out[row] = self._highest(row, values, spacing, grid)
        return out

    def _highest(self, row: int, values: np.ndarray, spacing_mm: Sequence[float], grid: Grid) -> float:
        at = self.table.y_mm[row], self.table.x_mm[row]
        away = [(grid[1] + np.arange(n) * grid[0]) * mm - c
                for n, mm, c in zip(values.shape, spacing_mm, at, strict=True)]
        near = [np.flatnonzero(np.abs(a) <= REACH_MM) for a in away]
        inside = np.hypot(away[0][near[0], None], away[1][near[1]]) <= REACH_MM
        found = values[np.ix_(*near)][inside]
        found = found[~np.isnan(found)]
        return float(found.max()) if found.size else -np.inf


def keep_cells(
    file: Path, folder: Path, denoise: Denoise, reading: Reading, only: Set[int] | None = None
) -> Path:
    """A file in ``folder`` with the cells of a scan by index z, all or ``only`` some; not made again if it is there."""
    kept = folder / file.name
    if not kept.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        cells = {
            z: to_cells(residual_of(hu, mask, denoise, reading), hu)
            for z, (hu, mask) in _load(file).slices.items() if only is None or z in only
        }
        kept.with_suffix(".partial").write_bytes(pickle.dumps(cells, protocol=5))
        kept.with_suffix(".partial").replace(kept)
    return kept


def read_maps(kept: Path, reading: Reading) -> Maps:
    """The maps of a scan by this reading."""
    cells: dict[int, Cells] = pickle.loads(kept.read_bytes())
    return {z: score_cells(one, reading) for z, one in cells.items()}


def _load(file: Path) -> KeptSlices:
    found: KeptSlices = pickle.loads(file.read_bytes())
    return found
