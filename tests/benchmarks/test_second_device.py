"""Networks are fitted on the device asked for: nothing is left behind, figures and resuming are right, cost is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.small_collection import build_small_collection, make_samples
from typer.testing import CliRunner

import verict.benchmarks.run as module
from verict.benchmarks.cost import Cost, tell_full_card
from verict.benchmarks.entries import Learner, choose_entries
from verict.benchmarks.figures import measure_told
from verict.benchmarks.table import make_grids
from verict.cli.main import app

SECOND_DEVICE = Path(__file__).with_name("second_device.py")
DEVICES_IN_PYTHON = "torch.utils.backend_registration", "_setup_privateuseone_for_python_backend"
QUICK = ("--folds", "2", "--repeats", "1", "--copies", "1", "--epochs", "2")
MIXED = """
import sys
sys.path.insert(0, sys.argv[1])
from second_device import MEMORY, NAME, SecondDevice, backend_registration, torch
backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=MEMORY)
with SecondDevice():
    there, here = torch.ones(1000, device=NAME), torch.ones(1000)
    assert (there + 1).sum().item() == 2000
    assert 4000 <= MEMORY.max_memory_allocated() < 20_000
    del there
    assert MEMORY.held < 4000
    torch.ones(3, device=NAME) * here[:3]
"""


def run_elsewhere(*arguments: str, folder: Path) -> tuple[int, str]:
    """Exit code and standard error of a process."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=os.environ, capture_output=True, text=True, check=False,
        timeout=900,
    )  # fmt: skip
    return done.returncode, done.stderr


def read_models(out: Path, experiment: str) -> tuple[list[dict], dict[str, dict]]:
    """Every figure of a run but its cost, and the cost by model."""
    document = json.loads((out / experiment / "results.json").read_text())
    return document["models"], {m["model"]: m.pop("cost") for m in document["models"]}


@pytest.mark.parametrize(
    ("experiment", "options"),
    [
        ("student", ()),
        ("comparative", ("--protocol", "clean", "--init", "random", "--window-px", "32", "--epochs", "1")),
    ],
)  # fmt: skip
def test_on_another_device_the_same_is_learnt(tmp_path, monkeypatch, require_extra, experiment, options):
    for name in ("sklearn", "torch", "monai", "pyarrow"):
        require_extra(name)
    require_extra(*DEVICES_IN_PYTHON)
    build_small_collection(tmp_path / "lab")
    monkeypatch.chdir(tmp_path)
    command = ["bench", experiment, "--data", "lab", "--out", "out", *QUICK, *options]
    assert CliRunner().invoke(app, [*command, "--device", "cpu"]).exit_code == 0
    models, on_processor = read_models(tmp_path / "out", experiment)
    code, said = run_elsewhere(str(SECOND_DEVICE), *command, folder=tmp_path)
    assert code == 0, said
    assert int(said.split()[-3]) > 1000, "folds of the processor are not taken for folds of another device"
    moved, costs = read_models(tmp_path / "out", experiment)
    assert moved == models
    assert {cost["card_mib"] for cost in on_processor.values()} == {None}
    entries = choose_entries(module.Experiment(experiment), ())
    on_card = {name for name, cost in costs.items() if cost["card_mib"] is not None}
    assert on_card == {entry.name for entry in entries if entry.learner is not Learner.PLAIN}
    largest = costs["ffnn" if experiment == "student" else "resnet50-tuned"]
    assert largest["card_mib"] > 250, "weights, gradients and both averages of 17 or 24 million parameters"
    assert "on elsewhere." in (tmp_path / "out" / experiment / "results.md").read_text()


def test_the_second_device_refuses_what_was_not_moved(tmp_path, require_extra):
    require_extra(*DEVICES_IN_PYTHON)
    code, said = run_elsewhere("-c", MIXED, str(SECOND_DEVICE.parent), folder=tmp_path)
    assert code == 1
    assert said.strip().endswith("expected all tensors on one device, found elsewhere and cpu")


@pytest.mark.parametrize(
    ("raised", "text"),
    [
        ("OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total of 4 GiB. More"),
        ("AcceleratorError", "CUDA error: out of memory"),
        ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_a_full_card_is_told_on_one_line(tmp_path, monkeypatch, require_extra, raised, text):
    torch = require_extra("torch")
    require_extra("sklearn"), require_extra("pyarrow")
    build_small_collection(tmp_path / "lab")
    monkeypatch.chdir(tmp_path)
    error = RuntimeError(text) if raised == "RuntimeError" else getattr(torch, raised)(text)

    def fill_up(*_, **__):
        raise error

    monkeypatch.setattr(module, "run_fold", fill_up)
    monkeypatch.setattr(module, "choose_device", lambda _: "cuda")
    command = ["bench", "student", "--data", "lab", "--out", "out", *QUICK, "--models", "cnn2d"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "the graphics card has too little free memory" in result.stderr
    assert text.partition(". GPU")[0] in result.stderr
    assert "--device cpu" in result.stderr


@pytest.mark.parametrize(("device", "text"), [("cuda", "two devices"), ("cpu", "out of memory")])
def test_other_errors_are_not_told_as_a_full_card(device, text):
    with pytest.raises(RuntimeError, match=text), tell_full_card(device):
        raise RuntimeError(text)


def test_costs_add_up_and_the_table_tells_a_card():
    fitting, extracting = Cost(1.0, 2.0, 100.0), Cost(40.0, 80.0, None, 512.0)
    both = fitting.after(extracting, 0.25)
    assert both == Cost(11.0, 22.0, 100.0, 512.0)
    samples = make_samples(patients=2, each=1)
    models = []
    for name, cost in (("here", fitting), ("there", both)):
        told = module.Told(*told_of(samples), cost)
        models.append({"protocol": "clean", "model": name, "words": name, **measure_told(samples, [told])})
    document = {"experiment": "comparative", "models": models, "gaps": [], "places": []}
    grid = next(grid for grid in make_grids([document]) if grid.title == "What it costs")
    assert [row[4:] for row in grid.rows] == [("5", "1.0", "100"), ("5", "22.0 by the clock", "100 + 512")]
    assert "On a graphics card: seconds by the clock" in grid.note


def told_of(samples):
    """Rows, copies, probabilities and the number of items learnt from, of a model that knows nothing."""
    rows = np.arange(len(samples))
    return rows, rows * 0, np.full((len(rows), 4), 0.25), 5
