"""Scores whole scans with networks that are still being fitted: channels are computed once and kept on disk."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from verict.datasets.scans import Progress, Scan
from verict.detect.localiser import channels_of, map_shape, map_volume, score_with
from verict.detect.spectrum_features import SliceFeatures, grid_shape
from verict.training.localiser.designs import MapNetwork

_SCANS: list[Scan] = []  # of a process that computes channels; inherited


class KeptScans:
    """The channels of every slice with lung of some scans.

    Parameters
    ----------
    scans
        In a fixed order.
    folder
        Where they are kept, one file a scan; for other scans take another folder.
    workers
        Processes.
    """

    def __init__(self, scans: list[Scan], folder: Path, workers: int, progress: Progress) -> None:
        self.scans, self._folder = scans, folder
        folder.mkdir(parents=True, exist_ok=True)
        missing = [i for i in range(len(scans)) if not self._file(i).is_file()]
        if missing:
            _SCANS[:] = scans
            with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
                jobs = [pool.submit(_keep, i, self._file(i)) for i in missing]
                for done, job in enumerate(jobs):
                    progress("measuring scans", done, len(jobs))
                    job.result()

    def cells(self, index: int) -> dict[int, SliceFeatures]:
        """By slice index z: its channels, as float16 on disk."""
        shape = grid_shape(*self.scans[index].volume.hu.shape[1:])
        values = np.load(self._file(index).with_suffix(".values.npy"), mmap_mode="r")
        with np.load(self._file(index)) as kept:
            first, rows, columns, slices = (kept[n] for n in ("first", "rows", "columns", "slices"))
        return {
            int(z): SliceFeatures(shape, rows[a:b], columns[a:b], values[a:b])
            for z, a, b in zip(slices, first[:-1], first[1:], strict=True)
        }

    def score(self, index: int, network: MapNetwork, *, joined: bool = True) -> np.ndarray:
        """(z, rows, columns) map of a scan; averaged along z unless not ``joined``."""
        volume, cells = self.scans[index].volume, self.cells(index)
        nothing = np.full(map_shape(grid_shape(*volume.hu.shape[1:])), np.nan, np.float32)

        def score(z: int) -> np.ndarray:
            return score_cells(cells[z], network) if z in cells else nothing

        if joined:
            return map_volume(volume, score, workers=1)
        return np.stack([score(z) for z in range(volume.slice_count)])

    def _file(self, index: int) -> Path:
        return self._folder / f"scan-{index:04d}.npz"


def score_cells(cells: SliceFeatures, network: MapNetwork) -> np.ndarray:
    """(2 rows, 2 columns) score map of one slice, as `verict.detect.localiser.score_channels` makes it."""

    def run(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(values), torch.from_numpy(mask)).numpy()

    return score_with(cells, run)


def _keep(index: int, file: Path) -> None:
    os.nice(3)
    scan = _SCANS[index]
    slices, first, rows, columns, values = [], [0], [], [], []
    for z in np.flatnonzero(scan.lungs.found):
        cells = channels_of(scan.volume, scan.lungs.mask, int(z))
        if len(cells.rows):
            slices.append(int(z))
            first.append(first[-1] + len(cells.rows))
            rows.append(cells.rows.astype(np.int16))
            columns.append(cells.columns.astype(np.int16))
            values.append(cells.values.astype(np.float16))
    empty = np.empty(0, np.int16)
    partial = file.with_suffix(".values.partial.npy")
    np.save(partial, np.concatenate(values) if values else np.empty((0, 1), np.float16))
    partial.replace(file.with_suffix(".values.npy"))
    partial = file.with_suffix(".partial.npz")
    np.savez(partial, slices=np.array(slices, np.int64), first=np.array(first, np.int64),
             rows=np.concatenate([empty, *rows]), columns=np.concatenate([empty, *columns]))
    partial.replace(file)
