"""What a verdict on a series is worth where forgeries are rare."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from verict.datasets.scans import Source
from verict.evaluation.alarms import NO_AUTHENTIC, NONE_SCORED, Judged
from verict.evaluation.result import PREVALENCES, Measured, Tree
from verict.statistics import LEVEL, Figure, share_of_count

_EACH = 1 - (1 - LEVEL) / 2  # level of each of two intervals so that both hold at 95 % (Bonferroni)


def predictive_figures(judged: Sequence[Judged]) -> Tree:
    """``predictive_value``: at each prevalence how often a suspicious series is tampered, an unsuspicious one not.

    By Bayes' rule from the share of tampered series called suspicious and the share of patients with an authentic
    series called so, among those of whom any could be scored: series of one patient are not independent, and what was
    not scored proves nothing. Intervals combine the worst ends of both. Without any false alarm the positive value is
    bounded below only.
    """
    tampered = [j for j in judged if j.case.subject.source is Source.LABELLED and _is_tampered(j)]
    authentic = [j for j in judged if j.case.subject.source is Source.AUTHENTIC and j.is_scored]
    given = any(j.case.subject.source is Source.AUTHENTIC for j in judged)
    reason = "" if authentic else NONE_SCORED if given else NO_AUTHENTIC
    reason = reason if tampered else "no tampered series"
    if reason:
        return {p: {"ppv": Measured.missing(reason), "npv": Measured.missing(reason)} for p in PREVALENCES}
    found = share_of_count(sum(j.is_suspicious for j in tampered), len(tampered), level=_EACH)
    patients = {j.patient for j in authentic}
    alarmed = {j.patient for j in authentic if j.is_suspicious}
    alarm = share_of_count(len(alarmed), len(patients), level=_EACH)
    return {text: _values(float(Fraction(text)), found, alarm) for text in PREVALENCES}


def _is_tampered(judged: Judged) -> bool:
    return any(label.kind.is_tampered for labels in judged.case.subject.labels.values() for label in labels)


def _values(prevalence: float, found: Figure, alarm: Figure) -> Tree:
    about: dict[str, float | int | str | None] = {
        "sensitivity": found.value,
        "tampered_series": found.n,
        "false_alarm_rate": alarm.value,
        "false_alarm_rate_high": alarm.high,
        "authentic_patients": alarm.n,
    }
    bounds = (found.low, found.high, alarm.low, alarm.high)
    low, high, least, most = (0.0 if bound is None else bound for bound in bounds)
    ppv = _positive(prevalence, found.value, alarm.value) if alarm.value else None
    ppv_low = _positive(prevalence, low, most) or 0.0
    reason = ""
    if not alarm.value:
        reason = (
            f"no false alarm among {alarm.n} authentic patients: their rate is known only to be below {most:.2g}, "
            f"so all that can be said is at least {ppv_low:.2g}"
        )
    return {
        "ppv": Measured(
            Figure(ppv, ppv_low, _positive(prevalence, high, least), found.n),
            alarm.n,
            about,
            reason,
        ),
        "npv": Measured(
            Figure(
                _negative(prevalence, found.value, alarm.value),
                _negative(prevalence, low, most),
                _negative(prevalence, high, least),
                found.n,
            ),
            alarm.n,
            about,
        ),
    }


def _positive(prevalence: float, sensitivity: float | None, alarm_rate: float | None) -> float | None:
    """P(tampered | suspicious); None where nothing would be called suspicious."""
    if sensitivity is None or alarm_rate is None:
        return None
    called = prevalence * sensitivity + (1 - prevalence) * alarm_rate
    return prevalence * sensitivity / called if called else None


def _negative(prevalence: float, sensitivity: float | None, alarm_rate: float | None) -> float | None:
    """P(authentic | not suspicious)."""
    if sensitivity is None or alarm_rate is None:
        return None
    passed = prevalence * (1 - sensitivity) + (1 - prevalence) * (1 - alarm_rate)
    return (1 - prevalence) * (1 - alarm_rate) / passed if passed else None
