"""Two results are the same where a reader would find the same, and their difference is measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from report.results import make_region, make_series

from verict.detect.result import Verdict
from verict.evaluation.repeat import compare_results, largest_difference


def test_a_result_repeats_itself():
    same = compare_results(make_series(), make_series())
    assert same.is_same
    assert same.score_difference == 0


def test_the_order_of_regions_does_not_matter():
    one, two = make_region(score=4.0), make_region(score=4.0, bounds=(1, 2, 3, 4, 5, 6))
    assert compare_results(make_series(regions=(one, two)), make_series(regions=(two, one))).is_same


@pytest.mark.parametrize(
    ("changes", "same_verdict", "same_regions"),
    [
        ({"verdict": Verdict.NO_EVIDENCE}, False, True),
        ({"reason": "another"}, False, True),
        ({"regions": (make_region(), make_region(decisive=True, score=4.5))}, True, False),
        ({"regions": (make_region(decisive=False, score=4.5), make_region(bounds=(0, 1, 2, 3, 4, 5)))}, True, False),
        ({"regions": ()}, True, False),
    ],
)
def test_what_differs_is_seen(changes, same_verdict, same_regions):
    found = compare_results(make_series(), replace(make_series(), **changes))
    assert (found.same_verdict, found.same_regions) == (same_verdict, same_regions)
    assert not found.is_same


def test_the_largest_difference_of_scores_counts():
    regions = (make_region(decisive=False, score=4.5 + 1e-6), make_region(score=8.0 - 1e-3))
    found = compare_results(make_series(), make_series(regions=regions, score=8.0))
    assert found.is_same
    assert found.score_difference == pytest.approx(1e-3)
    assert compare_results(make_series(score=None), make_series()).score_difference == np.inf
    assert compare_results(make_series(score=None), make_series(score=None)).score_difference == 0
    assert compare_results(make_series(), make_series(regions=())).score_difference == np.inf


def test_maps_differ_where_they_are_undefined():
    first = np.array([[1.0, np.nan], [2.0, 3.0]], np.float32)
    second = first.copy()
    assert largest_difference(first, second) == 0
    second[1, 1] = 3.5
    assert largest_difference(first, second) == 0.5
    second[0, 1] = 0
    assert largest_difference(first, second) == np.inf
    assert largest_difference(first, first[:1]) == np.inf
    assert largest_difference(first * np.nan, second * np.nan) == 0
