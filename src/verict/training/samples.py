"""Slices to train and judge the spectrum detector on: authentic ones, real fakes, simulated forgeries."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from verict.datasets.scans import NOWHERE, Progress, Scan, Source, read_authentic_scans, read_labelled_scans
from verict.datasets.sites import choose_negative_sites, site_rng
from verict.datasets.splits import Scanner
from verict.detect.spectrum_features import ORIGIN_PX, STRIDE_PX, SliceFeatures, slice_features
from verict.errors import DatasetError
from verict.tamper.repaint import ForgeryKind, NoiseKind, RepaintConfig, repaint_slice

CLEAN_MM = 48.0  # windows at least this far from every label are untouched (see datasets.sites)
NEITHER_MM = 20.0  # windows between this and CLEAN_MM of a label are not trained on
LONG_SERIES_SHARE = 3.0  # draws of a whole series for each of a scan of few slices
AUTHENTIC, REAL_FAKES, FORGED, VARIED = "authentic", "ctgan", "forged", "varied"
_SOURCES = {Source.AUTHENTIC: AUTHENTIC, Source.LABELLED: REAL_FAKES}


@dataclass(frozen=True)
class Place:
    """A place to score: ``kind`` FB, FM, parenchyma or bright; pixel (y, x); blurred centre HU."""

    kind: str
    y: int
    x: int
    centre_hu: float = 0.0


@dataclass(frozen=True, eq=False)
class Sample:
    """One slice: whose it is, its windows' features, and how far each window is from what was painted.

    ``painted_mm`` (n,) is the distance of each window's centre to the nearest paint of this slice in mm (inf
    without any), ``places`` what the location protocol scores, ``touch_up`` and ``kind`` what a simulated forgery
    is, "" otherwise.
    """

    source: str
    folder: str
    patient: str
    scanner: Scanner
    series: str
    z: int
    spacing_mm: tuple[float, float]
    features: SliceFeatures
    painted_mm: np.ndarray
    places: tuple[Place, ...] = ()
    touch_up: str = ""
    kind: str = ""


    @property
    def paint(self) -> int:
        """What was painted here: 0 nothing, 1 a removal, 2 an injection."""
        kinds = {place.kind for place in self.places}
        return 1 if kinds & {"FB", "remove"} else 2 if kinds & {"FM", "inject"} else 0


def load_scans(data: Path, progress: Progress) -> list[Scan]:
    """Every authentic series and every scan of the real fakes below ``data``, in a fixed order.

    Raises
    ------
    DatasetError
        If either collection is missing.
    """
    for name in ("authentic", "ctgan"):
        if not (data / name).is_dir():
            raise DatasetError("no such collection", file=data / name, next_step="see the data README for its layout")
    return [
        *read_authentic_scans(data / "authentic", progress),
        *(replace(scan, folder=REAL_FAKES) for scan in read_labelled_scans(data / "ctgan", progress)),
    ]


def untouched_and_labelled(scans: list[Scan], seed: int, progress: Progress) -> list[Sample]:
    """One sample a slice that holds lung; labelled slices carry their labels and negatives as places."""
    jobs = [(scan, z) for scan in scans for z in range(scan.volume.slice_count) if scan.lungs.found[z]]
    return _in_parallel(lambda job: _sample_slice(*job, seed), jobs, "computing features", progress)


def _sample_slice(scan: Scan, z: int, seed: int) -> Sample:
    hu, mask, spacing = scan.volume.hu[z], scan.lungs.mask[z], scan.volume.spacing_mm[1:]
    features = slice_features(hu, mask, spacing)
    near = scan.avoid_mm.get(z, NOWHERE)
    places = tuple(Place(str(label.kind), label.y, label.x) for label in scan.labels.get(z, ()))
    painted = np.array([(p.y * spacing[0], p.x * spacing[1]) for p in places]).reshape(-1, 2)
    number = scan.numbers[z] if scan.numbers else z
    chosen = choose_negative_sites(hu, mask, spacing, near, site_rng(seed, scan.patient, number))
    places = (*places, *(Place(str(s.kind), s.y, s.x) for s in chosen))
    blurred = _blurred_centres(hu, places)
    places = tuple(replace(p, centre_hu=h) for p, h in zip(places, blurred, strict=True))
    return Sample(
        source=_SOURCES[scan.source],
        folder=scan.folder,
        patient=scan.patient,
        scanner=scan.scanner,
        series=scan.volume.series_instance_uid,
        z=z,
        spacing_mm=spacing,
        features=features,
        painted_mm=_neither_side(distance_mm(features, painted, spacing), distance_mm(features, near, spacing)),
        places=places,
    )


def _neither_side(own_mm: np.ndarray, other_mm: np.ndarray) -> np.ndarray:
    """Distances to what was painted here; windows nearer to a label of another slice count as neither side."""
    return np.where(other_mm < np.minimum(own_mm, CLEAN_MM), np.clip(other_mm, NEITHER_MM, CLEAN_MM - 1), own_mm)


def _blurred_centres(hu: np.ndarray, places: tuple[Place, ...], sigma_px: float = 2.5) -> list[float]:
    """The content-only baseline: HU blurred by 2.5 px at each place, and nothing else."""
    reach = 8
    offsets = np.arange(-reach, reach + 1)
    weight = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * sigma_px**2))
    padded = np.pad(hu, reach, mode="edge")
    return [
        float((padded[p.y : p.y + 2 * reach + 1, p.x : p.x + 2 * reach + 1] * weight).sum() / weight.sum())
        for p in places
    ]


def distance_mm(features: SliceFeatures, points_mm: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """(n,) distance of each window's centre to the nearest of (m, 2) points in mm; inf without any."""
    if not len(points_mm):
        return np.full(len(features.rows), np.inf)
    y = (ORIGIN_PX + features.rows * STRIDE_PX) * spacing_mm[0]
    x = (ORIGIN_PX + features.columns * STRIDE_PX) * spacing_mm[1]
    return np.hypot(y[:, None] - points_mm[:, 0], x[:, None] - points_mm[:, 1]).min(axis=1)


def simulate_forgeries(scans: list[Scan], count: int, seed: int, progress: Progress) -> list[Sample]:
    """Forge single slices of untouched scans, and untouched parts of the real fakes' slices.

    A long series gives three times what a scan of few slices gives. Paint, noise law, blend window and
    footprint are drawn at random; half the slices are first shown as by another scanner.
    """
    return _simulate(scans, count, seed, "simulating forgeries", progress, forge=True)


def simulate_scanners(scans: list[Scan], count: int, seed: int, progress: Progress) -> list[Sample]:
    """Untouched slices shown as by another scanner, see `vary_scanner`."""
    return _simulate(scans, count, seed, "simulating scanners", progress, forge=False)


def _simulate(
    scans: list[Scan], count: int, seed: int, what: str, progress: Progress, *, forge: bool
) -> list[Sample]:
    rng = np.random.default_rng([seed, forge])
    pool = [s for s in scans if s.lungs.any_found]
    share = np.array([LONG_SERIES_SHARE if s.volume.slice_count > 3 else 1.0 for s in pool])
    order = rng.choice(len(share), size=count, p=share / share.sum())
    jobs = [(pool[i], int(s), forge) for i, s in zip(order, rng.integers(2**31, size=count), strict=True)]
    made = _in_parallel(lambda job: _simulate_slice(*job), jobs, what, progress)
    return [sample for sample in made if sample is not None]


def vary_scanner(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(y, x) int16 slice as another kernel and dose might have shown it: filtered, with more correlated noise.

    Widens the few scanners at hand; nothing is painted.
    """
    image = hu.astype(np.float32)
    image += rng.uniform(-0.8, 1.2) * (image - ndimage.gaussian_filter(image, rng.uniform(0.5, 1.2)))
    noise = ndimage.gaussian_filter(rng.standard_normal(hu.shape, np.float32), rng.uniform(0.4, 1.1, 2))
    image += noise * (rng.uniform(0, 25) / float(noise.std()))
    return np.clip(np.rint(image), -3024, 3071).astype(np.int16)


def draw_config(rng: np.random.Generator, touch_up: NoiseKind, shape: tuple[int, int]) -> RepaintConfig:
    """A forger's settings at random around what CT-GAN takes; noise law and zoom as CT-GAN's half of the time."""
    as_published = rng.random() < 0.5
    noise_hu, zoom = rng.uniform(12, 45), rng.uniform(0.7, 1.7)  # zoom: CT-GAN's formula gives 0.8 to 1.6 on lungs
    return RepaintConfig(
        touch_up=touch_up,
        cube_mm=rng.uniform(28, 36),
        hole_mm=rng.uniform(16, 24),
        touch_up_factor=rng.uniform(1.15, 1.5),
        nodule_mm=rng.uniform(5, 18),
        nodule_hu=rng.uniform(-100, 80) if rng.random() < 0.7 else rng.uniform(-500, -100),
        texture_part=rng.uniform(0.2, 1.2),
        noise_hu=None if as_published else noise_hu,
        zoom=None if as_published else zoom,
        copy_from_zyx=(0, int(shape[0] * rng.uniform(0.35, 0.65)), int(shape[1] * rng.uniform(0.2, 0.8))),
        bell_power=rng.uniform(2, 30),
    )


def _simulate_slice(scan: Scan, seed: int, forge: bool) -> Sample | None:
    rng = np.random.default_rng(seed)
    z = int(rng.choice(np.flatnonzero(scan.lungs.found)))
    hu, mask, spacing = scan.volume.hu[z], scan.lungs.mask[z], scan.volume.spacing_mm[1:]
    avoid = scan.avoid_mm.get(z, NOWHERE)
    if not forge or rng.random() < 0.5:
        hu = vary_scanner(hu, rng)
    places: tuple[Place, ...] = ()
    kind, touch_up, painted = "", "", NOWHERE
    if forge:
        place = draw_far_place(mask, spacing, avoid, rng)
        if place is None:
            return None
        kind, touch_up = ForgeryKind(rng.choice(list(ForgeryKind))), NoiseKind(rng.choice(list(NoiseKind)))
        hu = _forge_slice(hu, spacing, place, kind, touch_up, rng)
        places, painted = (Place(str(kind), *place),), np.array([[place[0] * spacing[0], place[1] * spacing[1]]])
    features = slice_features(hu, mask, spacing)
    return Sample(
        source=FORGED if forge else VARIED,
        folder=scan.folder,
        patient=scan.patient,
        scanner=scan.scanner,
        series=scan.volume.series_instance_uid,
        z=z,
        spacing_mm=spacing,
        features=features,
        painted_mm=_neither_side(distance_mm(features, painted, spacing), distance_mm(features, avoid, spacing)),
        places=places,
        touch_up=str(touch_up),
        kind=str(kind),
    )


def _forge_slice(
    hu: np.ndarray,
    spacing_mm: tuple[float, float],
    place: tuple[int, int],
    kind: ForgeryKind,
    touch_up: NoiseKind,
    rng: np.random.Generator,
) -> np.ndarray:
    offset_mm = rng.uniform(0, 20) if kind is ForgeryKind.REMOVE and touch_up is not NoiseKind.NONE else 0.0
    config = draw_config(rng, touch_up, hu.shape)
    return repaint_slice(hu, spacing_mm, place, kind=kind, rng=rng, config=config, offset_mm=offset_mm)[0]


def draw_far_place(
    mask: np.ndarray, spacing_mm: tuple[float, float], avoid_mm: np.ndarray, rng: np.random.Generator
) -> tuple[int, int] | None:
    """A pixel (y, x) of the lungs, clear of (n, 2) labels in mm by more than a forgery reaches; None without any."""
    points = np.argwhere(mask)
    if len(avoid_mm):
        apart = np.hypot(*(points[:, None] * np.array(spacing_mm) - avoid_mm[None]).transpose(2, 0, 1)).min(axis=1)
        points = points[apart > CLEAN_MM + 24]
    if not len(points):
        return None
    y, x = points[rng.integers(len(points))]
    return int(y), int(x)


def _in_parallel(make: Callable, jobs: list, what: str, progress: Progress) -> list:
    results = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for result in pool.map(make, jobs):
            progress(what, len(results), len(jobs))
            results.append(result)
    return results
