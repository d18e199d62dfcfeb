"""What a detector says of scans that nobody touched: false marks and false verdicts, at the thresholds of the card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from verict.datasets.scans import Source
from verict.detect.evidence import Evidence
from verict.detect.result import Verdict
from verict.detect.verdict import MIN_RUN_SLICES, assess, averaged_slices
from verict.evaluation.case import Case, PlaceKind
from verict.evaluation.marks import count_slice_marks
from verict.evaluation.places import PlaceTable
from verict.evaluation.result import Measured, Tree
from verict.statistics import Figure, effective_patients, rate_per_unit, share_of_count

NO_AUTHENTIC = "no authentic scans were given"
NONE_SCORED = "no authentic series could be scored"
NO_LUNG = "no lung in any slice"


@dataclass(frozen=True, eq=False)
class Judged:
    """One series at the thresholds of its case.

    ``slices`` counts those with lung, or with a mark all the same. ``slice_marks`` has one entry for each of these that
    got a score: where nothing was said there is no mark, and no merit in that. ``is_deep``: some of its slices are
    joined along z, so that it is judged as a volume and not slice by slice.
    """

    case: Case
    slices: int
    slice_marks: np.ndarray
    scored_slices: int
    regions: int
    verdict: Verdict
    is_deep: bool

    @property
    def patient(self) -> str:
        """Whose series it is."""
        return self.case.subject.patient

    @property
    def is_scored(self) -> bool:
        """Whether the detector said anything of any slice."""
        return self.scored_slices > 0

    @property
    def is_suspicious(self) -> bool:
        """Whether the verdict is `Verdict.SUSPICIOUS`."""
        return self.verdict is Verdict.SUSPICIOUS


def judge_case(case: Case, detector: str) -> Judged:
    """Marks, regions and verdict of one series, by the rule of `verict.detect.verdict` and its own calibration."""
    volume, counted = case.subject.geometry, count_slice_marks(case)
    evidence = Evidence(
        detector,
        score_map=case.score_map,
        card={"calibration": case.calibration},
        mark_threshold=case.calibration["mark_threshold"],
    )
    assessment = assess(volume, (evidence,), ("",) * volume.slice_count)
    is_scored = (~np.isnan(case.score_map.values)).any(axis=(1, 2))
    counts = case.subject.lung_slices | (counted > 0)
    return Judged(
        case,
        int(counts.sum()),
        counted[counts & is_scored],
        int(is_scored.sum()),
        len(assessment.regions),
        assessment.verdict,
        any(averaged_slices(volume, run) >= MIN_RUN_SLICES for run in volume.runs),
    )


def alarm_figures(judged: Sequence[Judged], *, seed: int) -> Tree:
    """``authentic``: counts of slices and series, false marks a slice and a scan, series called suspicious or marked.

    ``suspicious_series`` and ``marked_series`` are counts; their interval is what the same detector would call among
    as many other series, by Clopper and Pearson, which takes series as independent. Slices and series that could not be
    scored raise no alarm and prove nothing: all but ``slices`` and ``series`` themselves leave them out.
    """
    own = [j for j in judged if j.case.subject.source is Source.AUTHENTIC]
    keys = ("slices", "false_marks_per_slice", "series", "suspicious_series", "false_marks_per_scan", "marked_series")
    if not own:
        return {key: Measured.missing(NO_AUTHENTIC) for key in keys}
    patients = [j.patient for j in own]
    scored = [j for j in own if j.is_scored]
    marks = np.concatenate([j.slice_marks for j in own])
    owners = [j.patient for j in own for _ in j.slice_marks]
    deep = sum(j.is_deep for j in own)
    whose, slices = len(set(patients)), sum(j.slices for j in own)
    return {
        "slices": _count(slices, scored=sum(j.scored_slices for j in own), patients=whose),
        "false_marks_per_slice": _rate(
            marks, owners, seed, NONE_SCORED if slices else NO_LUNG, left_out_unscored=slices - len(marks)
        ),
        "series": _count(len(own), scored=len(scored), patients=whose, judged_as_volumes=deep),
        "suspicious_series": _count_of(scored, np.array([j.is_suspicious for j in scored])),
        "false_marks_per_scan": _rate(
            np.array([j.regions for j in scored]), [j.patient for j in scored], seed, NONE_SCORED
        ),
        "marked_series": _count_of(scored, np.array([j.regions > 0 for j in scored])),
    }


def marks_at_sensitivity(
    judged: Sequence[Judged], table: PlaceTable, sensitivity: float = 0.9, *, seed: int
) -> Measured:
    """False marks a slice of authentic volumes at the one threshold that finds so many of the painted places.

    Volumes are series of which slices lie side by side; each of their slices with lung is counted by itself. The
    threshold is read off the same painted places, so it is not one that could have been fixed beforehand.
    """
    painted = np.sort(table.of(PlaceKind.FB, PlaceKind.FM).score)[::-1]
    own = [j for j in judged if j.case.subject.source is Source.AUTHENTIC and j.is_deep]
    if not own or not len(painted):
        return Measured.missing("no authentic volume was given" if len(painted) else "no painted place")
    needed = int(np.ceil(sensitivity * len(painted) - 1e-9))
    threshold = float(painted[needed - 1])
    if np.isneginf(threshold):
        return Measured.missing("no threshold finds so many: places without a score are among them")
    marks, owners = [], []
    for j in own:
        counted = count_slice_marks(j.case, threshold)
        is_scored = (~np.isnan(j.case.score_map.values)).any(axis=(1, 2))
        of_series = counted[is_scored & (j.case.subject.lung_slices | (counted > 0))]
        marks.append(of_series)
        owners += [j.patient] * len(of_series)
    measured = _rate(np.concatenate(marks), owners, seed, NONE_SCORED)
    found = {"above_score": threshold, "found": int((painted >= threshold).sum()), "painted": len(painted)}
    return Measured(measured.figure, about={**measured.about, **found, "volumes": len(own)}, reason=measured.reason)


def _count(value: int, **about: int) -> Measured:
    return Measured(Figure(float(value), None, None, value), about=about)


def _rate(counts: np.ndarray, patients: Sequence[str], seed: int, reason: str, **about: int) -> Measured:
    """Marks a slice or scan; few patients with most of the slices make its interval too narrow, so that is told."""
    if not len(counts):
        return Measured.missing(reason)
    told = {"marks": int(counts.sum()), "patients": len(set(patients)), **about}
    return Measured(
        rate_per_unit(counts, patients, seed=seed),
        about={**told, "effective_patients": effective_patients(patients)},
    )


def _count_of(own: Sequence[Judged], called: np.ndarray) -> Measured:
    if not own:
        return Measured.missing(NONE_SCORED)
    share, patients = share_of_count(int(called.sum()), len(own)), np.array([j.patient for j in own])
    deep = np.array([j.is_deep for j in own])
    with_any = share_of_count(len(set(patients[called])), len(set(patients)))
    about: dict[str, float | int | str | None] = {
        "share": share.value,
        "share_low": share.low,
        "share_high": share.high,
        "patients": len(set(patients)),
        "patients_called": len(set(patients[called])),
        "share_of_patients_high": with_any.high,
        "judged_as_volumes": int(deep.sum()),
        "judged_as_volumes_called": int((deep & called).sum()),
    }
    low, high = (None if bound is None else bound * len(own) for bound in (share.low, share.high))
    return Measured(Figure(float(called.sum()), low, high, len(own)), about=about)
