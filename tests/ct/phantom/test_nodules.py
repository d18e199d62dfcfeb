"""Nodules of the simulated chest: as large as stated, where stated, inside the lungs and apart."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from verict.ct.phantom.anatomy import Anatomy, draw_anatomy
from verict.ct.phantom.canvas import Canvas, make_raster
from verict.ct.phantom.nodules import (
    APART_MM,
    Attachment,
    Nodule,
    NoduleOrder,
    NoduleShape,
    _draw_lobes,
    _draw_spicules,
    make_nodule,
)
from verict.errors import InputError

AROUND_HU = -850.0


@pytest.fixture(scope="module")
def patient() -> Anatomy:
    return draw_anatomy(4, nodules=9)


def make_one(shape: NoduleShape, size: float, seed: int = 0) -> Nodule:
    rng = np.random.default_rng(seed)
    return make_nodule(np.array([3.0, -4.0, 5.5]), size, Attachment.FREE, shape, rng)


def paint(nodule: Nodule, step_mm: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """The nodule in even surroundings, (z, y, x) HU, and the (n,) positions in mm along each axis."""
    raster = make_raster(128, step_mm)
    slab = np.full((128, 128, 128), AROUND_HU, np.float32)
    for z, hu in zip(raster.at_mm, slab, strict=True):
        nodule.paint(Canvas(raster, float(z), hu))
    return slab, raster.at_mm


@pytest.mark.parametrize("shape", [NoduleShape.ROUND, NoduleShape.LOBULATED, NoduleShape.GROUND_GLASS])
@pytest.mark.parametrize("size", [5.0, 9.0, 18.0])
def test_volume_is_that_of_the_stated_diameter(shape: NoduleShape, size: float) -> None:
    nodule = make_one(shape, size)
    slab, at_mm = paint(nodule)
    share = (slab - AROUND_HU) / (slab.max() - AROUND_HU)
    if shape is NoduleShape.GROUND_GLASS:
        share = (share > 0.5).astype(float)  # its edge is wide
    assert share.sum() * 0.5**3 == pytest.approx(np.pi / 6 * size**3, rel=0.1)
    for axis, centre in enumerate(nodule.centre_zyx_mm):
        weight = share.sum(axis=tuple({0, 1, 2} - {axis}))
        assert (weight * at_mm).sum() / weight.sum() == pytest.approx(centre, abs=0.12 * size)


def test_density_is_as_stated() -> None:
    solid, glass, part = (make_one(s, 14.0, 3) for s in
                          (NoduleShape.SPICULATED, NoduleShape.GROUND_GLASS, NoduleShape.PART_SOLID))
    for nodule, expected in ((solid, solid.hu), (glass, glass.hu), (part, part.core_hu)):
        slab, at_mm = paint(nodule)
        middle = tuple(int(np.abs(at_mm - c).argmin()) for c in nodule.centre_zyx_mm)
        assert slab[middle] == pytest.approx(expected, abs=25)
    assert 0 < part.core_mm < part.diameter_mm
    assert -700 < part.hu < -500


def test_shapes_differ() -> None:
    def roughness(shape: NoduleShape) -> float:
        slab, at_mm = paint(make_one(shape, 16.0, 1))
        z, y, x = np.nonzero(slab > -300)
        away = np.linalg.norm(np.stack([at_mm[z], at_mm[y], at_mm[x]], 1) - (3.0, -4.0, 5.5), axis=1)
        return float(away.max() / 8.0)

    assert roughness(NoduleShape.ROUND) < 1.15
    assert 1.1 < roughness(NoduleShape.LOBULATED) < 1.8
    assert roughness(NoduleShape.SPICULATED) > 1.3


@pytest.mark.parametrize(("count", "height"), [(4, 0.08), (7, 0.45)])
def test_lobes_keep_the_volume(count: int, height: float) -> None:
    rng = np.random.default_rng(9)
    lobes = _draw_lobes(rng, count, height)
    unit = rng.standard_normal((3, 50_000))
    unit /= np.linalg.norm(unit, axis=0)
    bumps = 1 + sum(h * np.exp(4 * (np.array(d) @ unit - 1)) for *d, h in lobes[1:])
    assert np.mean((bumps * lobes[0, 3]) ** 3) == pytest.approx(1, rel=0.02)


def test_spicules_start_at_the_surface_and_thin_out() -> None:
    rays = _draw_spicules(np.zeros(3), 8.0, np.random.default_rng(0))
    assert np.linalg.norm(rays.start, axis=1).min() > 6
    assert np.linalg.norm(rays.end, axis=1).max() < 20
    assert (rays.end_radius < rays.radius).all()


def test_all_lie_inside_the_lungs_and_apart(patient: Anatomy) -> None:
    from verict.ct.phantom.organs import lung_depth

    assert len(patient.nodules) == 9
    centres = np.array([n.centre_zyx_mm for n in patient.nodules])
    depth = lung_depth(patient.trunk, patient.mediastinum, centres)
    for nodule, deep in zip(patient.nodules, depth, strict=True):
        assert deep > (0.75 if nodule.attachment is Attachment.WALL else 1.0) * nodule.diameter_mm / 2
        assert 4 <= nodule.diameter_mm <= 22
    for one, other in combinations(patient.nodules, 2):
        gap = np.linalg.norm(np.subtract(one.centre_zyx_mm, other.centre_zyx_mm))
        assert gap > (one.diameter_mm + other.diameter_mm) / 2 + APART_MM - 1e-6


def test_what_is_said_to_touch_a_vessel_does() -> None:
    order = NoduleOrder(4, diameter_mm=(8, 12), attachments=(Attachment.VESSEL,))
    patient = draw_anatomy(6, nodules=order)
    touching = [n for n in patient.nodules if n.attachment is Attachment.VESSEL]
    assert touching
    vessels = patient.vessels
    for nodule in touching:
        gap = np.linalg.norm(vessels.start - np.array(nodule.centre_zyx_mm), axis=1) - vessels.radius
        assert gap.min() < nodule.diameter_mm / 2


def test_an_order_is_kept() -> None:
    order = NoduleOrder(3, (8.0, 9.0), (NoduleShape.LOBULATED,), (Attachment.FREE,), (-20.0, 20.0), 100.0)
    for nodule in draw_anatomy(2, nodules=order).nodules:
        z, y, x = nodule.centre_zyx_mm
        assert -20 < z < 20
        assert max(abs(y), abs(x)) < 100
        assert 8 <= nodule.diameter_mm <= 9
        assert (nodule.shape, nodule.attachment) == (NoduleShape.LOBULATED, Attachment.FREE)


@pytest.mark.parametrize("order", [NoduleOrder(200, (20.0, 30.0)), NoduleOrder(1, z_mm=(390.0, 400.0))])
def test_more_than_fit_is_told(order: NoduleOrder) -> None:
    with pytest.raises(InputError, match="do not hold so many"):
        draw_anatomy(1, nodules=order)


def test_the_anatomy_shows_its_nodules(patient: Anatomy) -> None:
    for nodule in patient.nodules:
        if nodule.hu < -200:
            continue
        z, y, x = nodule.centre_zyx_mm
        plane = patient.draw_slab(np.array([z]), 512, 0.7)[0]
        row, column = (round(255.5 + v / 0.7) for v in (y, x))
        assert plane[row, column] == pytest.approx(nodule.hu, abs=15)
