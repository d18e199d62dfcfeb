"""Writes many files so that a power cut or a kill leaves each one whole, old or new."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

_LEFTOVER = re.compile(r"\.verict-[0-9a-f]{12}\.part")
SYNCERS = 8  # threads that wait for the disk; waiting is all they do
BATCH = 64  # files that are written before any of them is renamed: their space is needed twice meanwhile


class WholeFiles:
    """A context in which files are written: under a hidden name, through to the disk, then renamed in one step.

    A file has its name at the latest when the block ends; if the block fails, those not yet renamed are removed and
    what was there before is as it was. Files go to the disk many at a time, as waiting for each alone takes longer.

    Parameters
    ----------
    hidden
        The files lie in a folder that nobody looks into yet, so that they may bear their names at once.
    """

    def __init__(self, *, hidden: bool = False) -> None:
        self._hidden = hidden
        self._written: list[tuple[Path, Path, int | None]] = []
        self._folders: set[Path] = set()

    def __enter__(self) -> Self:
        """Open the context."""
        return self

    def put(self, path: Path, pieces: Sequence[bytes | memoryview], like: Path | None = None) -> None:
        """Write one file, with the permissions of another where one is given.

        Raises
        ------
        OSError
            If this file, or one put in before it, cannot be written.
        """
        part = path if self._hidden else path.with_name(f".verict-{secrets.token_hex(6)}.part")
        mode = None if like is None else stat.S_IMODE(like.stat().st_mode)
        self._written.append((part, path, mode))
        with part.open("xb", buffering=0) as stream:
            for piece in pieces:
                _write_all(stream.fileno(), piece)
        if mode is not None:
            part.chmod(mode | stat.S_IRUSR | stat.S_IWUSR)  # or it could not be opened to be synced
        self._folders.add(path.parent)
        if len(self._written) >= BATCH and not self._hidden:
            self._settle()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the last files their names, or remove them after an error."""
        try:
            if kind is None:
                self._settle()
                for folder in self._folders:
                    sync_folder(folder)
        finally:
            for part, _, _ in self._written:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)

    def _settle(self) -> None:
        with ThreadPoolExecutor(SYNCERS) as pool:
            list(pool.map(_sync_file, [part for part, _, _ in self._written]))
        while self._written:
            part, path, mode = self._written[-1]
            if mode is not None and mode != mode | stat.S_IRUSR | stat.S_IWUSR:
                part.chmod(mode)
            if part != path:
                part.replace(path)
            self._written.pop()


def is_leftover(name: str) -> bool:
    """Whether a file's name is that of one half written when verict was killed.

    >>> is_leftover(".verict-0123456789ab.part"), is_leftover("001.dcm")
    (True, False)
    """
    return _LEFTOVER.fullmatch(name) is not None


def sync_folder(folder: Path) -> None:
    """Write a folder's names through to the disk, where the system lets a folder be opened."""
    with contextlib.suppress(OSError):
        _sync_file(folder, os.O_RDONLY)


def _sync_file(path: Path, flags: int = os.O_RDWR) -> None:
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while len(view):
        view = view[os.write(descriptor, view) :]
