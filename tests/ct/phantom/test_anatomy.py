"""The simulated patient: every part where it belongs, the same from every side, another one for each seed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.spatial import cKDTree

from verict.ct.phantom.anatomy import Anatomy, draw_anatomy
from verict.ct.phantom.canvas import Canvas, make_raster
from verict.ct.phantom.metal import METAL_HU, MetalKind, draw_metal
from verict.ct.phantom.organs import lung_depth
from verict.ct.phantom.segments import Segments
from verict.ct.phantom.shapes import Ellipsoid, Tube, join, oval_depth
from verict.ct.phantom.texture import make_texture
from verict.ct.phantom.trees import grow_tree, split_bundle

SIZE, PIXEL_MM = 256, 1.45
SEEDS = (0, 1)


@cache
def know_patient(seed: int) -> Anatomy:
    """A patient drawn once for all tests."""
    return draw_anatomy(seed)


@pytest.fixture(params=SEEDS)
def patient(request: pytest.FixtureRequest) -> Anatomy:
    return know_patient(request.param)


def at(hu: np.ndarray, y_mm: float, x_mm: float, reach_mm: float = 4.0) -> float:
    """Median around a place of one plane."""
    y, x = (round((SIZE - 1) / 2 + v / PIXEL_MM) for v in (y_mm, x_mm))
    reach = max(1, round(reach_mm / PIXEL_MM))
    return float(np.median(hu[y - reach : y + reach + 1, x - reach : x + reach + 1]))


def organ(patient: Anatomy, name: str) -> Tube | Ellipsoid:
    return next(o.shape for o in patient.mediastinum.organs if o.name == name)


def test_a_plane_depends_on_its_own_height_alone(patient: Anatomy) -> None:
    heights = np.array([-40.0, 33.3, 5.0])
    together = patient.draw_slab(heights, 128, 2.8)
    assert together.dtype == np.float32
    assert together.shape == (3, 128, 128)
    for height, plane in zip(heights, together, strict=True):
        np.testing.assert_array_equal(patient.draw_slab(np.array([height]), 128, 2.8)[0], plane)


def test_same_seed_same_patient_and_another_seed_another() -> None:
    patients = know_patient(0), draw_anatomy(0), know_patient(1)
    one, again, other = (patient.draw_slab(np.array([0.0]), 128, 2.8) for patient in patients)
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.3


def test_a_finer_raster_shows_the_same_patient(patient: Anatomy) -> None:
    coarse = patient.draw_slab(np.array([10.0]), 128, 2.8)[0]
    fine = patient.draw_slab(np.array([10.0]), 256, 1.4)[0].reshape(128, 2, 128, 2).mean((1, 3))
    assert np.median(np.abs(coarse - fine)) < 25
    assert np.corrcoef(coarse.ravel(), fine.ravel())[0, 1] > 0.98


def test_tissues_have_their_density(patient: Anatomy) -> None:
    z = 0.0
    hu = patient.draw_slab(np.array([z]), SIZE, PIXEL_MM)[0]
    aorta = organ(patient, "descending aorta")
    y, x = (np.interp(-z, -aorta.path[:, 0], axis) for axis in aorta.path.T[1:])
    assert hu[0].max() < -700  # air before the patient
    assert at(hu, y, x) == pytest.approx(patient.mediastinum.blood_hu, abs=20)
    assert at(hu, patient.trunk.spine_y(z) + 22, 0, 2) == pytest.approx(36, abs=20)  # the cord
    body = patient.trunk.body_depth(z, (np.arange(SIZE) - 127.5)[:, None] * PIXEL_MM, np.zeros((1, 1)))[:, 0]
    fat = np.flatnonzero((body > 3) & (body < 4.5))  # under the skin of chest and back
    assert np.median(hu[fat, SIZE // 2]) == pytest.approx(-105, abs=40)
    assert at(hu, -45, -75, 8) < -750  # lung
    assert at(hu, -45, -75, 8) < at(hu, 45, -75, 8)  # denser at the back


def test_both_lungs_from_the_diaphragm_to_the_apex(patient: Anatomy) -> None:
    low, high = patient.z_range_mm
    heights = np.linspace(low, high, 15)
    slab = patient.draw_slab(heights, SIZE, PIXEL_MM)
    y, x = ((np.arange(SIZE) - (SIZE - 1) / 2) * PIXEL_MM for _ in "yx")
    lung = np.empty(slab.shape, bool)
    for z, one in zip(heights, lung, strict=True):
        points = np.stack(np.broadcast_arrays(z, y[:, None], x), axis=-1).reshape(-1, 3)
        one[:] = lung_depth(patient.trunk, patient.mediastinum, points).reshape(SIZE, SIZE) > 1
    area_cm2 = lung.sum((1, 2)) * PIXEL_MM**2 / 100
    assert 60 < area_cm2.max() < 400
    assert area_cm2[-1] < 0.3 * area_cm2.max()  # the apex is small
    assert area_cm2[0] < 0.3 * area_cm2.max()  # only the recesses reach so low
    middle = lung[7]
    assert middle[:, : SIZE // 2].any()
    assert middle[:, SIZE // 2 :].any()
    volume_l = area_cm2.sum() * (high - low) / 14 / 10 / 1000
    assert 2.5 < volume_l < 8.5  # adults in full inspiration
    assert np.median(slab[lung]) < -750


def test_vessels_taper_and_come_near_every_place_of_the_lungs(patient: Anatomy) -> None:
    vessels = patient.vessels
    assert (vessels.end_radius <= vessels.radius + 1e-3).mean() > 0.98
    assert vessels.end_radius.min() < 0.35
    assert 4 < vessels.radius.max() < 9
    rng = np.random.default_rng(0)
    low, high = patient.z_range_mm
    points = rng.uniform((low, -90, -130), (high, 90, 130), (20_000, 3))
    points = points[lung_depth(patient.trunk, patient.mediastinum, points) > 6]
    far = cKDTree(vessels.end).query(points)[0]
    assert np.quantile(far, 0.95) < 10
    assert (lung_depth(patient.trunk, patient.mediastinum, vessels.end.astype(float)) > -1).mean() > 0.9


def test_every_rib_and_vertebra_is_met_by_some_plane(patient: Anatomy) -> None:
    heights = np.arange(-100.0, 60.0, 4.0)
    slab = patient.draw_slab(heights, SIZE, PIXEL_MM)
    spine = np.rint((SIZE - 1) / 2 + patient.trunk.spine_y(heights) / PIXEL_MM).astype(int)
    body = np.array([np.median(one[y - 4 : y + 5, 124:132]) for one, y in zip(slab, spine, strict=True)])
    assert (body < 105).sum() >= 4  # discs between
    assert (body > 105).sum() >= 20  # the vertebrae
    bone = (slab > 350).any(axis=0)
    assert bone[:, :70].any()  # ribs on both sides
    assert bone[:, -70:].any()


def test_metal_only_where_it_was_asked_for() -> None:
    asked = draw_anatomy(0, metal=True)
    assert asked.metal is not None
    without = know_patient(0)
    assert without.metal is None
    found = {}
    for seed in range(20):
        metal = draw_metal(np.random.default_rng(seed), without.trunk, without.bones)
        found.setdefault(metal.kind, metal)
    assert set(found) == set(MetalKind)
    for metal in (asked.metal, *found.values()):
        heights = np.unique(metal.rods.start[:, 0])[::20][:3].astype(float)
        assert replace(without, metal=metal).draw_slab(heights, 512, 0.7).max() > 0.66 * METAL_HU
        assert without.draw_slab(heights, 512, 0.7).max() < 2000


def test_emphysema_and_texture_are_what_was_asked_for() -> None:
    asked = draw_anatomy(3, texture_sd_hu=10, emphysema=0.8)
    assert (asked.parenchyma.texture_sd_hu, asked.parenchyma.emphysema) == (10, 0.8)

    def lung_values(**more: float) -> np.ndarray:
        patient = replace(asked, parenchyma=replace(asked.parenchyma, **more))
        hu = patient.draw_slab(np.array([30.0]), 512, 0.7)[0]
        return hu[180:330, 90:190][hu[180:330, 90:190] < -600]

    healthy, ill = lung_values(emphysema=0.0), lung_values()
    assert (ill < -940).mean() > (healthy < -940).mean() + 0.05
    assert lung_values(texture_sd_hu=60, emphysema=0.0).std() > 1.3 * healthy.std()


@pytest.mark.parametrize("radius", [0.2, 0.35, 0.7, 2.0])
@pytest.mark.parametrize("tilt", [0.0, 1.0])
def test_a_tube_of_any_width_covers_its_section(radius: float, tilt: float) -> None:
    raster = make_raster(64, 0.7)
    ends = np.array([[-20, 1.3 - 20 * tilt, 0.4]], np.float32), np.array([[20, 1.3 + 20 * tilt, 0.4]], np.float32)
    wide = np.array([radius], np.float32)
    tube = Segments(*ends, wide, wide)
    area = np.mean([
        tube.cover(Canvas(raster, z, np.zeros((64, 64), np.float32))).sum() * 0.7**2 for z in np.linspace(-3, 3, 13)
    ])
    expected = np.pi * radius**2 * np.hypot(1, tilt)
    assert area == pytest.approx(expected, rel=0.1 if radius > 0.5 else 0.3)


def test_a_texture_is_seamless_and_falls_with_frequency_as_asked() -> None:
    texture = make_texture(np.random.default_rng(1), (32, 64, 64), 0.5, knee_per_mm=0.05, slope=1.5)
    assert texture.block.std() == pytest.approx(1, rel=1e-3)
    at_mm = np.arange(128) * 0.5
    plane = texture.plane(3.0, at_mm, at_mm)
    np.testing.assert_allclose(plane[:64, :64], texture.block[6], atol=1e-4)
    np.testing.assert_allclose(plane[64:, 64:], plane[:64, :64], atol=1e-4)
    between = texture.plane(3.25, at_mm[:64] + 0.25, at_mm[:64] + 0.25)
    assert between.std() == pytest.approx(1, rel=0.25)  # as strong between the values of the block as on them
    power = np.abs(np.fft.fftn(texture.block)) ** 2
    frequency = np.sqrt(sum(f**2 for f in np.ix_(*(np.fft.fftfreq(n, 0.5) for n in power.shape))))
    low, high = (power[(frequency > f * 0.9) & (frequency < f * 1.1)].mean() for f in (0.2, 0.8))
    assert np.log(low / high) / np.log((0.8**2 + 0.05**2) / (0.2**2 + 0.05**2)) == pytest.approx(1.5, abs=0.15)
    on_grid = texture.at(3.0, at_mm[:64, None], at_mm[None, :64])
    np.testing.assert_allclose(on_grid, texture.block[6], atol=1e-4)
    np.testing.assert_allclose(texture.at(np.full(5, 3.1), at_mm[:5], at_mm[:5]),
                               np.diag(texture.at(3.1, at_mm[:5, None], at_mm[None, :5])), atol=1e-4)


def test_a_tree_reaches_all_it_has_to_serve() -> None:
    rng = np.random.default_rng(2)
    targets = rng.uniform(-40, 40, (500, 3)) + np.array([0, 0, 60])
    tree = grow_tree(np.zeros(3), targets, rng)
    assert tree.served[0] == 500
    assert (tree.served == 1).sum() == 500
    children = tree.parent >= 0
    np.testing.assert_array_equal(np.bincount(tree.parent[children], tree.served[children], len(tree.served))
                                  [tree.served > 1], tree.served[tree.served > 1])
    np.testing.assert_array_equal(tree.start[children], tree.end[tree.parent[children]])
    assert np.quantile(cKDTree(tree.end).query(targets)[0], 0.9) < 8
    airways, arteries = split_bundle(tree, rng)
    assert len(airways.start) < len(arteries.start)
    apart = cKDTree(arteries.end).query(airways.end)[0]
    assert np.median(apart) < 8  # an artery runs beside each airway
    assert (apart > airways.end_radius).mean() > 0.9  # and not in it


def test_shapes_know_their_depth() -> None:
    ball = Ellipsoid.around((1, 2, 3), (5, 5, 5))
    assert ball.depth((1.0, 2.0, 6.0)) == pytest.approx(2.0, abs=1e-3)
    assert ball.depth((1.0, 2.0, 9.0)) == pytest.approx(-1.0, abs=0.3)
    assert ball.crosses(5.9, 0) and not ball.crosses(6.1, 0)
    long = Ellipsoid.around((0, 0, 0), (10, 2, 2), (0, 0.6, 0.8))
    assert long.depth((0.0, 5.4, 7.2)) == pytest.approx(1, abs=0.2)
    assert long.depth((0.0, 7.2, -5.4)) < -2
    tube = Tube.through([(0, 0, 0), (10, 0, 0), (10, 10, 0)], [4, 2, 2])
    assert tube.depth((5.0, 0.0, 0.0)) == pytest.approx(3)
    assert tube.depth((10.0, 5.0, 3.0)) == pytest.approx(-1)
    for shape in (ball, tube):
        assert shape.depth(tuple(shape.pick_edge(np.random.default_rng(1)))) == pytest.approx(0, abs=1.5)
    np.testing.assert_allclose(oval_depth(np.array([3.0]), np.array([0.0]), 5, 9, 2.4), 2)
    assert join(np.array([1.0]), np.array([1.0]), 4.0)[0] == pytest.approx(2.0)
    assert join(np.array([1.0]), np.array([-9.0]), 4.0)[0] == 1.0
