"""Marks by hand, and every threshold of the sweep against marks labelled anew at that threshold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from detect.volumes import RUN_MARK, make_map
from evaluation.cases import make_case
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from verict.evaluation.froc import froc_figures
from verict.evaluation.marks import Field, count_slice_marks, joined_runs, labelled_slices, operate_at

SIZE = 30  # cells of 8 mm: 232 mm, so that most of a slice is clear of a label


def draw(*cells: tuple[int, int, float], slices: int = 1) -> np.ndarray:
    values = make_map(slices, SIZE, SIZE, fill=-9.0)
    for row, column, score in cells:
        values[:, row, column] = score
    return values


def operate(values: np.ndarray, *allowed: float, labels=(("FB", 0, 4, 4),)):
    return operate_at(list(labelled_slices(make_case(values, labels=labels))), allowed)


def test_a_mark_hits_where_it_overlaps_the_painted_square():
    """Half side 21 mm and half a cell of 4 mm: centres up to 25 mm away along each axis, so three cells."""
    for row, column, hit in ((4, 4, True), (7, 7, True), (7, 1, True), (8, 4, False), (4, 8, False)):
        (state,) = operate(draw((row, column, 1.0)), 0)
        assert state.hits.tolist() == [hit]
        assert state.height == (1.0 if hit else np.inf)


def test_marks_near_a_label_are_neither_hit_nor_false():
    (field,) = labelled_slices(make_case(draw(), labels=[("FB", 0, 4, 4)]))
    assert field.is_near[0, 4, 9]  # 40 mm
    assert not field.is_near[0, 4, 10]  # 48 mm
    assert not field.is_near[0, 9, 9]  # 57 mm


def test_thresholds_by_hand():
    """From the top: false, false touching it diagonally, hit of the first label, false, hit of the second."""
    values = draw((20, 20, 9.0), (21, 21, 8.0), (4, 4, 7.0), (20, 10, 6.0), (26, 26, 5.0))
    labels = (("FB", 0, 4, 4), ("FM", 0, 26, 26))
    none, one, two = operate(values, 0, 1, 2, labels=labels)
    assert (none.height, none.false_marks, none.hits.tolist()) == (np.inf, 0, [False, False])
    assert (one.height, one.false_marks, one.hits.tolist()) == (7.0, 1, [True, False])
    assert (two.height, two.false_marks) == (5.0, 2)
    assert two.hits.tolist() == [True, True]


def test_a_mark_over_everything_is_one_false_mark_and_no_hit():
    """Else a map that says yes everywhere would find all labels without a false mark."""
    for state in operate(draw() * 0 + 5.0, 0, 1, 100):
        assert not state.hits.any()


def test_what_was_found_stays_found_when_everything_flows_together():
    """A map of one low value beside its marks: lower thresholds add one mark over everything, and no figure falls."""
    zero, many = operate(draw((4, 4, 5.0)), 0, 100)
    for state in (zero, many):
        assert (state.height, state.false_marks, state.hits.tolist()) == (5.0, 0, [True])


def test_false_marks_that_flow_together_do_not_count_as_few():
    """Many false marks, then a threshold low enough to join them all: the many stay in the way."""
    values = draw(*[(r, c, 5.0) for r in range(14, 30, 3) for c in range(14, 30, 3)])
    values[0, 12:, 12:] = np.maximum(values[0, 12:, 12:], 3.0)
    values[0, 4, 4] = 2.0
    (state,) = operate(values, 2)
    assert (state.height, state.hits.tolist()) == (np.inf, [False])
    (state,) = operate(values, 36)
    assert state.hits.tolist() == [True]


def test_a_real_cancer_is_untouched():
    """A mark on a TM label is false; a mark on it within reach of a painted place is not."""
    values = draw((20, 20, 5.0))
    (field,) = labelled_slices(make_case(values, labels=[("TM", 0, 20, 20)]))
    assert field.targets == ()
    assert not field.is_near.any()
    (state,) = operate(values, 0, labels=[("TM", 0, 20, 20), ("FM", 0, 22, 22)])
    assert state.false_marks == 0


def test_labels_of_slices_that_are_not_at_hand_shield_too():
    case = make_case(draw((20, 20, 5.0)), labels=[("FB", 0, 4, 4)], avoid_mm={0: np.array([[175.0, 175.0]])})
    (field,) = labelled_slices(case)
    assert field.is_near[0, 20, 20]
    assert not field.is_near[0, 4, 4]


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 12))
def test_every_threshold_counts_what_labelling_anew_counts(seed, levels):
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(size=(2, 12, 13)) * levels) / levels
    values[rng.random(values.shape) < 0.1] = -np.inf
    near = rng.random(values.shape) < 0.3
    square = np.zeros(values.shape, bool)
    square[1, 4:7, 5:8] = True
    allowed = [0, 1, 3, 6, 1000]
    states = operate_at([Field(values, near, (("FB", square),))], allowed)

    def judge(threshold: float) -> tuple[int, bool]:
        marks, count = ndimage.label(values >= threshold, np.ones((3, 3, 3)))
        far = [int((~near[marks == i]).sum() - near[marks == i].sum()) for i in range(1, count + 1)]
        return sum(f > 0 for f in far), any(f <= 0 and square[marks == i].any() for i, f in enumerate(far, 1))

    thresholds = sorted({v for v in values.ravel() if np.isfinite(v)}, reverse=True)
    for limit, state in zip(allowed, states, strict=True):
        kept = []
        for t in thresholds:
            if judge(t)[0] > limit:
                break
            kept.append(t)
        hitting = [t for t in kept if judge(t)[1]]
        assert state.height == (hitting[0] if hitting else np.inf)
        assert bool(state.hits[0]) == bool(hitting)
        if hitting:
            assert state.false_marks == judge(hitting[0])[0]


def test_slices_are_separate_unless_they_are_neighbours():
    """One column through three slices: three marks a slice by itself, one after joining."""
    values = draw((20, 20, 5.0), slices=3)
    labels = [("FB", 1, 4, 4)]
    apart, run = make_case(values, labels=labels), make_case(values, labels=labels, positions_mm=[0, 1, 2])
    assert count_slice_marks(apart).tolist() == [1, 1, 1]
    assert count_slice_marks(run).tolist() == [1, 1, 1]
    assert len(list(joined_runs(apart))) == 3
    (joined,) = joined_runs(run)
    assert joined.values[1, 20, 20] == 5.0 - RUN_MARK  # the run's own threshold
    (state,) = operate_at([joined], [1])
    assert state.false_marks <= 1
    (state,) = operate_at(list(joined_runs(apart)), [2])
    assert state.height == np.inf  # three at once


def test_marks_that_touch_at_a_corner_are_one():
    values = draw((20, 20, 5.0), (21, 21, 5.0), (25, 25, 5.0))
    values[0, 2, 2] = np.nan
    assert count_slice_marks(make_case(values)).tolist() == [2]


def test_froc_figures_by_hand():
    """Two slices, three labels; at 0.5 false marks a slice one is allowed, at 1 two."""
    first = draw((4, 4, 7.0), (20, 20, 6.0), (20, 10, 4.0))
    second = draw((4, 4, 5.0), (26, 26, 3.0), (20, 10, 2.0))
    cases = [
        make_case(first, labels=[("FB", 0, 4, 4)], patient="a"),
        make_case(second, labels=[("FM", 0, 4, 4), ("FB", 0, 26, 26)], patient="b"),
        make_case(draw((20, 20, 99.0)), patient="c"),  # an authentic one does not count here
    ]
    tree = froc_figures(cases)
    told = {rate: (leaf.figure.value, leaf.about["false_marks"]) for rate, leaf in tree["froc"].items()}
    assert told == {
        "0.02": (pytest.approx(1 / 3), 0),
        "0.1": (pytest.approx(1 / 3), 0),
        "0.5": (pytest.approx(2 / 3), 1),
        "1": (1.0, 2),
    }
    assert tree["froc"]["1"].negatives == 2
    assert tree["froc"]["0.5"].figure.n == 3
    assert tree["froc_by_kind"]["fb"]["0.5"].figure.as_dict()["value"] == 0.5
    assert tree["froc_by_kind"]["fm"]["0.5"].figure.value == 1.0
    assert tree["froc_per_scan"]["1"].figure.value == 1.0


def test_froc_without_labels_is_missing_with_the_reason():
    tree = froc_figures([make_case(draw())])
    for leaves in (tree["froc"], tree["froc_per_scan"], *tree["froc_by_kind"].values()):
        assert all(leaf.figure.value is None and leaf.reason for leaf in leaves.values())


def test_no_mark_is_false_on_a_slice_touched_up_as_a_whole():
    values = draw((20, 20, 9.0), (4, 4, 7.0))
    case = make_case(values, labels=[("FB", 0, 4, 4)])
    whole = replace(case, subject=replace(case.subject, retouched=frozenset({0})))
    for own, false_marks in ((case, 1), (whole, 0)):
        for fields in (labelled_slices(own), joined_runs(own)):
            (state,) = operate_at(list(fields), [5])
            assert (state.false_marks, state.hits.tolist()) == (false_marks, [True])
