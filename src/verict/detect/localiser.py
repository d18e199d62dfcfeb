"""Forged patches by a small network over noise measurements: each place against its surroundings, slice against slice.

Unlike `verict.detect.spectrum`, which weighs windows one by one, the network looks at the map as a whole: a forged
square stands out as a square. Where there are neighbouring slices it also sees what differs from them, and what it
finds is averaged along z.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from scipy import ndimage

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.detect.evidence import Evidence, Needs, ScoreMap
from verict.detect.localiser_features import CHANNEL_COUNT, slice_channels
from verict.detect.model import Model, load_model
from verict.detect.spectrum import note_undefined_slices
from verict.detect.spectrum_features import ORIGIN_PX, STRIDE_PX, SliceFeatures, grid_shape

DEPTH_SIGMA_MM = 4.0  # of the average along z
COARSE_MM = 2.5  # slices nearer to each other than this are not all looked at, unless something is seen
FINE_BELOW = 2.0  # under the mark threshold of runs: what makes the slices between be looked at
WORDS = "the noise here was not made with the noise around it"

MAP_STRIDE_PX = STRIDE_PX // 2
MAP_ORIGIN_PX = ORIGIN_PX - STRIDE_PX / 4
"""The map has four values a cell, one for each quarter."""

ScoreSlice = Callable[[int], np.ndarray]
"""(rows, columns) float32 score map of slice z, NaN where undefined."""


class LocaliserDetector:
    """A convolutional network over the channels of `verict.detect.localiser_features`.

    Works on single slices; with neighbours it sees more. Pixels and spacing, never headers.

    Parameters
    ----------
    model
        The model to use; the shipped one by default.
    """

    name = "localiser"
    summary = "a network over noise measurements: forged patches against their surroundings, along z where it can"
    needs = Needs(lungs=True)
    marks_tampering = True

    def __init__(self, model: Model | None = None) -> None:
        self.model = model

    def examine(self, volume: CTVolume, lungs: LungRegion | None, *, workers: int | None = None) -> Evidence:
        """Score every cell of the lungs. See `Detector.examine`."""
        model = self.model or load_model(self.name)
        mask = np.zeros_like(volume.hu, dtype=bool) if lungs is None else lungs.mask

        def score(z: int) -> np.ndarray:
            return score_channels(channels_of(volume, mask, z), model)

        fine_from = model.calibration["run_mark_threshold"] - FINE_BELOW
        values = map_volume(volume, score, fine_from=fine_from, workers=workers)
        return Evidence(
            self.name,
            score_map=ScoreMap(values, MAP_STRIDE_PX, MAP_ORIGIN_PX),
            notes=note_undefined_slices(self.name, values, lungs),
            card=model.card,
            mark_threshold=model.calibration["mark_threshold"],
            words=WORDS,
        )


def channels_of(volume: CTVolume, lung_mask: np.ndarray, z: int) -> SliceFeatures:
    """The channels of slice z beside its neighbours in the same run; none where there is no lung."""
    shape = grid_shape(*volume.hu.shape[1:])
    if not lung_mask[z].any() or min(shape) == 0:
        nothing = np.empty(0, np.intp)
        return SliceFeatures(shape, nothing, nothing, np.empty((0, CHANNEL_COUNT), np.float32))
    run = next(r for r in volume.runs if r.start <= z < r.stop)
    around = [volume.hu[n] for n in (z - 1, z + 1) if run.start <= n < run.stop]
    return slice_channels(volume.hu[z], around, lung_mask[z], volume.spacing_mm[1:])


def score_channels(cells: SliceFeatures, model: Model) -> np.ndarray:
    """(2 rows, 2 columns) float32 score map of one slice, NaN where undefined; higher = more suspicious."""

    def run(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return model.session.run(None, {"values": values, "mask": mask})[0]

    return score_with(cells, run)


def score_with(cells: SliceFeatures, run: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """The same by anything that scores `to_dense`'s two arrays: training and scanning both come here."""
    out = np.full(map_shape(cells.shape), np.nan, np.float32)
    if len(cells.rows):
        values, mask, box = to_dense(cells)
        inside = np.repeat(np.repeat(mask, 2, 0), 2, 1) > 0
        fine = tuple(slice(2 * s.start, 2 * s.stop) for s in box)
        out[fine] = np.where(inside, run(values, mask), np.nan)
    return out


def map_shape(cells: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the map of so many rows and columns of cells."""
    return 2 * cells[0], 2 * cells[1]


def to_dense(cells: SliceFeatures) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice]]:
    """(rows, columns, channels) and (rows, columns) float32 of the part of the map that holds cells, and which part."""
    box = tuple(slice(int(n.min()), int(n.max()) + 1) for n in (cells.rows, cells.columns))
    shape = tuple(s.stop - s.start for s in box)
    rows, columns = cells.rows - box[0].start, cells.columns - box[1].start
    values = np.zeros((*shape, cells.values.shape[1]), np.float32)
    mask = np.zeros(shape, np.float32)
    values[rows, columns], mask[rows, columns] = cells.values, 1
    return values, mask, (box[0], box[1])


def map_volume(
    volume: CTVolume, score: ScoreSlice, *, fine_from: float = -np.inf, workers: int | None = None
) -> np.ndarray:
    """(z, rows, columns) float32 map of a volume: coarse slices, then those between where need be, averaged along z.

    Parameters
    ----------
    volume
        Geometry; its pixels are not looked at.
    score
        See `ScoreSlice`.
    fine_from
        Slices between coarse ones are scored where one of these has such a score, and interpolated elsewhere.
    workers
        Threads; None: one a core.
    """
    values = np.full((volume.slice_count, *map_shape(grid_shape(*volume.hu.shape[1:]))), np.nan, np.float32)
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:

        def fill(chosen: Iterable[int]) -> None:
            chosen = list(chosen)
            for z, one in zip(chosen, pool.map(score, chosen), strict=True):
                values[z] = one

        for run in volume.runs:
            step = coarse_step(volume, run)
            coarse = list(range(run.start, run.stop, step))
            if coarse[-1] != run.stop - 1:
                coarse.append(run.stop - 1)
            fill(coarse)
            gaps = [(a, b) for a, b in pairwise(coarse) if b - a > 1]
            near = [gap for gap in gaps if _highest(values[list(gap)]) >= fine_from]
            fill(z for a, b in near for z in range(a + 1, b))
            for a, b in gaps:
                if (a, b) not in near:
                    values[a + 1 : b] = _between(values[a], values[b], b - a)
    return average_runs(values, volume)


def coarse_step(volume: CTVolume, run: slice) -> int:
    """Every how many slices of a run are looked at first."""
    return max(1, int(COARSE_MM / max(_step_mm(volume, run), 1e-3))) if run.stop - run.start > 1 else 1


def average_runs(values: np.ndarray, volume: CTVolume) -> np.ndarray:
    """The map averaged along z within each run, by a Gaussian; undefined cells stay undefined and do not count."""
    out = values.copy()
    for run in volume.runs:
        if run.stop - run.start < 2:
            continue
        sigma = DEPTH_SIGMA_MM / max(_step_mm(volume, run), 1e-3)
        defined = np.isfinite(values[run])
        total, weight = (
            ndimage.gaussian_filter1d(part.astype(np.float32), sigma, axis=0, mode="constant", truncate=2.5)
            for part in (np.where(defined, values[run], 0), defined)
        )
        out[run] = np.where(defined, total / np.maximum(weight, 1e-6), np.nan)
    return out


def _step_mm(volume: CTVolume, run: slice) -> float:
    return float(volume.positions_mm[run.stop - 1] - volume.positions_mm[run.start]) / max(run.stop - run.start - 1, 1)


def _highest(values: np.ndarray) -> float:
    return float(np.nanmax(values)) if np.isfinite(values).any() else -np.inf


def _between(first: np.ndarray, last: np.ndarray, count: int) -> np.ndarray:
    """(count - 1, rows, columns) between two maps; where one of them is undefined, the other."""
    part = (np.arange(1, count, dtype=np.float32) / count)[:, None, None]
    mixed = (1 - part) * first + part * last
    return np.where(np.isnan(first), last, np.where(np.isnan(last), first, mixed)).astype(np.float32)
