"""What a simulated slice costs: processor time of drawing the anatomy and of scanning it, and the clock's time.

    python benchmarks/phantom_speed.py [--slices 32]

The clock depends on how busy the machine is, processor time hardly.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np

from verict.ct.phantom.anatomy import Anatomy, draw_anatomy
from verict.ct.phantom.scanner import Protocol, acquire


class _Timed:
    """An anatomy that counts the processor time of its drawing; for one thread."""

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy, self.seconds = anatomy, 0.0

    def draw_slab(self, z_mm: np.ndarray, size: int, pixel_mm: float) -> np.ndarray:
        started = time.process_time()
        slab = self.anatomy.draw_slab(z_mm, size, pixel_mm)
        self.seconds += time.process_time() - started
        return slab


def main() -> None:
    """Scan one chest with one thread, with one a core, and with beam hardening."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=32)
    slices = parser.parse_args().slices
    chest = draw_anatomy(0)
    print(f"{slices} slices of 512 x 512 pixels, 2 mm, ms a slice; {os.cpu_count()} cores")
    for label, protocol, workers in (
        ("one thread", Protocol(), 1),
        ("one thread, beam hardening", Protocol(beam_hardening=True), 1),
        ("one thread a core", Protocol(), None),
    ):
        timed = _Timed(chest)
        clock, processor = time.perf_counter(), time.process_time()
        acquire(timed, protocol, np.random.default_rng(0), slices=slices, workers=workers)
        total, wall = (time.process_time() - processor) * 1e3, (time.perf_counter() - clock) * 1e3
        drawing = f", of which drawing {timed.seconds * 1e3 / slices:.0f}" if workers == 1 else ""
        print(f"{label}: processor {total / slices:.0f}{drawing}, clock {wall / slices:.0f}")


if __name__ == "__main__":
    main()
