"""What cross-fitted scores of nodules are worth: thresholds by false candidates, sensitivity by size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from verict.detect.nodule.detector import APART_MM
from verict.statistics import Figure, area_over_patients, rate_per_unit, share_over_patients
from verict.training.nodule.examples import NODULE, OTHER, Examples
from verict.training.nodule.sources import AUTHENTIC, CAMPAIGN, CHESTS, FAKES

RATES = {"run_mark_threshold": 1.0, "run_decisive_threshold": 0.1}
"""False candidates a whole series at each threshold."""
LONE_RATES = {"lone_mark_threshold": 0.1, "lone_decisive_threshold": 0.02}
"""False candidates a lone slice."""
RESOLVED = 1.5  # times the slice distance a nodule must measure to be counted: thinner ones are smeared away
SIZES_MM = ((4.0, 6.0), (6.0, 10.0), (10.0, 40.0))
Row = dict[str, object]


def fit_thresholds(examples: Sequence[Examples], scores: Sequence[np.ndarray]) -> dict[str, float]:
    """The score at which false candidates of scans that hold none there are as rare as `RATES` and `LONE_RATES` say.

    Those of whole series are counted on simulated chests alone, of which all is known: real ones hold nodules that
    nobody listed.
    """
    runs = [false_candidates(e, s) for e, s in _untouched(examples, scores) if e.what == CHESTS and (e.view < 0).any()]
    lone = [false_candidates(e, s, view) for e, s in _untouched(examples, scores) for view in _views(e)]
    found = {name: _threshold_for(runs, rate) for name, rate in RATES.items()}
    return found | {name: _threshold_for(lone, rate) for name, rate in LONE_RATES.items()}


def _untouched(
    examples: Sequence[Examples], scores: Sequence[np.ndarray]
) -> Iterator[tuple[Examples, np.ndarray]]:
    return ((e, s) for e, s in zip(examples, scores, strict=True) if e.what in (AUTHENTIC, CHESTS, FAKES))


def _views(example: Examples) -> list[int]:
    return sorted(set(example.view[example.view >= 0].tolist()))


def false_candidates(example: Examples, scores: np.ndarray, view: int = -1) -> np.ndarray:
    """Scores of the blobs of one view that are no nodule, the highest of those that lie together, falling."""
    chosen = np.flatnonzero((example.view == view) & example.is_blob & (example.label == OTHER))
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
    kept: list[int] = []
    for i in chosen:
        if scores[i] < -4.0 and len(kept) >= 10:  # far below any threshold
            break
        gaps = np.linalg.norm(example.centres_mm[kept] - example.centres_mm[i], axis=1)
        if gaps.min(initial=np.inf) > APART_MM:
            kept.append(int(i))
    return scores[kept]


def _threshold_for(units: Sequence[np.ndarray], rate: float) -> float:
    """The lowest threshold at which at most ``rate`` candidates a unit lie above."""
    every = np.sort(np.concatenate([*units, np.array([-np.inf])]))[::-1]
    allowed = int(np.floor(rate * len(units)))
    just_below = np.float32(every[min(allowed, len(every) - 1)])  # scores are compared as float32
    return float(np.nextafter(just_below, np.float32(np.inf)).clip(-20.0, 20.0))


def measure(examples: Sequence[Examples], scores: Sequence[np.ndarray], seed: int) -> list[Row]:
    """The rows of the card, every scan scored by the network of its fold, at thresholds of all of them together."""
    calibration = fit_thresholds(examples, scores)
    rows: list[Row] = []
    for name, text, whats, lone in (
        ("chests", "nodules of simulated chests", (CHESTS,), False),
        ("chests_lone", "nodules of simulated chests, each slice alone", (CHESTS,), True),
        ("campaign", "nodules of a campaign, real and injected", (CAMPAIGN,), False),
        ("authentic", "nodules annotated in authentic series", (AUTHENTIC,), False),
        ("real_lone", "injected cancers of the published fakes and nodules annotated on slices, each slice alone",
         (FAKES, AUTHENTIC), True),
    ):
        threshold = calibration["lone_mark_threshold" if lone else "run_mark_threshold"]
        found = list(_found(examples, scores, whats, threshold, lone=lone))
        rows += _sensitivities(name, text, found, seed)
    for name, what, text in (("false_chests", CHESTS, "simulated chest"), ("false_authentic", AUTHENTIC, "authentic "
                                                                          "series, nodules nobody listed among them")):
        units = [(e.patient, len(_above(false_candidates(e, s), calibration["run_mark_threshold"])))
                 for e, s in _untouched(examples, scores) if e.what == what and (e.view < 0).any()]
        if units:
            figure = rate_per_unit(np.array([n for _, n in units]), [p for p, _ in units], seed=seed)
            rows.append(_row(name, f"false candidates a {text}", figure))
    rows.append(_row("auc_fm", "injected cancers of the published fakes against every blob of untouched slices: AUC",
                     _area(examples, scores, seed)))
    return rows


def _above(scores: np.ndarray, threshold: float) -> np.ndarray:
    return scores[scores >= threshold]


def _found(
    examples: Sequence[Examples], scores: Sequence[np.ndarray], whats: Sequence[str], threshold: float, *, lone: bool
) -> Iterator[tuple[str, float, bool]]:
    """Patient, diameter in mm and whether it was found, of each nodule that the slices resolve."""
    for e, s in zip(examples, scores, strict=True):
        if e.what not in whats:
            continue
        seen = (e.view >= 0) if lone else (e.view < 0)
        blobs = seen & (e.is_blob if e.what != CAMPAIGN else True)  # of a campaign's scans only places are described
        for index, diameter in enumerate(e.diameters_mm):
            own = (e.truth == index) & (e.label == NODULE)
            if diameter > 0 and (own & seen).any() and diameter >= (0 if lone else RESOLVED * e.spacing_mm[0]):
                yield e.patient, diameter, bool((s[own & blobs] >= threshold).any())


def _sensitivities(name: str, text: str, found: Sequence[tuple[str, float, bool]], seed: int) -> Iterator[Row]:
    bands = [("", 0.0, np.inf), *((f"_{low:g}_{high:g}", low, high) for low, high in SIZES_MM)]
    for suffix, low, high in bands:
        own = [f for f in found if low <= f[1] < high]
        if own:
            size = f", {low:g} to {high:g} mm" if suffix else ""
            figure = share_over_patients(np.array([f[2] for f in own]), [f[0] for f in own], seed=seed)
            yield _row(f"found_{name}{suffix}", f"{text}{size}: found", figure)


def _area(examples: Sequence[Examples], scores: Sequence[np.ndarray], seed: int) -> Figure:
    values, positive, patients = [], [], []
    for e, s in zip(examples, scores, strict=True):
        if e.what != FAKES:
            continue
        for index, diameter in enumerate(e.diameters_mm):
            own = (e.truth == index) & (e.label == NODULE)
            if diameter > 0 and own.any():
                values.append(float(s[own].max()))
                positive.append(True)
                patients.append(e.patient)
        for view in _views(e):
            other = false_candidates(e, s, view)
            values += other.tolist()
            positive += [False] * len(other)
            patients += [e.patient] * len(other)
    return area_over_patients(np.array(values), np.array(positive), patients, seed=seed)


def _row(name: str, text: str, figure: Figure) -> Row:
    return {"name": name, "text": text, **figure.as_dict()}
