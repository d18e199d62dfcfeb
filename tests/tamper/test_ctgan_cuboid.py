from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from verict.errors import UsageError
from verict.tamper.ctgan_cuboid import (
    BINS,
    FLOOR_HU,
    HOLE,
    SIDE,
    Equaliser,
    cuboid_voxels,
    paint_cuboid,
    sample_cuboid,
    tame,
    to_voxels,
)

SPACING_MM = (2.5, 0.7, 0.9)


def make_field(shape: Sequence[int], spacing_mm: Sequence[float], hu_per_mm: Sequence[float]) -> np.ndarray:
    """HU that rise evenly along each axis from -800 at the middle voxel."""
    axes = [(np.arange(n) - n // 2) * s * slope for n, s, slope in zip(shape, spacing_mm, hu_per_mm, strict=True)]
    z, y, x = np.ix_(*axes)
    return (z + y + x - 800).astype(np.float32)


def draw_lung(seed: int, count: int = 4) -> np.ndarray:
    """Cuboids of a lung-like histogram with some soft tissue."""
    rng = np.random.default_rng(seed)
    hu = rng.normal(-850, 60, (count, SIDE, SIDE, SIDE))
    return np.where(rng.random(hu.shape) < 0.1, rng.normal(40, 30, hu.shape), hu).astype(np.float32)


def test_equalised_training_voxels_are_spread_evenly_and_come_back_within_a_bin() -> None:
    cuboids = draw_lung(0)
    equaliser = Equaliser.fit(cuboids)
    assert len(equaliser.level) == BINS
    values = equaliser.normalise(cuboids)
    shares = np.histogram(values, bins=10, range=(-0.5, 0.5))[0] / values.size
    assert np.abs(shares - 0.1).max() < 0.01
    assert abs(values.mean()) < 1e-3
    width_hu = (equaliser.highest_hu - equaliser.lowest_hu) / (BINS - 1)
    inside = np.abs(values) < 0.499
    lost_hu = np.abs(equaliser.undo(values) - cuboids)[inside]
    assert np.quantile(lost_hu, 0.995) < width_hu
    assert lost_hu.max() < 15, "no more than the gaps between the rare values of the training"


def test_values_beyond_the_training_become_its_extremes() -> None:
    cuboids = draw_lung(0)
    equaliser = Equaliser.fit(cuboids)
    low, high = equaliser.normalise(np.array([-5000.0, 5000.0]))
    assert (low, high) == pytest.approx((-0.5, 0.5), abs=1e-3)
    darkest, brightest = equaliser.undo(np.array([-9.0, 9.0]))
    assert cuboids.min() <= darkest <= np.quantile(cuboids, 2e-3)
    assert np.quantile(cuboids, 1 - 2e-3) <= brightest <= cuboids.max()


def test_values_of_a_gap_in_the_training_return_as_the_lower_end_of_it() -> None:
    equaliser = Equaliser.fit(np.repeat([-900.0, -800.0, 2800.0, 2900.0], 100), bins=100)
    for hu in (-800.0, 0.0, 1500.0):
        assert equaliser.undo(equaliser.normalise(np.array([hu])))[0] == pytest.approx(-800, abs=40)
    assert equaliser.undo(equaliser.normalise(np.array([2800.0])))[0] == pytest.approx(2800, abs=40)


def test_one_value_alone_cannot_be_equalised() -> None:
    with pytest.raises(UsageError, match="-850"):
        Equaliser.fit(np.full((4, 4, 4), -850.0))


def test_a_cuboid_is_sampled_every_millimetre_around_its_centre() -> None:
    slopes = (3.0, -5.0, 2.0)
    hu = make_field((41, 121, 101), SPACING_MM, slopes)
    cuboid = sample_cuboid(hu, SPACING_MM, (20, 60, 50))
    assert cuboid == pytest.approx(make_field((SIDE,) * 3, (1, 1, 1), slopes) + 0.5 * sum(slopes), abs=0.1)


def test_a_cuboid_returns_to_the_voxels_it_was_cut_from() -> None:
    hu = make_field((41, 121, 101), SPACING_MM, (3.0, -5.0, 2.0))
    offsets = [np.arange(-5, 6), np.arange(-20, 21), np.arange(-15, 16)]
    cuboid = sample_cuboid(hu, SPACING_MM, (20, 60, 50))
    back = to_voxels(cuboid, offsets, SPACING_MM)
    assert back == pytest.approx(hu[15:26, 40:81, 35:66], abs=0.5)


def test_beyond_the_ends_of_a_run_its_last_slice_is_repeated_and_nothing_else_is_read() -> None:
    hu = make_field((80, 64, 64), (1.0, 1.0, 1.0), (4.0, 0.0, 0.0))
    hu[:30] = 3000
    cuboid = sample_cuboid(hu, (1.0, 1.0, 1.0), (35, 32, 32), run=slice(30, 80))
    assert cuboid.max() < 0
    assert np.abs(cuboid[:10] - hu[30, 0, 0]).max() < 1.5


@pytest.mark.parametrize(
    ("spacing_mm", "sides"), [((1.0, 0.78125, 0.78125), [32, 41, 41]), ((40.0, 1, 1), [1, 32, 32])]
)
def test_sides_in_voxels(spacing_mm: tuple[float, float, float], sides: list[int]) -> None:
    assert cuboid_voxels(spacing_mm).tolist() == sides


def test_the_network_sees_nothing_of_the_middle_and_all_of_the_rim() -> None:
    first, second = draw_lung(1, 2)
    second = second.copy()
    rim = np.ones((SIDE,) * 3, bool)
    rim[6:26, 6:26, 6:26] = False
    second[rim] = first[rim]
    equaliser = Equaliser.fit(draw_lung(0))
    seen: list[np.ndarray] = []

    def look(masked: np.ndarray) -> np.ndarray:
        seen.append(masked.copy())
        return masked

    for cuboid in (first, second):
        paint_cuboid(cuboid, equaliser, look)
    assert np.array_equal(seen[0], seen[1])
    assert not seen[0][HOLE].any()
    assert np.array_equal(seen[0][rim], equaliser.normalise(first)[rim])
    assert seen[0].dtype == np.float32


def test_paint_is_kept_within_what_was_learnt() -> None:
    cuboid = draw_lung(1, 1)[0]
    equaliser = Equaliser.fit(draw_lung(0))
    painted = paint_cuboid(cuboid, equaliser, lambda masked: np.where(np.indices(masked.shape)[0] < 16, -7.0, 7.0))
    assert painted.min() >= max(FLOOR_HU, equaliser.lowest_hu - 1)
    assert painted.max() <= equaliser.highest_hu + 1


def test_too_bright_voxels_are_averaged_away_and_too_dark_ones_raised() -> None:
    hu = np.full((9, 9, 9), -900.0, np.float32)
    hu[4, 4, 4] = 2900
    hu[0, 0, 0] = -1500
    tamed = tame(hu)
    assert tamed[4, 4, 4] == pytest.approx((2900 - 900 * 124) / 125)
    assert tamed[0, 0, 0] == FLOOR_HU
    assert (tamed == -900).sum() == 9**3 - 2
