"""Whole slices are recoded and resampled, exactly these, and the record says how."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tamper.lung_scene import aim_at, fine_texture, make_lung
from tamper.touch_ups.plain_paint import SmoothCuboid, SoftBall

from verict.errors import InputError
from verict.tamper.forgery import ForgeryKind, Target, forge
from verict.tamper.touch_ups import create
from verict.tamper.touch_ups.whole_slice import RECODED, Jpeg2000, move_and_back, recode

NODULE_MM = (28.0, 40.0, 52.0)
FAMILIES = (SmoothCuboid(), SoftBall())


@pytest.fixture(scope="module")
def scan():
    return make_lung((1.25, 0.8, 0.8), [(NODULE_MM, 10)])


@pytest.fixture(params=ForgeryKind)
def target(request, scan) -> Target:
    return aim_at(scan, NODULE_MM if request.param is ForgeryKind.REMOVE else (28.0, 40.0, 34.0), request.param)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@pytest.mark.parametrize("name", ["jpeg2000", "resampled"])
def test_whole_slices_and_no_others(target: Target, family, name: str) -> None:
    before = target.hu.copy()
    forgery = forge(target, family, create(name), seed=1)
    np.testing.assert_array_equal(target.hu, before)
    painted = forgery.painted_box
    assert forgery.box == (painted[0], slice(0, before.shape[1]), slice(0, before.shape[2]))
    assert forgery.footprint.all()
    others = np.delete(np.arange(len(before)), np.arange(painted[0].start, painted[0].stop))
    np.testing.assert_array_equal(forgery.hu[others], before[others])
    far = np.s_[painted[0], :10, :10]
    assert (forgery.hu[far] != before[far]).mean() > 0.5
    np.testing.assert_array_equal(forge(target, family, create(name), seed=1).hu, forgery.hu)
    details = forgery.record["touch_up_details"]
    assert json.loads(json.dumps(details)) == details


@pytest.mark.parametrize("name", ["jpeg2000", "resampled"])
def test_the_weight_tells_paint_from_slices_that_were_only_recoded(scan, name: str) -> None:
    target = aim_at(scan, NODULE_MM, ForgeryKind.REMOVE)
    for family in FAMILIES:
        paint = family.paint(target, np.random.default_rng(0))
        final = create(name).apply(target, paint, np.random.default_rng(0))
        inner = (slice(None), *paint.box[1:])
        beyond = np.ones(final.weight.shape, bool)
        beyond[inner] = False
        assert (final.weight[beyond] == np.float32(RECODED)).all()
        if paint.weight is None:
            assert final.weight[inner].min() > 0.5
        else:
            np.testing.assert_array_equal(final.weight[inner], np.maximum(paint.weight, RECODED).astype(np.float32))


def test_the_cuboid_is_blended_by_the_windows_before_it_is_recoded(target: Target) -> None:
    """A pass without loss leaves the blend alone: nothing else, and no noise."""
    forgery = forge(target, SmoothCuboid(), Jpeg2000(ratio=1), seed=1)
    outside = np.ones(target.hu.shape, bool)
    outside[forgery.painted_box] = False
    np.testing.assert_array_equal(forgery.hu[outside], target.hu[outside])
    if target.kind is ForgeryKind.INJECT:
        assert (forgery.hu >= target.hu).all()
    z, y, x = target.centre
    assert (forgery.hu[z, y, x] > -300) == (target.kind is ForgeryKind.INJECT)


def test_the_ratio_is_kept_and_said(scan) -> None:
    target = aim_at(scan, NODULE_MM, ForgeryKind.REMOVE)
    details = forge(target, SoftBall(), create("jpeg2000"), seed=1).record["touch_up_details"]
    assert details["jpeg2000_ratio"] == 8
    assert details["ratio_of_bits_stored"] == pytest.approx(8, rel=0.1)
    assert details["bits_stored"] == int(np.ceil(np.log2(int(target.hu.max()) - int(target.hu.min()) + 1)))
    coarse = forge(target, SoftBall(), Jpeg2000(ratio=20), seed=1)
    assert coarse.record["touch_up_details"]["ratio_of_bits_stored"] == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize(("low", "high"), [(-1024, 3071), (-2000, 0), (0, 1), (-32768, 32767), (-5, -5)])
def test_signed_values_survive_a_pass_without_loss(low: int, high: int) -> None:
    slices = np.random.default_rng(0).integers(low, high + 1, (2, 40, 48))
    slices[0, 0, :2] = low, high
    decoded, bits, size = recode(slices, 1)
    np.testing.assert_array_equal(decoded, slices)
    assert 8 <= bits <= 16
    assert size > 0


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="16 bits"):
        recode(np.array([[[0, 65536]]]), 8)


def test_a_lossy_pass_stays_near_and_within_limits(scan) -> None:
    slices = scan[0].hu[:2].astype(int)
    decoded, _, _ = recode(slices, 8)
    assert np.abs(decoded - slices).mean() < 20
    assert (decoded != slices).any()
    assert decoded.min() >= slices.min()
    assert decoded.max() <= slices.max()


def test_a_move_and_its_way_back_meet(scan) -> None:
    """Edges stand where they stood; the finest texture is what is lost."""
    image = scan[0].hu[10].astype(np.float32)
    moved = move_and_back(image, np.array([0.4, -0.6]), 1.2, 1.01)
    inner = np.s_[8:-8, 8:-8]
    shifted = [np.abs(np.roll(image, s, (0, 1)) - moved)[inner].mean() for s in ((0, 0), (1, 0), (0, 1))]
    assert shifted[0] < 0.6 * min(shifted[1:])
    assert 0.5 < fine_texture(moved[None])[0][inner].std() / fine_texture(image[None])[0][inner].std() < 0.98
    smooth = np.add.outer(np.arange(64.0), 2 * np.arange(80.0)).astype(np.float32)
    np.testing.assert_allclose(move_and_back(smooth, np.array([0.4, -0.6]), 1.2, 1.01)[inner], smooth[inner], atol=0.05)
