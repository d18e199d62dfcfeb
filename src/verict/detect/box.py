"""Steps of the noise at the faces of a cuboid: a touched-up cube begins and ends between two slices.

Nothing is blended along z, so over a square of lung the noise changes from one slice to the next and changes back some
centimetres on. Two properties of the noise are followed along z, each over squares of `POOL_PX` pixels:

    V(z)       mean log power of the high-pass residual in blocks of 8 x 8 pixels
    C(z + 1/2) correlation of the levelled residuals of slices z and z + 1 (Fisher's transform)

each less the slice's median over the lungs, so that tube current and slices that overlap (spacing below thickness) take
nothing in. A face is a step of the mean over `REACH` slices on either side. The score of a slice is the lesser of the
clearest face below it and the clearest of opposite sign above it, in units of how much steps vary over the scan.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume, Note
from verict.detect.evidence import Evidence, Needs, ScoreMap
from verict.detect.noise_residual import LIMIT, high_pass

BLOCK_PX = 8
ORIGIN_PX = (BLOCK_PX - 1) / 2
POOL = 5  # blocks a side: 40 pixels, about a touched-up cube's side
POOL_PX = POOL * BLOCK_PX
REACH = 3  # slices on either side of a face
FARTHEST = 42  # slices from a face to the middle: half of CT-GAN's largest cube, and a few
LEAST_SLICES = 2 * REACH + 2
LEAST_LIT = 0.4  # share of a pool's blocks that are lung
FLOOR_HU2 = 0.5
WORDS = "the noise changes here between two slices and changes back some slices on, as at the faces of a cuboid"

# From untouched scans alone: python benchmarks/physics_detectors.py thresholds ../shared/data/authentic
THRESHOLDS = {
    "mark_threshold": 8.0,
    "decisive_threshold": 10.0,
    "run_mark_threshold": 7.0,
    "run_decisive_threshold": 9.0,
}


class BoxDetector:
    """Noise variance and slice-to-slice correlation along z; needs neighbouring slices, sees pixels alone."""

    name = "box"
    summary = "steps of the noise at the faces of a cuboid"
    needs = Needs(lungs=True, neighbours=True)

    def examine(self, volume: CTVolume, lungs: LungRegion | None, *, workers: int | None = None) -> Evidence:
        """Score every block of the lungs. See `Detector.examine`."""
        shape = volume.slice_count, volume.hu.shape[1] // BLOCK_PX, volume.hu.shape[2] // BLOCK_PX
        values = np.full(shape, np.nan, np.float32)
        short = 0
        for run in volume.runs:
            if lungs is None or run.stop - run.start < LEAST_SLICES:
                short += run.stop - run.start
                continue
            values[run] = score_run(volume.hu[run], np.asarray(lungs.mask[run]))
        said = f"box: {short} of {volume.slice_count} slices are in no run of {LEAST_SLICES}, or hold no lung region"
        return Evidence(
            self.name,
            score_map=ScoreMap(values, BLOCK_PX, ORIGIN_PX),
            notes=(Note("too_few_neighbours", said),) if short else (),
            mark_threshold=THRESHOLDS["mark_threshold"],
            words=WORDS,
            thresholds=THRESHOLDS,
        )


def score_run(hu: np.ndarray, lung_mask: np.ndarray) -> np.ndarray:
    """(z, rows, columns) float32 map of neighbouring slices, NaN outside the lungs; higher = more suspicious.

    Parameters
    ----------
    hu
        (z, y, x) Hounsfield units, at least `LEAST_SLICES` slices.
    lung_mask
        (z, y, x) bool.
    """
    power, likeness, lit = _follow(hu, lung_mask)
    score = np.maximum(_between_faces(_steps(power, 0)), _between_faces(_steps(likeness, 1)))
    return np.where(lit, score, np.nan).astype(np.float32)


def _follow(hu: np.ndarray, lung_mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """V (z), C (z - 1) pooled, both NaN where too little is lung; and which blocks are lung."""
    rows, columns = hu.shape[1] // BLOCK_PX, hu.shape[2] // BLOCK_PX
    lit = _blocks(lung_mask[:, : rows * BLOCK_PX, : columns * BLOCK_PX].astype(np.float32)) > 0.9
    power = np.full(lit.shape, np.nan, np.float32)
    likeness = np.full((len(hu) - 1, rows, columns), np.nan, np.float32)
    before: np.ndarray | None = None
    for z, of_slice in enumerate(hu):
        residual = high_pass(of_slice)[: rows * BLOCK_PX, : columns * BLOCK_PX]
        energy = _blocks(np.square(residual)[None])[0]
        power[z] = _pool(np.log(energy + FLOOR_HU2), lit[z])
        level = np.sqrt(energy + FLOOR_HU2).repeat(BLOCK_PX, 0).repeat(BLOCK_PX, 1)
        levelled = np.clip(residual / level, -LIMIT, LIMIT)
        if before is not None:
            both = _blocks((levelled * before)[None])[0]
            likeness[z - 1] = np.arctanh(np.clip(_pool(both, lit[z] & lit[z - 1]), -0.99, 0.99))
        before = levelled
    return power, likeness, lit


def _blocks(values: np.ndarray) -> np.ndarray:
    z, y, x = values.shape
    return values.reshape(z, y // BLOCK_PX, BLOCK_PX, x // BLOCK_PX, BLOCK_PX).mean(axis=(2, 4))


def _pool(values: np.ndarray, lit: np.ndarray) -> np.ndarray:
    """(rows, columns) mean of the lung blocks around each, less the slice's median; NaN where they are few."""
    share = ndimage.uniform_filter(lit.astype(np.float32), POOL, mode="constant")
    total = ndimage.uniform_filter(np.where(lit, values, 0).astype(np.float32), POOL, mode="constant")
    mean = np.where(share >= LEAST_LIT, total / np.maximum(share, 1e-6), np.nan)
    return mean - np.nanmedian(mean) if np.isfinite(mean).any() else mean


def _steps(followed: np.ndarray, shorter: int) -> np.ndarray:
    """(z + 1, rows, columns) steps at the faces below each slice, in units of their spread; 0 where undefined.

    ``followed`` has ``shorter`` slices fewer than the run: face f lies between its entries f - 1 - ``shorter`` and f.
    """
    count = len(followed) + shorter
    steps = np.full((count + 1, *followed.shape[1:]), np.nan, np.float32)
    for face in range(REACH + shorter, count + 1 - REACH - shorter):
        above = followed[face : face + REACH].mean(axis=0)
        below = followed[face - shorter - REACH : face - shorter].mean(axis=0)
        steps[face] = above - below
        if np.isfinite(steps[face]).any():
            steps[face] -= np.nanmedian(steps[face])
    spread = 1.4826 * float(np.nanmedian(np.abs(steps))) if np.isfinite(steps).any() else 1.0
    return np.nan_to_num(steps) / max(spread, 1e-3)


def _between_faces(steps: np.ndarray) -> np.ndarray:
    """(z, rows, columns): the lesser of a face at or below each slice and one of opposite sign above it."""
    score = np.zeros((len(steps) - 1, *steps.shape[1:]), np.float32)
    for sign in (1, -1):
        enter, leave = sign * steps, -sign * steps
        for z in range(len(score)):
            below = enter[max(0, z - FARTHEST + 1) : z + 1].max(axis=0)
            above = leave[z + 1 : z + 1 + FARTHEST].max(axis=0)
            np.maximum(score[z], np.minimum(below, above), out=score[z])
    return score
