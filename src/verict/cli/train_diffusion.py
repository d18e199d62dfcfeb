"""`verict train diffusion-inpaint`: train the diffusion model that inpaints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from verict.cli.training import print_figures, show_training


def train_diffusion_inpaint(
    data: Annotated[Path, typer.Option(help="Folder with authentic/ and nodules.csv.")],
    out: Annotated[
        Path, typer.Option(help="Where weights and card go; a training that was killed here is resumed.")
    ] = Path("diffusion-model"),
    steps: Annotated[int | None, typer.Option(min=1, help="Batches to learn from; as shipped by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same weights.")] = 7,
) -> None:
    """Train the diffusion model that paints lung or a nodule into a hole."""
    with show_training() as progress:
        from verict.training.diffusion_inpaint import train as training

        recipe = training.DiffusionRecipe()
        fit = replace(recipe.fit, seed=seed, steps=recipe.fit.steps if steps is None else steps)
        card = training.train_diffusion_inpaint(data, out, replace(recipe, fit=fit), progress)
    print_figures(card)
