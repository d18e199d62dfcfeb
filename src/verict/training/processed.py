"""Untouched series processed as a whole, as hospitals do, meaning no harm: thresholds must hold there too."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from verict.ct.lungs import find_lungs
from verict.ct.volume import CTVolume
from verict.datasets.scans import Progress, Scan, Source
from verict.detect.evidence import Detector
from verict.detect.verdict import MIN_RUN_SLICES, averaged_slices
from verict.evaluation.benign import PROCESSINGS, process
from verict.evaluation.fair import examine_blind
from verict.evaluation.thresholds import AuthenticMap

PROCESSED = ("smooth", "rotate")
"""What changes the noise of a series so little that `verict.detect.fitness` does not tell, and yet raises scores."""

ChooseDetector = Callable[[str], Detector]
"""The detector with the model that may judge a patient."""

_JOBS: list[tuple[Scan, str, float]] = []  # of the processes that score; inherited
_CHOOSE: list[ChooseDetector] = []


def map_processed(
    scans: Sequence[Scan], choose: ChooseDetector, workers: int, progress: Progress
) -> list[AuthenticMap]:
    """Every authentic series with neighbouring slices, by each of `PROCESSED` at its usual strengths, as it is scored.

    Parameters
    ----------
    scans
        Others than authentic series are left out.
    choose
        See `ChooseDetector`.
    workers
        Processes.
    progress
        See `verict.datasets.scans.Progress`.
    """
    own = [s for s in scans if s.source is Source.AUTHENTIC and _has_run(s.volume)]
    steps = [(p.name, strength) for p in PROCESSINGS if p.name in PROCESSED for strength in p.strengths]
    _JOBS[:] = [(scan, *step) for scan in own for step in steps]
    _CHOOSE[:] = [choose]
    found = []
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        for index, values in enumerate(pool.map(_map, range(len(_JOBS)))):
            progress("scoring processed series", index, len(_JOBS))
            scan = _JOBS[index][0]
            if np.isfinite(values).any():
                found.append(AuthenticMap(scan.folder, scan.patient, scan.volume, values))
    return found


def _has_run(volume: CTVolume) -> bool:
    return any(averaged_slices(volume, run) >= MIN_RUN_SLICES for run in volume.runs)


def _map(index: int) -> np.ndarray:
    scan, name, strength = _JOBS[index]
    volume = process(scan.volume, name, strength)
    return examine_blind(_CHOOSE[0](scan.patient), volume, find_lungs(volume), workers=1)[0].values
