"""What the localiser is shown: the spectrum detector's features and three kinds more, on noise that is known."""

from __future__ import annotations

import numpy as np
import pytest
from detect.volumes import make_noise
from scipy import ndimage

from verict.detect.localiser_features import CHANNEL_COUNT, DEPTH, LEVEL, TEXTURE, slice_channels
from verict.detect.spectrum_features import FEATURE_COUNT, slice_features

SPACING = (0.7, 0.7)
SIZE = (256, 256)


def everywhere() -> np.ndarray:
    return np.ones(SIZE, bool)


def lung(seed: int) -> np.ndarray:
    return -850.0 + make_noise(SIZE, seed=seed)


def inside(cells, half: int = 3) -> np.ndarray:
    middle = np.array(cells.shape) // 2
    return (abs(cells.rows - middle[0]) <= half) & (abs(cells.columns - middle[1]) <= half)


def test_the_first_channels_are_those_of_the_spectrum_detector():
    hu = lung(0)
    cells, plain = slice_channels(hu, [lung(1)], everywhere(), SPACING), slice_features(hu, everywhere(), SPACING)
    np.testing.assert_array_equal(cells.values[:, :FEATURE_COUNT], plain.values)
    np.testing.assert_array_equal(cells.rows, plain.rows)
    assert cells.values.shape == (len(cells.rows), CHANNEL_COUNT)


def test_channels_are_finite_and_the_same_again():
    hu = lung(0)
    cells = slice_channels(hu, [lung(1), lung(2)], everywhere(), SPACING)
    assert np.isfinite(cells.values).all()
    np.testing.assert_array_equal(slice_channels(hu, [lung(1), lung(2)], everywhere(), SPACING).values, cells.values)


def test_without_neighbours_depth_is_zero_and_nothing_else_changes():
    hu = lung(0)
    alone = slice_channels(hu, [], everywhere(), SPACING).values
    beside = slice_channels(hu, [lung(1), lung(2)], everywhere(), SPACING).values
    assert not alone[:, DEPTH].any()
    assert (beside[:, DEPTH.stop - 1] == 1).all()
    others = np.r_[0 : DEPTH.start, DEPTH.stop : CHANNEL_COUNT]
    np.testing.assert_array_equal(alone[:, others], beside[:, others])


@pytest.mark.parametrize("count", [1, 2])
def test_depth_shows_where_noise_does_not_go_on_from_slice_to_slice(count):
    """All slices share half of their noise but for the middle of one, whose noise is its own."""
    shared = make_noise(SIZE, seed=9)
    stack = [-850 + shared + 0.3 * make_noise(SIZE, seed=s) for s in range(count + 1)]
    own = stack[0].copy()
    own[88:168, 88:168] = -850 + np.sqrt(1 + 0.09) * make_noise(SIZE, seed=50)[88:168, 88:168]
    cells = slice_channels(own, stack[1:], everywhere(), SPACING)
    depth = cells.values[:, DEPTH.start : DEPTH.stop - 1]
    changed, rest = depth[inside(cells)].mean(axis=0), depth[~inside(cells, 8)]
    assert np.median(changed) > 1.0  # log power
    assert abs(np.median(rest)) < 0.2


def test_texture_shows_power_that_varies_from_block_to_block():
    hu = lung(3)
    rng = np.random.default_rng(0)
    gain = np.exp(0.9 * rng.standard_normal((12, 12)))
    hu[80:176, 80:176] = -850 + (hu[80:176, 80:176] + 850) * np.kron(gain, np.ones((8, 8)))
    cells = slice_channels(hu, [], everywhere(), SPACING)
    spread = cells.values[:, TEXTURE][:, :5]
    assert spread[inside(cells)].mean() > spread[~inside(cells, 9)].mean() + 0.5


def test_level_tells_the_kernel_and_is_the_same_for_all_places():
    sharp = slice_channels(lung(0), [], everywhere(), SPACING).values[:, LEVEL]
    soft = slice_channels(ndimage.gaussian_filter(lung(0), 1.2), [], everywhere(), SPACING).values[:, LEVEL]
    np.testing.assert_array_equal(sharp, np.broadcast_to(sharp[0], sharp.shape))
    assert (sharp[0] - soft[0])[6] > (sharp[0] - soft[0])[0] + 1  # blurring takes most from the high rings


def test_a_slice_with_too_little_lung_gives_nothing():
    mask = np.zeros(SIZE, bool)
    mask[120:136, 120:136] = True
    cells = slice_channels(lung(0), [lung(1)], mask, SPACING)
    assert cells.values.shape == (0, CHANNEL_COUNT)
