"""The one result object: detectors and rules fill it, report and cli only render it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import pydicom

from verict.ct.discover import NotExamined as NotExamined  # part of the result as it was found
from verict.ct.volume import Note
from verict.detect.evidence import Evidence, Finding
from verict.detect.nodule.reading import NoduleReading
from verict.detect.weight import NOT_ON_CARD, LikelihoodRatio, PValue


class Verdict(StrEnum):
    """What is said of a series. ``no_evidence`` never means "proven authentic"."""

    NO_EVIDENCE = "no_evidence"
    SUSPICIOUS = "suspicious"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, eq=False)
class Region:
    """A place that looks painted.

    ``centre_voxel_zyx`` in voxels of the volume, ``centre_mm_lps`` in patient mm, ``bounds`` the
    inclusive voxel box (z0, z1, y0, y1, x0, x1), ``extent_mm`` its (z, y, x) size, ``slices`` the z
    indices it was marked on, ``score`` higher = more suspicious in the detector's unit,
    ``peak_slice`` the z index to look at first, ``decisive`` whether it alone makes the series
    suspicious by the documented rule, ``likelihood_ratio`` what its score weighs, None with the reason in
    ``ratio_reason``. ``parts`` are the detectors that were weighed together, each with what it adds to the score at
    its highest cell, the largest first; empty for a detector by itself.
    """

    detector: str
    centre_voxel_zyx: tuple[float, float, float]
    centre_mm_lps: tuple[float, float, float]
    bounds: tuple[int, int, int, int, int, int]
    extent_mm: tuple[float, float, float]
    slices: tuple[int, ...]
    sop_instance_uids: tuple[str, ...]
    peak_slice: int
    score: float
    decisive: bool
    evidence: str
    likelihood_ratio: LikelihoodRatio | None = None
    ratio_reason: str = NOT_ON_CARD
    parts: tuple[tuple[str, float], ...] = ()

    @property
    def rank(self) -> tuple[bool, float]:
        """Sort key of every list of regions: the decisive first, then by falling score."""
        return not self.decisive, -self.score


@dataclass(frozen=True)
class Place:
    """A nodule, a marked region, or both at once: what is there, and whether to believe it.

    ``nodule`` and ``region`` index `NoduleReading.nodules` and `SeriesResult.regions`, None where the place is none;
    ``nodule_score`` and ``tamper_score`` are log odds at the place, None where the detector was not run or could not
    judge; ``probabilities`` of TB, FB, TM and FM sum to 1, None without both scores, see
    `verict.detect.four_classes`; ``sentence`` says it in words.
    """

    nodule: int | None
    region: int | None
    centre_voxel_zyx: tuple[float, float, float]
    nodule_score: float | None
    tamper_score: float | None
    probabilities: dict[str, float] | None
    sentence: str

    @property
    def most_likely(self) -> str | None:
        """The class of the highest probability."""
        return None if self.probabilities is None else max(self.probabilities, key=self.probabilities.__getitem__)


@dataclass(frozen=True, eq=False)
class SeriesResult:
    """Everything said of one examined series. ``score`` is None where no pixel detector could judge.

    ``regions`` are those of all detectors by `Region.rank`. ``p_value`` is how usual so high a score is among
    untouched scans, None with the reason in ``p_value_reason``.
    ``shows`` is what the scan shows, real or fake, None where nobody looked for nodules; ``places`` joins its nodules
    with the regions.
    ``header`` is the first slice's, kept so that an anonymous report knows what to leave out; it, the UIDs of
    the slices and ``evidence`` (without its maps) are not in the JSON as such.
    """

    series_instance_uid: str
    verdict: Verdict
    reason: str
    score: float | None
    regions: tuple[Region, ...]
    findings: tuple[Finding, ...]
    notes: tuple[Note, ...]
    input_sha256: str
    source: str
    slice_count: int
    pictures: tuple[RegionPicture, ...] = ()
    header: pydicom.Dataset | None = field(default=None, repr=False)
    sop_instance_uids: tuple[str, ...] = field(default=(), repr=False)
    evidence: tuple[Evidence, ...] = field(default=(), repr=False)
    description: dict[str, str] = field(default_factory=dict, repr=False)
    p_value: PValue | None = None
    p_value_reason: str = NOT_ON_CARD
    shows: NoduleReading | None = None
    places: tuple[Place, ...] = ()


@dataclass(frozen=True, eq=False)
class RegionPicture:
    """Pixels kept for the report once the volume itself is let go.

    ``hu`` and ``residual`` are (y, x) float32 in HU, ``score`` the same slice's (rows, columns)
    float32 map, ``lungs`` (y, x) bool, ``contour`` (y, x) bool of the marked cells; ``region``
    indexes SeriesResult.regions, or is -1; ``nodule`` indexes NoduleReading.nodules where a nodule without a
    region is ringed by ``contour``, or is -1. Both are -1 for an overview slice without a mark.
    """

    region: int
    slice_index: int
    hu: np.ndarray
    residual: np.ndarray
    score: np.ndarray
    stride_px: int
    origin_px: float
    lungs: np.ndarray
    contour: np.ndarray
    pixel_spacing_mm: tuple[float, float]
    nodule: int = -1


@dataclass(frozen=True)
class Failure:
    """An input that failed, as its error's parts (see `verict.errors.VerictError.as_dict`)."""

    message: str
    details: dict[str, str | None]


@dataclass(frozen=True, eq=False)
class ScanResult:
    """One study, folder, file or zip, as far as it could be examined."""

    source: str
    series: tuple[SeriesResult, ...]
    not_examined: tuple[NotExamined, ...]
    failures: tuple[Failure, ...]
    provenance: dict

    @property
    def exit_code(self) -> int:
        """10 suspicious, 1 some input failed, 11 indeterminate or nothing examined, 0 no evidence."""
        verdicts = {s.verdict for s in self.series}
        if Verdict.SUSPICIOUS in verdicts:
            return 10
        if self.failures:
            return 1
        if not self.series or Verdict.INDETERMINATE in verdicts or any(n.counts for n in self.not_examined):
            return 11
        return 0
