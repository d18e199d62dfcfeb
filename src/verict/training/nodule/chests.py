"""Simulated chests with many nodules of known place and size, whole slabs of slices, to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from verict.ct.phantom.chest import simulate_chest
from verict.ct.phantom.scanner import Protocol
from verict.datasets.scans import Scan
from verict.errors import InputError
from verict.training.phantoms import FOLDER, draw_any_kernel, to_scan

SLAB_MM = 130.0
MOST_SLICES = 80
NODULES = 9
THICKNESSES_MM = (1.25, 1.5, 2.0, 2.5, 3.0, 5.0, 8.0)


@dataclass(frozen=True)
class Truth:
    """A nodule that is known: ``centre`` (z, y, x) voxels, ``diameter_mm``, and what the source calls it.

    ``is_sure`` is False for what may be one: nothing is learnt or counted there. ``index`` is its number in the whole
    scan where this is a part of it, else -1.
    """

    centre: tuple[float, float, float]
    diameter_mm: float
    kind: str
    is_sure: bool = True
    index: int = -1


def simulate(seed: int, number: int, keep: Path) -> tuple[Scan, list[Truth]]:
    """A slab of one random patient in one random scanner, kept in a folder; the same seed and number give the same."""
    rng = np.random.default_rng([seed, number])
    thickness = float(rng.choice(THICKNESSES_MM))
    protocol = Protocol(
        kernel=draw_any_kernel(rng), dose=float(np.exp(rng.uniform(np.log(0.2), np.log(2.5)))),
        thickness_mm=thickness, increment_mm=thickness, pixel_mm=float(rng.uniform(0.55, 0.96)),
        beam_hardening=bool(rng.random() < 0.5),
    )  # fmt: skip
    name = f"{FOLDER}:nodule:{seed}:{number}"
    file = keep / f"chest-{seed}-{number}.npz"
    if not file.is_file():
        _simulate(protocol, int(rng.integers(2**31)), file)
    with np.load(file) as kept:
        hu, nodules, kinds = kept["hu"], kept["nodules"], kept["kinds"]
    truths = [Truth(tuple(row[:3]), float(row[3]), str(kind)) for row, kind in zip(nodules, kinds, strict=True)]
    return to_scan(hu, protocol, name, number), truths


def _simulate(protocol: Protocol, seed: int, file: Path) -> None:
    slices = min(MOST_SLICES, round(SLAB_MM / protocol.increment_mm))
    for count in range(NODULES, 0, -1):  # small lungs hold fewer
        try:
            chest = simulate_chest(protocol, slices=slices, nodules=count, seed=seed)
        except InputError:
            continue
        break
    rows = np.array([(*chest.to_voxel(n), n.diameter_mm) for n in chest.anatomy.nodules])
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial.npz")
    np.savez_compressed(partial, hu=chest.hu, nodules=rows, kinds=[str(n.shape) for n in chest.anatomy.nodules])
    partial.replace(file)
