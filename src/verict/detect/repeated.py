"""Two places of a scan that may bear the same noise, and where exactly they do.

A candidate says by which `Move` one place would become the other. `local_strength` then asks voxel by voxel:

    z(p) = sum_W R(p) R(m(p)) / sqrt(sum_W R(p)^2 R(m(p))^2) / s

over a small window W around p, m the move and s the spread of the same quantity under decoy moves a few pixels off,
at which the same tissue is compared but no noise could repeat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

WINDOW_MM, WINDOW_PX = 6.0, 17  # of W: along z, and across
LEAST_SHARE = 0.15  # of W must be in both places
SAME_HU = 2.5  # between residuals of the same voxel, twice rounded to whole HU and perhaps fitted to another level
SHARE_PX = 9  # side of the square in one slice that is asked how many of its voxels are the same
DECOYS = ((0, 11, 0), (0, 0, -11))  # px (z, y, x)

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Move:
    """Voxel p goes to ``matrix`` @ p + ``shift``: a mirror or quarter turn along (z, y, x), then a shift."""

    matrix: tuple[tuple[int, int, int], ...]
    shift: tuple[int, int, int]

    @classmethod
    def by_shift(cls, shift: tuple[int, int, int]) -> Move:
        """A shift alone."""
        return cls(((1, 0, 0), (0, 1, 0), (0, 0, 1)), shift)

    @property
    def is_turned(self) -> bool:
        """Whether there is a mirror or a turn in it."""
        return self.matrix != ((1, 0, 0), (0, 1, 0), (0, 0, 1))

    def apply(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) voxels (z, y, x), moved."""
        return points @ np.array(self.matrix).T + np.array(self.shift)

    def inverse(self) -> Move:
        """The move back."""
        back = np.array(self.matrix).T
        shift = -back @ np.array(self.shift)
        rows = tuple((int(a), int(b), int(c)) for a, b, c in back)
        return Move(rows, (int(shift[0]), int(shift[1]), int(shift[2])))


@dataclass(frozen=True)
class Repeat:
    """A candidate: noise of ``from_box`` may stand again where ``move`` takes it.

    ``strength`` tells how clearly, all voxels together, in standard deviations of no repeat; higher = more suspicious.
    """

    move: Move
    strength: float
    from_box: Box


def local_strength(
    first: np.ndarray, second: np.ndarray, repeat: Repeat, step_mm: float
) -> tuple[Box, np.ndarray, np.ndarray] | None:
    """How clearly the noise repeats around each voxel of the place that ``repeat`` moves to.

    Parameters
    ----------
    first
        (z, y, x) float32 levelled residual that is moved, 0 where it does not count.
    second
        The same of the scan it may stand in again.
    repeat
        The candidate.
    step_mm
        Between slices.

    Returns
    -------
    box
        Where the place lies in the scan.
    strength
        float32 of the box's shape, in standard deviations of no repeat, 0 where too little counts.
    correlation
        float32 of the box's shape, -1 to 1.
    None
        Where nothing of it lies inside the scan.
    """
    box = _moved_box(repeat, second.shape)
    if box is None:
        return None
    along = min(round(WINDOW_MM / max(step_mm, 0.1)) // 2 * 2 + 1, (len(second) - 1) // 2 * 2 + 1)
    size = (along, WINDOW_PX, WINDOW_PX)
    here = second[box]
    there = _fetch(first, repeat, box, (0, 0, 0))
    strength, correlation = _compare(here, there, size)
    decoys = [_compare(here, _fetch(first, repeat, box, decoy), size)[0] for decoy in DECOYS]
    spread = np.sqrt(np.mean([np.mean(d[d != 0] ** 2) if (d != 0).any() else 1.0 for d in decoys]))
    return box, strength / np.float32(max(spread, 1.0)), correlation


def exact_share(high: np.ndarray, counted: np.ndarray, repeat: Repeat, box: Box) -> np.ndarray:
    """How many voxels around each voxel of ``box`` are the very same where ``repeat`` takes them from.

    Two vessels may be alike, the noise on them is not: of noise of 10 HU one voxel in seven agrees to `SAME_HU`.

    Parameters
    ----------
    high
        (z, y, x) float32 HU, `verict.detect.noise_residual.high_pass` of the scan.
    counted
        (z, y, x) bool, voxels that count.
    repeat
        The candidate.
    box
        As `local_strength` gives it.

    Returns
    -------
    numpy.ndarray
        float32 of the box's shape, 0 to 1; higher = more surely pasted.
    """
    here, there = high[box], _fetch(high, repeat, box, (0, 0, 0))
    both = (counted[box] & _fetch(counted, repeat, box, (0, 0, 0)).astype(bool)).astype(np.float32)
    size = (1, SHARE_PX, SHARE_PX)
    same = _sum(np.where(np.abs(here - there) <= SAME_HU, both, 0), size)
    share = _sum(both, size)
    return np.where(share >= LEAST_SHARE, same / np.maximum(share, 1e-6), 0)


def _compare(here: np.ndarray, there: np.ndarray, size: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Z without the decoys' spread, and the correlation."""
    product = here * there
    both = (here != 0) & (there != 0)
    share = _sum(both.astype(np.float32), size)
    voxels = float(np.prod(size))
    total = _sum(product, size)
    enough = share >= LEAST_SHARE
    z = np.where(enough, total * np.sqrt(voxels) / np.sqrt(np.maximum(_sum(product**2, size), 1e-6)), 0)
    energy = _sum(np.where(both, here**2, 0), size) * _sum(np.where(both, there**2, 0), size)
    return z, np.where(enough, total / np.sqrt(np.maximum(energy, 1e-12)), 0)


def _sum(values: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    return ndimage.uniform_filter(values, size, mode="constant")


def _moved_box(repeat: Repeat, shape: tuple[int, ...]) -> Box | None:
    """The box that the repeat's box moves to, cut off at the scan's faces."""
    corners = np.array([[b.start, b.stop - 1] for b in repeat.from_box]).T
    ends = repeat.move.apply(corners)
    low, high = np.maximum(ends.min(axis=0), 0), np.minimum(ends.max(axis=0) + 1, shape)
    if (low >= high).any():
        return None
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return z, y, x


def _fetch(first: np.ndarray, repeat: Repeat, box: Box, decoy: tuple[int, int, int]) -> np.ndarray:
    """What the move brings to each voxel of a box, 0 from outside; a decoy takes it from a few pixels aside."""
    back = repeat.move.inverse()
    grids = np.ix_(*(np.arange(b.start, b.stop) for b in box))
    index, inside = [], np.ones((1, 1, 1), bool)
    for axis in range(3):
        at = sum(back.matrix[axis][k] * grids[k] for k in range(3)) + back.shift[axis] + decoy[axis]
        inside = inside & (at >= 0) & (at < first.shape[axis])
        index.append(np.clip(at, 0, first.shape[axis] - 1))
    return np.where(inside, first[tuple(index)], 0)
