"""Keys and certificates of signers: made, read from files, refused where weak, expired or open to others.

Source: RFC 5280 (certificates), RFC 7292 (PKCS #12), PS3.15 C.1 (RSA with an X.509 certificate).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from verict.errors import InputError, UsageError

MIN_RSA_BITS = 2048  # PS3.15 C.1; NIST SP 800-131A
DEFAULT_RSA_BITS = 3072
STRONG_CURVES = ("secp256r1", "secp384r1", "secp521r1")
STRONG_HASHES = ("sha256", "sha384", "sha512")
MAX_KEY_FILE_BYTES = 1 << 20
MAX_NAME = 64  # characters of a common name (RFC 5280 A.1, ub-common-name)

_HASHES: dict[str, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    "sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512,
}  # fmt: skip
UNREADABLE = (ValueError, TypeError, OverflowError, Warning, UnsupportedAlgorithm, x509.InvalidVersion,
              x509.DuplicateExtension, x509.UnsupportedGeneralNameType)  # fmt: skip
"""What cryptography raises, or warns of, where bytes are no sound certificate or revocation list."""

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Signer:
    """A private key with its certificate, and the certificates between that and the root."""

    private_key: PrivateKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    @cached_property
    def certificate_der(self) -> bytes:
        """The certificate as it goes into an object."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def name(self) -> str:
        """Who signs, for messages."""
        return name_of(self.certificate)

    @property
    def is_rsa(self) -> bool:
        """Whether the RSA profiles of PS3.15 can hold."""
        return isinstance(self.private_key, rsa.RSAPrivateKey)

    def sign_digest(self, digest: bytes, hash_name: str) -> bytes:
        """Sign a digest of SHA-256, SHA-384 or SHA-512: RSA as PKCS #1 v1.5, elliptic curves as DER (RFC 3279)."""
        prehashed = utils.Prehashed(_HASHES[hash_name]())
        if isinstance(self.private_key, rsa.RSAPrivateKey):
            return self.private_key.sign(digest, padding.PKCS1v15(), prehashed)
        return self.private_key.sign(digest, ec.ECDSA(prehashed))


def name_of(certificate: x509.Certificate) -> str:
    """The common name of a certificate's subject, or all of the subject where it has none."""
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else certificate.subject.rfc4514_string()


def weakness_of(certificate: x509.Certificate) -> str:
    """Why a certificate is too weak to sign with, in words; empty where it is not."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            return f"its RSA key has {key.key_size} bits, expected at least {MIN_RSA_BITS}"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in STRONG_CURVES:
            return f"its key lies on the curve {key.curve.name}, expected one of {', '.join(STRONG_CURVES)}"
    else:
        return "its key is neither RSA nor on an elliptic curve"
    try:
        used = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        used = None
    if used is None or used.name not in STRONG_HASHES:
        return f"it was signed with {used.name.upper() if used else 'an unknown hash'}, expected SHA-256 or stronger"
    return ""


def load_signer(
    key: Path, certificate: Path | None = None, *, ask: Callable[[], bytes] | None = None, at: datetime | None = None
) -> Signer:
    """Read a key and its certificate: PEM, encrypted PEM, DER or PKCS #12.

    Parameters
    ----------
    key
        The private key, or a PKCS #12 file that holds all.
    certificate
        PEM or DER; may hold intermediates too. None where ``key`` is PKCS #12.
    ask
        Gives the passphrase; called only where the key is encrypted.
    at
        The moment the certificate has to be valid at; now by default.

    Raises
    ------
    InputError
        If a file cannot be read or used, others can read the key, the passphrase is wrong, the two do not belong
        together, or the certificate is expired or weak.
    UsageError
        If a passphrase is needed and nothing gives it, or the certificate is missing.
    """
    data = _read_key_file(key)
    if data.startswith(b"-----BEGIN") or not _is_pkcs12(data):
        if certificate is None:
            raise UsageError(
                "the key needs its certificate", file=key, next_step="give --cert, or a PKCS #12 file as --key"
            )
        private = _load_private(data, key, ask)
        found = load_certificates(certificate)
    else:
        private, found = _load_pkcs12(data, key, ask)
        if certificate is not None:
            found = load_certificates(certificate) + found
    if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise InputError("the key cannot sign DICOM objects", file=key, found=type(private).__name__,
                         expected="RSA or an elliptic curve", next_step="make one: verict keys new")  # fmt: skip
    own = [c for c in found if _spki(c.public_key()) == _spki(private.public_key())]
    if not own:
        raise InputError("the certificate does not belong to the key", file=certificate or key,
                         next_step="give the certificate that was issued for this key")  # fmt: skip
    check_usable(own[0], certificate or key, at or datetime.now(UTC))
    return Signer(private, own[0], tuple(dict.fromkeys(c for c in found if c not in own)))


def check_usable(certificate: x509.Certificate, file: Path, at: datetime) -> None:
    """Refuse a certificate that is weak, or not valid at a moment.

    Raises
    ------
    InputError
        If it is.
    """
    weak = weakness_of(certificate)
    if weak:
        raise InputError(f"the certificate is too weak: {weak}", file=file, next_step="have a stronger one issued")
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not first <= at <= last:
        problem = "the certificate is expired" if at > last else "the certificate is not valid yet"
        raise InputError(problem, file=file, found=f"valid {first:%Y-%m-%d} to {last:%Y-%m-%d}",
                         next_step="have a new one issued")  # fmt: skip


def load_certificates(path: Path) -> list[x509.Certificate]:
    """Every certificate of a PEM file, or the one of a DER file.

    Raises
    ------
    InputError
        If there is none.
    """
    data = _read_small(path)
    try:
        if b"-----BEGIN" in data:
            return x509.load_pem_x509_certificates(data)
        return [x509.load_der_x509_certificate(data)]
    except UNREADABLE as error:
        raise InputError("no certificate can be read", file=path, expected="PEM or DER") from error


def load_crls(path: Path) -> list[x509.CertificateRevocationList]:
    """Every certificate revocation list of a PEM file, or the one of a DER file.

    Raises
    ------
    InputError
        If there is none.
    """
    data, end = _read_small(path), b"-----END X509 CRL-----"
    try:
        if b"-----BEGIN" in data:
            blocks = [block[block.index(b"-----BEGIN") :] + end for block in data.split(end)[:-1]]
            found = [x509.load_pem_x509_crl(block) for block in blocks]
        else:
            found = [x509.load_der_x509_crl(data)]
    except UNREADABLE as error:
        raise InputError("no revocation list can be read", file=path, expected="PEM or DER") from error
    if not found:
        raise InputError("the file holds no revocation list", file=path, expected="PEM or DER")
    return found


def make_key(*, bits: int = DEFAULT_RSA_BITS, curve: bool = False) -> PrivateKey:
    """A new private key: RSA, or on the curve P-256.

    Raises
    ------
    UsageError
        If the RSA key would be weak.
    """
    if curve:
        return ec.generate_private_key(ec.SECP256R1())
    if not MIN_RSA_BITS <= bits <= 16384:
        raise UsageError(
            "an RSA key of this size is refused", found=f"{bits} bits", expected=f"{MIN_RSA_BITS} to 16384"
        )
    return rsa.generate_private_key(65537, bits)


def make_certificate(
    name: str, key: PrivateKey, *, days: int, authority: bool = False, issuer: Signer | None = None,
    start: datetime | None = None,
) -> x509.Certificate:  # fmt: skip
    """A certificate for a key, signed by itself or by an issuer.

    Parameters
    ----------
    name
        The common name.
    days
        How long it is valid, not beyond the issuer's own end.
    authority
        Whether it may issue others.
    issuer
        The authority that issues it; None signs it with its own key.
    start
        From when it is valid; a minute ago by default.

    Raises
    ------
    UsageError
        If the name does not fit, or the issuer may not issue.
    """
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise UsageError("the name does not fit into a certificate", found=f"{len(name)} characters",
                         expected=f"1 to {MAX_NAME} printable characters")  # fmt: skip
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name.strip())])
    start = start or datetime.now(UTC) - timedelta(minutes=1)
    end = start + timedelta(days=days)
    if issuer is not None:
        if not _is_authority(issuer.certificate):
            raise UsageError("the issuer is no certificate authority", found=issuer.name,
                             next_step="make one: verict keys new --ca")  # fmt: skip
        end = min(end, issuer.certificate.not_valid_after_utc)
    signing_key = issuer.private_key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(_key_usage(authority=authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
    )
    return builder.sign(signing_key, hashes.SHA256())


def key_pem(key: PrivateKey, passphrase: bytes | None) -> bytes:
    """A private key as PEM (PKCS #8), encrypted where there is a passphrase."""
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


def certificates_pem(certificates: Sequence[x509.Certificate]) -> bytes:
    """Certificates as PEM, one after another."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority, content_commitment=not authority, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=authority, crl_sign=authority,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _read_key_file(path: Path) -> bytes:
    """A key file's bytes; refused where anybody but its owner may read it (Windows has no such bits)."""
    data = _read_small(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        raise InputError("others may read the key", file=path, found=f"permissions {mode:04o}", expected="0600",
                         next_step=f"chmod 600 {path.name}, and think about who read it")  # fmt: skip
    return data


def _read_small(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise InputError("cannot be read", file=path, found=error.strerror, next_step="check the path") from error
    if len(data) > MAX_KEY_FILE_BYTES:
        raise InputError("too large for a key, certificate or revocation list", file=path,
                         expected=f"at most {MAX_KEY_FILE_BYTES} bytes")  # fmt: skip
    return data


def _is_pkcs12(data: bytes) -> bool:
    """PFX begins with its version 3 (RFC 7292 4), a PKCS #8 key with version 0 or its algorithm."""
    return data[:1] == b"\x30" and b"\x02\x01\x03\x30" in data[:12]


def _load_private(data: bytes, path: Path, ask: Callable[[], bytes] | None) -> object:
    load = serialization.load_pem_private_key if b"-----BEGIN" in data else serialization.load_der_private_key
    try:
        return load(data, password=None)
    except TypeError:  # encrypted
        try:
            return load(data, password=_passphrase(path, ask))
        except (ValueError, TypeError) as error:
            raise _wrong_passphrase(path) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError("no private key can be read", file=path, expected="PEM, DER or PKCS #12") from error


def _load_pkcs12(
    data: bytes, path: Path, ask: Callable[[], bytes] | None
) -> tuple[object, list[x509.Certificate]]:
    try:
        key, own, others = pkcs12.load_key_and_certificates(data, None)
    except ValueError:
        try:
            key, own, others = pkcs12.load_key_and_certificates(data, _passphrase(path, ask))
        except ValueError as error:
            raise _wrong_passphrase(path) from error
    return key, [*([own] if own else []), *others]


def _passphrase(path: Path, ask: Callable[[], bytes] | None) -> bytes:
    if ask is None:
        raise UsageError("the key is encrypted", file=path, next_step="give --passphrase-file, or run on a terminal")
    return ask()


def _wrong_passphrase(path: Path) -> InputError:
    return InputError("the passphrase is wrong, or the key is damaged", file=path, next_step="try again")


def _spki(key: object) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form)  # type: ignore[attr-defined]
