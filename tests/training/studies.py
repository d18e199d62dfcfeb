"""A small part of the real data in its own layout, and samples built by hand, for the tests of training."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
from detect.volumes import make_lungs, make_volume

from verict.datasets.scans import Label, Scan, Source
from verict.datasets.splits import Scanner
from verict.detect.spectrum_features import SliceFeatures, grid_shape
from verict.training.samples import AUTHENTIC, REAL_FAKES, Place, Sample

SERIES = {
    "cmbcrc-ge-LUNG": range(50, 54),
    "lidc-0314-philips-D": range(130, 134),
    "petctdx-siemens-B70f": range(14, 18),
    "petctdx-siemens-B40f": range(14, 16),  # the same patient as B70f
    "tcga-singles": range(1, 52, 5),
}
FAKES = 6
LABELS = "labels_exp1.csv"
SIZE = (64, 64)


def copy_small_study(data: Path, folder: Path) -> Path:
    """A few slices of most scanners and a few real fakes, as links or copies in the same layout."""
    for name, numbers in SERIES.items():
        (folder / "authentic" / name).mkdir(parents=True)
        for number in numbers:
            file = f"{number:03d}.dcm"
            shutil.copy(data / "authentic" / name / file, folder / "authentic" / name / file)
    source, target = (root / "ctgan" / "Tampered Scans" for root in (data, folder))
    target.mkdir(parents=True)
    with (source / LABELS).open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    kinds = [next(r for r in rows if r["type"] == kind) for kind in ("FM", "FB")]
    uuids = list(dict.fromkeys([*(r["uuid"] for r in kinds), *(r["uuid"] for r in rows[::9])]))[:FAKES]
    with (target / LABELS).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(r for r in rows if r["uuid"] in uuids)
    for uuid in uuids:
        below = Path("Experiment 1 - Blind") / uuid
        shutil.copytree(source / below, target / below)
    return folder


def labels_of(folder: Path) -> list[dict[str, str]]:
    """The label rows of a small study, read without verict."""
    with (folder / "ctgan" / "Tampered Scans" / LABELS).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def make_sample(
    patient: str,
    scanner: Scanner,
    *,
    number: float = 0.0,
    source: str = AUTHENTIC,
    folder: str = "folder",
    z: int = 0,
    painted_mm: np.ndarray | None = None,
    touch_up: str = "",
    places: tuple[Place, ...] = (),
    shape: tuple[int, int] | None = None,
) -> Sample:
    """A sample with a window in every cell: features are (number, the window's distance to paint)."""
    shape = shape or grid_shape(*SIZE)
    rows, columns = (a.ravel() for a in np.indices(shape))
    painted_mm = np.full(len(rows), np.inf) if painted_mm is None else painted_mm
    values = np.stack([np.full(len(rows), number), np.minimum(painted_mm, 1e6)], axis=1).astype(np.float32)
    return Sample(
        source=source,
        folder=folder,
        patient=patient,
        scanner=scanner,
        series=f"1.2.{patient}",
        z=z,
        spacing_mm=(0.7, 0.7),
        features=SliceFeatures(shape, rows, columns, values),
        painted_mm=painted_mm,
        places=places,
        touch_up=touch_up,
    )


def make_scan(
    patient: str,
    scanner: Scanner,
    *,
    slices: int = 1,
    folder: str = "folder",
    labels: dict[int, tuple[Label, ...]] | None = None,
) -> Scan:
    """The scan that `make_sample`'s samples of that patient come from; a labelled one if it has labels."""
    volume = make_volume(np.arange(slices) * 1.0, size=SIZE, thickness_mm=1.0)
    object.__setattr__(volume, "series_instance_uid", f"1.2.{patient}")
    lungs = make_lungs(np.ones(volume.hu.shape, bool))
    if labels is None:
        return Scan(Source.AUTHENTIC, folder, patient, scanner, volume, lungs)
    spacing = np.array(volume.spacing_mm[1:])
    avoid = {z: np.array([(n.y, n.x) for n in near]) * spacing for z, near in labels.items()}
    return Scan(Source.LABELLED, folder, patient, scanner, volume, lungs, tuple(range(slices)), labels, avoid)


__all__ = ["AUTHENTIC", "REAL_FAKES", "copy_small_study", "labels_of", "make_sample", "make_scan"]
