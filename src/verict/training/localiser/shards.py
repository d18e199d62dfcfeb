"""The bank on disk: examples by shards, made by processes of their own while the first network is fitted already."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from verict.training.localiser.bank import CROP_PX, Example, Maker, Tags

NUMBERS_A_SHARD = 40

_MAKERS: list[Maker] = []  # the one of a process that makes shards; inherited, so that the scans are in memory once


@dataclass(frozen=True, eq=False)
class Shard:
    """Examples read back: ``values`` stays on disk until it is asked for.

    ``first`` (n + 1,) is where each example's cells begin; ``rows``, ``columns`` (cells,), ``labels`` (cells, 4);
    ``values`` (cells, channels) float16; ``pixels`` (n, `CROP_PX`, `CROP_PX`) int16; ``noise_hu`` (n,).
    """

    tags: tuple[Tags, ...]
    first: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    labels: np.ndarray
    noise_hu: np.ndarray
    values: np.ndarray
    pixels: np.ndarray


class Bank:
    """Shards of one seed in a folder; those that are missing are made in the background, in order.

    Parameters
    ----------
    maker
        Makes the examples.
    folder
        Where shards lie; those of other seeds or settings must lie elsewhere.
    count
        How many shards, beside the one of the real fakes.
    workers
        Processes; 0 makes shards when they are asked for.
    """

    def __init__(self, maker: Maker, folder: Path, count: int, workers: int) -> None:
        self.folder, self.count, self.waited_s = folder, count, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        self._maker = maker
        self._jobs: dict[int, Future] = {}
        self._pool: ProcessPoolExecutor | None = None
        missing = [i for i in range(-1, count) if not self._file(i).is_file()]
        if workers and missing:
            _MAKERS[:] = [maker]
            self._pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork"),
                                             initializer=os.nice, initargs=(5,))
            self._jobs = {i: self._pool.submit(_make_in_process, i, self._file(i)) for i in missing}

    def __enter__(self) -> Bank:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def is_there(self, index: int) -> bool:
        """Whether a shard need not be waited for."""
        return self._file(index).is_file()

    def read(self, index: int) -> Shard:
        """A shard, waited for if it is not there yet; -1 is that of the real fakes."""
        start = time.perf_counter()
        if index in self._jobs:
            self._jobs.pop(index).result()
        elif not self._file(index).is_file():
            write_shard(_make(self._maker, index), self._file(index))
        self.waited_s += time.perf_counter() - start
        return read_shard(self._file(index))

    def read_all(self) -> Iterator[Shard]:
        """That of the real fakes first, then all others."""
        for index in range(-1, self.count):
            yield self.read(index)

    def _file(self, index: int) -> Path:
        return self.folder / (f"shard-{index:04d}.npz" if index >= 0 else "real-fakes.npz")


def is_complete(folder: Path, count: int) -> bool:
    """Whether so many shards lie in a folder, beside the one of the real fakes."""
    names = ("real-fakes.npz", *(f"shard-{index:04d}.npz" for index in range(count)))
    return all((folder / name).is_file() for name in names)


def _make(maker: Maker, index: int) -> list[Example]:
    if index < 0:
        return maker.label_real_fakes() if maker.real else []
    numbers = range(index * NUMBERS_A_SHARD, (index + 1) * NUMBERS_A_SHARD)
    return [example for number in numbers for example in maker.make(number)]


def _make_in_process(index: int, file: Path) -> None:
    write_shard(_make(_MAKERS[0], index), file)


def write_shard(examples: Sequence[Example], file: Path) -> None:
    """Write examples; a killed writer leaves nothing that looks like a shard."""
    channels = examples[0].values.shape[1] if examples else 0
    counts = [len(e.rows) for e in examples]
    values = np.concatenate([e.values for e in examples]) if examples else np.empty((0, channels), np.float32)
    arrays = {
        "tags": np.array(json.dumps([asdict(e.tags) for e in examples])),
        "first": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "rows": np.concatenate([e.rows for e in examples]) if examples else np.empty(0, np.int8),
        "columns": np.concatenate([e.columns for e in examples]) if examples else np.empty(0, np.int8),
        "labels": np.concatenate([e.labels for e in examples]) if examples else np.empty((0, 4), np.int8),
        "noise_hu": np.array([e.noise_hu for e in examples], np.float32),
    }
    heavy = {
        "values": values.astype(np.float16),
        "pixels": np.stack([e.pixels for e in examples]) if examples else np.empty((0, CROP_PX, CROP_PX), np.int16),
    }
    for name, array in heavy.items():
        partial = file.with_suffix(f".{name}.partial.npy")
        np.save(partial, array)
        partial.replace(file.with_suffix(f".{name}.npy"))
    partial = file.with_suffix(".partial.npz")
    np.savez(partial, **arrays)
    partial.replace(file)  # last: its presence says that all of it is there


def read_shard(file: Path) -> Shard:
    """What `write_shard` wrote."""
    with np.load(file) as kept:
        small = {name: kept[name] for name in kept.files}
    tags = tuple(
        Tags(**{k: tuple(v) if isinstance(v, list) else v for k, v in one.items()})
        for one in json.loads(str(small.pop("tags")))
    )
    values, pixels = (np.load(file.with_suffix(f".{name}.npy"), mmap_mode="r") for name in ("values", "pixels"))
    return Shard(tags, **small, values=values, pixels=pixels)
