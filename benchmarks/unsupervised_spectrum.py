"""The spectrum detector without a forgery to learn from: how far a window's features lie from those of untouched lung.

A Gaussian is fitted to the features of windows of scans nobody touched (`verict.detect.spectrum_features`); the score
of a window is the logarithm of its Mahalanobis distance.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kept_slices import KeptSlices
from residual_cells import Maps

from verict.detect.spectrum import smooth_map
from verict.detect.spectrum_features import SliceFeatures, grid_shape, slice_features

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


def keep_maps(file: Path, folder: Path, gaussian: Gaussian) -> Maps:
    """The maps of a scan by index z, kept in ``folder``."""
    kept = folder / file.name
    if not kept.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        scan: KeptSlices = pickle.loads(file.read_bytes())
        kept.write_bytes(pickle.dumps({z: _score(hu, mask, scan, gaussian) for z, (hu, mask) in scan.slices.items()}))
    found: Maps = pickle.loads(kept.read_bytes())
    return found


def _score(hu: np.ndarray, mask: np.ndarray, scan: KeptSlices, gaussian: Gaussian) -> np.ndarray:
    features = _measure(hu, mask, scan.subject.geometry.spacing_mm)
    return smooth_map(features.to_map(gaussian.score(features.values)))


def _measure(hu: np.ndarray, mask: np.ndarray, spacing_mm: Sequence[float]) -> SliceFeatures:
    if not mask.any():
        nothing = np.empty(0, np.intp)
        return SliceFeatures(grid_shape(*hu.shape), nothing, nothing, np.empty((0, 0), np.float32))
    return slice_features(hu, mask, (spacing_mm[1], spacing_mm[2]))
