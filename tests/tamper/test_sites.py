"""Chosen places keep the distances their text states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tamper.places import LUNG, TISSUE, make_volume

from verict.ct.lungs import LungRegion, find_lungs
from verict.ct.volume import CTVolume
from verict.datasets.authentic import Nodule
from verict.datasets.sites import LungPlace, describe_place
from verict.datasets.uci import SiteType
from verict.errors import DatasetError, GeometryError
from verict.tamper.sites import (
    MEDIASTINUM_MM,
    VESSEL_MM,
    WALL_MM,
    CandidateSite,
    find_healthy_sites,
    find_injection_sites,
    find_removal_sites,
    is_plain,
    place_documented,
)

SPACING = (3.0, 2.0, 2.0)
SHAPE = (60, 150, 190)
Scan = tuple[CTVolume, LungRegion]


def _axes() -> list[np.ndarray]:
    return [a * s for a, s in zip(np.ogrid[tuple(slice(n) for n in SHAPE)], SPACING, strict=True)]


def _make_hu() -> np.ndarray:
    """A body with two lungs, a mediastinum of 60 mm between them and vessels of 4 mm every 24 mm."""
    z, y, x = _axes()
    hu = np.full(SHAPE, TISSUE, np.int16)
    lungs = (np.abs(y - 150) < 100) & (((x > 50) & (x < 160)) | ((x > 220) & (x < 330))) & (z > -1)
    hu[lungs] = LUNG
    vessels = lungs & ((y % 24 < 4) & (x % 24 < 4))
    hu[vessels] = TISSUE
    hu += np.random.default_rng(0).normal(0, 15, SHAPE).astype(np.int16)
    hu[:, :8] = hu[:, -8:] = hu[:, :, :8] = hu[:, :, -8:] = -1000
    return hu


@pytest.fixture(scope="module")
def scan() -> Scan:
    volume = make_volume(_make_hu(), SPACING)
    return volume, find_lungs(volume)


def _distances(first: CandidateSite, others: list[CandidateSite]) -> list[float]:
    return [float(np.linalg.norm(np.subtract(first.centre, o.centre) * SPACING)) for o in others if o is not first]


def test_injections_keep_their_distances(scan: Scan) -> None:
    sites = find_injection_sites(*scan, 10, np.random.default_rng(5), apart_mm=40)
    assert len(sites) == 10
    for site in sites:
        z_mm, y_mm, x_mm = np.multiply(site.centre, SPACING)
        slack = 4.5  # one and a half cells of the 3 mm grid
        assert abs(y_mm - 150) <= 100 - WALL_MM + slack
        outer, inner = (x_mm - 50, 160 - x_mm) if x_mm < 190 else (330 - x_mm, x_mm - 220)
        assert outer >= WALL_MM - slack
        assert inner >= MEDIASTINUM_MM - slack
        dy, dx = ((c + 12) % 24 - 12 for c in (y_mm, x_mm))  # from the nearest vessel's corner
        assert np.hypot(max(-dy, dy - 4, 0), max(-dx, dx - 4, 0)) >= VESSEL_MM - 2
        assert 15.5 <= z_mm <= 177 - 15.5
        assert min(_distances(site, sites)) >= 40
        assert site.diameter_mm == 0
        assert "off the wall" in site.how


def test_injections_spread_over_both_lungs_and_heights(scan: Scan) -> None:
    sites = find_injection_sites(*scan, 8, np.random.default_rng(1), apart_mm=30)
    left = [s for s in sites if s.x < 95]
    assert len(left) == 4
    for side in (left, [s for s in sites if s.x >= 95]):
        heights = sorted(s.z for s in side)
        assert heights[0] < 20
        assert heights[-1] > 40


def test_the_seed_decides(scan: Scan) -> None:
    def choose(seed: int) -> list[CandidateSite]:
        return find_injection_sites(*scan, 3, np.random.default_rng(seed))

    assert choose(1) == choose(1)
    assert choose(1) != choose(2)


def test_places_to_avoid_are_avoided(scan: Scan) -> None:
    first = find_injection_sites(*scan, 4, np.random.default_rng(1), apart_mm=50)
    more = find_injection_sites(*scan, 4, np.random.default_rng(2), apart_mm=50, avoid=[s.centre for s in first])
    for site in more:
        assert min(_distances(site, first)) >= 50


def test_fewer_where_no_more_fit(scan: Scan) -> None:
    sites = find_injection_sites(*scan, 50, np.random.default_rng(1), apart_mm=100)
    assert 1 <= len(sites) < 20
    volume, lungs = scan
    assert find_injection_sites(volume, LungRegion(np.zeros_like(lungs.mask), np.zeros(60, bool)), 3,
                                np.random.default_rng(1)) == []
    nothing = LungRegion(np.zeros_like(lungs.mask), np.zeros(60, bool))
    assert find_healthy_sites(volume, nothing, [LungPlace(True, 20, 0.5)], np.random.default_rng(1)) == []


def test_a_gap_is_kept_clear_of(scan: Scan) -> None:
    volume, lungs = scan
    origins = volume.origins_mm.copy()
    origins[30:, 2] += 50
    for site in find_injection_sites(replace(volume, origins_mm=origins), lungs, 10, np.random.default_rng(0),
                                     apart_mm=20):
        assert 6 <= site.z <= 23 or 36 <= site.z <= 53


def test_spacing_must_be_known(scan: Scan) -> None:
    volume, lungs = scan
    broken = replace(volume, spacing_mm=(0.0, 2.0, 2.0))
    for find in (
        lambda: find_injection_sites(broken, lungs, 1, np.random.default_rng(0)),
        lambda: find_removal_sites(broken, lungs),
        lambda: find_healthy_sites(broken, lungs, [], np.random.default_rng(0)),
    ):
        with pytest.raises(GeometryError):
            find()


def test_removals_are_the_documented_ones_then_those_found(scan: Scan) -> None:
    volume, lungs = scan
    z, y, x = _axes()
    hu = volume.hu.copy()
    places = [(30, 75, 50), (20, 60, 140), (44, 100, 138)]
    for (cz, cy, cx), diameter in zip(places, (12, 22, 15), strict=True):
        ball = ((z - cz * 3) ** 2 + (y - cy * 2) ** 2 + (x - cx * 2) ** 2 < (diameter / 2) ** 2)
        room = ((z - cz * 3) ** 2 + (y - cy * 2) ** 2 + (x - cx * 2) ** 2 < (diameter / 2 + 9) ** 2)
        hu[room], hu[ball] = LUNG, TISSUE
    volume = replace(volume, hu=hu)
    given = [CandidateSite(30, 75, 50, 0.0, "documented: somebody"), CandidateSite(44, 101, 138, 17.0, "documented")]
    sites = find_removal_sites(volume, lungs, documented=given)
    assert [s.how.partition(":")[0] for s in sites] == ["documented", "documented", "found"]
    assert sites[0].diameter_mm == pytest.approx(12, abs=2.5)
    assert sites[0].how == "documented: somebody, measured"
    assert sites[1] == given[1]
    assert np.abs(np.subtract(sites[2].centre, places[1])).max() <= 1
    assert sites[2].diameter_mm == pytest.approx(22, abs=2)
    found = find_removal_sites(volume, lungs)
    assert [round(s.diameter_mm) for s in found] == sorted((round(s.diameter_mm) for s in found), reverse=True)


def test_healthy_places_lie_as_deep_as_those_they_stand_beside(scan: Scan) -> None:
    volume, lungs = scan
    like = [LungPlace(True, 20.0, 0.3, 0.4), LungPlace(False, 30.0, 0.6, 0.6), LungPlace(True, 40.0, 0.5, None)]
    sites = find_healthy_sites(volume, lungs, like, np.random.default_rng(0), apart_mm=30)
    assert len(sites) == 3
    for site, wanted in zip(sites, like, strict=True):
        place = describe_place(lungs.mask, SPACING[1:], site.centre, whole_scan=True)
        assert place.on_left == wanted.on_left
        assert place.depth_mm == pytest.approx(wanted.depth_mm, abs=5)
        assert place.front_to_back == pytest.approx(wanted.front_to_back, abs=0.15)
        if wanted.height is not None:
            assert place.height == pytest.approx(wanted.height, abs=0.15)
        assert is_plain(volume, lungs, site.centre)
        assert min(_distances(site, sites)) >= 30


def test_plain_is_neither_vessel_nor_air_nor_beyond_the_region(scan: Scan) -> None:
    volume, lungs = scan
    plain = (30, 79, 55)
    assert is_plain(volume, lungs, plain)
    for value in (TISSUE, -1000):
        hu = volume.hu.copy()
        hu[28:33, 76:83, 52:59] = value
        assert not is_plain(replace(volume, hu=hu), lungs, plain)
    mask = lungs.mask.copy()
    mask[30, 80, 55] = False
    assert not is_plain(volume, LungRegion(mask, lungs.found), plain)


def test_a_documented_nodule_must_lie_in_its_series(scan: Scan) -> None:
    volume, _ = scan
    nodule = Nodule("a", SiteType.TM, 3, 0.0, 10, 20, 8, 0.0, 0.0, "readers")
    with pytest.raises(DatasetError, match="documented nodule"):
        place_documented(volume, [nodule])
