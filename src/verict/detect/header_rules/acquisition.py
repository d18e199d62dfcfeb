"""Rules on values a CT scanner cannot have, or that no scanner could have written that way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from verict.detect.evidence import Confidence, TagValue
from verict.detect.header_rules.rule import Hit, Rule, rule
from verict.detect.header_rules.table import HeaderTable, parse_numbers

_TEXT_LIMIT = 16  # characters of a decimal string, PS3.5 6.2


@dataclass(frozen=True)
class Range:
    """What a number may be: ``usual`` on scanners built so far, ``possible`` at all; zero stands for "not set"."""

    usual: tuple[float, float]
    possible: tuple[float, float]
    unit: str


RANGES = {
    # Usual ranges: wider than the technical data of CT scanners built since the 1970s, and than every
    # authentic series examined; possible ranges: signs and magnitudes physics leaves open.
    "KVP": Range((60, 160), (1, 500), "kV"),
    "SliceThickness": Range((0.1, 20), (1e-3, 500), "mm"),
    "XRayTubeCurrent": Range((1, 1600), (1e-3, 100_000), "mA"),
    "ExposureTime": Range((10, 200_000), (1e-3, 1e8), "ms"),
    "Exposure": Range((0.1, 20_000), (1e-6, 1e7), "mAs"),
    "SpiralPitchFactor": Range((0.05, 4), (1e-3, 100), ""),
    "ReconstructionDiameter": Range((40, 900), (1, 5000), "mm"),
    "DataCollectionDiameter": Range((100, 1000), (1, 5000), "mm"),
    "GantryDetectorTilt": Range((-35, 35), (-90, 90), "degrees"),
    "DistanceSourceToDetector": Range((400, 2000), (1, 20_000), "mm"),
    "DistanceSourceToPatient": Range((200, 1500), (1, 20_000), "mm"),
    "RevolutionTime": Range((0.15, 60), (1e-3, 10_000), "s"),
    "SingleCollimationWidth": Range((0.1, 40), (1e-3, 1000), "mm"),
    "TotalCollimationWidth": Range((0.1, 200), (1e-3, 2000), "mm"),
    "CTDIvol": Range((0.001, 500), (1e-9, 1e6), "mGy"),
    "PixelSpacing": Range((0.05, 3), (1e-4, 100), "mm"),
    "RescaleSlope": Range((0.01, 20), (1e-9, 1e6), ""),
}

_NUMBERS = {  # number of values each attribute has (PS3.6 6)
    **dict.fromkeys(RANGES, 1),
    "PixelSpacing": 2,
    "ImagePositionPatient": 3,
    "ImageOrientationPatient": 6,
    "SliceLocation": 1,
    "SpacingBetweenSlices": 1,
    "InstanceNumber": 1,
    "RescaleIntercept": 1,
    "TableHeight": 1,
}
_SPELT = ("PixelSpacing", "ImagePositionPatient", "SliceThickness", "SliceLocation", "RescaleIntercept", "RescaleSlope")


def _outside(table: HeaderTable, keyword: str, low: float, high: float) -> list[int]:
    verdicts: dict[tuple[float, ...], bool] = {}
    rows = []
    for i, values in enumerate(table.numbers(keyword)):
        if values not in verdicts:
            verdicts[values] = any(v != 0 and not low <= v <= high for v in values)
        if verdicts[values]:
            rows.append(i)
    return rows


@rule(
    "value_impossible",
    "A value that no scanner can have",
    Confidence.CONTRADICTION,
    why="The value has a sign or a size that physics or the attribute's definition exclude.",
    benign=("a unit mistaken by a converter",),
)
def value_impossible(table: HeaderTable) -> Iterator[Hit]:
    """A number outside what is possible."""
    for keyword, limits in RANGES.items():
        rows = _outside(table, keyword, *limits.possible)
        if rows:
            yield Hit(_range_tag(table, keyword, rows[0], limits.possible), table.slices(rows), keyword)


@rule(
    "value_unusual",
    "A value outside what CT scanners use",
    Confidence.UNUSUAL,
    why="The value lies outside the range CT scanners have been built for; headers typed by hand or computed by a "
    "program show such values.",
    benign=("research scanners, phantoms, micro-CT", "a unit the maker defines otherwise"),
)
def value_unusual(table: HeaderTable) -> Iterator[Hit]:
    """A number outside the usual range but possible."""
    for keyword, limits in RANGES.items():
        impossible = set(_outside(table, keyword, *limits.possible))
        rows = [i for i in _outside(table, keyword, *limits.usual) if i not in impossible]
        if rows:
            yield Hit(_range_tag(table, keyword, rows[0], limits.usual), table.slices(rows), keyword)


def _range_tag(table: HeaderTable, keyword: str, row: int, limits: tuple[float, float]) -> tuple[TagValue]:
    text, unit = table.texts(keyword)[row] or "", RANGES[keyword].unit
    return (table.tag(keyword, text, f"{limits[0]:g} to {limits[1]:g} {unit}".rstrip()),)


@rule(
    "value_malformed",
    "A number that cannot be read",
    Confidence.UNUSUAL,
    why="The value is not a number, or not as many numbers as the attribute has (PS3.5 6.2). Scanners write these "
    "attributes by program, not by hand.",
    benign=("decimal commas and the like from careless export software", "a damaged file"),
)
def value_malformed(table: HeaderTable) -> Iterator[Hit]:
    """A numeric attribute that does not parse or has the wrong number of values."""
    for keyword, count in _NUMBERS.items():
        texts = table.texts(keyword)
        verdicts = {text: bool(text) and len(parse_numbers(text or "") or ()) != count for text in set(texts)}
        rows = [i for i, text in enumerate(texts) if verdicts[text]]
        if rows:
            tag = table.tag(keyword, texts[rows[0]], "one number" if count == 1 else f"{count} numbers")
            yield Hit((tag,), table.slices(rows), keyword)


@rule(
    "number_too_long",
    "A number longer than DICOM allows",
    Confidence.UNUSUAL,
    why="A decimal string has at most 16 characters (PS3.5 6.2). General-purpose programs write all the digits they "
    "have; scanners do not.",
    benign=("research software that wrote corrected geometry",),
)
def number_too_long(table: HeaderTable) -> Iterator[Hit]:
    """A decimal string of more than 16 characters."""
    for keyword in _SPELT:
        texts = table.texts(keyword)
        long = {text for text in set(texts) if any(len(part) > _TEXT_LIMIT for part in (text or "").split("\\"))}
        rows = [i for i, text in enumerate(texts) if text in long] if long else []
        if rows:
            part = max((texts[rows[0]] or "").split("\\"), key=len)
            yield Hit((table.tag(keyword, part, "at most 16 characters"),), table.slices(rows), keyword)


@rule(
    "pitch_disagrees",
    "Pitch, table feed and collimation do not belong together",
    Confidence.UNUSUAL,
    why="SpiralPitchFactor is TableFeedPerRotation over TotalCollimationWidth (PS3.3 C.8.15.3.3), and the feed is "
    "TableSpeed times RevolutionTime; a header changed in one of them contradicts itself.",
    benign=("dual-source scanners", "makers that count pitch per detector row"),
)
def pitch_disagrees(table: HeaderTable) -> Iterator[Hit]:
    """Pitch against feed and collimation, feed against speed and revolution time; 5 % allowed."""
    pitch, feed, width = (
        table.number(k) for k in ("SpiralPitchFactor", "TableFeedPerRotation", "TotalCollimationWidth")
    )
    speed, turn = table.number("TableSpeed"), table.number("RevolutionTime")
    bad_pitch = [
        i for i in range(len(table)) if pitch[i] and feed[i] and width[i] and _off(pitch[i], feed[i] / width[i])
    ]
    bad_feed = [i for i in range(len(table)) if feed[i] and speed[i] and turn[i] and _off(feed[i], speed[i] * turn[i])]
    if bad_pitch:
        at = bad_pitch[0]
        tag = table.tag("SpiralPitchFactor", f"{pitch[at]:g}", f"{feed[at] / width[at]:.3g} by feed and collimation")
        yield Hit((tag,), table.slices(bad_pitch))
    if bad_feed:
        at = bad_feed[0]
        tag = table.tag("TableFeedPerRotation", f"{feed[at]:g} mm", f"{speed[at] * turn[at]:.4g} mm by speed and time")
        yield Hit((tag,), table.slices(bad_feed))


def _off(value: float, expected: float, tolerance: float = 0.05) -> bool:
    return abs(value - expected) > tolerance * max(abs(value), abs(expected))


@rule(
    "exposure_disagrees",
    "Tube current, time and exposure do not belong together",
    Confidence.NOTABLE,
    why="Exposure is tube current times time, over pitch where the maker corrects for it; far from that, one of "
    "them was copied from elsewhere.",
    benign=("makers that write exposure per view or in other units (GE is left out for this)", "dose modulation"),
)
def exposure_disagrees(table: HeaderTable) -> Iterator[Hit]:
    """Exposure against XRayTubeCurrent x ExposureTime by more than a factor of five."""
    if table.first("Manufacturer").upper().startswith("GE"):
        return
    current, time_ms, exposure = (table.number(k) for k in ("XRayTubeCurrent", "ExposureTime", "Exposure"))
    rows = []
    for i in range(len(table)):
        if all(v is not None and v > 0 for v in (current[i], time_ms[i], exposure[i])):
            ratio = exposure[i] / (current[i] * time_ms[i] / 1000)
            if not 0.2 <= ratio <= 5:
                rows.append(i)
    if rows:
        at = rows[0]
        tag = table.tag("Exposure", f"{exposure[at]:g} mAs", f"about {current[at] * time_ms[at] / 1000:.3g} mAs")
        yield Hit((tag,), table.slices(rows))


@rule(
    "twin_units_disagree",
    "The same quantity is given twice with different values",
    Confidence.UNUSUAL,
    why="Current, time and exposure are stored once in milli and once in micro units; who changes one by hand "
    "forgets the other.",
    benign=("rounding by makers that round hard",),
)
def twin_units_disagree(table: HeaderTable) -> Iterator[Hit]:
    """Milli and micro variants of one quantity differ by more than rounding."""
    for milli, micro in (
        ("XRayTubeCurrent", "XRayTubeCurrentInuA"),
        ("ExposureTime", "ExposureTimeInuS"),
        ("Exposure", "ExposureInuAs"),
    ):
        coarse, fine = table.number(milli), table.number(micro)
        rows = [
            i for i, (a, b) in enumerate(zip(coarse, fine, strict=True)) if a and b and abs(a - b / 1000) > 1 + a / 50
        ]
        if rows:
            at = rows[0]
            tags = (table.tag(milli, f"{coarse[at]:g}", f"{fine[at] / 1000:g}"), table.tag(micro, f"{fine[at]:g}"))
            yield Hit(tags, table.slices(rows))


@rule(
    "source_beyond_detector",
    "The patient lies farther from the X-ray source than the detector",
    Confidence.CONTRADICTION,
    why="The patient is between source and detector, so DistanceSourceToPatient is less than DistanceSourceToDetector.",
    benign=("the two values swapped by a converter",),
)
def source_beyond_detector(table: HeaderTable) -> Iterator[Hit]:
    """DistanceSourceToPatient not below DistanceSourceToDetector."""
    near, far = table.number("DistanceSourceToPatient"), table.number("DistanceSourceToDetector")
    rows = [i for i, (a, b) in enumerate(zip(near, far, strict=True)) if a and b and b > 0 and a >= b]
    if rows:
        at = rows[0]
        yield Hit(
            (table.tag("DistanceSourceToPatient", f"{near[at]:g} mm", f"less than {far[at]:g} mm"),), table.slices(rows)
        )


RULES: tuple[Rule, ...] = (
    value_impossible,
    value_unusual,
    value_malformed,
    number_too_long,
    pitch_disagrees,
    exposure_disagrees,
    twin_units_disagree,
    source_beyond_detector,
)
