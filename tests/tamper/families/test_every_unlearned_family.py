"""What holds for every family that learns nothing: it keeps to its box, its weight, its run, and its seed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tamper.forgers import AsItIs
from tamper.lung_scene import aim_at, make_lung

from verict.errors import InputError, UsageError
from verict.tamper.donors import cut_donor
from verict.tamper.families import create
from verict.tamper.forgery import ForgeryKind, Target, forge

INJECT, REMOVE = ForgeryKind.INJECT, ForgeryKind.REMOVE
HERE, THERE = (28.0, 40.0, 60.0), (40.0, 62.0, 24.0)  # mm: what is forged, and another nodule of the same scan
CASES = [
    ("splice", INJECT), ("splice", REMOVE), ("splice-poisson", INJECT), ("splice-poisson", REMOVE),
    ("copy-move", INJECT), ("copy-move", REMOVE), ("parametric", INJECT),
]
each_case = pytest.mark.parametrize(("name", "kind"), CASES)


@pytest.fixture(scope="module")
def targets() -> dict[ForgeryKind, Target]:
    """A nodule to be removed, and the same place before it was there; with donors of another scan."""
    other = make_lung((2.0, 0.7, 0.7), nodules=[((28, 56, 62), 12.0)], seed=5)
    donors = [cut_donor(*other, (14, 80, 89), INJECT, diameter_mm=12, source="other"),
              cut_donor(*other, (13, 64, 51), REMOVE, source="other")]
    scans = {INJECT: make_lung(nodules=[(THERE, 11.0)]), REMOVE: make_lung(nodules=[(THERE, 11.0), (HERE, 13.0)])}
    return {kind: aim_at(scan, HERE, kind, 12.0, donors) for kind, scan in scans.items()}


@each_case
def test_it_forges_within_its_weight_and_leaves_the_scan_alone(name: str, kind: ForgeryKind, targets: dict) -> None:
    target, family = targets[kind], create(name)
    before = target.hu.copy()
    paint = family.paint(target, np.random.default_rng(3))
    np.testing.assert_array_equal(target.hu, before)
    assert paint.weight is not None
    assert paint.hu.shape == paint.weight.shape == tuple(s.stop - s.start for s in paint.box)
    assert paint.hu.dtype == np.float32
    assert 0 <= paint.weight.min() <= paint.weight.max() <= 1
    np.testing.assert_array_equal(paint.hu[paint.weight == 0], before[paint.box][paint.weight == 0])
    assert (paint.weight > 0).mean() < 0.7, "a cuboid, as CT-GAN's"
    reach_mm = [max(c - s.start, s.stop - c) * step for s, c, step in
                zip(paint.box, target.centre, target.spacing_mm, strict=True)]
    assert max(reach_mm) < 22
    middle = tuple(slice(c - 2, c + 3) for c in target.centre)
    forged = forge(target, family, AsItIs(), seed=3)
    if kind is INJECT:
        assert before[middle].mean() < -800
        assert forged.hu[middle].mean() > -500
    else:
        assert before[middle].mean() > -50
        assert forged.hu[middle].mean() == pytest.approx(-850, abs=40)
        assert (forged.hu[forged.box][paint.weight > 0.99] > -400).mean() < 0.05, "vessels at most"


@each_case
def test_the_same_seed_gives_the_same_forgery(name: str, kind: ForgeryKind, targets: dict) -> None:
    one, same, other = (forge(targets[kind], create(name), AsItIs(), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.hu, same.hu)
    assert one.record == same.record
    assert (one.hu != other.hu).any()
    json.dumps(one.record, allow_nan=False)


@each_case
def test_at_the_scan_s_end_it_is_cut_off_and_says_so(name: str, kind: ForgeryKind, targets: dict) -> None:
    target = targets[kind]
    z = target.centre[0]
    run = slice(z - 3, len(target.hu) - 2)
    paint = create(name).paint(replace(target, run=run), np.random.default_rng(0))
    assert paint.box[0].start >= run.start
    assert paint.box[0].stop <= run.stop
    assert paint.details["is_clamped"] is True
    assert create(name).paint(target, np.random.default_rng(0)).details["is_clamped"] is False


@each_case
def test_a_place_in_the_wall_is_refused(name: str, kind: ForgeryKind, targets: dict) -> None:
    y = targets[kind].centre[1]
    with pytest.raises(InputError) as caught:
        create(name).paint(replace(targets[kind], centre=(22, y, round(105 / 0.8))), np.random.default_rng(0))
    assert caught.value.expected
    assert caught.value.next_step


@pytest.mark.parametrize(("name", "kind"), [("inpaint", INJECT), ("parametric", REMOVE)])
def test_what_a_family_cannot_do_is_refused(name: str, kind: ForgeryKind, targets: dict) -> None:
    with pytest.raises(UsageError, match="cannot"):
        forge(targets[kind], create(name), AsItIs(), seed=0)


@pytest.mark.parametrize("spacing_mm", [(5.0, 0.9, 0.9), (2.0, 0.7, 0.8)])
@each_case
def test_any_grid_will_do(name: str, kind: ForgeryKind, spacing_mm: tuple, targets: dict) -> None:
    scan = make_lung(spacing_mm, nodules=[(THERE, 11.0), *([(HERE, 13.0)] if kind is REMOVE else [])])
    target = aim_at(scan, HERE, kind, 12.0, targets[kind].donors)
    forged = forge(target, create(name), AsItIs(), seed=2)
    changed = float(np.median(forged.hu[target.centre[0], target.centre[1] - 1 : target.centre[1] + 2,
                                        target.centre[2] - 1 : target.centre[2] + 2]))
    assert (changed > -500) == (kind is INJECT)
