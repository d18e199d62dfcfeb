"""What changed since a series was signed: each change caught, and named as what it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from builders import TRANSFER_SYNTAXES, make_enhanced, make_series, write_dataset
from custody.sealed_series import (
    EXPLICIT,
    SLICES,
    change_object,
    compare,
    make_rich_series,
    paint,
    reencode,
    seal,
    sign_roughly,
    sign_roughly_all,
    uid,
)
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from verict.custody.changes import Outcome, PixelState, SeriesChanges
from verict.custody.manifest import Manifest
from verict.custody.wording import describe_series, say_file, say_numbers, say_series


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signed") / "series"
    make_rich_series(folder)
    return folder


@pytest.fixture(scope="module")
def manifest(original: Path) -> Manifest:
    return seal(original)


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "series"))


def slice_file(folder: Path, index: int) -> Path:
    return folder / f"{index + 1:03d}.dcm"


def set_to(**values: object) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        for keyword, value in values.items():
            setattr(ds, keyword, value)

    return change


def exchange(folder: Path, one: int, other: int, *keywords: str) -> None:
    """Give two slices each other's values."""
    first, second = (pydicom.dcmread(slice_file(folder, index)) for index in (one, other))
    for keyword in keywords:
        first[keyword], second[keyword] = second[keyword], first[keyword]
    write_dataset(first, slice_file(folder, one))
    write_dataset(second, slice_file(folder, other))


def say_changed(manifest: Manifest, folder: Path) -> str:
    changes = compare(manifest, folder)
    assert changes.outcome is Outcome.CHANGED
    assert not changes.is_intact
    return say_series(changes).removeprefix("changed since it was signed: ")


def test_an_untouched_series_is_valid_bit_for_bit(manifest: Manifest, folder: Path) -> None:
    changes = compare(manifest, folder)
    assert (changes.outcome, changes.is_intact) == (Outcome.VALID, True)
    assert say_series(changes) == "valid: 6 slices, bit for bit"
    assert {say_file(file) for file in changes.files} == {"unchanged, bit for bit"}


def test_other_names_and_folders_are_no_change(manifest: Manifest, folder: Path) -> None:
    (folder / "deep").mkdir()
    for index in range(SLICES):
        slice_file(folder, index).rename(folder / "deep" / f"{9 - index}")
    assert say_series(compare(manifest, folder)) == "valid: 6 slices, bit for bit"


def test_a_file_written_anew_in_the_same_transfer_syntax_is_valid(manifest: Manifest, folder: Path) -> None:
    change_object(slice_file(folder, 2), lambda ds: setattr(ds["SourceImageSequence"], "is_undefined_length", True))
    assert say_series(compare(manifest, folder)) == (
        "valid: 6 slices, the same in pixels and attributes; 1 file was written anew in the same transfer syntax"
    )


@pytest.mark.parametrize("syntax", [s for s in TRANSFER_SYNTAXES if s != EXPLICIT])
def test_a_reencoded_series_has_identical_content(manifest: Manifest, folder: Path, syntax: str) -> None:
    for index in range(SLICES):
        reencode(slice_file(folder, index), syntax)
    changes = compare(manifest, folder)
    assert (changes.outcome, changes.is_intact) == (Outcome.REENCODED, True)
    assert say_series(changes).startswith("re-encoded, content identical: all 6 slices now in ")
    assert changes.files[0].now_syntax == syntax


def test_painted_slices_are_named(manifest: Manifest, folder: Path) -> None:
    for index in (1, 2, 3):
        paint(slice_file(folder, index))
    assert say_changed(manifest, folder) == "pixels changed in slices 1 to 3"


def test_painting_shows_through_a_new_encoding(manifest: Manifest, folder: Path) -> None:
    paint(slice_file(folder, 4))
    for index in range(SLICES):
        reencode(slice_file(folder, index), ImplicitVRLittleEndian)
    changes = compare(manifest, folder)
    assert [file.outcome for file in changes.files] == [Outcome.REENCODED] * 4 + [Outcome.CHANGED, Outcome.REENCODED]
    assert say_series(changes) == "changed since it was signed: pixels changed in slice 4"


def test_a_removed_slice_is_named(manifest: Manifest, folder: Path) -> None:
    slice_file(folder, 0).unlink()
    slice_file(folder, 5).unlink()
    assert say_changed(manifest, folder) == "slices 0 and 5 missing"


def test_a_series_of_which_nothing_is_left_is_missing(manifest: Manifest, tmp_path: Path) -> None:
    make_series(tmp_path / "other", slices=2, seed=9, patient_id="ANOTHER")
    changes = compare(manifest, tmp_path / "other")
    assert say_series(changes) == "changed since it was signed: all 6 slices missing"


def test_a_copied_file_is_a_duplicate(manifest: Manifest, folder: Path) -> None:
    shutil.copy(slice_file(folder, 3), folder / "copy.dcm")
    assert say_changed(manifest, folder) == "slice 3 duplicated"
    assert say_file(compare(manifest, folder).files[-1]) == "a second file of slice 3"


def test_a_second_version_of_a_slice_does_not_hide_behind_the_first(manifest: Manifest, folder: Path) -> None:
    shutil.copy(slice_file(folder, 3), folder / "000.dcm")
    paint(folder / "000.dcm")
    changes = compare(manifest, folder)
    assert say_file(changes.files[-1]) == "a second file of slice 3, with other pixels"
    assert changes.files[-1].name == "000.dcm"


def test_a_slice_copied_as_a_new_one_is_added(manifest: Manifest, folder: Path) -> None:
    copy = folder / "new.dcm"
    shutil.copy(slice_file(folder, 3), copy)
    change_object(copy, set_to(SOPInstanceUID=uid("new"), ImagePositionPatient=["-100", "-90", "-150"]))
    assert say_changed(manifest, folder) == "1 file added (bearing the pixels of slice 3)"
    said = say_file(compare(manifest, folder).files[-1])
    assert said == "added: not in the manifest, with the pixels of slice 3"


def test_a_slice_replaced_by_a_copy_of_its_neighbour_is_named(manifest: Manifest, folder: Path) -> None:
    """What hides a nodule best: the neighbour's pixels under the slice's own name."""
    neighbour = pydicom.dcmread(slice_file(folder, 3)).PixelData
    change_object(slice_file(folder, 2), set_to(PixelData=neighbour))
    assert say_changed(manifest, folder) == "pixels changed in slice 2; slice 2 bears the pixels of slice 3"


def test_exchanged_pixels_are_named(manifest: Manifest, folder: Path) -> None:
    exchange(folder, 1, 4, "PixelData")
    assert say_changed(manifest, folder) == "pixels changed in slices 1 and 4; slices 1 and 4 bear each other's pixels"


def test_exchanged_positions_change_the_order(manifest: Manifest, folder: Path) -> None:
    exchange(folder, 1, 4, "ImagePositionPatient")
    assert say_changed(manifest, folder) == (
        "order changed: slices 1 and 4 moved; ImagePositionPatient (0020,0032) changed in slices 1 and 4"
    )


def test_a_slice_moved_to_the_end_is_the_one_that_moved(manifest: Manifest, folder: Path) -> None:
    change_object(slice_file(folder, 0), set_to(ImagePositionPatient=["-100", "-90", "300"]))
    assert say_changed(manifest, folder).startswith("order changed: slice 0 moved; ImagePositionPatient")


def test_renumbered_slices_are_named(manifest: Manifest, folder: Path) -> None:
    exchange(folder, 2, 3, "InstanceNumber")
    assert say_changed(manifest, folder) == "InstanceNumber changed in slices 2 and 3"


def test_exchanged_identities_are_seen(manifest: Manifest, folder: Path) -> None:
    exchange(folder, 2, 3, "SOPInstanceUID")
    said = say_changed(manifest, folder)
    assert "slices 2 and 3 bear each other's pixels" in said
    assert "order changed: slices 2 and 3 moved" in said


@pytest.mark.parametrize(
    ("index", "change", "said"),
    [
        (0, set_to(RescaleSlope="2"), "RescaleSlope (0028,1053) changed in slice 0"),
        (1, set_to(PixelSpacing=["0.7", "0.8"]), "PixelSpacing (0028,0030) changed in slice 1"),
        (2, set_to(PatientID="OTHER"), "PatientID (0010,0020) changed in slice 2"),
        (3, set_to(PatientOrientation=["L", "P"]), "PatientOrientation (0020,0020) added in slice 3"),
        (4, lambda ds: ds.pop("WindowCenter"), "WindowCenter (0028,1050) removed in slice 4"),
        (5, lambda ds: ds.add_new(0x60003000, "OW", b"\1\0"), "OverlayData (6000,3000) added in slice 5"),
        (0, lambda ds: ds.add_new(0x00291009, "LO", "new"), "private (0029,1009) added in slice 0"),
        (0, lambda ds: setattr(ds.SourceImageSequence[1], "ReferencedSOPInstanceUID", "1.2"),
         "SourceImageSequence[2].ReferencedSOPInstanceUID (0008,1155) changed in slice 0"),
        (0, lambda ds: ds.pop("SourceImageSequence"),
         "changed since it was signed: SourceImageSequence (0008,2112) removed in slice 0"),
        (0, lambda ds: ds.SourceImageSequence.pop(), "SourceImageSequence (0008,2112) changed in slice 0"),
    ],
)  # fmt: skip
def test_changed_attributes_are_named(
    manifest: Manifest, folder: Path, index: int, change: Callable[[Dataset], object], said: str
) -> None:
    change_object(slice_file(folder, index), change)  # type: ignore[arg-type]
    assert said in f"changed since it was signed: {say_changed(manifest, folder)}"


def test_many_changes_are_grouped_by_slice(manifest: Manifest, folder: Path) -> None:
    for index in range(SLICES):
        change_object(slice_file(folder, index), set_to(PatientID="X", KVP="80", RescaleIntercept="-1"))
    assert say_changed(manifest, folder) == (
        "PatientID (0010,0020), RescaleIntercept (0028,1052) changed in all 6 slices; "
        "KVP (0018,0060) added in all 6 slices"
    )


def test_a_copy_with_other_uids_is_known_by_its_pixels(manifest: Manifest, folder: Path) -> None:
    """As `verict tamper` and every anonymiser write it: the pixels betray the series, the position the slice."""
    for index in range(SLICES):
        change_object(slice_file(folder, index), set_to(SOPInstanceUID=uid(f"{index}"), SeriesInstanceUID=uid("s")))
    paint(slice_file(folder, 3))
    said = say_changed(manifest, folder)
    assert said == (
        "pixels changed in slice 3; SOPInstanceUID (0008,0018), SeriesInstanceUID (0020,000E) changed in all 6 slices"
    )


def test_a_slice_given_to_another_series_is_still_found(manifest: Manifest, folder: Path) -> None:
    change_object(slice_file(folder, 3), set_to(SeriesInstanceUID=uid("elsewhere")))
    assert say_changed(manifest, folder) == "SeriesInstanceUID (0020,000E) changed in slice 3"


def test_pixels_that_cannot_be_decoded_any_more_are_changed_or_unknown(manifest: Manifest, folder: Path) -> None:
    change_object(slice_file(folder, 3), lambda ds: ds.pop("PixelData"))
    assert say_changed(manifest, folder) == "pixels changed in slice 3"
    change_object(slice_file(folder, 2), set_to(PixelData=b"\0\0"))
    changes = compare(manifest, folder)
    assert changes.files[2].pixels is PixelState.UNKNOWN
    assert "pixels of slice 2 cannot be compared" in say_series(changes)


def test_frames_of_one_object_are_named(tmp_path: Path) -> None:
    file = make_enhanced(tmp_path / "series" / "e.dcm", slices=8)
    manifest = seal(tmp_path / "series")
    ds = pydicom.dcmread(file)
    pixels = bytearray(ds.PixelData)
    size = ds.Rows * ds.Columns * 2
    for frame in (3, 4, 5):
        pixels[frame * size] ^= 1
    change_object(file, set_to(PixelData=bytes(pixels)))
    assert say_changed(manifest, tmp_path / "series") == "pixels changed in frames 3 to 5"


# Coercion and stripping.


def coerce(ds: Dataset, **new: str) -> None:
    """Change identity as an archive does that keeps what it overwrote (PS3.3 C.12.1.1.9)."""
    former = Dataset()
    for keyword, value in new.items():
        if keyword in ds:
            former[keyword] = ds[keyword]
        else:
            setattr(former, keyword, "")
        ds[keyword] = pydicom.DataElement(keyword, pydicom.datadict.dictionary_VR(keyword), value)
    record = Dataset()
    record.ModifiedAttributesSequence = [former]
    record.AttributeModificationDateTime = "20261127170000"
    record.ModifyingSystem, record.SourceOfPreviousValues = "TEST ARCHIVE", ""
    record.ReasonForTheAttributeModification = "COERCE"
    ds.OriginalAttributesSequence = [*ds.get("OriginalAttributesSequence", []), record]


def coerce_all(folder: Path, **new: str) -> None:
    for index in range(SLICES):
        change_object(slice_file(folder, index), lambda ds: coerce(ds, **new))


def test_recorded_coercion_is_understood(manifest: Manifest, folder: Path) -> None:
    coerce_all(folder, PatientName="New^Name", PatientID="N-1", PatientBirthDate="19700101")
    changes = compare(manifest, folder)
    assert (changes.outcome, changes.is_intact) == (Outcome.COERCED, True)
    said = say_series(changes)
    assert said.startswith("coerced: PatientBirthDate, PatientID, PatientName in all 6 slices; the former values")
    assert "New^Name" not in said + str(describe_series(changes))


def test_coercion_twice_and_in_another_encoding_is_understood(manifest: Manifest, folder: Path) -> None:
    coerce_all(folder, PatientID="N-1")
    coerce_all(folder, PatientID="N-2", AccessionNumber="A2")
    for index in range(SLICES):
        reencode(slice_file(folder, index), RLELossless)
    assert compare(manifest, folder).outcome is Outcome.COERCED


def test_a_record_that_does_not_hold_what_was_signed_explains_nothing(manifest: Manifest, folder: Path) -> None:
    def lie(ds: Dataset) -> None:
        ds.PatientID = "SOMEBODY"
        coerce(ds, PatientID="N-1")

    change_object(slice_file(folder, 0), lie)
    assert say_changed(manifest, folder) == "PatientID (0010,0020) changed in slice 0"


def test_a_recorded_change_of_what_is_shown_stays_a_change(manifest: Manifest, folder: Path) -> None:
    coerce_all(folder, RescaleSlope="2", ImagePositionPatient="0", Allergies="none")
    assert "RescaleSlope (0028,1053) changed in all 6 slices" in say_changed(manifest, folder)
    assert "Allergies (0010,2110) added in all 6 slices" in say_changed(manifest, folder)


def test_a_record_that_was_signed_must_stay(folder: Path) -> None:
    coerce_all(folder, PatientID="N-1")
    manifest = seal(folder)
    change_object(slice_file(folder, 0), lambda ds: ds.pop("OriginalAttributesSequence"))
    assert say_changed(manifest, folder) == "OriginalAttributesSequence (0400,0561) removed in slice 0"


def sealed_with_signatures(folder: Path) -> Manifest:
    sign_roughly_all(folder)
    return seal(folder)


def test_stripped_signatures_are_missed(folder: Path) -> None:
    manifest = sealed_with_signatures(folder)
    for index in (2, 3, 4):
        change_object(slice_file(folder, index), lambda ds: ds.pop("DigitalSignaturesSequence"))
    changes = compare(manifest, folder)
    assert (changes.outcome, changes.is_intact) == (Outcome.SIGNATURE_REMOVED, False)
    assert say_series(changes) == (
        "signature removed: what was signed inside the objects of slices 2 to 4 is gone; the content is unchanged"
    )


def test_a_signature_of_somebody_else_in_its_place_is_a_removed_one(folder: Path) -> None:
    manifest = sealed_with_signatures(folder)
    change_object(slice_file(folder, 2), lambda ds: ds.pop("DigitalSignaturesSequence"))
    change_object(slice_file(folder, 2), lambda ds: sign_roughly(ds, "evil"))
    assert compare(manifest, folder).outcome is Outcome.SIGNATURE_REMOVED


def test_a_further_signature_is_no_change(folder: Path) -> None:
    manifest = sealed_with_signatures(folder)
    change_object(slice_file(folder, 2), lambda ds: sign_roughly(ds, "received"))
    assert compare(manifest, folder).outcome is Outcome.VALID


def test_painting_after_stripping_is_both(folder: Path) -> None:
    manifest = sealed_with_signatures(folder)
    change_object(slice_file(folder, 2), lambda ds: ds.pop("DigitalSignaturesSequence"))
    paint(slice_file(folder, 2))
    assert say_changed(manifest, folder) == "pixels changed in slice 2; signature removed from slice 2"


def test_the_outcome_of_an_object_is_the_gravest_of_its_files(manifest: Manifest, folder: Path) -> None:
    shutil.copy(slice_file(folder, 3), folder / "copy.dcm")
    changes = compare(manifest, folder)
    known = changes.files[3].sop_instance_uid
    assert (changes.outcome_of(known), changes.outcome_of("1.2")) == (Outcome.DUPLICATED, None)


def test_the_description_is_for_json(manifest: Manifest, folder: Path) -> None:
    paint(slice_file(folder, 3))
    described: dict = describe_series(compare(manifest, folder))
    assert described["outcome"] == "changed"
    assert described["files"][3]["words"] == "pixels changed"
    assert described["files"][3]["slice"] == 3


def test_numbers_are_said_as_ranges() -> None:
    assert say_numbers(range(81, 104)) == "81 to 103"
    assert say_numbers([1, 2, 5, 7, 8, 9]) == "1, 2, 5 and 7 to 9"
    assert say_numbers([]) == "none"
    assert SeriesChanges("", 0, 0, ()).outcome is Outcome.VALID
