"""Fits the limits of `verict.detect.fitness` on untouched scans, and counts how often they wrong scans left out.

Nothing is drawn at random: the same scans give the same limits. The scans of the published fakes count too. Each slice
of them holds one painted place; the traits are medians over the slice, and what is asked is only whether its scanner's
noise is known.

Each limit is the farthest value seen plus a margin, which is there because the next scanner will lie a little farther.
The margins were chosen with the traits of processed scans in view; what they cost untouched scans is counted on scans
left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from verict import __version__
from verict.datasets.scans import Progress, Scan, read_authentic_scans, read_labelled_scans
from verict.datasets.splits import Scanner, unseen_by
from verict.detect.fitness import NAME, SCHEMA, FitLimits, find_misfits, nearest
from verict.detect.noise_traits import NoiseTraits, measure_traits
from verict.errors import DatasetError

PIXEL_MARGIN = 0.02  # of the size
GAUSSIAN_MARGIN = 0.05  # a ninth of the range seen
GRID_MARGIN = 0.2  # three times the highest seen on a single slice
DISTANCE_MARGIN = 0.1  # of the distance
RIDGE = 0.02  # added to the variance of each ring, so that rings which rise and fall together count once
LEAST_SCANS = 20
DECIMALS = 4


@dataclass(frozen=True, eq=False)
class Reference:
    """The traits of one untouched series, whose and by which scanner; ``collection`` for counting."""

    collection: str
    patient: str
    scanner: Scanner
    traits: NoiseTraits


@dataclass(frozen=True)
class LeftOut:
    """How many series of each collection were called unfit by limits fitted without their patients and scanners."""

    series: dict[str, int]
    unfit: dict[str, int]


def read_references(data: Path, progress: Progress) -> list[Reference]:
    """Measure every series of ``data``/authentic and ``data``/ctgan that has lung enough.

    Raises
    ------
    DatasetError, InputError, UsageError
        As `read_authentic_scans` and `read_labelled_scans`.
    """
    found: list[Reference] = []
    for collection, scans in (
        ("", read_authentic_scans(data / "authentic", progress)),
        ("ctgan", read_labelled_scans(data / "ctgan", progress)),
    ):
        for scan in scans:
            found += measure_reference(scan, collection or _collection_of(scan))
    return found


def measure_reference(scan: Scan, collection: str) -> list[Reference]:
    """One reference, or none where the scan has too little lung."""
    traits = measure_traits(scan.volume, scan.lungs)
    return [] if traits is None else [Reference(collection, scan.patient, scan.scanner, traits)]


def fit_limits(references: Sequence[Reference]) -> FitLimits:
    """The limits that hold all these scans, each also where its own patient and scanner are left out of the distance.

    Raises
    ------
    DatasetError
        If there are too few.
    """
    if len(references) < LEAST_SCANS:
        raise DatasetError("too few untouched scans to fit limits on", found=len(references),
                           expected=f"{LEAST_SCANS} or more with lung enough")  # fmt: skip
    traits = [r.traits for r in references]
    powers, whitening = _whiten(traits)
    pixels = [t.pixel_mm for t in traits]
    return FitLimits(
        pixel_mm=(min(pixels) * (1 - PIXEL_MARGIN), max(pixels) * (1 + PIXEL_MARGIN)),
        gaussian_least=min(t.gaussian for t in traits) - GAUSSIAN_MARGIN,
        jpeg_grid_most=max(t.jpeg_grid for t in traits) + GRID_MARGIN,
        wavelet_grid_most=max(t.wavelet_grid for t in traits) + GRID_MARGIN,
        distance_most=max(_distances_left_out(references)) * (1 + DISTANCE_MARGIN),
        references=powers,
        whitening=whitening,
    )


def judge_left_out(references: Sequence[Reference]) -> LeftOut:
    """Hold each series against limits fitted without its patient and without every scanner that may be its own."""
    series: dict[str, int] = {}
    unfit: dict[str, int] = {}
    for index, own in enumerate(references):
        limits = fit_limits(_others(references, index))
        series[own.collection] = series.get(own.collection, 0) + 1
        unfit[own.collection] = unfit.get(own.collection, 0) + bool(find_misfits(own.traits, limits))
    return LeftOut(series, unfit)


def write_limits(out: Path, limits: FitLimits, references: Iterable[Reference], left_out: LeftOut) -> dict[str, Any]:
    """Write ``fitness.json`` into a folder and return what it holds."""
    references = list(references)
    card = {
        "schema": SCHEMA,
        "id": NAME,
        "version": __version__,
        "command": "verict train fitness --data ../shared/data --out src/verict/detect/weights",
        "limits": {
            "pixel_mm": [round(v, DECIMALS) for v in limits.pixel_mm],
            "gaussian_least": round(limits.gaussian_least, DECIMALS),
            "jpeg_grid_most": round(limits.jpeg_grid_most, DECIMALS),
            "wavelet_grid_most": round(limits.wavelet_grid_most, DECIMALS),
            "distance_most": round(limits.distance_most, DECIMALS),
        },
        "margins": {
            "pixel": PIXEL_MARGIN,
            "gaussian": GAUSSIAN_MARGIN,
            "grid": GRID_MARGIN,
            "distance": DISTANCE_MARGIN,
        },
        "data": {
            "series": left_out.series,
            "patients": len({r.patient for r in references}),
        },
        "unfit_when_left_out": left_out.unfit,
        "whitening": np.round(limits.whitening, DECIMALS).tolist(),
        "references": np.round(limits.references, DECIMALS).tolist(),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{NAME}.json").write_text(json.dumps(card) + "\n", encoding="utf-8")
    return card


def _collection_of(scan: Scan) -> str:
    return "authentic single slices" if scan.volume.slice_count <= 2 else "authentic volumes"


def _others(references: Sequence[Reference], index: int) -> list[Reference]:
    kept = unseen_by([r.patient for r in references], [r.scanner for r in references], np.array([index]))
    return [references[i] for i in kept]


def _whiten(traits: Sequence[NoiseTraits]) -> tuple[np.ndarray, np.ndarray]:
    """(n, 7) power, and (7, 7) by which differences are brought to their standard deviations."""
    powers = np.stack([t.power for t in traits])
    covariance = np.cov(powers.T) + RIDGE * np.eye(powers.shape[1])
    return powers, np.linalg.inv(np.linalg.cholesky(covariance))


def _distances_left_out(references: Sequence[Reference]) -> list[float]:
    """Of each series to the nearest one of another patient and scanner, whitened by those others alone."""
    found = []
    for index, own in enumerate(references):
        others = _others(references, index)
        if len(others) > own.traits.power.size:
            found.append(nearest(own.traits.power, *_whiten([r.traits for r in others])))
    return found
