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
    """The sizes and values `find_lungs` goes by, set by eye on the authentic folders and on the tampered slices.

    Parameters
    ----------
    grid_mm
        Spacing of the coarse grid, near enough.
    air_below_hu
        Half way between lung (about -850) and soft tissue (about 40).
    lung_like_hu, lung_like_share
        Values that are lung and not gas, and the share of a candidate's interior that must be so. Gas in the body
        reads -1000 to -940.
    small_mm2, small_above_hu
        In a smaller candidate values must lie above this to be lung: the windpipe averages in its wall.
    large_mm2, large_share
        A larger candidate needs only this share, for emphysema; no pocket of gas in one slice is so large.
    cut_off_contact, cut_off_enclosed
        A candidate at the edge of the field of view is a cut-off lung only if at most this share of its outline is
        the edge, and at least this share of it has solid body on three of four sides.
    smallest_area_mm2
        Below it a dark region of a slice is not looked at.
    smallest_single_mm2, smallest_beside_mm2
        Least area of lung in a slice that has no neighbours: of the largest part, and of others beside it.
    smallest_volume_mm3, smallest_section_mm2, smallest_relative
        Least volume, least largest cross-section, and least share of the largest body part's volume.
    largest_hole_mm2
        Holes up to here are filled: a mass of 5 cm; the heart and the domes of the diaphragm are larger.
    bay_mm
        Bays up to twice this width are closed.
    margin_mm
        Added all around in plane.
    skin_mm, skin_share
        A candidate with this share of its rim so near to the air outside is a table or a fold, not a lung.
    """

    grid_mm: float = 2.0
    air_below_hu: int = -400
    lung_like_hu: tuple[int, int] = (-945, -500)
    lung_like_share: float = 0.5
    small_mm2: float = 600.0
    small_above_hu: int = -910
    large_mm2: float = 4_000.0
    large_share: float = 0.2
    cut_off_contact: float = 0.35
    cut_off_enclosed: float = 0.6
    smallest_area_mm2: float = 40.0
    smallest_single_mm2: float = 600.0
    smallest_beside_mm2: float = 150.0
    smallest_volume_mm3: float = 20_000.0
    smallest_section_mm2: float = 800.0
    smallest_relative: float = 0.02
    largest_hole_mm2: float = 2_000.0
    bay_mm: float = 10.0
    margin_mm: float = 6.0
    skin_mm: float = 8.0
    skin_share: float = 0.6


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
    fits: np.ndarray


@dataclass(frozen=True)
class _Grid:
    """How full slices become coarse ones: voxels per coarse voxel (z, y, x), and the coarse spacing in mm."""

    factors: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    def radius_px(self, length_mm: float) -> int:
        """A length in plane in coarse pixels, at least one."""
        return max(1, round(length_mm / (0.5 * (self.spacing_mm[1] + self.spacing_mm[2]))))


def find_lungs(volume: CTVolume) -> LungRegion:
    """Find the lung region of a volume, or of each of its single slices.

    Parameters
    ----------
    volume
        HU (z, y, x), int16 or float32, free of NaN. Neighbours are used inside `CTVolume.runs` only; where the
        distance between slices is 0, each slice is judged alone. Nothing but pixels and geometry is read.

    Returns
    -------
    LungRegion
        The region: lung, what lies inside it and a margin of `LungRules.margin_mm`. Where no lung is found at all,
        it is empty and carries the note ``no_lung``.
    """
    mask = np.zeros(volume.hu.shape, bool)
    for run in _stretches(volume):
        _find_in_run(volume.hu[run], mask[run], _choose_grid(volume, run))
    found = np.array([one.any() for one in mask], bool)
    notes = () if found.any() else (Note("no_lung", "no lung was found in this series"),)
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
    z, y, x = (int(np.clip(round(RULES.grid_mm / s), 1, 16)) for s in (z_mm, y_mm, x_mm))
    factors = (1 if alone else z, y, x)
    return _Grid(factors, (z_mm * factors[0], y_mm * factors[1], x_mm * factors[2]))


def _find_in_run(hu: np.ndarray, mask: np.ndarray, grid: _Grid) -> None:
    step = _CHUNK * grid.factors[0]
    starts = range(0, len(hu), step)
    parts = [_find_parts(*_reduce(hu[a : a + step], grid.factors), grid) for a in starts]
    chosen = _choose(parts, grid, alone=len(hu) == 1)
    for start, part, keep in zip(starts, parts, chosen, strict=True):
        if not keep.any():
            continue
        table = np.zeros((len(part.labels), int(part.labels.max()) + 1), bool)
        table[part.slice_index[keep], part.label[keep]] = True
        lung = np.stack([t[s] for t, s in zip(table, part.labels, strict=True)])
        _enlarge(_shape(lung, part.outside, grid), mask[start : start + step], grid.factors)


def _reduce(hu: np.ndarray, factors: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Block means of HU clipped to [-1024, 400], lightly smoothed in plane, and which blocks are padding.

    Returns (z, y, x) int16 and (z, y, x) bool. Padding is whatever lies at or below -1024 throughout, as scanners
    write outside the circle they reconstruct (-1024, -2000, -3024).
    """
    out = []
    for start in range(0, len(hu), factors[0]):
        group = hu[start : start + factors[0]]
        total = np.zeros((-(-hu.shape[1] // factors[1]), -(-hu.shape[2] // factors[2])), np.int32)
        for one in group:
            clipped = np.clip(one, -1024, 400).astype(np.int16, copy=False)
            if one.dtype.kind == "f":
                clipped[one > 10_000] = -1024  # padding read as unsigned, e.g. 63536
            total += _sum_blocks(_sum_blocks(clipped, factors[1]).T, factors[2]).T
        out.append(total * np.float32(1 / (factors[1] * factors[2] * len(group))))
    coarse = np.stack(out)
    padding = coarse < -1023.5
    for axis in (1, 2):
        coarse = ndimage.correlate1d(coarse, [0.25, 0.5, 0.25], axis, mode="nearest")
    return np.rint(coarse).astype(np.int16), padding


def _sum_blocks(image: np.ndarray, factor: int) -> np.ndarray:
    """Sums of `factor` neighbouring rows; the last row is repeated where they do not come out even; int32."""
    total = np.zeros((-(-image.shape[0] // factor), image.shape[1]), np.int32)
    for offset in range(factor):
        rows = image[offset::factor]
        total[: len(rows)] += rows
        if len(rows) < len(total):
            total[-1] += image[-1]
    return total


def _find_parts(coarse: np.ndarray, padding: np.ndarray, grid: _Grid) -> _Parts:
    """Dark regions of each coarse slice that are not the air outside, each with its measures."""
    pixel_mm2 = grid.spacing_mm[1] * grid.spacing_mm[2]
    if padding.any():
        labels, count = ndimage.label(padding, _IN_PLANE)
        padding = _reach_edge(labels, count, np.zeros_like(padding))[labels]
    air = (coarse < RULES.air_below_hu) & ~padding
    labels, count = ndimage.label(air, _IN_PLANE)
    area = np.bincount(labels.ravel(), minlength=count + 1)
    lung_like = _is_lung_like(coarse, labels, area * pixel_mm2)
    at_edge = _reach_edge(labels, count, padding)
    cut_off = _is_cut_off(labels, air, padding, at_edge & lung_like & (area * pixel_mm2 >= RULES.smallest_single_mm2))
    outside = padding | (at_edge & ~cut_off)[labels]

    rim = air & _dilate(~air, 1)
    near = rim & _dilate(outside, grid.radius_px(RULES.skin_mm))
    skin = np.bincount(labels[near], minlength=count + 1) / np.maximum(np.bincount(labels[rim], minlength=count + 1), 1)

    index = np.flatnonzero((~at_edge | cut_off) & (area * pixel_mm2 >= RULES.smallest_area_mm2))
    index = index[index > 0]
    last = np.maximum.accumulate([int(one.max(initial=0)) for one in labels])  # labels rise from slice to slice
    slice_index = np.searchsorted(last, index)
    local = np.zeros(count + 1, np.uint16)
    local[index] = np.arange(len(index)) - np.searchsorted(slice_index, slice_index) + 1
    return _Parts(
        labels=local[labels],
        outside=outside,
        slice_index=slice_index,
        label=local[index],
        area_mm2=area[index] * pixel_mm2,
        fits=lung_like[index] & (skin[index] < RULES.skin_share),
    )


def _reach_edge(labels: np.ndarray, count: int, padding: np.ndarray) -> np.ndarray:
    """Which labels touch the border of the image or the padding; (count + 1,) bool, False for label 0."""
    reach = np.zeros(count + 1, bool)
    for edge in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1], labels[_dilate(padding, 1)]):
        reach[edge.ravel()] = True
    reach[0] = False
    return reach


def _is_lung_like(coarse: np.ndarray, labels: np.ndarray, area_mm2: np.ndarray) -> np.ndarray:
    """Whether enough of each region's interior has values of lung; (count + 1,) bool.

    The interior is what lies two pixels from the edge, where no soft tissue is averaged in, or one pixel where the
    region is too narrow for that. What has no interior is no lung.
    """
    low, high = RULES.lung_like_hu
    least_hu = np.where(area_mm2 < RULES.small_mm2, RULES.small_above_hu, low).astype(coarse.dtype)
    like = (coarse > least_hu[labels]) & (coarse < high)
    once = ~_dilate(labels == 0, 1)
    twice = ~_dilate(~once, 1)
    share = np.zeros(len(area_mm2))
    for interior, least_px in ((once, 1), (twice, 4)):
        size = np.bincount(labels[interior], minlength=len(share))
        some = size >= least_px
        share[some] = np.bincount(labels[interior & like], minlength=len(share))[some] / size[some]
    enough = share >= np.where(area_mm2 >= RULES.large_mm2, RULES.large_share, RULES.lung_like_share)
    enough[0] = False
    return enough


def _is_cut_off(labels: np.ndarray, air: np.ndarray, padding: np.ndarray, maybe: np.ndarray) -> np.ndarray:
    """Which of the regions `maybe` at the edge of the field of view are parts of a lung; (count + 1,) bool.

    Solid body lies around a lung on all sides but the one that is cut off. Under a table, or between table and back,
    it lies above only, since tables are thin shells.
    """
    cut_off = np.zeros_like(maybe)
    for one, dark, pad in zip(labels, air, padding, strict=True):
        names = np.unique(one[maybe[one]])
        if not len(names):
            continue
        beyond = np.pad(pad, 1, constant_values=True)
        contact = _dilate(beyond[None], 1)[0, 1:-1, 1:-1] & dark
        outline = contact | (dark & _dilate(~dark[None], 1)[0])
        solid = _dilate(~_dilate(dark[None] | pad, 2), 2)[0]
        sides = np.zeros(one.shape, np.uint8)
        for axis in (0, 1):
            sides += np.logical_or.accumulate(solid, axis)
            sides += np.flip(np.logical_or.accumulate(np.flip(solid, axis), axis), axis)
        for name in names:
            here = one == name
            at_edge = (contact & here).sum() / max(1, (outline & here).sum())
            cut_off[name] = at_edge <= RULES.cut_off_contact and (sides[here] >= 3).mean() >= RULES.cut_off_enclosed
    return cut_off


def _choose(parts: list[_Parts], grid: _Grid, *, alone: bool) -> list[np.ndarray]:
    """Which candidates are lung: one bool array for each stretch."""
    area = np.concatenate([p.area_mm2 for p in parts])
    fits = np.concatenate([p.fits for p in parts])
    if alone:
        if (area[fits] < RULES.smallest_single_mm2).all():
            fits[:] = False
        fits &= area >= RULES.smallest_beside_mm2
    else:
        group = _link(parts, fits)
        volume = np.bincount(group, area * fits) * grid.spacing_mm[0]
        section = np.zeros_like(volume)
        np.maximum.at(section, group, area * fits)
        height_mm = sum(len(p.labels) for p in parts) * grid.spacing_mm[0]
        least = min(RULES.smallest_volume_mm3, RULES.smallest_single_mm2 * height_mm)
        enough = volume >= max(least, RULES.smallest_relative * volume.max(initial=0))
        if height_mm >= 30:
            enough &= section >= RULES.smallest_section_mm2
        fits &= enough[group]
    return np.split(fits, np.cumsum([len(p.area_mm2) for p in parts])[:-1])


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
    numbers: np.ndarray = connected_components(graph, directed=False)[1]
    return numbers


def _shape(lung: np.ndarray, outside: np.ndarray, grid: _Grid) -> np.ndarray:
    """Fill holes, close bays and add the margin, slice by slice."""
    pixel_mm2 = grid.spacing_mm[1] * grid.spacing_mm[2]
    lung = _fill_holes(lung, RULES.largest_hole_mm2 / pixel_mm2)
    bay, margin = grid.radius_px(RULES.bay_mm), grid.radius_px(RULES.margin_mm)
    wide = _dilate(lung, bay)
    closed = ~_dilate(~wide, bay - margin) if bay > margin else wide
    region = _fill_holes(closed, np.pi * RULES.bay_mm**2 / pixel_mm2)  # what closing bays has left open
    region &= ~outside
    return region


def _fill_holes(mask: np.ndarray, largest_px: float) -> np.ndarray:
    """`mask` with the holes of each slice filled that have at most `largest_px` pixels."""
    labels, count = ndimage.label(~mask, _IN_PLANE)
    area = np.bincount(labels.ravel(), minlength=count + 1)
    hole = area <= largest_px
    for edge in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        hole[edge.ravel()] = False
    filled: np.ndarray = mask | hole[labels]
    return filled


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
