"""Splicing: nodules and lung of another scan, on this scan's grid, at its level and with its grain."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from tamper.lung_scene import PLAIN, aim_at, fine_texture, make_lung
from tamper.places import LUNG, TISSUE

from verict.ct.discover import find_series
from verict.ct.lungs import LungRegion, find_lungs
from verict.ct.read import read_series
from verict.ct.volume import CTVolume
from verict.errors import InputError
from verict.tamper.donors import cut_donor
from verict.tamper.families.splice import PoissonSplice, Splice, of_fitting_grain, of_fitting_size
from verict.tamper.forgery import Donor, ForgeryKind
from verict.tamper.vicinity import cut_vicinity, diameter_of, find_nodule

INJECT, REMOVE = ForgeryKind.INJECT, ForgeryKind.REMOVE
HERE = (28.0, 40.0, 60.0)
both = pytest.mark.parametrize("family", [Splice(), PoissonSplice()], ids=lambda f: f.name)


def cut(scan, place_mm, kind, **more) -> Donor:
    site = tuple(round(p / s) for p, s in zip(place_mm, scan[0].spacing_mm, strict=True))
    return cut_donor(*scan, site, kind, **more)


@pytest.fixture(scope="module")
def nodule() -> Donor:
    return cut(make_lung((1.0, 0.8, 0.8), [((28, 56, 62), 12.0)], seed=5, noise_hu=20), (28, 56, 62), INJECT,
               diameter_mm=12, source="other")


@pytest.fixture(scope="module")
def healthy() -> Donor:
    return cut(make_lung((1.0, 0.8, 0.8), seed=6, noise_hu=80), (28, 45, 53), REMOVE, source="other")


@both
@pytest.mark.parametrize("wanted_mm", [9.0, None, 15.0])
def test_a_nodule_gets_the_wanted_size(family: Splice, wanted_mm: float | None, nodule: Donor) -> None:
    target = aim_at(make_lung(), HERE, INJECT, wanted_mm, [nodule])
    paint = family.paint(target, np.random.default_rng(1))
    hu = target.hu.copy()
    hu[paint.box] = paint.hu
    found = find_nodule(cut_vicinity(replace(target, hu=hu), 20), wanted_mm)
    assert found is not None
    assert diameter_of(found, target.spacing_mm) == pytest.approx(wanted_mm or 12, abs=1)
    assert paint.details["wanted_diameter_mm"] == pytest.approx(wanted_mm or 12, abs=0.7)


@pytest.mark.parametrize("spacing_mm", [(1.0, 0.6, 0.6), (5.0, 0.9, 0.9)])
def test_thick_slices_show_as_much_of_a_nodule_as_thin_ones(spacing_mm: tuple, nodule: Donor) -> None:
    target = aim_at(make_lung(spacing_mm), HERE, INJECT, 12.0, [nodule])
    paint = Splice().paint(target, np.random.default_rng(1))
    added = (paint.hu - target.hu[paint.box]).sum() * math.prod(spacing_mm) / (TISSUE - LUNG)
    assert added == pytest.approx(math.pi / 6 * 12**3, rel=0.2)


@both
def test_the_level_is_that_of_the_lung_here(family: Splice, healthy: Donor) -> None:
    scan = make_lung(nodules=[(HERE, 13.0)])
    scan[0].hu[...] = np.where(scan[0].hu < -600, scan[0].hu + 90, scan[0].hu)
    paint = family.paint(aim_at(scan, HERE, REMOVE, 13.0, [healthy]), np.random.default_rng(1))
    assert np.median(paint.hu[paint.weight > 0.95]) == pytest.approx(LUNG + 90, abs=12)


def test_poisson_follows_a_slope_of_the_lung_where_plain_splicing_does_not(healthy: Donor) -> None:
    scan = make_lung(nodules=[(HERE, 13.0)], noise_hu=10)
    x_mm = np.arange(scan[0].hu.shape[2]) * 0.8 - HERE[2]
    slope = np.rint(np.clip(8 * x_mm, -140, 140)).astype(np.int16)
    scan[0].hu[...] = np.where(scan[0].hu < -600, scan[0].hu + slope, scan[0].hu)
    off = {}
    for family in (Splice(), PoissonSplice()):
        paint = family.paint(aim_at(scan, HERE, REMOVE, 13.0, [healthy]), np.random.default_rng(1))
        error = ndimage.gaussian_filter(paint.hu - (LUNG + slope[paint.box[2]]), (1, 2, 2))
        off[family.name] = float(np.sqrt(np.mean(error[paint.weight > 0.95] ** 2)))
    assert off["splice-poisson"] < 0.65 * off["splice"]


@both
def test_grain_is_smoothed_to_that_of_the_scan(family: Splice, healthy: Donor) -> None:
    target = aim_at(make_lung(nodules=[(HERE, 13.0)], noise_hu=25), HERE, REMOVE, 13.0, [healthy])
    paint = family.paint(target, np.random.default_rng(1))
    assert paint.details["donor_blur_mm"] > 0
    assert paint.details["donor_grain_hu"] > 1.5 * paint.details["grain_hu"]
    fine, around = fine_texture(paint.hu)[paint.weight > 0.95], fine_texture(target.hu)[PLAIN]
    assert 0.5 < np.median(np.abs(fine)) / np.median(np.abs(around)) < 1.2


def test_lung_as_grainy_as_the_scan_is_preferred(healthy: Donor) -> None:
    smooth = replace(healthy, hu=ndimage.gaussian_filter(healthy.hu, 2), source="smooth")
    vicinity = cut_vicinity(aim_at(make_lung(), HERE, REMOVE), 20)
    assert of_fitting_grain([smooth, healthy, smooth], vicinity) == [healthy]
    assert of_fitting_grain([smooth], vicinity) == [smooth]


def test_a_nodule_that_need_not_be_scaled_far_is_preferred(nodule: Donor) -> None:
    small = replace(nodule, diameter_mm=5.0)
    assert of_fitting_size([small, nodule], 14.0) == [nodule]
    assert of_fitting_size([small, nodule], None) == [small, nodule]
    assert of_fitting_size([small], 14.0) == [small]


@both
def test_of_the_donated_lung_a_part_without_large_airways_is_taken(family: Splice, healthy: Donor) -> None:
    hollow = healthy.hu.copy()
    axis = np.arange(49) - 24
    hollow[:, np.hypot(*np.ix_(axis - 12, axis)) < 5] = -1000  # an airway along z, off the middle
    scan = make_lung(nodules=[(HERE, 9.0)])
    for seed in range(4):
        donor = replace(healthy, hu=hollow)
        paint = family.paint(aim_at(scan, HERE, REMOVE, 9.0, [donor]), np.random.default_rng(seed))
        dark = ndimage.gaussian_filter(paint.hu, (1, 1.5, 1.5)) < LUNG - 80
        assert (dark & (paint.weight > 0.9)).sum() * 0.8 < 120, "mm3; the airway has 800 in a nodule's height"


@both
def test_a_vessel_goes_on_into_the_nodule(family: Splice, nodule: Donor) -> None:
    target = aim_at(make_lung(noise_hu=5), (24.0, 44.0, 30.0), INJECT, 12.0, [nodule])  # a vessel at z 24, x 26 mm
    paint = family.paint(target, np.random.default_rng(1))
    before = target.hu[paint.box]
    vessel = before > -300
    assert vessel.any()
    assert (paint.hu - before)[vessel].min() > -250, "a vessel of 3 mm is dimmed at most"
    assert (paint.hu - before)[vessel].mean() > -40


@both
@pytest.mark.parametrize("kind", ForgeryKind)
def test_without_a_fitting_donor_it_is_refused(
    family: Splice, kind: ForgeryKind, nodule: Donor, healthy: Donor
) -> None:
    wrong = healthy if kind is INJECT else nodule
    target = aim_at(make_lung(nodules=[(HERE, 13.0)]), HERE, kind, 13.0, [wrong])
    with pytest.raises(InputError, match="nothing to splice in"):
        family.paint(target, np.random.default_rng(0))


@both
def test_too_little_lung_for_a_nodule_is_refused(family: Splice, healthy: Donor) -> None:
    small = replace(healthy, hu=healthy.hu[14:-14, 14:-14, 14:-14])
    with pytest.raises(InputError, match=r"too small .* found 10 mm .* expected \d"):
        family.paint(aim_at(make_lung(nodules=[(HERE, 13.0)]), HERE, REMOVE, 13.0, [small]), np.random.default_rng(0))


def test_a_donor_without_a_nodule_is_refused(nodule: Donor) -> None:
    empty = replace(nodule, hu=np.full_like(nodule.hu, -850))
    with pytest.raises(InputError, match="no nodule"):
        Splice().paint(aim_at(make_lung(), HERE, INJECT, 12.0, [empty]), np.random.default_rng(0))


@pytest.fixture(scope="module")
def lidc(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[CTVolume, LungRegion]:
    """Sixty slices around the documented nodule, which lies at slice 30, row 243, column 184."""
    folder = tmp_path_factory.mktemp("lidc")
    for file in sorted((shared_data / "authentic" / "lidc-0314-philips-D").glob("*.dcm"))[130:190]:
        shutil.copy(file, folder)
    volume = read_series(find_series(folder).series[0])
    return volume, find_lungs(volume)


@both
def test_a_real_nodule_goes_into_slices_of_5_mm_and_lung_of_a_5_mm_scan_over_it(
    family: Splice, lidc: tuple[CTVolume, LungRegion], shared_data: Path
) -> None:
    there = read_series(find_series(shared_data / "authentic" / "petctdx-philips-L").series[0])
    lungs = find_lungs(there)
    nodule = cut_donor(*lidc, (30, 243, 184), INJECT, diameter_mm=22, source="LIDC-IDRI-0314")
    target = aim_at((there, lungs), (150.0, 256 * 0.8418, 150 * 0.8418), INJECT, None, [nodule])
    paint = family.paint(target, np.random.default_rng(1))
    bright = (paint.hu > -400) & (target.hu[paint.box] < -600)
    assert 12 < diameter_of(bright, target.spacing_mm) < 19  # four readers: 22 mm at its longest
    healthy = cut_donor(there, lungs, (30, 256, 150), REMOVE, source="petctdx")
    back = aim_at(lidc, (30.0, 243 * 0.78125, 184 * 0.78125), REMOVE, 22.0, [healthy])
    assert (back.hu[back.centre[0] - 3 : back.centre[0] + 4, 240:247, 181:188] > -200).all()
    paint = family.paint(back, np.random.default_rng(1))
    hu = back.hu.copy()
    hu[paint.box] = paint.hu
    assert hu[back.centre[0] - 3 : back.centre[0] + 4, 240:247, 181:188].mean() < -750
