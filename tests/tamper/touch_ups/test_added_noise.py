"""The noises of CT-GAN go where its code puts them, and where a family has a blend of its own, nowhere else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from tamper.lung_scene import aim_at, make_lung
from tamper.touch_ups.plain_paint import SmoothCuboid, SoftBall

from verict.ct.discover import find_series
from verict.ct.read import read_series
from verict.tamper.cubes import cube_around
from verict.tamper.families.ctgan import CtGan
from verict.tamper.forgery import Forgery, ForgeryKind, Paint, Target, forge
from verict.tamper.repaint import NoiseKind, RepaintConfig, repaint
from verict.tamper.touch_ups import create

NOISES = ("white", "zoomed", "copied")
NODULE_MM = (28.0, 40.0, 52.0)


@pytest.fixture(scope="module")
def scan():
    return make_lung((1.25, 0.8, 0.8), [(NODULE_MM, 10)])


@pytest.fixture(params=ForgeryKind)
def target(request, scan) -> Target:
    return aim_at(scan, NODULE_MM if request.param is ForgeryKind.REMOVE else (28.0, 40.0, 34.0), request.param)


class AsRepaint:
    """Paints the cuboid `verict.tamper.repaint` paints."""

    name = "as-repaint"
    summary = "the plain forger's cuboid"
    kinds = frozenset(ForgeryKind)

    def paint(self, target: Target, rng: np.random.Generator) -> Paint:
        config = RepaintConfig(touch_up=NoiseKind.NONE)
        painted, footprint, _ = repaint(
            target.hu, target.spacing_mm, target.centre, kind=target.kind, seed=3, config=config
        )
        sides = np.rint(32 / np.array(target.spacing_mm)).astype(int)
        cube = cube_around(target.centre, sides, target.hu.shape, run=target.run)
        assert footprint[cube.box].all()
        return Paint(cube.box, painted[cube.box].astype(np.float32), None, {"cuboid_voxels_zyx": sides.tolist()})


def test_copied_noise_is_blended_in_as_the_plain_forger_does(target: Target) -> None:
    """Nothing random is left of it once the cuboid is the same: the two codes must agree, halves rounded either way."""
    config = RepaintConfig(touch_up=NoiseKind.COPIED)
    expected, _, _ = repaint(target.hu, target.spacing_mm, target.centre, kind=target.kind, seed=3, config=config)
    forgery = forge(target, AsRepaint(), create("copied"), seed=1)
    np.testing.assert_allclose(forgery.hu, expected, rtol=0, atol=1)
    assert (forgery.hu != expected).sum() < 10


@pytest.mark.parametrize("name", ("none", *NOISES))
def test_only_the_cube_changes(target: Target, name: str) -> None:
    before = target.hu.copy()
    forgery = forge(target, SmoothCuboid(), create(name), seed=1)
    np.testing.assert_array_equal(target.hu, before)
    outside = np.ones(target.hu.shape, bool)
    outside[forgery.box] = False
    np.testing.assert_array_equal(forgery.hu[outside], before[outside])
    assert forgery.footprint.all()
    shape = [s.stop - s.start for s in forgery.box]
    assert shape == ([26, 40, 40] if name == "none" else [45, 52, 52])  # 1.3 x 40 voxels along z too, cut at the end
    details = forgery.record["touch_up_details"]
    assert json.loads(json.dumps(details)) == details
    assert details["noise"] == name
    if name != "none":
        assert details["touched_up_voxels"] == 52
        assert details["clamped_at_ends"] is True
    np.testing.assert_array_equal(forge(target, SmoothCuboid(), create(name), seed=1).hu, forgery.hu)


@pytest.mark.parametrize("name", NOISES)
def test_the_cube_stays_within_the_run(target: Target, name: str) -> None:
    short = replace(target, run=slice(15, 34))
    forgery = forge(short, SmoothCuboid(), create(name), seed=1)
    assert (forgery.box[0].start, forgery.box[0].stop) == (15, 34)
    assert forgery.record["touch_up_details"]["touched_up_voxels"] == 52


@pytest.mark.parametrize("name", ("none", *NOISES))
def test_noise_stays_within_a_weight_of_its_own(target: Target, name: str) -> None:
    bare = forge(target, SoftBall(), create("none"), seed=1)
    forgery = forge(target, SoftBall(), create(name), seed=1)
    assert forgery.box == forgery.painted_box == bare.box
    np.testing.assert_array_equal(forgery.footprint, bare.footprint)
    np.testing.assert_array_equal(forgery.hu[forgery.box][~forgery.footprint], target.hu[target_box(forgery)])
    core = ndimage.binary_erosion(forgery.footprint, iterations=6)
    added = (forgery.hu.astype(int) - bare.hu)[forgery.box][core].std()
    assert added == pytest.approx(0, abs=0) if name == "none" else added > 5


def target_box(forgery: Forgery) -> tuple[np.ndarray, ...]:
    """Indices of the box's voxels that are not of the footprint."""
    indices = np.nonzero(~forgery.footprint)
    return tuple(i + s.start for i, s in zip(indices, forgery.box, strict=True))


@pytest.mark.parametrize("name", NOISES)
def test_on_injection_no_voxel_of_a_cuboid_falls(scan, name: str) -> None:
    target = aim_at(scan, (28.0, 40.0, 34.0), ForgeryKind.INJECT)
    forgery = forge(target, SmoothCuboid(), create(name), seed=2)
    assert (forgery.hu >= target.hu).all()
    assert (forgery.hu > target.hu + 300).sum() > 300


def test_removal_gets_noise_of_the_published_level(scan) -> None:
    target = aim_at(scan, NODULE_MM, ForgeryKind.REMOVE)
    forgery = forge(target, SmoothCuboid(), create("white"), seed=2)
    z, y, x = target.centre
    middle = forgery.hu[z - 4 : z + 4, y - 8 : y + 8, x - 8 : x + 8].astype(float)
    rest = middle - ndimage.gaussian_filter(middle, (0, 4, 4))
    assert rest.std() == pytest.approx(30, rel=0.1)


def test_copied_noise_is_one_place_of_the_scan(scan) -> None:
    places = (NODULE_MM, (28.0, 42.0, 33.0))
    from_ = [forge(aim_at(scan, place, ForgeryKind.REMOVE), SmoothCuboid(), create("copied"), seed=seed)
             .record["touch_up_details"]["copied_from"] for seed, place in enumerate(places)]
    assert from_[0] == from_[1]


def test_copied_noise_gives_two_sites_of_one_scan_away(shared_data: Path) -> None:
    """On LIDC-IDRI-0314, of which three quarters of the fixed place are no lung and flattened, in the painted 20 mm."""
    volume = read_series(find_series(shared_data / "authentic" / "lidc-0314-philips-D").series[0], workers=2)
    lung, run = np.ones(volume.hu.shape, bool), slice(0, volume.slice_count)
    places = [(160, 243, 184), (110, 250, 360), (200, 300, 150), (180, 250, 380)]
    forged, untouched = [], []
    for seed, place in enumerate(places):
        target = Target(volume.hu, volume.spacing_mm, lung, place, ForgeryKind.REMOVE, run)
        forgery = forge(target, CtGan(lambda masked: masked), create("copied"), seed=seed)
        forged.append(residual(forgery.hu, place, volume.spacing_mm))
        untouched.append(residual(volume.hu, place, volume.spacing_mm))
    pairs = np.triu_indices(len(places), 1)
    assert np.corrcoef(forged)[pairs].min() > 0.25
    assert np.abs(np.corrcoef(untouched)[pairs]).max() < 0.16


def residual(hu: np.ndarray, place: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """What a Gaussian of 1.5 pixels takes away from the 20 mm around a place, vessels held down."""
    cube = cube_around(place, [2 * round(10 / s) for s in spacing_mm], hu.shape)
    wide = tuple(slice(s.start - 8, s.stop + 8) for s in cube.box[1:])
    slices = hu[(cube.box[0], *wide)].astype(np.float32)
    rest = (slices - ndimage.gaussian_filter(slices, (0, 1.5, 1.5)))[:, 8:-8, 8:-8]
    return np.clip(rest, -60, 60).ravel()
