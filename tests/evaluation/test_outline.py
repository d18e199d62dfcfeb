"""The patch a map shows at a place, and how well it covers what was changed."""

from __future__ import annotations

import numpy as np
import pytest

from verict.detect.evidence import ScoreMap
from verict.evaluation.outline import mark_patch, on_map, overlap

SPACING = (0.7, 0.7)


def make_map() -> ScoreMap:
    """Two patches of log odds 4 on a floor of -6, the first with a soft rim."""
    values = np.full((1, 60, 60), -6.0, np.float32)
    values[0, 18:32, 18:32] = -2.5
    values[0, 20:30, 20:30] = 4.0
    values[0, 45:50, 45:50] = 4.0
    return ScoreMap(values, 4, 13.5)


def test_the_patch_around_a_place_ends_where_the_map_falls():
    patch = mark_patch(make_map(), 0, 13.5 + 4 * 25, 13.5 + 4 * 25, SPACING)
    expected = np.zeros((60, 60), bool)
    expected[20:30, 20:30] = True
    np.testing.assert_array_equal(patch, expected)  # neither the rim nor the other patch


def test_a_patch_seen_dimly_ends_at_the_same_share_of_its_height():
    score_map = make_map()
    dim = ScoreMap(score_map.values * 0.2, 4, 13.5)
    at = 13.5 + 4 * 25
    np.testing.assert_array_equal(mark_patch(dim, 0, at, at, SPACING), mark_patch(score_map, 0, at, at, SPACING))


def test_a_long_band_is_marked_only_near_its_highest_cell():
    values = np.full((1, 60, 60), -6.0, np.float32)
    values[0, 28:33] = 4.0
    values[0, 30, 30] = 5.0
    patch = mark_patch(ScoreMap(values, 4, 13.5), 0, 13.5 + 4 * 30, 13.5 + 4 * 30, SPACING)
    away_mm = np.hypot(*(np.argwhere(patch).T - 30)) * 4 * 0.7
    assert 17 < away_mm.max() <= 20


def test_cells_without_a_value_are_never_marked():
    score_map = make_map()
    score_map.values[0, 24:26, 24:26] = np.nan
    patch = mark_patch(score_map, 0, 13.5 + 4 * 22, 13.5 + 4 * 22, SPACING)
    assert patch.any()
    assert not patch[24:26, 24:26].any()


def test_nothing_is_marked_where_the_map_is_undefined():
    undefined = ScoreMap(np.full((1, 60, 60), np.nan, np.float32), 4, 13.5)
    assert not mark_patch(undefined, 0, 100, 100, SPACING).any()


def test_changed_pixels_come_to_lie_on_the_cells_above_them():
    score_map = make_map()
    changed = np.ones((40, 40), bool)
    cells = on_map(changed, 13 + 80, 13 + 80, score_map)
    rows, columns = np.nonzero(cells)
    assert (rows.min(), rows.max()) == (columns.min(), columns.max())
    assert rows.min() in (20, 21)
    assert cells.sum() == pytest.approx(100, abs=21)


def test_overlap():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[:2], b[1:3] = True, True
    assert overlap(a, b) == pytest.approx(1 / 3)
    assert overlap(a, a) == 1
    assert np.isnan(overlap(a, np.zeros((4, 4), bool)))
