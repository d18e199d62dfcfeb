"""How well CT-GAN's remover paints healthy lung, against classical fills, on scans it was not trained on.

Needs the extra verict[tamper]; about ten minutes.

    python benchmarks/removal_quality.py ../shared/data --write docs/ctgan.md

From each left-out series cuboids of healthy lung are cut as the attack cuts them (32 mm at 1 mm; the criteria stand in
`verict.training.ctgan.data.find_healthy_sites`; centres at least 10 mm apart). Their middle 20 mm are painted anew by
each method, which sees only the 6 mm around, and compared with the lung that was there: mean absolute error in HU, and
structural similarity in 3D (skimage, windows of 7 mm, range 1400 HU, mean over the windows centred in the hole).
Intervals are 95 % percentile bootstraps over cuboids within each series: two patients say little about others.

The lung's noise cannot be foretold by anybody: a part of each error is the same for all methods, and the difference
between methods is what counts. Touch-up noise, which only hides the paint, is left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measuring import keep_result
from scipy import fft, ndimage
from skimage.metrics import structural_similarity
from skimage.restoration import inpaint_biharmonic

from verict.datasets.masses import find_nodules
from verict.datasets.scans import read_authentic_scans
from verict.documents import replace_part
from verict.tamper.ctgan_cuboid import FLOOR_HU, HOLE, SIDE, paint_cuboid
from verict.tamper.families.ctgan import WEIGHTS, open_model
from verict.tamper.forgery import ForgeryKind
from verict.training.ctgan.quality import cut_apart
from verict.training.ctgan.train import LEFT_OUT

RANGE_HU = (-1000.0, 400.0)
BOOTSTRAPS = 2000
MASK = np.zeros((SIDE,) * 3, bool)
MASK[HOLE] = True
LUNG_BELOW_HU = -600.0

START, END = "<!-- removal quality: start -->", "<!-- removal quality: end -->"

Fill = Callable[[np.ndarray], np.ndarray]
"""A cuboid with anything in its hole to one with the hole painted."""


def fill_mean(cuboid: np.ndarray) -> np.ndarray:
    """The mean of the rim."""
    return np.where(MASK, cuboid[~MASK].mean(), cuboid)


def fill_median(cuboid: np.ndarray) -> np.ndarray:
    """The median of the rim."""
    return np.where(MASK, np.median(cuboid[~MASK]), cuboid)


def fill_lung_mean(cuboid: np.ndarray) -> np.ndarray:
    """The mean of what is lung in the rim."""
    rim = cuboid[~MASK]
    return np.where(MASK, rim[rim < LUNG_BELOW_HU].mean(), cuboid)


def fill_nearest(cuboid: np.ndarray) -> np.ndarray:
    """The nearest voxel of the rim."""
    at = ndimage.distance_transform_edt(MASK, return_distances=False, return_indices=True)
    return cuboid[tuple(at)]


def fill_harmonic(cuboid: np.ndarray) -> np.ndarray:
    """The membrane through the rim: Laplace's equation on the grid, by sine transforms."""
    rim = np.where(MASK, 0.0, cuboid)
    pull = ndimage.convolve(rim, ndimage.generate_binary_structure(3, 1).astype(float), mode="nearest")[HOLE]
    n = pull.shape[0]
    wave = 2 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1))
    stiffness = 6 - wave[:, None, None] - wave[None, :, None] - wave[None, None, :]
    filled = cuboid.copy()
    filled[HOLE] = fft.idstn(fft.dstn(pull, type=1) / stiffness, type=1)
    return filled


def fill_biharmonic(cuboid: np.ndarray) -> np.ndarray:
    """Biharmonic inpainting of skimage in 3D, kept within the rim's range as it is meant for pictures."""
    return np.clip(inpaint_biharmonic(cuboid, MASK), cuboid[~MASK].min(), cuboid[~MASK].max())


def fill_biharmonic_slices(cuboid: np.ndarray) -> np.ndarray:
    """The same, slice by slice."""
    filled = cuboid.copy()
    for z in range(HOLE[0].start, HOLE[0].stop):
        rim = cuboid[z][~MASK[z]]
        filled[z] = np.clip(inpaint_biharmonic(cuboid[z], MASK[z]), rim.min(), rim.max())
    return filled


def cut_cuboids(folder: Path, count: int, seed: int) -> np.ndarray:
    """(n, 32, 32, 32) float64 HU of healthy lung of the series of a folder."""
    scan = next(read_authentic_scans(folder, lambda *_: None))
    avoid = [(mass.centre, mass.diameter_mm / 2) for mass in find_nodules(scan.volume, scan.lungs)]
    return cut_apart(scan, count, avoid, np.random.default_rng(seed)).astype(np.float64)


def measure(cuboid: np.ndarray, fill: Fill) -> tuple[float, float]:
    """Mean absolute error in HU and structural similarity over the hole."""
    blank = cuboid.copy()
    blank[HOLE] = 0.0  # no method can see what was there
    painted = np.where(MASK, np.maximum(fill(blank), FLOOR_HU), cuboid)
    pair = (np.clip(values, *RANGE_HU) for values in (cuboid, painted))
    _, similarity = structural_similarity(*pair, data_range=RANGE_HU[1] - RANGE_HU[0], full=True)
    return float(np.abs(painted - cuboid)[HOLE].mean()), float(similarity[HOLE].mean())


def interval(values: list[np.ndarray], rng: np.random.Generator) -> list[float]:
    """95 % of the mean over all, cuboids drawn anew within each series."""
    means = [
        np.concatenate([own[rng.integers(len(own), size=len(own))] for own in values]).mean() for _ in range(BOOTSTRAPS)
    ]
    return [float(v) for v in np.percentile(means, [2.5, 97.5])]


def summarise(scores: dict[str, dict[str, np.ndarray]], rng: np.random.Generator) -> dict[str, dict[str, object]]:
    """For each method the mean, its interval, and the gain of the network over it, by measure and by series."""
    figures: dict[str, dict[str, object]] = {}
    for method, by_series in scores.items():
        figures[method] = {}
        for column, name in enumerate(("mae_hu", "ssim")):
            own = [table[:, column] for table in by_series.values()]
            sign = 1 if name == "ssim" else -1
            ours = scores["ctgan"]
            gains = [sign * (ours[series][:, column] - table[:, column]) for series, table in by_series.items()]
            figures[method][name] = {
                "value": float(np.concatenate(own).mean()),
                "interval": interval(own, rng),
                "by_series": {series: float(v.mean()) for series, v in zip(by_series, own, strict=True)},
                "gain_of_ctgan": float(np.concatenate(gains).mean()),
                "gain_interval": interval(gains, rng),
                "gain_by_series": {series: float(v.mean()) for series, v in zip(by_series, gains, strict=True)},
            }
    return figures


def tabulate(figures: dict[str, dict[str, object]], cuboids: dict[str, int]) -> str:
    """One row a method, and how much better the network is."""
    counts = ", ".join(f"{count} of {series}" for series, count in cuboids.items())
    lines = [
        f"{sum(cuboids.values())} cuboids ({counts}).", "",
        "| method | MAE, HU | CT-GAN is better by | SSIM | CT-GAN is better by |", "|---|---|---|---|---|",
    ]
    for method, row in figures.items():
        cells = []
        for name, digits in (("mae_hu", 1), ("ssim", 3)):
            figure = row[name]
            cells.append(_say(figure["value"], figure["interval"], digits))
            cells.append("" if method == "ctgan" else _say(figure["gain_of_ctgan"], figure["gain_interval"], digits))
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _say(value: float, interval: list[float], digits: int) -> str:
    return f"{value:.{digits}f} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"


def main() -> None:
    """Measure every method on every cuboid and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with authentic/")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder with ctgan-remove.onnx and .json")
    parser.add_argument("--count", type=int, default=150, help="cuboids of each series")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--quick", action="store_true", help="leave out the biharmonic fills; keep no result")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help=f"put the table between {START} and {END}")
    options = parser.parse_args()
    model = open_model(ForgeryKind.REMOVE, options.weights)
    fills: dict[str, Fill] = {
        "ctgan": lambda cuboid: paint_cuboid(cuboid, model.equaliser, model.generator),
        "mean of the rim": fill_mean,
        "median of the rim": fill_median,
        "mean of the rim's lung": fill_lung_mean,
        "nearest": fill_nearest,
        "harmonic, 3D": fill_harmonic,
    }
    if not options.quick:
        fills |= {"biharmonic, 3D": fill_biharmonic, "biharmonic, slices": fill_biharmonic_slices}
    cuboids = {name: cut_cuboids(options.data / "authentic" / name, options.count, options.seed) for name in LEFT_OUT}
    scores = {
        method: {series: np.array([measure(c, fill) for c in cut]) for series, cut in cuboids.items()}
        for method, fill in fills.items()
    }
    figures = summarise(scores, np.random.default_rng(options.seed))
    print({series: len(cut) for series, cut in cuboids.items()}, model.card["sha256"][:16])
    for method, row in figures.items():
        for name, figure in row.items():
            low, high = figure["interval"]
            line = f"{method:24} {name:7} {figure['value']:8.3f} ({low:.3f} to {high:.3f})"
            if method != "ctgan":
                low, high = figure["gain_interval"]
                line += f"  ctgan is better by {figure['gain_of_ctgan']:+.3f} ({low:+.3f} to {high:+.3f})"
            print(line, {series: round(value, 3) for series, value in figure["by_series"].items()})
    if options.write:
        table = tabulate(figures, {series: len(cut) for series, cut in cuboids.items()})
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(replace_part(text, START, END, f"\n\n{table}\n\n"), encoding="utf-8")
    if not options.quick:
        settings = {"count": options.count, "seed": options.seed, "weights": model.card["sha256"]}
        print(keep_result("removal_quality", settings, {"cuboids": {s: len(c) for s, c in cuboids.items()}, **figures}))


if __name__ == "__main__":
    main()
