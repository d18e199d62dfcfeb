"""Marks every forgery verict writes. No option removes the mark."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

import verict
from verict.ct.volume import CTVolume
from verict.ct.write import write_modified

MARK = "synthetic forgery by verict"


def write_forgery(volume: CTVolume, hu: np.ndarray, folder: Path, record: Mapping[str, object]) -> list[Path]:
    """Write a forged copy of a series, every instance of it marked, touched or not.

    Parameters
    ----------
    volume
        The series before the forgery, with headers.
    hu
        (z, y, x) the forged HU, the volume's shape.
    folder
        As in `verict.ct.write.write_modified`.
    record
        What was done, as returned by the forger; goes into DerivationDescription as plain text.

    Returns
    -------
    list of Path
        The files, in the order of the slices.

    Raises
    ------
    InputError, OutputError
        As `verict.ct.write.write_modified`.
    """
    return write_modified(volume, hu, folder, change=lambda ds: mark_forged(ds, record))


def mark_forged(ds: Dataset, record: Mapping[str, object]) -> None:
    """Say in a dataset that it is a synthetic forgery, in five places a reader may look at.

    ImageType, DerivationDescription and ImageComments (PS3.3 C.7.6.1), SeriesDescription, and an item of
    ContributingEquipmentSequence (C.12.1.1.5). UIDs are `write_forgery`'s work.
    """
    details = "; ".join(f"{name} {value}" for name, value in record.items())
    ds.ImageType = ["DERIVED", "SECONDARY", *list(ds.get("ImageType") or ["", "", "AXIAL"])[2:]]
    ds.DerivationDescription = f"{MARK}: {details}"[:1024]  # ST, PS3.5 6.2
    ds.ImageComments = f"{MARK}, for research and training of detectors. Not for diagnosis."
    ds.SeriesDescription = MARK
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109103", "DCM"  # PS3.16 CID 7005
    purpose.CodeMeaning = "Modifying Equipment"
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [purpose]
    item.Manufacturer = "verict"
    item.ManufacturerModelName = "verict tamper"
    item.SoftwareVersions = verict.__version__
    item.ContributionDateTime = datetime.now().strftime("%Y%m%d%H%M%S")
    item.ContributionDescription = MARK
    ds.ContributingEquipmentSequence = [*(ds.get("ContributingEquipmentSequence") or []), item]


def is_marked(ds: Dataset) -> bool:
    """Whether a dataset bears the mark, in DerivationDescription or ContributingEquipmentSequence."""
    contributions = [str(i.get("ContributionDescription", "")) for i in ds.get("ContributingEquipmentSequence") or []]
    return any(MARK in text for text in (str(ds.get("DerivationDescription", "")), *contributions))
