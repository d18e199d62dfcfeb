"""Keys and certificates: what is taken, and what is refused and why."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from custody.hospital import (
    NOW,
    authority,
    build_certificate,
    curve_scanner,
    deep_scanner,
    expired_scanner,
    intermediate,
    key,
    scanner,
    weak_scanner,
    write_signer,
)

from verict.custody.keys import (
    Signer,
    certificates_pem,
    key_pem,
    load_certificates,
    load_crls,
    load_signer,
    make_certificate,
    make_key,
    weakness_of,
)
from verict.errors import InputError, UsageError

WORD = b"a word"


def _pkcs12(signer: Signer, path: Path, passphrase: bytes | None) -> Path:
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    data = pkcs12.serialize_key_and_certificates(b"x", signer.private_key, signer.certificate, signer.chain, lock)
    path.write_bytes(data)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("signer", [scanner, curve_scanner, deep_scanner])
@pytest.mark.parametrize("passphrase", [None, WORD], ids=["open", "encrypted"])
def test_pem_and_pkcs12_give_the_same_signer(tmp_path: Path, signer: type, passphrase: bytes | None) -> None:
    made = signer()
    secret, public = write_signer(made, tmp_path, passphrase)
    public.write_bytes(certificates_pem([made.certificate, *made.chain]))
    found = [load_signer(secret, public, ask=lambda: WORD),
             load_signer(_pkcs12(made, tmp_path / "x.p12", passphrase), ask=lambda: WORD)]  # fmt: skip
    for one in found:
        assert (one.certificate, one.chain) == (made.certificate, made.chain)
        assert one.private_key.private_numbers() == made.private_key.private_numbers()


def test_the_certificate_of_the_key_is_found_among_others(tmp_path: Path) -> None:
    secret, public = write_signer(scanner(), tmp_path)
    public.write_bytes(certificates_pem([authority().certificate, scanner().certificate]))
    assert load_signer(secret, public).name == "CT-1"


def test_der_files_are_read(tmp_path: Path) -> None:
    secret, public = write_signer(scanner(), tmp_path)
    form = serialization.PrivateFormat.PKCS8
    secret.write_bytes(
        scanner().private_key.private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption())
    )
    public.write_bytes(scanner().certificate_der)
    assert load_signer(secret, public).certificate == scanner().certificate


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o610])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    secret, public = write_signer(scanner(), tmp_path)
    secret.chmod(mode)
    with pytest.raises(InputError, match=f"others may read the key; found permissions {mode:04o}"):
        load_signer(secret, public)


@pytest.mark.parametrize("kind", ["pem", "p12"])
def test_a_wrong_passphrase_is_told(tmp_path: Path, kind: str) -> None:
    secret, public = write_signer(scanner(), tmp_path, WORD)
    path = secret if kind == "pem" else _pkcs12(scanner(), tmp_path / "x.p12", WORD)
    with pytest.raises(InputError, match="passphrase is wrong"):
        load_signer(path, public, ask=lambda: b"another")
    with pytest.raises(UsageError, match="encrypted"):
        load_signer(path, public)


def test_weak_expired_and_foreign_certificates_are_refused(tmp_path: Path) -> None:
    for number, (signer, word) in enumerate([
        (weak_scanner(), "1024 bits"),
        (expired_scanner(), "expired"),
        (Signer(key("CT-1"), scanner("CT-7").certificate), "does not belong"),
        (Signer(key("CT-1"), make_certificate("soon", key("CT-1"), days=9, start=NOW + timedelta(days=2))),
         "not valid"),
    ]):  # fmt: skip
        with pytest.raises(InputError, match=word):
            load_signer(*write_signer(signer, tmp_path / str(number)))


def test_keys_of_other_kinds_are_refused(tmp_path: Path) -> None:
    other = ed25519.Ed25519PrivateKey.generate()
    form = serialization.PrivateFormat.PKCS8
    secret = tmp_path / "key.pem"
    secret.write_bytes(other.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    secret.chmod(0o600)
    _, public = write_signer(scanner(), tmp_path / "x")
    with pytest.raises(InputError, match="cannot sign DICOM"):
        load_signer(secret, public)


@pytest.mark.parametrize(
    "data", [b"", b"-----BEGIN nothing-----", b"\x30\x03\x02\x01\x03", b"\0" * 64, b"x" * (2 << 20)]
)
def test_what_is_no_key_is_told(tmp_path: Path, data: bytes) -> None:
    _, public = write_signer(scanner(), tmp_path / "x")
    path = tmp_path / "key.pem"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(InputError):
        load_signer(path, public)
    with pytest.raises(InputError):
        load_certificates(path)
    with pytest.raises(InputError):
        load_crls(path)


def test_missing_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_signer(tmp_path / "none.pem", tmp_path / "none.pem")
    with pytest.raises(UsageError, match="needs its certificate"):
        load_signer(write_signer(scanner(), tmp_path)[0])


def test_a_certificate_ends_with_its_issuers(tmp_path: Path) -> None:
    made = make_certificate("CT-9", key("CT-9"), days=20000, issuer=authority())
    assert made.not_valid_after_utc == authority().certificate.not_valid_after_utc
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature and not usage.key_cert_sign
    with pytest.raises(UsageError, match="no certificate authority"):
        make_certificate("CT-9", key("CT-9"), days=1, issuer=scanner())
    assert intermediate().certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\nb", "a\x1bb"])
def test_names_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="does not fit"):
        make_certificate(name, key("CT-1"), days=1)


def test_a_small_rsa_key_is_never_made() -> None:
    with pytest.raises(UsageError, match="refused"):
        make_key(bits=1024)


def test_an_encrypted_key_says_so() -> None:
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in key_pem(key("CT-1"), WORD)
    assert b"BEGIN PRIVATE KEY" in key_pem(key("CT-1"), None)


def test_weakness_is_put_in_words() -> None:
    assert weakness_of(scanner().certificate) == ""
    old = build_certificate("old", digest=hashes.SHA224())
    assert "SHA224" in weakness_of(old)
    small = rsa.generate_private_key(65537, 1024)
    assert "1024 bits" in weakness_of(build_certificate("small", public=small))
