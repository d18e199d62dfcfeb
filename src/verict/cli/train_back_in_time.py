"""`verict train back-in-time`: fit a diffusion model of untouched lung."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from verict.cli.training import print_figures, print_thresholds, show_training


def train_back_in_time(
    data: Annotated[Path, typer.Option(help="Folder with authentic/.")],
    out: Annotated[Path, typer.Option(help="Where weights, card, loss curve and samples go.")] = Path(
        "back-in-time-model"
    ),
    recipe: Annotated[
        str, typer.Option(help="published, small, small-long (as shipped), or another: docs/back-in-time.md.")
    ] = "small",
    work: Annotated[
        Path | None, typer.Option(help="Scratch folder; a killed training goes on from it. OUT/work by default.")
    ] = None,
    *,
    steps: Annotated[int | None, typer.Option(min=1, help="Updates of the weights; the recipe's by default.")] = None,
    patients: Annotated[
        int | None, typer.Option(min=0, help="Learn from so many patients only, drawn by the seed; all by default.")
    ] = None,
    chests: Annotated[int | None, typer.Option(min=0, help="Simulated chests; the recipe's by default.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda, which the shipped weights were fitted on.")] = "cpu",
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same seed gives the same weights on cpu; 7 as shipped.")
    ] = None,
    unjudged: Annotated[
        bool, typer.Option("--unjudged", help="Fit no thresholds and measure nothing: for comparisons only.")
    ] = False,
) -> None:
    """Fit Back-in-Time's diffusion model on untouched scans; forgeries are not learnt from, and not looked at."""
    with show_training() as progress:
        import torch

        from verict.training.back_in_time.recipe import choose_recipe
        from verict.training.back_in_time.train import train_back_in_time as train
        from verict.training.device import choose_device

        chosen = choose_recipe(recipe)
        fit = chosen.fit if steps is None else replace(chosen.fit, steps=steps)
        told = {"patients": patients, "chests": chests, "seed": seed}
        changed: dict[str, Any] = {name: value for name, value in told.items() if value is not None}
        card = train(
            data, out, replace(chosen, fit=fit, **changed), progress, work=out / "work" if work is None else work,
            is_judged=not unjudged, device=torch.device(choose_device(device)),
        )
    if not unjudged:
        print_figures(card, "back-in-time, series it did not learn from")
        print_thresholds(card)
