from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from verict.datasets import sites
from verict.datasets.sites import (
    LungPlace,
    SiteKind,
    choose_benign_sites,
    choose_negative_sites,
    clear_z_mm,
    describe_place,
    find_masses,
    labels_near,
    site_rng,
    touch_up_slices,
)
from verict.datasets.uci import LabelRow, SiteType
from verict.errors import UsageError

SPACING = (0.8, 0.7)


def make_chest(*, vessels: bool = True) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """Two lungs in a soft body, bright spots of 4 mm in them, and the lung mask with 5 mm of chest wall."""
    y, x = np.mgrid[:320, :440] * 1.0
    lungs = np.zeros(y.shape, bool)
    for centre in (110, 330):
        lungs |= ((y - 160) / 120) ** 2 + ((x - centre) / 85) ** 2 < 1
    hu = np.where(lungs, -850.0, 40.0)
    spots = [(r, c) for r in range(70, 260, 30) for c in (*range(60, 170, 27), *range(280, 390, 27))] if vessels else []
    spots = [(r, c) for r, c in spots if ndimage.distance_transform_edt(lungs)[r, c] > 20]
    for r, c in spots:
        hu[np.hypot((y - r) * SPACING[0], (x - c) * SPACING[1]) < 2] = 30
    hu[np.hypot((y - 160) * SPACING[0], (x - 222) * SPACING[1]) < 4] = 700  # bone between the lungs
    hu += np.random.default_rng(0).normal(0, 15, hu.shape)
    return hu.astype(np.int16), ndimage.binary_dilation(lungs, iterations=7), spots


HU, MASK, SPOTS = make_chest()


def distance_mm(site, other, spacing=SPACING):
    return np.hypot((site.y - other[0]) * spacing[0], (site.x - other[1]) * spacing[1])


def rows(*places, **changes):
    return [LabelRow(1, changes.get("type", SiteType.FB), "1001", *place) for place in places]


def test_touch_up_cubes_as_counted_on_the_published_set():
    assert touch_up_slices((2.5, 0.9629, 0.9629)) == 42
    assert touch_up_slices((2.5, 0.527, 0.527)) == 79
    assert touch_up_slices((0.5, 0.7, 0.7)) == 83  # thin slices decide where they are finer than the pixels
    assert clear_z_mm((2.5, 0.556, 0.556)) == pytest.approx(93.75)
    assert clear_z_mm((1.0, 0.7, 0.7)) == 40.0


def test_labels_near_reach_as_far_as_their_cube():
    spacing = (2.5, 0.7, 0.6)  # half the cube: 34 slices, 85 mm
    assert touch_up_slices(spacing) == 68
    near = labels_near(rows((65, 9, 9), (66, 10, 20), (134, 50, 60), (135, 70, 80)), 100, spacing)
    np.testing.assert_allclose(near, [[20 * 0.7, 10 * 0.6], [60 * 0.7, 50 * 0.6]])
    assert labels_near(rows((0, 0, 0), type=SiteType.TB), 3, spacing).shape == (0, 2)
    thin = (1.0, 0.7, 0.7)
    assert len(labels_near(rows((60, 1, 1), (59, 1, 1)), 100, thin)) == 1


def test_negatives_are_what_they_are_called():
    found = choose_negative_sites(HU, MASK, SPACING, np.empty((0, 2)), site_rng(0, "1001", 5))
    kinds = [site.kind for site in found]
    assert kinds == [SiteKind.PARENCHYMA] * 20 + [SiteKind.BRIGHT] * 20
    smooth = ndimage.gaussian_filter(HU.astype(float), np.array(1.0) / SPACING)
    for site in found:
        assert MASK[site.y, site.x]
        nearest = min(distance_mm(site, spot) for spot in SPOTS)
        if site.kind is SiteKind.BRIGHT:
            assert nearest < 2, "a bright site that is no spot: chest wall or bone"
            assert smooth[site.y, site.x] > -500
        else:
            assert smooth[site.y, site.x] < -600
    dark = [site for site in found if site.kind is SiteKind.PARENCHYMA]
    assert min(distance_mm(a, (b.y, b.x)) for i, a in enumerate(dark) for b in dark[:i]) >= 10


@settings(max_examples=15)
@given(st.lists(st.tuples(st.floats(0, 250), st.floats(0, 300)), max_size=5), st.integers(0, 99))
def test_negatives_stay_clear_of_every_label(labels, seed):
    found = choose_negative_sites(HU, MASK, SPACING, np.array(labels), site_rng(seed, "7", 1))
    for site in found:
        for y_mm, x_mm in labels:
            assert np.hypot(site.y * SPACING[0] - y_mm, site.x * SPACING[1] - x_mm) >= 48


def test_sites_are_seeded_by_scan_and_slice():
    def choose(*key):
        return choose_negative_sites(HU, MASK, SPACING, np.empty((0, 2)), site_rng(*key))

    assert choose(0, "1001", 5) == choose(0, "1001", 5)
    assert len({choose(0, "1001", 5), choose(1, "1001", 5), choose(0, "1002", 5), choose(0, "1001", 6)}) == 4


def test_fewer_where_no_more_fit():
    hu, mask, _ = make_chest(vessels=False)
    found = choose_negative_sites(hu, mask, SPACING, np.empty((0, 2)), site_rng(0, "1", 1))
    assert {site.kind for site in found} == {SiteKind.PARENCHYMA}
    assert choose_negative_sites(HU, np.zeros_like(MASK), SPACING, np.empty((0, 2)), site_rng(0, "1", 1)) == ()
    assert len(choose_negative_sites(HU, MASK, SPACING, np.empty((0, 2)), site_rng(0, "1", 1), per_kind=3)) == 6
    with pytest.raises(UsageError, match="do not match"):
        choose_negative_sites(HU, MASK[:-1], SPACING, np.empty((0, 2)), site_rng(0, "1", 1))


def draw_disc(hu: np.ndarray, row: int, column: int, radius_mm: float) -> None:
    y, x = np.mgrid[: hu.shape[0], : hu.shape[1]]
    hu[np.hypot((y - row) * SPACING[0], (x - column) * SPACING[1]) < radius_mm] = 30


def test_masses_are_large_compact_and_within_the_lung():
    hu, mask, _ = make_chest()  # its spots of 4 mm, chest wall and bone are none
    assert find_masses(hu, mask, SPACING, np.empty((0, 2))) == ()
    draw_disc(hu, 160, 95, 5.0)
    draw_disc(hu, 120, 330, 9.0)
    draw_disc(hu, 220, 330, 2.0)  # a vessel
    hu[195:205, 230:430] = 30  # a long vessel of 8 mm
    draw_disc(hu, 160, 27, 6.0)  # half in the chest wall
    found = find_masses(hu, mask, SPACING, np.empty((0, 2)))
    assert {site.kind for site in found} == {SiteKind.MASS}
    centres = [(160, 95), (120, 330)]
    assert len(found) == len(centres)
    assert all(min(distance_mm(site, centre) for site in found) < 2 for centre in centres)
    clear = find_masses(hu, mask, SPACING, np.array([[160 * SPACING[0], 95 * SPACING[1] + 47]]))
    assert [distance_mm(site, centres[1]) < 2 for site in clear] == [True]
    with pytest.raises(UsageError, match="do not match"):
        find_masses(hu, mask[:-1], SPACING, np.empty((0, 2)))


def make_lungs() -> np.ndarray:
    """Two ellipsoid lungs in slices 5 to 34 of 40."""
    z, y, x = np.mgrid[:40, :100, :140] * 1.0
    return sum(((z - 19.5) / 15) ** 2 + ((y - 50) / 40) ** 2 + ((x - c) / 28) ** 2 < 1 for c in (35, 105)) > 0


LUNGS = make_lungs()
VOXEL_MM = (6.0, 2.5, 2.0)


def test_places_are_described_from_the_lungs():
    place = describe_place(LUNGS, VOXEL_MM[1:], (19, 50, 35), whole_scan=True)
    assert place.on_left
    assert place.front_to_back == pytest.approx(0.5, abs=0.02)
    assert place.height == pytest.approx(0.5, abs=0.03)
    assert place.depth_mm == pytest.approx(28 * 2.0, abs=4)
    assert not describe_place(LUNGS, VOXEL_MM[1:], (19, 20, 105), whole_scan=True).on_left
    assert describe_place(LUNGS, VOXEL_MM[1:], (19, 50, 35), whole_scan=False).height is None
    assert describe_place(LUNGS, VOXEL_MM[1:], (19, 1, 1), whole_scan=False).depth_mm == 0
    with pytest.raises(UsageError, match="no lung in the slice"):
        describe_place(LUNGS, VOXEL_MM[1:], (0, 50, 35), whole_scan=True)


def test_benign_sites_lie_where_fb_sites_lie_in_both_lungs():
    like = [LungPlace(True, 8.0, 0.3, 0.4), LungPlace(False, 20.0, 0.6, 0.6), LungPlace(True, 30.0, 0.5, None)]
    chosen = choose_benign_sites(LUNGS, VOXEL_MM, like, 6, site_rng(0, "1003", 0))
    assert len(chosen) == 6
    assert (0, 0, 0) not in chosen
    places = [describe_place(LUNGS, VOXEL_MM[1:], site, whole_scan=True) for site in chosen]
    assert sum(p.on_left for p in places) == 3
    assert all(LUNGS[site] for site in chosen)
    for place in places:
        if not place.on_left:
            assert place.height == pytest.approx(0.6, abs=0.05)
    first = next(p for p in places if not p.on_left)
    assert first.depth_mm == pytest.approx(20.0, abs=6)
    assert first.front_to_back == pytest.approx(0.6, abs=0.12)


def test_benign_sites_do_not_overlap_and_are_seeded():
    like = [LungPlace(True, 20.0, 0.5, 0.5), LungPlace(False, 20.0, 0.5, 0.5)]
    chosen = choose_benign_sites(LUNGS, VOXEL_MM, like, 4, site_rng(3, "1779", 0))
    assert chosen == choose_benign_sites(LUNGS, VOXEL_MM, like, 4, site_rng(3, "1779", 0))
    gaps = [max(abs(a - b) * s for a, b, s in zip(p, q, VOXEL_MM, strict=True))
            for i, p in enumerate(chosen) for q in chosen[:i]]
    assert min(gaps) >= sites.CUBOID_MM


def test_benign_sites_need_lungs_and_places():
    with pytest.raises(UsageError, match="no lung"):
        choose_benign_sites(np.zeros_like(LUNGS), VOXEL_MM, [LungPlace(True, 1, 0.5)], 1, site_rng(0, "1", 0))
    with pytest.raises(UsageError, match="no place to copy"):
        choose_benign_sites(LUNGS, VOXEL_MM, [], 1, site_rng(0, "1", 0))
