"""What cross-fitted maps are worth, as the rows of a model card: the ruler's figures, and forgeries simulated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from verict.datasets.scans import Scan, Source
from verict.detect.at_place import score_at
from verict.detect.evidence import Evidence, ScoreMap
from verict.detect.result import Verdict
from verict.detect.spectrum_features import ORIGIN_PX, STRIDE_PX
from verict.detect.verdict import Assessment, assess
from verict.evaluation.alarms import Judged as JudgedCase
from verict.evaluation.alarms import judge_case
from verict.evaluation.case import Case, PlaceKind, Seen
from verict.evaluation.measure import measure
from verict.evaluation.places import tabulate_places
from verict.evaluation.result import Evaluation, Measured, Tree, walk
from verict.evaluation.subjects import make_subject
from verict.evaluation.thresholds import AuthenticMap
from verict.statistics import Figure, rate_per_unit, share_of_count
from verict.training.network import Network
from verict.training.phantoms import FOLDER as PHANTOM
from verict.training.samples import FORGED, Sample
from verict.training.whole_maps import index_maps, join_maps

Row = dict[str, object]
UNSEEN = "model and thresholds of other patients and scanner models"
FB, FM = "real cancer removed by CT-GAN (FB)", "fake cancer injected by CT-GAN (FM)"
LUNG, BRIGHT = "untouched lung of the same slices", "every untouched bright structure of the same slices"
MATCHED = "untouched structures of its size and surroundings"
ROWS = (
    ("auc_fb", ("auc", "fb_parenchyma"), f"{FB} against {LUNG}: AUC"),
    ("auc_fb_content_only", ("content_only", "auc", "fb_parenchyma"), "the same by blurred centre HU alone: AUC"),
    ("auc_fm", ("auc", "fm_dense"), f"{FM} against {MATCHED}: AUC"),
    ("auc_fm_content_only", ("content_only", "auc", "fm_dense"), "the same by blurred centre HU alone: AUC"),
    ("auc_fm_bright", ("auc", "fm_bright"), f"{FM} against {BRIGHT}: AUC"),
    ("auc_fm_bright_content_only", ("content_only", "auc", "fm_bright"), "the same by blurred centre HU alone: AUC"),
    ("found_fb", ("frozen", "fb"), f"{FB}: marked at the shipped threshold"),
    ("found_fm", ("frozen", "fm"), f"{FM}: marked at the shipped threshold"),
    ("false_fb", ("frozen", "false_positive_rate_parenchyma"), "untouched lung places marked at it"),
    ("false_fm", ("frozen", "false_positive_rate_bright"), "untouched bright places marked at it"),
    ("found_fb_1", ("sensitivity_at_fpr_by_kind", "fb", "0.01"), f"{FB}: found where 1 % of the lung places are"),
    ("found_fb_content_only", ("content_only", "sensitivity_at_fpr_by_kind", "fb", "0.01"), "the same by blurred "
     "centre HU alone"),
    ("found_fm_1", ("sensitivity_at_fpr_by_kind", "fm", "0.01"), f"{FM}: found where 1 % of the matches are"),
    ("found_fm_content_only", ("content_only", "sensitivity_at_fpr_by_kind", "fm", "0.01"), "the same by blurred "
     "centre HU alone"),
)  # fmt: skip
"""Name in the card, path in the ruler's tree at the shipped threshold, text."""
OWN_ROWS = (
    ("found_fb_own", ("frozen", "fb"), f"{FB}: marked at a threshold that never saw their fold"),
    ("found_fm_own", ("frozen", "fm"), f"{FM}: marked at a threshold that never saw their fold"),
    ("false_marks_per_slice", ("authentic", "false_marks_per_slice"), f"false marks a slice with lung, {UNSEEN}"),
    ("false_marks_at_90", ("authentic", "false_marks_per_slice_at_90"), "false marks a slice of authentic volumes "
     "at the one threshold that finds 90 % of the real fakes"),
    ("false_regions_per_series", ("authentic", "false_marks_per_scan"), f"marked regions a series, {UNSEEN}"),
)
"""The same where each series is judged by the thresholds of its own fold."""


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


def make_cases(scans: Iterable[Scan], samples: list[Sample], judged: Judged, seed: int) -> list[Case]:
    """The ruler's cases of all real scans that were scored, each with the thresholds of its fold."""
    fold_of = {s.patient: int(fold) for s, fold in zip(samples, judged.fold, strict=True)}
    maps = index_maps(samples, judged.maps)
    cases = []
    for scan in scans:
        values = None if scan.folder == PHANTOM else join_maps(scan, maps)
        if values is not None:
            score_map, thresholds = ScoreMap(values, STRIDE_PX, ORIGIN_PX), judged.thresholds[fold_of[scan.patient]]
            cases.append(Case(make_subject(scan, seed), score_map, thresholds, Seen.OUT_OF_FOLD))
    return cases


def card_rows(own: Evaluation, shipped: Evaluation) -> list[Row]:
    """The ruler's figures as rows: at each series' own thresholds, and at the shipped ones."""
    return [
        row(name, text, leaf.figure)
        for evaluation, rows in ((shipped, ROWS), (own, OWN_ROWS))
        for name, path, text in rows
        if (leaf := _leaf_at(evaluation.figures, path)) is not None and leaf.figure.value is not None
    ]


def measure_cases(cases: Sequence[Case], shipped: dict[str, float], detector: str = "spectrum") -> list[Row]:
    """Every figure of a detector's card that real scans give."""
    at_shipped = [Case(c.subject, c.score_map, shipped, c.seen) for c in cases]
    rows = card_rows(measure(cases, detector), measure(at_shipped, detector))
    return [*rows, *_decisive_rows(at_shipped), *_authentic_rows(cases, detector)]


def _leaf_at(tree: Tree, path: tuple[str, ...]) -> Measured | None:
    return dict(walk(tree)).get(path)


def _decisive_rows(cases: Sequence[Case]) -> list[Row]:
    """Painted places that make their slice suspicious by themselves."""
    table = tabulate_places(cases)
    rows = []
    for kind, what in ((PlaceKind.FB, FB), (PlaceKind.FM, FM)):
        own = table.of(kind)
        decides = np.array([cases[i].calibration["decisive_threshold"] for i in own.case])
        text = f"{what}: score high enough for `suspicious`"
        rows.append(row(f"decisive_{str(kind).lower()}", text, share(own.score >= decides)))
    return rows


def share(hits: np.ndarray) -> Figure:
    """Share of (n,) bool with its exact interval."""
    return share_of_count(int(np.sum(hits)), len(hits))


def simulated_rows(samples: list[Sample], judged: Judged, shipped: float) -> list[Row]:
    """Simulated forgeries of unseen patients that are marked, by kind and touch-up; phantoms if there are no others."""
    hits: dict[tuple[str, str], list[tuple[bool, str]]] = defaultdict(list)
    on_patients = any(s.source == FORGED and s.folder != PHANTOM for s in samples)
    for i, s in enumerate(samples):
        if s.source == FORGED and (s.folder == PHANTOM) != on_patients:
            whole = ScoreMap(judged.maps[i][None], STRIDE_PX, ORIGIN_PX)
            found = score_at(whole, 0, s.places[0].y, s.places[0].x, s.spacing_mm) >= shipped
            hits[s.kind, s.touch_up].append((found, s.patient))
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


def _authentic_rows(cases: Sequence[Case], detector: str) -> list[Row]:
    """Verdicts of series and of single slices, and false marks by folder."""
    own = [judge_case(case, detector) for case in cases if case.subject.source is Source.AUTHENTIC]
    rows = []
    for deep, name, what in ((True, "series", "series"), (False, "lone_slices", "series of single slices")):
        judged = [j for j in own if j.is_deep is deep]
        patients = len({j.patient for j in judged})
        for verdict in (Verdict.SUSPICIOUS, Verdict.INDETERMINATE):
            text = f"authentic {what} (of {patients} patients, taken as independent) called {verdict}, {UNSEEN}"
            called = np.array([j.verdict is verdict for j in judged])
            rows.append(row(f"{verdict}_{name}", text, share(called)))
    by_folder: dict[str, list[JudgedCase]] = defaultdict(list)
    for j in own:
        by_folder[j.case.subject.folder].append(j)
    means = [float(np.concatenate([j.slice_marks for j in members]).mean()) for members in by_folder.values()]
    mean = Figure(float(np.mean(means)) if means else None, None, None, len(means))
    rows.append(row("false_marks_by_folder", f"false marks a slice, mean over folders, {UNSEEN}", mean))
    for folder, members in sorted(by_folder.items()):
        counted = [(float(n), j.patient) for j in members for n in j.slice_marks]
        rows.append(row(f"false_marks_per_slice_{folder}", f"false marks a slice, {folder}", _rate_of_folder(counted)))
    return rows


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
