"""`verict train nodule` and `verict train four-classes`: what tells nodules, and which of the four a place is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from verict.cli.training import print_figures, show_training
from verict.detect.model import WEIGHTS

Campaign = Annotated[Path, typer.Option(help="Folder that verict tamper campaign made.")]


def train_nodules(
    data: Annotated[Path, typer.Option(help="Folder with authentic/ and ctgan/.")],
    campaign: Campaign,
    out: Annotated[Path, typer.Option(help="Where weights and card go.")] = Path("nodule-model"),
    work: Annotated[
        Path | None, typer.Option(help="Scratch folder; what is simulated and described is kept. OUT/work by default.")
    ] = None,
    *,
    ledger: Annotated[
        Path | None, typer.Option(help="CSV that gets a line for each look at the real fakes; beside the weights.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same weights.")] = 7,
    workers: Annotated[int, typer.Option(min=1, help="Processes; the weights do not depend on it.")] = 2,
) -> None:
    """Fit what tells nodules from vessels and walls, and print what it is worth on patients it never saw."""
    with show_training() as progress:
        from verict.training.nodule.train import NoduleRecipe, train_nodule

        card = train_nodule(
            data, campaign, out, replace(NoduleRecipe(), seed=seed), progress,
            work=out / "work" if work is None else work, ledger=ledger, workers=workers,
        )  # fmt: skip
    print_figures(card, "nodule, out of fold")


def train_four_classes(
    campaign: Campaign,
    out: Annotated[Path, typer.Option(help="Where four-classes.json goes.")] = Path("four-classes-model"),
    weights: Annotated[Path, typer.Option(help="Folder of the detectors' models; the shipped ones.")] = WEIGHTS,
    *,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads.", show_default=False)] = None,
) -> None:
    """Fit how both scores of a place become probabilities of TB, FB, TM and FM, and print what they are worth."""
    with show_training() as progress:
        from verict.training.four_classes import train_classes

        card = train_classes(campaign, out, progress, weights=weights, workers=workers)
    for name, what in (("four_classes", "both scores"), ("content_only", "brightness and size alone")):
        figure = card["figures"][name]["macro_f1"]
        low, high = figure["interval"]
        typer.echo(f"{what}, out of fold: macro-F1 {figure['value']:.3f} ({low:.3f} to {high:.3f}), n {figure['n']}")
