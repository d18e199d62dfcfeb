"""The plain start every detector has to beat: energies of frequency bands of a window, into randomised trees.

Nine radial bands of 32-pixel windows, of the image and of its 3 x 3 median residual, clipped at -500 and at 300 HU;
then how unevenly three wider bands are spread over eight directions, clipped at -400 HU, by itself and against a ring
of windows around. Each also relative to the median over the lung windows of the slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage
from sklearn.ensemble import ExtraTreesClassifier

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.datasets.scans import Scan, Source, identify_slice
from verict.detect.evidence import ScoreMap
from verict.evaluation.case import PlaceKind, Subject

WINDOW_PX = 32
STRIDE_PX = 12  # the ring's places are whole steps of it, so windows and rings share their spectra
ORIGIN_PX = WINDOW_PX // 2  # a window's centre: pixel 16 of 0 to 31, where the label of a training window stands
AIR_HU = -1100
CEILINGS_HU = (-500, 300)
DIRECTION_CEILING_HU = -400
RINGS = ((1, 3), (3, 5), (5, 7), (7, 9), (9, 11), (11, 13), (13, 15), (15, 17), (17, 23))  # cycles a window
SECTOR_RINGS = ((4, 8), (8, 12), (12, 17))
SECTORS = 8
RING_PLACES = ((36, 0), (24, 24), (0, 36), (-24, 24), (-36, 0), (-24, -24), (0, -36), (24, -24))  # 34 to 36 px away
RING_BELOW_HU = -550  # a window of the ring is lung if its mean lies below
MIN_RING = 2
POWER_FLOOR = 1e-2

POSITIVE_SHIFTS = 8  # further windows of each painted place, up to 5 px from it
SHIFT_PX = 5
AUTHENTIC_PER_PATIENT = 60  # untouched places drawn of each patient of the authentic scans


@dataclass
class PlainTrees:
    """800 extremely randomised trees on windows at labelled places and at untouched ones.

    Positives: each FB and FM label and `POSITIVE_SHIFTS` windows up to `SHIFT_PX` from it. Negatives: every untouched
    place of the labelled slices, and `AUTHENTIC_PER_PATIENT` of each authentic patient. The spectra of a slice are
    kept by its pixels: they follow from nothing else.
    """

    trees: int = 800
    seed: int = 0
    workers: int = 2
    _kept: dict[str, SliceWindows] = field(default_factory=dict, repr=False)

    def fit(self, cases: Sequence[tuple[Scan, Subject]]) -> PlainTreesScorer:
        """Fit on these scans."""
        rng = np.random.default_rng(self.seed)
        features, painted = [], []
        for scan, subject in cases:
            for z, points, is_painted in _training_points(scan, subject, cases, rng):
                features.append(self.windows_of(scan.volume.hu[z], scan.lungs.mask[z]).at(scan.volume.hu[z], points))
                painted.append(is_painted)
        trees = ExtraTreesClassifier(
            self.trees,
            min_samples_leaf=2,
            class_weight="balanced",
            n_jobs=self.workers,
            random_state=self.seed,
        )
        trees.fit(np.concatenate(features), np.concatenate(painted))
        return PlainTreesScorer(self, trees)

    def windows_of(self, hu: np.ndarray, lung_mask: np.ndarray) -> SliceWindows:
        """The windows of a (y, x) slice."""
        key = identify_slice(hu)
        if key not in self._kept:
            self._kept[key] = measure_slice(hu, lung_mask)
        return self._kept[key]


@dataclass(frozen=True)
class PlainTreesScorer:
    """Fitted trees; the score is the share of trees that say painted, each leaf by its own share."""

    learner: PlainTrees
    trees: ExtraTreesClassifier

    def score(self, volume: CTVolume, lungs: LungRegion) -> ScoreMap:
        """Score every window centred in the lungs, all slices in one call: a call to 800 trees costs as much again."""
        shape = grid_shape(volume.hu.shape[1:])
        values = np.full((volume.slice_count, *shape), np.nan, np.float32)
        found = [(z, self.learner.windows_of(volume.hu[z], lungs.mask[z])) for z in np.flatnonzero(lungs.found)]
        found = [(z, windows) for z, windows in found if len(windows.features)]
        if found:
            features = np.concatenate([windows.relative(windows.features) for _, windows in found])
            z = np.concatenate([np.full(len(windows.centres), z) for z, windows in found])
            rows, columns = (np.concatenate([w.centres for _, w in found]) - ORIGIN_PX).T // STRIDE_PX
            values[z, rows, columns] = self.trees.predict_proba(features)[:, 1]
        return ScoreMap(values, STRIDE_PX, ORIGIN_PX)


@dataclass(frozen=True, eq=False)
class SliceWindows:
    """The lung windows of a slice: (n, 2) centre pixels, (n, features), and the median all are compared with."""

    centres: np.ndarray
    features: np.ndarray
    median: np.ndarray

    def relative(self, features: np.ndarray) -> np.ndarray:
        """(n, 2 * features) float32: as they are, and less the slice's median."""
        return np.concatenate([features, features - self.median], axis=1)

    def at(self, hu: np.ndarray, points: np.ndarray) -> np.ndarray:
        """(n, 2 * features) of windows at any (n, 2) pixels."""
        return self.relative(measure_windows(hu, points))


def grid_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of the grid of windows that lie inside an image of that shape."""
    rows, columns = (max(0, (n - WINDOW_PX) // STRIDE_PX + 1) for n in shape)
    return rows, columns


def measure_slice(hu: np.ndarray, lung_mask: np.ndarray) -> SliceWindows:
    """Every window of the grid that is centred in the lungs."""
    rows, columns = grid_shape(hu.shape)
    centres = ORIGIN_PX + STRIDE_PX * np.argwhere(np.ones((rows, columns), bool))
    centres = centres[lung_mask[centres[:, 0], centres[:, 1]]]
    features = measure_windows(hu, centres)
    return SliceWindows(centres, features, np.median(features, axis=0) if len(features) else np.zeros(84, np.float32))


def measure_windows(hu: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(n, 84) float32 features of windows around (n, 2) pixels; a window over the edge is moved inside."""
    if not len(centres):
        return np.empty((0, 84), np.float32)
    limits = np.array(hu.shape) - WINDOW_PX
    corners = np.clip(centres - ORIGIN_PX, 0, limits)
    radial = [
        np.log(_band_power(layer, corners, _RADIAL) + POWER_FLOOR)
        for ceiling in CEILINGS_HU
        for layer in _layers(hu, ceiling)
    ]
    return np.concatenate([*radial, _directional(hu, corners)], axis=1).astype(np.float32)


def _directional(hu: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(n, 48) spread of power over directions: here, around, the difference, and how much here differs by direction."""
    limits = np.array(hu.shape) - WINDOW_PX
    around = (corners[:, None] + np.array(RING_PLACES)).reshape(-1, 2)
    inside = ((around >= 0) & (around <= limits)).all(axis=1)
    places, index = np.unique(np.concatenate([corners, np.clip(around, 0, limits)]), axis=0, return_inverse=True)
    index = index.reshape(-1)
    power = [_band_power(layer, places, _SECTORS) for layer in _layers(hu, DIRECTION_CEILING_HU)]
    cells = np.log(np.stack(power, axis=1) + POWER_FLOOR)
    total = np.pad(hu.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    (y, x), w = places.T, WINDOW_PX
    mean_hu = (total[y + w, x + w] - total[y, x + w] - total[y + w, x] + total[y, x]) / w**2
    n, ring = len(corners), index[len(corners) :]
    usable = (inside & (mean_hu[ring] < RING_BELOW_HU)).reshape(n, -1)
    here = cells[index[:n]]
    beside = np.where(usable[:, :, None, None], cells[ring].reshape(n, len(RING_PLACES), *cells.shape[1:]), np.nan)
    enough = usable.sum(axis=1) >= MIN_RING
    median = here.copy()
    median[enough] = np.nanmedian(beside[enough], axis=1)
    here, median = (c.reshape(n, -1, SECTORS) for c in (here, median))
    spreads = [np.concatenate([c.std(axis=-1), np.ptp(c, axis=-1)], axis=1) for c in (here, median)]
    apart = here - median
    return np.concatenate([*spreads, spreads[0] - spreads[1], apart.mean(axis=-1), apart.std(axis=-1)], axis=1)


def _layers(hu: np.ndarray, ceiling: int) -> tuple[np.ndarray, np.ndarray]:
    image = np.clip(hu, AIR_HU, ceiling).astype(np.float32)
    return image, image - ndimage.median_filter(image, 3)


def _band_power(image: np.ndarray, corners: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """(n, bands) mean power of tapered windows in each band."""
    view = np.lib.stride_tricks.sliding_window_view(image, (WINDOW_PX, WINDOW_PX))
    windows = view[corners[:, 0], corners[:, 1]]
    windows = (windows - windows.mean(axis=(1, 2), keepdims=True)) * _TAPER
    spectrum = np.fft.rfft2(windows, axes=(1, 2))
    return (spectrum.real**2 + spectrum.imag**2).reshape(len(corners), -1) @ bands


def _training_points(
    scan: Scan, subject: Subject, cases: Sequence[tuple[Scan, Subject]], rng: np.random.Generator
) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """By slice: z, (n, 2) pixels and (n,) bool whether painted there."""
    untouched = [p for p in subject.places if p.kind not in (PlaceKind.FB, PlaceKind.FM)]
    if scan.source is Source.AUTHENTIC:
        series = sum(other.patient == scan.patient for other, _ in cases)
        wanted = min(len(untouched), max(1, AUTHENTIC_PER_PATIENT // series))
        untouched = [untouched[i] for i in rng.choice(len(untouched), wanted, replace=False)]
    points: dict[int, list[tuple[int, int, bool]]] = {}
    for place in untouched:
        points.setdefault(place.z, []).append((place.y, place.x, False))
    for z, labels in subject.labels.items():
        for label in labels:
            if label.kind.is_tampered:
                shifts = [(0, 0), *rng.integers(-SHIFT_PX, SHIFT_PX + 1, (POSITIVE_SHIFTS, 2)).tolist()]
                points.setdefault(z, []).extend((label.y + dy, label.x + dx, True) for dy, dx in shifts)
    table = {z: np.array(rows, int) for z, rows in points.items()}
    return [(z, rows[:, :2], rows[:, 2].astype(bool)) for z, rows in table.items()]


def _make_bands() -> tuple[np.ndarray, np.ndarray]:
    """(values, bands) float32 for radial bands and for sectors: the mean power in each, from half a spectrum."""
    ky = np.fft.fftfreq(WINDOW_PX, 1 / WINDOW_PX)[:, None]
    kx = np.arange(WINDOW_PX // 2 + 1)[None]
    radius, angle = np.hypot(ky, kx), np.mod(np.arctan2(ky, kx), np.pi)
    stands_for = np.where((kx == 0) | (kx == WINDOW_PX // 2), 1.0, 2.0)
    width = np.pi / SECTORS

    def mean_over(chosen: np.ndarray) -> np.ndarray:
        weight = stands_for * chosen
        return (weight / weight.sum()).ravel()

    radial = [mean_over((radius >= low) & (radius < high)) for low, high in RINGS]
    sectors = [
        mean_over((radius >= low) & (radius < high) & (np.mod(angle - s * width + width / 2, np.pi) < width))
        for low, high in SECTOR_RINGS
        for s in range(SECTORS)
    ]
    return np.stack(radial, axis=1).astype(np.float32), np.stack(sectors, axis=1).astype(np.float32)


_RADIAL, _SECTORS = _make_bands()
_TAPER = np.outer(np.hanning(WINDOW_PX), np.hanning(WINDOW_PX)).astype(np.float32)
