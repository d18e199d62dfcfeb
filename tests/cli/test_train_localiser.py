"""`verict train localiser` and `verict train fusion` as a user meets them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from verict.cli.main import app

COMMANDS = {"localiser": ["--data", "somewhere"], "fusion": ["--data", "somewhere", "--campaign", "elsewhere"]}


@pytest.mark.parametrize("command", COMMANDS)
def test_training_without_its_extra_says_what_to_install(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("verict.training")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    done = CliRunner().invoke(app, ["train", command, *COMMANDS[command]])
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1
    assert "verict[train]" in done.stderr


@pytest.mark.extra
def test_data_that_is_not_there_is_named(tmp_path: Path, require_extra) -> None:
    require_extra("torch")
    done = CliRunner().invoke(app, ["train", "localiser", "--data", str(tmp_path / "no"), "--out", str(tmp_path / "o")])
    assert done.exit_code == 1
    assert "no such collection" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.extra
def test_a_recipe_that_cannot_be_read_is_named(tmp_path: Path, require_extra) -> None:
    require_extra("torch")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("wide = 3", encoding="utf-8")
    done = CliRunner().invoke(app, ["train", "localiser", "--data", str(tmp_path), "--recipe", str(recipe)])
    assert done.exit_code == 1
    assert "wide" in done.stderr
    assert "recipe.toml" in done.stderr
