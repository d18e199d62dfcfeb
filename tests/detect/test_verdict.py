"""From maps to regions and a verdict: trivial maps whose exact answer is known."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from detect.volumes import (
    CALIBRATION,
    DECISIVE,
    MARK,
    RUN_DECISIVE,
    RUN_MARK,
    WORDS,
    make_evidence,
    make_map,
    make_volume,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from verict.ct.volume import CTVolume
from verict.detect.evidence import Confidence, Evidence, Finding
from verict.detect.result import Verdict
from verict.detect.verdict import (
    DEPTH_MM,
    MIN_RUN_SLICES,
    NOT_WEIGHED,
    add_findings,
    assess,
    average_along_z,
    averaged_slices,
    find_regions,
)

SEVERITY = {Verdict.NO_EVIDENCE: 0, Verdict.INDETERMINATE: 1, Verdict.SUSPICIOUS: 2}
NAN = np.nan


def judge(volume: CTVolume, *evidence: Evidence):
    return assess(volume, evidence, volume.sop_instance_uids)


def header_evidence(confidence: Confidence) -> Evidence:
    return Evidence("header", findings=(Finding("code", "two writers", "because", confidence),))


def average_by_hand(values: np.ndarray, volume: CTVolume) -> np.ndarray:
    """The rule of `average_along_z`, cell by cell."""
    out = values.copy()
    for run in volume.runs:
        size = averaged_slices(volume, run)
        if size == 1:
            continue
        for z in range(run.start, run.stop):
            window = values[max(run.start, z - size // 2) : min(run.stop, z + size // 2 + 1)]
            for row, column in np.ndindex(*values.shape[1:]):
                cells = window[:, row, column]
                cells = cells[np.isfinite(cells)]
                enough = np.isfinite(values[z, row, column]) and 2 * len(cells) >= size
                out[z, row, column] = cells.astype(float).mean() if enough else NAN
    return out


# --- averaging along z ---


@pytest.mark.parametrize(
    ("step_mm", "count", "size"),
    [(1, 60, 13), (1, 13, 11), (1, 5, 3), (1, 3, 3), (1, 2, 1), (1, 1, 1), (2.5, 60, 5), (5, 60, 3), (8, 30, 3)],
)
def test_depth_is_averaged_over_as_many_slices_as_it_holds(step_mm, count, size):
    volume = make_volume(np.arange(count) * step_mm, thickness_mm=step_mm)
    assert averaged_slices(volume, volume.runs[0]) == size


@pytest.mark.parametrize("count", [3, 4, 7, 12, 13, 14, 40])
def test_constant_map_stays_constant(count):
    volume = make_volume(count)
    averaged = average_along_z(make_map(count, fill=1.25), volume)
    np.testing.assert_allclose(averaged, 1.25, rtol=1e-6)


def test_average_of_one_hot_slice_is_exact_in_the_middle_and_at_the_ends():
    volume = make_volume(40)
    values = make_map(40)
    values[20, 4, 5] = 13.0
    values[0, 1, 1] = 14.0
    averaged = average_along_z(values, volume)
    np.testing.assert_allclose(averaged[14:27, 4, 5], 1.0, rtol=1e-5)
    assert not averaged[[13, 27], 4, 5].any()
    np.testing.assert_allclose(averaged[:7, 1, 1], [14 / n for n in range(7, 14)], rtol=1e-5)
    assert averaged[7, 1, 1] == 0


def test_average_never_crosses_a_gap():
    volume = make_volume([*range(20), *range(30, 50)])
    values = make_map(40)
    values[:20] = 10.0
    averaged = average_along_z(values, volume)
    np.testing.assert_allclose(averaged[:20], 10, rtol=1e-6)
    assert not averaged[20:].any()


def test_runs_of_two_and_lone_slices_keep_their_own_map():
    volume = make_volume([0, 1, 10, 20, 21, 22], thickness_mm=1.0)
    assert [r.stop - r.start for r in volume.runs] == [2, 1, 3]
    values = np.random.default_rng(0).normal(size=(6, 9, 11)).astype(np.float32)
    averaged = average_along_z(values, volume)
    np.testing.assert_array_equal(averaged[:3], values[:3])
    np.testing.assert_allclose(averaged[4], values[3:].mean(axis=0), rtol=1e-4, atol=1e-6)


def test_undefined_cells_stay_undefined_and_do_not_count():
    volume = make_volume(40)
    values = make_map(40, fill=2.0)
    values[10:12, 3, 3] = NAN  # a short hole: the slices around it are still judged
    values[5:, 6, 6] = NAN  # too few slices to average
    averaged = average_along_z(values, volume)
    assert np.isnan(averaged[10:12, 3, 3]).all()
    np.testing.assert_allclose(np.delete(averaged[:, 3, 3], [10, 11]), 2.0, rtol=1e-6)
    assert np.isnan(averaged[:, 6, 6]).all()


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), steps=st.lists(st.sampled_from([1.0, 1.0, 1.0, 4.0]), min_size=0, max_size=24))
def test_average_follows_the_rule_cell_by_cell(seed, steps):
    volume = make_volume(np.concatenate([[0.0], np.cumsum(steps)]), thickness_mm=1.0)
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(len(steps) + 1, 2, 3)).astype(np.float32)
    values[rng.random(values.shape) < 0.2] = NAN
    np.testing.assert_allclose(
        average_along_z(values, volume), average_by_hand(values, volume), rtol=1e-4, atol=1e-5, equal_nan=True
    )


# --- regions ---


def test_one_column_of_hot_cells_is_one_region_at_its_place():
    volume = make_volume(40)
    values = make_map(40)
    values[10:25, 4, 5] = 4.0  # 15 slices: the inner three reach 4, the average falls to both sides
    (region,) = find_regions(volume, make_evidence(values), volume.sop_instance_uids)
    averaged = average_by_hand(values, volume)[:, 4, 5]
    marked = np.flatnonzero(averaged >= RUN_MARK)
    assert region.slices == tuple(marked)
    assert region.centre_voxel_zyx == (17.0, 15.5 + 4 * 8, 15.5 + 5 * 8)
    assert region.bounds == (marked[0], marked[-1], 44, 51, 52, 59)
    assert region.extent_mm == pytest.approx((len(marked), 8 * 0.7, 8 * 0.7))
    assert region.score == pytest.approx(4.0, rel=1e-5)
    assert 16 <= region.peak_slice <= 18
    assert region.decisive
    assert region.sop_instance_uids == tuple(f"1.2.3.{z}" for z in marked)
    assert region.detector == "spectrum"
    assert region.evidence.startswith(WORDS)
    assert f"on {len(marked)} slices" in region.evidence


def test_peak_slice_is_the_slice_of_the_highest_average():
    volume = make_volume([0.0, 10.0, 20.0], thickness_mm=1.0)
    values = make_map(3)
    values[1, 2, 2], values[2, 2, 2] = MARK, MARK + 1
    regions = find_regions(volume, make_evidence(values), volume.sop_instance_uids)
    assert [(r.peak_slice, r.score, r.slices) for r in regions] == [(2, MARK + 1, (2,)), (1, MARK, (1,))]


def test_centre_is_the_mean_of_the_marked_cells_weighted_alike():
    volume = make_volume(1)
    values = make_map(1)
    values[0, 2, 3], values[0, 2, 4], values[0, 3, 4] = 3.5, 9.0, 3.0
    (region,) = find_regions(volume, make_evidence(values), volume.sop_instance_uids)
    assert region.centre_voxel_zyx == pytest.approx((0, 15.5 + 8 * 7 / 3, 15.5 + 8 * 11 / 3))
    assert region.bounds == (0, 0, 28, 43, 36, 51)
    assert region.score == 9.0
    assert "on one slice" in region.evidence


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 10), (8, 0), (8, 10)])
def test_hot_cell_at_the_edge_of_the_map_stays_in_the_image(row, column):
    volume = make_volume(1)
    values = make_map(1)
    values[0, row, column] = MARK
    (region,) = find_regions(volume, make_evidence(values), volume.sop_instance_uids)
    z0, z1, y0, y1, x0, x1 = region.bounds
    assert (z0, z1, y1 - y0, x1 - x0) == (0, 0, 7, 7)
    assert 0 <= y0 <= y1 < 96
    assert 0 <= x0 <= x1 < 112
    assert y0 <= region.centre_voxel_zyx[1] <= y1


def test_nan_border_neither_marks_nor_hides():
    volume = make_volume(20)
    values = make_map(20, fill=NAN)
    values[:, 3:6, 3:6] = 0.0
    values[:, 3, 3] = RUN_DECISIVE  # at the border of what is defined
    (region,) = find_regions(volume, make_evidence(values), volume.sop_instance_uids)
    assert region.score == pytest.approx(RUN_DECISIVE, rel=1e-6)
    assert region.slices == tuple(range(20))


def test_cells_that_touch_by_a_corner_or_along_z_are_one_region_others_are_not():
    volume = make_volume(20)
    values = make_map(20)
    values[:, 2, 2] = values[:, 3, 3] = 4.0
    values[:, 6, 8] = 3.0
    regions = find_regions(volume, make_evidence(values), volume.sop_instance_uids)
    assert [r.score for r in regions] == pytest.approx([4.0, 3.0], rel=1e-5)
    assert regions[0].centre_voxel_zyx == pytest.approx((9.5, 15.5 + 20, 15.5 + 20))


def test_a_region_ends_at_a_gap():
    volume = make_volume([*range(20), *range(40, 60)])
    values = make_map(40, fill=0)
    values[:, 4, 4] = 4.0
    regions = find_regions(volume, make_evidence(values), volume.sop_instance_uids)
    assert sorted(r.slices for r in regions) == [tuple(range(20)), tuple(range(20, 40))]
    assert {r.extent_mm[0] for r in regions} == {20.0}


def test_decisive_regions_come_first_then_the_highest():
    volume = make_volume([*range(20), 50], thickness_mm=1.0)
    values = make_map(21)
    values[:20, 1, 1] = RUN_DECISIVE  # decisive in a run at 2
    values[20, 5, 5] = DECISIVE - 0.5  # higher, but not decisive on a lone slice
    values[20, 1, 8] = MARK
    regions = find_regions(volume, make_evidence(values), volume.sop_instance_uids)
    assert [(r.decisive, round(r.score, 3)) for r in regions] == [(True, 2.0), (False, 4.5), (False, 3.0)]


@pytest.mark.parametrize("lone", [True, False])
def test_thresholds_count_as_reached(lone):
    volume = make_volume(1) if lone else make_volume(20)
    mark, decisive = (MARK, DECISIVE) if lone else (RUN_MARK, RUN_DECISIVE)

    def regions(score):
        values = make_map(volume.slice_count)
        values[:, 4, 4] = score
        return find_regions(volume, make_evidence(values), volume.sop_instance_uids)

    below = np.float32(mark) * np.float32(1 - 1e-4)
    assert regions(below) == ()
    assert [r.decisive for r in regions(mark)] == [False]
    assert [r.decisive for r in regions(decisive * (1 - 1e-4))] == [False]
    assert [r.decisive for r in regions(decisive)] == [True]


def test_each_frame_of_one_file_names_the_file_once():
    volume = make_volume(20)
    values = make_map(20)
    values[:, 4, 4] = 4.0
    (region,) = find_regions(volume, make_evidence(values), ("1.2.9",) * 20)
    assert region.sop_instance_uids == ("1.2.9",)


def test_no_map_no_card_no_region():
    volume = make_volume(3)
    assert find_regions(volume, Evidence("header"), volume.sop_instance_uids) == ()


@pytest.mark.parametrize("shear", [0.0, 0.25])
@pytest.mark.parametrize("turn_deg", [0.0, 33.0])
def test_centre_in_patient_mm_by_hand(shear, turn_deg):
    c, s = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    across, down = np.array([c, s, 0.0]), np.array([0.0, 0.0, -1.0])  # a coronal-like plane, turned about z
    volume = make_volume(
        np.arange(30) * 2.0, pixel_mm=(0.8, 0.6), shear=shear, row_direction=across, column_direction=down
    )
    values = make_map(30)
    values[8:19, 5, 2] = 4.0
    (region,) = find_regions(volume, make_evidence(values), volume.sop_instance_uids)
    z, y, x = region.centre_voxel_zyx
    assert (y, x) == (15.5 + 40, 15.5 + 16)
    expected = (  # the normal is (c, s, 0) x (0, 0, -1) = (-s, c, 0)
        -20.0 - s * 2 * z + c * x * 0.6,
        30.0 + c * 2 * z + s * x * 0.6,
        -100.0 - 2 * z * shear - y * 0.8,
    )
    assert region.centre_mm_lps == pytest.approx(expected, abs=1e-9)


# --- the verdict of a series ---


def hot(volume: CTVolume, score: float) -> Evidence:
    values = make_map(volume.slice_count)
    values[:, 4, 4] = score
    return make_evidence(values)


LONE, PAIR, RUN = [0.0], [0.0, 1.0], [float(z) for z in range(20)]
LONES = [float(z * 20) for z in range(5)]


@pytest.mark.parametrize(
    ("positions", "score", "verdict"),
    [
        (RUN, 0.0, Verdict.NO_EVIDENCE),
        (RUN, RUN_MARK, Verdict.NO_EVIDENCE),  # marked, listed, and by the rule not decisive
        (RUN, RUN_DECISIVE, Verdict.SUSPICIOUS),
        (RUN, RUN_DECISIVE - 0.1, Verdict.NO_EVIDENCE),
        (LONE, RUN_DECISIVE, Verdict.NO_EVIDENCE),
        (LONE, MARK, Verdict.INDETERMINATE),
        (LONE, DECISIVE, Verdict.SUSPICIOUS),
        (PAIR, MARK, Verdict.INDETERMINATE),
        (PAIR, DECISIVE, Verdict.SUSPICIOUS),
        (LONES, MARK, Verdict.INDETERMINATE),
        (LONES, RUN_MARK, Verdict.NO_EVIDENCE),
    ],
)
def test_verdict_of_one_place(positions, score, verdict):
    volume = make_volume(positions, thickness_mm=1.0)
    assessment = judge(volume, hot(volume, score))
    assert assessment.verdict is verdict
    assert assessment.score == pytest.approx(score, rel=1e-5)


def test_marks_on_a_lone_slice_beside_a_run_are_indeterminate():
    volume = make_volume([*range(20), 50], thickness_mm=1.0)
    values = make_map(21)
    values[20, 4, 4] = MARK
    assessment = judge(volume, make_evidence(values))
    assert assessment.verdict is Verdict.INDETERMINATE
    assert "single slices" in assessment.reason


def test_marks_that_do_not_decide_are_not_called_nothing():
    volume = make_volume(20)
    assessment = judge(volume, hot(volume, RUN_MARK))
    assert (assessment.verdict, len(assessment.regions)) == (Verdict.NO_EVIDENCE, 1)
    assert "nothing found" not in assessment.reason
    assert "does not prove the scan authentic" in assessment.reason


def test_without_a_scored_slice_nothing_is_known():
    volume = make_volume(5)
    assessment = judge(volume, make_evidence(make_map(5, fill=NAN)))
    assert (assessment.verdict, assessment.score) == (Verdict.INDETERMINATE, None)
    assert "lung" in assessment.reason


@pytest.mark.parametrize("confidence", list(Confidence))
@pytest.mark.parametrize("with_pixels", [True, False])
def test_headers_alone_never_go_beyond_indeterminate(confidence, with_pixels):
    volume = make_volume(20)
    evidence = [header_evidence(confidence)] * 50
    evidence += [hot(volume, 0.0)] if with_pixels else []
    expected = Verdict.INDETERMINATE if confidence is Confidence.CONTRADICTION else Verdict.NO_EVIDENCE
    assessment = judge(volume, *evidence)
    assert assessment.verdict is expected
    if expected is Verdict.INDETERMINATE:
        assert "two writers" in assessment.reason


def test_decisive_pixels_beat_a_contradiction_and_marks_do_not():
    volume = make_volume(20)
    contradiction = header_evidence(Confidence.CONTRADICTION)
    assert judge(volume, contradiction, hot(volume, RUN_DECISIVE)).verdict is Verdict.SUSPICIOUS
    assert judge(volume, contradiction, hot(volume, RUN_MARK)).verdict is Verdict.INDETERMINATE


def test_reason_counts_places():
    volume = make_volume(20)
    values = make_map(20)
    values[:, 1, 1] = 4.0
    assert "one place" in judge(volume, make_evidence(values)).reason
    values[:, 7, 9] = 4.0
    assert "2 places" in judge(volume, make_evidence(values)).reason


@pytest.mark.parametrize("before", list(Verdict))
def test_only_contradictions_count_and_never_beyond_indeterminate(before):
    findings = {c: Finding("code", "two writers", "why", c) for c in Confidence}
    harmless = [findings[Confidence.NOTABLE], findings[Confidence.UNUSUAL]] * 50
    assert add_findings(before, "as before", ()) == add_findings(before, "as before", harmless) == (before, "as before")
    after, reason = add_findings(before, "as before", list(findings.values()) * 50)
    assert after is (before if before is Verdict.SUSPICIOUS else Verdict.INDETERMINATE)
    assert ("two writers" in reason) == (before is not Verdict.SUSPICIOUS)


def test_regions_of_several_detectors_are_ranked_together():
    volume = make_volume(20)
    weak, strong = make_map(20), make_map(20)
    weak[:, 1, 1], weak[:, 7, 9] = RUN_MARK, 3.0
    strong[:, 4, 4], strong[:, 1, 9] = 1.5, 4.0
    # A detector of other thresholds: its 4.0 does not decide, so it comes after every region that does.
    high = CALIBRATION | {"run_decisive_threshold": 9.0}
    one, other = make_evidence(weak), make_evidence(strong, detector="repeat", calibration=high)
    for order in ((one, other), (other, one)):
        regions = judge(volume, *order).regions
        assert [(r.detector, round(r.score, 3)) for r in regions] == [
            ("spectrum", 3.0), ("repeat", 4.0), ("repeat", 1.5), ("spectrum", 1.0)
        ]


@pytest.mark.parametrize(
    ("score", "verdict"),
    [(RUN_MARK, Verdict.NO_EVIDENCE), (2.49, Verdict.NO_EVIDENCE), (2.5, Verdict.INDETERMINATE),
     (3.99, Verdict.INDETERMINATE), (4.0, Verdict.SUSPICIOUS)],
)  # fmt: skip
def test_what_only_processed_series_reach_stays_open_with_the_reason(score, verdict):
    volume = make_volume(20)
    doubting = CALIBRATION | {"run_doubt_threshold": 2.5, "run_decisive_threshold": 4.0}
    values = make_map(20)
    values[:, 4, 4] = score
    assessment = judge(volume, make_evidence(values, calibration=doubting))
    assert assessment.verdict is verdict
    assert ("smoothing or turning a whole series" in assessment.reason) == (verdict is Verdict.INDETERMINATE)
    assert [r.decisive for r in assessment.regions] == [verdict is Verdict.SUSPICIOUS]


def test_without_any_detector_nothing_is_known():
    assessment = judge(make_volume(5))
    assert (assessment.verdict, assessment.reason) == (Verdict.INDETERMINATE, "no detector of tampering was run")


def test_without_a_pixel_detector_the_reason_says_so():
    assessment = judge(make_volume(5), header_evidence(Confidence.NOTABLE))
    assert assessment.verdict is Verdict.NO_EVIDENCE
    assert assessment.reason == "no contradiction found by header; no pixel detector was run"
    assert assessment.score is None


@pytest.mark.parametrize("positions", [LONE, PAIR, RUN])
@pytest.mark.parametrize("score", [NAN, 0.0, RUN_MARK, RUN_DECISIVE, MARK, DECISIVE])
@pytest.mark.parametrize("confidence", [None, *Confidence])
def test_no_reason_calls_a_scan_authentic(positions, score, confidence):
    volume = make_volume(positions, thickness_mm=1.0)
    evidence = [make_evidence(make_map(len(positions), fill=score))]
    evidence += [header_evidence(confidence)] if confidence else []
    reason = judge(volume, *evidence).reason
    for sentence in reason.lower().split(";"):
        assert not any(word in sentence for word in ("genuine", "untampered", "real scan", "safe"))
        if "authentic" in sentence:
            assert "not prove" in sentence


def test_a_cube_in_depth_outweighs_chance_on_single_slices():
    """The sense of averaging: a weak mark in many slices decides, a strong one in a single slice does not."""
    volume = make_volume(60)
    chance, cube = make_map(60), make_map(60)
    chance[30, 4, 4] = 12.0
    cube[10:52, 4, 4] = 2.1
    assert judge(volume, make_evidence(chance)).verdict is Verdict.NO_EVIDENCE
    assert judge(volume, make_evidence(cube)).verdict is Verdict.SUSPICIOUS
    assert DEPTH_MM < 42 / 3
    assert MIN_RUN_SLICES == 3


MAPS = st.tuples(st.integers(0, 10_000), st.floats(0.2, 4.0))
POSITIONS = st.sampled_from([LONE, PAIR, LONES, RUN[:8], [0, 1, 2, 3, 20, 40, 41]])


def random_map(count: int, seed: int, spread: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=(count, 4, 5)) * spread).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = NAN
    return values


@settings(max_examples=40)
@given(first=MAPS, second=MAPS, positions=POSITIONS, confidence=st.sampled_from([None, *Confidence]))
def test_order_of_detectors_does_not_change_the_verdict(first, second, positions, confidence):
    volume = make_volume(positions, size=(56, 64), thickness_mm=1.0)
    other = {name: value + 0.5 for name, value in CALIBRATION.items()}
    evidence = [
        make_evidence(random_map(len(positions), *first)),
        make_evidence(random_map(len(positions), *second), detector="other", calibration=other),
        *([header_evidence(confidence)] if confidence else []),
    ]
    outcomes = [judge(volume, *order) for order in permutations(evidence)]
    assert len({o.verdict for o in outcomes}) == 1
    assert len({o.score for o in outcomes}) == 1
    regions = [sorted((r.detector, r.centre_voxel_zyx, r.score, r.decisive) for r in o.regions) for o in outcomes]
    assert all(r == regions[0] for r in regions)


@settings(max_examples=60)
@given(
    drawn=MAPS,
    positions=POSITIONS,
    where=st.tuples(st.integers(0, 100), st.integers(0, 3), st.integers(0, 4)),
    raised=st.floats(0.01, 20),
    confidence=st.sampled_from([None, Confidence.CONTRADICTION]),
)
def test_raising_a_cell_never_lowers_the_verdict(drawn, positions, where, raised, confidence):
    volume = make_volume(positions, size=(56, 64), thickness_mm=1.0)
    values = random_map(len(positions), *drawn)
    more = values.copy()
    more[where[0] % len(positions), where[1], where[2]] += raised
    headers = (header_evidence(confidence),) if confidence else ()
    before, after = (judge(volume, make_evidence(v), *headers) for v in (values, more))
    assert SEVERITY[after.verdict] >= SEVERITY[before.verdict]
    assert after.score is None or before.score is None or after.score >= before.score - 1e-5


@pytest.mark.parametrize("thickness_mm", [5.0, 1.25])
def test_a_lone_slice_is_as_deep_as_it_is_thick(thickness_mm):
    volume = make_volume([0.0, 50.0, 100.0], thickness_mm=thickness_mm)
    values = make_map(3)
    values[1, 4, 4] = MARK
    (region,) = find_regions(volume, make_evidence(values), volume.sop_instance_uids)
    assert region.extent_mm[0] == thickness_mm


# --- noise like that of no scan the thresholds were fitted on ---


@pytest.mark.parametrize(
    ("score", "before", "after"),
    [
        (RUN_DECISIVE + 1, Verdict.SUSPICIOUS, Verdict.INDETERMINATE),
        (RUN_MARK, Verdict.NO_EVIDENCE, Verdict.INDETERMINATE),
        (0.0, Verdict.NO_EVIDENCE, Verdict.NO_EVIDENCE),
        (NAN, Verdict.INDETERMINATE, Verdict.INDETERMINATE),
    ],
)
def test_misfits_make_what_is_marked_indeterminate_and_hide_nothing(score, before, after):
    volume = make_volume(20)
    values = make_map(20, fill=NAN if np.isnan(score) else 0.0)
    values[:, 4, 4] = score
    evidence = make_evidence(values)
    plain = judge(volume, evidence)
    doubted = assess(volume, (evidence,), volume.sop_instance_uids, ("too flat",))
    assert (plain.verdict, doubted.verdict) == (before, after)
    assert SEVERITY[doubted.verdict] >= min(SEVERITY[before], SEVERITY[Verdict.INDETERMINATE])
    assert "too flat" in doubted.reason
    assert doubted.score == plain.score
    assert [(r.bounds, r.score, r.decisive) for r in doubted.regions] == [
        (r.bounds, r.score, r.decisive) for r in plain.regions
    ]
    assert doubted.p_value is None
    assert all(r.likelihood_ratio is None and r.ratio_reason == NOT_WEIGHED for r in doubted.regions)


def test_misfits_say_nothing_where_no_pixels_were_judged_and_never_outdo_the_headers():
    volume = make_volume(20)
    header = header_evidence(Confidence.CONTRADICTION)
    alone = assess(volume, (header,), volume.sop_instance_uids, ("too flat",))
    assert alone == judge(volume, header)
    values = make_map(20)
    values[:, 4, 4] = RUN_DECISIVE
    both = assess(volume, (header, make_evidence(values)), volume.sop_instance_uids, ("too flat",))
    assert both.verdict is Verdict.INDETERMINATE
    assert both.reason.startswith("the headers contradict themselves")


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), misfits=st.lists(st.text(min_size=1), max_size=3))
def test_misfits_never_make_a_verdict_less_severe_than_indeterminate(seed, misfits):
    volume = make_volume([*range(12), 40], thickness_mm=1.0)
    values = np.random.default_rng(seed).normal(0, 1.5, (13, 9, 11)).astype(np.float32)
    evidence = make_evidence(values)
    before = judge(volume, evidence).verdict
    after = assess(volume, (evidence,), volume.sop_instance_uids, tuple(misfits)).verdict
    assert SEVERITY[after] >= min(SEVERITY[before], SEVERITY[Verdict.INDETERMINATE])
    assert not misfits or after is not Verdict.SUSPICIOUS
