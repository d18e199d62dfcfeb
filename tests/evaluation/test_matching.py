"""Matches by hand: who is whose, who is too unlike, and what brightness is worth then."""

from __future__ import annotations

import numpy as np
import pytest
from detect.volumes import make_map
from evaluation.cases import make_case

from verict.datasets.scans import read_labelled_scans
from verict.evaluation.case import Place, PlaceKind
from verict.evaluation.figures import area, compare_kinds, content_only
from verict.evaluation.matching import match_places
from verict.evaluation.places import tabulate_places
from verict.evaluation.subjects import make_subject


def looks(*values: tuple[float, float, float], kind: str = "bright") -> list[Place]:
    """Places with those looks, 40 px apart."""
    return [Place(PlaceKind(kind), 0, 15, 15 + 40 * i, *look) for i, look in enumerate(values)]


def match(positives, negatives, *, wide: int = 80):
    painted = make_case(make_map(1, 9, wide), labels=[("FM", 0, 1, 1)], places=positives, patient="a")
    return match_places(tabulate_places([painted, make_case(make_map(1, 9, wide), places=negatives, patient="b")]))


def test_a_match_is_within_every_caliper():
    like = [(0.0, 10.0, -400.0)] * 5
    unlike = [(0, 11.2, -400), (0, 8.9, -400), (0, 10, -345), (0, 10, -455), (110, 10, -400), (0, np.nan, -400)]
    edge = [(90.0, 10.0, -400.0), (0.0, 10.9, -400.0), (0.0, 9.2, -400.0), (0.0, 10.0, -351.0)]
    found = match(looks((0, 10, -400), kind="FM"), looks(*like, *unlike, *edge))
    assert found.within_caliper.tolist() == [9]
    assert found.is_match.shape == (1, 9)
    assert np.isfinite(found.negatives.diameter_mm).all()


def test_nodules_match_and_parenchyma_does_not():
    own = looks((0, 10, -400), kind="FM")
    assert match(own, looks(*[(0, 10, -400)] * 6, kind="nodule")).within_caliper.tolist() == [6]
    assert match(own, looks(*[(0, 10, -400)] * 6, kind="parenchyma")).within_caliper.tolist() == [0]


def test_the_nearest_ten_are_taken():
    found = match(looks((0, 10, -400), kind="FM"), looks(*[(0, 10, -400 + 3 * i) for i in range(15)]))
    assert found.within_caliper.tolist() == [15]
    assert sorted(found.negatives.ring_hu) == [-400 + 3 * i for i in range(10)]


def test_one_structure_counts_once():
    """Two places 9 mm apart in one slice are scored by the same cells; in another slice they are not."""
    twice = looks(*[(0, 10, -400)] * 5)
    twice += [Place(PlaceKind.NODULE, p.z, p.y, p.x + 9, p.centre_hu, p.diameter_mm, p.ring_hu) for p in twice]
    assert match(looks((0, 10, -400), kind="FM"), twice).is_match.sum() == 5


def test_too_few_matches_are_none_and_the_reason_is_told():
    found = match(looks((0, 10, -400), kind="FM"), looks(*[(0, 10, -400)] * 4))
    assert found.within_caliper.tolist() == [4]
    assert not found.matched.any()
    assert "only 0 of 1 FM sites" in found.reason
    assert match([], looks((0, 10, -400))).reason == "no FM label"


def test_each_site_has_its_own_set_and_counts_the_same():
    small, large = [(0, 8, -700)] * 5, [(0, 16, -200)] * 10
    own = looks((0, 8, -700), (0, 16, -200), (0, 30, 0), kind="FM")
    found = match(own, looks(*small, *large))
    assert found.matched.tolist() == [True, True, False]
    assert found.is_match.sum(axis=1).tolist() == [5, 10, 0]
    np.testing.assert_allclose(np.sort(found.weights()), [0.05] * 10 + [0.1] * 5)
    assert found.balance()["difference_diameter_mm"] == pytest.approx(0)
    assert found.balance()["auc_ring_hu"] == 0.5


def test_differences_are_told():
    found = match(looks((60, 10.5, -380), kind="FM"), looks(*[(0, 10, -400)] * 5))
    told = found.balance()
    assert told["difference_diameter_mm"] == pytest.approx(0.5)
    assert told["difference_ring_hu"] == pytest.approx(20)
    assert told["auc_centre_hu"] == 1.0
    assert told["share_from_labelled"] == 0.0
    assert (told["matched_sites"], told["unmatched_sites"], told["matches"]) == (1, 0, 5)


def test_brightness_is_worth_less_against_matches(shared_data):
    """On the real slices: 0.96 against any bright place, near a half against matches of size and surroundings."""
    cases = []
    for scan in read_labelled_scans(shared_data / "ctgan", lambda *_: None):
        own = make_subject(scan, 0)
        if any(p.kind is PlaceKind.FM for p in own.places):
            values = make_map(own.geometry.slice_count)
            cases.append(make_case(values, places=own.places, labels=[("FM", 0, 1, 1)], patient=own.patient))
    table = tabulate_places(cases)
    found = match_places(table)
    areas = {key: area(c, content_only, seed=0) for key, c in compare_kinds(table, found).items()}
    assert areas["fm_bright"].figure.value > 0.9
    matched = found.balance()
    assert matched["matched_sites"] >= 5
    assert abs(matched["auc_ring_hu"] - 0.5) < 0.2
    assert abs(matched["auc_centre_hu"] - 0.5) < 0.25
    assert abs(matched["difference_diameter_mm"]) < 1.0


@pytest.mark.parametrize("gap", [1, 2])
def test_matches_come_from_both_collections(gap):
    own = looks((0, 10, -400), kind="FM") + looks(*[(0, 10, -400)] * gap, kind="nodule")
    found = match(own, looks(*[(0, 10, -400)] * 6))
    assert found.is_match.sum() == 6 + gap
    assert found.balance()["share_from_labelled"] == pytest.approx(gap / (6 + gap))
