"""Pasting: soft irregular outlines that leave the wall alone, and the level of the lung."""

from __future__ import annotations

import numpy as np
import pytest
from tamper.lung_scene import aim_at, make_lung

from verict.errors import InputError
from verict.tamper.forgery import ForgeryKind
from verict.tamper.paste import Outline, crop_paint, fit_level, fit_to_rim, keep_brighter, leave_wall, seam_cost, soften
from verict.tamper.vicinity import cut_vicinity

MIDDLE = (30.0, 44.0, 60.0)


@pytest.fixture(scope="module")
def vicinity():
    return cut_vicinity(aim_at(make_lung(), MIDDLE, ForgeryKind.REMOVE), 22)


def test_an_outline_is_soft_irregular_and_as_wide_as_it_says(vicinity) -> None:
    outline, ball = Outline(), vicinity.distance_mm < 8
    weight = soften(ball, vicinity, outline, np.random.default_rng(1))
    assert weight.dtype == np.float32
    assert (weight[ball] == 1).all()
    assert (weight[vicinity.distance_mm > 8 + outline.reach_mm] == 0).all()
    share = (weight > 0).mean() / np.mean(vicinity.distance_mm < 8 + outline.full_mm + outline.soft_mm)
    assert 0.8 < share < 1.2
    edge = vicinity.distance_mm[(weight > 0.4) & (weight < 0.6)]
    assert 0.3 < edge.std() < 2.5
    assert np.abs(np.diff(weight, axis=2)).max() < 0.6
    other = soften(ball, vicinity, outline, np.random.default_rng(2))
    assert np.abs(other - weight).max() > 0.2


def test_nothing_is_painted_in_the_wall() -> None:
    near = cut_vicinity(aim_at(make_lung(), (30, 44, 88), ForgeryKind.REMOVE), 20)
    weight = soften(near.distance_mm < 7, near, Outline(), np.random.default_rng(1))
    assert weight.max() > 0.9
    assert (weight[near.depth_mm <= 0] == 0).all()
    deep = cut_vicinity(aim_at(make_lung(), (30, 44, 97), ForgeryKind.REMOVE), 20)
    with pytest.raises(InputError, match="chest wall"):
        soften(deep.distance_mm < 2, deep, Outline(), np.random.default_rng(1))


def test_levels_move_lung_and_leave_tissue() -> None:
    hu = np.array([-900.0, -450, 0, 60])
    np.testing.assert_allclose(fit_level(hu, -900, -800), [-800, -400, 0, 60])


def test_a_patch_is_fitted_to_the_lung_at_its_rim(vicinity) -> None:
    weight = soften(vicinity.distance_mm < 8, vicinity, Outline(), np.random.default_rng(1))
    patch, levels = fit_to_rim(vicinity.hu - 70, vicinity, weight)
    assert levels["lung_hu"] == pytest.approx(levels["pasted_lung_hu"] + 70, abs=2)
    rim = (weight > 0) & (weight < 0.6) & (vicinity.hu < -700)
    assert np.median(patch[rim]) == pytest.approx(np.median(vicinity.hu[rim]), abs=3)
    with pytest.raises(InputError, match="shows no lung"):
        fit_to_rim(np.zeros_like(patch), vicinity, weight)


def test_vessels_and_walls_are_kept(vicinity) -> None:
    whole = np.ones(vicinity.hu.shape)
    bright = np.array(vicinity.hu)
    bright[:, :10] = 40
    kept = keep_brighter(whole, np.full_like(bright, -850), type(vicinity)(
        vicinity.cube, vicinity.axes_mm, bright, vicinity.depth_mm, vicinity.spacing_mm, vicinity.lung_hu))
    assert kept[:, :7].max() == 0
    assert np.median(kept[:, 20:]) == 1
    left = leave_wall(whole, np.where(vicinity.distance_mm < 5, 6.0, -1.0), Outline())
    np.testing.assert_array_equal(left, vicinity.distance_mm < 5)


def test_paint_is_cut_to_what_was_painted(vicinity) -> None:
    weight = np.where(vicinity.distance_mm < 5, 1.0, np.where(vicinity.distance_mm < 9, 0.001, 0.0))
    paint = crop_paint(vicinity, np.zeros_like(vicinity.hu), weight, {"a": 1})
    assert paint.hu.dtype == paint.weight.dtype == np.float32
    assert [s.stop - s.start for s in paint.box] == [7, 13, 13]
    middle = tuple((s.start + s.stop) // 2 for s in paint.box)
    assert middle == tuple(round(p / s) for p, s in zip(MIDDLE, (1.25, 0.8, 0.8), strict=True))
    assert (paint.hu[paint.weight > 0] == 0).all()
    assert (paint.hu[paint.weight == 0] < -600).all()
    with pytest.raises(InputError, match="nothing is left"):
        crop_paint(vicinity, vicinity.hu, 0 * weight, {})


def test_what_suits_a_place_costs_less_than_steps_vessels_and_airways(vicinity) -> None:
    weight = soften(vicinity.distance_mm < 8, vicinity, Outline(), np.random.default_rng(1))
    same = seam_cost(vicinity.hu, vicinity, weight)
    assert same < 1
    assert seam_cost(vicinity.hu + 50, vicinity, weight) == pytest.approx(50, abs=2)
    strange = {}
    for value in (40, -1000):
        patch = np.where(vicinity.distance_mm < 4, value, vicinity.hu)
        strange[value] = seam_cost(patch, vicinity, weight)
    assert min(strange.values()) > 30
