"""Sealing a study with signed manifests, and what their verification says and ends with."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from builders import make_series
from custody.sealed_series import make_rich_series, paint, reencode, sign_roughly_all
from custody.signers import make_identity
from pydicom.uid import ImplicitVRLittleEndian, JPEGLSLossless

from verict.custody.changes import Outcome
from verict.custody.cms import check_detached
from verict.custody.keys import Signer
from verict.custody.seal import SealReport, find_manifests, manifest_paths, seal_study, signature_path, verify_seals
from verict.custody.trust import TrustStore
from verict.errors import InputError, OutputError

IDENTITY = make_identity()
SIGNER = Signer(IDENTITY.key, IDENTITY.certificate)
TRUST = TrustStore(roots=IDENTITY.issuers)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    make_rich_series(tmp_path / "CHEST")
    return tmp_path / "CHEST"


def verify(study: Path, trust: TrustStore = TRUST) -> SealReport:
    return verify_seals(study, find_manifests(study), trust)


def test_a_sealed_study_is_valid(study: Path) -> None:
    paths = seal_study(study, SIGNER)
    assert paths == (study.parent / "CHEST.manifest.json",)
    assert sorted(p.name for p in study.parent.iterdir()) == ["CHEST", "CHEST.manifest.json", "CHEST.manifest.json.p7s"]
    report = verify(study)
    seal = report.seals[0]
    assert (seal.exit_code, report.unlisted, report.failures) == (0, (), ())
    assert seal.sentence.startswith("signed by CT-1, Hospital on 20")
    assert seal.sentence.endswith("UTC (the signer's word), unchanged since: 6 slices, bit for bit")
    json.dumps(seal.as_dict(), allow_nan=False)


def test_each_series_has_a_manifest(study: Path) -> None:
    make_series(study / "second", slices=2, patient_id="TWO")
    paths = seal_study(study, SIGNER)
    assert [p.name for p in paths] == ["CHEST.manifest.json", "CHEST.manifest-2.json"]
    assert find_manifests(study) == list(paths)
    assert [seal.exit_code for seal in verify(study).seals] == [0, 0]
    assert verify_seals(study, paths[:1], TRUST).unlisted in (("001.dcm", "002.dcm"), tuple(
        f"00{n}.dcm" for n in range(1, 7)))  # fmt: skip


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, JPEGLSLossless])
def test_a_reencoded_study_is_valid_and_said_to_be_reencoded(study: Path, syntax: str) -> None:
    seal_study(study, SIGNER)
    for file in study.iterdir():
        reencode(file, syntax)
    report = verify(study)
    assert report.seals[0].exit_code == 0
    assert "re-encoded, content identical" in report.seals[0].sentence
    first = report.seals[0].changes
    assert first is not None
    assert report.outcome_of(first.files[0].sop_instance_uid) is Outcome.REENCODED


def test_a_zip_of_the_study_is_the_study(study: Path, tmp_path: Path) -> None:
    manifests = seal_study(study, SIGNER)
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", study))
    report = verify_seals(packed, manifests, TRUST)
    assert (report.seals[0].exit_code, report.unlisted) == (0, ())
    assert seal_study(packed, SIGNER) == (tmp_path / "packed.zip.manifest.json",)


def test_a_changed_study_is_20(study: Path) -> None:
    seal_study(study, SIGNER)
    paint(study / "003.dcm")
    assert verify(study).seals[0].exit_code == 20
    assert "pixels changed in slice 2" in verify(study).seals[0].sentence


def test_stripped_signatures_are_20(study: Path) -> None:
    sign_roughly_all(study)
    seal_study(study, SIGNER)
    shutil.rmtree(study)
    make_rich_series(study)
    assert verify(study).seals[0].exit_code == 20
    assert "signature removed" in verify(study).seals[0].sentence


def test_a_changed_manifest_is_20_and_is_not_believed(study: Path) -> None:
    path = seal_study(study, SIGNER)[0]
    path.write_bytes(path.read_bytes().replace(b'"instance_number":3', b'"instance_number":4'))
    seal = verify(study).seals[0]
    assert (seal.exit_code, seal.changes) == (20, None)
    assert seal.sentence == "the manifest cannot be believed: the content is not what was signed"


def test_a_manifest_written_anew_by_somebody_else_is_22(study: Path) -> None:
    seal_study(study, SIGNER)
    paint(study / "003.dcm")
    evil = make_identity("p384", "CT-1, Hospital")
    seal_study(study, Signer(evil.key, evil.certificate))
    assert verify(study, replace(TRUST, roots=(SIGNER.certificate,), _judged={})).seals[0].exit_code == 22


def test_trust_precedes_and_changes_precede_trust(study: Path) -> None:
    seal_study(study, SIGNER)
    nobody = TrustStore(roots=())
    late = replace(TRUST, at=datetime.now(UTC) + timedelta(days=500), _judged={})
    for store, word in ((nobody, "untrusted"), (late, "expired")):
        seal = verify(study, store).seals[0]
        assert seal.exit_code == 22
        assert f", {word}: " in seal.sentence
        assert verify(study, store).outcome_of("1.2") is None
    paint(study / "003.dcm")
    assert verify(study, nobody).seals[0].exit_code == 20


def test_a_manifest_without_a_signature_is_21(study: Path) -> None:
    path = seal_study(study, SIGNER)[0]
    signature_path(path).unlink()
    seal = verify(study).seals[0]
    assert seal.exit_code == 21
    assert seal.sentence.startswith("the manifest is not signed; by what it says, valid")


def test_a_signed_file_that_is_no_manifest_is_20(study: Path) -> None:
    path = seal_study(study, SIGNER)[0]
    other = study.parent / "other.json"
    other.write_bytes(b"{}")
    shutil.copy(signature_path(path), signature_path(other))
    assert verify_seals(study, [other], TRUST).seals[0].exit_code == 20
    with pytest.raises(InputError, match="cannot be read"):
        verify_seals(study, [study.parent / "none.json"], TRUST)


def test_the_manifest_stays_outside_and_what_cannot_be_read_is_not_signed(study: Path) -> None:
    with pytest.raises(OutputError, match="inside the study"):
        seal_study(study, SIGNER, first=study / "m.json")
    (study / "broken.dcm").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a DICOM file"):
        seal_study(study, SIGNER)
    empty = study.parent / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="nothing to sign"):
        seal_study(empty, SIGNER)
    assert find_manifests(study) == []


def test_a_place_may_be_named_and_the_signature_lies_beside_it(study: Path, tmp_path: Path) -> None:
    place = tmp_path / "seal.json"
    make_series(study / "second", slices=2, patient_id="TWO")
    assert [p.name for p in seal_study(study, SIGNER, first=place)] == ["seal.json", "seal-2.json"]
    assert check_detached(place.read_bytes(), signature_path(place).read_bytes()).valid
    assert manifest_paths(study, 0) == []


def test_intermediates_travel_with_the_signature(study: Path) -> None:
    from verict.custody.keys import make_certificate, make_key

    root_key, middle_key, key = (make_key(curve=True) for _ in range(3))
    root = Signer(root_key, make_certificate("Root", root_key, days=10, authority=True))
    middle = Signer(
        middle_key, make_certificate("Middle", middle_key, days=10, authority=True, issuer=root), (root.certificate,)
    )
    leaf = make_certificate("CT-2", key, days=10, issuer=middle)
    seal_study(study, Signer(key, leaf, (middle.certificate,)))
    assert verify(study, TrustStore(roots=(root.certificate,))).seals[0].exit_code == 0
    seal_study(study, Signer(key, leaf))
    assert verify(study, TrustStore(roots=(root.certificate,))).seals[0].exit_code == 22
