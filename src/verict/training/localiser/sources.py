"""The scans the localiser learns from: authentic ones, untouched parts of the real fakes, simulated chests."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from verict.ct.lungs import LungRegion
from verict.ct.phantom.anatomy import draw_anatomy
from verict.ct.phantom.scanner import acquire
from verict.datasets.scans import Progress, Scan, Source
from verict.errors import InputError
from verict.tamper.donors import cut_donor
from verict.tamper.forgery import Donor, ForgeryKind
from verict.tamper.sites import find_injection_sites, find_removal_sites
from verict.training.phantoms import FOLDER as PHANTOM
from verict.training.phantoms import draw_protocol, to_scan
from verict.training.samples import load_scans

LEAST_SLICES = 12  # of a run, for a forgery in 3D
SLICES = 20, 56  # of a simulated chest: what 60 mm need, within these
DEPTH_MM = 60.0
DONATIONS = 6  # places of healthy lung, and nodules, that a scan gives at most


@dataclass(frozen=True, eq=False)
class Donation:
    """Tissue of a scan, and whose it is."""

    donor: Donor
    patient: str


@dataclass(frozen=True, eq=False)
class Stock:
    """Everything forgeries are made of.

    ``scans`` in a fixed order, ``volumes`` the numbers of those that can be forged in 3D, ``donations`` of these.
    """

    scans: tuple[Scan, ...]
    volumes: tuple[int, ...]
    donations: tuple[Donation, ...]


def simulate_volume(seed: int, number: int) -> Scan:
    """One random patient in one random scanner, in enough neighbouring slices to be forged; reproducible."""
    rng = np.random.default_rng([seed, number])
    protocol = draw_protocol(rng, contiguous=True)
    slices = int(np.clip(np.ceil(DEPTH_MM / protocol.increment_mm), *SLICES))
    anatomy = draw_anatomy(rng, nodules=int(rng.integers(2, 6)))
    return _to_scan(acquire(anatomy, protocol, rng, slices=slices, workers=1), seed, number, None)


def _to_scan(hu: np.ndarray, seed: int, number: int, lungs: LungRegion | None) -> Scan:
    protocol = draw_protocol(np.random.default_rng([seed, number]), contiguous=True)
    return to_scan(hu, protocol, f"{PHANTOM}-volume:{seed}:{number}", number, lungs)


def read_sources(data: Path, chests: int, seed: int, cache: Path, progress: Progress) -> list[Scan]:
    """Every real scan below ``data``, then so many simulated chests; those are kept in ``cache``.

    Raises
    ------
    DatasetError
        If ``data`` lacks the authentic scans or the real fakes.
    """
    scans = load_scans(data, progress)
    cache.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(os.cpu_count() or 1) as pool:
        jobs = [pool.submit(_keep_volume, seed, number, cache) for number in range(chests)]
        for done, job in enumerate(jobs):
            progress("simulating chests", done, chests)
            scans.append(_load_volume(seed, done, job.result()))
    return scans


def _keep_volume(seed: int, number: int, cache: Path) -> Path:
    """Simulate, unless it lies there; written under another name first."""
    file = cache / f"chest-{seed}-{number}.npz"
    if not file.is_file():
        scan = simulate_volume(seed, number)
        partial = file.with_suffix(".partial.npz")
        np.savez(partial, hu=scan.volume.hu, mask=scan.lungs.mask, found=scan.lungs.found)
        partial.replace(file)
    return file


def _load_volume(seed: int, number: int, file: Path) -> Scan:
    with np.load(file) as kept:
        return _to_scan(kept["hu"], seed, number, LungRegion(kept["mask"], kept["found"]))


def gather_stock(scans: Iterable[Scan], seed: int, progress: Progress) -> Stock:
    """Find what can be forged in 3D, and cut the tissue that is spliced."""
    scans = tuple(scans)
    volumes = tuple(
        i for i, scan in enumerate(scans)
        if scan.source is Source.AUTHENTIC
        and scan.lungs.any_found
        and max(run.stop - run.start for run in scan.volume.runs) >= LEAST_SLICES
    )
    donations: list[Donation] = []
    for done, i in enumerate(volumes):
        progress("cutting tissue to splice", done, len(volumes))
        scan, rng = scans[i], np.random.default_rng([seed, i])
        healthy = find_injection_sites(scan.volume, scan.lungs, DONATIONS, rng)
        nodules = find_removal_sites(scan.volume, scan.lungs)[:DONATIONS]
        for kind, sites in ((ForgeryKind.REMOVE, healthy), (ForgeryKind.INJECT, nodules)):
            for site in sites:
                try:
                    donor = cut_donor(scan.volume, scan.lungs, site.centre, kind, diameter_mm=site.diameter_mm,
                                      source=f"scan {i}")
                except InputError:
                    continue
                donations.append(Donation(donor, scan.patient))
    return Stock(scans, volumes, tuple(donations))
