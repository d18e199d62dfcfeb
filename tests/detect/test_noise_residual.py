"""Residuals: linear where it matters, white, and no structure higher than noise."""

from __future__ import annotations

import numpy as np

from tests.detect.volumes import make_noise
from verict.detect.noise_residual import LIMIT, find_whitening, high_pass, level_residual

SHAPE = (4, 96, 112)


def test_added_noise_is_added_to_the_residual():
    first, second = make_noise(SHAPE, seed=1), make_noise(SHAPE, seed=2)
    both = high_pass(first + second - 800)
    np.testing.assert_allclose(both, high_pass(first - 800) + high_pass(second - 800), atol=1e-3)


def test_neighbouring_pixels_of_smooth_noise_are_no_longer_alike():
    hu = (make_noise(SHAPE, sigma_px=1.2) - 850).round().astype(np.int16)
    residual = level_residual(hu, find_whitening(hu, np.ones(SHAPE, bool)))

    def likeness(values: np.ndarray) -> float:
        return float(np.corrcoef(values[..., :-1].ravel(), values[..., 1:].ravel())[0, 1])

    assert likeness(hu) > 0.7
    assert abs(likeness(residual)) < 0.25


def test_a_vessel_weighs_no_more_than_noise():
    hu = (make_noise(SHAPE) - 850).astype(np.int16)
    hu[:, 40:44] = 40
    residual = level_residual(hu, find_whitening(hu, np.ones(SHAPE, bool)))
    assert np.abs(residual).max() <= LIMIT
    assert np.mean(residual[:, 39:45] ** 2) < 3 * np.mean(residual[:, :30] ** 2)


def test_any_number_of_workers_gives_the_same():
    hu = (make_noise(SHAPE) - 850).astype(np.int16)
    whitening = find_whitening(hu, np.ones(SHAPE, bool))
    np.testing.assert_array_equal(level_residual(hu, whitening), level_residual(hu, whitening, workers=3))
