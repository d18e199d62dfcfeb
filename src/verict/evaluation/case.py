"""What the ruler works on: one series with its labels and places, and the map a detector gave it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from verict.ct.volume import CTVolume
from verict.datasets.scans import Label, Source
from verict.datasets.splits import Scanner
from verict.detect.evidence import ScoreMap


class PlaceKind(StrEnum):
    """What stands at a place."""

    FB = "FB"  # a cancer was removed here
    FM = "FM"  # a cancer was injected here
    PARENCHYMA = "parenchyma"  # untouched lung
    BRIGHT = "bright"  # untouched vessel, scar or wall within the lung
    NODULE = "nodule"  # a real nodule or mass, untouched: a TM row, or documented for an authentic series


PAINTED = (PlaceKind.FB, PlaceKind.FM)


@dataclass(frozen=True)
class Place:
    """One place the detector is judged at.

    Parameters
    ----------
    kind
        What stands there.
    z, y, x
        Voxel.
    centre_hu
        HU blurred by a Gaussian of 2.5 px: all that the content-only baseline knows.
    diameter_mm
        Size of the structure there, NaN where there is none to measure, see `verict.evaluation.matching`.
    ring_hu
        Mean HU 4 to 8 mm from the centre.
    method, touch_up
        How it was forged; "" where nothing was, or that is not known.
    """

    kind: PlaceKind
    z: int
    y: int
    x: int
    centre_hu: float
    diameter_mm: float = float("nan")
    ring_hu: float = float("nan")
    method: str = ""
    touch_up: str = ""


class Seen(StrEnum):
    """What the model that scored a series may have learnt from it."""

    UNSEEN = "unseen"  # neither this patient nor these pixels are among what the model was fitted on
    SCANNER_SEEN = "scanner_seen"  # the same, but scans by a scanner model it may share are
    OUT_OF_FOLD = "out_of_fold"  # the shipped model was; the fold's model used here was not
    IN_SAMPLE = "in_sample"  # the model was fitted on it: figures flatter
    UNTRAINED = "untrained"  # nothing was fitted


@dataclass(frozen=True, eq=False)
class Subject:
    """All the ruler knows of one series before any detector sees it.

    Parameters
    ----------
    source, folder, patient, scanner
        As in `verict.datasets.scans.Scan`.
    kernel
        ConvolutionKernel, "" where untold or, as in the published fakes, cloned.
    geometry
        The volume without headers; its ``hu`` is a placeholder of the right shape that takes no memory.
    lung_slices
        (z,) bool, slices with lung: what marks per slice are counted over.
    labels
        By slice index z.
    avoid_mm
        By slice index z: (n, 2) labels of this slice and of its neighbours, in mm from pixel (0, 0).
    places
        Positives and untouched places.
    of_campaign, retouched
        As in `verict.datasets.scans.Scan`: on slices of which no pixel is as it was, no mark is false.
    """

    source: Source
    folder: str
    patient: str
    scanner: Scanner
    kernel: str
    geometry: CTVolume
    lung_slices: np.ndarray
    labels: dict[int, tuple[Label, ...]]
    avoid_mm: dict[int, np.ndarray]
    places: tuple[Place, ...]
    of_campaign: bool = False
    retouched: frozenset[int] = frozenset()

    @property
    def headers_tell(self) -> bool:
        """Whether scanner and kernel are known; the headers of the published fakes are one template."""
        return self.source is Source.AUTHENTIC or self.of_campaign


@dataclass(frozen=True, eq=False)
class Case:
    """A subject as one detector scored it.

    Parameters
    ----------
    subject
        What is true of it.
    score_map
        (z, rows, columns), higher = more suspicious, NaN where undefined.
    calibration
        The thresholds that judge this series, as in a model card (``mark_threshold``, ``decisive_threshold``,
        ``run_mark_threshold``, ``run_decisive_threshold``): fitted on other patients and scanners.
    seen
        What the model may have learnt from it.
    """

    subject: Subject
    score_map: ScoreMap
    calibration: dict[str, float]
    seen: Seen


def without_pixels(volume: CTVolume) -> CTVolume:
    """The volume with neither headers nor pixels: ``hu`` is one zero, broadcast to the shape."""
    return replace(volume.without_headers(), hu=np.broadcast_to(np.int16(0), volume.hu.shape))
