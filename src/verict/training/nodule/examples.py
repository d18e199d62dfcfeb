"""Places to learn from: blobs of whole series and of lone slices, each a nodule, surely none, or left out.

A blob within a nodule is positive, one that only touches it is left out. Whole series give their blobs in 3D and, from
some of their slices, as if each slice were alone. What is known of a scan stands in `Known`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.datasets.scans import Scan
from verict.datasets.splits import Scanner
from verict.detect.nodule.candidates import find_candidates
from verict.detect.nodule.detector import is_alone
from verict.detect.nodule.rays import FEATURE_COUNT, describe
from verict.training.nodule.chests import Truth

LONE_SLICES = 10  # of a whole series that are also shown alone
JITTERED = 6  # places around the middle of each nodule, beside the blobs
JITTER_MM = 1.5
CLEAR_MM = 5.0  # around a removal, each way
WITHIN = 0.35  # of its diameter from the middle a blob is the nodule
BESIDE_MM = 7.0  # beyond its radius a blob is no part of it
LONE_WITHIN = 0.3  # of its diameter above or below the middle a slice shows it well
NODULE, OTHER, LEFT_OUT = 1, 0, -1


@dataclass(frozen=True, eq=False)
class Known:
    """A scan and what is known of it.

    ``truths`` are its nodules; ``clear`` voxels (z, y, x) where surely none is: removals. Where ``only_listed``,
    nothing else of the scan is learnt from.
    """

    scan: Scan
    truths: tuple[Truth, ...] = ()
    clear: tuple[tuple[float, float, float], ...] = ()
    only_listed: bool = False
    what: str = ""


@dataclass(frozen=True, eq=False)
class Examples:
    """Described places of one scan.

    (n,) each: ``features`` (n, `FEATURE_COUNT`) float16, ``label``, ``truth`` the index of the nodule it is (-1 for
    none), ``view`` the slice it was seen on alone (-1: with its neighbours), ``is_blob`` whether `find_candidates`
    named it, ``centres_mm`` (n, 3) from the first voxel. Of the scan: ``spacing_mm``, ``lung_slices``, and the nodules'
    ``diameters_mm`` and ``kinds``, those that are unsure as 0 mm.
    """

    patient: str
    scanner: Scanner
    folder: str
    what: str
    spacing_mm: tuple[float, float, float]
    lung_slices: int
    diameters_mm: tuple[float, ...]
    kinds: tuple[str, ...]
    features: np.ndarray = field(repr=False)
    label: np.ndarray = field(repr=False)
    truth: np.ndarray = field(repr=False)
    view: np.ndarray = field(repr=False)
    is_blob: np.ndarray = field(repr=False)
    centres_mm: np.ndarray = field(repr=False)


def describe_scan(known: Known, seed: int) -> Examples:
    """All examples of one scan; the same seed gives the same."""
    rng = np.random.default_rng([seed, len(known.truths), known.scan.volume.slice_count])
    volume, lungs = known.scan.volume, known.scan.lungs
    parts = [_describe_volume(volume, lungs, known, rng)]
    if any(run.stop - run.start > 1 for run in volume.runs):
        for z in _choose_slices(known, rng):
            alone = replace(volume, hu=volume.hu[z : z + 1], origins_mm=volume.origins_mm[z : z + 1])
            region = LungRegion(lungs.mask[z : z + 1], lungs.found[z : z + 1])
            parts.append(_describe_volume(alone, region, _on_slice(known, z), rng, z=z))
    joined = [np.concatenate([part[i] for part in parts]) for i in range(6)]
    return Examples(
        known.scan.patient, known.scan.scanner, known.scan.folder, known.what, volume.spacing_mm,
        int(lungs.found.sum()), tuple(t.diameter_mm if t.is_sure else 0.0 for t in known.truths),
        tuple(t.kind for t in known.truths), *joined,
    )  # fmt: skip


def _choose_slices(known: Known, rng: np.random.Generator) -> list[int]:
    """Slices to be shown alone: the middle of each nodule and removal, and others that hold lung."""
    count = known.scan.volume.slice_count
    wanted = [t.centre[0] + rng.uniform(-0.2, 0.2) * t.diameter_mm / known.scan.volume.spacing_mm[0]
              for t in known.truths]
    wanted += [place[0] for place in known.clear]
    chosen = {int(np.clip(round(z), 0, count - 1)) for z in wanted}
    lit = np.flatnonzero(known.scan.lungs.found)
    if len(lit) and not known.only_listed:
        chosen |= set(rng.choice(lit, min(LONE_SLICES, len(lit)), replace=False).tolist())
    return sorted(z for z in chosen if known.scan.lungs.found[z])


def _on_slice(known: Known, z: int) -> Known:
    """What is known of one slice: nodules it shows well, and as unsure those it only touches."""
    truths = []
    for index, truth in enumerate(known.truths):
        off_mm = abs(truth.centre[0] - z) * known.scan.volume.spacing_mm[0]
        if off_mm <= truth.diameter_mm / 2 + BESIDE_MM:
            sure = truth.is_sure and off_mm <= max(LONE_WITHIN * truth.diameter_mm,
                                                   known.scan.volume.spacing_mm[0] / 2)
            truths.append(replace(truth, centre=(0.0, *truth.centre[1:]), is_sure=sure, index=index))
    clear = tuple((0.0, y, x) for at, y, x in known.clear if abs(at - z) < 1)
    return replace(known, truths=tuple(truths), clear=clear)


def _describe_volume(
    volume: CTVolume, lungs: LungRegion, known: Known, rng: np.random.Generator, z: int | None = None
) -> tuple[np.ndarray, ...]:
    spacing = np.array(volume.spacing_mm) * ([0, 1, 1] if z is not None else [1, 1, 1])
    centres = np.zeros((0, 3)) if known.only_listed else find_candidates(volume, lungs).centres
    label, truth = label_places(centres, known.truths, spacing)
    moves = spacing * ([1, 1, 1] if any(run.stop - run.start > 1 for run in volume.runs) else [0, 1, 1])
    extra, extra_truth = _around_truths(known.truths, moves, rng)
    clear = _around_clear(known.clear, moves, rng)
    is_blob = np.arange(len(centres) + len(extra) + len(clear)) < len(centres)
    centres = np.concatenate([centres, extra, clear])
    label = np.concatenate([label, np.full(len(extra), NODULE), np.full(len(clear), OTHER)])
    truth = np.concatenate([truth, extra_truth, np.full(len(clear), -1)])
    inside = ((centres >= 0) & (centres <= np.array(volume.hu.shape) - 1)).all(axis=1)
    centres, label, truth, is_blob = centres[inside], label[inside], truth[inside], is_blob[inside]
    features = describe(volume, lungs, centres) if len(centres) else np.zeros((0, FEATURE_COUNT), np.float32)
    lone = is_alone(volume, centres)
    view = np.where(lone, np.rint(centres[:, 0]).astype(int) if z is None else z, -1)
    centres_mm = (centres + np.array([z or 0, 0, 0])) * volume.spacing_mm
    return features.astype(np.float16), label, truth, view, is_blob, centres_mm


def label_places(centres: np.ndarray, truths: Sequence[Truth], spacing_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) label and (n,) index of the nodule of (n, 3) voxels."""
    label, index = np.full(len(centres), OTHER), np.full(len(centres), -1)
    for number, truth in enumerate(truths):
        away_mm = np.linalg.norm((centres - truth.centre) * spacing_mm, axis=1)
        near = away_mm <= truth.diameter_mm / 2 + BESIDE_MM
        label[near & (label == OTHER)] = LEFT_OUT
        own = away_mm <= max(WITHIN * truth.diameter_mm, 2.5)
        if truth.is_sure:
            label[own] = NODULE
            index[own] = truth.index if truth.index >= 0 else number
    return label, index


def _around_truths(
    truths: Sequence[Truth], spacing_mm: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Places around the middle of each sure nodule, and whose they are."""
    places, whose = [np.zeros((0, 3))], [np.zeros(0, int)]
    steps = np.where(spacing_mm > 0, spacing_mm, np.inf)
    for number, truth in enumerate(truths):
        if truth.is_sure:
            moves = rng.normal(0, min(JITTER_MM, 0.12 * truth.diameter_mm), (JITTERED, 3)) / steps
            places.append(np.array(truth.centre) + moves)
            whose.append(np.full(JITTERED, truth.index if truth.index >= 0 else number))
    return np.concatenate(places), np.concatenate(whose)


def _around_clear(
    places: Sequence[tuple[float, float, float]], spacing_mm: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(n, 3) voxels at and around places without a nodule: what a removal leaves is a hard case all around."""
    steps = np.where(spacing_mm > 0, spacing_mm, np.inf)
    moved = [np.array(place) + rng.uniform(-CLEAR_MM, CLEAR_MM, (JITTERED, 3)) / steps for place in places]
    return np.concatenate([np.array(places, float).reshape(-1, 3), *moved])
