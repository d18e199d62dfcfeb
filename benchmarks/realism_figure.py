"""The figure of `phantom_realism.py`: spectra, correlation along z and HU of real and simulated series."""

from __future__ import annotations

import typing
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

TISSUES = {"soft": ("soft tissue", "tab:blue"), "lung": ("lung", "tab:orange")}


def draw_figure(
    results: dict[str, tuple[str, typing.Any, typing.Any]],
    edges_per_mm: np.ndarray, lung_bins: np.ndarray, body_bins: np.ndarray, file: Path,
) -> None:
    """Write the figure; `results` holds by folder the kernel and what was measured, real and simulated."""
    figure, axes = plt.subplots(4, 4, figsize=(16, 14), layout="constrained")
    middle = (edges_per_mm[1:] + edges_per_mm[:-1]) / 2
    for place, (kernel, real, fake) in enumerate(results.values()):
        _draw_spectra(axes.flat[place], kernel, middle, real, fake)
        _draw_along_z(axes.flat[7], f"C{place}", kernel, real, fake)
        _draw_histogram(axes.flat[8 + place], f"HU in the lungs: {kernel}", lung_bins, [real.lung_hu], [fake.lung_hu])
    _draw_histogram(axes.flat[15], "HU outside the lungs, all series", body_bins,
                    [r.body_hu for _, r, _ in results.values()], [f.body_hu for _, _, f in results.values()])
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=80)
    plt.close(figure)


def _draw_spectra(axis: Axes, kernel: str, middle: np.ndarray, real: typing.Any, fake: typing.Any) -> None:
    for tissue, (name, colour) in TISSUES.items():
        axis.semilogy(middle, real.spectra[tissue], color=colour, label=f"{name}, real")
        axis.semilogy(middle, fake.spectra[tissue], color=colour, linestyle="--", label=f"{name}, simulated")
    axis.set(title=f"Noise power spectrum: {kernel}", xlabel="cycles per mm", ylabel="HU² mm²", ylim=(0.05, 1e5))
    axis.legend(fontsize=7)


def _draw_along_z(axis: Axes, colour: str, kernel: str, real: typing.Any, fake: typing.Any) -> None:
    for one, line, label in ((real, "-", kernel), (fake, "--", None)):
        away_mm = np.arange(len(one.along_z) + 1) * one.increment_mm
        axis.plot(away_mm, np.r_[1, one.along_z], line, color=colour, marker=".", label=label)
    axis.set(title="Lung along z; dashed: simulated", xlabel="distance of slices, mm", ylabel="correlation",
             xlim=(0, 12))
    axis.legend(fontsize=7)


def _draw_histogram(
    axis: Axes, title: str, bins: np.ndarray, real: list[np.ndarray], fake: list[np.ndarray]
) -> None:
    for density, colour, line, label in ((real, "black", "-", "real"), (fake, "tab:red", "--", "simulated")):
        axis.stairs(1000 * np.mean(density, axis=0), bins, color=colour, linestyle=line, label=label)
    axis.set(title=title, xlabel="HU", ylabel="% of voxels in 10 HU", ylim=(0, None))
    axis.legend(fontsize=7)
