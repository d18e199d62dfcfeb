"""Which forgeries a detector misses: the same figures by method, by touch-up, and by both.

Only a campaign tells how each place was forged (`verict.datasets.campaigns`). Each part holds the places forged that
way beside all untouched ones. What 1 % of the untouched lookalikes exceed is read off all of them once, removals and
injections apart, so that parts differ in what was forged and in nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from verict.evaluation.case import PAINTED, PlaceKind
from verict.evaluation.figures import (
    Comparison,
    Scores,
    areas,
    compare_kinds,
    content_only,
    detector_score,
    frozen_figures,
    sensitivities,
)
from verict.evaluation.matching import match_places
from verict.evaluation.places import PlaceTable, join_tables
from verict.evaluation.result import Measured, Stratum, Tree
from verict.statistics import share_of_count

METHOD, TOUCH_UP, BOTH = "method", "touch-up", "method x touch-up"
RATE = "0.01"
COMPARED = {"fb": ("fb_parenchyma",), "fm": ("fm_dense", "fm_bright")}  # by key of ``auc``; the first that can be had
_KINDS = {"fb": PlaceKind.FB, "fm": PlaceKind.FM}


def forgery_strata(table: PlaceTable, *, seed: int) -> tuple[Stratum, ...]:
    """One entry for each method, each touch-up and each pair of them; none where nobody knows how places were forged.

    ``auc``: removals against parenchyma, injections against their matches, however few, and against all bright places;
    ``sensitivity_at_fpr_by_kind`` at 1 %; ``frozen``; and ``content_only`` with what brightness alone reaches.

    Parameters
    ----------
    table
        The places of all cases.
    seed
        Of the bootstraps.
    """
    painted = table.of(*PAINTED)
    known = painted[painted.method != ""]
    if not len(known):
        return ()
    limits = _find_limits(table)
    untouched = table[~np.isin(table.kind, PAINTED)]
    return tuple(
        (by, value, _measure_part(join_tables(own, untouched), limits, seed)) for by, value, own in _parts(known)
    )


def _parts(known: PlaceTable) -> Iterator[tuple[str, str, PlaceTable]]:
    pairs = np.array([f"{m} x {t}" for m, t in zip(known.method, known.touch_up, strict=True)])
    for by, values in ((METHOD, known.method), (TOUCH_UP, known.touch_up), (BOTH, pairs)):
        for value in np.unique(values):
            yield by, str(value), known[values == value]


def _find_limits(table: PlaceTable) -> dict[tuple[str, Scores], tuple[float, int]]:
    """By kind and score: what 1 % of all untouched lookalikes exceed, and how many these are."""
    comparisons = compare_kinds(table, match_places(table))
    limits: dict[tuple[str, Scores], tuple[float, int]] = {}
    for kind, keys in COMPARED.items():
        chosen = next((comparisons[key] for key in keys if not comparisons[key].reason), None)
        for scores, word in ((detector_score, "above_score"), (content_only, "above_hu")):
            if chosen is not None:
                measured = sensitivities(chosen, scores)[RATE]
                if isinstance(measured, Measured) and not measured.reason:
                    limits[kind, scores] = float(measured.about[word] or 0), len(chosen.negatives)
    return limits


def _measure_part(part: PlaceTable, limits: dict[tuple[str, Scores], tuple[float, int]], seed: int) -> Tree:
    matching = match_places(part)
    comparisons = {
        key: _told_however_few(value)
        for key, value in compare_kinds(part, matching).items()
        if any(key in keys for keys in COMPARED.values())
    }
    frozen = frozen_figures(part, matching, seed=seed)

    def found(scores: Scores) -> Tree:
        return {kind: {RATE: _found(part.of(_KINDS[kind]), kind, scores, limits)} for kind in COMPARED}

    return {
        "auc": areas(comparisons, detector_score, seed=seed),
        "sensitivity_at_fpr_by_kind": found(detector_score),
        "frozen": {kind: frozen[kind] for kind in COMPARED},
        "content_only": {
            "auc": areas(comparisons, content_only, seed=seed),
            "sensitivity_at_fpr_by_kind": found(content_only),
        },
    }


def _told_however_few(comparison: Comparison) -> Comparison:
    """Matched sites are compared even where they are too few for a figure of all: parts are small, n stands beside."""
    matching = comparison.matching
    if matching is None or not matching.matched.any():
        return comparison
    return replace(comparison, reason="", weights=matching.weights())


def _found(
    own: PlaceTable, kind: str, scores: Scores, limits: dict[tuple[str, Scores], tuple[float, int]]
) -> Measured:
    if not len(own):
        return Measured.missing(f"no {kind.upper()} label")
    if (kind, scores) not in limits:
        return Measured.missing("no untouched lookalikes", len(own))
    limit, negatives = limits[kind, scores]
    hits = int((scores(own) > limit).sum())
    word = "above_score" if scores is detector_score else "above_hu"
    return Measured(share_of_count(hits, len(own)), negatives, {word: limit, "hits": hits})
