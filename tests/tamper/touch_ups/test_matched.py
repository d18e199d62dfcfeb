"""Matched noise has the level, spectrum and slice correlation of the scan, without a dip where it is blended in."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from tamper.touch_ups.plain_paint import SmoothCuboid, SoftBall

from verict.errors import InputError
from verict.tamper.cubes import cube_around
from verict.tamper.forgery import ForgeryKind, Paint, Target, forge
from verict.tamper.touch_ups import create

NOISE_HU, SOFT_NOISE_HU, SIZE = 40.0, 12.0, 164
THIN, THICK = (2.0, 0.8, 0.8), (8.0, 0.8, 0.8)
WALL = 128  # soft tissue from this column on


def make_target(spacing_mm: tuple[float, float, float], kind: ForgeryKind = ForgeryKind.REMOVE) -> Target:
    """Lung at -850 HU with coarse, directed noise that goes on along z, and soft tissue with finer, weaker noise."""
    slices = 26 if spacing_mm is THIN else 7
    rng = np.random.default_rng(0)
    along = 0.8 if spacing_mm is THIN else 0.45
    lung = ndimage.gaussian_filter(rng.standard_normal((slices, SIZE, SIZE)), (along, 0.7, 1.3))
    soft = ndimage.gaussian_filter(rng.standard_normal((slices, SIZE, SIZE)), (along, 0.6, 0.6))
    hu = -850 + lung * (NOISE_HU / lung.std())
    hu[:, :, WALL:] = (40 + soft * (SOFT_NOISE_HU / soft.std()))[:, :, WALL:]
    mask = np.zeros(hu.shape, bool)
    mask[:, :, :WALL] = True
    return Target(np.rint(hu).astype(np.int16), spacing_mm, mask, (slices // 2, 75, 58), kind, slice(0, slices))


def neighbours(values: np.ndarray, axis: int) -> float:
    """Correlation of voxels with their neighbours along an axis."""
    here, there = (np.take(values, range(a, values.shape[axis] - 1 + a), axis).ravel() for a in range(2))
    return float(np.corrcoef(here, there)[0, 1])


def rings_around(target: Target, nearest_mm: float, farthest_mm: float) -> np.ndarray:
    """(y, x) bool: squares around the target."""
    away = [abs(np.arange(n) - c) * s for n, c, s in
            zip(target.hu.shape[1:], target.centre[1:], target.spacing_mm[1:], strict=True)]
    square = np.maximum(away[0][:, None], away[1])
    return (square >= nearest_mm) & (square < farthest_mm)


@pytest.fixture(scope="module", params=[THIN, THICK], ids=["thin slices", "thick slices"])
def forged(request) -> tuple[Target, list[np.ndarray]]:
    """A target and its scan, forged three times."""
    target = make_target(request.param)
    return target, [forge(target, SmoothCuboid(), create("matched"), seed=seed).hu.astype(float) for seed in range(3)]


def test_no_ring_of_the_blend_lacks_variance(forged) -> None:
    target, scans = forged
    z = target.centre[0]
    for nearest_mm, farthest_mm in ((0, 8), (8, 11), (11, 13), (13, 16), (16, 19)):
        ring = rings_around(target, nearest_mm, farthest_mm)
        spread = np.mean([scan[z - 2 : z + 2, ring].std() for scan in scans])
        assert spread == pytest.approx(target.hu[:, :, :WALL].std(), rel=0.15), nearest_mm


def test_noise_goes_on_in_the_plane_and_along_z(forged) -> None:
    target, scans = forged
    _, y, x = target.centre
    for side, off in ((6, 0.12), (20, 0.06)):  # the core; the core and the blend
        here = np.s_[_painted_slices(target), y - side : y + side, x - side : x + side]
        for axis in range(3):
            wanted = neighbours(target.hu[:, :, : WALL - 4].astype(float), axis)
            found = np.mean([neighbours(scan[here], axis) for scan in scans])
            assert found == pytest.approx(wanted, abs=off), (side, axis)


def test_there_is_no_step_where_the_cuboid_ends_along_z(forged) -> None:
    target, scans = forged
    _, y, x = target.centre
    slices = _painted_slices(target)
    wanted = neighbours(target.hu[:, :, : WALL - 4].astype(float), 0)
    pairs = [(slices.start - 1, slices.start), (slices.stop - 1, slices.stop)]
    found = [np.corrcoef(*(scan[z, y - 14 : y + 14, x - 14 : x + 14].ravel() for z in pair))[0, 1]
             for scan in scans for pair in pairs]
    assert np.mean(found) == pytest.approx(wanted, abs=0.12)


def _painted_slices(target: Target) -> slice:
    return forge(target, SmoothCuboid(), create("none"), seed=0).painted_box[0]


def test_added_white_noise_fails_the_same_checks() -> None:
    target = make_target(THIN)
    z, y, x = target.centre
    scan = forge(target, SmoothCuboid(), create("white"), seed=0).hu.astype(float)
    middle = scan[z - 4 : z + 4, y - 6 : y + 6, x - 6 : x + 6]
    assert neighbours(middle, 0) < 0.1 < neighbours(target.hu[:, :, : WALL - 4].astype(float), 0) - 0.2
    assert middle.std() < 0.85 * NOISE_HU


@pytest.mark.parametrize("kind", ForgeryKind)
@pytest.mark.parametrize("family", [SmoothCuboid(), SoftBall()], ids=lambda f: f.name)
def test_nothing_but_the_paint_s_own_box_changes(kind: ForgeryKind, family) -> None:
    target = make_target(THIN, kind)
    before = target.hu.copy()
    forgery = forge(target, family, create("matched"), seed=5)
    np.testing.assert_array_equal(target.hu, before)
    assert forgery.box == forgery.painted_box
    changed = forgery.hu != before
    beyond = np.ones(before.shape, bool)
    beyond[forgery.box] = ~forgery.footprint
    assert not changed[beyond].any()
    if family.name == "soft-ball":
        np.testing.assert_array_equal(forgery.footprint, family.paint(target, np.random.default_rng(0)).weight > 0)
    np.testing.assert_array_equal(forge(target, family, create("matched"), seed=5).hu, forgery.hu)
    assert (forge(target, family, create("matched"), seed=6).hu != forgery.hu).any()
    details = forgery.record["touch_up_details"]
    assert json.loads(json.dumps(details)) == details
    assert details["within"] == ("own weight" if family.name == "soft-ball" else "cuboid")


def test_paint_with_a_weight_of_its_own_gets_the_level_of_the_lung() -> None:
    target = make_target(THIN)
    z, y, x = target.centre
    core = np.s_[z - 1 : z + 2, y - 4 : y + 5, x - 4 : x + 5]
    spread = {name: np.mean([forge(target, SoftBall(), create(name), seed=s).hu[core].std() for s in range(3)])
              for name in ("none", "matched")}
    elsewhere = [target.hu[z - 1 : z + 2, r : r + 9, c : c + 9].std() for r in range(0, 140, 10) for c in (4, 90, 110)]
    assert spread["none"] < 5
    assert spread["matched"] == pytest.approx(np.mean(elsewhere), rel=0.2)


def test_dense_paint_gets_the_noise_of_soft_tissue() -> None:
    """In a nodule noise of the lung would be three times too strong."""
    target = make_target(THIN, ForgeryKind.INJECT)
    z, y, x = target.centre
    inside = np.s_[z - 1 : z + 2, y - 3 : y + 4, x - 3 : x + 4]
    nodules = [forge(target, SmoothCuboid(), create("matched"), seed=s).hu[inside].astype(float) for s in range(3)]
    assert np.mean(nodules) == pytest.approx(40, abs=15)
    assert np.mean([n.std() for n in nodules]) == pytest.approx(SOFT_NOISE_HU, rel=0.35)


def test_paint_that_has_noise_already_is_not_made_noisier() -> None:
    """Tissue of another scan comes with its own noise: that is taken off first."""
    target = make_target(THIN)
    z, y, x = target.centre
    rng = np.random.default_rng(9)

    class Noisy(SmoothCuboid):
        def paint(self, target: Target, rng_: np.random.Generator) -> Paint:
            paint = super().paint(target, rng_)
            return replace(paint, hu=paint.hu + rng.normal(0, NOISE_HU, paint.hu.shape).astype(np.float32))

    middle = np.s_[z - 4 : z + 4, y - 8 : y + 8, x - 8 : x + 8]
    spread = np.mean([forge(target, Noisy(), create("matched"), seed=s).hu[middle].std() for s in range(3)])
    assert spread == pytest.approx(NOISE_HU, rel=0.2)


def test_nothing_is_read_beyond_the_run() -> None:
    target = replace(make_target(THIN), run=slice(6, 19))
    forgery = forge(target, SmoothCuboid(), create("matched"), seed=1)
    other = target.hu.copy()
    other[:6], other[19:] = 1000, -1000
    again = forge(replace(target, hu=other), SmoothCuboid(), create("matched"), seed=1)
    np.testing.assert_array_equal(again.hu[6:19], forgery.hu[6:19])
    assert (forgery.box[0].start, forgery.box[0].stop) == (6, 19)


def test_a_single_slice_is_enough() -> None:
    target = make_target(THICK)
    alone = replace(target, run=slice(3, 4))
    forgery = forge(alone, SmoothCuboid(), create("matched"), seed=1)
    z, y, x = target.centre
    assert forgery.box[0] == slice(3, 4)
    assert forgery.hu[z, y - 10 : y + 10, x - 10 : x + 10].std() == pytest.approx(NOISE_HU, rel=0.3)
    assert forgery.record["touch_up_details"]["correlated_slices"] == 0


def test_nothing_falls_below_the_lowest_value_of_the_scan() -> None:
    target = make_target(THIN)
    cut = replace(target, hu=np.maximum(target.hu, -900))
    forgery = forge(cut, SmoothCuboid(), create("matched"), seed=1)
    assert forgery.hu.min() == -900
    assert (forgery.hu[forgery.box] == -900).mean() == pytest.approx((cut.hu[:, :, :WALL] == -900).mean(), rel=0.5)


def test_without_lung_to_learn_from_it_is_refused() -> None:
    target = make_target(THIN)
    cube = cube_around(target.centre, (16, 40, 40), target.hu.shape)
    hu = np.full_like(target.hu, 40)
    hu[cube.box] = target.hu[cube.box]
    with pytest.raises(InputError, match="too little untouched lung"):
        forge(replace(target, hu=hu), SmoothCuboid(), create("matched"), seed=1)


def test_thin_lung_is_learnt_from_in_smaller_windows() -> None:
    target = make_target(THIN)
    hu = target.hu.copy()
    hu[:, :, :42], hu[:, :, 74:] = 40, 40
    details = forge(replace(target, hu=hu), SmoothCuboid(), create("matched"), seed=1).record["touch_up_details"]
    assert details["windows"] >= 12
    assert details["window_px"] < 32
