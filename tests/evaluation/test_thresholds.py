"""Thresholds keep to their goals on the maps they are fitted on, and are no higher than they must be."""

from __future__ import annotations

import numpy as np
import pytest
from detect.volumes import make_evidence, make_map, make_volume
from hypothesis import given, settings
from hypothesis import strategies as st

from verict.ct.volume import CTVolume
from verict.detect.result import Verdict
from verict.detect.verdict import assess, average_along_z, find_regions
from verict.evaluation.thresholds import AuthenticMap, Goals, count_marks, fit_thresholds

GRID = (9, 11)


def lone_slices(count: int) -> CTVolume:
    return make_volume(np.arange(count) * 50.0, thickness_mm=1.0)


def peaks_of(folder: str, peaks: np.ndarray, volume: CTVolume | None = None) -> AuthenticMap:
    """A map with one hot cell a slice, at a place of its own."""
    values = make_map(len(peaks), *GRID, fill=-10)
    for z, peak in enumerate(peaks):
        values[z, (2 * z) % 9, (3 * z) % 11] = peak
    return AuthenticMap(folder, folder, volume or lone_slices(len(peaks)), values)


def random_maps(seed: int = 0) -> list[AuthenticMap]:
    rng = np.random.default_rng(seed)
    run = make_volume(40)
    values = rng.normal(size=(40, *GRID)).astype(np.float32)
    values[rng.random(values.shape) < 0.3] = np.nan
    return [
        peaks_of("singles", rng.normal(0, 2, 60)),
        peaks_of("other", rng.normal(1, 1, 30)),
        AuthenticMap("run", "run", run, values),
    ]


def mean_over_folders(maps: list[AuthenticMap], count) -> float:
    """Slices of a folder count alike, and folders count alike."""
    return float(np.mean([np.mean([count(s) for s in m.values if np.isfinite(s).any()]) for m in maps]))


@pytest.mark.parametrize("goal", [0.02, 0.05, 0.2, 0.5])
def test_marks_keep_to_the_goal_and_the_threshold_is_the_lowest_that_does(goal):
    rng = np.random.default_rng(1)
    maps = [peaks_of("a", rng.normal(0, 2, 60)), peaks_of("b", rng.normal(1, 1, 30))]
    threshold = fit_thresholds(maps, Goals(marks_per_slice=goal))["mark_threshold"]
    assert mean_over_folders(maps, lambda s: count_marks(s, threshold)) <= goal
    peaks = np.concatenate([m.values.max(axis=(1, 2)) for m in maps])
    lower = peaks[peaks < threshold].max()
    assert mean_over_folders(maps, lambda s: count_marks(s, lower)) > goal


@pytest.mark.parametrize("goal", [0.0, 0.05, 0.3])
def test_decisive_slices_keep_to_the_goal(goal):
    maps = random_maps()
    fitted = fit_thresholds(maps, Goals(marks_per_slice=2.0, decisive_slices=goal))
    assert mean_over_folders(maps, lambda s: np.nanmax(s) >= fitted["decisive_threshold"]) <= goal


@settings(max_examples=15)
@given(seed=st.integers(0, 1000))
def test_goals_are_kept_on_any_maps(seed):
    maps, goals = random_maps(seed), Goals()
    fitted = fit_thresholds(maps, goals)
    assert mean_over_folders(maps, lambda s: count_marks(s, fitted["mark_threshold"])) <= goals.marks_per_slice
    run = maps[-1]
    regions = find_regions(run.volume, make_evidence(run.values, calibration=fitted), ("",) * 40)
    assert len(regions) <= goals.run_marks_per_series
    assert fitted["mark_threshold"] <= fitted["decisive_threshold"]
    assert fitted["run_mark_threshold"] <= fitted["run_decisive_threshold"]
    assert np.isfinite(list(fitted.values())).all()


def test_no_authentic_run_decides_by_the_margin():
    maps, goals = random_maps(), Goals(run_margin=0.75)
    fitted = fit_thresholds(maps, goals)
    run = maps[-1]
    highest = np.nanmax(average_along_z(run.values, run.volume))
    assert fitted["run_decisive_threshold"] == pytest.approx(highest + 0.75, abs=1e-5)
    evidence = make_evidence(run.values, calibration=fitted)
    assert assess(run.volume, (evidence,), ("",) * 40).verdict is Verdict.NO_EVIDENCE


def test_a_noisier_scanner_raises_the_thresholds():
    maps = random_maps()
    louder = [AuthenticMap(m.folder, m.patient, m.volume, m.values + np.float32(2)) for m in maps]
    quiet, loud = fit_thresholds(maps, Goals()), fit_thresholds(louder, Goals())
    for name, value in quiet.items():
        assert loud[name] == pytest.approx(value + 2, abs=0.2)


def test_a_folder_of_many_slices_weighs_no_more_than_one_of_few():
    rng = np.random.default_rng(3)
    few, many = rng.normal(0, 1, 20), rng.normal(0, 1, 40)
    goals = Goals(marks_per_slice=0.2)
    once = fit_thresholds([peaks_of("a", few), peaks_of("b", many)], goals)["mark_threshold"]
    twice = fit_thresholds([peaks_of("a", few), peaks_of("b", np.tile(many, 5))], goals)["mark_threshold"]
    assert twice == pytest.approx(once, abs=0.25)


def test_without_runs_thresholds_are_still_whole():
    fitted = fit_thresholds([peaks_of("a", np.arange(10.0))], Goals())
    assert np.isfinite(list(fitted.values())).all()
    assert fitted["run_mark_threshold"] <= fitted["run_decisive_threshold"]


def test_order_of_maps_does_not_matter():
    maps = random_maps()
    assert fit_thresholds(maps[::-1], Goals()) == fit_thresholds(maps, Goals())


def test_marks_that_touch_count_once():
    values = np.full((8, 8), np.nan, np.float32)
    values[1, 1] = values[2, 2] = values[6, 6] = 3.0
    values[4, 4] = 2.9
    assert count_marks(values, 3.0) == 2
    assert count_marks(values, 3.1) == 0


def test_what_decides_lies_above_processed_series_too_and_the_rest_stays():
    maps, goals = random_maps(), Goals(run_margin=0.5)
    plain = fit_thresholds(maps, goals)
    run = maps[-1]
    louder = AuthenticMap("run", "run", run.volume, run.values + np.float32(3))
    fitted = fit_thresholds(maps, goals, [louder])
    highest = np.nanmax(average_along_z(louder.values, louder.volume))
    assert fitted["run_decisive_threshold"] == pytest.approx(highest + 0.5, abs=1e-5)
    assert fitted["run_doubt_threshold"] == plain["run_decisive_threshold"]
    assert {k: v for k, v in fitted.items() if k not in ("run_decisive_threshold", "run_doubt_threshold")} == {
        k: v for k, v in plain.items() if k != "run_decisive_threshold"
    }
    assert assess(louder.volume, (make_evidence(louder.values, calibration=fitted),), ("",) * 40).verdict is (
        Verdict.INDETERMINATE
    )


def test_processing_that_lowers_scores_lowers_no_threshold():
    maps, goals = random_maps(), Goals()
    run = maps[-1]
    softer = AuthenticMap("run", "run", run.volume, run.values - np.float32(3))
    fitted = fit_thresholds(maps, goals, [softer])
    assert fitted["run_decisive_threshold"] == fitted["run_doubt_threshold"]
    assert fitted["run_decisive_threshold"] == fit_thresholds(maps, goals)["run_decisive_threshold"]
