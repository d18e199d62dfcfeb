"""Reconstruction kernels: what a scanner passes of each spatial frequency."""

from __future__ import annotations

from dataclasses import dataclass
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
        Cycles per mm from which on it passes nothing but the tail.
    sharpness
        How late the response falls towards the cutoff: 1 is a Hann window, 5 nearly a step.
    blur_mm
        Standard deviation of a Gaussian blur.
    edge_gain
        How much is added at the frequency enhanced most, as a share of what the window passes there.
    edge_skew
        Where that frequency lies: the cutoff times 0.5 to the power of 1 / `edge_skew`.
    tail
        What passes at every frequency, beyond the cutoff too, as interpolation between rays lets through.
    """

    cutoff_per_mm: float
    sharpness: float
    blur_mm: float
    edge_gain: float
    edge_skew: float
    tail: float = 0.0


# Fitted to the noise power spectra of soft tissue above 0.22 cycles per mm in real series (B31f: 0.3), folding at
# the pixels' limit included, and for two kernels of one acquisition to the transfer from one to the other. Below,
# where tissue outweighs noise, the smooth continuation to 1. Edge gain, skew and tail of GE LUNG were then raised by
# hand for the spectrum of lung (fitted: 0.689, 0.936, 0.032). The B31f series may hold noise reduction of its maker's.
# How near simulated series come: docs/phantom.md.
MEASURED_KERNELS = {
    "Philips B": KernelShape(0.908, 1.415, 0.584, 1.063, 1.758, 0.007),
    "Siemens B31f": KernelShape(0.807, 1.008, 0.121, 2.136, 6.000, 0.013),
    "Siemens B40f": KernelShape(1.016, 2.536, 0.446, 0.984, 6.000, 0.014),
    "Philips D": KernelShape(0.885, 1.529, 0.365, 0.851, 2.099, 0.014),
    "Siemens B70f": KernelShape(1.001, 6.000, 0.217, 0.845, 1.153, 0.067),
    "GE LUNG": KernelShape(0.732, 6.000, 0.129, 1.000, 1.100, 0.050),
    "Philips L": KernelShape(0.821, 2.673, 0.169, 2.751, 1.072, 0.103),
}
"""The response of seven real kernels, by what they pass at 0.4 cycles per mm."""

KERNELS = {
    Kernel.SOFT: MEASURED_KERNELS["Philips B"],
    Kernel.STANDARD: MEASURED_KERNELS["Siemens B40f"],
    Kernel.LUNG: MEASURED_KERNELS["Philips L"],
    Kernel.BONE: MEASURED_KERNELS["Siemens B70f"],
}


def kernel_response(frequency_per_mm: np.ndarray, shape: KernelShape) -> np.ndarray:
    """What the kernel passes of each spatial frequency (cycles per mm): 1 at zero, `tail` from its cutoff on."""
    part = np.clip(np.asarray(frequency_per_mm) / shape.cutoff_per_mm, 0, 1)
    window = 0.5 * (1 + np.cos(np.pi * part**shape.sharpness))
    blur = np.exp(-2 * (np.pi * shape.blur_mm * np.asarray(frequency_per_mm)) ** 2)
    enhanced = window * blur * (1 + shape.edge_gain * np.sin(np.pi * part**shape.edge_skew) ** 2)
    return (1 - shape.tail) * enhanced + shape.tail
