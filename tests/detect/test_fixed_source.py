"""CT-GAN's fixed source: its copies are found at their very voxel, and nothing else is as clear."""

from __future__ import annotations

import numpy as np
import pytest

from tests.detect.volumes import make_lung_hu, make_noise
from verict.detect.fixed_source import SOURCE, Hit, find_fixed_source
from verict.detect.noise_residual import find_whitening, level_residual
from verict.tamper.ctgan_touch_up import blend, copied_noise
from verict.tamper.forgery import ForgeryKind

SHAPE = (48, 160, 200)
SPACING_MM = (1.0, 1.0, 1.0)
CENTRE = (24, 88, 140)
SIDE = 41
CLEAR = 6.5  # about what a normal variable tried at a million places does not reach by far


def _search(hu: np.ndarray) -> list[Hit]:
    mask = np.ones(hu.shape, bool)
    whitening = find_whitening(hu, mask)
    residual = level_residual(hu, whitening)
    return find_fixed_source(hu, whitening, residual, mask, SPACING_MM, workers=1)


def _touch_up(hu: np.ndarray, kind: ForgeryKind) -> np.ndarray:
    """The published code's last step with nothing painted."""
    noise, _ = copied_noise(hu, (SIDE,) * 3)
    z, y, x = (slice(c - SIDE // 2, c - SIDE // 2 + SIDE) for c in CENTRE)
    before = hu[z, y, x].astype(np.float32)
    reach = [(np.arange(SIDE) - SIDE // 2) / (SIDE / 2)] * 2
    forged = hu.copy()
    forged[z, y, x] = np.rint(blend(before, before, noise, reach, kind))
    return forged


def test_nothing_is_clear_where_all_noise_is_its_own():
    assert max((hit.strength for hit in _search(make_lung_hu(SHAPE, seed=1))), default=0) < CLEAR


@pytest.mark.parametrize("kind", list(ForgeryKind))
def test_a_touch_up_is_found_at_its_very_middle(kind):
    hu = make_lung_hu(SHAPE, seed=2)
    hu[:, 70:110, 120:165] += 700  # dense enough for an injection's noise to be laid on
    best = max(_search(_touch_up(hu, kind)), key=lambda hit: hit.strength)
    assert best.strength > CLEAR + 3
    assert best.centre == CENTRE
    assert best.source == tuple(int(part * n) for part, n in zip(SOURCE, SHAPE, strict=True))


def test_the_source_itself_is_no_copy_and_a_scan_without_lungs_has_none():
    hu = make_lung_hu(SHAPE, seed=3)
    for hit in _search(hu):
        away = np.abs(np.subtract(hit.centre, hit.source))
        assert away[0] > 15 or away[1:].max() > 20
    whitening = find_whitening(hu, np.ones(SHAPE, bool))
    assert find_fixed_source(hu, whitening, make_noise(SHAPE), np.zeros(SHAPE, bool), SPACING_MM, workers=1) == []


def test_blocks_of_a_long_scan_join_without_a_gap():
    shape = (150, 128, 160)  # more than one block; the copy lies across both
    hu = make_lung_hu(shape, seed=4)
    noise, _ = copied_noise(hu, (20, 31, 31))
    middle = (144, 80, 120)
    z, y, x = (slice(c - n // 2, c - n // 2 + n) for c, n in zip(middle, noise.shape, strict=True))
    hu[z, y, x] += np.rint(noise[: 150 - z.start]).astype(np.int16)
    best = max(_search(hu), key=lambda hit: hit.strength)
    assert best.centre == middle and best.strength > CLEAR + 3


def test_a_hit_marks_no_more_than_the_scan_holds():
    hit = Hit((2, 5, 198), (24, 68, 54), 9.0, (20, 9, 9))
    assert hit.box(SHAPE) == (slice(0, 23), slice(0, 15), slice(189, 200))
