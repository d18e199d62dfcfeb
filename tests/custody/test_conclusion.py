"""Signatures inside objects and manifests outside: what they say together, and which of them decides."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from builders import make_series
from custody.sealed_series import change_object, make_rich_series, paint, reencode, sign_all
from custody.signers import make_identity
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless

from verict.custody.conclusion import StudyCustody, examine_custody
from verict.custody.keys import Signer
from verict.custody.seal import find_manifests, seal_study, signature_path
from verict.custody.trust import TrustStore
from verict.custody.verify_object import ObjectState

IDENTITY, OTHER = make_identity(), make_identity("p256", "CT-9")
SIGNER, SECOND = Signer(IDENTITY.key, IDENTITY.certificate), Signer(OTHER.key, OTHER.certificate)
TRUST = TrustStore(roots=IDENTITY.issuers)
SLICES = 3


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four studies: plain, signed inside, sealed, and both."""
    place = tmp_path_factory.mktemp("studies")
    for name in ("plain", "signed", "sealed", "both"):
        make_rich_series(place / name, slices=SLICES)
        if name in ("signed", "both"):
            sign_all(place / name, SIGNER)
        if name in ("sealed", "both"):
            seal_study(place / name, SIGNER)
    return place


@pytest.fixture
def place(originals: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(originals, tmp_path / "studies"))


def conclude(study: Path, trust: TrustStore = TRUST) -> StudyCustody:
    custody = examine_custody(study, trust)
    json.dumps([series.as_dict() for series in custody.series], allow_nan=False)
    return custody


def states(custody: StudyCustody) -> list[ObjectState]:
    return [file.state for file in custody.series[0].files]


@pytest.mark.parametrize(
    ("study", "state", "said"),
    [
        ("plain", ObjectState.UNSIGNED, "unsigned"),
        ("signed", ObjectState.VALID, "no manifest: a missing, added or exchanged slice cannot be seen"),
        ("sealed", ObjectState.VALID, "unchanged since: 3 slices, bit for bit"),
        ("both", ObjectState.VALID, "unchanged since: 3 slices, bit for bit"),
    ],
)
def test_an_untouched_study_is_what_its_signatures_make_it(
    place: Path, study: str, state: ObjectState, said: str
) -> None:
    custody = conclude(place / study)
    assert custody.state is state
    assert said in custody.series[0].sentence
    assert custody.series[0].signers == (() if study == "plain" else ("CT-1, Hospital",))
    assert custody.is_unsigned == (study == "plain")
    assert custody.series_of(custody.series[0].series_instance_uid) is custody.series[0]
    assert custody.series_of("1.2") is None


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, JPEGLSLossless])
def test_the_manifest_vouches_for_what_was_only_reencoded(place: Path, syntax: str) -> None:
    for study, state in (("signed", ObjectState.INVALID), ("both", ObjectState.REENCODED)):
        for file in (place / study).iterdir():
            reencode(file, syntax)
        custody = conclude(place / study)
        assert custody.state is state
    assert "re-encoded, content identical" in custody.series[0].sentence
    assert "3 signatures inside no longer fit the encoding" in custody.series[0].sentence
    assert "by the manifest: re-encoded, content identical; " in custody.series[0].files[0].words


def test_the_manifest_vouches_for_what_went_through_implicit_and_came_back(place: Path) -> None:
    """The transfer syntax is the signed one again, but the kinds of private values are lost for good."""
    for study, state in (("signed", ObjectState.INVALID), ("both", ObjectState.REENCODED)):
        for file in (place / study).iterdir():
            reencode(file, ImplicitVRLittleEndian)
            reencode(file, ExplicitVRLittleEndian)
        assert conclude(place / study).state is state
    (place / "both" / "002.dcm").unlink()
    assert conclude(place / "both").state is ObjectState.INVALID


@pytest.mark.parametrize("study", ["signed", "sealed", "both"])
def test_painting_is_seen_by_either(place: Path, study: str) -> None:
    paint(place / study / "002.dcm")
    custody = conclude(place / study)
    assert custody.state is ObjectState.INVALID
    valid = ObjectState.VALID
    assert states(custody) == [valid, ObjectState.INVALID, valid]


def test_painting_is_not_excused_by_a_new_encoding(place: Path) -> None:
    paint(place / "both" / "002.dcm")
    for file in (place / "both").iterdir():
        reencode(file, ImplicitVRLittleEndian)
    reencoded = ObjectState.REENCODED
    assert states(conclude(place / "both")) == [reencoded, ObjectState.INVALID, reencoded]


def test_only_the_manifest_sees_what_is_missing_or_stripped(place: Path) -> None:
    for study, state in (("signed", ObjectState.VALID), ("both", ObjectState.INVALID)):
        (place / study / "002.dcm").unlink()
        assert conclude(place / study).state is state
    shutil.rmtree(place / "both")
    make_rich_series(place / "both", slices=SLICES)
    custody = conclude(place / "both")
    assert custody.state is ObjectState.INVALID
    assert "signature removed" in custody.series[0].sentence


def test_signatures_of_somebody_who_is_not_trusted_stay_untrusted(place: Path) -> None:
    alone = TrustStore(roots=(OTHER.certificate,))
    for study in ("signed", "sealed", "both"):
        assert conclude(place / study, alone).state is ObjectState.UNTRUSTED
    seal_study(place / "signed", SECOND)  # the objects by one signer, the manifest by another who alone is trusted
    custody = conclude(place / "signed", alone)
    assert custody.state is ObjectState.UNTRUSTED
    assert custody.series[0].signers == ("CT-1, Hospital", "CT-9")
    both = replace(TRUST, _judged={})
    assert conclude(place / "signed", both).state is ObjectState.VALID


def test_a_manifest_that_is_not_signed_or_altered_vouches_for_nothing(place: Path) -> None:
    (manifest,) = find_manifests(place / "sealed")
    signature_path(manifest).unlink()
    assert conclude(place / "sealed").state is ObjectState.UNSIGNED
    (manifest,) = find_manifests(place / "both")
    manifest.write_bytes(manifest.read_bytes().replace(b"instance_number", b"instance_numbeR"))
    custody = conclude(place / "both")
    assert custody.state is ObjectState.INVALID
    assert "the manifest cannot be believed" in custody.series[0].sentence


def test_a_second_series_without_a_manifest_stands_by_itself(place: Path) -> None:
    make_series(place / "sealed" / "second", slices=2, patient_id="TWO")
    custody = conclude(place / "sealed")
    assert [series.state for series in custody.series] == [ObjectState.VALID, ObjectState.UNSIGNED]
    assert custody.state is ObjectState.UNSIGNED


def test_a_changed_name_is_seen_by_both(place: Path) -> None:
    change_object(place / "both" / "001.dcm", lambda ds: setattr(ds, "PatientID", "SOMEBODY"))
    custody = conclude(place / "both")
    assert custody.state is ObjectState.INVALID
    assert "PatientID (0010,0020) changed in slice 0" in custody.series[0].sentence
    assert "SOMEBODY" not in json.dumps(custody.series[0].as_dict())
