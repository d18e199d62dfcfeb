"""What a simulated slice costs, and how long a whole scan and a hundred of them take.

    python benchmarks/phantom_speed.py [--slices 32]

First the processor time of drawing the anatomy and of scanning it, with one thread; then `verict phantom` with its
defaults, a whole chest in 2 mm slices, in its own process. The clock depends on how busy the machine is, processor
time hardly: the load is printed and kept with the figures.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from measuring import describe_machine, keep_result, run_python

from verict.ct.phantom.anatomy import Anatomy, draw_anatomy
from verict.ct.phantom.scanner import Protocol, acquire

PHANTOM = ["-c", "from verict.cli.main import app; app()", "phantom"]
SCANS = 100


class _Timed:
    """An anatomy that counts the processor time of its drawing; for one thread."""

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy, self.seconds = anatomy, 0.0

    def draw_slab(self, z_mm: np.ndarray, size: int, pixel_mm: float) -> np.ndarray:
        started = time.process_time()
        slab = self.anatomy.draw_slab(z_mm, size, pixel_mm)
        self.seconds += time.process_time() - started
        return slab


def time_slices(slices: int) -> dict[str, dict[str, int]]:
    """Processor time a slice with one thread, ms, by protocol: in all, and of that the drawing."""
    chest, found = draw_anatomy(0), {}
    for name, protocol in (
        ("2 mm", Protocol()),
        ("2 mm, beam hardening", Protocol(beam_hardening=True)),
        ("8 mm", Protocol(thickness_mm=8.0, increment_mm=8.0)),
    ):
        timed, started = _Timed(chest), time.process_time()
        acquire(timed, protocol, np.random.default_rng(0), slices=slices, workers=1)
        total = time.process_time() - started
        found[name] = {"ms": round(total * 1e3 / slices), "drawing_ms": round(timed.seconds * 1e3 / slices)}
        print(f"{name}: {found[name]['ms']} ms a slice, of which drawing {found[name]['drawing_ms']}", flush=True)
    return found


def time_scan() -> dict[str, float]:
    """`verict phantom` with its defaults, start of Python and writing included."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place:
        measured = run_python([*PHANTOM, str(Path(place) / "scan")])
        slices = len(list(Path(place, "scan").glob("*.dcm")))
    found = {
        "slices": slices,
        "cpu_s": round(measured.cpu_s, 1),
        "wall_s": round(measured.wall_s, 1),
        "cpu_ms_per_slice": round(measured.cpu_s * 1e3 / slices),
        "wall_ms_per_slice": round(measured.wall_s * 1e3 / slices),
        "hundred_scans_cpu_min": round(measured.cpu_s * SCANS / 60),
        "hundred_scans_wall_min": round(measured.wall_s * SCANS / 60),
        "peak_mib": round(measured.peak_mib),
        "load_before": round(load, 1),
    }
    print("verict phantom:", "  ".join(f"{name} {value}" for name, value in found.items()))
    return found


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=32)
    slices = parser.parse_args().slices
    print(f"{describe_machine()}; slices of 512 x 512 pixels")
    figures = {"processor_time": time_slices(slices), "whole_scan": time_scan()}
    path = keep_result("phantom_speed", {"slices": slices}, figures)
    print(f"kept in {path.parent.name}/{path.name}")


if __name__ == "__main__":
    main()
