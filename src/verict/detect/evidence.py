"""What a detector returns, and the protocol every detector follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume, Note
from verict.detect.nodule.reading import NoduleReading


class Confidence(StrEnum):
    """How sure a header finding is: how often it would be seen on an honest file.

    NOTABLE: common on honest files, listed for the examiner only. UNUSUAL: rare but explainable.
    CONTRADICTION: the object cannot have left a conforming scanner or archive like this.
    """

    NOTABLE = "notable"
    UNUSUAL = "unusual"
    CONTRADICTION = "contradiction"


@dataclass(frozen=True)
class TagValue:
    """One attribute a finding rests on; ``tag`` as ``(gggg,eeee)``, values as short text."""

    tag: str
    keyword: str
    found: str
    expected: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing a careful examiner would point at in the headers, in words.

    ``why`` says why it matters, ``benign`` what harmless causes it can have. ``slices`` lists the
    z indices it holds for (empty: the whole series).
    """

    code: str
    title: str
    why: str
    confidence: Confidence
    tags: tuple[TagValue, ...] = ()
    benign: tuple[str, ...] = ()
    slices: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class ScoreMap:
    """A coarse map of suspicion over a volume.

    ``values`` is (z, rows, columns) float32, NaN where undefined; higher = more suspicious. Cell
    (i, j) is centred at pixel (y, x) = (origin_px + i * stride_px, origin_px + j * stride_px).
    """

    values: np.ndarray
    stride_px: int
    origin_px: float

    def pixel_of(self, row: float, column: float) -> tuple[float, float]:
        """Pixel (y, x) at fractional (row, column) of the map."""
        return self.origin_px + row * self.stride_px, self.origin_px + column * self.stride_px


@dataclass(frozen=True, eq=False)
class Evidence:
    """All one detector has to say of one series.

    ``card`` is the model card of a learned detector (None for rules); ``thresholds`` what an untrained one is judged
    by, under the names a card's ``calibration`` has; ``mark_threshold`` the score at and above which a map cell is a
    mark (None without a map); ``words`` turns a mark into a sentence for the report. ``parts`` is, of a detector that
    weighs others together, what each of them adds to the score: by slice z and name a map like ``score_map``'s, not
    averaged along z; slices without a mark are left out. ``reading`` is what a detector of nodules says the scan shows,
    which has no say in whether it was tampered with.
    """

    detector: str
    score_map: ScoreMap | None = None
    findings: tuple[Finding, ...] = ()
    notes: tuple[Note, ...] = ()
    card: dict | None = field(default=None, repr=False)
    mark_threshold: float | None = None
    words: str = ""
    parts: Mapping[int, Mapping[str, np.ndarray]] = field(default_factory=dict, repr=False)
    thresholds: Mapping[str, float] | None = field(default=None, repr=False)
    reading: NoduleReading | None = None

    @property
    def calibration(self) -> Mapping[str, float] | None:
        """The four thresholds of `verict.detect.verdict`: the card's, else the detector's own; None without any."""
        return self.thresholds if self.card is None else self.card["calibration"]


@dataclass(frozen=True)
class Needs:
    """What a detector must be given to say anything."""

    headers: bool = False
    lungs: bool = False
    neighbours: bool = False


class Detector(Protocol):
    """One kind of evidence. Stateless between series; safe to call from one thread at a time.

    ``marks_tampering`` tells whether its evidence has a map of where pixels look tampered with.
    """

    name: str
    summary: str
    needs: Needs
    marks_tampering: bool

    def examine(self, volume: CTVolume, lungs: LungRegion | None, *, workers: int | None = None) -> Evidence:
        """Examine one series.

        ``volume`` comes without headers unless ``needs.headers``; ``lungs`` is None unless
        ``needs.lungs``; ``workers`` bounds the threads used (None: one a core).
        """
        ...
