"""The spectrum detector without a forgery to learn from: how far a window's features lie from those of untouched lung.

A Gaussian is fitted to the features of windows of scans nobody touched (`verict.detect.spectrum_features`); the score
of a window is the logarithm of its Mahalanobis distance.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
from kept_slices import KeptSlices
from residual_cells import table_of

from verict.detect.spectrum import smooth_map
from verict.detect.spectrum_features import ORIGIN_PX, STRIDE_PX, SliceFeatures, grid_shape, slice_features
from verict.evaluation.places import PlaceTable, join_tables

CLIP = 6.0  # standard deviations beyond which a feature says no more, as in the supervised detector
SHRINKAGE = 0.1  # of the covariance towards its diagonal


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Mean and scale (features,) of windows, and the inverse (features, features) covariance of scaled ones."""

    mean: np.ndarray
    scale: np.ndarray
    precision: np.ndarray

    def score(self, values: np.ndarray) -> np.ndarray:
        """(n,) logarithm of the distance of (n, features)."""
        scaled = np.clip((values - self.mean) / self.scale, -CLIP, CLIP)
        return 0.5 * np.log(np.einsum("ij,jk,ik->i", scaled, self.precision, scaled) + 1e-9)


def fit_gaussian(scans: Iterable[KeptSlices]) -> Gaussian:
    """Fit on every window of the kept slices of untouched scans."""
    values = np.concatenate([
        _measure(hu, mask, scan.subject.geometry.spacing_mm).values
        for scan in scans for hu, mask in scan.slices.values()
    ]).astype(np.float64)
    mean, scale = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-3)
    scaled = np.clip((values - mean) / scale, -CLIP, CLIP)
    covariance = np.cov(scaled, rowvar=False)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.diag(np.diag(covariance))
    return Gaussian(mean, scale, np.linalg.inv(covariance))


def tabulate(slices: Sequence[Path], gaussian: Gaussian, folder: Path) -> PlaceTable:
    """All places of a collection with their scores; maps are kept in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = []
    for index, source in enumerate(slices):
        kept: KeptSlices = pickle.loads(source.read_bytes())
        file = folder / source.name
        if not file.is_file():
            found = {z: _score(hu, mask, kept, gaussian) for z, (hu, mask) in kept.slices.items()}
            file.write_bytes(pickle.dumps(found, protocol=5))
        tables.append(table_of(kept, pickle.loads(file.read_bytes()), index, (STRIDE_PX, ORIGIN_PX)))
    return reduce(join_tables, [t for t in tables if len(t)])


def _score(hu: np.ndarray, mask: np.ndarray, kept: KeptSlices, gaussian: Gaussian) -> np.ndarray:
    features = _measure(hu, mask, kept.subject.geometry.spacing_mm)
    return smooth_map(features.to_map(gaussian.score(features.values)))


def _measure(hu: np.ndarray, mask: np.ndarray, spacing_mm: Sequence[float]) -> SliceFeatures:
    if not mask.any():
        nothing = np.empty(0, np.intp)
        return SliceFeatures(grid_shape(*hu.shape), nothing, nothing, np.empty((0, 0), np.float32))
    return slice_features(hu, mask, (spacing_mm[1], spacing_mm[2]))
