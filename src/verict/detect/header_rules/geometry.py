"""Rules on geometry that contradicts itself: where slices lie, how far apart, how large."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from verict.detect.evidence import Confidence
from verict.detect.header_rules.rule import Hit, Rule, rule
from verict.detect.header_rules.table import HeaderTable

_UNIT_TOLERANCE = 0.01  # in a direction cosine; decimal strings keep 16 characters, rounding stays far below
_STEP_TOLERANCE_MM = 0.1
_FIELD_TOLERANCE = 0.02  # of the diameter; on the authentic series met so far the two agree within 0.3 %
_TILT_TOLERANCE_DEG = 1.0


@rule(
    "orientation_not_orthogonal",
    "The slice axes are not perpendicular unit vectors",
    Confidence.CONTRADICTION,
    why="ImageOrientationPatient holds two unit vectors at right angles (PS3.3 C.7.6.2.1.1); no scanner makes others.",
    benign=("a converter that rounded or scaled the direction cosines",),
)
def orientation_not_orthogonal(table: HeaderTable) -> Iterator[Hit]:
    """ImageOrientationPatient is not orthonormal."""
    bad = []
    verdicts: dict[tuple[float, ...], bool] = {}
    for i, values in enumerate(table.numbers("ImageOrientationPatient")):
        if len(values) == 6:
            if values not in verdicts:
                row, column = np.array(values[:3]), np.array(values[3:])
                lengths = abs(math.hypot(*row) - 1) + abs(math.hypot(*column) - 1)
                verdicts[values] = max(lengths, abs(float(row @ column))) > _UNIT_TOLERANCE
            if verdicts[values]:
                bad.append(i)
    if bad:
        found = table.texts("ImageOrientationPatient")[bad[0]] or ""
        yield Hit((table.tag("ImageOrientationPatient", found, "perpendicular unit vectors"),), table.slices(bad))


@rule(
    "slice_location_steps",
    "SliceLocation and position move by different amounts",
    Confidence.UNUSUAL,
    why="SliceLocation is the position along the axis relative to some zero (PS3.3 C.7.6.2.1.2). Zero and sign are "
    "free, but from slice to slice it moves as far as ImagePositionPatient does. Where not, one was rewritten.",
    benign=("SliceLocation left from before a resampling or tilt correction",),
)
def slice_location_steps(table: HeaderTable) -> Iterator[Hit]:
    """Steps of SliceLocation against steps of position; the sign and the zero are free."""
    locations = table.number("SliceLocation")
    rows = [i for i, value in enumerate(locations) if value is not None]
    if len(rows) < 3 or table.has_frames or not table.has_positions:
        return
    along = table.positions_mm[rows]
    vertical = table.volume.origins_mm[[table.slices_of_row[i][0] for i in rows], 2]
    steps = np.abs(np.diff([locations[i] for i in rows]))
    off = np.ones(len(steps), bool)
    for reference in (along, vertical):
        expected = np.abs(np.diff(reference))
        off &= np.abs(steps - expected) > np.maximum(_STEP_TOLERANCE_MM, 0.02 * expected)
    wrong = np.flatnonzero(off)
    if len(wrong) >= 2:
        at = int(wrong[0])
        yield Hit(
            (table.tag("SliceLocation", f"step {steps[at]:g} mm", f"step {abs(along[at + 1] - along[at]):g} mm"),),
            table.slices([rows[i + 1] for i in wrong]),
            f"{len(wrong)} of {len(steps)} steps",
        )


@rule(
    "slice_location_is_counter",
    "SliceLocation holds the slice number, not a place in mm",
    Confidence.UNUSUAL,
    Confidence.NOTABLE,
    why="SliceLocation is in mm. Where it repeats InstanceNumber while the slices lie elsewhere, a program counted "
    "slices and filled the attribute in.",
    benign=("conversion from a format without positions", "chance, on a single slice"),
    degrees="NOTABLE on a single slice",
)
def slice_location_is_counter(table: HeaderTable) -> Iterator[Hit]:
    """SliceLocation equals InstanceNumber though the position does not."""
    locations, counters = table.number("SliceLocation"), table.number("InstanceNumber")
    rows = [i for i, (a, b) in enumerate(zip(locations, counters, strict=True)) if a is not None and b is not None]
    places = table.volume.origins_mm[[table.slices_of_row[i][0] for i in rows], 2] if rows else np.empty(0)
    if not rows or not table.has_positions or any(locations[i] != counters[i] for i in rows):
        return
    if all(abs(abs(z) - abs(locations[i])) < 0.01 for i, z in zip(rows, places, strict=True)):
        return
    confidence = Confidence.UNUSUAL if len(rows) > 1 else Confidence.NOTABLE
    tags = (table.tag("SliceLocation", f"{locations[rows[0]]:g} = InstanceNumber", f"{places[0]:g} mm"),)
    yield Hit(tags, table.slices(rows), confidence=confidence)


@rule(
    "position_is_counter",
    "The slice positions are computed from the slice number",
    Confidence.UNUSUAL,
    Confidence.NOTABLE,
    why="A scanner's positions start wherever the table stood. Positions that are exactly the slice number times "
    "SliceThickness were filled in by a program.",
    benign=("phantoms and simulated scans", "conversion from a format without positions", "chance, on a single slice"),
    degrees="NOTABLE on fewer than three slices",
)
def position_is_counter(table: HeaderTable) -> Iterator[Hit]:
    """The z of ImagePositionPatient is InstanceNumber (or that less one) times SliceThickness on every slice."""
    counters, thicknesses = table.number("InstanceNumber"), table.number("SliceThickness")
    z_mm = [values[2] if len(values) == 3 else np.nan for values in table.numbers("ImagePositionPatient")]
    rows = [i for i in range(len(table)) if counters[i] is not None and thicknesses[i] and np.isfinite(z_mm[i])]
    if not rows or all(abs(z_mm[i]) < 0.01 for i in rows):
        return
    for shift in (0, 1):
        if all(abs((counters[i] - shift) * thicknesses[i] - z_mm[i]) < 1e-3 for i in rows):
            tags = (table.tag("ImagePositionPatient", f"z = {z_mm[rows[-1]]:g} mm", "a place of the table"),)
            few = len({counters[i] for i in rows}) < 3
            yield Hit(tags, table.slices(rows), confidence=Confidence.NOTABLE if few else Confidence.UNUSUAL)
            return


@rule(
    "spacing_disagrees",
    "The slices do not lie as far apart as SpacingBetweenSlices says",
    Confidence.UNUSUAL,
    Confidence.NOTABLE,
    why="SpacingBetweenSlices is the distance between slice centres; another distance means that positions or "
    "spacing were rewritten.",
    benign=("every second slice, or more, was left out", "scanners that write the overlap instead of the distance"),
    degrees="NOTABLE where the distance is a whole multiple",
)
def spacing_disagrees(table: HeaderTable) -> Iterator[Hit]:
    """SpacingBetweenSlices against the median step along the normal."""
    declared = {abs(value) for value in table.number("SpacingBetweenSlices") if value}
    if len(table) < 3 or table.has_frames or not table.has_positions or len(declared) != 1:
        return
    spacing = declared.pop()
    step = float(np.median(np.diff(table.positions_mm)))
    if abs(step - spacing) > max(_STEP_TOLERANCE_MM, 0.05 * spacing):
        multiple = step > spacing and abs(step / spacing - round(step / spacing)) < 0.05
        yield Hit(
            (table.tag("SpacingBetweenSlices", f"{spacing:g} mm", f"{step:g} mm between positions"),),
            confidence=Confidence.NOTABLE if multiple else Confidence.UNUSUAL,
        )


@rule(
    "slices_apart",
    "The slices lie farther apart than they are thick",
    Confidence.NOTABLE,
    why="Tissue between the slices was not imaged, or slices between were taken away.",
    benign=("high-resolution protocols that sample every centimetre", "a selection of slices"),
)
def slices_apart(table: HeaderTable) -> Iterator[Hit]:
    """The median step exceeds SliceThickness by half."""
    thicknesses = [value for value in table.number("SliceThickness") if value and value > 0]
    if len(table) < 3 or table.has_frames or not table.has_positions or not thicknesses:
        return
    thickness, step = float(np.median(thicknesses)), float(np.median(np.diff(table.positions_mm)))
    if step > 1.5 * thickness:
        yield Hit((table.tag("SliceThickness", f"{thickness:g} mm", f"{step:g} mm between positions"),))


@rule(
    "field_of_view_disagrees",
    "The image is not as wide as ReconstructionDiameter says",
    Confidence.UNUSUAL,
    Confidence.NOTABLE,
    why="Scanners choose the pixel spacing as reconstruction diameter over matrix size. Another ratio means that "
    "images were resampled, cropped, or put under the header of another scan.",
    benign=("cropped, padded or resampled images", "scanners that write the scan field instead"),
    degrees="NOTABLE on images that call themselves DERIVED",
)
def field_of_view_disagrees(table: HeaderTable) -> Iterator[Hit]:
    """Rows and Columns times PixelSpacing against ReconstructionDiameter."""
    bad, shown = [], ""
    columns = zip(
        table.number("ReconstructionDiameter"),
        table.numbers("PixelSpacing"),
        table.number("Rows"),
        table.number("Columns"),
        strict=True,
    )
    for i, (diameter, spacing, rows, cols) in enumerate(columns):
        if not diameter or diameter <= 0 or len(spacing) != 2 or not rows or not cols:
            continue
        field = max(rows * spacing[0], cols * spacing[1])
        if abs(field / diameter - 1) > _FIELD_TOLERANCE:
            shown = shown or f"{field:.1f} mm across"
            bad.append(i)
    if bad:
        diameter = table.texts("ReconstructionDiameter")[bad[0]]
        yield Hit(
            (table.tag("ReconstructionDiameter", f"{diameter} mm", shown),),
            table.slices(bad),
            confidence=Confidence.NOTABLE if table.is_derived else Confidence.UNUSUAL,
        )


@rule(
    "reconstruction_exceeds_collection",
    "More was reconstructed than data were collected for",
    Confidence.UNUSUAL,
    why="ReconstructionDiameter lies within DataCollectionDiameter (PS3.3 C.8.2.1) unless the scanner extrapolates.",
    benign=("extended field-of-view reconstruction, as in radiotherapy planning and PET/CT",),
)
def reconstruction_exceeds_collection(table: HeaderTable) -> Iterator[Hit]:
    """ReconstructionDiameter larger than DataCollectionDiameter."""
    inner, outer = table.number("ReconstructionDiameter"), table.number("DataCollectionDiameter")
    rows = [i for i, (a, b) in enumerate(zip(inner, outer, strict=True)) if a and b and b > 0 and a > 1.01 * b]
    if rows:
        at = rows[0]
        tag = table.tag("ReconstructionDiameter", f"{inner[at]:g} mm", f"at most {outer[at]:g} mm")
        yield Hit((tag,), table.slices(rows))


@rule(
    "pixels_not_square",
    "The pixels are not square",
    Confidence.UNUSUAL,
    why="CT is reconstructed on a square grid; unequal spacing means resampling or a rewritten header.",
    benign=("reformatted or resampled images",),
)
def pixels_not_square(table: HeaderTable) -> Iterator[Hit]:
    """The two values of PixelSpacing differ by more than 1 %."""
    spacings = table.numbers("PixelSpacing")
    rows = [i for i, s in enumerate(spacings) if len(s) == 2 and abs(s[0] - s[1]) > 0.01 * max(map(abs, s))]
    if rows:
        found = table.texts("PixelSpacing")[rows[0]] or ""
        yield Hit((table.tag("PixelSpacing", found, "two equal values"),), table.slices(rows))


@rule(
    "posture_disagrees",
    "The image is turned otherwise than PatientPosition says",
    Confidence.NOTABLE,
    why="With the patient on the back rows run towards the back, on the belly towards the front (PS3.3 C.7.3.1.1.2); "
    "a header taken from another scan may say otherwise than the images.",
    benign=("the operator turned the images for reading", "PatientPosition entered wrongly"),
)
def posture_disagrees(table: HeaderTable) -> Iterator[Hit]:
    """PatientPosition supine or prone against the sign of the column direction."""
    positions, orientations = table.texts("PatientPosition"), table.numbers("ImageOrientationPatient")
    sign = {"HFS": 1, "FFS": 1, "HFP": -1, "FFP": -1}
    rows = [
        i
        for i, values in enumerate(orientations)
        if len(values) == 6 and abs(values[4]) > 0.5 and sign.get(positions[i] or "", 0) * values[4] < 0
    ]
    if rows:
        found = table.texts("ImageOrientationPatient")[rows[0]] or ""
        tags = (table.tag("PatientPosition", positions[rows[0]]), table.tag("ImageOrientationPatient", found))
        yield Hit(tags, table.slices(rows))


@rule(
    "tilt_disagrees",
    "The slices are not tilted as GantryDetectorTilt says",
    Confidence.NOTABLE,
    why="A tilted gantry gives tilted slices; tilt in one place only means that images or header were changed.",
    benign=("images straightened by the scanner or a workstation", "an oblique reconstruction"),
)
def tilt_disagrees(table: HeaderTable) -> Iterator[Hit]:
    """Angle between the slice normal and the table axis against GantryDetectorTilt."""
    tilts = table.number("GantryDetectorTilt")
    across = abs(float(table.volume.normal[2]))
    angle = math.degrees(math.acos(min(1.0, across)))
    if angle > 45:  # a reformat, not a tilted gantry
        return
    rows = [i for i, tilt in enumerate(tilts) if tilt is not None and abs(abs(tilt) - angle) > _TILT_TOLERANCE_DEG]
    if rows:
        found = f"{tilts[rows[0]]:g} degrees"
        yield Hit((table.tag("GantryDetectorTilt", found, f"{angle:.1f} degrees"),), table.slices(rows))


RULES: tuple[Rule, ...] = (
    orientation_not_orthogonal,
    slice_location_steps,
    slice_location_is_counter,
    position_is_counter,
    spacing_disagrees,
    slices_apart,
    field_of_view_disagrees,
    reconstruction_exceeds_collection,
    pixels_not_square,
    posture_disagrees,
    tilt_disagrees,
)
