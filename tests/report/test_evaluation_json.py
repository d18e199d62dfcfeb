"""The JSON of an evaluation keeps its schema: every figure is there or says why not, and nobody is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from report.evaluations import EVERY_KIND, IN_SAMPLE, figure, make_evaluation, make_report, make_unreadable
from report.schema_check import find_violations

from verict.evaluation.result import Measured, walk
from verict.report.evaluation_json import REQUIRED, EvaluationReport, complete, spread, to_json, to_text

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "evaluation-result.schema.json").read_text(encoding="utf-8"))


def required_paths(shape: dict | None, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if shape is None:
        return [prefix]
    return [path for key, inner in shape.items() for path in required_paths(inner, (*prefix, key))]


def look_up(document: dict, path: tuple[str, ...]) -> object:
    for key in path:
        document = document[key]
    return document


@pytest.mark.parametrize("report", EVERY_KIND.values(), ids=EVERY_KIND)
def test_document_keeps_the_schema(report: EvaluationReport) -> None:
    document = json.loads(to_text(report))
    assert find_violations(document, SCHEMA) == []
    assert set(document) == set(to_json(report))


@pytest.mark.parametrize("report", EVERY_KIND.values(), ids=EVERY_KIND)
def test_every_figure_is_a_number_or_null_with_its_reason(report: EvaluationReport) -> None:
    document = to_json(report)
    for path in required_paths(REQUIRED):
        value = look_up(document, path)
        assert isinstance(look_up(document["n"], path), int)
        interval = look_up(document["interval"], path)
        if value is None:
            assert interval is None
            assert look_up(document["reason"], path)
        else:
            assert isinstance(value, (int, float))
            with pytest.raises(KeyError):
                look_up(document["reason"], path)


def test_the_schema_requires_what_the_code_does() -> None:
    def required_by_schema(schema: dict, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        if "properties" not in schema:
            return [prefix]
        return [p for key in schema["required"] for p in required_by_schema(schema["properties"][key], (*prefix, key))]

    paths = [p for key in REQUIRED for p in required_by_schema(SCHEMA["properties"][key], (key,))]
    assert sorted(paths) == sorted(required_paths(REQUIRED))
    assert set(REQUIRED) < set(SCHEMA["required"])


def test_values_intervals_counts_and_reasons() -> None:
    document = to_json(make_report())
    assert document["schema"] == "verict.evaluation/1"
    assert document["detector"] == "spectrum"
    assert document["model"] == {"id": "spectrum", "sha256": "c" * 64}
    assert document["auc"] == {"pooled": 0.9412, "fb_parenchyma": 0.97503, "fm_dense": None}
    assert document["interval"]["auc"]["fb_parenchyma"] == [0.9276, 1.0]
    assert document["n"]["auc"] == {"pooled": 55, "fb_parenchyma": 34, "fm_dense": 21}
    assert document["negatives"]["auc"] == {"pooled": 1891, "fb_parenchyma": 1081}
    assert document["reason"]["auc"] == {"fm_dense": "only 3 bright places match the injected ones"}
    assert document["about"]["frozen"]["fb"] == {"threshold": 0.657, "source": None}
    assert document["froc_per_scan"] == {"0.02": None, "0.1": None, "0.5": None, "1": None}
    assert document["reason"]["froc_per_scan"]["1"] == "no scan has neighbouring slices"
    assert document["reason"]["frozen"]["fm"] == "not measured in this evaluation"
    assert document["content_only"]["froc"] is None
    assert document["reason"]["content_only"]["froc"] == "brightness marks no regions"
    assert document["strata"][0]["figures"] == {"auc": {"pooled": 0.77}}
    assert document["probes"]["about"]["mirrored"]["auc_lost"] == {"auc_as_is": 0.941}
    assert document["ledger"] == {"real_fakes": 55, "recorded": True}
    assert "model" not in document["data"]


def test_what_is_not_finite_is_null_and_said() -> None:
    text = to_text(make_report())
    document = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert document["source_leak"]["auc_negatives"] is None
    assert document["reason"]["source_leak"]["auc_negatives"] == "undefined on these data"
    assert document["interval"]["tissue"]["lung"] == [None, None]
    assert document["about"]["tissue"]["lung"]["lowest"] is None


def test_nobody_and_no_place_is_named() -> None:
    text = to_text(make_report(IN_SAMPLE, failures=(make_unreadable(),)))
    assert "pixel data is truncated" in text
    for secret in ("MUSTER", "ERIKA", "archive", "07.dcm"):
        assert secret not in text


def test_a_branch_left_out_gives_its_reason_to_each_figure() -> None:
    given = {"auc": Measured.missing("no labels"), "own": figure(0.5)}
    tree = complete(given, {"auc": {"a": None, "b": {"c": None}}})
    assert [(path, m.reason) for path, m in walk(tree)] == [
        (("auc", "a"), "no labels"), (("auc", "b", "c"), "no labels"), (("own",), ""),
    ]  # fmt: skip


def test_more_than_a_required_figure_is_kept() -> None:
    tree = complete({"content_only": {"froc": {"1": figure(0.5)}}}, {"content_only": {"froc": None}})
    assert [path for path, _ in walk(tree)] == [("content_only", "froc", "1")]


def test_spread_of_nothing() -> None:
    assert spread({}) == {"figures": {}, "interval": {}, "n": {}, "negatives": {}, "reason": {}, "about": {}}
    assert to_json(make_report(make_evaluation(probes={})))["probes"]["figures"] == {}
