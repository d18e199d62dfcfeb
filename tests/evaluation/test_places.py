"""Scores of places by hand."""

from __future__ import annotations

import numpy as np
import pytest
from detect.volumes import ORIGIN_PX, STRIDE_PX, make_map
from evaluation.cases import make_case, pixel_of, place

from verict.detect.at_place import score_at
from verict.detect.evidence import ScoreMap
from verict.evaluation.case import PlaceKind
from verict.evaluation.places import margin_of, tabulate_places


def grid(values: np.ndarray) -> ScoreMap:
    return ScoreMap(values[None].astype(np.float32), STRIDE_PX, ORIGIN_PX)


def test_score_is_the_highest_cell_within_ten_mm():
    values = np.full((12, 12), -5.0)
    values[5, 5], values[5, 7], values[9, 9] = 1.0, 2.0, 9.0
    at = (0, ORIGIN_PX + 5 * STRIDE_PX, ORIGIN_PX + 5 * STRIDE_PX)
    assert score_at(grid(values), *at, (0.7, 0.7)) == 1.0  # two cells away is 11.2 mm
    assert score_at(grid(values), *at, (0.7, 0.6)) == 2.0  # and 9.6 mm along x here
    assert score_at(grid(values), *at, (0.6, 0.7)) == 1.0
    assert score_at(grid(values), *at, (5.0, 0.7, 0.6)) == 2.0


@pytest.mark.parametrize("hole", [np.nan, -np.inf])
def test_an_undefined_place_scores_lowest(hole):
    values = np.full((12, 12), hole)
    assert score_at(grid(values), 0, 55, 55, (0.7, 0.7)) == -np.inf
    assert score_at(grid(values), 0, 5000, 55, (0.7, 0.7)) == -np.inf
    values[5, 5] = 3.0
    assert score_at(grid(values), 0, 55, 55, (0.7, 0.7)) == 3.0


def test_margins_are_above_the_series_own_threshold():
    values = make_map(2)
    values[1, 3, 3] = 4.0
    own = (place("bright", 3, 3, z=1), place("parenchyma", 7, 7, z=1))
    cases = [make_case(values, places=own, patient="a"), make_case(values, places=own[:1], patient="b", mark=4.5)]
    table = tabulate_places(cases)
    assert table.score.tolist() == [4.0, 0.0, 4.0]
    assert table.margin.tolist() == [1.0, -3.0, -0.5]
    assert table.is_marked.tolist() == [True, False, False]
    assert table.patient.tolist() == ["a", "a", "b"]
    assert table.y_mm.tolist() == [pixel_of(3), pixel_of(7), pixel_of(3)]
    assert len(table.of(PlaceKind.BRIGHT)) == 2
    assert len(table.of(PlaceKind.BRIGHT, labelled=True)) == 0
    assert margin_of(np.array([np.nan, 2.0]), 1.5).tolist() == [-np.inf, 0.5]


def test_no_place_is_an_empty_table():
    table = tabulate_places([make_case(make_map(1))])
    assert len(table) == len(table.of(PlaceKind.FB)) == 0
