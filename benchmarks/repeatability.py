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
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pydicom
from measuring import SHARED
from series import read_slice, write_jpeg_lossless, write_transfer_syntax

from verict.ct.discover import find_series
from verict.ct.lungs import find_lungs
from verict.ct.read import read_series
from verict.detect.spectrum import SpectrumDetector
from verict.detect.verdict import Assessment, assess
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


def report(name: str, plain: Judged, other: Judged) -> None:
    """One line: how far the other guise is from the plain one."""
    found = [compare_results(plain[k][0], other[k][0]) for k in plain]
    in_maps = max(largest_difference(plain[k][1], other[k][1]) for k in plain)
    in_scores = max(f.score_difference for f in found)
    same = sum(f.is_same for f in found)
    print(f"| {name} | {in_maps:.2g} | {in_scores:.2g} | {same} of {len(found)} |", flush=True)


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
        report("again", plain, judge(root / "plain"))
        for number, syntax in enumerate(SYNTAXES):
            write = partial(write_transfer_syntax, name=syntax)
            report(syntax, plain, judge(rewrite_all(root / "plain", root / f"syntax{number}", write)))
        if shutil.which("dcmcjpeg") and find_spec("imagecodecs"):  # else nobody here can write it, or read it
            folder = rewrite_all(root / "plain", root / "lossless", write_jpeg_lossless)
            report("JPEG lossless by dcmcjpeg", plain, judge(folder))
        report("shuffled names and folders", plain, judge(rewrite_all(root / "plain", root / "names", shuffle_names)))
        for workers in (1, 4):
            report(f"{workers} workers", plain, judge(root / "plain", workers))
        others = {"NPY_DISABLE_CPU_FEATURES": dispatched_features(), "OPENBLAS_CORETYPE": OLD_CORE}
        report("numpy without run-time dispatch", plain, judge_elsewhere(
            root / "plain", {"NPY_DISABLE_CPU_FEATURES": others["NPY_DISABLE_CPU_FEATURES"]}))
        report(f"OpenBLAS as on {OLD_CORE}", plain, judge_elsewhere(root / "plain", {"OPENBLAS_CORETYPE": OLD_CORE}))
        report("both", plain, judge_elsewhere(root / "plain", others))


if __name__ == "__main__":
    sys.exit(main())
