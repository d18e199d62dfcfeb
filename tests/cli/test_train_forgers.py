from __future__ import annotations

import sys

import pytest
from typer.testing import CliRunner

from verict.cli.main import app


@pytest.mark.parametrize("command", ["ctgan-inject", "ctgan-remove"])
def test_training_without_its_extra_says_what_to_install(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("verict.training")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    done = CliRunner().invoke(app, ["train", command, "--data", "somewhere"])
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1
    assert "verict[train]" in done.stderr


@pytest.mark.parametrize("command", ["ctgan-inject", "ctgan-remove"])
def test_settings_that_make_no_network_are_refused(command: str) -> None:
    for option in ("--steps=0", "--filters=1"):
        assert CliRunner().invoke(app, ["train", command, "--data", "somewhere", option]).exit_code == 2
