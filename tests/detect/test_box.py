"""Steps of the noise between slices: a cuboid has two faces, and a tube current changes the whole slice."""

from __future__ import annotations

import numpy as np

from tests.detect.volumes import make_lung_hu, make_noise, make_volume
from verict.ct.lungs import LungRegion
from verict.detect.box import BLOCK_PX, LEAST_SLICES, THRESHOLDS, BoxDetector, score_run

SHAPE = (40, 160, 160)
LIT = np.ones(SHAPE, bool)
CUBE = (slice(14, 26), slice(56, 104), slice(56, 104))
MIDDLE = (20, 80 // BLOCK_PX, 80 // BLOCK_PX)
MARK = THRESHOLDS["mark_threshold"]


def test_its_own_noise_is_not_marked():
    assert np.nanmax(score_run(make_lung_hu(SHAPE, seed=1), LIT)) < MARK


def test_louder_and_quieter_noise_in_a_cuboid_stands_between_its_faces():
    for factor in (0.4, 1.8):
        hu = make_lung_hu(SHAPE, seed=2).astype(np.float32)
        hu[CUBE] = (hu[CUBE] + 850) * factor - 850
        values = score_run(hu, LIT)
        assert values[MIDDLE] > MARK
        assert np.nanmax(values[:10]) < MARK and np.nanmax(values[31:]) < MARK


def test_tube_current_that_changes_along_z_is_no_box():
    level = 1 + 0.6 * (np.arange(SHAPE[0]) // 12 % 2)
    hu = make_noise(SHAPE, seed=3) * level[:, None, None] - 850
    assert np.nanmax(score_run(hu, LIT)) < MARK


def test_slices_that_do_not_overlap_among_slices_that_do():
    white = make_noise((SHAPE[0] + 1, *SHAPE[1:]), seed=4)
    hu = (white[:-1] + white[1:]) / np.sqrt(2) - 850
    assert np.nanmax(score_run(hu, LIT)) < MARK
    hu[CUBE] = make_noise(tuple(s.stop - s.start for s in CUBE), seed=5) - 850
    assert score_run(hu, LIT)[MIDDLE] > MARK


def test_a_cuboid_that_reaches_the_scans_end_has_one_face_and_is_missed():
    hu = make_lung_hu(SHAPE, seed=6).astype(np.float32)
    hu[20:, 56:104, 56:104] = (hu[20:, 56:104, 56:104] + 850) * 1.8 - 850
    assert score_run(hu, LIT)[30, 10, 10] < MARK


def test_short_runs_get_no_score_and_it_is_said():
    for count in (1, LEAST_SLICES - 1):
        volume = make_volume(count, hu=make_lung_hu((count, *SHAPE[1:])))
        evidence = BoxDetector().examine(volume, LungRegion(LIT[:count], np.ones(count, bool)), workers=1)
        assert np.isnan(evidence.score_map.values).all()
        assert [n.code for n in evidence.notes] == ["too_few_neighbours"]


def test_a_run_is_scored_by_itself():
    hu = make_lung_hu(SHAPE, seed=7)
    volume = make_volume([*range(20), *range(40, 60)], hu=hu)
    evidence = BoxDetector().examine(volume, LungRegion(LIT, np.ones(SHAPE[0], bool)), workers=1)
    np.testing.assert_array_equal(evidence.score_map.values[:20], score_run(hu[:20], LIT[:20]))
    np.testing.assert_array_equal(evidence.score_map.values[20:], score_run(hu[20:], LIT[20:]))
    assert evidence.notes == ()
