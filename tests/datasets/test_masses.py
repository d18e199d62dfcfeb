"""Nodules are told from vessels, walls and domes by their shape in 3D."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tamper.places import LUNG, TISSUE, make_volume

from verict.ct.discover import find_series
from verict.ct.lungs import LungRegion, find_lungs
from verict.ct.read import read_series
from verict.ct.volume import CTVolume
from verict.datasets.authentic import read_nodules
from verict.datasets.masses import find_nodules, measure_mass
from verict.tamper.sites import place_documented

SPACING = (2.0, 1.0, 1.0)


def _grid(shape: tuple[int, int, int] = (60, 120, 120)) -> list[np.ndarray]:
    return [axis * step for axis, step in zip(np.ogrid[tuple(slice(n) for n in shape)], SPACING, strict=True)]


def _scan(*solids: np.ndarray) -> tuple[CTVolume, LungRegion]:
    hu = np.full((60, 120, 120), LUNG, np.int16)
    hu += np.random.default_rng(2).normal(0, 20, hu.shape).astype(np.int16)
    for solid in solids:
        hu[np.broadcast_to(solid, hu.shape)] = TISSUE
    return make_volume(hu, SPACING), LungRegion(np.ones(hu.shape, bool), np.ones(60, bool))


def _ball(z_mm: float, y_mm: float, x_mm: float, diameter_mm: float) -> np.ndarray:
    z, y, x = _grid()
    return (z - z_mm) ** 2 + (y - y_mm) ** 2 + (x - x_mm) ** 2 < (diameter_mm / 2) ** 2


def test_balls_are_found_and_measured_the_largest_first() -> None:
    found = find_nodules(*_scan(_ball(60, 40, 40, 8), _ball(62, 80, 76, 20), _ball(30, 80, 30, 13)))
    assert [m.centre for m in found] == [(31, 80, 76), (15, 80, 30), (30, 40, 40)]
    for mass, diameter in zip(found, (20, 13, 8), strict=True):
        assert mass.diameter_mm == pytest.approx(diameter, abs=1.5)
        assert mass.elongation == pytest.approx(1, abs=0.3)  # slices are 2 mm thick
        assert mass.occupied_share < 0.02
        assert mass.lung_share > 0.95


def test_a_vessel_through_the_slices_is_no_nodule() -> None:
    z, y, x = _grid()
    vessel = (y - 60) ** 2 + (x - 60) ** 2 < 4**2 + 0 * z
    volume, lungs = _scan(vessel)
    assert find_nodules(volume, lungs) == []
    mass = measure_mass(volume, lungs, (30, 60, 60))
    assert mass is not None
    assert mass.elongation > 2


def test_a_slanting_vessel_is_no_nodule() -> None:
    z, y, x = _grid()
    assert find_nodules(*_scan((y - 60) ** 2 + (x - 20 - 0.7 * z) ** 2 < 4**2)) == []


def test_a_nodule_on_a_vessel_is_found_without_the_vessel() -> None:
    z, y, x = _grid()
    (mass,) = find_nodules(*_scan(_ball(60, 60, 60, 16), (y - 60) ** 2 + (x - 60) ** 2 < 2**2 + 0 * z))
    assert mass.diameter_mm == pytest.approx(16, abs=2)


def test_a_dome_and_a_wall_are_no_nodules() -> None:
    z, _, x = _grid()
    assert find_nodules(*_scan(_ball(-20, 60, 60, 90), x > 105 + 0 * z)) == []


def test_one_nodule_is_listed_once() -> None:
    dumbbell = _ball(56, 60, 58, 18) | _ball(62, 62, 63, 18)
    assert len(find_nodules(*_scan(dumbbell))) == 1


def test_plain_lung_holds_no_mass() -> None:
    volume, lungs = _scan()
    assert find_nodules(volume, lungs) == []
    assert measure_mass(volume, lungs, (30, 60, 60)) is None


@pytest.fixture(scope="module")
def lidc(shared_data: Path) -> tuple[CTVolume, LungRegion, Path]:
    (series,) = find_series(shared_data / "authentic" / "lidc-0314-philips-D").series
    volume = read_series(series)
    return volume, find_lungs(volume), shared_data


def test_the_documented_nodule_counts_as_one_and_its_hilum_does_not(lidc: tuple) -> None:
    volume, lungs, data = lidc
    table = next(data.rglob("nodules.csv"))
    (site,) = place_documented(volume, [n for n in read_nodules(table) if n.folder == "lidc-0314-philips-D"])
    assert site.centre == (160, 243, 184)
    assert site.diameter_mm == pytest.approx(22, abs=0.5)
    mass = measure_mass(volume, lungs, site.centre)
    assert mass is not None
    assert mass.is_nodule
    assert np.abs(np.subtract(mass.centre, site.centre)).max() <= 3
    for hilum in ((134, 317, 299), (160, 307, 285), (114, 319, 311), (91, 345, 299)):
        mass = measure_mass(volume, lungs, hilum)
        assert mass is not None
        assert not mass.is_nodule
