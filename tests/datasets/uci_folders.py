"""Small collections in the two published layouts, built in code; and plain volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from verict.ct.volume import CTVolume

LAYOUTS = {
    "Tampered Scans": ("Experiment 1 - Blind", "Experiment 2 - Open"),
    "CT_Scans": ("EXP1_blind", "EXP2_open"),
}
HEADER = "type,uuid,slice,x,y"
ROWS = {
    1: ["FB,1001,3,20,30", "TM,6031,4,10,12", "TB,1003,0,0,0", "TB,1003,0,0,0"],
    2: ["FM,2001,2,31,8", "FB,6031,4,10,12"],
}
SLICES = range(1, 7)


def make_slice(uuid: str, number: int, *, rows: int = 48, columns: int = 64) -> pydicom.Dataset:
    """One CT slice headed like the published set: PatientID = folder, InstanceNumber = file name."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = pydicom.Dataset()
    ds.file_meta = meta
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, f"1.2.3.{int(uuid)}.{number}"
    ds.SeriesInstanceUID, ds.StudyInstanceUID = f"1.2.4.{int(uuid)}", f"1.2.5.{int(uuid)}"
    ds.Modality, ds.PatientID, ds.InstanceNumber = "CT", uuid, number
    ds.Manufacturer, ds.ManufacturerModelName, ds.ConvolutionKernel = "GE MEDICAL SYSTEMS", "LightSpeed16", "STANDARD"
    ds.SliceThickness, ds.PixelSpacing = "2.5", ["0.7", "0.7"]
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2.5 * number]
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = rows, columns, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept = "1", "0"
    ds.PixelData = np.full((rows, columns), number - 800, np.int16).tobytes()
    return ds


def write_slice(file: Path, ds: pydicom.Dataset) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(file, enforce_file_format=True)


def scan_folder(root: Path, uuid: str, *, experiment: int = 1, layout: str = "Tampered Scans") -> Path:
    return root / layout / LAYOUTS[layout][experiment - 1] / uuid


def labels_file(root: Path, *, experiment: int = 1, layout: str = "Tampered Scans") -> Path:
    """Inside the layout folder as published as ``Tampered Scans``, beside it as published as ``CT_Scans``."""
    return (root / layout if layout == "Tampered Scans" else root) / f"labels_exp{experiment}.csv"


def build_collection(root: Path, layout: str = "Tampered Scans", slices: range = SLICES) -> Path:
    """A sound collection: four scans, a twin, two TB rows without a place."""
    for experiment, rows in ROWS.items():
        for uuid in {row.split(",")[1] for row in rows}:
            for number in slices:
                folder = scan_folder(root, uuid, experiment=experiment, layout=layout)
                write_slice(folder / f"{number}.dcm", make_slice(uuid, number))
        labels_file(root, experiment=experiment, layout=layout).write_bytes("\r\n".join([HEADER, *rows, ""]).encode())
    return root


def make_volume(
    hu: np.ndarray,
    *,
    spacing_mm: tuple[float, float, float] = (2.0, 0.5, 0.8),
    positions_mm: np.ndarray | None = None,
    shear_mm: float = 0.0,
    numbers: list[int] | None = None,
) -> CTVolume:
    """An axial volume; ``shear_mm`` moves each slice that much further along y, as a tilted gantry does."""
    count = len(hu)
    z = np.arange(count) * spacing_mm[0] if positions_mm is None else np.asarray(positions_mm, float)
    origins = np.stack([np.full(count, -100.0), 5.0 + shear_mm * np.arange(count), z], axis=1)
    headers = []
    for number in numbers or []:
        headers.append(pydicom.Dataset())
        headers[-1].InstanceNumber = number
    return CTVolume(
        hu=hu, origins_mm=origins, row_direction=np.array([1.0, 0, 0]), column_direction=np.array([0, 1.0, 0]),
        spacing_mm=spacing_mm, series_instance_uid="1.2", study_instance_uid="1.3",
        sop_instance_uids=tuple(f"1.2.{i}" for i in range(count)), frame_numbers=(1,) * count,
        source_files=("",) * count, headers=tuple(headers), slice_thickness_mm=spacing_mm[0],
    )
