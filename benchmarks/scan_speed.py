"""Time and peak memory of `verict scan`, as a ratio to reading the same pixels alone.

Run it alone: ``python benchmarks/scan_speed.py [--repeats 3] [--lengths 70 140 275 550 1100]``.

The scan's time is the wall time of the whole command, start of Python and imports included; the
reference's (reading_alone.py) leaves both out, so the ratio errs against verict. Both run in turn, and
the median of the repeats counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from measuring import LONGEST_SERIES, Measured, describe_machine, keep_result, run_python
from series import write_length, write_uncompressed

SCAN = ["-c", "from verict.cli.main import app; app()", "scan"]
JUDGED = (0, 10, 11)  # every exit code of scan that says the series was read and judged


def scan(folder: Path, scratch: Path, *options: str) -> tuple[Measured, str]:
    """Scan a folder in its own process; its verdict is read from the JSON so that a failed run cannot pass."""
    result = scratch / "result.json"
    measured = run_python([*SCAN, str(folder), "--json", str(result), *options], accepted=JUDGED)
    series = json.loads(result.read_text("utf-8"))["series"]
    if len(series) != 1:
        raise RuntimeError(f"{folder.name}: {len(series)} series judged, expected 1")
    return measured, series[0]["verdict"]


def read_alone_s(folder: Path) -> float:
    """Seconds the reference takes, in its own process."""
    return float(run_python([str(Path(__file__).with_name("reading_alone.py")), str(folder)]).output)


def compare(folder: Path, scratch: Path, repeats: int) -> dict[str, object]:
    """Scan and reference in turn, after one unmeasured round that fills the file cache."""
    count = len(list(folder.glob("*.dcm")))
    read_alone_s(folder)
    reading_s, scans, verdict = [], [], ""
    for _ in range(repeats):
        reading_s.append(read_alone_s(folder))
        measured, verdict = scan(folder, scratch)
        scans.append(measured)
    reading, wall = statistics.median(reading_s), statistics.median(m.wall_s for m in scans)
    return {
        "slices": count,
        "reading_alone_s": round(reading, 3),
        "scan_s": round(wall, 2),
        "ratio": round(wall / reading, 1),
        "scan_ms_per_slice": round(1000 * wall / count, 1),
        "scan_cpu_s": round(statistics.median(m.cpu_s for m in scans), 2),
        "peak_mib": round(max(m.peak_mib for m in scans)),
        "repeats": repeats,
        "verdict": verdict,
    }


def grow(source: Path, scratch: Path, lengths: list[int]) -> list[dict[str, object]]:
    """Time and memory of one scan at each length."""
    rows = []
    for count in lengths:
        with tempfile.TemporaryDirectory(dir=scratch) as place:
            folder = write_length(source, Path(place) / "series", count)
            read_alone_s(folder)
            measured, verdict = scan(folder, scratch)
        rows.append({
            "slices": count,
            "scan_s": round(measured.wall_s, 2),
            "scan_ms_per_slice": round(1000 * measured.wall_s / count, 1),
            "peak_mib": round(measured.peak_mib),
            "verdict": verdict,
        })  # fmt: skip
        print_rows("length", rows[-1:])
    return rows


def print_rows(title: str, rows: list[dict[str, object]]) -> None:
    """One line a row, names and values."""
    for row in rows:
        print(f"{title:14s}", "  ".join(f"{name} {value}" for name, value in row.items()), flush=True)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=Path, default=LONGEST_SERIES, help="a folder of one JPEG-LS series")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--lengths", type=int, nargs="*", default=[70, 140, 275, 550, 1100])
    options = parser.parse_args()
    if not options.series.is_dir():
        sys.exit(f"{options.series} is missing: set VERICT_SHARED or give --series")

    print(describe_machine())
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        plain = write_uncompressed(options.series, scratch / "plain")
        figures = {"uncompressed": compare(plain, scratch, options.repeats)}
        print_rows("uncompressed", [figures["uncompressed"]])
        figures["jpeg_ls"] = compare(options.series, scratch, options.repeats)
        print_rows("JPEG-LS", [figures["jpeg_ls"]])
        lengths = grow(options.series, scratch, options.lengths)
    kept = {"series": options.series.name, "repeats": options.repeats, "lengths": options.lengths}
    path = keep_result("scan_speed", kept, {**figures, "lengths": lengths})
    print(f"kept in {path.parent.name}/{path.name}")


if __name__ == "__main__":
    main()
