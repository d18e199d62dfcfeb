"""What is left of a slice when its structures are taken away."""

from __future__ import annotations

import numpy as np


def median_3x3(image: np.ndarray) -> np.ndarray:
    """(y, x) median of each 3 x 3 neighbourhood, edges repeated; same dtype.

    A network of 19 exchanges over whole arrays, about ten times as fast as a rank filter on int16.
    """
    padded = np.pad(image, 1, mode="edge")
    height, width = image.shape
    v = [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    for a, b in _MEDIAN_EXCHANGES:
        v[a], v[b] = np.minimum(v[a], v[b]), np.maximum(v[a], v[b])
    return v[4]


_MEDIAN_EXCHANGES = (  # median of nine by compare-and-exchange (J. L. Smith, Xcell Journal 23, 1996)
    (1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3),
    (5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2),
)  # fmt: skip
