"""Whole authentic series forged in 3D and judged by models and thresholds that never saw their patient or scanner."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from verict.datasets.scans import Progress, Scan
from verict.detect.at_place import score_at
from verict.detect.evidence import ScoreMap
from verict.detect.spectrum import smooth_map
from verict.detect.spectrum_features import ORIGIN_PX, STRIDE_PX, slice_features
from verict.detect.verdict import Assessment, average_along_z
from verict.evaluation.thresholds import AuthenticMap
from verict.tamper.repaint import ForgeryKind, NoiseKind, RepaintConfig, repaint
from verict.training.figures import UNSEEN, Judged, Row, assess_map, row, share
from verict.training.network import Network
from verict.training.samples import AUTHENTIC, Sample
from verict.training.whole_maps import assemble_maps

LONE_SLICES = 2  # series of up to so many slices are not forged in 3D
PLACES = 3  # forgeries of each kind and touch-up in each series
HALF_SIDE_MM = 21.0  # a decisive region must overlap the painted square


@dataclass(frozen=True)
class ForgedSeries:
    """One forgery in a whole series: whose, of what kind, whether it was found, and its score averaged along z."""

    patient: str
    kind: ForgeryKind
    touch_up: NoiseKind
    is_found: bool
    score: float


def forge_series(
    scans: list[Scan], samples: list[Sample], judged: Judged, seed: int, progress: Progress
) -> list[ForgedSeries]:
    """Forge every authentic series in 3D, `PLACES` times by each kind and touch-up, and judge what comes out."""
    fold_of = {s.patient: int(judged.fold[i]) for i, s in enumerate(samples) if s.source == AUTHENTIC}
    wholes = [w for w in assemble_maps(scans, samples, judged.maps) if w.volume.slice_count > LONE_SLICES]
    lungs = {id(s.volume): s.lungs.mask for s in scans}
    cases = [(kind, touch_up) for kind in ForgeryKind for touch_up in NoiseKind]
    made = []
    for index, whole in enumerate(wholes):
        mask, fold = lungs[id(whole.volume)], fold_of[whole.patient]
        rng = np.random.default_rng([seed, index])
        middle = np.arange(whole.volume.slice_count // 4, whole.volume.slice_count * 3 // 4)
        for step, (kind, touch_up) in enumerate(cases * PLACES):
            progress("forging whole series", index * len(cases) * PLACES + step, len(wholes) * len(cases) * PLACES)
            inside = np.argwhere(mask[middle])
            place = inside[rng.integers(len(inside))] + [middle[0], 0, 0]
            config = RepaintConfig(touch_up=touch_up)
            spacing = whole.volume.spacing_mm
            forged, footprint, _ = repaint(
                whole.volume.hu, spacing, place, kind=kind, seed=int(rng.integers(2**31)), config=config
            )
            changed = np.flatnonzero(footprint.any(axis=(1, 2)))
            values = _rescore(whole, forged, mask, changed, judged.networks[fold])
            assessment = assess_map(replace(whole, values=values), judged.thresholds[fold])
            averaged = ScoreMap(average_along_z(values, whole.volume), STRIDE_PX, ORIGIN_PX)
            score = score_at(averaged, int(place[0]), place[1], place[2], spacing)
            made.append(ForgedSeries(whole.patient, kind, touch_up, _is_found(assessment, place, spacing), score))
    return made


def forged_series_rows(made: list[ForgedSeries]) -> list[Row]:
    """Share of forged series called suspicious at the right place, for each kind and touch-up."""
    found: dict[tuple[ForgeryKind, NoiseKind], list[bool]] = defaultdict(list)
    for forged in made:
        found[forged.kind, forged.touch_up].append(forged.is_found)
    text = f"whole series of {len({f.patient for f in made})} patients forged in 3D ({{}}, touch-up {{}}): "
    text += f"suspicious at the right place, {UNSEEN}"
    return [
        row(f"forged_series_{kind}_{touch_up}", text.format(kind, touch_up), share(np.array(hits)))
        for (kind, touch_up), hits in found.items()
    ]


def _rescore(
    whole: AuthenticMap, forged: np.ndarray, mask: np.ndarray, changed: np.ndarray, network: Network
) -> np.ndarray:
    """(z, rows, columns) map of the forged series; only changed slices are scored again."""
    values = whole.values.copy()
    for z in changed:
        features = slice_features(forged[z], mask[z], whole.volume.spacing_mm[1:])
        values[z] = smooth_map(features.to_map(network.score(features.values)))
    return values


def _is_found(assessment: Assessment, place: np.ndarray, spacing_mm: tuple[float, float, float]) -> bool:
    """Whether a decisive region overlaps the painted square on a slice of its own."""
    for region in assessment.regions:
        z0, z1, y0, y1, x0, x1 = region.bounds
        down, across = HALF_SIDE_MM / spacing_mm[1], HALF_SIDE_MM / spacing_mm[2]
        near = y0 - down <= place[1] <= y1 + down and x0 - across <= place[2] <= x1 + across
        if region.decisive and near and z0 - 1 <= place[0] <= z1 + 1:
            return True
    return False
