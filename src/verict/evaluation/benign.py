"""What hospitals and archives do to whole series without meaning harm: each a function of a volume and a strength.

Strength 0 leaves the pixels as they are. Pixels and geometry are all that comes back: the headers of what was processed
would have to say so, and pixel detectors see none.

An 8-bit JPEG of a windowed slice is not among them. It is a Secondary Capture, not a CT Image: it has no HU, and
`verict scan` does not take it for CT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from verict.ct.volume import CTVolume
from verict.errors import InputError, UsageError, did_you_mean
from verict.evaluation.jpeg_extended import find_table, pass_through
from verict.tamper.touch_ups.scan_texture import split
from verict.tamper.touch_ups.whole_slice import recode

TWELVE_BITS_HU = (-1024, 3071)  # what most scanners store: 12 bits, RescaleIntercept -1024
SHARPEN_PX = 1.0  # standard deviation of the Gaussian of the unsharp mask
HIGH_PASS_PX = 1.5
SOFT_TISSUE_HU = (-50, 150)  # where the level of noise is read: no edges as in lung, no clipping as in air
NOISE_SLICES = 5  # of which it is read
LEAST_SOFT_PX = 500
MAD_TO_SD = 1.4826  # of a Gaussian


@dataclass(frozen=True)
class Processing:
    """One way to process a series.

    Parameters
    ----------
    name, summary
        What it is called, and what it does.
    unit
        What strengths count.
    strengths
        Usual ones, ascending in what they change.
    apply
        (volume, strength above 0) -> volume with other pixels and, where it changes, other geometry.
    """

    name: str
    summary: str
    unit: str
    strengths: tuple[float, ...]
    apply: Callable[[CTVolume, float], CTVolume]


def process(volume: CTVolume, name: str, strength: float) -> CTVolume:
    """A series processed as a whole.

    Parameters
    ----------
    volume
        Any; its headers are left out of what comes back.
    name
        Of one of `PROCESSINGS`.
    strength
        0 for the series as it is; else as the processing's ``unit`` says.

    Raises
    ------
    UsageError
        If there is no such processing, or it has no such strength.
    InputError
        If this series cannot be processed that way: slices that are thick already, values that do not fit the codec.
    """
    known = {p.name: p for p in PROCESSINGS}
    if name not in known:
        raise UsageError("no such processing", found=name, next_step=did_you_mean(name, known))
    if not (np.isfinite(strength) and strength >= 0):
        raise UsageError(f"no strength of {name}", found=strength, expected=known[name].unit)
    bare = volume.without_headers()
    return bare if strength == 0 else known[name].apply(bare, strength)


def recompress(volume: CTVolume, strength: float) -> CTVolume:
    """Lossless: 1 through JPEG-LS, 2 through reversible JPEG 2000. Every pixel stays what it was."""
    if strength not in (1, 2):
        raise UsageError("no such lossless codec", found=strength, expected="1 (JPEG-LS) or 2 (JPEG 2000)")
    stored = _whole(volume)
    if strength == 2:
        return replace(volume, hu=recode(stored, 1.0)[0].astype(volume.hu.dtype))
    import jpeg_ls

    low = int(stored.min())
    if stored.max() - low > np.iinfo(np.uint16).max:
        raise InputError("these slices cannot be coded as JPEG-LS", found=f"values from {low} to {stored.max()}",
                         expected="a span of at most 16 bits")  # fmt: skip
    slices = [jpeg_ls.decode(jpeg_ls.encode((image - low).astype(np.uint16))) for image in stored]
    return replace(volume, hu=(np.stack(slices).astype(np.int64) + low).astype(volume.hu.dtype))


def compress_jpeg2000(volume: CTVolume, strength: float) -> CTVolume:
    """Lossy JPEG 2000, each slice at that ratio of bits stored to bits coded."""
    _require(strength > 1, strength, "a ratio above 1")
    return replace(volume, hu=recode(_whole(volume), strength)[0].astype(volume.hu.dtype))


def compress_jpeg(volume: CTVolume, strength: float) -> CTVolume:
    """Lossy JPEG Extended of 12 bits at about that ratio: one table for all slices, found on the middle one.

    Values beyond -1024 to 3071 HU do not fit 12 bits and become the nearest that do.
    """
    _require(strength > 1, strength, "a ratio above 1")
    stored = np.clip(_whole(volume), *TWELVE_BITS_HU) - TWELVE_BITS_HU[0]
    table = find_table(stored[len(stored) // 2], strength)
    slices = np.stack([pass_through(image, table)[0] for image in stored])
    return replace(volume, hu=(slices + TWELVE_BITS_HU[0]).astype(volume.hu.dtype))


def resample_matrix(volume: CTVolume, strength: float) -> CTVolume:
    """As many rows and columns as the strength says, over the same field of view.

    Fewer by averaging areas, more by cubic splines. The outer edges of the image stay where they were, so the middle of
    the first pixel moves by half of what its size changes.
    """
    size = int(strength)
    _require(size == strength and size >= 32, strength, "a whole number of rows and columns, 32 or more")
    shape = volume.hu.shape[1:]
    if shape == (size, size):
        raise InputError("the slices have this matrix already", found=f"{size} x {size}")
    step_mm = [old * n / size for old, n in zip(volume.spacing_mm[1:], shape, strict=True)]
    if size < min(shape):
        down, across = (_overlaps(n, 1.0, np.arange(size) * n / size, n / size) for n in shape)
        slices = [down @ image.astype(np.float32) @ across.T for image in volume.hu]
    else:
        grid = np.meshgrid(*((np.arange(size) + 0.5) * n / size - 0.5 for n in shape), indexing="ij")
        slices = [ndimage.map_coordinates(i.astype(np.float32), grid, order=3, mode="nearest") for i in volume.hu]
    moved = [(new - old) / 2 for new, old in zip(step_mm, volume.spacing_mm[1:], strict=True)]
    origins = volume.origins_mm + moved[0] * volume.column_direction + moved[1] * volume.row_direction
    return replace(
        volume, hu=_store(slices, volume), origins_mm=origins, spacing_mm=(volume.spacing_mm[0], step_mm[0], step_mm[1])
    )


def reslice(volume: CTVolume, strength: float) -> CTVolume:
    """Slices of that many mm, side by side: averages of the thinner ones, run by run.

    A slice counts for as much of the slab as it covers, half a step to either side. What is left over at the end of a
    run is dropped.
    """
    have_mm = max(volume.spacing_mm[0], volume.slice_thickness_mm or 0.0)
    _require(strength > 0, strength, "millimetres above 0")
    if have_mm >= strength - 1e-6:
        raise InputError(
            "the slices are as thick already", found=f"{have_mm:g} mm", expected=f"less than {strength:g} mm"
        )
    slices, origins = [], []
    for run in volume.runs:
        count = run.stop - run.start
        if count < 2:
            continue
        step = (volume.positions_mm[run.stop - 1] - volume.positions_mm[run.start]) / (count - 1)
        starts = np.arange(int(count * step / strength + 1e-6)) * strength
        weights = _overlaps(count, step, starts, strength)
        slices += [np.tensordot(w[w > 0], volume.hu[run][w > 0].astype(np.float32), 1) for w in weights]
        middle = (starts + strength / 2) / step - 0.5  # in slices of the run
        origins += [[np.interp(m, np.arange(count), axis) for axis in volume.origins_mm[run].T] for m in middle]
    if not slices:
        raise InputError("no run of slices is as long as one new slice", expected=f"{strength:g} mm or more")
    return replace(
        volume,
        hu=_store(slices, volume),
        origins_mm=np.array(origins),
        spacing_mm=(float(strength), *volume.spacing_mm[1:]),
        slice_thickness_mm=float(strength),
        sop_instance_uids=("",) * len(slices),
        source_files=("",) * len(slices),
        frame_numbers=(1,) * len(slices),
    )


def smooth(volume: CTVolume, strength: float) -> CTVolume:
    """Like iterative reconstruction at that many percent: so much of each slice is what an edge-keeping filter leaves.

    The filter is bilateral, 7 x 7 pixels, its range 2.5 times the scan's own noise; vendors mix reconstructions alike
    ("ASiR 50 %") but work on projections, of which nothing is left in the images.
    """
    _require(0 < strength <= 100, strength, "percent, at most 100")
    share, noise_hu = np.float32(strength / 100), _noise_of(volume)
    slices = []
    for image in volume.hu:
        exact = image.astype(np.float32)
        slices.append((1 - share) * exact + share * split(exact, noise_hu))
    return replace(volume, hu=_store(slices, volume))


def sharpen(volume: CTVolume, strength: float) -> CTVolume:
    """Unsharp mask: what a Gaussian of one pixel takes away, added so many times."""
    _require(strength > 0, strength, "an amount above 0")
    slices = []
    for image in volume.hu:
        exact = image.astype(np.float32)
        mean = ndimage.gaussian_filter(exact, SHARPEN_PX, mode="nearest")
        slices.append(exact + np.float32(strength) * (exact - mean))
    return replace(volume, hu=_store(slices, volume))


def rotate(volume: CTVolume, strength: float) -> CTVolume:
    """Resampled by cubic splines onto a grid turned by so many degrees about the middle of the slices.

    Directions and origins turn with the grid, so every structure stays where it was in the patient. Corners that lay
    outside of the old grid hold the lowest value of the series.
    """
    angle = np.radians(strength)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # (y, x) mm of new axes
    step = np.array(volume.spacing_mm[1:])
    matrix = turn * step / step[:, None]
    middle = (np.array(volume.hu.shape[1:]) - 1) / 2
    first = middle - matrix @ middle  # where the new first pixel lies on the old grid
    low = float(volume.hu.min())
    slices = [
        ndimage.affine_transform(image.astype(np.float32), matrix, first, order=3, mode="constant", cval=low)
        for image in volume.hu
    ]
    down, across = volume.column_direction, volume.row_direction
    origins = volume.origins_mm + first[0] * step[0] * down + first[1] * step[1] * across
    return replace(
        volume,
        hu=_store(slices, volume),
        origins_mm=origins,
        column_direction=turn[0, 0] * down + turn[1, 0] * across,
        row_direction=turn[0, 1] * down + turn[1, 1] * across,
    )


def clip_12_bits(volume: CTVolume, strength: float) -> CTVolume:
    """HU below -1024 and above 3071 become these: what 12 bits hold. Only strength 1 there is."""
    _require(strength == 1, strength, "1")
    return replace(volume, hu=np.clip(volume.hu, *TWELVE_BITS_HU))


PROCESSINGS = (
    Processing("lossless", "recompressed without loss", "1 JPEG-LS, 2 JPEG 2000", (1, 2), recompress),
    Processing("jpeg2000", "lossy JPEG 2000", "ratio", (5, 10, 20), compress_jpeg2000),
    Processing("jpeg", "lossy JPEG, 12 bits", "ratio", (5, 10, 20), compress_jpeg),
    Processing("matrix", "resampled to another matrix", "rows and columns", (256, 768), resample_matrix),
    Processing("reslice", "averaged to thicker slices", "mm", (3, 5), reslice),
    Processing("smooth", "smoothed like iterative reconstruction", "%", (30, 50, 70), smooth),
    Processing("sharpen", "sharpened by an unsharp mask", "amount", (0.5, 1.0, 1.5), sharpen),
    Processing("rotate", "turned and resampled", "degrees", (1, 3, 10), rotate),
    Processing("clip12", "clipped to 12 bits", "1", (1,), clip_12_bits),
)


def _require(holds: bool, found: float, expected: str) -> None:
    if not holds:
        raise UsageError("a strength that makes no sense", found=found, expected=expected)


def _whole(volume: CTVolume) -> np.ndarray:
    """(z, y, x) int64; codecs hold whole numbers."""
    whole = np.rint(volume.hu).astype(np.int64)
    if not np.array_equal(whole, volume.hu):
        raise InputError("values between whole HU cannot be coded without loss of them", expected="whole HU")
    return whole


def _store(slices: list[np.ndarray], volume: CTVolume) -> np.ndarray:
    """Whole HU of the volume's dtype, within 12 bits or, where it is wider, the range the volume had."""
    low = min(TWELVE_BITS_HU[0], int(volume.hu.min()))
    high = max(TWELVE_BITS_HU[1], int(volume.hu.max()))
    return np.clip(np.rint(np.stack(slices)), low, high).astype(volume.hu.dtype)


def _overlaps(count: int, step: float, starts: np.ndarray, width: float) -> np.ndarray:
    """(len(starts), count) float32: which part of each stretch each of ``count`` cells covers; rows sum to 1."""
    edges = np.arange(count) * step
    low = np.maximum(edges, starts[:, None])
    high = np.minimum(edges + step, starts[:, None] + width)
    part = np.maximum(high - low, 0)
    return (part / part.sum(axis=1, keepdims=True)).astype(np.float32)


def _noise_of(volume: CTVolume) -> float:
    """Robust standard deviation in HU of the high-passed soft tissue of a few slices; of all pixels where none is."""
    found, anywhere = [], []
    for z in np.unique(np.linspace(0, volume.slice_count - 1, NOISE_SLICES).round().astype(int)):
        image = volume.hu[z].astype(np.float32)
        mean = ndimage.gaussian_filter(image, HIGH_PASS_PX, mode="nearest")
        rest = np.abs(image - mean)
        inside = (mean > SOFT_TISSUE_HU[0]) & (mean < SOFT_TISSUE_HU[1])
        anywhere.append(float(np.median(rest)))
        if inside.sum() >= LEAST_SOFT_PX:
            found.append(float(np.median(rest[inside])))
    return MAD_TO_SD * float(np.median(found or anywhere))
