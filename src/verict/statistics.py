"""Figures with their intervals: areas under the curve over patients, and shares of counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
BOOTSTRAPS = 1000


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
    scores = np.nan_to_num(np.concatenate([positive, negative]).astype(np.float64), nan=-np.inf)
    ranks = stats.rankdata(scores)
    n, m = len(positive), len(negative)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def area_over_patients(
    scores: np.ndarray, is_positive: np.ndarray, patients: Sequence[str], *, seed: int = 0
) -> Figure:
    """Area under the curve with a percentile interval from a bootstrap over patients.

    A patient is drawn with all its sites: sites of one patient are not independent. ``n`` counts positives.
    """
    positive = np.asarray(is_positive, dtype=bool)
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    if positive.all() or not positive.any():
        return Figure(None, None, None, int(positive.sum()))
    value = area_under_curve(scores[positive], scores[~positive])
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(owner == i) for i in range(len(names))]
    draws = []
    for _ in range(BOOTSTRAPS):
        chosen = np.concatenate([members[i] for i in rng.integers(len(names), size=len(names))])
        hit = positive[chosen]
        if hit.any() and not hit.all():
            draws.append(area_under_curve(scores[chosen][hit], scores[chosen][~hit]))
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Figure(value, float(low), float(high), int(positive.sum()))


def share_of_count(hits: int, n: int) -> Figure:
    """``hits`` of ``n`` with the exact interval of Clopper and Pearson (Biometrika 26, 1934).

    >>> share_of_count(53, 55).as_dict()
    {'value': 0.9636, 'interval': [0.8747, 0.9956], 'n': 55}
    """
    if n == 0:
        return Figure(None, None, None, 0)
    interval = stats.binomtest(int(hits), int(n)).proportion_ci(LEVEL, method="exact")
    return Figure(hits / n, float(interval.low), float(interval.high), int(n))


def rate_per_unit(counts: np.ndarray, patients: Sequence[str], *, seed: int = 0) -> Figure:
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
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(names), size=(BOOTSTRAPS, len(names)))
    draws = totals[chosen].sum(axis=1) / sizes[chosen].sum(axis=1)
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Figure(float(counts.mean()), float(low), float(high), len(counts))
