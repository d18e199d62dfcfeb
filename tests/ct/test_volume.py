"""Geometry of a volume, on volumes small enough to know the answer."""

import numpy as np
import pytest

from verict.ct.volume import CTVolume


def _volume(positions, *, thickness=1.0, spacing=1.0, shear=0.0):
    origins = np.array([[10.0, 20.0 + shear * z, z] for z in positions], dtype=np.float64)
    count = len(positions)
    return CTVolume(
        hu=np.zeros((count, 4, 6), np.int16),
        origins_mm=origins,
        row_direction=np.array([1.0, 0, 0]),
        column_direction=np.array([0, 1.0, 0]),
        spacing_mm=(spacing, 0.5, 0.25),
        series_instance_uid="1.2",
        study_instance_uid="1.3",
        sop_instance_uids=tuple(f"1.{i}" for i in range(count)),
        frame_numbers=(1,) * count,
        source_files=tuple(f"{i}.dcm" for i in range(count)),
        slice_thickness_mm=thickness,
    )


def test_affine_and_point_agree():
    volume = _volume([5, 6, 7], shear=0.2)
    z, y, x = 1, 3, 5
    point = volume.affine @ [z, y, x, 1]
    assert volume.to_patient_mm(z, y, x) == pytest.approx(tuple(point[:3]))
    assert tuple(point[:3]) == pytest.approx((10 + 5 * 0.25, 20 + 0.2 * 6 + 3 * 0.5, 6))


def test_a_point_between_slices_is_interpolated_across_a_gap():
    volume = _volume([0, 1, 5])
    assert volume.affine is None
    assert volume.to_patient_mm(1.5, 0, 0) == pytest.approx((10, 20, 3))


@pytest.mark.parametrize(
    ("positions", "thickness", "spacing", "lengths"),
    [
        ([0, 1, 2, 3], 1.0, 1.0, [4]),
        ([0, 1, 4, 5], 1.0, 1.0, [2, 2]),
        ([0, 10, 20], 1.0, 10.0, [1, 1, 1]),
        ([0, 1, 2], 2.0, 1.0, [3]),
        ([0, 1, 2], None, 1.0, [3]),
        ([7], None, 0.0, [1]),
        ([5, 5, 5], 1.0, 0.0, [1, 1, 1]),  # all at one place: nothing says which are neighbours
        ([5, 5, 5], None, 0.0, [1, 1, 1]),
        ([0, 1, 1, 2], 1.0, 1.0, [2, 2]),
        ([0, 81, 162], None, 81.0, [1, 1, 1]),  # far apart, thickness unknown
        ([0, 10, 20], None, 10.0, [3]),
    ],
)
def test_runs_end_where_tissue_is_missing(positions, thickness, spacing, lengths):
    runs = _volume(positions, thickness=thickness, spacing=spacing).runs
    assert [run.stop - run.start for run in runs] == lengths
    assert runs[0].start == 0
    assert runs[-1].stop == len(positions)


def test_a_single_slice_has_an_affine_by_its_thickness():
    assert np.allclose(_volume([7], spacing=2.0).affine[:, 0], [0, 0, 2, 0])


def test_without_headers_keeps_pixels_and_geometry_only():
    volume = _volume([0, 1])
    bare = volume.without_headers()
    assert bare.hu is volume.hu
    assert bare.sop_instance_uids == ("", "")
    assert np.array_equal(bare.origins_mm, volume.origins_mm)
