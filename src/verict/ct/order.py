"""Order along the normal, and what the positions say: duplicates, gaps, gantry tilt.

Source: PS3.3 C.7.6.2 (Image Plane): the position of voxel [0, 0], the direction cosines of rows and columns.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from verict.ct.volume import GAP_STEPS, Note
from verict.errors import GeometryError, say_count

SAME_POSITION_MM = 0.01  # writers round positions to 0.001 mm or finer; no CT steps that little
MAX_COORDINATE_MM = 1e5
MIN_PIXEL_MM, MAX_PIXEL_MM = 0.01, 20.0  # micro-CT to a very coarse resampling
COSINE_TOLERANCE = 0.01  # direction cosines further from unit length or a right angle are refused
TILT_DEG = 0.5  # rounding of positions stays below this
_EXPORT = "export the series again with its geometry"


@dataclass(frozen=True)
class Frame:
    """One slice to be: a frame of a file and where it lies. ``slope`` and ``intercept`` are None where missing."""

    item: int
    number: int
    name: str
    sop_instance_uid: str
    instance_number: int | None
    position_mm: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing_mm: tuple[float, ...] | None
    slice_thickness_mm: float | None
    gantry_tilt_deg: float | None = None
    slope: float | None = None
    intercept: float | None = None


@dataclass(frozen=True, eq=False)
class Ordered:
    """Frames in order with their geometry: origins (n, 3) mm, unit directions, (row, column) spacing in mm."""

    frames: tuple[Frame, ...]
    origins_mm: np.ndarray
    row_direction: np.ndarray
    column_direction: np.ndarray
    pixel_spacing_mm: tuple[float, float]
    notes: tuple[Note, ...]
    failures: tuple[GeometryError, ...]


def order_frames(frames: list[Frame]) -> Ordered:
    """Order the frames of one series along the normal of ImageOrientationPatient, ascending.

    Raises
    ------
    GeometryError
        If spacing or orientation cannot be used, or several slices have neither positions nor instance numbers.
    """
    notes: list[Note] = []
    frames = _keep_one_plane(frames, notes)
    spacing = _check_spacing(frames[0])
    row, column = _check_orientation(frames[0], notes)
    normal = np.cross(row, column)
    placed = [frame for frame in frames if _usable(frame.position_mm)]
    failures: tuple[GeometryError, ...] = ()
    if not placed:
        frames, origins = _order_by_number(frames, normal, notes)
    else:
        failures = tuple(_no_position(frame) for frame in frames if not _usable(frame.position_mm))
        placed = _drop_same_position(placed, normal, notes)
        frames = placed
        origins = np.array([frame.position_mm for frame in placed], dtype=np.float64)
    return Ordered(tuple(frames), origins, row, column, spacing, tuple(notes), failures)


def describe_geometry(
    origins_mm: np.ndarray, normal: np.ndarray, frames: tuple[Frame, ...]
) -> tuple[float, tuple[Note, ...]]:
    """Slice spacing in mm and notes on gaps, uneven steps, tilt and instance numbers.

    Parameters
    ----------
    origins_mm
        (n, 3) in order.
    normal
        (3,) unit vector.
    frames
        The same slices.

    Returns
    -------
    float
        Median step along the normal; of a single slice its thickness, 0.0 where missing.
    tuple of Note
    """
    thickness = thickness_of(frames)
    notes: list[Note] = []
    if len(frames) == 1:
        if not thickness:
            notes.append(Note("thickness_missing", "a single slice without SliceThickness: its extent in z is unknown"))
        return thickness or 0.0, tuple(notes)
    positions = origins_mm @ normal
    steps = np.diff(positions)
    usual = float(np.median(steps))
    if thickness and usual > GAP_STEPS * thickness:
        notes.append(Note("spaced_slices", _say_spaced(usual, thickness, len(frames))))
    notes += _note_gaps(positions, steps, usual, frames)
    even = np.abs(steps / usual - np.round(steps / usual)) if usual > 0 else np.zeros_like(steps)
    if even.max() > 0.1:
        notes.append(
            Note("uneven_steps", f"steps vary from {steps.min():.3f} to {steps.max():.3f} mm (median {usual:.3f})")
        )
    notes += _note_tilt(origins_mm, normal, frames)
    notes += _note_numbers(frames)
    return usual, tuple(notes)


def _say_spaced(step_mm: float, thickness_mm: float, count: int) -> str:
    what = "the two slices lie" if count == 2 else "slices usually lie"
    return f"{what} {step_mm:.2f} mm apart and are {thickness_mm:.2f} mm thick: the tissue between is not in the series"


def thickness_of(frames: tuple[Frame, ...]) -> float | None:
    """The commonest usable SliceThickness in mm, or None."""
    known = Counter(f.slice_thickness_mm for f in frames if f.slice_thickness_mm and 0 < f.slice_thickness_mm < 1000)
    return known.most_common(1)[0][0] if known else None


def _usable(position: tuple[float, ...] | None) -> bool:
    return position is not None and all(abs(value) <= MAX_COORDINATE_MM for value in position)


def _keep_one_plane(frames: list[Frame], notes: list[Note]) -> list[Frame]:
    """Of frames with several orientations or spacings (multi-frame files only) keep the largest group."""
    planes = Counter((_rounded(f.orientation), _rounded(f.pixel_spacing_mm)) for f in frames)
    if len(planes) == 1:
        return frames
    best = planes.most_common(1)[0][0]
    kept = [f for f in frames if (_rounded(f.orientation), _rounded(f.pixel_spacing_mm)) == best]
    close = [f for f in frames if _same_plane(f, kept[0])]
    if len(close) < len(frames):
        notes.append(
            Note(
                "frames_left_out",
                f"left out, in another plane or grid: {len(frames) - len(close)} of {say_count(len(frames), 'frame')}",
            )
        )
    return close


def _rounded(values: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(round(value, 4) for value in values)


def _same_plane(one: Frame, other: Frame) -> bool:
    pairs = ((one.orientation, other.orientation), (one.pixel_spacing_mm, other.pixel_spacing_mm))
    return all(
        a is b or (a is not None and b is not None and np.allclose(a, b, rtol=1e-3, atol=1e-3)) for a, b in pairs
    )


def _check_spacing(frame: Frame) -> tuple[float, float]:
    spacing = frame.pixel_spacing_mm
    if spacing is None or not all(MIN_PIXEL_MM <= value <= MAX_PIXEL_MM for value in spacing):
        raise GeometryError(
            "pixel spacing missing or impossible",
            file=frame.name,
            tag="PixelSpacing (0028,0030)",
            found="nothing, or no two finite numbers" if spacing is None else "\\".join(f"{v:g}" for v in spacing),
            expected=f"two numbers from {MIN_PIXEL_MM} to {MAX_PIXEL_MM:g} mm",
            next_step=_EXPORT,
        )
    return float(spacing[0]), float(spacing[1])


def _check_orientation(frame: Frame, notes: list[Note]) -> tuple[np.ndarray, np.ndarray]:
    if frame.orientation is None:
        notes.append(Note("orientation_missing", "ImageOrientationPatient missing or unusable; taken for plain axial"))
        return np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    row, column = np.array(frame.orientation[:3]), np.array(frame.orientation[3:])
    lengths = math.hypot(*row), math.hypot(*column)
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(float(row @ column))) > COSINE_TOLERANCE:
        raise GeometryError(
            "the direction cosines are no directions",
            file=frame.name,
            tag="ImageOrientationPatient (0020,0037)",
            found="\\".join(f"{value:g}" for value in frame.orientation),
            expected="two unit vectors at a right angle",
            next_step=_EXPORT,
        )
    row = row / lengths[0]
    column = column - (column @ row) * row
    return row, column / np.linalg.norm(column)


def _no_position(frame: Frame) -> GeometryError:
    return GeometryError(
        "the slice has no usable position; the series is judged without it",
        file=frame.name,
        tag="ImagePositionPatient (0020,0032)",
        found="nothing, or no three finite numbers",
        expected="three numbers in mm",
        next_step=_EXPORT,
    )


def _order_by_number(frames: list[Frame], normal: np.ndarray, notes: list[Note]) -> tuple[list[Frame], np.ndarray]:
    """Order slices without any position, and give them positions that are only relative."""
    if len(frames) == 1:
        notes.append(Note("position_missing", "ImagePositionPatient missing: places are given from the slice's corner"))
        return frames, np.zeros((1, 3))
    numbers = [frame.instance_number for frame in frames]
    step = thickness_of(tuple(frames))
    if None in numbers or len(set(numbers)) < len(numbers) or not step:
        raise GeometryError(
            f"none of {len(frames)} slices has a position, and nothing else orders them",
            file=frames[0].name,
            tag="ImagePositionPatient (0020,0032)",
            found="no position, and InstanceNumber or SliceThickness missing or repeated",
            expected="a position in each slice",
            next_step=_EXPORT,
        )
    ordered = sorted(frames, key=lambda frame: frame.instance_number or 0)
    offsets = np.array([frame.instance_number for frame in ordered], dtype=np.float64)
    offsets -= offsets[0]
    notes.append(
        Note(
            "position_missing",
            f"ImagePositionPatient missing: ordered by InstanceNumber, {step:g} mm apart by SliceThickness; "
            "head and feet may be swapped",
        )
    )
    return ordered, offsets[:, None] * step * normal


def _drop_same_position(frames: list[Frame], normal: np.ndarray, notes: list[Note]) -> list[Frame]:
    def place(frame: Frame) -> float:
        return float(np.dot(frame.position_mm, normal))  # type: ignore[arg-type]

    ordered = sorted(frames, key=place)
    kept: list[Frame] = []
    dropped: list[Frame] = []
    start = 0
    while start < len(ordered):
        stop = start + 1
        while stop < len(ordered) and place(ordered[stop]) - place(ordered[start]) < SAME_POSITION_MM:
            stop += 1
        same = sorted(ordered[start:stop], key=_by_number)
        kept.append(same[0])
        dropped += same[1:]
        start = stop
    if dropped:
        where = ", ".join(f"{place(f):.2f}" for f in dropped[:5]) + (", ..." if len(dropped) > 5 else "")
        notes.append(
            Note(
                "duplicate_position",
                f"{say_count(len(dropped), 'slice')} at the position of another (at {where} mm); the lowest "
                "InstanceNumber of each position is examined, the others are not",
                tuple(f.sop_instance_uid for f in dropped),
            )
        )
    return kept


def _by_number(frame: Frame) -> tuple[bool, int, str, int]:
    return frame.instance_number is None, frame.instance_number or 0, frame.name, frame.number


def _note_gaps(positions: np.ndarray, steps: np.ndarray, usual: float, frames: tuple[Frame, ...]) -> list[Note]:
    gaps = np.flatnonzero(steps > GAP_STEPS * usual)
    if not gaps.size:
        return []
    missing = int(sum(max(1, round(float(steps[i]) / usual) - 1) for i in gaps))
    where = ", ".join(f"{positions[i]:.2f} to {positions[i + 1]:.2f}" for i in gaps[:8])
    more = f" and {gaps.size - 8} more" if gaps.size > 8 else ""
    return [
        Note(
            "gap",
            f"{say_count(gaps.size, 'gap')}, about {say_count(missing, 'slice')} missing: {where}{more} mm along the "
            f"normal (usual step {usual:.2f} mm)",
            tuple(frames[i].sop_instance_uid for i in gaps),
        )
    ]


def _note_tilt(origins_mm: np.ndarray, normal: np.ndarray, frames: tuple[Frame, ...]) -> list[Note]:
    """Name a drift of the origins across the normal: a tilted gantry, or a field of view that moves."""
    steps = np.diff(origins_mm, axis=0)
    along = steps @ normal
    across = steps - along[:, None] * normal
    total = origins_mm[-1] - origins_mm[0]
    sideways = float(np.linalg.norm(total - (total @ normal) * normal))
    degrees = math.degrees(math.atan2(sideways, float(total @ normal)))
    slope = across / along[:, None]
    steady = float(np.abs(slope - slope.mean(0)).max()) < 0.05
    if degrees > TILT_DEG and steady:
        said = frames[0].gantry_tilt_deg
        header = "" if said is None else f" (GantryDetectorTilt says {said:g})"
        return [Note("gantry_tilt", f"slices are sheared by {degrees:.1f} degrees{header}; voxels stay as acquired")]
    if float(np.linalg.norm(across, axis=1).max()) > 1.0:
        return [Note("moving_origin", "slice origins move across the normal by more than 1 mm between neighbours")]
    return []


def _note_numbers(frames: tuple[Frame, ...]) -> list[Note]:
    numbers = [frame.instance_number for frame in frames if frame.number == 1]
    if len(numbers) < len(frames):  # frames of one file share its number
        return []
    missing = numbers.count(None)
    known = [number for number in numbers if number is not None]
    repeated = len(known) - len(set(known))
    notes = []
    if missing:
        notes.append(Note("instance_number_missing", f"InstanceNumber is missing in {say_count(missing, 'slice')}"))
    if repeated:
        notes.append(Note("instance_number_repeated", f"InstanceNumber repeats in {say_count(repeated, 'slice')}"))
    if len(known) > 2 and not repeated:
        rising = np.diff(known) > 0
        if rising.any() and not rising.all():
            notes.append(Note("instance_number_order", "InstanceNumber does not follow the slices' positions"))
    return notes
