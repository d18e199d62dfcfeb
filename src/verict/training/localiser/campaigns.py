"""Campaigns of the lab as networks are judged on them: slices around each labelled one, and what changed there."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from verict.datasets.campaigns import CAMPAIGN_FILE, CASES_FOLDER, read_document
from verict.datasets.scans import Progress, Scan, read_labelled_scans
from verict.detect.localiser import average_runs, channels_of, coarse_step, map_shape
from verict.detect.spectrum_features import SliceFeatures, grid_shape
from verict.evaluation.case import Subject
from verict.evaluation.subjects import make_subject
from verict.tamper.visible_change import noise_of, visible_change
from verict.training.localiser.bank import WHOLE_SLICE
from verict.training.localiser.designs import MapNetwork
from verict.training.localiser.scoring import score_cells

REACH_MM = 10.0  # slices so far from a labelled one count in its average along z


@dataclass(frozen=True, eq=False)
class Painted:
    """A painted row: where it is, and which pixels of its slice visibly changed, from (``top``, ``left``) on."""

    z: int
    y: int
    x: int
    method: str
    touch_up: str
    top: int
    left: int
    changed: np.ndarray


@dataclass(frozen=True, eq=False)
class KeptCase:
    """A scan of a campaign: what the ruler knows of it, and the channels of its slices around labelled ones."""

    subject: Subject
    painted: tuple[Painted, ...]
    cells: dict[int, SliceFeatures]

    def score(self, network: MapNetwork, *, joined: bool = True) -> np.ndarray:
        """(z, rows, columns) map, NaN on slices that are not kept; averaged along z unless not ``joined``."""
        shape = map_shape(grid_shape(*self.subject.geometry.hu.shape[1:]))
        values = np.full((self.subject.geometry.slice_count, *shape), np.nan, np.float32)
        for z, cells in self.cells.items():
            values[z] = score_cells(cells, network)
        return average_runs(values, self.subject.geometry) if joined else values


def keep_campaign(folder: Path, cache: Path, seed: int, workers: int, progress: Progress) -> Iterator[KeptCase]:
    """Every scan of a campaign, one at a time; measured once and kept in ``cache``, by the campaign's own name."""
    for file in keep_measured(folder, cache, seed, workers, progress):
        yield pickle.loads(file.read_bytes())


def keep_measured(folder: Path, cache: Path, seed: int, workers: int, progress: Progress) -> list[Path]:
    """The files in ``cache`` that hold a `KeptCase` each, in the order of the scans."""
    document = read_document(folder / CAMPAIGN_FILE)
    kept = cache / f"campaign-{document['sha256'][:16]}-{seed}"
    done = kept / "all"
    if not done.is_file():
        kept.mkdir(parents=True, exist_ok=True)
        records = _read_records(folder)
        for number, scan in enumerate(read_labelled_scans(folder, progress)):
            file = kept / f"{number:04d}.pickle"
            if not file.is_file():
                case = _measure(scan, records.get(scan.folder, ()), seed, workers)
                file.with_suffix(".partial").write_bytes(pickle.dumps(case, protocol=5))
                file.with_suffix(".partial").replace(file)
        done.write_text(document["sha256"], encoding="utf-8")
    return sorted(kept.glob("*.pickle"))


def _read_records(folder: Path) -> dict[str, list[tuple[dict, Path]]]:
    """By uuid: the record of each painted row, and its pixels."""
    found: dict[str, list[tuple[dict, Path]]] = {}
    for file in sorted((folder / CASES_FOLDER).glob("*.json")):
        found.setdefault(file.stem.rsplit("-", 1)[0], []).append(
            (json.loads(file.read_text(encoding="utf-8")), file.with_suffix(".npz"))
        )
    return found


def _measure(scan: Scan, records: Sequence[tuple[dict, Path]], seed: int, workers: int) -> KeptCase:
    subject = make_subject(scan, seed)
    wanted: set[int] = set()
    for z in {place.z for place in subject.places}:
        run = next(r for r in scan.volume.runs if r.start <= z < r.stop)
        step = coarse_step(scan.volume, run)
        reach = int(REACH_MM / max(scan.volume.spacing_mm[0], 1e-3)) // step
        wanted |= {n for n in range(z - reach * step, z + reach * step + 1, step) if run.start <= n < run.stop}
    chosen = sorted(z for z in wanted if scan.lungs.found[z])
    with ThreadPoolExecutor(workers) as pool:
        cells = list(pool.map(lambda z: channels_of(scan.volume, scan.lungs.mask, z), chosen))
    kept = {
        z: SliceFeatures(c.shape, c.rows.astype(np.int16), c.columns.astype(np.int16), c.values.astype(np.float16))
        for z, c in zip(chosen, cells, strict=True)
    }
    painted = tuple(p for record, file in records if (p := _find_painted(scan, record, file)) is not None)
    return KeptCase(subject, painted, kept)


def _find_painted(scan: Scan, record: dict, file: Path) -> Painted | None:
    forgery = record["forgery"]
    z, y, x = (int(v) for v in forgery["centre_voxel_zyx"])
    with np.load(file) as case:
        before, after, box = case["before"], case["after"], case["box"]
    (z0, _), (y0, _), (x0, _) = np.reshape(box, (3, 2))[:, :2]
    before, after = before[z - z0], after[z - z0]
    noise = noise_of(scan.volume.hu[z], scan.lungs.mask[z])
    changed = visible_change(before, after, noise)
    if forgery["touch_up"] in WHOLE_SLICE:
        (top, bottom), (left, right) = forgery["painted_box"][1:]
        inside = np.zeros_like(changed)
        inside[top - y0 : bottom + 1 - y0, left - x0 : right + 1 - x0] = True
        changed &= inside
    return Painted(z, y, x, forgery["method"], forgery["touch_up"], int(y0), int(x0), changed)
