"""Bad and odd inputs, each alone and beside a healthy series: right exit code, clear words, no traceback, no name.

The table is in `cli.bad_cases`. Nothing here stands in for the examination: it is `verict scan` on real files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from builders import make_body_hu, make_series, make_uid, write_dataset
from cli import bad_files as files
from cli.bad_cases import CASES, TEXT
from cli.bad_inputs import (
    FAILED,
    HU,
    NOTHING_EXAMINED,
    SECRET_BIRTH,
    SECRET_ID,
    SECRET_NAME,
    SIDE_PX,
    SPACING_MM,
    Case,
    make_odd_series,
    make_odd_slice,
)
from typer.testing import CliRunner, Result

from verict.cli import scan as command
from verict.ct import sources
from verict.detect import scan as scanning
from verict.detect.result import Verdict
from verict.detect.verdict import Assessment

APP = typer.Typer(pretty_exceptions_enable=False)
APP.command("scan")(command.scan)
HEALTHY_UID = make_uid("the healthy series")
SECRETS = (*SECRET_NAME.split("^"), SECRET_ID, SECRET_BIRTH, "Healthy^Hedwig")
NAMES = {case.name: case for case in CASES}
NO_LINKS = os.name == "nt"


@dataclass(frozen=True)
class Outcome:
    """How one scan ended: exit code, the JSON documents, and what went to standard error."""

    code: int
    documents: list[dict]
    said: str

    @property
    def told(self) -> str:
        """Everything the JSON says, without what it describes the patient by."""
        return json.dumps([_without_description(d) for d in self.documents], ensure_ascii=False)


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One healthy series for all tests; linked, never copied."""
    folder = tmp_path_factory.mktemp("healthy") / "healthy"
    hu = make_body_hu(3, SIDE_PX, SIDE_PX, seed=9)
    make_series(folder, hu=hu, spacing_mm=SPACING_MM, series_uid=HEALTHY_UID, patient_id="HEALTHY",
                PatientName="Healthy^Hedwig")  # fmt: skip
    return folder


@pytest.fixture(autouse=True)
def _without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra jpeg-lossless counts as not installed, whatever this machine has."""
    monkeypatch.setitem(sys.modules, "imagecodecs", None)


@pytest.mark.parametrize("name", NAMES)
def test_alone(tmp_path: Path, name: str) -> None:
    case = NAMES[name]
    outcome = _scan(_build(case, tmp_path / "odd"))
    _check_words(outcome, case)
    assert outcome.code == case.alone, outcome.said
    assert (len(outcome.said.splitlines()) > 0) == bool(case.said), outcome.said


@pytest.mark.parametrize("name", NAMES)
def test_beside_a_healthy_series(tmp_path: Path, healthy: Path, name: str) -> None:
    case = NAMES[name]
    study = tmp_path / "study"
    scanned = _build(case, study / "odd")
    if scanned == study / "odd":
        _link(healthy, study / "healthy")
        outcome = _scan(study)
    else:
        outcome = _scan(scanned, healthy)
    assert outcome.code == case.beside, outcome.said
    _check_healthy(outcome)
    if case.beside == FAILED:
        _check_words(outcome, case)


def test_the_table_is_as_long_as_promised() -> None:
    assert len(NAMES) == len(CASES) >= 60
    assert {case.alone for case in CASES} == {0, 1, 11}


def test_many_studies_in_one_process_with_hostile_ones_among_them(tmp_path: Path, healthy: Path) -> None:
    hostile = [_build(case, tmp_path / str(i)) for i, case in enumerate(_for_a_process())]
    outcome = _spawn(*hostile, healthy)
    assert [d["exit_code"] for d in outcome.documents] == [*(case.alone for case in _for_a_process()), 0]
    assert outcome.code == FAILED
    for case in _for_a_process():
        for words in case.said:
            assert words in outcome.said
    _check_healthy(outcome)


def test_a_summary_of_many_studies_survives_hostile_ones(tmp_path: Path, healthy: Path) -> None:
    hostile = [_build(case, tmp_path / f"[red]{i}\x1b[0m") for i, case in enumerate(_for_a_process())]
    result = _run(*hostile, healthy)
    assert result.exit_code == FAILED
    assert "\x1b" not in result.stdout
    assert f"{len(hostile) + 1} studies" in result.stdout


def test_a_zip_of_a_hundred_thousand_members(tmp_path: Path, healthy: Path) -> None:
    file = files.zip_up(files.put_crowd)(tmp_path)
    outcome = _scan(file, healthy)
    assert outcome.code == 0
    assert [s["slice_count"] for s in outcome.documents[0]["series"]] == [3]
    assert "100000 other files" in outcome.told
    _check_healthy(outcome)


def test_nothing_is_unpacked_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "a" / "b" / "c"
    here.mkdir(parents=True)
    file = files.zip_up(files.put_traversal)(here)
    monkeypatch.chdir(here)
    assert _scan(file).code == 0
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["bad.zip"]


def test_an_unreadable_file(tmp_path: Path, healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission bits stop no administrator, so the refusal is simulated."""
    _link(healthy, tmp_path / "study")
    make_odd_series(tmp_path / "study" / "odd")
    opened = sources.open_disk_file

    def refuse(path: Path) -> object:
        if path.name == "002.dcm" and path.parent.name == "odd":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path)

    monkeypatch.setattr(sources, "open_disk_file", refuse)
    outcome = _scan(tmp_path / "study")
    assert outcome.code == FAILED
    assert "odd/002.dcm: cannot be read; found Permission denied; check the file and its permissions" in outcome.said
    assert sorted(s["slice_count"] for s in outcome.documents[0]["series"]) == [2, 3]
    _check_healthy(outcome)


@pytest.mark.parametrize("name", [case.name for case in TEXT])
def test_hostile_text_runs_nowhere(tmp_path: Path, healthy: Path, name: str) -> None:
    study = tmp_path / "study"
    _build(NAMES[name], study / "odd")
    _link(healthy, study / "healthy")
    for extra in ((), ("--anonymous",)):
        result = _run(study, "--report", tmp_path / "page.html", *extra)
        assert result.exit_code == NAMES[name].beside
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert "<script>alert" not in page
        assert "\x1b" not in page
        assert ("[bold red]" in result.stdout) == (not extra), "markup must be printed as it is"


@pytest.mark.parametrize("name", ["pixels cut off", "text called .dcm", "slope NaN", "Enhanced CT, groups missing"])
def test_anonymous_output_of_what_failed(tmp_path: Path, name: str) -> None:
    study = _build(NAMES[name], tmp_path / "GEHEIM4711_Waltraud")
    result = _run(study, "--anonymous", "--report", tmp_path / "page.html", "--json", tmp_path / "out.json")
    assert result.exit_code == FAILED
    written = (tmp_path / "page.html").read_text() + (tmp_path / "out.json").read_text() + result.stdout + result.stderr
    for secret in (*SECRETS, "bad.dcm", "001.dcm"):
        assert secret not in written


def test_suspicious_comes_before_failed(tmp_path: Path, healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _build(NAMES["pixels cut off"], tmp_path / "study" / "odd")
    _link(healthy, tmp_path / "study" / "healthy")
    assert _scan(tmp_path / "study").code == FAILED
    verdict = Assessment(Verdict.SUSPICIOUS, "for this test", 9.0, (), None, "for this test")
    monkeypatch.setattr(scanning, "assess", lambda *_: verdict)
    assert _scan(tmp_path / "study").code == 10


def test_failed_comes_before_indeterminate(tmp_path: Path) -> None:
    _build(NAMES["every slice at one place"], tmp_path / "study" / "odd")
    assert _scan(tmp_path / "study").code == NOTHING_EXAMINED
    (tmp_path / "study" / "text.dcm").write_text("no image")
    assert _scan(tmp_path / "study").code == FAILED


def test_a_study_given_twice_is_examined_twice(healthy: Path) -> None:
    outcome = _scan(healthy, healthy)
    assert outcome.code == 0
    assert [len(d["series"]) for d in outcome.documents] == [1, 1]


def test_one_file_alone_is_a_study(tmp_path: Path) -> None:
    file = write_dataset(make_odd_slice(HU[0], 0), tmp_path / "no suffix")
    outcome = _scan(file)
    assert outcome.code == 0
    assert outcome.documents[0]["series"][0]["slice_count"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{missing}"], FAILED, ("missing: no such file or folder", "check the path")),
        (["{healthy}", "{missing}"], FAILED, ("study 2", "missing: no such file or folder")),
        (["{healthy}", "--series", "1.2.3"], 2,
         ("no such series", "SeriesInstanceUID (0020,000E)", "found 1.2.3", f"one of {HEALTHY_UID}")),
        (["{healthy}", "--detector", "spektrum"], 2, ("no detector named 'spektrum'", "did you mean spectrum?")),
        (["{healthy}", "--report", "{folder}"], 2, ("the output is a folder", "name a file")),
        (["{healthy}", "--report", "{healthy}/001.dcm"], 2, ("would replace a DICOM file",)),
        (["{healthy}", "--report", "{readonly}/page.html"], 2, ("cannot be written",)),
        (["{healthy}", "--json", "{healthy}/002.dcm"], 2, ("would replace a DICOM file",)),
        (["{healthy}", "--json", "{folder}/no/such/out.json"], 2, ("its folder does not exist",)),
        (["{folder}/" + "n" * 300], FAILED, ("cannot be opened", "check the path")),
    ],
)  # fmt: skip
def test_wrong_paths_and_options(
    tmp_path: Path, healthy: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, said: tuple
) -> None:
    places = {"healthy": healthy, "missing": tmp_path / "missing", "folder": tmp_path, "readonly": tmp_path / "locked"}
    places["readonly"].mkdir()
    opened = Path.open

    def refuse(self: Path, mode: str = "r", *rest: object, **options: object) -> object:
        if self.parent == places["readonly"] and set(mode) & set("wxa"):
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", refuse)
    before = {p: p.read_bytes() for p in healthy.iterdir()}
    result = _run(*(argument.format(**places) for argument in arguments))
    assert result.exit_code == code
    for words in said:
        assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert {p: p.read_bytes() for p in healthy.iterdir()} == before


def _for_a_process() -> list[Case]:
    """The cases that would hang, exhaust memory or crash an interpreter if they were read carelessly."""
    wanted = ["sequences 5000 deep", "sequences 2000 deep, lengths known", "deflate bomb", "Rows of 65535",
              "length of 4 GB", "RLE of rubbish", "Enhanced CT of a billion frames", "zip bomb"]  # fmt: skip
    return [NAMES[name] for name in (wanted if NO_LINKS else [*wanted, "pipe", "link loop"])]


def _build(case: Case, folder: Path) -> Path:
    """Put the odd input into a new folder; the path to scan."""
    if case.needs and NO_LINKS:
        pytest.skip(f"this system has no {case.needs}")
    folder.mkdir(parents=True)
    try:
        return case.build(folder) or folder
    except OSError as error:
        if case.needs:
            pytest.skip(f"this disk takes no such {case.needs}: {error.strerror}")
        raise


def _link(folder: Path, to: Path) -> None:
    to.mkdir(parents=True)
    for file in folder.iterdir():
        os.link(file, to / file.name)


def _run(*arguments: object) -> Result:
    result = CliRunner().invoke(APP, [str(a) for a in arguments], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    _check_streams(result.stdout, result.stderr)
    return result


def _scan(*studies: Path) -> Outcome:
    result = _run(*studies, "--json", "-")
    text = result.stdout
    documents = [json.loads(text)] if len(studies) == 1 else [json.loads(line) for line in text.splitlines()]
    assert len(documents) == len(studies)
    return Outcome(result.exit_code, documents, result.stderr)


def _spawn(*studies: Path) -> Outcome:
    """The same in a process of its own, which must come to an end."""
    program = "from verict.cli.main import app; app()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, "scan", *map(str, studies), "--json", "-"],
        capture_output=True, timeout=180, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    said = done.stderr.decode()
    _check_streams(done.stdout.decode(), said)
    return Outcome(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], said)


def _check_streams(stdout: str, stderr: str) -> None:
    for word in ("Traceback", "did not foresee", "Warning"):
        assert word not in stdout + stderr
    assert "\x1b" not in stdout + stderr
    assert all(line.startswith("verict scan: ") for line in stderr.splitlines()), stderr
    for secret in SECRETS:
        assert secret not in stderr


def _check_words(outcome: Outcome, case: Case) -> None:
    told = outcome.told
    for words in case.said:
        assert words in outcome.said
    for words in case.told:
        assert words in told
    for secret in SECRETS:
        assert secret not in told


def _check_healthy(outcome: Outcome) -> None:
    verdicts = {s["series_instance_uid"]: s["verdict"] for d in outcome.documents for s in d["series"]}
    assert verdicts[HEALTHY_UID] == "no_evidence"


def _without_description(document: dict) -> dict:
    """What identifies the patient in a JSON that was not asked to be anonymous is the description and nothing else."""
    return document | {"series": [s | {"description": {}} for s in document["series"]]}
