"""A method that has to be fitted, measured by cross-fitting: nothing that judges a scan ever saw it.

Folds are dealt by patient. What scores a fold was fitted on no patient of it and on no authentic scan of a scanner
model that one of it may share. The thresholds that judge a fold are nested likewise: fitted on maps of other folds'
authentic scans, by scorers that saw neither. The scanners of labelled scans in the UCI layout are unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.datasets.scans import Progress, Scan, Source
from verict.datasets.splits import grouped_folds, unseen_by
from verict.detect.evidence import ScoreMap
from verict.errors import DatasetError
from verict.evaluation.case import Case, Seen, Subject
from verict.evaluation.fair import lock_array, show_volume
from verict.evaluation.thresholds import AuthenticMap, Goals, fit_thresholds

LONG_SERIES = 20  # slices; longer series are spread over the folds by themselves, so that each fold holds one


class Scorer(Protocol):
    """What a fitted method does."""

    def score(self, volume: CTVolume, lungs: LungRegion) -> ScoreMap:
        """The map of one volume, which comes as `verict.evaluation.fair.show_volume` gives it."""
        ...


class Learner(Protocol):
    """A method that can be fitted."""

    def fit(self, cases: Sequence[tuple[Scan, Subject]]) -> Scorer:
        """Fit anew on these scans; nothing may be kept from earlier calls that another result could follow from."""
        ...


def cross_fit(
    learner: Learner,
    cases: Sequence[tuple[Scan, Subject]],
    *,
    folds: int = 5,
    seed: int = 7,
    goals: Goals | None = None,
    progress: Progress = lambda *_: None,
) -> list[Case]:
    """Every scan as scored and judged by what never saw its patient or, of authentic scans, its scanner model.

    Parameters
    ----------
    learner
        Fitted ``folds * folds`` times.
    cases
        Labelled and authentic scans in memory, with what the ruler knows of them.
    folds, seed
        As `grouped_folds`.
    goals
        What the thresholds are fitted to.
    progress
        See `Progress`.

    Returns
    -------
    list of Case
        One a scan, in the order given.

    Raises
    ------
    UsageError
        If there are fewer patients than folds.
    DatasetError
        If the other folds of one hold no authentic scan to fit thresholds on.
    """
    patients = [scan.patient for scan, _ in cases]
    scanners = [scan.scanner for scan, _ in cases]
    fold = deal_folds([scan for scan, _ in cases], folds, seed)
    unseen = [{int(i) for i in unseen_by(patients, scanners, np.flatnonzero(fold == k))} for k in range(folds)]
    judged: list[Case | None] = [None] * len(cases)
    for k in range(folds):
        progress("cross-fitting", k * folds, folds**2)
        scorer = learner.fit([cases[i] for i in sorted(unseen[k])])
        maps = {i: _score(scorer, cases[i][0]) for i in np.flatnonzero(fold == k).tolist()}
        whole: list[AuthenticMap] = []
        for step, j in enumerate((j for j in range(folds) if j != k), start=1):
            progress("cross-fitting", k * folds + step, folds**2)
            held = [i for i in sorted(unseen[k]) if fold[i] == j and cases[i][0].source is Source.AUTHENTIC]
            if held:
                inner = learner.fit([cases[i] for i in sorted(unseen[k] & unseen[j])])
                whole += [_authentic_map(inner, *cases[i]) for i in held]
        if not any(np.isfinite(one.values).any() for one in whole):
            raise DatasetError("no authentic scan to fit thresholds on", expected="authentic scans of other scanners")
        calibration = fit_thresholds(whole, goals or Goals())
        for i, score_map in maps.items():
            judged[i] = Case(cases[i][1], score_map, calibration, Seen.OUT_OF_FOLD)
    return [case for case in judged if case is not None]


def deal_folds(scans: Sequence[Scan], folds: int, seed: int) -> np.ndarray:
    """(n,) fold of each scan: by patient, with both sources and the long authentic series spread over all folds.

    Raises
    ------
    UsageError
        If there are fewer patients than folds.
    """
    long = {s.patient for s in scans if s.source is Source.AUTHENTIC and s.volume.slice_count > LONG_SERIES}
    classes = ["long" if s.patient in long else str(s.source) for s in scans]
    fold = np.empty(len(scans), int)
    for k, members in enumerate(grouped_folds([s.patient for s in scans], folds, seed, classes=classes)):
        fold[members] = k
    return fold


def _score(scorer: Scorer, scan: Scan) -> ScoreMap:
    lungs = replace(scan.lungs, mask=lock_array(scan.lungs.mask), found=lock_array(scan.lungs.found), notes=())
    return scorer.score(show_volume(scan.volume), lungs)


def _authentic_map(scorer: Scorer, scan: Scan, subject: Subject) -> AuthenticMap:
    return AuthenticMap(scan.folder, scan.patient, subject.geometry, _score(scorer, scan).values)
