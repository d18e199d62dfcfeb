"""Attribute values and pixels have the same digest however they are encoded, and another one where they differ."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pydicom
import pytest
from builders import TRANSFER_SYNTAXES, dataset_bytes, make_enhanced, make_series, make_slice_dataset
from custody.sealed_series import change_object, make_rich_series, reencode
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, JPEGLSLossless, RLELossless

from verict.ct.sources import DiskFile
from verict.custody.content import ObjectContent, read_object, read_study
from verict.custody.pixels import PixelKind
from verict.custody.values import name_of_path
from verict.errors import InputError, NotDicomError


def read(file: Path) -> ObjectContent:
    found = read_object(DiskFile(file, file.name, file.parent.name, file.stat().st_size))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rich_series(tmp_path_factory.mktemp("rich"), slices=1)[0]


def copy_of(file: Path, folder: Path) -> Path:
    copy = folder / file.name
    copy.write_bytes(file.read_bytes())
    return copy


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_every_transfer_syntax_has_the_same_values_and_pixels(rich: Path, tmp_path: Path, syntax: str) -> None:
    copy = copy_of(rich, tmp_path)
    reencode(copy, syntax)
    then, now = read(rich), read(copy)
    assert {p for p in then.values if then.values[p] != now.values.get(p)} == set()
    assert now.values.keys() == then.values.keys()
    assert now.pixels == then.pixels
    assert now.pixels.kind is PixelKind.VALUES
    assert (now.sop_instance_uid, now.instance_number) == (then.sop_instance_uid, then.instance_number)


def test_defined_and_undefined_lengths_have_the_same_values(rich: Path, tmp_path: Path) -> None:
    copy = copy_of(rich, tmp_path)

    def undefine(ds: Dataset) -> None:
        for element in ds.iterall():
            if element.VR == "SQ":
                element.is_undefined_length = True
                for item in element.value:
                    item.is_undefined_length_sequence_item = True

    change_object(copy, undefine)
    assert copy.read_bytes() != rich.read_bytes()
    assert read(copy).values == read(rich).values


def test_nested_and_private_values_have_paths_of_their_own(rich: Path) -> None:
    values = read(rich).values
    assert {"00082112", "00082112[1].0040A170[1].00080100", "00082112[2].00081155", "00081110", "00291005[1].00080104",
            "00291007", "00290010"} <= values.keys()  # fmt: skip
    assert not {path for path in values if path.startswith(("0002", "7FE0")) or path.endswith("0000")}


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("00100020", lambda ds: setattr(ds, "PatientID", "OTHER")),
        ("00281053", lambda ds: setattr(ds, "RescaleSlope", "1.0")),
        ("00281050", lambda ds: setattr(ds, "WindowCenter", ["-500", "41"])),
        ("00281050", lambda ds: setattr(ds, "WindowCenter", ["40", "-500"])),
        ("00280106", lambda ds: setattr(ds, "SmallestImagePixelValue", -1023)),
        ("00291002", lambda ds: setattr(ds[0x00291002], "value", 32)),
        ("00291004", lambda ds: setattr(ds[0x00291004], "value", b"\x01\x02\x03\x00")),
        ("00082112[1].0040A170[1].00080104",
         lambda ds: setattr(ds.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0], "CodeMeaning", "another")),
    ],
)  # fmt: skip
def test_a_changed_value_changes_its_own_digest_only(rich: Path, tmp_path: Path, path: str, change: object) -> None:
    copy = copy_of(rich, tmp_path)
    change_object(copy, change)  # type: ignore[arg-type]
    then, now = read(rich).values, read(copy).values
    assert {p for p in then.keys() | now.keys() if then.get(p) != now.get(p)} == {path}


def test_padding_means_nothing(rich: Path, tmp_path: Path) -> None:
    copy = copy_of(rich, tmp_path)
    data = copy.read_bytes()
    assert data.count(b"odd ") + data.count(b"even") == 1
    change_object(copy, lambda ds: setattr(ds, "PatientID", " TEST   "))
    assert read(copy).values == read(rich).values


def test_a_tag_that_stands_twice_is_seen_twice(tmp_path: Path) -> None:
    data = dataset_bytes(make_slice_dataset(pydicom.pixels.utils.np.zeros((32, 32), "i2")))
    element = b"\x10\x00\x20\x00LO\x04\x00TEST"
    assert data.count(element) == 1
    (tmp_path / "x.dcm").write_bytes(data.replace(element, element + b"\x10\x00\x20\x00LO\x04\x00EVIL"))
    assert {"00100020", "00100020#2"} <= read(tmp_path / "x.dcm").values.keys()


def test_bits_outside_bits_stored_cannot_be_changed_unseen(tmp_path: Path) -> None:
    file = make_series(tmp_path, slices=1, bits_stored=12, signed=False)[0]
    before = read(file).pixels
    change_object(file, lambda ds: setattr(ds, "PixelData", b"\x00\xf0" + ds.PixelData[2:]))
    after = read(file).pixels
    assert before.unused_bits == ""
    assert len(after.unused_bits) == 64


@pytest.mark.parametrize("attribute", ["Rows", "BitsStored", "PixelRepresentation", "PhotometricInterpretation"])
def test_what_gives_pixels_their_meaning_is_part_of_them(tmp_path: Path, attribute: str) -> None:
    file = make_series(tmp_path, slices=1)[0]
    before = read(file).pixels
    other = {"Rows": 32, "BitsStored": 15, "PixelRepresentation": 0, "PhotometricInterpretation": "MONOCHROME1"}
    change_object(file, lambda ds: setattr(ds, attribute, other[attribute]))
    assert read(file).pixels.frames != before.frames


def test_frames_have_digests_of_their_own(tmp_path: Path) -> None:
    pixels = read(make_enhanced(tmp_path / "e.dcm", slices=5)).pixels
    assert pixels == read(make_enhanced(tmp_path / "r.dcm", slices=5, transfer_syntax=RLELossless)).pixels
    assert len(set(pixels.frames)) == 5


def test_pixels_that_cannot_be_decoded_are_hashed_as_they_are(tmp_path: Path) -> None:
    file = make_series(tmp_path, slices=1, transfer_syntax=JPEGLSLossless)[0]
    data = bytearray(file.read_bytes())
    data[data.index(b"\xff\xd8\xff\xf7")] ^= 1
    file.write_bytes(data)
    pixels = read(file).pixels
    assert (pixels.kind, len(pixels.frames)) == (PixelKind.BYTES, 1)
    assert pixels.reason


def test_colour_pictures_beside_a_series_are_hashed_as_they_are(tmp_path: Path) -> None:
    file = make_series(tmp_path, slices=1)[0]
    change_object(file, lambda ds: setattr(ds, "SamplesPerPixel", 3))
    assert read(file).pixels.kind is PixelKind.BYTES


def test_a_study_gives_its_objects_and_passes_over_the_rest(tmp_path: Path) -> None:
    files = make_series(tmp_path, slices=3)
    (tmp_path / "readme.txt").write_text("not DICOM")
    (tmp_path / "broken.dcm").write_text("not DICOM either")
    files[2].write_bytes(files[2].read_bytes()[:700])
    found = read_study(tmp_path)
    assert [one.name for one in found.objects] == ["001.dcm", "002.dcm"]
    assert [type(failure) for failure in found.failures] == [InputError, NotDicomError]


def test_paths_are_read_as_keywords() -> None:
    assert name_of_path("00280030") == "PixelSpacing (0028,0030)"
    assert name_of_path("00291010") == "private (0029,1010)"
    assert name_of_path("60003000#2") == "OverlayData#2 (6000,3000)"
    assert name_of_path("00280007") == "unknown (0028,0007)"


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_objects_never_crash_it(
    rich: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(rich.read_bytes()[:1800])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.mktemp("damaged") / "x.dcm"
    file.write_bytes(content)
    with contextlib.suppress(InputError):
        read(file)


def test_implicit_vr_with_hostile_nesting_is_refused(tmp_path: Path) -> None:
    file = make_series(tmp_path, slices=1, transfer_syntax=ImplicitVRLittleEndian)[0]
    item = b"\x09\x00\x01\x10\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    file.write_bytes(file.read_bytes() + item * 5000)
    with pytest.raises(InputError, match="too deep"):
        read(file)
