"""The difference of two areas is that of the areas, and pairing takes out of the interval what both share."""

from __future__ import annotations

import numpy as np
import pytest

from verict.evaluation.paired import difference_of_areas
from verict.statistics import area_under_curve, matched_area


def make_scores(seed: int = 0, n: int = 40, m: int = 200):
    rng = np.random.default_rng(seed)
    first = rng.normal(1, 1, n), rng.normal(0, 1, m)
    second = first[0] - rng.uniform(0, 1, n), first[1]
    return first, second, ([f"p{i % 12}" for i in range(n)], [f"p{i % 20}" for i in range(m)])


def test_it_is_the_difference_of_both_areas():
    first, second, people = make_scores()
    figure = difference_of_areas(first, second, people)
    assert figure.value == pytest.approx(area_under_curve(*first) - area_under_curve(*second), abs=1e-12)
    assert figure.low < figure.value < figure.high
    assert figure.n == 40


def test_undefined_scores_count_as_the_lowest():
    first = np.array([np.nan, -np.inf, 2.0]), np.array([np.nan, 1.0])
    second = np.array([0.0, 0.0, 0.0]), np.array([1.0, 1.0])
    expected = (0.5 + 0 + 0.5 + 0 + 1 + 1) / 6 - 0
    assert difference_of_areas(first, second, (["a", "b", "c"], ["d", "e"])).value == pytest.approx(expected)


def test_a_score_does_not_differ_from_itself():
    first, _, people = make_scores()
    figure = difference_of_areas(first, first, people)
    assert (figure.value, figure.low, figure.high) == (0.0, 0.0, 0.0)


def test_matches_are_compared_as_matched_area_does():
    first, second, people = make_scores()
    match = np.random.default_rng(1).random((40, 200)) < 0.05
    match[3] = False
    figure = difference_of_areas(first, second, people, is_match=match)
    areas = [matched_area(s, people, match).value for s in (first, second)]
    assert figure.value == pytest.approx(areas[0] - areas[1], abs=1e-12)
    assert figure.n == match.any(axis=1).sum() < 40


def test_patients_are_drawn_whole():
    """Twenty copies of each place tell no more than one: the interval stays as wide."""
    first, second, people = make_scores(n=12, m=30)
    people = [f"a{i}" for i in range(12)], [f"b{i}" for i in range(30)]
    many = [tuple(np.repeat(side, 20) for side in s) for s in (first, second)]
    wide = difference_of_areas(first, second, people)
    same = difference_of_areas(*many, tuple(np.repeat(p, 20) for p in people))
    assert same.high - same.low == pytest.approx(wide.high - wide.low, rel=0.01)


def test_pairing_takes_out_what_both_share():
    rng = np.random.default_rng(2)
    scores = rng.normal(0.5, 1, 60), rng.normal(0, 1, 60)
    shifted = scores[0] - 0.3, scores[1]
    people = [f"a{i}" for i in range(60)], [f"b{i}" for i in range(60)]
    figure = difference_of_areas(scores, shifted, people)
    assert figure.low > 0
    assert figure.high - figure.low < 0.1


@pytest.mark.parametrize("sizes", [(0, 5), (5, 0)])
def test_one_side_alone_gives_no_figure(sizes):
    scores = np.zeros(sizes[0]), np.zeros(sizes[1])
    figure = difference_of_areas(scores, scores, (["a"] * sizes[0], ["b"] * sizes[1]))
    assert (figure.value, figure.low, figure.n) == (None, None, 0)
