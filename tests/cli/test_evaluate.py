"""`verict evaluate`: what it refuses before any work, what it writes, and that no look at the real fakes is lost."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pydicom
import pytest
import typer
from builders import make_series
from datasets.uci_folders import HEADER, build_collection, labels_file, scan_folder
from pydicom.uid import MRImageStorage
from report.evaluations import IN_SAMPLE, SECRET_PATH, make_data, make_evaluation, make_unreadable
from report.page import Page
from report.schema_check import find_violations
from typer.testing import CliRunner, Result

from verict.cli import evaluate as command
from verict.cli.main import app as whole
from verict.detect.model import WEIGHTS
from verict.errors import DatasetError, ModelError
from verict.evaluation.ledger import COLUMNS
from verict.evaluation.result import Evaluation

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "evaluation-result.schema.json").read_text(encoding="utf-8"))
APP = typer.Typer(pretty_exceptions_enable=False)
APP.command("evaluate")(command.evaluate)
UNTOUCHED_BY_A_REAL_FAKE = make_evaluation(data=make_data(real_fakes=0))
HELD_BACK = "Experiment 1 - Blind"


class StandIn:
    """Answers in the place of the long work, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: Evaluation | BaseException = make_evaluation()
        self.unreadable: list[Exception] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def evaluate_detector(
        self, labelled: Path, authentic: Path | None, detector: str, *, failures: list, progress: Callable, **rest: Any
    ) -> Evaluation:
        """Give what was planned."""
        self.asked.append({"labelled": labelled, "authentic": authentic, "detector": detector, **rest})
        progress("reading labelled scans", 0, 1)
        failures += self.unreadable
        self.meanwhile()
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    answering = StandIn()
    module = ModuleType("verict.evaluation.run")
    module.evaluate_detector = answering.evaluate_detector
    monkeypatch.setitem(sys.modules, "verict.evaluation.run", module)
    return answering


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a sound labelled collection, ``lab``, untouched series, ``plain``, and a place for results."""
    build_collection(tmp_path / "lab")
    (tmp_path / "plain").mkdir()
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert list(tmp_path.rglob("*.part")) == [], "a half-written file was left"


def _run(*arguments: str) -> Result:
    result = CliRunner().invoke(APP, list(arguments), env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def _ledger_lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


# --- what is written ---


def test_summary_json_page_and_ledger(stand_in: StandIn, here: Path) -> None:
    result = _run("lab", "--authentic", "plain", "--json", "out/e.json", "--html", "out/e.html", "--seed", "3")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert "Only 21 places of 20 patients" in result.stdout.splitlines()[1]
    document = json.loads((here / "out" / "e.json").read_text(encoding="utf-8"))
    assert find_violations(document, SCHEMA) == []
    assert document["auc"]["fb_parenchyma"] == 0.97503
    assert document["ledger"] == {"real_fakes": 55, "recorded": True}
    assert document["provenance"]["options"]["seed"] == 3
    assert len(document["provenance"]["options"]["label_tables_sha256"]) == 2
    page = Page((here / "out" / "e.html").read_text(encoding="utf-8"))
    assert "0.928 to 1.000" in page.text
    (line,) = _ledger_lines(here / "out" / "real_fakes_ledger.csv")
    assert line["auc_fb"] == "0.975"
    assert line["weights_sha256"] == "c" * 16
    assert line["what"] == "evaluate fusion: 55 published fakes, seed 3"


def test_options_reach_the_evaluation(stand_in: StandIn, here: Path) -> None:
    _run("lab", "--json", "out/e.json")
    _run("lab", "--json", "out/e.json", "--authentic", "plain", "--no-probes", "--workers", "2", "--seed", "9",
         "--weights", "plain")  # fmt: skip
    usual, asked = stand_in.asked
    assert usual == {"labelled": Path("lab"), "authentic": None, "detector": "fusion", "seed": 0, "workers": None,
                     "probe": True, "weights": WEIGHTS}  # fmt: skip
    assert asked == usual | {"authentic": Path("plain"), "seed": 9, "workers": 2, "probe": False,
                             "weights": Path("plain")}  # fmt: skip


def test_a_second_run_replaces_the_results_and_adds_to_the_ledger(stand_in: StandIn, here: Path) -> None:
    for seed in ("1", "2"):
        assert _run("lab", "--json", "out/e.json", "--html", "out/e.html", "--seed", seed).exit_code == 0
    assert json.loads((here / "out" / "e.json").read_text())["provenance"]["options"]["seed"] == 2
    assert [line["what"][-6:] for line in _ledger_lines(here / "out" / "real_fakes_ledger.csv")] == ["seed 1", "seed 2"]


def test_nothing_names_a_path_or_a_patient(stand_in: StandIn, here: Path) -> None:
    stand_in.unreadable = [make_unreadable()]
    result = _run("lab", "--authentic", "plain", "--json", "out/e.json", "--html", "out/e.html")
    written = (here / "out" / "e.json").read_text() + (here / "out" / "e.html").read_text() + result.stdout
    for secret in (SECRET_PATH, "MUSTER", str(here), "plain"):
        assert secret not in written.replace("plain lung", ""), secret


def test_without_a_published_fake_no_line_is_added(stand_in: StandIn, here: Path) -> None:
    stand_in.answer = UNTOUCHED_BY_A_REAL_FAKE
    assert _run("lab", "--json", "out/e.json").exit_code == 0
    assert not (here / "out" / "real_fakes_ledger.csv").exists()
    assert json.loads((here / "out" / "e.json").read_text())["ledger"] == {"real_fakes": 0, "recorded": None}


def test_grave_conclusions_are_a_result_and_no_failure(stand_in: StandIn, here: Path) -> None:
    stand_in.answer = IN_SAMPLE
    result = _run("lab", "--json", "out/e.json")
    assert result.exit_code == 0
    assert "3 series judged in sample" in " ".join(result.stdout.split())


# --- what could not be read ---


def test_unreadable_series_are_told_and_the_others_evaluated(stand_in: StandIn, here: Path) -> None:
    stand_in.unreadable = [make_unreadable()] * 22
    result = _run("lab", "--json", "out/e.json")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"verict evaluate: {SECRET_PATH}: pixel data is truncated; tag PixelData")
    assert lines[20:] == ["verict evaluate: and 2 more inputs could not be read"]
    document = json.loads((here / "out" / "e.json").read_text())
    assert len(document["failures"]) == 22
    assert document["failures"][0] == {
        "error": "PixelError", "problem": "pixel data is truncated", "tag": "PixelData (7FE0,0010)",
    }  # fmt: skip


def test_labels_left_out_are_told_and_the_others_evaluated(stand_in: StandIn, here: Path) -> None:
    stand_in.answer = make_evaluation(data=make_data() | {"labelled": {"labels": {"FB": 1, "FM": 1, "TM": 1}}})
    result = _run("lab", "--json", "out/e.json", "--html", "out/e.html")  # four rows have a place
    assert result.exit_code == 1
    assert "1 label row left out, since the slice is missing, could not be read or is no CT, the place" in result.stderr
    assert json.loads((here / "out" / "e.json").read_text())["labels_left_out"] == 1
    assert "1 label row left out" in Page((here / "out" / "e.html").read_text()).text


def test_labels_of_an_experiment_that_is_not_there_at_all_are_not_missed(stand_in: StandIn, here: Path) -> None:
    shutil.rmtree(scan_folder(here / "lab", "2001", experiment=2).parent)
    stand_in.answer = make_evaluation(data=make_data() | {"labelled": {"labels": {"FB": 1, "TM": 1}}})
    assert _run("lab", "--json", "out/e.json").exit_code == 0


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (DatasetError("no CT series here", file="plain"), 1),
        (ModelError("the weights are not the ones the card describes"), 1),
        (PermissionError(13, "Permission denied", "lab/1.dcm"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_work_that_fails_as_a_whole_writes_nothing(
    stand_in: StandIn, here: Path, answer: BaseException, code: int
) -> None:
    stand_in.answer = answer
    result = _run("lab", "--json", "out/e.json", "--html", "out/e.html")
    assert result.exit_code == code
    assert len(result.stderr.splitlines()) == 1
    assert list((here / "out").iterdir()) == []


# --- refused before the work ---


def _no_tables(here: Path) -> None:
    labels_file(here / "lab").unlink()
    labels_file(here / "lab", experiment=2).unlink()


def _only_a_header(here: Path) -> None:
    for table in (here / "lab").rglob("labels_exp*.csv"):
        table.write_text("type,uuid,slice,x,y\n")


def _other_columns(here: Path) -> None:
    labels_file(here / "lab").write_text("type,uuid,slice,row,column\nFB,1001,3,20,30\n")


def _wrong_type(here: Path) -> None:
    labels_file(here / "lab").write_text(f"{HEADER}\nXX,1001,3,20,30\n")


def _row(row: str) -> Callable[[Path], None]:
    """The table of experiment 1 with one more row, the third."""

    def prepare(here: Path) -> None:
        labels_file(here / "lab").write_text(f"{HEADER}\nFB,1001,3,20,30\n{row}\n")

    return prepare


def _semicolons(here: Path) -> None:
    labels_file(here / "lab").write_text(f"{HEADER}\nFB,1001,3,20,30\n".replace(",", ";"))


def _utf_16(here: Path) -> None:
    labels_file(here / "lab").write_bytes(f"{HEADER}\nFB,1001,3,20,30\n".encode("utf-16"))


def _circle(here: Path) -> None:
    (here / "circle").symlink_to("circle")


def _link(link: str, target: str) -> Callable[[Path], None]:
    return lambda here: (here / link).symlink_to(target)


def _two_links(here: Path) -> None:
    """Untouched series, a link to another folder, and from there one to the labelled scans."""
    (here / "other").mkdir()
    (here / "plain" / "other").symlink_to("../other")
    (here / "other" / "forged").symlink_to(f"../lab/Tampered Scans/{HELD_BACK}")


def _nothing(here: Path) -> None:
    pass


def _folder_for_file(here: Path) -> None:
    (here / "out" / "e.json").mkdir()


def _other_ledger(here: Path) -> None:
    (here / "out" / "real_fakes_ledger.csv").write_text("name,date\n")


def _dicom(here: Path) -> None:
    shutil.copy(scan_folder(here / "lab", "1001") / "3.dcm", here / "out" / "e.json")


JSON = ("--json", "out/e.json")


@pytest.mark.parametrize(
    ("arguments", "prepare", "code", "said"),
    [
        (["missing", *JSON], _nothing, 2, "missing: no such folder"),
        (["plain", *JSON], _nothing, 2, "no labelled collection here"),
        (["lab", *JSON], _no_tables, 1, "scans come without label tables"),
        (["lab", *JSON], _only_a_header, 1, "the label tables name no place; found 0 rows"),
        (["lab", *JSON], _other_columns, 1, "labels_exp1.csv"),
        (["lab", *JSON], _wrong_type, 1, "expected TB, TM, FB or FM"),
        (["lab", *JSON], _row("FB,=cmd|calc!A1,3,20,30"), 1, "line 3, column uuid: cannot be used; found '=cmd|c"),
        (["lab", *JSON], _row("FB,../../etc,3,20,30"), 1, "line 3, column uuid: cannot be used"),
        (["lab", *JSON], _row("FB,1001,99999999999999999999,20,30"), 1, "line 3, column slice: cannot be used"),
        (["lab", *JSON], _row("FB,1001,3,1e300,30"), 1, "line 3, column x: cannot be used; found '1e300'"),
        (["lab", *JSON], _row("FB,1001,3,-5,30"), 1, "expected a whole number, 0 or more"),
        (["lab", *JSON], _row("FB,1001,3"), 1, "line 3: missing columns; found 3 fields"),
        (["lab", *JSON], _semicolons, 1, "expected type,uuid,slice,x,y"),
        (["lab", *JSON], _utf_16, 1, "expected UTF-8; save it as CSV in UTF-8"),
        (["circle", *JSON], _circle, 2, "circle: no such folder"),
        (["lab", *JSON, "--authentic", "circle"], _circle, 2, "circle: no such folder"),
        (["lab", "--json", "circle/e.json"], _circle, 2, "circle/e.json"),
        (["lab", "--json", "out/a\x1b[2Jb/e.json"], _nothing, 2, "out/a\\x1b[2Jb/e.json: its folder does not exist"),
        (["lab", *JSON, "--authentic", "missing"], _nothing, 2, "missing: no such folder"),
        (["lab", *JSON, "--authentic", "lab"], _nothing, 2, "--authentic holds labelled scans"),
        (["lab", *JSON, "--authentic", "."], _nothing, 2, "--authentic holds labelled scans"),
        (["lab", *JSON, "--authentic", f"lab/Tampered Scans/{HELD_BACK}/1001"], _nothing, 2, "lies in one"),
        (["lab", *JSON, "--authentic", "plain"], _link("plain/up", ".."), 2, "--authentic holds labelled scans"),
        (["lab", *JSON, "--authentic", "plain"], _two_links, 2, "--authentic holds labelled scans"),
        (["lab", *JSON, "--authentic", "plain"], _link("plain/1.dcm", f"../lab/Tampered Scans/{HELD_BACK}/1001/1.dcm"),
         2, "and no link to others"),
        (["lab", *JSON, "--weights", "missing"], _nothing, 2, "name the folder verict train wrote to"),
        (["lab", *JSON, "--detector", "spektrum"], _nothing, 2, "did you mean spectrum?"),
        (["lab", *JSON, "--detector", "header"], _nothing, 2, "looks at headers, not at pixels"),
        (["lab", *JSON], _folder_for_file, 2, "the output is a folder"),
        (["lab", *JSON], _dicom, 2, "would replace a DICOM file"),
        (["lab", *JSON], _other_ledger, 2, "not a ledger of real fakes"),
        (["lab", "--json", "missing/e.json"], _nothing, 2, "its folder does not exist"),
        (["lab", "--json", "-"], _nothing, 2, "--json needs a file"),
        (["lab", "--json", "."], _nothing, 2, "the output is a folder"),
        (["lab", "--json", "lab/e.json"], _nothing, 2, "lies in a folder that is evaluated"),
        (["lab", *JSON, "--authentic", "plain", "--html", "plain/e.html"], _nothing, 2, "lies in a folder that is"),
        (["lab", *JSON, "--html", "out/../out/e.json"], _nothing, 2, "--json and --html name the same file"),
        (["lab", *JSON, "--ledger", "out/e.json"], _nothing, 2, "--json and --ledger name the same file"),
        (["lab", *JSON, "--ledger", "out"], _nothing, 2, "the output is a folder"),
        (["lab", *JSON, "--ledger", f"lab/Tampered Scans/{HELD_BACK}/1001/1.dcm"], _nothing, 2, "a DICOM file"),
    ],
)
def test_what_cannot_work_ends_before_the_work(
    stand_in: StandIn, here: Path, arguments: list[str], prepare: Callable[[Path], None], code: int, said: str
) -> None:
    prepare(here)
    before = sorted(here.rglob("*"))
    result = _run(*arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""
    assert stand_in.asked == []
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("arguments", [[], ["lab"], ["lab", *JSON, "--seed", "-1"], ["lab", *JSON, "--workers", "0"]])
def test_usage_errors_of_the_parser(stand_in: StandIn, here: Path, arguments: list[str]) -> None:
    assert _run(*arguments).exit_code == 2
    assert stand_in.asked == []


def test_no_option_leaves_the_ledger_out() -> None:
    text = _run("--help").stdout
    assert "--ledger" in text
    assert "--no-ledger" not in text
    assert _run("lab", *JSON, "--no-ledger").exit_code == 2
    assert _run("lab", *JSON, "--ledger", "").exit_code == 2


def test_help_explains_the_exit_codes() -> None:
    text = " ".join(_run("--help").stdout.replace("│", " ").split())
    said_in_help = ("0 evaluated", "1 some input could not be read", "2 wrong usage", "130 interrupted", "no option")
    for said in said_in_help:
        assert said in text, said


def test_the_command_is_registered() -> None:
    assert "evaluate" in CliRunner().invoke(whole, ["--help"]).stdout


# --- outputs that break after the work ---


@pytest.mark.parametrize("lost", ["real_fakes_ledger.csv", "e.json", "e.html"])
def test_an_output_that_fails_after_the_work_loses_no_other(stand_in: StandIn, here: Path, lost: str) -> None:
    names = {"real_fakes_ledger.csv", "e.json", "e.html"}
    stand_in.meanwhile = lambda: (here / "out" / lost).mkdir()
    result = _run("lab", "--json", "out/e.json", "--html", "out/e.html")
    assert result.exit_code == 2
    assert lost in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "Telling painted places" in result.stdout
    assert {p.name for p in (here / "out").iterdir() if p.is_file()} == names - {lost}
    if lost == "real_fakes_ledger.csv":
        assert json.loads((here / "out" / "e.json").read_text())["ledger"] == {"real_fakes": 55, "recorded": False}
        assert "could not be recorded in the ledger" in Page((here / "out" / "e.html").read_text()).text
    else:
        assert len(_ledger_lines(here / "out" / "real_fakes_ledger.csv")) == 1


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

    class Stream:
        """A stream that says it is a terminal."""

        def isatty(self) -> bool:
            """Pretend."""
            return True

    monkeypatch.setattr(command, "show_progress", Terminal)
    _run("lab", *JSON)
    assert shown == []
    monkeypatch.setattr(command.sys, "stderr", Stream())
    with pytest.raises(typer.Exit):
        command.evaluate(Path("lab"), json=Path("out/e.json"))
    assert shown == [("reading labelled scans", 0, 1)]


# --- with the real work, on real slices ---

REAL = ("1009", "7794")


@pytest.fixture
def real(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The labelled slices of two scans, and three untouched ones."""
    source = shared_data / "ctgan" / "Tampered Scans"
    target = tmp_path / "lab" / "Tampered Scans"
    for uuid in REAL:
        shutil.copytree(source / HELD_BACK / uuid, target / HELD_BACK / uuid)
    rows = (source / "labels_exp1.csv").read_text().splitlines()
    (target / "labels_exp1.csv").write_text("\n".join(r for r in rows if r.split(",")[1] in ("uuid", *REAL)) + "\n")
    (tmp_path / "plain" / "MUSTER_ERIKA").mkdir(parents=True)
    for file in sorted((shared_data / "authentic" / "tcga-singles").glob("*.dcm"))[:3]:
        shutil.copy(file, tmp_path / "plain" / "MUSTER_ERIKA")
    monkeypatch.chdir(tmp_path)
    return tmp_path


ARGUMENTS = ("lab", "--authentic", "plain", "--json", "e.json", "--html", "e.html", "--workers", "1", "--no-probes")


def test_real_slices_from_end_to_end(real: Path) -> None:
    result = _run(*ARGUMENTS)
    assert result.exit_code == 0, result.stderr
    document = json.loads((real / "e.json").read_text(encoding="utf-8"))
    assert find_violations(document, SCHEMA) == []
    assert document["n"]["auc"]["fb_parenchyma"] == 3
    assert document["auc"]["fm_dense"] is None
    assert document["reason"]["auc"]["fm_dense"]
    assert document["authentic"]["series"] == 3
    assert document["ledger"] == {"real_fakes": 3, "recorded": True}
    assert document["data"]["labelled"]["seen"] == {"out_of_fold": 2}
    assert document["model"]["sha256"].startswith(_ledger_lines(real / "real_fakes_ledger.csv")[0]["weights_sha256"])
    assert tuple(_ledger_lines(real / "real_fakes_ledger.csv")[0]) == COLUMNS
    written = (real / "e.json").read_text() + (real / "e.html").read_text() + result.stdout
    for secret in ("MUSTER", "TCGA", str(real), os.sep + "plain"):
        assert secret not in written, secret


def test_weights_of_ones_own_are_used_and_a_folder_without_is_refused(real: Path) -> None:
    shutil.copytree(WEIGHTS, real / "own")
    assert _run(*ARGUMENTS, "--weights", "own").exit_code == 0
    shutil.copytree(WEIGHTS, real / "altered")
    (real / "altered" / "spectrum.onnx").write_bytes(b"other")
    result = _run(*ARGUMENTS, "--weights", "altered")
    assert (result.exit_code, "not the ones the card describes" in result.stderr) == (1, True)


def test_damaged_and_foreign_files_beside_real_slices(real: Path) -> None:
    whole_file = next((real / "plain" / "MUSTER_ERIKA").iterdir()).read_bytes()
    (real / "plain" / "cut").mkdir()
    (real / "plain" / "cut" / "cut.dcm").write_bytes(whole_file[: len(whole_file) // 2])
    (real / "plain" / "mr").mkdir()
    make_series(real / "plain" / "mr", slices=3, Modality="MR", SOPClassUID=MRImageStorage)
    result = _run(*ARGUMENTS)
    assert result.exit_code == 1, result.output
    assert "cut.dcm" in result.stderr
    document = json.loads((real / "e.json").read_text(encoding="utf-8"))
    assert len(document["failures"]) >= 1
    assert document["authentic"]["series"] == 3
    assert "cut.dcm" not in (real / "e.json").read_text()


def _nothing_in(folder: Path) -> None:
    pass


def _only_mr_in(folder: Path) -> None:
    make_series(folder / "mr", slices=3, Modality="MR", SOPClassUID=MRImageStorage)


@pytest.mark.parametrize("fill", [_nothing_in, _only_mr_in])
def test_an_authentic_folder_without_ct(real: Path, fill: Callable[[Path], None]) -> None:
    shutil.rmtree(real / "plain" / "MUSTER_ERIKA")
    fill(real / "plain")
    result = _run(*ARGUMENTS)
    assert result.exit_code == 1
    assert "no CT series here" in result.stderr
    assert not (real / "e.json").exists()
    assert not (real / "real_fakes_ledger.csv").exists()


def _remove(file: Path) -> None:
    file.unlink()


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100_000])


def _make_mr(file: Path) -> None:
    dataset = pydicom.dcmread(file)
    dataset.Modality, dataset.SOPClassUID = "MR", MRImageStorage
    dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
    dataset.save_as(file)


@pytest.mark.parametrize("damage", [_remove, _cut, _make_mr])
def test_a_labelled_slice_that_cannot_be_judged_is_told(real: Path, damage: Callable[[Path], None]) -> None:
    damage(real / "lab" / "Tampered Scans" / HELD_BACK / "7794" / "79.dcm")
    result = _run("lab", "--json", "e.json", "--workers", "1", "--no-probes")
    assert result.exit_code == 1, result.output
    assert "1 label row left out" in result.stderr
    assert ("79.dcm" in result.stderr) == (damage is _cut)
    document = json.loads((real / "e.json").read_text(encoding="utf-8"))
    assert document["labels_left_out"] == 1
    assert document["ledger"] == {"real_fakes": 2, "recorded": True}
    assert document["reason"]["authentic"]["series"]


def _add_row(real: Path, row: str) -> None:
    with (real / "lab" / "Tampered Scans" / "labels_exp1.csv").open("a") as table:
        table.write(row + "\n")


@pytest.mark.parametrize(
    "row",
    [
        "FB,1009,76,900,288",  # outside the image
        "FB,1009,76,354,512",
        "FB,1009,76,354,288",  # stands twice
        "FB,1009,55555,20,30",  # no such slice
        "FB,4242,3,20,30",  # no such scan
    ],
)
def test_a_row_that_is_no_place_of_its_own_is_told_and_not_counted(real: Path, row: str) -> None:
    _add_row(real, row)
    result = _run("lab", "--json", "e.json", "--workers", "1", "--no-probes")
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("verict evaluate: 1 label row left out")
    assert len(result.stderr.splitlines()) == 1
    document = json.loads((real / "e.json").read_text(encoding="utf-8"))
    assert document["n"]["auc"]["pooled"] == 3
    assert document["labels_left_out"] == 1
    assert document["ledger"] == {"real_fakes": 3, "recorded": True}


def test_a_slice_that_bears_no_number_is_told_and_the_others_evaluated(real: Path) -> None:
    other = next((real / "plain" / "MUSTER_ERIKA").iterdir())
    shutil.copy(other, real / "lab" / "Tampered Scans" / HELD_BACK / "7794" / "extra.dcm")
    result = _run("lab", "--json", "e.json", "--workers", "1", "--no-probes")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "extra.dcm: the slice bears no number" in line
    assert "expected a name like 76.dcm" in line
    document = json.loads((real / "e.json").read_text(encoding="utf-8"))
    assert (document["n"]["auc"]["pooled"], document["labels_left_out"]) == (3, 0)


def test_hostile_names_and_links_in_a_circle_beside_untouched_series(real: Path) -> None:
    content = next((real / "plain" / "MUSTER_ERIKA").iterdir()).read_bytes()
    (real / "plain" / "a\x1b[31m\nb.dcm").write_bytes(content[:5000])
    (real / "plain" / "me").symlink_to("me")
    (real / "plain" / "again").symlink_to(".")
    result = _run(*ARGUMENTS)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert any("a\\x1b[31m\\nb.dcm: the pixels are truncated" in line for line in lines)
    assert any("me: cannot be read" in line for line in lines)
    assert json.loads((real / "e.json").read_text(encoding="utf-8"))["authentic"]["series"] == 3


def test_a_table_as_a_spreadsheet_saves_it_is_read(real: Path) -> None:
    table = real / "lab" / "Tampered Scans" / "labels_exp1.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n"))
    assert _run("lab", "--json", "e.json", "--workers", "1", "--no-probes").exit_code == 0


def test_when_nothing_can_be_read_each_reason_is_told(real: Path) -> None:
    for file in (real / "lab").rglob("*.dcm"):
        _cut(file)
    result = _run("lab", "--json", "e.json", "--workers", "1", "--no-probes")
    assert result.exit_code == 1
    assert "79.dcm" in result.stderr
    assert "no scan is left to evaluate" in result.stderr.splitlines()[-1]
    assert not (real / "e.json").exists()
