"""What one slice file of a collection says of itself, and whether it is whole, without decoding it."""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from verict.ct.enhanced import PARSE_ERRORS
from verict.errors import InputError, NotDicomError, PixelError

_PIXEL_DATA = 0x7FE00010
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_READ_ERRORS = (*PARSE_ERRORS, zlib.error)
_TAGS = ["SOPInstanceUID", "Modality", "Manufacturer", "ManufacturerModelName", "PatientID", "SliceThickness",
         "ConvolutionKernel", "InstanceNumber", "ImagePositionPatient", "Rows", "Columns", "BitsAllocated",
         "SamplesPerPixel", "NumberOfFrames"]


@dataclass(frozen=True)
class SliceFacts:
    """What the headers of one slice file say; None where they say nothing.

    ``patient_id`` is for comparing only, never for printing. ``scanner`` is manufacturer, model and
    kernel as written. ``media_uid_agrees``: file meta MediaStorageSOPInstanceUID (0002,0003) equals
    SOPInstanceUID, as PS3.10 section 7.1 demands.
    """

    instance_number: int | None
    patient_id: str
    modality: str
    rows: int
    columns: int
    scanner: tuple[str, str, str]
    slice_thickness_mm: float | None
    position_z_mm: float | None
    media_uid_agrees: bool


def read_slice_facts(file: Path) -> SliceFacts:
    """Read a slice's header and measure its pixel data, which must be there to the last byte.

    Raises
    ------
    NotDicomError
        If it is no DICOM file or cannot be opened.
    PixelError
        If pixel data is missing or shorter than rows, columns and bits demand, or (compressed) its
        fragments end before the closing delimiter.
    """
    try:
        with file.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd values are no damage; the header detector judges them
            header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=_TAGS)
            facts, pixel_bytes = _facts(header), _expected_bytes(header)
            syntax = UID(header.file_meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian)
            if syntax == DeflatedExplicitVRLittleEndian:
                _check_deflated(file, pixel_bytes)
            else:
                _check_length(file, stream, syntax, pixel_bytes)
    except InputError:
        raise
    except _READ_ERRORS as error:
        raise NotDicomError("cannot be read as DICOM", file=file, found=type(error).__name__) from error
    return facts


def _facts(header: pydicom.Dataset) -> SliceFacts:
    position: tuple[float, ...] = tuple(header.get("ImagePositionPatient") or ())
    number, thickness = header.get("InstanceNumber"), header.get("SliceThickness")
    media_uid = header.file_meta.get("MediaStorageSOPInstanceUID")
    return SliceFacts(
        instance_number=None if number is None else int(number),
        patient_id=str(header.get("PatientID") or "").strip(),
        modality=str(header.get("Modality") or ""),
        rows=int(header.get("Rows") or 0),
        columns=int(header.get("Columns") or 0),
        scanner=(str(header.get("Manufacturer") or ""), str(header.get("ManufacturerModelName") or ""),
                 str(header.get("ConvolutionKernel") or "")),
        slice_thickness_mm=None if thickness is None else float(thickness),
        position_z_mm=float(position[2]) if len(position) == 3 else None,
        media_uid_agrees=media_uid == header.get("SOPInstanceUID"),
    )


def _expected_bytes(header: pydicom.Dataset) -> int:
    """Bytes of uncompressed pixel data (PS3.5 section 8.1.1)."""
    values = [int(header.get(k) or default) for k, default in
              (("Rows", 0), ("Columns", 0), ("BitsAllocated", 0), ("SamplesPerPixel", 1), ("NumberOfFrames", 1))]
    rows, columns, bits, samples, frames = values
    return rows * columns * samples * frames * bits // 8


def _check_deflated(file: Path, pixel_bytes: int) -> None:
    found = len(pydicom.dcmread(file).get("PixelData") or b"")
    if not pixel_bytes or found < pixel_bytes:
        raise _truncated(file, found, pixel_bytes)


def _check_length(file: Path, stream: BinaryIO, syntax: UID, pixel_bytes: int) -> None:
    """The stream stands at the PixelData tag; measure what follows (PS3.5 section 7.1, annex A.4)."""
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    long_form = syntax != ImplicitVRLittleEndian  # explicit OB or OW: VR, two reserved bytes, 32-bit length
    head = stream.read(12 if long_form else 8)
    if len(head) < (12 if long_form else 8):
        raise PixelError("no pixel data", file=file, tag="PixelData (7FE0,0010)", expected=f"{pixel_bytes} bytes",
                         next_step="fetch the file again")
    group, element = struct.unpack_from(order + "HH", head)
    if Tag(group, element) != _PIXEL_DATA:
        raise PixelError("no pixel data", file=file, tag="PixelData (7FE0,0010)", found=f"({group:04X},{element:04X})")
    length = struct.unpack_from(order + "I", head, len(head) - 4)[0]
    start = stream.tell()
    available = stream.seek(0, 2) - start
    if length != _UNDEFINED:
        found = min(available, length)
        if not pixel_bytes or found < max(pixel_bytes, length if available < length else 0):
            raise _truncated(file, found, max(pixel_bytes, length))
        return
    stream.seek(start)
    fragments = 0
    while True:
        head = stream.read(8)
        tag = Tag(*struct.unpack_from(order + "HH", head)) if len(head) == 8 else None
        if tag == _SEQUENCE_END and fragments >= 2:  # the offset table and at least one fragment
            return
        size = struct.unpack_from(order + "I", head, 4)[0] if tag == _ITEM else 0
        if tag != _ITEM or stream.tell() + size > start + available:
            raise PixelError("truncated: compressed pixel data without its end", file=file,
                             tag="PixelData (7FE0,0010)", found=f"{available} bytes, {fragments} whole items",
                             expected="a closing delimiter", next_step="fetch the file again")
        fragments += 1
        stream.seek(size, 1)


def _truncated(file: Path, found: int, expected: int) -> PixelError:
    return PixelError("truncated pixel data", file=file, tag="PixelData (7FE0,0010)", found=f"{found} bytes",
                      expected=f"{expected} bytes", next_step="fetch the file again")
