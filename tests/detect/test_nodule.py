"""Nodules: candidates where balls are, rays that tell balls from tubes, and what is said of a series."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from detect.volumes import make_lungs, make_volume

from verict.datasets.masses import measure_mass
from verict.detect.model import load_model
from verict.detect.nodule.candidates import find_candidates
from verict.detect.nodule.detector import NoduleDetector, is_alone, read_nodules, score_sites
from verict.detect.nodule.rays import FEATURE_COUNT, SPACE, describe
from verict.detect.nodule.reading import Shown
from verict.detect.nodule.where import say_where

SPACING = (1.5, 0.8, 0.8)
LUNG_HU, TISSUE_HU = -860, 30


def make_scene(shape=(40, 120, 120), *, balls=(), tubes=(), spacing=SPACING, noise_hu=15.0):
    """Lung with balls (centre voxel, diameter in mm) and tubes along y (z, x, diameter), edges a voxel soft."""
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    filled = np.zeros(shape, np.float32)
    for (cz, cy, cx), diameter in balls:
        away = np.sqrt(((z - cz) * spacing[0]) ** 2 + ((y - cy) * spacing[1]) ** 2 + ((x - cx) * spacing[2]) ** 2)
        filled = np.maximum(filled, np.clip((diameter / 2 - away) / 0.8 + 0.5, 0, 1))
    for cz, cx, diameter in tubes:
        away = np.sqrt(((z - cz) * spacing[0]) ** 2 + ((x - cx) * spacing[2]) ** 2)
        filled = np.maximum(filled, np.broadcast_to(np.clip((diameter / 2 - away) / 0.8 + 0.5, 0, 1), shape))
    hu = LUNG_HU + (TISSUE_HU - LUNG_HU) * filled
    hu = hu + np.random.default_rng(0).normal(0, noise_hu, shape)
    positions = [spacing[0] * i for i in range(shape[0])]
    volume = make_volume(positions, hu=np.rint(hu).astype(np.int16), pixel_mm=spacing[1:], thickness_mm=spacing[0])
    return volume, make_lungs(np.ones(shape, bool))


@pytest.mark.parametrize("diameter", [5.0, 8.0, 14.0, 26.0])
def test_a_ball_is_a_candidate_at_its_middle_whatever_its_size(diameter):
    volume, lungs = make_scene(balls=[((20, 60, 55), diameter)])
    found = find_candidates(volume, lungs)
    away = np.linalg.norm((found.centres - (20, 60, 55)) * SPACING, axis=1)
    best = int(np.argmax(found.drop))
    assert away[best] < max(2.0, diameter / 5)
    assert 0.5 < 1.6 * found.sigma_mm[best] / (diameter / 2) < 2.2


def test_a_slice_without_neighbours_is_looked_at_by_itself():
    volume, lungs = make_scene((3, 120, 120), balls=[((1, 60, 55), 10.0)], spacing=(30.0, 0.8, 0.8))
    found = find_candidates(volume, lungs)
    best = found.centres[int(np.argmax(found.drop))]
    assert np.rint(best[0]) == 1
    assert np.abs(best[1:] - (60, 55)).max() < 2.5
    assert is_alone(volume, found.centres).all()


def test_nothing_is_a_candidate_outside_the_lungs_or_without_any():
    volume, lungs = make_scene(balls=[((20, 60, 30), 10.0)])
    mask = lungs.mask.copy()
    mask[:, :, :60] = False
    half = make_lungs(mask)
    assert (find_candidates(volume, half).centres[:, 2] > 58).all()
    assert len(find_candidates(volume, make_lungs(np.zeros_like(mask)))) == 0


def test_rays_see_that_a_ball_ends_everywhere_and_a_tube_does_not():
    volume, lungs = make_scene(balls=[((20, 30, 30), 9.0)], tubes=[(20, 90, 9.0)])
    features = describe(volume, lungs, np.array([[20.0, 30, 30], [20.0, 60, 90]]))
    assert features.shape == (2, FEATURE_COUNT)
    space = features[:, SPACE]
    longest = space[:, -4]  # the last quantile of where rays fall below the second level, before the shares of lung
    assert longest[0] < 0.4
    assert longest[1] > 0.9


def test_turning_the_patient_changes_next_to_nothing():
    volume, lungs = make_scene(balls=[((20, 60, 60), 9.0)], noise_hu=0.0)
    mirrored = replace(volume, hu=np.ascontiguousarray(volume.hu[:, ::-1, ::-1]))
    here = describe(volume, lungs, np.array([[20.0, 60, 60]]))
    there = describe(mirrored, lungs, np.array([[20.0, 59, 59]]))
    assert np.abs(here - there).mean() < 0.01


def test_places_without_neighbours_leave_the_part_of_space_empty():
    volume, lungs = make_scene((3, 120, 120), balls=[((1, 60, 55), 10.0)], spacing=(30.0, 0.8, 0.8))
    features = describe(volume, lungs, np.array([[1.0, 60, 55]]))
    assert not features[:, SPACE].any()
    assert features[0, -2] == 0


@pytest.mark.parametrize("diameter", [8.0, 14.0, 20.0])
def test_a_ball_is_measured(diameter):
    volume, lungs = make_scene(balls=[((20, 60, 55), diameter)])
    mass = measure_mass(volume, lungs, (20, 60, 55))
    assert mass.diameter_mm == pytest.approx(diameter, abs=1.6)
    assert mass.long_axis_mm == pytest.approx(diameter, abs=1.6)


def test_where_is_told_by_side_and_by_third_only_where_the_lungs_are_whole():
    volume, lungs = make_scene((130, 60, 60), spacing=(2.0, 4.0, 4.0))
    assert say_where(volume, lungs, (120, 30, 10)) == "right lung, upper third"
    assert say_where(volume, lungs, (10, 30, 50)) == "left lung, lower third"
    short, part = make_scene((20, 60, 60), spacing=(2.0, 4.0, 4.0))
    assert say_where(short, part, (10, 30, 50)) == "left lung"


def test_a_nodule_is_read_and_a_vessel_is_not():
    volume, lungs = make_scene((60, 120, 120), balls=[((30, 60, 30), 14.0)], tubes=[(30, 90, 6.0)])
    evidence = NoduleDetector().examine(volume, lungs)
    assert evidence.score_map is None  # no say in whether anything was tampered with
    reading = evidence.reading
    assert reading.shown is Shown.CANCER
    first = reading.nodules[0]
    assert np.linalg.norm((np.array(first.centre_voxel_zyx) - (30, 60, 30)) * SPACING) < 5
    assert first.long_axis_mm == pytest.approx(14, abs=2.5)
    assert not any(abs(n.centre_voxel_zyx[2] - 90) < 6 for n in reading.nodules if n.decisive)


def test_empty_lung_shows_nothing_and_no_lung_says_so():
    volume, lungs = make_scene()
    assert NoduleDetector().examine(volume, lungs).reading.shown is Shown.NONE_SEEN
    nothing = NoduleDetector().examine(volume, None)
    assert nothing.reading.shown is Shown.INDETERMINATE
    assert nothing.notes[0].code == "no_lungs"


def test_a_site_beside_a_nodule_is_scored_by_it():
    model = load_model("nodule")
    volume, lungs = make_scene((60, 120, 120), balls=[((30, 60, 30), 14.0)])
    at, beside, away = score_sites(volume, lungs, [(30, 60, 30), (30, 66, 30), (30, 60, 90)], model)
    assert at > 0
    assert beside == pytest.approx(at, abs=3)
    assert away < at - 3
    assert read_nodules(volume, lungs, model).highest == pytest.approx(at, abs=3)


def test_a_lone_slice_without_a_thickness_is_read_all_the_same():
    volume, lungs = make_scene((1, 120, 120), balls=[((0, 60, 55), 14.0)])
    untold = replace(volume, spacing_mm=(0.0, 0.8, 0.8))
    reading = NoduleDetector().examine(untold, lungs).reading
    assert [round(n.centre_voxel_zyx[1]) for n in reading.nodules[:1]] == [60]


def test_the_number_of_threads_changes_nothing():
    volume, lungs = make_scene(balls=[((20, 60, 55), 14.0)], tubes=[(20, 90, 6.0)])
    one, two = (NoduleDetector().examine(volume, lungs, workers=n).reading for n in (1, 2))
    assert one.nodules == two.nodules
    np.testing.assert_array_equal(one.scores, two.scores)
