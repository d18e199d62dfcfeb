"""Fits the localiser, measures it on patients and scanners it never saw, and writes its card.

Folds are dealt by patient, for the real fakes by uuid. A fold's network sees no patient of its fold, no tissue of them
spliced into others, and no authentic scan of a scanner model that one of them may share. The thresholds that judge a
fold are fitted on the untouched scans of all other folds, each scored by the network of its own fold. That network did
see the judged fold's untouched scans; its thresholds did not. The shipped network is fitted on everything, its
thresholds on all out-of-fold maps; it was not itself measured.
"""

from __future__ import annotations

import json
import multiprocessing
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from verict import __version__
from verict.datasets.scans import Progress, Scan, Source, identify_patient
from verict.datasets.splits import Scanner, grouped_folds
from verict.detect import localiser_features as lf
from verict.detect.evidence import ScoreMap
from verict.detect.localiser import MAP_ORIGIN_PX, MAP_STRIDE_PX
from verict.detect.model import CARD_SCHEMA, load_model
from verict.errors import DatasetError, UsageError
from verict.evaluation import ledger as real_fakes
from verict.evaluation.case import Case, PlaceKind, Seen
from verict.evaluation.evidence_fit import fit_evidence, untouched_scores
from verict.evaluation.places import tabulate_places
from verict.evaluation.subjects import make_subject
from verict.evaluation.thresholds import AuthenticMap, Goals, fit_thresholds
from verict.provenance import sha256_of
from verict.training.card import list_seen
from verict.training.figures import measure_cases
from verict.training.localiser.bank import Maker, Tags
from verict.training.localiser.designs import MapNetwork, make_network
from verict.training.localiser.export import write_onnx
from verict.training.localiser.fit import FitRecipe, fit
from verict.training.localiser.scoring import KeptScans
from verict.training.localiser.shards import Bank
from verict.training.localiser.sources import Stock, gather_stock, read_sources
from verict.training.phantoms import FOLDER as PHANTOM

NAME = "localiser"
_BANKS: list[Bank] = []  # the one of a process that fits a fold; inherited
_KEEP: dict[int, Callable[[Tags], bool]] = {}


@dataclass(frozen=True)
class LocaliserRecipe:
    """Everything that decides what is trained; the defaults are what is shipped.

    Parameters
    ----------
    seed
        Of examples, batches and weights.
    chests
        Simulated chests that are learnt from too.
    shards
        Of the bank, 40 draws each.
    folds
        Cross-fitting folds; 0 fits one network on everything and measures nothing.
    real_fakes
        Whether the real fakes' labelled places are learnt from.
    leave_out
        Methods and touch-ups of the lab that nothing learnt from is made by or resembles.
    fit, goals
        See `FitRecipe` and `verict.evaluation.thresholds.Goals`.
    """

    seed: int = 7
    chests: int = 24
    shards: int = 80
    folds: int = 5
    real_fakes: bool = True
    leave_out: tuple[str, ...] = ()
    fit: FitRecipe = field(default_factory=FitRecipe)
    goals: Goals = field(default_factory=lambda: Goals(marks_per_slice=0.03))


def read_recipe(file: Path) -> LocaliserRecipe:
    """A recipe from TOML: keys as in `LocaliserRecipe`, tables ``fit``, ``fit.network`` and ``goals``.

    Raises
    ------
    UsageError
        If the file cannot be read or names something that is not there.
    """
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError("the recipe cannot be read", file=file, found=error) from error
    return _fill(LocaliserRecipe(), given, file)


def _fill(recipe: Any, given: dict[str, Any], file: Path) -> Any:
    known = {f.name: getattr(recipe, f.name) for f in fields(recipe)}
    changed = {}
    for name, value in given.items():
        if name not in known:
            raise UsageError("the recipe names what there is not", file=file, found=name, expected=", ".join(known))
        own = known[name]
        if is_dataclass(own) and isinstance(value, dict):
            changed[name] = _fill(own, value, file)
        elif isinstance(own, tuple) and isinstance(value, list):
            changed[name] = tuple(value)
        elif isinstance(value, type(own)) or (isinstance(own, float) and isinstance(value, int)):
            changed[name] = type(own)(value)
        else:
            raise UsageError("the recipe has a value of the wrong kind", file=file, found=f"{name} = {value!r}",
                             expected=type(own).__name__)
    return replace(recipe, **changed)


def train_localiser(
    data: Path, out: Path, recipe: LocaliserRecipe, progress: Progress, *, work: Path, ledger: Path | None = None,
    workers: int = 2,
) -> dict[str, Any]:
    """Train, measure and write weights, those of each fold, and card into ``out``; returns the card.

    A killed training goes on from what lies in ``work`` (simulated chests, examples, checkpoints), to the same weights.

    Parameters
    ----------
    data
        Folder with ``authentic/`` and ``ctgan/``.
    out
        Gets ``localiser.onnx``, ``localiser-fold-N.onnx`` and ``localiser.json``.
    recipe
        What is learnt from, and how.
    progress
        See `verict.datasets.scans.Progress`.
    work
        Scratch folder; of another seed take another.
    ledger
        Gets a line for the look at the real fakes; ``real_fakes_ledger.csv`` in ``out`` by default.
    workers
        Processes.

    Raises
    ------
    DatasetError
        If ``data`` does not hold the authentic scans and the real fakes.
    ModelError
        If ``work`` holds a checkpoint of another recipe.
    UsageError
        If there is too little to learn from, or the design cannot be exported.
    """
    if recipe.fit.network.design == "pixel":
        raise UsageError("the design pixel can be compared, not shipped", expected="map or window")
    if ledger is not None:
        real_fakes.check_ledger(ledger)
    torch.set_num_threads(1)  # sums are the same however many cores there are
    scans = read_sources(data, recipe.chests, recipe.seed, work, progress)
    stock = gather_stock(scans, recipe.seed, progress)
    real = [scan for scan in scans if scan.folder != PHANTOM]
    fold_of = deal_folds(scans, recipe.folds, recipe.seed)
    out.mkdir(parents=True, exist_ok=True)
    bank_name = f"bank-{recipe.seed}-{recipe.chests}"
    with Bank(Maker(stock, recipe.seed), work / bank_name, recipe.shards, workers) as bank:
        networks, facts = fit_folds(
            bank, scans, fold_of, recipe, work=work, progress=progress, workers=workers
        )
    shipped = networks.pop()
    difference = write_onnx(shipped, out / f"{NAME}.onnx")
    for k, network in enumerate(networks):
        write_onnx(network, out / fold_file(k))
    card = _describe(out, recipe, facts, difference, scans)
    if networks:
        kept = KeptScans(real, work / "whole", workers, progress)
        maps = score_out_of_fold(kept, networks, fold_of, progress)
        card |= judge(real, maps, fold_of, recipe.folds, recipe.seed, recipe.goals)
        card["training"]["seen"] = list_seen(scans, fold_of)
        card["folds"] = [
            {"file": fold_file(k), "sha256": sha256_of(out / fold_file(k)), "calibration": own}
            for k, own in enumerate(card.pop("fold_calibration"))
        ]
        real_fakes.append_figures(
            ledger or out / real_fakes.DEFAULT_NAME,
            {row["name"]: row["value"] for row in card["figures"]},
            weights_sha256=card["sha256"],
            what="train localiser",
        )
    (out / f"{NAME}.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return card


def fold_file(fold: int) -> str:
    """The name of a fold's weights."""
    return f"{NAME}-fold-{fold}.onnx"


def deal_folds(scans: Sequence[Scan], folds: int, seed: int) -> dict[str, int]:
    """Fold of each patient: that of the spectrum detector where its card lists one, so that both can be weighed.

    Others are dealt so that whole series, real fakes, single slices and simulated chests are spread alike.
    """
    patients = sorted({s.patient for s in scans})
    if folds < 2:
        return dict.fromkeys(patients, 0)
    spectrum = load_model("spectrum").card
    listed = spectrum["training"]["seen"]["patients"] if len(spectrum["folds"]) == folds else {}
    fold_of = {p: listed[identify_patient(p)] for p in patients if identify_patient(p) in listed}
    others = [p for p in patients if p not in fold_of]
    kind: dict[str, str] = {}
    for scan in scans:
        own = "ctgan" if scan.source is Source.LABELLED else "chest" if scan.folder == PHANTOM else "single"
        deep = own == "single" and scan.volume.slice_count > 20
        kind[scan.patient] = "series" if deep or kind.get(scan.patient) == "series" else own
    if len(others) < folds:
        return fold_of | {p: number % folds for number, p in enumerate(others)}
    dealt = grouped_folds(others, folds, seed, classes=[kind[p] for p in others])
    return fold_of | {others[i]: k for k, members in enumerate(dealt) for i in members}


def may_learn(
    scans: Sequence[Scan], fold_of: dict[str, int], fold: int, recipe: LocaliserRecipe
) -> Callable[[Tags], bool]:
    """Which examples a fold's network may learn from; those of all patients where no fold is left out (-1)."""
    held = {p for p, k in fold_of.items() if k == fold}
    held_scanners = {s.scanner for s in scans if s.patient in held and s.source is Source.AUTHENTIC}
    left_out = set(recipe.leave_out)

    def keep(tags: Tags) -> bool:
        if left_out & set(tags.akin) or (tags.what == "real" and not recipe.real_fakes):
            return False
        if held & set(tags.patients):
            return False
        scanner = Scanner(*tags.scanner)
        return not any(scanner.may_be(other) for other in held_scanners)

    return keep


def fit_folds(
    bank: Bank, scans: Sequence[Scan], fold_of: dict[str, int], recipe: LocaliserRecipe, *, work: Path,
    progress: Progress, workers: int,
) -> tuple[list[MapNetwork], list[dict[str, float]]]:
    """Networks of all folds and, last, the one fitted on everything; and what `fit` tells of each.

    The last is fitted first, in this process, while the bank is made.
    """
    jobs = [-1, *range(recipe.folds if recipe.folds > 1 else 0)]
    keep = {k: may_learn(scans, fold_of, k, recipe) for k in jobs}
    recipe_of = replace(recipe.fit, real_share=recipe.fit.real_share if recipe.real_fakes else 0.0)
    done: dict[int, tuple[dict[str, torch.Tensor], dict[str, float]]] = {}
    network, facts = fit(bank, keep[-1], work / "network-all.pt", recipe_of, recipe.seed, progress)
    done[-1] = network.state_dict(), facts
    for index in range(-1, bank.count):  # the others find every shard on the disk
        bank.read(index)
    _BANKS[:] = [Bank(Maker(Stock((), (), ()), recipe.seed), bank.folder, bank.count, 0)]
    _KEEP.update(keep)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        futures = {k: pool.submit(_fit_fold, k, work / f"network-{k}.pt", recipe_of, recipe.seed) for k in jobs[1:]}
        for number, (k, future) in enumerate(futures.items()):
            progress("fitting the folds", number, len(futures))
            done[k] = future.result()
    networks: list[MapNetwork] = []
    for k in (*jobs[1:], -1):
        fitted = cast(MapNetwork, make_network(recipe.fit.network))  # train_localiser refuses the others
        fitted.load_state_dict(done[k][0])
        networks.append(fitted.eval())
    return networks, [done[k][1] for k in (*jobs[1:], -1)]



def _fit_fold(fold: int, file: Path, recipe: FitRecipe, seed: int) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    network, facts = fit(_BANKS[0], _KEEP[fold], file, recipe, seed + 1 + fold, lambda *_: None)
    return network.state_dict(), facts


def score_out_of_fold(
    kept: KeptScans, networks: Sequence[MapNetwork], fold_of: dict[str, int], progress: Progress
) -> list[np.ndarray]:
    """(z, rows, columns) map of each scan by the network of its fold."""
    maps = []
    for index, scan in enumerate(kept.scans):
        progress("scoring scans", index, len(kept.scans))
        maps.append(kept.score(index, networks[fold_of[scan.patient]]))
    return maps


def judge(
    scans: Sequence[Scan], maps: Sequence[np.ndarray], fold_of: dict[str, int], folds: int, seed: int, goals: Goals,
    *, detector: str = NAME, forged_series: Sequence[tuple[float, str]] = (), processed: Sequence[AuthenticMap] = (),
) -> dict[str, Any]:
    """``calibration``, ``fold_calibration``, ``figures`` and ``evidence`` of a card, from out-of-fold maps.

    ``processed`` are out-of-fold maps too, see `verict.evaluation.thresholds.fit_thresholds`.
    """
    authentic = [
        (fold_of[s.patient], AuthenticMap(s.folder, s.patient, s.volume, m))
        for s, m in zip(scans, maps, strict=True) if s.source is Source.AUTHENTIC and np.isfinite(m).any()
    ]
    shipped = fit_thresholds([m for _, m in authentic], goals, processed)
    own = [
        fit_thresholds([m for k, m in authentic if k != fold], goals,
                       [m for m in processed if fold_of[m.patient] != fold])
        for fold in range(folds)
    ]
    cases = [
        Case(make_subject(scan, seed), ScoreMap(values, MAP_STRIDE_PX, MAP_ORIGIN_PX),
             own[fold_of[scan.patient]], Seen.OUT_OF_FOLD)
        for scan, values in zip(scans, maps, strict=True)
        if np.isfinite(values).any()
    ]
    return {
        "calibration": shipped,
        "fold_calibration": own,
        "figures": measure_cases(cases, shipped, detector),
        "evidence": weigh(cases, forged_series),
    }


def weigh(cases: Sequence[Case], forged_series: Sequence[tuple[float, str]]) -> dict[str, Any]:
    """The card's ``evidence``: untouched slices against the real fakes' places, series against forged ones."""
    slices, series = [], []
    for case in cases:
        if case.subject.source is Source.AUTHENTIC:
            subject = case.subject
            own = untouched_scores(subject.geometry, case.score_map.values, subject.patient, subject.scanner)
            slices += own[0]
            series += own[1]
    table = tabulate_places(cases).of(PlaceKind.FB, PlaceKind.FM)
    return fit_evidence(slices, list(zip(table.score.tolist(), table.patient.tolist(), strict=True)),
                        untouched_series=series, forged_series=forged_series)


def _describe(
    out: Path, recipe: LocaliserRecipe, facts: Sequence[dict[str, float]], difference: float, scans: Sequence[Scan]
) -> dict[str, Any]:
    real = [s for s in scans if s.folder != PHANTOM]
    counted = {
        "authentic": [s for s in real if s.source is Source.AUTHENTIC],
        "ctgan": [s for s in real if s.source is Source.LABELLED],
        "simulated chests": [s for s in scans if s.folder == PHANTOM],
    }
    if not counted["authentic"]:
        raise DatasetError("no authentic scan to learn from")
    return {
        "schema": CARD_SCHEMA,
        "id": NAME,
        "version": __version__,
        "sha256": sha256_of(out / f"{NAME}.onnx"),
        "input": {
            "channels": lf.CHANNEL_COUNT,
            "axes": "values (rows, columns, channels), mask (rows, columns); a cell every 8 pixels",
            "neighbours": "the slice before and after, where they belong to the run",
        },
        "output": "uncalibrated log odds of paint, four a cell, higher = more suspicious",
        "calibration": {},
        "training": {
            "data": {
                name: {"scans": len(own), "slices": sum(int(s.lungs.found.sum()) for s in own),
                       "patients": len({s.patient for s in own})}
                for name, own in counted.items()
            },
            "split": "folds by patient (real fakes by uuid; two may be one patient); authentic scans also by scanner "
            "model; the scanners of the real fakes are unknown and may be among those trained on",
            "recipe": asdict(recipe),
            "examples": facts[-1]["examples"],
            "loss": [round(f["loss"], 4) for f in facts],
            "waited_for_examples": round(facts[-1]["waited"], 3),
            "largest_difference_from_torch": difference,
            "command": "verict train localiser --data ../shared/data",
        },
        "figures": [],
        "limits": [
            "Fitted on forgeries of this project's own lab beside the published fakes of one attack.",
            "Noise matched to the scan's own spectrum shows little on a single slice.",
            "Needs lung texture: not for other body regions.",
        ],
    }
