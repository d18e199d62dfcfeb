"""What a score weighs: the likelihood ratio of a region, and the p-value of a series.

Both are read from the block ``evidence`` of a model card, which `verict.evaluation.evidence_fit.fit_evidence` makes
from scores of scans that the model in question had not seen. A card without the block gives none and says so.

Likelihood ratio: how many times as probable a region's score is if lung tissue was repainted there as it is for the
highest place of an untouched slice. It is bounded by what so few patients can support. It is not the probability
that the scan is forged, and the ratios of several regions of one scan must not be multiplied: they are not
independent.

p-value: the share of untouched patients, the one at hand counted among them, that score at least as high. Patients
are what is taken as exchangeable: all slices of one share his weight of 1. That is conformal prediction with groups
(Lee, Barber and Willett, arXiv 2306.06342), and with n patients it is never below 1 / (n + 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

# Verbal equivalents of the ENFSI guideline for evaluative reporting in forensic science (2015), by lower end.
# Its scale starts at 2; below that, "no support" either way.
VERBAL_SCALE = (
    (1e6, "extremely strong support"),
    (1e4, "very strong support"),
    (1e3, "strong support"),
    (1e2, "moderately strong support"),
    (1e1, "moderate support"),
    (2.0, "weak support"),
)
NO_SUPPORT = "no support"
NOT_ON_CARD = "the model card tells no distribution of scores to weigh this one against"


class Unit(StrEnum):
    """What a score is the highest of: a slice by itself, or neighbouring slices averaged along z."""

    SLICE = "slice"
    RUN = "run"


@dataclass(frozen=True)
class LikelihoodRatio:
    """How much more probable a score is under ``h1`` than under ``h2``, within [``low``, ``high``].

    ``low`` and ``high`` are the least and the most that the data behind it can support; ``h1_patients`` and
    ``h2_patients`` count them.
    """

    value: float
    low: float
    high: float
    h1: str
    h2: str
    h1_patients: int
    h2_patients: int

    @property
    def is_at_bound(self) -> bool:
        """Whether more data, not a higher or lower score, would be needed to say more."""
        return self.value >= self.high * (1 - 1e-9) or self.value <= self.low * (1 + 1e-9)

    @property
    def words(self) -> str:
        """The verbal equivalent, e.g. "moderate support for repainting"."""
        return say_support(self.value)


@dataclass(frozen=True)
class PValue:
    """Share of untouched ``patients`` that score at least as high, and the ``smallest`` so few could give.

    ``parts`` is how many slices without neighbours and sets of runs were looked at: the smallest p-value of
    them is multiplied by their number (Bonferroni).
    """

    value: float
    smallest: float
    patients: int
    parts: int


def say_support(ratio: float) -> str:
    """A likelihood ratio in the words of the ENFSI scale.

    >>> say_support(12.0), say_support(0.2), say_support(1.5)
    ('moderate support for repainting', 'weak support against repainting', 'no support either way')
    """
    strength = max(ratio, 1 / ratio) if ratio > 0 else float("inf")
    word = next((words for lowest, words in VERBAL_SCALE if strength >= lowest), NO_SUPPORT)
    side = "either way" if word == NO_SUPPORT else "for repainting" if ratio > 1 else "against repainting"
    return f"{word} {side}"


def weigh_score(card: Mapping[str, Any] | None, score: float, unit: Unit) -> tuple[LikelihoodRatio | None, str]:
    """The likelihood ratio of a region's score, or None and the reason why there is none.

    Parameters
    ----------
    card
        The model card.
    score
        The region's highest cell, in the detector's unit; higher = more suspicious.
    unit
        Whether the cell is one slice's or an average along z.
    """
    fitted = _block(card).get("likelihood_ratio", {}).get(str(unit))
    if not fitted:
        return None, NOT_ON_CARD
    if "scores" not in fitted:
        return None, str(fitted["reason"])
    log10_ratio = float(np.interp(score, fitted["scores"], fitted["log10_lr"]))
    return (
        LikelihoodRatio(
            value=float(np.clip(10**log10_ratio, fitted["low"], fitted["high"])),
            low=fitted["low"],
            high=fitted["high"],
            h1=fitted["h1"],
            h2=fitted["h2"],
            h1_patients=fitted["n_h1"],
            h2_patients=fitted["n_h2"],
        ),
        "",
    )


def p_value_of(null: Mapping[str, Any], score: float) -> float:
    """Conformal p-value of one score, in [1 / (patients + 1), 1].

    Parameters
    ----------
    null
        ``scores`` of untouched slices or series in any order, their ``weights`` (1 a patient), and ``patients``.
    score
        In the detector's unit; higher = more suspicious.

    >>> p_value_of({"scores": [0.0, 1.0, 2.0], "weights": [1.0, 0.5, 0.5], "patients": 2}, 1.5)
    0.5
    """
    weights = np.asarray(null["weights"], np.float64)
    as_high = float(weights[np.asarray(null["scores"]) >= score].sum())
    return min((as_high + 1) / (null["patients"] + 1), 1.0)


def weigh_series(
    card: Mapping[str, Any] | None, slice_scores: Sequence[float], run_score: float | None
) -> tuple[PValue | None, str]:
    """The p-value of a series, or None and the reason why there is none.

    Parameters
    ----------
    card
        The model card.
    slice_scores
        The highest cell of each slice that has no neighbours to average over.
    run_score
        The highest averaged cell of all runs together; None without any.
    """
    nulls = _block(card).get("null", {})
    units = [(Unit.SLICE, s) for s in slice_scores] + ([(Unit.RUN, run_score)] if run_score is not None else [])
    if not units:
        return None, "no slice held enough lung to be judged"
    if any(not nulls.get(unit, {}).get("patients") for unit, _ in units):
        return None, NOT_ON_CARD
    parts = len(units)
    patients = max(int(nulls[unit]["patients"]) for unit, _ in units)
    value = min(p_value_of(nulls[unit], score) for unit, score in units)
    return PValue(min(1.0, parts * value), min(1.0, parts / (patients + 1)), patients, parts), ""


def _block(card: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return (card or {}).get("evidence") or {}
