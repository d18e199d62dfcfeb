"""Attacks on a whole study and on what lies beside it, tried through the commands; honest studies that must pass."""

from __future__ import annotations

import json
import os
import struct
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from builders import make_series
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from custody.forging import element_bytes, sign_anyhow, with_element, without
from custody.hospital import NOW, authority, deep_scanner, key, revocation_list, scanner, write_signer
from custody.objects import EXPLICIT, IMPLICIT, Writer, make_object
from custody.sealed_series import change_object, paint
from pydicom.dataset import Dataset
from typer.testing import CliRunner, Result

from verict.cli.main import app
from verict.custody.keys import Signer, certificates_pem, make_certificate
from verict.custody.seal import seal_study
from verict.custody.sign_object import SignOptions, sign_bytes
from verict.custody.signature import DIGITAL_SIGNATURES, MAC_PARAMETERS
from verict.custody.whole_files import WholeFiles

PEM = serialization.Encoding.PEM
W = Writer()


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def sign(study: Path, signer: Signer, *options: object) -> Result:
    secret, public = write_signer(signer, study.parent / "keys")
    public.write_bytes(certificates_pem([signer.certificate, *signer.chain]))
    return run("sign", study, "--key", secret, "--cert", public, *options)


def write_pem(path: Path, thing: x509.Certificate | x509.CertificateRevocationList) -> Path:
    path.write_bytes(thing.public_bytes(PEM))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_pem(tmp_path / "root.pem", authority().certificate)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    make_series(tmp_path / "study", slices=4, rows=16, columns=16)
    return tmp_path / "study"


def called_directory(data: bytes) -> bytes:
    """The file with file meta information that says it is a DICOMDIR."""
    start = data.index(b"\x02\x00\x02\x00UI")
    end = start + 8 + struct.unpack_from("<H", data, start + 6)[0]
    renamed = W.element(0x00020002, b"UI", b"1.2.840.10008.1.3.10")
    whole = data.index(b"\x02\x00\x00\x00UL\x04\x00") + 8
    length = struct.unpack_from("<I", data, whole)[0] + len(renamed) - (end - start)
    return data[:whole] + struct.pack("<I", length) + data[whole + 4 : start] + renamed + data[end:]


def make_directory() -> bytes:
    """A DICOMDIR as it lies on a CD."""
    record = W.item(W.element(0x00041430, b"CS", b"PATIENT "))
    body = W.element(0x00041130, b"CS", b"CD") + W.element(0x00041220, b"SQ", record)
    return called_directory(W.file(body, meta_instance=b"1.2.3.4\0"))


def nested(depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        body = W.element(0x00081140, b"SQ", W.item(body))
    return body


def test_a_copy_called_a_directory_is_one_slice_too_many(study: Path, root: Path) -> None:
    sign(study, scanner(), "--in-place")
    (study / "900.dcm").write_bytes(called_directory((study / "002.dcm").read_bytes()))
    result = run("verify", study, "--trust", root)
    assert (result.exit_code, "slice 1 duplicated" in result.output) == (20, True), result.output


def test_a_slice_called_a_directory_is_refused(study: Path, root: Path) -> None:
    """Readers pass over a DICOMDIR, so that the slice would be gone for them."""
    sign(study, scanner(), "--in-place")
    (study / "002.dcm").write_bytes(called_directory((study / "002.dcm").read_bytes()))
    result = run("verify", study, "--trust", root)
    assert (result.exit_code, "another SOP class" in result.output) == (20, True), result.output
    assert sign(study, scanner("CT-7"), "--in-place", "--no-manifest").exit_code == 1


def test_the_directory_of_a_cd_is_no_object(study: Path, root: Path) -> None:
    (study / "DICOMDIR").write_bytes(make_directory())
    result = sign(study, scanner(), "--in-place")
    assert (result.exit_code, "4 files signed" in result.output) == (0, True), result.output
    result = run("verify", study, "--trust", root)
    assert (result.exit_code, "passed over: 1 file" in result.output) == (0, True), result.output


def test_a_signed_slice_that_only_one_reader_can_read_is_too_many(study: Path, root: Path) -> None:
    sign(study, scanner(), "--in-place")
    plain = without((study / "002.dcm").read_bytes(), MAC_PARAMETERS, DIGITAL_SIGNATURES)
    extra = sign_bytes(with_element(plain, nested(30)), scanner(), SignOptions(), file="extra")
    (study / "900.dcm").write_bytes(extra.data)
    result = run("verify", study, "--trust", root)
    assert (result.exit_code, "1 file too many" in result.output) == (20, True), result.output


def test_an_unsigned_slice_is_not_hidden_by_the_name_of_a_leftover(study: Path, root: Path) -> None:
    sign(study, scanner(), "--in-place", "--no-manifest")
    leftover = study / ".verict-0123456789ab.part"
    leftover.write_bytes(make_object())
    assert run("verify", study, "--trust", root).exit_code == 21
    leftover.write_bytes((study / "001.dcm").read_bytes()[:-100])  # what a kill leaves
    result = run("verify", study, "--trust", root)
    assert (result.exit_code, "passed over: 1 file" in result.output) == (0, True), result.output


def test_a_stripped_slice_never_passes_as_one_nobody_signed(study: Path, root: Path) -> None:
    sign(study, scanner(), "--in-place", "--no-manifest")
    stripped = study / "002.dcm"
    stripped.write_bytes(without(stripped.read_bytes(), MAC_PARAMETERS, DIGITAL_SIGNATURES))
    paint(stripped)
    assert run("verify", study, "--trust", root, "--allow-unsigned").exit_code == 21
    for file in study.iterdir():
        file.unlink()
    make_series(study / "unsigned", slices=2, patient_id="TWO")
    assert run("verify", study, "--trust", root, "--allow-unsigned").exit_code == 0


def test_two_manifests_of_one_series_that_both_hold(tmp_path: Path, study: Path, root: Path) -> None:
    sign(study, scanner(), "--in-place")
    first, second = tmp_path / "study.manifest.json", tmp_path / "second.json"
    seal_study(study, scanner("CT-7"), first=second)
    both = ("--manifest", first, "--manifest", second)
    assert run("verify", study, "--trust", root, *both).exit_code == 0
    (study / "002.dcm").unlink()
    assert run("verify", study, "--trust", root, *both).exit_code == 20


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.p7s", "intermediates.pem"])
@pytest.mark.parametrize("command", ["verify", "scan"])
def test_no_output_takes_the_place_of_what_proves_the_study(
    tmp_path: Path, study: Path, root: Path, name: str, command: str
) -> None:
    sign(study, deep_scanner(), "--in-place")
    place = tmp_path / f"study.{name}"
    before = place.read_bytes()
    result = run(command, study, "--trust", root, "--json", place)
    assert (result.exit_code, "would replace an input" in result.output) == (2, True), result.output
    assert place.read_bytes() == before


def test_a_certificate_without_an_end(tmp_path: Path, study: Path, root: Path) -> None:
    """RFC 5280 4.1.2.5: 99991231235959Z stands for no end."""
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CT-9")]))
        .issuer_name(authority().certificate.subject)
        .public_key(key("CT-1").public_key())
        .serial_number(77)
        .not_valid_before(NOW - timedelta(days=3))
        .not_valid_after(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
        .sign(authority().private_key, hashes.SHA256())
    )
    assert sign(study, Signer(key("CT-1"), made), "--in-place").exit_code == 0
    for trusted in (root, write_pem(tmp_path / "own.pem", made)):
        assert run("verify", study, "--trust", trusted).exit_code == 0


def test_a_signer_trusted_by_itself_can_be_revoked_too(tmp_path: Path, study: Path, root: Path) -> None:
    sign(study, scanner(), "--in-place")
    own = write_pem(tmp_path / "own.pem", scanner().certificate)
    crl = write_pem(tmp_path / "list.pem", revocation_list(authority(), scanner()))
    assert run("verify", study, "--trust", own).exit_code == 0
    result = run("verify", study, "--trust", own, "--trust", root, "--crl", crl)
    assert (result.exit_code, "was revoked on" in result.output) == (22, True), result.output
    assert run("verify", study, "--trust", own, "--intermediates", root, "--crl", crl).exit_code == 22
    assert run("verify", study, "--trust", own, "--crl", crl).exit_code == 22  # nobody can tell whose list it is
    write_pem(crl, revocation_list(authority()))
    assert run("verify", study, "--trust", own, "--trust", root, "--crl", crl).exit_code == 0


@pytest.mark.parametrize("place", ["--in-place", "--out"])
def test_a_second_signer_keeps_the_way_from_the_first_to_the_root(
    tmp_path: Path, study: Path, root: Path, place: str
) -> None:
    below = Signer(key("archive CA"), make_certificate("Archive CA", key("archive CA"), days=900, authority=True,
                                                       issuer=authority()))  # fmt: skip
    archive = Signer(key("archive"), make_certificate("Archive", key("archive"), days=300, issuer=below),
                     (below.certificate,))  # fmt: skip
    sign(study, deep_scanner(), "--in-place", "--no-manifest")
    where, target = ([place], study) if place == "--in-place" else ([place, tmp_path / "out"], tmp_path / "out")
    assert sign(study, archive, *where, "--purpose", "received").exit_code == 0
    result = run("verify", target, "--trust", root)
    assert result.exit_code == 0, result.output


def test_a_place_without_a_name_is_told(tmp_path: Path, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for out in (".", "/", ""):
        result = sign(study, scanner(), "--out", out)
        assert (result.exit_code, "the output place" in result.output) == (2, True), result.output
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_a_file_keeps_its_permissions_and_can_be_written_through_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files copied from a CD are read-only; whoever is not root cannot open such a file to sync it."""
    synced: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_mode & 0o777)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    original, target = tmp_path / "original", tmp_path / "target"
    original.write_bytes(b"1")
    original.chmod(0o400)
    with WholeFiles() as place:
        place.put(target, [b"2"], original)
    assert synced[0] == 0o600
    assert target.stat().st_mode & 0o777 == 0o400


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_study_that_is_a_circle_of_links_is_told(tmp_path: Path, root: Path) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    for result in (run("verify", circle, "--trust", root), sign(circle, scanner(), "--in-place"),
                   run("scan", circle, "--trust", root)):  # fmt: skip
        assert (result.exit_code, "circle" in result.output) == (1, True), result.output


def test_a_time_is_said_in_utc(tmp_path: Path, root: Path) -> None:
    when = datetime.now(timezone(timedelta(hours=9)))
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "1.dcm").write_bytes(sign_anyhow(make_object(unknown=False), scanner(), signed_at=when))
    result = run("verify", tmp_path / "study", "--trust", root)
    assert f"on {when.astimezone(UTC):%Y-%m-%d %H:%M} UTC (the signer's word)" in result.output, result.output


def test_nobody_is_named_for_a_signature_of_what_is_only_wrapped(tmp_path: Path, root: Path) -> None:
    signed = sign_bytes(make_object(unknown=False), scanner(), SignOptions(), file="slice").data
    inside = signed[signed.index(EXPLICIT.encode()) :]
    inside = inside[inside.index(b"\x08\x00\x08\x00") :]
    forged = make_object(unknown=False, x7FE00010=W.element(0x7FE00010, b"OW", b"\0" * 8))
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "1.dcm").write_bytes(
        with_element(forged, W.element(0x00400555, b"SQ", W.item(inside)), before=0x00400556)
    )
    result = run("verify", tmp_path / "study", "--trust", root, "--json", tmp_path / "out.json")
    assert result.exit_code == 21
    assert json.loads((tmp_path / "out.json").read_text("utf-8"))["series"][0]["signers"] == []


def overlaid(ds: Dataset) -> None:
    ds.add_new(0x60003000, "OW", b"\xff" * 32)
    ds.add_new(0x00283010, "SQ", [Dataset()])


@pytest.mark.parametrize(
    ("tag", "vr"), [(0x60003000, b"UN"), (0x00283010, b"UN"), (0x00281053, b"UN"), (0x00281053, b"IS")]
)
def test_no_manifest_vouches_for_what_a_viewer_reads_otherwise(study: Path, root: Path, tag: int, vr: bytes) -> None:
    """An overlay as UN is not shown, a slope of 0.5 as a whole number is 0: the bytes of the values are the same."""
    for file in study.iterdir():
        change_object(file, overlaid)
    assert sign(study, scanner(), "--in-place").exit_code == 0
    data = (study / "002.dcm").read_bytes()
    element = element_bytes(data, tag)
    value = element[12:] if element[4:6] in (b"OW", b"SQ") else element[8:]
    (study / "002.dcm").write_bytes(data.replace(element, W.element(tag, vr, value)))
    assert run("verify", study, "--trust", root).exit_code == 20


def test_what_the_dictionary_takes_for_a_sequence_and_is_none(study: Path, root: Path) -> None:
    """Signing leaves private values of implicit VR out, whatever they are; so verifying must not fail on them."""
    for file in study.iterdir():
        file.unlink()
    w = Writer(IMPLICIT)
    private = {"x00290010": w.element(0x00290010, b"LO", b"CARDIO-D.R. 1.0 "),
               "x00291000": w.element(0x00291000, b"OB", b"no sequence!")}  # fmt: skip
    (study / "1.dcm").write_bytes(make_object(IMPLICIT, unknown=False, **private))
    assert sign(study, scanner(), "--in-place").exit_code == 0
    result = run("verify", study, "--trust", root)
    assert (result.exit_code, "(0029,1000)" in result.output) == (0, True), result.output
