"""Output files appear whole or not at all, and never in place of an input."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from report.results import make_result, make_series

from verict.errors import OutputError
from verict.report.html import to_html
from verict.report.json import to_text
from verict.report.output import OutputFile, check_new_folder, check_output_file, make_output_folder, write_text

DICOM = b"\0" * 128 + b"DICM" + b"\2\0\0\0UL\4\0"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "1.dcm").write_bytes(DICOM)
    (folder / "deep" / "notes.txt").write_text("read me")
    return folder


def test_new_and_plain_old_files_are_taken(tmp_path: Path, study: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text("{}")
    check_output_file(tmp_path / "new.json", [study])
    check_output_file(old, [study])
    check_output_file(study / "new.html", [study])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.json", "study"], "the check leaves nothing behind"


@pytest.mark.parametrize("text", [
    to_text(make_result(make_series())), to_text(make_result(), one_line=True), to_html(make_result()),
], ids=["json", "ndjson", "html"])  # fmt: skip
def test_own_files_in_a_study_are_replaced(study: Path, text: str) -> None:
    write_text(study / "result", text)
    check_output_file(study / "result", [study])


def test_foreign_files_in_a_study_are_kept(study: Path) -> None:
    with pytest.raises(OutputError, match="would replace an input"):
        check_output_file(study / "deep" / "notes.txt", [study])


def test_the_input_itself_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "raw"
    file.write_bytes(b"\0" * 200)
    with pytest.raises(OutputError, match="would replace an input"):
        check_output_file(tmp_path / "sub" / ".." / "raw", [file])


@pytest.mark.parametrize("content", [DICOM, b"PK\x03\x04rest"])
def test_dicom_and_zip_are_kept_anywhere(tmp_path: Path, study: Path, content: bytes) -> None:
    other = tmp_path / "elsewhere.json"
    other.write_bytes(content)
    with pytest.raises(OutputError, match="DICOM file or a zip"):
        check_output_file(other, [study])


def test_links_are_followed(tmp_path: Path, study: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(study / "deep" / "1.dcm")
    with pytest.raises(OutputError, match="DICOM file"):
        check_output_file(link, [])
    target = tmp_path / "target.json"
    target.write_text("old")
    link.unlink()
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_link_to_itself(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OutputError):
        check_output_file(loop, [])


@pytest.mark.parametrize(
    ("name", "problem"),
    [("study", "is a folder"), ("missing/out.json", "folder does not exist"), ("study/deep/1.dcm/x", "not exist")],
)
def test_places_that_cannot_be_written(tmp_path: Path, study: Path, name: str, problem: str) -> None:
    with pytest.raises(OutputError, match=problem):
        check_output_file(tmp_path / name, [])


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="no device files here")
def test_devices_are_not_replaced() -> None:
    with pytest.raises(OutputError, match="not an ordinary file"):
        check_output_file(Path("/dev/null"), [])


def test_folder_that_refuses_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        check_output_file(tmp_path / "new.json", [])


def test_text_is_written_as_it_is(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "ä\nb\n")
    assert (tmp_path / "a").read_bytes() == "ä\nb\n".encode()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.skipif(os.name == "nt", reason="permission bits are POSIX")
def test_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_broken_off_work_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "out.ndjson"
    path.write_text("old")
    with pytest.raises(error), OutputFile(path) as file:
        file.write("half a li")
        raise error
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.ndjson"]


def test_interrupted_work_can_be_kept_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    with OutputFile(path) as file:
        file.write("one line\n")
        file.keep_as(tmp_path / "out.ndjson.partial")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("out.ndjson.partial", "one line\n")]


def test_folder_for_reports(tmp_path: Path, study: Path) -> None:
    make_output_folder(tmp_path / "reports", [study])
    make_output_folder(tmp_path / "reports", [study])
    assert list((tmp_path / "reports").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("study", "lies in a study"),
        ("study/deep/reports", "lies in a study"),
        ("file", "is a file"),
        ("missing/reports", "cannot make the folder"),
    ],
)
def test_folder_for_reports_elsewhere(tmp_path: Path, study: Path, name: str, problem: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=problem):
        make_output_folder(tmp_path / name, [study])


def test_a_new_folder_may_be_new_or_empty_and_is_not_made_yet(tmp_path: Path, study: Path) -> None:
    (tmp_path / "empty").mkdir()
    check_new_folder(tmp_path / "empty", [study])
    check_new_folder(tmp_path / "new" / "deep", [study])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "study"]


def test_a_new_folder_in_an_input_or_in_place_of_one_is_refused(tmp_path: Path, study: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in (study / "new", study / "deep" / "new" / "er", tmp_path / "empty"):
        with pytest.raises(OutputError, match="lies in an input"):
            check_new_folder(place, [study, tmp_path / "empty"])


def test_a_folder_that_holds_something_is_refused(study: Path) -> None:
    with pytest.raises(OutputError, match="not an empty folder"):
        check_new_folder(study)


def test_a_new_folder_where_nothing_can_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission bits stop no administrator, so the refusal is simulated."""

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        check_new_folder(tmp_path / "read-only" / "new")
