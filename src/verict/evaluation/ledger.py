"""The ledger: a CSV line for every look at the published real fakes, so that nobody can tune on them unseen.

Each look is one more chance to be lucky on the same few sites; only who knows how many there were can weigh the
best of them. No option of any command leaves the line out.
"""

from __future__ import annotations

import csv
import io
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from verict.errors import OutputError
from verict.evaluation.result import Evaluation, walk

FIGURES = {
    "auc_fb": ("auc", "fb_parenchyma"),
    "found_fb": ("frozen", "fb"),
    "auc_fm": ("auc", "fm_dense"),
    "found_fm": ("frozen", "fm"),
    "false_marks_per_slice": ("authentic", "false_marks_per_slice"),
}
"""The columns of figures, and where each stands in the tree of an evaluation."""

COLUMNS = ("utc", "weights_sha256", *FIGURES, "what")
DEFAULT_NAME = "real_fakes_ledger.csv"
REAL_FAKES = "real_fakes"  # key of Evaluation.data: how many published real fakes were evaluated
_HASH_DIGITS = 16


def check_ledger(ledger: Path) -> None:
    """Refuse a ledger that a line could not be added to later; nothing is changed.

    Raises
    ------
    OutputError
        If it is a folder or another kind of file, or it or its folder cannot be written to.
    """
    if ledger.is_dir():
        raise OutputError("the ledger is a folder", file=ledger, next_step="name a file with --ledger")
    if not ledger.parent.is_dir():
        raise OutputError("the folder of the ledger does not exist", file=ledger, next_step="make the folder first")
    try:
        if not ledger.exists():
            probe = _part_beside(ledger)
            probe.touch(exist_ok=False)
            probe.unlink()
            return
        with ledger.open("r+b") as stream:
            first = stream.readline(1000).decode("utf-8", "replace").strip()
    except OSError as error:
        raise _refuse(ledger, error) from error
    if first and first != ",".join(COLUMNS):
        raise OutputError(
            "not a ledger of real fakes", file=ledger, found=first, expected=",".join(COLUMNS),
            next_step="name another file with --ledger",
        )  # fmt: skip


def append(ledger: Path, evaluation: Evaluation, *, weights_sha256: str, what: str) -> bool:
    """Add an evaluation's line, if it looked at published real fakes.

    Parameters
    ----------
    ledger
        CSV file; made with its header where it is not there yet.
    evaluation
        Its ``data`` has "real_fakes", how many published real fakes were evaluated.
    weights_sha256
        Of the model, "" where nothing was fitted; the first 16 digits are kept.
    what
        What was evaluated, in words.

    Returns
    -------
    bool
        Whether a line was added: False where there was no published real fake.

    Raises
    ------
    OutputError
        If the line cannot be written.
    """
    if not evaluation.data[REAL_FAKES]:
        return False
    found = {path: measured.figure.value for path, measured in walk(evaluation.figures)}
    figures = {name: found.get(path) for name, path in FIGURES.items()}
    append_figures(ledger, figures, weights_sha256=weights_sha256, what=what)
    return True


def append_figures(
    ledger: Path, figures: Mapping[str, float | None], *, weights_sha256: str, what: str
) -> None:
    """Add a line of figures, named as in `FIGURES`; others are left out, missing ones empty.

    Evaluations that end at the same time each keep their line: a line is one write at the end of the file, and a
    new file appears with its header already in it.

    Raises
    ------
    OutputError
        If the line cannot be written.
    """
    values = [figures.get(name) for name in FIGURES]
    row = [
        datetime.now(UTC).isoformat(timespec="seconds"),
        weights_sha256[:_HASH_DIGITS],
        *("" if value is None else round(value, 4) for value in values),
        what,
    ]
    try:
        if not ledger.exists():
            _make(ledger)
        with ledger.open("r+b", buffering=0) as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(size - 1, 0))
            last = stream.read(1)
        start = _line(COLUMNS) if size == 0 else b"" if last == b"\n" else b"\n"
        with ledger.open("ab", buffering=0) as stream:
            stream.write(start + _line(row))
            os.fsync(stream.fileno())
    except OSError as error:
        raise _refuse(ledger, error) from error


def _make(ledger: Path) -> None:
    """A ledger without lines, whole from its first moment; one that somebody else makes meanwhile is kept."""
    part = _part_beside(ledger)
    part.write_bytes(_line(COLUMNS))
    try:
        ledger.hardlink_to(part)
    except FileExistsError:
        return
    except OSError:  # a disk without hard links
        with suppress(FileExistsError), ledger.open("xb") as stream:
            stream.write(_line(COLUMNS))
    finally:
        part.unlink()


def _line(values: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _part_beside(ledger: Path) -> Path:
    return ledger.with_name(f".verict-{secrets.token_hex(6)}.part")


def _refuse(ledger: Path, error: OSError) -> OutputError:
    return OutputError(
        f"the ledger cannot be written: {error.strerror or error}", file=ledger,
        next_step="make it writable, or name another file with --ledger",
    )  # fmt: skip
