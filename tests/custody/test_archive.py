"""A signed series goes into a real archive by C-STORE and comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from custody.sealed_series import make_rich_series, sign_all
from custody.signers import make_identity
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless

from verict.custody.changes import Outcome
from verict.custody.keys import Signer
from verict.custody.seal import SealReport, find_manifests, seal_study, verify_seals
from verict.custody.trust import TrustStore
from verict.custody.verify_object import ObjectState, verify_file
from verict.custody.wording import say_series

IDENTITY = make_identity()
SIGNER = Signer(IDENTITY.key, IDENTITY.certificate)
TRUST = TrustStore(roots=IDENTITY.issuers)
SLICES = 4


@pytest.fixture
def start(
    orthanc: Path, require_extra: Callable[[str], ModuleType], own_port: Callable[[], int], tmp_path: Path
) -> Iterator[Any]:
    require_extra("pynetdicom")
    from custody.archive import run_archive

    place = tmp_path / "archive"
    place.mkdir()
    with run_archive(orthanc, place, dicom_port=own_port(), http_port=own_port()) as archive:
        yield archive


def test_a_signed_series_comes_back_valid_or_reencoded(start: Any, tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    files = make_rich_series(sent, slices=SLICES)
    sign_all(sent, SIGNER)
    seal_study(sent, SIGNER)
    series = verify(sent, sent).seals[0].series_instance_uid

    start.store(files, ExplicitVRLittleEndian)
    assert len(start.fetch(series, tmp_path / "got", ExplicitVRLittleEndian)) == SLICES
    assert len(start.download(tmp_path / "downloaded")) == SLICES
    for folder in (tmp_path / "got", tmp_path / "downloaded"):
        assert say(sent, folder) == (0, "valid: 4 slices, the same in pixels and attributes; 4 files were written anew "
                                        "in the same transfer syntax")  # fmt: skip
        assert states(folder) == {ObjectState.VALID}

    start.transcode(tmp_path / "transcoded", JPEGLSLossless)
    start.store(files, ImplicitVRLittleEndian)
    start.fetch(series, tmp_path / "got implicit", ImplicitVRLittleEndian)
    start.download(tmp_path / "downloaded implicit")
    for name, syntax in (
        ("transcoded", "JPEG-LS Lossless Image Compression"),
        ("got implicit", "Implicit VR Little Endian"),
        ("downloaded implicit", "Implicit VR Little Endian"),
    ):
        assert say(sent, tmp_path / name) == (
            0, f"re-encoded, content identical: all 4 slices now in {syntax}; pixels and attributes are what was signed"
        )  # fmt: skip
        assert states(tmp_path / name) == {ObjectState.INVALID}
        report = verify(sent, tmp_path / name)
        assert {report.outcome_of(verdict) for verdict in uids(tmp_path / name)} == {Outcome.REENCODED}


def verify(sent: Path, folder: Path) -> SealReport:
    return verify_seals(folder, find_manifests(sent), TRUST)


def say(sent: Path, folder: Path) -> tuple[int, str]:
    seal = verify(sent, folder).seals[0]
    assert seal.changes is not None
    return seal.exit_code, say_series(seal.changes)


def states(folder: Path) -> set[ObjectState]:
    return {verify_file(file, TRUST).state for file in folder.iterdir()}


def uids(folder: Path) -> set[str]:
    return {verify_file(file, TRUST).sop_instance_uid for file in folder.iterdir()}
