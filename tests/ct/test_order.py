"""Order, duplicates, gaps and tilt, from positions alone."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verict.ct.order import Frame, describe_geometry, order_frames, thickness_of
from verict.errors import GeometryError

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def _frame(z, number=1, **changes):
    values = {
        "item": number - 1,
        "number": 1,
        "name": f"{number}.dcm",
        "sop_instance_uid": f"1.2.{number}",
        "instance_number": number,
        "position_mm": (0.0, 0.0, float(z)),
        "orientation": AXIAL,
        "pixel_spacing_mm": (0.7, 0.8),
        "slice_thickness_mm": 1.0,
    }
    return Frame(**{**values, **changes})


def _describe(frames):
    ordered = order_frames(frames)
    normal = np.cross(ordered.row_direction, ordered.column_direction)
    spacing, notes = describe_geometry(ordered.origins_mm, normal, ordered.frames)
    return spacing, [note.code for note in (*ordered.notes, *notes)], ordered, notes


def test_slices_are_ordered_by_position_and_not_by_number():
    spacing, codes, ordered, _ = _describe([_frame(2, 1), _frame(0, 3), _frame(1, 2)])
    assert [frame.position_mm[2] for frame in ordered.frames] == [0, 1, 2]
    assert spacing == 1.0
    assert codes == []
    assert ordered.pixel_spacing_mm == (0.7, 0.8)


def test_a_flipped_column_direction_reverses_the_order():
    flipped = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    _, _, ordered, _ = _describe([_frame(z, z + 1, orientation=flipped) for z in range(3)])
    assert [frame.position_mm[2] for frame in ordered.frames] == [2, 1, 0]


def test_a_gap_is_noted_with_its_place_and_size():
    _, codes, _, notes = _describe([_frame(z, z + 1) for z in (0, 1, 2, 6, 7)])
    assert codes == ["gap"]
    assert "2.00 to 6.00" in notes[0].message
    assert "about 3 slices missing" in notes[0].message
    assert notes[0].sop_instance_uids == ("1.2.3",)


def test_uneven_steps_are_noted():
    _, codes, _, _ = _describe([_frame(z, i + 1) for i, z in enumerate((0, 1, 2.3, 3.3))])
    assert codes == ["uneven_steps"]


def test_slices_further_apart_than_thick_are_noted():
    spacing, codes, _, _ = _describe([_frame(10 * z, z + 1) for z in range(4)])
    assert spacing == 10.0
    assert codes == ["spaced_slices"]


@pytest.mark.parametrize("degrees", [-12.0, 5.0, 25.0])
def test_gantry_tilt_is_noted_in_degrees(degrees):
    shear = math.tan(math.radians(degrees))
    frames = [_frame(0, z + 1, position_mm=(0.0, z * shear, float(z)), gantry_tilt_deg=degrees) for z in range(6)]
    spacing, codes, _, notes = _describe(frames)
    assert codes == ["gantry_tilt"]
    assert f"{abs(degrees):.1f} degrees" in notes[0].message
    assert f"says {degrees:g}" in notes[0].message
    assert spacing == pytest.approx(1.0)


def test_an_oblique_stack_without_shear_has_no_tilt_note():
    c, s = math.cos(0.3), math.sin(0.3)
    frames = [
        _frame(0, z + 1, orientation=(1.0, 0.0, 0.0, 0.0, c, s), position_mm=(0.0, -s * z, c * z)) for z in range(5)
    ]
    spacing, codes, _, _ = _describe(frames)
    assert codes == []
    assert spacing == pytest.approx(1.0)


def test_an_origin_that_wanders_is_noted():
    frames = [_frame(z, z + 1, position_mm=(5.0 * (z % 2), 0.0, float(z))) for z in range(6)]
    assert "moving_origin" in _describe(frames)[1]


def test_of_slices_at_one_position_the_lowest_number_stays():
    frames = [_frame(0, 1), _frame(1, 7), _frame(1.0001, 2), _frame(1, 5, instance_number=None), _frame(2, 3)]
    _, codes, ordered, _ = _describe(frames)
    assert [frame.instance_number for frame in ordered.frames] == [1, 2, 3]
    assert codes[0] == "duplicate_position"
    assert set(ordered.notes[0].sop_instance_uids) == {"1.2.7", "1.2.5"}


def test_a_slice_without_position_fails_and_the_others_stay():
    ordered = order_frames([_frame(0, 1), _frame(1, 2, position_mm=None), _frame(2, 3, position_mm=(0, 0, 1e9))])
    assert len(ordered.frames) == 1
    assert [failure.file for failure in ordered.failures] == ["2.dcm", "3.dcm"]
    assert all("ImagePositionPatient" in failure.tag for failure in ordered.failures)


def test_one_slice_without_position_is_examined_with_a_note():
    spacing, codes, ordered, _ = _describe([_frame(0, position_mm=None, slice_thickness_mm=None)])
    assert codes == ["position_missing", "thickness_missing"]
    assert spacing == 0.0
    assert not ordered.origins_mm.any()


def test_without_positions_the_instance_number_orders_with_a_note():
    spacing, codes, ordered, _ = _describe([_frame(0, number, position_mm=None) for number in (3, 1, 2)])
    assert [frame.instance_number for frame in ordered.frames] == [1, 2, 3]
    assert codes == ["position_missing"]
    assert spacing == 1.0


@pytest.mark.parametrize("changes", [{"instance_number": None}, {"instance_number": 4}, {"slice_thickness_mm": None}])
def test_without_anything_to_order_by_it_is_an_error(changes):
    with pytest.raises(GeometryError, match="nothing else orders"):
        order_frames([_frame(0, number, position_mm=None, **changes) for number in (1, 2)])


@pytest.mark.parametrize("spacing", [None, (0.0, 0.7), (-0.7, 0.7), (0.7, 500.0)])
def test_unusable_pixel_spacing_is_an_error(spacing):
    with pytest.raises(GeometryError) as caught:
        order_frames([_frame(0, pixel_spacing_mm=spacing)])
    assert caught.value.tag == "PixelSpacing (0028,0030)"


@pytest.mark.parametrize("orientation", [(0.0,) * 6, (1.0, 0, 0, 1.0, 0, 0), (2.0, 0, 0, 0, 2.0, 0)])
def test_direction_cosines_that_are_none_are_an_error(orientation):
    with pytest.raises(GeometryError, match="no directions"):
        order_frames([_frame(0, orientation=orientation)])


def test_a_missing_orientation_is_assumed_and_noted():
    _, codes, ordered, _ = _describe([_frame(z, z + 1, orientation=None) for z in range(3)])
    assert codes == ["orientation_missing"]
    assert ordered.row_direction.tolist() == [1, 0, 0]


def test_slightly_rounded_cosines_are_made_orthonormal():
    ordered = order_frames([_frame(0, orientation=(0.9999, 0.001, 0, 0, 0.9999, 0.001))])
    assert np.linalg.norm(ordered.row_direction) == pytest.approx(1)
    assert ordered.row_direction @ ordered.column_direction == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ((1, None, 3), "instance_number_missing"),
        ((1, 1, 2), "instance_number_repeated"),
        ((1, 3, 2), "instance_number_order"),
    ],
)
def test_instance_numbers_that_contradict_are_noted(numbers, code):
    frames = [_frame(z, z + 1, instance_number=number) for z, number in enumerate(numbers)]
    assert _describe(frames)[1] == [code]


def test_frames_in_another_plane_are_left_out_and_noted():
    other = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    frames = [_frame(z, z + 1, orientation=other if z == 3 else AXIAL) for z in range(4)]
    ordered = order_frames(frames)
    assert len(ordered.frames) == 3
    assert [note.code for note in ordered.notes] == ["frames_left_out"]


def test_thickness_is_the_commonest_usable_one():
    frames = [_frame(0, slice_thickness_mm=value) for value in (1.0, 2.0, 2.0, None, -3.0, -3.0, -3.0)]
    assert thickness_of(tuple(frames)) == 2.0


@given(st.permutations(range(12)))
def test_any_file_order_gives_the_same_slices(order):
    ordered = order_frames([_frame(z * 0.75, z + 1) for z in order])
    assert np.array_equal(ordered.origins_mm[:, 2], np.arange(12) * 0.75)
