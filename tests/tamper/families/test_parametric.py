"""A nodule by formula: its volume, density and blur, and the noise that goes through it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from tamper.lung_scene import PLAIN, aim_at, fine_texture, make_lung
from tamper.places import LUNG

from verict.ct.phantom.nodules import NoduleShape
from verict.errors import InputError
from verict.tamper.families.parametric import FAINT, ParametricNodule
from verict.tamper.forgery import ForgeryKind

HERE = (28.0, 40.0, 60.0)
each_shape = pytest.mark.parametrize("shape", NoduleShape)


def paint(shape: NoduleShape, diameter_mm: float | None = 14.0, seed: int = 1, scan=None, place=HERE):
    target = aim_at(scan or make_lung(), place, ForgeryKind.INJECT, diameter_mm)
    return target, ParametricNodule((shape,)).paint(target, np.random.default_rng(seed))


@each_shape
def test_no_voxel_falls_and_the_noise_goes_through(shape: NoduleShape) -> None:
    target, done = paint(shape, 20.0)
    before = target.hu[done.box]
    assert (done.hu >= before).all()
    assert done.details["shape"] == shape
    near = (1, 5, 5)
    even = ndimage.maximum_filter(done.weight, near) - ndimage.minimum_filter(done.weight, near) < 0.05  # no edge near
    inside = even & (done.weight > 0.4)
    assert inside.sum() > 50
    assert np.corrcoef(fine_texture(done.hu)[inside], fine_texture(before)[inside])[0, 1] > 0.85
    assert fine_texture(done.hu)[inside].std() == pytest.approx(fine_texture(before)[inside].std(), rel=0.25)


def test_a_solid_nodule_gets_the_noise_of_soft_tissue() -> None:
    """As in a scan whose lung has texture of its own beside the noise."""
    noisy, quiet = make_lung(noise_hu=40), make_lung(noise_hu=12)
    noisy[0].hu[:, :, 117:] = quiet[0].hu[:, :, 117:]
    _, done = paint(NoduleShape.ROUND, 16.0, scan=noisy)
    assert done.details["noise_share"] == pytest.approx(0.3, abs=0.06)
    inside = ndimage.binary_erosion(done.weight > 0.95, iterations=4)
    assert fine_texture(done.hu)[inside].std() / fine_texture(quiet[0].hu)[PLAIN].std() == pytest.approx(1, abs=0.35)


@each_shape
def test_density_is_that_of_its_kind(shape: NoduleShape) -> None:
    _, done = paint(shape, 16.0, seed=3)
    middle = np.median(done.hu[tuple(slice(n // 2 - 2, n // 2 + 3) for n in done.hu.shape)])
    through = 0.5 * (LUNG + 850)  # ground glass lets half of the lung through
    expected = {NoduleShape.GROUND_GLASS: done.details["hu"] + through, NoduleShape.PART_SOLID: done.details["core_hu"]}
    assert middle == pytest.approx(expected.get(shape, done.details["hu"]), abs=60)
    if shape in FAINT:
        assert -700 < done.details["hu"] < -500
        shell = (done.weight > 0.4) & (done.weight < 0.6)
        assert -750 < np.median(done.hu[shell]) < -500


@pytest.mark.parametrize("spacing_mm", [(1.0, 0.6, 0.6), (1.25, 0.8, 0.8), (5.0, 0.9, 0.9)])
def test_volume_is_the_same_on_every_grid(spacing_mm: tuple) -> None:
    target, done = paint(NoduleShape.LOBULATED, scan=make_lung(spacing_mm, noise_hu=10))
    added = (done.hu - target.hu[done.box]).sum() * math.prod(spacing_mm) / (done.details["hu"] - LUNG)
    assert added == pytest.approx(math.pi / 6 * 14**3, rel=0.12)


def test_edges_are_as_blurred_as_the_scan_s() -> None:
    sharp = make_lung((2.0, 0.7, 0.7), noise_hu=5)
    blurred = make_lung((2.0, 0.7, 0.7), noise_hu=5)
    blurred[0].hu[...] = ndimage.gaussian_filter(blurred[0].hu.astype(float), (0, 1.5, 1.5))
    wide = {}
    for name, scan in (("sharp", sharp), ("blurred", blurred)):
        _, done = paint(NoduleShape.ROUND, 16.0, scan=scan)
        assert done.details["is_edge_blur_measured"] is True
        wide[name] = done.details["edge_blur_mm"]
        partial = (done.weight > 0.05) & (done.weight < 0.95)
        wide[f"{name} rim"] = partial.sum() / (done.weight > 0.5).sum()
    assert wide["blurred"] == pytest.approx(1.05, abs=0.2)
    assert wide["sharp"] < 0.5
    assert wide["blurred rim"] > 1.5 * wide["sharp rim"]


def test_a_scan_without_edges_gets_blur_from_its_pixels() -> None:
    scan = make_lung()
    scan[0].hu[:, :, 70:] = LUNG
    _, done = paint(NoduleShape.ROUND, scan=scan, place=(28.0, 40.0, 36.0))
    assert done.details["is_edge_blur_measured"] is False
    assert done.details["edge_blur_mm"] == pytest.approx(0.6 * 0.8)


def test_vessels_stay() -> None:
    target, done = paint(NoduleShape.GROUND_GLASS, scan=make_lung(noise_hu=5), place=(24.0, 44.0, 28.0))
    hu = target.hu.astype(np.float32)
    hu[done.box] = done.hu
    vessel = (target.hu > -200)[16:23, 45:65, 30:36]
    assert vessel.any()
    assert np.abs((hu - target.hu)[16:23, 45:65, 30:36][vessel]).max() < 60
    assert (hu - target.hu).max() > 150


def test_sizes_and_shapes_are_drawn() -> None:
    target = aim_at(make_lung(), HERE, ForgeryKind.INJECT)
    drawn = [ParametricNodule().paint(target, np.random.default_rng(seed)).details for seed in range(12)]
    sizes = [d["diameter_mm"] for d in drawn]
    assert 5 <= min(sizes) < max(sizes) <= 22
    assert len({d["shape"] for d in drawn}) > 2
    assert not [d for d in drawn if d["diameter_mm"] < 8 and d["shape"] in FAINT]


def test_where_nothing_would_show_it_is_refused() -> None:
    scan = make_lung(noise_hu=5)
    grid = zip(scan[0].hu.shape, HERE, scan[0].spacing_mm, strict=True)
    away_mm = np.ix_(*(np.arange(n) * s - middle for n, middle, s in grid))
    scan[0].hu[sum(a**2 for a in away_mm) < 100] = 60
    with pytest.raises(InputError, match="would not show"):
        paint(NoduleShape.GROUND_GLASS, 8.0, scan=scan)
    with pytest.raises(InputError, match="hardly any lung"):
        target = aim_at(scan, HERE, ForgeryKind.INJECT, 5.0)
        ParametricNodule().paint(replace(target, lung=np.zeros_like(target.lung)), np.random.default_rng(0))
