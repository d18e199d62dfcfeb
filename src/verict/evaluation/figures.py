"""Figures of the location protocol: painted places against untouched ones, with brightness alone in the next column.

Scores of different series can come from different models (folds) of one recipe, whose scale is the same but for
chance. They are ranked as they are: a fold's thresholds rest on few series and would add more noise than they take
away. Where thresholds differ, the area by how far scores lie above their own series' threshold stands beside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from verict.evaluation.case import PAINTED, PlaceKind
from verict.evaluation.matching import Matching
from verict.evaluation.places import PlaceTable
from verict.evaluation.result import FALSE_POSITIVE_RATES, Measured, Tree
from verict.statistics import Figure, area_over_patients, matched_area, share_of_count, share_over_patients

UNTOUCHED = (PlaceKind.PARENCHYMA, PlaceKind.BRIGHT)
NO_MAP = "one HU value a place makes no map, so it has no marks"
Scores = Callable[[PlaceTable], np.ndarray]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Painted places and what they are compared with; ``weights`` (negatives,) what each untouched one counts.

    ``matching`` where each painted place has untouched ones of its own; ``reason`` why there is no comparison.
    """

    positives: PlaceTable
    negatives: PlaceTable
    weights: np.ndarray
    matching: Matching | None = None
    reason: str = ""


def compare_kinds(table: PlaceTable, matching: Matching) -> dict[str, Comparison]:
    """The comparisons, by the keys of ``auc``.

    ``fb_parenchyma``: FB against parenchyma of the labelled slices. ``fm_dense``: FM against their matches.
    ``fm_dense_labelled``: the same with those matches only that are of labelled slices too: a detector that merely
    tells the two collections apart is worth something against the others, and nothing against these.
    ``fm_bright``: FM against every bright place of the labelled slices, which brightness alone tells apart.
    ``pooled``: FB and FM against all parenchyma and bright places of the labelled slices, unmatched as well.
    """
    fb, fm = (table.of(kind) for kind in PAINTED)
    lung, bright = (table.of(kind, labelled=True) for kind in UNTOUCHED)
    both = table.of(*UNTOUCHED, labelled=True)

    def plain(positives: PlaceTable, negatives: PlaceTable, what: str) -> Comparison:
        reason = "" if len(positives) and len(negatives) else f"no {what}"
        return Comparison(positives, negatives, np.ones(len(negatives)), reason=reason)

    def matched(own: Matching) -> Comparison:
        weights = np.ones(len(own.negatives)) if own.reason else own.weights()
        return Comparison(own.positives[own.matched], own.negatives, weights, own, own.reason)

    return {
        "pooled": plain(table.of(*PAINTED), both, "painted place" if not len(fb) + len(fm) else "untouched place"),
        "fb_parenchyma": plain(fb, lung, "FB label" if not len(fb) else "parenchyma to compare FB with"),
        "fm_dense": matched(matching),
        "fm_dense_labelled": matched(matching.of_labelled()),
        "fm_bright": plain(fm, bright, "FM label" if not len(fm) else "bright place to compare FM with"),
    }


def detector_score(table: PlaceTable) -> np.ndarray:
    """What the detector says of each place, see `PlaceTable`."""
    return table.score


def content_only(table: PlaceTable) -> np.ndarray:
    """What blurred brightness says of each place."""
    return table.centre_hu


def area(comparison: Comparison, scores: Scores, *, seed: int) -> Measured:
    """Area under the curve, interval from a bootstrap over patients; higher = painted places score higher."""
    if comparison.reason:
        return Measured.missing(comparison.reason, len(comparison.positives))
    about: dict[str, float | int | str | None] = {"patients": len(set(comparison.positives.patient))}
    if scores is detector_score and not _ranks_agree(comparison):
        about["of_margins"] = _area(comparison, lambda table: table.margin, seed).value
    if comparison.matching is not None:
        about |= comparison.matching.balance() if scores is detector_score else {}
    return Measured(_area(comparison, scores, seed), len(comparison.negatives), about)


def _area(comparison: Comparison, scores: Scores, seed: int) -> Figure:
    own, other = comparison.positives, comparison.negatives
    if comparison.matching is not None:
        is_match = comparison.matching.is_match[comparison.matching.matched]
        return matched_area((scores(own), scores(other)), (own.patient, other.patient), is_match, seed=seed)
    is_positive = np.arange(len(own) + len(other)) < len(own)
    patients = np.concatenate([own.patient, other.patient])
    return area_over_patients(np.concatenate([scores(own), scores(other)]), is_positive, patients, seed=seed)


def _ranks_agree(comparison: Comparison) -> bool:
    """Whether one threshold judges all these places, so that margins and raw scores rank alike."""
    scored = [t[np.isfinite(t.margin)] for t in (comparison.positives, comparison.negatives)]
    gaps = np.concatenate([t.score - t.margin for t in scored])
    return not len(gaps) or bool(np.ptp(gaps) < 1e-9)


def areas(comparisons: dict[str, Comparison], scores: Scores, *, seed: int) -> Tree:
    """``auc``: every comparison's area."""
    return {key: area(comparison, scores, seed=seed) for key, comparison in comparisons.items()}


def sensitivities(comparison: Comparison, scores: Scores) -> Tree:
    """``sensitivity_at_fpr``: share of painted places above the score that 1 % and 5 % of untouched ones exceed."""
    return {rate: _sensitivity(comparison, scores, float(rate)) for rate in FALSE_POSITIVE_RATES}


def _sensitivity(comparison: Comparison, scores: Scores, rate: float) -> Measured:
    if comparison.reason:
        return Measured.missing(comparison.reason, len(comparison.positives))
    negative, weights = scores(comparison.negatives), comparison.weights / comparison.weights.sum()
    order = np.argsort(-negative, kind="stable")
    above = np.cumsum(weights[order]) > rate + 1e-12
    limit = float(negative[order][above.argmax()])
    found = scores(comparison.positives) > limit
    about: dict[str, float | int | str | None] = {
        "above_score" if scores is detector_score else "above_hu": limit,
        "false_positive_rate": float(weights[negative > limit].sum()),
    }
    return Measured(share_of_count(int(found.sum()), len(found)), len(negative), about)


def frozen_figures(table: PlaceTable, matching: Matching, *, seed: int) -> Tree:
    """``frozen``: shares marked at the threshold fitted beforehand, each series at its own."""
    tree: Tree = {}
    for key, kinds in (("fb", (PlaceKind.FB,)), ("fm", (PlaceKind.FM,)), ("pooled", PAINTED)):
        own = table.of(*kinds)
        tree[key] = _share_marked(own) if len(own) else Measured.missing(f"no {key.upper()} label")
    untouched = {kind: table.of(kind, labelled=True) for kind in (*UNTOUCHED, PlaceKind.NODULE)}
    for kind, own in untouched.items():
        tree[f"false_positive_rate_{kind}"] = _false_positive_rate(own, f"no untouched {kind} place", seed)
    tree["false_positive_rate_matched"] = _false_positive_rate(matching.negatives, "no matches of FM sites", seed)
    return tree


def _share_marked(own: PlaceTable) -> Measured:
    hits = int(own.is_marked.sum())
    return Measured(share_of_count(hits, len(own)), about={"hits": hits, "patients": len(set(own.patient))})


def _false_positive_rate(own: PlaceTable, reason: str, seed: int) -> Measured:
    if not len(own):
        return Measured.missing(reason)
    about: dict[str, float | int | str | None] = {
        "marked": int(own.is_marked.sum()),
        "patients": len(set(own.patient)),
        "nothing_scored": int(np.isneginf(own.margin).sum()),
    }
    return Measured(share_over_patients(own.is_marked, own.patient, seed=seed), about=about)


def leak_figures(table: PlaceTable, *, seed: int) -> Tree:
    """``source_leak``: untouched places of the labelled scans against those of the authentic ones; 0.5 is clean.

    A detector that tells them apart knows the collection, not the paint. Each patient counts the same, however many
    of its slices carry places.
    """
    tree: Tree = {}
    for key, kinds in (
        ("auc_negatives", UNTOUCHED),
        *((f"auc_{kind}", (kind,)) for kind in UNTOUCHED),
    ):
        own = table.of(*kinds)
        if own.is_labelled.all() or not own.is_labelled.any():
            missing = "labelled" if len(own) and not own.is_labelled.any() else "authentic"
            tree[key] = Measured.missing(f"no untouched places of {missing} scans")
            continue
        names, owner = np.unique(own.patient, return_inverse=True)
        weights = 1 / np.bincount(owner)[owner]
        patients = own.patient.tolist()
        figure = area_over_patients(own.score, own.is_labelled, patients, weights=weights, seed=seed)
        margins = area_over_patients(own.margin, own.is_labelled, patients, weights=weights, seed=seed)
        about: dict[str, float | int | str | None] = {"patients": len(names), "of_margins": margins.value}
        tree[key] = Measured(figure, int((~own.is_labelled).sum()), about)
    return tree


def location_figures(table: PlaceTable, matching: Matching, *, seed: int) -> Tree:
    """``auc``, ``sensitivity_at_fpr`` (and by kind), ``frozen``, ``content_only`` and ``source_leak``."""
    comparisons = compare_kinds(table, matching)
    own = {key: sensitivities(comparisons[key], detector_score) for key in comparisons}
    return {
        "auc": areas(comparisons, detector_score, seed=seed),
        "sensitivity_at_fpr": own["pooled"],
        "sensitivity_at_fpr_by_kind": {"fb": own["fb_parenchyma"], "fm": own["fm_dense"]},
        "frozen": frozen_figures(table, matching, seed=seed),
        "content_only": {
            "auc": areas(comparisons, content_only, seed=seed),
            "sensitivity_at_fpr": sensitivities(comparisons["pooled"], content_only),
            "sensitivity_at_fpr_by_kind": {
                "fb": sensitivities(comparisons["fb_parenchyma"], content_only),
                "fm": sensitivities(comparisons["fm_dense"], content_only),
            },
            "froc": Measured.missing(NO_MAP),
        },
        "source_leak": leak_figures(table, seed=seed),
    }

