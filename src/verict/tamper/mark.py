"""Marks every file verict's tamper lab writes. No option removes the mark."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

import verict
from verict.ct.volume import CTVolume
from verict.ct.write import write_modified
from verict.errors import printable

MARK = "synthetic forgery by verict"
CONTROL = "control, copied without any painting"
"""What the mark says of a series in which nothing was forged: the untouched scans of a campaign."""


def write_forgery(
    volume: CTVolume,
    hu: np.ndarray,
    folder: Path,
    record: Mapping[str, object],
    *,
    made_at: datetime | None = None,
    uid_seed: str | None = None,
) -> list[Path]:
    """Write a forged copy of a series, every instance of it marked, touched or not.

    With a seed for the UIDs and no time, the same call writes the same bytes again.

    Parameters
    ----------
    volume
        The series before the forgery, with headers.
    hu
        (z, y, x) the forged HU, the volume's shape.
    folder
        As in `verict.ct.write.write_modified`.
    record
        What was done, as returned by the forger; goes into DerivationDescription as plain text, without what is
        nested in it.
    made_at
        ContributionDateTime of the mark; left out (type 3) where None.
    uid_seed
        As in `verict.ct.write.write_modified`: one text for each forgery.

    Returns
    -------
    list of Path
        The files, in the order of the slices.

    Raises
    ------
    InputError, OutputError
        As `verict.ct.write.write_modified`.
    """
    return write_modified(
        volume, hu, folder, change=lambda ds: mark_forged(ds, record, made_at=made_at), uid_seed=uid_seed
    )


def write_control(
    volume: CTVolume,
    folder: Path,
    record: Mapping[str, object],
    *,
    made_at: datetime | None = None,
    uid_seed: str | None = None,
) -> list[Path]:
    """Write a copy of a series in which nothing is forged, marked all the same, with words that say so.

    What stands beside forgeries went through the same hands: a control that bears no mark would be told from a
    forgery by its header alone, and could be taken for a patient's scan. Parameters, result and errors are those of
    `write_forgery`.
    """
    record = {"kind": CONTROL} | {name: value for name, value in record.items() if name != "kind"}
    return write_forgery(volume, volume.hu, folder, record, made_at=made_at, uid_seed=uid_seed)


def mark_forged(ds: Dataset, record: Mapping[str, object], *, made_at: datetime | None = None) -> None:
    """Say in a dataset that it is a synthetic forgery, in five places a reader may look at.

    ImageType, DerivationDescription and ImageComments (PS3.3 C.7.6.1), SeriesDescription, and an item of
    ContributingEquipmentSequence (C.12.1.1.5). UIDs are `write_forgery`'s work.
    """
    details = "; ".join(f"{name} {value}" for name, value in record.items() if not isinstance(value, Mapping))
    words = printable(f"{MARK}: {details}").encode("ascii", "backslashreplace").decode()  # in any character set
    ds.ImageType = ["DERIVED", "SECONDARY", *list(ds.get("ImageType") or ["", "", "AXIAL"])[2:]]
    ds.DerivationDescription = words[:1024]  # ST, PS3.5 6.2
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
    if made_at is not None:
        item.ContributionDateTime = made_at.strftime("%Y%m%d%H%M%S")
    item.ContributionDescription = MARK
    ds.ContributingEquipmentSequence = [*(ds.get("ContributingEquipmentSequence") or []), item]


def is_marked(ds: Dataset) -> bool:
    """Whether a dataset bears the mark, in DerivationDescription or ContributingEquipmentSequence."""
    contributions = [str(i.get("ContributionDescription", "")) for i in ds.get("ContributingEquipmentSequence") or []]
    return any(MARK in text for text in (str(ds.get("DerivationDescription", "")), *contributions))
