"""Is the noise of one fixed place of the scan also elsewhere? CT-GAN's touch-up copies it from there.

Its published code takes noise of (0.5, 0.43, 0.27) of the scan's (z, y, x), flattens what lies above -800 HU so that no
vessel is copied along, and adds it around every site (Mirsky et al., USENIX Security 2019, and the code). So the
residual T of that place stands at each site c, and how much of it is known, too: everywhere in a cube on removal, on
what is dense and by a Gaussian window on injection, within the forger's own window otherwise. With each of these
windows w, tried at every voxel of the lungs as the site:

    Z(c) = sum_p w(p - c) T(p - c) R(p) / sqrt(sum_p w(p - c)^2 T(p - c)^2 R(p)^2) / s

R is the scan's residual (`verict.detect.noise_residual`), decorrelated along z, which makes it the matched filter for
noise that goes on from slice to slice; s a robust spread of the same over all c. Without a copy Z is about standard
normal, however many voxels are compared. Higher = more suspicious.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from verict.detect.noise_residual import level_residual

SOURCE = (0.5, 0.43, 0.27)  # of (z, y, x): CT-GAN's published code
FLAT_ABOVE_HU = -800.0  # the same
DENSE_HU, DENSE_WIDTH_HU = -700.0, 70.0  # the same: sigmoid((HU + 700) / 70) of the noise is laid on injections
CUBE_HALF = 32  # slices to either side that are looked at: touched-up cubes measure 42 to 79
SURE_HALF = 20  # voxels around a site that every touched-up cube holds
PATCH_PX, PATCH_MM = 8.0, 9.0  # windows of nodules: Gaussian in the plane, so far along z to either side
INJECTED_MM = 1.3 * 32 / 2 / np.sqrt(2 * 2.25)  # CT-GAN's exp(-2.25 r^2), r = 1 at half of 1.3 x 32 mm
REACH = 2.2  # standard deviations of a Gaussian window that are looked at
HALF_FALL = 1.18  # of them, where it has fallen to a half
BLOCK = 144  # sites along z that are tried at a time: bounds the memory
COARSE = 4  # pixels of the grid on which Z's denominator is taken
LEAST_ENERGY = 100.0  # of T^2 R^2 in common, that is so many voxels of usual noise, or nothing is said
LEAST_PART = 0.6  # of that usual in the lungs: beside their walls few voxels are left, and chance reaches farther
SAME_PX, SAME_MM = 20, 15.0  # nearer than this the place is compared with itself
CANDIDATES = 24  # sites that are kept for each window
APART_PX = 6  # between two of them
RING_PX = (3, 14)  # from a site, where Z tells of tissue that resembles itself
LEAST_STRENGTH = 4.0  # of one that is kept
MOST_PEAKS = 2000  # voxels, before those of one peak are joined

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Hit:
    """A site at which the fixed place's noise may stand.

    Parameters
    ----------
    centre
        Voxel (z, y, x).
    source
        Voxel (z, y, x) the noise at the centre is from.
    strength
        Z, standard deviations of no copy; higher = more suspicious.
    half
        Voxels (z, y, x) to either side of the centre that surely are of the site.
    """

    centre: tuple[int, int, int]
    source: tuple[int, int, int]
    strength: float
    half: tuple[int, int, int]

    def box(self, shape: Sequence[int]) -> Box:
        """What is marked of a scan of that shape."""
        sides = zip(self.centre, self.half, shape, strict=True)
        z, y, x = (slice(max(0, c - h), min(n, c + h + 1)) for c, h, n in sides)
        return z, y, x


@dataclass(frozen=True, eq=False)
class _Window:
    """``weight`` (z, y, x), odd sides, its middle the site's; ``half`` as in `Hit`; ``is_dense``: on what is dense."""

    weight: np.ndarray
    half: tuple[int, int, int]
    is_dense: bool = False


def find_fixed_source(
    hu: np.ndarray,
    whitening: np.ndarray,
    residual: np.ndarray,
    mask: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    workers: int,
) -> list[Hit]:
    """The sites at which the fixed place's noise stands most clearly.

    Parameters
    ----------
    hu
        (z, y, x) HU of the whole scan.
    whitening
        As `verict.detect.noise_residual.find_whitening` gives it.
    residual
        (z, y, x) float32 levelled residual of the whole scan.
    mask
        (z, y, x) bool, voxels that may be a forgery's middle.
    spacing_mm
        (z, y, x).
    workers
        Threads.

    Returns
    -------
    list of Hit
        At most `CANDIDATES` for each window.
    """
    depth, height, width = (int(part * n) for part, n in zip(SOURCE, hu.shape, strict=True))
    middle = (depth, height, width)
    windows = _windows(spacing_mm)
    reach = tuple(max(w.weight.shape[axis] // 2 for w in windows) for axis in range(3))
    place = _cut_source(hu, whitening, middle, reach)
    area = _area(mask, reach)
    if area is None:
        return []
    rows, columns = area
    part, inside = residual[:, rows, columns], mask[:, rows, columns]
    part = _decorrelate_along_z(part, inside)
    search = _Search(middle, spacing_mm, (rows.start, columns.start), workers)
    kept: list[list[tuple[float, tuple[int, int, int]]]] = [[] for _ in windows]
    for start in range(0, len(part), BLOCK):
        stop = min(start + BLOCK, len(part))
        around = slice(max(0, start - reach[0]), min(len(part), stop + reach[0]))
        dense = _density(hu[around, rows, columns])
        scans = {False: np.where(inside[around], part[around], 0), True: part[around] * dense}
        for is_dense, scan in scans.items():
            chosen = [i for i, w in enumerate(windows) if w.is_dense is is_dense]
            templates = [_times(place, windows[i].weight) for i in chosen]
            site = (start - around.start, stop - around.start)
            found = search.strengths(scan, templates, site, 0.0 if is_dense else LEAST_PART)
            for i, strength in zip(chosen, found, strict=True):
                strength[~inside[start:stop]] = 0
                search.blank_itself(strength, start)
                kept[i] += search.peaks(strength, start)
    hits = []
    for window, peaks in zip(windows, kept, strict=True):
        for clear, centre in sorted(peaks, reverse=True)[:CANDIDATES]:
            hits.append(Hit(centre, middle, clear, window.half))
    return hits


def _windows(spacing_mm: tuple[float, float, float]) -> list[_Window]:
    """Any site, and CT-GAN's injection."""
    step, pixel = max(spacing_mm[0], 0.1), max(spacing_mm[1], 0.1)
    along = int(np.clip(PATCH_MM / step, 1, CUBE_HALF))
    injected_px = float(INJECTED_MM / pixel)
    return [
        _Window(_gaussian(along, PATCH_PX), (along, *(round(HALF_FALL * PATCH_PX),) * 2)),
        _Window(_gaussian(CUBE_HALF, injected_px), (SURE_HALF, *(round(HALF_FALL * injected_px),) * 2), is_dense=True),
    ]


def _gaussian(along: int, sigma_px: float) -> np.ndarray:
    """(2 along + 1, y, x) float32: the same in all slices."""
    offset = np.arange(-round(REACH * sigma_px), round(REACH * sigma_px) + 1)
    plane = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * sigma_px**2)).astype(np.float32)
    return np.repeat(plane[None], 2 * along + 1, axis=0)


def _cut_source(
    hu: np.ndarray, whitening: np.ndarray, middle: tuple[int, ...], reach: tuple[int, ...]
) -> np.ndarray:
    """(z, y, x) float32 levelled residual of the place as it is copied, 0 where flattened and beyond the scan."""
    z, y, x = (slice(max(0, c - r), min(n, c + r + 1)) for c, r, n in zip(middle, reach, hu.shape, strict=True))
    slices = hu[z].astype(np.float32)  # whole ones: the whitening is made for their size
    part = slices[:, y, x]
    flat = part > FLAT_ABOVE_HU
    part[flat] = part[~flat].mean() if not flat.all() else 0
    place = np.zeros([2 * r + 1 for r in reach], np.float32)
    inner = tuple(slice(s.start - c + r, s.stop - c + r) for s, c, r in zip((z, y, x), middle, reach, strict=True))
    place[inner] = np.where(flat, 0, level_residual(slices, whitening)[:, y, x])
    return place


def _times(place: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The middle of the place, by a window."""
    cut = tuple(slice((n - m) // 2, (n + m) // 2) for n, m in zip(place.shape, weight.shape, strict=True))
    return place[cut] * weight


def _area(mask: np.ndarray, reach: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Rows and columns of the lungs, and so many around them that most of a window of a site in them is kept."""
    flat: np.ndarray = np.asarray(mask.any(axis=0))
    if not flat.any():
        return None
    found = []
    for axis in (0, 1):
        inside = np.flatnonzero(flat.any(axis=1 - axis))
        around = reach[axis + 1] // 2
        found.append(slice(max(0, int(inside[0]) - around), min(flat.shape[axis], int(inside[-1]) + 1 + around)))
    return found[0], found[1]


def _decorrelate_along_z(residual: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Less what neighbouring slices tell of each: the inverse covariance of noise that is correlated by rho a slice."""
    if len(residual) < 2:
        return residual
    both = mask[1:, ::2, ::2] & mask[:-1, ::2, ::2]
    here, there = residual[1:, ::2, ::2][both], residual[:-1, ::2, ::2][both]
    rho = float(np.clip((here * there).mean() / max(float((here * here).mean()), 1e-6), 0, 0.8)) if both.any() else 0.0
    part = np.float32(rho / (1 + rho**2))
    out = residual.copy()
    out[1:] -= part * residual[:-1]
    out[:-1] -= part * residual[1:]
    return out


def _density(hu: np.ndarray) -> np.ndarray:
    """(z, y, x) float32, 0 to 1: how much of the noise CT-GAN's injection lays on tissue of that density."""
    smooth = hu.astype(np.float32)
    for axis in (1, 2):
        smooth = ndimage.uniform_filter1d(smooth, 3, axis=axis, mode="nearest")
    dense: np.ndarray = 1 / (1 + np.exp(np.clip((DENSE_HU - smooth) / DENSE_WIDTH_HU, -20, 20)))
    return dense


@dataclass(frozen=True)
class _Search:
    """Z of templates over blocks of a scan that is cut to ``corner`` (y, x)."""

    middle: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    corner: tuple[int, int]
    workers: int

    def strengths(
        self, scan: np.ndarray, templates: Sequence[np.ndarray], site: tuple[int, int], least_part: float
    ) -> Iterator[np.ndarray]:
        """Z (sites, y, x) of each template at the sites of slices ``site`` of the block."""
        reach = [max(t.shape[axis] for t in templates) // 2 for axis in range(3)]
        full = [fft.next_fast_len(n + r, real=True) for n, r in zip(scan.shape, reach, strict=True)]
        spectrum = fft.rfftn(scan, full, workers=self.workers)
        energy = _coarsen(np.square(scan))
        for template in templates:
            kernel = fft.rfftn(_from_middle(template, full), workers=self.workers)
            np.conj(kernel, out=kernel)
            kernel *= spectrum
            raw = fft.irfftn(kernel, full, workers=self.workers, overwrite_x=True)
            strength = raw[site[0] : site[1], : scan.shape[1], : scan.shape[2]]
            common = self._common(energy, _coarsen_from_middle(np.square(template)), site)
            yield _divide(strength, common, least_part)

    def _common(self, energy: np.ndarray, template: np.ndarray, site: tuple[int, int]) -> np.ndarray:
        """Z's squared denominator without s, on the coarse grid."""
        full = [fft.next_fast_len(n + m // 2 + 1, real=True) for n, m in zip(energy.shape, template.shape, strict=True)]
        spectrum = fft.rfftn(energy, full, workers=self.workers)
        kernel = fft.rfftn(_from_middle(template, full), workers=self.workers)
        both = fft.irfftn(spectrum * np.conj(kernel), full, workers=self.workers)
        return both[site[0] : site[1], : energy.shape[1], : energy.shape[2]] * COARSE**2

    def blank_itself(self, strength: np.ndarray, start: int) -> None:
        """Leave out sites so near that the place is compared with itself and its own vessels."""
        first = (start, *self.corner)
        limit = (SAME_MM / max(self.spacing_mm[0], 0.1), SAME_PX, SAME_PX)
        z, y, x = (
            slice(max(0, int(np.ceil(c - far)) - f), max(0, int(c + far) + 1 - f))
            for c, far, f in zip(self.middle, limit, first, strict=True)
        )
        strength[z, y, x] = 0

    def peaks(self, strength: np.ndarray, start: int) -> list[tuple[float, tuple[int, int, int]]]:
        """The highest values, apart from each other."""
        flat = strength.ravel()
        high = np.flatnonzero(flat >= LEAST_STRENGTH)
        order = high[np.argsort(-flat[high])][:MOST_PEAKS]
        places = np.stack(np.unravel_index(order, strength.shape), axis=1) + np.array([start, *self.corner])
        kept: list[tuple[float, tuple[int, int, int]]] = []
        while len(places) and len(kept) < CANDIDATES:
            clear = float(flat[order[0]]) / _spread_around(strength, int(order[0]))
            kept.append((clear, (int(places[0][0]), int(places[0][1]), int(places[0][2]))))
            apart = np.abs(places - places[0]).max(axis=1) >= APART_PX
            places, order = places[apart], order[apart]
        return kept


def _spread_around(strength: np.ndarray, index: int) -> float:
    """Root mean square of Z at the sites `RING_PX` around in the same slice, 1 at least.

    There the same tissue meets, but no noise can repeat: of a copy, Z is high at its very voxel alone.
    """
    z, y, x = (int(i) for i in np.unravel_index(index, strength.shape))
    near, far = RING_PX
    top, left = max(0, y - far), max(0, x - far)
    patch = strength[z, top : y + far + 1, left : x + far + 1].copy()
    patch[max(0, y - near - top) : y + near + 1 - top, max(0, x - near - left) : x + near + 1 - left] = 0
    known = patch[patch != 0]
    return max(1.0, float(np.sqrt(np.mean(np.square(known))))) if len(known) else 1.0


def _divide(raw: np.ndarray, common: np.ndarray, least_part: float) -> np.ndarray:
    """Z from the sums and their squared denominators, which are on the coarse grid; 0 where too little is in common."""
    enough = common[common >= LEAST_ENERGY]
    least = max(LEAST_ENERGY, least_part * float(np.median(enough))) if enough.size else LEAST_ENERGY
    strength = np.zeros(raw.shape, np.float32)
    rows, columns = raw.shape[1:]
    for z, plane in enumerate(common):
        scale = np.where(plane >= least, 1 / np.sqrt(np.maximum(plane, 1e-3)), 0).astype(np.float32)
        scale = np.repeat(np.repeat(scale, COARSE, axis=0), COARSE, axis=1)[:rows, :columns]
        np.multiply(raw[z], scale, out=strength[z])
    some = strength[::3, ::5, ::5]
    usual = some[some != 0]
    if usual.size < 100:
        return np.zeros_like(strength)
    strength /= np.float32(max(1.4826 * float(np.median(np.abs(usual))), 0.5))
    return strength


def _from_middle(template: np.ndarray, full: Sequence[int]) -> np.ndarray:
    """Laid into zeros of that size so that its middle is at the corner, round the ends."""
    out = np.zeros(full, np.float32)
    index = [np.arange(-(m // 2), m - m // 2) % n for m, n in zip(template.shape, full, strict=True)]
    out[np.ix_(*index)] = template
    return out


def _coarsen(values: np.ndarray) -> np.ndarray:
    """Mean of squares of `COARSE` pixels a side, slice by slice; what is beyond the end counts as 0."""
    padded = np.pad(values, [(0, 0), *((0, -n % COARSE) for n in values.shape[1:])])
    z, y, x = padded.shape
    return padded.reshape(z, y // COARSE, COARSE, x // COARSE, COARSE).mean(axis=(2, 4))


def _coarsen_from_middle(values: np.ndarray) -> np.ndarray:
    """The same, odd numbers of squares a side, the middle pixel within the middle square."""
    pad = [(0, 0)]
    for n in values.shape[1:]:
        squares = -(-(n // 2 - COARSE // 2 + 1) // COARSE)  # to either side of the middle one
        before = squares * COARSE + COARSE // 2 - n // 2
        pad.append((before, (2 * squares + 1) * COARSE - n - before))
    return _coarsen(np.pad(values, pad))
