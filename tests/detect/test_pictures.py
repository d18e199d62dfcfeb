"""What is kept for the report lies where the marks are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from detect.volumes import MARK, make_evidence, make_lung_hu, make_lungs, make_map, make_volume
from scipy import ndimage

from verict.ct.volume import CTVolume
from verict.detect.evidence import Evidence, ScoreMap
from verict.detect.nodule.reading import Nodule
from verict.detect.pictures import MOST_NODULES, MOST_PICTURES, keep_pictures
from verict.detect.result import Place
from verict.detect.verdict import find_regions


def pictures_of(volume: CTVolume, *evidence: Evidence):
    regions = tuple(r for e in evidence for r in find_regions(volume, e, volume.sop_instance_uids))
    lungs = make_lungs(np.ones(volume.hu.shape, bool))
    return keep_pictures(volume, lungs, evidence, regions), regions


def lone_slices(count: int = 1) -> CTVolume:
    return make_volume(np.arange(count) * 50.0, hu=make_lung_hu((count, 96, 112)), thickness_mm=1.0)


def test_contour_lies_on_the_marked_cells_and_nowhere_else():
    values = make_map(1)
    values[0, 4, 5], values[0, 4, 6], values[0, 5, 6] = MARK, MARK + 2, MARK + 1
    values[0, 5, 5] = MARK - 0.1  # in the box, but not marked
    values[0, 0, 0] = MARK + 9  # another region
    (_, picture), (_, region) = pictures_of(lone_slices(), make_evidence(values))
    expected = np.zeros((96, 112), bool)
    expected[44:52, 52:60] = expected[44:60, 60:68] = True
    np.testing.assert_array_equal(picture.contour, expected)
    _, _, y0, y1, x0, x1 = region.bounds
    assert ndimage.find_objects(expected.astype(int)) == [(slice(y0, y1 + 1), slice(x0, x1 + 1))]


@pytest.mark.parametrize(("stride", "origin"), [(4, 0.0), (16, 31.5), (8, 3.5)])
def test_contour_follows_the_maps_own_grid(stride, origin):
    values = np.zeros((1, 5, 5), np.float32)
    values[0, 1, 2] = MARK + 1
    evidence = replace(make_evidence(values), score_map=ScoreMap(values, stride, origin))
    ((picture,), (region,)) = pictures_of(lone_slices(), evidence)
    rows, columns = np.nonzero(picture.contour)
    assert picture.contour.sum() == stride**2
    assert abs(rows.mean() - (origin + stride)) <= 0.5
    assert abs(columns.mean() - (origin + 2 * stride)) <= 0.5
    assert region.centre_voxel_zyx == (0, origin + stride, origin + 2 * stride)


def test_a_region_weak_on_its_own_slice_is_shown_as_its_box():
    volume = make_volume(20, hu=make_lung_hu((20, 96, 112)))
    values = make_map(20)
    values[:, 4, 5] = MARK - 0.5  # decides by its depth; no cell is a mark by itself
    ((picture,), (region,)) = pictures_of(volume, make_evidence(values))
    expected = np.zeros((96, 112), bool)
    expected[44:52, 52:60] = True
    np.testing.assert_array_equal(picture.contour, expected)
    assert picture.slice_index == region.peak_slice


def test_a_picture_holds_its_slice_and_what_the_median_leaves():
    volume = lone_slices(3)
    values = make_map(3)
    values[1, 4, 5] = MARK
    ((picture,), _) = pictures_of(volume, make_evidence(values))
    hu = volume.hu[1].astype(np.float32)
    assert (picture.slice_index, picture.region, picture.pixel_spacing_mm) == (1, 0, (0.7, 0.7))
    np.testing.assert_array_equal(picture.hu, hu)
    np.testing.assert_array_equal(picture.residual, hu - ndimage.median_filter(hu, 3, mode="nearest"))
    np.testing.assert_array_equal(picture.score, values[1])
    assert {a.dtype for a in (picture.hu, picture.residual, picture.score)} == {np.dtype(np.float32)}


def test_pictures_outlive_the_volume():
    """The volume and the maps are let go: nothing kept is a view into them."""
    volume = lone_slices(3)
    values = make_map(3)
    values[1, 4, 5] = MARK
    evidence = make_evidence(values)
    ((picture,), _) = pictures_of(volume, evidence)
    for kept in (picture.hu, picture.residual, picture.score, picture.lungs, picture.contour):
        assert not np.shares_memory(kept, volume.hu)
        assert not np.shares_memory(kept, evidence.score_map.values)
        assert kept.base is None or kept.base.nbytes <= kept.nbytes


def test_at_most_so_many_pictures_the_first_regions():
    values = make_map(1)
    for number in range(MOST_PICTURES + 3):
        values[0, 2 * (number // 5), 2 * (number % 5)] = MARK + number
    pictures, regions = pictures_of(lone_slices(), make_evidence(values))
    assert len(regions) == MOST_PICTURES + 3
    assert [p.region for p in pictures] == list(range(MOST_PICTURES))
    for picture in pictures:
        _, y, x = regions[picture.region].centre_voxel_zyx
        assert picture.contour[round(y), round(x)]


def test_without_a_mark_the_highest_slice_is_shown_without_contour():
    values = make_map(3, fill=np.nan)
    values[0, 1, 1], values[2, 3, 3] = 0.1, 0.4
    (pictures, regions) = pictures_of(lone_slices(3), make_evidence(values))
    assert not regions
    assert [(p.region, p.slice_index, bool(p.contour.any())) for p in pictures] == [(-1, 2, False)]


def test_a_map_without_any_score_can_still_be_drawn():
    (pictures, _) = pictures_of(lone_slices(3), make_evidence(make_map(3, fill=np.nan)))
    assert [p.region for p in pictures] == [-1]


def test_without_a_map_there_is_nothing_to_draw():
    assert pictures_of(lone_slices(), Evidence("header")) == ((), ())


def make_nodule(z: int = 1, y: float = 40.0, x: float = 60.0, long_axis_mm: float | None = 14.0) -> Nodule:
    return Nodule((z, y, x), (0.0, 0.0, 0.0), long_axis_mm, None, 3.0, z, "", "right lung", True, True)


def pictures_with(nodules: tuple[Nodule, ...], values: np.ndarray | None = None, *, in_regions: tuple = ()):
    """Pictures of nodules beside the regions of a map; ``in_regions`` gives each nodule's region or None."""
    volume = lone_slices(3)
    evidence = () if values is None else (make_evidence(values),)
    regions = tuple(r for e in evidence for r in find_regions(volume, e, volume.sop_instance_uids))
    of = in_regions or (None,) * len(nodules)
    places = tuple(Place(i, region, n.centre_voxel_zyx, 3.0, None, None, "")
                   for i, (n, region) in enumerate(zip(nodules, of, strict=True)))  # fmt: skip
    lungs = make_lungs(np.ones(volume.hu.shape, bool))
    return keep_pictures(volume, lungs, evidence, regions, nodules, places)


@pytest.mark.parametrize(("long_axis_mm", "radius_mm"), [(14.0, 11.0), (None, 8.0), (3.0, 8.0)])
def test_a_nodule_without_a_region_is_ringed(long_axis_mm, radius_mm):
    values = make_map(3)
    values[0, 4, 5] = MARK
    first, second = pictures_with((make_nodule(long_axis_mm=long_axis_mm),), values)
    assert [(p.region, p.nodule, p.slice_index) for p in (first, second)] == [(0, -1, 0), (-1, 0, 1)]
    rows, columns = np.nonzero(second.contour)
    assert (rows.mean(), columns.mean()) == (40, 60)
    assert second.contour.sum() * 0.7**2 == pytest.approx(np.pi * radius_mm**2, rel=0.05)
    np.testing.assert_array_equal(second.score, values[1])


def test_a_nodule_on_the_picture_of_a_region_is_not_drawn_again():
    values = make_map(3)
    values[1, 4, 5] = MARK
    assert [(p.region, p.nodule) for p in pictures_with((make_nodule(),), values, in_regions=(0,))] == [(0, -1)]
    undrawn = pictures_with((make_nodule(),), values, in_regions=(MOST_PICTURES,))
    assert [(p.region, p.nodule) for p in undrawn] == [(0, -1), (-1, 0)]


def test_at_most_so_many_nodules_beside_the_overview():
    nodules = tuple(make_nodule(z % 3) for z in range(MOST_NODULES + 2))
    pictures = pictures_with(nodules, make_map(3))
    assert [(p.region, p.nodule) for p in pictures] == [(-1, -1), *((-1, i) for i in range(MOST_NODULES))]


def test_nodules_are_drawn_without_a_map():
    (picture,) = pictures_with((make_nodule(y=-3.0, x=500.0),))  # off the slice: still something to look at
    assert (picture.nodule, picture.score.size, picture.contour.any()) == (0, 0, True)
