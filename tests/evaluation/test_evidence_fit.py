"""Likelihood ratios and p-values fitted to scores whose true ratio is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from detect.volumes import make_map, make_volume

from verict.datasets.splits import Scanner
from verict.detect.weight import Unit, weigh_score
from verict.evaluation.evidence_fit import (
    LEAST_PATIENTS,
    check_uniformity,
    cost_of_ratios,
    find_bounds,
    fit_evidence,
    untouched_scores,
    weigh_patients,
)

LONG = 200


def normal_untouched(patients: int, slices: int = 1, *, mean: float = 0.0, seed: int = 0):
    """One slice score after the other; the scanner model changes with each fourth patient."""
    rng = np.random.default_rng(seed)
    return [
        (float(rng.normal(mean)), f"u{p}", Scanner("siemens", f"m{p // 4}"))
        for p in range(patients)
        for _ in range(slices)
    ]


def normal_forged(patients: int, *, mean: float = 2.0, seed: int = 1):
    rng = np.random.default_rng(seed)
    return [(float(rng.normal(mean)), f"f{p}") for p in range(patients)]


def ratio_of(block, score):
    found, reason = weigh_score({"evidence": block}, score, Unit.SLICE)
    assert found is not None, reason
    return found.value


def test_the_ratio_of_two_normal_distributions_is_found():
    block = fit_evidence(normal_untouched(LONG), normal_forged(LONG))
    for score in (0.0, 0.5, 1.0, 1.5, 2.0):
        assert np.log(ratio_of(block, score)) == pytest.approx(2 * score - 2, abs=0.45)  # ln of N(2,1) / N(0,1)


def test_the_block_survives_json():
    block = fit_evidence(normal_untouched(30, 3), normal_forged(20), untouched_series=normal_untouched(5))
    assert json.loads(json.dumps(block, allow_nan=False)) == block
    assert set(block) == {"null", "likelihood_ratio", "uniformity"}
    assert block["null"]["slice"]["patients"] == 30
    assert sum(block["null"]["slice"]["weights"]) == pytest.approx(30, abs=1e-3)
    assert block["null"]["slice"]["scores"] == sorted(block["null"]["slice"]["scores"])


def test_multiplicity_is_in_the_denominator():
    rng = np.random.default_rng(5)
    places = [(float(rng.normal(size=100).max()), f"u{p}", Scanner("ge", f"m{p}")) for p in range(60)]
    one = [(float(rng.normal()), f"u{p}", Scanner("ge", f"m{p}")) for p in range(60)]
    forged = normal_forged(60, mean=3.0)
    assert ratio_of(fit_evidence(places, forged), 2.5) < 1 < ratio_of(fit_evidence(one, forged), 2.5)


@pytest.mark.parametrize("patients", [10, 25, 100])
def test_no_ratio_exceeds_what_so_many_patients_support(patients):
    block = fit_evidence(normal_untouched(patients, 20, mean=-30), normal_forged(patients, mean=30))
    fitted = block["likelihood_ratio"]["slice"]
    assert fitted["high"] <= patients + 1
    assert fitted["low"] >= 1 / (patients + 1)
    assert fitted["high"] == pytest.approx(patients, rel=0.02), "perfect scores reach what the numbers allow"
    assert ratio_of(block, 1e6) == fitted["high"]


def test_slices_of_one_patient_do_not_stand_for_patients():
    few = fit_evidence(normal_untouched(12, 200, mean=-30), normal_forged(200, mean=30))
    assert few["likelihood_ratio"]["slice"]["high"] <= 13


def test_too_few_patients_give_the_reason_and_the_bound():
    short = normal_untouched(LEAST_PATIENTS - 1, 50)
    fitted = fit_evidence(short, normal_forged(50))["likelihood_ratio"]
    assert "scores" not in fitted["slice"]
    assert f"support no ratio above {LEAST_PATIENTS}" in fitted["slice"]["reason"]
    assert fitted["run"]["reason"].startswith("too few to weigh it: forgeries of 0 patients")


def test_scores_that_tell_nothing_get_no_ratio_worth_having():
    block = fit_evidence(normal_untouched(60, seed=3), normal_forged(60, mean=0.0, seed=4))
    fitted = block["likelihood_ratio"]["slice"]
    if "scores" in fitted:
        assert fitted["high"] < 3
        assert fitted["cllr"] > 0.9
    else:
        assert fitted["reason"] == "the scores do not tell forged from untouched"


def test_scores_the_wrong_way_round_get_none():
    fitted = fit_evidence(normal_untouched(60, mean=4.0), normal_forged(60, mean=0.0))["likelihood_ratio"]["slice"]
    assert fitted["reason"] == "the scores do not tell forged from untouched"


def test_undefined_scores_are_left_out():
    untouched, forged = normal_untouched(40), normal_forged(40)
    hurt = [*untouched, (float("nan"), "x", Scanner()), (-np.inf, "y", Scanner())]
    assert fit_evidence(hurt, [*forged, (-np.inf, "z")]) == fit_evidence(untouched, forged)


def test_the_cost_is_one_for_saying_nothing_and_nought_for_the_perfect():
    weight = np.full(4, 0.25)
    assert cost_of_ratios((np.zeros(4), weight), (np.zeros(4), weight)) == pytest.approx(1)
    assert cost_of_ratios((np.full(4, 9.0), weight), (np.full(4, -9.0), weight)) == pytest.approx(0, abs=1e-8)
    assert cost_of_ratios((np.full(4, -2.0), weight), (np.full(4, 2.0), weight)) > 6


def test_a_wrong_extrapolation_is_cut_where_the_data_end():
    weight = np.full(50, 1 / 50)
    honest = find_bounds((np.full(50, 6.0), weight), (np.full(50, -6.0), weight), (50, 50))
    assert honest == pytest.approx((1 / 50, 50), rel=0.03)
    misled = np.full(50, -6.0)
    misled[:5] = 6.0  # a tenth of the untouched were called a million to one
    _, high = find_bounds((np.full(50, 6.0), weight), (misled, weight), (50, 50))
    assert 7 < high < 9  # (1 - 1 / 51) / (6 / 51)


def test_the_cross_validated_cost_is_dearer_than_chance_where_a_scanner_stands_apart():
    calm = normal_untouched(16, mean=-3.0)
    odd = [(float(s), f"o{i}", Scanner("ge", "odd")) for i, s in enumerate(np.random.default_rng(2).normal(4, 1, 16))]
    with_odd = fit_evidence([*calm, *odd], normal_forged(30))["likelihood_ratio"]["slice"]
    without = fit_evidence(normal_untouched(32, mean=-3.0), normal_forged(30))["likelihood_ratio"]["slice"]
    assert without["cllr"] < 0.3
    assert with_odd.get("cllr", 1.0) > without["cllr"] + 0.3


def test_uniform_where_scanners_are_alike_and_not_where_one_stands_apart():
    alike = check_uniformity(normal_untouched(200, 2))
    everything = alike[-1]
    assert everything["scanner"] == "all"
    assert everything["patients"] == 200
    assert everything["ks"] < everything["ks_limit"]
    low, high = everything["below"]["0.1"]["interval"]
    assert low <= 0.1 <= high
    apart = [(5.0 + i / 100, f"o{i}", Scanner("ge", "odd")) for i in range(30)]
    rows = {r["scanner"]: r for r in check_uniformity([*normal_untouched(200), *apart])}
    assert rows["ge:odd"]["below"]["0.05"]["value"] == 1
    assert rows["ge:odd"]["ks"] > rows["ge:odd"]["ks_limit"]


def test_an_untold_model_is_judged_against_other_makers_only():
    rows = [(0.0, "a", Scanner("siemens", "")), (1.0, "b", Scanner("siemens", "x")), (2.0, "c", Scanner("ge", "y"))]
    table = {r["scanner"]: r for r in check_uniformity(rows)}
    assert table["siemens:?"]["below"]["0.1"]["value"] == 0
    assert check_uniformity(rows[:2]) == [], "nothing is left to compare either with"


def test_a_patient_weighs_one():
    assert weigh_patients(["a", "a", "b"]).tolist() == [0.5, 0.5, 1.0]


def test_scores_of_a_series_are_its_slices_and_its_runs():
    volume = make_volume([*range(5), 30.0], thickness_mm=1.0)
    values = make_map(6)
    values[2, 1, 1], values[5, 1, 1], values[0] = 9.0, 4.0, np.nan
    slices, series = untouched_scores(volume, values, "p", Scanner("ge", "x"))
    assert [s.score for s in slices] == [0.0, 9.0, 0.0, 0.0, 4.0]
    assert [s.score for s in series] == [pytest.approx(4.5, rel=1e-5)]
    assert {(s.patient, s.scanner.model) for s in (*slices, *series)} == {("p", "x")}
    assert untouched_scores(make_volume(1), make_map(1), "p", Scanner())[1] == []
