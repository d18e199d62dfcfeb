"""Figures whose right value is known: areas within folds, gaps, leaders, and what the tables make of them."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.small_collection import make_samples

from verict.benchmarks.cost import Cost
from verict.benchmarks.figures import find_leaders, measure_gap, measure_told
from verict.benchmarks.fold import Told
from verict.benchmarks.store import flatten_models, from_plain, to_plain
from verict.detect.four_classes import CLASSES

ORDER = [str(kind) for kind in CLASSES]


def tell(samples, rows, *, wrong=False, shift=0.0):
    """Probabilities that are right everywhere, or wrong everywhere; ``shift`` moves P(tampered) of a whole fold."""
    truth = np.array([ORDER.index(kind) for kind in samples.kind[rows]])
    said = np.eye(4)[(truth + 1) % 4 if wrong else truth]
    return Told(rows, np.zeros(len(rows), int), said * (1 - shift) + shift / 4, 10, Cost(1.0, 2.0, 100.0))


def halves(samples):
    return np.array_split(np.arange(len(samples)), 2)


def test_all_right_is_one_everywhere():
    samples = make_samples()
    figures = measure_told(samples, [tell(samples, rows) for rows in halves(samples)])
    assert figures["macro_f1"]["value"] == figures["accuracy"]["value"] == 1
    assert {name: area["value"] for name, area in figures["areas"].items()} == {"removed": 1, "injected": 1}
    assert figures["areas"]["removed"]["against"] == (samples.kind == "TB").sum()
    assert figures["n"] == figures["rows"] == len(samples)
    assert figures["patients"] == 12
    assert figures["cost"] == {"trained_on": 10, "cpu_s": 1.0, "wall_s": 2.0, "peak_mib": 100, "card_mib": None}


def test_folds_of_another_scale_are_not_compared_with_each_other():
    samples = make_samples()
    parts = [tell(samples, rows, shift=shift) for rows, shift in zip(halves(samples), (0.0, 0.9), strict=True)]
    assert measure_told(samples, parts)["areas"]["removed"]["value"] == 1
    constant = [Told(p.rows, p.copies, np.tile(share, (len(p.rows), 1)), 1, Cost(0.0, 0.0, None))
                for p, share in zip(parts, np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1]]), strict=True)]
    figures = measure_told(samples, constant)
    assert {area["value"] for area in figures["areas"].values()} == {0.5}
    assert figures["cost"]["peak_mib"] is None


def test_a_score_without_classes_answers_tampered_alone():
    samples = make_samples()
    rows = np.arange(len(samples))
    score = np.where(np.isin(samples.kind, ["FB", "FM"]), 2.0, -np.inf)
    told = Told(rows, rows * 0, np.full((len(rows), 4), np.nan), 0, Cost(0.1, 0.1, None), score)
    kept = from_plain(to_plain(told))
    for one in (told, kept):
        figures = measure_told(samples, [one], one_scale=True)
        assert figures["macro_f1"] is None
        assert figures["classes"] is None
        assert figures["areas"]["injected"]["value"] == 1


def test_a_gap_is_what_leaky_is_above_clean():
    samples = make_samples()
    rows = np.arange(len(samples))
    gap = measure_gap((samples, samples), ([tell(samples, rows)], [tell(samples, rows, wrong=True)]))
    assert gap["macro_f1"]["value"] == gap["accuracy"]["value"] == 1
    none = measure_gap((samples, samples), ([tell(samples, rows)], [tell(samples, rows)]))
    assert none["macro_f1"] == {"value": 0, "n": 12, "interval": [0, 0]}


def test_a_gap_counts_the_patients_that_were_judged():
    samples = make_samples()
    rows = np.flatnonzero(np.isin(samples.patient, ["p1", "p2", "p3"]))
    gap = measure_gap((samples, samples), ([tell(samples, rows)], [tell(samples, rows, wrong=True)]))
    assert gap["macro_f1"] == {"value": 1, "n": 3, "interval": [1, 1]}


def make_model(name, removed, injected, protocol="clean"):
    areas = {"removed": {"value": removed, "interval": None}, "injected": {"value": injected, "interval": [0.1, 0.9]}}
    figure = {"value": 0.5, "interval": [0.4, 0.6], "n": 3}
    return {"model": name, "words": name, "protocol": protocol, "areas": areas, "n": 3, "rows": 3, "patients": 2,
            "macro_f1": figure, "accuracy": figure, "classes": None,
            "cost": {"trained_on": 1, "cpu_s": 1.0, "wall_s": 1.0, "peak_mib": None, "card_mib": None}}  # fmt: skip


def test_leaders_are_told_with_those_that_reach_the_same():
    models = [make_model("a", 0.9, None), make_model("b", 0.9, 0.3), make_model("c", 1.0, 1.0, "leaky")]
    leaders = {name: [m["model"] for m in own] for name, own in find_leaders(models, "clean").items()}
    assert leaders == {"removed": ["a", "b"], "injected": ["b"]}


def test_parquet_rows_all_have_the_same_columns():
    gap = {"model": "a", "macro_f1": {"value": 0.1, "interval": [0.0, 0.2]}}
    models = [make_model("a", 0.9, None), make_model("b", 0.8, 0.3)]
    rows = flatten_models({"experiment": "student", "models": models, "gaps": [gap]})
    assert rows[0].keys() == rows[1].keys()
    assert rows[0]["gap_macro_f1"] == pytest.approx(0.1)
    assert rows[1]["gap_macro_f1"] is None
