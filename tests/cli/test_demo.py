"""`verict demo`: what it writes, what it says, and when it is content."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from verict.cli import demo
from verict.ct.discover import find_series
from verict.ct.phantom.scanner import Protocol
from verict.ct.read import read_series
from verict.detect.result import Failure, Region, ScanResult, SeriesResult, Verdict
from verict.errors import OutputError
from verict.tamper.mark import is_marked

SMALL_MM = (2.4, 2.8, 2.8)
TRUTH = demo._Truth((20, 200, 120), (-60.0, -30.0, 0.0), {"kind": "remove"})


def make_region(off_mm: float, score: float = 0.9, *, decisive: bool = True) -> Region:
    x, y, z = TRUTH.mm_lps
    return Region(
        detector="spectrum",
        centre_voxel_zyx=(20.0, 200.0, 120.0),
        centre_mm_lps=(x + off_mm, y, z),
        bounds=(10, 30, 180, 220, 100, 140),
        extent_mm=(40.0, 28.0, 28.0),
        slices=(20,),
        sop_instance_uids=("1.2",),
        peak_slice=20,
        score=score,
        decisive=decisive,
        evidence="noise",
    )


def make_result(verdict: Verdict | None, *regions: Region) -> ScanResult:
    series = [] if verdict is None else [SeriesResult("1.2", verdict, "why", 0.5, regions, (), (), "", "source", 40)]
    failures = () if series else (Failure("the disk is full", {}),)
    return ScanResult("study", tuple(series), (), failures, {})


def make_console() -> Console:
    return Console(file=io.StringIO(), highlight=False, soft_wrap=True, markup=False)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SLICES", 30)
    monkeypatch.setattr(demo, "SIZE", 128)
    monkeypatch.setattr(demo, "PROTOCOL", Protocol(thickness_mm=2.4, increment_mm=2.4, pixel_mm=2.8))


@pytest.mark.parametrize(
    ("verdict", "regions", "complaint"),
    [
        (Verdict.SUSPICIOUS, (make_region(6),), None),
        (Verdict.SUSPICIOUS, (make_region(90, 0.8), make_region(14.9, 0.9)), None),
        (Verdict.SUSPICIOUS, (make_region(90, 0.9), make_region(6, 0.8)), "90 mm from the forgery"),
        (Verdict.SUSPICIOUS, (make_region(15.2),), "15 mm from the forgery"),
        (Verdict.SUSPICIOUS, (make_region(6, decisive=False),), "not called suspicious"),
        (Verdict.NO_EVIDENCE, (), "not called suspicious"),
        (Verdict.INDETERMINATE, (make_region(6, decisive=False),), "not called suspicious"),
        (None, (), "the disk is full"),
    ],
)
def test_the_forgery_must_be_found_in_its_place(verdict, regions, complaint) -> None:
    complaints = demo.judge_forged(make_result(verdict, *regions), TRUTH, make_console())
    if complaint is None:
        assert complaints == []
    else:
        assert len(complaints) == 1
        assert complaint in complaints[0]


@pytest.mark.parametrize(
    ("verdict", "content"),
    [(Verdict.NO_EVIDENCE, True), (Verdict.INDETERMINATE, True), (Verdict.SUSPICIOUS, False), (None, False)],
)
def test_the_untouched_scan_must_not_be_suspicious(verdict: Verdict | None, content: bool) -> None:
    assert (demo.judge_untouched(make_result(verdict), make_console()) == []) == content


def test_folder_new_empty_or_beside_a_former_demo(tmp_path: Path) -> None:
    assert demo.choose_folder(tmp_path / "new") == tmp_path / "new"
    (tmp_path / "empty").mkdir()
    assert demo.choose_folder(tmp_path / "empty") == tmp_path / "empty"
    for name in ("d", "d-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / demo.TRUTH_FILE).write_text("{}")
    assert demo.choose_folder(tmp_path / "d") == tmp_path / "d-3"


def test_folder_of_anything_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "scan.dcm").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("mine", "file"):
        with pytest.raises(OutputError, match="no former demo"):
            demo.choose_folder(tmp_path / name)


def test_scans_are_whole_and_differ_in_the_forged_spot_only(tmp_path: Path, small: None) -> None:
    truth = demo.make_scans(tmp_path, seed=1)
    volumes = {n: read_series(find_series(tmp_path / n).series[0]) for n in ("untouched", "forged")}
    before, after = volumes["untouched"], volumes["forged"]
    np.testing.assert_allclose(before.spacing_mm, SMALL_MM, atol=1e-3)
    assert before.hu.shape == after.hu.shape == (30, 128, 128)
    np.testing.assert_array_equal(before.origins_mm, after.origins_mm)
    assert before.study_instance_uid == after.study_instance_uid
    assert before.series_instance_uid != after.series_instance_uid
    assert all(is_marked(h) for h in after.headers)
    assert not any(is_marked(h) for h in before.headers)
    assert all(h.QualityControlSubject == "YES" for v in volumes.values() for h in v.headers)
    changed = np.argwhere(before.hu != after.hu)
    reach_mm = np.abs(changed - truth.voxel_zyx) * SMALL_MM
    assert 5 < reach_mm.max() < 26  # half of 1.3 x 32 mm, and rounding to voxels
    assert before.hu[truth.voxel_zyx] > -200  # the nodule
    assert after.hu[truth.voxel_zyx] < -500  # is gone
    assert truth.mm_lps == before.to_patient_mm(*truth.voxel_zyx)
    written = json.loads((tmp_path / demo.TRUTH_FILE).read_text())
    assert written["centre_voxel_zyx"] == list(truth.voxel_zyx)
    assert written["forged"]["kind"] == "remove"
    assert written["untouched_series_instance_uid"] == before.series_instance_uid


def run_command(arguments: list[str]):
    app = Typer()
    app.command()(demo.demo)
    return CliRunner().invoke(app, arguments)


def test_a_folder_in_use_ends_with_two_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "scan.dcm").write_text("x")
    done = run_command(["--out", str(tmp_path)])
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "former demo" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["scan.dcm"]


def test_a_detector_that_finds_nothing_makes_the_demo_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "make_scans", lambda folder, seed: TRUTH)
    monkeypatch.setattr("verict.detect.scan.examine", lambda path, options: make_result(Verdict.NO_EVIDENCE))
    done = run_command(["--out", str(tmp_path / "d")])
    assert done.exit_code == 1
    assert "the forged scan was not called suspicious" in done.stderr


@pytest.mark.parametrize(("seed", "slices"), [(0, demo.SLICES), (1, 32)])
def test_the_demo_finds_its_forgery_by_the_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, slices: int
) -> None:
    monkeypatch.setattr(demo, "SLICES", slices)
    done = run_command(["--out", str(tmp_path / "d"), "--seed", str(seed)])
    assert done.exit_code == 0, done.stderr + done.stdout
    for name in ("untouched", "forged"):
        content = json.loads((tmp_path / "d" / f"{name}.json").read_text())
        assert len(content["series"]) == 1
        assert (tmp_path / "d" / f"{name}.html").stat().st_size > 10_000
        assert len(list((tmp_path / "d" / name).iterdir())) == demo.SLICES
    assert content["series"][0]["verdict"] == "suspicious"
    assert "by fusion" in done.stdout
    assert "shows: cancer: a" in done.stdout, "the nodule of the untouched scan"
    assert "shows: no cancer seen" in done.stdout
    assert "most likely FB" in done.stdout
    assert "in the pixels alone" in done.stdout
    assert str(tmp_path / "d" / "forged.html") in done.stdout
    one = pydicom.dcmread(next((tmp_path / "d" / "forged").iterdir()), stop_before_pixels=True)
    assert is_marked(one)
