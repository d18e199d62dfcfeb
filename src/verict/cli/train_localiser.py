"""`verict train localiser`: fit the localiser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from verict.errors import MissingExtraError, VerictError


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
    try:
        try:
            from verict.training.localiser import train as training
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "training needs packages that are not installed", found=f"no {error.name}",
                next_step="pip install 'verict[train]'",
            ) from error
        chosen = training.LocaliserRecipe() if recipe is None else training.read_recipe(recipe)
        chosen = chosen if seed is None else replace(chosen, seed=seed)
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("training")
            card = training.train_localiser(
                data,
                out,
                chosen,
                lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
                work=out / "work" if work is None else work,
                ledger=ledger,
                workers=workers,
            )
    except VerictError as error:
        typer.echo(f"verict train: {error.one_line()}", err=True)
        raise typer.Exit(1) from error
    print_figures(card)


def print_figures(card: dict[str, Any]) -> None:
    """A table of a card's figures and thresholds, to stdout."""
    table = Table("figure", "value", "95 % interval", "n", title=f"{card['id']}, out of fold")
    for row in card["figures"]:
        span = "" if row["interval"] is None else "{:.3f} to {:.3f}".format(*row["interval"])
        table.add_row(row["text"], "" if row["value"] is None else f"{row['value']:.3f}", span, str(row["n"]))
    Console().print(table)
    Console().print({name: round(value, 3) for name, value in card["calibration"].items()})
