"""Forgeries in general: changed where they should be, nowhere else, and named by what they resemble."""

from __future__ import annotations

import numpy as np
import pytest
from detect.volumes import make_noise

from verict.tamper import families, touch_ups
from verict.training.localiser.blends import BALL, RESEMBLES_NOISE, RESEMBLES_PAINT, blend_slice

SIZE = (256, 256)
REACH_PX = 24 / 0.7 + 1


def lung(seed: int) -> np.ndarray:
    return np.rint(-850 + make_noise(SIZE, seed=seed)).astype(np.int16)


def draw(seed: int, hu: np.ndarray):
    return blend_slice(hu, (128, 100), 0.7, np.random.default_rng(seed), lung(77))


@pytest.mark.parametrize("seed", range(40))
def test_only_the_place_changes(seed):
    hu = lung(1)
    before = hu.copy()
    blend = draw(seed, hu)
    np.testing.assert_array_equal(hu, before)
    changed = np.argwhere(blend.hu != hu)
    assert len(changed)
    assert abs(changed - (128, 100)).max() <= REACH_PX
    assert blend.hu.dtype == hu.dtype
    assert blend.hu.min() > -1100 and blend.hu.max() < 600


def test_all_kinds_are_drawn_and_the_same_seed_gives_the_same():
    hu = lung(1)
    blends = [draw(seed, hu) for seed in range(150)]
    assert {b.paint for b in blends} == set(RESEMBLES_PAINT)
    assert {b.noise for b in blends} == set(RESEMBLES_NOISE)
    assert 40 < sum(b.is_bright for b in blends) < 110
    np.testing.assert_array_equal(draw(3, hu).hu, blends[3].hu)


def test_what_they_resemble_is_of_the_lab():
    lab = {*families.names(), *touch_ups.names()}
    resembled = {name for names in (*RESEMBLES_PAINT.values(), *RESEMBLES_NOISE.values()) for name in names}
    assert {*resembled, BALL} <= lab
    for seed in range(30):
        blend = draw(seed, lung(1))
        assert blend.resembles <= lab
        assert (BALL in blend.resembles) == blend.is_bright


def test_an_injection_stands_out_and_a_removal_does_not():
    hu = lung(1)
    heights = {True: [], False: []}
    for seed in range(60):
        blend = draw(seed, hu)
        heights[blend.is_bright].append(blend.hu[100:156, 72:128].astype(float).mean() - hu[100:156, 72:128].mean())
    assert np.mean(heights[True]) > 20
    assert abs(np.mean(heights[False])) < 20
