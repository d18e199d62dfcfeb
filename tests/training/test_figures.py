"""Figures are what they are called: hand-counted maps, and a cheat that reads brightness shows as one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from detect.volumes import make_map
from training.studies import AUTHENTIC, REAL_FAKES, make_sample, make_scan

from verict.datasets.splits import Scanner
from verict.detect.spectrum_features import ORIGIN_PX, STRIDE_PX
from verict.training.figures import Judged, Places, collect_places, location_figures, measure, score_at
from verict.training.samples import Place

CALIBRATION = {
    "mark_threshold": 3.0,
    "decisive_threshold": 5.0,
    "run_mark_threshold": 1.0,
    "run_decisive_threshold": 2.0,
}
SPACING = (0.7, 0.7)


def rows_of(rows: list[dict]) -> dict[str, dict]:
    assert len({r["name"] for r in rows}) == len(rows)
    return {r["name"]: r for r in rows}


def make_places(score: str, seed: int = 0) -> Places:
    """Removed cancers a little brighter than lung, injected ones than bright sites, as on the real fakes."""
    rng = np.random.default_rng(seed)
    kinds = np.repeat(["FB", "FM", "parenchyma", "bright"], [34, 21, 100, 100])
    level = {"FB": -760, "FM": -150, "parenchyma": -820, "bright": -300}
    centre = np.array([level[k] for k in kinds]) + rng.normal(0, 80, len(kinds))
    painted = np.isin(kinds, ["FB", "FM"])
    scores = {
        "brightness": centre,
        "perfect": np.where(painted, 10.0, -10.0),
        "nothing": np.full(len(kinds), -np.inf),
        "chance": rng.normal(size=len(kinds)),
    }
    patients = np.array([f"p{i % 40}" for i in range(len(kinds))])
    return Places(kinds, scores[score], centre, patients, np.zeros(len(kinds)), np.full(len(kinds), 5.0))


# --- one place ---


def test_score_of_a_place_is_the_highest_cell_within_its_reach():
    values = np.full((12, 12), -5.0, np.float32)
    values[5, 5], values[5, 7], values[9, 9] = 1.0, 2.0, 9.0
    y = x = ORIGIN_PX + 5 * STRIDE_PX
    assert score_at(values, SPACING, y, x) == 1.0  # two cells away is 11.2 mm
    assert score_at(values, (0.6, 0.6), y, x) == 2.0  # and 9.6 mm here
    assert score_at(values, (0.7, 0.6), y, x) == 2.0
    assert score_at(values, (0.6, 0.7), y, x) == 1.0


def test_score_of_an_undefined_place_is_the_lowest():
    values = np.full((12, 12), np.nan, np.float32)
    assert score_at(values, SPACING, 50, 50) == -np.inf
    assert score_at(values, SPACING, 5000, 50) == -np.inf
    values[5, 5] = 3.0
    assert score_at(values, SPACING, 55, 55) == 3.0


# --- the location protocol ---


def test_a_detector_that_reads_brightness_is_worth_what_content_alone_is():
    """The cheat must show: its figure is the content-only row's, to the digit."""
    rows = rows_of(location_figures(make_places("brightness"), 0.0))
    for kind in ("fm", "fb"):
        own, content = rows[f"auc_{kind}"], rows[f"auc_{kind}_content_only"]
        assert (own["value"], own["interval"], own["n"]) == (content["value"], content["interval"], content["n"])
        assert 0.5 < own["value"] < 0.999


def test_content_only_at_the_same_rate_finds_what_the_cheat_finds():
    places = make_places("brightness")
    limit = np.sort(places.centre_hu[places.kind == "bright"])[-6] + 1e-6  # five bright sites marked
    rows = rows_of(location_figures(places, float(limit)))
    assert rows["false_fm"]["value"] == 0.05
    assert rows["found_fm"]["value"] == rows["found_fm_content_only"]["value"]


def test_a_perfect_detector_is_perfect_and_content_alone_is_not():
    rows = rows_of(location_figures(make_places("perfect"), 0.0))
    for kind, n in (("fb", 34), ("fm", 21)):
        assert rows[f"auc_{kind}"]["value"] == rows[f"found_{kind}"]["value"] == 1.0
        assert rows[f"false_{kind}"]["value"] == 0.0
        assert rows[f"found_{kind}"]["n"] == rows[f"auc_{kind}"]["n"] == n
        assert rows[f"auc_{kind}_content_only"]["value"] < 1.0


def test_chance_is_half_and_a_blind_detector_no_better():
    for score in ("chance", "nothing"):
        rows = rows_of(location_figures(make_places(score), 0.0))
        for kind in ("fb", "fm"):
            low, high = rows[f"auc_{kind}"]["interval"]
            assert low <= 0.5 <= high
    blind = rows_of(location_figures(make_places("nothing"), 0.0))
    assert blind["found_fb"]["value"] == blind["false_fb"]["value"] == 0.0


def test_found_is_told_at_both_thresholds():
    places = make_places("perfect")
    rows = rows_of(location_figures(replace(places, threshold=np.full(len(places.kind), 11.0)), 10.0))
    assert rows["found_fb"]["value"] == rows["decisive_fb"]["value"] == 1.0  # reached is found
    assert rows["found_fb_own"]["value"] == 0.0


# --- the whole study ---


def judge(samples, maps, fold=None, thresholds=(CALIBRATION,)) -> Judged:
    fold = np.zeros(len(samples), int) if fold is None else np.array(fold)
    return Judged(fold, dict(enumerate(maps)), list(thresholds))


def hot(*cells: tuple[int, int], score: float = 3.0) -> np.ndarray:
    values = make_map(1, 5, 5)[0]
    for row, column in cells:
        values[row, column] = score
    return values


def fakes() -> tuple[list, list]:
    """Four real fakes' slices: found, missed, found, and one whose place is undefined."""
    ge = Scanner("ge", "a")
    y, x = (int(ORIGIN_PX + i * STRIDE_PX) for i in (2, 2))
    far = Place("parenchyma", int(ORIGIN_PX), int(ORIGIN_PX), -800.0), Place("bright", int(ORIGIN_PX), 47, -300.0)
    kinds = ("FB", "FB", "FM", "FM")
    samples = [
        make_sample(f"uci:{i}", ge, source=REAL_FAKES, places=(Place(kind, y, x, -500.0), *far))
        for i, kind in enumerate(kinds)
    ]
    undefined = make_map(1, 5, 5)[0]
    undefined[:] = np.nan
    return samples, [hot((2, 2)), hot((0, 4)), hot((2, 2), score=9.0), undefined]


def test_places_are_those_of_the_real_fakes_each_with_its_folds_threshold():
    samples, maps = fakes()
    samples.append(make_sample("a", Scanner("ge", "a"), places=(Place("bright", 20, 20),)))
    low = CALIBRATION | {"mark_threshold": 1.0}
    judged = judge(samples, [*maps, hot()], fold=[0, 1, 0, 1, 0], thresholds=[CALIBRATION, low])
    places = collect_places(samples, judged)
    assert places.kind.tolist() == [k for kind in ("FB", "FB", "FM", "FM") for k in (kind, "parenchyma", "bright")]
    assert places.score[::3].tolist() == [3.0, 0.0, 9.0, -np.inf]
    assert places.threshold[::3].tolist() == [3.0, 1.0, 3.0, 1.0]
    assert places.patient[::3].tolist() == [f"uci:{i}" for i in range(4)]


def test_measures_count_by_hand():
    """Two series: one of three neighbouring slices with a decisive column, one of single slices with marks."""
    samples, maps = fakes()
    ge = Scanner("ge", "a")
    scans = [make_scan("run", ge, slices=3, folder="volume")]
    scans += [make_scan(f"lone{i}", ge, folder="singles") for i in range(4)]
    for z in range(3):
        samples.append(make_sample("run", ge, folder="volume", z=z))
        maps.append(hot((2, 2), score=2.5))  # no mark on a single slice, decisive in a run
    for i, values in enumerate([hot(), hot((0, 0), (2, 4)), hot((4, 4), score=6.0), hot(score=1.0)]):
        samples.append(make_sample(f"lone{i}", ge, folder="singles"))
        maps.append(values)
    forged = [(("inject", "white"), 4.0), (("inject", "white"), 0.0), (("remove", "zoomed"), 4.0)]
    for (kind, touch_up), score in forged:
        place = (Place(kind, int(ORIGIN_PX), int(ORIGIN_PX)),)
        sample = make_sample("run", ge, source="forged", touch_up=touch_up, places=place)
        samples.append(replace(sample, kind=kind))
        maps.append(hot((0, 0), score=score))
    rows = rows_of(measure(scans, samples, judge(samples, maps), CALIBRATION))

    def told(name: str) -> tuple[float, int]:
        return rows[name]["value"], rows[name]["n"]

    assert told("found_fb") == (0.5, 2)
    assert told("found_fm") == (0.5, 2)
    assert told("false_fb") == (0.0, 4)
    assert told("false_fm") == (0.25, 4)
    assert told("false_marks_per_slice") == (pytest.approx(3 / 7, abs=1e-4), 7)
    assert told("false_marks_per_slice_singles") == (0.75, 4)
    assert told("false_marks_per_slice_volume") == (0.0, 3)
    assert told("suspicious_series") == (1.0, 1)
    assert told("suspicious_lone_slices") == (0.25, 4)
    assert told("simulated_inject_white") == (0.5, 2)
    assert told("simulated_remove_zoomed") == (1.0, 1)
    assert told("indeterminate_lone_slices") == (0.25, 4)
    assert told("false_marks_by_folder") == (0.375, 2)
    assert told("false_regions_per_series") == (1.0, 1)
    assert rows["false_marks_per_slice_volume"]["interval"] is None  # one patient says nothing of others
    for row in rows.values():
        assert row["text"]
        if row["interval"] is not None:
            assert row["interval"][0] <= row["value"] <= row["interval"][1]


def test_each_scan_is_judged_by_the_thresholds_that_never_saw_it():
    samples, maps = fakes()
    ge = Scanner("ge", "a")
    scans = [make_scan(f"lone{i}", ge, folder="singles") for i in range(2)]
    samples += [make_sample(f"lone{i}", ge, folder="singles") for i in range(2)]
    maps += [hot((1, 1), score=4.0), hot((1, 1), score=4.0)]
    strict = {name: 20.0 for name in CALIBRATION}
    judged = judge(samples, maps, fold=[0, 0, 0, 0, 0, 1], thresholds=[strict, CALIBRATION])
    rows = rows_of(measure(scans, samples, judged, CALIBRATION))
    assert (rows["false_marks_per_slice"]["value"], rows["false_marks_per_slice"]["n"]) == (0.5, 2)
    assert samples[-1].source == AUTHENTIC
