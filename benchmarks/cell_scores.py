"""What the networks of `leave_cell_out.py` and the detector `repeat` see at the places of a campaign, kept on disk.

Networks run once over each scan; which of them judges a place, how several are averaged and what is added to them is
decided afterwards, in seconds.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import pickle
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import onnxruntime

from verict.datasets.campaigns import CAMPAIGN_FILE, read_document
from verict.datasets.scans import Progress, read_labelled_scans
from verict.detect import registry, repeat
from verict.detect.at_place import REACH_MM
from verict.detect.evidence import ScoreMap
from verict.detect.localiser import MAP_ORIGIN_PX, MAP_STRIDE_PX, average_runs, map_shape, score_with
from verict.detect.spectrum_features import grid_shape
from verict.evaluation.case import Case, Seen
from verict.evaluation.fair import RANKED_ONLY, examine_blind
from verict.evaluation.outline import on_map
from verict.evaluation.places import PlaceTable, tabulate_places
from verict.training.localiser.campaigns import KeptCase, keep_measured
from verict.training.localiser.designs import MapNetwork
from verict.training.localiser.export import write_onnx

SEED = 1  # of the untouched places
AVERAGED, ALONE = 0, 1  # first axis of a network's maps: averaged along z, or each slice by itself
MOVED = round((MAP_ORIGIN_PX - repeat.ORIGIN_PX) / MAP_STRIDE_PX)  # cells from repeat's map to the localiser's


@dataclass(frozen=True, eq=False)
class Change:
    """A painted row: its label, the map's cells of its slice that visibly changed, and in how many pixels."""

    z: int
    y: int
    x: int
    method: str
    touch_up: str
    cells: np.ndarray
    pixels: int


@dataclass(frozen=True, eq=False)
class Scored:
    """A scan of a campaign.

    Parameters
    ----------
    table
        Its places; their scores are not told here.
    spacing_mm
        (y, x).
    slices
        (n,) z of those that hold places.
    shape
        (rows, columns) of the map.
    changes
        Its painted rows.
    maps
        By network: (2, n, rows, columns) log odds, `AVERAGED` and `ALONE`.
    """

    table: PlaceTable
    spacing_mm: tuple[float, float]
    slices: np.ndarray
    shape: tuple[int, int]
    changes: tuple[Change, ...]
    maps: dict[str, np.ndarray]

    def score_places(self, values: np.ndarray) -> np.ndarray:
        """(places,) highest of (n, rows, columns) within reach, as `verict.evaluation.places.score_at` has it."""
        flat = np.append(np.nan_to_num(values, nan=-np.inf).ravel(), -np.inf)
        cells, first = self._reach
        return np.maximum.reduceat(flat[cells], first)

    @cached_property
    def _reach(self) -> tuple[np.ndarray, np.ndarray]:
        """Cells within reach of each place after one another, and where each place's begin; one outside ends each."""
        rows, columns = ((MAP_ORIGIN_PX + np.arange(n) * MAP_STRIDE_PX) * mm
                         for n, mm in zip(self.shape, self.spacing_mm, strict=True))
        whole = len(self.slices) * len(rows) * len(columns)
        found, first = [], [0]
        for z, y, x in zip(np.searchsorted(self.slices, self.table.z), self.table.y_mm, self.table.x_mm, strict=True):
            near = np.flatnonzero(np.hypot(rows[:, None] - y, columns[None] - x) <= REACH_MM)
            found += [z * len(rows) * len(columns) + near, [whole]]
            first.append(first[-1] + len(near) + 1)
        return np.concatenate(found).astype(np.intp), np.array(first[:-1])


def keep_scores(
    campaign: Path, work: Path, networks: Mapping[str, MapNetwork], judges: Callable[[str], list[str]], workers: int,
    progress: Progress,
) -> list[Scored]:
    """Every scan of a campaign as its networks score it; what is kept in ``work`` is read.

    Parameters
    ----------
    campaign, work
        Folder of the campaign, scratch folder.
    networks
        By name.
    judges
        Which of them judge a patient's scans.
    workers, progress
        Processes; told what is done.
    """
    folder = work / f"scores-{_name_of(campaign)}-{_digest(networks)}"
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.onnx" for name in networks}
    for name, network in networks.items():
        if not files[name].is_file():
            write_onnx(network, files[name].with_suffix(".partial"))
            files[name].with_suffix(".partial").replace(files[name])
    missing = [file for file in keep_measured(campaign, work, SEED, workers, progress)
               if not (folder / file.name).is_file()]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        jobs = [pool.submit(_score, file, folder / file.name, files, judges) for file in missing]
        for done, job in enumerate(jobs):
            progress("scoring the campaign", done, len(jobs))
            job.result()
    return [pickle.loads(file.read_bytes()) for file in sorted(folder.glob("*.pickle"))]


def _digest(networks: Mapping[str, MapNetwork]) -> str:
    """16 hexadecimal digits that all weights decide."""
    found = hashlib.sha256()
    for name, network in sorted(networks.items()):
        found.update(name.encode())
        for key, value in network.state_dict().items():
            found.update(key.encode() + value.numpy().tobytes())
    return found.hexdigest()[:16]


def _score(measured: Path, kept: Path, files: Mapping[str, Path], judges: Callable[[str], list[str]]) -> None:
    case: KeptCase = pickle.loads(measured.read_bytes())
    subject = case.subject
    shape = map_shape(grid_shape(*subject.geometry.hu.shape[1:]))
    slices = np.unique([place.z for place in subject.places]).astype(int)
    nothing = np.full((subject.geometry.slice_count, *shape), np.nan, np.float32)
    empty = ScoreMap(nothing, MAP_STRIDE_PX, MAP_ORIGIN_PX)
    table = tabulate_places([Case(subject, empty, RANKED_ONLY, Seen.UNSEEN)])
    changes = tuple(
        Change(p.z, p.y, p.x, p.method, p.touch_up, on_map(p.changed, p.top, p.left, empty), int(p.changed.sum()))
        for p in case.painted
    )
    maps = {}
    for name in judges(subject.patient):
        alone = nothing.copy()
        run = _start(files[name])
        for z, cells in case.cells.items():
            alone[z] = score_with(cells, run)
        maps[name] = np.stack([average_runs(alone, subject.geometry)[slices], alone[slices]])
    scored = Scored(table, tuple(subject.geometry.spacing_mm[1:]), slices, shape, changes, maps)
    kept.with_suffix(".partial").write_bytes(pickle.dumps(scored, protocol=5))
    kept.with_suffix(".partial").replace(kept)


@cache
def _start(file: Path) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda values, mask: session.run(None, {"values": values, "mask": mask})[0]


def keep_repeats(campaign: Path, work: Path, workers: int, progress: Progress) -> list[np.ndarray]:
    """By scan of a campaign: (z, rows, columns) of what `repeat` sees, on the localiser's map; kept in ``work``.

    The detector was fitted to no forgery. 0 where nothing repeats and where it says nothing.
    """
    folder = work / f"repeat-{_name_of(campaign)}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "all").is_file():
        for number, scan in enumerate(read_labelled_scans(campaign, progress)):
            file = folder / f"{number:04d}.npz"
            if not file.is_file():
                shown, _ = examine_blind(registry.create("repeat"), scan.volume, scan.lungs, workers=workers)
                values = np.nan_to_num(shown.values)
                at = np.flatnonzero(values)
                partial = file.with_suffix(".partial.npz")
                np.savez(partial, shape=values.shape, at=at, value=values.ravel()[at])
                partial.replace(file)
        (folder / "all").write_text("")
    return [_read_repeat(file) for file in sorted(folder.glob("[0-9]*[0-9].npz"))]


def _read_repeat(file: Path) -> np.ndarray:
    with np.load(file) as kept:
        z, rows, columns = kept["shape"].tolist()
        values = np.zeros(z * rows * columns, np.float32)
        values[kept["at"]] = kept["value"]
    return values.reshape(z, rows, columns)[:, MOVED:, MOVED:]


def _name_of(campaign: Path) -> str:
    return str(read_document(campaign / CAMPAIGN_FILE)["sha256"][:16])
