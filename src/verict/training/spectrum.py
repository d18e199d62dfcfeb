"""Fits the spectrum detector, measures it on patients and scanners it never saw, and writes its card.

Everything is cross-fitted: folds are dealt by patient (for the real fakes by uuid, of which two may be one
patient); a fold's model sees no patient of that fold and no authentic scan of a scanner model that one of that
fold may share. The scanners of the real fakes are unknown and may be among those trained on. The thresholds
that judge a fold are fitted on maps of other folds' authentic scans, by models that saw neither. The shipped
model is then fitted on everything, its thresholds on all out-of-fold maps; it was not itself measured.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from verict.datasets.scans import Progress, Scan, Source
from verict.datasets.splits import grouped_folds, unseen_by
from verict.detect.spectrum import smooth_map
from verict.errors import UsageError
from verict.evaluation import ledger as real_fakes
from verict.evaluation.case import Case, PlaceKind
from verict.evaluation.evidence_fit import fit_evidence, untouched_scores
from verict.evaluation.places import tabulate_places
from verict.evaluation.thresholds import Goals, fit_thresholds
from verict.training.card import fold_file, list_seen, write_card
from verict.training.figures import Judged, make_cases, measure_cases, simulated_rows
from verict.training.forged_series import ForgedSeries, forge_series, forged_series_rows
from verict.training.network import Network, NetworkRecipe, fit_network, write_onnx
from verict.training.phantoms import FOLDER as PHANTOM
from verict.training.phantoms import simulate_scans
from verict.training.samples import (
    AUTHENTIC,
    CLEAN_MM,
    FORGED,
    REAL_FAKES,
    Sample,
    load_scans,
    simulate_forgeries,
    simulate_scanners,
    untouched_and_labelled,
)
from verict.training.whole_maps import assemble_maps


@dataclass(frozen=True)
class SpectrumRecipe:
    """Everything that decides what is trained; the defaults are what is shipped.

    Parameters
    ----------
    seed
        Fixes simulation, sampling and initialisation.
    phantoms
        Simulated chests of simulated scanners that are learnt from too, untouched and forged.
    simulated_only
        Whether nothing else is: no real scan, no real fake.
    forged, varied
        Simulated forgeries, and untouched slices shown as by another scanner.
    forged_phantoms, varied_phantoms
        The same of the simulated chests.
    painted_mm
        Windows centred this close to a painted place are painted.
    clean_windows
        Untouched windows drawn from each authentic slice; singles give three times as many.
    far_windows
        Untouched windows drawn from each slice that holds a forgery.
    real_fake_repeats
        How often each painted window of a real fake counts.
    hard_windows, hard_rounds
        Untouched windows added from each slice because a first fit scored them highest, and how often.
    folds
        Cross-fitting folds.
    network, goals
        See `NetworkRecipe` and `Goals`.
    """

    seed: int = 7
    phantoms: int = 0
    simulated_only: bool = False
    forged: int = 6000
    varied: int = 1500
    forged_phantoms: int = 2500
    varied_phantoms: int = 300
    painted_mm: float = 7.0
    clean_windows: int = 40
    far_windows: int = 6
    real_fake_repeats: int = 16
    hard_windows: int = 15
    hard_rounds: int = 2
    folds: int = 5
    network: NetworkRecipe = field(default_factory=NetworkRecipe)
    goals: Goals = field(default_factory=Goals)


def train_spectrum(
    data: Path, out: Path, recipe: SpectrumRecipe, progress: Progress, *, ledger: Path | None = None
) -> dict:
    """Train, measure and write weights, those of each fold, and card into ``out``; returns the card.

    A line of figures is added to ``ledger`` (``real_fakes_ledger.csv`` in ``out`` by default).

    Raises
    ------
    DatasetError
        If ``data`` does not hold the authentic scans and the real fakes.
    UsageError
        If there is too little to learn from.
    MissingExtraError
        If scikit-learn or onnx is missing.
    """
    if recipe.simulated_only and recipe.phantoms < 2 * recipe.folds:
        raise UsageError(
            "too few simulated chests to learn from alone",
            found=recipe.phantoms,
            expected=f"{2 * recipe.folds} or more",
        )
    if ledger is not None:
        real_fakes.check_ledger(ledger)
    scans: list[Scan] = []
    samples: list[Sample] = []
    if not recipe.simulated_only:
        scans += load_scans(data, progress)
        samples += _draw_samples(scans, recipe.forged, recipe.varied, recipe.seed, progress)
    if recipe.phantoms:
        chests = list(simulate_scans(recipe.phantoms, recipe.seed, progress))
        scans += chests
        samples += _draw_samples(chests, recipe.forged_phantoms, recipe.varied_phantoms, recipe.seed, progress)
    judged = cross_fit(scans, samples, recipe, progress)
    progress("fitting the shipped model", 0, 1)
    network = _fit(samples, np.arange(len(samples)), recipe)
    thresholds = fit_thresholds(assemble_maps(scans, samples, judged.maps), recipe.goals)
    figures = simulated_rows(samples, judged, thresholds["mark_threshold"])
    evidence = None
    if not recipe.simulated_only:
        cases = make_cases(scans, samples, judged, recipe.seed)
        forged = forge_series(scans, samples, judged, recipe.seed, progress)
        figures = [*measure_cases(cases, thresholds), *figures, *forged_series_rows(forged)]
        evidence = weigh_cases(cases, forged)
    out.mkdir(parents=True, exist_ok=True)
    write_onnx(network, out / "spectrum.onnx")
    for k, fold_network in enumerate(judged.networks):
        write_onnx(fold_network, out / fold_file(k))
    fold_of = {s.patient: int(k) for s, k in zip(samples, judged.fold, strict=True)}
    card = write_card(
        out, thresholds, figures, asdict(recipe), samples,
        folds=judged.thresholds, seen=list_seen(scans, fold_of), evidence=evidence,
    )  # fmt: skip
    if not recipe.simulated_only:
        real_fakes.append_figures(
            ledger or out / real_fakes.DEFAULT_NAME,
            {row["name"]: row["value"] for row in card["figures"]},
            weights_sha256=card["sha256"],
            what="train spectrum",
        )
    return card


def weigh_cases(cases: list[Case], forged: list[ForgedSeries]) -> dict[str, Any]:
    """The card's ``evidence``: untouched slices and series against real fakes, and against series forged in 3D."""
    slices, series = [], []
    for case in cases:
        if case.subject.source is Source.AUTHENTIC:
            subject = case.subject
            own = untouched_scores(subject.geometry, case.score_map.values, subject.patient, subject.scanner)
            slices += own[0]
            series += own[1]
    table = tabulate_places(cases).of(PlaceKind.FB, PlaceKind.FM)
    fakes = list(zip(table.score.tolist(), table.patient.tolist(), strict=True))
    runs = [(f.score, f.patient) for f in forged]
    return fit_evidence(slices, fakes, untouched_series=series, forged_series=runs)


def _draw_samples(scans: list[Scan], forged: int, varied: int, seed: int, progress: Progress) -> list[Sample]:
    """Slices as they are, forged ones, and ones shown as by another scanner."""
    samples = untouched_and_labelled(scans, seed, progress)
    samples += simulate_forgeries(scans, forged, seed, progress)
    return samples + simulate_scanners(scans, varied, seed, progress)


def cross_fit(scans: list[Scan], samples: list[Sample], recipe: SpectrumRecipe, progress: Progress) -> Judged:
    """Score every sample by a model that saw neither its patient nor its scanner, with thresholds likewise."""
    patients = [s.patient for s in samples]
    scanners = [s.scanner for s in samples]
    fold = fold_of_samples(samples, recipe)
    seen = {k: unseen_by(patients, scanners, np.flatnonzero(fold == k)) for k in range(recipe.folds)}
    maps: list[np.ndarray] = [np.empty(0)] * len(samples)
    thresholds, networks = [], []
    steps = recipe.folds**2
    for k in range(recipe.folds):
        progress("cross-fitting", k * recipe.folds, steps)
        model = _fit(samples, seen[k], recipe)
        networks.append(model)
        for i in np.flatnonzero(fold == k):
            maps[i] = score_sample(model, samples[i])
        inner: dict[int, np.ndarray] = {}
        for step, j in enumerate(j for j in range(recipe.folds) if j != k):
            progress("cross-fitting", k * recipe.folds + 1 + step, steps)
            inner_model = _fit(samples, np.intersect1d(seen[k], seen[j]), recipe)
            held = [i for i in np.intersect1d(seen[k], np.flatnonzero(fold == j)) if samples[i].source == AUTHENTIC]
            inner |= {i: score_sample(inner_model, samples[i]) for i in held}
        thresholds.append(fit_thresholds(assemble_maps(scans, samples, inner), recipe.goals))
    return Judged(fold, dict(enumerate(maps)), thresholds, tuple(networks))


def fold_of_samples(samples: list[Sample], recipe: SpectrumRecipe) -> np.ndarray:
    """(n,) fold of each sample: by patient, both sources spread over all folds."""
    patients = sorted({s.patient for s in samples})
    largest = {p: max(sum(1 for s in samples if s.patient == p and s.source == AUTHENTIC), 1) for p in patients}
    seen = [s for s in samples if s.source in (AUTHENTIC, REAL_FAKES)]
    source = {s.patient: PHANTOM if s.folder == PHANTOM else s.source for s in seen}
    classes = ["long" if largest[p] > 20 and source[p] != PHANTOM else source[p] for p in patients]
    folds = grouped_folds(patients, recipe.folds, recipe.seed, classes=classes)
    number = {patients[i]: k for k, members in enumerate(folds) for i in members}
    return np.array([number[s.patient] for s in samples])


def score_sample(model: Network, sample: Sample) -> np.ndarray:
    """(rows, columns) smoothed score map, exactly as `verict.detect.spectrum.score_slice` makes it."""
    return smooth_map(sample.features.to_map(model.score(sample.features.values)))


def _fit(samples: list[Sample], chosen: np.ndarray, recipe: SpectrumRecipe) -> Network:
    """Fit on drawn windows; then again with the untouched windows of the same samples that fooled it most."""
    features, paint = draw_windows(samples, chosen, recipe)
    for step in range(recipe.hard_rounds):
        scout = fit_network(features, paint, replace(recipe.network, members=1), recipe.seed + step)
        hard = _hardest_windows(scout, samples, chosen, recipe.hard_windows)
        features = np.concatenate([features, hard])
        paint = np.concatenate([paint, np.zeros(len(hard), np.int8)])
    return fit_network(features, paint, recipe.network, recipe.seed + recipe.hard_rounds)


def _hardest_windows(scout: Network, samples: list[Sample], chosen: np.ndarray, count: int) -> np.ndarray:
    """(n, features) of the highest-scored untouched windows of each chosen slice that nobody simulated on."""
    found = []
    for i in chosen:
        sample = samples[i]
        clean = np.flatnonzero(sample.painted_mm >= CLEAN_MM)
        if sample.source != FORGED and len(clean):
            scores = scout.score(sample.features.values[clean])
            found.append(sample.features.values[clean[np.argsort(scores)[-count:]]])
    return np.concatenate(found)


def draw_windows(samples: list[Sample], chosen: np.ndarray, recipe: SpectrumRecipe) -> tuple[np.ndarray, np.ndarray]:
    """(n, features) float32 windows of the chosen samples and (n,) int8 what is painted there."""
    features, paint = [], []
    for i in chosen:
        sample = samples[i]
        rng = np.random.default_rng([recipe.seed, int(i)])
        far = np.flatnonzero(sample.painted_mm >= CLEAN_MM)
        wanted = recipe.far_windows if sample.source != AUTHENTIC else recipe.clean_windows
        if sample.source == AUTHENTIC and sample.folder == "tcga-singles":
            wanted *= 3
        clean = rng.choice(far, min(wanted, len(far)), replace=False)
        near = np.flatnonzero(sample.painted_mm < recipe.painted_mm) if sample.paint else far[:0]
        if sample.source == REAL_FAKES:
            near = np.tile(near, recipe.real_fake_repeats)
        features += [sample.features.values[clean], sample.features.values[near]]
        paint += [np.zeros(len(clean), np.int8), np.full(len(near), sample.paint, np.int8)]
    return np.concatenate(features), np.concatenate(paint)
