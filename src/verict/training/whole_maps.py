"""Score maps of single slices put back together to whole series."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from verict.datasets.scans import Scan, Source
from verict.detect.spectrum_features import grid_shape
from verict.evaluation.thresholds import AuthenticMap
from verict.training.phantoms import FOLDER as PHANTOM
from verict.training.samples import AUTHENTIC, REAL_FAKES, Sample

SliceMaps = Mapping[tuple[str, str, int], np.ndarray]
"""(rows, columns) maps by patient, series and slice index."""


def index_maps(samples: list[Sample], maps: Mapping[int, np.ndarray]) -> SliceMaps:
    """Maps by what slice they are of, from maps by sample; simulated samples are left out."""
    as_is = ((i, s) for i, s in enumerate(samples) if s.source in (AUTHENTIC, REAL_FAKES) and i in maps)
    return {(s.patient, s.series, s.z): maps[i] for i, s in as_is}


def join_maps(scan: Scan, maps: SliceMaps) -> np.ndarray | None:
    """(z, rows, columns) map of a scan, NaN where a slice was not scored; None where none was."""
    keys = [(scan.patient, scan.volume.series_instance_uid, z) for z in range(scan.volume.slice_count)]
    if not any(key in maps for key in keys):
        return None
    nothing = np.full(grid_shape(*scan.volume.hu.shape[1:]), np.nan, np.float32)
    return np.stack([maps.get(key, nothing) for key in keys])


def assemble_maps(scans: list[Scan], samples: list[Sample], maps: Mapping[int, np.ndarray]) -> list[AuthenticMap]:
    """The maps of the authentic series of which slices were scored.

    Simulated ones only where no real one was: what a hospital feels is false marks on real scans.
    """
    indexed = index_maps(samples, maps)
    joined = ((scan, join_maps(scan, indexed)) for scan in scans if scan.source is Source.AUTHENTIC)
    whole = [AuthenticMap(s.folder, s.patient, s.volume, values) for s, values in joined if values is not None]
    return [w for w in whole if w.folder != PHANTOM] or whole
