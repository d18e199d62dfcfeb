"""How rows are dealt out over scans: balanced, apart, donors within groups, and the same each time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest
from tamper.campaign.sources import make_spot, make_survey

from verict.datasets.uci import SiteType
from verict.errors import UsageError
from verict.tamper.campaign.clearance import WHOLE_SLICE_TOUCH_UPS, are_apart, is_clear
from verict.tamper.campaign.plan import (
    DIAMETERS_MM,
    ROWS_A_SCAN,
    USES_OF_A_NODULE,
    Plan,
    Wish,
    balance_rows,
    deal_groups,
    make_plan,
    order_cells,
)
from verict.tamper.forgery import ForgeryKind

BOTH = frozenset(ForgeryKind)
METHODS = {"ctgan": BOTH, "splice": BOTH, "inpaint": frozenset({ForgeryKind.REMOVE}),
           "parametric": frozenset({ForgeryKind.INJECT})}
TOUCH_UPS = ("none", "copied", "resampled")
KINDS = tuple(SiteType)


def wish(n: int = 80, seed: int = 7, methods=METHODS, touch_ups=TOUCH_UPS) -> Wish:
    return Wish(n, seed, methods, touch_ups)


@pytest.fixture(scope="module")
def surveys():
    return [make_survey(i) for i in range(12)]


@pytest.fixture(scope="module")
def plan(surveys) -> Plan:
    return make_plan(surveys, wish())


def rows_of(plan: Plan, *kinds: SiteType):
    return [row for scan in plan.scans for row in scan.rows if row.type in kinds]


def test_each_type_has_a_quarter_of_the_rows(plan):
    assert Counter(row.type for row in rows_of(plan, *KINDS)) == dict.fromkeys(KINDS, 20)
    assert plan.remarks == ()


@pytest.mark.parametrize(("n", "counts"), [(4, (1, 1, 1, 1)), (6, (2, 2, 1, 1)), (203, (51, 51, 51, 50))])
def test_rows_that_do_not_divide_by_four_are_as_even_as_can_be(n, counts):
    rows, remark = balance_rows(n, 1000)
    assert tuple(rows[kind] for kind in (SiteType.FB, SiteType.FM, SiteType.TM, SiteType.TB)) == counts
    assert remark == ""


def test_methods_and_touch_ups_are_balanced_within_what_each_method_can_do(plan):
    for kind, able in ((SiteType.FB, {"ctgan", "splice", "inpaint"}), (SiteType.FM, {"ctgan", "splice", "parametric"})):
        methods = Counter(row.method for row in rows_of(plan, kind))
        touch_ups = Counter(row.touch_up for row in rows_of(plan, kind))
        cells = Counter((row.method, row.touch_up) for row in rows_of(plan, kind))
        assert set(methods) == able
        assert set(touch_ups) == set(TOUCH_UPS)
        assert len(cells) == len(able) * len(TOUCH_UPS), "every pair has a turn"
        for counts in (methods, touch_ups, cells):
            assert max(counts.values()) - min(counts.values()) <= 1
    assert all(not row.method and not row.touch_up for row in rows_of(plan, SiteType.TM, SiteType.TB))


@pytest.mark.parametrize(("methods", "touch_ups"), [(3, 3), (6, 7), (4, 6), (1, 5), (5, 1)])
def test_no_pair_comes_twice_before_all_came_once(methods, touch_ups):
    names = [f"m{i}" for i in range(methods)], [f"t{i}" for i in range(touch_ups)]
    cells = order_cells(*names, 2 * methods * touch_ups)
    first, second = cells[: methods * touch_ups], cells[methods * touch_ups :]
    assert len(set(first)) == methods * touch_ups
    assert set(first) == set(second)


def test_rows_of_a_scan_keep_apart_and_untouched_ones_clear_of_paint(plan, surveys):
    painted = set(KINDS) - {SiteType.TM, SiteType.TB}
    shared = 0
    for scan in plan.scans:
        assert 1 <= len(scan.rows) <= ROWS_A_SCAN
        spacing_mm = surveys[scan.source].spacing_mm
        for a, b in combinations(scan.rows, 2):
            shared += 1
            if a.type in painted and b.type in painted:
                assert are_apart(a.spot.voxel, b.spot.voxel, (a.touch_up, b.touch_up), spacing_mm)
            elif a.type in painted or b.type in painted:
                paint, other = (a, b) if a.type in painted else (b, a)
                assert is_clear(other.spot.voxel, paint.spot.voxel, paint.touch_up, spacing_mm)
        assert scan.is_control == (not any(row.method for row in scan.rows))
    assert shared > 20, "scans do hold several rows"


def test_removals_and_real_nodules_lie_on_nodules_injections_and_lung_where_there_is_none(plan, surveys):
    for scan in plan.scans:
        survey = surveys[scan.source]
        for row in scan.rows:
            pool = {SiteType.FB: survey.nodules, SiteType.TM: survey.nodules, SiteType.FM: survey.plain,
                    SiteType.TB: survey.healthy}[row.type]
            assert row.spot in pool
            if row.type is SiteType.FM:
                assert DIAMETERS_MM[0] <= row.diameter_mm <= DIAMETERS_MM[1]
                assert set(row.spares) <= set(survey.plain)


def test_lung_left_alone_lies_as_deep_as_removals(surveys):
    deep = [replace(s, nodules=tuple(replace(n, place=replace(n.place, depth_mm=30.0)) for n in s.nodules))
            for s in surveys]
    rows = rows_of(make_plan(deep, wish()), SiteType.TB)
    pool = [spot.place.depth_mm for survey in deep for spot in survey.healthy]
    assert sum(abs(depth - 30) < 8 for depth in pool) < 0.6 * len(pool)
    assert sum(abs(row.spot.place.depth_mm - 30) < 8 for row in rows) > 0.9 * len(rows)


def test_the_work_is_spread_over_patients(plan, surveys):
    for kind in KINDS:
        counts = Counter(surveys[scan.source].patient for scan in plan.scans for row in scan.rows if row.type is kind)
        assert len(counts) == 12
        assert max(counts.values()) - min(counts.values()) <= 1


def test_numbers_of_scans_tell_nothing_and_are_no_two_the_same(plan):
    uuids = [int(scan.uuid) for scan in plan.scans]
    assert len(set(uuids)) == len(uuids)
    assert uuids == sorted(uuids)
    assert all(1000 <= u <= 9999 for u in uuids)
    assert [scan.source for scan in plan.scans] != sorted(scan.source for scan in plan.scans)


def test_the_same_wish_gives_the_same_plan_and_another_seed_another(plan, surveys):
    assert make_plan(surveys, wish()) == plan
    other = make_plan(surveys, wish(seed=8))
    assert other != plan
    seeds = [row.seed for row in rows_of(plan, SiteType.FB, SiteType.FM)]
    assert len(set(seeds)) == len(seeds)


def test_a_patient_is_whole_in_a_group_and_donors_come_from_it_and_never_from_the_patient():
    surveys = [make_survey(i, patient=f"p{i // 2}") for i in range(24)]  # two series each
    plan = make_plan(surveys, wish())
    of_patient: dict[str, set[int]] = {}
    for survey, group in zip(surveys, plan.groups, strict=True):
        of_patient.setdefault(survey.patient, set()).add(group)
    assert all(len(groups) == 1 for groups in of_patient.values())
    assert sorted(set(plan.groups)) == [0, 1, 2, 3, 4]
    owner = {number: i for i, s in enumerate(surveys) for numbers in s.donors.values() for number in numbers}
    painted = [(scan, row) for scan in plan.scans for row in scan.rows if row.method == "splice"]
    assert painted
    for scan, row in painted:
        kind = ForgeryKind.REMOVE if row.type is SiteType.FB else ForgeryKind.INJECT
        assert row.donors
        for number in row.donors:
            giver = owner[number]
            assert surveys[giver].patient != surveys[scan.source].patient
            assert plan.groups[giver] == plan.groups[scan.source]
            assert number in surveys[giver].donors[kind]


@pytest.mark.parametrize(("patients", "groups"), [(1, 1), (3, 1), (4, 2), (9, 4), (40, 5)])
def test_each_group_has_at_least_two_patients(patients, groups):
    dealt = deal_groups([f"p{i}" for i in range(patients)], 7)
    assert set(dealt) == set(range(groups))
    assert min(Counter(dealt).values()) >= min(2, patients)


def test_without_tissue_of_another_patient_nothing_is_spliced():
    surveys = [make_survey(0, patient="p"), make_survey(1, patient="p")]
    plan = make_plan(surveys, wish(16))
    assert "splice" not in {row.method for row in rows_of(plan, *KINDS)}
    assert plan.remarks == (
        "splice is left out for FB: no source has tissue of another patient to take",
        "splice is left out for FM: no source has tissue of another patient to take",
    )
    with pytest.raises(UsageError, match="none of the methods can remove here"):
        make_plan(surveys, wish(16, methods={"splice": BOTH}))


def test_few_nodules_are_used_again_by_other_methods_in_copies_of_their_scan(surveys):
    few = [replace(s, nodules=s.nodules[:1]) for s in surveys]
    plan = make_plan(few, wish())
    removed = Counter((scan.source, row.spot.voxel) for scan in plan.scans for row in scan.rows
                      if row.type is SiteType.FB)
    assert sum(removed.values()) == 20
    assert max(removed.values()) == 2
    by = Counter((scan.source, row.spot.voxel, row.method) for scan in plan.scans for row in scan.rows
                 if row.type is SiteType.FB)
    assert max(by.values()) == 1
    for scan in plan.scans:
        assert max(Counter(row.spot.voxel for row in scan.rows).values()) == 1
    assert plan.remarks == (
        "Too few nodules: 20 rows FB and 20 TM want one each and there are 12; each is used up to 3 times as either, "
        "in copies of its scan, by different methods",
    )


def test_where_nodules_run_out_injections_and_plain_lung_take_their_place(surveys):
    lone = [replace(s, nodules=s.nodules[: int(i == 0)]) for i, s in enumerate(surveys)]
    counts = Counter(row.type for row in rows_of(make_plan(lone, wish()), *KINDS))
    assert counts == {SiteType.FB: USES_OF_A_NODULE, SiteType.FM: 40 - USES_OF_A_NODULE,
                      SiteType.TM: USES_OF_A_NODULE, SiteType.TB: 40 - USES_OF_A_NODULE}
    none = [replace(s, nodules=()) for s in surveys]
    plan = make_plan(none, wish())
    assert Counter(row.type for row in rows_of(plan, *KINDS)) == {SiteType.FM: 40, SiteType.TB: 40}
    assert "20 rows are FM instead of FB; 20 rows are TB instead of TM" in plan.remarks[0]
    assert "there are 0" in plan.remarks[0]


def test_a_touch_up_of_whole_slices_leaves_room_for_others_only_far_along_z():
    """Places in both lungs of one slice: with touch-ups of cubes they share a scan, else each has one of its own."""
    spots = (make_spot((100, 200, 130), diameter_mm=10.0), make_spot((100, 200, 380), diameter_mm=10.0))
    survey = replace(make_survey(0), nodules=spots)
    for touch_up, scans in (("copied", 1), (next(iter(sorted(WHOLE_SLICE_TOUCH_UPS))), 2)):
        plan = make_plan([survey, make_survey(1, nodules=0)], wish(8, methods={"ctgan": BOTH}, touch_ups=(touch_up,)))
        own = {scan.uuid for scan in plan.scans for row in scan.rows if row.type is SiteType.FB}
        assert len(own) == scans
