from __future__ import annotations

import numpy as np
import pytest
from tamper.places import LUNG, make_block

from verict.datasets.masses import find_nodules
from verict.training.ctgan.data import ROOM, Bank
from verict.training.ctgan.nodules import DIAMETERS_MM, OWN_SURROUNDINGS, RealNodule, cut_nodules, vary_nodules
from verict.training.ctgan.quality import painted_nodule_mm

RADIUS_MM = 6


@pytest.fixture(scope="module")
def nodules() -> list[RealNodule]:
    """A ball of soft tissue in lung."""
    volume, lungs = make_block()
    away = np.linalg.norm(np.indices(volume.hu.shape) - np.array([40, 40, 40]).reshape(3, 1, 1, 1), axis=0)
    volume.hu[away <= RADIUS_MM] = 30
    return cut_nodules(volume, find_nodules(volume, lungs), "block")


@pytest.fixture(scope="module")
def healthy() -> Bank:
    rng = np.random.default_rng(0)
    return Bank.of(list(rng.normal(LUNG, 20, (5, 32, ROOM, ROOM)).astype(np.float32)), ["lung"] * 5)


def test_a_nodule_is_cut_with_what_surrounds_it_and_weighed_by_its_surface(nodules: list[RealNodule]) -> None:
    (nodule,) = nodules
    assert nodule.source == "block"
    assert nodule.diameter_mm == pytest.approx(2 * RADIUS_MM, abs=1.2)
    away = np.linalg.norm(np.indices(nodule.hu.shape) - (len(nodule.hu) - 1) / 2, axis=0)
    assert (nodule.weight[away < RADIUS_MM - 1.5] == 1).all()
    assert (nodule.weight[away > RADIUS_MM + 4] == 0).all()


@pytest.fixture(scope="module")
def varied(nodules: list[RealNodule], healthy: Bank) -> list[np.ndarray]:
    cuboids, sources = vary_nodules(nodules, healthy, 16, np.random.default_rng(3))
    assert sources == ["block"] * 16
    return cuboids


def test_variations_are_nodules_in_the_middle_of_the_sizes_that_are_wanted(varied: list[np.ndarray]) -> None:
    diameters = [painted_nodule_mm(cuboid[:, 8:40, 8:40]) for cuboid in varied]
    assert min(diameters) > DIAMETERS_MM[0] - 2.5
    assert max(diameters) < DIAMETERS_MM[1] + 2.5
    assert np.std(diameters) > 1.5


def test_lung_that_a_nodule_is_put_into_never_gets_darker(varied: list[np.ndarray], healthy: Bank) -> None:
    grounds = healthy.hu(np.arange(len(healthy)))
    put_in = [(cuboid - grounds).min(axis=(1, 2, 3)).max() >= 0 for cuboid in varied]
    assert abs(np.mean(put_in) - (1 - OWN_SURROUNDINGS)) < 0.3
    assert any(put_in)
    assert not all(put_in)


def test_the_same_generator_gives_the_same_variations(nodules: list[RealNodule], healthy: Bank) -> None:
    one, other = (vary_nodules(nodules, healthy, 3, np.random.default_rng(3))[0] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(one[0], one[1])
