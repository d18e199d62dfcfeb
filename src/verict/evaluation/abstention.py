"""How often no decision is given: slices with lung that got no score, series that stay indeterminate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from verict.datasets.scans import Source
from verict.detect.evidence import Evidence
from verict.detect.result import Verdict
from verict.detect.verdict import Assessment, assess
from verict.evaluation.case import Case
from verict.evaluation.result import Measured, Tree
from verict.statistics import share_of_count


def measure_abstention(cases: Sequence[Case]) -> Tree:
    """Shares of slices and of series without a decision, for each collection.

    Returns
    -------
    dict
        ``labelled`` and ``authentic``, each with ``slices``: share of slices with lung whose map is undefined
        everywhere; and ``series``: share of series that the rule of `verict.detect.verdict` leaves
        indeterminate, with how many for want of any score (``unscored``) and how many for a mark on single
        slices too weak to decide (``undecided``).
    """
    return {str(source): _measure_source([c for c in cases if c.subject.source is source]) for source in Source}


def assess_case(case: Case) -> Assessment:
    """The rule of `verict.detect.verdict` on a case's map and the thresholds that judge it."""
    evidence = Evidence(
        "evaluated",
        score_map=case.score_map,
        card={"calibration": case.calibration},
        mark_threshold=case.calibration["mark_threshold"],
    )
    return assess(case.subject.geometry, (evidence,), ("",) * case.subject.geometry.slice_count)


def _measure_source(cases: Sequence[Case]) -> Tree:
    if not cases:
        return {name: Measured.missing("no series of this collection") for name in ("slices", "series")}
    with_lung = undefined = 0
    undecided = unscored = 0
    for case in cases:
        lung = case.subject.lung_slices
        with_lung += int(lung.sum())
        undefined += int((lung & ~np.isfinite(case.score_map.values).any(axis=(1, 2))).sum())
        outcome = assess_case(case)
        if outcome.verdict is Verdict.INDETERMINATE:
            unscored += outcome.score is None
            undecided += outcome.score is not None
    return {
        "slices": Measured(share_of_count(undefined, with_lung))
        if with_lung
        else Measured.missing("no slice with lung in this collection"),
        "series": Measured(
            share_of_count(undecided + unscored, len(cases)), about={"undecided": undecided, "unscored": unscored}
        ),
    }
