"""`verict train ctgan-inject` and `ctgan-remove`: train the networks that forge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from verict.errors import MissingExtraError, VerictError
from verict.tamper.forgery import ForgeryKind

Data = Annotated[Path, typer.Option(help="Folder with authentic/.")]
Out = Annotated[Path, typer.Option(help="Where weights and card go; a training that was killed here is resumed.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Batches to learn from; as shipped by default.")]
Filters = Annotated[int | None, typer.Option(min=2, help="Of the first layers; published 100, shipped 12.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same weights.")]


def train_ctgan_inject(
    data: Data, out: Out = Path("ctgan-model"), steps: Steps = None, filters: Filters = None, seed: Seed = 7
) -> None:
    """Train CT-GAN's network that paints a cancer into lung."""
    _train_ctgan(ForgeryKind.INJECT, data, out, {"steps": steps, "filters": filters, "seed": seed})


def train_ctgan_remove(
    data: Data, out: Out = Path("ctgan-model"), steps: Steps = None, filters: Filters = None, seed: Seed = 7
) -> None:
    """Train CT-GAN's network that paints lung over a cancer."""
    _train_ctgan(ForgeryKind.REMOVE, data, out, {"steps": steps, "filters": filters, "seed": seed})


def _train_ctgan(kind: ForgeryKind, data: Path, out: Path, wanted: dict[str, int | None]) -> None:
    try:
        try:
            from verict.training.ctgan.train import SHIPPED, CtGanRecipe, train_ctgan
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "training needs packages that are not installed", found=f"no {error.name}",
                next_step="pip install 'verict[train]'",
            ) from error

        recipe = CtGanRecipe(SHIPPED[kind])
        fit = replace(recipe.fit, **{name: value for name, value in wanted.items() if value is not None})
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("training")
            card = train_ctgan(
                kind,
                data,
                out,
                replace(recipe, fit=fit),
                lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
            )
    except VerictError as error:
        typer.echo(f"verict train: {error.one_line()}", err=True)
        raise typer.Exit(1) from error
    _print_figures(card)


def _print_figures(card: dict[str, Any]) -> None:
    table = Table("figure", "value", "95 % interval", "n", title=str(card["id"]))
    for row in card["figures"]:
        low, high = row["interval"] or (float("nan"),) * 2
        table.add_row(row["text"], "" if row["value"] is None else f"{row['value']:.3f}",
                      f"{low:.3f} to {high:.3f}", str(row["n"]))
    Console().print(table)
