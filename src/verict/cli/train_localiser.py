"""`verict train localiser`: fit the localiser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from verict.cli.training import print_figures, print_thresholds, show_training


def train_localiser(
    data: Annotated[Path, typer.Option(help="Folder with authentic/ and ctgan/.")],
    out: Annotated[Path, typer.Option(help="Where weights and card go.")] = Path("localiser-model"),
    recipe: Annotated[
        Path | None, typer.Option(help="TOML with what differs from the shipped recipe.", metavar="FILE.toml")
    ] = None,
    work: Annotated[
        Path | None, typer.Option(help="Scratch folder; a killed training goes on from it. OUT/work by default.")
    ] = None,
    *,
    ledger: Annotated[
        Path | None, typer.Option(help="CSV that gets a line for each look at the real fakes; beside the weights.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same weights; 7 as shipped.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; the weights do not depend on it.")] = 2,
) -> None:
    """Fit the localiser and print what it is worth on patients and scanners it never saw."""
    with show_training() as progress:
        from verict.training.localiser import train as training

        chosen = training.LocaliserRecipe() if recipe is None else training.read_recipe(recipe)
        card = training.train_localiser(
            data,
            out,
            chosen if seed is None else replace(chosen, seed=seed),
            progress,
            work=out / "work" if work is None else work,
            ledger=ledger,
            workers=workers,
        )
    print_figures(card, "localiser, out of fold")
    print_thresholds(card)
