"""`verict train`: fit what is shipped, measure it, write weights and card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from verict.cli import (
    train_back_in_time,
    train_diffusion,
    train_fitness,
    train_forgers,
    train_fusion,
    train_localiser,
    train_nodule,
)
from verict.cli.training import print_figures, print_thresholds, show_training

app = typer.Typer(help="Fit what verict ships; needs the extra verict\\[train].", no_args_is_help=True)


@app.callback()
def train() -> None:
    """Fit what verict ships, with the extra for training."""


app.command("ctgan-inject")(train_forgers.train_ctgan_inject)
app.command("ctgan-remove")(train_forgers.train_ctgan_remove)
app.command("diffusion-inpaint")(train_diffusion.train_diffusion_inpaint)
app.command("back-in-time")(train_back_in_time.train_back_in_time)
app.command("localiser")(train_localiser.train_localiser)
app.command("fusion")(train_fusion.train_sum)
app.command("fitness")(train_fitness.train_fitness)
app.command("nodule")(train_nodule.train_nodules)
app.command("four-classes")(train_nodule.train_four_classes)


@app.command("spectrum")
def spectrum(
    data: Annotated[Path, typer.Option(help="Folder with authentic/ and ctgan/; not read with --simulated-only.")],
    out: Annotated[Path, typer.Option(help="Where spectrum.onnx and spectrum.json go.")] = Path("spectrum-model"),
    ledger: Annotated[
        Path | None, typer.Option(help="CSV that gets a line for each look at the real fakes; beside the weights.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same weights.")] = 7,
    phantoms: Annotated[
        int | None, typer.Option(min=0, help="How many simulated chests are learnt from too; as shipped by default.")
    ] = None,
    simulated_only: Annotated[
        bool, typer.Option("--simulated-only", help="Learn from simulated chests and simulated forgeries alone.")
    ] = False,
) -> None:
    """Fit the spectrum detector and print what it is worth on patients and scanners it never saw."""
    with show_training() as progress:
        from verict.training.spectrum import SpectrumRecipe, train_spectrum

        recipe = SpectrumRecipe(seed=seed, simulated_only=simulated_only)
        if phantoms is not None:
            recipe = replace(recipe, phantoms=phantoms)
        card = train_spectrum(data, out, recipe, progress, ledger=ledger)
    print_figures(card, "spectrum, out of fold")
    print_thresholds(card)
