"""What a score map says of a place: one definition for measuring and for use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from verict.detect.evidence import ScoreMap

REACH_MM = 10.0  # a place's score is the maximum of the map within this distance, for painted and untouched alike


def score_at(score_map: ScoreMap, z: int, y: float, x: float, spacing_mm: Sequence[float]) -> float:
    """Maximum of a map within `REACH_MM` in-plane of pixel (y, x) of slice z; -inf where it is undefined there.

    Parameters
    ----------
    score_map
        Higher = more suspicious, NaN where undefined.
    z, y, x
        Voxel.
    spacing_mm
        (y, x) or (z, y, x) in mm; the last two count.
    """
    values = score_map.values[z]
    centres = (score_map.origin_px + np.arange(n) * score_map.stride_px for n in values.shape)
    offsets_mm = [(c - at) * step for c, at, step in zip(centres, (y, x), spacing_mm[-2:], strict=True)]
    rows, columns = (np.flatnonzero(np.abs(o) <= REACH_MM) for o in offsets_mm)
    near = values[np.ix_(rows, columns)]
    near = near[np.hypot(offsets_mm[0][rows, None], offsets_mm[1][columns]) <= REACH_MM]
    near = near[~np.isnan(near)]
    return float(near.max()) if near.size else -np.inf
