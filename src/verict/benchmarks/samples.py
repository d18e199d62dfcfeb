"""The rows of a collection as models see them: cuboids, windows, and what the label table says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np

from verict.benchmarks.protocols import Items

WINDOW_PX = 64  # side of the window, in the slice's own pixels: about 45 mm
LARGEST_COPY = 7  # a square has eight orientations, the first is the row itself


class Sees(StrEnum):
    """What a model is shown of a row."""

    CUBOID = "cuboid"  # 32 x 32 x 32 voxels of 1 mm around the site
    MIDDLE = "middle slice"  # the middle slice of that cuboid
    WINDOW = "window"  # the slice's own pixels around the site
    TABLE = "label table"  # numbers of the label table, no pixels
    CONTENT = "brightness and size"  # blurred centre HU and diameter: all the content-only baseline knows
    NOTHING = "nothing"


@dataclass(frozen=True, eq=False)
class Samples:
    """Label rows in columns, (n,) each, and their images.

    Parameters
    ----------
    kind
        TB, TM, FB or FM.
    patient
        What a clean split keeps whole: the hash of `verict.datasets.scans.Scan.patient`.
    uuid, experiment
        The scan.
    z, y, x
        Voxel of the site, chosen in the lungs where the row names none.
    number
        InstanceNumber of its slice.
    is_placed
        Whether the row names its place.
    at_corner
        Whether the images were cut around voxel (0, 0, 0).
    centre_hu, diameter_mm
        What is to be seen at the site, diameter NaN where there is no edge; of what was cut.
    cuboid
        (n, 32, 32, 32) int16 HU at 1 mm.
    window
        (n, `WINDOW_PX`, `WINDOW_PX`) int16 HU.
    """

    kind: np.ndarray
    patient: np.ndarray
    uuid: np.ndarray
    experiment: np.ndarray
    z: np.ndarray
    y: np.ndarray
    x: np.ndarray
    number: np.ndarray
    is_placed: np.ndarray
    at_corner: np.ndarray
    centre_hu: np.ndarray
    diameter_mm: np.ndarray
    cuboid: np.ndarray
    window: np.ndarray

    def __len__(self) -> int:
        return len(self.kind)

    def __getitem__(self, chosen: np.ndarray) -> Samples:
        return Samples(*(getattr(self, f.name)[chosen] for f in fields(self)))

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of a SHA-256 over every column and image."""
        digest = hashlib.sha256()
        for f in fields(self):
            values = getattr(self, f.name)
            plain = "\n".join(values.tolist()).encode() if values.dtype.kind == "U" else values.tobytes()
            digest.update(f.name.encode() + plain)
        return digest.hexdigest()[:16]


def show(samples: Samples, items: Items, sees: Sees, *, window_px: int, shows_label: bool) -> np.ndarray:
    """What a model is shown of some items, before normalisation.

    Parameters
    ----------
    samples, items
        Rows, and which of their copies.
    sees
        Which part.
    window_px
        Side of windows: the middle of what was cut, its pixels kept.
    shows_label
        Put the label among the numbers of the table: only what copies a published mistake asks for it.

    Returns
    -------
    numpy.ndarray
        float32: (n, 32, 32, 32), (n, 32, 32), (n, window_px, window_px) HU, or (n, features).
    """
    if sees is Sees.TABLE:
        return describe_labels(samples, items, shows_label=shows_label)
    if sees is Sees.CONTENT:
        size = np.log(np.where(np.isfinite(samples.diameter_mm), samples.diameter_mm, 1.0))
        return np.stack([samples.centre_hu, 100 * size], axis=1)[items.row].astype(np.float32)
    if sees is Sees.NOTHING:
        return np.zeros((len(items), 1), np.float32)
    images = {Sees.CUBOID: samples.cuboid, Sees.WINDOW: crop_middle(samples.window, window_px),
              Sees.MIDDLE: samples.cuboid[:, samples.cuboid.shape[1] // 2]}[sees]  # fmt: skip
    return np.stack([turn(images[row], copy) for row, copy in zip(items.row, items.copy, strict=True)]).astype(
        np.float32
    )


def describe_labels(samples: Samples, items: Items, *, shows_label: bool) -> np.ndarray:
    """(n, features) float32 of the label table: slice, x and y; the label's own number first where it is shown.

    Where images were cut at the corner the row's place is 0, 0, 0, as its label says.
    """
    named = ~samples.at_corner
    columns = [samples.number * named, samples.x * named, samples.y * named]
    if shows_label:
        columns.insert(0, np.unique(samples.kind, return_inverse=True)[1])
    return np.stack(columns, axis=1)[items.row].astype(np.float32)


def crop_middle(windows: np.ndarray, side_px: int) -> np.ndarray:
    """The middle of (n, side, side) images."""
    start = (windows.shape[1] - side_px) // 2
    return windows[:, start : start + side_px, start : start + side_px]


def turn(image: np.ndarray, copy: int) -> np.ndarray:
    """One of the eight orientations of a slice, or of each slice of a cuboid; 0 is the image as it is."""
    turned = np.rot90(image, copy % 4, axes=(-2, -1))
    return turned if copy < 4 else turned[..., ::-1]
