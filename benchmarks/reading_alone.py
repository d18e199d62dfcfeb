"""The reference of the speed benchmarks: read a folder's pixels with pydicom, one slice after another, no more.

Prints the seconds that took, without starting Python and importing pydicom. JPEG-LS is decoded by pyjpegls,
everything else by pydicom's own choice.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pydicom
from pydicom.uid import JPEGLSLossless


def read_alone(folder: Path) -> float:
    """Seconds to read and decode every slice of a folder."""
    start = time.perf_counter()
    for path in sorted(folder.glob("*.dcm")):
        dataset = pydicom.dcmread(path)
        if dataset.file_meta.TransferSyntaxUID == JPEGLSLossless:
            dataset.pixel_array_options(decoding_plugin="pyjpegls")
        dataset.pixel_array.sum()
    return time.perf_counter() - start


if __name__ == "__main__":
    print(read_alone(Path(sys.argv[1])))
