"""Pairs of places of untouched lung, and what their texture is like: inside the paint, in its blend, at its ends."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage, stats

from verict.ct.volume import CTVolume

SIDE, RIM_SIDE = 32, 16  # pixels of a window in the middle of the paint, and of each of four in its blend
SMOOTHED_PX, LUNG_BELOW_HU = 1.5, -600.0
LEAST_SHARE, LEAST_RIM_SHARE, LEAST_END_SHARE = 0.985, 0.9, 0.8  # of a window that is lung without a vessel to name
MOST_SLICES, SLICES_MM = 2, 8.0  # to either side of the middle one, within the 20 mm that are painted
APART_PX, APART_MM = SIDE + 8, 21.0  # places lie at least so far apart in the plane or along z
SCALES = (4.0, 25.0, 60.0)  # mm of depth, HU and mm along z that count as equally unlike
HIGH_PASS_PX = 1.5
BORDER_PX = 3  # of a window, left out of residuals
EDGES = {SIDE: (0.5, 1.5, 2.5, 4, 6, 8, 11, 14, 23), RIM_SIDE: (0.5, 1.5, 2.5, 4.5, 6.5, 12)}  # steps of its spectrum
SECTOR_BANDS = (("low", 0.08, 0.25), ("high", 0.25, 0.5))  # cycles per pixel
SECTORS = 8
FADE_MM = 6.0


@dataclass(frozen=True, eq=False)
class Lung:
    """A series: ``lung`` (z, y, x) bool is its region, ``plain`` what of it is lung without a vessel one could name."""

    name: str
    patient: str
    volume: CTVolume
    lung: np.ndarray
    plain: np.ndarray

    @property
    def run(self) -> slice:
        """Its slices: all of them, for series without a gap."""
        return self.volume.runs[0]


@dataclass(frozen=True)
class Place:
    """A voxel with how deep it lies in the lung and the mean of its window."""

    voxel: tuple[int, int, int]
    depth_mm: float
    mean_hu: float


def mark_plain(volume: CTVolume, lung: np.ndarray) -> np.ndarray:
    """(z, y, x) bool lung that is dark even when smoothed."""
    smooth = (ndimage.gaussian_filter(image.astype(np.float32), SMOOTHED_PX) for image in volume.hu)
    return np.stack([(image < LUNG_BELOW_HU) & inside for image, inside in zip(smooth, lung, strict=True)])


def middle_slices(series: Lung, z: int) -> slice:
    """The slices of a place that are measured, at most five."""
    reach = max(0, min(MOST_SLICES, int(SLICES_MM / series.volume.spacing_mm[0])))
    return slice(max(series.run.start, z - reach), min(series.run.stop, z + reach + 1))


def choose_pairs(series: Lung, most: int, rng: np.random.Generator) -> list[tuple[Place, Place]]:
    """Pairs of places alike in depth, HU and height; which is the first is a coin's choice.

    Every place is plain lung over its window in all slices that are measured; places do not overlap.
    """
    spare = []
    for place in _all_places(series, rng):
        if all(_are_apart(place, other, series.volume.spacing_mm[0]) for other in spare):
            spare.append(place)
        if len(spare) == 8 * most:
            break
    kinds = np.array([(p.depth_mm, p.mean_hu, p.voxel[0] * series.volume.spacing_mm[0]) for p in spare]) / SCALES
    unlike = ((kinds[:, None] - kinds) ** 2).sum(axis=-1)
    np.fill_diagonal(unlike, np.inf)
    pairs = []
    while len(pairs) < most and len(unlike) and np.isfinite(unlike).any():
        pair = list(np.unravel_index(int(unlike.argmin()), unlike.shape))
        unlike[pair], unlike[:, pair] = np.inf, np.inf
        first, second = rng.permutation(pair)
        pairs.append((spare[first], spare[second]))
    return pairs


def _all_places(series: Lung, rng: np.random.Generator) -> list[Place]:
    volume, found = series.volume, []
    for z in range(series.run.start + 2, series.run.stop - 2):
        slices = middle_slices(series, z)
        share = np.min([ndimage.uniform_filter(p.astype(np.float32), SIDE) for p in series.plain[slices]], axis=0)
        depth = ndimage.distance_transform_edt(ndimage.binary_fill_holes(series.plain[z]), volume.spacing_mm[1:])
        half = SIDE // 2
        for y, x in np.argwhere(share[SIDE:-SIDE:8, SIDE:-SIDE:8] > LEAST_SHARE) * 8 + SIDE:
            mean = volume.hu[z, y - half : y + half, x - half : x + half].mean()
            found.append(Place((z, int(y), int(x)), float(depth[y, x]), float(mean)))
    return [found[i] for i in rng.permutation(len(found))]


def _are_apart(one: Place, other: Place, slice_mm: float) -> bool:
    dz, dy, dx = np.abs(np.subtract(one.voxel, other.voxel))
    return bool(max(dy, dx) >= APART_PX or dz * slice_mm >= APART_MM)


@dataclass(frozen=True)
class Blend:
    """Where a touch-up blends: how far from the middle half is paint, and the first and last slice it touches.

    ``ends`` are offsets from the place's slice.
    """

    middle_mm: float
    ends: tuple[int, int]


def describe_place(series: Lung, hu: np.ndarray, voxel: tuple[int, int, int], blend: Blend) -> dict[str, float]:
    """Every property of a place, by name; those of a blend that lies outside plain lung are left out.

    ``hu`` is the scan, forged or not. Whether a blend can be measured is read from the untouched scan.
    """
    z, y, x = voxel
    slices, half, rim = middle_slices(series, z), SIDE // 2, RIM_SIDE // 2
    found = describe_window(hu[slices, y - half : y + half, x - half : x + half], "inside")
    parts = []
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        at_y, at_x = (c + round(d * blend.middle_mm / s) for c, d, s in
                      zip((y, x), (dy, dx), series.volume.spacing_mm[1:], strict=True))
        window = np.s_[at_y - rim : at_y + rim, at_x - rim : at_x + rim]
        if series.plain[z][window].mean() > LEAST_RIM_SHARE:
            parts.append(describe_window(hu[(slices, *window)], "blend"))
    if len(parts) >= 2:
        found |= {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}
    fade = max(1, round(FADE_MM / series.volume.spacing_mm[0]))
    parts = []
    for end, way in zip(blend.ends, (-1, 1), strict=True):
        low, high = sorted((z + end + way, z + end - way * fade))  # from the slice beyond to where all is paint
        window = np.s_[y - half : y + half, x - half : x + half]
        inside = series.run.start <= low and high < series.run.stop
        if inside and min(p[window].mean() for p in series.plain[low : high + 1]) > LEAST_END_SHARE:
            parts.append(_describe_residual(hu[(slice(low, high + 1), *window)], "ends"))
    if parts:
        names = ("ends variance", "ends correlation along z")
        found |= {name: float(np.mean([part[name] for part in parts])) for name in names}
    return found


def describe_window(window: np.ndarray, where: str) -> dict[str, float]:
    """Radial and directional spectrum of (z, side, side) HU, and what its residual is like."""
    side = window.shape[-1]
    power = _mean_power(window)
    y, x = np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)
    radius = np.hypot(y, x)
    sector = ((np.arctan2(y, x) / np.pi * SECTORS + 0.5) // 1 % SECTORS).astype(int)
    found = {}
    for band, (low, high) in enumerate(pairwise(np.array(EDGES[side]) / side), start=1):
        found[f"{where} radial band {band}"] = float(np.log(power[(radius >= low) & (radius < high)].mean()))
    for name, low, high in SECTOR_BANDS:
        ring = (radius >= low) & (radius < high)
        for s in range(SECTORS):
            share = power[ring & (sector == s)].mean() / power[ring].mean()
            found[f"{where} direction {name} {s * 180 / SECTORS:g}"] = float(np.log(share))
    return found | _describe_residual(window, where)


def _describe_residual(window: np.ndarray, where: str) -> dict[str, float]:
    """Of what a Gaussian takes away: log variance, correlation of neighbouring slices, kurtosis, skewness."""
    wide = window.astype(np.float64)
    rest = (wide - ndimage.gaussian_filter(wide, (0, HIGH_PASS_PX, HIGH_PASS_PX), mode="nearest"))
    rest = rest[:, BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
    rest -= rest.mean(axis=(1, 2), keepdims=True)
    found = {f"{where} variance": float(np.log((rest**2).mean()))}
    if len(rest) > 1:
        power = np.sqrt((rest[1:] ** 2).sum() * (rest[:-1] ** 2).sum())
        found[f"{where} correlation along z"] = float((rest[1:] * rest[:-1]).sum() / power)
    return found | {
        f"{where} kurtosis": float(np.log(3 + stats.kurtosis(rest, axis=None))),
        f"{where} skewness": float(stats.skew(rest, axis=None)),
    }


def _mean_power(window: np.ndarray) -> np.ndarray:
    """(side, side) power of slices less their plane, under a Hann taper, averaged over the slices."""
    side = window.shape[-1]
    y, x = np.mgrid[:side, :side] / side - 0.5
    basis, _ = np.linalg.qr(np.stack([np.ones(side * side), y.ravel(), x.ravel()], 1))
    flat = window.reshape(-1, side * side).astype(np.float64)
    flat = flat - (flat @ basis) @ basis.T
    taper = np.hanning(side + 2)[1:-1][:, None] * np.hanning(side + 2)[1:-1]
    return (np.abs(np.fft.fft2(flat.reshape(-1, side, side) * taper)) ** 2).mean(axis=0)
