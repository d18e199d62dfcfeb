"""A target is refused where a forgery could not be made or would not be one of the lung."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tamper.places import LUNG, TISSUE, make_block, make_volume

from verict.ct.lungs import LungRegion
from verict.errors import GeometryError, InputError, UsageError
from verict.tamper.forgery import ForgeryKind
from verict.tamper.target import aim, look_around, voxel_at

BOTH = pytest.mark.parametrize("kind", list(ForgeryKind))


@BOTH
def test_a_place_in_the_lung_is_a_target(kind: ForgeryKind) -> None:
    volume, lungs = make_block()
    target = aim(volume, lungs, (40, 41, 42), kind, diameter_mm=12.0)
    assert (target.centre, target.kind, target.diameter_mm) == ((40, 41, 42), kind, 12.0)
    assert target.hu is volume.hu
    assert target.lung is lungs.mask
    assert target.run == slice(0, 80)
    assert target.spacing_mm == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("centre", "axis"),
    [((80, 40, 40), "slices 0 to 79"), ((-1, 40, 40), "slices"), ((40, 80, 40), "rows 0 to 79"),
     ((40, 40, 120), "columns 0 to 119"), ((40, 40, -1), "columns")],
)
def test_a_place_outside_the_volume_is_refused(centre: tuple[int, int, int], axis: str) -> None:
    volume, lungs = make_block()
    with pytest.raises(InputError, match="outside the volume") as error:
        aim(volume, lungs, centre, ForgeryKind.INJECT)
    assert axis in str(error.value.expected)
    assert str(centre[0]) in str(error.value.found)


@BOTH
def test_a_place_outside_the_lung_is_refused(kind: ForgeryKind) -> None:
    volume, lungs = make_block()
    with pytest.raises(InputError, match="outside the lung") as error:
        aim(volume, lungs, (40, 40, 95), kind)
    assert "the nearest lung 17 mm away" in str(error.value.found)  # the voxel at the wall is smoothed to half wall
    assert error.value.next_step


def test_far_from_any_lung_is_told_as_such() -> None:
    volume, lungs = make_block(margin_mm=60)
    with pytest.raises(InputError, match="no lung near"):
        aim(volume, lungs, (40, 40, 130), ForgeryKind.REMOVE)


def test_a_scan_without_lung_is_refused() -> None:
    volume, lungs = make_block()
    with pytest.raises(InputError, match="no lung was found"):
        aim(volume, LungRegion(np.zeros_like(lungs.mask), np.zeros(80, bool)), (40, 40, 40), ForgeryKind.INJECT)


def test_a_mass_on_the_pleura_is_removed_from_but_not_injected_into() -> None:
    volume, lungs = make_block()
    z, y, x = np.ogrid[:80, :80, :120]
    mass = ((z - 40) ** 2 + (y - 40) ** 2 + (x - 80) ** 2 < 20**2) & (x < 80)  # half a ball of 40 mm on the wall
    hu, mask = volume.hu.copy(), lungs.mask.copy()
    hu[mass] = TISSUE
    mask[((z - 40) ** 2 + (y - 40) ** 2 + (x - 80) ** 2 < 14**2)] = False  # what closing bays did not reach
    volume, lungs = replace(volume, hu=hu), LungRegion(mask, lungs.found)
    middle = (40, 40, 74)
    assert not mask[middle]
    assert look_around(volume, lungs, middle).lung_share > 0.44
    assert aim(volume, lungs, middle, ForgeryKind.REMOVE).centre == middle
    with pytest.raises(InputError, match="outside the lung"):
        aim(volume, lungs, middle, ForgeryKind.INJECT)


def test_surroundings_are_measured_as_their_text_says() -> None:
    volume, lungs = make_block(margin_mm=60)
    z, y, x = np.ogrid[:80, :80, :140]
    for depth in (10, 15, 20):
        around = look_around(volume, lungs, (40, 40, 79 + depth))
        assert around.distance_mm == pytest.approx(depth, abs=1)
        assert around.lung_share == pytest.approx(0.16, abs=0.03)
        assert not around.is_lung
    hu = np.full(volume.hu.shape, LUNG, np.int16)
    hu[:, :, 50:79] = TISSUE  # a slab of 29 mm between two lungs
    around = look_around(replace(volume, hu=hu), LungRegion(np.ones(hu.shape, bool), lungs.found), (40, 40, 64))
    assert around.lung_share == pytest.approx(0.31, abs=0.03)
    assert not around.is_lung
    hu[:] = LUNG
    hu[(z - 40) ** 2 + (y - 40) ** 2 + (x - 60) ** 2 < 15**2] = TISSUE
    around = look_around(replace(volume, hu=hu), LungRegion(np.ones(hu.shape, bool), lungs.found), (40, 40, 60))
    assert around.distance_mm == pytest.approx(15, abs=1)
    assert around.lung_share == pytest.approx(7 / 8, abs=0.05)


def _slices(count: int, *, step_mm: float = 2.0, gap_after: int | None = None) -> tuple:
    hu = np.full((count, 48, 48), LUNG, np.int16)
    positions = np.arange(count) * step_mm
    if gap_after is not None:
        positions[gap_after + 1 :] += 20.0
    volume = make_volume(hu, (step_mm, 1.0, 1.0), positions)
    return volume, LungRegion(np.ones(hu.shape, bool), np.ones(count, bool))


def test_the_run_ends_at_a_gap_and_the_cuboid_must_not_reach_it() -> None:
    volume, lungs = _slices(40, gap_after=19)
    assert aim(volume, lungs, (10, 24, 24), ForgeryKind.INJECT).run == slice(0, 20)
    assert aim(volume, lungs, (11, 24, 24), ForgeryKind.INJECT).run == slice(0, 20)  # 16 mm to the last slice
    for z in (12, 19, 20, 27):
        with pytest.raises(InputError, match="slices are missing within the cuboid") as error:
            aim(volume, lungs, (z, 24, 24), ForgeryKind.INJECT)
        assert "before a gap" in str(error.value.found)
    assert aim(volume, lungs, (28, 24, 24), ForgeryKind.INJECT).run == slice(20, 40)


def test_half_the_cuboid_must_be_slices() -> None:
    volume, lungs = _slices(9)  # 16 mm from the first to the last
    assert aim(volume, lungs, (4, 24, 24), ForgeryKind.INJECT).run == slice(0, 9)
    volume, lungs = _slices(8)  # 14 mm
    with pytest.raises(InputError, match="too few slices") as error:
        aim(volume, lungs, (4, 24, 24), ForgeryKind.INJECT)
    assert "8 mm of slices below slice 4 and 6 mm above" in str(error.value.found)
    assert "15.5 of its 31 mm" in str(error.value.expected)


def test_a_single_slice_is_refused_whether_or_not_its_thickness_is_known() -> None:
    for step_mm in (2.0, 0.0):
        volume, lungs = _slices(1, step_mm=step_mm)
        with pytest.raises(InputError, match="a single slice"):
            aim(volume, lungs, (0, 24, 24), ForgeryKind.REMOVE)


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (2.0, 0.0, 1.0), (2.0, 1.0, float("nan"))])
def test_voxels_without_a_size_are_refused(spacing: tuple[float, float, float]) -> None:
    volume, lungs = _slices(20)
    with pytest.raises(GeometryError, match="size of the voxels"):
        aim(replace(volume, spacing_mm=spacing), lungs, (10, 24, 24), ForgeryKind.REMOVE)


@pytest.mark.parametrize("diameter", [0.0, -3.0, 500.0, float("nan")])
def test_a_diameter_that_makes_no_sense_is_refused(diameter: float) -> None:
    volume, lungs = make_block()
    with pytest.raises(UsageError, match="diameter"):
        aim(volume, lungs, (40, 40, 40), ForgeryKind.INJECT, diameter_mm=diameter)


def test_a_point_in_mm_is_the_voxel_whose_middle_is_nearest() -> None:
    volume, _ = _slices(40, gap_after=19)
    volume = replace(
        volume, origins_mm=np.add(volume.origins_mm, (-120.0, 30.0, -500.0)), spacing_mm=(2.0, 0.75, 0.5),
        row_direction=np.array([0.0, 1.0, 0.0]), column_direction=np.array([-1.0, 0.0, 0.0]),
    )
    for voxel in ((0, 0, 0), (12, 7, 40), (39, 47, 47), (25, 30, 3)):
        exact = np.array(volume.to_patient_mm(*voxel))
        assert voxel_at(volume, exact) == voxel
        assert voxel_at(volume, np.add(exact, (0.3, -0.2, 0.9))) == voxel


def test_a_point_outside_or_in_a_gap_is_refused_with_the_limits() -> None:
    volume, _ = _slices(40, gap_after=19)
    with pytest.raises(InputError, match="gap between slices") as error:
        voxel_at(volume, (20.0, 20.0, 48.0))
    assert "the nearest slice 10 mm away" in str(error.value.found)
    for point in ((20.0, 20.0, -1.5), (20.0, 20.0, 99.5), (48.0, 20.0, 10.0), (20.0, -0.6, 10.0)):
        with pytest.raises(InputError, match="outside the volume") as error:
            voxel_at(volume, point)
        assert error.value.expected == "x 0 to 47, y 0 to 47, z 0 to 98 mm"
    assert voxel_at(volume, (20.0, 20.0, -0.9)) == (0, 20, 20)
