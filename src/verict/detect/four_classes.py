"""Both questions joined: which of the four classes a place is, by whether a nodule is there and the tissue painted.

| | untouched | painted |
|---|---|---|
| no nodule | TB true-benign | FB false-benign: a cancer was removed |
| nodule | TM true-malicious | FM false-malicious: a cancer was injected |

The log odds of the nodule detector and those of `verict.detect.fusion` at a place become probabilities of the four by a
multinomial logistic regression, fitted on a campaign of the lab with as many places of each. So the four count as
equally likely beforehand, as in the data set's own task; how common forgeries are in an archive is for its owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from verict.ct.volume import CTVolume
from verict.datasets.uci import SiteType
from verict.detect.at_place import REACH_MM, score_at
from verict.detect.evidence import Evidence, ScoreMap
from verict.detect.model import CARD_SCHEMA, WEIGHTS
from verict.detect.nodule.reading import NoduleReading
from verict.detect.result import Place, Region
from verict.weights import read_card, require_file

NAME = "four-classes"
CLASSES = (SiteType.TB, SiteType.FB, SiteType.TM, SiteType.FM)
MEMBERS = ("nodule", "fusion")
MASS_FROM_MM = 30.0  # a nodule is called a mass from here on (Fleischner Society glossary, 2008)
BOUND = 12.0  # log odds beyond which a score says no more
_REQUIRED = ("schema", "id", "version", "weights", "members", "figures", "training")


@dataclass(frozen=True, eq=False)
class FourClasses:
    """The fitted weights, in the order of `CLASSES`.

    ``coefficients`` (4, 3) of nodule log odds, tamper log odds and their product; ``constant`` (4,).
    """

    card: dict[str, Any]
    coefficients: np.ndarray
    constant: np.ndarray

    def probabilities(self, nodule: np.ndarray, tamper: np.ndarray) -> np.ndarray:
        """(n, 4) probabilities that sum to 1, of (n,) log odds each; undefined tamper scores count as lowest."""
        logits = columns_of(nodule, tamper) @ self.coefficients.T + self.constant
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponents / exponents.sum(axis=1, keepdims=True)


def columns_of(nodule: np.ndarray, tamper: np.ndarray) -> np.ndarray:
    """(n, 3): what the regression sees of (n,) nodule and (n,) tamper log odds."""
    n, t = (np.clip(np.nan_to_num(np.asarray(v, float), nan=-BOUND), -BOUND, BOUND) for v in (nodule, tamper))
    return np.stack([n, t, n * t / BOUND], axis=1)


def from_weights(card: dict[str, Any], weights: dict[str, Any]) -> FourClasses:
    """The regression as it stands in a card."""
    return FourClasses(card, np.array(weights["coefficients"], float), np.array(weights["constant"], float))


@cache
def load_classes(folder: Path = WEIGHTS) -> FourClasses:
    """The shipped weights.

    Raises
    ------
    ModelError
        If the card is missing or of another schema.
    """
    require_file(folder / f"{NAME}.json")
    card = read_card(folder / f"{NAME}.json", CARD_SCHEMA, _REQUIRED)
    return from_weights(card, card["weights"])


@cache
def load_class_folds(folder: Path = WEIGHTS) -> tuple[FourClasses, ...]:
    """The weights fitted without each fold; for measuring only. Errors are those of `load_classes`."""
    card = load_classes(folder).card
    return tuple(from_weights(card, weights) for weights in card["folds"])


def join(
    volume: CTVolume, evidence: Sequence[Evidence], reading: NoduleReading | None, regions: Sequence[Region]
) -> tuple[Place, ...]:
    """Every nodule and every marked region of a series as one list of places: nodules first.

    A region that touches a nodule is told with it. Probabilities are given where both `MEMBERS` were run.
    """
    maps = {e.detector: e.score_map for e in evidence if e.score_map is not None}
    tamper = maps.get("fusion")
    classes = load_classes() if reading is not None and tamper is not None else None
    places: list[Place] = []
    told: set[int] = set()
    for index, nodule in enumerate(reading.nodules if reading else ()):
        own = [i for i, region in enumerate(regions) if _touches(region, nodule.centre_voxel_zyx, volume)]
        told.update(own)
        score = _tamper_at(tamper, nodule.slice_index, nodule.centre_voxel_zyx, volume)
        places.append(_place(classes, nodule.centre_voxel_zyx, nodule.score, score, nodule=index,
                             region=own[0] if own else None,
                             said=_say_nodule(nodule.long_axis_mm, nodule.where, regions, own, score)))
    for index, region in enumerate(regions):
        if index not in told:
            highest = _nodule_near(reading, region, volume) if reading else None
            score = _tamper_at(tamper, region.peak_slice, region.centre_voxel_zyx, volume)
            places.append(_place(classes, region.centre_voxel_zyx, highest, score, nodule=None, region=index,
                                 said=_say_region(region, looked=reading is not None)))
    return tuple(places)


def _tamper_at(
    tamper: ScoreMap | None, z: int, centre_zyx: Sequence[float], volume: CTVolume
) -> float | None:
    """The score of `verict.detect.fusion` at a place of slice z; other detectors have other units."""
    if tamper is None:
        return None
    score = score_at(tamper, z, centre_zyx[1], centre_zyx[2], volume.spacing_mm)
    return score if np.isfinite(score) else None


def _touches(region: Region, centre_zyx: Sequence[float], volume: CTVolume) -> bool:
    """Whether a region's box, or `REACH_MM` around it, holds a voxel."""
    bounds = np.array(region.bounds, float).reshape(3, 2)
    gaps = np.maximum(bounds[:, 0] - centre_zyx, np.asarray(centre_zyx) - bounds[:, 1]).clip(min=0)
    return bool(np.linalg.norm(gaps * volume.spacing_mm) <= REACH_MM)


def _nodule_near(reading: NoduleReading, region: Region, volume: CTVolume) -> float:
    """The highest nodule score within a region's box and `REACH_MM` around it."""
    near = [s for c, s in zip(reading.centres, reading.scores, strict=True) if _touches(region, c, volume)]
    return max(near, default=-BOUND)


def _say_nodule(
    size_mm: float | None, where: str, regions: Sequence[Region], own: Sequence[int], tamper_score: float | None
) -> str:
    """Both answers in a sentence: "a 14 mm nodule in the right lung, upper third; the tissue there looks painted"."""
    size = "a" if size_mm is None else f"a {size_mm:.0f} mm"
    what = "mass" if (size_mm or 0) > MASS_FROM_MM else "nodule"
    if any(regions[i].decisive for i in own):
        trust = "the tissue there looks painted"
    elif own:
        trust = "the texture there is unusual, too weak to call it painted"
    elif tamper_score is None:
        trust = "whether it was painted could not be judged"
    else:
        trust = "no trace of painting there"
    return f"{size} {what} in the {where}; {trust}"


def _say_region(region: Region, *, looked: bool) -> str:
    """Of a region without a nodule; ``looked`` whether anybody looked for one."""
    if not looked:
        painted = "the tissue looks painted" if region.decisive else "unusual texture, too weak to call it painted"
        return f"{painted}; whether there is a nodule was not looked at"
    if region.decisive:
        return "no nodule, but the tissue looks painted: something may have been removed here"
    return "no nodule; unusual texture, too weak to call it painted"


def _place(
    classes: FourClasses | None, centre: tuple[float, float, float], nodule_score: float | None,
    tamper_score: float | None, *, nodule: int | None, region: int | None, said: str,
) -> Place:
    probabilities = None
    if classes is not None and nodule_score is not None and tamper_score is not None:
        row = classes.probabilities(np.array([nodule_score]), np.array([tamper_score]))[0]
        probabilities = {str(name): float(p) for name, p in zip(CLASSES, row, strict=True)}
    return Place(nodule, region, centre, nodule_score, tamper_score, probabilities, said)
