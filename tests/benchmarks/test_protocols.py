"""The originals' mistakes are made under the leaky protocol, and cannot be made under the clean one."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.small_collection import make_samples

from verict.benchmarks.protocols import CLEAN, LEAKY, choose_protocols, deal_folds
from verict.errors import UsageError


def deal(protocol, samples, *, copies=3, folds=4, repeats=2):
    return deal_folds(protocol, samples.kind, samples.patient, folds=folds, repeats=repeats, seed=3, copies=copies)


@pytest.mark.parametrize("copies", [0, 3])
def test_clean_keeps_every_patient_on_one_side_in_every_repeat(copies):
    samples = make_samples()
    folds = deal(CLEAN, samples, copies=copies)
    assert len(folds) == 8
    for fold in folds:
        sides = [set(samples.patient[items.row]) for items in (fold.train, fold.test)]
        assert sides[0].isdisjoint(sides[1])
        assert not (fold.test.copy > 0).any(), "no copy is judged"
        assert len(fold.train) == (copies + 1) * (len(samples) - len(fold.test))


def test_clean_keeps_the_twins_together():
    samples = make_samples(patients=6)
    experiments = np.where(np.arange(len(samples)) % 2 == 0, 1, 2)  # both experiments hold every uuid
    for fold in deal(CLEAN, samples, folds=3):
        for experiment in (1, 2):
            own = set(samples.uuid[fold.test.row][experiments[fold.test.row] == experiment])
            assert own.isdisjoint(samples.uuid[fold.train.row])


def test_leaky_puts_patients_and_copies_on_both_sides():
    samples = make_samples()
    for fold in deal(LEAKY, samples):
        assert set(samples.patient[fold.train.row]) & set(samples.patient[fold.test.row])
        assert set(fold.train.row) & set(fold.test.row), "a copy of a test row is learnt from"


@pytest.mark.parametrize("protocol", [CLEAN, LEAKY])
def test_every_row_is_judged_once_a_repeat(protocol):
    samples = make_samples()
    folds = deal(protocol, samples, copies=2)
    for repeat in (0, 1):
        own = [fold for fold in folds if fold.repeat == repeat]
        rows = np.concatenate([fold.test.row[fold.test.copy == 0] for fold in own])
        assert sorted(rows) == list(range(len(samples)))
    assert not np.array_equal(folds[0].test.row, folds[4].test.row), "the second repeat is dealt anew"


def test_the_same_seed_deals_the_same_folds():
    samples = make_samples()
    for one, other in zip(deal(CLEAN, samples), deal(CLEAN, samples), strict=True):
        np.testing.assert_array_equal(one.test.row, other.test.row)
        np.testing.assert_array_equal(one.train.row, other.train.row)


def test_an_unknown_protocol_is_refused_with_a_hint():
    with pytest.raises(UsageError, match="did you mean clean"):
        choose_protocols("claen")
    assert [p.name for p in choose_protocols("both")] == ["leaky", "clean"]
