"""`verict tamper campaign`: what it says and refuses; what it makes is tested in tests/tamper/campaign."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tamper.campaign.sources import make_chest, register_forgers
from typer.testing import CliRunner

from verict.cli.main import app
from verict.errors import MissingExtraError
from verict.tamper.campaign import run as campaign_run


@pytest.fixture(autouse=True, scope="module")
def _plain_forgers():
    with pytest.MonkeyPatch.context() as patch:
        register_forgers(patch)
        yield


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    make_chest(folder / "p1", seed=1)
    for seed, name in enumerate(("lone", "alone"), start=2):
        make_chest(folder / name, seed=seed)
        for file in sorted((folder / name).iterdir())[1:]:
            file.unlink()
    return folder


def run(*arguments: object):
    return CliRunner().invoke(app, ["tamper", "campaign", *map(str, arguments)])


def test_it_tells_what_it_made_and_what_it_could_not_use_and_goes_on_to_nothing(scans, tmp_path):
    out = tmp_path / "out"
    done = run("--scans", scans, "--out", out, "--n", "4", "--seed", "7", "--methods", "block,only-injects")
    assert done.exit_code == 0, done.output
    sha256 = json.loads((out / "campaign.json").read_text())["sha256"]
    assert f"{out}: 4 rows (1 TB, 1 TM, 1 FB, 1 FM) in " in done.stdout
    assert "of 1 patient\n" in done.stdout
    assert "rows a minute" in done.stdout
    assert f"campaign {sha256}" in done.stdout
    assert "verict tamper campaign: 1 series of lone not used: the slice of the target has no neighbours" in done.stderr
    again = run("--scans", scans, "--out", out, "--n", "4", "--seed", "7", "--methods", "block, only-injects")
    assert again.exit_code == 0, again.output
    assert "nothing was left to do" in again.stdout
    other = run("--scans", scans, "--out", out, "--n", "8", "--seed", "7")
    assert other.exit_code == 2
    assert "another campaign" in other.stderr


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (["--methods", "blok"], 2, "did you mean block?"),
    (["--methods", "block,"], 2, "an empty name"),
    (["--methods", "block,block"], 2, "named twice"),
    (["--touchups", "copied"], 2, "known: as-it-is"),
    (["--methods", "only-injects"], 2, "none of the methods can remove"),
    (["--n", "3"], 2, ""),
    (["--workers", "0"], 2, ""),
    (["--scans", "absent"], 2, "no such folder"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused_in_a_line(scans, tmp_path, arguments, code, words):
    done = run("--scans", scans, "--out", tmp_path / "out", "--n", "4", *arguments)
    assert done.exit_code == code, done.output
    assert words in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize("where", ["inside", "same", "above", "file", "full"])
def test_an_output_place_that_would_harm_something_is_refused(scans, tmp_path, where):
    own = tmp_path / "held" / "scans"
    make_chest(own / "p", seed=4)
    out = {"inside": own / "out", "same": own, "above": own.parent, "file": tmp_path / "a.txt",
           "full": tmp_path / "full"}[where]  # fmt: skip
    (tmp_path / "full").mkdir()
    for file in (tmp_path / "a.txt", tmp_path / "full" / "a.txt"):
        file.write_text("kept", encoding="ascii")
    before = sorted(tmp_path.rglob("*"))
    done = run("--scans", own, "--out", out, "--n", "4")
    assert done.exit_code == 2, done.output
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_no_usable_source_is_the_inputs_fault(scans, tmp_path):
    done = run("--scans", scans / "lone", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "no source can be used" in done.stderr
    assert not (tmp_path / "out").exists(), "nothing is left behind"


@pytest.mark.parametrize(("error", "code", "words"), [
    (MissingExtraError("scikit-image is not installed", next_step="pip install verict[tamper]"), 1, "verict[tamper]"),
    (KeyboardInterrupt(), 130, "the same command goes on"),
    (MemoryError(), 1, "fewer --workers"),
])  # fmt: skip
def test_what_goes_wrong_on_the_way_is_told_in_a_line(scans, tmp_path, monkeypatch, error, code, words):
    def fail(*_):
        raise error

    monkeypatch.setattr(campaign_run, "make_campaign", fail)
    done = run("--scans", scans, "--out", tmp_path / "out")
    assert done.exit_code == code
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
