"""Score maps of single slices put back together to whole series, for the thresholds to be fitted on."""

from __future__ import annotations

import numpy as np

from verict.datasets.scans import Scan, Source
from verict.detect.spectrum_features import grid_shape
from verict.evaluation.thresholds import AuthenticMap
from verict.training.phantoms import FOLDER as PHANTOM
from verict.training.samples import AUTHENTIC, Sample


def assemble_maps(scans: list[Scan], samples: list[Sample], maps: dict[int, np.ndarray]) -> list[AuthenticMap]:
    """Whole (z, rows, columns) maps of the authentic series of which slices were scored.

    Simulated ones only where no real one was: what a hospital feels is false marks on real scans.
    """
    by_place = {
        (s.folder, s.patient, s.series, s.z): maps[i]
        for i, s in enumerate(samples)
        if s.source == AUTHENTIC and i in maps
    }
    whole = []
    for scan in scans:
        keys = [(scan.folder, scan.patient, scan.volume.series_instance_uid, z) for z in range(scan.volume.slice_count)]
        if scan.source is not Source.AUTHENTIC or not any(k in by_place for k in keys):
            continue
        nothing = np.full(grid_shape(*scan.volume.hu.shape[1:]), np.nan, np.float32)
        values = np.stack([by_place.get(k, nothing) for k in keys])
        whole.append(AuthenticMap(scan.folder, scan.patient, scan.volume, values))
    return [w for w in whole if w.folder != PHANTOM] or whole
