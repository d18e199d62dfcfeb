"""Files, folders and zips that nobody should trust."""

import os
import socket
import stat
import sys
import zipfile

import pytest
from builders import make_series

from verict.ct import sources
from verict.ct.sources import list_sources, read_bytes
from verict.errors import ArchiveError, InputError

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="pipes, sockets and links as POSIX knows them")


def test_a_folder_is_listed_in_natural_order(tmp_path):
    for name in ("10.dcm", "9.dcm", "b/2", "b/1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [source.name for source in list_sources(tmp_path).sources] == ["9.dcm", "10.dcm", "b/1", "b/2"]


def test_a_path_that_does_not_exist_says_so(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        list_sources(tmp_path / "nothing")
    with pytest.raises(InputError, match="cannot be opened"):
        list_sources(tmp_path / "a\0b")


@posix_only
def test_link_loops_end_and_are_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.dcm").write_bytes(b"x")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    listing = list_sources(tmp_path)
    assert [source.name for source in listing.sources] == ["a/1.dcm"]
    assert listing.linked_twice == ["again", "a/up"]


@posix_only
def test_a_broken_or_circular_link_is_one_failure(tmp_path):
    (tmp_path / "broken.dcm").symlink_to(tmp_path / "gone")
    (tmp_path / "self.dcm").symlink_to(tmp_path / "self.dcm")
    (tmp_path / "good").write_bytes(b"x")
    listing = list_sources(tmp_path)
    assert [failure.file for failure in listing.failures] == ["broken.dcm", "self.dcm"]
    assert [source.name for source in listing.sources] == ["good"]


@posix_only
def test_pipes_and_sockets_are_never_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.dcm")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # socket names are short
        server.bind("s.dcm")
        listing = list_sources(tmp_path)
    assert listing.special == ["pipe.dcm (a pipe)", "s.dcm (a socket)"]
    with pytest.raises(InputError, match="neither a file nor a folder"):
        list_sources(tmp_path / "pipe.dcm")


@posix_only
def test_a_pipe_put_in_the_place_of_a_file_does_not_block(tmp_path):
    path = tmp_path / "1.dcm"
    path.write_bytes(b"x")
    source = list_sources(tmp_path).sources[0]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_bytes(source)


def test_an_unreadable_file_is_one_failure(tmp_path, monkeypatch):
    (tmp_path / "1.dcm").write_bytes(b"x")
    source = list_sources(tmp_path).sources[0]

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sources.os, "open", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        read_bytes(source)


def test_an_unreadable_folder_is_one_failure_and_its_neighbour_is_listed(tmp_path, monkeypatch):
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1").write_bytes(b"x")
    scandir = os.scandir

    def refuse(folder):
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(sources.os, "scandir", refuse)
    listing = list_sources(tmp_path)
    assert [failure.file for failure in listing.failures] == ["closed"]
    assert [source.name for source in listing.sources] == ["open/1"]


def _zip(path, members, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_zip_members_are_read_without_touching_the_disk(tmp_path):
    path = _zip(tmp_path / "s.zip", {"../../evil.dcm": b"one", "/abs.dcm": b"two", "a/b.dcm": b"three", "d/": b""})
    before = sorted(tmp_path.rglob("*"))
    listing = list_sources(path)
    assert [read_bytes(source) for source in listing.sources] == [b"one", b"two", b"three"]
    assert listing.sources[2].folder == "s.zip!a"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_member_that_unpacks_to_too_much_is_refused_and_the_rest_listed(tmp_path):
    path = _zip(tmp_path / "bomb.zip", {"bomb.dcm": b"\0" * (32 << 20), "good.dcm": b"x"})
    listing = list_sources(path)
    assert [source.name for source in listing.sources] == ["bomb.zip!good.dcm"]
    assert "zip bomb" in str(listing.failures[0])


def test_a_zip_that_unpacks_to_too_much_in_all_is_refused(tmp_path, monkeypatch):
    path = _zip(tmp_path / "bomb.zip", {"a": b"\0" * 1000, "b": b"\0" * 1000})
    monkeypatch.setattr(sources, "MAX_ZIP_TOTAL_BYTES", 1500)
    with pytest.raises(ArchiveError, match="2000 bytes unpacked"):
        list_sources(path)
    monkeypatch.setattr(sources, "MAX_ZIP_MEMBERS", 1)
    with pytest.raises(ArchiveError, match="2 members"):
        list_sources(path)


def test_members_that_overlap_are_refused(tmp_path):
    path = _zip(tmp_path / "quoted.zip", {"a": os.urandom(50_000)})
    data = path.read_bytes()
    at = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    entry = data[at:end]
    body = data[:at] + entry * 3
    tail = bytearray(data[end:])
    tail[8:10] = tail[10:12] = (3).to_bytes(2, "little")
    tail[12:16] = (len(entry) * 3).to_bytes(4, "little")
    path.write_bytes(body + bytes(tail))
    with pytest.raises(ArchiveError, match=r"overlap|damaged"):
        list_sources(path)


def test_a_zip_with_an_endless_directory_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    path = _zip(tmp_path / "many.zip", {f"{i}": b"" for i in range(200)})
    monkeypatch.setattr(sources, "MAX_ZIP_DIRECTORY_BYTES", 1000)
    monkeypatch.setattr(sources.zipfile, "ZipFile", None)
    with pytest.raises(ArchiveError, match="too many members"):
        list_sources(path)


def test_encrypted_members_are_one_failure(tmp_path):
    path = _zip(tmp_path / "e.zip", {"a": b"secret", "b": b"secret"})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(signature, at + 1)) >= 0:
            data[at + offset] |= 1
    path.write_bytes(data)
    listing = list_sources(path)
    assert not listing.sources
    assert "2 encrypted members" in str(listing.failures[0])


@pytest.mark.parametrize("damage", ["cut", "crc", "end"])
def test_a_damaged_zip_is_one_error(tmp_path, damage):
    files = make_series(tmp_path / "s", slices=1, rows=32, columns=32)
    path = _zip(tmp_path / "s.zip", {"1.dcm": files[0].read_bytes()})
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "crc":
        data[200] ^= 0xFF
    else:
        data[-6:-2] = b"\xf0\xff\xff\x7f"
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="damaged"):
        for source in list_sources(path).sources:
            read_bytes(source)


def test_a_file_beyond_any_ct_object_is_refused(tmp_path, monkeypatch):
    (tmp_path / "1.dcm").write_bytes(b"x" * 100)
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", 50)
    with pytest.raises(InputError, match="too large"):
        read_bytes(list_sources(tmp_path).sources[0])


def test_kinds_of_special_files_are_named():
    assert sources._kind_of(stat.S_IFCHR) == "a device"
    assert sources._kind_of(0) == "a special file"


def test_a_member_without_a_name_is_a_file(tmp_path):
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x", b"content")
        archive.writestr("folder/", b"")
    content = file.read_bytes()
    for mark, at in ((b"PK\3\4", 26), (b"PK\1\2", 28)):  # name lengths, local and in the directory (APPNOTE 4.3)
        start = content.index(mark)
        size = {b"PK\3\4": 30, b"PK\1\2": 46}[mark]
        assert content[start + size : start + size + 1] == b"x"
        content = content[: start + at] + b"\0\0\1\0" + content[start + at + 4 :]  # no name, one byte of extra field
    file.write_bytes(content)
    listing = list_sources(file)
    assert [source.name for source in listing.sources] == ["a.zip!"]


def test_a_member_of_damaged_lzma_is_one_failure(tmp_path):
    file = tmp_path / "a.zip"
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
            archive.writestr("x.dcm", bytes(range(256)) * 40)
    except RuntimeError:
        pytest.skip("this Python has no lzma")
    content = bytearray(file.read_bytes())
    content[45:90] = bytes(45)
    file.write_bytes(content)
    (source,) = list_sources(file).sources
    with pytest.raises(ArchiveError, match="damaged"):
        read_bytes(source)
