"""A small stock to forge: slices of one real series, a single slice, and a real fake."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from verict.ct.lungs import LungRegion
from verict.datasets.scans import Scan, read_authentic_scans, read_labelled_scans
from verict.training.localiser.sources import Stock, gather_stock
from verict.training.samples import REAL_FAKES

SLICES = 24
SEED = 5


def quiet(*_: object) -> None:
    """No progress."""


@cache
def make_stock(data: Path) -> Stock:
    """One series of 24 slices of GE LUNG, one of Siemens B40f, a lone slice of the former, and the first real fake."""
    ge = next(iter(read_authentic_scans(data / "authentic" / "cmbcrc-ge-LUNG", quiet)))
    siemens = next(iter(read_authentic_scans(data / "authentic" / "petctdx-siemens-B40f", quiet)))
    fake = replace(next(iter(read_labelled_scans(data / "ctgan", quiet))), folder=REAL_FAKES)
    lone = replace(cut(ge, slice(60, 61)), patient="someone else", folder="tcga-singles")
    scans = [replace(cut(ge, slice(40, 40 + SLICES)), folder="ge"), replace(siemens, folder="siemens"), lone, fake]
    return gather_stock(scans, SEED, quiet)


def cut(scan: Scan, kept: slice) -> Scan:
    """Some slices of a scan."""
    volume = scan.volume
    part = {
        name: getattr(volume, name)[kept]
        for name in ("hu", "origins_mm", "sop_instance_uids", "frame_numbers", "source_files", "headers")
    }
    numbers = tuple(np.arange(len(part["hu"])))
    lungs = LungRegion(scan.lungs.mask[kept], scan.lungs.found[kept])
    return replace(scan, volume=replace(volume, **part), lungs=lungs, numbers=numbers)
