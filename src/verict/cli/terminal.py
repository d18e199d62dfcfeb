"""What every command does with its streams: results in full width, progress on a terminal only, odd characters."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from verict.errors import printable

PIPE_WIDTH = 100  # columns where the output is not a terminal


def make_streams_forgiving() -> None:
    """Let a stream of a narrow encoding escape what it cannot show, instead of failing on it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


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
