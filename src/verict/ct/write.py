"""Writes CT series as valid DICOM: new ones from an array, and altered copies of existing ones."""

from __future__ import annotations

import copy
import io
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from verict.ct.volume import CTVolume
from verict.errors import InputError, OutputError

SCANNER_INTERCEPT_HU = -1024  # with 12 stored bits: -1024 to 3071 HU, what most scanners write
_STALE = (  # true of the original's pixels or bytes only (PS3.3 C.7.6.3, C.12.1, C.7.6.1.1.6)
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
    "IconImageSequence",
    "OriginalAttributesSequence",
)


@dataclass(frozen=True)
class SeriesHeader:
    """What `write_series` says of a series besides its pixels.

    Parameters
    ----------
    patient_id, patient_name, study_description, series_description
        As the attributes of these names.
    series_number, kernel
        SeriesNumber and ConvolutionKernel.
    taken
        Date and time of study, series and content; left empty (type 2) where None.
    origin_mm
        ImagePositionPatient of the first slice.
    attributes
        Any other attribute by its DICOM keyword, the same on every slice; wins over all the above.
    uid_seed
        The same text gives the same UIDs; None gives new ones each time.
    """

    patient_id: str = "PHANTOM-0"
    patient_name: str = "PHANTOM^NOBODY"
    study_description: str = ""
    series_description: str = ""
    series_number: int = 1
    kernel: str = "STANDARD"
    taken: datetime | None = None
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    attributes: Mapping[str, object] = field(default_factory=dict)
    uid_seed: str | None = None


def simulated_attributes() -> dict[str, object]:
    """Attributes that keep a simulated scan from ever passing for a patient's.

    QualityControlSubject (PS3.3 C.7.1.1) says that the subject is a phantom; ImageType is DERIVED since no
    pixel was acquired.
    """
    return {
        "ImageType": ["DERIVED", "PRIMARY", "AXIAL"],
        "DerivationDescription": "simulated by verict, no patient was scanned",
        "QualityControlSubject": "YES",
        "ImageComments": "Simulated chest for demonstration. Not a patient.",
        "Manufacturer": "verict",
        "ManufacturerModelName": "simulated chest",
    }


def write_series(
    hu: np.ndarray,
    folder: Path,
    *,
    spacing_mm: tuple[float, float, float],
    header: SeriesHeader | None = None,
) -> list[Path]:
    """Write an axial series, one CT Image Storage object a slice (PS3.3 A.3), explicit VR little endian.

    Values from -1024 to 3071 HU are stored in 12 unsigned bits with RescaleIntercept -1024, others in
    16 signed bits.

    Parameters
    ----------
    hu
        (z, y, x) HU, rounded to whole numbers; slices from the feet to the head.
    folder
        Made anew; an existing one must be empty. Appears only once every slice is written.
    spacing_mm
        (z, y, x) in mm, all positive; z also becomes SliceThickness.
    header
        What the headers say otherwise.

    Returns
    -------
    list of Path
        The files, in the order of the slices.

    Raises
    ------
    InputError
        If the values are not finite, not three-dimensional, or do not fit 16 bits.
    OutputError
        If the folder is not empty or cannot be written.
    """
    header = header or SeriesHeader()
    hu = np.asarray(hu)
    if hu.ndim != 3 or 0 in hu.shape:
        raise InputError("not a volume", found=f"shape {hu.shape}", expected="(z, y, x), none of them 0")
    if len(spacing_mm) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing_mm):
        raise InputError("spacing that no scan can have", found=spacing_mm, expected="three positive numbers, in mm")
    low, high = float(hu.min()), float(hu.max())
    if not (low >= -32768 and high <= 32767):  # also false for NaN
        raise InputError("values that CT cannot hold", found=f"{low} to {high}", expected="-32768 to 32767 HU")
    twelve_bit = round(low) >= SCANNER_INTERCEPT_HU and round(high) < SCANNER_INTERCEPT_HU + 4096
    template = _template(header, hu.shape, spacing_mm, twelve_bit)

    def slices() -> Iterable[Dataset]:
        for z, slice_hu in enumerate(hu):
            ds = copy.deepcopy(template)
            ds.SOPInstanceUID = _uid(header.uid_seed, f"instance {z}")
            ds.InstanceNumber = z + 1
            ds.ImagePositionPatient = _decimals(np.add(header.origin_mm, (0, 0, z * spacing_mm[0])))
            ds.SliceLocation = ds.ImagePositionPatient[2]
            _set(ds, header.attributes)
            _put_pixels(ds, slice_hu)
            yield ds

    return _write_folder(slices(), folder)


def write_modified(
    volume: CTVolume,
    hu: np.ndarray,
    folder: Path,
    *,
    change: Callable[[Dataset], None],
    uid_seed: str | None = None,
) -> list[Path]:
    r"""Write a copy of a series with other pixels and its own headers.

    Always new SOPInstanceUID and SeriesInstanceUID, ImageType DERIVED\SECONDARY (PS3.3 C.7.6.1.1.2) and a
    SourceImageSequence that names the original; attributes that were true of the old pixels only are
    removed. HU are turned back into stored values by each slice's own slope and intercept; what does not
    fit its stored bits becomes the nearest value that does.

    Parameters
    ----------
    volume
        The original, one file a slice, with headers.
    hu
        (z, y, x) HU to write instead, the volume's shape.
    folder
        Made anew; an existing one must be empty. Appears only once every slice is written.
    change
        Called with each dataset before it is written: where the caller says what was done.
    uid_seed
        The same text gives copies of the same series the same UIDs: a text of its own for each copy that
        differs. None gives new ones each time.

    Raises
    ------
    InputError
        If the shapes differ, or as `check_copyable`.
    OutputError
        If the folder is not empty or cannot be written.
    """
    if hu.shape != volume.hu.shape:
        raise InputError("pixels of another shape", found=f"{hu.shape}", expected=f"{volume.hu.shape}")
    check_copyable(volume)
    series_uid = _uid(uid_seed, f"copy of series {volume.series_instance_uid}")

    def slices() -> Iterable[Dataset]:
        for z, (original, slice_hu) in enumerate(zip(volume.headers, hu, strict=True)):
            ds = copy.deepcopy(original)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # odd values of the original are kept as they are
                for _ in ds.iterall():  # decode now, so that other transfer syntaxes convert
                    pass
            for keyword in _STALE:
                if keyword in ds:
                    delattr(ds, keyword)
            source = Dataset()
            source.ReferencedSOPClassUID = ds.SOPClassUID
            source.ReferencedSOPInstanceUID = ds.SOPInstanceUID
            ds.SourceImageSequence = [source]
            ds.SOPInstanceUID = _uid(uid_seed, f"copy of slice {z} of series {volume.series_instance_uid}")
            ds.SeriesInstanceUID = series_uid
            ds.ImageType = ["DERIVED", "SECONDARY", *list(ds.get("ImageType") or ["", "", "AXIAL"])[2:]]
            change(ds)
            _put_pixels(ds, slice_hu)
            yield ds

    return _write_folder(slices(), folder)


def check_copyable(volume: CTVolume) -> None:
    """Refuse a series of which `write_modified` could not write a copy.

    Raises
    ------
    InputError
        If the volume has no headers or comes from a multi-frame file.
    """
    if any("NumberOfFrames" in header for header in volume.headers):
        raise InputError("multi-frame files cannot be copied", tag="NumberOfFrames (0028,0008)",
                         expected="one file a slice", next_step="convert the series to single-frame files")
    if len(volume.headers) != volume.slice_count:
        raise InputError("a copy needs the headers of each slice", found="a volume without headers")


def _template(
    header: SeriesHeader, shape: tuple[int, ...], spacing_mm: tuple[float, float, float], twelve_bit: bool
) -> Dataset:
    """All that the slices of a new series share: every type 1 and type 2 attribute of PS3.3 A.3."""
    date, time = ("", "") if header.taken is None else (f"{header.taken:%Y%m%d}", f"{header.taken:%H%M%S}")
    ds = Dataset()
    common = {
        "SpecificCharacterSet": "ISO_IR 192",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "SOPClassUID": CTImageStorage,
        "Modality": "CT",
        "StudyDescription": header.study_description,
        "SeriesDescription": header.series_description,
        "Manufacturer": "",
        "PatientName": header.patient_name,
        "PatientID": header.patient_id,
        "PatientPosition": "HFS",
        "BodyPartExamined": "CHEST",
        "SliceThickness": _decimals([spacing_mm[0]])[0],
        "KVP": "",
        "ConvolutionKernel": header.kernel,
        "StudyInstanceUID": _uid(header.uid_seed, "study"),
        "SeriesInstanceUID": _uid(header.uid_seed, f"series {header.series_number}"),
        "FrameOfReferenceUID": _uid(header.uid_seed, "frame of reference"),
        "StudyID": "1",
        "SeriesNumber": header.series_number,
        "AcquisitionNumber": 1,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": shape[1],
        "Columns": shape[2],
        "PixelSpacing": _decimals(spacing_mm[1:]),
        "BitsAllocated": 16,
        "BitsStored": 12 if twelve_bit else 16,
        "HighBit": 11 if twelve_bit else 15,
        "PixelRepresentation": 0 if twelve_bit else 1,
        "WindowCenter": -500,
        "WindowWidth": 1500,
        "RescaleIntercept": SCANNER_INTERCEPT_HU if twelve_bit else 0,
        "RescaleSlope": 1,
        "RescaleType": "HU",
    }
    empty = ["PatientBirthDate", "PatientSex", "ReferringPhysicianName", "AccessionNumber"]
    empty += ["PositionReferenceIndicator"]
    dates = dict.fromkeys(("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"), date)
    times = dict.fromkeys(("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"), time)
    _set(ds, dict.fromkeys(empty, "") | dates | times | common)
    return ds


def _put_pixels(ds: Dataset, hu: np.ndarray) -> None:
    """Store HU by the dataset's own rescale and bits (PS3.3 C.11.1, C.7.6.3)."""
    slope, intercept = float(ds.get("RescaleSlope") or 1), float(ds.get("RescaleIntercept") or 0)
    bits, signed = int(ds.get("BitsStored") or 16), bool(ds.get("PixelRepresentation"))
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    stored = np.clip(np.rint((hu - intercept) / slope), low, high)
    ds.BitsAllocated = 16
    ds.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()
    ds["PixelData"].VR = "OW"


def _write_folder(slices: Iterable[Dataset], folder: Path) -> list[Path]:
    """Write the slices beside the folder, then give it its name: a half-written series never bears it."""
    folder = Path(folder)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError("the output place is not an empty folder", file=folder, next_step="name a new one")
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.partial")
        partial.mkdir()
        try:
            names = []
            for number, ds in enumerate(slices, 1):
                names.append(f"{number:04d}.dcm")
                _write_file(ds, partial / names[-1])
            if folder.exists():
                folder.rmdir()
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot write: {error.strerror or error}", file=folder) from error
    return [folder / name for name in names]


def _write_file(ds: Dataset, path: Path) -> None:
    fresh = Dataset(dict(ds.items()))  # forgets how the original was encoded
    fresh.file_meta = FileMetaDataset()
    fresh.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    fresh.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    fresh.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    content = io.BytesIO()  # pydicom's own errors of a full disk hold a traceback
    fresh.save_as(content, implicit_vr=False, little_endian=True, enforce_file_format=True)
    path.write_bytes(content.getvalue())


def _set(ds: Dataset, attributes: Mapping[str, object]) -> None:
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)


def _uid(seed: str | None, what: str) -> str:
    return generate_uid() if seed is None else generate_uid(entropy_srcs=[seed, what])


def _decimals(values: Iterable[float]) -> list[str]:
    """Decimal strings of at most 16 characters (PS3.5 6.2, DS)."""
    return [f"{float(v):.6f}".rstrip("0").rstrip(".") for v in values]
