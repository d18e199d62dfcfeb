"""Time of `verict scan` beside that of two published networks over the same slices, in the same run.

Run from the project folder, alone on the machine; needs the extra `train` (torch). About ten minutes on two cores.

    python benchmarks/scan_against_networks.py --write docs/speed.md

In turn, each in a process of its own, the median of the repeats counting:

- reading the pixels alone (reading_alone.py);
- the whole command `verict scan`, start of Python and imports included, with its default detectors, and with every
  detector of the registry where that is more;
- a dense sweep of Back-in-Time's network: one forward pass for each crop of 96 x 96 pixels, every 24 pixels, whose
  centre lies in the lung region; every crop is counted, a sample of them timed;
- lungmask's R231 on each slice, in batches of 20 as it does by itself and one by one; a sample of the slices is timed.

Both networks have random weights and are timed in their forward pass only: start, reading, cutting, scaling and
whatever follows are left out, and of several batch sizes the fastest counts, so the ratios err against verict. On one
thread CPU time stands beside wall time, for it changes less where other work shares the cores; on several, torch's
threads spend it waiting for one another. What counts is wall time on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from measuring import LONGEST_SERIES, describe_machine, keep_result, run_python
from scan_speed import read_alone_s, scan
from scipy import ndimage

from verict.ct.discover import find_series
from verict.ct.lungs import LungRegion, find_lungs
from verict.ct.read import read_series
from verict.ct.volume import CTVolume
from verict.detect import registry
from verict.documents import replace_part

START, END = "<!-- scan_against_networks: start -->", "<!-- scan_against_networks: end -->"
SWEEP_GOAL, LUNG_GOAL = 100, 15  # how many times scan's time each network is to take at least

CROP_PX, STRIDE_PX = 96, 24
CROP_HU = (-700, 2000)  # Back-in-Time's published window
LUNG_PX = 256
LUNG_HU = (-1024, 600)  # lungmask's window


@dataclass(frozen=True)
class Sample:
    """What a network is timed on: a file of images (n, rows, columns), how many it stands for, and the batch sizes."""

    network: str
    images: Path
    stands_for: int
    batch_sizes: tuple[int, ...]


def list_crops(lungs: LungRegion) -> np.ndarray:
    """(n, 3) int: slice, row and column of each crop's centre, every 24 pixels of each slice, in the lung region."""
    first = STRIDE_PX // 2
    crops: np.ndarray = np.argwhere(lungs.mask[:, first::STRIDE_PX, first::STRIDE_PX])
    return crops * (1, STRIDE_PX, STRIDE_PX) + (0, first, first)


def cut_crops(volume: CTVolume, centres: np.ndarray) -> np.ndarray:
    """(n, 96, 96) float32 in [-1, 1] around the centres, the edge of the image repeated beyond it."""
    low, high = CROP_HU
    around = np.arange(CROP_PX) - CROP_PX // 2
    cut = []
    for z, row, column in centres:
        image = volume.hu[z]
        rows, columns = np.clip(row + around, 0, len(image) - 1), np.clip(column + around, 0, image.shape[1] - 1)
        cut.append(np.clip(image[np.ix_(rows, columns)], low, high))
    return ((np.stack(cut) - low) * (2 / (high - low)) - 1).astype(np.float32)


def shrink_slices(volume: CTVolume, indices: np.ndarray) -> np.ndarray:
    """(n, 256, 256) float32 in [0, 1]: whole slices, where lungmask first cuts to the body."""
    low, high = LUNG_HU
    sizes = np.divide(LUNG_PX, volume.hu.shape[1:])
    shrunk = [ndimage.zoom(np.clip(volume.hu[z], low, high).astype(np.float32), sizes, order=1) for z in indices]
    return (np.stack(shrunk) - low) / (high - low)


def make_samples(source: Path, scratch: Path, options: argparse.Namespace) -> tuple[Sample, Sample]:
    """The crops and slices to time, spread evenly over all of them."""
    (series,) = find_series(source).series
    volume = read_series(series)
    crops = list_crops(find_lungs(volume))
    chosen = crops[_spread(len(crops), options.crops_timed)]
    np.save(scratch / "crops.npy", cut_crops(volume, chosen))
    np.save(scratch / "slices.npy", shrink_slices(volume, _spread(volume.slice_count, options.slices_timed)))
    return (
        Sample("back-in-time", scratch / "crops.npy", len(crops), tuple(options.batch_sizes)),
        Sample("lungs", scratch / "slices.npy", volume.slice_count, tuple(options.lung_batch_sizes)),
    )


def _spread(count: int, wanted: int) -> np.ndarray:
    return np.linspace(0, count - 1, wanted).round().astype(int)


def take_slices(source: Path, folder: Path, count: int) -> Path:
    """A folder with the ``count`` files in the middle of those of another, by name; all of them: that folder."""
    files = sorted(source.glob("*.dcm"))
    if count >= len(files):
        return source
    folder.mkdir()
    first = (len(files) - count) // 2
    for path in files[first : first + count]:
        shutil.copy(path, folder)
    return folder


def choose_scans() -> dict[str, tuple[str, ...]]:
    """Detectors of each scan by its name in the table: the default ones, and all where these are more."""
    scans = {"default detectors": registry.DEFAULT}
    if set(registry.names()) != set(registry.DEFAULT):
        scans["all detectors"] = registry.names()
    return scans


def run_network(sample: Sample, threads: int) -> tuple[int, dict[int, dict[str, float]]]:
    """Parameters of a network, and by batch size the seconds for all its sample stands for, by the median batch."""
    arguments = [str(Path(__file__).with_name("networks.py")), sample.network, str(sample.images)]
    arguments += ["--batch-sizes", *map(str, sample.batch_sizes), "--threads", str(threads)]
    told = json.loads(run_python(arguments).output)
    found = {}
    for size in sample.batch_sizes:
        wall_s, cpu_s = (statistics.median(times) / size for times in zip(*told["batches"][str(size)], strict=True))
        found[size] = {
            "wall_s": wall_s * sample.stands_for,
            "cpu_s": cpu_s * sample.stands_for,
            "each_ms": 1000 * wall_s,
        }
    return told["parameters"], found


def run_scan(source: Path, scratch: Path, detectors: tuple[str, ...], threads: int) -> dict[str, float]:
    """One scan with these detectors: wall and CPU seconds, peak memory."""
    chosen = [part for name in detectors for part in ("--detector", name)]
    measured, _ = scan(source, scratch, "--workers", str(threads), *chosen)
    return {"wall_s": measured.wall_s, "cpu_s": measured.cpu_s, "peak_mib": measured.peak_mib}


def measure(
    source: Path, scratch: Path, samples: tuple[Sample, ...], repeats: int, threads: int
) -> dict[str, dict[str, dict]]:
    """Everything in turn on this many threads, the median of the repeats; then the ratios of each scan."""
    reading, scans = [], {name: [] for name in choose_scans()}
    networks: dict[str, dict[int, list]] = {s.network: {size: [] for size in s.batch_sizes} for s in samples}
    parameters = {}
    for _ in range(repeats):
        reading.append({"wall_s": read_alone_s(source)})
        for name, detectors in choose_scans().items():
            scans[name].append(run_scan(source, scratch, detectors, threads))
        for sample in samples:
            parameters[sample.network], found = run_network(sample, threads)
            for size, times in found.items():
                networks[sample.network][size].append(times)
    read = _median_of(reading)
    ours = {name: _median_of(runs) for name, runs in scans.items()}
    theirs = {
        name: {
            "parameters": parameters[name],
            "by_batch_size": {str(size): _median_of(runs) for size, runs in by_size.items()},
        }
        for name, by_size in networks.items()
    }
    for name, one in ours.items():
        one |= {"detectors": choose_scans()[name], "over_reading": round(one["wall_s"] / read["wall_s"], 1)}
        for network, other in theirs.items():
            one[f"{network}_over_scan"] = {
                clock: round(min(t[f"{clock}_s"] for t in other["by_batch_size"].values()) / one[f"{clock}_s"], 1)
                for clock in ("wall", "cpu")
            }
    return {"reading": read, "scans": ours, "networks": theirs}


def _median_of(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}


def tabulate(figures: dict) -> str:
    """A Markdown table, a column for each number of threads, and what it was measured on."""
    by_threads = figures["by_threads"]
    heads = ["", *(f"{threads} thread{'s' * (int(threads) > 1)}" for threads in by_threads)]
    machine, first = figures["machine"], next(iter(by_threads.values()))
    said = "; ".join(f"{name}: {', '.join(scan['detectors'])}" for name, scan in first["scans"].items())
    sizes = {name: network["parameters"] for name, network in first["networks"].items()}
    return "\n".join([
        *(f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *_list_rows(figures, by_threads))),
        "",
        f"{said[0].upper()}{said[1:]}{'' if len(first['scans']) > 1 else ' (there are no others)'}. Back-in-Time's "
        f"network has {sizes['back-in-time']:,} parameters, R231 {sizes['lungs']:,} in use. Measured on "
        f"{figures['day']}: {machine['cpu']}, {machine['cores']} cores, load {figures['load_before']} before it began, "
        f"torch {figures['torch']}; repeats: {figures['repeats']}, in each {figures['crops_timed']} crops and "
        f"{figures['slices_timed']} slices timed.",
    ])  # fmt: skip


def _list_rows(figures: dict, by_threads: dict[str, dict]) -> Iterator[list[str]]:
    """Each row's words and values."""

    def row(words: str, say: Callable[[dict, bool], str]) -> list[str]:
        return [words, *(say(column, threads == "1") for threads, column in by_threads.items())]

    def ratio(words: str, name: str, network: str) -> list[str]:
        def say(column: dict, alone: bool) -> str:
            found = column["scans"][name][f"{network}_over_scan"]
            return f"{found['wall']:,.0f}" + f" (CPU {found['cpu']:,.0f})" * alone

        return row(f"{words} : scan, {name}", say)

    first = next(iter(by_threads.values()))
    yield row("reading the pixels alone", lambda c, _: f"{c['reading']['wall_s']:.1f} s")
    for name in first["scans"]:
        yield row(f"`verict scan`, {name}", lambda c, _, n=name: _say_s(c["scans"][n], with_cpu=True))
        yield row("its peak memory", lambda c, _, n=name: f"{c['scans'][n]['peak_mib']:.0f} MiB")
    words = {
        "back-in-time": ("sweep", f"Back-in-Time's network on {figures['crops']:,} crops", SWEEP_GOAL),
        "lungs": ("R231", f"R231 on {figures['slices']:,} slices", LUNG_GOAL),
    }
    for network, (_, what, _) in words.items():
        for size in first["networks"][network]["by_batch_size"]:
            path = (network, "by_batch_size", size)
            yield row(f"{what}, {f'batches of {size}' if size != '1' else 'one by one'}",
                      lambda c, alone, p=path: _say_s(c["networks"][p[0]][p[1]][p[2]], with_cpu=alone))  # fmt: skip
    for name in first["scans"]:
        for network, (short, _, goal) in words.items():
            yield ratio(f"{short} (goal {goal})", name, network)
        yield row(f"scan, {name} : reading", lambda c, _, n=name: f"{c['scans'][n]['over_reading']:.1f}")


def _say_s(times: dict[str, float], *, with_cpu: bool) -> str:
    each = f", {times['each_ms']:,.0f} ms each" if "each_ms" in times else ""
    digits = 1 if times["wall_s"] < 100 else 0
    return f"{times['wall_s']:,.{digits}f} s{each}" + f" (CPU {times['cpu_s']:,.{digits}f} s)" * with_cpu


def read_options() -> argparse.Namespace:
    """The command line; everything can be made small to try the script out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=Path, default=LONGEST_SERIES, help="a folder of one series")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help=f"put the table between {START} and {END}")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, describe_machine()["cores"]], metavar="N",
                        help="of scan (--workers) and of torch; 1 and one a core unless given")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--crops-timed", type=int, default=64, help="in each repeat and batch size (default 64)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4, 16], metavar="N", help="of crops")
    parser.add_argument("--slices-timed", type=int, default=20, help="in each repeat and batch size (default 20)")
    parser.add_argument("--lung-batch-sizes", type=int, nargs="+", default=[20, 1], metavar="N", help="of slices")
    parser.add_argument("--slices", type=int, default=100_000, help="scan only so many, from the middle by file name")
    parser.add_argument("--no-keep", action="store_true", help="leave the kept results as they are")
    options = parser.parse_args()
    if options.crops_timed < max(options.batch_sizes) or options.slices_timed < max(options.lung_batch_sizes):
        parser.error("a batch is larger than the sample that is timed")
    return options


def main() -> None:
    """Measure, print, keep, and put the table into a document."""
    options = read_options()
    if not options.series.is_dir():
        sys.exit(f"{options.series} is missing: set VERICT_SHARED or give --series")
    if find_spec("torch") is None:
        sys.exit("torch is missing: install verict[train]")
    figures = {
        "machine": describe_machine(),
        "torch": version("torch"),
        "day": f"{datetime.now(UTC):%Y-%m-%d}",
        "load_before": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "repeats": options.repeats,
        "crops_timed": options.crops_timed,
        "slices_timed": options.slices_timed,
        "by_threads": {},
    }
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        source = take_slices(options.series, scratch / "part", options.slices)
        sweep, lungs = make_samples(source, scratch, options)
        figures |= {"crops": sweep.stands_for, "slices": lungs.stands_for}
        read_alone_s(source)  # fills the file cache
        for threads in dict.fromkeys(options.threads):
            found = measure(source, scratch, (sweep, lungs), options.repeats, threads)
            print(threads, json.dumps(found), flush=True)
            figures["by_threads"][str(threads)] = found
    table = tabulate(figures)
    print(table)
    if not options.no_keep:
        asked = vars(options) | {"series": options.series.name, "write": str(options.write)}
        path = keep_result("scan_against_networks", asked, figures)
        print(f"kept in {path.parent.name}/{path.name}")
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(replace_part(text, START, END, f"\n\n{table}\n\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
