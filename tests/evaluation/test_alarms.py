"""False marks and verdicts of authentic series, counted by hand; what a verdict is worth where forgeries are rare."""

from __future__ import annotations

import numpy as np
import pytest
from detect.volumes import make_map
from evaluation.cases import make_case, place
from scipy import stats

from verict.detect.result import Verdict
from verict.evaluation.alarms import NO_AUTHENTIC, NONE_SCORED, alarm_figures, judge_case, marks_at_sensitivity
from verict.evaluation.places import tabulate_places
from verict.evaluation.predictive import predictive_figures


def hot(slices: int, *cells: tuple[int, int, int, float]) -> np.ndarray:
    values = make_map(slices)
    for z, row, column, score in cells:
        values[z, row, column] = score
    return values


def judge(values, **changes):
    return judge_case(make_case(values, **changes), "spectrum")


RUN = dict(positions_mm=[0, 1, 2])
COLUMN = [(z, 4, 4, 2.5) for z in range(3)]  # no mark on a slice by itself, decisive in a run


def series():
    """Six series of five patients: 3 + 1 + 1 + 1 + 2 + 1 slices."""
    undefined = make_map(1)
    undefined[:] = np.nan
    return [
        judge(hot(3, *COLUMN), patient="run", **RUN),
        judge(hot(1, (0, 0, 0, 3.0), (0, 4, 4, 3.5)), patient="two marks"),
        judge(hot(1, (0, 2, 2, 6.0)), patient="decisive"),
        judge(make_map(1), patient="quiet"),
        judge(hot(2, (1, 2, 2, 2.9)), patient="quiet", lung=[False, True]),
        judge(undefined, patient="undefined"),
    ]


def test_authentic_figures_by_hand():
    tree = alarm_figures([*series(), judge(hot(1, (0, 1, 1, 9.0)), labels=[("FB", 0, 1, 1)])], seed=0)
    value = {key: leaf.figure.value for key, leaf in tree.items()}
    assert value == {
        "slices": 8,
        "false_marks_per_slice": pytest.approx(3 / 7),  # the undefined one is left out here too
        "series": 6,
        "suspicious_series": 2,
        "false_marks_per_scan": pytest.approx(4 / 5),  # the undefined one is left out
        "marked_series": 3,
    }
    assert tree["slices"].about == {"scored": 8, "patients": 5}  # one without lung is scored, one with lung is not
    assert tree["false_marks_per_slice"].about == {
        "marks": 3, "patients": 4, "left_out_unscored": 1, "effective_patients": pytest.approx(49 / (9 + 1 + 1 + 4)),
    }  # fmt: skip
    assert tree["series"].about == {"scored": 5, "patients": 5, "judged_as_volumes": 1}
    called = tree["suspicious_series"]
    low, high = stats.binomtest(2, 5).proportion_ci(0.95)
    assert (called.figure.low, called.figure.high, called.figure.n) == (
        pytest.approx(5 * low), pytest.approx(5 * high), 5
    )
    assert (called.about["patients_called"], called.about["judged_as_volumes_called"]) == (2, 1)


def test_a_mark_outside_the_lung_is_a_false_mark_too():
    (judged,) = [judge(hot(2, (0, 4, 4, 5.0)), lung=[False, True])]
    assert judged.slice_marks.tolist() == [1, 0]


def test_silence_does_not_lower_the_rate_of_false_marks():
    """A detector that says nothing of half the slices marks as many of the others as before."""
    values = hot(4, (0, 4, 4, 9.0), (1, 4, 4, 9.0))
    loud = alarm_figures([judge(values[[0, 2]])], seed=0)["false_marks_per_slice"]
    values[[1, 3]] = np.nan
    half_silent = alarm_figures([judge(values)], seed=0)["false_marks_per_slice"]
    assert half_silent.figure.value == loud.figure.value == 0.5
    assert half_silent.about["left_out_unscored"] == 2


def test_no_alarm_has_an_upper_bound():
    quiet = [judge(make_map(2), patient=f"p{i}") for i in range(7)]
    tree = alarm_figures(quiet, seed=0)
    assert tree["suspicious_series"].figure.value == 0
    assert tree["suspicious_series"].figure.high == pytest.approx(7 * 0.4096, abs=1e-3)
    assert tree["false_marks_per_slice"].figure.high == pytest.approx(3.689 / 7, abs=1e-3)  # Poisson, over patients


def test_each_series_is_judged_by_its_own_thresholds():
    values = hot(1, (0, 2, 2, 4.0))
    assert judge(values).slice_marks.tolist() == [1]
    assert judge(values, mark=4.5).slice_marks.tolist() == [0]
    assert judge(values, mark=4.5).verdict is Verdict.NO_EVIDENCE


def test_without_authentic_scans_every_key_is_there_with_the_reason():
    tampered = [judge(make_map(1), labels=[("FB", 0, 1, 1)])]
    assert {leaf.reason for leaf in alarm_figures(tampered, seed=0).values()} == {NO_AUTHENTIC}
    for leaves in predictive_figures(tampered).values():
        assert leaves["ppv"].reason == leaves["npv"].reason == NO_AUTHENTIC
    for leaves in predictive_figures(series()).values():
        assert leaves["ppv"].reason == "no tampered series"


def test_what_could_not_be_scored_proves_nothing():
    undefined = make_map(1)
    undefined[:] = np.nan
    silent = [judge(undefined, patient=f"p{i}") for i in range(9)]
    tree = alarm_figures(silent, seed=0)
    assert tree["series"].figure.value == 9
    silenced = ("false_marks_per_slice", "suspicious_series", "false_marks_per_scan", "marked_series")
    assert {tree[key].reason for key in silenced} == {NONE_SCORED}
    assert {tree[key].figure.value for key in silenced} == {None}
    assert predictive_figures([*tampered(1, 0), *silent])["1/1000"]["ppv"].reason == NONE_SCORED
    most = predictive_figures([*tampered(1, 0), *silent, *authentic(0, 4)])["1/1000"]["ppv"]
    assert (most.negatives, most.about["false_alarm_rate_high"]) == (4, pytest.approx(1 - 0.0125 ** (1 / 4)))


def tampered(found: int, missed: int):
    label = [("FB", 0, 4, 4)]
    return [judge(hot(1, (0, 4, 4, 9.0)), labels=label, patient=f"f{i}") for i in range(found)] + [
        judge(make_map(1), labels=label, patient=f"m{i}") for i in range(missed)
    ]


def authentic(alarmed: int, quiet: int):
    return [judge(hot(1, (0, 4, 4, 9.0)), patient=f"a{i}") for i in range(alarmed)] + [
        judge(make_map(1), patient=f"q{i}") for i in range(quiet)
    ]


def test_predictive_values_by_bayes():
    """90 % found, 10 % false alarms: at 1 in 1,000 one suspicious series in 112 is tampered."""
    leaves = predictive_figures([*tampered(9, 1), *authentic(2, 18)])["1/1000"]
    assert leaves["ppv"].figure.value == pytest.approx(0.0009 / (0.0009 + 0.0999))
    assert leaves["npv"].figure.value == pytest.approx(0.8991 / (0.8991 + 0.0001))
    for leaf in leaves.values():
        assert leaf.figure.low < leaf.figure.value < leaf.figure.high
        assert (leaf.figure.n, leaf.negatives, leaf.reason) == (10, 20, "")


def test_without_a_false_alarm_the_positive_value_is_bounded_only():
    leaves = predictive_figures([*tampered(10, 0), *authentic(0, 20)])["1/100000"]
    ppv = leaves["ppv"]
    most, least_found = 1 - 0.0125 ** (1 / 20), 0.0125 ** (1 / 10)
    assert ppv.figure.value is None
    assert ppv.figure.low == pytest.approx(1e-5 * least_found / (1e-5 * least_found + (1 - 1e-5) * most))
    assert ppv.figure.high == 1.0
    assert f"at least {ppv.figure.low:.2g}" in ppv.reason
    assert leaves["npv"].figure.value == 1.0


def test_series_of_one_patient_are_one_alarm():
    same = [judge(hot(1, (0, 4, 4, 9.0)), patient="same") for _ in range(5)]
    leaves = predictive_figures([*tampered(9, 1), *same, *authentic(0, 4)])["1/1000"]
    assert leaves["ppv"].about["false_alarm_rate"] == pytest.approx(1 / 5)


def test_a_series_with_real_cancers_only_is_not_tampered():
    real = judge(hot(1, (0, 4, 4, 9.0)), labels=[("TM", 0, 4, 4)])
    leaves = predictive_figures([real, *tampered(1, 1), *authentic(1, 1)])["1/1000"]
    assert leaves["ppv"].figure.n == 2


def labelled(score: float, patient: str):
    """A labelled series of which the one painted place scores that much."""
    return make_case(hot(1, (0, 4, 4, score)), patient=patient, labels=[("FB", 0, 4, 4)], places=[place("FB", 4, 4)])


def marks_at_90(fakes: list[float]):
    cases = [labelled(score, f"p{i}") for i, score in enumerate(fakes)]
    table = tabulate_places(cases)
    assert len(table.of("FB")) == len(fakes)
    return marks_at_sensitivity([*series(), *(judge_case(c, "spectrum") for c in cases)], table, seed=0)


def test_marks_at_a_sensitivity_are_those_of_volumes_at_the_place_that_is_still_found():
    """Nine of ten are found at 2.5, where each slice of the run has a mark; single slices do not count."""
    at_25 = marks_at_90([2.5] + [9.0] * 8 + [1.0])
    assert (at_25.figure.value, at_25.figure.n) == (1.0, 3)
    assert (at_25.about["above_score"], at_25.about["found"], at_25.about["painted"]) == (2.5, 9, 10)
    assert at_25.about["volumes"] == 1
    assert marks_at_90([2.6] + [9.0] * 8 + [1.0]).figure.value == 0.0  # just above the run


def test_marks_at_a_sensitivity_need_volumes_and_painted_places_with_a_score():
    nothing = tabulate_places([])
    assert "no painted place" in marks_at_sensitivity(series(), nothing, seed=0).reason
    table = tabulate_places([labelled(2.0, "p")])
    assert "no authentic volume" in marks_at_sensitivity(series()[1:], table, seed=0).reason
    undefined = labelled(2.0, "p")
    undefined.score_map.values[:] = np.nan
    assert "no threshold" in marks_at_sensitivity(series(), tabulate_places([undefined]), seed=0).reason
