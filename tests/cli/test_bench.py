"""`verict bench`: what it refuses before any work, what it writes, and its exit codes."""

from __future__ import annotations

import builtins
import csv
import json
from pathlib import Path

import pytest
from benchmarks.small_collection import build_small_collection
from datasets.uci_folders import build_collection, labels_file
from report.page import Page
from typer.testing import CliRunner, Result

from verict.benchmarks import run as bench_run
from verict.cli.main import app
from verict.evaluation.published_fakes import PUBLISHED_FAKES

QUICK = ("--models", "majority,content,forest-middle", "--folds", "2", "--repeats", "1")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    build_small_collection(tmp_path / "lab")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def extras(require_extra) -> None:
    for name in ("sklearn", "torch", "pyarrow"):
        require_extra(name)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", *arguments])


def test_results_are_written_in_every_form_and_shown(here, extras):
    result = run("student", "--data", "lab", "--out", "out", *QUICK)
    assert result.exit_code == 0, result.stderr
    folder = here / "out" / "student"
    document = json.loads((folder / "results.json").read_text())
    assert [m["protocol"] for m in document["models"]].count("leaky") == 3
    assert json.loads((folder / "run.json").read_text())["options"]["folds"] == 2
    text = (folder / "results.md").read_text()
    assert "| model | macro-F1, leaky | macro-F1, clean | leaky − clean |" in text
    assert "random forest, middle slice" in text
    assert "Who leads:" in text
    assert "random forest, middle slice" in " ".join(result.stdout.split())
    page = Page((folder / "results.html").read_text())
    assert page.unclosed == []
    assert "macro-F1, clean" in page.text
    assert sum(name == "svg" for name, _ in page.elements) == 2
    assert not any(name in ("script", "link", "img") for name, _ in page.elements)


def test_parquet_holds_the_figures_and_every_prediction(here, extras, require_extra):
    parquet = require_extra("pyarrow.parquet")
    run("student", "--data", "lab", "--out", "out", *QUICK)
    folder = here / "out" / "student"
    rows = parquet.read_table(folder / "results.parquet").to_pylist()
    assert len(rows) == 6
    assert {"macro_f1", "macro_f1_low", "auc_removed", "tb_precision", "gap_macro_f1", "cpu_s"} <= rows[0].keys()
    predictions = parquet.read_table(folder / "predictions.parquet").to_pylist()
    assert len(predictions) == 6 * 14
    assert sum(predictions[0][f"p_{kind}"] for kind in ("tb", "fb", "tm", "fm")) == pytest.approx(1)


def test_rows_that_cannot_be_cut_make_the_exit_code_1(here, extras):
    file = labels_file(here / "lab")
    file.write_text(file.read_text() + "FB,1001,99,19,32\n")
    result = run("student", "--data", "lab", "--out", "out", *QUICK)
    assert result.exit_code == 1
    assert "slice 99" in result.stderr
    assert (here / "out" / "student" / "results.json").is_file()


def test_a_look_at_published_fakes_is_written_down(here, extras, monkeypatch):
    monkeypatch.setattr(bench_run, "PUBLISHED_FAKES", PUBLISHED_FAKES | {(12, 19, 32)})
    run("student", "--data", "lab", "--out", "out", *QUICK)
    (line,) = csv.DictReader((here / "out" / "real_fakes_ledger.csv").read_text().splitlines())
    assert line["what"] == "bench student: 3 published fakes"


def test_no_ledger_without_published_fakes(here, extras):
    run("student", "--data", "lab", "--out", "out", *QUICK)
    assert not (here / "out" / "real_fakes_ledger.csv").exists()


def test_an_interruption_is_told_and_leaves_finished_folds(here, extras, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_run, "run_fold", stop)
    result = run("student", "--data", "lab", "--out", "out", *QUICK)
    assert result.exit_code == 130
    assert "finished folds are kept" in result.stderr


def test_nothing_silent_about_what_networks_start_from(here, extras):
    result = run("comparative", "--data", "lab", "--out", "out", "--models", "resnet50-frozen")
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "https://download.pytorch.org/models/resnet50-0676ba61.pth" in result.stderr
    assert "--init random" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["student", "--data", "nowhere", "--out", "out"], "nowhere: no such folder"),
        (["student", "--data", "lab", "--out", "lab/out"], "lies in a study"),
        (["student", "--data", "lab", "--out", "out", "--models", "cnn4d"], "no model named 'cnn4d'"),
        (["student", "--data", "lab", "--out", "out", "--protocol", "cleen"], "did you mean clean?"),
        (["student", "--data", "lab", "--out", "out", "--copies", "9"], "expected 0 to 7"),
        (["student", "--data", "lab", "--out", "out", "--device", "tpu"], "expected auto, cpu, cuda"),
        (["student", "--data", "lab", "--out", "out", "--models", "majority", "--folds", "14"], "14 folds of 13"),
        (["detectors", "--data", "lab", "--out", "out", "--device", "cuda"], "detectors run on the processor"),
        (["comparative", "--data", "lab", "--out", "out", "--init", "zero"], "--init random, or --imagenet"),
        (["comparative", "--data", "lab", "--out", "out", "--init", "random", "--imagenet", "."], "leave one of them"),
        (["comparative", "--data", "lab", "--out", "out", "--imagenet", "."], "densenet121-a639ec97.pth"),
        (["comparative", "--data", "lab", "--out", "out", "--window-px", "20"], "expected 32 to 64 px"),
    ],
)
def test_wrong_use_is_refused_on_one_line(here, extras, arguments, said):
    result = run(*arguments)
    assert result.exit_code == 2, result.stderr
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda folder: folder.mkdir(), "no labelled collection here"),
        (lambda folder: build_collection(folder, slices=range(3, 4)), "no place could be cut"),
    ],
)
def test_a_folder_without_anything_to_learn_from_is_told(here, extras, build, said):
    build(here / "other")
    result = run("student", "--data", "other", "--out", "out", *QUICK)
    assert result.exit_code in (1, 2)
    assert "other: " + said in result.stderr


@pytest.mark.parametrize("experiment", ["student", "comparative", "detectors"])
def test_without_the_extra_it_says_so_on_one_line(here, monkeypatch, experiment):
    genuine = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.partition(".")[0] in ("torch", "sklearn", "monai", "pyarrow"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return genuine(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    result = run(experiment, "--data", "lab", "--out", "out", *(["--init", "random"] if experiment[0] == "c" else []))
    assert result.exit_code == 1
    assert "pip install 'verict[bench]'" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (here / "out").exists()
