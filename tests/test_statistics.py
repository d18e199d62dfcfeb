"""Figures and intervals against values that can be worked out by hand or looked up."""

from __future__ import annotations

import numpy as np
import pytest

from verict.statistics import (
    area_over_patients,
    area_under_curve,
    matched_area,
    rate_per_unit,
    share_of_count,
    share_over_patients,
)


def test_area_of_separated_and_reversed_scores():
    assert area_under_curve(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1.0
    assert area_under_curve(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 0.0


def test_area_counts_undefined_as_the_lowest_score():
    assert area_under_curve(np.array([np.nan]), np.array([-100.0])) == 0.0
    assert area_under_curve(np.array([np.nan]), np.array([-np.inf])) == 0.5, "both are the lowest score there is"
    assert area_under_curve(np.array([-np.inf, np.inf]), np.array([np.finfo(float).min, np.finfo(float).max])) == 0.5


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


def test_area_over_patients_is_the_area_and_weights_count_sites_so_often():
    scores, positive = np.array([3.0, 1.0, 2.0, 0.0, np.nan]), np.array([True, True, False, False, False])
    patients = ["a", "b", "c", "d", "e"]
    plain = area_over_patients(scores, positive, patients)
    assert plain.value == area_under_curve(scores[positive], scores[~positive]) == pytest.approx(5 / 6)
    weights = np.array([1.0, 3.0, 1.0, 1.0, 2.0])
    repeated = np.repeat(np.arange(5), weights.astype(int))
    weighted = area_over_patients(scores, positive, patients, weights=weights)
    again = area_under_curve(*(scores[repeated][positive[repeated] == side] for side in (True, False)))
    assert weighted.value == pytest.approx(again) == pytest.approx((4 + 3 * 3) / (4 * 4))
    assert area_over_patients(np.array([np.inf, -np.inf]), np.array([False, True]), ["a", "b"]).value == 0.0


def test_complete_separation_is_not_certainty():
    """Three patients with all positives above: no more is known than that of three in three (Clopper-Pearson)."""
    positive = np.array([True] * 6 + [False] * 4)
    patients = ["a", "a", "b", "b", "c", "c", "d", "e", "f", "g"]
    figure = area_over_patients(positive * 1.0, positive, patients)
    assert (figure.value, figure.high, figure.n) == (1.0, 1.0, 6)
    assert figure.low == pytest.approx(0.025 ** (1 / 3))
    assert area_over_patients(positive * -1.0, positive, patients).high == pytest.approx(1 - 0.025 ** (1 / 3))


def test_complete_separation_is_seen_through_rounded_weights():
    """Weights of a third do not add up exactly; the area is 1 all the same, and so is its bound."""
    positive = np.arange(40) < 30
    patients = [f"p{i % 3}" for i in range(40)]
    weights = 1 / (3 + 3 * np.arange(40) % 7)
    figure = area_over_patients(np.where(positive, 1.0, -np.arange(40)), positive, patients, weights=weights)
    assert (figure.value, figure.low) == (1.0, pytest.approx(0.025 ** (1 / 3)))


def test_one_patient_says_nothing_of_others():
    """A bootstrap would draw the same one each time and find no spread."""
    one = ["p"] * 6
    scores, positive = np.array([3.0, 1.0, 2.0, 0.0, 5.0, 4.0]), np.array([True, True, False, False, False, True])
    match = np.ones((3, 3), bool)
    for figure in (
        area_over_patients(scores, positive, one),
        matched_area((scores[positive], scores[~positive]), (np.array(one[:3]), np.array(one[:3])), match),
        share_over_patients(positive, one),
        rate_per_unit(scores, one),
    ):
        assert figure.value is not None
        assert (figure.low, figure.high) == (None, None)
    assert share_over_patients(np.ones(6, bool), one).low == pytest.approx(0.025), "a bound stays a bound"


def test_matched_area_compares_each_positive_with_its_own():
    own, other = np.array([5.0, 1.0, 9.0]), np.array([4.0, 5.0, 2.0, np.nan])
    is_match = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]], bool)
    patients = np.array(["a", "b", "c"]), np.array(["d", "e", "f", "g"])
    figure = matched_area((own, other), patients, is_match)
    assert figure.value == pytest.approx((1.5 / 2 + 1 / 2) / 2)  # the tie counts half; the third has nobody
    assert figure.n == 2
    assert figure.low < figure.value < figure.high
    assert matched_area((own, other), patients, is_match & False).value is None


def test_matched_area_is_not_fooled_by_what_it_is_matched_on():
    """Scores that only follow the stratum separate nothing within it, whatever the pooled area is."""
    rng = np.random.default_rng(0)
    own_level, other_level = np.repeat([0, 10], [5, 45]), np.repeat([0, 10], [45, 5])
    own, other = own_level + rng.normal(size=50), other_level + rng.normal(size=50)
    is_match = own_level[:, None] == other_level
    names = np.array([f"p{i}" for i in range(50)])
    figure = matched_area((own, other), (names, names), is_match)
    assert area_under_curve(own, other) > 0.85
    assert figure.low < 0.5 < figure.high


def test_share_over_patients_is_wider_than_sites_would_tell():
    hits = np.repeat([True, False], [50, 50])
    figure = share_over_patients(hits, [f"p{i // 25}" for i in range(100)])
    alone = share_of_count(50, 100)
    assert (figure.value, figure.n) == (0.5, 100)
    assert figure.high - figure.low > 2 * (alone.high - alone.low)


@pytest.mark.parametrize("hit", [True, False])
def test_share_of_all_or_none_is_bounded_by_the_patients(hit):
    figure = share_over_patients(np.full(100, hit), [f"p{i // 25}" for i in range(100)])
    bound = share_of_count(4 if hit else 0, 4)
    assert (figure.value, figure.low, figure.high) == (float(hit), bound.low, bound.high)
    assert share_over_patients(np.zeros(0, bool), []).value is None


def test_a_higher_level_is_a_wider_interval():
    assert share_of_count(0, 40, level=0.975).high == pytest.approx(1 - 0.0125 ** (1 / 40))
