"""Holes: where they end, how uneven they are, and what they are filled with before anything is painted."""

from __future__ import annotations

import numpy as np
import pytest

from verict.tamper.holes import (
    HoleShape,
    cut_hole,
    draw_ball,
    draw_lumpy_ball,
    fill_smoothly,
    guess_tissue,
    uneven_field,
)

OFFSETS = [np.arange(-20, 21) * 1.25, np.arange(-32, 33) * 0.75, np.arange(-32, 33) * 0.75]
STEP_MM = 1.25, 0.75, 0.75


def volume_mm3(weight: np.ndarray) -> float:
    return float(weight.sum()) * float(np.prod(STEP_MM))


def test_an_even_hole_is_the_ellipsoid_it_says() -> None:
    weight = cut_hole(OFFSETS, HoleShape((8, 10, 12), unevenness=0.0), np.random.default_rng(0))
    assert weight.dtype == np.float32
    assert weight[20, 32, 32] == 1 and weight[0].max() == 0
    assert volume_mm3(weight) == pytest.approx(4 / 3 * np.pi * 8 * 10 * 12, rel=0.05)
    along_x = np.interp(12.0, OFFSETS[2], weight[20, 32])
    assert along_x == pytest.approx(0.5, abs=0.15)


def test_the_rim_is_as_wide_as_it_says() -> None:
    weight = cut_hole(OFFSETS, HoleShape((10, 10, 10), unevenness=0.0, rim_mm=4.0), np.random.default_rng(0))
    line = weight[20, 32, 32:]
    rim_mm = ((line > 0) & (line < 1)).sum() * 0.75
    assert rim_mm == pytest.approx(4.0, abs=0.8)


def test_an_uneven_hole_is_another_at_every_draw_and_never_beyond_its_reach() -> None:
    shape = HoleShape((8, 8, 8), unevenness=0.2)
    first, again, other = (cut_hole(OFFSETS, shape, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert (np.abs(first - other) > 0.5).sum() > 50
    z, y, x = np.ix_(*OFFSETS)
    for weight in (first, other):
        for axis, reach in zip((z, y, x), shape.reach_mm, strict=True):
            assert weight[np.broadcast_to(np.abs(axis) > reach, weight.shape)].max() == 0


def test_bumps_are_as_wide_in_millimetres_along_every_axis() -> None:
    field = uneven_field(OFFSETS, 8.0, np.random.default_rng(3))
    field = field - field.mean()

    def correlation(axis: int, lag: int) -> float:
        rolled = np.roll(field, lag, axis)
        inner = tuple(slice(lag, None) if a == axis else slice(None) for a in range(3))
        return float((field * rolled)[inner].mean() / (field**2).mean())

    assert correlation(0, 3) == pytest.approx(correlation(2, 5), abs=0.15)  # 3.75 mm each
    assert correlation(2, 24) < 0.4 < correlation(2, 4)


@pytest.mark.parametrize("diameter_mm", [5.0, 12.0])
def test_a_ball_has_its_volume_in_thin_and_in_thick_slices(diameter_mm: float) -> None:
    wanted = np.pi / 6 * diameter_mm**3
    assert volume_mm3(draw_ball(OFFSETS, diameter_mm)) == pytest.approx(wanted, rel=0.1)
    thick = [np.arange(-4, 5) * 5.0 + 1.3, *OFFSETS[1:]]
    assert float(draw_ball(thick, diameter_mm).sum()) * 5.0 * 0.75**2 == pytest.approx(wanted, rel=0.15)


def test_a_lumpy_ball_has_the_volume_of_the_ball_and_not_its_shape() -> None:
    ball, lumpy, other = draw_ball(OFFSETS, 12.0), *(
        draw_lumpy_ball(OFFSETS, 12.0, 0.2, np.random.default_rng(seed)) for seed in (1, 2))
    assert volume_mm3(lumpy) == pytest.approx(volume_mm3(ball), rel=0.05)
    assert 0.05 < np.abs(lumpy - ball).sum() / ball.sum() < 0.6
    assert not np.array_equal(lumpy, other)


def test_the_fill_follows_its_surroundings_and_reads_nothing_in_the_hole() -> None:
    x = OFFSETS[2]
    ramp = np.broadcast_to(-850 + 2 * x, (41, 65, 65)).astype(np.float32)
    hole = cut_hole(OFFSETS, HoleShape((8, 8, 8), 0.0), np.random.default_rng(0)) > 0
    spoilt = np.where(hole, 3000, ramp)
    fill = fill_smoothly(spoilt, hole, STEP_MM)
    assert np.array_equal(fill, fill_smoothly(np.where(hole, -3000, ramp), hole, STEP_MM))
    assert np.array_equal(fill[~hole], ramp[~hole])
    assert np.abs(fill - ramp)[hole].mean() < 5
    assert fill[20, 32, 24] < fill[20, 32, 40]


def test_a_wall_goes_on_into_a_hole_and_does_not_grey_the_lung_beside_it() -> None:
    x = np.broadcast_to(OFFSETS[2], (41, 65, 65))
    truth = np.where(x > 3, 40.0, -850.0).astype(np.float32)
    hole = cut_hole(OFFSETS, HoleShape((8, 8, 8), 0.0), np.random.default_rng(0)) > 0
    fill = guess_tissue(np.where(hole, 3000, truth), hole, STEP_MM, below=-500)
    assert np.array_equal(fill[~hole], truth[~hole])
    assert np.abs(fill[hole & (x < -1)] + 850).max() < 5
    assert (fill[hole & (x > 6)] > -400).mean() > 0.6
    greyed = fill_smoothly(np.where(hole, 3000, truth), hole, STEP_MM)
    assert np.abs(fill - truth)[hole].mean() < 0.7 * np.abs(greyed - truth)[hole].mean()


def test_a_vessel_that_is_cut_does_not_fill_the_hole() -> None:
    _, y, x = np.broadcast_arrays(*np.ix_(*OFFSETS))
    truth = np.where(np.hypot(x, y) < 1.5, 40.0, -850.0).astype(np.float32)
    hole = cut_hole(OFFSETS, HoleShape((8, 8, 8), 0.0), np.random.default_rng(0)) > 0
    fill = guess_tissue(truth, hole, STEP_MM, below=-500)
    assert fill[hole].max() < -800


def test_a_hole_that_is_everything_can_be_filled() -> None:
    everything = np.ones((8, 8, 8), bool)
    assert np.isfinite(fill_smoothly(np.full((8, 8, 8), -800.0), everything, STEP_MM)).all()
