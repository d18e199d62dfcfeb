"""One simulated chest in the four kernels, as a picture: whole slices above, a part of the lung pixel for pixel below.

    python benchmarks/phantom_gallery.py --picture docs/images/phantom-slices.png

What `verict phantom --kernel K --seed 4 --thickness 1.5` scans of its middle, in a lung window.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from verict.ct.phantom.chest import simulate_chest
from verict.ct.phantom.kernels import KERNELS, Kernel
from verict.ct.phantom.scanner import Protocol

SEED, THICKNESS_MM, SIZE = 4, 1.5, 512
CENTRE_HU, WIDTH_HU = -500, 1500  # a lung window
TILE_PX, GAP_PX = 256, 4
PART = slice(180, 436), slice(60, 316)  # rows and columns: the right lung and the heart


def show(hu: np.ndarray) -> np.ndarray:
    """HU in the lung window as 8-bit grey values."""
    return np.rint(np.clip((hu - CENTRE_HU) / WIDTH_HU + 0.5, 0, 1) * 255).astype(np.uint8)


def make_tiles(kernel: Kernel) -> tuple[Image.Image, Image.Image]:
    """The slice at half its size, and a part of it as it is."""
    protocol = Protocol(
        kernel=KERNELS[kernel], thickness_mm=THICKNESS_MM, increment_mm=THICKNESS_MM, pixel_mm=370 / SIZE
    )
    grey = show(simulate_chest(protocol, slices=1, size=SIZE, seed=SEED).hu[0])
    whole = Image.fromarray(grey).resize((TILE_PX, TILE_PX), Image.Resampling.BOX)
    ImageDraw.Draw(whole).text((6, 4), str(kernel), fill=255)
    return whole, Image.fromarray(grey[PART])


def main() -> None:
    """Simulate, lay the tiles out, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, required=True)
    picture = parser.parse_args().picture
    step = TILE_PX + GAP_PX
    sheet = Image.new("L", (len(Kernel) * step - GAP_PX, 2 * step - GAP_PX), 255)
    for column, kernel in enumerate(Kernel):
        for row, tile in enumerate(make_tiles(kernel)):
            sheet.paste(tile, (column * step, row * step))
    sheet.save(picture, optimize=True)
    print(f"{picture}: {', '.join(Kernel)}; seed {SEED}, {THICKNESS_MM} mm, HU {CENTRE_HU} +- {WIDTH_HU // 2}")


if __name__ == "__main__":
    main()
