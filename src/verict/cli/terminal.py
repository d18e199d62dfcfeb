"""What every command does alike: results in full width, progress on a terminal only, errors in a line, exit codes."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from verict.errors import OutputError, UsageError, VerictError, printable

FAILED, USAGE, INTERRUPTED = 1, 2, 130
"""Exit codes: an input or the work itself failed; wrong usage or an output that cannot be written; Ctrl-C."""

PIPE_WIDTH = 100  # columns where the output is not a terminal


def make_streams_forgiving() -> None:
    """Let a stream of a narrow encoding escape what it cannot show, instead of failing on it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def tell(command: str, message: str) -> None:
    """One line of a command on standard error."""
    typer.echo(f"verict {command}: {printable(message)}", err=True)


@contextmanager
def exit_on_error(command: str, *, interrupted: str) -> Iterator[None]:
    """Errors raised on purpose become one line and the exit code they stand for; so does Ctrl-C, told as given.

    Raises
    ------
    typer.Exit
        In place of the error.
    """
    try:
        yield
    except (UsageError, OutputError) as error:
        tell(command, error.one_line())
        raise typer.Exit(USAGE) from None
    except VerictError as error:
        tell(command, error.one_line())
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        tell(command, interrupted)
        raise typer.Exit(INTERRUPTED) from None


def open_stdout() -> Console:
    """Where the summary goes: as wide as the terminal, or of fixed width in a pipe."""
    return Console(
        highlight=False, markup=False, emoji=False, soft_wrap=False,
        width=None if sys.stdout.isatty() else PIPE_WIDTH,
    )


@contextmanager
def show_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress display on standard error; what it gives takes what is done, how many are and how many there are."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True, emoji=False), transient=True) as display:
        task = display.add_task("reading", total=None)

        def update(stage: str, done: int, total: int) -> None:
            display.update(task, description=printable(stage), completed=done, total=total or None)

        yield update
