"""The same pixels get the same verdict: after re-export, reordering, on other threads and as on another CPU."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from builders import make_body_hu, make_series
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from verict.detect import spectrum
from verict.detect.model import Model, load_model
from verict.detect.result import SeriesResult, Verdict
from verict.detect.scan import ScanOptions, examine
from verict.evaluation.repeat import compare_results

SLICES, SIZE, SPACING = 5, 192, (3.0, 1.7, 1.7)
SPOT = (slice(80, 116), slice(46, 74))  # painted with white noise, inside of one lung
TOLERANCE = 1e-3  # of a score: twenty times what benchmarks/repeatability.py finds between vector units
REAL_FAKES = 2
SYNTAXES = [
    ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless,
    JPEG2000Lossless,
]  # fmt: skip
OLDER_CPU = """
import json, sys
from verict.detect.scan import examine
from pathlib import Path
(series,) = examine(Path(sys.argv[1])).series
regions = sorted([list(r.bounds), r.decisive, r.score] for r in series.regions)
print(json.dumps({"verdict": series.verdict, "score": series.score, "regions": regions}))
"""


def painted_hu() -> np.ndarray:
    """A body with a spot of white noise in five neighbouring slices: what the spectrum detector looks for."""
    hu = make_body_hu(SLICES, SIZE, SIZE, noise_hu=30.0)
    noise = np.random.default_rng(1).normal(0, 60, (SLICES, SIZE, SIZE))
    hu[:, *SPOT] = np.rint(-850 + noise[:, *SPOT])
    return np.clip(hu, -1000, 1000)  # what every way of storing it can hold


@pytest.fixture
def sensitive(monkeypatch) -> None:
    """Thresholds low enough that the built series has regions to compare."""
    shipped = load_model("spectrum")
    low = Model(shipped.card | {"calibration": dict.fromkeys(shipped.calibration, 0.0)}, shipped.session)
    monkeypatch.setattr(spectrum, "load_model", lambda name: low)


def write(folder: Path, **settings) -> list[Path]:
    return make_series(folder, hu=painted_hu(), spacing_mm=SPACING, **settings)


def scan(path: Path, **options) -> SeriesResult:
    result = examine(path, ScanOptions(**{"detectors": ("header", "spectrum"), **options}))
    assert not result.failures
    (series,) = result.series
    return series


def assert_identical(first: SeriesResult, second: SeriesResult) -> None:
    found = compare_results(first, second)
    assert found.is_same
    assert found.score_difference == 0


def test_the_built_series_has_something_to_lose(tmp_path, sensitive):
    write(tmp_path / "painted")
    series = scan(tmp_path / "painted")
    assert series.verdict is Verdict.INDETERMINATE  # its noise, made in code, is that of no scanner
    assert series.regions[0].decisive
    assert series.regions[0].slices == tuple(range(SLICES))
    make_series(tmp_path / "quiet", hu=make_body_hu(SLICES, SIZE, SIZE, noise_hu=30.0), spacing_mm=SPACING)
    assert not compare_results(series, scan(tmp_path / "quiet")).is_same


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: s.name)
def test_re_export_changes_nothing(tmp_path, sensitive, syntax):
    write(tmp_path / "plain")
    write(tmp_path / "other", transfer_syntax=syntax)
    assert_identical(scan(tmp_path / "plain"), scan(tmp_path / "other"))


@pytest.mark.parametrize(
    "storage",
    [
        {"signed": False, "bits_stored": 12},
        {"signed": False, "intercept": -2000.0},
        {"slope": 0.5, "intercept": -1024.0},
    ],
)
def test_storing_the_same_hu_otherwise_changes_nothing(tmp_path, sensitive, storage):
    write(tmp_path / "plain")
    write(tmp_path / "other", **storage)
    assert_identical(scan(tmp_path / "plain"), scan(tmp_path / "other"))


def test_names_folders_and_instance_numbers_change_nothing(tmp_path, sensitive):
    files = write(tmp_path / "plain")
    random.Random(3).shuffle(files)
    for number, file in enumerate(files):
        inner = tmp_path / "other" / f"{9 - number}" / "IMAGES"
        inner.mkdir(parents=True)
        shutil.copy(file, inner / f"IM{number:03d}")
        dataset = pydicom.dcmread(inner / f"IM{number:03d}")
        dataset.InstanceNumber = number + 1
        dataset.save_as(inner / f"IM{number:03d}")
    # Only what the headers say may differ: numbers against positions are a finding of their own.
    plain, other = (scan(tmp_path / name, detectors=("spectrum",)) for name in ("plain", "other"))
    assert_identical(plain, other)
    assert plain.regions[0].sop_instance_uids == other.regions[0].sop_instance_uids


def test_files_dated_and_listed_the_other_way_round_change_nothing(tmp_path, sensitive):
    files = write(tmp_path / "plain")
    (tmp_path / "other").mkdir()
    for number, file in enumerate(reversed(files)):
        shutil.copy(file, tmp_path / "other" / f"{number:03d}.dcm")
    assert_identical(scan(tmp_path / "plain"), scan(tmp_path / "other"))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_number_of_threads_changes_nothing(tmp_path, sensitive, workers):
    write(tmp_path)
    assert_identical(scan(tmp_path), scan(tmp_path, workers=workers))


def vector_instructions() -> str:
    """What numpy chooses at run time on this CPU; disabling anything else is a warning."""
    core = np._core if hasattr(np, "_core") else np.core
    found = core._multiarray_umath
    return " ".join(f for f in found.__cpu_dispatch__ if found.__cpu_features__.get(f))


def test_another_cpu_gives_the_same_verdict_and_all_but_the_same_scores(tmp_path):
    write(tmp_path)
    older = {"NPY_DISABLE_CPU_FEATURES": vector_instructions(), "OPENBLAS_CORETYPE": "Prescott"}
    said = []
    for environment in ({}, older):
        done = subprocess.run(
            [sys.executable, "-c", OLDER_CPU, str(tmp_path)], env=os.environ | environment,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said.append(json.loads(done.stdout))
    here, there = said
    assert here["regions"], "without a region there is little to compare"
    assert here["verdict"] == there["verdict"]
    assert here["score"] == pytest.approx(there["score"], abs=TOLERANCE)
    assert [r[:2] for r in here["regions"]] == [r[:2] for r in there["regions"]]
    assert [r[2] for r in here["regions"]] == pytest.approx([r[2] for r in there["regions"]], abs=TOLERANCE)


def test_real_fakes_repeat_after_re_export(shared_data, tmp_path):
    fakes = sorted((shared_data / "ctgan").rglob("*.dcm"))[:REAL_FAKES]
    assert fakes
    for number, file in enumerate(fakes):
        plain = tmp_path / f"plain{number}" / file.name
        other = tmp_path / f"other{number}" / "renamed"
        plain.parent.mkdir()
        other.parent.mkdir()
        shutil.copy(file, plain)
        dataset = pydicom.dcmread(file)
        dataset.compress(JPEGLSLossless, generate_instance_uid=False)
        dataset.save_as(other)
        assert_identical(scan(plain, detectors=("spectrum",)), scan(other, detectors=("spectrum",), workers=4))
