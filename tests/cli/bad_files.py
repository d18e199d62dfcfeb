"""Hostile folders, names and zips, built in code, for the table of bad inputs."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

from builders import dataset_bytes
from cli.bad_inputs import HU, Build, make_odd_series, make_odd_slice


def write_content(name: str, content: bytes) -> Build:
    """One file of these bytes."""

    def build(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return build


def make_nothing(folder: Path) -> None:
    """Leave the folder empty."""


def make_hidden_rubbish(folder: Path) -> None:
    """What other systems leave beside the images, and one good series."""
    make_odd_series(folder / "images")
    for name in (".DS_Store", "Thumbs.db", "._001.dcm", "index.html", "notes.txt"):
        (folder / name).write_bytes(b"\0\5\x16\7 " + name.encode())


def make_link_loop(folder: Path) -> None:
    """A folder that holds itself through links, and one good series."""
    make_odd_series(folder)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "again").mkdir()
    (folder / "again" / "up").symlink_to(folder, target_is_directory=True)


def make_endless_link(folder: Path) -> None:
    """A link that leads to itself."""
    (folder / "bad.dcm").symlink_to(folder / "bad.dcm")


def make_dangling_link(folder: Path) -> None:
    """A link to a file that is gone."""
    (folder / "bad.dcm").symlink_to(folder / "gone.dcm")


def make_pipe(folder: Path) -> None:
    """A pipe nobody writes to: reading it would wait for ever."""
    os.mkfifo(folder / "bad.dcm")


def make_deep_folders(folder: Path) -> None:
    """Folders in folders, 60 deep, and a good series at the end of them."""
    make_odd_series(folder.joinpath(*["d"] * 60))


def name_it(name: str) -> Build:
    """A damaged file of a hostile name."""

    def build(folder: Path) -> None:
        (folder / name).write_bytes(b"hello")

    return build


def zip_up(fill: Callable[[zipfile.ZipFile], None], *, damage: Callable[[bytes], bytes] | None = None) -> Build:
    """A zip to be scanned itself."""

    def build(folder: Path) -> Path:
        file = folder / "bad.zip"
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            fill(archive)
        if damage:
            file.write_bytes(damage(file.read_bytes()))
        return file

    return build


def put_series(archive: zipfile.ZipFile, *names: str) -> None:
    """Three good slices under names of one's own."""
    for index, name in enumerate(names or ("a/1.dcm", "a/2.dcm", "a/3.dcm")):
        archive.writestr(zipfile.ZipInfo(name), dataset_bytes(make_odd_slice(HU[index], index)))


def put_traversal(archive: zipfile.ZipFile) -> None:
    """Names that lead out of any folder they would be unpacked to."""
    put_series(archive, "../../../etc/escaped.dcm", "/escaped.dcm", "C:\\escaped\\3.dcm")


def put_bomb(archive: zipfile.ZipFile) -> None:
    """40 MB of zeros in 40 kB, beside a good series."""
    put_series(archive)
    with archive.open("bomb.dcm", "w") as member:
        for _ in range(40):
            member.write(bytes(1 << 20))


def put_zip(archive: zipfile.ZipFile) -> None:
    """A zip in a zip, beside a good series."""
    put_series(archive)
    archive.writestr("more.zip", b"PK\5\6" + bytes(18))


def put_crowd(archive: zipfile.ZipFile) -> None:
    """A hundred thousand empty members that are no images, and a good series."""
    put_series(archive)
    archive.compression = zipfile.ZIP_STORED
    for index in range(100_000):
        archive.writestr(zipfile.ZipInfo(f"n/{index}.txt"), b"")


def encrypt(content: bytes) -> bytes:
    """Set the encryption flag of every member, as a zip made with a password has it."""
    changed = bytearray(content)
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        pos = changed.find(mark)
        while pos >= 0:
            changed[pos + at] |= 1
            pos = changed.find(mark, pos + 4)
    return bytes(changed)


def break_member(content: bytes) -> bytes:
    """Flip bits in the packed pixels of the first member: its checksum no longer holds."""
    length = struct.unpack_from("<H", content, 26)[0]
    at = 30 + length + 2000
    return content[:at] + bytes(b ^ 0x55 for b in content[at : at + 400]) + content[at + 400 :]


def cut_in_half(content: bytes) -> bytes:
    """Lose the end, and with it the directory."""
    return content[: len(content) // 2]
