"""What a trained generator is worth on lung it never saw: the figures of its card."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from verict.datasets.scans import Scan
from verict.datasets.sites import MASS_HU
from verict.statistics import share_of_count
from verict.tamper.ctgan_cuboid import HOLE, SIDE, paint_cuboid
from verict.tamper.families.ctgan import Model
from verict.training.ctgan.data import ROOM, cut_with_room, find_healthy_sites

APART_MM = 10.0  # between centres, along one axis at least
BOOTSTRAPS = 1000
CENTRE_MM = 6.0  # a nodule was painted if it reaches as near to the centre


def cut_apart(
    scan: Scan, count: int, avoid: Sequence[tuple[tuple[int, int, int], float]], rng: np.random.Generator
) -> np.ndarray:
    """Up to so many cuboids of healthy lung whose centres lie at least 10 mm apart.

    Returns
    -------
    numpy.ndarray
        (n, 32, 32, 32) float32 HU at 1 mm; see `verict.training.ctgan.data.find_healthy_sites`.
    """
    kept: list[tuple[int, int, int]] = []
    for site in find_healthy_sites(scan, 20 * count, avoid, rng):
        gaps_mm = np.abs(np.subtract(kept, site) * scan.volume.spacing_mm) if kept else np.full((1, 3), np.inf)
        if len(kept) < count and gaps_mm.max(axis=1).min() >= APART_MM:
            kept.append(site)
    low = (ROOM - SIDE) // 2
    inner = slice(low, low + SIDE)
    return np.array([cut_with_room(scan, site)[:, inner, inner] for site in kept]).reshape(-1, SIDE, SIDE, SIDE)


def measure_removals(model: Model, cuboids_hu: np.ndarray, series: str) -> list[dict[str, object]]:
    """Mean absolute error in the hole, of the network and of the rim's mean."""
    rim = np.ones((SIDE,) * 3, bool)
    rim[HOLE] = False
    painted = [_error(paint_cuboid(c, model.equaliser, model.generator), c) for c in cuboids_hu]
    filled = [_error(np.full_like(c, c[rim].mean()), c) for c in cuboids_hu]
    return [
        _figure(f"mean absolute error in HU over the painted hole, {series}", painted, np.mean),
        _figure(f"the same of the mean of the rim, {series}", filled, np.mean),
    ]


def measure_injections(model: Model, cuboids_hu: np.ndarray, series: str) -> list[dict[str, object]]:
    """In how many cuboids of healthy lung a nodule appears, and how large it is."""
    diameters = [painted_nodule_mm(paint_cuboid(c, model.equaliser, model.generator)) for c in cuboids_hu]
    shown = share_of_count(sum(d > 0 for d in diameters), len(diameters))
    return [
        {"text": f"share of healthy cuboids in which a nodule is painted, {series}", **shown.as_dict()},
        _figure(f"median diameter in mm of what is painted, {series}", [d for d in diameters if d > 0], np.median),
    ]


def painted_nodule_mm(painted_hu: np.ndarray) -> float:
    """Diameter in mm of the ball of what is above -400 HU around the middle of the hole; 0 where nothing is."""
    labels, _ = ndimage.label(painted_hu[HOLE] > MASS_HU)
    away = np.linalg.norm(np.indices(labels.shape) - (labels.shape[0] - 1) / 2, axis=0)
    near = labels[(away <= CENTRE_MM) & (labels > 0)]
    return float(np.cbrt(6 * (labels == np.bincount(near).argmax()).sum() / np.pi)) if len(near) else 0.0


def _error(painted: np.ndarray, cuboid: np.ndarray) -> float:
    return float(np.abs(painted - cuboid)[HOLE].mean())


def _figure(text: str, values: Sequence[float], statistic: Callable[[np.ndarray], float]) -> dict[str, object]:
    """A figure with a 95 % percentile interval from a bootstrap over cuboids; None where there are none."""
    array = np.asarray(values, float)
    if not len(array):
        return {"text": text, "value": None, "interval": None, "n": 0}
    rng = np.random.default_rng(0)
    drawn = [statistic(array[rng.integers(len(array), size=len(array))]) for _ in range(BOOTSTRAPS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"text": text, "value": round(float(statistic(array)), 4),
            "interval": [round(float(low), 4), round(float(high), 4)], "n": len(array)}
