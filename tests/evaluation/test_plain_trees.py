"""The plain trees of the benchmark measure what they say, and find paint that brightness does not show."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from evaluation.cheats import make_authentic, make_labelled, make_scan

from verict.evaluation.case import PlaceKind
from verict.evaluation.places import score_at
from verict.evaluation.subjects import make_subject

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "plain_trees.py"


@pytest.fixture(scope="module")
def plain(require_extra):
    require_extra("sklearn")
    spec = importlib.util.spec_from_file_location("plain_trees", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["plain_trees"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["plain_trees"]


def make_texture(sigma: float, seed: int = 0) -> np.ndarray:
    return np.rint(np.random.default_rng(seed).normal(-850, sigma, (160, 160))).astype(np.int16)


def test_a_wave_lies_in_its_ring_and_its_direction(plain):
    x = np.arange(160) + np.zeros((160, 1))
    hu = np.rint(-850 + 40 * np.cos(2 * np.pi * 6 * x / 32)).astype(np.int16)  # 6 cycles a window, along x
    (radial,) = plain.measure_windows(hu, np.array([[80, 80]]))[:, :9]
    assert np.argmax(radial) == 2, "cycles 5 to 7"
    power = plain._band_power(hu.astype(np.float32), np.array([[64, 64]]), plain._SECTORS)[0].reshape(3, 8)
    assert np.unravel_index(power.argmax(), power.shape) == (0, 0), "cycles 4 to 8, along x"
    turned = plain._band_power(hu.T.astype(np.float32), np.array([[64, 64]]), plain._SECTORS)[0].reshape(3, 8)
    assert np.unravel_index(turned.argmax(), power.shape) == (0, 4), "along y"


def test_power_is_that_of_the_full_spectrum(plain):
    hu = make_texture(30)
    window = hu[40:72, 50:82].astype(float)
    taper = np.outer(np.hanning(32), np.hanning(32))
    power = np.abs(np.fft.fft2((window - window.mean()) * taper)) ** 2
    ky, kx = np.meshgrid(*[np.fft.fftfreq(32, 1 / 32)] * 2, indexing="ij")
    radius = np.hypot(ky, kx)
    expected = [power[(radius >= low) & (radius < high)].mean() for low, high in plain.RINGS]
    found = plain._band_power(hu.astype(np.float32), np.array([[40, 50]]), plain._RADIAL)[0]
    assert found == pytest.approx(expected, rel=1e-4)


def test_loudness_moves_power_and_not_its_direction(plain):
    centres = np.array([[80, 80], [90, 70]])
    soft, loud = (plain.measure_windows(make_texture(s), centres) for s in (10, 30))
    assert (loud[:, :9] - soft[:, :9]).mean() == pytest.approx(2 * np.log(3), abs=0.2)
    assert np.abs(loud[:, 36:] - soft[:, 36:]).mean() < 0.3


def test_a_window_measures_the_same_alone_and_among_others(plain):
    hu = make_texture(30)
    centres = np.argwhere(np.ones((160, 160), bool))[::997]
    together = plain.measure_windows(hu, centres)
    assert together.shape == (len(centres), 84)
    for i in (0, 7, len(centres) - 1):
        assert plain.measure_windows(hu, centres[i : i + 1])[0] == pytest.approx(together[i], abs=1e-3)


def test_maps_lie_where_their_windows_are(plain):
    scan = make_scan(1, (None, None))

    class Columns:
        def predict_proba(self, features):
            return np.tile(np.arange(len(features), dtype=float)[:, None], (1, 2))

    score_map = plain.PlainTreesScorer(plain.PlainTrees(), Columns()).score(scan.volume, scan.lungs)
    rows, columns = np.nonzero(np.isfinite(score_map.values[0]))
    assert len(rows) > 50
    for row, column in zip(rows, columns, strict=True):
        y, x = score_map.pixel_of(row, column)
        assert scan.lungs.mask[0, int(y), int(x)]
    order = score_map.values[np.isfinite(score_map.values)]
    assert np.array_equal(order, np.arange(len(order)))


def test_trees_find_paint_of_patients_they_were_not_fitted_on(plain):
    cases = [(scan, make_subject(scan, 1)) for scan in [*make_labelled(8), *make_authentic(2)]]
    held, known = cases[:2], cases[2:]
    scorer = plain.PlainTrees(trees=60, workers=1).fit(known)
    for scan, subject in held:
        score_map = scorer.score(scan.volume, scan.lungs)
        scores = {kind: [] for kind in PlaceKind}
        for p in subject.places:
            scores[p.kind].append(score_at(score_map, p.z, p.y, p.x, scan.volume.spacing_mm))
        assert min(scores[PlaceKind.FB] + scores[PlaceKind.FM]) > np.quantile(scores[PlaceKind.PARENCHYMA], 0.9)


def test_the_same_scans_give_the_same_trees(plain):
    cases = [(scan, make_subject(scan, 1)) for scan in [*make_labelled(3), *make_authentic(1)]]
    maps = [plain.PlainTrees(trees=20, workers=1).fit(cases).score(cases[0][0].volume, cases[0][0].lungs) for _ in "ab"]
    assert np.array_equal(maps[0].values, maps[1].values, equal_nan=True)
