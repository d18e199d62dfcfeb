"""`verict train diffusion-inpaint`: train the diffusion model that inpaints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from verict.errors import MissingExtraError, VerictError


def train_diffusion_inpaint(
    data: Annotated[Path, typer.Option(help="Folder with authentic/ and nodules.csv.")],
    out: Annotated[
        Path, typer.Option(help="Where weights and card go; a training that was killed here is resumed.")
    ] = Path("diffusion-model"),
    steps: Annotated[int | None, typer.Option(min=1, help="Batches to learn from; as shipped by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same weights.")] = 7,
) -> None:
    """Train the diffusion model that paints lung or a nodule into a hole."""
    try:
        try:
            from verict.training.diffusion_inpaint import train as training
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "training needs packages that are not installed", found=f"no {error.name}",
                next_step="pip install 'verict[train]'",
            ) from error

        recipe = training.DiffusionRecipe()
        fit = replace(recipe.fit, seed=seed, steps=recipe.fit.steps if steps is None else steps)
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("training")
            card = training.train_diffusion_inpaint(
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
        low, high = row["interval"]
        table.add_row(row["text"], f"{row['value']:.3f}", f"{low:.3f} to {high:.3f}", str(row["n"]))
    Console().print(table)
