"""Damaged at random: `examine` must end, with a verdict or with errors it foresaw, for whatever bytes."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from builders import dataset_bytes, make_body_hu, make_enhanced, make_slice_dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from verict import errors
from verict.detect.result import ScanResult
from verict.detect.scan import ScanOptions, examine
from verict.report.html import to_html
from verict.report.json import to_text

HU = make_body_hu(1, 96, 96)[0]
GEOMETRY = {"pixel_spacing_mm": (3.0, 3.0), "patient_id": "GEHEIM4711", "PatientName": "Geheim^Waltraud"}
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
            RLELossless, JPEGLSLossless, JPEG2000Lossless)  # fmt: skip
WHOLE = {s: dataset_bytes(make_slice_dataset(HU, transfer_syntax=s, **GEOMETRY)) for s in SYNTAXES}
FORESEEN = {kind.__name__ for kind in vars(errors).values() if isinstance(kind, type)}
QUICK = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.mark.parametrize("syntax", SYNTAXES)
@QUICK
@given(data=st.data())
def test_flipped_bytes_and_cut_ends(tmp_path: Path, syntax: str, data: st.DataObject) -> None:
    content = bytearray(WHOLE[syntax])
    header = min(1400, len(content))  # where lengths, tags and numbers are; the pixels get their share too
    for _ in range(data.draw(st.integers(0, 4), label="flips")):
        end = data.draw(st.sampled_from((header, len(content))))
        content[data.draw(st.integers(132, end - 1), label="at")] = data.draw(st.integers(0, 255), label="byte")
    if data.draw(st.booleans(), label="cut"):
        del content[data.draw(st.integers(0, len(content)), label="length") :]
    _check(_examine(tmp_path, bytes(content)))


@QUICK
@given(data=st.data())
def test_values_replaced(tmp_path: Path, data: st.DataObject) -> None:
    """The value of one attribute after the other replaced by bytes of the same length: the file stays well formed."""
    content = bytearray(WHOLE[ExplicitVRLittleEndian])
    starts = _values(bytes(content))
    for start, length in data.draw(st.lists(st.sampled_from(starts), min_size=1, max_size=4), label="attributes"):
        content[start : start + length] = data.draw(st.binary(min_size=length, max_size=length), label="value")
    _check(_examine(tmp_path, bytes(content)))


@QUICK
@given(data=st.data())
def test_damaged_functional_groups(tmp_path: Path, data: st.DataObject) -> None:
    whole = _enhanced(tmp_path)
    content = bytearray(whole)
    start = whole.index(b"\x00\x52\x29\x92")
    end = whole.index(b"\xe0\x7f\x10\x00")
    for _ in range(data.draw(st.integers(1, 3), label="flips")):
        content[data.draw(st.integers(start, end - 1), label="at")] = data.draw(st.integers(0, 255), label="byte")
    _check(_examine(tmp_path, bytes(content)))


@QUICK
@given(data=st.data())
def test_damaged_zips(tmp_path: Path, data: st.DataObject) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.dcm", WHOLE[ExplicitVRLittleEndian])
        archive.writestr("note.txt", "hello")
    content = bytearray(packed.getvalue())
    for _ in range(data.draw(st.integers(1, 4), label="flips")):
        start = data.draw(st.sampled_from((4, len(content) - 250)))  # the directory is at the end
        at = data.draw(st.integers(start, len(content) - 1), label="at")
        content[at] = data.draw(st.integers(0, 255), label="byte")
    file = tmp_path / "study.zip"
    file.write_bytes(content)
    _check(examine(file, ScanOptions(workers=1)))


def test_the_whole_files_are_judged(tmp_path: Path) -> None:
    for content in (*WHOLE.values(), _enhanced(tmp_path)):
        result = _examine(tmp_path, content)
        assert not result.failures
        assert len(result.series) == 1


def _enhanced(folder: Path) -> bytes:
    hu = np.stack([HU, HU])
    file = make_enhanced(folder / "enhanced" / "1.dcm", hu=hu, spacing_mm=(1.0, 3.0, 3.0))
    return file.read_bytes()


def _examine(folder: Path, content: bytes) -> ScanResult:
    file = folder / "study" / "1.dcm"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    return examine(file.parent, ScanOptions(workers=1, pictures=True))


def _check(result: ScanResult) -> None:
    for failure in result.failures:
        assert "did not foresee" not in failure.message, failure.message
        assert failure.details["error"] in FORESEEN
        assert failure.details["file"]
        assert failure.message.isprintable()
        assert "Geheim" not in failure.message
        assert "GEHEIM" not in failure.message
    assert result.series or result.failures or result.not_examined, "nothing is lost without a word"
    for anonymous in (False, True):
        document = json.loads(to_text(result, anonymous=anonymous))
        assert document["exit_code"] == result.exit_code
    if result.series:
        assert to_html(result, anonymous=True).startswith("<!DOCTYPE html>")


def _values(content: bytes) -> list[tuple[int, int]]:
    """(offset, length) of the short values between the file meta information and the pixels."""
    pos = content.index(b"\x08\x00\x08\x00CS", 132)
    found = []
    while content[pos : pos + 4] != b"\xe0\x7f\x10\x00":
        length = int.from_bytes(content[pos + 6 : pos + 8], "little")
        if length:
            found.append((pos + 8, length))
        pos += 8 + length
    return found
