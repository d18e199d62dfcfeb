"""Every family of forgery with every touch-up, as pictures: before, after, difference and residual in three planes.

    python benchmarks/tamper_gallery.py ../shared/data/authentic --out docs/images/tamper [--only ctgan inpaint]

One page a family, kind and volume: a row for each touch-up; in it the axial, coronal and sagittal plane through the
place before, after, their difference, and the noise that is left of the forged plane without its structures.
Volumes are the 275 slices of LIDC-IDRI-0314 and a simulated chest. Splices get their tissue from the other one.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from verict.ct.discover import find_series
from verict.ct.lungs import LungRegion, find_lungs
from verict.ct.phantom.chest import simulate_chest, write_chest
from verict.ct.phantom.kernels import KERNELS, Kernel
from verict.ct.phantom.scanner import Protocol
from verict.ct.read import read_series
from verict.ct.volume import CTVolume
from verict.errors import InputError
from verict.tamper import families, touch_ups
from verict.tamper.donors import cut_donor
from verict.tamper.forgery import Donor, Forgery, ForgeryKind, forge
from verict.tamper.sites import find_injection_sites
from verict.tamper.target import aim

FIELD_MM, TILE_PX = 72.0, 84
LUNG_HU = (-1350.0, 150.0)
DIFFERENCE_HU, RESIDUAL_HU = 250.0, 120.0
SMOOTHING_MM = 1.0  # what a residual is left of
HEAD_PX, SIDE_PX = 26, 66
SEED, LUNG_PLACES = 11, 12
PLANES = ("axial", "coronal", "sagittal")
BLOCKS = ("before", "after", "difference", "residual of after")
LIDC, LIDC_NODULE, LIDC_NODULE_MM = "lidc-0314-philips-D", (160, 243, 184), 22.0  # nodules.csv's, as a voxel
PHANTOM_SEED, PHANTOM_SLICES, PHANTOM_MM = 4, 90, 1.25


@dataclass(frozen=True, eq=False)
class Scene:
    """A volume with a place for each kind of forgery, and what it can donate."""

    name: str
    volume: CTVolume
    lungs: LungRegion
    nodule: tuple[int, int, int]
    nodule_mm: float
    lung: tuple[tuple[int, int, int], ...]

    def place(self, kind: ForgeryKind) -> tuple[int, int, int]:
        """Where it is forged."""
        return self.nodule if kind is ForgeryKind.REMOVE else self.lung[0]

    def donate(self) -> tuple[Donor, ...]:
        """Its nodule, and lung wherever it is plain enough."""
        return (self._cut(self.nodule, ForgeryKind.INJECT, self.nodule_mm), *self._donate_lung())

    def _donate_lung(self) -> Iterator[Donor]:
        for place in self.lung:
            with suppress(InputError):
                yield self._cut(place, ForgeryKind.REMOVE, 0.0)

    def _cut(self, place: tuple[int, int, int], kind: ForgeryKind, diameter_mm: float) -> Donor:
        return cut_donor(self.volume, self.lungs, place, kind, diameter_mm=diameter_mm, source=self.name)


def make_page(scene: Scene, donors: tuple[Donor, ...], family_name: str, kind: ForgeryKind) -> Image.Image:
    """All touch-ups of one family at one place."""
    family = families.create(family_name)
    rows = []
    for name in touch_ups.names():
        target = aim(
            scene.volume,
            scene.lungs,
            scene.place(kind),
            kind,
            diameter_mm=scene.nodule_mm if kind is ForgeryKind.REMOVE else None,
            donors=donors,
        )
        forgery = forge(target, family, touch_ups.create(name), seed=SEED)
        rows.append((name, _tiles(scene, forgery)))
    return _lay_out(f"{kind} by {family_name}, {scene.name}", rows)


def _tiles(scene: Scene, forgery: Forgery) -> list[np.ndarray]:
    """Twelve tiles of uint8: three planes before, three after, three differences, three residuals."""
    centre, spacing = tuple(forgery.record["centre_voxel_zyx"]), scene.volume.spacing_mm
    before, after = (_cut(hu, centre, spacing) for hu in (scene.volume.hu, forgery.hu))
    rest = after - ndimage.gaussian_filter(after, SMOOTHING_MM * TILE_PX / FIELD_MM)
    shown = [(before, *LUNG_HU), (after, *LUNG_HU), (after - before, -DIFFERENCE_HU, DIFFERENCE_HU)]
    shown.append((rest, -RESIDUAL_HU, RESIDUAL_HU))
    middle = TILE_PX // 2
    return [
        np.rint(np.clip((plane - low) / (high - low), 0, 1) * 255).astype(np.uint8)
        for cube, low, high in shown
        for plane in (cube[middle], cube[::-1, middle], cube[::-1, :, middle])
    ]


def _cut(hu: np.ndarray, centre: tuple[int, ...], spacing_mm: tuple[float, ...]) -> np.ndarray:
    """A cube of the field around a voxel, `TILE_PX` a side, the nearest voxel for each."""
    offsets_mm = (np.arange(TILE_PX) - TILE_PX // 2) * FIELD_MM / TILE_PX
    index = [
        np.clip(np.rint(c + offsets_mm / s), 0, n - 1).astype(int)
        for c, s, n in zip(centre, spacing_mm, hu.shape, strict=True)
    ]
    return hu[np.ix_(*index)].astype(np.float32)


def _lay_out(title: str, rows: list[tuple[str, list[np.ndarray]]]) -> Image.Image:
    across = len(BLOCKS) * len(PLANES)
    sheet = Image.new("L", (SIDE_PX + across * (TILE_PX + 2), HEAD_PX + len(rows) * (TILE_PX + 2)), 255)
    draw = ImageDraw.Draw(sheet)
    for column, block in enumerate(BLOCKS):
        draw.text((SIDE_PX + column * len(PLANES) * (TILE_PX + 2), 13), f"{block}: {', '.join(PLANES)}", fill=0)
    draw.text((2, 1), title, fill=0)
    for row, (name, tiles) in enumerate(rows):
        draw.text((2, HEAD_PX + row * (TILE_PX + 2) + TILE_PX // 2), name, fill=0)
        for column, tile in enumerate(tiles):
            sheet.paste(
                Image.fromarray(tile), (SIDE_PX + column * (TILE_PX + 2), HEAD_PX + row * (TILE_PX + 2))
            )
    return sheet


def _read_lidc(authentic: Path) -> Scene:
    volume = read_series(find_series(authentic / LIDC).series[0])
    return _make_scene("LIDC-IDRI-0314", volume, LIDC_NODULE, LIDC_NODULE_MM)


def _simulate() -> Scene:
    protocol = Protocol(
        kernel=KERNELS[Kernel.STANDARD], thickness_mm=PHANTOM_MM, increment_mm=PHANTOM_MM, pixel_mm=0.7
    )
    chest = simulate_chest(protocol, slices=PHANTOM_SLICES, nodules=2, seed=PHANTOM_SEED)
    with tempfile.TemporaryDirectory() as folder:
        write_chest(chest, Path(folder) / "chest", kernel_name=str(Kernel.STANDARD))
        volume = read_series(find_series(folder).series[0])
    nodule = chest.anatomy.nodules[0]
    z, y, x = (round(v) for v in chest.to_voxel(nodule))
    return _make_scene("simulated chest", volume, (z, y, x), nodule.diameter_mm)


def _make_scene(name: str, volume: CTVolume, nodule: tuple[int, int, int], nodule_mm: float) -> Scene:
    lungs = find_lungs(volume)
    sites = find_injection_sites(volume, lungs, LUNG_PLACES, np.random.default_rng(SEED), avoid=[nodule])
    return Scene(name, volume, lungs, nodule, nodule_mm, tuple((site.z, site.y, site.x) for site in sites))


def _pages(scenes: list[Scene], wanted: list[str]) -> Iterator[tuple[str, Image.Image]]:
    for scene, other in zip(scenes, reversed(scenes), strict=True):
        donors = other.donate()
        for name in wanted:
            for kind in sorted(families.create(name).kinds):
                yield (
                    f"{kind}-{name}-{scene.name.split('-')[0].split()[0].lower()}",
                    make_page(scene, donors, name, kind),
                )


def main() -> None:
    """Forge and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("authentic", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=list(families.names()), help="families")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    scenes = [_read_lidc(arguments.authentic), _simulate()]
    for name, page in _pages(scenes, arguments.only):
        page.save(arguments.out / f"{name}.jpg", quality=72, optimize=True)
        print(arguments.out / f"{name}.jpg", flush=True)


if __name__ == "__main__":
    main()
