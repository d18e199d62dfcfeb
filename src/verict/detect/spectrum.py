"""Local noise against the scan's own noise: painted texture has another spectrum than the scanner's."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import ndimage

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume, Note
from verict.detect.evidence import Evidence, Needs, ScoreMap
from verict.detect.model import Model, load_model
from verict.detect.spectrum_features import FEATURE_COUNT, ORIGIN_PX, STRIDE_PX, grid_shape, slice_features
from verict.errors import say_count

SMOOTHING_CELLS = 0.6  # sigma of the average over neighbouring windows, which overlap by three quarters
WORDS = "the noise here does not have the spectrum of the noise around it and elsewhere in the slice"


class SpectrumDetector:
    """Radial and directional noise spectra of small windows, relative to a ring around them and to the slice.

    Looks at one slice at a time, so it works on single slices; it sees pixels and spacing, never headers.

    Parameters
    ----------
    model
        The model to use; the shipped one by default.
    """

    name = "spectrum"
    summary = "local noise spectrum against the scan's own noise, slice by slice"
    needs = Needs(lungs=True)
    marks_tampering = True

    def __init__(self, model: Model | None = None) -> None:
        self.model = model

    def examine(self, volume: CTVolume, lungs: LungRegion | None, *, workers: int | None = None) -> Evidence:
        """Score every window of the lungs. See `Detector.examine`."""
        model = self.model or load_model(self.name)
        model.require_width(FEATURE_COUNT)
        mask = np.zeros_like(volume.hu, dtype=bool) if lungs is None else lungs.mask
        spacing_mm = volume.spacing_mm[1:]

        def score(z: int) -> np.ndarray:
            return score_slice(volume.hu[z], mask[z], spacing_mm, model)

        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            values = np.stack(list(pool.map(score, range(volume.slice_count))))
        return Evidence(
            self.name,
            score_map=ScoreMap(values, STRIDE_PX, ORIGIN_PX),
            notes=note_undefined_slices(self.name, values, lungs),
            card=model.card,
            mark_threshold=model.calibration["mark_threshold"],
            words=WORDS,
        )


def score_slice(hu: np.ndarray, lung_mask: np.ndarray, spacing_mm: tuple[float, float], model: Model) -> np.ndarray:
    """(rows, columns) float32 score map of one slice, NaN where undefined; higher = more suspicious.

    Parameters
    ----------
    hu
        (y, x) Hounsfield units.
    lung_mask
        (y, x) bool.
    spacing_mm
        (y, x) in mm.
    model
        The spectrum model.
    """
    if not lung_mask.any() or min(grid_shape(*hu.shape)) == 0:
        return np.full(grid_shape(*hu.shape), np.nan, np.float32)
    features = slice_features(hu, lung_mask, spacing_mm)
    return smooth_map(features.to_map(model.score(features.values)))


def smooth_map(values: np.ndarray) -> np.ndarray:
    """(rows, columns) Gaussian average over neighbouring cells, the undefined ones left out."""
    defined = np.isfinite(values)
    weight = ndimage.gaussian_filter(defined.astype(np.float32), SMOOTHING_CELLS, mode="constant")
    total = ndimage.gaussian_filter(np.where(defined, values, 0).astype(np.float32), SMOOTHING_CELLS, mode="constant")
    return np.where(defined, total / np.maximum(weight, 1e-6), np.nan).astype(np.float32)


def note_undefined_slices(detector: str, values: np.ndarray, lungs: LungRegion | None) -> tuple[Note, ...]:
    """What a detector says of slices with lung that its (z, rows, columns) map leaves undefined."""
    if lungs is None:
        return (Note("no_lungs", f"{detector}: no lung region, nothing scored"),)
    missed = int((lungs.found & ~np.isfinite(values).any(axis=(1, 2))).sum())
    if not missed:
        return ()
    found = say_count(missed, "slice")
    return (Note("too_little_lung", f"{detector}: too little lung to compare its noise in {found}"),)
