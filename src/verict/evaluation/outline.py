"""How well a marked patch covers what was changed: intersection over union on the slice of a label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from verict.detect.evidence import ScoreMap

NEAR_MM = 10.0  # of the label lies the highest cell of its patch, as in `verict.evaluation.places`
# Chosen on a campaign that no figure is told of, among 400 rules: an end so many log odds below the highest cell
# overlaps less, for a patch that is seen clearly rises further above its surroundings than one that is seen dimly
SMOOTHED_CELLS = 1.0
SHARE = 0.6  # of the way from the surroundings to the highest cell
LARGEST_MM = 20.0  # from that cell
AROUND_MM = 12.0, 40.0  # of it lie the surroundings


def mark_patch(score_map: ScoreMap, z: int, y: float, x: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """(rows, columns) bool: the patch that a map shows at a place.

    The map is smoothed; the highest cell within `NEAR_MM` of the place, and all within `LARGEST_MM` of it that touch
    it, directly or by others, and rise above the median of the surroundings by `SHARE` of what it does.

    Parameters
    ----------
    score_map
        Log odds, NaN where undefined.
    z, y, x
        Voxel.
    spacing_mm
        (y, x) in mm.
    """
    values = _smooth(score_map.values[z])
    rows, columns = (score_map.origin_px + np.arange(n) * score_map.stride_px for n in values.shape)

    def away_mm(at_y: float, at_x: float) -> np.ndarray:
        return np.hypot((rows[:, None] - at_y) * spacing_mm[0], (columns[None] - at_x) * spacing_mm[1])

    near = np.where(away_mm(y, x) <= NEAR_MM, values, -np.inf)
    peak = np.unravel_index(np.argmax(near), near.shape)
    if not np.isfinite(near[peak]):
        return np.zeros(values.shape, bool)
    distance_mm, defined = away_mm(rows[peak[0]], columns[peak[1]]), np.isfinite(values)
    around = defined & (distance_mm > AROUND_MM[0]) & (distance_mm <= AROUND_MM[1])
    floor = np.median(values[around if around.any() else defined])
    labels, _ = ndimage.label(
        (values >= floor + SHARE * (values[peak] - floor)) & (distance_mm <= LARGEST_MM), np.ones((3, 3))
    )
    return (labels == labels[peak]) & (labels > 0)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Averaged over near cells; undefined ones do not count and become -inf."""
    defined = np.isfinite(values)
    parts = np.where(defined, values, 0), defined
    total, weight = (ndimage.gaussian_filter(part.astype(np.float32), SMOOTHED_CELLS) for part in parts)
    return np.where(defined, total / np.maximum(weight, 1e-6), -np.inf)


def on_map(changed: np.ndarray, top: int, left: int, score_map: ScoreMap) -> np.ndarray:
    """(rows, columns) bool: the cells of a map of which at least half the pixels changed.

    Parameters
    ----------
    changed
        (h, w) bool pixels, (0, 0) at pixel (``top``, ``left``) of the slice.
    """
    shape = score_map.values.shape[1:]
    size = [n * score_map.stride_px + 2 * int(score_map.origin_px) + 2 for n in shape]
    whole = np.zeros(size, np.float32)
    part = changed[: max(0, size[0] - top), : max(0, size[1] - left)]
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    share = ndimage.uniform_filter(whole, score_map.stride_px)
    rows, columns = (np.rint(score_map.origin_px + np.arange(n) * score_map.stride_px).astype(int) for n in shape)
    return share[np.ix_(rows, columns)] >= 0.5


def overlap(patch: np.ndarray, changed: np.ndarray) -> float:
    """Intersection over union of two (rows, columns) bool; NaN where nothing changed."""
    if not changed.any():
        return float("nan")
    return float((patch & changed).sum() / (patch | changed).sum())
