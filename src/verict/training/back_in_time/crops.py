"""Crops of untouched lung to learn from: real slices, and simulated chests in simulated scanners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from verict.datasets.scans import Progress, Scan, read_authentic_scans
from verict.detect.back_in_time import to_network
from verict.errors import DatasetError
from verict.training.back_in_time.recipe import BackInTimeRecipe
from verict.training.diffusion_inpaint.chests import simulate_chests

CHESTS = "simulated-chests"
SLICES = 8  # of a simulated chest, evenly spread
LEAST_LUNG = 64  # pixels, of a slice that is learnt from


@dataclass(frozen=True, eq=False)
class Slice:
    """A slice to learn from: (y, x) int16 HU, and (n, 2) int16 pixels of its lungs."""

    hu: np.ndarray
    lung: np.ndarray
    is_real: bool


@dataclass(frozen=True, eq=False)
class CropSource:
    """Draws crops centred in the lungs; the same generator state gives the same ones.

    Parameters
    ----------
    slices
        What is learnt from.
    recipe
        Window, size, and share of real ones.
    """

    slices: tuple[Slice, ...]
    recipe: BackInTimeRecipe

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count, 1, crop, crop) float32 in [-1, 1], mirrored and turned at random."""
        real, simulated = ([s for s in self.slices if s.is_real is kind] for kind in (True, False))
        side = self.recipe.crop_px
        out = np.empty((count, 1, side, side), np.float32)
        for index in range(count):
            group = (real or simulated) if rng.random() < self.recipe.real_share else (simulated or real)
            one = group[int(rng.integers(len(group)))]
            centre = one.lung[rng.integers(len(one.lung))]
            top, left = (int(np.clip(c - side // 2, 0, n - side)) for c, n in zip(centre, one.hu.shape, strict=True))
            crop = to_network(one.hu[top : top + side, left : left + side], self.recipe.window_hu)
            crop = np.rot90(crop, int(rng.integers(4)))
            out[index, 0] = crop[:, ::-1] if rng.random() < 0.5 else crop
        return out


def gather_slices(
    data: Path, recipe: BackInTimeRecipe, cache: Path, progress: Progress
) -> tuple[list[Scan], CropSource]:
    """The real scans that are learnt from, and the source of crops of them and of simulated chests.

    Chests are kept in ``cache``.

    Raises
    ------
    UsageError
        If there is no folder ``authentic``.
    DatasetError
        If nothing is there to learn from.
    InputError
        If a series cannot be read.
    """
    scans: list[Scan] = []
    for folder in recipe.learnt_from:
        if not (data / "authentic" / folder).is_dir():
            raise DatasetError("no such scans to learn from", file=data / "authentic" / folder)
        scans += read_authentic_scans(data / "authentic" / folder, progress)
    scans = _choose_patients(scans, recipe)
    slices = [
        one for scan in scans for z in np.flatnonzero(scan.lungs.found)
        if (one := _keep(scan.volume.hu[z], scan.lungs.mask[z], recipe.crop_px, is_real=True)) is not None
    ]
    for chest in simulate_chests(recipe.chests, recipe.seed, cache / CHESTS, progress):
        chosen = np.unique(np.linspace(0, len(chest.hu) - 1, SLICES).round().astype(int))
        kept = (_keep(chest.hu[z], chest.lung[z], recipe.crop_px, is_real=False) for z in chosen)
        slices += [one for one in kept if one is not None]
    if not slices:
        raise DatasetError("no lung to learn from", file=data, expected="authentic scans with lung")
    return scans, CropSource(tuple(slices), recipe)


def _choose_patients(scans: list[Scan], recipe: BackInTimeRecipe) -> list[Scan]:
    """Those of as many patients as the recipe names."""
    patients = sorted({scan.patient for scan in scans})
    if recipe.patients is None or recipe.patients >= len(patients):
        return scans
    chosen = np.random.default_rng(recipe.seed).permutation(len(patients))[: recipe.patients]
    return [scan for scan in scans if patients.index(scan.patient) in chosen]


def _keep(hu: np.ndarray, mask: np.ndarray, side: int, *, is_real: bool) -> Slice | None:
    if min(hu.shape) < side or mask.sum() < LEAST_LUNG:
        return None
    return Slice(hu.copy(), np.argwhere(mask).astype(np.int16), is_real)


def describe(slices: Sequence[Slice]) -> dict[str, int]:
    """How many real and simulated slices were learnt from."""
    return {"real": sum(s.is_real for s in slices), "simulated": sum(not s.is_real for s in slices)}
