"""One reverse step as a score map: known answers of trivial networks, what is hostile, and the shipped weights."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from detect.volumes import make_noise, make_volume

from verict.ct.lungs import LungRegion
from verict.datasets.scans import identify_patient
from verict.detect.back_in_time import (
    CELL_PX,
    LEAST_CELLS,
    NAME,
    TRAINING_STEPS,
    BackInTimeDetector,
    Cells,
    Reading,
    kept_signal,
    read_card_input,
    residual_of,
    score_cells,
    score_slice,
    step_back,
    to_cells,
    to_network,
)
from verict.detect.model import WEIGHTS, Model, load_card, load_folds, load_model
from verict.errors import ModelError
from verict.evaluation.case import Seen
from verict.evaluation.fair import choose_model, enter

LUNG_HU = (-1050.0, 250.0)
READING = Reading(LUNG_HU, 19, 32, 4, 1.0, 12, is_two_sided=True, is_standardised=False)


def no_noise(tiles: np.ndarray, steps: np.ndarray) -> np.ndarray:
    return np.zeros_like(tiles)


def itself(tiles: np.ndarray, steps: np.ndarray) -> np.ndarray:
    return tiles


def noisy_slice(shape=(120, 150), seed=0) -> np.ndarray:
    return np.rint(-850 + make_noise(shape, seed=seed)).astype(np.int16)


# --- the reverse step ---


def test_the_schedule_falls_from_nearly_all_signal_to_nearly_none():
    kept = kept_signal()
    assert kept.shape == (TRAINING_STEPS,)
    assert (np.diff(kept) < 0).all()
    assert kept[0] == pytest.approx(1 - 3e-4, abs=1e-5)
    assert kept[499] == pytest.approx(0.5, abs=1e-2)
    assert 0 <= kept[-1] < 1e-5


def test_the_last_step_ends_at_the_clean_image():
    image, noise = np.full((2, 2), 0.5, np.float32), np.full((2, 2), 0.1, np.float32)
    kept = kept_signal()[0]
    expected = (0.5 - np.sqrt(1 - kept) * 0.1) / np.sqrt(kept)
    assert step_back(image, noise, 0) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("step", [0, 19, 500, 999])
def test_the_true_noise_leads_back_to_the_mean_of_the_posterior(step):
    rng = np.random.default_rng(step)
    clean, noise = rng.uniform(-0.9, 0.9, 50), rng.standard_normal(50)
    kept = kept_signal()
    now, before = kept[step], kept[step - 1] if step else 1.0
    noisy = np.sqrt(now) * clean + np.sqrt(1 - now) * noise
    beta = 1 - now / before
    expected = (noisy - beta / np.sqrt(1 - now) * noise) / np.sqrt(1 - beta)
    assert step_back(noisy, noise, step) == pytest.approx(expected, abs=1e-4)


def test_what_is_seen_is_clipped_to_the_window():
    seen = to_network(np.array([-3024, -1050, -400, 250, 3071], np.int16), LUNG_HU)
    assert seen.dtype == np.float32
    assert seen == pytest.approx([-1, -1, 0, 1, 1])


# --- dense maps ---


def test_tiles_leave_no_seam_where_the_network_looks_at_single_pixels():
    hu, mask = noisy_slice(), np.ones((120, 150), bool)
    image = to_network(hu, LUNG_HU)
    for tile, margin in ((32, 4), (40, 0), (64, 8)):
        reading = replace(READING, tile_px=tile, margin_px=margin)
        found = residual_of(hu, mask, itself, reading)
        assert found == pytest.approx(np.abs(image - step_back(image, image, READING.step)), abs=1e-6)


def test_only_lung_has_a_residual_and_few_tiles_are_shown_at_once():
    hu, mask, shown = noisy_slice(), np.zeros((120, 150), bool), []
    mask[30:90, 40:100] = True

    def look(tiles, steps):
        assert tiles.shape[1:] == (1, 32, 32)
        assert steps.tolist() == [19.0] * len(tiles)
        shown.append(len(tiles))
        return tiles

    found = residual_of(hu, mask, look, READING)
    assert (np.isfinite(found) == mask).all()
    assert max(shown) <= 8
    assert sum(shown) == 9


def test_a_map_has_a_cell_every_four_pixels_and_none_outside_the_lungs():
    hu, mask = noisy_slice((123, 150)), np.zeros((123, 150), bool)
    mask[24:104, 24:104] = True
    values = score_slice(hu, mask, itself, READING)
    assert values.shape == (123 // CELL_PX, 150 // CELL_PX)
    assert values.dtype == np.float32
    assert np.isfinite(values).sum() == 20 * 20
    assert np.nanmin(values) >= 0


def test_louder_and_quieter_patches_stand_out_and_both_sides_count():
    shape = (40, 40)
    residual = np.zeros(shape, np.float32)
    residual[10:14, 10:14], residual[30:34, 30:34] = 1.0, -1.0
    cells = Cells(residual, np.zeros(shape, np.float32), np.ones(shape, bool))
    both = score_cells(cells, READING)
    assert both[12, 12] > 0.5
    assert both[32, 32] > 0.5
    one = score_cells(cells, replace(READING, is_two_sided=False))
    assert one[12, 12] > 0.5
    assert one[32, 32] < -0.5
    unit = score_cells(cells, replace(READING, is_standardised=True))
    assert np.isfinite(unit).all()


def test_brightness_explains_what_goes_with_it():
    rng = np.random.default_rng(0)
    brightness = rng.uniform(-1000, 100, (60, 60)).astype(np.float32)
    cells = Cells(brightness / 500, brightness, np.ones((60, 60), bool))
    explained = score_cells(cells, replace(READING, smoothing_cells=0.0))
    plain = score_cells(cells, replace(READING, smoothing_cells=0.0, brightness_bins=1))
    assert np.nanmax(explained) < 0.2 * np.nanmax(plain)
    as_it_is = replace(READING, smoothing_cells=0.0, brightness_bins=0, is_two_sided=False)
    assert score_cells(cells, as_it_is) == pytest.approx(cells.residual)


def test_a_slice_with_little_lung_says_nothing():
    shape = (20, 20)
    cells = Cells(np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, bool))
    cells.is_lung.flat[: LEAST_CELLS - 1] = True
    assert np.isnan(score_cells(cells, READING)).all()


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (3, 200)])
def test_images_smaller_than_a_tile_are_mirrored(shape):
    hu = np.full(shape, -850, np.int16)
    found = residual_of(hu, np.ones(shape, bool), itself, READING)
    assert np.isfinite(found).all()
    assert to_cells(found, hu).residual.shape == (shape[0] // 4, shape[1] // 4)


@pytest.mark.parametrize("value", [-32768, 32767, 0])
def test_extreme_pixels_give_finite_scores(value):
    hu = np.full((80, 80), value, np.int16)
    assert np.isfinite(score_slice(hu, np.ones((80, 80), bool), no_noise, READING)).all()


# --- cards ---


def card_with(**changed) -> dict:
    told = {"window_hu": [-1050, 250], "step": 19, "tile_px": 32, "margin_px": 4, "smoothing_cells": 1.0,
            "brightness_bins": 12, "is_two_sided": True, "is_standardised": False}
    return {"input": {k: v for k, v in (told | changed).items() if v is not None}}


def test_a_card_says_how_slices_are_shown():
    assert read_card_input(card_with()) == READING


@pytest.mark.parametrize(
    "changed",
    [{"step": None}, {"step": 1000}, {"step": "x"}, {"window_hu": [1, 1]}, {"window_hu": [1]}, {"margin_px": 16},
     {"brightness_bins": -1}, {"smoothing_cells": -1.0}],
)  # fmt: skip
def test_a_card_that_does_not_is_refused(changed):
    with pytest.raises(ModelError, match=r"back-in-time\.json"):
        read_card_input(card_with(**changed))


def test_the_shipped_card_is_complete():
    card = load_card(NAME)
    read_card_input(card)
    assert card["id"] == NAME
    assert set(card["calibration"]) >= {"mark_threshold", "decisive_threshold"}
    assert card["training"]["recipe"]["name"] == "small-long"
    assert 0 < card["training"]["share_of_published_crops"] < 0.02
    assert card["figures"]
    assert card["limits"]
    assert {fold["file"] for fold in card["folds"]} == {f"{NAME}.onnx"}
    assert (WEIGHTS / f"{NAME}.onnx").stat().st_size < 8e6


def test_what_was_learnt_from_is_in_sample_and_what_set_thresholds_is_judged_by_others():
    entrant = enter(NAME)
    seen = entrant.shipped.card["training"]["seen"]
    assert set(seen["patients"].values()) == {-1, *range(len(load_folds(NAME)))}
    unknown = SimpleNamespace(patient="nobody", volume=SimpleNamespace(hu=np.zeros((1, 4, 4), np.int16)),
                              headers_tell=False)
    assert choose_model(entrant, unknown)[1] is Seen.UNSEEN
    listed = copy.deepcopy(entrant.shipped.card)
    for fold, expected in ((-1, Seen.IN_SAMPLE), (0, Seen.OUT_OF_FOLD)):
        other = replace(entrant, shipped=Model(listed, entrant.shipped.session))
        listed["training"]["seen"]["patients"] = {identify_patient("nobody"): fold}
        assert choose_model(other, unknown)[1] is expected


# --- in use ---


@pytest.fixture(scope="module")
def chest():
    stack = np.stack([noisy_slice((160, 192), seed=z) for z in range(3)])
    volume = make_volume(3, hu=stack)
    mask = np.zeros(stack.shape, bool)
    mask[:, 20:140, 20:170] = True
    return volume, LungRegion(mask, mask.any(axis=(1, 2)))


def test_a_map_of_each_slice_whatever_the_number_of_workers(chest):
    volume, lungs = chest
    one, many = (BackInTimeDetector().examine(volume, lungs, workers=n) for n in (1, 3))
    assert one.score_map.values.shape == (3, 40, 48)
    assert (one.score_map.stride_px, one.score_map.origin_px) == (4, 1.5)
    np.testing.assert_array_equal(one.score_map.values, many.score_map.values)
    assert one.mark_threshold == load_model(NAME).calibration["mark_threshold"]


def test_other_noise_stands_out_of_a_slice(chest):
    volume, lungs = chest
    hu = volume.hu.copy()
    white = np.random.default_rng(5).normal(0, hu[1].std(), (32, 32))
    hu[1, 64:96, 80:112] = np.rint(-850 + white)
    values = BackInTimeDetector().examine(replace(volume, hu=hu), lungs, workers=1).score_map.values[1]
    inside = values[18:22, 22:26].mean()
    assert inside > np.nanquantile(values, 0.95)


def test_no_header_and_no_place_in_space_is_read(chest):
    volume, lungs = chest
    moved = replace(volume, origins_mm=volume.origins_mm + 77, headers=())
    values = [BackInTimeDetector().examine(v, lungs, workers=1).score_map.values for v in (volume, moved)]
    np.testing.assert_array_equal(*values)


def test_without_lungs_nothing_is_scored_and_that_is_said(chest):
    volume, _ = chest
    evidence = BackInTimeDetector().examine(volume, None, workers=1)
    assert np.isnan(evidence.score_map.values).all()
    assert [note.code for note in evidence.notes] == ["no_lungs"]
