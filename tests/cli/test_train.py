"""`verict train`: what goes wrong is told in one line; the training itself is held in tests/training."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from verict import __version__
from verict.cli.main import app

run = CliRunner().invoke


@pytest.mark.extra
def test_missing_collections_are_named(tmp_path: Path) -> None:
    result = run(app, ["train", "spectrum", "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "authentic" in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_limits_need_the_collections_too(tmp_path: Path) -> None:
    result = run(app, ["train", "fitness", "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "authentic" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["spectrum", "fitness"])
def test_data_must_be_named(what: str) -> None:
    assert run(app, ["train", what]).exit_code == 2


def test_version_is_told() -> None:
    result = run(app, ["--version"])
    assert (result.exit_code, result.output.strip()) == (0, f"verict {__version__}")
