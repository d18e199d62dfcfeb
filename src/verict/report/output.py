"""Writing results to files: checked before the long work, whole or not at all, never over an input."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Self

from verict.errors import OutputError, printable

_OWN_MARKS = (b'"schema": "verict.', b'<meta name="generator" content="verict')
_DICM_AT = 128  # PS3.10 7.1: the preamble is 128 bytes, then "DICM"


def check_output_file(path: Path, inputs: Sequence[Path]) -> None:
    """Refuse an output file that could not be written later, or that would destroy an input.

    An existing file is replaced, except a DICOM file, a zip, and any file in a study folder that verict
    did not write itself.

    Raises
    ------
    OutputError
        If the place is a folder or no ordinary file, its folder is missing or not writable, or the file
        is or may be an input.
    """
    target = _resolve(path)
    if target.is_dir():
        raise OutputError("the output is a folder", file=path, next_step="name a file")
    if target.exists():
        if not target.is_file():
            raise OutputError("the output is not an ordinary file", file=path, next_step="name another file")
        _refuse_input(target, path, inputs)
    _check_writable(target.parent, path)


def make_output_folder(path: Path, inputs: Sequence[Path]) -> None:
    """Make a folder for reports, or take an existing one.

    Raises
    ------
    OutputError
        If it is a file, lies in a study folder, or cannot be made or written to.
    """
    target = _resolve(path)
    if any(target == i or i in target.parents for i in map(_resolve, inputs) if i.is_dir()):
        raise OutputError("the folder for reports lies in a study", file=path, next_step="name a folder elsewhere")
    try:
        target.mkdir(exist_ok=True)
    except FileExistsError:
        raise OutputError("the folder for reports is a file", file=path, next_step="name a folder") from None
    except OSError as error:
        raise OutputError(f"cannot make the folder: {error.strerror}", file=path) from error
    _check_writable(target, path)


def check_new_folder(path: Path, inputs: Sequence[Path] = ()) -> None:
    """Refuse a place for a new folder that is taken, before the long work; an empty folder is free.

    Raises
    ------
    OutputError
        If it holds something, is the current folder, lies in an input, has a name that no table can hold, or cannot
        be made.
    """
    try:
        target = path.resolve()
        taken = target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir())))
        is_here = target == Path.cwd()
        existing = next((parent for parent in target.parents if parent.exists()), target)
    except (OSError, RuntimeError) as error:  # up to Python 3.12 a loop of links is a RuntimeError
        reason = getattr(error, "strerror", None) or "its links lead in a circle"
        raise OutputError(f"cannot use the folder: {reason}", file=path, next_step="name another one") from error
    if taken:
        raise OutputError("the output place is not an empty folder", file=path, next_step="name a new one")
    if is_here:
        raise OutputError("the output place is the current folder", file=path, next_step="name a new one")
    if printable(target.name) != target.name:
        raise OutputError("its name holds characters that no table can", file=path, next_step="name a plain one")
    if any(place == target or place in target.parents for place in map(_resolve, inputs)):
        raise OutputError("the output place lies in an input", file=path, next_step="name a folder elsewhere")
    _probe(existing, path)


class OutputFile:
    """A text file that appears under its name only once it is whole.

    A context manager: lines go to a hidden file in the same folder, which is renamed when the block ends
    and removed when it fails, so that an existing file stays as it was.

    Raises
    ------
    OutputError
        If the file cannot be opened, written or renamed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._target = _resolve(path)
        self._part = self._target.with_name(f".verict-{secrets.token_hex(6)}.part")
        self._file: TextIOWrapper | None = None

    def __enter__(self) -> Self:
        """Open the hidden file."""
        try:
            self._file = self._part.open("x", encoding="utf-8", newline="\n")
        except OSError as error:
            raise self._failure(error) from error
        return self

    def write(self, text: str) -> None:
        """Write text through to the disk's buffers, so that a full disk is told at once."""
        if self._file is None:
            raise ValueError("write outside of the with block")
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from error

    def write_bytes(self, data: bytes) -> None:
        """Write bytes as they are, in place of text."""
        if self._file is None:
            raise ValueError("write outside of the with block")
        try:
            self._file.buffer.write(data)
            self._file.buffer.flush()
        except OSError as error:
            raise self._failure(error) from error

    def keep_as(self, path: Path) -> None:
        """Close what was written so far and give it another name, for work that was interrupted."""
        self._finish(_resolve(path))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Rename the hidden file, or remove it after an error."""
        if self._file is None or self._file.closed:
            return
        if kind is None:
            self._finish(self._target)
        else:
            self._file.close()
            self._part.unlink(missing_ok=True)

    def _finish(self, target: Path) -> None:
        if self._file is None:
            raise ValueError("nothing was opened")
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(target)
        except OSError as error:
            self._file.close()
            self._part.unlink(missing_ok=True)
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(f"cannot be written: {error.strerror or error}", file=self.path)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, UTF-8, or nothing at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with OutputFile(path) as file:
        file.write(text)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole binary file, or nothing at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with OutputFile(path) as file:
        file.write_bytes(data)


def _resolve(path: Path) -> Path:
    """The absolute path with links followed, so that a link is written through and not replaced."""
    try:
        target = path.resolve()
        if target.is_symlink():  # only a loop of links leaves one; from Python 3.13 on it raises nothing
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return target
    except (OSError, RuntimeError) as error:
        raise OutputError("the path cannot be followed", file=path, next_step="check its links") from error


def _refuse_input(target: Path, path: Path, inputs: Sequence[Path]) -> None:
    try:
        with target.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise OutputError(f"cannot be looked at: {error.strerror}", file=path) from error
    if head[_DICM_AT : _DICM_AT + 4] == b"DICM" or head[:4] == b"PK\x03\x04":
        raise OutputError("the output would replace a DICOM file or a zip", file=path, next_step="name another file")
    own = any(mark in head for mark in _OWN_MARKS)
    for place in map(_resolve, inputs):
        if target == place or (place in target.parents and not own):
            raise OutputError("the output would replace an input", file=path, next_step="name another file")


def _check_writable(folder: Path, path: Path) -> None:
    if not folder.is_dir():
        raise OutputError("its folder does not exist", file=path, next_step="make the folder first")
    _probe(folder, path)


def _probe(folder: Path, path: Path) -> None:
    """Try it: permission bits say little on network drives and nothing to an administrator."""
    probe = folder / f".verict-{secrets.token_hex(6)}.part"
    try:
        with probe.open("xb"):
            pass
        probe.unlink()
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", file=path) from error
