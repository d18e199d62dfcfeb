"""DICOM CT series built in code, for every test: geometry, pixels and transfer syntax as asked for, seeds fixed.

>>> from builders import make_series
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from scipy import ndimage

UID_ROOT = "1.2.826.0.1.3680043.10.1544"
KERNEL_PX = 0.8  # sigma of the simulated reconstruction kernel
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
TRANSFER_SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
)


def make_body_hu(
    slices: int = 8, rows: int = 64, columns: int = 64, *, seed: int = 0, noise_hu: float = 20.0
) -> np.ndarray:
    """(z, y, x) int16 HU of an elliptic body with two lungs, air outside; within -1024..3071.

    Edges and noise are band-limited, as a reconstruction kernel leaves them.
    """
    generator = np.random.default_rng(seed)
    y = (np.arange(rows)[:, None] - (rows - 1) / 2) / (rows / 2)
    x = (np.arange(columns)[None, :] - (columns - 1) / 2) / (columns / 2)
    image = np.full((rows, columns), -1000.0)
    image[(x / 0.85) ** 2 + (y / 0.65) ** 2 < 1] = 40.0
    for side in (-1, 1):
        image[((x - side * 0.4) / 0.28) ** 2 + (y / 0.42) ** 2 < 1] = -850.0
    noise = ndimage.gaussian_filter(generator.normal(0.0, 1.0, (slices, rows, columns)), (0, KERNEL_PX, KERNEL_PX))
    hu = ndimage.gaussian_filter(image, KERNEL_PX) + noise * (noise_hu / max(float(noise.std()), 1e-6))
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


def make_uid(*parts: object) -> str:
    """A UID that depends on ``parts`` alone."""
    return pydicom.uid.generate_uid(prefix=f"{UID_ROOT}.", entropy_srcs=[str(part) for part in parts])


def make_slice_dataset(
    hu: np.ndarray,
    *,
    position_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    pixel_spacing_mm: tuple[float, float] = (0.7, 0.7),
    thickness_mm: float = 1.0,
    orientation: tuple[float, ...] = AXIAL,
    instance_number: int = 1,
    series_uid: str = "",
    sop_uid: str = "",
    patient_id: str = "TEST",
    transfer_syntax: str = ExplicitVRLittleEndian,
    signed: bool = True,
    bits_stored: int = 16,
    slope: float = 1.0,
    intercept: float | None = None,
    image_type: tuple[str, ...] | None = ("ORIGINAL", "PRIMARY", "AXIAL"),
    **attributes: Any,
) -> Dataset:
    """One CT slice with file meta; write it with `write_dataset`.

    ``attributes`` set DICOM keywords; a value of None removes the attribute. ``intercept`` None is 0 for signed
    and -1024 for unsigned pixels.
    """
    if intercept is None:
        intercept = 0.0 if signed else -1024.0
    series_uid = series_uid or make_uid("series", patient_id)
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = sop_uid or make_uid(series_uid, instance_number, position_mm)
    dataset.Modality = "CT"
    if image_type is not None:
        dataset.ImageType = list(image_type)
    dataset.StudyInstanceUID = make_uid("study", patient_id)
    dataset.SeriesInstanceUID = series_uid
    dataset.FrameOfReferenceUID = make_uid("frame", patient_id)
    dataset.PatientID = patient_id
    dataset.PatientName = "Test^Patient"
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = "20200101"
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = "120000"
    dataset.Manufacturer = "VERICT TEST"
    dataset.BodyPartExamined = "CHEST"
    dataset.SliceThickness = f"{thickness_mm:g}"
    dataset.InstanceNumber = str(instance_number)
    dataset.ImagePositionPatient = [f"{value:.6g}" for value in position_mm]
    dataset.ImageOrientationPatient = [f"{value:.8g}" for value in orientation]
    dataset.PixelSpacing = [f"{value:.8g}" for value in pixel_spacing_mm]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = hu.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits_stored, bits_stored - 1
    dataset.PixelRepresentation = int(signed)
    dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:g}", f"{intercept:g}"
    dataset.RescaleType = "HU"
    set_pixels(dataset, store_hu(hu, signed=signed, bits_stored=bits_stored, slope=slope, intercept=intercept),
               transfer_syntax)  # fmt: skip
    for keyword, value in attributes.items():
        if value is None:
            if keyword in dataset:
                delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def store_hu(hu: np.ndarray, *, signed: bool, bits_stored: int, slope: float, intercept: float) -> np.ndarray:
    """Stored values of HU, clipped to what BitsStored holds."""
    low = -(1 << (bits_stored - 1)) if signed else 0
    high = low + (1 << bits_stored) - 1
    stored = np.clip(np.rint((np.asarray(hu, np.float64) - intercept) / slope), low, high)
    return stored.astype(np.int16 if signed else np.uint16)


def set_pixels(dataset: Dataset, stored: np.ndarray, transfer_syntax: str) -> None:
    """Put stored values (y, x) or (frame, y, x) into a dataset, encoded as the transfer syntax says."""
    frames = stored.reshape(-1, *stored.shape[-2:])
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(transfer_syntax)
    if not dataset.file_meta.TransferSyntaxUID.is_compressed or transfer_syntax == DeflatedExplicitVRLittleEndian:
        kind = ">" if transfer_syntax == ExplicitVRBigEndian else "<"
        dataset.PixelData = frames.astype(frames.dtype.newbyteorder(kind)).tobytes()
    else:
        dataset.PixelData = encapsulate([_encode(dataset, frame, transfer_syntax) for frame in frames])
        dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB" if dataset["PixelData"].is_undefined_length else "OW"


def _encode(dataset: Dataset, frame: np.ndarray, transfer_syntax: str) -> bytes:
    if transfer_syntax == JPEGLSLossless:
        import jpeg_ls

        return bytes(jpeg_ls.encode_array(frame.view(np.uint16) & ((1 << dataset.BitsStored) - 1)))
    if transfer_syntax == JPEG2000Lossless:
        from openjpeg.utils import encode_array

        return bytes(encode_array(frame, bits_stored=dataset.BitsStored))
    if transfer_syntax == RLELossless:
        return _encode_rle(frame)
    raise ValueError(f"no encoder for {transfer_syntax}")


def _encode_rle(frame: np.ndarray) -> bytes:
    """RLE of 16-bit values as literal runs, high bytes first (PS3.5 G.3 to G.5)."""
    big = frame.astype(frame.dtype.newbyteorder(">")).tobytes()
    segments = []
    for plane in (big[0::2], big[1::2]):
        segment = b"".join(bytes([len(plane[i : i + 128]) - 1]) + plane[i : i + 128] for i in range(0, len(plane), 128))
        segments.append(segment + b"\0" * (len(segment) % 2))
    offsets = [64, 64 + len(segments[0])]
    header = np.array([2, *offsets, *[0] * 13], dtype="<u4").tobytes()
    return header + b"".join(segments)


def write_dataset(dataset: Dataset, path: Path) -> Path:
    """Write one dataset as a DICOM file, whatever its transfer syntax."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dataset_bytes(dataset))
    return path


def dataset_bytes(dataset: Dataset) -> bytes:
    """The bytes of a DICOM file; needs file meta with a transfer syntax."""
    syntax = dataset.file_meta.TransferSyntaxUID
    meta = dataset.file_meta
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID") or make_uid("no SOP instance")
    meta.ImplementationClassUID = f"{UID_ROOT}.1"
    body = io.BytesIO()
    pydicom.filewriter.write_dataset(
        _encoder(body, implicit=syntax == ImplicitVRLittleEndian, little=syntax != ExplicitVRBigEndian), dataset
    )
    packed = body.getvalue()
    if syntax == DeflatedExplicitVRLittleEndian:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        packed = deflater.compress(packed) + deflater.flush()
        packed += b"\0" * (len(packed) % 2)
    head = io.BytesIO()
    pydicom.filewriter.write_file_meta_info(head, meta, enforce_standard=True)
    return b"\0" * 128 + b"DICM" + head.getvalue() + packed


def _encoder(stream: io.BytesIO, *, implicit: bool, little: bool) -> pydicom.filebase.DicomIO:
    encoder = pydicom.filebase.DicomFileLike(stream)
    encoder.is_implicit_VR = implicit
    encoder.is_little_endian = little
    return encoder


def make_series(
    folder: Path,
    *,
    slices: int = 8,
    rows: int = 64,
    columns: int = 64,
    spacing_mm: tuple[float, float, float] = (1.0, 0.7, 0.7),
    hu: np.ndarray | None = None,
    seed: int = 0,
    series_uid: str | None = None,
    patient_id: str = "TEST",
    transfer_syntax: str = ExplicitVRLittleEndian,
    signed: bool = True,
    bits_stored: int = 16,
    slope: float = 1.0,
    intercept: float | None = None,
    tilt_deg: float = 0.0,
    orientation: tuple[float, ...] = AXIAL,
    image_type: tuple[str, ...] | None = ("ORIGINAL", "PRIMARY", "AXIAL"),
    first_position: tuple[float, float, float] = (-100.0, -90.0, -200.0),
    **attributes: Any,
) -> list[Path]:
    """Write one series, one file a slice, named 001.dcm upwards along the normal; returns the files in that order.

    ``hu`` is (z, y, x) and replaces ``slices``, ``rows`` and ``columns``; default `make_body_hu`. ``tilt_deg``
    shears the slices along the columns' direction as a tilted gantry does. ``attributes`` go to every slice, see
    `make_slice_dataset`.
    """
    if hu is None:
        hu = make_body_hu(slices, rows, columns, seed=seed)
    series_uid = series_uid or make_uid("series", patient_id, seed)
    across, down = np.array(orientation[:3]), np.array(orientation[3:])
    step = np.cross(across, down) * spacing_mm[0] + down * spacing_mm[0] * np.tan(np.radians(tilt_deg))
    files = []
    for index, image in enumerate(hu):
        position = np.array(first_position) + index * step
        dataset = make_slice_dataset(
            image,
            position_mm=tuple(float(value) for value in position),
            pixel_spacing_mm=spacing_mm[1:],
            thickness_mm=spacing_mm[0],
            orientation=orientation,
            instance_number=index + 1,
            series_uid=series_uid,
            patient_id=patient_id,
            transfer_syntax=transfer_syntax,
            signed=signed,
            bits_stored=bits_stored,
            slope=slope,
            intercept=intercept,
            image_type=image_type,
            **attributes,
        )
        files.append(write_dataset(dataset, Path(folder) / f"{index + 1:03d}.dcm"))
    return files


def make_enhanced(
    path: Path,
    *,
    hu: np.ndarray | None = None,
    slices: int = 8,
    rows: int = 64,
    columns: int = 64,
    spacing_mm: tuple[float, float, float] = (1.0, 0.7, 0.7),
    seed: int = 0,
    transfer_syntax: str = ExplicitVRLittleEndian,
    shuffle: bool = False,
    slope: float = 1.0,
    intercept: float = -1024.0,
    **attributes: Any,
) -> Path:
    """Write an Enhanced CT: one file, one frame a slice, geometry in functional groups; ``shuffle`` mixes frames."""
    if hu is None:
        hu = make_body_hu(slices, rows, columns, seed=seed)
    order = np.random.default_rng(seed).permutation(len(hu)) if shuffle else np.arange(len(hu))
    dataset = make_slice_dataset(
        hu[0], signed=False, transfer_syntax=transfer_syntax, patient_id=f"ENHANCED{seed}",
        ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None, SliceThickness=None,
        RescaleSlope=None, RescaleIntercept=None, RescaleType=None,
    )  # fmt: skip
    dataset.SOPClassUID = EnhancedCTImageStorage
    dataset.NumberOfFrames = str(len(hu))
    stored = store_hu(hu[order], signed=False, bits_stored=16, slope=slope, intercept=intercept)
    set_pixels(dataset, stored, transfer_syntax)
    shared = Dataset()
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=list(AXIAL))
    shared.PixelMeasuresSequence = _item(PixelSpacing=list(spacing_mm[1:]), SliceThickness=spacing_mm[0])
    shared.PixelValueTransformationSequence = _item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU")
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for z in order:
        group = Dataset()
        group.PlanePositionSequence = _item(ImagePositionPatient=[-100.0, -90.0, -200.0 + float(z) * spacing_mm[0]])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return write_dataset(dataset, Path(path))


def _item(**values: Any) -> Sequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Sequence([item])
