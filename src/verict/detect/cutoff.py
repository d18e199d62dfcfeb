"""Power beyond the reconstruction kernel's cutoff: a scanner leaves little there, painting fills it.

    s = ln P(corner) - ln P(middle) - the slice's median of that

P is the mean power of a window of 32 x 32 pixels, clipped at -500 HU, in a ring of its spectrum: the corner from 17
cycles a window on, beyond what any frequency along one axis reaches, and the middle from 7 to 9. In units of how much
s varies within the slice (1.4826 x the median of |s|).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import fft

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume, Note
from verict.detect.evidence import Evidence, Needs, ScoreMap
from verict.detect.spectrum import smooth_map
from verict.detect.spectrum_features import MIN_CELLS, ORIGIN_PX, STRIDE_PX, grid_shape
from verict.detect.window_power import AIR_HU, CEILINGS_HU, POWER_FLOOR, RINGS, WINDOW_PX

MIDDLE, CORNER = RINGS[3], RINGS[-1]
LEAST_SPREAD = 0.1  # of s within a slice: keeps slices of hardly any lung from looking certain
WORDS = "there is more power here beyond the reconstruction kernel's cutoff than elsewhere in the slice"

# From untouched scans alone: python benchmarks/physics_detectors.py thresholds ../shared/data/authentic
THRESHOLDS = {
    "mark_threshold": 6.0,
    "decisive_threshold": 8.0,
    "run_mark_threshold": 4.0,
    "run_decisive_threshold": 6.0,
}


class CutoffDetector:
    """One untrained number a window, relative to its slice; works on single slices, sees pixels alone."""

    name = "cutoff"
    summary = "power beyond the reconstruction kernel's cutoff, slice by slice"
    needs = Needs(lungs=True)

    def examine(self, volume: CTVolume, lungs: LungRegion | None, *, workers: int | None = None) -> Evidence:
        """Score every window of the lungs. See `Detector.examine`."""
        mask = np.zeros(volume.hu.shape, bool) if lungs is None else np.asarray(lungs.mask)
        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            values = np.stack(list(pool.map(score_slice, volume.hu, mask)))
        notes = (Note("no_lungs", "cutoff: no lung region, nothing scored"),) if lungs is None else ()
        return Evidence(
            self.name,
            score_map=ScoreMap(values, STRIDE_PX, ORIGIN_PX),
            notes=notes,
            mark_threshold=THRESHOLDS["mark_threshold"],
            words=WORDS,
            thresholds=THRESHOLDS,
        )


def score_slice(hu: np.ndarray, lung_mask: np.ndarray) -> np.ndarray:
    """(rows, columns) float32 map of one slice, NaN where there is too little lung; higher = more suspicious.

    Parameters
    ----------
    hu
        (y, x) Hounsfield units.
    lung_mask
        (y, x) bool; windows centred in it are scored.
    """
    shape = grid_shape(*hu.shape)
    grid = np.full(shape, np.nan, np.float32)
    if min(shape) == 0:
        return grid
    centre = WINDOW_PX // 2
    rows, columns = np.nonzero(lung_mask[centre::STRIDE_PX, centre::STRIDE_PX][: shape[0], : shape[1]])
    if len(rows) < MIN_CELLS:
        return grid
    image = np.clip(hu, AIR_HU, CEILINGS_HU[0])
    view = np.lib.stride_tricks.sliding_window_view(image, (WINDOW_PX, WINDOW_PX))[::STRIDE_PX, ::STRIDE_PX]
    windows = view[rows, columns].astype(np.float32)
    windows = (windows - windows.mean(axis=(1, 2), keepdims=True)) * _TAPER
    spectrum = fft.rfft2(windows)
    energy = (spectrum.real**2 + spectrum.imag**2).reshape(len(rows), -1) @ _BANDS + POWER_FLOOR
    score = np.log(energy[:, 1]) - np.log(energy[:, 0])
    score -= np.median(score)
    grid[rows, columns] = score / max(1.4826 * float(np.median(np.abs(score))), LEAST_SPREAD)
    return smooth_map(grid)


def _band_means() -> np.ndarray:
    """(WINDOW_PX * (WINDOW_PX // 2 + 1), 2) float32: mean over the middle ring and over the corner."""
    cycles = WINDOW_PX * np.hypot(*np.meshgrid(fft.fftfreq(WINDOW_PX), fft.rfftfreq(WINDOW_PX), indexing="ij"))
    rings = [((cycles >= low) & (cycles < high)).ravel() for low, high in (MIDDLE, CORNER)]
    return np.stack([ring / ring.sum() for ring in rings], axis=1).astype(np.float32)


_BANDS = _band_means()
_TAPER = np.outer(np.hanning(WINDOW_PX), np.hanning(WINDOW_PX)).astype(np.float32)
