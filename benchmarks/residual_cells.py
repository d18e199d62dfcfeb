"""Residuals of whole collections by a network at a step, kept on disk as cells; places scored from them.

The network runs once over each slice that holds places; what residuals are compared with is decided afterwards, in
seconds.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import numpy as np
from kept_slices import KeptSlices

from verict.detect.back_in_time import (
    CELL_PX,
    ORIGIN_PX,
    Cells,
    Denoise,
    Reading,
    residual_of,
    score_cells,
    to_cells,
)
from verict.detect.evidence import ScoreMap
from verict.evaluation.case import Case, Seen
from verict.evaluation.fair import RANKED_ONLY
from verict.evaluation.places import PlaceTable, join_tables, tabulate_places


def keep_cells(slices: Sequence[Path], folder: Path, denoise: Denoise, reading: Reading) -> list[Path]:
    """A file a scan in ``folder`` with its cells by index z; those that are there are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / file.name for file in slices]
    for source, file in zip(slices, files, strict=True):
        if not file.is_file():
            kept: KeptSlices = pickle.loads(source.read_bytes())
            cells = {
                z: to_cells(residual_of(hu, mask, denoise, reading), hu) for z, (hu, mask) in kept.slices.items()
            }
            file.with_suffix(".partial").write_bytes(pickle.dumps(cells, protocol=5))
            file.with_suffix(".partial").replace(file)
    return files


def tabulate(slices: Sequence[Path], cells: Sequence[Path], reading: Reading) -> PlaceTable:
    """All places of a collection with their scores by this reading."""
    tables = []
    for index, (source, file) in enumerate(zip(slices, cells, strict=True)):
        of_slices: dict[int, Cells] = pickle.loads(file.read_bytes())
        scores = {z: score_cells(one, reading) for z, one in of_slices.items()}
        tables.append(table_of(pickle.loads(source.read_bytes()), scores, index))
    return reduce(join_tables, [t for t in tables if len(t)])


def table_of(
    kept: KeptSlices, scores: dict[int, np.ndarray], index: int, grid: tuple[int, float] = (CELL_PX, ORIGIN_PX)
) -> PlaceTable:
    """The places of one scan from (rows, columns) maps by index z, of that stride and origin."""
    shape = next(iter(scores.values())).shape if scores else (0, 0)
    values = np.full((kept.subject.geometry.slice_count, *shape), np.nan, np.float32)
    for z, one in scores.items():
        values[z] = one
    table = tabulate_places([Case(kept.subject, ScoreMap(values, *grid), RANKED_ONLY, Seen.UNSEEN)])
    table.case[:] = index
    return table
