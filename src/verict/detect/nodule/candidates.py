"""Where something round and bright may lie: differences of Gaussians over the lungs, at every size of a nodule.

A cascade of Gaussians on a grid of about 2 mm answers to blobs of 4 to 40 mm (Lindeberg, "Feature detection with
automatic scale selection", IJCV 1998). It is meant to miss nothing: vessels where they cross or turn, ribs and the
chest wall are among what it names, and `verict.detect.nodule.rays` with the network tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume

SIGMAS_MM = (1.2, 1.8, 2.7, 4.0, 6.0, 9.0, 13.5)  # neighbours are subtracted: balls of 4 to 40 mm
CLIP_HU = (-950.0, 50.0)  # darker is emphysema, brighter is calcium and bone: neither makes a blob more of one
FINEST_MM = (2.0, 1.9, 1.9)  # the grid's steps reach up to this by averaging (z, y, x)
MARGIN_MM = 14.0  # beyond the lungs that the largest Gaussian sees
LEAST_HU = 35.0  # of a blob's answer; ground glass of 5 mm gives 50 and more
MOST = 1500  # a run; the strongest


@dataclass(frozen=True, eq=False)
class Candidates:
    """Blobs of a volume.

    ``centres`` (n, 3) float64 voxels (z, y, x), ``sigma_mm`` (n,) their size (a ball's radius is about 1.6 times that),
    ``strength`` (n,) HU.
    """

    centres: np.ndarray
    sigma_mm: np.ndarray
    strength: np.ndarray

    def __len__(self) -> int:
        return len(self.centres)


def find_candidates(volume: CTVolume, lungs: LungRegion) -> Candidates:
    """Every blob in the lungs; in 3D where slices have neighbours, on the slice where it has none.

    Parameters
    ----------
    volume, lungs
        A series and where its lungs are.
    """
    found = [_find_in_run(volume, lungs, run) for run in volume.runs if lungs.found[run].any()]
    if not found:
        return Candidates(np.zeros((0, 3)), np.zeros(0), np.zeros(0))
    return Candidates(*(np.concatenate([getattr(one, name) for one in found])
                        for name in ("centres", "sigma_mm", "strength")))


def _find_in_run(volume: CTVolume, lungs: LungRegion, run: slice) -> Candidates:
    alone = run.stop - run.start == 1
    spacing = np.array(volume.spacing_mm)
    box = _bound(lungs.mask, run, spacing)
    factors = np.maximum(1, np.floor(FINEST_MM / spacing).astype(int))
    if alone:
        factors[0] = 1
    grid = _average(volume.hu[box], factors)
    inside = _average(lungs.mask[box], factors) >= 0.5
    step = spacing * factors
    answers = _subtract_neighbours(grid, step, flat=alone)
    best = answers.max(axis=0)
    size = (1, 3, 3) if alone else (3, 3, 3)
    peaks = (best == ndimage.maximum_filter(best, size)) & inside & (best >= LEAST_HU)
    places = np.argwhere(peaks)
    strength = best[peaks]
    kept = np.argsort(-strength, kind="stable")[:MOST]
    places, strength = places[kept], strength[kept]
    scale = answers.argmax(axis=0)[tuple(places.T)]
    centres = places * factors + (factors - 1) / 2 + [side.start for side in box]
    sigma_mm = np.sqrt(np.array(SIGMAS_MM)[scale] * np.array(SIGMAS_MM)[scale + 1])
    return Candidates(centres, sigma_mm, strength.astype(float))


def _bound(mask: np.ndarray, run: slice, spacing: np.ndarray) -> tuple[slice, slice, slice]:
    """The lungs' box within a run, with the margin the largest Gaussian needs."""
    part = mask[run]
    sides = [run]
    for axis in (1, 2):
        lit = np.flatnonzero(part.any(axis=tuple({0, 1, 2} - {axis})))
        reach = int(np.ceil(MARGIN_MM / spacing[axis]))
        sides.append(slice(max(0, int(lit[0]) - reach), min(mask.shape[axis], int(lit[-1]) + reach + 1)))
    return sides[0], sides[1], sides[2]


def _average(values: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """(z, y, x) float32 means of blocks; the last voxels repeat where a block is cut off. HU are clipped."""
    slices = []
    for start in range(0, len(values), int(factors[0])):
        block = values[start : start + int(factors[0])].astype(np.float32)
        if values.dtype != bool:
            block = np.clip(block, *CLIP_HU)
        plane = block.mean(axis=0)
        missing = [(0, int(-n % f)) for n, f in zip(plane.shape, factors[1:], strict=True)]
        plane = np.pad(plane, missing, mode="edge")
        rows, columns = (n // int(f) for n, f in zip(plane.shape, factors[1:], strict=True))
        slices.append(plane.reshape(rows, int(factors[1]), columns, int(factors[2])).mean(axis=(1, 3)))
    return np.stack(slices)


def _subtract_neighbours(grid: np.ndarray, step_mm: np.ndarray, *, flat: bool) -> np.ndarray:
    """(scales, z, y, x) float32: each Gaussian less the next wider one, bright blobs positive."""
    answers = []
    done, narrow = 0.0, grid
    for sigma in SIGMAS_MM:
        further = np.sqrt(max(sigma**2 - done**2, 0.0)) / step_mm
        if flat:
            further[0] = 0.0
        wide = ndimage.gaussian_filter(narrow, further, mode="nearest", truncate=3.0)
        if done:
            answers.append(narrow - wide)
        done, narrow = sigma, wide
    return np.stack(answers)
