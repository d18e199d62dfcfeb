"""What the texture of a scan looks like near a place, learnt from windows that nobody touched.

A window of lung holds structure (small vessels, septa) and the scanner's noise. A bilateral filter in the plane parts
the two: noise lies within a few of its own standard deviations, structure beyond. Of windows near the place that are
wholly lung, and of others that are wholly soft tissue, are kept: the power at each in-plane frequency, directions
included; how it goes on from slice to slice at each distance; and the windows themselves.

Lung is not stationary, so nothing is averaged over the scan: every window keeps a spectrum of its own, smoothed, and
their geometric mean is what is usual here. The mean of power would be that of the few windows with vessels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np
from scipy import ndimage

from verict.tamper.ctgan_touch_up import LUNG_BELOW_HU
from verict.tamper.cubes import Box
from verict.tamper.forgery import Target

FILTER_PX, FILTER_REACH_PX = 1.5, 3  # of the bilateral filter
FILTER_RANGE = 2.5  # its standard deviation in HU, in those of the noise
HIGH_PASS_PX = 1.5
MARGIN_PX = 4  # around a window, so that filters know what lies beyond
SMOOTHED_PX = 1.5  # before a window is judged: what is still bright then is a vessel one could name
OWN_BINS = 0.6  # by which a window's own spectrum is smoothed, in steps of it
SHAPE_BINS = 0.7  # the same for the mean of all
TYPICAL = 0.8  # of the windows are: by how high the highest peak of their structure stands above what is usual there
MOST_WINDOWS = 60
LEAST_WINDOWS = 12
REACH_MM, PLANE_REACH_MM = 40.0, 90.0  # along z and in the plane, in which windows are looked for
STEP_MM = 3.0  # along z, between slices that are looked at
LAG_MM = 16.0  # over which slices are correlated
OWN_MM = 4.0  # of slices whose spectra make up a window's own: two to four after its first, where they are plain too


class Tissue(Enum):
    """What windows are made of: the sides in pixels and the shares of it that are tried one after the other."""

    LUNG = ((32, 0.985), (32, 0.95), (24, 0.95), (16, 0.95), (16, 0.85))
    SOFT = ((16, 0.98),)


SOFT_HU = (-20.0, 130.0)


@dataclass(frozen=True, eq=False)
class Texture:
    """The texture of one tissue near a place.

    Parameters
    ----------
    noise_hu
        Robust standard deviation of what a Gaussian of 1.5 pixels takes away.
    corners
        (n, 3) first voxel (z, y, x) of each window, the nearest first.
    stacks
        n arrays (slices, side + 8, side + 8) of HU: a window with a margin of 4 pixels, and the slices after it that
        are of the same tissue there, up to four.
    power, structure_power
        (n, side, side) power of each window at each in-plane frequency, HU² a pixel, smoothed; and that of what the
        bilateral filter leaves of it.
    correlation
        (lags, rings) how the power of a ring goes on so many slices further; 1 at lag 0.
    """

    noise_hu: float
    corners: np.ndarray
    stacks: tuple[np.ndarray, ...]
    power: np.ndarray
    structure_power: np.ndarray
    correlation: np.ndarray

    @property
    def typical(self) -> np.ndarray:
        """Indices of the windows with the most slices, whose own spectrum is known best, but for the most singular.

        Those whose structure lies in few frequencies hold a fissure or the like: drawn anew it would be stripes.
        """
        slices = np.array([len(stack) for stack in self.stacks])
        whole = np.flatnonzero(slices == slices.max())
        structure = np.maximum(self.structure_power[whole], 1e-6)
        peak = (structure / np.exp(np.log(structure).mean(axis=0))).max(axis=(1, 2))
        return whole[peak <= np.quantile(peak, TYPICAL)]

    @property
    def side(self) -> int:
        """Of a window, in pixels."""
        return int(self.power.shape[-1])


def learn_texture(target: Target, avoid: Box, tissue: Tissue) -> Texture | None:
    """Learn from the windows nearest to the target that lie outside a box; None where there are too few."""
    for side, share in tissue.value:
        places = _Places(target, tissue, side)
        corners = _find_windows(places, avoid, share)
        if len(corners) >= LEAST_WINDOWS:
            return _describe(places, avoid, corners, share)
    return None


def split(hu: np.ndarray, noise_hu: float) -> np.ndarray:
    """The structure of slices without their noise: a bilateral filter in the plane, float32.

    Parameters
    ----------
    hu
        (..., y, x) HU.
    noise_hu
        Standard deviation of the noise; below 1 HU taken as 1.
    """
    reach = FILTER_REACH_PX
    wide = np.pad(hu.astype(np.float32), [(0, 0)] * (hu.ndim - 2) + [(reach, reach)] * 2, mode="edge")
    height, width = hu.shape[-2:]
    middle = wide[..., reach : reach + height, reach : reach + width]
    total, weights = middle.copy(), np.ones_like(middle)
    scale = np.float32(-0.5 / (FILTER_RANGE * max(noise_hu, 1.0)) ** 2)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if dy or dx:
                other = wide[..., reach + dy : reach + dy + height, reach + dx : reach + dx + width]
                near = np.float32(math.exp(-(dy * dy + dx * dx) / (2 * FILTER_PX**2)))
                weight = near * np.exp(scale * np.square(other - middle))
                total += weight * other
                weights += weight
    return total / weights


def noise_level(hu: np.ndarray) -> float:
    """Robust standard deviation (1.4826 x median magnitude) of what a Gaussian of 1.5 pixels takes away."""
    sigma = (0,) * (hu.ndim - 2) + (HIGH_PASS_PX, HIGH_PASS_PX)
    return float(1.4826 * np.median(np.abs(hu - ndimage.gaussian_filter(hu, sigma, mode="nearest"))))


def ring_count(side: int) -> int:
    """How many rings a window's spectrum has, one step of it wide, the first holding frequency 0."""
    return round(side / math.sqrt(2)) + 1


@lru_cache(maxsize=16)
def ring_radius(rows: int, columns: int, side: int) -> np.ndarray:
    """(rows, columns) the ring of each in-plane frequency of an image, for windows of ``side``; not whole numbers."""
    radius = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns)) * side
    return np.minimum(radius, ring_count(side) - 1)


def between_rings(rows: int, columns: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each in-plane frequency the ring below, the ring above, and how far it is towards the latter."""
    radius = ring_radius(rows, columns, side)
    low = np.floor(radius).astype(int)
    return low, np.minimum(low + 1, ring_count(side) - 1), radius - low


def ring_power(power: np.ndarray) -> np.ndarray:
    """(..., rings) mean over each ring of (..., side, side) power."""
    side = power.shape[-1]
    ring = np.rint(ring_radius(side, side, side)).astype(int).ravel()
    rings = ring_count(side)
    count = np.maximum(np.bincount(ring, minlength=rings), 1)
    flat = power.reshape(-1, side * side)
    sums = np.stack([np.bincount(ring, row, rings) for row in flat])
    return (sums / count).reshape(*power.shape[:-2], rings)


def window_spectra(windows: np.ndarray) -> np.ndarray:
    """(..., side, side) complex spectra of windows less their plane, under a Hann taper; |.|² is HU² a pixel."""
    side = windows.shape[-1]
    y, x = np.mgrid[:side, :side] / side - 0.5
    basis, _ = np.linalg.qr(np.stack([np.ones(side * side), y.ravel(), x.ravel()], 1))
    flat = windows.reshape(-1, side * side).astype(np.float64)
    flat = flat - (flat @ basis) @ basis.T
    taper = np.hanning(side + 2)[1:-1][:, None] * np.hanning(side + 2)[1:-1]
    spectra: np.ndarray = np.fft.fft2(flat.reshape(windows.shape) * (taper / np.sqrt((taper**2).sum())))
    return spectra


class _Places:
    """Where windows of a tissue may lie around a place: on a grid of a quarter of their side, in the plane.

    ``origin`` is the first pixel (y, x) that is looked at.
    """

    def __init__(self, target: Target, tissue: Tissue, side: int) -> None:
        self.target, self.tissue, self.side, self.step = target, tissue, side, side // 4
        reach_px = [round(PLANE_REACH_MM / s) for s in target.spacing_mm[1:]]
        inside = [
            (max(0, c - r), min(n, c + r))
            for c, r, n in zip(target.centre[1:], reach_px, target.hu.shape[1:], strict=True)
        ]
        self.origin = np.array([start for start, _ in inside])
        self.rows, self.columns = (slice(start, stop) for start, stop in inside)
        self._known: dict[int, np.ndarray] = {}

    def shares(self, z: int) -> np.ndarray:
        """Of a slice the share of each window that is of the tissue; windows and their margins lie inside."""
        if z not in self._known:
            smooth = ndimage.gaussian_filter(self.target.hu[z, self.rows, self.columns].astype(np.float32), SMOOTHED_PX)
            if self.tissue is Tissue.LUNG:
                fits = (smooth < LUNG_BELOW_HU) & self.target.lung[z, self.rows, self.columns]
            else:
                fits = (smooth > SOFT_HU[0]) & (smooth < SOFT_HU[1])
            sums = np.pad(fits.astype(np.int32).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
            low, high = slice(MARGIN_PX, -MARGIN_PX - self.side), slice(MARGIN_PX + self.side, -MARGIN_PX)
            inside = sums[high, high] - sums[low, high] - sums[high, low] + sums[low, low]
            self._known[z] = inside[:: self.step, :: self.step] / self.side**2
        return self._known[z]

    def corners(self, z: int, share: float) -> np.ndarray:
        """(n, 3) first voxels of the windows of a slice of which more than such a share is of the tissue."""
        found = np.argwhere(self.shares(z) > share)
        return np.insert(found * self.step + MARGIN_PX + self.origin, 0, z, axis=1)

    def share_at(self, z: int, y: int, x: int) -> float:
        """Of the window with this first voxel."""
        row, column = (np.array((y, x)) - MARGIN_PX - self.origin) // self.step
        return float(self.shares(z)[row, column])


def _find_windows(places: _Places, avoid: Box, share: float) -> np.ndarray:
    """(n, 3) corners of the nearest windows of which such a share is of the tissue."""
    target, side = places.target, places.side
    reach, step = (max(least, int(mm / target.spacing_mm[0])) for mm, least in ((REACH_MM, 2), (STEP_MM, 1)))
    centre = np.array(target.centre)
    first, stop = max(target.run.start, centre[0] - reach), min(target.run.stop, centre[0] + reach + 1)
    found = [places.corners(z, share) for z in range(first + (centre[0] - first) % step, stop, step)]
    corners = np.array([c for c in np.concatenate(found) if not _overlaps(c, side, avoid)]).reshape(-1, 3)
    middles = corners + np.array([0, side // 2, side // 2])
    away_mm = np.linalg.norm((middles - centre) * target.spacing_mm, axis=1)
    return corners[np.argsort(away_mm, kind="stable")][:MOST_WINDOWS]


def _overlaps(corner: np.ndarray, side: int, box: Box) -> bool:
    """Whether a window of one slice and a box share a voxel."""
    return all(a < s.stop and a + n > s.start for a, n, s in zip(corner, (1, side, side), box, strict=True))


def _describe(places: _Places, avoid: Box, corners: np.ndarray, share: float) -> Texture:
    """All that is kept of windows."""
    target, side = places.target, places.side
    lags = max(0, min(target.run.stop - target.run.start - 1, round(LAG_MM / target.spacing_mm[0])))
    own = min(lags, max(2, min(4, round(OWN_MM / target.spacing_mm[0]))))
    cuts, owner, lag = [], [], []
    for i, (z, y, x) in enumerate(corners):
        for step in range(lags + 1):
            here = np.array((z + step, y, x))
            outside = z + step >= target.run.stop or _overlaps(here, side, avoid)
            if outside or (step and places.share_at(z + step, y, x) <= share):
                break
            wide = [slice(a - MARGIN_PX, a + side + MARGIN_PX) for a in (y, x)]
            cuts.append(target.hu[z + step, wide[0], wide[1]].astype(np.float32))
            owner.append(i)
            lag.append(step)
    blocks, owners, lagged = np.array(cuts), np.array(owner), np.array(lag)
    noise_hu = noise_level(blocks)
    inner = np.s_[..., MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    spectra = window_spectra(blocks[inner])
    near = lagged <= own
    structure = window_spectra(split(blocks[near], noise_hu)[inner])
    powers = [
        _own_power(np.stack([(np.abs(part[owners[near] == i]) ** 2).mean(axis=0) for i in range(len(corners))]))
        for part in (spectra[near], structure)
    ]
    return Texture(
        noise_hu=noise_hu,
        corners=corners,
        stacks=tuple(blocks[near & (owners == i)] for i in range(len(corners))),
        power=powers[0],
        structure_power=powers[1],
        correlation=_correlate(spectra, owners, lagged, lags),
    )


def _own_power(power: np.ndarray) -> np.ndarray:
    """Each window's power smoothed over frequencies, so that the log mean of all is that of the raw ones, by ring."""
    side = power.shape[-1]
    ring = np.rint(ring_radius(side, side, side)).astype(int)
    raw = np.maximum(ring_power(power), 1e-6)
    usual = np.exp(np.log(raw).mean(axis=0))
    shape = ndimage.gaussian_filter((power / raw[:, ring]).mean(axis=0), SHAPE_BINS, mode="wrap")
    base = np.maximum(usual[ring] * shape, 1e-6)
    own = smooth_power(power, base)
    own /= np.exp(np.log(np.maximum(ring_power(own / base), 1e-6)).mean(axis=0))[ring]
    return np.maximum(own, 1e-6)


def smooth_power(power: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """(..., side, side) power smoothed over neighbouring frequencies, its usual fall taken out meanwhile."""
    sigma = (0,) * (power.ndim - 2) + (OWN_BINS, OWN_BINS)
    smooth: np.ndarray = usual * ndimage.gaussian_filter(power / usual, sigma, mode="wrap")
    return smooth


def _correlate(spectra: np.ndarray, owners: np.ndarray, lagged: np.ndarray, lags: int) -> np.ndarray:
    """(lags + 1, rings) correlation of windows with the same window so many slices further."""
    side = spectra.shape[-1]
    correlation = np.zeros((lags + 1, ring_count(side)))
    correlation[0] = 1
    first = np.flatnonzero(lagged == 0)  # in the order of the owners
    for lag in range(1, lags + 1):
        after = np.flatnonzero(lagged == lag)
        if len(after):
            here, there = spectra[first[owners[after]]], spectra[after]
            shared = ring_power((here * there.conj()).real.sum(axis=0))
            power = [ring_power((np.abs(s) ** 2).sum(axis=0)) for s in (here, there)]
            correlation[lag] = shared / np.sqrt(np.maximum(power[0] * power[1], 1e-12))
    return correlation
