"""Trains the model of `verict.detect.back_in_time` on untouched scans only, and writes it with its card.

Nothing forged is learnt from, and nothing of the published fakes' scans. Thresholds are fitted on authentic series
that were not learnt from; each patient of these is judged by thresholds of the others, so the folds in the card share
one network.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from verict import __version__
from verict.datasets.scans import Progress, Scan, read_authentic_scans
from verict.detect.back_in_time import NAME, BackInTimeDetector, Reading
from verict.detect.model import CARD_SCHEMA, Model
from verict.errors import DatasetError
from verict.evaluation.case import Case, Seen
from verict.evaluation.fair import examine_blind
from verict.evaluation.subjects import make_subject
from verict.evaluation.thresholds import AuthenticMap, Goals, fit_thresholds
from verict.provenance import sha256_of
from verict.training.back_in_time.crops import CropSource, describe, gather_slices
from verict.training.back_in_time.export import write_onnx
from verict.training.back_in_time.fit import CHECKPOINT, CPU, fit
from verict.training.back_in_time.networks import count_parameters
from verict.training.back_in_time.recipe import PUBLISHED, BackInTimeRecipe, Objective
from verict.training.back_in_time.samples import SAMPLED, sample, write_losses, write_pictures
from verict.training.card import list_seen
from verict.training.figures import measure_cases
from verict.weights import open_session

LOSSES, PICTURES = f"{NAME}-loss.csv", f"{NAME}-samples.png"
LEARNT = -1  # the fold of what was learnt from: no model did not see it
STEP, SMOOTHING_CELLS, BRIGHTNESS_BINS = 0, 1.0, 12  # chosen on the design campaign (docs/back-in-time.md)
MARGIN_PX = 8
FEWEST_PATIENTS = 2  # each is judged by thresholds of the others
GOALS = Goals(marks_per_slice=0.1)


def train_back_in_time(
    data: Path, out: Path, recipe: BackInTimeRecipe, progress: Progress, *, work: Path,
    is_judged: bool = True, device: torch.device = CPU,
) -> dict[str, Any]:
    """Train, export, fit thresholds, and write weights, card, loss curve and samples into ``out``; returns the card.

    Parameters
    ----------
    data
        Folder with ``authentic/``.
    out
        Gets ``back-in-time.onnx``, ``back-in-time.json``, ``back-in-time-loss.csv`` and ``back-in-time-samples.png``.
    recipe
        What is learnt from, and how.
    progress
        See `verict.datasets.scans.Progress`.
    work
        Scratch folder; a killed training goes on from its checkpoint there, to the same weights.
    is_judged
        Whether thresholds are fitted and figures measured; without them the weights can be compared, not shipped.
    device
        That the network is fitted on; whatever is judged is judged on the processor.

    Raises
    ------
    DatasetError
        If there is nothing to learn from, or too little to fit thresholds on.
    ModelError
        If ``work`` holds a checkpoint of another recipe.
    InputError
        If a series cannot be read.
    """
    torch.set_num_threads(1)  # sums are the same however many cores there are
    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    learnt, source = gather_slices(data, recipe, work, progress)
    network, losses = fit(source.draw, work / CHECKPOINT, recipe, progress, device=device)
    difference = write_onnx(network, out / f"{NAME}.onnx", recipe.crop_px)
    write_losses(losses, out / LOSSES)
    _write_samples(network, source, recipe, out / PICTURES)
    card = describe_model(network, recipe, out, losses, device)
    card["training"] |= {"slices": describe(source.slices), "largest_difference_from_torch": difference}
    if is_judged:
        card |= _judge(data, out, recipe, card, learnt, progress)
    (out / f"{NAME}.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return card


def _write_samples(network: nn.Module, source: CropSource, recipe: BackInTimeRecipe, file: Path) -> None:
    """Crops that are learnt from, and beneath what the network samples, or what is left of them."""
    real = source.draw(SAMPLED, np.random.default_rng([recipe.seed, 1 << 31]))[:, 0]
    rows = [real]
    if recipe.objective is Objective.DIFFUSION and recipe.fit.highest_step == PUBLISHED.fit.highest_step:
        rows.append(sample(network, recipe.crop_px, recipe.seed))
    write_pictures(rows, file)


def make_reading(recipe: BackInTimeRecipe) -> Reading:
    """How residuals of a recipe's network are read: what was chosen on the design campaign."""
    step = STEP if recipe.objective is Objective.DIFFUSION else 0
    return Reading(recipe.window_hu, step, recipe.crop_px, MARGIN_PX, SMOOTHING_CELLS, BRIGHTNESS_BINS,
                   is_two_sided=True, is_standardised=False)


def describe_model(
    network: nn.Module, recipe: BackInTimeRecipe, out: Path, losses: Sequence[float], device: torch.device
) -> dict[str, Any]:
    """The card without thresholds and figures."""
    fitted, published = recipe.fit, PUBLISHED.fit
    crops = fitted.steps * fitted.batch * fitted.accumulate
    return {
        "schema": CARD_SCHEMA,
        "id": NAME,
        "version": __version__,
        "sha256": sha256_of(out / f"{NAME}.onnx"),
        "input": {
            **asdict(make_reading(recipe)),
            "axes": "tiles (n, 1, y, x) in [-1, 1], step (n,)",
            "chosen": "step index and norm on a campaign of the lab, see docs/back-in-time.md",
        },
        "output": "how far the logarithm of the residual of one reverse step lies from what is usual in the slice at "
        "places as bright, higher = more suspicious",
        "calibration": {},
        "training": {
            "split": "nothing forged and no scan of the published fakes was learnt from; thresholds are those of "
            "authentic series that were not learnt from, by patient",
            "recipe": asdict(recipe),
            "parameters": count_parameters(network),
            "last_loss": round(float(np.mean(losses[-200:])), 5),
            "crops": crops,
            "share_of_published_crops": crops / (published.steps * published.batch * published.accumulate),
            "device": device.type,
            "command": f"verict train back-in-time --data ../shared/data --recipe {recipe.name} --device {device.type}",
        },
        "figures": [],
        "limits": [
            "Learnt from few scans for a small part of the published number of steps.",
            "Pasted tissue of the same scan, and noise copied from it, are what the model expects.",
            "Vessels, walls and scars it seldom saw look unusual, too.",
            "Needs lung texture: not for other body regions.",
        ],
    }


def _judge(
    data: Path, out: Path, recipe: BackInTimeRecipe, card: dict[str, Any], learnt: Sequence[Scan], progress: Progress
) -> dict[str, Any]:
    """``calibration``, ``folds``, ``figures`` and ``training`` of a card, from series that were not learnt from."""
    session = open_session(out / f"{NAME}.onnx", card["sha256"])
    detector = BackInTimeDetector(Model(card | {"calibration": {"mark_threshold": 0.0}}, session))
    scans, maps = [], []
    for folder in sorted(p for p in (data / "authentic").iterdir() if p.is_dir()):
        if folder.name in recipe.learnt_from:
            continue
        for scan in read_authentic_scans(folder, progress):
            values, _ = examine_blind(detector, scan.volume, scan.lungs)
            if np.isfinite(values.values).any():
                scans.append(scan)
                maps.append(values)
    patients = sorted({scan.patient for scan in scans})
    if len(patients) < FEWEST_PATIENTS:
        raise DatasetError("too few patients that were not learnt from to fit thresholds on", file=data / "authentic",
                           found=str(len(patients)), expected=f"at least {FEWEST_PATIENTS}")
    fold_of = {patient: k for k, patient in enumerate(patients)}
    whole = [AuthenticMap(s.volume.series_instance_uid, s.patient, s.volume, m.values)
             for s, m in zip(scans, maps, strict=True)]
    shipped = fit_thresholds(whole, GOALS)
    own = [fit_thresholds([m for m in whole if m.patient != patient], GOALS) for patient in patients]
    cases = [Case(make_subject(s, recipe.seed), m, own[fold_of[s.patient]], Seen.OUT_OF_FOLD)
             for s, m in zip(scans, maps, strict=True)]
    folds = fold_of | dict.fromkeys((s.patient for s in learnt), LEARNT)
    return {
        "calibration": shipped,
        "folds": [{"file": f"{NAME}.onnx", "sha256": card["sha256"], "calibration": one} for one in own],
        "figures": [row for row in measure_cases(cases, shipped, NAME) if row["n"]],  # no fake is looked at
        "training": card["training"] | {
            "data": {"learnt_from": {"scans": len(learnt), "patients": len({s.patient for s in learnt})},
                     "thresholds": {"scans": len(scans), "patients": len(patients)}},
            "seen": list_seen([*learnt, *scans], folds),
        },
    }
