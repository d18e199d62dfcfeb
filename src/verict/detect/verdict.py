"""From score maps to regions, and from regions to one verdict a series, by one documented rule.

1. Along z. In a run of at least `MIN_RUN_SLICES` neighbouring slices the map is averaged over
   `DEPTH_MM` at each place: a painted cube stands in many neighbouring slices at the same place, a chance
   resemblance does not. Isolated slices keep their own map.
2. Regions. Cells at or above the mark threshold that touch, in-plane or along z, are one region. Its score is
   its highest cell.
3. Decisive. A region decides when its score reaches the decisive threshold of its kind: run or isolated slice.
4. Series. Suspicious with a decisive region; indeterminate with marked regions on isolated slices, with a region of
   a run at or above the doubt threshold (no untouched series reaches it as it came, but some do that were smoothed
   or turned as a whole), with a contradiction in the headers, or where no slice could be scored or no detector was
   run; else no evidence. Headers alone never go beyond indeterminate, and only a contradiction goes that far: no
   number of notable and unusual findings adds up to more.
5. Fitness. Where the noise of the whole series is like that of no scan the thresholds were fitted on
   (`verict.detect.fitness`), anything marked makes it indeterminate, with the reason: nobody knows what would be
   decisive there. The regions stay listed, without a likelihood ratio. With nothing marked the verdict stays, and
   its reason says the same.

All thresholds come from the model card, or of an untrained detector from its own file; they were fitted on
authentic scans only. What a region and a series weigh as evidence stands beside the verdict and changes nothing about
it, see `verict.detect.weight`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from verict.ct.volume import CTVolume
from verict.detect.evidence import Confidence, Evidence, Finding, ScoreMap
from verict.detect.fitness import describe_misfits
from verict.detect.result import Region, Verdict
from verict.detect.weight import PValue, Unit, weigh_score, weigh_series

DEPTH_MM = 12.0  # under a third of the smallest cube CT-GAN touches up (42 slices of 1 mm)
MIN_RUN_SLICES = 3
NOT_WEIGHED = "the noise of the whole series is not like that of the scans which scores were weighed on"


@dataclass(frozen=True)
class Assessment:
    """What the rule makes of one series.

    ``score`` is the highest averaged cell, None without any; ``p_value`` is None with the reason beside it.
    """

    verdict: Verdict
    reason: str
    score: float | None
    regions: tuple[Region, ...]
    p_value: PValue | None
    p_value_reason: str


def average_along_z(values: np.ndarray, volume: CTVolume) -> np.ndarray:
    """(z, rows, columns) map averaged over `DEPTH_MM` within runs; isolated slices unchanged, NaN kept."""
    out = values.copy()
    for run in volume.runs:
        size = averaged_slices(volume, run)
        if size < MIN_RUN_SLICES:
            continue
        part = values[run]
        defined = np.isfinite(part)
        total = ndimage.uniform_filter1d(np.where(defined, part, 0), size, axis=0, mode="constant")
        weight = ndimage.uniform_filter1d(defined.astype(np.float32), size, axis=0, mode="constant")
        full = weight * size > size / 2 - 0.01  # at the ends and beside undefined cells: at least half
        out[run] = np.where(defined & full, total / np.maximum(weight, 1e-6), np.nan)
    return out


def averaged_slices(volume: CTVolume, run: slice) -> int:
    """How many slices of a run are averaged: `DEPTH_MM` of them, odd, at least three; 1 for a short run."""
    count = run.stop - run.start
    if count < MIN_RUN_SLICES:
        return 1
    step_mm = (volume.positions_mm[run.stop - 1] - volume.positions_mm[run.start]) / (count - 1)
    size = max(MIN_RUN_SLICES, round(DEPTH_MM / max(step_mm, 1e-3)) // 2 * 2 + 1)
    return min(size, count // 2 * 2 - 1 if count > MIN_RUN_SLICES else MIN_RUN_SLICES)


def find_regions(volume: CTVolume, evidence: Evidence, sop_instance_uids: tuple[str, ...]) -> tuple[Region, ...]:
    """The regions of one detector's map, by `Region.rank`."""
    calibration = evidence.calibration
    if evidence.score_map is None or calibration is None:
        return ()
    averaged = average_along_z(evidence.score_map.values, volume)
    regions: list[Region] = []
    for run in volume.runs:
        in_depth = averaged_slices(volume, run) >= MIN_RUN_SLICES
        mark = calibration["run_mark_threshold" if in_depth else "mark_threshold"]
        decide = calibration["run_decisive_threshold" if in_depth else "decisive_threshold"]
        part = averaged[run]
        labels, count = ndimage.label(np.nan_to_num(part, nan=-np.inf) >= mark, np.ones((3, 3, 3)))
        for index, box in enumerate(ndimage.find_objects(labels, count), start=1):
            scores = np.where(labels[box] == index, part[box], -np.inf)
            corner = np.array([run.start + box[0].start, box[1].start, box[2].start])
            place = _Place(np.argwhere(np.isfinite(scores)) + corner, scores)
            region = _describe(volume, evidence, place, sop_instance_uids, decisive=place.score >= decide)
            ratio, why_not = weigh_score(evidence.card, place.score, Unit.RUN if in_depth else Unit.SLICE)
            regions.append(replace(region, likelihood_ratio=ratio, ratio_reason=why_not))
    return tuple(sorted(regions, key=lambda r: r.rank))


@dataclass(frozen=True, eq=False)
class _Place:
    """Marked ``cells`` (n, 3) as (z, row, column) and their box of scores, -inf beside them."""

    cells: np.ndarray
    scores: np.ndarray

    @property
    def score(self) -> float:
        return float(self.scores.max())

    @property
    def peak_slice(self) -> int:
        return int(self.cells[:, 0].min()) + int(np.argmax(self.scores.max(axis=(1, 2))))

    def depth_mm(self, volume: CTVolume) -> float:
        first, last = self.cells[:, 0].min(), self.cells[:, 0].max()
        own = min(volume.spacing_mm[0], volume.slice_thickness_mm or volume.spacing_mm[0])
        return float(volume.positions_mm[last] - volume.positions_mm[first]) + own


def assess(
    volume: CTVolume, evidence: tuple[Evidence, ...], sop_instance_uids: tuple[str, ...], misfits: Sequence[str] = ()
) -> Assessment:
    """Apply the rule to everything the detectors said of one series.

    ``misfits`` say why the thresholds may not hold for it, see `verict.detect.fitness.Fitness`.
    """
    maps = [e for e in evidence if e.score_map is not None]
    found = (r for e in maps for r in find_regions(volume, e, sop_instance_uids))
    regions = tuple(sorted(found, key=lambda r: r.rank))
    findings = tuple(f for e in evidence for f in e.findings)
    score = max((s for e in maps if (s := _highest(volume, e.score_map)) is not None), default=None)
    if maps:
        verdict, reason = _judge_pixels(volume, regions, score, {e.detector: _doubt_from(e) for e in maps})
    elif any(e.reading is None for e in evidence):
        asked = ", ".join(e.detector for e in evidence if e.reading is None)
        verdict, reason = Verdict.NO_EVIDENCE, f"no contradiction found by {asked}; no pixel detector was run"
    else:
        verdict, reason = Verdict.INDETERMINATE, "no detector of tampering was run"
    weight = _weigh(volume, maps)
    if maps and misfits:
        verdict, reason = _doubt(verdict, reason, regions, misfits)
        regions = tuple(replace(r, likelihood_ratio=None, ratio_reason=NOT_WEIGHED) for r in regions)
        weight = None, NOT_WEIGHED
    return Assessment(*add_findings(verdict, reason, findings), score, regions, *weight)


def _doubt(
    verdict: Verdict, reason: str, regions: Sequence[Region], misfits: Sequence[str]
) -> tuple[Verdict, str]:
    """Verdict and reason where the thresholds may not hold: never milder than before, but for `SUSPICIOUS`."""
    why = describe_misfits(misfits)
    if not regions:
        return verdict, f"{reason}; {why}, so that little can be said"
    seen = "the pixels look painted" if any(r.decisive for r in regions) else "unusual texture"
    return Verdict.INDETERMINATE, f"{seen} in {_count_places(regions)}, but {why}"


def add_findings(verdict: Verdict, reason: str, findings: Iterable[Finding]) -> tuple[Verdict, str]:
    """Verdict and reason once header findings are known too: all that headers may change about a verdict.

    A contradiction makes what is not suspicious indeterminate and gives the reason; nothing else counts.
    """
    contradiction = next((f for f in findings if f.confidence is Confidence.CONTRADICTION), None)
    if contradiction is None or verdict is Verdict.SUSPICIOUS:
        return verdict, reason
    return Verdict.INDETERMINATE, f"the headers contradict themselves: {contradiction.title}"


def _doubt_from(evidence: Evidence) -> float:
    """The score from which a region of a run is more than a mark, though it may not be decisive."""
    calibration = evidence.calibration or {}
    return float(calibration.get("run_doubt_threshold", np.inf))


def _judge_pixels(
    volume: CTVolume, regions: tuple[Region, ...], score: float | None, doubt_from: Mapping[str, float]
) -> tuple[Verdict, str]:
    """Verdict and reason by pixels; ``doubt_from`` by detector, see `_doubt_from`."""
    decisive = [r for r in regions if r.decisive]
    if decisive:
        return Verdict.SUSPICIOUS, f"the pixels look painted in {_count_places(decisive)}"
    lone = [run for run in volume.runs if averaged_slices(volume, run) < MIN_RUN_SLICES]
    if any(run.start <= r.slices[0] < run.stop for run in lone for r in regions):
        return Verdict.INDETERMINATE, "unusual texture on single slices; neighbouring slices are needed to decide"
    doubtful = [r for r in regions if r.score >= doubt_from[r.detector]]
    if doubtful:
        seen = f"unusual texture in {_count_places(doubtful)}, beyond what untouched series show as they come"
        return Verdict.INDETERMINATE, f"{seen}; smoothing or turning a whole series can bring that about too"
    if score is None:
        return Verdict.INDETERMINATE, "no slice held enough lung to be judged"
    if regions:
        seen = f"unusual texture in {_count_places(regions)}, too weak to decide"
        return Verdict.NO_EVIDENCE, f"{seen}; this does not prove the scan authentic"
    return Verdict.NO_EVIDENCE, "nothing found by the detectors that were run; this does not prove the scan authentic"


def _count_places(regions: Sequence[Region]) -> str:
    return "one place" if len(regions) == 1 else f"{len(regions)} places"


def _highest(volume: CTVolume, score_map: ScoreMap | None) -> float | None:
    if score_map is None or not np.isfinite(score_map.values).any():
        return None
    averaged = average_along_z(score_map.values, volume)
    return float(np.nanmax(averaged)) if np.isfinite(averaged).any() else None


def peaks_by_unit(volume: CTVolume, averaged: np.ndarray) -> tuple[tuple[float, ...], float | None]:
    """What a series' p-value rests on: each lone slice's highest cell, and the highest averaged cell of all runs.

    ``averaged`` is the (z, rows, columns) map as `average_along_z` gives it; slices without a score are left out.
    """
    lone: list[float] = []
    in_depth: list[float] = []
    for run in volume.runs:
        kept = in_depth if averaged_slices(volume, run) >= MIN_RUN_SLICES else lone
        kept += [float(np.nanmax(part)) for part in averaged[run] if np.isfinite(part).any()]
    return tuple(lone), max(in_depth, default=None)


def _weigh(volume: CTVolume, maps: Sequence[Evidence]) -> tuple[PValue | None, str]:
    """The p-value of a series by the first detector that has a map; several would need one null of them all."""
    if not maps:
        return None, "no pixel detector was run"
    return weigh_series(maps[0].card, *peaks_by_unit(volume, average_along_z(maps[0].score_map.values, volume)))


def _describe(
    volume: CTVolume, evidence: Evidence, place: _Place, sop_instance_uids: tuple[str, ...], *, decisive: bool
) -> Region:
    grid = evidence.score_map
    height, width = volume.hu.shape[1:]
    z, rows, columns = place.cells.T
    y, x = grid.pixel_of(rows, columns)
    half = grid.stride_px / 2
    box = (
        int(z.min()),
        int(z.max()),
        max(0, int(np.ceil(y.min() - half))),
        min(height - 1, int(y.max() + half)),
        max(0, int(np.ceil(x.min() - half))),
        min(width - 1, int(x.max() + half)),
    )
    centre = (float(z.mean()), float(y.mean()), float(x.mean()))
    _, step_y, step_x = volume.spacing_mm
    extent = (place.depth_mm(volume), (box[3] - box[2] + 1) * step_y, (box[5] - box[4] + 1) * step_x)
    slices = tuple(int(i) for i in np.unique(z))
    parts = _weigh_parts(evidence, place)
    count = f"{len(slices)} slices" if len(slices) > 1 else "one slice"
    size = f"{max(extent[1:]):.0f} mm across"
    return Region(
        detector=evidence.detector,
        centre_voxel_zyx=centre,
        centre_mm_lps=volume.to_patient_mm(*centre),
        bounds=box,
        extent_mm=extent,
        slices=slices,
        sop_instance_uids=tuple(dict.fromkeys(sop_instance_uids[i] for i in slices)),
        peak_slice=place.peak_slice,
        score=place.score,
        decisive=decisive,
        evidence=f"{evidence.words} ({size}, on {count}){_say_parts(parts)}",
        parts=parts,
    )


def _weigh_parts(evidence: Evidence, place: _Place) -> tuple[tuple[str, float], ...]:
    """What each detector adds to the score of a region, at its highest cell of the slice where it is highest."""
    z = place.peak_slice
    if z not in evidence.parts:
        return ()
    corner = place.cells.min(axis=0)
    in_box = place.scores[z - corner[0]]
    row, column = np.unravel_index(int(np.argmax(in_box)), in_box.shape)
    at = int(row + corner[1]), int(column + corner[2])
    told = [(name, float(values[at])) for name, values in evidence.parts[z].items()]
    return tuple(sorted((one for one in told if np.isfinite(one[1])), key=lambda one: -one[1]))


def _say_parts(parts: tuple[tuple[str, float], ...]) -> str:
    return "; log odds " + ", ".join(f"{value:+.1f} from {name}" for name, value in parts) if parts else ""
