"""Noise that a scan holds twice: no scanner measures the same noise again, only copying brings it back.

Two ways in which forgers copy are looked for: noise of CT-GAN's fixed place added elsewhere (`fixed_source`), and
tissue of the scan pasted over other tissue, mirrored or turned or not (`copied_patches`). Each gives moves by which one
place may repeat another; the score is how clearly the noise does so around each place (`repeated.local_strength`), in
standard deviations of no repeat, 0 where no move leads; higher = more suspicious. Of pasted tissue both places are
marked, for pixels do not tell which was first; CT-GAN's fixed source is not.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume, Note
from verict.detect.copied_patches import find_copied_patches
from verict.detect.evidence import Evidence, Needs, ScoreMap
from verict.detect.fixed_source import cut_source, find_source_shifts
from verict.detect.noise_residual import find_whitening, level_residual
from verict.detect.repeated import Box, Repeat, local_strength

STRIDE_PX = 4
ORIGIN_PX = (STRIDE_PX - 1) / 2
LEAST_SLICES = 3  # in a run, for the fixed source: of a lone slice nobody knows which slice it would be of
EXACT = 0.7  # correlation: pasted tissue is the same voxel by voxel; a vessel that goes on elsewhere reaches 0.62
NAMED = 6  # repeats that are told in words
WORDS = "the same noise stands elsewhere in this scan"

# Set by hand above what seven untouched series reach, see docs/physics-detectors.md; not yet fitted, nor left out by
# patient and scanner: python benchmarks/physics_detectors.py thresholds ../shared/data/authentic
THRESHOLDS = {
    "mark_threshold": 7.0,
    "decisive_threshold": 12.0,
    "run_mark_threshold": 6.4,
    "run_decisive_threshold": 7.0,
}


@dataclass(frozen=True, eq=False)
class _Found:
    """A move, and how clearly the noise repeats in ``box``."""

    repeat: Repeat
    box: Box
    strength: np.ndarray
    correlation: np.ndarray

    @property
    def peak(self) -> tuple[int, ...]:
        """Voxel (z, y, x) of the scan where it is clearest."""
        at = np.unravel_index(np.argmax(self.strength), self.strength.shape)
        return tuple(int(i) + side.start for i, side in zip(at, self.box, strict=True))


class RepeatDetector:
    """Residuals compared over all places and slices of a scan.

    Sees pixels and spacing, never headers. Of a single slice it finds only what is copied within that slice.
    """

    name = "repeat"
    summary = "noise that the scan holds twice"
    needs = Needs(lungs=True)

    def examine(self, volume: CTVolume, lungs: LungRegion | None, *, workers: int | None = None) -> Evidence:
        """Score every cell of the lungs. See `Detector.examine`."""
        mask = np.zeros(volume.hu.shape, bool) if lungs is None else np.asarray(lungs.mask)
        found = _find(volume, mask, workers or os.cpu_count() or 1) if mask.any() else []
        return Evidence(
            self.name,
            score_map=ScoreMap(_to_map(found, mask), STRIDE_PX, ORIGIN_PX),
            notes=_say(found, volume, lungs),
            mark_threshold=THRESHOLDS["mark_threshold"],
            words=WORDS,
            thresholds=THRESHOLDS,
        )


def _find(volume: CTVolume, mask: np.ndarray, workers: int) -> list[_Found]:
    """Every move looked at closely."""
    step_mm = volume.spacing_mm[0]
    whitening = find_whitening(volume.hu, mask)
    whole = level_residual(volume.hu, whitening, workers=workers)
    inside = np.where(mask, whole, 0)
    found = []
    if _has_run(volume):
        box, source, _ = cut_source(volume.hu, whitening)
        first = np.zeros_like(whole)
        first[box] = source
        for repeat in find_source_shifts(volume.hu, whitening, inside, mask, step_mm, workers=workers):
            found.append((repeat, local_strength(first, inside, repeat, step_mm)))
    for repeat in find_copied_patches(volume.hu, mask, volume.spacing_mm):
        local = local_strength(inside, inside, repeat, step_mm)
        if local is not None:
            box, strength, correlation = local
            found.append((repeat, (box, np.where(correlation >= EXACT, strength, 0), correlation)))
    return [_Found(repeat, *local) for repeat, local in found if local is not None]


def _has_run(volume: CTVolume) -> bool:
    return any(run.stop - run.start >= LEAST_SLICES for run in volume.runs)


def _to_map(found: list[_Found], mask: np.ndarray) -> np.ndarray:
    """(z, rows, columns) float32: the clearest repeat in each cell of the lungs, NaN outside."""
    z, rows, columns = mask.shape[0], mask.shape[1] // STRIDE_PX, mask.shape[2] // STRIDE_PX
    values = np.zeros((z, rows, columns), np.float32)
    for one in found:
        inner = [slice(-(-b.start // STRIDE_PX), b.stop // STRIDE_PX) for b in one.box[1:]]
        if any(s.start >= s.stop for s in inner):
            continue
        y, x = (slice(s.start * STRIDE_PX - b.start, s.stop * STRIDE_PX - b.start) for s, b in
                zip(inner, one.box[1:], strict=True))
        cells = _most(one.strength[:, y, x])
        here = values[one.box[0], inner[0], inner[1]]
        np.maximum(here, cells, out=here)
    lit = _most(mask[:, : rows * STRIDE_PX, : columns * STRIDE_PX])
    return np.where(lit, values, np.nan).astype(np.float32)


def _most(values: np.ndarray) -> np.ndarray:
    """Maximum of each cell of `STRIDE_PX` pixels a side."""
    z, y, x = values.shape
    return values.reshape(z, y // STRIDE_PX, STRIDE_PX, x // STRIDE_PX, STRIDE_PX).max(axis=(2, 4))


def _say(found: list[_Found], volume: CTVolume, lungs: LungRegion | None) -> tuple[Note, ...]:
    """Which places bear the same noise, and what could not be looked for."""
    notes = []
    if lungs is None:
        notes.append(Note("no_lungs", "repeat: no lung region, nothing scored"))
    elif not _has_run(volume):
        notes.append(Note("within_slices", "repeat: single slices; noise copied from other slices is not looked for"))
    clear = [f for f in found if f.strength.size and f.strength.max() >= THRESHOLDS["mark_threshold"]]
    told: list[_Found] = []
    for one in sorted(clear, key=lambda f: -float(f.strength.max())):
        if len(told) < NAMED and all(np.abs(np.subtract(one.peak, t.peak)).max() > STRIDE_PX * 4 for t in told):
            told.append(one)
            notes.append(Note("repeated_noise", _describe(one)))
    return tuple(notes)


def _describe(one: _Found) -> str:
    here = one.peak
    there = one.repeat.move.inverse().apply(np.array([here]))[0]
    at = tuple(h - b.start for h, b in zip(here, one.box, strict=True))
    how = "mirrored or turned " if one.repeat.move.is_turned else ""
    return (
        f"repeat: the noise around voxel (z, y, x) {here} stands {how}also at {tuple(int(v) for v in there)}: "
        f"correlation {float(one.correlation[at]):.2f}, {float(one.strength[at]):.1f} standard deviations of no "
        f"repeat, where untouched series reach less than {THRESHOLDS['mark_threshold']:.1f}"
    )
