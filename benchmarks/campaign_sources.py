"""The simulated chests a campaign of 200 cases is made of, beside the authentic series: `verict phantom`, 22 times.

Run from the project folder; about ten minutes and 1.2 GB. Every chest is another patient, scanned with another kernel,
dose, thickness and field of view. A chest that is there already is left as it is.

    python benchmarks/campaign_sources.py /tmp/campaign/phantoms
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

RUN = "from verict.cli.main import app; app()"
KERNELS = ("standard", "lung", "soft", "bone")
DOSES = (1.0, 0.5, 2.0, 0.35, 1.5)
THICKNESSES_MM = (1.25, 2.0, 1.5, 2.5, 1.0)
PIXELS_MM = (0.68, 0.74, 0.8)  # fields of view of 350 to 410 mm at 512 pixels
NODULES = (4, 3)
FIRST_SEED = 4001  # away from the seeds other documents use


def arguments_of(number: int, folder: Path) -> list[str]:
    """What `verict phantom` is given for one of the chests, counted from 0."""
    thickness_mm = THICKNESSES_MM[number % len(THICKNESSES_MM)]
    settings = {
        "kernel": KERNELS[number % len(KERNELS)],
        "dose": DOSES[(number + number // len(THICKNESSES_MM)) % len(DOSES)],
        "thickness": thickness_mm,
        "slices": 125 if thickness_mm <= 1.25 else 100,
        "pixel": PIXELS_MM[number % len(PIXELS_MM)],
        "nodules": NODULES[number % len(NODULES)],
        "seed": FIRST_SEED + number,
    }
    hardening = ["--beam-hardening"] if number % 3 == 2 else []
    return [str(folder), *(f"--{name}={value}" for name, value in settings.items()), *hardening]


def main() -> None:
    """Make those that are not there, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder that gets one folder for each chest")
    parser.add_argument("--count", type=int, default=22, help="how many (default 22)")
    options = parser.parse_args()
    for number in range(options.count):
        folder = options.out / str(FIRST_SEED + number)
        if not (folder / "labels.csv").is_file():
            subprocess.run([sys.executable, "-c", RUN, "phantom", *arguments_of(number, folder)], check=True)


if __name__ == "__main__":
    main()
