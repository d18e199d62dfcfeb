"""Frames of a file: one for a plain CT image, one a frame of an Enhanced CT with its own geometry and rescale.

Source: PS3.3 C.7.6.16 (Multi-frame Functional Groups), A.38 (Enhanced CT Image IOD).
"""

from __future__ import annotations

import math
import struct
from io import BytesIO

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset

from verict.ct.container import Layout, header_bytes
from verict.ct.instance import Instance
from verict.ct.order import Frame
from verict.ct.part10 import Part10
from verict.errors import GeometryError, InputError, say_count

MAX_FRAMES = 20_000  # ten times the longest whole-body acquisition
PARSE_ERRORS = (ValueError, TypeError, KeyError, AttributeError, IndexError, NotImplementedError, RecursionError,
                OverflowError, EOFError, OSError, MemoryError, struct.error, InvalidDicomError,
                BytesLengthException)  # fmt: skip
"""What pydicom raises on damaged headers, as met on files truncated and damaged at random."""


def parse_header(part: Part10, layout: Layout, *, file: str) -> pydicom.Dataset:
    """Parse everything but Pixel Data with pydicom, ``file_meta`` and ``preamble`` attached.

    Raises
    ------
    InputError
        If pydicom cannot parse what the walk let pass.
    """
    try:
        header = read_dataset(BytesIO(header_bytes(part, layout)), part.implicit, not part.big)
        meta = read_dataset(BytesIO(part.meta), False, True)
        header.file_meta = pydicom.dataset.FileMetaDataset(meta)
        header.preamble = part.preamble
    except PARSE_ERRORS as error:
        raise InputError(
            "the header cannot be parsed",
            file=file,
            found=type(error).__name__,
            next_step="export the file again",
        ) from error
    return header


def frame_of_instance(index: int, instance: Instance) -> Frame:
    """The one frame of a plain CT image."""
    return Frame(
        item=index,
        number=1,
        name=instance.source.name,
        sop_instance_uid=instance.sop_instance_uid,
        instance_number=instance.instance_number,
        position_mm=instance.position_mm,
        orientation=instance.orientation,
        pixel_spacing_mm=instance.pixel_spacing_mm,
        slice_thickness_mm=instance.slice_thickness_mm,
        gantry_tilt_deg=instance.gantry_tilt_deg,
        slope=instance.slope,
        intercept=instance.intercept,
    )


def frames_of_header(index: int, instance: Instance, header: pydicom.Dataset) -> list[Frame]:
    """Every frame of a multi-frame file, from its functional groups.

    Raises
    ------
    GeometryError
        If the functional groups are missing, fewer than the frames, or damaged.
    """
    name, count = instance.source.name, instance.frames
    if not 1 <= count <= MAX_FRAMES:
        raise _groups_error(name, f"{count} frames", f"1 to {MAX_FRAMES} frames", "NumberOfFrames (0028,0008)")
    try:
        per_frame = header.get("PerFrameFunctionalGroupsSequence") or ()
        shared = (header.get("SharedFunctionalGroupsSequence") or (pydicom.Dataset(),))[0]
        if len(per_frame) < count and count > 1:
            raise _groups_error(name, say_count(len(per_frame), "group"), f"one for each of {count} frames")
        groups = list(per_frame)[:count] or [pydicom.Dataset()]
        return [_frame_of_group(index, number, instance, header, shared, own) for number, own in enumerate(groups, 1)]
    except PARSE_ERRORS as error:
        raise _groups_error(name, f"groups that cannot be parsed ({type(error).__name__})", "valid groups") from error


def _frame_of_group(
    index: int, number: int, instance: Instance, header: pydicom.Dataset, shared: pydicom.Dataset, own: pydicom.Dataset
) -> Frame:
    def value(sequence: str, keyword: str) -> object:
        for group in (own, shared):
            items = group.get(sequence)
            if items:
                found = items[0].get(keyword)
                if found not in (None, ""):
                    return found
        return header.get(keyword)

    return Frame(
        item=index,
        number=number,
        name=f"{instance.source.name} frame {number}",
        sop_instance_uid=instance.sop_instance_uid,
        instance_number=instance.instance_number,
        position_mm=_numbers(value("PlanePositionSequence", "ImagePositionPatient"), 3),
        orientation=_numbers(value("PlaneOrientationSequence", "ImageOrientationPatient"), 6),
        pixel_spacing_mm=_numbers(value("PixelMeasuresSequence", "PixelSpacing"), 2),
        slice_thickness_mm=_number(value("PixelMeasuresSequence", "SliceThickness")),
        gantry_tilt_deg=_number(value("CTAcquisitionDetailsSequence", "GantryDetectorTilt")),
        slope=_number(value("PixelValueTransformationSequence", "RescaleSlope"), bad=math.nan),
        intercept=_number(value("PixelValueTransformationSequence", "RescaleIntercept"), bad=math.nan),
    )


def _number(value: object, bad: float | None = None) -> float | None:
    """A finite float, None where missing, ``bad`` where it is there and no finite number."""
    if value in (None, ""):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return bad
    return number if math.isfinite(number) else bad


def _numbers(value: object, count: int) -> tuple[float, ...] | None:
    if not isinstance(value, (list, tuple, pydicom.multival.MultiValue)) or len(value) != count:
        return None
    numbers = tuple(_number(part) for part in value)
    return None if None in numbers else numbers  # type: ignore[return-value]


def _groups_error(
    name: str, found: str, expected: str, tag: str = "PerFrameFunctionalGroupsSequence (5200,9230)"
) -> GeometryError:
    return GeometryError(
        "a multi-frame CT without a usable description of its frames",
        file=name,
        tag=tag,
        found=found,
        expected=expected,
        next_step="export the series as single-frame images",
    )
