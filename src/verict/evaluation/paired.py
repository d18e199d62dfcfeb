"""Two scores of the same places, compared: the difference of their areas under the curve, over patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from verict.statistics import Figure, mean_over_matches, tell_apart

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
    match = np.ones((len(first[0]), len(first[1])), bool) if is_match is None else is_match
    people = np.asarray(patients[0], dtype=str), np.asarray(patients[1], dtype=str)
    return mean_over_matches(tell_apart(*first) - tell_apart(*second), people, match, seed=seed)
