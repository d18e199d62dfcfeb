"""Which pixels count as changed."""

from __future__ import annotations

import numpy as np

from verict.tamper.visible_change import change_hu, noise_of, visible_change


def test_noise_is_measured_robustly():
    rng = np.random.default_rng(0)
    hu = -850 + 30 * rng.standard_normal((200, 200))
    white = noise_of(hu, np.ones(hu.shape, bool))
    hu[50:60, 50:150] = 200  # a vessel
    assert abs(noise_of(hu, np.ones(hu.shape, bool)) / white - 1) < 0.02
    assert 25 < white < 42
    assert noise_of(hu, np.zeros(hu.shape, bool)) == 0


def test_a_change_is_seen_where_it_is_a_part_of_the_noise():
    rng = np.random.default_rng(1)
    before = -850 + 30 * rng.standard_normal((128, 128))
    after = before.copy()
    after[40:90, 40:90] += 15 * rng.standard_normal((50, 50))
    changed = visible_change(before, after, 30.0)
    assert changed[45:85, 45:85].mean() > 0.99
    assert not changed[:30].any()
    assert not visible_change(before, before + 1, 30.0).any()  # a rounded level is no forgery


def test_change_is_a_root_mean_square():
    before = np.zeros((64, 64))
    np.testing.assert_allclose(change_hu(before, before + 7)[32, 32], 7, rtol=1e-3)
