"""How often a classifier of small windows tells a simulated series from the real one it imitates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from noise_windows import Series, describe_windows, find_windows
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

MOST = 360  # windows a series, real and simulated each


@dataclass(frozen=True, eq=False)
class Described:
    """Windows of one real series and of its imitation.

    ``features`` (n, 38); ``simulated`` (n,) bool; ``half`` (n,) int, which half of the real slices or which of
    the simulated chests a window is from.
    """

    name: str
    patient: str
    features: np.ndarray
    simulated: np.ndarray
    half: np.ndarray


@dataclass(frozen=True)
class Told:
    """How well windows of one series were told apart: 0.5 is chance for both figures."""

    name: str
    auc: float
    balanced_accuracy: float
    real: int
    simulated: int


def describe_pair(real: Series, blocks: list[Series]) -> Described:
    """The windows of a real series and of the blocks that imitate it."""
    corners = find_windows(real, most=MOST)
    features, simulated = [describe_windows(real, corners)], [np.zeros(len(corners), bool)]
    half = [(corners[:, 0] > np.median(corners[:, 0])).astype(int)]
    for block in blocks:
        corners = find_windows(block, most=MOST // len(blocks))
        if len(corners):
            features.append(describe_windows(block, corners))
            simulated.append(np.ones(len(corners), bool))
            half.append(np.full(len(corners), int(block.patient[-1]) % 2))
    return Described(real.name, real_patient(blocks), *(np.concatenate(v) for v in (features, simulated, half)))


def real_patient(blocks: list[Series]) -> str:
    """The patient that blocks imitate, without the number of the chest."""
    return blocks[0].patient.rpartition(" chest ")[0]


def leave_patients_out(pairs: list[Described]) -> list[Told]:
    """Judge each patient's windows by what was learned from all other patients and their imitations."""
    told = []
    for patient in dict.fromkeys(p.patient for p in pairs):
        others = [p for p in pairs if p.patient != patient]
        model = _fit(np.concatenate([p.features for p in others]), np.concatenate([p.simulated for p in others]))
        told += [_judge(model, p, np.ones(len(p.simulated), bool)) for p in pairs if p.patient == patient]
    return told


def know_the_series(pairs: list[Described]) -> list[Told]:
    """Judge one half of each series and one simulated chest by what was learned from the other halves."""
    told = []
    for pair in pairs:
        halves = []
        for half in (0, 1):
            model = _fit(pair.features[pair.half != half], pair.simulated[pair.half != half])
            halves.append(_judge(model, pair, pair.half == half))
        told.append(Told(pair.name, float(np.mean([t.auc for t in halves])),
                         float(np.mean([t.balanced_accuracy for t in halves])),
                         sum(t.real for t in halves), sum(t.simulated for t in halves)))
    return told


def describe_singles(pairs: list[tuple[Series, Series]]) -> Described:
    """Windows of single slices and of their imitations; `half` numbers the patients of the real slices."""
    patients = list(dict.fromkeys(real.patient for real, _ in pairs))
    found = [(describe_windows(one, corners), np.full(len(corners), simulated),
              np.full(len(corners), patients.index(pair[0].patient)))
             for pair in pairs for simulated, one in zip((False, True), pair, strict=True)
             if len(corners := find_windows(one, most=12))]
    features, simulated, number = (np.concatenate(v) for v in zip(*found, strict=True))
    return Described(pairs[0][0].name, "singles", features, simulated, number)


def meet_unseen(pairs: list[Described], singles: Described) -> list[Told]:
    """Judge single slices of scanners nothing was fitted to.

    First by what was learned from all series, then from the single slices of other patients and their imitations
    (5 folds of patients).
    """
    flat = slice(0, -1)  # a single slice has no neighbour
    model = _fit(np.concatenate([p.features[:, flat] for p in pairs]), np.concatenate([p.simulated for p in pairs]))
    truth, score = singles.simulated, np.empty(len(singles.simulated))
    for fold in range(5):
        out = singles.half % 5 == fold
        score[out] = _fit(singles.features[~out, flat], truth[~out]).predict_proba(singles.features[out, flat])[:, 1]
    return [_told("singles, learned from the series", truth, model.predict_proba(singles.features[:, flat])[:, 1]),
            _told("singles, learned from other singles", truth, score)]


def _fit(features: np.ndarray, simulated: np.ndarray) -> RandomForestClassifier:
    model = RandomForestClassifier(300, min_samples_leaf=3, class_weight="balanced", random_state=0, n_jobs=2)
    return model.fit(features, simulated)


def _judge(model: RandomForestClassifier, pair: Described, which: np.ndarray) -> Told:
    return _told(pair.name, pair.simulated[which], model.predict_proba(pair.features[which])[:, 1])


def _told(name: str, truth: np.ndarray, score: np.ndarray) -> Told:
    return Told(name, float(roc_auc_score(truth, score)), float(balanced_accuracy_score(truth, score > 0.5)),
                int((~truth).sum()), int(truth.sum()))
