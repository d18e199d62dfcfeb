"""How often no decision is given: slices with lung that got no score, series that stay indeterminate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from verict.datasets.scans import Source
from verict.detect.result import Verdict
from verict.evaluation.alarms import Judged
from verict.evaluation.result import Measured, Tree
from verict.statistics import share_of_count

KEYS = ("undefined_slices", "indeterminate_series")


def measure_abstention(judged: Sequence[Judged]) -> Tree:
    """Shares of slices and of series without a decision, for each collection.

    Returns
    -------
    dict
        ``labelled`` and ``authentic``, each with ``undefined_slices``: share of slices with lung whose map is
        undefined everywhere; and ``indeterminate_series``: share of series that the rule of
        `verict.detect.verdict` leaves indeterminate, with how many for want of any score (``unscored``) and how
        many for a mark on single slices too weak to decide (``undecided``).
    """
    return {str(source): _measure_source([j for j in judged if j.case.subject.source is source]) for source in Source}


def _measure_source(judged: Sequence[Judged]) -> Tree:
    if not judged:
        return dict.fromkeys(KEYS, Measured.missing("no series of this collection"))
    lung = np.concatenate([j.case.subject.lung_slices for j in judged])
    scored = np.concatenate([np.isfinite(j.case.score_map.values).any(axis=(1, 2)) for j in judged])
    left_open = [j for j in judged if j.verdict is Verdict.INDETERMINATE]
    unscored = sum(j.scored_slices == 0 for j in left_open)
    return {
        "undefined_slices": Measured(share_of_count(int((lung & ~scored).sum()), int(lung.sum())))
        if lung.any()
        else Measured.missing("no slice with lung in this collection"),
        "indeterminate_series": Measured(
            share_of_count(len(left_open), len(judged)),
            about={"undecided": len(left_open) - unscored, "unscored": unscored},
        ),
    }
