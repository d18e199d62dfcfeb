"""`verict train ctgan-inject` and `ctgan-remove`: train the networks that forge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from verict.cli.training import print_figures, show_training
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
    with show_training() as progress:
        from verict.training.ctgan.train import SHIPPED, CtGanRecipe, train_ctgan

        recipe = CtGanRecipe(SHIPPED[kind])
        fit = replace(recipe.fit, **{name: value for name, value in wanted.items() if value is not None})
        card = train_ctgan(kind, data, out, replace(recipe, fit=fit), progress)
    print_figures(card)
