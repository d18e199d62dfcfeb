"""A hospital's authority, its scanner's certificates and everything near them, made once a test run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from verict.custody.keys import PrivateKey, Signer, make_certificate, make_key
from verict.custody.trust import TrustStore

NOW = datetime.now(UTC)


@cache
def key(name: str) -> PrivateKey:
    """An RSA key of 2048 bits by a name, or one on P-256 where the name begins with ec."""
    return make_key(curve=True) if name.startswith("ec") else make_key(bits=2048)


def issue(name: str, public: PrivateKey, **options: Any) -> x509.Certificate:
    """A certificate that is valid at NOW however much later it is made: a test may run minutes after the import."""
    return make_certificate(name, public, **{"start": NOW - timedelta(days=1), **options})


@cache
def authority() -> Signer:
    """The hospital's root."""
    return Signer(key("root"), issue("Hospital Root", key("root"), days=3650, authority=True))


@cache
def intermediate() -> Signer:
    """An authority below the root."""
    made = issue("Radiology CA", key("intermediate"), days=3000, authority=True, issuer=authority())
    return Signer(key("intermediate"), made)


@cache
def scanner(name: str = "CT-1") -> Signer:
    """A scanner whose certificate the root issued."""
    return Signer(key(name), issue(name, key(name), days=1000, issuer=authority()))


@cache
def deep_scanner() -> Signer:
    """A scanner two steps below the root."""
    issued = issue("CT-2", key("CT-2"), days=1000, issuer=intermediate())
    return Signer(key("CT-2"), issued, (intermediate().certificate,))


@cache
def self_signed() -> Signer:
    """A scanner that nobody vouches for but itself."""
    return Signer(key("CT-1"), issue("CT-1 alone", key("CT-1"), days=1000))


@cache
def expired_scanner() -> Signer:
    """A scanner whose certificate ran out a month ago."""
    made = issue("CT-1", key("CT-1"), days=400, issuer=authority(), start=NOW - timedelta(days=430))
    return Signer(key("CT-1"), made)


def trust(*roots: Signer, **more: object) -> TrustStore:
    """A store that trusts these, the hospital's root by default."""
    return TrustStore(tuple(s.certificate for s in roots or (authority(),)), at=NOW, **more)  # type: ignore[arg-type]


def build_certificate(
    subject: str,
    *,
    issuer: Signer | None = None,
    public: PrivateKey | rsa.RSAPrivateKey | None = None,
    digest: hashes.HashAlgorithm | None = None,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
) -> x509.Certificate:
    """A certificate that `make_certificate` would never make."""
    issuer = issuer or authority()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(issuer.certificate.subject)
        .public_key((public or key("CT-1")).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=100))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer.private_key, digest or hashes.SHA256())


@cache
def web_server() -> Signer:
    """A web server's certificate of the same authority."""
    usage = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    return Signer(key("CT-1"), build_certificate("intranet", extensions=(usage,)))


@cache
def weak_scanner() -> Signer:
    """A scanner with an RSA key of 1024 bits."""
    weak = rsa.generate_private_key(65537, 1024)
    return Signer(weak, build_certificate("CT-1", public=weak))


@cache
def not_an_authority() -> Signer:
    """A signer who issued himself a scanner's certificate with the certificate of a scanner."""
    return Signer(key("CT-3"), build_certificate("CT-1", issuer=scanner(), public=key("CT-3")))


@cache
def look_alike() -> Signer:
    """A scanner under a root of the hospital's name and another key."""
    root = Signer(key("impostor"), issue("Hospital Root", key("impostor"), days=3650, authority=True))
    return Signer(key("CT-1"), issue("CT-1", key("CT-1"), days=1000, issuer=root))


@cache
def foreign() -> Signer:
    """A scanner of another hospital."""
    root = Signer(key("impostor"), issue("Other Root", key("impostor"), days=3650, authority=True))
    return Signer(key("CT-1"), issue("CT-9", key("CT-1"), days=1000, issuer=root))


@cache
def curve_scanner() -> Signer:
    """A scanner with a key on P-256."""
    return Signer(key("ec-1"), issue("CT-EC", key("ec-1"), days=1000, issuer=authority()))


def revocation_list(issuer: Signer, *revoked: Signer, days: int = 30) -> x509.CertificateRevocationList:
    """A list of the issuer that names these."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.certificate.subject)
    builder = builder.last_update(NOW - timedelta(days=40)).next_update(NOW + timedelta(days=days))
    for signer in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(signer.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(NOW - timedelta(days=2)).build())
    return builder.sign(issuer.private_key, hashes.SHA256())


def write_signer(signer: Signer, folder: Path, passphrase: bytes | None = None) -> tuple[Path, Path]:
    """Key and certificate as PEM files; the key as its owner alone may read it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    secret, public = folder / "key.pem", folder / "cert.pem"
    pem = signer.private_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    secret.write_bytes(pem)
    secret.chmod(0o600)
    public.write_bytes(signer.certificate.public_bytes(serialization.Encoding.PEM))
    return secret, public


def is_curve(signer: Signer) -> bool:
    """Whether the key lies on an elliptic curve."""
    return isinstance(signer.private_key, ec.EllipticCurvePrivateKey)
