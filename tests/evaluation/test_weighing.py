"""What scores weigh is measured on cases as on the arrays they hold."""

from __future__ import annotations

import numpy as np
from detect.volumes import make_map
from evaluation.cases import make_case, place

from verict.datasets.scans import Source
from verict.datasets.splits import Scanner
from verict.evaluation.case import Case
from verict.evaluation.result import walk
from verict.evaluation.weighing import NO_P_VALUES, weight_figures


def untouched_case(score: float, number: int) -> Case:
    values = make_map(1, fill=score - 5)
    values[0, 4, 4] = score
    return make_case(values, patient=f"u{number}", source=Source.AUTHENTIC, scanner=Scanner("ge", f"m{number // 2}"))


def forged_case(score: float, number: int, kind: str = "FB") -> Case:
    values = make_map(1, fill=50.0)  # elsewhere it may be as high as it likes
    values[0, 2:7, 2:7] = score
    return make_case(values, labels=[(kind, 0, 4, 4)], places=[place(kind, 4, 4)], patient=f"f{number}")


def draw(mean: float, count: int, seed: int) -> list[float]:
    return np.random.default_rng(seed).normal(mean, 1, count).tolist()


def test_the_score_at_the_place_and_the_highest_of_a_slice_are_what_is_weighed():
    cases = [untouched_case(s, i) for i, s in enumerate(draw(0, 30, 0))]
    cases += [forged_case(s, i, ("FB", "FM")[i % 2]) for i, s in enumerate(draw(6, 30, 1))]
    found = weight_figures(cases)
    assert found["log_lr_cost"].figure.value < 0.25
    assert 15 < found["highest_ratio"].figure.value <= 31
    assert 1 / 31 <= found["lowest_ratio"].figure.value < 1 / 15
    assert found["highest_ratio"].figure.n == found["highest_ratio"].negatives == 30
    assert found["p_distance"].figure.value < found["p_distance"].about["limit_for_so_many_patients"]
    assert found["p_at_most"]["0.1"].figure.n == 30


def test_untouched_places_of_labelled_slices_are_no_forgeries():
    cases = [untouched_case(s, i) for i, s in enumerate(draw(0, 20, 0))]
    places = [place("parenchyma", 4, 4), place("bright", 4, 4), place("nodule", 4, 4)]
    cases += [make_case(make_map(1), places=places, patient=f"t{i}", source=Source.LABELLED) for i in range(20)]
    found = weight_figures(cases)
    assert found["log_lr_cost"].figure.n == 0
    assert "forgeries of 0 patients" in found["log_lr_cost"].reason


def test_without_authentic_scans_everything_is_there_with_its_reason():
    found = dict(walk(weight_figures([forged_case(3.0, 0)])))
    assert {"log_lr_cost", "lowest_ratio", "highest_ratio", "p_at_most", "p_distance"} == {path[0] for path in found}
    assert all(m.figure.value is None and m.reason for m in found.values())
    assert found["p_at_most", "0.05"].reason == NO_P_VALUES


def test_places_without_a_score_are_left_out():
    cases = [untouched_case(s, i) for i, s in enumerate(draw(0, 20, 0))]
    forged = [forged_case(s, i) for i, s in enumerate(draw(4, 20, 1))]
    hole = forged_case(np.nan, 99)
    with_hole, without = weight_figures([*cases, *forged, hole]), weight_figures([*cases, *forged])
    assert with_hole["log_lr_cost"].figure.value == without["log_lr_cost"].figure.value
