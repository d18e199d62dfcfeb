"""The features tell noise from noise, and nothing else: physics on noise whose spectrum is known."""

from __future__ import annotations

import numpy as np
import pytest
from detect.volumes import make_lung_hu, make_noise
from scipy import ndimage

from verict.detect.spectrum_features import (
    FEATURE_COUNT,
    MIN_CELLS,
    ORIGIN_PX,
    STRIDE_PX,
    grid_shape,
    slice_features,
)

SPACING = (0.7, 0.7)
SIZE = (256, 256)
BASE_HU = -850.0
REACH_PX = 40  # beyond half of the widest window and of a changed block


def everywhere(shape: tuple[int, int] = SIZE) -> np.ndarray:
    return np.ones(shape, bool)


def disc(shape: tuple[int, int] = SIZE, radius: float = 80) -> np.ndarray:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(y - shape[0] / 2, x - shape[1] / 2) < radius


def lung(seed: int = 0, shape: tuple[int, int] = SIZE) -> np.ndarray:
    return BASE_HU + make_noise(shape, seed=seed)


def centres_px(features) -> tuple[np.ndarray, np.ndarray]:
    return ORIGIN_PX + features.rows * STRIDE_PX, ORIGIN_PX + features.columns * STRIDE_PX


def oddness(features) -> np.ndarray:
    """(n,) how far each window's features lie from the median window's, in robust spreads, over all features."""
    apart = np.abs(features.values - np.median(features.values, axis=0))
    return (apart / (np.median(apart, axis=0) + 0.02)).mean(axis=1)


# --- what the features must not see ---


def test_level_of_the_slice_does_not_matter():
    hu = make_lung_hu(SIZE)
    here = slice_features(hu, everywhere(), SPACING).values
    there = slice_features(hu + np.int16(60), everywhere(), SPACING).values
    np.testing.assert_allclose(there, here, atol=0.01)


@pytest.mark.parametrize("factor", [0.6, 1.6])
def test_features_are_relative_to_the_scans_own_noise(factor):
    noise = make_noise(SIZE)
    here = slice_features(BASE_HU + noise, everywhere(), SPACING).values
    there = slice_features(BASE_HU + factor * noise, everywhere(), SPACING).values
    assert np.abs(there - here).max() < 0.1 * np.abs(here).max()
    assert np.corrcoef(there.ravel(), here.ravel())[0, 1] > 0.995


def test_alike_noise_everywhere_stands_out_nowhere():
    odd = oddness(slice_features(lung(), everywhere(), SPACING))
    assert odd.max() < 4 * np.median(odd)


def test_what_lies_far_from_the_lungs_does_not_matter():
    mask = disc()
    hu = make_lung_hu(SIZE)
    changed = hu.copy()
    far = ndimage.distance_transform_edt(~mask) > REACH_PX
    changed[far] = np.random.default_rng(1).integers(-1024, 3071, far.sum())
    here, there = slice_features(hu, mask, SPACING), slice_features(changed, mask, SPACING)
    np.testing.assert_array_equal(here.values, there.values)


def test_padding_and_metal_are_as_air_and_the_ceiling():
    mask = disc()
    hu = make_lung_hu(SIZE)
    hu[:20], hu[:, :20] = -3024, 3071
    features = slice_features(hu, mask, SPACING)
    assert np.isfinite(features.values).all()
    hu[:20] = -2000
    np.testing.assert_array_equal(slice_features(hu, mask, SPACING).values, features.values)


def test_float_and_integer_pixels_are_one():
    hu = make_lung_hu((2, *SIZE))[1]
    for same in (hu.astype(np.float32), np.asfortranarray(hu)):
        np.testing.assert_array_equal(
            slice_features(same, disc(), SPACING).values, slice_features(hu, disc(), SPACING).values
        )


def test_input_is_left_alone():
    hu, mask = make_lung_hu(SIZE), disc()
    before = hu.copy(), mask.copy()
    slice_features(hu, mask, SPACING)
    np.testing.assert_array_equal(hu, before[0])
    np.testing.assert_array_equal(mask, before[1])


# --- what the features must see ---


def paint(kind: str, hu: np.ndarray, inside: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(5)
    foreign = {
        "white noise added": hu + rng.normal(0, 25, hu.shape),
        "zoomed noise added": hu + ndimage.zoom(rng.normal(0, 40, (160, 160)), 1.6, order=1),
        "smoothed away": ndimage.gaussian_filter(hu, 1.0),
        "another kernel's noise": BASE_HU + make_noise(hu.shape, seed=9, sigma_px=0.4),
        "streaks one way": BASE_HU + ndimage.gaussian_filter1d(rng.normal(0, 45, hu.shape), 1.5, axis=1),
    }
    return np.where(inside, foreign[kind], hu)


@pytest.mark.parametrize(
    "kind",
    ["white noise added", "zoomed noise added", "smoothed away", "another kernel's noise", "streaks one way"],
)
def test_a_painted_square_stands_out_at_its_place(kind):
    spacing = (0.7, 0.7)
    half = 21 / 0.7  # 42 mm, what a touch-up of the default size covers
    y, x = np.ogrid[: SIZE[0], : SIZE[1]]
    inside = (np.abs(y - 110) <= half) & (np.abs(x - 140) <= half)
    features = slice_features(paint(kind, lung(), inside), everywhere(), spacing)
    cy, cx = centres_px(features)
    away = np.maximum(np.abs(cy - 110), np.abs(cx - 140))
    odd = oddness(features)
    core, outside = odd[away < half - 14], odd[away > half + REACH_PX]
    assert len(core) >= 9
    assert core.min() > np.quantile(outside, 0.99)
    assert np.median(core) > 1.5 * np.median(outside)


def test_more_noise_in_a_square_raises_its_features_less_noise_lowers_them():
    half = 30
    y, x = np.ogrid[: SIZE[0], : SIZE[1]]
    inside = (np.abs(y - 128) <= half) & (np.abs(x - 128) <= half)
    noise = make_noise(SIZE)
    means = []
    for factor in (0.5, 1.0, 2.0):
        features = slice_features(BASE_HU + np.where(inside, factor, 1) * noise, everywhere(), SPACING)
        cy, cx = centres_px(features)
        core = np.maximum(np.abs(cy - 128), np.abs(cx - 128)) < 16
        means.append(features.values[core].mean())
    assert means[0] < means[1] - 0.1
    assert means[2] > means[1] + 0.1


# --- where ---


@pytest.mark.parametrize("cell", [(12, 12), (7, 18), (20, 9)])
def test_a_small_change_is_seen_at_its_own_cell(cell):
    """Pixels this small put every ring outside the image: nothing but windows over the block may change."""
    hu = lung(3)
    y, x = (int(ORIGIN_PX + i * STRIDE_PX - 3.5) for i in cell)
    changed = hu.copy()
    changed[y : y + 8, x : x + 8] += np.random.default_rng(2).normal(0, 150, (8, 8))
    features = slice_features(hu, everywhere(), (0.01, 0.01))
    change = np.abs(slice_features(changed, everywhere(), (0.01, 0.01)).values - features.values).mean(axis=1)
    cy, cx = centres_px(features)
    away = np.maximum(np.abs(cy - (y + 3.5)), np.abs(cx - (x + 3.5)))
    assert change[away > REACH_PX].max() < 0.1 * change.max()
    weight = change * (away <= REACH_PX)
    assert abs((weight * cy).sum() / weight.sum() - (y + 3.5)) < 3
    assert abs((weight * cx).sum() / weight.sum() - (x + 3.5)) < 3
    assert away[change.argmax()] <= STRIDE_PX


@pytest.mark.parametrize("shape", [(64, 64), (96, 160), (160, 96), (65, 71), (512, 40)])
def test_windows_are_those_centred_in_the_lungs(shape):
    mask = np.random.default_rng(4).random(shape) < 0.8
    features = slice_features(make_lung_hu(shape), mask, SPACING)
    assert features.shape == grid_shape(*shape)
    expected = [
        (i, j)
        for i in range(features.shape[0])
        for j in range(features.shape[1])
        if mask[int(ORIGIN_PX + 0.5 + i * STRIDE_PX), int(ORIGIN_PX + 0.5 + j * STRIDE_PX)]
    ]
    if len(expected) < MIN_CELLS:
        expected = []
    assert list(zip(features.rows.tolist(), features.columns.tolist(), strict=True)) == expected
    assert features.values.shape == (len(expected), FEATURE_COUNT)
    assert features.values.dtype == np.float32
    assert np.isfinite(features.values).all()


def test_the_grid_covers_the_image_and_stays_inside_it():
    for rows in range(32, 200):
        count, _ = grid_shape(rows, 64)
        last = ORIGIN_PX + (count - 1) * STRIDE_PX
        assert last + ORIGIN_PX <= rows - 1
        assert last + ORIGIN_PX + STRIDE_PX > rows - 1


@pytest.mark.parametrize("shape", [(31, 31), (31, 300), (300, 31), (1, 1), (3, 8)])
def test_an_image_too_small_for_a_window_has_none(shape):
    assert 0 in grid_shape(*shape)
    flat = np.full(shape, -850, np.int16)
    assert slice_features(flat, everywhere(shape), SPACING).values.shape == (0, FEATURE_COUNT)


@pytest.mark.parametrize("cells", [0, 1, MIN_CELLS - 1, MIN_CELLS])
def test_too_little_lung_says_nothing(cells):
    mask = np.zeros(SIZE, bool)
    first = int(ORIGIN_PX + 0.5)
    for number in range(cells):
        mask[first + STRIDE_PX * (number // 20), first + STRIDE_PX * (number % 20)] = True
    features = slice_features(make_lung_hu(SIZE), mask, SPACING)
    assert len(features.rows) == len(features.columns) == len(features.values) == (cells if cells == MIN_CELLS else 0)
    assert features.shape == grid_shape(*SIZE)


def test_scores_land_at_their_windows():
    features = slice_features(make_lung_hu(SIZE), disc(), SPACING)
    scores = np.arange(len(features.rows), dtype=np.float32)
    grid = features.to_map(scores)
    assert (grid.shape, grid.dtype) == (features.shape, np.float32)
    np.testing.assert_array_equal(grid[features.rows, features.columns], scores)
    assert np.isfinite(grid).sum() == len(scores)


# --- odd input ---


@pytest.mark.parametrize("value", [-3024, -1000, -850, 0, 3071])
def test_a_flat_slice_has_flat_features(value):
    values = slice_features(np.full(SIZE, value, np.int16), everywhere(), SPACING).values
    assert np.isfinite(values).all()
    assert np.ptp(values, axis=0).max() < 0.05


@pytest.mark.parametrize("spacing", [(0.2, 0.2), (0.5, 0.9), (2.0, 2.0), (10.0, 10.0)])
def test_any_pixel_spacing_gives_finite_features(spacing):
    values = slice_features(make_lung_hu(SIZE), disc(), spacing).values
    assert np.isfinite(values).all()


def test_the_same_slice_gives_the_same_bits():
    hu = make_lung_hu(SIZE)
    first = slice_features(hu, disc(), SPACING).values
    np.testing.assert_array_equal(slice_features(hu.copy(), disc(), SPACING).values, first)
