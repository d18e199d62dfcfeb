"""The whole tree: every leaf of the contract is there, whatever the cases lack; strata are parts of the whole."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from detect.volumes import make_map
from evaluation.cases import make_case, place

from verict.datasets.splits import Scanner
from verict.errors import UsageError
from verict.evaluation.case import Place
from verict.evaluation.measure import measure
from verict.evaluation.result import FALSE_MARKS_PER_SLICE, FALSE_POSITIVE_RATES, PREVALENCES, Evaluation, walk

AREAS = {"pooled", "fb_parenchyma", "fm_dense"}
LEAVES = {
    *(f"auc.{key}" for key in AREAS),
    *(f"sensitivity_at_fpr.{rate}" for rate in FALSE_POSITIVE_RATES),
    *(f"sensitivity_at_fpr_by_kind.{kind}.{rate}" for kind in ("fb", "fm") for rate in FALSE_POSITIVE_RATES),
    *(f"frozen.{key}" for key in ("fb", "fm", "pooled")),
    *(f"frozen.false_positive_rate_{kind}" for kind in ("parenchyma", "bright")),
    *(f"froc.{rate}" for rate in FALSE_MARKS_PER_SLICE),
    *(f"froc_by_kind.{kind}.{rate}" for kind in ("fb", "fm") for rate in FALSE_MARKS_PER_SLICE),
    *(f"froc_per_scan.{rate}" for rate in FALSE_MARKS_PER_SLICE),
    *(f"authentic.{key}" for key in ("slices", "false_marks_per_slice", "series", "suspicious_series")),
    *(f"authentic.{key}" for key in ("false_marks_per_scan", "marked_series")),
    *(f"content_only.auc.{key}" for key in AREAS),
    *(f"content_only.sensitivity_at_fpr.{rate}" for rate in FALSE_POSITIVE_RATES),
    "content_only.froc",
    "source_leak.auc_negatives",
    *(f"predictive_value.{p}.{key}" for p in PREVALENCES for key in ("ppv", "npv")),
}


def fake(kind: str, number: int, *, found: bool, look=(0.0, 10.0, -400.0)):
    """A labelled slice with its label at one end and untouched places at the other."""
    values = make_map(1, 12, 30, fill=-5.0)
    if found:
        values[0, 4, 4] = 9.0
    label = place(kind, 4, 4, look=look if kind == "FM" else (-800.0, np.nan, np.nan))
    dark: list[Place] = [place("parenchyma", r, 20, look=(-850, np.nan, np.nan)) for r in (2, 5, 8)]
    bright = [place("bright", r, 26) for r in (2, 5, 8)]
    return make_case(values, labels=[(kind, 0, 4, 4)], places=[label, *dark, *bright], patient=f"{kind}{number}")


def fakes():
    return [*(fake("FB", i, found=i < 3) for i in range(4)), *(fake("FM", i, found=i < 5) for i in range(6))]


def untouched():
    ge, siemens = Scanner("ge", "a"), Scanner("siemens", "b")
    own = [place("parenchyma", 2, 2, look=(-850, np.nan, np.nan)), place("nodule", 6, 6)]
    run = make_case(make_map(3), places=own, patient="x", positions_mm=[0, 1, 2], kernel="B31f", scanner=siemens)
    lone = [make_case(make_map(1), places=own, patient=f"y{i}", kernel="LUNG", scanner=ge) for i in range(2)]
    return [run, *lone]


@cache
def evaluate(name: str = "all", seed: int = 0) -> Evaluation:
    return measure(CASES[name](), "spectrum", seed=seed)


def leaves_of(tree) -> dict:
    return {".".join(path): leaf for path, leaf in walk(tree)}


CASES = {"all": lambda: fakes() + untouched(), "labelled": fakes, "authentic": untouched, "one": lambda: fakes()[:1]}


@pytest.mark.parametrize("name", CASES)
def test_every_leaf_is_there_with_its_value_or_its_reason(name):
    leaves = leaves_of(evaluate(name).figures)
    assert set(leaves) >= LEAVES
    for key, leaf in leaves.items():
        assert (leaf.figure.value is None) == bool(leaf.reason), key
        figure = leaf.figure
        if None not in (figure.value, figure.low, figure.high):
            assert figure.low <= figure.value <= figure.high, key
        assert all(isinstance(v, float | int | str | None) for v in leaf.about.values()), key


def test_figures_by_hand():
    leaves = leaves_of(evaluate().figures)
    for key, value, n in (
        ("frozen.fb", 3 / 4, 4),
        ("frozen.fm", 5 / 6, 6),
        ("frozen.pooled", 8 / 10, 10),
        ("frozen.false_positive_rate_parenchyma", 0.0, 30),
        ("auc.fb_parenchyma", 3 / 4 + 1 / 8, 4),  # the missed one ties with all
        ("auc.fm_dense", None, 6),
        ("sensitivity_at_fpr.0.01", 8 / 10, 10),
        ("froc.0.02", 8 / 10, 10),
        ("authentic.series", 3, 3),
        ("authentic.slices", 5, 5),
    ):
        figure = leaves[key].figure
        assert figure.n == n, key
        if value is not None:
            assert figure.value == pytest.approx(value), key
    assert leaves["predictive_value.1/1000.npv"].about["sensitivity"] == pytest.approx(8 / 10)
    assert leaves["auc.fm_dense"].about["matched_sites"] == 6
    assert leaves["content_only.auc.fm_dense"].figure.value == 0.5


def test_the_same_seed_gives_the_same_figures():
    again = measure(CASES["all"](), "spectrum", seed=0)
    assert repr(leaves_of(evaluate().figures)) == repr(leaves_of(again.figures))
    assert repr(leaves_of(evaluate("all", 1).figures)) != repr(leaves_of(again.figures))


def test_the_order_of_cases_does_not_matter():
    forward, backward = (leaves_of(e.figures) for e in (evaluate(), measure(untouched() + fakes(), "spectrum")))
    assert {k: v.figure.value for k, v in forward.items()} == {k: v.figure.value for k, v in backward.items()}


def test_data_says_what_was_measured():
    data = evaluate().data
    assert (data["labelled"]["series"], data["labelled"]["labels"]) == (10, {"FB": 4, "FM": 6})
    assert (data["authentic"]["slices"], data["authentic"]["patients"]) == (5, 3)
    assert data["authentic"]["places"] == {"nodule": 3, "parenchyma": 3}
    assert data["labelled"]["seen"] == {"unseen": 10}
    assert data["ranked_by"] == "score"
    assert data["matching"]["matched_sites"] == 6


def test_strata_are_parts_of_the_whole():
    strata = evaluate().strata
    by = {(name, value): leaves_of(tree) for name, value, tree in strata}
    assert {name for name, _ in by} == {
        "manufacturer", "kernel", "slice thickness mm", "pixel spacing mm", "judged as", "lesion diameter mm"
    }
    assert by["manufacturer", "siemens"]["authentic.slices"].figure.value == 3
    assert by["manufacturer", "ge"]["authentic.series"].figure.value == 2
    assert by["manufacturer", "untold"]["frozen.pooled"].figure.n == 10  # headers of the fakes are one template
    assert "authentic.series" not in by["manufacturer", "untold"]
    assert by["kernel", "LUNG"]["authentic.slices"].figure.value == 2
    assert by["judged as", "volume"]["authentic.slices"].figure.value == 3
    assert by["lesion diameter mm", "8 to 12"]["frozen.fm"].figure.n == 6
    assert by["lesion diameter mm", "8 to 12"]["frozen.fb"].reason
    for name in ("manufacturer", "kernel", "judged as"):
        slices = [leaf["authentic.slices"].figure.n for (n, _), leaf in by.items() if n == name and len(leaf) and
                  "authentic.slices" in leaf]
        assert sum(slices) == 5
    assert evaluate("authentic").strata


def test_nothing_to_measure_is_refused():
    with pytest.raises(UsageError, match="nothing to evaluate"):
        measure([], "spectrum")
