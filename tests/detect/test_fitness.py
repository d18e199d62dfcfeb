"""Which series thresholds hold for: one limit each, the shipped limits, a real series before and after processing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from verict.ct.lungs import find_lungs
from verict.datasets.scans import read_authentic_scans
from verict.detect.fitness import (
    FitLimits,
    describe_misfits,
    examine_fitness,
    find_misfits,
    identify_limits,
    load_limits,
    nearest,
)
from verict.detect.model import WEIGHTS
from verict.detect.noise_traits import NoiseTraits
from verict.errors import ModelError
from verict.evaluation.benign import process
from verict.evaluation.probes import take_slices

POWER = np.arange(14.0, 7, -1)
LIMITS = FitLimits((0.5, 1.0), -0.5, 0.25, 0.25, 2.0, np.stack([POWER, POWER + 1]), np.eye(7))
TRAITS = NoiseTraits(0.7, POWER, -0.2, 0.0, 0.0, 5)


def test_what_lies_within_every_limit_is_fit():
    assert find_misfits(TRAITS, LIMITS) == ()
    at_limit = replace(TRAITS, pixel_mm=1.0, gaussian=-0.5, jpeg_grid=0.25, wavelet_grid=0.25)
    assert find_misfits(at_limit, LIMITS) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pixel_mm": 1.4}, "1.40 mm, known ones 0.50 to 1.00"),
        ({"pixel_mm": 0.4}, "0.40 mm"),
        ({"gaussian": -0.6}, "smoothed"),
        ({"jpeg_grid": 1.0}, "grid of JPEG:"),
        ({"wavelet_grid": 1.0}, "grid of JPEG 2000:"),
        ({"power": POWER - 3}, "spectrum"),
    ],
)
def test_each_limit_is_told_in_its_own_words(change, words):
    (reason,) = find_misfits(replace(TRAITS, **change), LIMITS)
    assert words in reason
    assert reason in describe_misfits((reason,))


def test_distance_is_to_the_nearest_reference_after_whitening():
    assert nearest(POWER + 0.9, LIMITS.references, np.eye(7)) == pytest.approx(0.1 * np.sqrt(7))
    assert nearest(POWER, POWER[None] + 1, 2 * np.eye(7)) == pytest.approx(2 * np.sqrt(7))
    assert nearest(POWER, np.empty((0, 7)), np.eye(7)) == np.inf


def test_shipped_limits_are_read_and_identified():
    limits = load_limits()
    card = json.loads((WEIGHTS / "fitness.json").read_text("utf-8"))
    assert limits.references.shape == (sum(card["data"]["series"].values()), 7)
    assert all(limits.distance(power) == 0 for power in limits.references)
    assert not any(card["unfit_when_left_out"].values())
    assert set(identify_limits()) == {"id", "version", "sha256"}
    assert "patient" not in (WEIGHTS / "fitness.json").read_text("utf-8").replace('"patients"', "")


def test_missing_or_foreign_limits_are_refused(tmp_path):
    with pytest.raises(ModelError):
        load_limits(tmp_path)
    (tmp_path / "fitness.json").write_text('{"schema": "other/1"}')
    with pytest.raises(ModelError, match="version"):
        load_limits(tmp_path)


@pytest.fixture(scope="module")
def sharp_series(shared_data):
    folder = shared_data / "authentic" / "petctdx-philips-L"
    scan = next(iter(read_authentic_scans(folder, lambda *_: None)))
    return take_slices(scan.volume, np.arange(24, 32))


@pytest.mark.parametrize(
    ("name", "strength", "words"),
    [
        ("lossless", 1, None),
        ("rotate", 3, None),
        ("smooth", 70, "smoothed"),
        ("jpeg2000", 10, "JPEG 2000"),
        ("jpeg", 10, "JPEG:"),
        ("matrix", 256, "another matrix"),
        ("matrix", 768, "spectrum"),
    ],
)
def test_a_real_series_is_fit_and_what_alarms_is_not(sharp_series, name, strength, words):
    done = process(sharp_series, name, strength)
    reasons = examine_fitness(done, find_lungs(done)).reasons
    assert bool(reasons) == (words is not None)
    assert words is None or any(words in reason for reason in reasons)
