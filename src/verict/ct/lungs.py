"""Where the lungs are, without a network.

Lungs are the large, mottled, air-filled parts of a body that air outside does not reach. The work is done on a
coarse grid of about 2 mm, slice by slice, and neighbouring slices are linked inside a run only:

1. *Candidates*: dark regions of each slice that the border of the image does not reach.
2. *Choice*: each candidate is measured (area, how lung-like its values are, how near it lies to the outside);
   candidates that overlap in neighbouring slices form one body part, and the body parts that are large and
   lung-like are kept. Gas in stomach, bowel and trachea is uniformly black and lung is not, which tells them apart.
3. *Region*: holes are filled (nodules, vessels), bays are closed (nodules at the pleura, vessels at the hilum) and
   a margin is added.

Nothing is random and nothing depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from verict.ct.volume import CTVolume, Note


@dataclass(frozen=True, eq=False)
class LungRegion:
    """The lungs of one volume, nodules inside them and a margin at the pleura included.

    ``mask`` is (z, y, x) bool; ``found`` is (z,) bool, False on slices without lung.
    """

    mask: np.ndarray
    found: np.ndarray
    notes: tuple[Note, ...] = ()

    @property
    def any_found(self) -> bool:
        """Whether any slice holds lung."""
        return bool(self.found.any())


@dataclass(frozen=True)
class LungRules:
    """The sizes and values `find_lungs` goes by; all were set on the authentic folders, none on forged pixels."""

    grid_mm: float = 2.0
    air_below_hu: int = -400
    lung_like_hu: tuple[int, int] = (-945, -500)
    lung_like_share: float = 0.3
    smallest_area_mm2: float = 40.0
    smallest_single_mm2: float = 600.0
    smallest_volume_mm3: float = 15_000.0
    smallest_relative: float = 0.02
    largest_hole_mm2: float = 3_000.0
    bay_mm: float = 12.0
    margin_mm: float = 6.0
    skin_mm: float = 8.0
    skin_share: float = 0.5


RULES = LungRules()
_CHUNK = 24  # coarse slices held at once
_IN_PLANE = np.zeros((3, 3, 3), bool)
_IN_PLANE[1] = ndimage.generate_binary_structure(2, 1)


@dataclass(frozen=True, eq=False)
class _Parts:
    """Candidates of one stretch of coarse slices: labels (z, y, x) from 1 a slice, and a table row a candidate."""

    labels: np.ndarray
    outside: np.ndarray
    slice_index: np.ndarray
    label: np.ndarray
    area_mm2: np.ndarray
    lung_like: np.ndarray
    near_skin: np.ndarray


@dataclass(frozen=True)
class _Grid:
    """How full slices become coarse ones: voxels per coarse voxel (z, y, x), and the coarse spacing in mm."""

    factors: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    def radius_px(self, length_mm: float) -> int:
        return max(1, round(length_mm / (0.5 * (self.spacing_mm[1] + self.spacing_mm[2]))))


def find_lungs(volume: CTVolume) -> LungRegion:
    """The lung region of a volume, or of each of its single slices."""
    mask = np.zeros(volume.hu.shape, bool)
    for run in _stretches(volume):
        grid = _choose_grid(volume, run)
        _find_in_run(volume.hu[run], mask[run], grid)
    found = mask.any((1, 2))
    notes: tuple[Note, ...] = ()
    if not found.any():
        notes = (Note("no_lung", "no lung was found in this series"),)
    return LungRegion(mask, found, notes)


def _stretches(volume: CTVolume) -> Iterator[slice]:
    """Runs, or every slice alone where the distance between slices is unknown."""
    if volume.spacing_mm[0] > 0:
        yield from volume.runs
    else:
        for z in range(volume.slice_count):
            yield slice(z, z + 1)


def _choose_grid(volume: CTVolume, run: slice) -> _Grid:
    z_mm, y_mm, x_mm = (s if np.isfinite(s) and s > 0 else 1.0 for s in volume.spacing_mm)
    alone = run.stop - run.start == 1
    factors = tuple(int(np.clip(round(RULES.grid_mm / s), 1, 16)) for s in (z_mm, y_mm, x_mm))
    factors = (1 if alone else factors[0], factors[1], factors[2])
    return _Grid(factors, (z_mm * factors[0], y_mm * factors[1], x_mm * factors[2]))


def _find_in_run(hu: np.ndarray, mask: np.ndarray, grid: _Grid) -> None:
    step = _CHUNK * grid.factors[0]
    starts = range(0, len(hu), step)
    parts = [_find_parts(_reduce(hu[a : a + step], grid.factors), grid) for a in starts]
    chosen = _choose(parts, grid, alone=len(hu) == 1)
    for start, part, keep in zip(starts, parts, chosen, strict=True):
        if not keep.any():
            continue
        table = np.zeros((len(part.labels), int(part.labels.max()) + 1), bool)
        table[part.slice_index[keep], part.label[keep]] = True
        lung = np.stack([t[s] for t, s in zip(table, part.labels, strict=True)])
        _enlarge(_shape(lung, part.outside, grid), mask[start : start + step], grid.factors)


def _reduce(hu: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """Block means of HU clipped to [-1024, 400], lightly smoothed in plane; (z, y, x) int16."""
    out = []
    for start in range(0, len(hu), factors[0]):
        total: np.ndarray | None = None
        group = hu[start : start + factors[0]]
        for one in group:
            clipped = np.clip(one, -1024, 400).astype(np.int16, copy=False)
            if one.dtype.kind == "f":
                clipped[one > 10_000] = -1024
            part = _sum_blocks(_sum_blocks(clipped, factors[1]).T, factors[2]).T
            total = part if total is None else total + part
        out.append(total * np.float32(1 / (factors[1] * factors[2] * len(group))))
    coarse = np.stack(out)
    for axis in (1, 2):
        coarse = ndimage.correlate1d(coarse, [0.25, 0.5, 0.25], axis, mode="nearest")
    return np.rint(coarse).astype(np.int16)


def _sum_blocks(image: np.ndarray, factor: int) -> np.ndarray:
    """Sums of `factor` neighbouring rows; the last row is repeated where they do not come out even; int32."""
    total = np.zeros((-(-image.shape[0] // factor), image.shape[1]), np.int32)
    for offset in range(factor):
        rows = image[offset::factor]
        total[: len(rows)] += rows
        if len(rows) < len(total):
            total[-1] += image[-1]
    return total


def _find_parts(coarse: np.ndarray, grid: _Grid) -> _Parts:
    """Dark regions of each coarse slice that the border does not reach, each with its measures."""
    air = coarse < RULES.air_below_hu
    labels, count = ndimage.label(air, _IN_PLANE)
    at_border = np.zeros(count + 1, bool)
    for edge in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        at_border[edge.ravel()] = True
    at_border[0] = False
    outside = at_border[labels]
    pixel_mm2 = grid.spacing_mm[1] * grid.spacing_mm[2]
    inner = ~_dilate(~air, 1) & ~outside
    low, high = RULES.lung_like_hu
    area = np.bincount(labels.ravel(), minlength=count + 1)
    inner_area = np.bincount(labels[inner], minlength=count + 1)
    like = np.bincount(labels[inner & (coarse > low) & (coarse < high)], minlength=count + 1)
    skin = np.bincount(labels[_dilate(outside, grid.radius_px(RULES.skin_mm)) & air], minlength=count + 1)
    good = ~at_border & (area * pixel_mm2 >= RULES.smallest_area_mm2) & (inner_area > 0)
    good[0] = False
    index = np.flatnonzero(good)
    first = np.asarray([labels[z].max(initial=0) for z in range(len(labels))])
    slice_index = np.searchsorted(np.maximum.accumulate(first), index)
    local = np.zeros(count + 1, np.uint16)
    number = np.arange(len(index)) - np.searchsorted(slice_index, slice_index) + 1
    local[index] = number
    return _Parts(
        labels=local[labels],
        outside=outside,
        slice_index=slice_index,
        label=number,
        area_mm2=area[index] * pixel_mm2,
        lung_like=like[index] / inner_area[index],
        near_skin=skin[index] / area[index],
    )


def _choose(parts: list[_Parts], grid: _Grid, *, alone: bool) -> list[np.ndarray]:
    """Which candidates are lung: one bool array for each stretch."""
    area = np.concatenate([p.area_mm2 for p in parts])
    like = np.concatenate([p.lung_like for p in parts])
    skin = np.concatenate([p.near_skin for p in parts])
    fits = (like >= RULES.lung_like_share) & (skin < RULES.skin_share)
    cuts = np.cumsum([len(p.area_mm2) for p in parts])[:-1]
    if not alone:
        group = _link(parts, fits)
        volume = np.bincount(group, area * fits) * grid.spacing_mm[0]
        height_mm = sum(len(p.labels) for p in parts) * grid.spacing_mm[0]
        least = min(RULES.smallest_volume_mm3, RULES.smallest_single_mm2 * height_mm)
        enough = volume >= max(least, RULES.smallest_relative * volume.max(initial=0))
        fits &= enough[group]
    else:
        fits &= area >= RULES.smallest_single_mm2
    return np.split(fits, cuts)


def _link(parts: list[_Parts], fits: np.ndarray) -> np.ndarray:
    """Body part number of each candidate: fitting ones that overlap in neighbouring slices belong together."""
    below = np.zeros(parts[0].labels.shape[1:], np.int64)
    rows = []
    first = 0
    for part in parts:
        counts = np.bincount(part.slice_index, minlength=len(part.labels))
        for count, labels in zip(counts, part.labels, strict=True):
            here = np.where(labels > 0, labels + np.int64(first), 0)
            both = (below > 0) & (here > 0)
            rows.append(np.unique(below[both] * (len(fits) + 1) + here[both]))
            below = here
            first += int(count)
    a, b = np.divmod(np.concatenate(rows), len(fits) + 1)
    keep = fits[a - 1] & fits[b - 1]
    graph = coo_array((np.ones(keep.sum(), bool), (a[keep] - 1, b[keep] - 1)), shape=(len(fits),) * 2)
    return connected_components(graph, directed=False)[1]


def _shape(lung: np.ndarray, outside: np.ndarray, grid: _Grid) -> np.ndarray:
    """Fill holes, close bays and add the margin, slice by slice."""
    pixel_mm2 = grid.spacing_mm[1] * grid.spacing_mm[2]
    lung = _fill_holes(lung, RULES.largest_hole_mm2 / pixel_mm2)
    bay, margin = grid.radius_px(RULES.bay_mm), grid.radius_px(RULES.margin_mm)
    wide = _dilate(lung, bay)
    closed = ~_dilate(~wide, bay - margin) if bay > margin else wide
    closed = _fill_holes(closed, RULES.largest_hole_mm2 / pixel_mm2)
    return closed & ~outside


def _fill_holes(mask: np.ndarray, largest_px: float) -> np.ndarray:
    """`mask` with the holes of each slice filled that have at most `largest_px` pixels."""
    labels, count = ndimage.label(~mask, _IN_PLANE)
    area = np.bincount(labels.ravel(), minlength=count + 1)
    hole = area <= largest_px
    for edge in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        hole[edge.ravel()] = False
    return mask | hole[labels]


def _dilate(mask: np.ndarray, radius_px: int) -> np.ndarray:
    """Each slice of (z, y, x) `mask` grown by an octagon, near enough to a disc of `radius_px`."""
    for turn in range(radius_px):
        grown = mask.copy()
        grown[:, 1:] |= mask[:, :-1]
        grown[:, :-1] |= mask[:, 1:]
        rows = grown if turn % 2 else mask  # a square in odd turns, a diamond in even ones
        wide = grown.copy()
        wide[:, :, 1:] |= rows[:, :, :-1]
        wide[:, :, :-1] |= rows[:, :, 1:]
        mask = wide
    return mask


def _enlarge(coarse: np.ndarray, mask: np.ndarray, factors: tuple[int, int, int]) -> None:
    """Write the coarse region into `mask` at full size."""
    for z in range(len(mask)):
        wide = np.repeat(coarse[z // factors[0]], factors[2], axis=1)[:, : mask.shape[2]]
        mask[z] = np.repeat(wide, factors[1], axis=0)[: mask.shape[1]]
