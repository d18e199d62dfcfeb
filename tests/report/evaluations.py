"""Finished evaluations built by hand, for everything that renders them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from verict.errors import PixelError
from verict.evaluation.result import Conclusion, Evaluation, Measured, Tree
from verict.report.evaluation_json import EvaluationReport
from verict.statistics import Figure

SECRET_PATH = "/archive/MUSTER^ERIKA/07.dcm"
PROVENANCE = {
    "verict": "0.1.0", "python": "3.11.7", "platform": "Linux x86_64", "libraries": {"numpy": "1.26"},
    "utc": "2026-01-02T03:04:05Z", "options": {"detector": "spectrum", "seed": 0, "workers": None},
    "models": {"spectrum": {"id": "spectrum", "sha256": "c" * 64}},
}  # fmt: skip


def figure(
    value: float | None, low: float | None = None, high: float | None = None, n: int = 34, **rest: Any
) -> Measured:
    return Measured(Figure(value, low, high, n), **rest)


def make_figures() -> Tree:
    """Most of what is measured; FM has no AUC, content alone no marks, and one key is not among the required."""
    rates = {"0.01": figure(0.8, 0.6, 0.9, 55, negatives=1891), "0.05": figure(0.9, 0.75, 0.97, 55)}
    marks = {"0.02": figure(0.4, 0.2, 0.6, 55), "0.1": figure(0.7, 0.5, 0.85, 55), "0.5": figure(0.9, 0.8, 0.99, 55)}
    return {
        "auc": {
            "pooled": figure(0.9412, 0.9, 0.97, 55, negatives=1891),
            "fb_parenchyma": figure(0.97503, 0.9276, 1.0, negatives=1081, about={"patients": 20}),
            "fm_dense": Measured.missing("only 3 bright places match the injected ones", 21),
        },
        "sensitivity_at_fpr": rates,
        "sensitivity_at_fpr_by_kind": {"fb": rates, "fm": dict(rates)},
        "frozen": {"fb": figure(0.882, 0.7255, 0.967, about={"threshold": 0.657, "source": None})},
        "froc": marks | {"1": figure(1.0, 0.93, 1.0, 55)},
        "froc_by_kind": {"fb": marks | {"1": figure(0.95, 0.8, 1.0)}},
        "froc_per_scan": Measured.missing("no scan has neighbouring slices"),
        "authentic": {
            "slices": figure(712.0, n=712), "false_marks_per_slice": figure(0.0, 0.0, 0.04, 712),
            "series": figure(7.0, n=7), "suspicious_series": figure(0.0, 0.0, 0.41, 7),
        },
        "content_only": {
            "auc": {"pooled": figure(0.81, 0.7, 0.9, 55), "fb_parenchyma": figure(0.7459, 0.67, 0.83)},
            "sensitivity_at_fpr": {"0.01": figure(0.3, 0.1, 0.5, 55), "0.05": figure(0.4, 0.2, 0.6, 55)},
            "froc": Measured.missing("brightness marks no regions"),
            "halves": figure(0.3333, n=9),
        },
        "source_leak": {"auc_negatives": figure(float("nan"), n=12)},
        "predictive_value": {"1/1000": {"ppv": figure(0.000123, 0.0001, 0.0002), "npv": figure(0.99999912)}},
        "tissue": {"lung": figure(0.5, float("-inf"), float("inf"), about={"lowest": float("-inf")})},
    }  # fmt: skip


def make_evaluation(**changes: Any) -> Evaluation:
    parts: dict[str, Any] = {
        "detector": "spectrum",
        "figures": make_figures(),
        "strata": (("vendor", "PHILIPS", {"auc": {"pooled": figure(0.77, 0.5, 0.9, 8)}}),),
        "data": make_data(),
        "conclusions": (
            Conclusion("too_few", "Only 21 places of 20 patients: their figures say little."),
        ),
        "probes": {"mirrored": {"auc_lost": figure(0.0021, -0.01, 0.02, 55, about={"auc_as_is": 0.941})}},
    }  # fmt: skip
    return Evaluation(**(parts | changes))


def make_data(seen: Mapping[str, int] | None = None, real_fakes: int = 55) -> dict[str, Any]:
    return {
        "labelled": {
            "series": 40, "labels": {"FB": 34, "FM": 21}, "seen": dict(seen or {"out_of_fold": 40}),
        },
        "authentic": {"series": 7, "seen": {"unseen": 7}},
        "model": {"id": "spectrum", "sha256": "c" * 64},
        "real_fakes": real_fakes,
    }  # fmt: skip


def make_report(evaluation: Evaluation | None = None, **changes: Any) -> EvaluationReport:
    parts: dict[str, Any] = {"provenance": PROVENANCE, "recorded": True} | changes
    return EvaluationReport(evaluation or make_evaluation(), **parts)


def make_unreadable() -> PixelError:
    return PixelError("pixel data is truncated", file=SECRET_PATH, tag="PixelData (7FE0,0010)", found="3 bytes")


IN_SAMPLE = make_evaluation(
    data=make_data({"in_sample": 3, "unseen": 37}),
    conclusions=(Conclusion("in_sample", "The model was fitted on 3 of the 40 series.", grave=True),),
)
BARE = Evaluation("rule", {}, data={"real_fakes": 0, "model": None, "labelled": {"labels": {}}})
EVERY_KIND = {
    "usual": make_report(),
    "in sample": make_report(IN_SAMPLE, failures=(make_unreadable(),), labels_left_out=2, recorded=False),
    "bare": make_report(BARE, recorded=None),
}
