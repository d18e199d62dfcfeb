"""Cross-fitting: what judges a scan, and the thresholds it is judged by, never saw its patient or its scanner."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluation.cheats import make_scan, map_of

from verict.datasets.scans import Source
from verict.datasets.splits import Scanner
from verict.datasets.uci import SiteType
from verict.errors import DatasetError, UsageError
from verict.evaluation.case import Seen
from verict.evaluation.learners import cross_fit, deal_folds
from verict.evaluation.subjects import make_subject
from verict.evaluation.thresholds import AuthenticMap, Goals, fit_thresholds


class Witness:
    """Remembers what it was fitted on; its map is noise by the pixels and by how much it was fitted on."""

    def __init__(self) -> None:
        self.fitted: list[frozenset[int]] = []
        self.scored: list[tuple[frozenset[int], int]] = []

    def fit(self, cases):
        known = frozenset(int(scan.volume.hu.sum()) for scan, _ in cases)
        self.fitted.append(known)
        return Scored(self, known)


class Scored:
    def __init__(self, witness: Witness, known: frozenset[int]) -> None:
        self.witness, self.known = witness, known

    def score(self, volume, lungs):
        self.witness.scored.append((self.known, int(volume.hu.sum())))
        assert volume.headers == () and volume.series_instance_uid == "" and not volume.hu.flags.writeable
        rng = np.random.default_rng([len(self.known), abs(int(volume.hu.sum()))])
        return map_of(rng.normal(size=volume.hu.shape), lungs.mask)


@pytest.fixture(scope="module")
def cases():
    """Five labelled scans; ten authentic ones of eight patients, by four scanner models."""
    scans = [make_scan(seed, (SiteType.FB,)) for seed in range(1, 6)]
    for seed in range(10):
        scan = make_scan(500 + seed, (None,))
        scans.append(replace(scan, patient=f"owner {seed % 8}", scanner=Scanner("maker", f"model{seed % 8 % 4}")))
    return [(scan, make_subject(scan, 1)) for scan in scans]


@pytest.fixture(scope="module")
def witnessed(cases):
    witness = Witness()
    return witness, cross_fit(witness, cases, folds=4)


def key(case) -> int:
    return int(case[0].volume.hu.sum())


def test_every_scan_is_judged_once_out_of_fold_in_the_order_given(cases, witnessed):
    _, judged = witnessed
    assert [c.subject for c in judged] == [subject for _, subject in cases]
    assert {c.seen for c in judged} == {Seen.OUT_OF_FOLD}


def test_nothing_that_scores_a_scan_saw_its_patient_or_its_scanner(cases, witnessed):
    witness, _ = witnessed
    by_key = {key(case): case[0] for case in cases}
    assert len(by_key) == len(cases)
    for known, scored in witness.scored:
        scan = by_key[scored]
        for other in (by_key[k] for k in known):
            assert other.patient != scan.patient
            assert not other.scanner.may_be(scan.scanner)


def test_thresholds_of_a_fold_are_fitted_on_maps_by_what_saw_neither(cases, witnessed):
    """Of each fold: its thresholds follow from authentic maps of other folds alone, made by doubly blind scorers."""
    _, judged = witnessed
    fold = deal_folds([scan for scan, _ in cases], 4, 7)
    for k in range(4):
        members = [cases[i][0] for i in np.flatnonzero(fold == k)]
        fitted = {tuple(judged[i].calibration.values()) for i in np.flatnonzero(fold == k)}
        assert len(fitted) == 1
        witness, maps = Witness(), []
        for j in (j for j in range(4) if j != k):
            beside = members + [cases[i][0] for i in np.flatnonzero(fold == j)]
            blind = [c for c in cases if not any(c[0].patient == s.patient or c[0].scanner.may_be(s.scanner)
                                                 for s in beside)]  # fmt: skip
            scorer = witness.fit(blind)
            for scan, subject in (cases[i] for i in np.flatnonzero(fold == j)):
                if scan.source is Source.AUTHENTIC and not any(
                    scan.patient == s.patient or scan.scanner.may_be(s.scanner) for s in members
                ):
                    shown = replace(scan.volume.without_headers())
                    shown.hu.flags.writeable = False
                    values = scorer.score(shown, scan.lungs).values
                    shown.hu.flags.writeable = True
                    maps.append(AuthenticMap(scan.folder, scan.patient, subject.geometry, values))
        assert tuple(fit_thresholds(maps, Goals()).values()) == fitted.pop()


def test_a_patient_is_whole_in_one_fold_and_every_fold_holds_both_kinds(cases):
    scans = [scan for scan, _ in cases]
    fold = deal_folds(scans, 4, 7)
    for patient in {s.patient for s in scans}:
        assert len({int(f) for f, s in zip(fold, scans, strict=True) if s.patient == patient}) == 1
    for k in range(4):
        assert {s.source for f, s in zip(fold, scans, strict=True) if f == k} == set(Source)


def test_the_same_seed_gives_the_same(cases):
    first, second = (cross_fit(Witness(), cases, folds=3, seed=2) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.score_map.values, b.score_map.values, equal_nan=True)
        assert a.calibration == b.calibration


def test_without_authentic_scans_there_is_nothing_to_fit_thresholds_on(cases):
    with pytest.raises(DatasetError, match="no authentic scan"):
        cross_fit(Witness(), cases[:5], folds=2)


def test_more_folds_than_patients_are_refused(cases):
    with pytest.raises(UsageError, match="folds cannot be dealt"):
        cross_fit(Witness(), cases[:2], folds=3)


def test_progress_is_told(cases):
    told = []
    cross_fit(Witness(), cases, folds=3, progress=lambda *step: told.append(step))
    assert told == [("cross-fitting", step, 9) for step in range(9)]
