"""Every scan there is to learn from, with what is known of its nodules."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from verict.datasets.campaigns import CAMPAIGN_FILE, read_document
from verict.datasets.scans import Progress, Scan, read_authentic_scans, read_labelled_scans
from verict.datasets.uci import SiteType
from verict.errors import DatasetError
from verict.evaluation.structures import measure_structure
from verict.training.nodule.chests import Truth, simulate
from verict.training.nodule.examples import Known

ANNOTATIONS = Path(__file__).parent / "annotations.csv"
AUTHENTIC, FAKES, CAMPAIGN, CHESTS = "authentic", "fakes", "campaign", "chests"
USUAL_MM = 12.0  # of a painted nodule whose edge cannot be measured
SHOWS_NODULE = (SiteType.TM, SiteType.FM)


def read_annotations(file: Path = ANNOTATIONS) -> dict[str, list[dict[str, str]]]:
    """The rows of the table by folder; its columns are told in docs/nodule.md.

    Raises
    ------
    DatasetError
        If it is missing or lacks a column.
    """
    try:
        with file.open(encoding="utf-8", newline="") as text:
            rows = list(csv.DictReader(text))
    except OSError as error:
        raise DatasetError("the annotations cannot be read", file=file, found=error) from error
    by_folder: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_folder.setdefault(row["folder"], []).append(row)
    return by_folder


def gather_authentic(data: Path, progress: Progress) -> Iterator[Known]:
    """The authentic series and slices, with the nodules annotated in them; nothing else in them is one."""
    rows = read_annotations()
    for scan in read_authentic_scans(data / "authentic", progress):
        truths = [t for row in rows.get(scan.folder, ()) if (t := _to_truth(row, scan)) is not None]
        yield Known(scan, tuple(truths), what=AUTHENTIC)


def _to_truth(row: dict[str, str], scan: Scan) -> Truth | None:
    """A row of the annotations in this scan; of lone slices only those of this file."""
    files = [Path(name).name for name in scan.volume.source_files]
    if Path(row["file"]).name not in files:
        return None
    z = files.index(Path(row["file"]).name)
    middle = float(z)
    if scan.volume.slice_count > 1 and row["z_min"] and row["z_max"]:
        ends = [scan.numbers.index(int(row[n])) for n in ("z_min", "z_max") if int(row[n]) in scan.numbers]
        middle = float(np.mean(ends)) if len(ends) == 2 else middle
    return Truth((middle, float(row["y"]), float(row["x"])), float(row["long_mm"]), row["kind"],
                 is_sure=row["kind"] != "uncertain")


def gather_fakes(data: Path, progress: Progress) -> Iterator[Known]:
    """The published fakes: injected cancers are nodules, what stands where one was removed is none."""
    for scan in read_labelled_scans(data / "ctgan", progress):
        truths, clear = [], []
        for z, labels in scan.labels.items():
            for label in labels:
                if label.kind in SHOWS_NODULE:
                    found = measure_structure(scan.volume.hu[z], scan.volume.spacing_mm[1:], label.y, label.x)
                    size = found.diameter_mm if np.isfinite(found.diameter_mm) else USUAL_MM
                    truths.append(Truth((float(z), float(label.y), float(label.x)), max(size, 5.0), str(label.kind)))
                else:
                    clear.append((float(z), float(label.y), float(label.x)))
        yield Known(scan, tuple(truths), tuple(clear), what=FAKES)


def gather_campaign(campaign: Path, progress: Progress) -> Iterator[Known]:
    """Scans of a campaign: its rows and nothing else, since what else its sources hold is not listed."""
    rows = {str(scan["uuid"]): scan["rows"] for scan in read_document(campaign / CAMPAIGN_FILE)["scans"]}
    for scan in read_labelled_scans(campaign, progress):
        own = rows.get(scan.folder, [])
        truths = [Truth(tuple(map(float, r["voxel_zyx"])), float(r["diameter_mm"] or USUAL_MM), r["type"])
                  for r in own if r["type"] in SHOWS_NODULE]
        clear = [tuple(map(float, r["voxel_zyx"])) for r in own if r["type"] not in SHOWS_NODULE]
        yield Known(scan, tuple(truths), tuple(clear), only_listed=True, what=CAMPAIGN)


def gather_chests(count: int, seed: int, keep: Path, progress: Progress) -> Iterator[Known]:
    """Simulated chests, of which everything is known."""
    for number in range(count):
        progress("simulating chests", number, count)
        scan, truths = simulate(seed, number, keep)
        yield Known(scan, tuple(truths), what=CHESTS)
