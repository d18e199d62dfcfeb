from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from verict.cli.main import app
from verict.errors import DatasetError
from verict.tamper.families.ctgan import open_model
from verict.tamper.forgery import ForgeryKind
from verict.training.ctgan.fit import FitRecipe
from verict.training.ctgan.train import CtGanRecipe, train_ctgan

TINY = CtGanRecipe(FitRecipe(filters=2, steps=2, batch=2), healthy=6, variations=4, measured=3)


@pytest.fixture(scope="module")
def data(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """34 slices around the LIDC nodule, and 14 of a scan that is left out."""
    folder = tmp_path_factory.mktemp("data")
    for name, slices in (("lidc-0314-philips-D", range(144, 178)), ("cmbcrc-ge-LUNG", range(60, 74))):
        (folder / "authentic" / name).mkdir(parents=True)
        for number in slices:
            shutil.copy(shared_data / "authentic" / name / f"{number:03d}.dcm", folder / "authentic" / name)
    return folder


def ignore(what: str, done: int, total: int) -> None:
    pass


@pytest.mark.parametrize("kind", list(ForgeryKind))
def test_a_training_leaves_weights_and_a_card_that_says_what_was_learnt_from(
    data: Path, tmp_path: Path, kind: ForgeryKind
) -> None:
    card = train_ctgan(kind, data, tmp_path, TINY, ignore)
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"ctgan-{kind}.json", f"ctgan-{kind}.onnx"]
    assert json.loads((tmp_path / f"ctgan-{kind}.json").read_text()) == card
    assert open_model(kind, tmp_path).card == card
    told = card["training"]
    assert told["data"] == {"healthy_cuboids": {"lidc-0314-philips-D": 6}, "left_out": ["cmbcrc-ge-LUNG"]}
    assert told["recipe"]["fit"]["filters"] == 2
    assert "--steps 2 --filters 2 --seed 7" in told["command"]
    assert "cmbcrc-ge-LUNG" in card["figures"][0]["text"]
    assert card["figures"][0]["n"] == 3
    if kind is ForgeryKind.INJECT:
        assert {nodule["folder"] for nodule in told["real_nodules"]} == {"lidc-0314-philips-D"}
        assert told["n"] == 4
    else:
        assert told["n"] == 6
        again = train_ctgan(kind, data, tmp_path / "again", TINY, ignore)
        assert again["sha256"] == card["sha256"], "the same seed gives the same weights"


def test_scans_without_lung_are_refused(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "authentic" / "cmbcrc-ge-LUNG", tmp_path / "data" / "authentic" / "cmbcrc-ge-LUNG")
    with pytest.raises(DatasetError, match="no healthy lung"):
        train_ctgan(ForgeryKind.REMOVE, tmp_path / "data", tmp_path / "out", TINY, ignore)


@pytest.mark.parametrize("kind", list(ForgeryKind))
def test_a_missing_folder_is_told_in_one_line(tmp_path: Path, kind: ForgeryKind) -> None:
    done = CliRunner().invoke(app, ["train", f"ctgan-{kind}", "--data", str(tmp_path / "no"), "--out", str(tmp_path)])
    assert done.exit_code == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("verict train: ")
    assert "no such folder" in line
