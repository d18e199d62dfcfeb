"""Noise that a scan holds twice: no scanner measures the same noise again, only copying brings it back.

Two ways in which forgers copy are looked for: noise of CT-GAN's fixed place added elsewhere (`fixed_source`), and
tissue of the scan pasted over other tissue, mirrored or turned or not (`copied_patches`, `repeated`). The score is how
clearly the noise repeats, in standard deviations of no repeat, 0 where nothing leads; higher = more suspicious. Of
pasted tissue both places are marked, for pixels do not tell which was first; CT-GAN's fixed source is not.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume, Note
from verict.detect.copied_patches import find_copied_patches
from verict.detect.evidence import Evidence, Needs, ScoreMap
from verict.detect.fixed_source import find_fixed_source
from verict.detect.noise_residual import CEILING_HU, find_whitening, high_pass, level_residual
from verict.detect.repeated import Box, Move, Repeat, exact_share, local_strength

STRIDE_PX = 4
ORIGIN_PX = (STRIDE_PX - 1) / 2
LEAST_SLICES = 3  # in a run, for the fixed source: of a lone slice nobody knows which slice it would be of
ALIKE = 0.7  # correlation around pasted tissue
EXACT = 0.5  # share of its voxels that are the same; one in five is the same of two ribs that correlate by 0.74
CLIPPED_PX = 11  # side of the square around a voxel that holds nothing as dense
NAMED = 6  # repeats that are told in words
WORDS = "the same noise stands elsewhere in this scan"

# Half a standard deviation above the highest of 13 untouched series marks, another half decides; they were looked at
# while designing: python benchmarks/physics_detectors.py thresholds, see docs/physics-detectors.md
THRESHOLDS = {
    "mark_threshold": 6.49,
    "decisive_threshold": 6.99,
    "run_mark_threshold": 6.49,
    "run_decisive_threshold": 6.99,
}


@dataclass(frozen=True, eq=False)
class _Found:
    """A place, and how clearly its noise repeats that of another: float32 ``strength`` of the box's shape."""

    box: Box
    strength: np.ndarray
    peak: tuple[int, ...]
    move: Move  # takes the other place here
    words: str

    @property
    def score(self) -> float:
        """At the peak."""
        return float(self.strength.max())


class RepeatDetector:
    """Residuals compared over all places and slices of a scan.

    Sees pixels and spacing, never headers. Of a single slice it finds only what is copied within that slice.
    """

    name = "repeat"
    summary = "noise that the scan holds twice"
    needs = Needs(lungs=True)
    marks_tampering = True

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
    """Every place whose noise may stand elsewhere too."""
    whitening = find_whitening(volume.hu, mask)
    residual = level_residual(volume.hu, whitening, workers=workers)
    found = []
    if _has_run(volume):
        for hit in find_fixed_source(volume.hu, whitening, residual, mask, volume.spacing_mm, workers=workers):
            box = hit.box(mask.shape)
            strength = np.full([side.stop - side.start for side in box], hit.strength, np.float32)
            z, y, x = np.subtract(hit.centre, hit.source).tolist()
            found.append(_Found(box, strength, hit.centre, Move.by_shift((z, y, x)), "CT-GAN's fixed source"))
    noisy = mask & ~_clipped(volume.hu)
    residual *= noisy
    high = _HighPass(volume.hu)
    for repeat in find_copied_patches(volume.hu, noisy, volume.spacing_mm, workers=workers):
        pasted = _find_pasted(residual, high, repeat, volume.spacing_mm[0])
        if pasted is not None:
            found.append(pasted)
    return found


def _clipped(hu: np.ndarray) -> np.ndarray:
    """(z, y, x) bool: voxels near which bone was cut off, and with it the noise: two ribs would be the same there."""
    highest = hu
    for axis in (1, 2):
        highest = ndimage.maximum_filter1d(highest, CLIPPED_PX, axis=axis, mode="nearest")
    return highest >= CEILING_HU


def _find_pasted(residual: np.ndarray, high: _HighPass, repeat: Repeat, step_mm: float) -> _Found | None:
    """What a move has pasted; None where its noise does not repeat voxel by voxel."""
    local = local_strength(residual, residual, repeat, step_mm)
    if local is None:
        return None
    box, strength, correlation = local
    strength = np.where(correlation >= ALIKE, strength, 0)
    if not strength.any():
        return None
    moved = [side.start for side in repeat.from_box], [side.stop for side in repeat.from_box]
    whole = high.of_slices(box[0], slice(moved[0][0], moved[1][0]))
    strength = np.where(exact_share(whole, residual != 0, repeat, box) >= EXACT, strength, 0).astype(np.float32)
    if not strength.any():
        return None
    at = np.unravel_index(np.argmax(strength), strength.shape)
    peak = tuple(int(i) + side.start for i, side in zip(at, box, strict=True))
    return _Found(box, strength, peak, repeat.move, f"correlation {float(correlation[at]):.2f}")


class _HighPass:
    """The residual before whitening, of the slices that are asked for."""

    def __init__(self, hu: np.ndarray) -> None:
        self._hu, self._known = hu, np.zeros(len(hu), bool)
        self._values = np.zeros(hu.shape, np.float32)  # takes no memory until written

    def of_slices(self, *ranges: slice) -> np.ndarray:
        """(z, y, x) float32 HU, right in those slices at least."""
        for some in ranges:
            for z in range(max(0, some.start), min(len(self._hu), some.stop)):
                if not self._known[z]:
                    self._values[z], self._known[z] = high_pass(self._hu[z]), True
        return self._values


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
    limit = THRESHOLDS["run_mark_threshold" if _has_run(volume) else "mark_threshold"]
    told: list[_Found] = []
    for one in sorted(found, key=lambda f: -f.score):
        if one.score < limit or len(told) == NAMED:
            break
        if all(np.abs(np.subtract(one.peak, t.peak)).max() > STRIDE_PX * 4 for t in told):
            told.append(one)
            notes.append(Note("repeated_noise", _describe(one, limit)))
    return tuple(notes)


def _describe(one: _Found, limit: float) -> str:
    there = one.move.inverse().apply(np.array([one.peak]))[0]
    how = "mirrored or turned " if one.move.is_turned else ""
    return (
        f"repeat: the noise around voxel (z, y, x) {one.peak} stands {how}also at {tuple(int(v) for v in there)}, "
        f"{one.words}: {one.score:.1f} standard deviations of no repeat, where untouched series reach less than "
        f"{limit:.1f}"
    )
