"""Where `find_lungs` finds lungs on the real CT data: figures to stdout, and a contact sheet.

    python benchmarks/lung_contact_sheet.py --data ../shared/data --picture docs/images/lungs.jpg

Printed: for every folder the slices with lung, the share of the body the region takes up and the CPU time a
slice; and how many of the labelled sites of the tampered slices lie in the region, as they are and with white noise
added. The picture shows eight slices of every contiguous folder, every single slice, and sixteen tampered
slices with their labelled site.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image, ImageDraw
from scipy import ndimage

from verict.ct.lungs import LungRegion, find_lungs
from verict.ct.volume import CTVolume

COLUMNS, TILE_PX = 8, 128
TAMPERED = Path("ctgan", "Tampered Scans")
SLICE_COLOUR, SITE_COLOUR, TEXT_COLOUR = (255, 70, 70), (0, 255, 0), (255, 255, 0)


@dataclass(frozen=True)
class Site:
    """One labelled location: which slice file, and its column and row."""

    kind: str
    file: Path
    x: int
    y: int


def load_volume(files: list[Path]) -> CTVolume:
    """One series of single-frame CT files as a volume, ordered along the normal."""
    slices = [pydicom.dcmread(file) for file in files]
    row, column = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
    slices.sort(key=lambda one: float(np.array(one.ImagePositionPatient, float) @ np.cross(row, column)))
    origins = np.array([one.ImagePositionPatient for one in slices], float)
    thickness_mm = float(slices[0].get("SliceThickness") or 0)
    steps = np.diff(origins @ np.cross(row, column))
    return CTVolume(
        hu=np.stack([_read_hu(one) for one in slices]),
        origins_mm=origins,
        row_direction=row,
        column_direction=column,
        spacing_mm=(float(np.median(steps)) if len(steps) else thickness_mm, *map(float, slices[0].PixelSpacing)),
        series_instance_uid="",
        study_instance_uid="",
        sop_instance_uids=("",) * len(slices),
        frame_numbers=(1,) * len(slices),
        source_files=tuple(str(one.filename) for one in slices),
        slice_thickness_mm=thickness_mm or None,
    )


def load_folder(folder: Path) -> list[CTVolume]:
    """Every series of a folder, in the order of its file names."""
    series = defaultdict(list)
    for file in sorted(folder.rglob("*.dcm")):
        series[pydicom.dcmread(file, stop_before_pixels=True).SeriesInstanceUID].append(file)
    return [load_volume(files) for files in series.values()]


def list_sites(data: Path) -> list[Site]:
    """The labelled sites of the tampered slices, from the published table."""
    sites = []
    with (data / TAMPERED / "labels_exp1.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            file = data / TAMPERED / "Experiment 1 - Blind" / row["uuid"] / f"{row['slice']}.dcm"
            sites.append(Site(row["type"], file, int(row["x"]), int(row["y"])))
    return sites


def list_missed_sites(sites: list[Site], noise_hu: float = 0.0) -> list[Site]:
    """The labelled sites that lie outside the lung region of their slice, white noise added to it."""
    missed = []
    for site in sites:
        volume = load_volume([site.file])
        noise = np.random.default_rng(0).normal(0, noise_hu, volume.hu.shape)
        noisy = replace(volume, hu=np.clip(np.rint(volume.hu + noise), -3024, 3071).astype(np.int16))
        if not find_lungs(noisy).mask[0, site.y, site.x]:
            missed.append(site)
    return missed


def measure_body_share(volume: CTVolume, region: LungRegion) -> np.ndarray:
    """(z,) area of the region as a share of the body's: the largest piece of soft tissue, its holes filled."""
    shares = []
    for one, mask in zip(volume.hu[:, ::4, ::4], region.mask[:, ::4, ::4], strict=True):
        pieces, count = ndimage.label(ndimage.binary_fill_holes(one > -300))
        body = ndimage.sum_labels(pieces > 0, pieces, range(1, count + 1)).max(initial=1)
        shares.append(mask.sum() / body)
    return np.array(shares)


def draw_tile(hu: np.ndarray, mask: np.ndarray, text: str, site: Site | None = None) -> np.ndarray:
    """One slice in a lung window with the outline of the region, (TILE_PX, TILE_PX, 3) uint8."""
    grey = np.clip((hu.astype(float) + 1100) * (255 / 1500), 0, 255).astype(np.uint8)
    picture = np.repeat(grey[..., None], 3, axis=2)
    picture[mask ^ ndimage.binary_erosion(mask, iterations=3)] = SLICE_COLOUR
    image = Image.fromarray(picture)
    if site is not None:
        box = (site.x - 14, site.y - 14, site.x + 14, site.y + 14)
        ImageDraw.Draw(image).ellipse(box, outline=SITE_COLOUR, width=5)
    image = image.resize((TILE_PX, TILE_PX), Image.Resampling.BILINEAR)
    ImageDraw.Draw(image).text((2, 1), text, fill=TEXT_COLOUR)
    return np.asarray(image)


def draw_folder(folder: Path) -> list[np.ndarray]:
    """Print the figures of one authentic folder and return its tiles."""
    volumes = load_folder(folder)
    started = time.process_time()
    regions = [find_lungs(volume) for volume in volumes]
    cpu_ms = 1000 * (time.process_time() - started) / sum(volume.slice_count for volume in volumes)
    found = np.concatenate([region.found for region in regions])
    shares = np.concatenate([measure_body_share(*pair) for pair in zip(volumes, regions, strict=True)])
    middle = np.median(shares[found]) if found.any() else 0.0
    largest = shares[found].max(initial=0.0)
    print(
        f"{folder.name:22} {len(found):4} slices, lung on {found.sum():4}; region / body median {middle:.2f}, "
        f"largest {largest:.2f}; {cpu_ms:.1f} ms CPU a slice"
    )
    tiles = []
    for volume, region in zip(volumes, regions, strict=True):
        count = volume.slice_count
        picks = range(count) if count < COLUMNS else np.linspace(0, count - 1, COLUMNS).round().astype(int)
        tiles += [draw_tile(volume.hu[z], region.mask[z], "" if count == 1 else str(z + 1)) for z in picks]
    return tiles


def _read_hu(one: pydicom.Dataset) -> np.ndarray:
    slope, intercept = float(one.get("RescaleSlope", 1)), float(one.get("RescaleIntercept", 0))
    return np.rint(one.pixel_array * slope + intercept).astype(np.int16)


def main() -> None:
    """Print the figures and write the picture."""
    parser = argparse.ArgumentParser(description="Figures and a contact sheet of the lung regions.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--picture", type=Path, default=Path("docs/images/lungs.jpg"))
    options = parser.parse_args()

    rows = []
    for folder in sorted(path for path in (options.data / "authentic").iterdir() if path.is_dir()):
        rows.append((folder.name, draw_folder(folder)))

    sites = list_sites(options.data)
    for noise_hu in (0, 60, 150, 300):
        missed = list_missed_sites(sites, noise_hu)
        print(f"labelled sites in the region, noise of {noise_hu} HU added: {len(sites) - len(missed)} of {len(sites)}")
        for site in missed:
            print(f"  missed: {site.kind} {site.file.parent.name} slice {site.file.stem} at x {site.x}, y {site.y}")
    tiles = []
    for site in sites[:: len(sites) // (2 * COLUMNS)][: 2 * COLUMNS]:
        volume = load_volume([site.file])
        tiles.append(draw_tile(volume.hu[0], find_lungs(volume).mask[0], site.kind, site))
    rows.append(("ctgan, with the labelled site", tiles))

    strips = []
    for name, tiles in rows:
        heading = Image.new("RGB", (COLUMNS * TILE_PX, 14))
        ImageDraw.Draw(heading).text((2, 1), name, fill=(255, 255, 255))
        strips.append(np.asarray(heading))
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
        strips += [np.concatenate(tiles[i : i + COLUMNS], axis=1) for i in range(0, len(tiles), COLUMNS)]
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(strips)).save(options.picture, quality=82)
    print(f"wrote {options.picture}")


if __name__ == "__main__":
    main()
