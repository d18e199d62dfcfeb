"""Cuboids to learn from: healthy lung of authentic scans, and the published augmentation.

A bank holds cuboids with room to turn and shift them; what a step sees is drawn from it by the step's own generator,
so that a resumed training sees what an uninterrupted one would have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from verict.datasets.cuboids import LEAST_SHARE, room_around
from verict.datasets.scans import Scan
from verict.datasets.sites import CUBOID_MM, PARENCHYMA_HU, SMOOTHING_MM
from verict.tamper.ctgan_cuboid import HOLE, SIDE, sample_cuboid

ROOM = 48  # samples in plane: a square of 32 turns freely within 46, and shifts by 4 within 40
SUBUNITS = 8  # of a HU, as stored: equalisation has finer bins than whole HU
STORED_HU = (-1024.0, 3071.0)
HEALTHY_SHARE = 0.5  # at least, of the hole, is lung parenchyma
DRAWS_PER_SITE = 50  # until a scan is said to hold no more
TURN_DEG = 6
TURNS = 59
SHIFT = 4
VARIANTS = 1 + 3 + 4 + TURNS  # itself, flips, shifts, turns: 67, as published


@dataclass(frozen=True, eq=False)
class Bank:
    """Cuboids at 1 mm with room around them in plane.

    Parameters
    ----------
    stored
        (n, 32, 48, 48) int16, eighths of HU.
    sources
        (n,) what each was cut from.
    """

    stored: np.ndarray
    sources: tuple[str, ...]

    @classmethod
    def of(cls, cuboids_hu: Sequence[np.ndarray], sources: Sequence[str]) -> Bank:
        """A bank of (32, 48, 48) cuboids in HU."""
        return cls(np.stack([store(cuboid) for cuboid in cuboids_hu]), tuple(sources))

    def __len__(self) -> int:
        return len(self.stored)

    def hu(self, chosen: np.ndarray) -> np.ndarray:
        """(k, 32, 48, 48) float32 HU."""
        return self.stored[chosen].astype(np.float32) / SUBUNITS

    def middles(self) -> np.ndarray:
        """(n, 32, 32, 32) float32 HU, not augmented."""
        low = (ROOM - SIDE) // 2
        inner = slice(low, low + SIDE)
        return self.stored[:, :, inner, inner].astype(np.float32) / SUBUNITS


def store(cuboid_hu: np.ndarray) -> np.ndarray:
    """HU to int16 eighths of it."""
    return np.rint(np.clip(cuboid_hu, *STORED_HU) * SUBUNITS).astype(np.int16)


def find_healthy_sites(
    scan: Scan, count: int, avoid: Sequence[tuple[tuple[int, int, int], float]], rng: np.random.Generator
) -> list[tuple[int, int, int]]:
    """Places of healthy lung, drawn at random.

    The voxel is parenchyma (in the lung region and, smoothed by 1 mm in plane, below -600 HU), at least half of the
    20 mm that are painted anew are, the cuboid does not touch a known nodule, and half of it along z are slices.

    Parameters
    ----------
    scan
        An authentic one.
    count
        How many; fewer are returned where no more are found.
    avoid
        Voxel (z, y, x) and radius in mm of each known nodule.
    rng
        Source of all randomness.
    """
    spacing = np.array(scan.volume.spacing_mm)
    smooth = ndimage.gaussian_filter(scan.volume.hu, (0, *SMOOTHING_MM / spacing[1:]), output=np.float32)
    lung = scan.lungs.mask & (smooth < PARENCHYMA_HU)
    places = np.argwhere(lung)
    reach = np.maximum(np.rint((HOLE[0].stop - HOLE[0].start) / 2 / spacing), 1).astype(int)
    sites: list[tuple[int, int, int]] = []
    for _ in range(count * DRAWS_PER_SITE if len(places) else 0):
        place = places[rng.integers(len(places))]
        hole = tuple(slice(max(c - r, 0), c + r + 1) for c, r in zip(place, reach, strict=True))
        clear = all(np.abs((place - centre) * spacing).max() > CUBOID_MM / 2 + radius for centre, radius in avoid)
        if clear and lung[hole].mean() >= HEALTHY_SHARE and _has_slices(scan, int(place[0])):
            sites.append((int(place[0]), int(place[1]), int(place[2])))
            if len(sites) == count:
                break
    return sites


def _has_slices(scan: Scan, z: int) -> bool:
    reach_mm = (SIDE - 1) / 2
    _, below_mm, above_mm = room_around(scan.volume, z)
    return min(below_mm, reach_mm) + min(above_mm, reach_mm) >= LEAST_SHARE * 2 * reach_mm


def cut_with_room(scan: Scan, site: tuple[int, int, int]) -> np.ndarray:
    """(32, 48, 48) float32 HU around a voxel of a scan."""
    run, _, _ = room_around(scan.volume, site[0])
    return sample_cuboid(scan.volume.hu, scan.volume.spacing_mm, site, run=run, sides=(SIDE, ROOM, ROOM))


def augment(cuboids_hu: torch.Tensor, variants: torch.Tensor) -> torch.Tensor:
    """One of the 67 published variants of each cuboid, in plane.

    0 is itself; 1 to 3 flips along y, x and both; 4 to 7 shifts by 4 mm along both; 8 to 66 turns by 6 to 354 degrees.

    Parameters
    ----------
    cuboids_hu
        (n, 32, 48, 48) float32.
    variants
        (n,) int64, 0 to 66.

    Returns
    -------
    torch.Tensor
        (n, 32, 32, 32) float32 HU; turned by cubic interpolation, the rest exact but for rounding.
    """
    matrix, shift = _poses(variants)
    offset = torch.arange(SIDE) - (SIDE - 1) / 2
    y, x = torch.meshgrid(offset, offset, indexing="ij")
    points = torch.stack([x, y], dim=-1)  # (32, 32, 2), grid_sample takes x first
    points = torch.einsum("nij,yxj->nyxi", matrix, points) + shift[:, None, None]
    return functional.grid_sample(
        cuboids_hu, points / ((ROOM - 1) / 2), mode="bicubic", padding_mode="border", align_corners=True
    )


def _poses(variants: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 2, 2) and (n, 2): where an output offset (x, y) is read from."""
    angle = torch.deg2rad(TURN_DEG * (variants - 7).clamp(min=0).float())
    cos, sin = torch.cos(angle), torch.sin(angle)
    matrix = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], dim=-2)
    flip = torch.stack([1 - 2 * torch.isin(variants, torch.tensor(axes)).float() for axes in ((2, 3), (1, 3))], -1)
    which = (variants - 4).clamp(0, 3)
    is_shift = ((variants >= 4) & (variants < 8)).float()[:, None]
    shift = SHIFT * is_shift * torch.stack([1 - 2 * (which % 2), 1 - 2 * (which // 2)], -1)
    return matrix * flip[:, None, :], shift
