"""What lies around a target: depth, level, grain and the nodule there."""

from __future__ import annotations

import numpy as np
import pytest
from tamper.lung_scene import NOISE_HU, WALL_MM, aim_at, make_lung
from tamper.places import LUNG

from verict.errors import InputError
from verict.tamper.forgery import ForgeryKind
from verict.tamper.vicinity import (
    DEPTH_REACH_MM,
    compactness,
    cut_vicinity,
    diameter_of,
    extent_of,
    find_nodule,
    grain_of,
)

MIDDLE = (30.0, 44.0, 60.0)


@pytest.fixture(scope="module")
def scan():
    return make_lung(nodules=[(MIDDLE, 14.0), ((30.0, 20.0, 26.0), 6.0)])


def test_the_lung_s_level_and_the_wall_are_found(scan) -> None:
    vicinity = cut_vicinity(aim_at(scan, MIDDLE, ForgeryKind.REMOVE), 40)
    assert vicinity.lung_hu == pytest.approx(LUNG, abs=8)
    x_mm = vicinity.axes_mm[2] + round(60 / 0.8) * 0.8
    depth = vicinity.depth_mm[20, 40]
    near = np.abs(WALL_MM - x_mm) < 3
    assert np.abs(depth - (WALL_MM - x_mm))[near].max() < 1.5
    assert (depth[x_mm < WALL_MM - 12] > DEPTH_REACH_MM - 0.1).all()
    assert (depth[x_mm > WALL_MM + 2] < 0).all()


@pytest.mark.parametrize("told_mm", [14.0, None])
def test_a_nodule_is_found_with_its_size(scan, told_mm: float | None) -> None:
    vicinity = cut_vicinity(aim_at(scan, MIDDLE, ForgeryKind.REMOVE), 26)
    nodule = find_nodule(vicinity, told_mm)
    assert nodule is not None
    assert diameter_of(nodule, vicinity.spacing_mm) == pytest.approx(14, abs=1)
    assert vicinity.distance_mm[nodule].max() < 9
    assert compactness(nodule, vicinity) > 0.8


def test_a_vessel_is_not_taken_along(scan) -> None:
    """The small nodule sits on a vessel along y that goes through the whole scan."""
    vicinity = cut_vicinity(aim_at(scan, (30, 20, 26), ForgeryKind.REMOVE), 20)
    nodule = find_nodule(vicinity, None)
    assert nodule is not None
    assert vicinity.distance_mm[nodule].max() < 5
    assert vicinity.hu[vicinity.cube.shape[0] // 2].max() > -500


def test_where_nothing_stands_out_there_is_no_nodule(scan) -> None:
    vicinity = cut_vicinity(aim_at(scan, (30, 70, 74), ForgeryKind.REMOVE), 12)
    assert find_nodule(vicinity, 10) is None
    ball, how = extent_of(vicinity, 10)
    assert "ball" in how
    assert diameter_of(ball, vicinity.spacing_mm) == pytest.approx(10, rel=0.1)


def test_grain_tells_noise_from_structure() -> None:
    quiet, loud = (make_lung(noise_hu=n)[0] for n in (NOISE_HU, 3 * NOISE_HU))
    few, many = (grain_of(v.hu.astype(np.float32), v.spacing_mm) for v in (quiet, loud))
    assert 0.2 * NOISE_HU < few < NOISE_HU
    assert many == pytest.approx(3 * few, rel=0.15)
    assert grain_of(np.full((3, 9, 9), 40, np.float32), (1, 1, 1)) == 0


def test_places_without_lung_or_slices_are_refused(scan) -> None:
    with pytest.raises(InputError, match="hardly any lung"):
        cut_vicinity(aim_at(scan, (30, 44, 106), ForgeryKind.REMOVE), 6)
    with pytest.raises(InputError, match="outside the slices"):
        cut_vicinity(aim_at(scan, (99, 44, 60), ForgeryKind.REMOVE), 6)
