"""Touch-ups of whole slices: every slice that holds paint is recoded or resampled, so that no place stands out.

A cuboid without a blend of its own is blended first by CT-GAN's windows, without noise. Then the whole slices are
changed alike, and the paint with them: what a detector of recompression or resampling finds in them is not the place.
The slices next to them are left as they are, so the scan's noise changes from slice to slice where they end.

*What the footprint means here.* Every pixel of these slices was touched up, so all of them belong to it. How far a
voxel is paint is said by the weight: that of the paint, and `RECODED` where a voxel was recoded or resampled only.
"""

from __future__ import annotations

import math

import numpy as np
import openjpeg
from scipy import ndimage

from verict.errors import InputError
from verict.tamper.ctgan_touch_up import blend, blend_weight
from verict.tamper.cubes import Box
from verict.tamper.forgery import Paint, Target
from verict.tamper.touch_ups.added_noise import touched_up_side

RECODED = 0.01  # weight of a voxel that holds no paint
RATIO = 8.0  # CT of the body: consensus of the German Radiological Society, doi 10.1055/s-2008-1027847
MOST_BITS = 16  # of a JPEG 2000 pixel in DICOM (PS3.5 8.2.4)
SHIFT_PX = (0.2, 0.8)  # along y and along x each; whole pixels would leave no trace
TURN_DEG = (0.3, 1.5)  # to either side
SCALE = (0.985, 1.015)


class Jpeg2000:
    """A lossy JPEG 2000 pass of the slices that hold paint.

    Parameters
    ----------
    ratio
        Bits stored / bits of the codestream that are asked for.
    """

    name = "jpeg2000"
    summary = "a lossy JPEG 2000 pass of the whole slices, 8:1"

    def __init__(self, ratio: float = RATIO) -> None:
        self.ratio = ratio

    def apply(self, target: Target, paint: Paint, rng: np.random.Generator) -> Paint:
        """Blend, encode by the irreversible wavelet, and decode.

        ``details`` say the ratio asked for, the bits stored, and the ratio that came out against those bits and
        against two bytes a pixel, as LossyImageCompressionRatio (0028,2112) is counted.

        Raises
        ------
        InputError
            If the values of the slices span more than 16 bits.
        """
        box, slices, weight = paste(target, paint)
        coded, bits, size = recode(np.rint(slices).astype(np.int64), self.ratio)
        details = {
            "jpeg2000_ratio": self.ratio,
            "bits_stored": bits,
            "ratio_of_bits_stored": round(slices.size * bits / 8 / size, 3),
            "ratio_of_two_bytes": round(slices.size * 2 / size, 3),
        }
        return Paint(box, coded.astype(np.float32), weight, details)


class Resampled:
    """The slices that hold paint moved, turned and scaled by less than a pixel or two, and back."""

    name = "resampled"
    summary = "the whole slices resampled: shifted, turned and scaled a little, and back"

    def apply(self, target: Target, paint: Paint, rng: np.random.Generator) -> Paint:
        """Blend, then resample twice by cubic splines; the same move for all slices, drawn at random.

        ``details`` say the shift (y, x) in pixels, the turn in degrees about the middle of the slice, and the scale.
        """
        box, slices, weight = paste(target, paint)
        turn = float(rng.uniform(*TURN_DEG) * rng.choice([-1, 1]))
        scale = float(rng.uniform(*SCALE))
        shift = rng.uniform(*SHIFT_PX, size=2) * rng.choice([-1, 1], size=2)
        moved = np.stack([move_and_back(image, shift, turn, scale) for image in slices])
        details = {"shift_px": shift.tolist(), "turn_deg": turn, "scale": scale, "spline_order": 3}
        return Paint(box, moved, weight, details)


def paste(target: Target, paint: Paint) -> tuple[Box, np.ndarray, np.ndarray]:
    """The whole slices that hold paint, with the paint blended in.

    Returns
    -------
    box
        Of the whole slices.
    hu
        (z, y, x) float32.
    weight
        (z, y, x) float32: of the paint where it is, `RECODED` elsewhere.
    """
    whole: Box = (paint.box[0], slice(0, target.hu.shape[1]), slice(0, target.hu.shape[2]))
    inner = (slice(None), *paint.box[1:])
    hu = target.hu[whole].astype(np.float32)
    weight = np.full(hu.shape, RECODED, np.float32)
    own = paint.weight
    if own is None:
        side = touched_up_side(paint)
        reach = [
            (np.arange(s.start, s.stop) - c) / (side / 2)
            for s, c in zip(paint.box[1:], target.centre[1:], strict=True)
        ]
        hu[inner] = blend(hu[inner], paint.hu, 0.0, reach, target.kind)
        window = blend_weight(paint.hu, reach, target.kind)
        own = np.broadcast_to(window, paint.hu.shape)
    else:
        hu[inner] = paint.hu
    weight[inner] = np.maximum(own, RECODED)
    return whole, hu, weight


def recode(slices: np.ndarray, ratio: float) -> tuple[np.ndarray, int, int]:
    """Whole numbers through JPEG 2000, each slice by itself; level-shifted so that the lowest is 0.

    Parameters
    ----------
    slices
        (z, y, x) whole numbers, signed or not.
    ratio
        Bits stored / bits of the codestream; 1 for a pass without loss.

    Returns
    -------
    decoded
        (z, y, x) int64, within the limits of the slices.
    bits
        Stored a pixel.
    size
        Bytes of all codestreams.

    Raises
    ------
    InputError
        If the values span more than 16 bits.
    """
    low, high = int(slices.min()), int(slices.max())
    bits = max(8, math.ceil(math.log2(high - low + 1))) if high > low else 8
    if bits > MOST_BITS:
        raise InputError("these slices cannot be coded as JPEG 2000", found=f"values from {low} to {high}",
                         expected=f"a span of at most {MOST_BITS} bits",
                         next_step="choose another touch-up")
    store = np.uint8 if bits == 8 else np.uint16
    decoded, size = np.empty_like(slices), 0
    for out, image in zip(decoded, slices, strict=True):
        code = openjpeg.encode(
            (image - low).astype(store), bits_stored=bits, compression_ratios=[ratio] if ratio > 1 else None
        )
        out[...] = openjpeg.decode(code)
        size += len(code)
    return np.clip(decoded + low, low, high), bits, size


def move_and_back(image: np.ndarray, shift_px: np.ndarray, turn_deg: float, scale: float) -> np.ndarray:
    """A slice resampled onto a moved grid, and from there back to its own, by cubic splines, nearest edges.

    Splines overshoot at the edge of the field of view; what leaves the limits of the slice is brought back.
    """
    angle = math.radians(turn_deg)
    matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) * scale
    middle = (np.array(image.shape) - 1) / 2
    back = np.linalg.inv(matrix)
    there = ndimage.affine_transform(
        image.astype(np.float32), matrix, middle - matrix @ middle + shift_px, order=3, mode="nearest"
    )
    home = ndimage.affine_transform(
        there, back, middle - back @ (middle + shift_px), order=3, mode="nearest"
    )
    return np.clip(home, image.min(), image.max())
