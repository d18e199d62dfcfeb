"""What cross-fitted maps are worth: the location protocol on the real fakes, false marks on authentic scans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verict.detect.evidence import Evidence, ScoreMap
from verict.detect.result import Verdict
from verict.detect.spectrum_features import ORIGIN_PX, STRIDE_PX
from verict.detect.verdict import assess
from verict.statistics import Figure, area_over_patients, rate_per_unit, share_of_count
from verict.training.samples import AUTHENTIC, REAL_FAKES, Sample, Scan
from verict.training.thresholds import assemble_maps, count_marks

Row = dict[str, object]
REACH_MM = 10.0  # a place's score is the maximum of the map within this distance, for painted and untouched alike


@dataclass(frozen=True, eq=False)
class Judged:
    """Cross-fitted outcome.

    ``fold`` (samples,) of each sample, ``maps`` its (rows, columns) score map by sample index, ``thresholds``
    one set a fold, fitted without that fold's patients and scanners.
    """

    fold: np.ndarray
    maps: dict[int, np.ndarray]
    thresholds: list[dict[str, float]]


@dataclass(frozen=True, eq=False)
class Places:
    """Every place of the real fakes' slices in columns: kind, score, content-only score, patient, fold."""

    kind: np.ndarray
    score: np.ndarray
    centre_hu: np.ndarray
    patient: np.ndarray
    threshold: np.ndarray


def score_at(values: np.ndarray, spacing_mm: tuple[float, float], y: float, x: float) -> float:
    """Maximum of a (rows, columns) map within `REACH_MM` of pixel (y, x); -inf where it is undefined there."""
    rows = (ORIGIN_PX + np.arange(values.shape[0]) * STRIDE_PX - y) * spacing_mm[0]
    columns = (ORIGIN_PX + np.arange(values.shape[1]) * STRIDE_PX - x) * spacing_mm[1]
    near = values[np.hypot(rows[:, None], columns[None]) <= REACH_MM]
    near = near[np.isfinite(near)]
    return float(near.max()) if near.size else -np.inf


def collect_places(samples: list[Sample], judged: Judged) -> Places:
    """The location protocol's places on the real fakes, scored out of fold."""
    rows = [
        (p.kind, score_at(judged.maps[i], s.spacing_mm, p.y, p.x), p.centre_hu, s.patient, judged.fold[i])
        for i, s in enumerate(samples)
        if s.source == REAL_FAKES
        for p in s.places
    ]
    kind, score, centre_hu, patient, fold = (np.array(column) for column in zip(*rows, strict=True))
    own = np.array([t["mark_threshold"] for t in judged.thresholds])[fold]
    return Places(kind, score, centre_hu, patient, own)


def measure(
    scans: list[Scan], samples: list[Sample], judged: Judged, shipped: dict[str, float]
) -> list[Row]:
    """All figures of the card: ``name``, ``text``, ``value``, ``interval``, ``n``."""
    return [
        *_location_figures(collect_places(samples, judged), shipped["mark_threshold"]),
        *_simulated_figures(samples, judged, shipped["mark_threshold"]),
        *_authentic_figures(scans, samples, judged),
    ]


def _location_figures(places: Places, shipped: float) -> list[Row]:
    rows: list[Row] = []
    for kind, against, sign in (("FB", "parenchyma", -1.0), ("FM", "bright", 1.0)):
        chosen = np.isin(places.kind, [kind, against])
        positive, patient = places.kind[chosen] == kind, places.patient[chosen]
        score = np.nan_to_num(places.score[chosen], neginf=-1e9)
        content = sign * places.centre_hu[chosen]
        hit, own = score >= shipped, (score >= places.threshold[chosen])[positive]
        false = hit[~positive]
        tag = kind.lower()
        rows += [
            _row(f"auc_{tag}", f"{kind} against {against}: AUC", area_over_patients(score, positive, patient)),
            _row(
                f"auc_{tag}_content_only",
                f"{kind} against {against}: AUC of blurred centre HU alone",
                area_over_patients(content, positive, patient),
            ),
            _row(f"found_{tag}", f"{kind} found at the shipped threshold", _share(hit[positive])),
            _row(f"found_{tag}_own", f"{kind} found at a threshold that never saw their fold", _share(own)),
            _row(f"false_{tag}", f"untouched {against} sites marked at the shipped threshold", _share(false)),
            _row(
                f"found_{tag}_content_only",
                f"{kind} found by blurred centre HU alone at the same false-alarm rate",
                _at_same_rate(content, positive, int(false.sum())),
            ),
        ]
    return rows


def _at_same_rate(content: np.ndarray, positive: np.ndarray, false_marks: int) -> Figure:
    """Share of positives above the content score that as many negatives exceed."""
    ordered = np.sort(content[~positive])[::-1]
    limit = ordered[min(false_marks, len(ordered) - 1)]
    return _share(content[positive] > limit)


def _share(hits: np.ndarray) -> Figure:
    return share_of_count(int(np.sum(hits)), len(hits))


def _simulated_figures(samples: list[Sample], judged: Judged, shipped: float) -> list[Row]:
    hits: dict[tuple[str, str], list[bool]] = {}
    for i, s in enumerate(samples):
        if s.source == "simulated":
            place = s.places[0]
            found = score_at(judged.maps[i], s.spacing_mm, place.y, place.x) >= shipped
            hits.setdefault((s.kind, s.touch_up), []).append(found)
    text = "simulated forgeries out of fold, {} with touch-up {}: found at the shipped threshold"
    return [
        _row(f"simulated_{kind}_{touch_up}", text.format(kind, touch_up), _share(np.array(found)))
        for (kind, touch_up), found in sorted(hits.items())
    ]


def _authentic_figures(scans: list[Scan], samples: list[Sample], judged: Judged) -> list[Row]:
    """False marks a slice and verdicts of series; each scored by a model and thresholds that never saw them."""
    fold_of = {(s.folder, s.patient): int(judged.fold[i]) for i, s in enumerate(samples) if s.source == AUTHENTIC}
    marks: dict[str, list[tuple[int, str]]] = {}
    suspicious: dict[str, list[bool]] = {}
    for whole in assemble_maps(scans, samples, judged.maps):
        thresholds = judged.thresholds[fold_of[whole.folder, whole.patient]]
        evidence = Evidence(
            "spectrum",
            score_map=ScoreMap(whole.values, STRIDE_PX, ORIGIN_PX),
            card={"calibration": thresholds},
            mark_threshold=thresholds["mark_threshold"],
        )
        verdict = assess(whole.volume, (evidence,), ("",) * whole.volume.slice_count).verdict
        suspicious.setdefault(whole.folder, []).append(verdict is Verdict.SUSPICIOUS)
        counted = [count_marks(s, thresholds["mark_threshold"]) for s in whole.values if np.isfinite(s).any()]
        marks.setdefault(whole.folder, []).extend((c, whole.patient) for c in counted)
    volumes = {folder for folder, verdicts in suspicious.items() if len(verdicts) == 1}
    in_volumes = [v for f, verdicts in suspicious.items() for v in verdicts if f in volumes]
    singles = [v for f, verdicts in suspicious.items() for v in verdicts if f not in volumes]
    unseen = "model and thresholds of other patients and scanners"
    everything = [m for counted in marks.values() for m in counted]
    return [
        _row("false_marks_per_slice", f"false marks a slice on authentic scans, {unseen}", _rate(everything)),
        _row("suspicious_series", f"authentic series called suspicious, {unseen}", _share(np.array(in_volumes))),
        _row("suspicious_single_slices", f"authentic lone slices called suspicious, {unseen}", _share(np.array(singles))),
        *(
            _row(f"false_marks_per_slice_{folder}", f"false marks a slice, {folder}", _rate(_in_blocks(counted)))
            for folder, counted in sorted(marks.items())
        ),
    ]


def _rate(counted: list[tuple[int, str]]) -> Figure:
    return rate_per_unit(np.array([count for count, _ in counted]), [patient for _, patient in counted])


def _in_blocks(counted: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """One patient's slices in blocks of ten, so that an interval over blocks can be drawn from a single series."""
    return [(count, f"{patient}/{index // 10}") for index, (count, patient) in enumerate(counted)]


def _row(name: str, text: str, figure: Figure) -> Row:
    return {"name": name, "text": text, **figure.as_dict()}
