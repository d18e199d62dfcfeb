"""`verict phantom`: what it writes, what it refuses, and that nothing half-written stays."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from verict.cli import phantom
from verict.cli.main import app
from verict.ct.discover import find_series
from verict.ct.lungs import find_lungs
from verict.ct.phantom.anatomy import draw_anatomy
from verict.ct.phantom.chest import EDGE_MM, SimulatedChest, simulate_chest
from verict.ct.phantom.nodules import NoduleOrder
from verict.ct.phantom.scanner import Protocol
from verict.ct.read import read_series
from verict.errors import OutputError

SMALL = ["--size", "128", "--slices", "24", "--thickness", "4", "--seed", "7", "--nodules", "2"]
TINY = ["--size", "64", "--slices", "2", "--nodules", "0"]


def run(*arguments: object):
    return CliRunner().invoke(app, ["phantom", *map(str, arguments)])


def read_truth(folder: Path) -> dict:
    return json.loads((folder / phantom.TRUTH_FILE).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "0815"
    done = run(out, *SMALL, "--kernel", "Lung", "--increment", "3", "--metal", "--beam-hardening", "--dose", "0.5")
    assert done.exit_code == 0, done.output
    assert "24 slices, 2 nodules" in done.stdout
    return out


@pytest.fixture(scope="module")
def tiny_chest() -> SimulatedChest:
    return simulate_chest(Protocol(pixel_mm=370 / 64), slices=2, size=64)


@pytest.fixture
def ready(tiny_chest: SimulatedChest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan of `TINY` is at hand: for tests of what becomes of it."""
    monkeypatch.setattr(phantom, "simulate_chest", lambda *_, **__: tiny_chest)


def test_the_series_can_be_read_and_has_lungs(made: Path) -> None:
    volume = read_series(find_series(made).series[0])
    assert volume.hu.shape == (24, 128, 128)
    np.testing.assert_allclose(volume.spacing_mm, (3.0, 370 / 128, 370 / 128), atol=1e-4)
    assert find_lungs(volume).found.mean() > 0.9
    assert {h.ConvolutionKernel for h in volume.headers} == {"LUNG"}
    assert {float(h.SliceThickness) for h in volume.headers} == {4.0}
    assert {h.QualityControlSubject for h in volume.headers} == {"YES"}


def test_the_truth_says_everything_and_the_table_the_same(made: Path) -> None:
    truth = read_truth(made)
    assert (truth["seed"], truth["kernel"], truth["shape_zyx"]) == (7, "lung", [24, 128, 128])
    assert truth["protocol"]["dose"] == 0.5
    assert truth["protocol"]["beam_hardening"] is True
    assert truth["metal"] in ("pacemaker", "sternal wires", "spine screws")
    volume = read_series(find_series(made).series[0])
    with (made / phantom.LABEL_FILE).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(truth["nodules"]) == 2
    for row, nodule in zip(rows, truth["nodules"], strict=True):
        z, y, x = nodule["centre_voxel_zyx"]
        assert (row["type"], row["uuid"]) == ("TM", "0815")
        assert [int(row[c]) for c in ("slice", "y", "x")] == [round(z) + 1, round(y), round(x)]
        assert volume.headers[round(z)].InstanceNumber == int(row["slice"])
        np.testing.assert_allclose(volume.to_patient_mm(z, y, x), nodule["centre_mm_lps"], atol=1e-3)
        assert nodule["diameter_mm"] > 0


def test_same_options_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run(tmp_path / name, *TINY, "--seed", 3).exit_code == 0
    assert run(tmp_path / "c", *TINY, "--seed", 4).exit_code == 0
    a, b, c = ([(tmp_path / n / f"{i:04d}.dcm").read_bytes() for i in (1, 2)] for n in "abc")
    assert a == b
    assert not set(a) & set(c)
    assert (tmp_path / "a" / phantom.TRUTH_FILE).read_text() == (tmp_path / "b" / phantom.TRUTH_FILE).read_text()


def test_scan_runs_through(made: Path) -> None:
    done = CliRunner().invoke(app, ["scan", str(made), "--json", "-"])
    assert done.exit_code in (0, 10, 11), done.output
    (series,) = json.loads(done.stdout)["series"]
    assert series["slice_count"] == 24


def test_dciodvfy_finds_no_error(made: Path, dcmtk) -> None:
    for file in sorted(made.glob("*.dcm"))[::9]:
        done = subprocess.run([dcmtk("dciodvfy"), file], capture_output=True, text=True, check=False)
        assert [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--kernel", "lumg", ("no such kernel", "lumg", "did you mean lung?")),
        ("--dose", "-1", ("--dose", "-1", "0.01 to 100")),
        ("--dose", "nan", ("--dose", "nan")),
        ("--dose", "inf", ("--dose", "inf")),
        ("--slices", "0", ("--slices", "1 to 2000")),
        ("--thickness", "80", ("--thickness", "80", "0.3 to 15 mm")),
        ("--increment", "0", ("--increment",)),
        ("--pixel", "0", ("--pixel", "mm")),
        ("--size", "0", ("--size", "64 to 1024 pixels")),
        ("--nodules", "-2", ("--nodules", "-2")),
        ("--seed", "-1", ("--seed", "-1")),
    ],
)
def test_a_bad_option_ends_with_two_and_one_line(
    tmp_path: Path, option: str, value: str, words: tuple[str, ...]
) -> None:
    done = run(tmp_path / "out", f"{option}={value}")
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom, "simulate_chest", lambda *a, **k: pytest.fail("worked in vain"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "scan.dcm").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("mine", "file"):
        done = run(tmp_path / name)
        assert done.exit_code == 2
        assert "not an empty folder" in done.stderr
    assert (tmp_path / "mine" / "scan.dcm").read_text() == "x"


def test_an_empty_folder_and_new_parents_are_taken(tmp_path: Path, ready: None) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "new" / "deep"):
        assert run(out, *TINY).exit_code == 0
        assert sorted(p.name for p in out.iterdir()) == ["0001.dcm", "0002.dcm", "labels.csv", "phantom.json"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "new"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("file/below", "file/below: cannot be written: Not a directory"),
        ("loop", "loop: cannot use the folder: its links lead in a circle"),
        ("loop/below", "loop/below: cannot use the folder: its links lead in a circle"),
        ("", "the output place is the current folder"),
        (".", "the output place is the current folder"),
        ("a\x1b[31mb", "a\\x1b[31mb: its name holds characters that no table can"),
        ("new/a\nb", "new/a\\nb: its name holds characters that no table can"),
        ("x" * 300, "cannot use the folder: File name too long"),
        ("x" * 300 + "/below", "File name too long"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.setattr(phantom, "simulate_chest", lambda *a, **k: pytest.fail("worked in vain"))
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here" if name in ("", ".") else tmp_path)
    done = run(name, *TINY)
    assert done.exit_code == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "partial" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "here", "loop"]


@pytest.mark.parametrize(
    ("options", "nodules"),
    [
        (["--slices", "9", "--thickness", "5"], 0),
        (["--slices", "10", "--thickness", "5"], 3),
        (["--slices", "10", "--thickness", "5", "--increment", "4"], 0),
        (["--slices", "9", "--thickness", "5", "--nodules", "1"], 1),
        ([], 3),
    ],
)
def test_few_slices_have_no_nodules_unless_asked(
    tmp_path: Path, tiny_chest: SimulatedChest, monkeypatch: pytest.MonkeyPatch, options: list[str], nodules: int
) -> None:
    asked = []

    def simulate(*_: object, nodules: int, **__: object) -> SimulatedChest:
        asked.append(nodules)
        return tiny_chest

    monkeypatch.setattr(phantom, "simulate_chest", simulate)
    assert run(tmp_path / "out", "--size", 64, *options).exit_code == 0
    assert asked == [nodules]
    assert (tmp_path / "out" / phantom.LABEL_FILE).read_text() == "type,uuid,slice,x,y\n"


@pytest.mark.parametrize("seed", [0, 1])
def test_the_usual_nodules_fit_into_the_least_room(seed: int) -> None:
    half_mm = (phantom.ROOM_MM - 5) / 2 - EDGE_MM  # ten slices of 5 mm
    order = NoduleOrder(phantom.USUAL_NODULES, z_mm=(-half_mm, half_mm), reach_mm=370 / 2 - EDGE_MM)
    assert len(draw_anatomy(seed, nodules=order).nodules) == phantom.USUAL_NODULES


def test_more_nodules_than_fit_end_with_one(tmp_path: Path) -> None:
    done = run(tmp_path / "out", "--size", 64, "--slices", 2, "--nodules", 5)
    assert done.exit_code == 1
    assert "do not hold so many nodules" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [(KeyboardInterrupt(), 130, "interrupted"), (OSError(28, "No space left on device"), 2, "No space left")],
)
def test_nothing_half_written_stays(
    tmp_path: Path, ready: None, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, word: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(phantom, "write_text", fail)
    done = run(tmp_path / "new" / "out", *TINY)
    assert done.exit_code == code
    assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="needs a limit of the size of files")
def test_a_disk_that_takes_no_whole_slice(tmp_path: Path, ready: None) -> None:
    import resource

    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, usual[1]))  # bytes; a slice has more
    try:
        done = run(tmp_path / "new" / "out", *TINY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert done.exit_code == 2
    assert done.stderr.endswith("out: cannot write: File too large; check the disk, or name a folder elsewhere\n")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_told(tmp_path: Path, ready: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OutputError("cannot write: disk full", file="x")

    monkeypatch.setattr(phantom, "write_chest", fail)
    done = run(tmp_path / "out", *TINY)
    assert done.exit_code == 2
    assert "disk full" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_files_name_nobody(made: Path) -> None:
    ds = pydicom.dcmread(next(iter(sorted(made.glob("*.dcm")))), stop_before_pixels=True)
    assert str(ds.PatientName) == "PHANTOM^NOBODY"
    assert ds.PatientID == "PHANTOM-7"
    assert ds.PatientBirthDate == ""
