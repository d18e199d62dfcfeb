"""An evaluation as JSON: schema verict.evaluation/1, described in docs/evaluation-result.schema.json."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from verict.errors import VerictError
from verict.evaluation.ledger import REAL_FAKES
from verict.evaluation.result import (
    FALSE_MARKS_PER_SLICE,
    FALSE_POSITIVE_RATES,
    PREVALENCES,
    Evaluation,
    Measured,
    Tree,
    walk,
)
from verict.report.json import make_plain

SCHEMA = "verict.evaluation/1"
MODEL = "model"  # key of Evaluation.data: id and sha256 of the model, None where nothing was fitted
NOT_MEASURED = "not measured in this evaluation"
UNDEFINED = "undefined on these data"

Shape = Mapping[str, "Shape | None"]

_AUC: Shape = dict.fromkeys(("pooled", "fb_parenchyma", "fm_dense"))
_SENSITIVITY: Shape = dict.fromkeys(FALSE_POSITIVE_RATES)
_FROC: Shape = dict.fromkeys(FALSE_MARKS_PER_SLICE)
REQUIRED: Shape = {
    "auc": _AUC,
    "sensitivity_at_fpr": _SENSITIVITY,
    "sensitivity_at_fpr_by_kind": {"fb": _SENSITIVITY, "fm": _SENSITIVITY},
    "frozen": dict.fromkeys(("fb", "fm", "pooled", "false_positive_rate_parenchyma", "false_positive_rate_bright")),
    "froc": _FROC,
    "froc_by_kind": {"fb": _FROC, "fm": _FROC},
    "froc_per_scan": _FROC,
    "authentic": dict.fromkeys(
        ("slices", "false_marks_per_slice", "series", "suspicious_series", "false_marks_per_scan", "marked_series")
    ),
    "content_only": {"auc": _AUC, "sensitivity_at_fpr": _SENSITIVITY, "froc": None},
    "source_leak": {"auc_negatives": None},
    "predictive_value": dict.fromkeys(PREVALENCES, dict.fromkeys(("ppv", "npv"))),
}
"""The figures every document has, null with the reason where there is none; None stands for a figure."""


@dataclass(frozen=True)
class EvaluationReport:
    """An evaluation with all that is said beside its figures.

    Parameters
    ----------
    evaluation
        Its ``data`` has "real_fakes", see `verict.evaluation.ledger`, and "model", see `MODEL`.
    provenance
        From `verict.provenance.collect_provenance`, without paths.
    failures
        What could not be read.
    labels_left_out
        Label rows with a place that were not evaluated: their slice is missing, could not be read, or is no CT, their
        place lies outside the image, or they stand twice.
    recorded
        Whether the look at published real fakes stands in the ledger; None where there was none.
    """

    evaluation: Evaluation
    provenance: Mapping[str, Any]
    failures: tuple[VerictError, ...] = ()
    labels_left_out: int = 0
    recorded: bool | None = None

    @property
    def model(self) -> Mapping[str, str] | None:
        """``id`` and ``sha256`` of the model; None where nothing was fitted."""
        return self.evaluation.data.get(MODEL)

    @property
    def data(self) -> dict[str, Any]:
        """The counts of the evaluation, without the model."""
        return {key: value for key, value in self.evaluation.data.items() if key != MODEL}


def to_json(report: EvaluationReport) -> dict:
    """The evaluation as plain values that `json.dumps` takes with ``allow_nan=False``.

    The figures stand under their own keys as plain numbers or null; the same paths below ``interval``, ``n``,
    ``negatives``, ``reason`` and ``about`` hold what belongs to each. Files are not named: paths can name patients.
    """
    evaluation = report.evaluation
    main = spread(complete(evaluation.figures, REQUIRED))
    document = {
        "schema": SCHEMA,
        "verict": report.provenance["verict"],
        "detector": evaluation.detector,
        "model": report.model,
        "conclusions": [{"code": c.code, "text": c.text, "grave": c.grave} for c in evaluation.conclusions],
        **main.pop("figures"),
        **main,
        "strata": [{"by": by, "value": value, **spread(tree)} for by, value, tree in evaluation.strata],
        "probes": spread(evaluation.probes),
        "four_classes": evaluation.classes or None,
        "data": report.data,
        "labels_left_out": report.labels_left_out,
        "failures": [{"error": type(f).__name__, "problem": f.problem, "tag": f.tag} for f in report.failures],
        "ledger": {"real_fakes": evaluation.data[REAL_FAKES], "recorded": report.recorded},
        "provenance": report.provenance,
    }
    return make_plain(document)


def to_text(report: EvaluationReport) -> str:
    """The JSON document as ASCII text with a final newline."""
    return json.dumps(to_json(report), allow_nan=False, indent=2) + "\n"


def complete(tree: Tree, required: Shape) -> Tree:
    """The tree with every required figure; a missing one is `Measured.missing`, with the reason of its branch.

    >>> complete({"auc": Measured.missing("no labels")}, {"auc": {"pooled": None}})["auc"]["pooled"].reason
    'no labels'
    """
    return {**tree, **{key: _complete_part(tree.get(key), shape) for key, shape in required.items()}}


def _complete_part(part: Measured | Tree | None, shape: Shape | None) -> Measured | Tree:
    if part is None:
        part = Measured.missing(NOT_MEASURED)
    if shape is None:
        return part
    if isinstance(part, Measured):
        return {key: _complete_part(part, inner) for key, inner in shape.items()}
    return complete(part, shape)


def spread(tree: Tree) -> dict[str, dict]:
    """A tree taken apart: ``figures``, ``interval``, ``n``, ``negatives``, ``reason`` and ``about``, each by path.

    ``reason`` holds the figures that are null, ``negatives`` and ``about`` those that have such; a value that is
    not finite is null.
    """
    parts: dict[str, dict] = {k: {} for k in ("figures", "interval", "n", "negatives", "reason", "about")}
    for path, measured in walk(tree):
        for name, value in _describe(measured):
            _put(parts[name], path, value)
    return parts


def finite_value(measured: Measured) -> float | None:
    """The value of a figure, None where it is missing or not finite."""
    value = measured.figure.value
    return value if value is not None and math.isfinite(value) else None


def reason_of(measured: Measured) -> str:
    """Why a figure has no value, "" where it has one."""
    return "" if finite_value(measured) is not None else measured.reason or UNDEFINED


def _describe(measured: Measured) -> Iterator[tuple[str, object]]:
    figure, value = measured.figure, finite_value(measured)
    yield "figures", value
    yield "interval", None if value is None or figure.low is None or figure.high is None else [figure.low, figure.high]
    yield "n", figure.n
    if measured.negatives is not None:
        yield "negatives", measured.negatives
    if value is None:
        yield "reason", reason_of(measured)
    if measured.about:
        yield "about", dict(measured.about)


def _put(tree: dict, path: tuple[str, ...], value: object) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value
