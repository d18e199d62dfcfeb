"""The few slices a report draws, taken from a volume before it is let go."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.detect.evidence import Evidence, ScoreMap
from verict.detect.nodule.reading import Nodule
from verict.detect.residual import median_3x3
from verict.detect.result import Place, Region, RegionPicture

MOST_PICTURES = 8
MOST_NODULES = 4  # drawn besides
RING_MM = 4.0  # between the edge of a nodule and the ring around it
RING_LEAST_MM = 8.0  # radius of the ring, also where the size of the nodule is not known


def keep_pictures(
    volume: CTVolume,
    lungs: LungRegion,
    evidence: tuple[Evidence, ...],
    regions: tuple[Region, ...],
    nodules: Sequence[Nodule] = (),
    places: Sequence[Place] = (),
) -> tuple[RegionPicture, ...]:
    """One picture a region, the highest first and at most `MOST_PICTURES`; then nodules that are on none of them.

    Without any region, the slice with the highest score is kept as an overview (region -1); without any score map
    only nodules are drawn, at most `MOST_NODULES`. ``places`` say which nodule lies in which region.
    """
    maps = {e.detector: e for e in evidence if e.score_map is not None}
    pictures = [
        _picture(volume, lungs, maps[r.detector], r.peak_slice, index, r)
        for index, r in enumerate(regions[:MOST_PICTURES])
    ]
    shown = next(iter(maps.values()), None)
    if not pictures and shown is not None:
        values = np.nan_to_num(shown.score_map.values, nan=-np.inf)
        peak = int(values.max(axis=(1, 2)).argmax()) if values.size else volume.slice_count // 2
        pictures.append(_picture(volume, lungs, shown, peak, -1, None))
    drawn = {p.nodule for p in places if p.region is not None and p.region < MOST_PICTURES}
    left = [(index, nodule) for index, nodule in enumerate(nodules) if index not in drawn]
    pictures += [_picture_nodule(volume, lungs, shown, index, nodule) for index, nodule in left[:MOST_NODULES]]
    return tuple(pictures)


def _picture(
    volume: CTVolume, lungs: LungRegion, evidence: Evidence, z: int, index: int, region: Region | None
) -> RegionPicture:
    contour = np.zeros(volume.hu.shape[1:], dtype=bool)
    if region is not None:
        contour = _marked_pixels(evidence.score_map, z, region, evidence.mark_threshold or 0.0, contour.shape)
    return _keep(volume, lungs, evidence, z, contour, region=index)


def _picture_nodule(
    volume: CTVolume, lungs: LungRegion, evidence: Evidence | None, index: int, nodule: Nodule
) -> RegionPicture:
    contour = _disc_around(nodule, volume.hu.shape[1:], volume.spacing_mm[1:])
    return _keep(volume, lungs, evidence, nodule.slice_index, contour, nodule=index)


def _keep(
    volume: CTVolume,
    lungs: LungRegion,
    evidence: Evidence | None,
    z: int,
    contour: np.ndarray,
    *,
    region: int = -1,
    nodule: int = -1,
) -> RegionPicture:
    """One slice, copied out of the volume; an empty score map where ``evidence`` is None."""
    hu = volume.hu[z]
    score_map = evidence.score_map if evidence else ScoreMap(np.zeros((len(volume.hu), 0, 0), np.float32), 1, 0.0)
    return RegionPicture(
        region=region,
        slice_index=z,
        hu=hu.astype(np.float32),
        residual=hu.astype(np.float32) - median_3x3(hu).astype(np.float32),
        score=score_map.values[z].copy(),
        stride_px=score_map.stride_px,
        origin_px=score_map.origin_px,
        lungs=lungs.mask[z].copy(),
        contour=contour,
        pixel_spacing_mm=(volume.spacing_mm[1], volume.spacing_mm[2]),
        nodule=nodule,
    )


def _disc_around(nodule: Nodule, shape: tuple[int, ...], spacing_mm: Sequence[float]) -> np.ndarray:
    """(y, x) bool: the pixels of a slice inside the ring around a nodule; at least the pixel it lies on."""
    _, y, x = nodule.centre_voxel_zyx
    radius_mm = max((nodule.long_axis_mm or 0.0) / 2 + RING_MM, RING_LEAST_MM)
    down_mm, across_mm = ((np.arange(n) - at) * step for n, at, step in zip(shape, (y, x), spacing_mm, strict=True))
    inside = np.hypot(down_mm[:, None], across_mm) <= radius_mm
    inside[tuple(int(np.clip(round(at), 0, n - 1)) for at, n in zip((y, x), shape, strict=True))] = True
    return inside


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
