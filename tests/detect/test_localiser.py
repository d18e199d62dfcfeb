"""The localiser in use: single slices, series, coarse to fine, and the shipped weights on a forgery of the lab."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from detect.volumes import make_lungs, make_noise, make_volume

from verict.ct.lungs import LungRegion
from verict.detect.localiser import (
    LocaliserDetector,
    average_runs,
    channels_of,
    coarse_step,
    map_shape,
    map_volume,
    score_with,
    to_dense,
)
from verict.detect.localiser_features import CHANNEL_COUNT, DEPTH
from verict.detect.model import load_folds, load_model
from verict.detect.spectrum_features import grid_shape

SIZE = (256, 256)


def noisy_volume(count: int, step_mm: float = 1.0):
    stack = np.stack([-850 + make_noise(SIZE, seed=z) for z in range(count)])
    positions = [z * step_mm for z in range(count)]
    return make_volume(positions, hu=np.rint(stack).astype(np.int16))


def everywhere(volume) -> LungRegion:
    return LungRegion(np.ones(volume.hu.shape, bool), np.ones(volume.slice_count, bool))


def constant_map(volume, z: int) -> np.ndarray:
    return np.full(map_shape(grid_shape(*volume.hu.shape[1:])), float(z), np.float32)


# --- coarse to fine ---


def test_thick_slices_are_all_looked_at():
    volume, looked = noisy_volume(6, step_mm=3.0), []
    map_volume(volume, lambda z: looked.append(z) or constant_map(volume, z), workers=1)
    assert sorted(looked) == list(range(6))


def test_of_thin_slices_only_some_are_looked_at_where_nothing_is_seen():
    volume, looked = noisy_volume(20, step_mm=1.0), []
    score = lambda z: looked.append(z) or constant_map(volume, 0)  # noqa: E731
    values = map_volume(volume, score, fine_from=5.0, workers=1)
    assert coarse_step(volume, slice(0, 20)) == 2
    assert len(looked) == 11
    assert np.isfinite(values).all()


def test_slices_between_are_looked_at_beside_something_seen():
    volume, looked = noisy_volume(20, step_mm=1.0), []

    def score(z: int) -> np.ndarray:
        looked.append(z)
        return constant_map(volume, 6 if z == 10 else 0)

    map_volume(volume, score, fine_from=5.0, workers=1)
    assert {9, 11} <= set(looked)
    assert not {5, 15} & set(looked)


def test_what_is_interpolated_lies_between_its_neighbours():
    volume = noisy_volume(9, step_mm=1.0)
    values = map_volume(volume, lambda z: constant_map(volume, z), fine_from=100.0, workers=1)
    every = map_volume(volume, lambda z: constant_map(volume, z), workers=1)
    np.testing.assert_allclose(values, every, atol=1e-4)


def test_the_average_along_z_stays_within_runs_and_skips_what_is_undefined():
    volume = make_volume([0, 1, 2, 3, 4, 60, 61, 62, 63, 64])
    values = np.zeros((10, 4, 4), np.float32)
    values[5:] = 10
    values[2, 0, 0] = np.nan
    averaged = average_runs(values, volume)
    assert (averaged[5:] == 10).all()
    assert np.nanmax(averaged[:5]) == 0
    assert np.isnan(averaged[2, 0, 0])
    assert np.isfinite(averaged[1, 0, 0])


def test_a_chance_mark_on_one_slice_sinks_and_one_on_many_stays():
    volume = noisy_volume(24, step_mm=1.0)
    values = np.full((24, 4, 4), -4.0, np.float32)
    values[12, 0, 0] = 4
    values[4:20, 2, 2] = 4
    averaged = average_runs(values, volume)
    assert averaged[12, 0, 0] < -2
    assert averaged[12, 2, 2] > 3.5


# --- one slice ---


def test_neighbours_are_those_of_the_run():
    volume = make_volume([0, 1, 2, 40], hu=noisy_volume(4).hu)
    mask = np.ones(volume.hu.shape, bool)
    assert channels_of(volume, mask, 1).values[:, DEPTH.stop - 1].all()
    assert channels_of(volume, mask, 0).values[:, DEPTH.stop - 1].all()  # one is enough
    assert not channels_of(volume, mask, 3).values[:, DEPTH].any()


def test_a_slice_without_lung_is_undefined():
    volume = noisy_volume(1)
    cells = channels_of(volume, np.zeros(volume.hu.shape, bool), 0)
    assert cells.values.shape == (0, CHANNEL_COUNT)
    assert np.isnan(score_with(cells, lambda *_: pytest.fail("nothing to score"))).all()


def test_the_dense_map_holds_each_cell_once_and_the_score_comes_back_there():
    volume = noisy_volume(1)
    mask = np.zeros(volume.hu.shape, bool)
    mask[0, 60:200, 80:180] = True
    cells = channels_of(volume, mask, 0)
    values, lit, box = to_dense(cells)
    assert lit.sum() == len(cells.rows)
    np.testing.assert_array_equal(values[cells.rows - box[0].start, cells.columns - box[1].start], cells.values)
    numbers = np.arange(4 * lit.size, dtype=np.float32).reshape(2 * lit.shape[0], 2 * lit.shape[1])
    out = score_with(cells, lambda *_: numbers)
    assert out.shape == map_shape(cells.shape)
    assert np.isfinite(out).sum() == 4 * len(cells.rows)
    fine = out[2 * box[0].start : 2 * box[0].stop, 2 * box[1].start : 2 * box[1].stop]
    np.testing.assert_array_equal(fine[np.isfinite(fine)], numbers[np.repeat(np.repeat(lit, 2, 0), 2, 1) > 0])


# --- the shipped model ---


def test_the_shipped_model_scores_a_series_and_a_lone_slice():
    volume = noisy_volume(5, step_mm=2.5)
    evidence = LocaliserDetector().examine(volume, everywhere(volume), workers=1)
    assert np.isfinite(evidence.score_map.values).any(axis=(1, 2)).all()
    lone = make_volume([0.0], hu=volume.hu[:1])
    alone = LocaliserDetector().examine(lone, everywhere(lone), workers=1)
    assert np.isfinite(alone.score_map.values).any()
    assert alone.mark_threshold == alone.card["calibration"]["mark_threshold"]


def test_threads_do_not_change_the_map():
    volume = noisy_volume(4, step_mm=2.5)
    one, two = (LocaliserDetector().examine(volume, everywhere(volume), workers=n) for n in (1, 2))
    np.testing.assert_array_equal(one.score_map.values, two.score_map.values)


def test_noise_from_elsewhere_in_the_middle_stands_out():
    volume = noisy_volume(7, step_mm=2.0)
    hu = volume.hu.astype(np.float32)
    rng = np.random.default_rng(5)
    hu[:, 100:148, 100:148] = -850 + 0.4 * (hu[:, 100:148, 100:148] + 850) + 14 * rng.standard_normal((7, 48, 48))
    forged = replace(volume, hu=np.rint(hu).astype(np.int16))
    values = LocaliserDetector().examine(forged, everywhere(forged), workers=1).score_map.values
    inside = values[3, 25:31, 25:31]  # (124 - 13.5) / 4 = 28
    outside = np.delete(values[3], np.s_[18:38], axis=0)
    assert np.nanmean(inside) > np.nanquantile(outside, 0.99)


def test_without_lungs_nothing_is_scored_and_that_is_said():
    volume = noisy_volume(2)
    evidence = LocaliserDetector().examine(volume, None)
    assert np.isnan(evidence.score_map.values).all()
    assert evidence.notes[0].code == "no_lungs"


def test_the_weights_are_small_and_told_apart_by_fold():
    card = load_model("localiser").card
    assert len(load_folds("localiser")) == len(card["folds"]) == 5
    assert len({fold["sha256"] for fold in card["folds"]}) == 5
    assert card["training"]["largest_difference_from_torch"] <= 1e-4


def test_lungs_bound_the_map():
    volume = noisy_volume(3, step_mm=2.5)
    mask = np.zeros(volume.hu.shape, bool)
    mask[:, 60:200, 60:200] = True
    values = LocaliserDetector().examine(volume, make_lungs(mask), workers=1).score_map.values
    assert np.isnan(values[:, :8]).all()
    assert np.isfinite(values[:, 25, 25]).all()
