"""What a scan shows, whether real or fake: the nodules found, and in one word whether a cancer is among them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np


class Shown(StrEnum):
    """What is said of a series. ``no_cancer_seen`` never means "healthy"."""

    CANCER = "cancer"
    NONE_SEEN = "no_cancer_seen"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True)
class Nodule:
    """A nodule or mass that looks malignant enough to be told, whether anybody painted it or not.

    Parameters
    ----------
    centre_voxel_zyx, centre_mm_lps
        Where: voxel (z, y, x), patient point (x, y, z) in mm.
    long_axis_mm
        Longest distance across it on one slice; None where it has no edge there.
    diameter_mm
        Of the ball of its volume; None on a lone slice.
    score
        Log odds of a nodule, higher = surer.
    slice_index
        z of the slice to look at first.
    sop_instance_uid
        Of that slice, "" where it is not known.
    where
        In words, such as "right lung, upper third".
    decisive
        Whether it alone makes the series `Shown.CANCER`.
    alone
        Whether it was seen on a slice without neighbours.
    """

    centre_voxel_zyx: tuple[float, float, float]
    centre_mm_lps: tuple[float, float, float]
    long_axis_mm: float | None
    diameter_mm: float | None
    score: float
    slice_index: int
    sop_instance_uid: str
    where: str
    decisive: bool
    alone: bool


@dataclass(frozen=True)
class NoduleReading:
    """What a series shows: in one word, with the reason, and the nodules by falling score.

    ``highest`` is the highest score of any place that was looked at, None where nothing was; ``centres`` (n, 3) voxels
    of all those places and ``scores`` (n,) of them.
    """

    shown: Shown
    reason: str
    nodules: tuple[Nodule, ...]
    highest: float | None
    centres: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)), repr=False, compare=False)
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)
