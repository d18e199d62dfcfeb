"""How near simulated chests come to real ones: noise spectra, noise along z, HU, and a classifier of windows.

    python benchmarks/phantom_realism.py --data ../shared/data/authentic [--out docs/images]

Each real series is imitated: same pixels, thickness, increment and kernel (`imitations.py` lists what was fitted
to it). Printed, for windows of 32 pixels: noise of soft tissue, correlation of neighbouring slices, and how often a
random forest tells windows of lung apart, real from simulated (`tell_apart.py`). The figure, phantom-realism.png,
needs the extra `figures`, the classifier the extra `train`.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from imitations import IMITATIONS, imitate, load_real, pair_singles
from noise_windows import SIDE, Series, correlate_along_z, find_windows, measure_spectrum
from tell_apart import Told, describe_pair, describe_singles, know_the_series, leave_patients_out, meet_unseen

EDGES_PER_MM = np.arange(0.02, 1.0, 0.04)
LAGS = (1, 2, 3, 4)
LUNG_BINS, BODY_BINS = np.arange(-1024, -300, 12), np.arange(-300, 401, 10)


@dataclass(frozen=True, eq=False)
class Measured:
    """One series, real or simulated: spectra in HU² mm² by tissue, correlation along z by mm, HU histograms."""

    spectra: dict[str, np.ndarray]
    windows: dict[str, int]
    along_z: np.ndarray
    increment_mm: float
    lung_hu: np.ndarray
    body_hu: np.ndarray

    @property
    def soft_sd_hu(self) -> float:
        """Noise of soft tissue above 0.1 cycles per mm."""
        middle = (EDGES_PER_MM[1:] + EDGES_PER_MM[:-1]) / 2
        power = np.where((middle > 0.1) & np.isfinite(self.spectra["soft"]), self.spectra["soft"], 0)
        return float(np.sqrt((power * 2 * np.pi * middle * np.diff(EDGES_PER_MM)).sum()))


def measure(blocks: list[Series]) -> Measured:
    """What is compared, over all blocks of a series."""
    spectra, windows, along_z = {}, {}, np.full(len(LAGS), np.nan)
    for tissue in ("soft", "lung"):
        corners = [find_windows(b, soft=tissue == "soft", most=360 // len(blocks)) for b in blocks]
        kept = [(b, c) for b, c in zip(blocks, corners, strict=True) if len(c)]
        weights = [len(c) for _, c in kept]
        windows[tissue] = sum(weights)
        spectra[tissue] = np.average([measure_spectrum(b, c, EDGES_PER_MM) for b, c in kept], axis=0, weights=weights)
        if tissue == "lung":
            found = np.array([correlate_along_z(b, c, LAGS) for b, c in kept])
            measured = np.isfinite(found).any(axis=0)
            along_z[measured] = np.nanmean(found[:, measured], axis=0)
    lung = np.concatenate([b.hu[b.lungs] for b in blocks])
    body = np.concatenate([b.hu[~b.lungs] for b in blocks])
    return Measured(spectra, windows, along_z, blocks[0].increment_mm,
                    np.histogram(lung, LUNG_BINS, density=True)[0], np.histogram(body, BODY_BINS, density=True)[0])


def main() -> None:
    """Imitate, measure, tell apart, print, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of authentic series")
    parser.add_argument("--out", type=Path, help="folder for the figure")
    options = parser.parse_args()
    results, pairs = {}, []
    for one in IMITATIONS:
        real = load_real(options.data, one)
        started = time.perf_counter()
        blocks = list(imitate(real, one))
        _say(f"{one.folder}: {sum(len(b.hu) for b in blocks)} slices simulated, {time.perf_counter() - started:.0f} s")
        results[one.folder] = (one.kernel, measure([real]), measure(blocks))
        pairs.append(describe_pair(real, blocks))
    _say("single slices ...")
    singles = describe_singles(list(pair_singles(options.data)))
    _print_measured(results)
    _print_told("patients left out", leave_patients_out(pairs))
    _print_told("series known, slices and chests left out", know_the_series(pairs))
    _print_told("scanners nothing was fitted to", meet_unseen(pairs, singles), mean=False)
    if options.out is not None:
        from realism_figure import draw_figure

        draw_figure(results, EDGES_PER_MM, LUNG_BINS, BODY_BINS, options.out / "phantom-realism.png")


def _print_measured(results: dict[str, tuple[str, Measured, Measured]]) -> None:
    print("| series | noise of soft tissue, HU: real, simulated | correlation with the next slice, lung | "
          "lung windows |\n|---|---|---|---|")
    for name, (_, real, fake) in results.items():
        print(f"| {name} | {real.soft_sd_hu:.0f}, {fake.soft_sd_hu:.0f} | {real.along_z[0]:.2f}, {fake.along_z[0]:.2f} "
              f"| {real.windows['lung']}, {fake.windows['lung']} |")


def _print_told(title: str, told: list[Told], *, mean: bool = True) -> None:
    print(f"\nTold apart by windows of {SIDE} pixels, {title}:\n")
    print("| | AUC | balanced accuracy | real | simulated |\n|---|---|---|---|---|")
    for one in told:
        print(f"| {one.name} | {one.auc:.3f} | {one.balanced_accuracy:.3f} | {one.real} | {one.simulated} |")
    if mean:
        print(f"| mean | {np.mean([t.auc for t in told]):.3f} | {np.mean([t.balanced_accuracy for t in told]):.3f} "
              f"| {sum(t.real for t in told)} | {sum(t.simulated for t in told)} |")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
