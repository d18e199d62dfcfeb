"""Rules on pixels against the header: range, depth, scale, and pixels that occur twice."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from verict.detect.evidence import Confidence
from verict.detect.header_rules.rule import Hit, Rule, rule
from verict.detect.header_rules.table import HeaderTable

_AIR_HU = -1024  # the lowest value scanners store for measured air; lower ones are padding
_SAMPLED = 8  # slices looked at where every one would take too long
_FEW_LEVELS = 257  # grey levels an 8-bit image can have, one more for what lies outside the field
_FEWEST_LEVELS = 32  # of a slice that can be told from another; empty ones are alike
_WIDE_HU = 600  # a range that noise fills with more levels than that


def _ranges(table: HeaderTable) -> list[tuple[float, float]]:
    """(rows,) lowest and highest HU over the frames of each row."""
    hu = table.volume.hu
    return [
        (float(min(hu[z].min() for z in frames)), float(max(hu[z].max() for z in frames)))
        for frames in table.slices_of_row
    ]


def _sampled(table: HeaderTable) -> list[int]:
    """Up to eight z indices spread over the series."""
    count = table.volume.slice_count
    return sorted(set(np.linspace(0, count - 1, min(_SAMPLED, count)).astype(int).tolist()))


@rule(
    "declared_range_disagrees",
    "The pixels do not have the range the header declares",
    Confidence.CONTRADICTION,
    Confidence.UNUSUAL,
    Confidence.NOTABLE,
    why="SmallestImagePixelValue and LargestImagePixelValue are the lowest and highest value in the image (PS3.3 "
    "C.7.6.3). Where they fit exactly on most slices and not on a few, the pixels of these were changed after the "
    "header was written.",
    benign=("makers that write one value for the whole series", "burned-in text removed by blackening"),
    degrees="where the range is exact on four fifths or more of at least five slices: CONTRADICTION for slices that go "
    "beyond theirs, UNUSUAL for slices that stay below; else NOTABLE",
)
def declared_range_disagrees(table: HeaderTable) -> Iterator[Hit]:
    """Lowest and highest stored value of each slice against the declared ones."""
    if not table.any_has("LargestImagePixelValue") and not table.any_has("SmallestImagePixelValue"):
        return
    slopes, intercepts = table.number("RescaleSlope"), table.number("RescaleIntercept")
    padded, ranges = table.any_has("PixelPaddingValue"), _ranges(table)
    for keyword, end, sign in (("LargestImagePixelValue", 1, 1), ("SmallestImagePixelValue", 0, -1)):
        declared = table.number(keyword)
        excess: dict[int, float] = {}
        for i, value in enumerate(declared):
            if value is None or not slopes[i] or slopes[i] < 0 or intercepts[i] is None or (end == 0 and padded):
                continue
            excess[i] = sign * ((ranges[i][end] - intercepts[i]) / slopes[i] - value)
        wrong = [i for i, value in excess.items() if abs(value) > 1.0]
        beyond = [i for i in wrong if excess[i] > 0]
        mostly_exact = len(excess) >= 5 and len(wrong) <= 0.2 * len(excess)
        if wrong and (beyond or mostly_exact):
            rows = beyond or wrong
            sure = Confidence.CONTRADICTION if beyond else Confidence.UNUSUAL
            at = rows[0]
            tag = table.tag(keyword, f"{declared[at]:g}", f"{declared[at] + sign * excess[at]:g} in the pixels")
            yield Hit(
                (tag,),
                table.slices(rows),
                f"{len(rows)} of {len(excess)} slices",
                sure if mostly_exact else Confidence.NOTABLE,
            )


@rule(
    "bits_disagree",
    "The declared bit depth contradicts itself",
    Confidence.UNUSUAL,
    why="HighBit is one less than BitsStored, and BitsStored no more than BitsAllocated (PS3.5 8.1.1).",
    benign=("very old scanners that kept the value in the upper bits",),
)
def bits_disagree(table: HeaderTable) -> Iterator[Hit]:
    """HighBit, BitsStored and BitsAllocated do not belong together."""
    allocated, stored, high = (table.number(k) for k in ("BitsAllocated", "BitsStored", "HighBit"))
    rows = [
        i
        for i in range(len(table))
        if None not in (allocated[i], stored[i], high[i]) and (high[i] != stored[i] - 1 or stored[i] > allocated[i])
    ]
    if rows:
        at = rows[0]
        tags = (
            table.tag("BitsStored", f"{stored[at]:g} of {allocated[at]:g} allocated"),
            table.tag("HighBit", f"{high[at]:g}", f"{stored[at] - 1:g}"),
        )
        yield Hit(tags, table.slices(rows))


@rule(
    "beyond_bits_stored",
    "Pixels need more bits than BitsStored",
    Confidence.UNUSUAL,
    why="A stored value fits into BitsStored bits. Values that do not were put in by a program that took no notice.",
    benign=(
        "padding written outside the range by older scanners",
        "overlays kept in the upper bits, as was once allowed",
    ),
)
def beyond_bits_stored(table: HeaderTable) -> Iterator[Hit]:
    """The reader had to clear bits above BitsStored, though HighBit is where it belongs."""
    stored, high = table.number("BitsStored"), table.number("HighBit")
    in_place = all(b is None or h is None or h == b - 1 for b, h in zip(stored, high, strict=True))
    if in_place and any(note.code == "bits_above_stored" for note in table.volume.notes):
        yield Hit((table.tag("BitsStored", table.first("BitsStored"), "more bits for the values found"),))


@rule(
    "hu_written_back",
    "Pixels below air that the header does not call padding",
    Confidence.UNUSUAL,
    why="With slope 1 and intercept 0 the file holds HU, and values below -1024 are no measurement. Padding shifted by "
    "an intercept that is no longer in the header (for example -3024 = -2000 - 1024) shows that pixels were "
    "converted to HU by a program and written back.",
    benign=("conversion to HU by research software", "scanners that pad with their own value and do not declare it"),
)
def hu_written_back(table: HeaderTable) -> Iterator[Hit]:
    """Slope 1, intercept 0, values below -1024 other than the declared padding."""
    slopes, intercepts, padding = (table.number(k) for k in ("RescaleSlope", "RescaleIntercept", "PixelPaddingValue"))
    candidates = [i for i in range(len(table)) if slopes[i] == 1 and intercepts[i] == 0]
    if not candidates:
        return
    ranges = _ranges(table)
    rows = [i for i in candidates if ranges[i][0] < _AIR_HU - 0.5 and ranges[i][0] != _signed(padding[i])]
    if rows:
        at = rows[0]
        declared = "none" if padding[at] is None else f"{_signed(padding[at]):g}"
        tags = (
            table.tag("RescaleIntercept", f"0, lowest pixel {ranges[at][0]:g} HU", "nothing below -1024 HU"),
            table.tag("PixelPaddingValue", declared),
        )
        yield Hit(tags, table.slices(rows), f"{len(rows)} of {len(table)} slices")


def _signed(value: float | None) -> float | None:
    return value - 65536 if value is not None and value > 32767 else value


@rule(
    "hu_stored_directly",
    "The file holds HU directly, although it calls itself original",
    Confidence.NOTABLE,
    why="Most scanners store values with an intercept of -1024 or so. Signed HU with intercept 0 are what conversion "
    "programs write, among them the published tools for forging CT.",
    benign=("older GE scanners and some others store HU directly", "research collections converted to HU"),
)
def hu_stored_directly(table: HeaderTable) -> Iterator[Hit]:
    """Signed pixels, slope 1, intercept 0, ImageType ORIGINAL."""
    kinds = table.texts("ImageType")
    slopes, intercepts, signed = (table.number(k) for k in ("RescaleSlope", "RescaleIntercept", "PixelRepresentation"))
    rows = [
        i
        for i in range(len(table))
        if slopes[i] == 1 and intercepts[i] == 0 and signed[i] == 1 and (kinds[i] or "").upper().startswith("ORIGINAL")
    ]
    if rows:
        yield Hit((table.tag("RescaleIntercept", "0", "-1024 on most scanners"),), table.slices(rows))


@rule(
    "coarse_steps",
    "The pixel values come in coarse steps",
    Confidence.UNUSUAL,
    why="A scanner uses every stored value. Values that are all multiples of one number, or as few as an 8-bit "
    "picture has, went through a program that kept less.",
    benign=("images returned from 8-bit or lossy formats", "phantoms and simulations"),
)
def coarse_steps(table: HeaderTable) -> Iterator[Hit]:
    """A common divisor, or at most 257 levels over a wide range, on all of up to eight slices of the series."""
    divisors, levels = [], []
    for z in _sampled(table):
        thin = 2 if min(table.volume.hu.shape[1:]) >= 256 else 1  # every fourth pixel is plenty
        frame = table.volume.hu[z, ::thin, ::thin]
        if frame.dtype.kind == "f":
            return
        low = int(frame.min())
        counts = np.bincount((frame.astype(np.int32) - low).ravel()) if int(frame.max()) - low < 1 << 17 else None
        if counts is None:
            return
        present = np.flatnonzero(counts)
        if len(present) < 16:  # an empty or a test image: nothing to say
            return
        body = present[1:] - present[1]  # the lowest may be padding, off the grid of the rest
        divisors.append(int(np.gcd.reduce(body)))
        levels.append(len(present) if present[-1] - present[1] > _WIDE_HU else 1 << 16)
    divisor = int(np.gcd.reduce(divisors)) if divisors else 1
    if divisor > 1:
        yield Hit(
            (table.tag("RescaleSlope", table.first("RescaleSlope") or "(missing)"),), (), f"steps of {divisor} HU"
        )
    elif levels and max(levels) <= _FEW_LEVELS:
        found = table.first("BitsStored") or "(missing)"
        yield Hit((table.tag("BitsStored", found),), (), f"at most {max(levels)} values a slice")


@rule(
    "pixels_repeated",
    "Slices at different places hold the same pixels",
    Confidence.CONTRADICTION,
    Confidence.UNUSUAL,
    why="Noise never repeats: two slices with equal pixels are one image stored twice under two positions.",
    benign=("slices repeated to fill a gap or to make the spacing finer", "phantoms and simulations"),
    degrees="UNUSUAL on images that call themselves DERIVED",
)
def pixels_repeated(table: HeaderTable) -> Iterator[Hit]:
    """Two slices with pixel for pixel equal content, not flat, at different positions."""
    if not (table.has_positions or table.has_frames):
        return
    hu, positions = table.volume.hu, table.volume.positions_mm
    alike: dict[int, list[int]] = defaultdict(list)
    for z in range(table.volume.slice_count):
        alike[zlib.crc32(hu[z, ::8, ::8].tobytes())].append(z)
    same: set[int] = set()
    for group in alike.values():
        for first, second in pairwise(group):
            apart = abs(positions[first] - positions[second]) > 0.01
            if apart and np.unique(hu[first]).size >= _FEWEST_LEVELS and np.array_equal(hu[first], hu[second]):
                same |= {first, second}
    if same:
        confidence = Confidence.UNUSUAL if table.is_derived else Confidence.CONTRADICTION
        tag = table.tag("ImagePositionPatient", "different", "one place for one image")
        yield Hit((tag,), tuple(sorted(same)), f"{len(same)} slices", confidence)


RULES: tuple[Rule, ...] = (
    declared_range_disagrees,
    bits_disagree,
    beyond_bits_stored,
    hu_written_back,
    hu_stored_directly,
    coarse_steps,
    pixels_repeated,
)
