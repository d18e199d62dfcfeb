"""What a place looks like without any detector: blurred centre HU, diameter, HU around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verict.datasets.sites import MASS_HU

BLUR_PX = 2.5  # sigma; one blurred centre value tells injected sites from vessels, whatever was done to the noise
_BLUR_REACH_PX = 8  # over three sigma
RING_MM = (4.0, 8.0)  # what is around it
PROFILE_MM = 16.0  # the radial profile's reach: injected nodules are up to 16 mm wide


@dataclass(frozen=True)
class Structure:
    """Size and surroundings of what stands at a place; NaN where it has no edge within `PROFILE_MM`."""

    diameter_mm: float
    ring_hu: float


def blur_centre(hu: np.ndarray, y: int, x: int) -> float:
    """HU blurred by a Gaussian of 2.5 px at pixel (y, x) of a (y, x) slice: all the content-only baseline knows."""
    offsets = np.arange(-_BLUR_REACH_PX, _BLUR_REACH_PX + 1)
    weight = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * BLUR_PX**2))
    rows = np.clip(y + offsets, 0, hu.shape[0] - 1)
    columns = np.clip(x + offsets, 0, hu.shape[1] - 1)
    return float((hu[np.ix_(rows, columns)] * weight).sum() / weight.sum())


def measure_structure(hu: np.ndarray, spacing_mm: tuple[float, float], y: int, x: int) -> Structure:
    """Diameter and ring of the structure at pixel (y, x), by one definition for painted and untouched ones.

    The profile is the mean HU of rings 1 mm wide around the pixel. The structure ends where the profile first falls
    below -400 HU, half way from soft tissue to lung; its diameter is twice that radius, between rings by
    interpolation. One level for all: with each structure's own half height, what lies around would count twice,
    in the diameter and in the ring.

    Parameters
    ----------
    hu
        (y, x) HU.
    spacing_mm
        (y, x) in mm.
    y, x
        Pixel.
    """
    reach = [int(np.ceil(PROFILE_MM / step)) for step in spacing_mm]
    top, left = max(0, y - reach[0]), max(0, x - reach[1])
    part = hu[top : y + reach[0] + 1, left : x + reach[1] + 1].astype(np.float64)
    rows, columns = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
    distance_mm = np.hypot((rows - y) * spacing_mm[0], (columns - x) * spacing_mm[1])
    around = (distance_mm >= RING_MM[0]) & (distance_mm <= RING_MM[1])
    inside = distance_mm < PROFILE_MM
    ring = distance_mm[inside].astype(int)
    counts = np.bincount(ring)
    filled = np.flatnonzero(counts)
    profile = np.bincount(ring, part[inside])[filled] / counts[filled]
    below = np.flatnonzero(profile < MASS_HU)
    ring_hu = float(part[around].mean()) if around.any() else float("nan")
    if not len(below) or below[0] == 0:
        return Structure(float("nan"), ring_hu)
    after = below[0]
    inner_mm, outer_mm = filled[after - 1] + 0.5, filled[after] + 0.5
    part_of_step = (profile[after - 1] - MASS_HU) / (profile[after - 1] - profile[after])
    return Structure(float(2 * (inner_mm + part_of_step * (outer_mm - inner_mm))), ring_hu)
