"""Biharmonic inpainting: smooth, exact on what is smooth, in bounded time."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from tamper.forgers import AsItIs
from tamper.lung_scene import PLAIN, aim_at, fine_texture, make_lung
from tamper.places import LUNG

from verict.errors import MissingExtraError
from verict.tamper.families.inpaint import ClassicalInpaint, fill_hole
from verict.tamper.forgery import ForgeryKind, forge

HERE = (28.0, 40.0, 60.0)


def hole_in(shape: tuple[int, ...], spacing_mm: tuple[float, ...], radius_mm: float) -> tuple[np.ndarray, list]:
    grid = np.ix_(*((np.arange(n) - n // 2) * s for n, s in zip(shape, spacing_mm, strict=True)))
    return np.sqrt(sum(g**2 for g in grid)) < radius_mm, grid


@pytest.mark.parametrize(("shape", "spacing_mm"), [((25, 41, 41), (1.25, 0.8, 0.8)), ((9, 37, 37), (5.0, 0.9, 0.9)),
                                                  ((1, 41, 41), (1.0, 0.8, 0.8))])
def test_a_smooth_field_is_continued(shape: tuple, spacing_mm: tuple, require_extra) -> None:
    require_extra("skimage")
    hole, (z, y, x) = hole_in(shape, spacing_mm, 7)
    field = LUNG + 3 * y - 2 * x + 0.1 * y * x + 0 * z
    filled, grid_mm = fill_hole(np.where(hole, 400, field), hole, spacing_mm)
    assert grid_mm == 1
    assert np.abs(filled - field)[hole].max() < 6


def test_a_hole_of_20_mm_on_fine_pixels_takes_a_few_seconds_and_a_larger_one_a_coarser_grid(require_extra) -> None:
    require_extra("skimage")
    spacing_mm = (1.0, 0.6, 0.6)
    hole, _ = hole_in((37, 61, 61), spacing_mm, 10)
    noisy = LUNG + np.random.default_rng(0).normal(0, 40, hole.shape)
    start = time.process_time()
    filled, grid_mm = fill_hole(noisy, hole, spacing_mm)
    assert time.process_time() - start < 8
    assert grid_mm == 1
    assert np.abs(filled - LUNG)[hole].max() < 60
    _, coarse_mm = fill_hole(noisy, hole_in(hole.shape, spacing_mm, 15)[0], spacing_mm)
    assert 1.3 < coarse_mm < 1.6


def test_a_nodule_is_filled_without_noise(require_extra) -> None:
    require_extra("skimage")
    target = aim_at(make_lung(nodules=[(HERE, 13.0)]), HERE, ForgeryKind.REMOVE, 13.0)
    forged = forge(target, ClassicalInpaint(), AsItIs(), seed=1)
    again = forge(target, ClassicalInpaint(), AsItIs(), seed=1)
    np.testing.assert_array_equal(forged.hu, again.hu)
    paint = ClassicalInpaint().paint(target, np.random.default_rng(0))
    whole = paint.weight > 0.99
    assert np.median(paint.hu[whole]) == pytest.approx(LUNG, abs=20)
    assert paint.hu[whole].max() < -650
    noise = fine_texture(target.hu[PLAIN]).std()
    assert fine_texture(paint.hu)[whole].std() < 0.25 * noise
    assert (paint.weight > 0).mean() < 0.7
    assert paint.details["grid_mm"] == 1


def test_the_wall_is_not_drawn_into_the_lung(require_extra) -> None:
    require_extra("skimage")
    place = (28.0, 40.0, 85.0)
    target = aim_at(make_lung(nodules=[(place, 13.0)]), place, ForgeryKind.REMOVE, 13.0)
    paint = ClassicalInpaint().paint(target, np.random.default_rng(0))
    assert paint.hu[paint.weight > 0.99].mean() == pytest.approx(LUNG, abs=40)
    assert paint.hu[paint.weight > 0.99].max() < -600


def test_at_the_scan_s_end_it_is_cut_off_and_says_so(require_extra) -> None:
    require_extra("skimage")
    target = aim_at(make_lung(nodules=[(HERE, 13.0)]), HERE, ForgeryKind.REMOVE, 13.0)
    z = target.centre[0]
    paint = ClassicalInpaint().paint(replace(target, run=slice(z - 3, z + 30)), np.random.default_rng(0))
    assert paint.box[0].start == z - 3
    assert paint.details["is_clamped"] is True


def test_without_scikit_image_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.restoration", None)
    target = aim_at(make_lung(nodules=[(HERE, 13.0)]), HERE, ForgeryKind.REMOVE, 13.0)
    with pytest.raises(MissingExtraError, match=r"scikit-image; install it with: pip install 'verict\[tamper\]'"):
        ClassicalInpaint().paint(target, np.random.default_rng(0))
