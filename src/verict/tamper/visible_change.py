"""Which pixels of a forged slice show that they were changed: what a localiser is to mark, and is judged by.

A footprint holds every voxel a forger wrote, also where nothing came out different: the rim of a bell window, the frame
of a cuboid that was resampled smoothly. A place counts as changed where the change, root mean square over its
surroundings, is a good part of the slice's own noise.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SURROUNDINGS_PX = 3.0  # sigma of the Gaussian the mean square is taken over
NOISE_PART = 0.25  # of the slice's noise: a change this large is seen in its spectrum
LEAST_HU = 2.0  # below it a change is that of rounding
TRACE_HU = 0.75  # a pixel that differs by less is as it was


def noise_of(hu: np.ndarray, lung_mask: np.ndarray) -> float:
    """Standard deviation in HU of a slice's noise in the lungs, robust against vessels; 0 where there is no lung.

    ``hu`` (y, x) HU, ``lung_mask`` (y, x) bool. From second differences, which a smooth image does not have.
    """
    image = hu.astype(np.float32)
    fine = image[1:-1, 1:-1] - (image[:-2, 1:-1] + image[2:, 1:-1] + image[1:-1, :-2] + image[1:-1, 2:]) / 4
    inside = fine[lung_mask[1:-1, 1:-1]]
    return float(1.4826 * np.median(np.abs(inside - np.median(inside)))) if len(inside) else 0.0


def visible_change(before: np.ndarray, after: np.ndarray, noise_hu: float) -> np.ndarray:
    """(y, x) bool: where a change is large enough to be seen.

    Parameters
    ----------
    before, after
        (y, x) HU.
    noise_hu
        See `noise_of`.
    """
    return change_hu(before, after) >= max(LEAST_HU, NOISE_PART * noise_hu)


def change_hu(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(y, x) float32: root mean square of the change around each pixel, in HU."""
    square = (after.astype(np.float32) - before.astype(np.float32)) ** 2
    return np.sqrt(np.maximum(ndimage.gaussian_filter(square, SURROUNDINGS_PX, mode="constant"), 0))
