"""Fits the network of `verict.detect.nodule`, cross-fitted by patient, with thresholds by false candidates.

Folds are those of the spectrum detector where it lists a patient, so that both questions about a place are answered by
models that saw neither its patient nor, among authentic scans, a scanner model it may share. Simulated chests and
patients of campaigns are dealt by a hash of their names.
"""

from __future__ import annotations

import json
import multiprocessing
import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from verict import __version__
from verict.datasets.campaigns import CAMPAIGN_FILE, read_document
from verict.datasets.scans import Progress, identify_patient
from verict.detect.model import CARD_SCHEMA, load_card
from verict.detect.nodule.detector import LOWEST, NAME
from verict.detect.nodule.rays import FEATURE_COUNT, lies_in_lung
from verict.errors import UsageError
from verict.evaluation import ledger as real_fakes
from verict.provenance import sha256_of
from verict.training.nodule.examples import NODULE, OTHER, Examples, Known, describe_scan
from verict.training.nodule.figures import fit_thresholds, measure
from verict.training.nodule.recipe import NetworkRecipe
from verict.training.nodule.sources import (
    AUTHENTIC,
    CAMPAIGN,
    CHESTS,
    FAKES,
    gather_authentic,
    gather_campaign,
    gather_chests,
    gather_fakes,
)

if TYPE_CHECKING:
    from verict.training.nodule.network import Perceptron

FOLDS = 5


@dataclass(frozen=True)
class NoduleRecipe:
    """Everything that decides what is trained; the defaults are what is shipped.

    ``seed`` of simulation, sampling and initialisation; ``chests`` simulated chests; ``nodules`` and ``others``: how
    often a nodule, or a place that is none, of each kind of scan is drawn against those of simulated chests.
    """

    seed: int = 7
    chests: int = 64
    nodules: dict[str, float] = field(default_factory=lambda: {AUTHENTIC: 6.0, FAKES: 3.0, CAMPAIGN: 3.0, CHESTS: 1.0})
    others: dict[str, float] = field(default_factory=lambda: {AUTHENTIC: 2.0, FAKES: 2.0, CAMPAIGN: 2.0, CHESTS: 1.0})
    network: NetworkRecipe = field(default_factory=NetworkRecipe)


def train_nodule(
    data: Path, campaign: Path, out: Path, recipe: NoduleRecipe, progress: Progress, *, work: Path,
    ledger: Path | None = None, workers: int = 2,
) -> dict[str, Any]:
    """Train, measure and write weights, those of each fold, and ``nodule.json`` into ``out``; returns the card.

    Parameters
    ----------
    data
        Folder with ``authentic/`` and ``ctgan/``.
    campaign
        What ``verict tamper campaign`` made, to learn injections and removals from.
    out
        Gets weights and card.
    recipe
        See `NoduleRecipe`.
    progress
        See `verict.datasets.scans.Progress`.
    work
        Scratch folder; what was simulated and described is kept there.
    ledger
        Gets a line for the look at the real fakes; ``real_fakes_ledger.csv`` in ``out`` by default.
    workers
        Processes; the weights do not depend on it.

    Raises
    ------
    DatasetError
        If a collection is not there.
    MissingExtraError
        If scikit-learn or onnx is missing.
    """
    from verict.training.nodule.network import score, write_onnx  # brings in torch

    if ledger is not None:
        real_fakes.check_ledger(ledger)
    examples = gather(data, campaign, recipe, progress, work, workers)
    fold_of = deal_folds(examples)
    *networks, final = fit_all(examples, fold_of, recipe, progress, workers)
    scores = [
        np.where(lies_in_lung(e.features), score(networks[fold_of[e.patient]], e.features), np.float32(LOWEST))
        for e in examples
    ]
    out.mkdir(parents=True, exist_ok=True)
    files = [f"{NAME}-fold-{k}.onnx" for k in range(FOLDS)]
    for network, file in zip((final, *networks), (f"{NAME}.onnx", *files), strict=True):
        write_onnx(network, out / file)
    card: dict[str, Any] = {
        "schema": CARD_SCHEMA,
        "id": NAME,
        "version": __version__,
        "sha256": sha256_of(out / f"{NAME}.onnx"),
        "input": {"features": FEATURE_COUNT, "axes": "(z, y, x)"},
        "output": "log odds of a nodule, not those of any population; higher = surer",
        "calibration": fit_thresholds(examples, scores),
        "folds": [
            {"file": file, "sha256": sha256_of(out / file), "calibration": fit_thresholds(
                [e for e in examples if fold_of[e.patient] != k],
                [s for e, s in zip(examples, scores, strict=True) if fold_of[e.patient] != k])}
            for k, file in enumerate(files)
        ],
        "training": {
            "data": _count(examples),
            "campaign": read_document(campaign / CAMPAIGN_FILE)["sha256"],
            "split": "folds by patient (real fakes by uuid); authentic scans also by scanner model",
            "recipe": asdict(recipe),
            "command": "verict train nodule --data ../shared/data --campaign CAMPAIGN",
            "seen": {"patients": {identify_patient(p): k for p, k in sorted(fold_of.items())}, "slices": {},
                     "scanners": sorted({(e.scanner.manufacturer, e.scanner.model) for e in examples
                                         if e.what == AUTHENTIC})},
        },
        "figures": measure(examples, scores, recipe.seed),
        "limits": [
            "Real nodules learnt from are few; most are simulated or painted by the lab.",
            "Says that a nodule looks malignant by size, shape and place; it tells no benign nodule from a cancer.",
            "Nothing outside the lungs, no mediastinal lymph nodes, no consolidation or effusion.",
        ],
    }  # fmt: skip
    (out / f"{NAME}.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    real_fakes.append_figures(
        ledger or out / real_fakes.DEFAULT_NAME, {row["name"]: row["value"] for row in card["figures"]},
        weights_sha256=card["sha256"], what="train nodule",
    )
    return card


def gather(
    data: Path, campaign: Path, recipe: NoduleRecipe, progress: Progress, work: Path, workers: int
) -> list[Examples]:
    """The examples of every scan, in a fixed order; each source is kept whole once it is described."""
    name = read_document(campaign / CAMPAIGN_FILE)["sha256"][:16]
    sources: dict[str, tuple[str, Callable[[], Iterator[Known]]]] = {
        CHESTS: (f"{recipe.chests}", partial(gather_chests, recipe.chests, recipe.seed, work / "chests", progress)),
        AUTHENTIC: ("", partial(gather_authentic, data, progress)),
        FAKES: ("", partial(gather_fakes, data, progress)),
        CAMPAIGN: (name, partial(gather_campaign, campaign, progress)),
    }
    examples: list[Examples] = []
    work.mkdir(parents=True, exist_ok=True)
    for what, (detail, known) in sources.items():
        file = work / f"examples-{what}-{detail}-{recipe.seed}.pickle"
        if not file.is_file():
            with ProcessPoolExecutor(workers) as pool:
                described = list(_describe_all(pool, known(), recipe.seed, 2 * workers))
            partial_file = file.with_suffix(".partial")
            partial_file.write_bytes(pickle.dumps(described))
            partial_file.replace(file)
        examples += pickle.loads(file.read_bytes())
    return examples


def _describe_all(
    pool: ProcessPoolExecutor, scans: Iterator[Known], seed: int, waiting: int
) -> Iterator[Examples]:
    """In order; never more scans in memory than so many waiting ones."""
    jobs: deque[Future[Examples]] = deque()
    for known in scans:
        jobs.append(pool.submit(describe_scan, known, seed))
        if len(jobs) >= waiting:
            yield jobs.popleft().result()
    yield from (job.result() for job in jobs)


def deal_folds(examples: Sequence[Examples]) -> dict[str, int]:
    """The fold of each patient."""
    listed = load_card("spectrum")["training"]["seen"]["patients"]
    return {
        e.patient: listed.get(identify_patient(e.patient), crc32(e.patient.encode()) % FOLDS) for e in examples
    }


def may_learn(example: Examples, fold: int, every: Sequence[Examples], fold_of: dict[str, int]) -> bool:
    """Whether a fold's network may see a scan: not its patients, and no authentic scan by a scanner of theirs."""
    if fold_of[example.patient] == fold:
        return False
    held = {e.scanner for e in every if e.what == AUTHENTIC and fold_of[e.patient] == fold and e.lung_slices > 3}
    return example.what not in (AUTHENTIC, CAMPAIGN) or not any(example.scanner.may_be(other) for other in held)


_TASK: tuple[Sequence[Examples], dict[str, int], NoduleRecipe] | None = None  # of a process that fits; inherited


def fit_all(
    examples: Sequence[Examples], fold_of: dict[str, int], recipe: NoduleRecipe, progress: Progress, workers: int
) -> list[list[Perceptron]]:
    """The network of each fold, then the one of all; ``workers`` at a time, each by one thread."""
    global _TASK  # handed to the processes by fork, without a copy
    _TASK = examples, fold_of, recipe
    networks = []
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        for done, network in enumerate(pool.map(_fit_fold, (*range(FOLDS), None))):
            networks.append(network)
            progress("fitting networks", done + 1, FOLDS + 1)
    _TASK = None
    return networks


def _fit_fold(fold: int | None) -> list[Perceptron]:
    if _TASK is None:
        raise UsageError("no examples to fit on")
    examples, fold_of, recipe = _TASK
    return fit([e for e in examples if fold is None or may_learn(e, fold, examples, fold_of)], recipe)


def fit(examples: Sequence[Examples], recipe: NoduleRecipe) -> list[Perceptron]:
    """One network on the labelled places of these scans."""
    from verict.training.nodule.network import fit_network  # brings in torch

    kept = [np.flatnonzero(e.label >= OTHER) for e in examples]
    features = np.concatenate([e.features[rows] for e, rows in zip(examples, kept, strict=True)])
    label = np.concatenate([e.label[rows] for e, rows in zip(examples, kept, strict=True)])
    weight = np.concatenate([
        np.where(e.label[rows] == NODULE, recipe.nodules[e.what], recipe.others[e.what])
        for e, rows in zip(examples, kept, strict=True)
    ])
    return fit_network(features, label == NODULE, weight, recipe.network, recipe.seed)


def _count(examples: Sequence[Examples]) -> dict[str, dict[str, int]]:
    told = {}
    for what in (AUTHENTIC, FAKES, CAMPAIGN, CHESTS):
        own = [e for e in examples if e.what == what]
        told[what] = {
            "scans": len(own),
            "patients": len({e.patient for e in own}),
            "nodules": sum(d > 0 for e in own for d in e.diameters_mm),
            "places": int(sum((e.label >= OTHER).sum() for e in own)),
        }
    return told
