"""Who may share a scan with whom, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from verict.datasets.sites import touch_up_slices
from verict.tamper import touch_ups
from verict.tamper.campaign.clearance import (
    WHOLE_SLICE_TOUCH_UPS,
    are_apart,
    fits,
    is_beside,
    is_clear,
    reach_voxels,
)

SPACING_MM = (1.0, 0.7, 0.7)  # a cuboid of 46 voxels, a touched-up cube of 59, 21 mm to either side in plane
HERE = (100, 200, 200)


def moved(z: int = 0, y: int = 0, x: int = 0) -> tuple[int, int, int]:
    return HERE[0] + z, HERE[1] + y, HERE[2] + x


@pytest.mark.parametrize("spacing_mm", [(1.0, 0.7, 0.7), (2.5, 0.9, 0.9), (5.0, 0.53, 0.53), (0.6, 0.8, 0.8)])
def test_the_reach_is_that_of_the_touched_up_cube(spacing_mm):
    assert reach_voxels(spacing_mm) == touch_up_slices(spacing_mm)


def test_touch_ups_of_whole_slices_are_those_of_their_module():
    registered = {name for name, where in touch_ups._TOUCH_UPS.items() if ".whole_slice:" in where}
    assert registered == WHOLE_SLICE_TOUCH_UPS


def test_touched_up_cubes_never_share_a_voxel():
    """Two cubes of 59 voxels whose centres are 59 apart along any one axis touch and do not overlap."""
    for axis in range(3):
        steps = np.eye(3, dtype=int)[axis]
        near, far = (tuple(int(v) for v in np.add(HERE, steps * gap)) for gap in (58, 61))
        assert not are_apart(HERE, near, ("copied", "copied"), SPACING_MM)
        assert are_apart(HERE, far, ("copied", "copied"), SPACING_MM)


def test_beside_a_touch_up_of_whole_slices_only_distance_along_z_counts():
    assert not are_apart(HERE, moved(x=200), ("copied", "resampled"), SPACING_MM)
    assert not are_apart(HERE, moved(x=200), ("jpeg2000", "copied"), SPACING_MM)
    assert are_apart(HERE, moved(z=61), ("copied", "resampled"), SPACING_MM)


def test_an_untouched_row_is_as_clear_of_paint_as_the_ruler_wants_it():
    """48 mm in plane are 68.6 pixels; along z it is 40 mm, more than half the cube of 59 slices of 1 mm."""
    assert is_clear(HERE, moved(x=69), "copied", SPACING_MM)
    assert not is_clear(HERE, moved(x=68), "copied", SPACING_MM)
    assert is_clear(HERE, moved(z=41), "copied", SPACING_MM)
    assert not is_clear(HERE, moved(z=40), "copied", SPACING_MM)
    assert not is_clear(HERE, moved(x=200), "resampled", SPACING_MM)
    assert is_clear(HERE, moved(z=41), "resampled", SPACING_MM)
    thick = (5.0, 0.7, 0.7)  # half the cube of 59 slices of 5 mm is 147.5 mm
    assert not is_clear(HERE, moved(z=29), "copied", thick)
    assert is_clear(HERE, moved(z=30), "copied", thick)


def test_untouched_rows_lie_a_cuboid_apart():
    assert is_beside(HERE, moved(z=32), SPACING_MM)
    assert not is_beside(HERE, moved(z=31), SPACING_MM)


def test_a_row_must_fit_beside_each_other_row():
    others = [(HERE, "copied"), (moved(z=120), "")]
    assert fits(moved(x=61), "copied", others, SPACING_MM)
    assert not fits(moved(x=61), "", others, SPACING_MM), "untouched, and only 43 mm from paint"
    assert not fits(moved(z=100, x=20), "white", others, SPACING_MM), "painted too near an untouched row"
    assert not fits(moved(z=120, x=10), "", others, SPACING_MM)
    assert fits(moved(z=120, x=100), "", others, SPACING_MM)
