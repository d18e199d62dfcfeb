"""Slices of a collection that hold places, with the lungs' mask and what the ruler knows: read once, kept on disk."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from verict.datasets.campaigns import CAMPAIGN_FILE, read_document
from verict.datasets.scans import Progress, Scan, read_authentic_scans, read_labelled_scans
from verict.evaluation.case import Subject
from verict.evaluation.subjects import make_subject

SEED = 1  # of the untouched places


@dataclass(frozen=True, eq=False)
class KeptSlices:
    """A scan: its places, and (y, x) int16 HU and bool lung mask by the index z of each slice that holds one."""

    subject: Subject
    slices: dict[int, tuple[np.ndarray, np.ndarray]]


def keep_files(folder: Path, work: Path, progress: Progress) -> list[Path]:
    """A file in ``work`` with the `KeptSlices` of each scan, in a fixed order; a killed run goes on.

    ``folder`` is a campaign's, that of the published fakes, or one of authentic scans.
    """
    is_campaign = (folder / CAMPAIGN_FILE).is_file()
    is_labelled = is_campaign or any(folder.rglob("labels_exp*.csv"))
    name = read_document(folder / CAMPAIGN_FILE)["sha256"][:16] if is_campaign else folder.name
    kept = work / f"slices-{name}"
    kept.mkdir(parents=True, exist_ok=True)
    if not (kept / "all").is_file():
        scans = read_labelled_scans(folder, progress) if is_labelled else read_authentic_scans(folder, progress)
        for number, scan in enumerate(scans):
            file = kept / f"{number:04d}.pickle"
            if not file.is_file():
                file.with_suffix(".partial").write_bytes(pickle.dumps(_keep(scan), protocol=5))
                file.with_suffix(".partial").replace(file)
        (kept / "all").write_text("")
    return sorted(kept.glob("*.pickle"))


def _keep(scan: Scan) -> KeptSlices:
    subject = make_subject(scan, SEED)
    one_pixel = np.zeros((subject.geometry.slice_count, 1, 1), np.int16)  # a placeholder of full size would be written
    subject = replace(subject, geometry=replace(subject.geometry, hu=one_pixel))
    chosen = sorted({place.z for place in subject.places})
    return KeptSlices(subject, {z: (scan.volume.hu[z].copy(), scan.lungs.mask[z].copy()) for z in chosen})
