"""Volumes, score maps and cards built by hand, whose right answer is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.detect.evidence import Evidence, ScoreMap

MARK, DECISIVE, RUN_MARK, RUN_DECISIVE = 3.0, 5.0, 1.0, 2.0
CALIBRATION = {
    "mark_threshold": MARK,
    "decisive_threshold": DECISIVE,
    "run_mark_threshold": RUN_MARK,
    "run_decisive_threshold": RUN_DECISIVE,
}
STRIDE_PX, ORIGIN_PX = 8, 15.5
WORDS = "this looks odd"


def make_volume(
    positions_mm: Sequence[float] | int,
    *,
    hu: np.ndarray | None = None,
    size: tuple[int, int] = (96, 112),
    pixel_mm: tuple[float, float] = (0.7, 0.7),
    thickness_mm: float | None = None,
    shear: float = 0.0,
    row_direction: Sequence[float] = (1, 0, 0),
    column_direction: Sequence[float] = (0, 1, 0),
) -> CTVolume:
    """A volume with slices at those positions along the normal, or with that many slices 1 mm apart.

    ``shear`` moves each slice along the columns' direction by so many mm a mm, as a tilted gantry does.
    """
    if hu is not None and isinstance(positions_mm, int):
        positions_mm = len(hu)
    positions = np.arange(positions_mm, dtype=float) if isinstance(positions_mm, int) else np.array(positions_mm, float)
    across, down = np.array(row_direction, float), np.array(column_direction, float)
    origins = np.array([-20.0, 30.0, -100.0]) + positions[:, None] * (np.cross(across, down) + shear * down)
    count = len(positions)
    step = float(np.median(np.diff(positions))) if count > 1 else thickness_mm or 1.0
    return CTVolume(
        hu=np.full((count, *size), -850, np.int16) if hu is None else hu,
        origins_mm=origins,
        row_direction=across,
        column_direction=down,
        spacing_mm=(step, *pixel_mm),
        series_instance_uid="1.2.3",
        study_instance_uid="1.2",
        sop_instance_uids=tuple(f"1.2.3.{z}" for z in range(count)),
        frame_numbers=(1,) * count,
        source_files=tuple(f"{z}.dcm" for z in range(count)),
        slice_thickness_mm=thickness_mm,
    )


def make_evidence(values: np.ndarray, *, detector: str = "spectrum", calibration: dict | None = None) -> Evidence:
    """What a detector with that map and those thresholds would say."""
    calibration = calibration or CALIBRATION
    return Evidence(
        detector,
        score_map=ScoreMap(np.asarray(values, np.float32), STRIDE_PX, ORIGIN_PX),
        card={"id": detector, "version": "1", "sha256": "0" * 64, "calibration": calibration},
        mark_threshold=calibration["mark_threshold"],
        words=WORDS,
    )


def make_map(slices: int, rows: int = 9, columns: int = 11, *, fill: float = 0.0) -> np.ndarray:
    """A (z, rows, columns) float32 map of one value; the grid of `make_volume`'s default size."""
    return np.full((slices, rows, columns), fill, np.float32)


def make_noise(shape: tuple[int, ...], *, seed: int = 0, sigma_px: float = 0.9, noise_hu: float = 30.0) -> np.ndarray:
    """(..., y, x) float32 noise as a soft kernel leaves it: white noise blurred in-plane, of that spread."""
    white = np.random.default_rng(seed).standard_normal(shape)
    blurred = ndimage.gaussian_filter(white, (*[0] * (len(shape) - 2), sigma_px, sigma_px), mode="wrap")
    return (blurred * (noise_hu / blurred.std())).astype(np.float32)


def make_lung_hu(shape: tuple[int, ...], *, seed: int = 0, base_hu: float = -850.0) -> np.ndarray:
    """(..., y, x) int16: nothing but lung with blurred noise."""
    return np.rint(base_hu + make_noise(shape, seed=seed)).astype(np.int16)


def make_lungs(mask: np.ndarray) -> LungRegion:
    """The region of a (z, y, x) bool mask."""
    return LungRegion(mask, mask.any(axis=(1, 2)))
