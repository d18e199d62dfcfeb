"""Attacks on the manifest's own reading of a series: what hides a change from it, and the refusal each gets."""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from builders import make_body_hu, make_enhanced, make_series
from custody.sealed_series import change_object, compare, make_rich_series, paint, seal
from custody.signers import make_identity
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from verict.custody.changes import Outcome
from verict.custody.keys import Signer
from verict.custody.seal import find_manifests, seal_study, sign_bytes, signature_path, verify_seals
from verict.custody.trust import TrustStore
from verict.custody.wording import say_series

IDENTITY = make_identity()
SIGNER = Signer(IDENTITY.key, IDENTITY.certificate)
TRUST = TrustStore(roots=IDENTITY.issuers)
SLOPE = b"\x28\x00\x53\x10DS\x02\x001 "
PIXELS = b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<I", 64 * 64 * 2)
PADDING = b"\xfc\xff\xfc\xffOB\0\0\2\0\0\0\0\0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_rich_series(tmp_path / "CHEST", slices=3)
    return tmp_path / "CHEST"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, bytes]:
    """The files of a small sealed study, the manifest first, and what is in them."""
    study = tmp_path_factory.mktemp("small") / "CHEST"
    make_rich_series(study, slices=2, hu=make_body_hu(2, 16, 16))
    (manifest,) = seal_study(study, SIGNER)
    return {file: file.read_bytes() for file in (manifest, signature_path(manifest), *sorted(study.iterdir()))}


def forged_pixels(data: bytes) -> bytes:
    """A whole Pixel Data element with other pixels than the file's."""
    start = data.index(PIXELS) + len(PIXELS)
    return PIXELS + data[start + 2 :][: 64 * 64 * 2 - 2] + b"\x2c\x01"


def before_pixels(inserted: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(PIXELS, inserted(data) + PIXELS)


ATTACKS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "forged pixels before the signed ones": (before_pixels(forged_pixels), "pixels|PixelData"),
    "forged pixels behind the signed ones": (lambda data: data + forged_pixels(data), "pixels|PixelData"),
    "forged pixels behind padding": (lambda data: data + PADDING + forged_pixels(data), "pixels|PixelData"),
    "a value behind padding": (lambda data: data + PADDING + SLOPE.replace(b"1", b"2"), "RescaleSlope#2"),
    "a second slope before the first": (lambda data: data.replace(SLOPE, SLOPE.replace(b"1", b"2") + SLOPE), "Slope"),
    "a second slope behind the first": (lambda data: data.replace(SLOPE, SLOPE + SLOPE.replace(b"1", b"2")), "Slope"),
    "a slope that is no number": (lambda data: data.replace(SLOPE, SLOPE.replace(b"DS", b"LO")), "RescaleSlope"),
    "a slope in bytes": (lambda data: data.replace(SLOPE, b"\x28\x00\x53\x10OB\0\0\2\0\0\x001 "), "RescaleSlope"),
    "a slope of unknown kind": (
        lambda data: data.replace(SLOPE, b"\x28\x00\x53\x10UN\0\0\2\0\0\x001 "),
        "RescaleSlope",
    ),
    "no slope": (lambda data: data.replace(SLOPE, b""), "RescaleSlope .* removed"),
    "an overlay": (lambda data: data.replace(PIXELS, b"\x00\x60\x00\x30OW\0\0\2\0\0\0\1\1" + PIXELS), "OverlayData"),
    "a sequence hidden in bytes": (
        lambda data: data.replace(PIXELS, b"\x29\x00\x09\x10OB\0\0\x08\0\0\0\xfe\xff\x00\xe0\0\0\0\0" + PIXELS),
        "private",
    ),
}


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_what_other_readers_might_show_is_seen(folder: Path, attack: str) -> None:
    manifest = seal(folder)
    change, said = ATTACKS[attack]
    file = folder / "002.dcm"
    data = file.read_bytes()
    file.write_bytes(change(data))
    assert file.read_bytes() != data
    changes = compare(manifest, folder)
    assert changes.outcome is Outcome.CHANGED
    assert re.search(said, say_series(changes)), say_series(changes)


def test_private_values_may_lose_their_kind_as_archives_lose_it(folder: Path) -> None:
    manifest = seal(folder)
    file = folder / "002.dcm"
    known = b"\x29\x00\x01\x10LO\x0c\x00private text"
    assert known in file.read_bytes()
    unknown = b"\x29\x00\x01\x10UN\0\0\x0c\0\0\0private text"
    file.write_bytes(file.read_bytes().replace(known, unknown))
    assert compare(manifest, folder).outcome is Outcome.VALID


def test_an_offset_table_that_lies_is_seen(tmp_path: Path) -> None:
    file = make_enhanced(tmp_path / "series" / "e.dcm", slices=3, transfer_syntax=RLELossless)

    def set_offsets(*offsets: int) -> Callable[[Dataset], None]:
        def change(ds: Dataset) -> None:
            frames = list(pydicom.encaps.generate_fragments(ds.PixelData))[1:]
            table = struct.pack(f"<{len(offsets)}I", *offsets)
            items = (table, *frames)
            ds.PixelData = b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(i)) + i for i in items)
            ds["PixelData"].is_undefined_length = True

        return change

    manifest = seal(tmp_path / "series")
    sizes = [len(f) + 8 for f in list(pydicom.encaps.generate_fragments(pydicom.dcmread(file).PixelData))[1:]]
    change_object(file, set_offsets(0, sizes[0], sizes[0] + sizes[1]))
    assert compare(manifest, tmp_path / "series").outcome is Outcome.VALID
    change_object(file, set_offsets(0, sizes[0] + sizes[1], sizes[0]))
    assert "cannot be compared" in say_series(compare(manifest, tmp_path / "series"))


def test_a_table_beside_the_pixels_may_change_with_the_encoding_only(folder: Path) -> None:
    manifest = seal(folder)
    change_object(folder / "002.dcm", lambda ds: setattr(ds, "ExtendedOffsetTable", b"\0" * 8))
    assert "ExtendedOffsetTable (7FE0,0001) added in slice 1" in say_series(compare(manifest, folder))


def test_the_manifest_of_another_series_says_that_all_is_missing(folder: Path, tmp_path: Path) -> None:
    make_series(tmp_path / "OTHER", slices=2, patient_id="TWO")
    (other,) = seal_study(tmp_path / "OTHER", SIGNER)
    report = verify_seals(folder, [other], TRUST)
    assert report.seals[0].exit_code == 20
    assert "all 2 slices missing" in report.seals[0].sentence
    assert len(report.unlisted) == 3


def test_a_series_slipped_in_beside_the_signed_one_is_unlisted(folder: Path) -> None:
    seal_study(folder, SIGNER)
    make_series(folder / "beside", slices=2, patient_id="TWO")
    report = verify_seals(folder, find_manifests(folder), TRUST)
    assert (report.seals[0].exit_code, report.unlisted) == (0, ("beside/001.dcm", "beside/002.dcm"))


def test_the_signature_of_an_older_manifest_does_not_fit(folder: Path) -> None:
    (manifest,) = seal_study(folder, SIGNER)
    older = signature_path(manifest).read_bytes()
    paint(folder / "002.dcm")
    evil = make_identity("p384", "CT-1, Hospital")
    seal_study(folder, Signer(evil.key, evil.certificate))
    signature_path(manifest).write_bytes(older)
    (seal_verdict,) = verify_seals(folder, [manifest], TRUST).seals
    assert (seal_verdict.exit_code, seal_verdict.problem) == (20, "the content is not what was signed")


def test_another_signed_document_is_no_manifest(folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_bytes(b'{"schema":"verict.scan/1"}')
    signature_path(report).write_bytes(sign_bytes(report.read_bytes(), SIGNER))
    (seal_verdict,) = verify_seals(folder, [report], TRUST).seals
    assert seal_verdict.exit_code == 20
    assert "expected schema verict.manifest/1" in seal_verdict.sentence


@settings(max_examples=120)
@given(data=st.data())
def test_damage_never_crashes_the_verification(small: dict[Path, bytes], data: st.DataObject) -> None:
    """Manifest, signature or object: whatever was changed is refused, or the same by all that counts."""
    place = data.draw(st.sampled_from(list(small)))
    changed = bytearray(small[place])
    start = data.draw(st.integers(0, len(changed)))
    changed[start : start + data.draw(st.integers(0, 12))] = data.draw(st.binary(max_size=12))
    study = next(iter(small)).with_name("CHEST")
    try:
        place.write_bytes(changed)
        (verdict,) = verify_seals(study, find_manifests(study), TRUST).seals
        refused = (20, 22) if place.suffix == ".p7s" else (20,)  # a changed issuer is one whom nobody trusts
        assert verdict.exit_code in refused or place.suffix == ".dcm" or bytes(changed) == small[place]
        assert verdict.sentence.isprintable()
    finally:
        place.write_bytes(small[place])


def test_a_copy_in_another_folder_is_a_duplicate_not_a_second_chance(folder: Path) -> None:
    manifest = seal(folder)
    (folder / "a").mkdir()
    shutil.copy(folder / "002.dcm", folder / "a" / "002.dcm")
    paint(folder / "002.dcm")
    changes = compare(manifest, folder)
    assert say_series(changes) == "changed since it was signed: slice 1 duplicated"
    assert [file.name for file in changes.files if file.outcome is Outcome.DUPLICATED] == ["002.dcm"]
