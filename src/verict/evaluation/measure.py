"""Everything together: cases a detector has scored, to the tree of figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from verict.datasets.scans import Source
from verict.datasets.uci import SiteType
from verict.errors import UsageError
from verict.evaluation.abstention import measure_abstention
from verict.evaluation.alarms import alarm_figures, judge_case, marks_at_sensitivity
from verict.evaluation.case import Case
from verict.evaluation.figures import location_figures
from verict.evaluation.froc import froc_figures
from verict.evaluation.matching import (
    CENTRE_TOLERANCE_HU,
    DIAMETER_RATIO,
    LARGEST_SET,
    RING_TOLERANCE_HU,
    SMALLEST_SET,
    Matching,
    match_places,
)
from verict.evaluation.places import PlaceTable, tabulate_places
from verict.evaluation.predictive import predictive_figures
from verict.evaluation.result import Evaluation, Tree
from verict.evaluation.strata import stratify
from verict.evaluation.weighing import weight_figures


def measure(cases: Sequence[Case], detector: str, *, seed: int = 0) -> Evaluation:
    """Measure a detector on cases it has scored.

    Every figure is there, with its n and interval or with the reason it is missing; nothing is drawn but the
    bootstraps, which the seed fixes.

    Parameters
    ----------
    cases
        Labelled and authentic ones, in any order.
    detector
        Its name.
    seed
        Of the bootstraps.

    Returns
    -------
    Evaluation
        ``figures``, ``strata`` and ``data``; probes and conclusions are empty.

    Raises
    ------
    UsageError
        If there is no case.
    """
    if not cases:
        raise UsageError("nothing to evaluate", found="no scans", expected="labelled scans")
    table = tabulate_places(cases)
    matching = match_places(table)
    judged = [judge_case(case, detector) for case in cases]
    figures: Tree = {
        **location_figures(table, matching, seed=seed),
        **froc_figures(cases),
        "authentic": {
            **alarm_figures(judged, seed=seed),
            "false_marks_per_slice_at_90": marks_at_sensitivity(judged, table, seed=seed),
        },
        "predictive_value": predictive_figures(judged),
        "abstention": measure_abstention(judged),
        "evidence": weight_figures(cases),
    }
    strata = stratify(judged, table, seed=seed)
    return Evaluation(detector, figures, strata, _describe_data(cases, table, matching))


def _describe_data(cases: Sequence[Case], table: PlaceTable, matching: Matching) -> dict[str, Any]:
    """Counts of both collections, how the model had seen them, and how injected nodules were matched."""
    thresholds = {case.calibration["mark_threshold"] for case in cases}
    return {
        **{str(source): _count_cases(cases, table, source) for source in Source},
        "mark_thresholds": sorted(thresholds),
        "ranked_by": "score",
        "matching": {
            "largest_diameter_ratio": DIAMETER_RATIO,
            "ring_tolerance_hu": RING_TOLERANCE_HU,
            "centre_tolerance_hu": CENTRE_TOLERANCE_HU,
            "smallest_set": SMALLEST_SET,
            "largest_set": LARGEST_SET,
            "within_tolerance": matching.within_caliper.tolist(),
            "reason": matching.reason,
            **(matching.balance() if matching.matched.any() else {}),
        },
    }


def _count_cases(cases: Sequence[Case], table: PlaceTable, source: Source) -> dict[str, Any]:
    own = [case for case in cases if case.subject.source is source]
    places = table[table.is_labelled == (source is Source.LABELLED)]
    labels = Counter(str(n.kind) for case in own for of_slice in case.subject.labels.values() for n in of_slice)
    kinds, counts = np.unique(places.kind, return_counts=True)
    return {
        "series": len(own),
        "patients": len({case.subject.patient for case in own}),
        "slices": sum(case.subject.geometry.slice_count for case in own),
        "slices_with_lung": sum(int(case.subject.lung_slices.sum()) for case in own),
        "labelled_slices": sum(1 for case in own for of_slice in case.subject.labels.values() if of_slice),
        "labels": {str(kind): labels[str(kind)] for kind in SiteType if labels[str(kind)]},
        "places": dict(zip(kinds.tolist(), counts.tolist(), strict=True)),
        "seen": dict(Counter(str(case.seen) for case in own)),
    }
