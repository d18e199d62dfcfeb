"""Power beyond the kernel's cutoff: white noise painted into a soft kernel's stands out."""

from __future__ import annotations

import numpy as np

from tests.detect.volumes import make_lung_hu, make_volume
from verict.ct.lungs import LungRegion
from verict.detect.cutoff import THRESHOLDS, CutoffDetector, score_slice
from verict.detect.spectrum_features import STRIDE_PX, WINDOW_PX

SHAPE = (192, 192)
LIT = np.ones(SHAPE, bool)


def test_white_noise_in_soft_noise_is_marked_and_nothing_far_from_it():
    hu = make_lung_hu(SHAPE, seed=1)
    hu[80:120, 80:120] += np.random.default_rng(0).normal(0, 15, (40, 40)).astype(np.int16)
    values = score_slice(hu, LIT)
    rows, columns = np.nonzero(values >= THRESHOLDS["mark_threshold"])
    middle = (100 - WINDOW_PX // 2) // STRIDE_PX
    assert values[middle, middle] >= THRESHOLDS["mark_threshold"]
    for centres in (rows * STRIDE_PX + WINDOW_PX // 2, columns * STRIDE_PX + WINDOW_PX // 2):
        assert centres.min() > 60 and centres.max() < 140


def test_its_own_noise_is_not_marked():
    assert np.nanmax(score_slice(make_lung_hu(SHAPE, seed=2), LIT)) < THRESHOLDS["mark_threshold"]


def test_louder_noise_of_the_same_kernel_is_no_trace_of_painting():
    hu = (make_lung_hu(SHAPE, seed=5).astype(np.float32) + 850) * np.linspace(0.5, 2, SHAPE[1]) - 850
    assert np.nanmax(score_slice(hu, LIT)) < THRESHOLDS["mark_threshold"]


def test_too_little_lung_or_too_small_a_slice_gets_no_score():
    few = np.zeros(SHAPE, bool)
    few[90:100, 90:100] = True
    assert np.isnan(score_slice(make_lung_hu(SHAPE), few)).all()
    assert score_slice(make_lung_hu((20, 20)), np.ones((20, 20), bool)).size == 0


def test_one_slice_is_enough_and_lungs_are_needed():
    volume = make_volume(1, hu=make_lung_hu((1, *SHAPE)))
    alone = CutoffDetector().examine(volume, LungRegion(LIT[None], np.ones(1, bool)), workers=1)
    np.testing.assert_array_equal(alone.score_map.values[0], score_slice(volume.hu[0], LIT))
    without = CutoffDetector().examine(volume, None, workers=1)
    assert np.isnan(without.score_map.values).all()
    assert [n.code for n in without.notes] == ["no_lungs"]
