"""Rows of a card are what they are called: maps counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from detect.volumes import make_map
from training.studies import REAL_FAKES, make_sample, make_scan

from verict.datasets.scans import Label
from verict.datasets.splits import Scanner
from verict.datasets.uci import SiteType
from verict.detect.spectrum_features import ORIGIN_PX, STRIDE_PX
from verict.evaluation.case import PlaceKind, Seen
from verict.evaluation.places import tabulate_places
from verict.training.figures import Judged, make_cases, measure_cases, simulated_rows
from verict.training.phantoms import FOLDER as PHANTOM
from verict.training.samples import Place

CALIBRATION = {
    "mark_threshold": 3.0,
    "decisive_threshold": 5.0,
    "run_mark_threshold": 1.0,
    "run_decisive_threshold": 2.0,
}
GE = Scanner("ge", "a")
KINDS = (SiteType.FB, SiteType.FB, SiteType.FM, SiteType.FM)


def rows_of(rows: list[dict]) -> dict[str, dict]:
    assert len({r["name"] for r in rows}) == len(rows)
    return {r["name"]: r for r in rows}


def judge(samples, maps, fold=None, thresholds=(CALIBRATION,)) -> Judged:
    fold = np.zeros(len(samples), int) if fold is None else np.array(fold)
    return Judged(fold, dict(enumerate(maps)), list(thresholds))


def hot(*cells: tuple[int, int], score: float = 3.0) -> np.ndarray:
    values = make_map(1, 5, 5)[0]
    for row, column in cells:
        values[row, column] = score
    return values


def fakes() -> tuple[list, list, list]:
    """Four real fakes: found, missed, found decisively, and one whose place is undefined."""
    y = x = int(ORIGIN_PX + 2 * STRIDE_PX)
    undefined = make_map(1, 5, 5)[0]
    undefined[:] = np.nan
    scans = [make_scan(f"uci:{i}", GE, labels={0: (Label(kind, y, x),)}) for i, kind in enumerate(KINDS)]
    samples = [make_sample(f"uci:{i}", GE, source=REAL_FAKES, places=(Place(k, y, x),)) for i, k in enumerate(KINDS)]
    return scans, samples, [hot((2, 2)), hot((0, 4)), hot((2, 2), score=9.0), undefined]


def test_cases_hold_the_maps_and_the_thresholds_of_their_fold():
    scans, samples, maps = fakes()
    low = CALIBRATION | {"mark_threshold": 1.0}
    scans += [make_scan("run", GE, slices=3), make_scan("simulated", GE, folder=PHANTOM), make_scan("never", GE)]
    samples += [make_sample("run", GE, z=z) for z in (0, 2)] + [make_sample("simulated", GE, folder=PHANTOM)]
    samples.append(make_sample("run", GE, source="varied"))
    maps += [hot((1, 1)), hot((1, 2)), hot(), hot((4, 4), score=99.0)]
    judged = judge(samples, maps, fold=[0, 1, 0, 1, 1, 1, 0, 1], thresholds=[CALIBRATION, low])
    cases = make_cases(scans, samples, judged, 7)
    assert [c.subject.patient for c in cases] == ["uci:0", "uci:1", "uci:2", "uci:3", "run"]
    assert [c.calibration["mark_threshold"] for c in cases] == [3.0, 1.0, 3.0, 1.0, 1.0]
    assert {c.seen for c in cases} == {Seen.OUT_OF_FOLD}
    run = cases[-1].score_map.values
    np.testing.assert_array_equal(run[0], maps[4])
    np.testing.assert_array_equal(run[2], maps[5])
    assert np.isnan(run[1]).all()
    table = tabulate_places(cases).of(PlaceKind.FB, PlaceKind.FM)
    assert table.score.tolist() == [3.0, 0.0, 9.0, -np.inf]


def test_measures_count_by_hand():
    """Two series: one of three neighbouring slices with a decisive column, one of single slices with marks."""
    scans, samples, maps = fakes()
    scans.append(make_scan("run", GE, slices=3, folder="volume"))
    scans += [make_scan(f"lone{i}", GE, folder="singles") for i in range(4)]
    for z in range(3):
        samples.append(make_sample("run", GE, folder="volume", z=z))
        maps.append(hot((2, 2), score=2.5))  # no mark on a single slice, decisive in a run
    for i, values in enumerate([hot(), hot((0, 0), (2, 4)), hot((4, 4), score=6.0), hot(score=1.0)]):
        samples.append(make_sample(f"lone{i}", GE, folder="singles"))
        maps.append(values)
    rows = rows_of(measure_cases(make_cases(scans, samples, judge(samples, maps), 7), CALIBRATION))

    def told(name: str) -> tuple[float, int]:
        return rows[name]["value"], rows[name]["n"]

    assert told("found_fb") == told("found_fb_own") == (0.5, 2)
    assert told("found_fm") == (0.5, 2)
    assert told("decisive_fb") == (0.0, 2)
    assert told("decisive_fm") == (0.5, 2)
    assert told("false_marks_per_slice") == (pytest.approx(3 / 7, abs=1e-4), 7)
    assert told("false_marks_per_slice_singles") == (0.75, 4)
    assert told("false_marks_per_slice_volume") == (0.0, 3)
    assert told("suspicious_series") == (1.0, 1)
    assert told("suspicious_lone_slices") == (0.25, 4)
    assert told("indeterminate_lone_slices") == (0.25, 4)
    assert told("false_marks_by_folder") == (0.375, 2)
    assert rows["false_marks_per_slice_volume"]["interval"] is None  # one patient says nothing of others
    for row in rows.values():
        assert row["text"]
        if row["interval"] is not None:
            assert row["interval"][0] <= row["value"] <= row["interval"][1]


def test_found_is_told_at_both_thresholds():
    scans, samples, maps = fakes()
    strict = {name: 20.0 for name in CALIBRATION}
    judged = judge(samples, maps, fold=[0, 0, 0, 1], thresholds=[strict, CALIBRATION])
    rows = rows_of(measure_cases(make_cases(scans, samples, judged, 7), CALIBRATION))
    assert (rows["found_fb"]["value"], rows["found_fb_own"]["value"]) == (0.5, 0.0)


def test_each_scan_is_judged_by_the_thresholds_that_never_saw_it():
    scans = [make_scan(f"lone{i}", GE, folder="singles") for i in range(2)]
    samples = [make_sample(f"lone{i}", GE, folder="singles") for i in range(2)]
    maps = [hot((1, 1), score=4.0), hot((1, 1), score=4.0)]
    strict = {name: 20.0 for name in CALIBRATION}
    judged = judge(samples, maps, fold=[0, 1], thresholds=[strict, CALIBRATION])
    rows = rows_of(measure_cases(make_cases(scans, samples, judged, 7), CALIBRATION))
    assert (rows["false_marks_per_slice"]["value"], rows["false_marks_per_slice"]["n"]) == (0.5, 2)


FORGED = [(("inject", "white"), 4.0), (("inject", "white"), 0.0), (("remove", "zoomed"), 4.0)]


def forged_samples(folder: str) -> tuple[list, list]:
    samples, maps = [], []
    for (kind, touch_up), score in FORGED:
        place = (Place(kind, int(ORIGIN_PX), int(ORIGIN_PX)),)
        sample = make_sample("run", GE, source="forged", touch_up=touch_up, places=place, folder=folder)
        samples.append(replace(sample, kind=kind))
        maps.append(hot((0, 0), score=score))
    return samples, maps


def test_simulated_forgeries_are_counted_by_kind_and_touch_up():
    samples, maps = forged_samples("volume")
    rows = rows_of(simulated_rows(samples, judge(samples, maps), 3.0))
    found = {name: (row["value"], row["n"]) for name, row in rows.items()}
    assert found == {"simulated_inject_white": (0.5, 2), "simulated_remove_zoomed": (1.0, 1)}


def test_forgeries_on_phantoms_count_only_where_there_are_no_others():
    (samples, maps), (phantoms, phantom_maps) = forged_samples("volume"), forged_samples(PHANTOM)
    both = rows_of(simulated_rows(samples + phantoms, judge(samples + phantoms, maps + phantom_maps), 3.0))
    assert both["simulated_inject_white"]["n"] == 2
    alone = rows_of(simulated_rows(phantoms, judge(phantoms, phantom_maps), 3.0))
    assert alone["simulated_inject_white"]["n"] == 2
