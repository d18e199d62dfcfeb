"""`verict train fusion`: weigh the detectors against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from verict.cli.train_localiser import print_figures
from verict.detect.model import WEIGHTS
from verict.errors import MissingExtraError, VerictError


def train_fusion(
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
    try:
        try:
            from verict.training import fusion as training
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "training needs packages that are not installed", found=f"no {error.name}",
                next_step="pip install 'verict[train]'",
            ) from error
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("training")
            card = training.train_fusion(
                data,
                campaign,
                out,
                training.FusionRecipe(),
                lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
                work=out / "work" if work is None else work,
                weights=weights,
                ledger=ledger,
                workers=workers,
            )
    except VerictError as error:
        typer.echo(f"verict train: {error.one_line()}", err=True)
        raise typer.Exit(1) from error
    print_figures(card)
