"""The data set's own task: which of TB, FB, TM and FM each labelled site is, by models that never saw its patient.

Each site gets the score of the nodule detector and that of the tamper detector, and from both the four probabilities
of `verict.detect.four_classes`. Rows that name no place (all TB rows of the published tables) are given one inside the
lungs, like the places where cancers were removed in the scans the weights were fitted on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from verict.datasets.scans import Progress, Scan, identify_patient, read_labelled_scans
from verict.datasets.sites import LungPlace, choose_benign_sites, site_rng
from verict.datasets.uci import SiteType, read_collection
from verict.detect.at_place import score_at
from verict.detect.evidence import ScoreMap
from verict.detect.four_classes import CLASSES, FourClasses, load_class_folds, load_classes
from verict.detect.model import WEIGHTS, Model
from verict.detect.nodule.detector import score_sites
from verict.errors import InputError
from verict.evaluation.case import Seen
from verict.evaluation.fair import Entrant, choose_model, enter, examine_blind
from verict.evaluation.structures import blur_centre, measure_structure
from verict.statistics import Figure, area_over_patients, share_over_patients

TAMPERED = np.array([c.is_tampered for c in CLASSES])
SHOWS_CANCER = np.array([c in (SiteType.TM, SiteType.FM) for c in CLASSES])
BOOTSTRAPS = 1000


@dataclass(frozen=True)
class Site:
    """A labelled place and what is said of it.

    ``kind`` is the label; ``chosen`` whether its place was chosen here because the row names none; ``probabilities``
    in the order of `CLASSES`; ``tamper_score`` is NaN where the tamper detector could not judge; ``centre_hu`` and
    ``diameter_mm`` (NaN without an edge) are what a look at brightness and size tells; ``seen`` what the models may
    have learnt of its patient, the worse of both.
    """

    uuid: str
    patient: str
    kind: SiteType
    slice_number: int
    y: int
    x: int
    chosen: bool
    nodule_score: float
    tamper_score: float
    probabilities: tuple[float, ...]
    centre_hu: float
    diameter_mm: float
    seen: str
    method: str = ""
    touch_up: str = ""

    @property
    def said(self) -> SiteType:
        """The class of the highest probability."""
        return CLASSES[int(np.argmax(self.probabilities))]


def classify_collection(
    folder: Path, *, weights: Path = WEIGHTS, seed: int = 0, workers: int | None = None,
    progress: Progress = lambda *_: None, failures: list[InputError] | None = None,
) -> list[Site]:
    """Classify every labelled site of a collection in the UCI layout, one scan in memory at a time.

    Parameters
    ----------
    folder
        See `verict.datasets.uci.read_collection`.
    weights
        Folder of the models; the shipped ones by default.
    seed
        Of places chosen for rows that name none.
    workers
        Threads a detector may use.
    progress
        See `Progress`.
    failures
        Gets an error for each file and series that cannot be read; without it the first one is raised.

    Raises
    ------
    DatasetError
        If there is no scan, or the label tables contradict themselves.
    ModelError
        If a model is missing or altered.
    """
    shipped, folds = load_classes(weights), load_class_folds(weights)
    like = [LungPlace(**place) for place in shipped.card["training"]["removals_lay"]]
    scored = score_collection(folder, weights=weights, like=like, seed=seed, workers=workers, progress=progress,
                              failures=failures)
    return [replace(site, probabilities=_say(site, choose_classes(shipped, folds, site.patient))) for site in scored]


def score_collection(
    folder: Path, *, weights: Path = WEIGHTS, like: Sequence[LungPlace] = (), seed: int = 0,
    workers: int | None = None, progress: Progress = lambda *_: None, failures: list[InputError] | None = None,
) -> list[Site]:
    """The same without probabilities: both scores of every site. Rows without a place are left out without ``like``."""
    collection = read_collection(folder)
    unplaced = Counter(row.uuid for row in collection.rows if not row.is_placed)
    detectors = enter("nodule", weights), enter("fusion", weights)
    sites: list[Site] = []
    for scan in read_labelled_scans(folder, progress, failures):
        if scan.lungs.any_found:
            places = _placed(scan)
            if like and unplaced[scan.folder]:
                rng = site_rng(seed, scan.folder, 0)
                count = unplaced[scan.folder]
                chosen = choose_benign_sites(scan.lungs.mask, scan.volume.spacing_mm, like, count, rng)
                places += [_Place(*site, SiteType.TB, chosen=True) for site in chosen]
            if places:
                score_map, seen = _map_tampering(scan, detectors[1], workers)
                sites += _score_places(scan, places, detectors[0], score_map, seen)
    return sites


class SiteJudge:
    """Classifies the labelled sites of scans whose tampering is mapped already; rows without a place are left out.

    Parameters
    ----------
    weights
        Folder of the models.
    leaky
        Judge by the shipped models, whatever they were fitted on: for comparisons only.
    """

    def __init__(self, weights: Path = WEIGHTS, *, leaky: bool = False) -> None:
        nodules = enter("nodule", weights)
        self._nodules = replace(nodules, folds=()) if leaky else nodules
        self._shipped = load_classes(weights)
        self._folds = None if leaky else load_class_folds(weights)

    @property
    def cards(self) -> dict[str, object]:
        """What tells these models from others: all that was fitted, on what, and the folds."""
        return {"nodule": self._nodules.shipped and self._nodules.shipped.card, "classes": self._shipped.card}

    def classify(self, scan: Scan, score_map: ScoreMap, seen: Seen) -> list[Site]:
        """The sites of one scan by the map `verict.detect.fusion` gave it."""
        places = _placed(scan)
        scored = _score_places(scan, places, self._nodules, score_map, seen) if places and scan.lungs.any_found else []
        return [replace(site, probabilities=_say(site, choose_classes(self._shipped, self._folds, site.patient)))
                for site in scored]


@dataclass(frozen=True)
class _Place:
    z: int
    y: int
    x: int
    kind: SiteType
    method: str = ""
    touch_up: str = ""
    chosen: bool = False


def _placed(scan: Scan) -> list[_Place]:
    return [_Place(z, label.y, label.x, label.kind, label.method, label.touch_up)
            for z, labels in sorted(scan.labels.items()) for label in labels]


def _score_places(
    scan: Scan, places: Sequence[_Place], nodules: Entrant, score_map: ScoreMap, seen_tamper: Seen
) -> list[Site]:
    at = [(p.z, p.y, p.x) for p in places]
    nodule_scores, seen_nodule = _score_nodules(scan, at, nodules)
    found = np.array([score_at(score_map, *one, scan.volume.spacing_mm) for one in at])
    tamper_scores = np.where(np.isfinite(found), found, np.nan)
    seen = max(seen_nodule, seen_tamper, key=list(Seen).index)
    volume = scan.volume
    return [
        Site(
            uuid=scan.folder, patient=scan.patient, kind=p.kind, slice_number=scan.numbers[p.z], y=p.y, x=p.x,
            chosen=p.chosen, nodule_score=float(nodule), tamper_score=float(tamper), probabilities=(),
            centre_hu=blur_centre(volume.hu[p.z], p.y, p.x),
            diameter_mm=measure_structure(volume.hu[p.z], volume.spacing_mm[1:], p.y, p.x).diameter_mm,
            seen=str(seen), method=p.method, touch_up=p.touch_up,
        )
        for p, nodule, tamper in zip(places, nodule_scores, tamper_scores, strict=True)
    ]  # fmt: skip


def _say(site: Site, classes: FourClasses) -> tuple[float, ...]:
    row = classes.probabilities(np.array([site.nodule_score]), np.array([site.tamper_score]))[0]
    return tuple(float(p) for p in row)


def _score_nodules(scan: Scan, at: Sequence[tuple[int, int, int]], entrant: Entrant) -> tuple[np.ndarray, Seen]:
    model, seen = choose_model(entrant, scan)
    volume = scan.volume.without_headers()
    chosen = model if isinstance(model, Model) else entrant.shipped
    return np.asarray(score_sites(volume, scan.lungs, at, chosen), float), seen  # type: ignore[arg-type]


def _map_tampering(scan: Scan, entrant: Entrant, workers: int | None) -> tuple[ScoreMap, Seen]:
    model, seen = choose_model(entrant, scan)
    return examine_blind(entrant.make(model), scan.volume, scan.lungs, workers=workers)[0], seen


def choose_classes(shipped: FourClasses, folds: Sequence[FourClasses] | None, patient: str) -> FourClasses:
    """The weights that were fitted without this patient; the shipped ones without folds."""
    fold = shipped.card["training"]["seen"]["patients"].get(identify_patient(patient))
    return shipped if fold is None or folds is None else folds[fold]


def measure_sites(sites: Sequence[Site], *, seed: int = 0) -> dict[str, object]:
    """Every figure of a classified collection: the four classes, both questions apart, and by content alone.

    Intervals are percentiles of a bootstrap over patients. The content-only baseline is a normal distribution of
    blurred centre HU and log diameter for each class, fitted without the judged patient.
    """
    if not sites:
        return {"n": 0}
    truth = np.array([CLASSES.index(s.kind) for s in sites])
    rows = np.array([s.probabilities for s in sites])
    patients = [s.patient for s in sites]
    said = rows.argmax(axis=1)
    content = content_only(sites)
    return {
        "n": len(sites),
        "patients": len(set(patients)),
        "four_classes": describe_classes(truth, said, patients, seed),
        "content_only": describe_classes(truth, content.argmax(axis=1), patients, seed),
        "shows_cancer": _two_classes(truth, rows, content, SHOWS_CANCER, patients, seed),
        "tampered": _two_classes(truth, rows, content, TAMPERED, patients, seed),
        "areas": dict(_areas(sites, truth, patients, seed)),
    }


def describe_classes(truth: np.ndarray, said: np.ndarray, patients: Sequence[str], seed: int) -> dict[str, object]:
    """Confusion (rows are the truth), precision, recall and F1 of each class, and macro-F1 over those there are."""
    confusion = np.zeros((len(CLASSES), len(CLASSES)), int)
    np.add.at(confusion, (truth, said), 1)
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    tables = np.zeros((len(names), *confusion.shape), int)
    np.add.at(tables, (owner, truth, said), 1)
    drawn = np.random.default_rng(seed).integers(len(names), size=(BOOTSTRAPS, len(names)))
    spread = [macro_f1(tables[draw].sum(axis=0)) for draw in drawn]
    correct = share_over_patients(truth == said, patients, seed=seed)
    return {
        "macro_f1": {"value": round(macro_f1(confusion), 4), "n": len(truth),
                     "interval": [round(float(v), 4) for v in np.quantile(spread, [0.025, 0.975])]},
        "accuracy": correct.as_dict(),
        "confusion": {"classes": [str(c) for c in CLASSES], "rows_are_truth": confusion.tolist()},
        "classes": {str(c): _one_class(confusion, i) for i, c in enumerate(CLASSES)},
    }  # fmt: skip


def macro_f1(confusion: np.ndarray) -> float:
    """Mean F1 of the classes that occur; confusion (4, 4), rows are the truth."""
    there = confusion.sum(axis=1) > 0
    hits = np.diag(confusion)
    total = confusion.sum(axis=1) + confusion.sum(axis=0)
    return float(np.mean(2 * hits[there] / total[there])) if there.any() else float("nan")


def _one_class(confusion: np.ndarray, i: int) -> dict[str, float | int | None]:
    hit, there, said = int(confusion[i, i]), int(confusion[i].sum()), int(confusion[:, i].sum())
    return {
        "n": there,
        "precision": round(hit / said, 4) if said else None,
        "recall": round(hit / there, 4) if there else None,
        "f1": round(2 * hit / (there + said), 4) if there else None,
    }


def _two_classes(
    truth: np.ndarray, rows: np.ndarray, content: np.ndarray, yes: np.ndarray, patients: Sequence[str], seed: int
) -> dict[str, object]:
    """One question of two answers: area under the curve and share answered rightly, and by content alone."""
    positive = yes[truth]
    told: dict[str, object] = {}
    for name, table in (("verict", rows), ("content_only", content)):
        score = table[:, yes].sum(axis=1)
        told[name] = {
            "auc": area_over_patients(score, positive, patients, seed=seed).as_dict(),
            "accuracy": share_over_patients((score >= 0.5) == positive, patients, seed=seed).as_dict(),
        }
    return told


PAIRS = (
    ("FB against TB, tamper score", SiteType.FB, SiteType.TB, "tamper_score"),
    ("FM against TM, tamper score", SiteType.FM, SiteType.TM, "tamper_score"),
    ("TM against TB, tamper score (should be 0.5)", SiteType.TM, SiteType.TB, "tamper_score"),
    ("TM against TB, nodule score", SiteType.TM, SiteType.TB, "nodule_score"),
    ("FM against FB, nodule score", SiteType.FM, SiteType.FB, "nodule_score"),
    ("FB against TB, nodule score (should be 0.5)", SiteType.FB, SiteType.TB, "nodule_score"),
)
"""What is compared, apart: neither score should answer the other's question."""


def _areas(
    sites: Sequence[Site], truth: np.ndarray, patients: Sequence[str], seed: int
) -> Iterator[tuple[str, dict[str, object]]]:
    for text, yes, no, name in PAIRS:
        chosen = np.isin(truth, [CLASSES.index(yes), CLASSES.index(no)])
        figures: dict[str, Figure] = {}
        for what in (name, "centre_hu"):
            values = np.nan_to_num(np.array([getattr(s, what) for s in sites]), nan=-99.0)
            own = [p for p, c in zip(patients, chosen, strict=True) if c]
            figures[what] = area_over_patients(values[chosen], truth[chosen] == CLASSES.index(yes), own, seed=seed)
        yield text, {"auc": figures[name].as_dict(), "brightness_alone": figures["centre_hu"].as_dict()}


def content_only(sites: Sequence[Site]) -> np.ndarray:
    """(n, 4) probabilities by blurred centre HU and log diameter alone, a normal distribution for each class."""
    looks = np.array([(s.centre_hu, np.log(s.diameter_mm) if np.isfinite(s.diameter_mm) else 0.0) for s in sites])
    truth = np.array([CLASSES.index(s.kind) for s in sites])
    patients = np.array([s.patient for s in sites])
    out = np.full((len(sites), len(CLASSES)), 1 / len(CLASSES))
    for patient in np.unique(patients):
        own = patients == patient
        logits = np.full((own.sum(), len(CLASSES)), -np.inf)
        for i in range(len(CLASSES)):
            others = looks[~own & (truth == i)]
            if len(others) >= 3:
                mean, spread = others.mean(axis=0), np.maximum(others.std(axis=0), (20.0, 0.1))
                logits[:, i] = -(((looks[own] - mean) / spread) ** 2).sum(axis=1) / 2 - np.log(spread).sum()
        if np.isfinite(logits).any():
            exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
            out[own] = exponents / exponents.sum(axis=1, keepdims=True)
    return out
