"""From stored pixel values to Hounsfield units: rescale and padding.

Source: PS3.3 C.11.1.1.2 (output = slope x stored + intercept), C.7.5.1.1.2 (Pixel Padding Value and range).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from verict.ct import instance as tags
from verict.ct.decode import PixelFormat
from verict.ct.order import Frame
from verict.errors import PixelError

PADDING_HU = -1024  # what scanners write outside the field of view, in stored form often 0
TISSUE_HU = (-900.0, 3000.0)  # a padding value inside this range would blank tissue and is not applied
MAX_SLOPE, MAX_INTERCEPT = 1000.0, 1e6
_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True)
class Rescale:
    """Slope and intercept of one frame. ``assumed``: one was missing; ``other_type``: RescaleType is not HU."""

    slope: float
    intercept: float
    assumed: bool = False
    other_type: bool = False


def fits_int16(slope: float | None, intercept: float | None) -> bool:
    """Whether a rescale leaves integers, so that int16 can hold them if the range allows."""
    return slope in (None, 1.0) and (intercept is None or (intercept.is_integer() and abs(intercept) <= 32768))


def read_rescale(values: dict[int, bytes], frame: Frame, *, enhanced: bool, file: str) -> Rescale:
    """Slope and intercept of one frame, checked.

    Raises
    ------
    PixelError
        If they are no usable numbers, or a Modality LUT replaces them.
    """
    if tags.MODALITY_LUT in values:
        raise PixelError(
            "a Modality LUT Sequence is not supported: it does not give Hounsfield units",
            file=file,
            tag="ModalityLUTSequence (0028,3000)",
            found="a lookup table",
            expected="RescaleSlope and RescaleIntercept",
            next_step="export the original images",
        )
    if enhanced:
        slope, intercept = frame.slope, frame.intercept
    else:
        slope = _present(values, tags.SLOPE)
        intercept = _present(values, tags.INTERCEPT)
    if slope is not None and not 0 < slope <= MAX_SLOPE:
        raise _bad(file, "RescaleSlope (0028,1053)", slope, f"a number above 0, up to {MAX_SLOPE:g}")
    if intercept is not None and not abs(intercept) <= MAX_INTERCEPT:
        raise _bad(file, "RescaleIntercept (0028,1052)", intercept, "a finite number, usually -1024")
    unit = tags.text_of(values.get(tags.RESCALE_TYPE))
    return Rescale(
        1.0 if slope is None else slope,
        0.0 if intercept is None else intercept,
        assumed=slope is None or intercept is None,
        other_type=unit not in ("", "HU"),
    )


def to_hu(stored: np.ndarray, rescale: Rescale, shape: PixelFormat, out: np.ndarray) -> tuple[int, bool]:
    """Write one slice of Hounsfield units.

    Parameters
    ----------
    stored
        (y, x) integers.
    rescale, shape
        How to read them.
    out
        (y, x) int16 or float32, filled.

    Returns
    -------
    int
        Pixels changed to -1024 HU because they are padding.
    bool
        False if int16 cannot hold the values; ``out`` is then undefined.
    """
    padding = _padding_range(rescale, shape)
    mask = None
    if padding is not None:
        low, high = padding
        mask = stored == low if low == high else (stored >= low) & (stored <= high)
        if not mask.any():
            mask = None
    if out.dtype == np.int16:
        shift = int(rescale.intercept)
        if rescale.slope != 1.0 or shift != rescale.intercept:
            return 0, False
        if mask is not None:
            kept = stored[~mask]
            lowest, highest = (int(kept.min()), int(kept.max())) if kept.size else (-shift, -shift)
        else:
            lowest, highest = int(stored.min()), int(stored.max())
        if lowest + shift < _INT16.min or highest + shift > _INT16.max:
            return 0, False
        # two's complement addition is exact for every pixel whose result fits, whatever the operands
        np.add(stored.astype(np.int16, copy=False), np.array(shift).astype(np.int16), out=out)
    else:
        np.multiply(stored, rescale.slope, out=out, casting="unsafe")
        out += np.float32(rescale.intercept)
    if mask is None:
        return 0, True
    unchanged = out[mask] == PADDING_HU
    out[mask] = PADDING_HU
    return int(mask.sum() - unchanged.sum()), True


def _padding_range(rescale: Rescale, shape: PixelFormat) -> tuple[int, int] | None:
    """Stored values that are padding, or None; never values that could be tissue."""
    if shape.padding is None:
        return None
    limit = shape.padding if shape.padding_limit is None else shape.padding_limit
    low, high = sorted((shape.padding, limit))
    low_hu, high_hu = (value * rescale.slope + rescale.intercept for value in (low, high))
    if high_hu < TISSUE_HU[0] or low_hu > TISSUE_HU[1]:
        return low, high
    return None


def _present(values: dict[int, bytes], tag: int) -> float | None:
    """A number, None where missing or empty, NaN where it is there and no finite number."""
    if not tags.text_of(values.get(tag)):
        return None
    number = tags.number_of(values[tag])
    return math.nan if number is None else number


def _bad(file: str, tag: str, found: float, expected: str) -> PixelError:
    return PixelError(
        "the rescale to Hounsfield units is unusable",
        file=file,
        tag=tag,
        found="no finite number" if math.isnan(found) else f"{found:g}",
        expected=expected,
        next_step="export the original images",
    )
