"""Voxels that are the very same where a move takes them from."""

from __future__ import annotations

import numpy as np
import pytest

from tests.detect.volumes import make_noise
from verict.detect.noise_residual import high_pass
from verict.detect.repeated import Move, Repeat, exact_share

SHAPE = (6, 80, 100)
SIZE = 30
BOX = (slice(0, 6), slice(40, 40 + SIZE), slice(60, 60 + SIZE))
FROM = (slice(0, 6), slice(5, 5 + SIZE), slice(8, 8 + SIZE))
SHIFT = Repeat(Move.by_shift((0, 35, 52)), 10.0, FROM)
INNER = np.s_[:, 8:-8, 8:-8]


def _share(hu: np.ndarray, repeat: Repeat = SHIFT) -> np.ndarray:
    return exact_share(high_pass(hu), np.ones(hu.shape, bool), repeat, BOX)[INNER]


def test_pasted_tissue_is_the_same_whatever_level_it_was_fitted_to():
    hu = np.rint(make_noise(SHAPE, seed=1) - 850)
    slope = np.rint(np.linspace(0, 20, SIZE))[:, None]
    hu[BOX] = hu[FROM] + slope + 7
    assert _share(hu).min() > 0.95


def test_mirrored_tissue_is_the_same_under_its_own_move_alone():
    hu = np.rint(make_noise(SHAPE, seed=1) - 850)
    hu[BOX] = hu[FROM][:, ::-1]
    move = Move(((1, 0, 0), (0, -1, 0), (0, 0, 1)), (0, 40 + SIZE - 1 + 5, 52))
    assert _share(hu, Repeat(move, 10.0, FROM)).min() > 0.95
    assert _share(hu).max() < 0.4


@pytest.mark.parametrize("noise_hu", [8.0, 30.0])
def test_vessels_of_one_shape_are_not_the_same(noise_hu):
    hu = make_noise(SHAPE, seed=2, noise_hu=noise_hu) - 850
    vessel = make_noise((1, SIZE, SIZE), seed=3, sigma_px=3.0, noise_hu=200)
    hu[BOX] += vessel
    hu[FROM] += vessel
    high = high_pass(hu)
    assert np.corrcoef(high[BOX][INNER].ravel(), high[FROM][INNER].ravel())[0, 1] > 0.5
    assert _share(np.rint(hu)).max() < 0.5


def test_where_nothing_counts_nothing_is_shared():
    hu = np.zeros(SHAPE)
    share = exact_share(high_pass(hu), np.zeros(SHAPE, bool), SHIFT, BOX)
    assert share.shape == (6, SIZE, SIZE) and not share.any()
