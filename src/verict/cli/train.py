"""`verict train`: fit what is shipped, measure it, write weights and card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from verict.cli import train_diffusion, train_fitness, train_forgers, train_fusion, train_localiser
from verict.errors import VerictError

app = typer.Typer(help="Fit what verict ships; needs the extra verict\\[train].", no_args_is_help=True)


@app.callback()
def train() -> None:
    """Fit what verict ships, with the extra for training."""


app.command("ctgan-inject")(train_forgers.train_ctgan_inject)
app.command("ctgan-remove")(train_forgers.train_ctgan_remove)
app.command("diffusion-inpaint")(train_diffusion.train_diffusion_inpaint)
app.command("localiser")(train_localiser.train_localiser)
app.command("fusion")(train_fusion.train_fusion)
app.command("fitness")(train_fitness.train_fitness)


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
    try:
        from verict.training.spectrum import SpectrumRecipe, train_spectrum

        recipe = SpectrumRecipe(seed=seed, simulated_only=simulated_only)
        if phantoms is not None:
            recipe = replace(recipe, phantoms=phantoms)
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("training")
            card = train_spectrum(
                data,
                out,
                recipe,
                lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
                ledger=ledger,
            )
    except VerictError as error:
        typer.echo(f"verict train: {error.one_line()}", err=True)
        raise typer.Exit(1) from error
    _print_figures(card)


def _print_figures(card: dict) -> None:
    table = Table("figure", "value", "95 % interval", "n", title="spectrum, out of fold")
    for row in card["figures"]:
        interval = row["interval"]
        span = "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
        table.add_row(row["text"], "" if row["value"] is None else f"{row['value']:.3f}", span, str(row["n"]))
    Console().print(table)
    Console().print({name: round(value, 3) for name, value in card["calibration"].items()})
