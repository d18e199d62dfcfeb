"""`verict train fusion`: weigh the detectors against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from verict.cli.training import print_figures, print_thresholds, show_training
from verict.detect.model import WEIGHTS


def train_sum(
    data: Annotated[Path, typer.Option(help="Folder with authentic/ and ctgan/.")],
    campaign: Annotated[Path, typer.Option(help="Folder that verict tamper campaign made.")],
    out: Annotated[Path, typer.Option(help="Where fusion.json goes.")] = Path("fusion-model"),
    weights: Annotated[Path, typer.Option(help="Folder of the detectors' models; the shipped ones.")] = WEIGHTS,
    *,
    work: Annotated[Path | None, typer.Option(help="Scratch folder for measurements. OUT/work by default.")] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="CSV that gets a line for each look at the real fakes; beside the card.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Fit how much each detector counts and print what their sum is worth."""
    with show_training() as progress:
        from verict.training.fusion import FusionRecipe, train_fusion

        card = train_fusion(
            data,
            campaign,
            out,
            FusionRecipe(),
            progress,
            work=out / "work" if work is None else work,
            weights=weights,
            ledger=ledger,
            workers=workers,
        )
    print_figures(card, "fusion, out of fold")
    print_thresholds(card)
