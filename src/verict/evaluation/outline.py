"""How well a marked patch covers what was changed: intersection over union on the slice of a label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from verict.detect.evidence import ScoreMap

NEAR_MM = 10.0  # of the label lies the highest cell of its patch, as in `verict.evaluation.places`
DOWN_BY = 6.0  # log odds below that cell the patch ends; chosen on a campaign that no figure is told of
LEAST = -2.0  # and never below this


def mark_patch(score_map: ScoreMap, z: int, y: float, x: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """(rows, columns) bool: the patch that a map shows at a place.

    The highest cell within `NEAR_MM` and all that touch it, directly or by others, less than `DOWN_BY` below it.

    Parameters
    ----------
    score_map
        Log odds, NaN where undefined.
    z, y, x
        Voxel.
    spacing_mm
        (y, x) in mm.
    """
    values = np.nan_to_num(score_map.values[z], nan=-np.inf)
    rows, columns = (score_map.origin_px + np.arange(n) * score_map.stride_px for n in values.shape)
    away_mm = np.hypot((rows[:, None] - y) * spacing_mm[0], (columns[None] - x) * spacing_mm[1])
    near = np.where(away_mm <= NEAR_MM, values, -np.inf)
    peak = np.unravel_index(np.argmax(near), near.shape)
    if not np.isfinite(near[peak]):
        return np.zeros(values.shape, bool)
    labels, _ = ndimage.label(values >= max(LEAST, near[peak] - DOWN_BY), np.ones((3, 3)))
    return (labels == labels[peak]) & (labels > 0)


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
