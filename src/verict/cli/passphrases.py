"""Passphrases: from a file that only its owner may read, or typed on a terminal; never on the command line."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from verict.errors import InputError, UsageError

MAX_PASSPHRASE_BYTES = 1024


def ask_passphrase(file: Path | None) -> Callable[[], bytes] | None:
    """What gives a key's passphrase when it is needed: the file, or a prompt; None where there is neither."""
    if file is not None:
        return lambda: read_passphrase(file)
    if sys.stdin.isatty():
        return lambda: typer.prompt("passphrase of the key", hide_input=True, err=True).encode()
    return None


def choose_passphrase(file: Path | None, *, without: bool) -> bytes | None:
    """The passphrase of a new key, typed twice where it is typed; None for a key without one.

    Raises
    ------
    UsageError
        If both or nothing is asked for, or the passphrase is empty.
    """
    if without:
        if file is not None:
            raise UsageError("--no-passphrase and --passphrase-file contradict each other")
        return None
    if file is not None:
        return read_passphrase(file)
    if not sys.stdin.isatty():
        raise UsageError("a new key needs a passphrase", next_step="give --passphrase-file, or --no-passphrase")
    typed = typer.prompt("passphrase of the new key", hide_input=True, confirmation_prompt=True, err=True)
    return str(typed).encode()


def read_passphrase(file: Path) -> bytes:
    """The first line of a passphrase file.

    Raises
    ------
    InputError
        If it cannot be read, is empty or too long, or others may read it.
    """
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        with file.open("rb") as stream:
            line = stream.readline(MAX_PASSPHRASE_BYTES + 2)
    except OSError as error:
        raise InputError("cannot be read", file=file, found=error.strerror, next_step="check the path") from error
    if os.name == "posix" and mode & 0o077:
        raise InputError("others may read the passphrase", file=file, found=f"permissions {mode:04o}",
                         expected="0600", next_step=f"chmod 600 {file.name}")  # fmt: skip
    passphrase = line.rstrip(b"\r\n")
    if not passphrase or len(passphrase) > MAX_PASSPHRASE_BYTES:
        raise InputError("the first line is no passphrase", file=file, found=f"{len(passphrase)} bytes",
                         expected=f"1 to {MAX_PASSPHRASE_BYTES}")  # fmt: skip
    return passphrase
