"""Is the noise of one fixed place of the scan also elsewhere? CT-GAN's touch-up copies it from there.

Its published code takes noise of (0.5, 0.43, 0.27) of the scan's (z, y, x), flattens what lies above -800 HU so that no
vessel is copied along, and adds it around every site (Mirsky et al., USENIX Security 2019, and the code). So the
residual T of that place stands at each site, moved by one shift t:

    Z(t) = sum_p T(p) R(p + t) / sqrt(n(t) v)

R is the scan's residual (`verict.detect.noise_residual`), n(t) how many voxels count in both, v what the product varies
by on the slab at hand. Without a copy Z is about standard normal, however many voxels are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import fft

from verict.detect.noise_residual import level_residual
from verict.detect.repeated import Move, Repeat

SOURCE = (0.5, 0.43, 0.27)  # of (z, y, x): CT-GAN's published code
FLAT_ABOVE_HU = -800.0  # the same
HALF_SIDES = (32, 14)  # voxels of the place that are looked for: touched-up cubes measure 42 to 79, soft patches 25 on
SMALL_MM = 14.0  # the same along z for soft patches
SLAB = 96  # slices correlated at a time: bounds the memory
COARSE = 4  # grid on which voxels in common are counted
LEAST_VOXELS = 1500  # in common, or nothing is said
SAME_PX, SAME_MM = 20, 15.0  # nearer than this the place is compared with itself
CANDIDATES = 24  # shifts that are looked at closely
APART_PX = 6  # between two of them
LEAST_STRENGTH = 4.0  # of a shift that is looked at closely
MOST_PEAKS = 2000  # voxels, before those of one peak are joined


def find_source_shifts(
    hu: np.ndarray,
    whitening: np.ndarray,
    residual: np.ndarray,
    mask: np.ndarray,
    step_mm: float,
    *,
    workers: int,
) -> list[Repeat]:
    """The shifts at which the fixed place's noise stands most clearly.

    Parameters
    ----------
    hu
        (z, y, x) HU of the whole scan.
    whitening
        As `verict.detect.noise_residual.find_whitening` gives it.
    residual
        (z, y, x) float32 levelled residual, 0 where ``mask`` is False.
    mask
        (z, y, x) bool, voxels that may hold a forgery.
    step_mm
        Between slices.
    workers
        Threads.

    Returns
    -------
    list of Repeat
        At most `CANDIDATES` for each size of the place, clearest first; ``strength`` is Z, higher = more suspicious.
    """
    found: list[Repeat] = []
    whole = cut_source(hu, whitening)
    for half_side in HALF_SIDES:
        along = half_side if half_side == max(HALF_SIDES) else int(np.clip(SMALL_MM / max(step_mm, 0.1), 3, half_side))
        box, template, counted = _middle(whole, (along, half_side, half_side))
        if counted.sum() < LEAST_VOXELS:
            continue
        best = _search(box, template, counted, (residual, mask), step_mm, workers=workers)
        repeats = [Repeat(Move.by_shift(shift), strength, from_box=box) for shift, strength in best]
        found += sorted(repeats, key=lambda r: -r.strength)[:CANDIDATES]
    return found


Source = tuple[tuple[slice, slice, slice], np.ndarray, np.ndarray]


def cut_source(hu: np.ndarray, whitening: np.ndarray) -> Source:
    """Where the place lies, its levelled residual as it is copied, and which of its voxels count."""
    box = _box_around(hu.shape, max(HALF_SIDES))
    slices = hu[box[0]].astype(np.float32)  # whole ones: the whitening is made for their size
    part = slices[:, box[1], box[2]]
    flat = part > FLAT_ABOVE_HU
    part[flat] = part[~flat].mean() if not flat.all() else 0
    residual = level_residual(slices, whitening)[:, box[1], box[2]]
    return box, np.where(flat, 0, residual).astype(np.float32), ~flat


def _box_around(shape: tuple[int, ...], half_side: int) -> tuple[slice, slice, slice]:
    middle = [int(part * n) for part, n in zip(SOURCE, shape, strict=True)]
    z, y, x = (slice(max(0, c - half_side), min(n, c + half_side)) for c, n in zip(middle, shape, strict=True))
    return z, y, x


def _middle(whole: Source, half_sides: tuple[int, int, int]) -> Source:
    """The middle of the place alone."""
    box, residual, counted = whole
    inner = []
    for side, half_side in zip(box, half_sides, strict=True):
        middle = (side.start + side.stop) // 2
        inner.append(slice(max(side.start, middle - half_side), min(side.stop, middle + half_side)))
    z, y, x = (slice(i.start - s.start, i.stop - s.start) for i, s in zip(inner, box, strict=True))
    return (inner[0], inner[1], inner[2]), residual[z, y, x], counted[z, y, x]


def _search(
    box: tuple[slice, slice, slice],
    template: np.ndarray,
    counted: np.ndarray,
    scan: tuple[np.ndarray, np.ndarray],
    step_mm: float,
    *,
    workers: int,
) -> Iterator[tuple[tuple[int, int, int], float]]:
    """Shifts (z, y, x) from the source to where it stands again, with Z; the best few of each slab."""
    residual, mask = scan
    flat = np.any(mask, axis=0)
    rows, columns = _extent(np.any(flat, axis=1)), _extent(np.any(flat, axis=0))
    if rows is None or columns is None:
        return
    part, part_mask = residual[:, rows, columns], mask[:, rows, columns]
    shape = np.array(template.shape)
    size = (min(SLAB, len(part)), *part.shape[1:])
    full = [fft.next_fast_len(int(n + m - 1), real=True) for n, m in zip(size, shape, strict=True)]
    kernel = np.conj(fft.rfftn(template, full, workers=workers))
    for start in range(0, len(part), SLAB):
        stop = min(start + SLAB, len(part))
        spectrum = fft.rfftn(part[start:stop], full, workers=workers)
        spectrum *= kernel
        raw = fft.irfftn(spectrum, full, workers=workers)
        # lag 0 .. n-1 stand first, the negative ones at the end
        lags = [np.r_[0:n, -(m - 1) : 0] for n, m in zip((stop - start, *size[1:]), shape, strict=True)]
        raw = raw[np.ix_(*(lag % length for lag, length in zip(lags, full, strict=True)))]
        common = _count_common(part_mask[start:stop], counted, lags)
        strength = np.where(common >= LEAST_VOXELS / 2, raw / np.sqrt(np.maximum(common, 1)), 0)
        usual = strength[strength != 0]
        if usual.size < 1000:
            continue
        strength /= 1.4826 * np.median(np.abs(usual[:: max(1, usual.size // 200_000)])) + 1e-6
        offset = (start - box[0].start, rows.start - box[1].start, columns.start - box[2].start)
        shifts = [lag + o for lag, o in zip(lags, offset, strict=True)]
        _blank_itself(strength, shifts, step_mm)
        yield from _peaks(strength, shifts)


def _blank_itself(strength: np.ndarray, shifts: list[np.ndarray], step_mm: float) -> None:
    """Leave out shifts so small that the place is compared with itself and its own vessels."""
    near = [np.abs(shifts[0]) * step_mm <= SAME_MM, *(np.abs(s) <= SAME_PX for s in shifts[1:])]
    strength[np.ix_(*near)] = 0


def _peaks(strength: np.ndarray, shifts: list[np.ndarray]) -> Iterator[tuple[tuple[int, int, int], float]]:
    """The highest values, apart from each other."""
    flat = strength.ravel()
    high = np.flatnonzero(flat >= LEAST_STRENGTH)
    order = high[np.argsort(-flat[high])][:MOST_PEAKS]
    kept: list[np.ndarray] = []
    for index in order:
        at = np.array([s[i] for s, i in zip(shifts, np.unravel_index(index, strength.shape), strict=True)])
        if any(np.abs(at - other).max() < APART_PX for other in kept):
            continue
        kept.append(at)
        yield (int(at[0]), int(at[1]), int(at[2])), float(flat[index])
        if len(kept) == CANDIDATES:
            return


def _count_common(mask: np.ndarray, counted: np.ndarray, lags: list[np.ndarray]) -> np.ndarray:
    """How many voxels count in both at each lag, from a coarser grid."""
    a, b = (_coarsen(m.astype(np.float32)) for m in (mask, counted))
    full = [fft.next_fast_len(n + m - 1, real=True) for n, m in zip(a.shape, b.shape, strict=True)]
    both = fft.irfftn(fft.rfftn(a, full) * np.conj(fft.rfftn(b, full)), full) * COARSE**3
    index = [np.rint(lag / COARSE).astype(int) % n for lag, n in zip(lags, full, strict=True)]
    return both[np.ix_(*index)].astype(np.float32)


def _coarsen(values: np.ndarray) -> np.ndarray:
    """Mean of blocks of `COARSE` voxels a side; what is left over at the end counts as empty."""
    pad = [(0, -n % COARSE) for n in values.shape]
    padded = np.pad(values, pad)
    z, y, x = (n // COARSE for n in padded.shape)
    return padded.reshape(z, COARSE, y, COARSE, x, COARSE).mean(axis=(1, 3, 5))


def _extent(occupied: Any) -> slice | None:
    inside = np.flatnonzero(occupied)
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else None


