"""What every `verict train` command does alike: its extra, progress on a terminal, errors in a line, figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from verict.errors import MissingExtraError, VerictError


@contextmanager
def show_training() -> Iterator[Callable[[str, int, int], None]]:
    """Gives what a training reports its progress to; an error raised on purpose or a missing extra ends in one line.

    Raises
    ------
    typer.Exit
        With 1, after that line on standard error.
    """
    console = Console(stderr=True)
    try:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("training")
            yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] == "verict":
            raise
        missing = MissingExtraError(
            "training needs packages that are not installed", found=f"no {error.name}",
            next_step="pip install 'verict[train]'",
        )
        _end(missing, error)
    except VerictError as error:
        _end(error, error)


def _end(said: VerictError, cause: Exception) -> None:
    typer.echo(f"verict train: {said.one_line()}", err=True)
    raise typer.Exit(1) from cause


def print_figures(card: dict[str, Any], title: str = "") -> None:
    """A table of a card's figures, to stdout."""
    table = Table("figure", "value", "95 % interval", "n", title=title or str(card["id"]))
    for row in card["figures"]:
        span = "" if row["interval"] is None else "{:.3f} to {:.3f}".format(*row["interval"])
        table.add_row(row["text"], "" if row["value"] is None else f"{row['value']:.3f}", span, str(row["n"]))
    Console().print(table)


def print_thresholds(card: dict[str, Any]) -> None:
    """A card's thresholds, to stdout."""
    Console().print({name: round(value, 3) for name, value in card["calibration"].items()})
