"""Copy-move: voxel by voxel from elsewhere in the scan, mirrored or turned, never from the target itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tamper.lung_scene import PLAIN, WALL_MM, aim_at, fine_texture, make_lung

from verict.errors import InputError
from verict.tamper.families.copy_move import CopyMove, Turn, choose_turn
from verict.tamper.forgery import ForgeryKind, Paint, Target

INJECT, REMOVE = ForgeryKind.INJECT, ForgeryKind.REMOVE
HERE = (28.0, 40.0, 60.0)


def source_of(target: Target, paint: Paint) -> np.ndarray:
    """What was copied, turned, on the voxels of the paint's box."""
    d = paint.details
    box = tuple(slice(c - n // 2, c + n // 2 + 1) for c, n in
                zip(d["source_centre_voxel_zyx"], d["source_sides_voxels_zyx"], strict=True))
    turned = Turn(d["flip_z"], d["flip_y"], d["quarters"]).apply(target.hu[box])
    inside = tuple(slice(s.start - c + n // 2, s.stop - c + n // 2) for s, c, n in
                   zip(paint.box, target.centre, d["source_sides_voxels_zyx"], strict=True))
    return turned[inside]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ForgeryKind)
def test_what_is_pasted_is_the_scan_s_own_noise_turned(kind: ForgeryKind, seed: int) -> None:
    nodules = [((28.0, 62.0, 24.0), 11.0)] + ([(HERE, 13.0)] if kind is REMOVE else [])
    target = aim_at(make_lung(nodules=nodules), HERE, kind, 12.0)
    paint = CopyMove().paint(target, np.random.default_rng(seed))
    copied, whole = source_of(target, paint), paint.weight > 0.99
    assert np.abs(paint.hu - copied)[whole].max() < 25, "no more than the level is fitted"
    assert np.corrcoef(fine_texture(paint.hu)[whole], fine_texture(copied)[whole])[0, 1] > 0.97
    sides, centre = paint.details["source_sides_voxels_zyx"], paint.details["source_centre_voxel_zyx"]
    assert any(abs(a - b) >= n for a, b, n in zip(centre, target.centre, sides, strict=True)), "they overlap"


def test_the_noise_keeps_its_variance_but_for_the_soft_rim() -> None:
    target = aim_at(make_lung(nodules=[(HERE, 16.0)]), HERE, REMOVE, 16.0)
    paint = CopyMove().paint(target, np.random.default_rng(0))
    texture = fine_texture(paint.hu)
    away = fine_texture(target.hu[PLAIN]).std()
    assert texture[paint.weight > 0.99].std() == pytest.approx(away, rel=0.12)
    half = (paint.weight > 0.4) & (paint.weight < 0.6)
    assert texture[half].std() == pytest.approx(away * 0.5**0.5, rel=0.2)  # k^2 + (1 - k)^2 at k = 1/2


def test_the_source_lies_as_deep_and_the_wall_to_the_same_side() -> None:
    place = (28.0, 40.0, WALL_MM - 13)
    target = aim_at(make_lung(nodules=[(place, 10.0)]), place, REMOVE, 10.0)
    for seed in range(4):
        details = CopyMove().paint(target, np.random.default_rng(seed)).details
        _, y, x = np.array(details["source_centre_voxel_zyx"]) * target.spacing_mm
        to_edges = min(WALL_MM - x, x, y, target.hu.shape[1] * 0.8 - y)
        assert to_edges < 22, "a place in the middle of the lung is no match"


def test_the_nodule_nearest_to_the_wanted_size_is_taken() -> None:
    target = aim_at(make_lung(nodules=[((28, 62, 20), 8.0), ((28, 20, 74), 14.0)]), (28.0, 60.0, 60.0), INJECT)
    largest, small = (CopyMove().paint(replace(target, diameter_mm=d), np.random.default_rng(0)).details
                      for d in (None, 7.0))
    assert largest["diameter_mm"] == pytest.approx(14, abs=1)
    assert small["diameter_mm"] == pytest.approx(8, abs=1)
    assert (largest["is_from_other_lung"], small["is_from_other_lung"]) == (False, True)


def test_without_anything_to_copy_it_is_refused() -> None:
    with pytest.raises(InputError, match="nothing that could be copied"):
        CopyMove().paint(aim_at(make_lung(), HERE, INJECT), np.random.default_rng(0))
    target = aim_at(make_lung(nodules=[(HERE, 13.0)]), HERE, REMOVE, 13.0)
    narrow = target.lung.copy()
    narrow[:, :, :60] = narrow[:, :, 90:] = narrow[:, :35] = narrow[:, 65:] = False
    with pytest.raises(InputError, match="found no healthy lung"):
        CopyMove().paint(replace(target, lung=narrow), np.random.default_rng(0))


@pytest.mark.parametrize("turn", [Turn(z, y, q) for z in (False, True) for y in (False, True) for q in range(4)])
def test_a_turn_turns_directions_as_it_turns_voxels(turn: Turn) -> None:
    slope = np.array([2.0, 5.0])
    y, x = np.mgrid[:7, :7]
    turned = turn.apply((slope[0] * y + slope[1] * x)[None])[0]
    np.testing.assert_allclose([np.diff(turned, axis=axis).mean() for axis in (0, 1)], turn.turn_vector(slope))


def test_turns_put_the_wall_where_it_belongs() -> None:
    square, oblong = (2.0, 0.7, 0.7), (2.0, 0.7, 0.8)
    right, up = np.array([0.0, 1.0]), np.array([-1.0, 0.0])
    turns = [choose_turn(right, up, square, np.random.default_rng(s)) for s in range(20)]
    assert all(t.turn_vector(right) @ up > 0.85 for t in turns)
    assert len(set(turns)) > 2
    assert not any(choose_turn(right, right, square, np.random.default_rng(s)).is_none for s in range(20))
    assert {choose_turn(right, up, oblong, np.random.default_rng(s)).quarters % 2 for s in range(20)} == {0}
