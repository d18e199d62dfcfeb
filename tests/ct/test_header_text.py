"""A header value as text: what pydicom warns of or chokes on stays quiet."""

import pytest
from builders import make_body_hu, make_slice_dataset
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from verict.ct.header_text import read_text


def _raw(tag, vr, value):
    header = Dataset()
    header[tag] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
    return header


def test_plain_values():
    header = make_slice_dataset(make_body_hu(1, 32, 32)[0])
    assert read_text(header, "Modality") == "CT"
    assert read_text(header, "PatientName") == "Test^Patient"
    assert read_text(header, "KVP") == ""


@pytest.mark.parametrize(
    ("tag", "vr", "value", "keyword"),
    [
        (0x0008103E, "LO", b"Geheim \x1b[31m", "SeriesDescription"),  # unknown escape sequence
        (0x00100010, "PN", b"Geheim\x1b$\xff^" + b"x" * 300, "PatientName"),
        (0x00180050, "DS", b"not a number", "SliceThickness"),
        (0x00280010, "US", b"\1", "Rows"),
        (0x00100030, "DA", b"yesterday", "PatientBirthDate"),
    ],
)
def test_malformed_values_neither_raise_nor_warn(tag, vr, value, keyword):
    assert isinstance(read_text(_raw(tag, vr, value), keyword), str)


def test_other_alphabets_are_decoded():
    header = _raw(0x00100010, "PN", "Müller^Jürgen".encode("latin-1"))
    header.SpecificCharacterSet = "ISO_IR 100"
    assert read_text(header, "PatientName") == "Müller^Jürgen"
