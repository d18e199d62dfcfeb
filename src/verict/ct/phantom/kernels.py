"""Reconstruction kernels: what a scanner passes of each spatial frequency."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from enum import StrEnum

import numpy as np


class Kernel(StrEnum):
    """How sharply the slices are reconstructed."""

    SOFT = "soft"
    STANDARD = "standard"
    LUNG = "lung"
    BONE = "bone"


@dataclass(frozen=True)
class KernelShape:
    """Any kernel: a cutoff, a fall towards it, and an edge enhancement.

    Parameters
    ----------
    cutoff_per_mm
        Cycles per mm from which on it passes nothing.
    sharpness
        How late the response falls towards the cutoff: 1 is a Hann window, 5 nearly a step.
    blur_mm
        Standard deviation of a Gaussian blur.
    edge_gain
        How much is added at the frequency enhanced most, as a share of what the window passes there.
    edge_skew
        Where that frequency lies: at half the cutoff to the power of 1 / `edge_skew`.
    """

    cutoff_per_mm: float
    sharpness: float
    blur_mm: float
    edge_gain: float
    edge_skew: float


# Fitted to the noise power spectra of soft tissue in real series, and for two kernels of one acquisition to
# the transfer from one to the other; within 5 % of the measured response up to 0.8 of the cutoff
# (docs/phantom.md). The B31f series also holds the maker's noise reduction.
MEASURED_KERNELS = {
    "Philips B": KernelShape(0.96, 1.27, 0.54, 0.79, 1.83),
    "Siemens B31f": KernelShape(0.88, 1.12, 0.30, 1.90, 4.00),
    "Siemens B40f": KernelShape(1.18, 1.66, 0.43, 1.62, 4.00),
    "Philips D": KernelShape(0.89, 2.24, 0.36, 0.37, 2.40),
    "GE LUNG": KernelShape(0.77, 4.48, 0.21, 0.19, 1.53),
    "Philips L": KernelShape(0.78, 4.50, 0.00, 1.91, 1.01),
    "Siemens B70f": KernelShape(1.03, 5.00, 0.18, 0.66, 1.09),
}
"""The response of seven real kernels, softest first."""

KERNELS = {
    Kernel.SOFT: MEASURED_KERNELS["Philips B"],
    Kernel.STANDARD: MEASURED_KERNELS["Siemens B40f"],
    Kernel.LUNG: MEASURED_KERNELS["Philips L"],
    Kernel.BONE: MEASURED_KERNELS["Siemens B70f"],
}


def kernel_response(frequency_per_mm: np.ndarray, shape: KernelShape) -> np.ndarray:
    """What the kernel passes of each spatial frequency (cycles per mm), 1 at zero, 0 from its cutoff on."""
    part = np.clip(np.asarray(frequency_per_mm) / shape.cutoff_per_mm, 0, 1)
    window = 0.5 * (1 + np.cos(np.pi * part**shape.sharpness))
    blur = np.exp(-2 * (np.pi * shape.blur_mm * np.asarray(frequency_per_mm)) ** 2)
    return window * blur * (1 + shape.edge_gain * np.sin(np.pi * part**shape.edge_skew) ** 2)


def draw_kernel(rng: np.random.Generator) -> KernelShape:
    """A plausible kernel nobody sells: somewhere between two of the measured ones, and a little off."""
    shapes = [astuple(shape) for shape in MEASURED_KERNELS.values()]
    one = rng.integers(len(shapes))
    other = np.clip(one + rng.integers(-2, 3), 0, len(shapes) - 1)  # of like sharpness: the list is ordered by it
    mixed = np.array(shapes[one]) + (np.array(shapes[other]) - shapes[one]) * rng.uniform()
    mixed *= rng.uniform(0.85, 1.15, len(mixed))
    return KernelShape(*(float(v) for v in mixed))
