"""Series to measure with: a real one decoded, encoded anew, thinned or repeated to a wanted length."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

NATIVE = {
    "explicit little endian": ExplicitVRLittleEndian,
    "implicit little endian": ImplicitVRLittleEndian,
    "explicit big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}
ENCODED = {"RLE": RLELossless, "JPEG-LS": JPEGLSLossless, "JPEG 2000": JPEG2000Lossless}


def read_slice(path: Path) -> pydicom.Dataset:
    """One slice, its pixels decoded."""
    dataset = pydicom.dcmread(path)
    dataset.decompress(decoding_plugin="pyjpegls" if dataset.file_meta.TransferSyntaxUID == JPEGLSLossless else "")
    return dataset


def write_length(source: Path, folder: Path, count: int) -> Path:
    """Write a series of ``count`` uncompressed slices out of those of a folder, in their order along z.

    A longer series shows each slice several times, a shorter one leaves slices out evenly, so that the
    part of the slices that holds lung is the same at each length. Positions are rewritten to equal steps
    of SliceThickness, and UIDs anew.
    """
    folder.mkdir(parents=True)
    slices = sorted((read_slice(path) for path in source.glob("*.dcm")), key=lambda d: d.ImagePositionPatient[2])
    chosen = np.linspace(0, len(slices) - 1, count).round().astype(int)
    series_uid = generate_uid(entropy_srcs=[str(source.name), str(count)])
    for number, index in enumerate(chosen, start=1):
        dataset = slices[index]
        x, y, _ = dataset.ImagePositionPatient
        z = slices[0].SliceThickness * number
        dataset.ImagePositionPatient = [x, y, z]
        dataset.SliceLocation = z
        dataset.InstanceNumber = number
        dataset.SeriesInstanceUID = series_uid
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[series_uid, str(number)])
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{number:04d}.dcm")
    return folder


def write_uncompressed(source: Path, folder: Path) -> Path:
    """Write a folder's slices as they are, uncompressed."""
    folder.mkdir(parents=True)
    for path in sorted(source.glob("*.dcm")):
        read_slice(path).save_as(folder / path.name)
    return folder


def write_transfer_syntax(source: Path, folder: Path, name: str) -> Path:
    """Write a folder of uncompressed slices in the transfer syntax of that name, see `NATIVE` and `ENCODED`."""
    folder.mkdir(parents=True)
    for path in sorted(source.glob("*.dcm")):
        dataset = pydicom.dcmread(path)
        if name in ENCODED:
            dataset.compress(ENCODED[name], generate_instance_uid=False)
            dataset.save_as(folder / path.name)
            continue
        syntax = NATIVE[name]
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        little, implicit = syntax.is_little_endian, syntax.is_implicit_VR
        pydicom.dcmwrite(folder / path.name, dataset, little_endian=little, implicit_vr=implicit, force_encoding=True)
    return folder


def write_jpeg_lossless(source: Path, folder: Path) -> Path | None:
    """Write a folder of uncompressed slices as JPEG lossless with DCMTK's dcmcjpeg; None where it is missing."""
    if shutil.which("dcmcjpeg") is None:
        return None
    folder.mkdir(parents=True)
    for path in sorted(source.glob("*.dcm")):
        subprocess.run(["dcmcjpeg", "+e1", "+ud", str(path), str(folder / path.name)], check=True, capture_output=True)
    return folder
