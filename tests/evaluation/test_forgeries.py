"""Parts by method and touch-up hold what was forged that way, beside the same untouched places."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation.cases import make_case, place
from evaluation.forged_cases import CELLS, make_cases

from verict.evaluation.forgeries import BOTH, METHOD, TOUCH_UP, forgery_strata
from verict.evaluation.places import tabulate_places
from verict.evaluation.result import Measured, walk
from verict.evaluation.strata import stratify


@pytest.fixture(scope="module")
def strata():
    return {(by, value): tree for by, value, tree in forgery_strata(tabulate_places(make_cases({"a"})), seed=0)}


def figure(tree, *path: str) -> Measured:
    return dict(walk(tree))[path]


def test_there_is_a_part_for_each_method_each_touch_up_and_each_pair(strata):
    assert list(strata) == [(METHOD, "a"), (METHOD, "b"), (TOUCH_UP, "x"), (TOUCH_UP, "y"),
                            (BOTH, "a x x"), (BOTH, "a x y"), (BOTH, "b x x"), (BOTH, "b x y")]


def test_a_method_that_is_found_and_one_that_is_missed_stand_apart(strata):
    for kind, key in (("fb", "fb_parenchyma"), ("fm", "fm_dense")):
        for method, value in (("a", 1.0), ("b", 0.0)):
            tree = strata[METHOD, method]
            assert figure(tree, "auc", key).figure.value == value
            assert figure(tree, "auc", key).figure.n == 6
            share = figure(tree, "sensitivity_at_fpr_by_kind", kind, "0.01")
            assert (share.figure.value, share.figure.n) == (value, 6)
            assert figure(tree, "frozen", kind).figure.value == value
    assert figure(strata[TOUCH_UP, "x"], "auc", "fb_parenchyma").figure.value == 1.0, "removals by a alone"
    assert figure(strata[TOUCH_UP, "x"], "auc", "fm_dense").figure.value == 0.0, "injections by b alone"


def test_pairs_hold_one_kind_and_say_why_there_is_nothing_of_the_other(strata):
    tree = strata[BOTH, "a x x"]
    assert figure(tree, "frozen", "fb").figure.n == 6
    assert figure(tree, "frozen", "fm").reason == "no FM label"
    assert figure(tree, "sensitivity_at_fpr_by_kind", "fm", "0.01").reason == "no FM label"


def test_brightness_alone_stands_beside_each_figure_and_tells_nothing_here(strata):
    for tree in strata.values():
        paths = {path for path, _ in walk(tree) if path[0] in ("auc", "sensitivity_at_fpr_by_kind")}
        beside = {path[1:] for path, _ in walk(tree) if path[0] == "content_only"}
        assert paths == beside
    assert figure(strata[METHOD, "a"], "content_only", "auc", "fb_parenchyma").figure.value == 0.5
    assert figure(strata[METHOD, "a"], "content_only", "sensitivity_at_fpr_by_kind", "fb", "0.01").figure.value == 0


def test_the_threshold_of_one_in_a_hundred_is_the_same_for_all_parts(strata):
    limits = {
        figure(tree, "sensitivity_at_fpr_by_kind", "fb", "0.01").about["above_score"]
        for (by, value), tree in strata.items()
        if by == METHOD
    }
    assert len(limits) == 1


def test_nobody_knows_how_the_published_fakes_were_made():
    cases = [make_case(np.zeros((1, 12, CELLS)), labels=[("FB", 0, 4, 26)], places=[place("FB", 4, 26)])]
    assert forgery_strata(tabulate_places(cases), seed=0) == ()
    assert {by for by, _, _ in stratify([], tabulate_places(cases), seed=0)} == set()
