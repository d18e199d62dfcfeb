"""`verict classify`: what it refuses before any work, what it writes, and that no look at the real fakes is lost."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets.uci_folders import build_collection
from evaluation.test_classes import make_site, make_sites
from typer.testing import CliRunner, Result

from verict.cli.main import app
from verict.datasets.uci import SiteType
from verict.detect import four_classes
from verict.detect.four_classes import FourClasses
from verict.errors import InputError
from verict.evaluation import classes
from verict.evaluation.published_fakes import PUBLISHED_FAKES


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the long work gives, planned by the test."""
    planned: dict[str, Any] = {"sites": make_sites(3), "failures": []}

    def classify_collection(folder: Path, *, failures: list, progress: Callable, **rest: Any) -> list:
        failures += planned["failures"]
        planned["asked"] = {"folder": folder, **rest}
        return planned["sites"]

    card = {"id": "four-classes", "members": {"nodule": "a" * 64, "fusion": "b" * 64}}
    monkeypatch.setattr(classes, "classify_collection", classify_collection)
    monkeypatch.setattr(four_classes, "load_classes", lambda folder: FourClasses(card, None, None))
    return planned


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    build_collection(tmp_path / "lab")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["classify", *arguments])


def test_sites_and_figures_are_written_and_shown(here, answer):
    result = run("lab", "--json", "out.json", "--csv", "out.csv")
    document = json.loads((here / "out.json").read_text())
    assert document["schema"] == "verict.classes/1"
    assert len(document["sites"]) == 12
    assert document["figures"]["four_classes"]["macro_f1"]["value"] == 1
    assert document["provenance"]["verict"]
    rows = list(csv.DictReader((here / "out.csv").read_text().splitlines()))
    assert [row["said"] for row in rows] == [row["type"] for row in rows]
    assert "macro-F1" in result.stdout
    assert "no diagnosis" in " ".join(result.stdout.split())


def test_what_was_not_read_is_told_and_the_rest_is_written(here, answer):
    answer["failures"] = [InputError("the file cannot be read", file="x.dcm")]
    result = run("lab", "--json", "out.json")
    assert result.exit_code == 1
    assert "x.dcm" in result.stderr
    assert (here / "out.json").exists()


def test_a_look_at_published_fakes_is_written_down(here, answer):
    number, x, y = sorted(PUBLISHED_FAKES)[0]
    site = make_site(SiteType.FB, -5, 5)
    answer["sites"] = [*make_sites(3), type(site)(**{**site.__dict__, "slice_number": number, "x": x, "y": y})]
    run("lab", "--json", "out.json")
    (line,) = (here / "real_fakes_ledger.csv").read_text().splitlines()[1:]
    assert "classify: 1 published fake" in line


def test_no_ledger_without_published_fakes(here, answer):
    run("lab", "--json", "out.json")
    assert not (here / "real_fakes_ledger.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--json", "out.json"], "no such folder"),
        (["lab", "--json", "lab/out.json"], "lies in the folder"),
        (["lab", "--json", "out.json", "--csv", "out.json"], "same file"),
    ],
)
def test_wrong_use_is_refused_before_the_work(here, answer, arguments, said):
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "asked" not in answer


def test_nothing_to_classify_is_an_error(here, answer):
    answer["sites"] = []
    result = run("lab", "--json", "out.json")
    assert result.exit_code == 1
    assert "no site could be classified" in result.stderr
    assert not (here / "out.json").exists()
