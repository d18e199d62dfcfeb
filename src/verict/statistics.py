"""Figures with their intervals: areas under the curve over patients, and shares of counts.

Bootstraps draw patients, each with all that is theirs, and give percentile intervals. One patient alone says nothing
of others, so there is no interval then. From fewer than about ten patients these intervals are too narrow: those
of five hold the truth in about four cases of five, not nineteen of twenty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
BOOTSTRAPS = 1000
ROUNDING = 1e-12  # what weights that are no whole numbers lose in sums


@dataclass(frozen=True)
class Figure:
    """A value in [0, 1] or a rate, its 95 % interval, and the counts behind it; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    def as_dict(self) -> dict[str, float | int | list[float] | None]:
        """``value``, ``interval`` (low, high) and ``n``, rounded to four digits."""
        interval = None
        if self.low is not None and self.high is not None:
            interval = [round(self.low, 4), round(self.high, 4)]
        return {"value": None if self.value is None else round(self.value, 4), "interval": interval, "n": self.n}


def area_under_curve(positive: np.ndarray, negative: np.ndarray) -> float:
    """Chance that a positive scores above a negative, ties counted half (Mann-Whitney).

    Parameters
    ----------
    positive, negative
        (n,) and (m,) scores, higher = more suspicious; NaN counts as the lowest score.

    >>> area_under_curve(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    ranks = stats.rankdata(_ranked(np.concatenate([positive, negative])))
    n, m = len(positive), len(negative)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def area_over_patients(
    scores: np.ndarray,
    is_positive: np.ndarray,
    patients: Sequence[str] | np.ndarray,
    *,
    weights: np.ndarray | None = None,
    seed: int = 0,
) -> Figure:
    """Area under the curve with a percentile interval from a bootstrap over patients.

    A patient is drawn with all its sites: sites of one patient are not independent. ``weights`` (n,) is what
    each site counts, 1 by default. ``n`` counts positives. Where positives and negatives separate completely a
    bootstrap knows no spread: see `bound_of_complete`.
    """
    positive = np.asarray(is_positive, dtype=bool)
    if positive.all() or not positive.any():
        return Figure(None, None, None, int(positive.sum()))
    levels, level = np.unique(_ranked(scores), return_inverse=True)
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    base = np.ones(len(positive)) if weights is None else np.asarray(weights, np.float64)

    def area(counts: np.ndarray) -> float:
        own = base * counts[owner]
        hit = np.bincount(level, np.where(positive, own, 0), len(levels))
        miss = np.bincount(level, np.where(positive, 0, own), len(levels))
        pairs = hit.sum() * miss.sum()
        return float((hit * (np.cumsum(miss) - miss / 2)).sum() / pairs) if pairs else np.nan

    value = area(np.ones(len(names)))
    if min(value, 1 - value) < ROUNDING:
        return bound_of_complete(round(value), np.asarray(patients)[positive], int(positive.sum()))
    return Figure(value, *_interval(area, len(names), seed), int(positive.sum()))


def matched_area(
    scores: tuple[np.ndarray, np.ndarray],
    patients: tuple[np.ndarray, np.ndarray],
    is_match: np.ndarray,
    *,
    seed: int = 0,
) -> Figure:
    """Area under the curve where each positive is compared with its own negatives only.

    The covariate-adjusted area of Janes and Pepe (https://doi.org/10.1093/biomet/asp002): for each positive the
    share of its matches that score lower, ties counted half, averaged over positives.

    Parameters
    ----------
    scores
        (n,) of the positives and (m,) of the negatives, higher = more suspicious; NaN counts as the lowest.
    patients
        Whose each is; the interval is a percentile bootstrap over patients of both.
    is_match
        (n, m) bool, the negatives of each positive; positives without any are left out.
    """
    figure = mean_over_matches(tell_apart(*scores), patients, is_match, seed=seed)
    if figure.value in (0.0, 1.0):  # exactly: wins are halves and drawn whole times
        return bound_of_complete(figure.value, patients[0][np.asarray(is_match, bool).any(axis=1)], figure.n)
    return figure


def tell_apart(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """(n, m) 1 where a positive scores above a negative, 0.5 where they tie, else 0; NaN counts as the lowest score."""
    own, other = _ranked(positive)[:, None], _ranked(negative)
    return (own > other) + 0.5 * (own == other)


def mean_over_matches(
    gain: np.ndarray, patients: tuple[np.ndarray, np.ndarray], is_match: np.ndarray, *, seed: int = 0
) -> Figure:
    """What positives gain on average over their own negatives, averaged over positives.

    Parameters
    ----------
    gain
        (n, m) what each positive gains over each negative, e.g. `tell_apart`.
    patients
        Whose the (n,) positives and the (m,) negatives are; the interval is a bootstrap over patients of both. A
        positive counts in a draw as long as any of its matches is drawn; the sets are not matched anew.
    is_match
        (n, m) bool, the negatives of each positive; positives without any are left out, and ``n`` counts the others.
    """
    match = np.asarray(is_match, bool)
    kept = np.asarray(match.any(axis=1))
    if not kept.any():
        return Figure(None, None, None, 0)
    gains, match = np.where(match, gain, 0)[kept], match[kept].astype(np.float64)
    names, owner = np.unique(np.concatenate([np.asarray(p, dtype=str) for p in patients]), return_inverse=True)
    own, other = owner[: len(kept)][kept], owner[len(kept) :]

    def mean(counts: np.ndarray) -> float:
        weight = match @ counts[other]
        share = np.divide(gains @ counts[other], weight, out=np.zeros(len(weight)), where=weight > 0)
        drawn = counts[own] * (weight > 0)
        return float((drawn * share).sum() / drawn.sum()) if drawn.any() else np.nan

    return Figure(mean(np.ones(len(names))), *_interval(mean, len(names), seed), int(kept.sum()))


def bound_of_complete(value: float, patients: np.ndarray, n: int) -> Figure:
    """An area of exactly 0 or 1 with the interval of Clopper and Pearson over the patients of the positives.

    The area is the mean, over positives, of the share of negatives below. Where that share is 1 in each of k
    patients, the share of patients in whom it is not lies below the bound of 0 in k, and there it is at least 0.
    """
    bound = share_of_count(len(set(patients)) if value else 0, len(set(patients)))
    return Figure(float(value), bound.low, bound.high, n)


def _ranked(scores: np.ndarray | Sequence[float]) -> np.ndarray:
    """Scores to be compared: where there is none, the lowest possible."""
    values = np.asarray(scores, np.float64)
    return np.where(np.isnan(values), -np.inf, values)


def _draw_patients(count: int, seed: int) -> np.ndarray:
    """(draws, count) how often each patient is drawn in each bootstrap."""
    chosen = np.random.default_rng(seed).integers(count, size=(BOOTSTRAPS, count))
    flat = chosen + count * np.arange(BOOTSTRAPS)[:, None]
    return np.bincount(flat.ravel(), minlength=BOOTSTRAPS * count).reshape(BOOTSTRAPS, count).astype(np.float64)


def _interval(
    figure: Callable[[np.ndarray], float], patients: int, seed: int
) -> tuple[float | None, float | None]:
    """The middle 95 % of a figure of (patients,) how often each is drawn; draws without a value left out."""
    if patients < 2:
        return None, None
    draws = [figure(counts) for counts in _draw_patients(patients, seed)]
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def share_of_count(hits: int, n: int, *, level: float = LEVEL) -> Figure:
    """``hits`` of ``n`` with the exact interval of Clopper and Pearson (Biometrika 26, 1934).

    >>> share_of_count(53, 55).as_dict()
    {'value': 0.9636, 'interval': [0.8747, 0.9956], 'n': 55}
    """
    if n == 0:
        return Figure(None, None, None, 0)
    interval = stats.binomtest(int(hits), int(n)).proportion_ci(level, method="exact")
    return Figure(hits / n, float(interval.low), float(interval.high), int(n))


def share_over_patients(hits: np.ndarray, patients: Sequence[str] | np.ndarray, *, seed: int = 0) -> Figure:
    """Share of (n,) bool sites, interval from a bootstrap over patients.

    Where none or all were hit, a bootstrap knows no spread: the interval is then that of Clopper and Pearson with
    the number of patients as n.
    """
    hits = np.asarray(hits, dtype=bool)
    if not len(hits):
        return Figure(None, None, None, 0)
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    if hits.all() or not hits.any():
        bound = share_of_count(len(names) if hits.all() else 0, len(names))
        return Figure(float(hits.mean()), bound.low, bound.high, len(hits))
    totals, sizes = np.bincount(owner, hits), np.bincount(owner)
    interval = _interval(lambda drawn: float(drawn @ totals / (drawn @ sizes)), len(names), seed)
    return Figure(float(hits.mean()), *interval, len(hits))


def effective_patients(patients: Sequence[str] | np.ndarray) -> float:
    """How many patients with equally many units would tell as much (Kish, Survey Sampling, 1965), in [1, patients].

    >>> effective_patients(["a", "a", "b", "b"]), round(effective_patients(["a"] * 98 + ["b", "c"]), 2)
    (2.0, 1.04)
    """
    sizes = np.unique(np.asarray(patients), return_counts=True)[1].astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def rate_per_unit(counts: np.ndarray, patients: Sequence[str] | np.ndarray, *, seed: int = 0) -> Figure:
    """Mean count per unit (e.g. false marks per slice), interval from a bootstrap over patients.

    Where nothing was counted at all the upper end is the exact Poisson bound of 3.69 events (two-sided 95 %)
    over the number of patients: units of one patient are not independent.
    """
    counts = np.asarray(counts, dtype=np.float64)
    if not len(counts):
        return Figure(None, None, None, 0)
    if counts.sum() == 0:
        bound = float(stats.chi2.ppf((1 + LEVEL) / 2, 2) / 2 / len(set(patients)))
        return Figure(0.0, 0.0, bound, len(counts))
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    totals, sizes = np.bincount(owner, counts), np.bincount(owner)
    interval = _interval(lambda drawn: float(drawn @ totals / (drawn @ sizes)), len(names), seed)
    return Figure(float(counts.mean()), *interval, len(counts))
