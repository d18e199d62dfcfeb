"""Whether thresholds fitted on other scans mean anything for a series: whether its noise is like that of any of them.

Processing of a whole series (lossy compression, another matrix, smoothing) changes its noise everywhere, and a detector
of noise may then find places that nobody painted. The traits of `verict.detect.noise_traits` are held against those of
untouched scans. Where one lies beyond all of theirs, the series is unfit to be judged by these thresholds:
`verict.detect.verdict` then says neither that it is suspicious nor, with anything marked, that there is no evidence.

It rests on pixels and pixel size alone. What the headers say of it (LossyImageCompression (0028,2110)) is listed by the
header detector, and changes no verdict here: whoever forges a scan may write that too.

The limits lie in ``weights/fitness.json``, fitted by ``verict train fitness`` (`verict.evaluation.fitness_fit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.detect.model import WEIGHTS
from verict.detect.noise_traits import NoiseTraits, measure_traits
from verict.provenance import sha256_of
from verict.weights import read_card

SCHEMA = "verict.fitness/1"
NAME = "fitness"
_REQUIRED = ("schema", "id", "version", "limits", "references", "whitening")


@dataclass(frozen=True, eq=False)
class FitLimits:
    """What the traits of a series are held against.

    Parameters
    ----------
    pixel_mm
        Lowest and highest pixel size.
    gaussian_least
        Lowest ``gaussian``.
    jpeg_grid_most, wavelet_grid_most
        Highest values of these.
    distance_most
        Longest distance of ``power`` to the nearest of the references.
    references
        (n, 7) ``power`` of untouched scans.
    whitening
        (7, 7); distances are Euclidean after this is applied to differences.
    """

    pixel_mm: tuple[float, float]
    gaussian_least: float
    jpeg_grid_most: float
    wavelet_grid_most: float
    distance_most: float
    references: np.ndarray
    whitening: np.ndarray

    def distance(self, power: np.ndarray) -> float:
        """Of a (7,) ``power`` to the nearest reference, in standard deviations of the references."""
        return nearest(power, self.references, self.whitening)


@dataclass(frozen=True, eq=False)
class Fitness:
    """Whether the thresholds hold for a series.

    ``reasons`` say in words why not, and are empty where they do. ``traits`` is None where too little lung was found to
    tell; then nothing is held against the series.
    """

    reasons: tuple[str, ...]
    traits: NoiseTraits | None

    @property
    def is_fit(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons


def examine_fitness(volume: CTVolume, lungs: LungRegion, limits: FitLimits | None = None) -> Fitness:
    """Measure a series and hold it against the limits, the shipped ones by default.

    Raises
    ------
    ModelError
        If the shipped limits are missing or of another version.
    """
    traits = measure_traits(volume, lungs)
    return Fitness(() if traits is None else find_misfits(traits, limits or load_limits()), traits)


def find_misfits(traits: NoiseTraits, limits: FitLimits) -> tuple[str, ...]:
    """In words, each way in which the traits lie beyond the limits."""
    low, high = limits.pixel_mm
    misfits = (
        (traits.jpeg_grid > limits.jpeg_grid_most, "it bears the grid of JPEG: compressed with loss"),
        (traits.wavelet_grid > limits.wavelet_grid_most, "it bears the grid of JPEG 2000: compressed with loss"),
        (
            not low <= traits.pixel_mm <= high,
            f"its pixels measure {traits.pixel_mm:.2f} mm, known ones {low:.2f} to {high:.2f} mm: another matrix?",
        ),
        (
            traits.gaussian < limits.gaussian_least,
            "too much of it is nearly flat: smoothed, or compressed with loss?",
        ),
        (
            limits.distance(traits.power) > limits.distance_most,
            "its spectrum is far from that of each known scan: resampled, smoothed or sharpened?",
        ),
    )
    return tuple(words for is_beyond, words in misfits if is_beyond)


def describe_misfits(reasons: Sequence[str]) -> str:
    """All reasons as one clause for a verdict."""
    why = "; ".join(reasons)
    return f"the noise of the whole series is not like that of any scan the thresholds were fitted on ({why})"


def nearest(power: np.ndarray, references: np.ndarray, whitening: np.ndarray) -> float:
    """Shortest distance of (7,) to (n, 7) after whitening; inf where there is no reference."""
    return float(np.linalg.norm((references - power) @ whitening.T, axis=1).min(initial=np.inf))


@cache
def load_limits(folder: Path = WEIGHTS) -> FitLimits:
    """Read ``fitness.json`` of a folder.

    Raises
    ------
    ModelError
        If it is missing, no JSON, or of another version.
    """
    card = read_card(folder / f"{NAME}.json", SCHEMA, _REQUIRED)
    limits = card["limits"]
    return FitLimits(
        pixel_mm=(limits["pixel_mm"][0], limits["pixel_mm"][1]),
        gaussian_least=limits["gaussian_least"],
        jpeg_grid_most=limits["jpeg_grid_most"],
        wavelet_grid_most=limits["wavelet_grid_most"],
        distance_most=limits["distance_most"],
        references=np.array(card["references"]),
        whitening=np.array(card["whitening"]),
    )


@cache
def identify_limits(folder: Path = WEIGHTS) -> dict[str, Any]:
    """Id, version and SHA-256 of the limits, for the record of a result."""
    card = read_card(folder / f"{NAME}.json", SCHEMA, _REQUIRED)
    return {"id": card["id"], "version": card["version"], "sha256": sha256_of(folder / f"{NAME}.json")}
