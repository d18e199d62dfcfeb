"""Simulated chests in simulated scanners, drawn at random, as scans to learn from: no patient, any scanner."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from verict.ct.lungs import LungRegion, find_lungs
from verict.ct.phantom.anatomy import draw_anatomy
from verict.ct.phantom.kernels import KernelShape
from verict.ct.phantom.scanner import Protocol, acquire
from verict.ct.volume import CTVolume
from verict.datasets.scans import Progress, Scan, Source
from verict.datasets.splits import Scanner

FOLDER = "phantom"
THICKNESSES_MM = (0.6, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 5.0, 8.0)  # what scanners offer for the chest
SPREAD = 6, 36.0  # slices and their distance in mm: a sample of the whole lung from few slices
CONTIGUOUS = 24  # slices of every `LONG_EVERY`th scan, which lie side by side
LONG_EVERY = 8


def draw_any_kernel(rng: np.random.Generator) -> KernelShape:
    """A kernel from the whole range of clinical ones.

    Not one near `MEASURED_KERNELS`, those of the authentic series: a model that is judged on a scanner it never saw
    must not have seen its kernel either.
    """
    return KernelShape(
        cutoff_per_mm=float(rng.uniform(0.6, 1.3)),
        sharpness=float(rng.uniform(1.0, 5.0)),
        blur_mm=float(rng.uniform(0.0, 0.55)),
        edge_gain=float(rng.uniform(0.0, 2.0)),
        edge_skew=float(rng.uniform(1.0, 4.0)),
    )


def draw_protocol(rng: np.random.Generator, *, contiguous: bool) -> Protocol:
    """A protocol at random: kernel, dose, thickness, pixel size; contiguous slices overlap in one of three scans."""
    thickness_mm = float(rng.choice(THICKNESSES_MM))
    overlap = float(rng.choice([1.0, 1.0, 0.5]))
    return Protocol(
        kernel=draw_any_kernel(rng),
        dose=float(np.exp(rng.uniform(np.log(0.15), np.log(2.5)))),
        thickness_mm=thickness_mm,
        increment_mm=thickness_mm * overlap if contiguous else SPREAD[1],
        pixel_mm=float(rng.uniform(0.53, 0.96)),  # the range of the published fakes
        beam_hardening=bool(rng.random() < 0.5),
    )


def simulate_scan(seed: int, number: int) -> Scan:
    """One random patient in one random scanner; the same seed and number give the same scan."""
    rng = np.random.default_rng([seed, number])
    contiguous = number % LONG_EVERY == 0
    protocol = draw_protocol(rng, contiguous=contiguous)
    anatomy = draw_anatomy(rng, nodules=int(rng.integers(0, 6)))
    slices = CONTIGUOUS if contiguous else SPREAD[0]
    hu = acquire(anatomy, protocol, rng, slices=slices, workers=1)
    return to_scan(hu, protocol, f"{FOLDER}:{seed}:{number}", number)


def to_scan(
    hu: np.ndarray, protocol: Protocol, name: str, number: int, lungs: LungRegion | None = None
) -> Scan:
    """A simulated (z, y, x) HU as a scan of a patient of that name; the lungs are found where they are not given."""
    slices = len(hu)
    origins_mm = np.zeros((slices, 3))
    origins_mm[:, 2] = (np.arange(slices) - (slices - 1) / 2) * protocol.increment_mm
    volume = CTVolume(
        hu=hu,
        origins_mm=origins_mm,
        row_direction=np.array([1.0, 0.0, 0.0]),
        column_direction=np.array([0.0, 1.0, 0.0]),
        spacing_mm=(protocol.increment_mm, protocol.pixel_mm, protocol.pixel_mm),
        series_instance_uid=name,
        study_instance_uid=name,
        sop_instance_uids=tuple(f"{name}:{z}" for z in range(slices)),
        frame_numbers=(1,) * slices,
        source_files=("",) * slices,
        slice_thickness_mm=protocol.thickness_mm,
    )
    return Scan(Source.AUTHENTIC, FOLDER, name, Scanner("simulated", str(number)), volume,
                find_lungs(volume) if lungs is None else lungs, tuple(range(slices)))


def simulate_scans(count: int, seed: int, progress: Progress) -> Iterator[Scan]:
    """That many scans of different patients by different scanners."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for done, scan in enumerate(pool.map(lambda number: simulate_scan(seed, number), range(count))):
            progress("simulating scans", done, count)
            yield scan
