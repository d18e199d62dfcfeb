"""Nodules and regions become places: each told once, with what both detectors say of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from detect.volumes import make_evidence, make_map, make_volume

from verict.ct.volume import CTVolume
from verict.detect import four_classes
from verict.detect.evidence import Evidence
from verict.detect.four_classes import BOUND, CLASSES, FourClasses, join
from verict.detect.nodule.reading import Nodule, NoduleReading, Shown
from verict.detect.result import Place, Region
from verict.errors import ModelError

# TB, FB, TM, FM: each grows with the signs of its own nodule and tamper score.
SIGNS = np.array([[-1, -1, 0], [-1, 1, 0], [1, -1, 0], [1, 1, 0]], float)


@pytest.fixture(autouse=True)
def hand_made_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(four_classes, "load_classes", lambda: FourClasses({}, SIGNS, np.zeros(4)))


@pytest.fixture
def volume() -> CTVolume:
    """20 slices of 1 mm; cells of the map at pixels 15.5, 23.5, ... of 0.7 mm."""
    return make_volume(20)


def make_nodule(**changes: object) -> Nodule:
    parts = {
        "centre_voxel_zyx": (10.0, 47.5, 55.5), "centre_mm_lps": (0.0, 0.0, 0.0), "long_axis_mm": 14.2,
        "diameter_mm": None, "score": 3.0, "slice_index": 10, "sop_instance_uid": "", "where": "right lung",
        "decisive": True, "alone": False,
    }  # fmt: skip
    return Nodule(**(parts | changes))


def make_region(
    *, decisive: bool = True, score: float = 4.0, y: int = 44, x: int = 52, z: tuple[int, int] = (9, 11)
) -> Region:
    """A region of 8 x 8 pixels whose first one is (y, x)."""
    centre = ((z[0] + z[1]) / 2, y + 3.5, x + 3.5)
    return Region("fusion", centre, (0.0, 0.0, 0.0), (*z, y, y + 7, x, x + 7), (2.0, 5.6, 5.6),
                  tuple(range(z[0], z[1] + 1)), (), z[0], score, decisive, "")  # fmt: skip


def make_reading(*nodules: Nodule, at: list[tuple[tuple[float, float, float], float]] | None = None) -> NoduleReading:
    """A reading of nodules; ``at`` gives the centres and scores of everything that was looked at."""
    looked = at if at is not None else [(n.centre_voxel_zyx, n.score) for n in nodules]
    centres = np.array([c for c, _ in looked], float).reshape(-1, 3)
    return NoduleReading(Shown.CANCER, "", nodules, None, centres, np.array([s for _, s in looked], float))


def fusion(value: float = -2.0, *, at: dict[tuple[int, int, int], float] | None = None) -> tuple[Evidence, ...]:
    """Evidence of fusion with one value everywhere but at the given cells."""
    values = make_map(20, fill=value)
    for cell, score in (at or {}).items():
        values[cell] = score
    return (make_evidence(values, detector="fusion"),)


def only(places: tuple[Place, ...]) -> Place:
    (place,) = places
    return place


def test_a_nodule_with_a_decisive_region_is_one_place(volume):
    evidence = fusion(at={(10, 4, 5): 5.0})
    place = only(join(volume, evidence, make_reading(make_nodule()), (make_region(),)))
    assert (place.nodule, place.region, place.centre_voxel_zyx) == (0, 0, (10.0, 47.5, 55.5))
    assert (place.nodule_score, place.tamper_score, place.most_likely) == (3.0, 5.0, "FM")
    assert list(place.probabilities) == [str(name) for name in CLASSES]
    assert sum(place.probabilities.values()) == pytest.approx(1.0)
    assert place.sentence == "a 14 mm nodule in the right lung; the tissue there looks painted"


def test_a_nodule_without_a_region_is_believed(volume):
    place = only(join(volume, fusion(-2.0), make_reading(make_nodule(long_axis_mm=None)), ()))
    assert (place.nodule, place.region, place.tamper_score, place.most_likely) == (0, None, -2.0, "TM")
    assert place.sentence == "a nodule in the right lung; no trace of painting there"


def test_a_weak_region_at_a_mass(volume):
    place = only(join(volume, fusion(), make_reading(make_nodule(long_axis_mm=41.0)), (make_region(decisive=False),)))
    assert place.sentence == "a 41 mm mass in the right lung; the texture there is unusual, too weak to call it painted"


def test_the_score_at_a_nodule_is_the_highest_nearby_on_its_slice(volume):
    near, far = (10, 4, 6), (10, 4, 9)  # 5.6 and 22.4 mm away
    place = only(join(volume, fusion(at={near: 1.0, far: 6.0, (11, 4, 5): 7.0}), make_reading(make_nodule()), ()))
    assert place.tamper_score == 1.0


def test_a_region_without_a_nodule_may_be_a_removal(volume):
    reading = make_reading(at=[((10.0, 49.0, 57.0), -1.5), ((10.0, 90.0, 100.0), 2.0)])
    place = only(join(volume, fusion(at={(9, 4, 5): 4.0}), reading, (make_region(),)))
    assert (place.nodule, place.region, place.centre_voxel_zyx) == (None, 0, (10.0, 47.5, 55.5))
    assert (place.nodule_score, place.tamper_score, place.most_likely) == (-1.5, 4.0, "FB")
    assert place.sentence == "no nodule, but the tissue looks painted: something may have been removed here"


def test_a_weak_region_where_nothing_looks_like_a_nodule(volume):
    place = only(join(volume, fusion(), make_reading(), (make_region(decisive=False, score=-1.0),)))
    assert (place.nodule_score, place.most_likely) == (-BOUND, "TB")
    assert place.sentence == "no nodule; unusual texture, too weak to call it painted"


def test_nodules_come_first_and_every_region_is_told_once(volume):
    nodules = (make_nodule(), make_nodule(centre_voxel_zyx=(3.0, 80.0, 20.0), slice_index=3, score=1.0))
    regions = (make_region(y=0, x=90), make_region(), make_region(y=50, decisive=False))
    places = join(volume, fusion(), make_reading(*nodules), regions)
    # The third touches the first nodule too, whose place names the first of its regions.
    assert [(p.nodule, p.region) for p in places] == [(0, 1), (1, None), (None, 0)]


@pytest.mark.parametrize("z", [(0, 0), (19, 19)])
def test_a_region_touches_a_nodule_within_ten_millimetres(volume, z):
    assert only(join(volume, fusion(), make_reading(make_nodule()), (make_region(z=z),))).region == 0


def test_ten_millimetres_are_counted_in_millimetres():
    thick = make_volume(np.arange(20) * 5.0)
    places = join(thick, fusion(), make_reading(make_nodule()), (make_region(z=(13, 13)),))
    assert [(p.nodule, p.region) for p in places] == [(0, None), (None, 0)]


def test_without_a_map_of_tampering_nothing_is_said_of_painting(volume):
    place = only(join(volume, (Evidence("header"),), make_reading(make_nodule()), ()))
    assert (place.nodule_score, place.tamper_score, place.probabilities, place.most_likely) == (3.0, None, None, None)
    assert place.sentence == "a 14 mm nodule in the right lung; whether it was painted could not be judged"


def test_where_the_map_is_undefined_nothing_is_said_of_painting(volume):
    place = only(join(volume, fusion(np.nan), make_reading(make_nodule()), ()))
    assert (place.tamper_score, place.probabilities) == (None, None)
    assert "could not be judged" in place.sentence


def test_a_region_of_another_detector_is_weighed_by_the_score_of_fusion(volume):
    other = replace(make_region(score=6.5), detector="repeat")
    assert only(join(volume, fusion(-1.0), make_reading(), (other,))).tamper_score == -1.0


def test_without_a_reading_only_the_painting_is_told(volume):
    strong, weak = join(volume, fusion(), None, (make_region(), make_region(y=0, x=90, decisive=False)))
    for place, region in ((strong, 0), (weak, 1)):
        assert (place.nodule, place.region) == (None, region)
        assert (place.nodule_score, place.tamper_score, place.probabilities) == (None, -2.0, None)
    assert strong.sentence == "the tissue looks painted; whether there is a nodule was not looked at"
    assert weak.sentence == "unusual texture, too weak to call it painted; whether there is a nodule was not looked at"


@pytest.mark.parametrize(("reading", "evidence"), [(None, "fusion"), (make_reading(make_nodule()), "spectrum")])
def test_one_detector_alone_needs_no_weights_of_the_four_classes(volume, monkeypatch, reading, evidence):
    def fail() -> FourClasses:
        raise ModelError("no such card")

    monkeypatch.setattr(four_classes, "load_classes", fail)
    places = join(volume, (make_evidence(make_map(20), detector=evidence),), reading, (make_region(),))
    assert [p.probabilities for p in places] == [None]


def test_nothing_found_is_no_place(volume):
    assert join(volume, fusion(), make_reading(), ()) == ()
    assert join(volume, (), None, ()) == ()


def test_probabilities_stay_finite_for_any_score():
    classes = FourClasses({}, SIGNS, np.zeros(4))
    scores = np.array([-np.inf, np.inf, np.nan, 0.0, 1e9])
    found = classes.probabilities(scores, scores[::-1])
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    np.testing.assert_allclose(found[3], classes.probabilities(np.zeros(1), np.full(1, np.inf))[0])
