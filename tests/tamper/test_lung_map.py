"""The map of a scan's lungs: structures that pass for nodules, and healthy lung."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tamper.lung_scene import WALL_MM, aim_at, make_lung

from verict.errors import InputError
from verict.tamper.forgery import ForgeryKind
from verict.tamper.lung_map import is_apart, map_lung

NODULES = [((28.0, 60.0, 20.0), 9.0), ((30.0, 24.0, 50.0), 15.0), ((40.0, 60.0, 70.0), 12.0)]
CENTRE = (22, 50, 75)


@pytest.fixture(scope="module")
def target():
    return aim_at(make_lung(nodules=NODULES), (28.0, 40.0, 60.0), ForgeryKind.INJECT)


@pytest.mark.parametrize(("wanted_mm", "order"), [(None, [1, 2, 0]), (12.0, [2, 1, 0])])
def test_nodules_are_found_and_vessels_are_not(target, wanted_mm: float | None, order: list[int]) -> None:
    found = map_lung(target).find_structures(wanted_mm)
    assert len(found) == len(NODULES)
    for (place, radius_mm), index in zip(found, order, strict=True):
        middle_mm, diameter_mm = NODULES[index]
        assert np.abs(np.array(place) * target.spacing_mm - middle_mm).max() < 2
        assert radius_mm == pytest.approx(diameter_mm / 2, abs=1.5)


def test_healthy_lung_is_apart_within_the_scan_and_as_deep(target) -> None:
    lung_map, sides = map_lung(target), (15, 21, 21)
    found = lung_map.find_healthy(CENTRE, sides, -850, np.random.default_rng(0))
    assert len(found) > 10
    for place in found:
        assert is_apart(place, CENTRE, sides)
        assert lung_map.has_room(place, sides)
        box = tuple(slice(c - n // 2, c + n // 2 + 1) for c, n in zip(place, sides, strict=True))
        assert (target.hu[box] > -400).mean() < 0.1
    shallow = (22, 50, round((WALL_MM - 8) / 0.8))
    depths = [lung_map.depth_mm[lung_map.to_map(p)] for p in lung_map.find_healthy(shallow, sides, -850,
                                                                                    np.random.default_rng(0))]
    assert np.abs(np.array(depths) - 8).max() < 6
    assert lung_map.wall_at(shallow) == pytest.approx([0, -1], abs=0.1)
    assert (lung_map.wall_at(CENTRE) == 0).all() or lung_map.depth_mm[lung_map.to_map(CENTRE)] <= 20


def test_the_run_limits_what_is_read(target) -> None:
    lung_map = map_lung(replace(target, run=slice(10, 30)))
    places = [p for p, _ in lung_map.find_structures(None)]
    places += lung_map.find_healthy(CENTRE, (9, 9, 9), -850, np.random.default_rng(0))
    assert all(10 <= z < 30 for z, _, _ in places)
    with pytest.raises(InputError, match="no lung"):
        map_lung(replace(target, lung=np.zeros_like(target.lung)))
