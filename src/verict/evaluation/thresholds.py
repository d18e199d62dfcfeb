"""Thresholds of a map detector, fitted on maps of authentic scans that its model never saw."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from verict.ct.volume import CTVolume
from verict.detect.verdict import MIN_RUN_SLICES, average_along_z, averaged_slices

EIGHT_NEIGHBOURS = np.ones((3, 3))
CANDIDATES = 400


@dataclass(frozen=True, eq=False)
class AuthenticMap:
    """The (z, rows, columns) score map of one authentic series, from a model that never saw it."""

    folder: str
    patient: str
    volume: CTVolume
    values: np.ndarray


@dataclass(frozen=True)
class Goals:
    """False alarms allowed on authentic scans.

    Marks and run regions are averaged over folders, so that long series do not outweigh the others; decisive
    lone slices over patients. ``run_margin`` is kept above the highest authentic series, processed or not.
    """

    marks_per_slice: float = 0.12  # the largest for which unseen folders keep to 0.1, as measured
    decisive_slices: float = 0.01
    run_marks_per_series: float = 0.5
    run_margin: float = 0.5


def count_marks(values: np.ndarray, threshold: float) -> int:
    """How many separate marks a (rows, columns) map has at a threshold."""
    return int(ndimage.label(np.nan_to_num(values, nan=-np.inf) >= threshold, EIGHT_NEIGHBOURS)[1])


def fit_thresholds(
    maps: Iterable[AuthenticMap], goals: Goals, processed: Iterable[AuthenticMap] = ()
) -> dict[str, float]:
    """The thresholds of `verict.detect.verdict`, low ones that keep to the goals.

    ``processed`` are untouched series smoothed and turned as a whole, see `verict.evaluation.benign`. Where there are
    any, what decides in runs lies above them too, and what lies above the others alone is ``run_doubt_threshold``.
    """
    maps = list(maps)
    slices = [(m, s) for m in maps for s in m.values if np.isfinite(s).any()]
    peaks = np.array([np.nanmax(s) for _, s in slices])
    candidates = np.unique(np.quantile(peaks, np.linspace(0.3, 1, CANDIDATES)))
    candidates = np.append(candidates, peaks.max() + 0.1)
    mark = _lowest(
        candidates,
        goals.marks_per_slice,
        lambda t: _mean_of_means((m.folder, count_marks(s, t)) for m, s in slices),
    )
    decisive = _lowest(
        candidates,
        goals.decisive_slices,
        lambda t: _mean_of_means((m.patient, float(np.nanmax(s) >= t)) for m, s in slices),
    )
    series = [(m.folder, parts) for m in maps if (parts := _average_runs(m))]
    highest = [float(np.nanmax(v)) for _, parts in series for v in parts if np.isfinite(v).any()]
    top = max(highest, default=decisive)
    run_candidates = np.unique([*highest, *np.linspace(min(highest, default=top) - 2, top + 0.1, 60)])
    run_mark = _lowest(
        run_candidates,
        goals.run_marks_per_series,
        lambda t: _mean_of_means((f, float(sum(_count_regions(v, t) for v in parts))) for f, parts in series),
    )
    fitted = {
        "mark_threshold": float(mark),
        "decisive_threshold": float(max(decisive, mark)),
        "run_mark_threshold": float(run_mark),
        "run_decisive_threshold": float(max(top + goals.run_margin, run_mark)),
    }
    changed = [float(np.nanmax(v)) for m in processed for v in _average_runs(m) if np.isfinite(v).any()]
    if changed:
        fitted["run_doubt_threshold"] = fitted["run_decisive_threshold"]
        fitted["run_decisive_threshold"] = max(fitted["run_decisive_threshold"], max(changed) + goals.run_margin)
    return fitted


def _average_runs(own: AuthenticMap) -> list[np.ndarray]:
    """Of each run that is averaged along z, its averaged map."""
    runs = [run for run in own.volume.runs if averaged_slices(own.volume, run) >= MIN_RUN_SLICES]
    averaged = average_along_z(own.values, own.volume) if runs else own.values
    return [averaged[run] for run in runs]


def _lowest(candidates: np.ndarray, goal: float, rate: Callable[[float], float]) -> float:
    """A candidate whose rate keeps to the goal, by bisection: rates all but always fall as thresholds rise."""
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if rate(float(candidates[middle])) <= goal:
            high = middle
        else:
            low = middle + 1
    return float(candidates[low])


def _mean_of_means(counts: Iterable[tuple[str, float]]) -> float:
    folders: dict[str, list[float]] = {}
    for folder, count in counts:
        folders.setdefault(folder, []).append(count)
    return float(np.mean([np.mean(v) for v in folders.values()])) if folders else 0.0


def _count_regions(values: np.ndarray, threshold: float) -> int:
    return int(ndimage.label(np.nan_to_num(values, nan=-np.inf) >= threshold, np.ones((3, 3, 3)))[1])
