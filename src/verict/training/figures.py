"""What cross-fitted maps are worth: the location protocol on the real fakes, false marks on authentic scans."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from verict.datasets.scans import Scan
from verict.detect.evidence import Evidence, ScoreMap
from verict.detect.result import Verdict
from verict.detect.spectrum_features import ORIGIN_PX, STRIDE_PX
from verict.detect.verdict import Assessment, assess
from verict.evaluation.thresholds import AuthenticMap, count_marks
from verict.statistics import Figure, area_over_patients, rate_per_unit, share_of_count
from verict.training.network import Network
from verict.training.samples import AUTHENTIC, FORGED, REAL_FAKES, Sample
from verict.training.thresholds import assemble_maps

Row = dict[str, object]
REACH_MM = 10.0  # a place's score is the maximum of the map within this distance, for painted and untouched alike
LONE_SLICES = 2  # series of up to so many slices are judged slice by slice
UNSEEN = "model and thresholds of other patients and scanner models"
KIND_TEXT = {"FB": "real cancer removed by CT-GAN (FB)", "FM": "fake cancer injected by CT-GAN (FM)"}


@dataclass(frozen=True, eq=False)
class Judged:
    """Cross-fitted outcome.

    ``fold`` (samples,) of each sample, ``maps`` its (rows, columns) score map by sample index, ``thresholds``
    one set a fold, fitted without that fold's patients and scanners, ``networks`` one a fold, likewise.
    """

    fold: np.ndarray
    maps: dict[int, np.ndarray]
    thresholds: list[dict[str, float]]
    networks: tuple[Network, ...] = ()


@dataclass(frozen=True, eq=False)
class Places:
    """Every place of the real fakes' slices in columns.

    Kind, score, content-only score, patient, and the mark and decisive thresholds of its fold.
    """

    kind: np.ndarray
    score: np.ndarray
    centre_hu: np.ndarray
    patient: np.ndarray
    threshold: np.ndarray
    decisive: np.ndarray


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
    own = {key: np.array([t[key] for t in judged.thresholds])[fold] for key in ("mark_threshold", "decisive_threshold")}
    return Places(kind, score, centre_hu, patient, own["mark_threshold"], own["decisive_threshold"])


def measure(scans: list[Scan], samples: list[Sample], judged: Judged, shipped: dict[str, float]) -> list[Row]:
    """All figures of the card that need no further scoring: ``name``, ``text``, ``value``, ``interval``, ``n``."""
    return [
        *location_figures(collect_places(samples, judged), shipped["mark_threshold"]),
        *_simulated_figures(samples, judged, shipped["mark_threshold"]),
        *_authentic_figures(scans, samples, judged),
    ]


def location_figures(places: Places, shipped: float) -> list[Row]:
    """The location protocol: painted places against untouched ones of their kind, with brightness alone beside."""
    rows: list[Row] = []
    for kind, against in (("FB", "parenchyma"), ("FM", "bright")):
        chosen = np.isin(places.kind, [kind, against])
        positive, patient = places.kind[chosen] == kind, places.patient[chosen]
        score = np.nan_to_num(places.score[chosen], neginf=-1e9)
        content = places.centre_hu[chosen]
        marked, own = score >= shipped, score >= places.threshold[chosen]
        decisive = score >= places.decisive[chosen]
        false = marked[~positive]
        tag, what = kind.lower(), KIND_TEXT[kind]
        where = f"{len(false)} untouched {against} sites of {len(set(patient))} scans"
        scans = f"in {len(set(patient[positive]))} scans"
        brightness = "blurred centre HU alone"
        rows += [
            row(f"auc_{tag}", f"{what} against {where}: AUC", area_over_patients(score, positive, patient)),
            row(
                f"auc_{tag}_content_only",
                f"the same by {brightness}: AUC",
                area_over_patients(content, positive, patient),
            ),
            row(f"found_{tag}", f"{what}, {scans}: marked at the shipped threshold", share(marked[positive])),
            row(f"found_{tag}_own", "the same at a threshold that never saw their fold", share(own[positive])),
            row(f"decisive_{tag}", "the same, score high enough for `suspicious`", share(decisive[positive])),
            row(f"false_{tag}", f"untouched {against} sites marked", rate_per_unit(false, patient[~positive])),
            row(
                f"found_{tag}_content_only",
                f"{what}: found by {brightness} at the same false-alarm rate",
                _at_same_rate(content, positive, int(false.sum())),
            ),
        ]
    return rows


def _at_same_rate(content: np.ndarray, positive: np.ndarray, false_marks: int) -> Figure:
    """Share of positives above the content score that as many negatives exceed."""
    ordered = np.sort(content[~positive])[::-1]
    limit = ordered[min(false_marks, len(ordered) - 1)]
    return share(content[positive] > limit)


def share(hits: np.ndarray) -> Figure:
    """Share of (n,) bool with its exact interval."""
    return share_of_count(int(np.sum(hits)), len(hits))


def _simulated_figures(samples: list[Sample], judged: Judged, shipped: float) -> list[Row]:
    hits: dict[tuple[str, str], list[tuple[bool, str]]] = {}
    for i, s in enumerate(samples):
        if s.source == FORGED:
            place = s.places[0]
            found = score_at(judged.maps[i], s.spacing_mm, place.y, place.x) >= shipped
            hits.setdefault((s.kind, s.touch_up), []).append((found, s.patient))
    text = "simulated on one slice of an unseen patient, same simulator as in training, {} with touch-up {}: marked"
    return [
        row(f"simulated_{kind}_{touch_up}", text.format(kind, touch_up), _rate(found))
        for (kind, touch_up), found in sorted(hits.items())
    ]


def assess_map(whole: AuthenticMap, thresholds: dict[str, float]) -> Assessment:
    """The rule of `verict.detect.verdict` for one series' map and one set of thresholds."""
    evidence = Evidence(
        "spectrum",
        score_map=ScoreMap(whole.values, STRIDE_PX, ORIGIN_PX),
        card={"calibration": thresholds},
        mark_threshold=thresholds["mark_threshold"],
    )
    return assess(whole.volume, (evidence,), ("",) * whole.volume.slice_count)


def _authentic_figures(scans: list[Scan], samples: list[Sample], judged: Judged) -> list[Row]:
    """False marks a slice and verdicts of series; each scored by a model and thresholds that never saw them."""
    fold_of = {(s.folder, s.patient): int(judged.fold[i]) for i, s in enumerate(samples) if s.source == AUTHENTIC}
    marks: dict[str, list[tuple[float, str]]] = {}
    verdicts: dict[bool, list[Verdict]] = {True: [], False: []}
    patients: dict[bool, set[str]] = {True: set(), False: set()}
    regions = []
    for whole in assemble_maps(scans, samples, judged.maps):
        thresholds = judged.thresholds[fold_of[whole.folder, whole.patient]]
        assessment, is_long = assess_map(whole, thresholds), whole.volume.slice_count > LONE_SLICES
        verdicts[is_long].append(assessment.verdict)
        patients[is_long].add(whole.patient)
        if is_long:
            regions.append((len(assessment.regions), whole.patient))
        counted = [count_marks(s, thresholds["mark_threshold"]) for s in whole.values if np.isfinite(s).any()]
        marks.setdefault(whole.folder, []).extend((c, whole.patient) for c in counted)
    everything = [m for counted in marks.values() for m in counted]
    by_folder = float(np.mean([np.mean([c for c, _ in counted]) for counted in marks.values()]))
    long_text = f"authentic series (of {len(patients[True])} patients: the interval, which takes them as independent, "
    long_text += f"is too narrow) called {{}}, {UNSEEN}"
    lone_text = f"authentic series of one or two slices (of {len(patients[False])} patients) called {{}}, {UNSEEN}"
    return [
        row("false_marks_per_slice", f"false marks a slice with lung, each by itself, {UNSEEN}", _rate(everything)),
        row("false_marks_by_folder", "the same, mean over folders", Figure(by_folder, None, None, len(marks))),
        row("false_regions_per_series", f"marked regions an authentic series, {UNSEEN}", _rate(regions)),
        *(
            row(f"{verdict}_{name}", text.format(verdict), share(np.array([v is verdict for v in verdicts[is_long]])))
            for is_long, name, text in ((True, "series", long_text), (False, "lone_slices", lone_text))
            for verdict in (Verdict.SUSPICIOUS, Verdict.INDETERMINATE)
        ),
        *(
            row(f"false_marks_per_slice_{folder}", f"false marks a slice, {folder}", _rate_of_folder(counted))
            for folder, counted in sorted(marks.items())
        ),
    ]


def _rate(counted: Iterable[tuple[float, str]]) -> Figure:
    counted = list(counted)
    return rate_per_unit(np.array([count for count, _ in counted]), [patient for _, patient in counted])


def _rate_of_folder(counted: list[tuple[float, str]]) -> Figure:
    """No interval for one patient: its slices say nothing of other patients."""
    if len({patient for _, patient in counted}) > 1:
        return _rate(counted)
    return Figure(float(np.mean([count for count, _ in counted])), None, None, len(counted))


def row(name: str, text: str, figure: Figure) -> Row:
    """One figure of a card."""
    return {"name": name, "text": text, **figure.as_dict()}
