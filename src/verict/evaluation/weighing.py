"""What a detector's scores on these cases would weigh as evidence: see `verict.evaluation.evidence_fit` for how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from verict.datasets.scans import Source
from verict.detect.at_place import score_at
from verict.evaluation.case import PAINTED, Case
from verict.evaluation.evidence_fit import LEVELS, Forged, Untouched, fit_evidence, untouched_scores
from verict.evaluation.result import Measured, Tree
from verict.statistics import Figure

RATIO_KEYS = {"log_lr_cost": "cllr", "lowest_ratio": "low", "highest_ratio": "high"}
NO_P_VALUES = "no untouched slices of two patients and scanner models to compare"


def weight_figures(cases: Sequence[Case]) -> Tree:
    """``evidence``: how far ratios of single slices go and what they are worth, and whether p-values are uniform.

    Returns
    -------
    dict
        ``log_lr_cost``, ``lowest_ratio`` and ``highest_ratio``, n counting the forged places; ``p_at_most`` with
        the share of untouched slices at or below each level, against slices of other patients and scanner models;
        ``p_distance``, the distance of their distribution over patients from a uniform one.
    """
    untouched = [row for c in cases if c.subject.source is Source.AUTHENTIC for row in _untouched(c)]
    forged = [row for c in cases for row in _forged(c)]
    block = fit_evidence(untouched, forged)
    fitted = block["likelihood_ratio"]["slice"]
    return {
        **{name: _ratio_figure(fitted, key, len(forged)) for name, key in RATIO_KEYS.items()},
        **_p_figures(block["uniformity"]),
    }


def _untouched(case: Case) -> list[Untouched]:
    subject = case.subject
    slices, _ = untouched_scores(subject.geometry, case.score_map.values, subject.patient, subject.scanner)
    return slices


def _forged(case: Case) -> list[Forged]:
    spacing_mm = case.subject.geometry.spacing_mm
    return [
        Forged(score_at(case.score_map, p.z, p.y, p.x, spacing_mm), case.subject.patient)
        for p in case.subject.places
        if p.kind in PAINTED
    ]


def _ratio_figure(fitted: dict[str, Any], key: str, places: int) -> Measured:
    if key not in fitted:
        return Measured.missing(str(fitted["reason"]), places)
    about = {"forged_patients": fitted["n_h1"], "untouched_patients": fitted["n_h2"]}
    return Measured(Figure(fitted[key], None, None, places), fitted["n_h2_slices"], about)


def _p_figures(uniformity: list[dict[str, Any]]) -> Tree:
    """Of the last row, which is of all scanner models together."""
    if not uniformity:
        missing = Measured.missing(NO_P_VALUES)
        return {"p_at_most": dict.fromkeys(map(str, LEVELS), missing), "p_distance": missing}
    row = uniformity[-1]
    shares: Tree = {}
    for level, share in row["below"].items():
        low, high = share["interval"]
        shares[level] = Measured(
            Figure(share["value"], low, high, share["n"]),
            about={"mean_over_patients": share["by_patient"], "patients": row["patients"]},
        )
    distance = Measured(
        Figure(row["ks"], None, None, row["patients"]), about={"limit_for_so_many_patients": row["ks_limit"]}
    )
    return {"p_at_most": shares, "p_distance": distance}
