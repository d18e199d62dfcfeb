"""Whether a scan gets the same verdict after re-export, reordering, on other threads and on another CPU.

Run it alone: ``python benchmarks/repeatability.py``. Three neighbouring slices of each authentic series and ten
real fakes are judged as they are, then in each other guise; each line gives the largest difference of any cell of
any score map, of any region's and series' score, and how many series kept verdict, reason and regions.

"another CPU" is played by this one with vector instructions left unused: numpy's runtime dispatch switched off
(NPY_DISABLE_CPU_FEATURES) and OpenBLAS told it runs on an older core. The ONNX runtime chooses its own code by the
CPU it finds; ``--slice FILE`` prints what one file scores, so that the same can be run under an emulated CPU:
``qemu-x86_64 -cpu Nehalem python benchmarks/repeatability.py --slice FILE``.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pydicom
from measuring import SHARED, keep_result
from series import read_slice, write_jpeg_lossless, write_transfer_syntax

from verict.ct.discover import find_series
from verict.ct.lungs import find_lungs
from verict.ct.read import read_series
from verict.detect.spectrum import SpectrumDetector
from verict.detect.verdict import Assessment, assess
from verict.errors import say_count
from verict.evaluation.repeat import compare_results, largest_difference

NEIGHBOURS = 3  # the fewest that are averaged along z
FAKES = 10
OLD_CORE = "Prescott"  # OpenBLAS kernels with SSE3 and nothing newer
SYNTAXES = ("implicit little endian", "explicit big endian", "deflated", "RLE", "JPEG-LS", "JPEG 2000")

Judged = dict[str, tuple[Assessment, np.ndarray]]


def judge(folder: Path, workers: int = 2) -> Judged:
    """Assessment and score map of each series folder below a folder."""
    judged = {}
    for series in sorted(p for p in folder.iterdir() if p.is_dir()):
        volume = read_series(find_series(series).series[0], workers=workers)
        lungs = find_lungs(volume)
        evidence = SpectrumDetector().examine(volume.without_headers(), lungs, workers=workers)
        judged[series.name] = (assess(volume, (evidence,), volume.sop_instance_uids), evidence.score_map.values)
    return judged


def dispatched_features() -> str:
    """The vector instructions numpy chooses at run time on this CPU, as NPY_DISABLE_CPU_FEATURES wants them."""
    core = np._core if hasattr(np, "_core") else np.core
    found = core._multiarray_umath
    return " ".join(f for f in found.__cpu_dispatch__ if found.__cpu_features__.get(f))


def judge_elsewhere(folder: Path, environment: dict[str, str]) -> Judged:
    """As `judge`, in a fresh process with other environment variables."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(judge, folder).result()
    finally:
        os.environ.clear()
        os.environ.update(before)


def copy_slices(folder: Path) -> None:
    """The chosen slices, uncompressed and otherwise untouched, one folder a series."""
    for source in sorted((SHARED / "data" / "authentic").iterdir()):
        slices = sorted(source.glob("*.dcm"))
        if source.name == "tcga-singles" or len(slices) < NEIGHBOURS:
            continue
        start = len(slices) // 2 if len(slices) // 2 + NEIGHBOURS <= len(slices) else 0
        for path in slices[start : start + NEIGHBOURS]:
            _save(path, folder / source.name / path.name)
    fakes = sorted((SHARED / "data" / "ctgan").rglob("*.dcm"))
    for path in fakes[:: max(1, len(fakes) // FAKES)][:FAKES]:
        _save(path, folder / f"fake-{path.parent.name}-{path.stem}" / path.name)


def _save(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if pydicom.dcmread(source, stop_before_pixels=True).file_meta.TransferSyntaxUID.is_compressed:
        read_slice(source).save_as(target)
    else:
        shutil.copy(source, target)


def rewrite_all(source: Path, target: Path, write: Callable[[Path, Path], object]) -> Path:
    """Each series folder written anew."""
    target.mkdir()
    for series in sorted(source.iterdir()):
        write(series, target / series.name)
    return target


def shuffle_names(series: Path, target: Path) -> None:
    """Copies under names whose order says nothing, in folders of their own."""
    files = sorted(series.glob("*.dcm"))
    random.Random(0).shuffle(files)
    for number, file in enumerate(reversed(files)):
        inner = target / f"part{number}"
        inner.mkdir(parents=True)
        shutil.copy(file, inner / f"IM{number:05d}")


def guises(root: Path) -> Iterator[tuple[str, Judged]]:
    """The slices below ``root / "plain"``, judged in each other guise."""
    plain = root / "plain"
    yield "again", judge(plain)
    for number, syntax in enumerate(SYNTAXES):
        write = partial(write_transfer_syntax, name=syntax)
        yield syntax, judge(rewrite_all(plain, root / f"syntax{number}", write))
    if shutil.which("dcmcjpeg") and find_spec("imagecodecs"):  # else nobody here can write it, or read it
        yield "JPEG lossless by dcmcjpeg", judge(rewrite_all(plain, root / "lossless", write_jpeg_lossless))
    yield "shuffled names and folders", judge(rewrite_all(plain, root / "names", shuffle_names))
    for workers in (1, 4):
        yield say_count(workers, "worker"), judge(plain, workers)
    no_dispatch, old_core = {"NPY_DISABLE_CPU_FEATURES": dispatched_features()}, {"OPENBLAS_CORETYPE": OLD_CORE}
    yield "numpy without run-time dispatch", judge_elsewhere(plain, no_dispatch)
    yield f"OpenBLAS as on {OLD_CORE}", judge_elsewhere(plain, old_core)
    yield "both", judge_elsewhere(plain, no_dispatch | old_core)


def compare(plain: Judged, other: Judged) -> dict[str, float | int]:
    """How far another guise is from the plain one."""
    found = [compare_results(plain[k][0], other[k][0]) for k in plain]
    return {
        "maps_differ_by": max(largest_difference(plain[k][1], other[k][1]) for k in plain),
        "scores_differ_by": max(f.score_difference for f in found),
        "same": sum(f.is_same for f in found),
        "series": len(found),
    }


def score_file(path: Path) -> None:
    """Print what one file scores: for runs under an emulated CPU."""
    volume = read_series(find_series(path).series[0], workers=1)
    evidence = SpectrumDetector().examine(volume.without_headers(), find_lungs(volume), workers=1)
    outcome = assess(volume, (evidence,), volume.sop_instance_uids)
    values = evidence.score_map.values
    regions = [(r.bounds, round(r.score, 6)) for r in outcome.regions]
    print(f"{outcome.verdict}; score {outcome.score!r}; sum {np.nansum(values, dtype=np.float64)!r}; {regions}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--slice", type=Path, help="print the scores of one file and stop")
    chosen = parser.parse_args().slice
    if chosen:
        score_file(chosen)
        return
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        copy_slices(root / "plain")
        plain = judge(root / "plain")
        verdicts = [str(outcome.verdict) for outcome, _ in plain.values()]
        print(f"{len(plain)} series: " + ", ".join(f"{verdicts.count(v)} {v}" for v in sorted(set(verdicts))))
        print("| guise | maps differ by | scores differ by | same verdict and regions |\n|---|---|---|---|", flush=True)
        figures = {}
        for guise, other in guises(root):
            figures[guise] = found = compare(plain, other)
            in_maps, in_scores = (f"{found[key]:.2g}" for key in ("maps_differ_by", "scores_differ_by"))
            print(f"| {guise} | {in_maps} | {in_scores} | {found['same']} of {found['series']} |", flush=True)
    print("kept in", keep_result("repeatability", {"neighbours": NEIGHBOURS, "fakes": FAKES}, figures).name)


if __name__ == "__main__":
    main()
