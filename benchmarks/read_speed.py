"""Milliseconds a slice that verict's reading takes in each transfer syntax, and its memory on 1,000 slices.

Run it alone: ``python benchmarks/read_speed.py [--slices 100] [--repeats 3]``.

The reference is reading the same files with pydicom one after another (reading_alone.py) in the same run.
Reading here is finding the series from its headers, ordering the slices and decoding them to HU.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from measuring import LONGEST_SERIES, describe_machine, keep_result, run_python
from series import ENCODED, NATIVE, write_jpeg_lossless, write_length, write_transfer_syntax

# In a process of its own: seconds to find and read the one series of a folder, and its shape.
READ = """
import sys, time
from verict.ct.discover import find_series
from verict.ct.read import read_series
start = time.perf_counter()
(series,) = find_series(sys.argv[1]).series
volume = read_series(series)
print(time.perf_counter() - start, volume.slice_count)
"""


def read_s(folder: Path, count: int) -> tuple[float, float]:
    """Seconds verict takes to read a folder, and its peak memory in MiB."""
    measured = run_python(["-c", READ, str(folder)])
    seconds, slices = measured.output.split()
    if int(slices) != count:
        raise RuntimeError(f"{folder.name}: {slices} slices read, expected {count}")
    return float(seconds), measured.peak_mib


def alone_s(folder: Path) -> float:
    """Seconds the reference takes."""
    return float(run_python([str(Path(__file__).with_name("reading_alone.py")), str(folder)]).output)


def compare(name: str, folder: Path, count: int, repeats: int) -> dict[str, object]:
    """Verict and the reference in turn, after one unmeasured round that fills the file cache."""
    read_s(folder, count)
    ours, theirs = [], []
    for _ in range(repeats):
        theirs.append(alone_s(folder))
        ours.append(read_s(folder, count)[0])
    ours_ms, alone_ms = (1000 * statistics.median(seconds) / count for seconds in (ours, theirs))
    row = {"read_ms_per_slice": round(ours_ms, 2), "alone_ms_per_slice": round(alone_ms, 2)}
    row["ratio"] = round(ours_ms / alone_ms, 2)
    print(f"{name:24s} verict {ours_ms:6.2f} ms  alone {alone_ms:6.2f} ms  ratio {ours_ms / alone_ms:.2f}", flush=True)
    return row


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=Path, default=LONGEST_SERIES, help="a folder of one JPEG-LS series")
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--long", type=int, default=1000, help="slices of the series whose memory is measured")
    options = parser.parse_args()
    if not options.series.is_dir():
        sys.exit(f"{options.series} is missing: set VERICT_SHARED or give --series")

    print(describe_machine())
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        plain = write_length(options.series, scratch / "plain", options.slices)
        for name in (*NATIVE, *ENCODED):
            folder = write_transfer_syntax(plain, scratch / name.replace(" ", "-"), name)
            figures[name] = compare(name, folder, options.slices, options.repeats)
        # The reference has no decoder for JPEG lossless, so this one is compared with uncompressed reading.
        lossless = write_jpeg_lossless(plain, scratch / "jpeg-lossless") if find_spec("imagecodecs") else None
        if lossless is None:
            print("JPEG lossless            not measured: needs the extra jpeg-lossless and DCMTK's dcmcjpeg")
        else:
            read_s(lossless, options.slices)
            seconds = statistics.median(read_s(lossless, options.slices)[0] for _ in range(options.repeats))
            figures["JPEG lossless"] = {"read_ms_per_slice": round(1000 * seconds / options.slices, 2)}
            print(f"JPEG lossless            verict {1000 * seconds / options.slices:6.2f} ms")
        seconds, peak_mib = read_s(write_length(options.series, scratch / "long", options.long), options.long)
    figures["long"] = {"slices": options.long, "seconds": round(seconds, 2), "peak_mib": round(peak_mib)}
    print(f"{options.long} slices: {seconds:.1f} s, peak {peak_mib:.0f} MiB")
    kept = {"series": options.series.name, "slices": options.slices, "repeats": options.repeats, "long": options.long}
    path = keep_result("read_speed", kept, figures)
    print(f"kept in {path.parent.name}/{path.name}")


if __name__ == "__main__":
    main()
