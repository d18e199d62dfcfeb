"""What the fitted model is worth: healthy lung of scans it never saw, removed, painted anew and compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from monai.metrics.regression import compute_ssim_and_cs
from scipy import ndimage

from verict.datasets.masses import find_nodules
from verict.datasets.scans import Progress, Scan
from verict.tamper.diffusion import CLIP_HU
from verict.tamper.families.diffusion import DiffusionInpaint
from verict.tamper.forgery import ForgeryKind, Paint, Target
from verict.tamper.holes import fill_smoothly
from verict.training.ctgan.data import find_healthy_sites

REMOVED_MM = 12.0  # diameter of the nodule that is said to be there: the hole is about 20 mm wide
RIM_MM = 6.0  # of tissue around the hole, whose mean is the fill to compare with
WINDOW, WINDOW_SIGMA = 7, 1.5  # voxels, of the structural similarity
SMALLEST_PAINTED = 0.5  # weight from which on a voxel counts as painted
FINE_SIGMA_PX = 1.5  # texture finer than this is compared by its spread
LUNG_BELOW_HU = -700.0  # where, smoothed as finely, it is compared: no vessels
BOOTSTRAPS = 1000

Row = dict[str, object]


def measure_removals(
    scan: Scan, model: DiffusionInpaint, count: int, seed: int, progress: Progress
) -> dict[str, np.ndarray]:
    """Remove nothing from so many healthy places and compare with what stood there.

    Returns
    -------
    dict
        By name one value a place: mean absolute error in HU over the hole (``mae``), structural similarity in 3D over
        it (``ssim``), of the model's sample, of the rim's mean and of a smooth fill; ``fine`` is the spread of fine
        texture in the painted lung over that of the same lung before.
    """
    avoid = [(mass.centre, mass.diameter_mm / 2) for mass in find_nodules(scan.volume, scan.lungs)]
    sites = find_healthy_sites(scan, count, avoid, np.random.default_rng([seed, 0]))
    values: dict[str, list[float]] = {}
    for number, site in enumerate(sites):
        progress(f"measuring on {scan.folder}", number, len(sites))
        run = next(r for r in scan.volume.runs if r.start <= site[0] < r.stop)
        target = Target(scan.volume.hu, scan.volume.spacing_mm, scan.lungs.mask, site, ForgeryKind.REMOVE, run,
                        diameter_mm=REMOVED_MM)
        paint = model.paint(target, np.random.default_rng([seed, 1, number]))
        for name, value in compare(target, paint).items():
            values.setdefault(name, []).append(value)
    return {name: np.array(column) for name, column in values.items()}


def compare(target: Target, paint: Paint) -> dict[str, float]:
    """The figures of one place."""
    before = np.clip(target.hu[paint.box].astype(np.float32), *CLIP_HU)
    weight = np.zeros_like(before) if paint.weight is None else paint.weight
    hole, inside = weight > 0, weight >= SMALLEST_PAINTED
    rim = ~hole & (ndimage.distance_transform_edt(~hole, target.spacing_mm) <= RIM_MM)
    fills = {
        "sample": np.clip(paint.hu, *CLIP_HU),
        "mean": np.where(hole, before[rim].mean(), before),
        "smooth": fill_smoothly(before, hole, target.spacing_mm),
    }
    found: dict[str, float] = {}
    for name, fill in fills.items():
        found[f"mae_{name}"] = float(np.abs(fill - before)[inside].mean())
        found[f"ssim_{name}"] = _similarity(before, fill, inside)
    found["fine"] = _fine_spread(fills["sample"], inside) / _fine_spread(before, inside)
    return found


def _similarity(before: np.ndarray, after: np.ndarray, inside: np.ndarray) -> float:
    """Structural similarity over the hole, Gaussian windows of 7 voxels, range 1324 HU; slices beyond repeat."""
    pad = WINDOW // 2
    pair = [torch.from_numpy(np.pad(np.ascontiguousarray(v, np.float32), pad, mode="edge"))[None, None]
            for v in (after, before)]
    values, _ = compute_ssim_and_cs(*pair, 3, (WINDOW,) * 3, (WINDOW_SIGMA,) * 3, CLIP_HU[1] - CLIP_HU[0])
    return float(values[0, 0].numpy()[inside].mean())


def _fine_spread(hu: np.ndarray, inside: np.ndarray) -> float:
    smooth = ndimage.gaussian_filter(hu, (0, FINE_SIGMA_PX, FINE_SIGMA_PX))
    lung = inside & (smooth < LUNG_BELOW_HU)
    return float((hu - smooth)[lung].std()) if lung.sum() > 1 else float("nan")


def to_rows(series: str, values: dict[str, np.ndarray]) -> list[Row]:
    """The figures of a series for the card, each with a 95 % percentile interval from a bootstrap over places."""
    texts = {
        "mae_sample": "mean absolute error in HU over the hole",
        "mae_mean": "the same of the mean of the rim",
        "mae_smooth": "the same of the smooth fill",
        "ssim_sample": "structural similarity in 3D over the hole",
        "ssim_mean": "the same of the mean of the rim",
        "ssim_smooth": "the same of the smooth fill",
        "fine": "spread of fine texture in painted lung over that of the lung before (median)",
    }
    return [_row(f"{text}, {series}", values[name], np.nanmedian if name == "fine" else np.mean)
            for name, text in texts.items() if name in values]


def _row(text: str, values: Sequence[float] | np.ndarray, statistic: Callable[[np.ndarray], float]) -> Row:
    array = np.asarray(values, float)
    rng = np.random.default_rng(0)
    drawn = [statistic(array[rng.integers(len(array), size=len(array))]) for _ in range(BOOTSTRAPS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"text": text, "value": round(float(statistic(array)), 4),
            "interval": [round(float(low), 4), round(float(high), 4)], "n": len(array)}
