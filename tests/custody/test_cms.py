"""Detached CMS signatures: ours and openssl's, and what is refused."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7
from custody.signers import Identity, make_identity
from hypothesis import given, settings
from hypothesis import strategies as st

from verict.custody.cms import MAX_SIGNATURE_BYTES, check_detached, sign_detached
from verict.errors import UsageError

CONTENT = b'{"schema":"verict.manifest/1"}\r\n\n'
KINDS = ("rsa2048", "p256", "p384")


def sign(identity: Identity, content: bytes = CONTENT, digest: str = "sha256") -> bytes:
    return sign_detached(content, identity.key, identity.certificate, identity.issuers, digest=digest)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_what_was_signed_is_valid(kind: str, digest: str) -> None:
    identity = make_identity(kind)
    check = check_detached(CONTENT, sign(identity, digest=digest))
    assert (check.valid, check.reason) == (True, "")
    assert check.certificates == (identity.certificate, *identity.issuers)
    assert check.certificate == identity.certificate
    assert check.digest == digest
    assert check.signing_time is not None
    assert abs((datetime.now(UTC) - check.signing_time).total_seconds()) < 3600


def test_another_content_is_refused() -> None:
    check = check_detached(CONTENT + b" ", sign(make_identity()))
    assert not check.valid
    assert check.reason == "the content is not what was signed"
    assert check.certificate == make_identity().certificate


def test_a_key_that_is_not_the_certificates_is_refused() -> None:
    with pytest.raises(UsageError, match="not the certificate's"):
        sign_detached(CONTENT, make_identity("p256").key, make_identity().certificate)
    with pytest.raises(UsageError, match="sha1"):
        sign_detached(CONTENT, make_identity().key, make_identity().certificate, digest="sha1")


def build(identity: Identity, *options: pkcs7.PKCS7Options, digest: hashes.HashAlgorithm | None = None) -> bytes:
    builder = pkcs7.PKCS7SignatureBuilder().set_data(CONTENT)
    builder = builder.add_signer(identity.certificate, identity.key, digest or hashes.SHA256())  # type: ignore[arg-type]
    return builder.sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary, *options])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "something more"),  # the content inside: which of the two would have been signed?
        ((pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.NoAttributes), "lacks signed attributes"),
        ((pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.NoCerts), "0 certificates"),
    ],
)
def test_other_shapes_of_a_signature_are_refused(options: tuple[pkcs7.PKCS7Options, ...], said: str) -> None:
    check = check_detached(CONTENT, build(make_identity(), *options))
    assert not check.valid
    assert said in check.reason


def test_two_signers_and_weak_keys_are_refused() -> None:
    one, other, weak = make_identity(), make_identity("p256"), make_identity("rsa1024")
    builder = pkcs7.PKCS7SignatureBuilder().set_data(CONTENT)
    for identity in (one, other):
        builder = builder.add_signer(identity.certificate, identity.key, hashes.SHA256())
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
    assert "2 signers" in check_detached(CONTENT, builder.sign(serialization.Encoding.DER, options)).reason
    assert "1024 bits is too weak" in check_detached(CONTENT, sign(weak)).reason


def test_the_certificate_of_another_cannot_be_put_in() -> None:
    """A certificate of the same name and key size in the place of the signer's."""
    mine, theirs = make_identity("p256"), make_identity("p384")
    signature = sign(mine)
    swapped = signature.replace(
        mine.certificate.public_bytes(serialization.Encoding.DER),
        theirs.certificate.public_bytes(serialization.Encoding.DER),
    )
    assert not check_detached(CONTENT, swapped).valid


def test_a_certificate_that_the_standard_forbids_is_refused() -> None:
    """A serial number of zero (RFC 5280 4.1.2.2), which libraries still read with a warning."""
    signature = sign(make_identity())
    serial = make_identity().certificate.serial_number
    number = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    assert signature.count(number) == 2
    check = check_detached(CONTENT, signature.replace(number, b"\x80" + number[1:]))
    assert not check.valid
    assert "serial number" in check.reason


@pytest.mark.parametrize("data", [b"", b"\x30", b"0" * 100, b"\x30\x80\x00\x00", b"\x30\x84\xff\xff\xff\xff"])
def test_what_is_no_signature_is_refused(data: bytes) -> None:
    check = check_detached(CONTENT, data)
    assert not check.valid
    assert "not a detached CMS signature in DER" in check.reason


def test_a_signature_that_is_far_too_large_is_not_read() -> None:
    assert "more than any real one" in check_detached(CONTENT, b"\0" * (MAX_SIGNATURE_BYTES + 1)).reason


SIGNATURES = {kind: sign_detached(CONTENT, make_identity(kind).key, make_identity(kind).certificate)
              for kind in ("rsa2048", "p256")}  # fmt: skip


@pytest.mark.parametrize("kind", list(SIGNATURES))
def test_every_changed_bit_that_matters_is_refused(kind: str) -> None:
    """Each bit of the signature file, one at a time: what still verifies names the same signer of the same content."""
    signature = SIGNATURES[kind]
    certificate = make_identity(kind).certificate
    accepted = []
    for place in range(len(signature)):
        changed = bytearray(signature)
        changed[place] ^= 1 << place % 8
        check = check_detached(CONTENT, bytes(changed))
        if check.valid:
            accepted.append(place)
            assert check.certificate is not None
            assert check.certificate.public_key() == certificate.public_key()
    # The certificate is signed by its issuer, which is the question of trust.
    start = signature.index(certificate.public_bytes(serialization.Encoding.DER))
    end = start + len(certificate.public_bytes(serialization.Encoding.DER))
    assert [place for place in accepted if not start <= place < end] == []


@settings(max_examples=300)
@given(data=st.data())
def test_damaged_signatures_never_crash_it(data: st.DataObject) -> None:
    signature = bytearray(SIGNATURES["p256"])
    start = data.draw(st.integers(0, len(signature)))
    signature[start : start + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
    check = check_detached(CONTENT, bytes(signature))
    assert check.valid or check.reason


def _run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("kind", KINDS)
def test_openssl_verifies_ours(kind: str, openssl: Path, tmp_path: Path) -> None:
    identity = make_identity(kind)
    (tmp_path / "m").write_bytes(CONTENT)
    (tmp_path / "root").write_bytes(identity.issuers[0].public_bytes(serialization.Encoding.PEM))
    (tmp_path / "s").write_bytes(sign(identity))
    command = [openssl, "cms", "-verify", "-binary", "-inform", "DER", "-in", tmp_path / "s", "-content",
               tmp_path / "m", "-CAfile", tmp_path / "root", "-purpose", "any", "-out", tmp_path / "out"]  # fmt: skip
    done = _run(*command)
    assert done.returncode == 0, done.stderr
    (tmp_path / "m").write_bytes(CONTENT + b"x")
    assert _run(*command).returncode != 0


@pytest.mark.parametrize("keyed", [False, True], ids=["by issuer", "by key identifier"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_ours_verifies_openssls(kind: str, digest: str, keyed: bool, openssl: Path, tmp_path: Path) -> None:
    identity = make_identity(kind)
    (tmp_path / "m").write_bytes(CONTENT)
    (tmp_path / "key").write_bytes(identity.key_pem)
    (tmp_path / "cert").write_bytes(identity.certificate_pem)
    more = ["-keyid"] if keyed else []
    done = _run(openssl, "cms", "-sign", "-binary", "-in", tmp_path / "m", "-signer", tmp_path / "cert", "-inkey",
                tmp_path / "key", "-md", digest, "-outform", "DER", "-out", tmp_path / "s", *more)  # fmt: skip
    assert done.returncode == 0, done.stderr
    check = check_detached(CONTENT, (tmp_path / "s").read_bytes())
    assert (check.valid, check.reason) == (True, "")
    assert not check_detached(CONTENT + b"x", (tmp_path / "s").read_bytes()).valid
