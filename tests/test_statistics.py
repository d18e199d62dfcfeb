"""Figures and intervals against values that can be worked out by hand or looked up."""

from __future__ import annotations

import numpy as np
import pytest

from verict.statistics import area_over_patients, area_under_curve, rate_per_unit, share_of_count


def test_area_of_separated_and_reversed_scores():
    assert area_under_curve(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1.0
    assert area_under_curve(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 0.0


def test_area_counts_undefined_as_the_lowest_score():
    assert area_under_curve(np.array([np.nan]), np.array([-100.0])) == 0.0


def test_interval_over_patients_is_wider_when_sites_repeat():
    rng = np.random.default_rng(0)
    scores = np.r_[rng.normal(1, 1, 20), rng.normal(0, 1, 20)]
    positive = np.r_[np.ones(20, bool), np.zeros(20, bool)]
    own = area_over_patients(scores, positive, [str(i % 20) for i in range(40)])
    repeated = area_over_patients(
        np.tile(scores, 5), np.tile(positive, 5), [str(i % 20) for i in range(40)] * 5
    )
    assert repeated.value == pytest.approx(own.value)
    assert repeated.high - repeated.low == pytest.approx(own.high - own.low, abs=1e-9)


def test_area_without_negatives_is_undefined_and_says_n():
    figure = area_over_patients(np.ones(3), np.ones(3, bool), ["a", "b", "c"])
    assert (figure.value, figure.n) == (None, 3)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"), [(0, 7, 0.0, 0.4096), (7, 7, 0.5904, 1.0), (53, 55, 0.8747, 0.9956)]
)
def test_clopper_pearson(hits, n, low, high):
    figure = share_of_count(hits, n)
    assert (figure.low, figure.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_rate_of_nothing_has_an_upper_bound():
    figure = rate_per_unit(np.zeros(1000), [str(i // 10) for i in range(1000)])
    assert figure.value == 0.0
    assert figure.high == pytest.approx(0.0369, abs=1e-4)


def test_rate_is_the_mean_and_its_interval_holds_it():
    figure = rate_per_unit(np.array([1, 0, 0, 3.0]), ["a", "a", "b", "c"])
    assert figure.value == 1.0
    assert figure.low <= 1.0 <= figure.high
