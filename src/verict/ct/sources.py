"""Where bytes come from: one file, a folder tree or a zip, none of them trusted.

Only regular files are ever opened, a folder reached twice through links is entered once, and nothing of a zip is
written to disk: its members are read by position, so their names can do no harm.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from verict.errors import ArchiveError, InputError, say_count

MAX_FILE_BYTES = 4 << 30  # one object; an Enhanced CT of 4,000 frames of 512 x 512 has 2 GiB
MAX_ZIP_MEMBERS = 200_000
MAX_ZIP_DIRECTORY_BYTES = 64 << 20
MAX_ZIP_TOTAL_BYTES = 64 << 30
SUSPECT_MEMBER_BYTES = 16 << 20  # from here on a member's ratio is judged
MAX_RATIO = 100  # CT deflates 2 to 3 times, an all-air slice 100 times; a bomb 1,000 times

_LZMA = getattr(zipfile, "lzma", None)  # None where Python was built without it
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError,
               OverflowError, *((_LZMA.LZMAError,) if _LZMA else ()))  # fmt: skip


@dataclass(frozen=True)
class DiskFile:
    """A regular file on disk. ``name`` is how it is called in messages, ``folder`` the folder shown to the user."""

    path: Path
    name: str
    folder: str
    size: int


@dataclass(frozen=True)
class ZipMember:
    """One member of a zip, by its place in the zip's directory."""

    path: Path
    index: int
    name: str
    folder: str
    size: int


Source = DiskFile | ZipMember


@dataclass
class Listing:
    """What a path holds: sources to look into, special files passed over, and what could not be read."""

    sources: list[Source] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    linked_twice: list[str] = field(default_factory=list)
    failures: list[InputError] = field(default_factory=list)


def list_sources(path: Path) -> Listing:
    """List every regular file of a file, folder tree or zip, in a stable order.

    Raises
    ------
    InputError
        If the path does not exist, cannot be read, or is neither a file nor a folder.
    ArchiveError
        If the path is a zip that is broken or hostile as a whole.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise InputError(
            "no such file or folder" if isinstance(error, FileNotFoundError) else "cannot be opened",
            file=path,
            found=getattr(error, "strerror", None) or "a name the system refuses",
            next_step="check the path",
        ) from error
    if stat.S_ISDIR(mode):
        return _list_folder(path)
    if not stat.S_ISREG(mode):
        raise InputError(
            "neither a file nor a folder",
            file=path,
            found=_kind_of(mode),
            expected="a DICOM file, a folder or a zip",
            next_step="name a regular file",
        )
    try:
        source = DiskFile(path, path.name, path.name, path.stat().st_size)
        with open_disk_file(path) as stream:
            is_zip = stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError as error:
        raise unreadable(path.name, error) from error
    return list_zip(path) if is_zip else Listing(sources=[source])


def list_zip(path: Path) -> Listing:
    """List the members of a zip; those that could do harm become failures.

    Raises
    ------
    ArchiveError
        If the zip as a whole is broken or hostile.
    """
    listing = Listing()
    _check_zip_directory(path)
    encrypted: list[str] = []
    with open_zip(path) as archive:
        members = archive.infolist()
        _check_zip_sizes(path, members)
        for index, member in enumerate(members):
            if member.filename.endswith("/"):  # is_dir() fails on an empty name
                continue
            inner = PurePosixPath(member.filename.replace("\\", "/"))
            name = f"{path.name}!{member.filename}"
            if member.flag_bits & 0x1:
                encrypted.append(name)
                continue
            if member.file_size > SUSPECT_MEMBER_BYTES and member.file_size > MAX_RATIO * max(1, member.compress_size):
                listing.failures.append(
                    ArchiveError(
                        "a zip member that unpacks to far more than it holds (zip bomb)",
                        file=name,
                        found=f"{member.file_size / max(1, member.compress_size):.0f} times its packed size",
                        expected=f"at most {MAX_RATIO} times",
                        next_step="unpack it yourself if you trust it",
                    )
                )
                continue
            folder = path.name if str(inner.parent) == "." else f"{path.name}!{inner.parent}"
            listing.sources.append(ZipMember(path, index, name, folder, member.file_size))
    if encrypted:
        listing.failures.append(
            ArchiveError(
                "encrypted zip members cannot be read",
                file=encrypted[0],
                found=say_count(len(encrypted), "encrypted member"),
                next_step="unpack the zip and scan the folder",
            )
        )
    return listing


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip; what goes wrong with it inside the block is an `ArchiveError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (*_ZIP_ERRORS, OSError) as error:
        raise _zip_failure(path.name, error) from error


def read_bytes(source: Source, archive: zipfile.ZipFile | None = None, limit: int | None = None) -> bytes:
    """The first ``limit`` bytes of a source, or all of it.

    Raises
    ------
    InputError
        If it cannot be read, or is larger than any CT object.
    """
    if limit is None and source.size > MAX_FILE_BYTES:
        raise InputError(
            "the file is too large",
            file=source.name,
            found=f"{source.size} bytes",
            expected=f"at most {MAX_FILE_BYTES} bytes",
        )
    count = min(source.size, MAX_FILE_BYTES) if limit is None else limit
    try:
        if isinstance(source, DiskFile):
            with open_disk_file(source.path) as stream:
                return stream.read(count)
        if archive is None:
            with open_zip(source.path) as opened:
                return read_bytes(source, opened, limit)
        with archive.open(archive.infolist()[source.index]) as stream:
            return stream.read(count)
    except (*_ZIP_ERRORS, OSError) as error:
        raise _zip_failure(source.name, error) from error


def open_disk_file(path: Path) -> BinaryIO:
    """Open a regular file; never waits, even if a pipe took its place meanwhile."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a regular file")
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def unreadable(name: str, error: OSError) -> InputError:
    """The error for a file the system does not hand out."""
    return InputError(
        "cannot be read",
        file=name,
        found=error.strerror or type(error).__name__,
        next_step="check the file and its permissions",
    )


def _zip_failure(name: str, error: Exception) -> InputError:
    if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: an offset before the zip's start
        return unreadable(name, error)
    return ArchiveError("the zip is damaged", file=name, found=str(error), next_step="copy or export it again")


def _list_folder(root: Path) -> Listing:
    listing = Listing()
    top = root.stat()
    seen = {(top.st_dev, top.st_ino)}
    pending = [root]
    while pending:
        folder = pending.pop()
        relative = folder.relative_to(root).as_posix()
        shown = root.resolve().name or str(root) if relative == "." else relative
        try:
            with os.scandir(folder) as entries:
                ordered = sorted(entries, key=lambda entry: _natural_key(entry.name))
        except OSError as error:
            listing.failures.append(unreadable(shown, error))
            continue
        below = []
        for entry in ordered:
            name = entry.name if relative == "." else f"{relative}/{entry.name}"
            try:
                info = entry.stat()
            except OSError as error:
                listing.failures.append(unreadable(name, error))
                continue
            if stat.S_ISREG(info.st_mode):
                listing.sources.append(DiskFile(Path(entry.path), name, shown, info.st_size))
            elif not stat.S_ISDIR(info.st_mode):
                listing.special.append(f"{name} ({_kind_of(info.st_mode)})")
            else:
                key = _folder_key(Path(entry.path), info)
                if key in seen:
                    listing.linked_twice.append(name)
                else:
                    seen.add(key)
                    below.append(Path(entry.path))
        pending += reversed(below)
    return listing


def _folder_key(path: Path, info: os.stat_result) -> tuple[int, int]:
    if info.st_ino:
        return info.st_dev, info.st_ino
    again = path.stat()  # Windows: scandir leaves the inode out
    return again.st_dev, again.st_ino


def _natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key in which 9.dcm comes before 10.dcm."""
    parts: list[tuple[int, int, str]] = []
    digits = ""
    for char in name + "\0":
        if char in "0123456789":
            digits += char
            continue
        if digits:
            parts.append((0, int(digits[:400]), ""))
            digits = ""
        parts.append((1, 0, char))
    return tuple(parts)


def _check_zip_directory(path: Path) -> None:
    """Refuse a zip whose directory alone would fill memory, before anything parses it."""
    try:
        size = path.stat().st_size
        with open_disk_file(path) as stream:
            stream.seek(max(0, size - 65_557))  # the end record and its longest comment (APPNOTE 4.3.16)
            tail = stream.read()
    except OSError as error:
        raise unreadable(path.name, error) from error
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise ArchiveError(
            "the zip is damaged", file=path.name, found="no end record", next_step="copy or export it again"
        )
    directory_bytes = struct.unpack_from("<I", tail, at + 12)[0]
    if directory_bytes == 0xFFFFFFFF:  # zip64: the real size is in another record; the file itself bounds it
        directory_bytes = size
    if directory_bytes > MAX_ZIP_DIRECTORY_BYTES and size > MAX_ZIP_DIRECTORY_BYTES:
        raise ArchiveError(
            "the zip lists too many members",
            file=path.name,
            found=f"a directory of {directory_bytes} bytes",
            expected=f"at most {MAX_ZIP_DIRECTORY_BYTES} bytes",
            next_step="unpack it yourself if you trust it",
        )


def _check_zip_sizes(path: Path, members: list[zipfile.ZipInfo]) -> None:
    total = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    problems = (
        (len(members) > MAX_ZIP_MEMBERS, f"{len(members)} members", f"at most {MAX_ZIP_MEMBERS}"),
        (total > MAX_ZIP_TOTAL_BYTES, f"{total} bytes unpacked", f"at most {MAX_ZIP_TOTAL_BYTES}"),
        (packed > path.stat().st_size, "members that overlap", "each byte packed once"),
    )
    for wrong, found, expected in problems:
        if wrong:
            raise ArchiveError(
                "the zip unpacks to more than it should (zip bomb)",
                file=path.name,
                found=found,
                expected=expected,
                next_step="unpack it yourself if you trust it",
            )


def _kind_of(mode: int) -> str:
    kinds = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
             (stat.S_ISBLK, "a device"))  # fmt: skip
    return next((name for test, name in kinds if test(mode)), "a special file")
