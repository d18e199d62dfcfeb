"""Two scores of the same places, compared: the difference of their areas under the curve, over patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from verict.statistics import BOOTSTRAPS, LEVEL, Figure

Sides = tuple[np.ndarray, np.ndarray]
"""Scores of (n,) painted and of (m,) untouched places, higher = more suspicious."""


def difference_of_areas(
    first: Sides,
    second: Sides,
    patients: tuple[Sequence[str], Sequence[str]],
    *,
    is_match: np.ndarray | None = None,
    seed: int = 0,
) -> Figure:
    """Area under the curve of one score less that of another on the same places, in [-1, 1].

    The percentile interval is from a bootstrap over patients that draws both scores together, so that what the
    places have in common does not widen it. ``n`` counts the painted places compared.

    Parameters
    ----------
    first, second
        The two scores.
    patients
        Whose each painted and each untouched place is.
    is_match
        (n, m) bool, the untouched places each painted one is compared with, as in `verict.statistics.matched_area`;
        all of them by default.
    seed
        Fixes the bootstrap.
    """
    match = np.ones((len(first[0]), len(first[1])), bool) if is_match is None else np.asarray(is_match, bool)
    kept = np.asarray(match.any(axis=1))
    if not kept.any():
        return Figure(None, None, None, 0)
    match = match[kept].astype(np.float64)
    gained = match * (_wins(first, kept) - _wins(second, kept))
    names, owner = np.unique(np.concatenate([np.asarray(p, dtype=str) for p in patients]), return_inverse=True)
    own, other = owner[: len(kept)][kept], owner[len(kept) :]

    def difference(counts: np.ndarray) -> float:
        weight = match @ counts[other]
        share = np.divide(gained @ counts[other], weight, out=np.zeros(len(weight)), where=weight > 0)
        drawn = counts[own] * (weight > 0)
        return float((drawn * share).sum() / drawn.sum()) if drawn.any() else np.nan

    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(names), size=(BOOTSTRAPS, len(names)))
    draws = [difference(np.bincount(c, minlength=len(names)).astype(np.float64)) for c in chosen]
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Figure(difference(np.ones(len(names))), float(low), float(high), int(kept.sum()))


def _wins(scores: Sides, kept: np.ndarray) -> np.ndarray:
    """(kept, m) 1 where the painted place scores higher, 0.5 where they tie; NaN counts as the lowest score."""
    painted, clean = (np.where(np.isnan(s), -np.inf, s) for s in (scores[0][kept].astype(np.float64), scores[1]))
    return (painted[:, None] > clean) + 0.5 * (painted[:, None] == clean)
