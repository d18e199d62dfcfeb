"""What a score weighs, read from a card whose right answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from detect.volumes import CALIBRATION, make_evidence, make_map, make_volume

from verict.detect.evidence import Evidence, ScoreMap
from verict.detect.verdict import assess, average_along_z, peaks_by_unit
from verict.detect.weight import NOT_ON_CARD, LikelihoodRatio, Unit, p_value_of, say_support, weigh_score, weigh_series

SLICE_RATIO = {
    "scores": [-1.0, 3.0],
    "log10_lr": [-1.0, 1.0],
    "low": 0.1,
    "high": 10.0,
    "h1": "repainted",
    "h2": "untouched",
    "n_h1": 40,
    "n_h2": 25,
}
NULL = {"scores": [0.0, 1.0, 2.0, 3.0], "weights": [1.0, 1.0, 1.0, 1.0], "patients": 4}
EVIDENCE = {
    "null": {"slice": NULL, "run": {"scores": [0.5], "weights": [1.0], "patients": 1}},
    "likelihood_ratio": {"slice": SLICE_RATIO, "run": {"reason": "too few", "n_h1": 0, "n_h2": 1}},
}
CARD = {"calibration": CALIBRATION, "evidence": EVIDENCE}


def judge(volume, values, card=CARD):
    plain = make_evidence(values)
    evidence = Evidence("spectrum", plain.score_map, card=card, mark_threshold=3.0, words="odd")
    return assess(volume, (evidence,), volume.sop_instance_uids)


@pytest.mark.parametrize(
    ("score", "ratio", "at_bound"),
    [(-50, 0.1, True), (1, 1, False), (2, 10**0.5, False), (3, 10, True), (90, 10, True)],
)
def test_ratio_follows_the_card_and_stops_at_its_bounds(score, ratio, at_bound):
    found, reason = weigh_score(CARD, score, Unit.SLICE)
    assert found.value == pytest.approx(ratio)
    assert found.is_at_bound is at_bound
    assert (found.h1, found.h2, found.h1_patients, found.h2_patients) == ("repainted", "untouched", 40, 25)
    assert reason == ""


@pytest.mark.parametrize("card", [None, {}, {"evidence": None}, {"evidence": {}}])
def test_a_card_without_the_block_gives_neither_and_says_so(card):
    assert weigh_score(card, 3.0, Unit.SLICE) == (None, NOT_ON_CARD)
    assert weigh_series(card, [1.0], None) == (None, NOT_ON_CARD)


def test_where_too_few_were_measured_the_card_says_why():
    assert weigh_score(CARD, 9.0, Unit.RUN) == (None, "too few")


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1, "no support either way"),
        (1.99, "no support either way"),
        (2, "weak support for repainting"),
        (10, "moderate support for repainting"),
        (100, "moderately strong support for repainting"),
        (1e3, "strong support for repainting"),
        (1e4, "very strong support for repainting"),
        (2e6, "extremely strong support for repainting"),
        (0.05, "moderate support against repainting"),
    ],
)
def test_words_are_those_of_the_scale(ratio, words):
    assert say_support(ratio) == words
    assert LikelihoodRatio(ratio, 0.01, 1e7, "", "", 1, 1).words == words


@pytest.mark.parametrize(("score", "p"), [(9.0, 1 / 5), (3.0, 2 / 5), (2.5, 2 / 5), (0.0, 1.0), (-9.0, 1.0)])
def test_p_value_counts_the_case_at_hand(score, p):
    assert p_value_of(NULL, score) == pytest.approx(p)


def test_a_patient_counts_once_however_many_slices_he_has():
    many = {"scores": [5.0] * 50 + [0.0], "weights": [1 / 50] * 50 + [1.0], "patients": 2}
    assert p_value_of(many, 4.0) == pytest.approx(2 / 3)
    assert p_value_of(many, 6.0) == pytest.approx(1 / 3)


def test_p_values_of_exchangeable_patients_are_valid_whatever_their_slices():
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(400):
        shift = rng.normal(size=20)
        sizes = rng.integers(1, 6, 20)
        scores = [rng.normal(m, 0.5, n) for m, n in zip(shift, sizes, strict=True)]
        weights = np.concatenate([np.full(n, 1 / n) for n in sizes[1:]])
        null = {"scores": np.concatenate(scores[1:]), "weights": weights, "patients": 19}
        p_values.append(p_value_of(null, scores[0][0]))
    for level in (0.05, 0.1, 0.3):
        assert np.mean(np.array(p_values) <= level) <= level + 3 * np.sqrt(level * (1 - level) / 400)
    assert np.mean(np.array(p_values) <= 0.3) > 0.2, "valid because it says nothing is not what is wanted"


def test_several_parts_pay_for_having_looked_often():
    one, _ = weigh_series(CARD, [9.0], None)
    assert (one.value, one.smallest, one.parts, one.patients) == (pytest.approx(0.2), pytest.approx(0.2), 1, 4)
    three, _ = weigh_series(CARD, [9.0, 0.0, 0.0], None)
    assert (three.value, three.smallest) == (pytest.approx(0.6), pytest.approx(0.6))
    seven, _ = weigh_series(CARD, [9.0] * 7, None)
    assert (seven.value, seven.smallest) == (1.0, 1.0)
    both, _ = weigh_series(CARD, [0.0], 9.0)
    assert (both.value, both.smallest, both.patients) == (1.0, pytest.approx(0.4), 4)


def test_a_null_of_nobody_gives_no_p_value():
    nobody = {"scores": [], "weights": [], "patients": 0}
    assert weigh_series({"evidence": {"null": {"slice": NULL, "run": nobody}}}, [1.0], 1.0) == (None, NOT_ON_CARD)


def test_without_any_score_there_is_no_p_value():
    assert weigh_series(CARD, [], None) == (None, "no slice held enough lung to be judged")


def test_a_region_of_a_lone_slice_is_weighed_as_a_slice_and_one_of_a_run_as_a_run():
    volume = make_volume([*range(20), 100.0], thickness_mm=1.0)
    values = make_map(21, fill=-5.0)
    values[:, 4, 4] = 4.0
    outcome = judge(volume, values)
    lone, run = sorted(outcome.regions, key=lambda r: -r.slices[0])
    assert lone.likelihood_ratio.value == 10
    assert (run.likelihood_ratio, run.ratio_reason) == (None, "too few")
    assert outcome.p_value.parts == 2


def test_the_weight_changes_nothing_about_regions_and_verdict():
    volume = make_volume([0.0, 50.0], thickness_mm=1.0)
    values = make_map(2)
    values[0, 4, 4] = 6.0
    weighed, plain = judge(volume, values), judge(volume, values, card={"calibration": CALIBRATION})
    assert (weighed.verdict, weighed.reason, weighed.score) == (plain.verdict, plain.reason, plain.score)
    assert [r.bounds for r in weighed.regions] == [r.bounds for r in plain.regions]
    assert plain.regions[0].ratio_reason == plain.p_value_reason == NOT_ON_CARD
    assert plain.p_value is None


def test_peaks_are_those_of_lone_slices_and_of_all_runs_together():
    volume = make_volume([*range(5), 20.0, 40.0, *range(60, 64)], thickness_mm=1.0)
    values = make_map(11)
    values[5, 1, 1], values[9, 2, 2] = 7.0, 9.0
    values[6] = np.nan
    lone, run = peaks_by_unit(volume, average_along_z(values, volume))
    assert lone == (7.0,)
    assert run == pytest.approx(4.5, rel=1e-5), "at the end of a run two slices are averaged"


def test_a_series_without_pixel_detector_has_no_p_value():
    volume = make_volume(3)
    outcome = assess(volume, (Evidence("header"),), volume.sop_instance_uids)
    assert (outcome.p_value, outcome.p_value_reason) == (None, "no pixel detector was run")


def test_a_map_without_a_score_has_no_p_value():
    volume = make_volume(3)
    evidence = Evidence("spectrum", ScoreMap(make_map(3, fill=np.nan), 8, 15.5), card=CARD, mark_threshold=3.0)
    assert assess(volume, (evidence,), volume.sop_instance_uids).p_value is None
