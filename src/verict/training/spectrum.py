"""Fits the spectrum detector, measures it on patients and scanners it never saw, and writes its card.

Everything is cross-fitted: folds are dealt by patient; a fold's model sees no patient of that fold and no
scanner model it may share with an authentic scan of that fold; the thresholds that judge a fold are fitted
on maps of other folds' authentic scans, by models that saw neither. The shipped model is then fitted on
everything, its thresholds on all out-of-fold maps.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from verict.datasets.splits import grouped_folds, unseen_by
from verict.detect.spectrum import smooth_map
from verict.training.card import write_card
from verict.training.figures import Judged, measure
from verict.training.network import Network, NetworkRecipe, fit_network, write_onnx
from verict.training.samples import (
    AUTHENTIC,
    CLEAN_MM,
    Progress,
    Sample,
    Scan,
    load_scans,
    simulate_forgeries,
    untouched_and_labelled,
)
from verict.training.thresholds import Goals, assemble_maps, fit_thresholds


@dataclass(frozen=True)
class SpectrumRecipe:
    """Everything that decides what is trained; the defaults are what is shipped.

    Parameters
    ----------
    seed
        Fixes simulation, sampling and initialisation.
    simulated
        Forged slices.
    painted_mm
        Windows centred this close to a painted place are painted.
    clean_windows
        Untouched windows drawn from each authentic slice; singles give three times as many.
    far_windows
        Untouched windows drawn from each slice that holds a forgery.
    folds
        Cross-fitting folds.
    network, goals
        See `NetworkRecipe` and `Goals`.
    """

    seed: int = 7
    simulated: int = 3000
    painted_mm: float = 7.0
    clean_windows: int = 60
    far_windows: int = 10
    real_fake_repeats: int = 4
    folds: int = 5
    network: NetworkRecipe = field(default_factory=NetworkRecipe)
    goals: Goals = field(default_factory=Goals)


def train_spectrum(data: Path, out: Path, recipe: SpectrumRecipe, progress: Progress) -> dict:
    """Train, measure and write ``spectrum.onnx`` and ``spectrum.json`` into ``out``; returns the card.

    Raises
    ------
    DatasetError
        If ``data`` does not hold the authentic scans and the real fakes.
    MissingExtraError
        If scikit-learn or onnx is missing.
    """
    scans = load_scans(data, progress)
    samples = untouched_and_labelled(scans, recipe.seed, progress)
    samples += simulate_forgeries(scans, recipe.simulated, recipe.seed, progress)
    judged = cross_fit(scans, samples, recipe, progress)
    progress("fitting the shipped model", 0, 1)
    network = _fit(samples, np.arange(len(samples)), recipe)
    thresholds = fit_thresholds(assemble_maps(scans, samples, judged.maps), recipe.goals)
    figures = measure(scans, samples, judged, thresholds)
    out.mkdir(parents=True, exist_ok=True)
    write_onnx(network, out / "spectrum.onnx")
    return write_card(out, thresholds, figures, asdict(recipe), samples)


def cross_fit(scans: list[Scan], samples: list[Sample], recipe: SpectrumRecipe, progress: Progress) -> Judged:
    """Score every sample by a model that saw neither its patient nor its scanner, with thresholds likewise."""
    patients = [s.patient for s in samples]
    scanners = [s.scanner for s in samples]
    fold = fold_of_samples(samples, recipe)
    seen = {k: unseen_by(patients, scanners, np.flatnonzero(fold == k)) for k in range(recipe.folds)}
    maps: list[np.ndarray] = [np.empty(0)] * len(samples)
    thresholds = []
    steps = recipe.folds**2
    for k in range(recipe.folds):
        progress("cross-fitting", k * recipe.folds, steps)
        model = _fit(samples, seen[k], recipe)
        for i in np.flatnonzero(fold == k):
            maps[i] = score_sample(model, samples[i])
        inner: dict[int, np.ndarray] = {}
        for step, j in enumerate(j for j in range(recipe.folds) if j != k):
            progress("cross-fitting", k * recipe.folds + 1 + step, steps)
            inner_model = _fit(samples, np.intersect1d(seen[k], seen[j]), recipe)
            held = [i for i in np.intersect1d(seen[k], np.flatnonzero(fold == j)) if samples[i].source == AUTHENTIC]
            inner |= {i: score_sample(inner_model, samples[i]) for i in held}
        thresholds.append(fit_thresholds(assemble_maps(scans, samples, inner), recipe.goals))
    return Judged(fold, dict(enumerate(maps)), thresholds)


def fold_of_samples(samples: list[Sample], recipe: SpectrumRecipe) -> np.ndarray:
    """(n,) fold of each sample: by patient, both sources spread over all folds."""
    patients = sorted({s.patient for s in samples})
    largest = {p: max(sum(1 for s in samples if s.patient == p and s.source == AUTHENTIC), 1) for p in patients}
    source = {s.patient: s.source if s.source != "simulated" else None for s in samples}
    classes = ["long" if largest[p] > 20 else str(source[p]) for p in patients]
    folds = grouped_folds(patients, recipe.folds, recipe.seed, classes=classes)
    number = {patients[i]: k for k, members in enumerate(folds) for i in members}
    return np.array([number[s.patient] for s in samples])


def score_sample(model: Network, sample: Sample) -> np.ndarray:
    """(rows, columns) smoothed score map, exactly as `verict.detect.spectrum.score_slice` makes it."""
    return smooth_map(sample.features.to_map(model.score(sample.features.values)))


def _fit(samples: list[Sample], chosen: np.ndarray, recipe: SpectrumRecipe) -> Network:
    features, painted = draw_windows(samples, chosen, recipe)
    return fit_network(features, painted, recipe.network, recipe.seed)


def draw_windows(samples: list[Sample], chosen: np.ndarray, recipe: SpectrumRecipe) -> tuple[np.ndarray, np.ndarray]:
    """(n, features) float32 windows of the chosen samples and (n,) bool whether they are painted."""
    features, painted = [], []
    for i in chosen:
        sample = samples[i]
        rng = np.random.default_rng([recipe.seed, int(i)])
        far = np.flatnonzero(sample.painted_mm >= CLEAN_MM)
        wanted = recipe.far_windows if sample.source != AUTHENTIC else recipe.clean_windows
        if sample.source == AUTHENTIC and sample.folder == "tcga-singles":
            wanted *= 3
        clean = rng.choice(far, min(wanted, len(far)), replace=False)
        near = np.flatnonzero(sample.painted_mm < recipe.painted_mm)
        if sample.touch_up == "none":
            near = near[:0]
        if sample.source == "ctgan":
            near = np.tile(near, recipe.real_fake_repeats)
        features += [sample.features.values[clean], sample.features.values[near]]
        painted += [np.zeros(len(clean), bool), np.ones(len(near), bool)]
    return np.concatenate(features), np.concatenate(painted)
