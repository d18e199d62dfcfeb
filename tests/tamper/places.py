"""Volumes with lungs of known shape, for tests of where a forgery may go."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume

AIR, TISSUE, LUNG = -1000, 40, -850


def make_volume(
    hu: np.ndarray, spacing_mm: tuple[float, float, float], positions_mm: Sequence[float] | None = None
) -> CTVolume:
    """An axial volume without headers; slices at multiples of the spacing unless positions are given."""
    count = len(hu)
    z_mm = np.arange(count) * spacing_mm[0] if positions_mm is None else np.array(positions_mm, float)
    return CTVolume(
        hu=hu,
        origins_mm=np.c_[np.zeros((count, 2)), z_mm],
        row_direction=np.array([1.0, 0, 0]),
        column_direction=np.array([0, 1.0, 0]),
        spacing_mm=spacing_mm,
        series_instance_uid="",
        study_instance_uid="",
        sop_instance_uids=("",) * count,
        frame_numbers=(1,) * count,
        source_files=("",) * count,
    )


def make_block(side_mm: int = 80, margin_mm: int = 40) -> tuple[CTVolume, LungRegion]:
    """A block of lung in soft tissue: lung where x < side, wall where x is beyond; 1 mm voxels, all in the region.

    The region is the lung and a margin of 6 mm.
    """
    shape = (side_mm, side_mm, side_mm + margin_mm)
    hu = np.full(shape, TISSUE, np.int16)
    hu[..., :side_mm] = LUNG
    mask = np.zeros(shape, bool)
    mask[..., : side_mm + 6] = True
    return make_volume(hu, (1.0, 1.0, 1.0)), LungRegion(mask, np.ones(side_mm, bool))
