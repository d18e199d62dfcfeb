"""The ledger keeps every look at the real fakes, whoever else writes at the same time, and loses none in silence."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from verict.datasets.uci import read_collection
from verict.errors import OutputError
from verict.evaluation import ledger as ledgers
from verict.evaluation.ledger import COLUMNS, append, check_ledger
from verict.evaluation.published_fakes import PUBLISHED_FAKES
from verict.evaluation.result import Evaluation, Measured
from verict.statistics import Figure

WEIGHTS = "0123456789abcdef" * 4


def evaluation(real_fakes: int = 55) -> Evaluation:
    def measured(value: float | None) -> Measured:
        return Measured(Figure(value, None, None, 3))

    figures = {
        "auc": {"pooled": measured(0.5), "fb_parenchyma": measured(0.97503), "fm_dense": Measured.missing("too few")},
        "frozen": {"fb": measured(0.9), "fm": measured(0.25)},
        "authentic": {"false_marks_per_slice": measured(0.04871)},
    }
    return Evaluation("spectrum", figures, data={"real_fakes": real_fakes})


def read(ledger: Path) -> list[dict[str, str]]:
    with ledger.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_projects_own_ledger_has_these_columns() -> None:
    own = Path(__file__).parents[2] / "docs" / "real_fakes_ledger.csv"
    before = own.read_bytes()
    check_ledger(own)
    assert own.read_bytes() == before
    assert tuple(read(own)[0]) == COLUMNS


def test_a_line_holds_the_figures_and_whose_they_are(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.csv"
    assert append(ledger, evaluation(), weights_sha256=WEIGHTS, what='evaluate, "spectrum"\nseed 0') is True
    (line,) = read(ledger)
    assert line.pop("utc").endswith("+00:00")
    assert line == {
        "weights_sha256": "0123456789abcdef", "auc_fb": "0.975", "found_fb": "0.9", "auc_fm": "", "found_fm": "0.25",
        "false_marks_per_slice": "0.0487", "what": 'evaluate, "spectrum"\nseed 0',
    }  # fmt: skip
    append(ledger, evaluation(), weights_sha256="", what="again")
    assert [row["what"] for row in read(ledger)] == ['evaluate, "spectrum"\nseed 0', "again"]
    assert [p.name for p in tmp_path.iterdir()] == ["ledger.csv"]


def test_data_without_published_fakes_leaves_no_line(tmp_path: Path) -> None:
    assert append(tmp_path / "ledger.csv", evaluation(0), weights_sha256=WEIGHTS, what="x") is False
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_that_does_not_say_what_it_saw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="real_fakes"):
        append(tmp_path / "ledger.csv", Evaluation("x", {}), weights_sha256="", what="x")


@pytest.mark.parametrize("before", ["", ",".join(COLUMNS), ",".join(COLUMNS) + "\nby,hand,,,,,,without an end"])
def test_a_ledger_touched_by_hand_gets_whole_lines(tmp_path: Path, before: str) -> None:
    ledger = tmp_path / "ledger.csv"
    ledger.write_text(before, encoding="utf-8")
    check_ledger(ledger)
    append(ledger, evaluation(), weights_sha256=WEIGHTS, what="new")
    rows = read(ledger)
    assert rows[-1]["what"] == "new"
    assert len(rows) == 1 + ("by,hand" in before)
    assert ledger.read_text(encoding="utf-8").startswith(before)


APPEND_MANY = """
import sys
from pathlib import Path
from verict.evaluation.ledger import append_figures
for turn in range(20):
    append_figures(Path(sys.argv[1]) / f"{turn}.csv", {"auc_fb": 0.5}, weights_sha256="", what=f"process {sys.argv[2]}")
"""


def test_evaluations_that_end_together_each_keep_their_line(tmp_path: Path) -> None:
    started = [subprocess.Popen([sys.executable, "-c", APPEND_MANY, tmp_path, str(who)]) for who in range(3)]
    assert [process.wait(120) for process in started] == [0, 0, 0]
    for turn in range(20):
        rows = read(tmp_path / f"{turn}.csv")
        assert tuple(rows[0]) == COLUMNS
        assert sorted(row["what"] for row in rows) == ["process 0", "process 1", "process 2"]
    assert len(list(tmp_path.iterdir())) == 20


def test_a_disk_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    append(tmp_path / "ledger.csv", evaluation(), weights_sha256=WEIGHTS, what="x")
    assert len(read(tmp_path / "ledger.csv")) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_ledger_that_cannot_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = tmp_path / "ledger.csv"
    ledger.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    opened = Path.open

    def refuse(self: Path, mode: str = "r", *args: object, **options: object) -> object:
        if self == ledger and mode != "r":
            raise PermissionError(13, "Permission denied")
        return opened(self, mode, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)  # rights mean nothing to an administrator, who may run the tests
    for attempt in (
        lambda: check_ledger(ledger), lambda: append(ledger, evaluation(), weights_sha256="", what="x")
    ):  # fmt: skip
        with pytest.raises(OutputError, match="ledger cannot be written: Permission denied"):
            attempt()


def test_what_can_be_known_before_is_said_before(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("type,uuid,slice,x,y\n", encoding="utf-8")
    for name, said in (
        (".", "is a folder"), ("missing/ledger.csv", "folder of the ledger does not exist"),
        ("table.csv", "not a ledger of real fakes"),
    ):  # fmt: skip
        with pytest.raises(OutputError, match=said):
            check_ledger(tmp_path / name)
    check_ledger(tmp_path / "new.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_published_fakes_are_those_of_the_published_tables(shared_data: Path) -> None:
    rows = read_collection(shared_data / "labels").rows
    assert {(r.slice, r.x, r.y) for r in rows if r.type.is_tampered} == PUBLISHED_FAKES
    assert len(PUBLISHED_FAKES) == sum(r.type.is_tampered for r in rows) == 113
    here = read_collection(shared_data / "ctgan").rows
    assert sum(r.type.is_tampered and (r.slice, r.x, r.y) in PUBLISHED_FAKES for r in here) == 55


def test_the_default_name_is_the_projects() -> None:
    assert (Path(__file__).parents[2] / "docs" / ledgers.DEFAULT_NAME).is_file()
