from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from training.diffusion_inpaint.known_scans import make_scan

from verict.errors import DatasetError
from verict.tamper.diffusion import from_network
from verict.training.diffusion_inpaint import patches
from verict.training.diffusion_inpaint.patches import SHAPES, THIN, PatchSource


def test_a_batch_is_of_one_shape_and_follows_from_the_generator_alone() -> None:
    scans = [make_scan("a"), make_scan("b", is_real=True, with_nodule=False)]
    first, again, other = (PatchSource(scans).draw_batch(np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert {there.shape for there, _ in first} <= set(SHAPES[THIN]) and len({there.shape for there, _ in first}) == 1
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one[0], two[0]) and np.array_equal(one[1].weight, two[1].weight)
    assert first[0][0].shape != other[0][0].shape or not np.array_equal(first[0][0], other[0][0])


def test_holes_without_a_ball_hide_no_nodule_and_those_with_one_hide_it_whole() -> None:
    source = PatchSource([make_scan()])
    rng = np.random.default_rng(1)
    kinds = set()
    for there, scene in (patch for _ in range(12) for patch in source.draw_batch(rng)):
        bright = from_network(there) > -400
        hole, has_ball = scene.weight > 0.5, scene.ball.max() > 0.5
        kinds.add(has_ball)
        assert 0 < hole.mean() < 0.9
        if has_ball:
            assert (bright & (scene.ball > 0.5)).sum() > 0.8 * bright.sum()
            assert scene.nodule_hu == 40.0
        else:
            assert not (bright & hole).any()
    assert kinds == {True, False}


def test_what_is_too_bright_for_healthy_lung_is_no_place_to_learn_from() -> None:
    wall = replace(make_scan(with_nodule=False), hu=np.full((32, 72, 72), 40, np.int16))
    with pytest.raises(DatasetError, match="no healthy lung"):
        PatchSource([wall])


def test_real_scans_have_their_share_however_many_are_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    scans = [make_scan(str(n), seed=n) for n in range(6)] + [make_scan("real", is_real=True)]
    drawn = [patches._choose(scans, np.random.default_rng(n)).is_real for n in range(400)]
    assert np.mean(drawn) == pytest.approx(patches.REAL_SHARE, abs=0.08)
