"""Areas, sensitivities and rates of hand-built tables, with brightness beside."""

from __future__ import annotations

import numpy as np
import pytest

from verict.evaluation.case import PlaceKind
from verict.evaluation.figures import (
    compare_kinds,
    content_only,
    detector_score,
    leak_figures,
    location_figures,
    sensitivities,
)
from verict.evaluation.matching import match_places
from verict.evaluation.places import PlaceTable
from verict.evaluation.result import walk

KINDS = {"FB": 20, "FM": 20, "parenchyma": 200, "bright": 200}


def make_table(score: str, *, labelled: int = 440, threshold=0.0, counts: dict[str, int] | None = None) -> PlaceTable:
    """FB a little brighter than lung, FM like the bright places nearby; the first ``labelled`` of labelled scans."""
    rng = np.random.default_rng(1)
    counts = counts or KINDS
    kind = np.repeat(list(counts), list(counts.values()))
    n = len(kind)
    level = {"FB": -760, "FM": 20, "parenchyma": -820, "bright": 20, "nodule": 20}
    centre = np.array([level[k] for k in kind]) + rng.normal(0, 30, n)
    solid = np.isin(kind, ["FM", "bright", "nodule"])
    painted = np.isin(kind, ["FB", "FM"])
    scores = {
        "brightness": centre,
        "perfect": np.where(painted, 5.0, -5.0),
        "nothing": np.full(n, -np.inf),
        "chance": np.concatenate([rng.permutation(np.linspace(-1, 1, count)) for count in counts.values()]),
        "kind": np.arange(n, dtype=float),
    }[score]
    return PlaceTable(
        kind=kind,
        score=scores,
        margin=scores - threshold,
        centre_hu=centre,
        diameter_mm=np.where(solid, 10 + rng.normal(0, 0.1, n), np.nan),
        ring_hu=np.where(solid, -400 + rng.normal(0, 5, n), np.nan),
        patient=np.array([f"p{i % 37}" for i in range(n)]),
        case=np.arange(n) % 37,
        z=np.arange(n),
        y_mm=np.zeros(n),
        x_mm=np.zeros(n),
        is_labelled=np.arange(n) < labelled,
        method=np.full(n, ""),
        touch_up=np.full(n, ""),
    )


def measure(table: PlaceTable) -> dict:
    tree = location_figures(table, match_places(table), seed=0)
    return {".".join(path): leaf for path, leaf in walk(tree)}


def test_a_detector_that_reads_brightness_is_worth_what_content_alone_is():
    """The cheat must show: its figures are the content-only column's, to the digit."""
    leaves = measure(make_table("brightness"))
    for key in ("auc.pooled", "auc.fb_parenchyma", "auc.fm_dense", "auc.fm_bright", "sensitivity_at_fpr.0.01"):
        assert leaves[key].figure == leaves[f"content_only.{key}"].figure
    assert leaves["auc.fb_parenchyma"].figure.low > 0.8
    assert leaves["auc.fm_dense"].figure.low < 0.5 < leaves["auc.fm_dense"].figure.high


def test_a_perfect_detector_is_perfect_and_content_alone_is_not():
    leaves = measure(make_table("perfect"))
    for key in ("pooled", "fb_parenchyma", "fm_dense", "fm_bright"):
        assert leaves[f"auc.{key}"].figure.value == 1.0
        assert leaves[f"content_only.auc.{key}"].figure.value < 0.99
    assert leaves["frozen.pooled"].figure.value == leaves["sensitivity_at_fpr.0.01"].figure.value == 1.0
    rate = leaves["frozen.false_positive_rate_parenchyma"]
    assert (rate.figure.value, rate.figure.n) == (0.0, 200)
    assert rate.figure.high > 0.05  # 37 patients, not 200 sites
    assert leaves["auc.fm_dense"].figure.n + leaves["auc.fm_dense"].about["unmatched_sites"] == 20


def test_a_blind_detector_finds_nothing():
    leaves = measure(make_table("nothing"))
    assert leaves["auc.pooled"].figure.value == 0.5
    for key in ("sensitivity_at_fpr.0.05", "frozen.fb", "frozen.fm", "frozen.false_positive_rate_bright"):
        assert leaves[key].figure.value == 0.0
    assert leaves["frozen.false_positive_rate_bright"].about["nothing_scored"] == 200


def test_chance_is_a_half():
    leaves = measure(make_table("chance"))
    for key in ("pooled", "fb_parenchyma", "fm_dense"):
        figure = leaves[f"auc.{key}"].figure
        assert figure.low <= 0.5 <= figure.high


def test_sensitivity_by_hand():
    """200 parenchyma places score 0 to 199: 1 % are the two highest, so what counts lies above 197."""
    table = make_table("kind", counts={"FB": 10, "parenchyma": 200})
    table.score[:] = np.r_[[197, 197.5, 198, 199, 250, 0, 0, 0, 0, -np.inf], np.arange(200)]
    tree = sensitivities(compare_kinds(table, match_places(table))["fb_parenchyma"], detector_score)
    at_1, at_5 = tree["0.01"], tree["0.05"]
    assert (at_1.figure.value, at_1.figure.n, at_1.negatives) == (0.4, 10, 200)
    assert (at_1.about["above_score"], at_1.about["false_positive_rate"]) == (197, pytest.approx(0.01))
    assert (at_5.figure.value, at_5.about["above_score"]) == (0.5, 189)
    table.score[10:] = np.repeat([3.0, 2.0], 100)  # ties: no threshold lets 1 % through, so none gets through
    tied = sensitivities(compare_kinds(table, match_places(table))["fb_parenchyma"], detector_score)["0.01"]
    assert tied.about["false_positive_rate"] == 0.0
    assert tied.figure.value == 0.5


def test_matched_negatives_weigh_as_their_sets_do():
    table = make_table("kind", counts={"FM": 5, "bright": 8})
    table.diameter_mm[:5] = [5, 20, 20, 20, 20]
    table.diameter_mm[5:] = [5, 5, 5, 5, 5, 99, 99, 99]
    found = match_places(table)
    assert found.matched.tolist() == [True, False, False, False, False]
    assert "only 1 of 5" in found.reason
    leaves = measure(table)
    for key in ("auc.fm_dense", "sensitivity_at_fpr_by_kind.fm.0.01", "content_only.auc.fm_dense"):
        assert leaves[key].figure.value is None
        assert "frozen threshold" in leaves[key].reason
    assert leaves["frozen.fm"].figure.n == 5  # told all the same


def test_frozen_is_each_places_own_threshold():
    table = make_table("perfect", threshold=np.tile([0.0, 100.0], 220))
    leaves = measure(table)
    assert leaves["frozen.fb"].figure.value == 0.5
    assert leaves["frozen.fb"].about["hits"] == 10


def test_where_thresholds_differ_the_area_of_margins_stands_beside():
    assert "of_margins" not in measure(make_table("chance"))["auc.pooled"].about
    table = make_table("perfect", threshold=np.tile([50.0, -50.0], 220))
    assert measure(table)["auc.pooled"].figure.value == 1.0
    assert measure(table)["auc.pooled"].about["of_margins"] < 1.0


def test_a_source_leak_shows():
    counts = {"parenchyma": 200, "bright": 200}
    clean = leak_figures(make_table("chance", labelled=100, counts=counts), seed=0)
    assert clean["auc_negatives"].figure.low < 0.5 < clean["auc_negatives"].figure.high
    assert clean["auc_bright"].reason == "no untouched places of labelled scans"
    table = make_table("kind", labelled=200, counts=counts)
    assert leak_figures(table, seed=0)["auc_negatives"].figure.value == 0.0
    assert (leak_figures(table, seed=0)["auc_negatives"].figure.n, len(table)) == (200, 400)


def test_in_a_source_leak_each_patient_counts_the_same():
    """One authentic patient with nine high places and one with a low one: half of the pairs, not nine tenths."""
    table = make_table("kind", labelled=1, counts={"parenchyma": 11})
    table.score[:] = [5] + [9] * 9 + [1]
    table.patient[:] = ["l"] + ["a"] * 9 + ["b"]
    assert leak_figures(table, seed=0)["auc_negatives"].figure.value == pytest.approx(0.5)


def test_who_tells_collections_apart_is_worth_nothing_within_one():
    """Labelled places score above authentic ones, and painted ones like the others of their scan."""
    table = make_table("nothing", labelled=200, counts={"FM": 10, "bright": 250})
    table.score[:] = table.is_labelled
    leaves = measure(table)
    assert leaves["auc.fm_dense"].figure.value > 0.55
    assert leaves["auc.fm_dense_labelled"].figure.value == 0.5
    assert leaves["auc.fm_dense"].about["share_from_labelled"] < 0.99
    assert leaves["auc.fm_dense_labelled"].about["share_from_labelled"] == pytest.approx(1.0)


@pytest.mark.parametrize("missing", list(KINDS))
def test_what_cannot_be_given_has_its_reason(missing):
    leaves = measure(make_table("chance", counts={k: n for k, n in KINDS.items() if k != missing}))
    assert set(leaves) == set(measure(make_table("chance")))
    for key, leaf in leaves.items():
        assert (leaf.figure.value is None) == bool(leaf.reason), key
    assert leaves["content_only.froc"].reason
    assert leaves["source_leak.auc_negatives"].reason == "no untouched places of authentic scans"


def test_content_only_is_the_blurred_centre():
    table = make_table("perfect")
    assert content_only(table) is table.centre_hu
    assert len(table.of(PlaceKind.FM)) == 20
