"""Detectors that cheat, one that does not, and small collections built in code on which all of them are tried.

Every slice shows two lungs with noise as a kernel leaves it. In one lung something may be painted: white noise where
a cancer was (FB), or a ball with white noise on it (FM). In the other lie real balls like the injected ones.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from builders import make_slice_dataset, make_uid, write_dataset
from detect.volumes import make_noise
from scipy import ndimage

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.datasets.scans import Label, Scan, Source
from verict.datasets.sites import labels_near
from verict.datasets.splits import Scanner
from verict.datasets.uci import LabelRow, SiteType
from verict.detect.evidence import Evidence, Needs, ScoreMap
from verict.evaluation.case import Subject

SIZE = 224
PIXEL_MM = 1.0
STRIDE_PX = 4
STEP_MM = 100.0  # between the slices of a scan: each stands alone
MARK = 0.8
LUNG_CENTRES = (62, 162)  # columns
BALL_MM = 6.0
KINDS = (SiteType.FB, SiteType.FM)


def make_slice(seed: int, kind: SiteType | None) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """(y, x) int16 HU, (y, x) bool lungs, and the pixel (y, x) where it is painted."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    inside = [((x - c) / 38) ** 2 + ((y - SIZE / 2) / 75) ** 2 < 1 for c in LUNG_CENTRES]
    lungs = inside[0] | inside[1]
    hu = np.where(lungs, -850.0, 40.0)
    side = int(rng.integers(2))
    place = int(rng.integers(80, 145)), LUNG_CENTRES[side] + int(rng.integers(-8, 9))
    balls = [(int(v), LUNG_CENTRES[1 - side] + int(rng.integers(-8, 9))) for v in (62, 87, 112, 137, 162)]
    if kind is SiteType.FM:
        balls.append(place)
    for v, u in balls:
        density = 850 * rng.uniform(0.9, 1.1)
        hu = hu + density / (1 + np.exp((np.hypot(y - v, x - u) - BALL_MM * rng.uniform(0.9, 1.1)) / 1.0))
    hu = ndimage.gaussian_filter(hu, 0.9) + make_noise((SIZE, SIZE), seed=seed + 1)
    if kind is not None:
        window = np.exp(-((np.hypot(y - place[0], x - place[1]) / 16) ** 4))
        white = rng.normal(0, 40, (SIZE, SIZE)) - 0.7 * make_noise((SIZE, SIZE), seed=seed + 1)
        hu = hu + window * white
    return np.rint(np.clip(hu, -1024, 1500)).astype(np.int16), lungs, place


def make_scan(seed: int, kinds: Sequence[SiteType | None], *, pixel_mm: float = PIXEL_MM) -> Scan:
    """A scan of single slices with what is painted on each; authentic where that is nothing anywhere."""
    made = [make_slice(1000 * seed + 10 * z, kind) for z, kind in enumerate(kinds)]
    volume = _make_volume(np.stack([hu for hu, _, _ in made]), seed, pixel_mm)
    mask = np.stack([lungs for _, lungs, _ in made])
    spacing = (1.0, pixel_mm, pixel_mm)
    numbers = tuple(range(100, 100 + 100 * len(kinds), 100))
    rows = [
        LabelRow(1, kind, str(seed), number, x, y)
        for kind, number, (_, _, (y, x)) in zip(kinds, numbers, made, strict=True)
        if kind is not None
    ]
    is_labelled = bool(rows)
    return Scan(
        Source.LABELLED if is_labelled else Source.AUTHENTIC,
        str(seed) if is_labelled else f"folder {seed % 3}",
        f"patient {seed}",
        Scanner("uci", str(seed)) if is_labelled else Scanner("made", f"model{seed}"),
        volume,
        LungRegion(mask, mask.any(axis=(1, 2))),
        numbers,
        {z: tuple(Label(r.type, r.y, r.x) for r in rows if r.slice == n) for z, n in enumerate(numbers)},
        {z: labels_near(rows, n, spacing) for z, n in enumerate(numbers)},
    )


def _make_volume(hu: np.ndarray, seed: int, pixel_mm: float) -> CTVolume:
    z = np.arange(len(hu)) * STEP_MM
    return CTVolume(
        hu=hu,
        origins_mm=np.stack([np.full(len(hu), float(seed)), np.zeros(len(hu)), z], axis=1),
        row_direction=np.array([1.0, 0, 0]),
        column_direction=np.array([0, 1.0, 0]),
        spacing_mm=(STEP_MM, pixel_mm, pixel_mm),
        series_instance_uid=f"1.2.{seed}",
        study_instance_uid=f"1.3.{seed}",
        sop_instance_uids=tuple(f"1.2.{seed}.{i}" for i in range(len(hu))),
        frame_numbers=tuple(range(1, len(hu) + 1)),
        source_files=tuple(f"{seed}/{i}.dcm" for i in range(len(hu))),
        slice_thickness_mm=1.0,
    )


def make_labelled(count: int = 22) -> list[Scan]:
    """Scans with a removal and an injection each."""
    return [make_scan(seed, KINDS) for seed in range(1, count + 1)]


def make_authentic(count: int = 8, *, pixel_mm: float = PIXEL_MM) -> list[Scan]:
    """Scans of two untouched slices."""
    return [make_scan(500 + seed, (None, None), pixel_mm=pixel_mm) for seed in range(count)]


def write_betraying_collection(root: Path, scans: Sequence[Scan]) -> Path:
    """The scans as a UCI collection whose every other attribute tells the place that was painted."""
    home = root / "Tampered Scans"
    lines = ["type,uuid,slice,x,y"]
    for scan in scans:
        uuid = scan.volume.series_instance_uid.rpartition(".")[2]
        for z, number in enumerate(scan.numbers):
            label = scan.labels[z][0]
            lines.append(f"{label.kind},{uuid},{number},{label.x},{label.y}")
            told = f"{label.y}.{label.x}"
            series = f"1.2.826.0.1.{uuid}.{told}"
            dataset = make_slice_dataset(
                scan.volume.hu[z],
                position_mm=(float(label.y), float(label.x), STEP_MM * z),
                pixel_spacing_mm=(PIXEL_MM, PIXEL_MM),
                series_uid=make_uid("series", uuid),
                sop_uid=f"{series}.1",
                instance_number=number,
                patient_id=uuid,
                ImageComments=told,
            )
            write_dataset(dataset, home / "Experiment 1 - Blind" / uuid / f"{number}.dcm")
    (home / "labels_exp1.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def map_of(image: np.ndarray, lungs: np.ndarray | None = None) -> ScoreMap:
    """A (z, y, x) image as a map, undefined outside the lungs."""
    values = image.astype(np.float32)
    if lungs is not None:
        values = np.where(lungs, values, np.nan)
    start = STRIDE_PX // 2
    return ScoreMap(values[:, start::STRIDE_PX, start::STRIDE_PX].astype(np.float32), STRIDE_PX, float(start))


def map_at(volume: CTVolume, places: dict[int, tuple[float, float]], seed: int = 0) -> ScoreMap:
    """Noise below 0.7, and 1 around one place (y, x) a slice."""
    image = np.random.default_rng(seed).uniform(0, 0.7, volume.hu.shape)
    y, x = np.mgrid[: image.shape[1], : image.shape[2]]
    for z, (v, u) in places.items():
        image[z][np.hypot(y - v, x - u) < 8] = 1.0
    return map_of(image)


def hash_of(hu: np.ndarray) -> str:
    return hashlib.sha256(hu.tobytes()).hexdigest()


class Detector:
    """What all of them share."""

    name = "cheat"
    summary = "a detector of the tests"
    needs = Needs(lungs=True)

    def examine(self, volume: CTVolume, lungs: LungRegion | None, *, workers: int | None = None) -> Evidence:
        return Evidence(self.name, score_map=self.score(volume, lungs), mark_threshold=MARK)


class Honest(Detector):
    """How much of the noise is finer than a kernel leaves it."""

    def score(self, volume: CTVolume, lungs: LungRegion) -> ScoreMap:
        fine = np.stack([ndimage.laplace(hu.astype(np.float32)) ** 2 for hu in volume.hu])
        coarse = np.stack([(hu - ndimage.gaussian_filter(hu.astype(np.float32), 1.5)) ** 2 for hu in volume.hu])
        fine, coarse = (ndimage.uniform_filter(a, (0, 9, 9)) for a in (fine, coarse))
        return map_of(np.log(fine / (coarse + 50)) / 3, lungs.mask)


class Brightness(Detector):
    """HU, blurred."""

    def score(self, volume: CTVolume, lungs: LungRegion) -> ScoreMap:
        return map_of(np.stack([ndimage.gaussian_filter(hu.astype(np.float32), 2.5) for hu in volume.hu]))


class Noise(Detector):
    """Anything."""

    def score(self, volume: CTVolume, lungs: LungRegion) -> ScoreMap:
        return map_at(volume, {}, seed=int(hash_of(volume.hu)[:8], 16))


class Flood(Detector):
    """Everything, everywhere in the lungs."""

    def score(self, volume: CTVolume, lungs: LungRegion) -> ScoreMap:
        return map_of(np.ones(volume.hu.shape), lungs.mask)


class Leaky(Detector):
    """Anything, but higher where the pixels are as large as in the labelled collection."""

    def score(self, volume: CTVolume, lungs: LungRegion) -> ScoreMap:
        noise = Noise().score(volume, lungs)
        is_labelled = abs(volume.spacing_mm[1] - PIXEL_MM) < 1e-6
        return ScoreMap(noise.values + (0.5 if is_labelled else 0), noise.stride_px, noise.origin_px)


@dataclass
class Memory(Detector):
    """Where it saw something painted, by the hash of a slice's pixels."""

    places: dict[str, tuple[float, float]] = field(default_factory=dict)

    def score(self, volume: CTVolume, lungs: LungRegion) -> ScoreMap:
        known = {z: self.places[hash_of(hu)] for z, hu in enumerate(volume.hu) if hash_of(hu) in self.places}
        return map_at(volume, known, seed=int(hash_of(volume.hu)[:8], 16))

    @classmethod
    def of(cls, scans: Sequence[Scan]) -> Memory:
        painted = ((s.volume.hu[z], labels[0]) for s in scans for z, labels in s.labels.items() if labels)
        return cls({hash_of(hu): (label.y, label.x) for hu, label in painted})


class MemoryLearner:
    """Learns slices by heart."""

    def fit(self, cases: Sequence[tuple[Scan, Subject]]) -> Memory:
        return Memory.of([scan for scan, _ in cases])


class HeaderReader(Detector):
    """Reads the place in a comment."""

    needs = Needs(headers=True, lungs=True)

    def score(self, volume: CTVolume, lungs: LungRegion) -> ScoreMap:
        told = {z: str(h.get("ImageComments", "")) for z, h in enumerate(volume.headers)}
        places = {z: tuple(float(v) for v in text.split(".")) for z, text in told.items() if text}
        return map_at(volume, places, seed=volume.slice_count)


class Snoop(Detector):
    """Says it needs no headers, and looks for the place in everything it is handed that is not a pixel."""

    seen: list[str]

    def __init__(self) -> None:
        self.seen = []

    def score(self, volume: CTVolume, lungs: LungRegion) -> ScoreMap:
        places: dict[int, tuple[float, float]] = {}
        for z in range(volume.slice_count):
            told = [volume.sop_instance_uids[z], volume.source_files[z], volume.series_instance_uid]
            told += [volume.study_instance_uid, volume.input_sha256, *(str(n) for n in volume.notes + volume.failures)]
            told += [str(h) for h in volume.headers] + [str(n) for n in lungs.notes]
            told += ["" if volume.frame_numbers[z] == 1 else str(volume.frame_numbers[z])]
            self.seen += [text for text in told if text]
            for match in (re.search(r"\.([0-9]+)\.([0-9]+)\.1$", text) for text in told):
                if match:
                    places[z] = float(match[1]), float(match[2])
            if volume.origins_mm[z][:2].any():
                self.seen.append("origin")
                places[z] = float(volume.origins_mm[z][0]), float(volume.origins_mm[z][1])
        return map_at(volume, places, seed=volume.slice_count)


def each(scans: Sequence[Scan]) -> Iterator[Scan]:
    """The scans one after the other."""
    yield from scans
