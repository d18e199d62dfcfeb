"""Trains one generator of CT-GAN from a folder of authentic scans, and writes it with its card."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from verict import __version__
from verict.datasets.authentic import read_authentic
from verict.datasets.masses import find_nodules
from verict.datasets.scans import Progress, Scan, read_authentic_scans
from verict.errors import DatasetError
from verict.provenance import sha256_of
from verict.tamper.ctgan_cuboid import Equaliser
from verict.tamper.families.ctgan import SCHEMA, open_model
from verict.tamper.forgery import ForgeryKind
from verict.training.ctgan.data import Bank, cut_with_room, find_healthy_sites, store
from verict.training.ctgan.export import export_generator
from verict.training.ctgan.fit import FitRecipe, fit_generator
from verict.training.ctgan.networks import count_parameters
from verict.training.ctgan.nodules import RealNodule, cut_nodules, vary_nodules
from verict.training.ctgan.quality import cut_apart, measure_injections, measure_removals

LEFT_OUT = ("cmbcrc-ge-LUNG", "fusedct-siemens-B31f")  # their lung is kept for measuring
LEAST_MM = 20.0  # of neighbouring slices: what is less is no scan to cut cuboids from


SHIPPED = {
    # So short a training learns more of what the rim tells of the hole without dropout, and with the hole weighted
    # by its share.
    ForgeryKind.REMOVE: FitRecipe(dropout=0.0, hole_weight=4.0),
    # An equal judge and a lighter error: with the published balance the network paints the mean of all nodules it saw,
    # a rounded cube.
    ForgeryKind.INJECT: FitRecipe(steps=1500, discriminator_rate=2e-4, mae_weight=30.0),
}
"""How the shipped generators were fitted."""


@dataclass(frozen=True)
class CtGanRecipe:
    """What is learnt from, and how.

    Parameters
    ----------
    fit
        The networks and their training.
    healthy
        Cuboids of healthy lung of each patient, shared equally among their series.
    variations
        Of nodules; for injection only.
    measured
        Cuboids of each left-out scan, for the card's figures.
    """

    fit: FitRecipe
    healthy: int = 800
    variations: int = 1800
    measured: int = 60


@dataclass(frozen=True, eq=False)
class _Material:
    """What the scans hold: healthy cuboids to learn from, real nodules, healthy cuboids to measure on."""

    healthy: Bank
    nodules: list[RealNodule]
    left_out: dict[str, np.ndarray]


def train_ctgan(
    kind: ForgeryKind, data: Path, out: Path, recipe: CtGanRecipe, progress: Progress
) -> dict[str, Any]:
    """Train the generator that injects or removes.

    A killed training resumes from its checkpoint in ``out``; the checkpoint is deleted at the end.

    Parameters
    ----------
    kind
        Which of the two.
    data
        Folder with ``authentic/``.
    out
        Where ``ctgan-KIND.onnx`` and ``ctgan-KIND.json`` go.
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
        If there is no such data, or ``out`` holds a checkpoint of another recipe.
    DatasetError
        If the scans hold no healthy lung or, for injection, no nodule.
    InputError
        If a series cannot be read.
    """
    torch.set_num_threads(1)  # sums are the same on any machine, and a small network gains little from more
    out.mkdir(parents=True, exist_ok=True)
    material = _gather(data / "authentic", recipe, progress)
    bank = material.healthy if kind is ForgeryKind.REMOVE else _vary(material, recipe)
    equaliser = Equaliser.fit(bank.middles())
    losses: dict[str, float] = {}

    def report(step: int, last: dict[str, float]) -> None:
        for name, value in last.items():  # smoothed over about 50 steps
            losses[name] = value if name not in losses else losses[name] + (value - losses[name]) / 50
        progress(f"training, error in the hole {losses['error_in_hole']:.4f}", step, recipe.fit.steps)

    checkpoint = out / f"ctgan-{kind}.checkpoint.pt"
    generator = fit_generator(bank, equaliser, recipe.fit, checkpoint, report)
    file = out / f"ctgan-{kind}.onnx"
    difference = export_generator(generator, equaliser, file)
    card: dict[str, Any] = {
        "schema": SCHEMA,
        "id": f"ctgan-{kind}",
        "version": __version__,
        "sha256": sha256_of(file),
        "kind": str(kind),
        "config": {
            "architecture": "3D U-Net of Mirsky et al., USENIX Security 2019, and its published code",
            "filters": recipe.fit.filters,
            "parameters": count_parameters(generator),
            "input": "(1, 1, 32, 32, 32) at 1 mm, equalised and normalised, 0 in the middle 20 mm; axes (z, y, x)",
            "output": "the whole cuboid in the same units",
            "equaliser": "10,000 bins, in the file's metadata",
            "largest_difference_from_torch": difference,
        },
        "training": {
            **_describe(kind, material, bank),
            "recipe": asdict(recipe),
            "last_losses": {name: round(value, 4) for name, value in losses.items()},
            "command": _command(kind, recipe.fit),
        },
        "figures": [],
        "limits": _LIMITS[kind],
    }
    _write(card, out)
    model = open_model(kind, out)
    measure = measure_removals if kind is ForgeryKind.REMOVE else measure_injections
    card["figures"] = [row for series, cuboids in material.left_out.items() for row in measure(model, cuboids, series)]
    _write(card, out)
    checkpoint.unlink(missing_ok=True)
    return card


_LIMITS = {
    ForgeryKind.REMOVE: [
        "Learnt from the lung of three patients only: it paints plain lung of the right density, not vessels.",
        "What it paints is smoother than any scan; without a touch-up the place shows at lung window.",
        "Small: the published network has 70 times as many parameters and saw 169 places of as many patients.",
    ],
    ForgeryKind.INJECT: [
        "Learnt from very few real nodules and variations of them: it paints one kind of nodule, round and solid.",
        "Its size does not follow a wish; it is what the surroundings suggest.",
        "A detector that learns from its nodules alone learns these few; real fakes vary more.",
    ],
}


def _gather(folder: Path, recipe: CtGanRecipe, progress: Progress) -> _Material:
    """Go through the scans, one in memory at a time."""
    cuboids: list[np.ndarray] = []
    sources: list[str] = []
    nodules: list[RealNodule] = []
    left_out: dict[str, np.ndarray] = {}
    patients = Counter(s.patient for s in read_authentic(folder) if s.is_contiguous and s.folder not in LEFT_OUT)
    for scan in _contiguous(folder, progress):
        masses = find_nodules(scan.volume, scan.lungs)
        nodules += cut_nodules(scan.volume, masses, scan.folder)
        avoid = [(mass.centre, mass.diameter_mm / 2) for mass in masses]
        rng = np.random.default_rng([recipe.fit.seed, len(left_out), len(cuboids)])
        if scan.folder in LEFT_OUT:
            left_out[scan.folder] = cut_apart(scan, recipe.measured, avoid, rng)
            continue
        sites = find_healthy_sites(scan, recipe.healthy // max(patients[scan.patient], 1), avoid, rng)
        cuboids += [store(cut_with_room(scan, site)) for site in sites]
        sources += [scan.folder] * len(sites)
    if not cuboids:
        raise DatasetError("no healthy lung to learn from", file=folder, next_step="name a folder with chest CT series")
    return _Material(Bank(np.stack(cuboids), tuple(sources)), nodules, left_out)


def _contiguous(folder: Path, progress: Progress) -> Iterator[Scan]:
    for scan in read_authentic_scans(folder, progress):
        positions = scan.volume.positions_mm
        if max(positions[run.stop - 1] - positions[run.start] for run in scan.volume.runs) >= LEAST_MM:
            yield scan


def _vary(material: _Material, recipe: CtGanRecipe) -> Bank:
    if not material.nodules:
        raise DatasetError("no nodule to learn from", expected="at least one that is found in the scans")
    rng = np.random.default_rng([recipe.fit.seed, recipe.variations])
    return Bank.of(*vary_nodules(material.nodules, material.healthy, recipe.variations, rng))


def _describe(kind: ForgeryKind, material: _Material, bank: Bank) -> dict[str, object]:
    described: dict[str, object] = {
        "data": {
            "healthy_cuboids": dict(Counter(material.healthy.sources)),
            "left_out": sorted(material.left_out),
        },
        "n": len(bank),
    }
    if kind is ForgeryKind.INJECT:
        described["real_nodules"] = [
            {"folder": nodule.source, "diameter_mm": round(nodule.diameter_mm, 1)} for nodule in material.nodules
        ]
        described["variations"] = dict(Counter(bank.sources))
    return described


def _command(kind: ForgeryKind, recipe: FitRecipe) -> str:
    return (f"verict train ctgan-{kind} --data ../shared/data --out DIR --steps {recipe.steps} "
            f"--filters {recipe.filters} --seed {recipe.seed}")


def _write(card: dict[str, Any], out: Path) -> None:
    (out / f"{card['id']}.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
