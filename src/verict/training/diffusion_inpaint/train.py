"""Trains the inpainting diffusion model from a folder of scans and simulated chests, and writes it with its card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from verict import __version__
from verict.datasets.scans import Progress, read_authentic_scans
from verict.errors import DatasetError
from verict.provenance import sha256_of
from verict.tamper.diffusion import CHANNELS, CLIP_HU, MIDDLE_HU, MULTIPLE, TRAINING_STEPS, UNIT_HU
from verict.tamper.families.diffusion import NAME, SCHEMA, DiffusionInpaint, DiffusionSettings, open_network
from verict.training.diffusion_inpaint.chests import LEFT_OUT, KnownScan, read_real_scans, simulate_chests
from verict.training.diffusion_inpaint.export import write_onnx
from verict.training.diffusion_inpaint.figures import measure_removals, to_rows
from verict.training.diffusion_inpaint.fit import CHECKPOINT, FitRecipe, fit
from verict.training.diffusion_inpaint.network import InpaintingUNet
from verict.training.diffusion_inpaint.patches import PatchSource

CHESTS = "simulated-chests"


@dataclass(frozen=True)
class DiffusionRecipe:
    """What is learnt from, and how.

    Parameters
    ----------
    fit
        The network and its training.
    chests
        How many simulated chests.
    measured
        Places of each left-out scan that the card's figures are measured on.
    """

    fit: FitRecipe = field(default_factory=FitRecipe)
    chests: int = 16
    measured: int = 60


def train_diffusion_inpaint(data: Path, out: Path, recipe: DiffusionRecipe, progress: Progress) -> dict[str, Any]:
    """Train, export and measure.

    A killed training goes on from its checkpoint in ``out``, to the same weights; simulated chests lie there too. Both
    may be deleted at the end.

    Parameters
    ----------
    data
        Folder with ``authentic/`` and ``nodules.csv``.
    out
        Where ``diffusion-inpaint.onnx`` and ``diffusion-inpaint.json`` go.
    recipe
        What is learnt from, and how.
    progress
        See `verict.datasets.scans.Progress`.

    Returns
    -------
    dict
        The card.

    Raises
    ------
    UsageError
        If there is no such data.
    DatasetError
        If it holds nothing to learn from.
    ModelError
        If ``out`` holds a checkpoint of another recipe.
    InputError
        If a series cannot be read.
    """
    torch.set_num_threads(1)  # sums are the same however many cores there are
    out.mkdir(parents=True, exist_ok=True)
    scans = read_real_scans(data, progress)
    scans += simulate_chests(recipe.chests, recipe.fit.seed, out / CHESTS, progress)
    network, losses = fit(PatchSource(scans).draw_batch, out / CHECKPOINT, recipe.fit, progress)
    difference = write_onnx(network, out / f"{NAME}.onnx")
    card = _describe(network, scans, recipe, losses, out, difference)
    _write(card, out)
    card["figures"] = _measure(data, out, recipe, progress)
    _write(card, out)
    return card


def _measure(data: Path, out: Path, recipe: DiffusionRecipe, progress: Progress) -> list[dict[str, object]]:
    if not recipe.measured:
        return []
    denoise, _ = open_network(out.resolve())
    model = DiffusionInpaint(denoise=denoise)
    rows: list[dict[str, object]] = []
    for scan in read_authentic_scans(data / "authentic", progress):
        if scan.folder in LEFT_OUT:
            values = measure_removals(scan, model, recipe.measured, recipe.fit.seed, progress)
            if not values:
                raise DatasetError("no healthy lung to measure on", file=data / "authentic" / scan.folder)
            rows += to_rows(scan.folder, values)
    return rows


def _describe(
    network: InpaintingUNet, scans: Sequence[KnownScan], recipe: DiffusionRecipe, losses: Sequence[float], out: Path,
    difference: float,
) -> dict[str, Any]:
    simulated = [scan for scan in scans if not scan.is_real]
    settings = DiffusionSettings()
    return {
        "schema": SCHEMA,
        "id": NAME,
        "version": __version__,
        "sha256": sha256_of(out / f"{NAME}.onnx"),
        "kind": "inject and remove",
        "config": {
            "architecture": "3D U-Net of MONAI's diffusion blocks on cells of 2 x 2 x 2 voxels, without attention",
            "channels": list(recipe.fit.network.channels),
            "parameters": sum(p.numel() for p in network.parameters()),
            "input": f"channels (n, {CHANNELS}, z, y, x): noisy hole in known tissue, guess, hole, nodule, spread of "
            f"texture; level (n,) 0 to 999; the scan's own voxels, sides multiples of {MULTIPLE}",
            "output": "velocity (n, 1, z, y, x)",
            "clip_hu": list(CLIP_HU),
            "unit": f"(HU + {-MIDDLE_HU:g}) / {UNIT_HU:g}",
            "noise_levels": f"{TRAINING_STEPS}, cosine",
            "sampling": {"steps": settings.steps, "eta": settings.eta},
            "stored": "half precision, computed in single",
            "largest_difference_from_torch": difference,
        },
        "training": {
            "data": {
                "authentic": {scan.name: len(scan.hu) for scan in scans if scan.is_real},
                "simulated_chests": len(simulated),
                "left_out": list(LEFT_OUT),
            },
            "n": len(scans),
            "nodules": {
                "real": sum(len(scan.nodules) for scan in scans if scan.is_real),
                "simulated": sum(len(scan.nodules) for scan in simulated),
            },
            "seed": recipe.fit.seed,
            "steps": recipe.fit.steps,
            "recipe": asdict(recipe),
            "last_loss": round(float(np.mean(losses[-200:])), 4),
            "command": f"verict train diffusion-inpaint --data ../shared/data --out DIR --steps {recipe.fit.steps} "
            f"--seed {recipe.fit.seed}",
        },
        "figures": [],
        "limits": [
            "Learnt from the lung of three patients and from simulated chests; nodules almost only from the latter.",
            "What is brighter than 300 HU is shown to it as 300 HU: no calcified nodule is painted.",
            "Places of more voxels than it is shown at once are painted on a coarser grid, and lose fine texture.",
            "It paints one likely lung, not the one that stood there: vessels may end at the hole or be made up.",
        ],
    }


def _write(card: dict[str, Any], out: Path) -> None:
    (out / f"{card['id']}.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
