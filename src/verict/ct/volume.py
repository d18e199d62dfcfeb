"""One CT series in memory: HU, geometry, headers, and what had to be repaired to get there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import pydicom

from verict.errors import InputError

GAP_STEPS = 1.5  # from here on a step between slices, in usual steps, is a gap
THICKEST_MM = 10.0  # slices of the chest are reconstructed up to 10 mm thick; a larger step leaves tissue out


@dataclass(frozen=True)
class Note:
    """Something a reader, detector or rule decided, so that nothing is repaired or left out silently.

    ``code`` is a stable snake_case name (``gap``, ``duplicate_slice``, ``gantry_tilt``, ...).
    """

    code: str
    message: str
    sop_instance_uids: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CTVolume:
    """One CT series, slices ordered along the normal of ImageOrientationPatient.

    Parameters
    ----------
    hu
        (z, y, x) int16 Hounsfield units, or float32 where the rescale slope or range need it.
    origins_mm
        (z, 3) float64, patient LPS position of the centre of voxel [z, 0, 0] in mm (PS3.3 C.7.6.2.1.1).
    row_direction, column_direction
        (3,) unit vectors: the direction in which x, respectively y, grows (ImageOrientationPatient).
    spacing_mm
        (z, y, x) in mm. z is the median distance between neighbouring slices along the normal; for a
        single slice it is SliceThickness, or 0.0 where that is missing.
    series_instance_uid, study_instance_uid
        As in the headers; "" where missing.
    sop_instance_uids, frame_numbers, source_files
        One entry a slice; the frame number is 1 for single-frame files.
    headers
        One dataset a slice without pixel data (shared between frames of a multi-frame file);
        empty in what pixel detectors see, see `without_headers`.
    slice_thickness_mm
        SliceThickness, or None.
    notes
        Every repair and every doubt.
    failures
        One error for each slice that could not be read; the volume holds the others.
    input_sha256
        SHA-256 over the sorted SHA-256 of every file of the series; "" where the volume was not read from files.
    """

    hu: np.ndarray
    origins_mm: np.ndarray
    row_direction: np.ndarray
    column_direction: np.ndarray
    spacing_mm: tuple[float, float, float]
    series_instance_uid: str
    study_instance_uid: str
    sop_instance_uids: tuple[str, ...]
    frame_numbers: tuple[int, ...]
    source_files: tuple[str, ...]
    headers: tuple[pydicom.Dataset, ...] = field(repr=False, default=())
    slice_thickness_mm: float | None = None
    notes: tuple[Note, ...] = ()
    failures: tuple[InputError, ...] = ()
    input_sha256: str = ""

    @property
    def slice_count(self) -> int:
        """Number of slices."""
        return self.hu.shape[0]

    @cached_property
    def normal(self) -> np.ndarray:
        """(3,) unit vector along which slices are ordered: row direction x column direction."""
        return np.cross(self.row_direction, self.column_direction)

    @cached_property
    def positions_mm(self) -> np.ndarray:
        """(z,) float64 position of each slice along the normal, ascending."""
        return self.origins_mm @ self.normal

    @cached_property
    def runs(self) -> tuple[slice, ...]:
        """Stretches of slices without a gap: neighbours at most `GAP_STEPS` usual steps apart.

        The usual step is the median step, or SliceThickness if that is less, but never more than
        `THICKEST_MM`. Slices at one and the same position are no neighbours: each stands alone.
        A detector that compares neighbours may do so inside a run only. Single slices, as in the
        published part of the UCI data set, are runs of length one.
        """
        usual_mm = min(self.spacing_mm[0], self.slice_thickness_mm or np.inf, THICKEST_MM)
        steps_mm = np.diff(self.positions_mm)
        breaks = np.flatnonzero((steps_mm > GAP_STEPS * usual_mm) | (steps_mm <= 0)) + 1
        edges = [0, *breaks.tolist(), self.slice_count]
        return tuple(slice(a, b) for a, b in pairwise(edges))

    @cached_property
    def affine(self) -> np.ndarray | None:
        """(4, 4) float64 from voxel (z, y, x, 1) to patient LPS mm, or None where slices are not equally spaced."""
        if self.slice_count > 1:
            steps = np.diff(self.origins_mm, axis=0)
            if np.abs(steps - steps.mean(0)).max() > 0.05 * max(self.spacing_mm[0], 0.1):
                return None
            z_step = steps.mean(0)
        else:
            z_step = self.normal * self.spacing_mm[0]
        affine = np.eye(4)
        affine[:3, 0] = z_step
        affine[:3, 1] = self.column_direction * self.spacing_mm[1]
        affine[:3, 2] = self.row_direction * self.spacing_mm[2]
        affine[:3, 3] = self.origins_mm[0]
        return affine

    def to_patient_mm(self, z: float, y: float, x: float) -> tuple[float, float, float]:
        """Patient LPS position in mm of a voxel position; z is interpolated between slices."""
        index = np.arange(self.slice_count)
        origin = np.array([np.interp(z, index, self.origins_mm[:, i]) for i in range(3)])
        point = origin + self.column_direction * y * self.spacing_mm[1] + self.row_direction * x * self.spacing_mm[2]
        return float(point[0]), float(point[1]), float(point[2])

    def without_headers(self) -> CTVolume:
        """The same volume with nothing but pixels and geometry: what a pixel detector is given."""
        return replace(
            self,
            headers=(),
            source_files=("",) * self.slice_count,
            sop_instance_uids=("",) * self.slice_count,
            series_instance_uid="",
            study_instance_uid="",
        )
