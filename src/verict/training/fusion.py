"""Fits the weights of `verict.detect.fusion`, and measures the sum on patients and scanners no part of it ever saw.

Members score every scan by the model of its fold. The weights are a logistic regression on the places of a campaign of
the lab, the scans of the judged fold left out; thresholds come from untouched scans of all other folds. Neither sees a
real fake.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from verict import __version__
from verict.datasets.campaigns import CAMPAIGN_FILE, read_document
from verict.datasets.scans import Progress, identify_patient
from verict.detect.at_place import score_at
from verict.detect.evidence import ScoreMap
from verict.detect.fusion import MEMBERS, NAME, FusionDetector, FusionModel, score_members
from verict.detect.localiser import MAP_ORIGIN_PX, MAP_STRIDE_PX, average_runs, map_shape
from verict.detect.model import CARD_SCHEMA, WEIGHTS, Model, load_folds, load_model
from verict.detect.spectrum_features import SliceFeatures, grid_shape
from verict.detect.verdict import average_along_z
from verict.errors import UsageError
from verict.evaluation import ledger as real_fakes
from verict.evaluation.case import PAINTED, Case, Seen
from verict.evaluation.fair import RANKED_ONLY
from verict.evaluation.places import PlaceTable, tabulate_places
from verict.evaluation.thresholds import Goals
from verict.training.localiser.campaigns import KeptCase, keep_campaign
from verict.training.localiser.scoring import KeptScans
from verict.training.localiser.train import judge
from verict.training.logistic import make_regression
from verict.training.processed import map_processed
from verict.training.samples import load_scans

LOOKED_AT = {"mark_threshold": 5.0, "run_mark_threshold": 5.0}
"""Slices of a processed series are all looked at where a score comes near this, below which nothing is marked."""

Maps = dict[str, np.ndarray]
"""(z, rows, columns) map of each member, averaged along z."""


@dataclass(frozen=True)
class FusionRecipe:
    """How the weights are fitted: ``seed`` of the untouched places, ``goals`` of the thresholds."""

    seed: int = 1
    goals: Goals = field(default_factory=lambda: Goals(marks_per_slice=0.035))


@dataclass(frozen=True, eq=False)
class Places:
    """Places of a campaign: ``scores`` (n, members), ``painted`` (n,) bool, and the ``fold`` (n,) that judged them."""

    scores: np.ndarray
    painted: np.ndarray
    fold: np.ndarray


def train_fusion(
    data: Path, campaign: Path, out: Path, recipe: FusionRecipe, progress: Progress, *, work: Path,
    weights: Path = WEIGHTS, ledger: Path | None = None, workers: int = 2,
) -> dict[str, Any]:
    """Fit the weights, measure, and write ``fusion.json`` into ``out``; returns the card.

    Parameters
    ----------
    data
        Folder with ``authentic/`` and ``ctgan/``.
    campaign
        What ``verict tamper campaign`` made.
    out
        Gets the card.
    recipe
        See `FusionRecipe`.
    progress
        See `verict.datasets.scans.Progress`.
    work
        Scratch folder: measurements of scans are kept there.
    weights
        Folder of the members' models.
    ledger
        Gets a line for the look at the real fakes; ``real_fakes_ledger.csv`` in ``out`` by default.
    workers
        Processes.

    Raises
    ------
    DatasetError
        If a collection is not there.
    ModelError
        If a member's model is missing or altered.
    UsageError
        If the members' folds differ, or the campaign holds no forgery.
    MissingExtraError
        If scikit-learn is missing.
    """
    if ledger is not None:
        real_fakes.check_ledger(ledger)
    shipped = {name: load_model(name, weights) for name in MEMBERS}
    folds = {name: load_folds(name, weights) for name in MEMBERS}
    fold_of = _join_folds(shipped)
    count = len(folds[MEMBERS[0]])
    if any(len(models) != count for models in folds.values()):
        raise UsageError("the members were not fitted on as many folds", found=str([len(m) for m in folds.values()]))

    def members_of(patient: str) -> tuple[int, Mapping[str, Model]]:
        fold = fold_of.get(identify_patient(patient), -1)
        return fold, shipped if fold < 0 else {name: models[fold] for name, models in folds.items()}

    kept_cases = list(keep_campaign(campaign, work, recipe.seed, workers, progress))
    cases = [(c, *_score_case(c, members_of(c.subject.patient))) for c in kept_cases]
    places = _gather_places(cases)
    own_weights = [fit_weights(places, leave_out=fold) for fold in range(count)]
    final = fit_weights(places)
    scans = load_scans(data, progress)
    kept = KeptScans(scans, work / "whole", workers, progress)
    maps = []
    for index, scan in enumerate(scans):
        progress("scoring scans", index, len(scans))
        fold, models = members_of(scan.patient)
        maps.append(add_up(_score_scan(kept, index, models), own_weights[fold] if fold >= 0 else final))
    processed = map_processed(scans, lambda patient: _as_detector(*members_of(patient), own_weights, final), workers,
                              progress)
    folds_of_patients = {s.patient: fold_of[identify_patient(s.patient)] for s in scans}
    forged = _forged_runs(cases, own_weights, final)
    card = {
        "schema": CARD_SCHEMA, "id": NAME, "version": __version__,
        "weights": final,
        "members": {name: model.card["sha256"] for name, model in shipped.items()},
        "sha256": _identify(final, shipped),
        "input": {"members": list(MEMBERS)},
        "output": "log odds of paint with as many painted places as untouched ones, higher = more suspicious",
        **judge(scans, maps, folds_of_patients, count, recipe.seed, recipe.goals, detector=NAME, forged_series=forged,
                processed=processed),
        "training": {
            "campaign": read_document(campaign / CAMPAIGN_FILE)["sha256"],
            "places": {"painted": int(places.painted.sum()), "untouched": int((~places.painted).sum())},
            "recipe": asdict(recipe),
            **{key: shipped["localiser"].card["training"][key] for key in ("seen", "split")},
            "command": "verict train fusion --data ../shared/data --campaign CAMPAIGN",
        },
        "limits": sorted({limit for model in shipped.values() for limit in model.card["limits"]}),
    }
    card["folds"] = [
        {"weights": own, "calibration": calibration}
        for own, calibration in zip(own_weights, card.pop("fold_calibration"), strict=True)
    ]
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{NAME}.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    real_fakes.append_figures(
        ledger or out / real_fakes.DEFAULT_NAME,
        {row["name"]: row["value"] for row in card["figures"]},
        weights_sha256=card["sha256"],
        what="train fusion",
    )
    return card


def _identify(weights: Mapping[str, float], members: Mapping[str, Model]) -> str:
    """A hash of all that scores: the members' weights and those of their sum."""
    text = json.dumps([{k: round(v, 6) for k, v in weights.items()}, [m.card["sha256"] for m in members.values()]])
    return hashlib.sha256(text.encode()).hexdigest()


def _join_folds(models: Mapping[str, Model]) -> dict[str, int]:
    """Fold of each patient by hash, the same in all members."""
    listed = [model.card["training"]["seen"]["patients"] for model in models.values()]
    joined: dict[str, int] = {}
    for own in listed:
        for patient, fold in own.items():
            if joined.setdefault(patient, fold) != fold:
                raise UsageError("the members were cross-fitted on different folds", found=patient)
    return joined


def _score_maps(cells: Mapping[int, SliceFeatures], shape: tuple[int, ...], models: Mapping[str, Model]) -> Maps:
    fine = map_shape(grid_shape(*shape[1:]))
    maps = {name: np.full((shape[0], *fine), np.nan, np.float32) for name in MEMBERS}
    for z, one in cells.items():
        for name, values in score_members(one, models).items():
            maps[name][z] = values
    return maps


def _score_scan(kept: KeptScans, index: int, models: Mapping[str, Model]) -> Maps:
    volume = kept.scans[index].volume
    maps = _score_maps(kept.cells(index), volume.hu.shape, models)
    return {name: average_runs(values, volume) for name, values in maps.items()}


def _score_case(case: KeptCase, chosen: tuple[int, Mapping[str, Model]]) -> tuple[Maps, int]:
    geometry = case.subject.geometry
    maps = _score_maps(case.cells, geometry.hu.shape, chosen[1])
    return {name: average_runs(values, geometry) for name, values in maps.items()}, chosen[0]


def add_up(maps: Maps, weights: Mapping[str, float]) -> np.ndarray:
    """(z, rows, columns) weighted sum of the members' maps."""
    parts = [np.float32(weights[name]) * maps[name] for name in MEMBERS]
    return np.asarray(sum(parts) + np.float32(weights["constant"]), np.float32)


def _tabulate(case: KeptCase, values: np.ndarray) -> PlaceTable:
    score_map = ScoreMap(values, MAP_STRIDE_PX, MAP_ORIGIN_PX)
    return tabulate_places([Case(case.subject, score_map, RANKED_ONLY, Seen.UNSEEN)])


def _gather_places(cases: Sequence[tuple[KeptCase, Maps, int]]) -> Places:
    scores, painted, folds = [], [], []
    for case, maps, fold in cases:
        tables = [_tabulate(case, maps[name]) for name in MEMBERS]
        if len(tables[0]):
            scores.append(np.stack([t.score for t in tables], 1))
            painted.append(np.isin(tables[0].kind, PAINTED))
            folds.append(np.full(len(tables[0]), fold))
    if not scores or not np.concatenate(painted).any():
        raise UsageError("the campaign holds no forgery to fit on")
    every = np.concatenate(scores)
    defined = np.isfinite(every).all(axis=1)
    return Places(every[defined], np.concatenate(painted)[defined], np.concatenate(folds)[defined])


def fit_weights(places: Places, leave_out: int | None = None) -> dict[str, float]:
    """``constant`` and one weight a member, none below 0, by logistic regression with equal odds of both sides.

    Raises
    ------
    MissingExtraError
        If scikit-learn is missing.
    """
    chosen = np.ones(len(places.fold), bool) if leave_out is None else places.fold != leave_out
    used = list(range(len(MEMBERS)))
    while True:
        model = make_regression(10.0)
        model.fit(places.scores[chosen][:, used], places.painted[chosen])
        kept = [u for u, w in zip(used, model.coef_[0], strict=True) if w > 0]
        if len(kept) == len(used) or not kept:
            break
        used = kept
    weights = dict.fromkeys(MEMBERS, 0.0)
    weights |= {MEMBERS[u]: float(w) for u, w in zip(used, model.coef_[0], strict=True)}
    return weights | {"constant": float(model.intercept_[0])}


def _as_detector(
    fold: int, models: Mapping[str, Model], own: Sequence[Mapping[str, float]], final: Mapping[str, float]
) -> FusionDetector:
    """The sum as it scans, by a fold's models (-1 for the shipped ones)."""
    return FusionDetector(FusionModel({"weights": own[fold] if fold >= 0 else final, "calibration": LOOKED_AT}, models))


def _forged_runs(
    cases: Sequence[tuple[KeptCase, Maps, int]], own: Sequence[Mapping[str, float]], final: Mapping[str, float]
) -> list[tuple[float, str]]:
    """The score of each forged place of whole series, averaged along z as a verdict averages it; and whose it is."""
    found = []
    for case, maps, fold in cases:
        geometry = case.subject.geometry
        values = average_along_z(add_up(maps, own[fold] if fold >= 0 else final), geometry)
        score_map = ScoreMap(values, MAP_STRIDE_PX, MAP_ORIGIN_PX)
        painted = (place for place in case.subject.places if place.kind in PAINTED)
        found += [(score_at(score_map, p.z, p.y, p.x, geometry.spacing_mm), case.subject.patient) for p in painted]
    return found
