"""The few slices a report draws, taken from a volume before it is let go."""

from __future__ import annotations

import numpy as np

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.detect.evidence import Evidence, ScoreMap
from verict.detect.residual import median_3x3
from verict.detect.result import Region, RegionPicture

MOST_PICTURES = 8


def keep_pictures(
    volume: CTVolume, lungs: LungRegion, evidence: tuple[Evidence, ...], regions: tuple[Region, ...]
) -> tuple[RegionPicture, ...]:
    """One picture a region, the highest first and at most `MOST_PICTURES`.

    Without any region, the slice with the highest score is kept as an overview (region -1); without any
    score map there is nothing to draw.
    """
    maps = {e.detector: e for e in evidence if e.score_map is not None}
    pictures = [
        _picture(volume, lungs, maps[r.detector], r.peak_slice, index, r)
        for index, r in enumerate(regions[:MOST_PICTURES])
    ]
    if not pictures and maps:
        shown = next(iter(maps.values()))
        values = np.nan_to_num(shown.score_map.values, nan=-np.inf)
        peak = int(values.max(axis=(1, 2)).argmax()) if values.size else volume.slice_count // 2
        pictures.append(_picture(volume, lungs, shown, peak, -1, None))
    return tuple(pictures)


def _picture(
    volume: CTVolume, lungs: LungRegion, evidence: Evidence, z: int, index: int, region: Region | None
) -> RegionPicture:
    hu = volume.hu[z]
    contour = np.zeros(hu.shape, dtype=bool)
    if region is not None:
        contour = _marked_pixels(evidence.score_map, z, region, evidence.mark_threshold or 0.0, hu.shape)
    return RegionPicture(
        region=index,
        slice_index=z,
        hu=hu.astype(np.float32),
        residual=hu.astype(np.float32) - median_3x3(hu).astype(np.float32),
        score=evidence.score_map.values[z].copy(),
        stride_px=evidence.score_map.stride_px,
        origin_px=evidence.score_map.origin_px,
        lungs=lungs.mask[z].copy(),
        contour=contour,
        pixel_spacing_mm=(volume.spacing_mm[1], volume.spacing_mm[2]),
    )


def _marked_pixels(
    score_map: ScoreMap, z: int, region: Region, threshold: float, shape: tuple[int, int]
) -> np.ndarray:
    """(y, x) bool: the marked cells of one slice inside a region's box, as pixels; the box where there are none."""
    _, _, y0, y1, x0, x1 = region.bounds
    inside = np.zeros(shape, dtype=bool)
    inside[y0 : y1 + 1, x0 : x1 + 1] = True
    cells = np.nan_to_num(score_map.values[z], nan=-np.inf) >= threshold
    rows, columns = (_cells_of_pixels(n, score_map) for n in shape)
    on_map = ((rows >= 0) & (rows < cells.shape[0]))[:, None] & ((columns >= 0) & (columns < cells.shape[1]))
    marked = on_map & cells[rows.clip(0, cells.shape[0] - 1)[:, None], columns.clip(0, cells.shape[1] - 1)]
    marked &= inside
    return marked if marked.any() else inside


def _cells_of_pixels(count: int, score_map: ScoreMap) -> np.ndarray:
    """(count,) index of the cell that holds each pixel along one axis; beyond the map too."""
    return np.floor((np.arange(count) - score_map.origin_px) / score_map.stride_px + 0.5).astype(np.intp)
