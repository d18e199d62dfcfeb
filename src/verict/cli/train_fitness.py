"""`verict train fitness`: fit the limits beyond which the thresholds of the pixel detectors are not believed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from verict.errors import VerictError


def train_fitness(
    data: Annotated[Path, typer.Option(help="Folder with authentic/ and ctgan/.")],
    out: Annotated[Path, typer.Option(help="Where fitness.json goes.")] = Path("fitness-limits"),
) -> None:
    """Fit what the noise of a series may be like for its verdict to count; the same scans give the same limits."""
    from verict.evaluation.fitness_fit import fit_limits, judge_left_out, read_references, write_limits

    try:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("measuring")
            references = read_references(
                data, lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
            )
        card = write_limits(out, fit_limits(references), references, judge_left_out(references))
    except VerictError as error:
        typer.echo(f"verict train: {error.one_line()}", err=True)
        raise typer.Exit(1) from error
    console = Console()
    console.print(card["limits"])
    for collection, count in card["data"]["series"].items():
        unfit = card["unfit_when_left_out"][collection]
        console.print(f"{collection}: {unfit} of {count} unfit by limits fitted without their patients and scanners")
