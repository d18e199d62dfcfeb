"""How near simulated chests come to real ones: noise spectra, noise along z, HU, and a classifier of windows.

    python benchmarks/phantom_realism.py --data ../shared/data/authentic [--out docs/images]

Each real series is imitated: same pixels, thickness, increment and kernel (`imitations.py` lists what was fitted
to it). Printed, for windows of 32 pixels: noise of soft tissue, correlation of neighbouring slices, power against
the real series, and how often a random forest tells windows of lung apart, real from simulated (`tell_apart.py`).
The figure, phantom-realism.png, needs the extra `figures`, the classifier the extra `train`. Figures are kept in
`results/`.
"""

from __future__ import annotations

import argparse
import sys
import time
import typing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from imitations import IMITATIONS, imitate, load_real, pair_singles
from measuring import keep_result
from noise_windows import SIDE, Series, correlate_along_z, find_windows, measure_spectrum
from tell_apart import (
    Described,
    Told,
    describe_pair,
    describe_singles,
    know_the_series,
    leave_patients_out,
    meet_unseen,
)

from verict.ct.phantom.kernels import MEASURED_KERNELS

EDGES_PER_MM = np.arange(0.02, 1.0, 0.04)
MIDDLE_PER_MM = (EDGES_PER_MM[1:] + EDGES_PER_MM[:-1]) / 2
KURTOSIS = -3  # column of the features
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
        power = np.where((MIDDLE_PER_MM > 0.1) & np.isfinite(self.spectra["soft"]), self.spectra["soft"], 0)
        return float(np.sqrt((power * 2 * np.pi * MIDDLE_PER_MM * np.diff(EDGES_PER_MM)).sum()))


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
    rows = [compare(*results[pair.name], pair) for pair in pairs]
    _print_measured(rows)
    told = {
        "patients left out": leave_patients_out(pairs),
        "series known, slices and chests left out": know_the_series(pairs),
        "scanners nothing was fitted to": meet_unseen(pairs, singles),
    }
    for title, some in told.items():
        _print_told(title, some, mean=some[0].name in results)
    figures = {"series": rows, "told_apart": {title: [asdict(t) for t in some] for title, some in told.items()}}
    kept = keep_result("phantom_realism", {"imitations": [asdict(one) for one in IMITATIONS]}, figures)
    _say(f"kept in {kept.parent.name}/{kept.name}")
    if options.out is not None:
        from realism_figure import draw_figure

        draw_figure(results, EDGES_PER_MM, LUNG_BINS, BODY_BINS, options.out / "phantom-realism.png")


def compare(kernel: str, real: Measured, fake: Measured, pair: Described) -> dict[str, object]:
    """What is printed of a series and its imitation: values as [real, simulated], power as simulated / real."""
    cutoff = MEASURED_KERNELS[kernel].cutoff_per_mm
    ratio = {tissue: fake.spectra[tissue] / real.spectra[tissue] for tissue in ("soft", "lung")}
    middle, known = MIDDLE_PER_MM, np.isfinite(ratio["soft"])
    noise = ratio["soft"][known & (middle > (0.3 if "B31f" in kernel else 0.22)) & (middle < cutoff)]
    bands = {"below 0.1": (0, 0.1), "0.15 to 0.35": (0.15, 0.35), "0.35 to cutoff": (0.35, cutoff),
             "beyond cutoff": (cutoff + 0.02, 1.0)}
    lung = {}
    for name, (low, high) in bands.items():
        band = known & (middle > low) & (middle < high)
        lung[name] = round(float(np.exp(np.log(ratio["lung"][band]).mean())), 2) if band.any() else None
    return {
        "name": pair.name,
        "noise_hu": [round(m.soft_sd_hu, 1) for m in (real, fake)],
        "along_z": [round(float(m.along_z[0]), 3) for m in (real, fake)],
        "windows": [[m.windows[tissue] for m in (real, fake)] for tissue in ("soft", "lung")],
        "kurtosis": [round(float(np.median(pair.features[pair.simulated == s, KURTOSIS])), 2) for s in (False, True)],
        "soft_power": [round(float(v), 2) for v in (noise.min(), np.median(noise), noise.max())],
        "lung_power": lung,
    }


def _print_measured(rows: list[dict[str, typing.Any]]) -> None:
    print("| series | noise of soft tissue, HU: real, simulated | correlation with the next slice, lung | "
          "kurtosis of lung | windows of soft tissue | of lung |\n|---|---|---|---|---|---|")
    for row in rows:
        (soft, lung), noise = row["windows"], row["noise_hu"]
        print(f"| {row['name']} | {noise[0]:.0f}, {noise[1]:.0f} | {row['along_z'][0]:.2f}, {row['along_z'][1]:.2f} "
              f"| {row['kurtosis'][0]:.1f}, {row['kurtosis'][1]:.1f} | {soft[0]}, {soft[1]} | {lung[0]}, {lung[1]} |")
    print("\nPower, simulated / real; of soft tissue the lowest, median and highest band, from 0.22 cycles per mm "
          "(B31f 0.3) to the cutoff:\n")
    bands = list(rows[0]["lung_power"])
    print(f"| series | soft tissue | {' | '.join(f'lung, {b}' for b in bands)} |\n|{'---|' * (2 + len(bands))}")
    for row in rows:
        lung = " | ".join("-" if v is None else f"{v:.2f}" for v in row["lung_power"].values())
        print(f"| {row['name']} | {', '.join(f'{v:.2f}' for v in row['soft_power'])} | {lung} |")


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
