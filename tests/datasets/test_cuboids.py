from __future__ import annotations

import numpy as np
import pytest
from datasets.uci_folders import make_volume

from verict.datasets.cuboids import Voxel, cut_cuboid, cut_window, locate_row
from verict.datasets.uci import LabelRow, SiteType
from verict.errors import DatasetError, UsageError

OFFSETS = np.arange(32) - 15.5
SPACING = (2.0, 0.5, 0.8)
GRADIENT = (10.0, 3.0, -2.0)  # HU a mm along z, y, x


def gradient_volume(shape=(30, 120, 100), **options):
    """A volume whose HU is linear in mm along each axis, so that linear resampling is exact."""
    z, y, x = (np.arange(n) * s * g for n, s, g in zip(shape, SPACING, GRADIENT, strict=True))
    hu = (z[:, None, None] + y[:, None] + x).astype(np.float32)
    return make_volume(hu, spacing_mm=SPACING, **options)


def expected_cuboid(site):
    centre = site.z * 20.0 + site.y * 1.5 - site.x * 1.6
    return centre + 10 * OFFSETS[:, None, None] + 3 * OFFSETS[:, None] - 2 * OFFSETS


@pytest.mark.parametrize("order", [1, 3])
def test_a_linear_gradient_is_cut_exactly(order):
    site = Voxel(15, 60, 50)
    cuboid = cut_cuboid(gradient_volume(), site, order=order)
    assert cuboid.shape == (32, 32, 32)
    assert cuboid.dtype == np.float32
    np.testing.assert_allclose(cuboid, expected_cuboid(site), atol=2e-3 if order == 1 else 0.2)


def test_unequal_steps_are_placed_by_position():
    positions = np.cumsum(np.tile([1.6, 2.4], 15))
    hu = np.repeat((positions * 10)[:, None, None], 64, axis=1).repeat(64, axis=2).astype(np.float32)
    volume = make_volume(hu, spacing_mm=(2.0, 1.0, 1.0), positions_mm=positions)
    cuboid = cut_cuboid(volume, Voxel(15, 32, 32))
    np.testing.assert_allclose(cuboid[:, 7, 9], (positions[15] + OFFSETS) * 10, atol=1e-3)


def test_a_tilted_gantry_is_followed():
    # a vertical wall of patient space: HU is the patient's y, whatever slice it is seen on
    shear_mm = 0.7
    y_mm = 5.0 + np.arange(160) * 0.5 + shear_mm * np.arange(30)[:, None]
    volume = make_volume(np.repeat(y_mm[:, :, None], 60, axis=2).astype(np.float32), spacing_mm=SPACING,
                         shear_mm=shear_mm)
    site = Voxel(14, 80, 30)
    wanted = np.broadcast_to((y_mm[14, 80] + OFFSETS)[None, :, None], (32, 32, 32))
    np.testing.assert_allclose(cut_cuboid(volume, site), wanted, atol=1e-3)


def test_edges_repeat_the_nearest_value():
    volume = gradient_volume()
    corner = cut_cuboid(volume, Voxel(9, 0, 99))
    assert (corner[:, :16, :] == corner[:, :1, :]).all()
    assert (corner[:, :, 16:] == corner[:, :, -1:]).all()
    low = cut_cuboid(volume, Voxel(1, 60, 50))
    assert (low[:14] == low[0]).all()
    np.testing.assert_allclose(low[14:], expected_cuboid(Voxel(1, 60, 50))[14:], atol=2e-3)


def test_int16_and_other_sides():
    volume = make_volume(np.full((20, 64, 64), -700, np.int16), spacing_mm=(1.0, 0.7, 0.7))
    cuboid = cut_cuboid(volume, Voxel(10, 30, 30), side_mm=8)
    assert cuboid.shape == (8, 8, 8)
    assert (cuboid == -700).all()


@pytest.mark.parametrize("site", [Voxel(0, 0, 0), Voxel(30, 5, 5), Voxel(5, 120, 5), Voxel(5, 5, -1)])
def test_places_that_are_no_site_are_refused(site):
    words = "is no site" if site == Voxel(0, 0, 0) else "outside the image"
    for cut in (cut_cuboid, cut_window):
        with pytest.raises(DatasetError, match=words):
            cut(gradient_volume(), site)


def test_missing_neighbours_are_refused_with_the_reason():
    single = gradient_volume((1, 64, 64))
    with pytest.raises(DatasetError, match=r"no neighbours; found a single slice at index 0; expected slices 15\.5 mm"):
        cut_cuboid(single, Voxel(0, 30, 30))
    positions = np.r_[np.arange(15), 20 + np.arange(15)] * 2.0
    gap = gradient_volume(positions_mm=positions)
    for z in (8, 14, 15, 21):
        with pytest.raises(DatasetError, match="slices are missing within the cuboid"):
            cut_cuboid(gap, Voxel(z, 60, 50))
    for z in (2, 6, 23, 29):
        assert cut_cuboid(gap, Voxel(z, 60, 50)).shape == (32, 32, 32)
    with pytest.raises(DatasetError, match=r"too few slices for a cuboid; found 14 mm of slices"):
        cut_cuboid(gradient_volume((8, 64, 64)), Voxel(4, 30, 30))


def test_windows_of_a_single_slice():
    volume = gradient_volume((1, 120, 100))
    site = Voxel(0, 60, 50)
    np.testing.assert_allclose(cut_window(volume, site), expected_cuboid(site)[15] + 5, atol=2e-3)
    assert cut_window(volume, site, pixel_mm=0.5).shape == (64, 64)
    native = cut_window(volume, site, pixel_mm=None)
    assert native.shape == (64, 40)
    np.testing.assert_array_equal(native, volume.hu[0, 28:92, 30:70])
    edge = cut_window(volume, Voxel(0, 0, 0 + 1), pixel_mm=None)
    assert (edge[:32] == edge[32]).all()


def row(**changes):
    return LabelRow(**{"experiment": 1, "type": SiteType.FB, "uuid": "1001", "slice": 12, "x": 40, "y": 50} | changes)


def test_rows_are_located_by_instance_number():
    volume = gradient_volume((5, 120, 100), numbers=[10, 11, 12, 13, 14])
    assert locate_row(volume, row()) == Voxel(2, 50, 40)
    with pytest.raises(DatasetError, match=r"TB of scan 1001 names no place; found slice, x, y = 0, 0, 0"):
        locate_row(volume, row(type=SiteType.TB, slice=0, x=0, y=0))
    with pytest.raises(DatasetError, match="the labelled slice is missing"):
        locate_row(volume, row(slice=15))
    with pytest.raises(DatasetError, match="outside the image"):
        locate_row(volume, row(x=100))
    with pytest.raises(DatasetError, match="there twice"):
        locate_row(gradient_volume((2, 120, 100), numbers=[12, 12]), row())
    with pytest.raises(UsageError, match="without headers"):
        locate_row(gradient_volume((2, 120, 100)), row())
