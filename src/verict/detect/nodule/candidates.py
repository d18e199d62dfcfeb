"""Where something round and bright may lie: differences of Gaussians over the lungs, at every size of a nodule.

A cascade of Gaussians on a grid of about 2 mm answers to blobs of 4 to 40 mm (Lindeberg, "Feature detection with
automatic scale selection", IJCV 1998). It is meant to miss nothing: vessels where they cross or turn, ribs and the
chest wall are among what it names, and `verict.detect.nodule.rays` with the network tells them apart.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume

SIGMAS_MM = (1.2, 1.8, 2.7, 4.0, 6.0, 9.0, 13.5)  # neighbours are subtracted: balls of 4 to 40 mm
CLIP_HU = (-950.0, 50.0)  # darker is emphysema, brighter is calcium and bone: neither makes a blob more of one
FINEST_MM = (2.0, 1.9, 1.9)  # the grid's steps reach up to this by averaging (z, y, x)
MARGIN_MM = 14.0  # beyond the lungs that the largest Gaussian sees
LEAST_HU = 25.0  # of a blob's answer; ground glass of 5 mm gives 50 and more
LEAST_DROP_HU = 10.0  # from the middle to both ends of any line through it, their mean; along a vessel it is none
DROP_AT = 2.0  # sigmas from the middle those ends lie
MOST = 800  # a run and size; those that drop most
DOUBLE_MM = 1.2  # of two places closer than this one is enough
SHIFTS = 3  # towards the middle of what is bright within 1.6 sigmas
SHIFT_LEAST_MM = 2.5
DARK_HU, FULL_HU = -780.0, -200.0  # what counts as bright for it, from nothing to fully


@dataclass(frozen=True, eq=False)
class Candidates:
    """Blobs of a volume.

    ``centres`` (n, 3) float64 voxels (z, y, x), ``sigma_mm`` (n,) their size (a ball's radius is about 1.6 times that),
    ``drop`` (n,) HU by which its ends lie below its middle along the line where they do so least.
    """

    centres: np.ndarray
    sigma_mm: np.ndarray
    drop: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> Candidates:
        return Candidates(self.centres[chosen], self.sigma_mm[chosen], self.drop[chosen])

    def __len__(self) -> int:
        return len(self.centres)


def find_candidates(volume: CTVolume, lungs: LungRegion, *, workers: int | None = 1) -> Candidates:
    """Every blob in the lungs; in 3D where slices have neighbours, on the slice where it has none.

    Parameters
    ----------
    volume, lungs
        A series and where its lungs are.
    workers
        Threads; None: one a core. What is found does not depend on it.
    """
    return _join([_find_in_run(volume, lungs, run, workers) for run in volume.runs if lungs.found[run].any()])


def _join(parts: Sequence[Candidates]) -> Candidates:
    """All of them in one."""
    return Candidates(
        np.concatenate([np.zeros((0, 3)), *(one.centres for one in parts)]),
        np.concatenate([np.zeros(0), *(one.sigma_mm for one in parts)]),
        np.concatenate([np.zeros(0), *(one.drop for one in parts)]),
    )


def _find_in_run(volume: CTVolume, lungs: LungRegion, run: slice, workers: int | None) -> Candidates:
    alone = run.stop - run.start == 1
    spacing = np.array(volume.spacing_mm)
    box = _bound(lungs.mask, run, spacing)
    factors = np.maximum(1, np.floor(FINEST_MM / spacing).astype(int))
    if alone:
        factors[0] = 1
    grid = _average(volume.hu[box], factors)
    inside = _average(lungs.mask[box], factors) >= 0.5
    step = spacing * factors
    levels = _smooth(grid, step, flat=alone)
    size = (1, 3, 3) if alone else (3, 3, 3)

    def find_of_size(number: int) -> Candidates:
        answer = levels[number] - levels[number + 1]
        peaks = np.argwhere((answer == ndimage.maximum_filter(answer, size)) & inside & (answer >= LEAST_HU))
        drop = _least_drop(levels[number], peaks, SIGMAS_MM[number], step, flat=alone)
        kept = np.argsort(-drop, kind="stable")[: min(MOST, int((drop >= LEAST_DROP_HU).sum()))]
        sigma_mm = float(np.sqrt(SIGMAS_MM[number] * SIGMAS_MM[number + 1]))
        places = peaks[kept] * factors + (factors - 1) / 2 + [side.start for side in box]
        return Candidates(_move_to_middle(volume, run, places, sigma_mm), np.full(len(kept), sigma_mm), drop[kept])

    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        parts = list(pool.map(find_of_size, range(len(SIGMAS_MM) - 1)))
    found = _join(parts)
    return found[_drop_doubles(found, spacing)]


def _drop_doubles(found: Candidates, spacing: np.ndarray) -> np.ndarray:
    """Indices of those that lie `DOUBLE_MM` from each that drops more, by falling drop."""
    order = np.argsort(-found.drop, kind="stable")
    at = found.centres[order] * spacing
    near = cKDTree(at).query_pairs(DOUBLE_MM, output_type="ndarray")
    gone = np.zeros(len(order), bool)
    for first, second in near[np.lexsort(near.T[::-1])]:  # the one that drops more comes first
        if not gone[first]:
            gone[second] = True
    return order[~gone]


def _least_drop(
    level: np.ndarray, places: np.ndarray, sigma_mm: float, step_mm: np.ndarray, *, flat: bool
) -> np.ndarray:
    """(n,) HU: the least drop from a blob's middle to the mean of both ends of a line, of 13 lines or (flat) 4."""
    lines = _lines(flat=flat)
    reach = lines * DROP_AT * sigma_mm / step_mm
    at = places[:, None, None] + np.stack([reach, -reach], axis=1)
    ends = ndimage.map_coordinates(level, at.reshape(-1, 3).T, order=1, mode="nearest")
    return (level[tuple(places.T)][:, None] - ends.reshape(len(places), len(lines), 2).mean(axis=2)).min(axis=1)


def _lines(*, flat: bool) -> np.ndarray:
    """(n, 3) unit vectors (z, y, x), one for each line from a voxel to its neighbours."""
    steps = np.array([s for s in np.ndindex(3, 3, 3)]) - 1
    steps = steps[14:]  # one of each pair of opposite ones
    steps = steps[steps[:, 0] == 0] if flat else steps
    return steps / np.linalg.norm(steps, axis=1, keepdims=True)


def _move_to_middle(volume: CTVolume, run: slice, centres: np.ndarray, sigma_mm: float) -> np.ndarray:
    """(n, 3) voxels moved to the middle of what is bright around them, by mean shift on the volume's own voxels."""
    spacing = np.array(volume.spacing_mm)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 7)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    ball = grid[np.linalg.norm(grid, axis=1) <= 1]
    if run.stop - run.start == 1:
        ball = ball[ball[:, 0] == 0]
    offsets = ball * max(1.6 * sigma_mm, SHIFT_LEAST_MM) / spacing
    moved = centres.copy()
    for _ in range(SHIFTS):
        at = moved[:, None] + offsets
        at[..., 0] = np.clip(at[..., 0], run.start, run.stop - 1)
        hu = ndimage.map_coordinates(volume.hu, at.reshape(-1, 3).T, np.float32, order=1, mode="nearest")
        weight = np.clip((hu.reshape(at.shape[:-1]) - DARK_HU) / (FULL_HU - DARK_HU), 0, 1)[..., None]
        moved += (weight * offsets).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-6)
        moved[:, 0] = np.clip(moved[:, 0], run.start, run.stop - 1)
    return moved


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


def _smooth(grid: np.ndarray, step_mm: np.ndarray, *, flat: bool) -> list[np.ndarray]:
    """(z, y, x) float32 of each of `SIGMAS_MM`, each made from the one before."""
    levels = []
    done, narrow = 0.0, grid
    for sigma in SIGMAS_MM:
        further = np.sqrt(sigma**2 - done**2) / step_mm
        if flat:
            further[0] = 0.0
        narrow = ndimage.gaussian_filter(narrow, further, mode="nearest", truncate=3.0)
        done = sigma
        levels.append(narrow)
    return levels
