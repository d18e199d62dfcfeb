"""Scans to learn inpainting from: authentic series, and simulated chests full of nodules of known place and size."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from verict.ct.lungs import find_lungs
from verict.ct.phantom.anatomy import draw_anatomy
from verict.ct.phantom.nodules import NoduleOrder
from verict.ct.phantom.scanner import acquire
from verict.ct.volume import CTVolume
from verict.datasets.authentic import read_nodules
from verict.datasets.masses import find_nodules
from verict.datasets.scans import Progress, read_authentic_scans
from verict.errors import DatasetError, InputError
from verict.tamper.sites import place_documented
from verict.training.phantoms import draw_protocol

LEFT_OUT = ("cmbcrc-ge-LUNG", "fusedct-siemens-B31f")
"""Authentic folders that are never learnt from: what the figures are measured on."""

LEAST_SLICES = 24  # of a series that is learnt from
SLICES = 40  # of a simulated chest, side by side
NODULES = (10, 4)  # wanted in one, and at least: thin slabs of the lungs hold few
NODULE_MM = (4.0, 18.0)
EDGE_MM = 3.0  # at least, from a nodule's centre to the slab's faces
SOLID_HU = 30.0  # taken for nodules of real scans, which no table gives a density


@dataclass(frozen=True)
class KnownNodule:
    """A nodule of a scan to learn from: voxel (z, y, x) of its centre, diameter in mm, HU of its filling."""

    centre_zyx: tuple[float, float, float]
    diameter_mm: float
    hu: float


@dataclass(frozen=True, eq=False)
class KnownScan:
    """A scan to learn from.

    Parameters
    ----------
    name
        Folder of an authentic series, or which simulated chest.
    hu, lung
        (z, y, x) int16 HU and bool.
    spacing_mm
        (z, y, x).
    nodules
        Those that may be learnt as nodules.
    avoid
        Everything that is not healthy: those, and what else was found.
    is_real
        Whether a scanner acquired it.
    """

    name: str
    hu: np.ndarray
    lung: np.ndarray
    spacing_mm: tuple[float, float, float]
    nodules: tuple[KnownNodule, ...]
    avoid: tuple[KnownNodule, ...]
    is_real: bool


def simulate_chest(seed: int, number: int) -> KnownScan:
    """A slab of a random patient in a random scanner, with as many nodules as fit; seed and number give the same."""
    rng = np.random.default_rng([seed, number])
    protocol = replace(draw_protocol(rng, contiguous=True), row_mm=1.0)
    half_mm = (SLICES - 1) / 2 * protocol.increment_mm - EDGE_MM
    anatomy = None
    for count in range(NODULES[0], NODULES[1] - 1, -2):
        order = NoduleOrder(count, NODULE_MM, z_mm=(-half_mm, half_mm))
        try:
            anatomy = draw_anatomy(rng, nodules=order)
            break
        except InputError:
            continue
    if anatomy is None:
        anatomy = draw_anatomy(rng, nodules=0)
    hu = acquire(anatomy, protocol, rng, slices=SLICES, workers=1)
    spacing = (protocol.increment_mm, protocol.pixel_mm, protocol.pixel_mm)
    middle = (np.array(hu.shape) - 1) / 2
    nodules = []
    for nodule in anatomy.nodules:
        z, y, x = (float(c) for c in np.array(nodule.centre_zyx_mm) / spacing + middle)
        nodules.append(KnownNodule((z, y, x), nodule.diameter_mm, nodule.hu))
    lung = _find_lung(hu, spacing)
    return KnownScan(f"phantom:{seed}:{number}", hu, lung, spacing, tuple(nodules), tuple(nodules), False)


def simulate_chests(count: int, seed: int, cache: Path, progress: Progress) -> Iterator[KnownScan]:
    """That many simulated chests; those made before are read from the cache folder.

    A file of the cache is written under another name first, so that a kill leaves none half-written.
    """
    cache.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        progress("simulating chests", number, count)
        file = cache / f"chest-{seed}-{number}.npz"
        if not file.is_file():
            partial = file.with_suffix(".partial")
            _write(simulate_chest(seed, number), partial)
            partial.replace(file)
        yield _read(file)


def _write(scan: KnownScan, file: Path) -> None:
    rest = {"name": scan.name, "spacing_mm": scan.spacing_mm, "nodules": [asdict(n) for n in scan.nodules]}
    with file.open("wb") as stream:
        np.savez_compressed(stream, hu=scan.hu, lung=scan.lung, rest=np.array(json.dumps(rest)))


def _read(file: Path) -> KnownScan:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            hu, lung, rest = arrays["hu"], arrays["lung"], json.loads(str(arrays["rest"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DatasetError("a simulated chest of the cache cannot be read", file=file, found=type(error).__name__,
                           next_step="delete the file: it is simulated again") from error
    z_mm, y_mm, x_mm = rest["spacing_mm"]
    nodules = tuple(KnownNodule(tuple(n["centre_zyx"]), n["diameter_mm"], n["hu"]) for n in rest["nodules"])
    return KnownScan(rest["name"], hu, lung, (z_mm, y_mm, x_mm), nodules, nodules, False)


def _find_lung(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    origins_mm = np.zeros((len(hu), 3))
    origins_mm[:, 2] = np.arange(len(hu)) * spacing_mm[0]
    volume = CTVolume(
        hu=hu, origins_mm=origins_mm, row_direction=np.array([1.0, 0.0, 0.0]),
        column_direction=np.array([0.0, 1.0, 0.0]), spacing_mm=spacing_mm, series_instance_uid="phantom",
        study_instance_uid="phantom", sop_instance_uids=tuple(f"phantom:{z}" for z in range(len(hu))),
        frame_numbers=(1,) * len(hu), source_files=("",) * len(hu), slice_thickness_mm=spacing_mm[0],
    )
    return find_lungs(volume).mask


def read_real_scans(data: Path, progress: Progress) -> list[KnownScan]:
    """Every authentic series that is learnt from: those of `LEFT_OUT` and of fewer slices than `LEAST_SLICES` are not.

    The documented nodules of ``nodules.csv`` are learnt as nodules; what `find_nodules` finds is kept out of what is
    learnt as healthy.

    Raises
    ------
    UsageError
        If there is no folder ``authentic``.
    DatasetError
        If there is no such series.
    InputError
        If a series cannot be read.
    """
    table = data / "nodules.csv"
    documented = read_nodules(table) if table.is_file() else ()
    scans = []
    for scan in read_authentic_scans(data / "authentic", progress):
        volume = scan.volume
        if scan.folder in LEFT_OUT or volume.slice_count < LEAST_SLICES or not scan.lungs.any_found:
            continue
        own = place_documented(volume, [n for n in documented if n.folder == scan.folder])
        nodules = tuple(KnownNodule(site.centre, site.diameter_mm, SOLID_HU) for site in own)
        found = tuple(KnownNodule(mass.centre, mass.diameter_mm, SOLID_HU)
                      for mass in find_nodules(volume, scan.lungs))
        scans.append(KnownScan(scan.folder, volume.hu, scan.lungs.mask, volume.spacing_mm, nodules,
                               nodules + found, True))
    if not scans:
        raise DatasetError("no authentic series to learn from", file=data,
                           expected=f"series of {LEAST_SLICES} slices or more, beside those left out")
    return scans
