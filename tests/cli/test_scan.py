"""`verict scan`: what it prints where, what it writes, and how it ends. The examination itself is a stand-in."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import typer
from report.results import PATIENT, SERIES_UID, make_failure, make_result, make_series
from report.schema_check import find_violations
from typer.testing import CliRunner, Result

from verict.cli import scan as command
from verict.cli import terminal
from verict.detect.result import ScanResult, Verdict
from verict.errors import InputError, ModelError, UsageError

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "scan-result.schema.json").read_text(encoding="utf-8"))
APP = typer.Typer(pretty_exceptions_enable=False)
APP.command("scan")(command.scan)


@dataclass(frozen=True)
class StandInOptions:
    """The fields of `verict.detect.scan.ScanOptions`."""

    detectors: tuple[str, ...] = ()
    series: str | None = None
    workers: int | None = None
    pictures: bool = False


class StandIn:
    """Answers by the name of the study and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, StandInOptions]] = []
        self.answers: dict[str, Callable[[], ScanResult]] = {}

    def examine(self, path: Path, options: StandInOptions, progress: Callable | None = None) -> ScanResult:
        """Give the answer planned for this study, or an untouched series."""
        self.asked.append((path.name, options))
        if progress is not None:
            progress("reading slices", 1, 2)
        answer = self.answers.get(path.name, lambda: make_result(make_series(Verdict.NO_EVIDENCE), source=str(path)))
        return answer()

    def plan(self, name: str, answer: ScanResult | BaseException) -> None:
        """What to return or raise for a study."""

        def give() -> ScanResult:
            if isinstance(answer, BaseException):
                raise answer
            return answer

        self.answers[name] = give


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    answering = StandIn()
    module = ModuleType("verict.detect.scan")
    module.ScanOptions = StandInOptions
    module.examine = answering.examine
    monkeypatch.setitem(sys.modules, "verict.detect.scan", module)
    return answering


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert [p for p in tmp_path.rglob("*.part")] == [], "a half-written file was left"


def _run(*arguments: str) -> Result:
    result = CliRunner().invoke(APP, list(arguments), env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (make_result(make_series(Verdict.NO_EVIDENCE)), 0),
        (make_result(make_series()), 10),
        (make_result(make_series(Verdict.INDETERMINATE)), 11),
        (make_result(), 11),
        (make_result(make_series(Verdict.NO_EVIDENCE), failures=(make_failure(),)), 1),
        (make_result(make_series(), failures=(make_failure(),)), 10),
        (InputError("nothing here", file="a"), 1),
        (ModelError("the weights are not the ones of the card"), 1),
        (PermissionError(13, "Permission denied", "a"), 1),
        (UsageError("no series of this UID"), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_code(stand_in: StandIn, here: Path, answer: ScanResult | BaseException, code: int) -> None:
    stand_in.plan("a", answer)
    result = _run("a", "--json", "out.json")
    assert result.exit_code == code
    assert (here / "out.json").exists() == (code not in (2, 130))
    if isinstance(answer, BaseException):
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.startswith("verict scan: ")


def test_summary_goes_to_stdout_and_failures_to_stderr(stand_in: StandIn, here: Path) -> None:
    stand_in.plan("a", make_result(make_series(), failures=(make_failure(),)))
    result = _run("a")
    assert f"suspicious  {SERIES_UID}" in result.stdout
    assert "truncated" not in result.stdout
    assert "pixel data is truncated" in result.stderr
    assert "\x1b" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= terminal.PIPE_WIDTH


def test_long_list_of_failures_is_cut(stand_in: StandIn, here: Path) -> None:
    stand_in.plan("a", make_result(failures=(make_failure(),) * 25))
    assert _run("a").stderr.splitlines()[-1] == (
        "verict scan: and 5 more failures; the JSON and the report list all"
    )


def test_quiet_prints_errors_only(stand_in: StandIn, here: Path) -> None:
    stand_in.plan("a", make_result(make_series(), failures=(make_failure(),)))
    result = _run("a", "--quiet")
    assert result.stdout == ""
    assert "truncated" in result.stderr
    assert result.exit_code == 10


def test_json_and_report_of_one_study(stand_in: StandIn, here: Path) -> None:
    stand_in.plan("a", make_result(make_series()))
    assert _run("a", "--json", "out.json", "--report", "out.html").exit_code == 10
    document = json.loads((here / "out.json").read_text(encoding="utf-8"))
    assert find_violations(document, SCHEMA) == []
    page = (here / "out.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "Suspicious: signs of tampering" in page
    assert stand_in.asked[0][1].pictures is True


def test_pictures_are_kept_for_a_report_only(stand_in: StandIn, here: Path) -> None:
    _run("a", "--json", "out.json")
    assert stand_in.asked[0][1].pictures is False


def test_options_reach_the_examination(stand_in: StandIn, here: Path) -> None:
    _run("a", "--series", "1.2.3", "--detector", "spectrum", "--detector", "spectrum", "--workers", "3")
    assert stand_in.asked == [("a", StandInOptions(("spectrum",), "1.2.3", 3, False))]
    _run("b")
    assert stand_in.asked[1] == ("b", StandInOptions(("header", "fusion", "nodule"), None, None, False))


def test_json_to_stdout_is_json_alone(stand_in: StandIn, here: Path) -> None:
    document = json.loads(_run("a", "--json", "-").stdout)
    assert document["schema"] == "verict.scan/1"


def test_failed_study_still_has_a_document(stand_in: StandIn, here: Path) -> None:
    stand_in.plan("a", InputError("no DICOM file found", file="a", next_step="name the folder of a study"))
    document = json.loads(_run("a", "--json", "-").stdout)
    assert find_violations(document, SCHEMA) == []
    assert document["exit_code"] == 1
    assert document["failures"][0]["details"]["problem"] == "no DICOM file found"
    assert document["provenance"]["options"]["pictures"] is False


def test_anonymous_output_names_nobody(stand_in: StandIn, here: Path) -> None:
    stand_in.plan("a", make_result(make_series(), failures=(make_failure(),), source="/archive/MUSTER_ERIKA/study1"))
    result = _run("a", "--anonymous", "--json", "out.json", "--report", "out.html")
    written = (here / "out.json").read_text() + (here / "out.html").read_text() + result.stdout + result.stderr
    for secret in (*PATIENT.values(), "MUSTER", "ERIKA", SERIES_UID, "/archive", "07.dcm"):
        assert secret not in written, secret
    assert "pixel data is truncated" in result.stderr


def test_many_studies_give_a_line_each_and_one_table(stand_in: StandIn, here: Path) -> None:
    stand_in.plan("a", make_result(make_series(), source="a"))
    stand_in.plan("b", InputError("broken zip", file="b"))
    result = _run("a", "b", "c", "--json", "out.ndjson", "--report", "reports")
    lines = [json.loads(line) for line in (here / "out.ndjson").read_text().splitlines()]
    assert [line["exit_code"] for line in lines] == [10, 1, 0]
    assert all(find_violations(line, SCHEMA) == [] for line in lines)
    assert result.exit_code == 10
    assert result.stderr == "verict scan: study 2: b: broken zip\n"
    assert "3 studies: 1 suspicious, 1 failed in part, 1 no_evidence." in " ".join(result.stdout.split())
    names = sorted(p.name for p in (here / "reports").iterdir())
    assert [n[:11] for n in names] == ["0001-study-", "0002-study.", "0003-study-"]
    assert "Suspicious" in (here / "reports" / names[0]).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        (["no_evidence", "indeterminate"], 11),
        (["no_evidence", "failure", "indeterminate"], 1),
        (["failure", "suspicious", "indeterminate"], 10),
        (["no_evidence", "no_evidence"], 0),
    ],
)
def test_precedence_over_many_studies(stand_in: StandIn, here: Path, answers: list[str], code: int) -> None:
    for name, answer in zip("abc", answers, strict=False):
        failed = answer == "failure"
        stand_in.plan(name, InputError("broken") if failed else make_result(make_series(Verdict(answer))))
    assert _run(*"abc"[: len(answers)]).exit_code == code


def test_many_studies_to_stdout_are_ndjson_alone(stand_in: StandIn, here: Path) -> None:
    lines = _run("a", "b", "--json", "-").stdout.splitlines()
    assert [json.loads(line)["source"] for line in lines] == ["a", "b"]


def test_each_takes_sub_folders_and_zips(stand_in: StandIn, here: Path) -> None:
    (here / "d.ZIP").touch()
    (here / "loose.dcm").touch()
    (here / ".hidden").mkdir()
    result = _run(str(here), "--each", "--json", "-")
    assert [name for name, _ in stand_in.asked] == ["a", "b", "c", "d.ZIP"]
    assert len(result.stdout.splitlines()) == 4
    assert "--each leaves out 1 file beside the studies" in result.stderr


@pytest.mark.parametrize("name", ["a", "missing", "file"])
def test_each_without_studies(stand_in: StandIn, here: Path, name: str) -> None:
    (here / "file").touch()
    result = _run(name, "--each")
    assert result.exit_code == 2
    assert "--each" in result.stderr


def test_interrupted_batch_keeps_what_was_done(stand_in: StandIn, here: Path) -> None:
    (here / "out.ndjson").write_text("old")
    stand_in.plan("c", KeyboardInterrupt())
    result = _run("a", "b", "c", "--json", "out.ndjson")
    assert result.exit_code == 130
    assert (here / "out.ndjson").read_text() == "old"
    assert len((here / "out.ndjson.partial").read_text().splitlines()) == 2
    assert result.stderr == "verict scan: interrupted after 2 of 3 studies; they are in out.ndjson.partial\n"


def test_batch_interrupted_at_once_writes_nothing(stand_in: StandIn, here: Path) -> None:
    stand_in.plan("a", KeyboardInterrupt())
    assert _run("a", "b", "--json", "out.ndjson").exit_code == 130
    assert sorted(p.name for p in here.iterdir()) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "--detector", "spektrum"], "did you mean spectrum?"),
        (["a", "b", "--series", "1.2.3"], "--series names a series of one study"),
        (["a", "--report", "-"], "--report needs a file"),
        (["a", "--report", "x", "--json", "./x"], "same file"),
        (["a", "--json", "missing/out.json"], "its folder does not exist"),
        (["a", "--json", "b"], "the output is a folder"),
        (["a", "--json", "image.dcm"], "would replace a DICOM file"),
        (["a", "b", "--report", "image.dcm"], "the folder for reports is a file"),
        (["a", "b", "--report", "a/reports"], "lies in a study"),
    ],
)
def test_wrong_usage_ends_before_the_work(stand_in: StandIn, here: Path, arguments: list[str], said: str) -> None:
    (here / "image.dcm").write_bytes(b"\0" * 128 + b"DICM")
    result = _run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert stand_in.asked == []
    assert (here / "image.dcm").read_bytes()[128:] == b"DICM"


@pytest.mark.parametrize("arguments", [[], ["a", "--workers", "0"], ["a", "--nonsense"], ["a", "--workers", "x"]])
def test_usage_errors_of_the_parser(stand_in: StandIn, here: Path, arguments: list[str]) -> None:
    assert _run(*arguments).exit_code == 2
    assert stand_in.asked == []


@pytest.mark.skipif(os.name == "nt", reason="such names cannot exist on Windows")
@pytest.mark.parametrize("name", ["[red]x", "a\x1b[31mb", "a\nb", "\udce9t\udce9", "\u202egpj"])
def test_odd_names_print_safely(stand_in: StandIn, here: Path, name: str) -> None:
    stand_in.plan(name, InputError("broken", file=name))
    result = _run(name, "b")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [f"verict scan: study 1: {InputError('broken', file=name).one_line()}"]
    for unsafe in ("\x1b", "\u202e", "\udce9"):
        assert unsafe not in result.stdout + result.stderr
    if name.startswith("[red]"):
        assert name in result.stdout


def test_help_explains_the_exit_codes() -> None:
    text = " ".join(_run("--help").stdout.replace("│", " ").split())
    for said in (
        "10 before 1 before 11 before 0", "They are about tampering only",
        "0 no evidence of tampering (which never means proven authentic)",
        "10 suspicious", "11 indeterminate or nothing examined", "1 some input failed", "2 wrong usage",
        "130 interrupted",
    ):  # fmt: skip
        assert said in text, said
    assert "header, spectrum, localiser, fusion, repeat" in text


def test_progress_is_shown_on_a_terminal_only(
    stand_in: StandIn, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple] = []

    class Terminal:
        """Stands in for the progress display."""

        def __enter__(self) -> Callable:
            return lambda *step: shown.append(step)

        def __exit__(self, *error: object) -> None:
            pass

    monkeypatch.setattr(command, "show_progress", Terminal)
    _run("a")
    assert shown == []
    monkeypatch.setattr(command.sys, "stderr", _TerminalStream())
    with pytest.raises(typer.Exit):
        command.scan(studies=[Path("a"), Path("b")])
    assert shown == [("1/2 reading slices", 1, 2), ("2/2 reading slices", 1, 2)]


class _TerminalStream:
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Pretend."""
        return True

    def write(self, text: str) -> int:
        """Take anything."""
        return len(text)

    def flush(self) -> None:
        """Nothing to do."""
