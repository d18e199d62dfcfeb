"""A series whose headers hold no contradiction, built in code, and ways to break it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset

from verict.ct.volume import CTVolume, Note

CT = "1.2.840.10008.5.1.4.1.1.2"
ROOT = "1.2.840.113619.2.55"


@dataclass
class Series:
    """Headers and pixels that a test may change before `volume` freezes them."""

    headers: list[Dataset]
    hu: np.ndarray
    notes: list[Note] = field(default_factory=list)

    def set(self, keyword: str, value: object, slices: Sequence[int] | None = None) -> None:
        """Set an attribute on some slices (default all)."""
        for z in range(len(self.headers)) if slices is None else slices:
            header = self.headers[z]
            setattr(header.file_meta if _is_meta(keyword) else header, keyword, value)

    def each(self, keyword: str, value_of: Callable[[int], object]) -> None:
        """Set an attribute on every slice, to a value that depends on z."""
        for z in range(len(self.headers)):
            self.set(keyword, value_of(z), (z,))

    def drop(self, keyword: str, slices: Sequence[int] | None = None) -> None:
        """Delete an attribute from some slices (default all)."""
        for z in range(len(self.headers)) if slices is None else slices:
            delattr(self.headers[z], keyword)

    def volume(self) -> CTVolume:
        """The series as the reader gives it."""
        origins = np.zeros((len(self.headers), 3))
        origins[:, 2] = np.arange(len(self.headers))
        for z, header in enumerate(self.headers):
            position = header.get("ImagePositionPatient")
            if position is not None and len(position) == 3:
                origins[z] = [float(v) for v in position]
        return CTVolume(
            hu=self.hu,
            origins_mm=origins,
            row_direction=np.array([1.0, 0, 0]),
            column_direction=np.array([0, 1.0, 0]),
            spacing_mm=(2.5, 0.75, 0.75),
            series_instance_uid=str(self.headers[0].get("SeriesInstanceUID", "")),
            study_instance_uid=str(self.headers[0].get("StudyInstanceUID", "")),
            sop_instance_uids=tuple(str(h.get("SOPInstanceUID", "")) for h in self.headers),
            frame_numbers=(1,) * len(self.headers),
            source_files=tuple(f"{z}.dcm" for z in range(len(self.headers))),
            headers=tuple(self.headers),
            slice_thickness_mm=2.5,
            notes=tuple(self.notes),
        )


def _is_meta(keyword: str) -> bool:
    return keyword.startswith(("MediaStorageSOP", "Implementation", "TransferSyntax"))


def honest_series(slices: int = 10, *, series: str = "7", patient: str = "PATIENT-4711", seed: int = 0) -> Series:
    """A plain axial chest CT of 2.5 mm slices, 512 mm x 0.75 mm pixels declared, 32 x 32 noisy pixels held."""
    hu = np.random.default_rng(seed).normal(-700, 60, (slices, 32, 32)).round().astype(np.int16)
    headers = [_honest_header(z, slices, series, patient, hu[z]) for z in range(slices)]
    return Series(headers, hu)


def _honest_header(z: int, slices: int, series: str, patient: str, hu: np.ndarray) -> Dataset:
    header, moment = Dataset(), f"{102000 + 100 * (z // 60) + z % 60}"
    header.file_meta = FileMetaDataset()
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CT
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = f"{ROOT}.{series}.3.{z + 1}"
    header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    header.file_meta.ImplementationClassUID = f"{ROOT}.9"
    header.file_meta.ImplementationVersionName = "SCANNER_1"
    header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.StudyInstanceUID, header.SeriesInstanceUID = f"{ROOT}.{series}.1", f"{ROOT}.{series}.2"
    header.FrameOfReferenceUID = f"{ROOT}.{series}.4"
    header.StudyDate = header.SeriesDate = header.AcquisitionDate = header.ContentDate = "20190512"
    header.InstanceCreationDate = "20190512"
    header.StudyTime, header.AcquisitionTime, header.ContentTime = "101500", "101710.5", f"{moment}.25"
    header.InstanceCreationTime = moment
    header.Modality, header.Manufacturer, header.ManufacturerModelName = "CT", "SIEMENS", "Sensation 64"
    header.DeviceSerialNumber, header.StationName, header.SoftwareVersions = "61234", "CT64", "syngo CT 2010A"
    header.PatientName, header.PatientID, header.PatientBirthDate = "Doubtfire^Euphegenia", patient, "19500307"
    header.PatientAge, header.PatientSex = "069Y", "F"
    header.SliceThickness, header.SpacingBetweenSlices, header.KVP = "2.5", "2.5", "120"
    header.DataCollectionDiameter, header.ReconstructionDiameter = "500", "384"
    header.DistanceSourceToDetector, header.DistanceSourceToPatient = "1040", "570"
    header.GantryDetectorTilt, header.TableHeight = "0", "155.5"
    header.ExposureTime, header.XRayTubeCurrent, header.Exposure = "500", "200", "80"
    header.ConvolutionKernel, header.PatientPosition = "B40f", "HFS"
    header.RevolutionTime, header.TableSpeed, header.TableFeedPerRotation = 0.5, 46.08, 23.04
    header.SingleCollimationWidth, header.TotalCollimationWidth, header.SpiralPitchFactor = 0.6, 19.2, 1.2
    header.InstanceNumber = slices - z
    header.ImagePositionPatient = ["-192", "-310", f"{-403.5 + 2.5 * z:g}"]
    header.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    header.SliceLocation = f"{403.5 - 2.5 * z:g}"
    header.Rows = header.Columns = 512
    header.PixelSpacing = ["0.75", "0.75"]
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 12, 11, 0
    header.RescaleIntercept, header.RescaleSlope = "-1024", "1"
    header.add_new("SmallestImagePixelValue", "US", int(hu.min()) + 1024)
    header.add_new("LargestImagePixelValue", "US", int(hu.max()) + 1024)
    return header
