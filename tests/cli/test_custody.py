"""`verict keys`, `sign` and `verify` as a hospital uses them: outputs, exit codes, and what they never print."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from builders import make_series
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.hashes import SHA256
from custody.forging import sign_anyhow
from custody.hospital import (
    authority,
    curve_scanner,
    deep_scanner,
    expired_scanner,
    foreign,
    revocation_list,
    scanner,
    write_signer,
)
from custody.objects import make_object
from report.schema_check import find_violations
from typer.testing import CliRunner, Result

from verict.cli import passphrases
from verict.cli.main import app
from verict.custody.keys import Signer, certificates_pem

PEM = serialization.Encoding.PEM
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "verify-result.schema.json").read_text("utf-8"))


def run(*arguments: object, given: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=given)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root.pem"
    path.write_bytes(authority().certificate.public_bytes(PEM))
    return path


@pytest.fixture
def study(tmp_path: Path) -> Path:
    make_series(tmp_path / "study", slices=4, rows=16, columns=16)
    return tmp_path / "study"


def sign(study: Path, signer: Signer, *options: object) -> Result:
    secret, public = write_signer(signer, study.parent / "keys")
    public.write_bytes(certificates_pem([signer.certificate, *signer.chain]))
    return run("sign", study, "--key", secret, "--cert", public, *options)


def test_from_no_key_to_a_verified_scan(tmp_path: Path, study: Path) -> None:
    word = tmp_path / "word"
    word.write_text("a passphrase\n")
    word.chmod(0o600)
    keys = tmp_path / "keys"
    made = run("keys", "new", "--name", "Root", "--ca", "--bits", 2048, "--out", keys, "--passphrase-file", word)
    assert made.exit_code == 0, made.output
    assert "encrypted" in made.output
    made = run("keys", "new", "--name", "CT-1, Hospital", "--bits", 2048, "--out", keys, "--no-passphrase",
               "--issuer-key", keys / "root.key.pem", "--issuer-cert", keys / "root.cert.pem",
               "--issuer-passphrase-file", word)  # fmt: skip
    assert made.exit_code == 0, made.output
    assert (keys / "ct-1-hospital.key.pem").stat().st_mode & 0o777 == 0o600
    signed = run("sign", study, "--out", tmp_path / "signed", "--key", keys / "ct-1-hospital.key.pem", "--cert",
                 keys / "ct-1-hospital.cert.pem", "--purpose", "created")  # fmt: skip
    assert signed.exit_code == 0, signed.output
    assert "4 files signed by CT-1, Hospital" in signed.output
    verified = run("verify", tmp_path / "signed", "--trust", keys / "root.cert.pem")
    assert verified.exit_code == 0, verified.output
    assert "signed by CT-1, Hospital on" in verified.output
    assert "the signer's word" in verified.output
    assert "never signed (PS3.15): preamble and file meta information" in verified.output
    assert "Test^Patient" not in signed.output + verified.output


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    arguments = ("keys", "new", "--name", "CT", "--bits", 2048, "--out", tmp_path, "--no-passphrase")
    assert run(*arguments).exit_code == 0
    before = (tmp_path / "ct.key.pem").read_bytes()
    again = run(*arguments)
    assert (again.exit_code, (tmp_path / "ct.key.pem").read_bytes()) == (2, before)
    assert "exists already" in again.output


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--name", "x"], "needs a passphrase"),
        (["--name", "x", "--bits", "1024", "--no-passphrase"], "refused"),
        (["--name", "x" * 65, "--no-passphrase", "--curve"], "does not fit"),
        (["--name", "x", "--no-passphrase", "--passphrase-file", "none"], "contradict"),
        (["--name", "x", "--issuer-key", "none"], "belong together"),
    ],
)
def test_wrong_usage_of_keys(tmp_path: Path, options: list[str], word: str) -> None:
    result = run("keys", "new", "--out", tmp_path / "keys", *options)
    assert (result.exit_code, word in result.output) == (2, True), result.output
    assert not (tmp_path / "keys").exists()


def test_a_passphrase_file_that_others_may_read_is_refused(tmp_path: Path, study: Path) -> None:
    word = tmp_path / "word"
    word.write_text("secret")
    word.chmod(0o644)
    secret, public = write_signer(scanner(), tmp_path / "keys", b"secret")
    options = ("sign", study, "--in-place", "--key", secret, "--cert", public, "--passphrase-file", word)
    assert "others may read the passphrase" in run(*options).output
    word.chmod(0o600)
    assert run(*options).exit_code == 0
    word.write_text("another")
    assert "passphrase is wrong" in run(*options).output


@pytest.mark.parametrize(
    ("signer", "options", "word"),
    [
        (scanner, [], "give either"),
        (scanner, ["--out", "x", "--in-place"], "give either"),
        (scanner, ["--in-place", "--profile", "createor"], "did you mean creator?"),
        (scanner, ["--in-place", "--mac", "sha1"], "no such choice"),
        (scanner, ["--in-place", "--purpose", "bored"], "no such choice"),
        (curve_scanner, ["--in-place"], "outside of the RSA profiles"),
    ],
)
def test_wrong_usage_of_sign(study: Path, signer: type, options: list[str], word: str) -> None:
    before = [p.read_bytes() for p in sorted(study.iterdir())]
    result = sign(study, signer(), *options)
    assert (result.exit_code, word in result.output) == (2, True), result.output
    assert [p.read_bytes() for p in sorted(study.iterdir())] == before


def test_an_expired_certificate_signs_nothing(study: Path) -> None:
    result = sign(study, expired_scanner(), "--in-place")
    assert (result.exit_code, "the certificate is expired" in result.output) == (1, True)


def test_what_cannot_be_signed_is_told(study: Path) -> None:
    (study / "cut.dcm").write_bytes((study / "001.dcm").read_bytes()[:-40])
    result = sign(study, scanner(), "--in-place")
    assert result.exit_code == 1
    assert "cut.dcm" in result.output
    assert "no manifest was written" in result.output
    assert "4 files signed" in result.output


def test_unsigned_passes_only_when_asked_for(study: Path, root: Path) -> None:
    result = run("verify", study, "--trust", root)
    assert (result.exit_code, "unsigned" in result.output) == (21, True)
    assert run("verify", study, "--trust", root, "--allow-unsigned").exit_code == 0


def test_untrusted_expired_and_revoked(tmp_path: Path, study: Path, root: Path) -> None:
    assert sign(study, scanner(), "--in-place", "--no-manifest").exit_code == 0
    assert run("verify", study, "--trust", root).exit_code == 0
    assert run("verify", study).exit_code == 22
    assert "no trusted root" in run("verify", study).output
    crl = tmp_path / "list.pem"
    crl.write_bytes(revocation_list(authority(), scanner()).public_bytes(PEM))
    result = run("verify", study, "--trust", root, "--crl", crl)
    assert (result.exit_code, "revoked" in result.output) == (22, True)
    crl.write_bytes(revocation_list(authority()).public_bytes(PEM))
    assert run("verify", study, "--trust", root, "--crl", crl).exit_code == 0
    result = run("verify", study, "--trust", root, "--at", "2049-01-01")
    assert (result.exit_code, "expired" in result.output) == (22, True)


def test_intermediates_are_found_beside_the_study(study: Path, root: Path) -> None:
    assert "intermediates.pem" in sign(study, deep_scanner(), "--in-place", "--no-manifest").output
    beside = study.parent / "study.intermediates.pem"
    assert run("verify", study, "--trust", root).exit_code == 0
    moved = beside.rename(study.parent / "other.pem")
    assert run("verify", study, "--trust", root).exit_code == 22
    assert run("verify", study, "--trust", root, "--intermediates", moved).exit_code == 0


def test_invalid_goes_before_untrusted_and_unsigned(study: Path, root: Path) -> None:
    files = sorted(study.iterdir())
    signed = [sign_anyhow(p.read_bytes(), s) for p, s in zip(files, (scanner(), foreign(), scanner()), strict=False)]
    for path, data in zip(files, signed, strict=False):
        path.write_bytes(data)
    assert run("verify", study, "--trust", root).exit_code == 22
    assert run("verify", files[3], "--trust", root).exit_code == 21
    files[2].write_bytes(signed[2].replace(b"CHEST", b"CHESS"))
    assert run("verify", study, "--trust", root).exit_code == 20
    files[2].write_bytes(signed[2][:-30])
    result = run("verify", study, "--trust", root)
    assert (result.exit_code, "damaged" in result.output) == (1, True)


def test_a_slice_taken_away_is_named(study: Path, root: Path) -> None:
    assert sign(study, scanner(), "--in-place").exit_code == 0
    assert run("verify", study, "--trust", root).exit_code == 0
    (study / "002.dcm").unlink()
    result = run("verify", study, "--trust", root)
    assert (result.exit_code, "slice 1 missing" in result.output) == (20, True), result.output
    (study.parent / "study.manifest.json").rename(study.parent / "elsewhere.json")
    (study.parent / "study.manifest.json.p7s").rename(study.parent / "elsewhere.json.p7s")
    result = run("verify", study, "--trust", root)
    assert result.exit_code == 0
    assert "a missing, added or exchanged slice cannot be seen" in " ".join(result.output.split())
    assert run("verify", study, "--trust", root, "--manifest", study.parent / "elsewhere.json").exit_code == 20


def test_a_zip_is_verified_and_not_signed(tmp_path: Path, study: Path, root: Path) -> None:
    assert sign(study, scanner(), "--in-place", "--no-manifest").exit_code == 0
    archive = Path(shutil.make_archive(str(tmp_path / "study"), "zip", study))
    result = run("verify", archive, "--trust", root)
    assert (result.exit_code, "4 files, unchanged since signed by CT-1" in result.output) == (0, True), result.output
    result = sign(archive, scanner(), "--out", tmp_path / "out")
    assert (result.exit_code, "a zip cannot be signed" in result.output) == (2, True)


def test_a_passphrase_is_asked_for_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def prompt(text: str, **options: object) -> str:
        asked.append((text, options))
        return "typed"

    monkeypatch.setattr(passphrases.sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr(passphrases.typer, "prompt", prompt)
    ask = passphrases.ask_passphrase(None)
    assert ask is not None and ask() == b"typed"
    assert passphrases.choose_passphrase(None, without=False) == b"typed"
    assert all(options["hide_input"] and options["err"] for _, options in asked)
    assert asked[1][1]["confirmation_prompt"]


def test_json_holds_every_file(study: Path, root: Path) -> None:
    assert sign(study, scanner(), "--in-place", "--purpose", "created").exit_code == 0
    result = run("verify", study, "--trust", root, "--json", "-")
    found = json.loads(result.stdout)
    assert (found["schema"], found["exit_code"], len(found["objects"])) == ("verict.verify/1", 0, 4)
    (signature,) = found["objects"][0]["signatures"]
    assert (signature["signer"], signature["mac"], signature["purpose"]) == ("CT-1", "SHA256", "created")
    assert found["signing_times"] == "the signer's word"
    assert found["series"][0]["state"] == "valid"
    assert found["provenance"]["options"]["trusted_sha256"] == [authority().certificate.fingerprint(SHA256()).hex()]
    assert find_violations(found, SCHEMA) == []
    file = study.parent / "verdict.json"
    assert run("verify", study, "--trust", root, "--json", file, "--quiet").stdout == ""
    assert json.loads(file.read_text("utf-8"))["exit_code"] == 0
    assert run("verify", study, "--trust", root, "--json", study / "001.dcm").exit_code == 2


def test_a_manifest_is_never_replaced(study: Path) -> None:
    assert sign(study, scanner(), "--in-place").exit_code == 0
    before = (study.parent / "study.manifest.json").read_bytes()
    result = sign(study, scanner("CT-7"), "--in-place")
    assert (result.exit_code, "is there already" in result.output) == (2, True), result.output
    assert sign(study, scanner("CT-7"), "--in-place", "--no-manifest").exit_code == 0
    assert (study.parent / "study.manifest.json").read_bytes() == before


def test_json_of_every_kind_of_verdict_keeps_to_the_schema(study: Path, root: Path) -> None:
    files = sorted(study.iterdir())
    assert sign(study, scanner(), "--in-place").exit_code == 0
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes().replace(b"CHEST", b"CHESS"))
    files[2].write_bytes(files[2].read_bytes()[:-30])
    (study / "other.dcm").write_bytes(make_object())
    (study / "note.txt").write_text("x")
    for options in ([], ["--trust", root], ["--trust", root, "--at", "2049-01-01"]):
        found = json.loads(run("verify", study, "--json", "-", *options).stdout)
        assert find_violations(found, SCHEMA) == []
        assert found["exit_code"] == 20
        assert len(found["failures"]) >= 1


def test_weak_macs_are_said_when_let_pass(study: Path, root: Path) -> None:
    path = study / "001.dcm"
    path.write_bytes(sign_anyhow(path.read_bytes(), scanner(), mac="SHA1"))
    assert run("verify", path, "--trust", root).exit_code == 20
    result = run("verify", path, "--trust", root, "--allow-weak-mac")
    assert (result.exit_code, "SHA1 is broken" in " ".join(result.output.split())) == (0, True)


@pytest.mark.parametrize("name", ["none", "note.txt", "root.pem"])
def test_what_is_no_study_is_told(tmp_path: Path, root: Path, name: str) -> None:
    (tmp_path / "note.txt").write_text("x")
    assert run("verify", tmp_path / name, "--trust", root).exit_code == 1


def test_trust_that_cannot_be_read_is_told(tmp_path: Path, study: Path) -> None:
    result = run("verify", study, "--trust", study / "001.dcm")
    assert (result.exit_code, "no certificate can be read" in result.output) == (1, True)
