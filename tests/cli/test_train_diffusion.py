from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from verict.cli.main import app

COMMAND = ["train", "diffusion-inpaint", "--data"]


def test_training_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("verict.training")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    done = CliRunner().invoke(app, [*COMMAND, "somewhere"])
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1
    assert "verict[train]" in done.stderr


def test_a_folder_that_is_not_there_is_one_line(require_extra, tmp_path: Path) -> None:
    require_extra("torch")
    done = CliRunner().invoke(app, [*COMMAND, str(tmp_path / "none"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "no such folder" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("option", ["--steps=0", "--seed=-1"])
def test_settings_that_make_no_network_are_refused(option: str) -> None:
    assert CliRunner().invoke(app, [*COMMAND, "somewhere", option]).exit_code == 2
