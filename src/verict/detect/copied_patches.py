"""Small patches of noise that stand in a scan twice, voxel by voxel, perhaps mirrored or turned: copy-move.

Key points are the extremes of the residual. Each one's patch of 7 x 7 pixels is described by its means over the ten
sets of pixels that mirrors and quarter turns of a square carry onto each other (its invariant part), scaled so that two
descriptions are never farther apart than the patches in their best turn (Bessel's inequality). So copies have
near descriptions, whatever their turn; the few pairs that are found are turned all eight ways and compared. One
move, exact to the voxel, that several of them share is a candidate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import ndimage

from verict.detect.noise_residual import high_pass
from verict.detect.repeated import Move, Repeat

REACH_PX = 3  # patches of 7 x 7
AROUND_PX = 8  # of a mask, so that no patch in it meets an edge that the slice has not
EXTREME_PX = 5  # a key point is the highest or the lowest of so many pixels a side
LEAST_LEVEL_HU = 4.0  # root mean square of a patch's residual: below it rounding to whole HU is most of it
NEAR = 0.05  # of descriptions, on the scale of patches of length 1; rounding moves them by 0.2 HU / the patch's level
ALIKE = 0.97  # correlation of two patches in their best turn
CELL, GRIDS, NEXT = 0.12, 4, 3  # cells of descriptions, grids of them, others of a cell that one is compared with
FAR_MM = 15.0  # nearer than this a place is compared with itself
LEAST_POINTS = 4  # of one move
MOVES = 24  # looked at closely
MARGIN_PX, MARGIN_MM = 20, 8.0  # around the points of a move

_SIDE = 2 * REACH_PX + 1


def find_copied_patches(
    hu: np.ndarray, mask: np.ndarray, spacing_mm: tuple[float, float, float], *, workers: int = 1
) -> list[Repeat]:
    """Moves that take one place of the scan to another with the same noise.

    Parameters
    ----------
    hu
        (z, y, x) HU; slices need not be neighbours, a copy is looked for in all of them.
    mask
        (z, y, x) bool, where to look.
    spacing_mm
        (z, y, x).
    workers
        Threads.

    Returns
    -------
    list of Repeat
        Both ways, the clearest first; ``strength`` is the square root of the number of key points times 10.
    """
    points, patches = _key_points(hu, mask, workers)
    if len(points) < 2 * LEAST_POINTS:
        return []
    first, second = _near_pairs(patches.reshape(len(points), -1) @ _INVARIANT)
    apart_mm = np.linalg.norm((points[first] - points[second]) * np.array(spacing_mm), axis=1)
    far = apart_mm >= FAR_MM
    return list(_agree(points, patches, first[far], second[far], spacing_mm))


def _key_points(hu: np.ndarray, mask: np.ndarray, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) voxels (z, y, x) and their (n, 7, 7) float32 patches of length 1."""
    points, patches = [np.empty((0, 3), int)], [np.empty((0, _SIDE, _SIDE), np.float32)]
    lit = np.flatnonzero(mask.any(axis=(1, 2)))
    with ThreadPoolExecutor(workers) as pool:
        for z, (y, x, here) in zip(lit, pool.map(lambda z: _of_slice(hu[z], mask[z]), lit), strict=True):
            points.append(np.stack([np.full(len(y), z), y, x], axis=1))
            patches.append(here)
    return np.concatenate(points), np.concatenate(patches)


def _of_slice(hu: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and patches of the key points of a slice; no more than is around its mask is looked at."""
    around = []
    for axis in (0, 1):
        inside = np.flatnonzero(mask.any(axis=1 - axis))
        around.append(slice(max(0, int(inside[0]) - AROUND_PX), int(inside[-1]) + 1 + AROUND_PX))
    residual = high_pass(hu[around[0], around[1]])
    extreme = (ndimage.maximum_filter(residual, EXTREME_PX) == residual) | (
        ndimage.minimum_filter(residual, EXTREME_PX) == residual
    )
    inner = np.zeros_like(extreme)
    inner[REACH_PX:-REACH_PX, REACH_PX:-REACH_PX] = True
    y, x = np.nonzero(extreme & mask[around[0], around[1]] & inner)
    view = np.lib.stride_tricks.sliding_window_view(residual, (_SIDE, _SIDE))
    here = view[y - REACH_PX, x - REACH_PX]
    here = here - here.mean(axis=(1, 2), keepdims=True)
    length = np.sqrt(np.square(here).sum(axis=(1, 2)))
    kept = length >= LEAST_LEVEL_HU * _SIDE
    return y[kept] + around[0].start, x[kept] + around[1].start, here[kept] / length[kept, None, None]


def _near_pairs(described: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both ways, the pairs of descriptions nearer than `NEAR` that share a cell of one of a few randomly laid grids.

    Sorting by cell takes seconds where a tree takes minutes. A pair 0.01 apart shares a cell of at least one grid with
    a chance of nine in ten, and of a copied place hundreds of pairs can be lost without harm.
    """
    rng = np.random.default_rng(0)
    pairs: set[tuple[int, int]] = set()
    for _ in range(GRIDS):
        cells = np.floor(described / CELL + rng.random(described.shape[1])).astype(np.int64)
        key = cells @ rng.integers(1, 2**62, described.shape[1])  # overflow wraps: a hash
        order = np.argsort(key)
        for step in range(1, NEXT + 1):
            same = np.flatnonzero(key[order[step:]] == key[order[:-step]])
            a, b = order[same], order[same + step]
            near = np.square(described[a] - described[b]).sum(axis=1) <= NEAR**2
            pairs.update(zip(a[near].tolist(), b[near].tolist(), strict=True))
    both = np.array(sorted(pairs | {(b, a) for a, b in pairs}), int).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _invariant() -> np.ndarray:
    """(49, 10) float32, orthonormal columns: sums over pixels that mirrors and turns carry onto each other."""
    offset = np.abs(np.arange(_SIDE) - REACH_PX)
    low, high = np.minimum.outer(offset, offset), np.maximum.outer(offset, offset)
    kinds = (low * _SIDE + high).ravel()
    columns = [(kinds == kind) / np.sqrt((kinds == kind).sum()) for kind in np.unique(kinds)]
    return np.stack(columns, axis=1).astype(np.float32)


_INVARIANT = _invariant()

_IN_PLANE = tuple((flip, quarters) for flip in (False, True) for quarters in range(4))


def _turn(patches: np.ndarray, flip: bool, quarters: int) -> np.ndarray:
    """(n, y, x) patches, mirrored along y and then turned by quarters, as `numpy.rot90` does."""
    return np.rot90(patches[:, ::-1] if flip else patches, quarters, (1, 2))


def _matrix(flip: bool, quarters: int) -> np.ndarray:
    """(2, 2) of (y, x): where a pixel's offset from the middle goes by `_turn`."""
    matrix = np.diag([-1, 1]) if flip else np.eye(2, dtype=int)
    for _ in range(quarters):
        matrix = np.array([[0, -1], [1, 0]]) @ matrix
    return matrix


def _agree(
    points: np.ndarray,
    patches: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    spacing_mm: tuple[float, float, float],
) -> Iterator[Repeat]:
    """Moves that several pairs of alike patches share."""
    votes: Counter[tuple[tuple[int, ...], ...]] = Counter()
    who: dict[tuple[tuple[int, ...], ...], list[np.ndarray]] = {}
    for flip, quarters in _IN_PLANE:
        alike = np.einsum("nij,nij->n", _turn(patches[first], flip, quarters), patches[second]) >= ALIKE
        a, b = points[first[alike]], points[second[alike]]
        for along in (1, -1):
            matrix = np.zeros((3, 3), int)
            matrix[0, 0], matrix[1:, 1:] = along, _matrix(flip, quarters)
            shifts = b - a @ matrix.T
            rows = tuple(tuple(int(v) for v in row) for row in matrix)
            for point, shift in zip(a, shifts, strict=True):
                key = (*rows, tuple(int(v) for v in shift))
                votes[key] += 1
                who.setdefault(key, []).append(point)
    for key, count in votes.most_common(MOVES):
        if count < LEAST_POINTS:
            return
        moved = np.array(who[key])
        margin = (round(MARGIN_MM / max(spacing_mm[0], 0.1)), MARGIN_PX, MARGIN_PX)
        z, y, x = (
            slice(max(0, int(c.min()) - m), int(c.max()) + m + 1) for c, m in zip(moved.T, margin, strict=True)
        )
        yield Repeat(Move(key[:3], key[3]), 10 * float(np.sqrt(count)), (z, y, x))  # type: ignore[arg-type]
