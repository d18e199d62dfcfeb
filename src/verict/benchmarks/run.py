"""A whole experiment: prepared, fitted fold by fold, measured. A run that was stopped goes on where it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from verict import __version__
from verict.benchmarks import store
from verict.benchmarks.cost import Cost, tell_full_card
from verict.benchmarks.detectors import Judged, judge_detectors, measure_places
from verict.benchmarks.entries import (
    CLASSIFY,
    Entry,
    Experiment,
    Learner,
    choose_detectors,
    choose_entries,
)
from verict.benchmarks.figures import measure_gap, measure_told
from verict.benchmarks.fit import Tuning
from verict.benchmarks.fold import Features, Told, extract_all, run_fold
from verict.benchmarks.imagenet import Weights, find_weights, how_to_start
from verict.benchmarks.plain import missing_extra
from verict.benchmarks.prepare import Prepared, prepare
from verict.benchmarks.protocols import BOTH, Fold, Items, Protocol, choose_protocols, deal_folds
from verict.benchmarks.samples import LARGEST_COPY, WINDOW_PX, Samples
from verict.datasets.scans import Progress
from verict.datasets.uci import SiteType
from verict.detect.four_classes import CLASSES
from verict.errors import DatasetError, InputError, UsageError
from verict.evaluation.case import Seen
from verict.evaluation.published_fakes import PUBLISHED_FAKES
from verict.provenance import collect_provenance
from verict.training.device import choose_device

CACHE = "cache"
RANDOM = "random"
WORDS = ("words", "of_detectors")  # of entries and protocols: they decide no result
EXTRA_LIBRARIES = ("torch", "monai", "scikit-learn", "pyarrow")
SMALLEST_WINDOW_PX = 32  # the published networks halve an image five times


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    Parameters
    ----------
    experiment
        Which one.
    data
        A collection in the UCI layout.
    out
        Folder that keeps the cuts, the finished folds and the results.
    protocol
        ``leaky``, ``clean`` or ``both``.
    models
        Names; all where none is given.
    folds, repeats, copies, seed
        See `verict.benchmarks.protocols.deal_folds`.
    scans
        How many scans detectors judge; None: all.
    init
        ``random``: the published networks start from random weights. None: from those of ``tuning.imagenet``.
    tuning
        How networks are fitted; its device may be ``auto``.
    """

    experiment: Experiment
    data: Path
    out: Path
    protocol: str = BOTH
    models: tuple[str, ...] = ()
    folds: int = 5
    repeats: int = 2
    copies: int = 3
    seed: int = 0
    scans: int | None = None
    init: str | None = None
    tuning: Tuning = field(default_factory=Tuning)


@dataclass(frozen=True, eq=False)
class Bench:
    """A finished experiment.

    ``document`` is of schema verict.bench/1; ``predictions`` has one row a judged item; ``real_fakes`` counts the
    published real fakes among the rows; ``left_out`` are rows that could not be cut.
    """

    document: dict[str, Any]
    predictions: list[dict[str, Any]]
    real_fakes: int
    left_out: tuple[DatasetError, ...] = ()


def check_plan(plan: Plan) -> Plan:
    """Everything that can be known to be wrong before the long work; the device is decided.

    Raises
    ------
    UsageError
        If a name is unknown, a number is out of range, weights are missing or contradict ``--init``.
    ModelError
        If a weights file was altered.
    MissingExtraError
        If a package is not installed.
    """
    choose_protocols(plan.protocol)
    if not 0 <= plan.copies <= LARGEST_COPY:
        raise UsageError("so many copies cannot be told apart", found=plan.copies, expected=f"0 to {LARGEST_COPY}")
    if not SMALLEST_WINDOW_PX <= plan.tuning.window_px <= WINDOW_PX:
        raise UsageError("no such window", found=f"{plan.tuning.window_px} px",
                         expected=f"{SMALLEST_WINDOW_PX} to {WINDOW_PX} px")  # fmt: skip
    if plan.experiment is Experiment.DETECTORS:
        choose_detectors(plan.models)
        store.require_parquet()
        return plan
    entries = choose_entries(plan.experiment, plan.models)
    store.require_parquet()
    _find_starts(plan, entries)
    try:
        device = choose_device(plan.tuning.device)
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    return replace(plan, tuning=replace(plan.tuning, device=device))


def run_bench(
    plan: Plan, *, progress: Progress = lambda *_: None, failures: list[InputError] | None = None
) -> Bench:
    """Run an experiment, or what of it is not done yet.

    Parameters
    ----------
    plan
        Checked by `check_plan`.
    progress, failures
        See `verict.datasets.scans`.

    Raises
    ------
    DatasetError
        If no row could be cut.
    UsageError
        If there are fewer patients than folds.
    """
    prepared = prepare(plan.data, plan.out / CACHE, seed=plan.seed, progress=progress, failures=failures)
    protocols = choose_protocols(plan.protocol)
    if plan.experiment is Experiment.DETECTORS:
        names = choose_detectors(plan.models)
        folder = plan.out / plan.experiment / "scans"
        judged = judge_detectors(prepared, plan.data, folder, names, protocols, scans=plan.scans, seed=plan.seed,
                                 progress=progress, failures=failures)  # fmt: skip
        return _conclude(plan, prepared, {key: own.told for key, own in judged.items()}, {name: name for name in names},
                         weights={}, judged=judged)  # fmt: skip
    entries = choose_entries(plan.experiment, plan.models)
    weights = _find_starts(plan, entries)
    told = {}
    for protocol in protocols:
        runner = _Runner(plan, protocol, prepared, weights, progress)
        for entry in entries:
            if protocol.shows_label or not entry.needs_label:
                told[protocol.name, entry.name] = runner.run(entry)
    return _conclude(plan, prepared, told, {e.name: e.words for e in entries}, weights=weights, judged={})


@dataclass(frozen=True, eq=False)
class _Runner:
    """Every fold of a model under one protocol."""

    plan: Plan
    protocol: Protocol
    prepared: Prepared
    weights: dict[str, Weights]
    progress: Progress

    def run(self, entry: Entry) -> list[Told]:
        """What the model says of every fold; finished folds are read."""
        plan, samples = self.plan, self.prepared.under(self.protocol)
        copies = plan.copies if entry.learns_from_copies else 0
        folds = deal_folds(self.protocol, samples.kind, samples.patient, folds=plan.folds, repeats=plan.repeats,
                           seed=plan.seed, copies=copies)  # fmt: skip
        folder = plan.out / plan.experiment / "folds" / self.protocol.name / entry.name
        identity = self._identify(entry, samples)
        features: tuple[Features, Cost] | None = None
        told: list[Told] = []
        for done, fold in enumerate(folds):
            self.progress(f"{self.protocol.name}: {entry.words}", done, len(folds))
            file = folder / f"{fold.repeat}-{fold.number}.json"
            known = store.read_unit(file, identity)
            if known is None:
                with tell_full_card(plan.tuning.device):
                    if entry.learner is Learner.FROZEN and features is None:
                        features = self._extract(entry, samples, copies)
                    known = store.to_plain(self._fit(entry, samples, fold, features))
                store.write_unit(file, identity, known)
            told.append(store.from_plain(known))
        return told

    def _identify(self, entry: Entry, samples: Samples) -> str:
        """All that decides what a fold gives; words may change."""
        plan, start = self.plan, self.weights.get(entry.make)
        tuning = {k: v for k, v in asdict(plan.tuning).items() if k != "imagenet"}
        parts = {"entry": asdict(entry), "protocol": asdict(self.protocol)}
        return store.identify({
            **{name: {k: v for k, v in own.items() if k not in WORDS} for name, own in parts.items()},
            "verict": __version__, "samples": samples.digest, "window_px": plan.tuning.window_px,
            "tuning": {} if entry.learner is Learner.PLAIN else tuning,
            "weights": start.sha256 if start else RANDOM, "seed": plan.seed, "folds": plan.folds,
            "copies": plan.copies,
        })  # fmt: skip

    def _extract(self, entry: Entry, samples: Samples, copies: int) -> tuple[Features, Cost]:
        """What a frozen network gives of any item, and what all of them cost."""
        values, cost = extract_all(entry, samples, copies, self.plan.tuning, seed=self.plan.seed)

        def look_up(items: Items) -> np.ndarray:
            return values[items.row * (copies + 1) + items.copy]

        return look_up, cost

    def _fit(self, entry: Entry, samples: Samples, fold: Fold, features: tuple[Features, Cost] | None) -> Told:
        look_up, extracting = features or (None, None)
        told = run_fold(entry, samples, fold, self.protocol, self.plan.tuning, seed=self.plan.seed, features=look_up)
        if extracting is None:
            return told
        copies = self.plan.copies if entry.learns_from_copies else 0
        share = len(fold.train) / (len(samples) * (copies + 1))  # of all items, those this fold learns from
        return replace(told, cost=told.cost.after(extracting, share))


def _find_starts(plan: Plan, entries: Sequence[Entry]) -> dict[str, Weights]:
    """The weights each published network starts from; empty where they are random."""
    needed = list(dict.fromkeys(entry.make for entry in entries if entry.needs_weights))
    place = plan.tuning.imagenet
    if plan.init is not None and plan.init != RANDOM:
        raise UsageError("no such start", found=f"--init {plan.init}", expected="--init random, or --imagenet")
    if plan.init is not None and place is not None:
        raise UsageError("networks start from one set of weights", found="--init random and --imagenet",
                         next_step="leave one of them out")  # fmt: skip
    if needed and place is None and plan.init is None:
        raise UsageError("nothing says what the published networks start from", next_step=how_to_start(needed[0]))
    return {name: find_weights(name, place) for name in needed} if place is not None else {}


def _conclude(
    plan: Plan, prepared: Prepared, told: dict[tuple[str, str], list[Told]], words: dict[str, str], *,
    weights: dict[str, Weights], judged: Judged,
) -> Bench:
    """The document; ``judged`` is what detectors said, empty for models that are fitted here."""
    models = []
    for (protocol, name), own in told.items():
        samples = _samples_of(plan, prepared, protocol)
        if own:
            figures = measure_told(samples, own, one_scale=bool(judged), seed=plan.seed)
            seen = {"seen": dict(judged[protocol, name].seen)} if judged else {}
            models.append({"protocol": protocol, "model": name, "words": words[name], **figures, **seen})
    places = [{"protocol": protocol, "model": name, "areas": measure_places(own.places, seed=plan.seed)}
              for (protocol, name), own in judged.items() if own.places]  # fmt: skip
    document = {
        "schema": store.SCHEMA,
        "experiment": str(plan.experiment),
        "data": _describe_data(prepared),
        "protocols": {p.name: p.of_detectors if judged else p.words for p in choose_protocols(plan.protocol)},
        "models": models,
        "gaps": _measure_gaps(plan, prepared, told, judged),
        "places": places,
        "run": describe_run(plan, prepared, weights),
    }
    return Bench(document, _list_predictions(plan, prepared, told), _count_real_fakes(prepared),
                 prepared.left_out)


def _measure_gaps(
    plan: Plan, prepared: Prepared, told: dict[tuple[str, str], list[Told]], judged: Judged
) -> list[dict[str, Any]]:
    """Leaky less clean of every model that tells classes, where it could learn something from what it is judged on."""
    leaky, clean = choose_protocols(BOTH)
    gaps = []
    for name in dict.fromkeys(name for _, name in told):
        both = told.get((leaky.name, name), []), told.get((clean.name, name), [])
        known = judged[leaky.name, name].seen[Seen.IN_SAMPLE] if judged and both[0] else 0
        if all(both) and (not judged or (known and name == CLASSIFY)):
            samples = _samples_of(plan, prepared, leaky.name), _samples_of(plan, prepared, clean.name)
            gaps.append({"model": name, **measure_gap(samples, both, seed=plan.seed)})
    return gaps


def _samples_of(plan: Plan, prepared: Prepared, protocol: str) -> Samples:
    """Detectors are asked at the sites in the lungs under either protocol."""
    if plan.experiment is Experiment.DETECTORS:
        return prepared.placed
    return prepared.under(choose_protocols(protocol)[0])


def _describe_data(prepared: Prepared) -> dict[str, Any]:
    kinds = {str(kind): int((prepared.placed.kind == str(kind)).sum()) for kind in SiteType}
    return {**prepared.counts, "kinds": kinds, "patients": len(set(prepared.placed.patient.tolist())),
            "unplaced": int((~prepared.placed.is_placed).sum()), "left_out": len(prepared.left_out),
            "sha256": prepared.sha256}  # fmt: skip


def describe_run(plan: Plan, prepared: Prepared, weights: dict[str, Weights]) -> dict[str, Any]:
    """What ``run.json`` holds: settings, seed, hash of the data, versions; no path of the machine."""
    tuning = {k: v for k, v in asdict(plan.tuning).items() if k != "imagenet"}
    options = {"experiment": plan.experiment, "protocol": plan.protocol, "models": list(plan.models),
               "folds": plan.folds, "repeats": plan.repeats, "copies": plan.copies, "seed": plan.seed,
               "scans": plan.scans, "init": plan.init, "tuning": tuning}  # fmt: skip
    models = {name: {"id": own.file.name, "sha256": own.sha256} for name, own in weights.items()}
    provenance = collect_provenance(options, models=models)
    provenance["libraries"] |= {name: _version_of(name) for name in EXTRA_LIBRARIES}
    return {"schema": store.RUN_SCHEMA, "data_sha256": prepared.sha256, **provenance}


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _list_predictions(
    plan: Plan, prepared: Prepared, told: dict[tuple[str, str], list[Told]]
) -> list[dict[str, Any]]:
    rows = []
    for (protocol, name), own in told.items():
        samples = _samples_of(plan, prepared, protocol)
        for unit, one in enumerate(own):
            for row, copy, shares, score in zip(one.rows.tolist(), one.copies.tolist(), one.probabilities.tolist(),
                                                one.tampered.tolist(), strict=True):  # fmt: skip
                rows.append({
                    "protocol": protocol, "model": name, "fold": unit, "uuid": str(samples.uuid[row]),
                    "experiment": int(samples.experiment[row]), "slice": int(samples.number[row]),
                    "x": int(samples.x[row]), "y": int(samples.y[row]), "copy": copy, "type": str(samples.kind[row]),
                    **{f"p_{kind}".lower(): store.finite(p) for kind, p in zip(CLASSES, shares, strict=True)},
                    "tampered": store.finite(score),
                })  # fmt: skip
    return rows


def _count_real_fakes(prepared: Prepared) -> int:
    """How many published real fakes are among the rows."""
    own = prepared.placed
    at = zip(own.number.tolist(), own.x.tolist(), own.y.tolist(), own.kind.tolist(), strict=True)
    return sum(SiteType(kind).is_tampered and (number, x, y) in PUBLISHED_FAKES for number, x, y, kind in at)
