"""What was said of test items, measured: the four classes, "tampered?" asked fairly, and leaky against clean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from verict.benchmarks.cost import find_highest
from verict.benchmarks.fold import Told
from verict.benchmarks.samples import Samples
from verict.datasets.uci import SiteType
from verict.detect.four_classes import CLASSES
from verict.evaluation.classes import BOOTSTRAPS, describe_classes, macro_f1
from verict.statistics import matched_area

QUESTIONS = {
    "removed": (SiteType.FB, SiteType.TB),
    "injected": (SiteType.FM, SiteType.TM),
}
"""Where "tampered?" is asked fairly: what is compared looks alike but for the paint. FB against FM would only ask
whether a nodule is to be seen."""


def measure_told(samples: Samples, told: Sequence[Told], *, one_scale: bool = False, seed: int = 0) -> dict[str, Any]:
    """The figures of one model under one protocol, JSON-ready.

    Parameters
    ----------
    samples
        The rows of that protocol.
    told
        Of every fold. Repeats are pooled: an item counts as often as it was judged.
    one_scale
        One model told everything, so that scores of different parts may be ranked together. Otherwise areas compare
        items of the same fold alone: what two folds' models say need not be on one scale.
    seed
        Of the bootstraps over patients.

    Returns
    -------
    dict
        ``n`` judged items, ``rows`` and ``patients`` behind them; ``macro_f1``, ``accuracy``, ``confusion`` and
        ``classes`` (precision, recall, F1; all None where only "tampered?" was answered); ``areas`` by `QUESTIONS`;
        ``cost``.
    """
    rows = np.concatenate([one.rows for one in told])
    shares = np.concatenate([one.probabilities for one in told])
    tampered = np.concatenate([one.tampered for one in told])
    kinds, patients = samples.kind[rows], samples.patient[rows]
    figures: dict[str, Any] = {"n": len(rows), "rows": len(set(rows.tolist())), "patients": len(set(patients))}
    has_classes = len(shares) > 0 and not np.isnan(shares).any()
    described = _describe(kinds, shares, patients, seed) if has_classes else {}
    figures |= {name: described.get(name) for name in ("macro_f1", "accuracy", "confusion", "classes")}
    fold = np.concatenate([np.full(len(one.rows), 0 if one_scale else i) for i, one in enumerate(told)])
    items = _Items(kinds, patients, fold, tampered)
    figures["areas"] = {name: _area(items, question, seed) for name, question in QUESTIONS.items()}
    figures["cost"] = {
        "trained_on": round(float(np.mean([one.trained_on for one in told]))),
        "cpu_s": round(float(np.mean([one.cost.cpu_s for one in told])), 2),
        "wall_s": round(float(np.mean([one.cost.wall_s for one in told])), 2),
        "peak_mib": _round(find_highest([one.cost.peak_mib for one in told])),
        "card_mib": _round(find_highest([one.cost.card_mib for one in told])),
    }
    return figures


def measure_gap(
    samples: tuple[Samples, Samples], told: tuple[Sequence[Told], Sequence[Told]], *, seed: int = 0
) -> dict[str, Any]:
    """Macro-F1 and accuracy under the leaky protocol less those under the clean one.

    Intervals are percentiles of a bootstrap that draws the same patients, of those judged, for both.
    """
    judged = [own.patient[one.rows] for own, parts in zip(samples, told, strict=True) for one in parts]
    names = sorted({str(p) for patients in judged for p in patients})
    tables = [_tables(own, one, names) for own, one in zip(samples, told, strict=True)]
    drawn = np.random.default_rng(seed).integers(len(names), size=(BOOTSTRAPS, len(names)))
    figures: dict[str, Any] = {}
    for name, measure in (("macro_f1", macro_f1), ("accuracy", _accuracy)):
        value = measure(tables[0].sum(axis=0)) - measure(tables[1].sum(axis=0))
        spread = [measure(tables[0][d].sum(axis=0)) - measure(tables[1][d].sum(axis=0)) for d in drawn]
        figures[name] = {"value": round(value, 4), "n": len(names),
                         "interval": [round(float(v), 4) for v in np.nanquantile(spread, [0.025, 0.975])]}  # fmt: skip
    return figures


def find_leaders(models: Sequence[dict[str, Any]], protocol: str) -> dict[str, list[dict[str, Any]]]:
    """Those of highest area for each of `QUESTIONS` under a protocol: one, or several that reach the same."""
    leaders = {}
    for name in QUESTIONS:
        own = [m for m in models if m["protocol"] == protocol and m["areas"][name]["value"] is not None]
        if own:
            best = max(m["areas"][name]["value"] for m in own)
            leaders[name] = [m for m in own if m["areas"][name]["value"] == best]
    return leaders


def _describe(kinds: np.ndarray, shares: np.ndarray, patients: np.ndarray, seed: int) -> dict[str, Any]:
    truth = np.array([CLASSES.index(SiteType(kind)) for kind in kinds])
    return describe_classes(truth, shares.argmax(axis=1), patients.tolist(), seed)


@dataclass(frozen=True, eq=False)
class _Items:
    """(n,) class, patient, fold and score of each judged item."""

    kind: np.ndarray
    patient: np.ndarray
    fold: np.ndarray
    tampered: np.ndarray


def _area(items: _Items, question: tuple[SiteType, SiteType], seed: int) -> dict[str, Any]:
    """Area under the curve within folds, with how many stand on the other side; a constant answer gives one half."""
    positive, negative = (items.kind == str(kind) for kind in question)
    figure = matched_area(
        (items.tampered[positive], items.tampered[negative]), (items.patient[positive], items.patient[negative]),
        items.fold[positive][:, None] == items.fold[negative], seed=seed,
    )  # fmt: skip
    return figure.as_dict() | {"against": int(negative.sum())}


def _tables(samples: Samples, told: Sequence[Told], names: Sequence[str]) -> np.ndarray:
    """(patients, 4, 4) confusion of each patient; rows are the truth."""
    rows = np.concatenate([one.rows for one in told])
    said = np.concatenate([one.probabilities for one in told]).argmax(axis=1)
    truth = np.array([CLASSES.index(SiteType(kind)) for kind in samples.kind[rows]])
    owner = np.array([names.index(str(p)) for p in samples.patient[rows]])
    tables = np.zeros((len(names), len(CLASSES), len(CLASSES)), int)
    np.add.at(tables, (owner, truth, said), 1)
    return tables


def _round(value: float | None) -> int | None:
    return None if value is None else round(value)


def _accuracy(confusion: np.ndarray) -> float:
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else float("nan")
