"""Detached CMS signatures over any bytes (RFC 5652): made by `cryptography`, checked here, strictly.

A file ``x`` has its signature beside it as ``x.p7s``, in DER, as ``openssl cms`` and ``openssl smime`` read and write
it. Whether the certificate is to be trusted is another question, see `verict.custody.trust`.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.utils import CryptographyDeprecationWarning

from verict.custody import der
from verict.custody.der import DerError, Fields, Node
from verict.errors import UsageError

MAX_SIGNATURE_BYTES = 1 << 20  # a signature with its certificates has some kilobytes
MAX_CERTIFICATES = 20
SIGNED_DATA, DATA = "1.2.840.113549.1.7.2", "1.2.840.113549.1.7.1"  # RFC 5652 5.1 and 4
CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME = (f"1.2.840.113549.1.9.{n}" for n in (3, 4, 5))  # RFC 5652 11
SUBJECT_KEY_IDENTIFIER = der.context(0, constructed=False)

_DIGESTS: dict[str, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    "2.16.840.1.101.3.4.2.1": hashes.SHA256(),
    "2.16.840.1.101.3.4.2.2": hashes.SHA384(),
    "2.16.840.1.101.3.4.2.3": hashes.SHA512(),
}
_HASHES = {digest.name: digest for digest in _DIGESTS.values()}
_RSA_ENCRYPTION = "1.2.840.113549.1.1.1"  # RFC 3370 3.2: the digest is the one named beside it
_RSA_WITH = {"1.2.840.113549.1.1.11": "sha256", "1.2.840.113549.1.1.12": "sha384", "1.2.840.113549.1.1.13": "sha512"}
_ECDSA_WITH = {"1.2.840.10045.4.3.2": "sha256", "1.2.840.10045.4.3.3": "sha384", "1.2.840.10045.4.3.4": "sha512"}

_UNREADABLE = (DerError, ValueError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension,
               x509.UnsupportedGeneralNameType, CryptographyDeprecationWarning)  # fmt: skip

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class CmsCheck:
    """What a detached signature says of its content.

    ``valid`` is about the mathematics only: the content is what the holder of ``certificate``'s key signed.
    ``reason`` says why it is not valid. ``signing_time`` is the signer's word. ``certificates`` are all that came
    with the signature, the signer's first where it was found.
    """

    valid: bool
    reason: str = ""
    certificate: x509.Certificate | None = None
    certificates: tuple[x509.Certificate, ...] = ()
    signing_time: datetime | None = None
    digest: str = ""


def sign_detached(
    content: bytes,
    key: PrivateKey,
    certificate: x509.Certificate,
    intermediates: Sequence[x509.Certificate] = (),
    *,
    digest: str = "sha256",
) -> bytes:
    """Sign content and give the signature as DER, without the content, with the certificates and the time.

    Parameters
    ----------
    content
        The bytes, signed as they are.
    key, certificate
        The signer's; RSA (PKCS #1 v1.5) or ECDSA.
    intermediates
        Certificates between the signer's and a root, put into the signature.
    digest
        ``sha256``, ``sha384`` or ``sha512``.

    Raises
    ------
    UsageError
        If the digest is another, or the key is not the certificate's.
    """
    if digest not in _HASHES:
        raise UsageError("no digest for a signature", found=digest, expected=", ".join(_HASHES))
    if key.public_key() != certificate.public_key():
        raise UsageError("the key is not the certificate's", next_step="name the key that belongs to the certificate")
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content).add_signer(certificate, key, _HASHES[digest])
    for other in intermediates:
        builder = builder.add_certificate(other)
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.NoCapabilities]
    return builder.sign(serialization.Encoding.DER, options)


def check_detached(content: bytes, signature: bytes) -> CmsCheck:
    """Check a detached signature over content.

    Accepted is exactly: DER; signed attributes that hold the content type and the digest; one signer, whose
    certificate is in it; SHA-256, SHA-384 or SHA-512; RSA PKCS #1 v1.5 of 2048 bits or more, or ECDSA. Anything else
    is refused with the reason, never raised.
    """
    if len(signature) > MAX_SIGNATURE_BYTES:
        return CmsCheck(valid=False, reason=f"the signature has {len(signature)} bytes, more than any real one")
    try:
        certificates, signer = _open_signed_data(signature)
    except _UNREADABLE as error:
        return CmsCheck(valid=False, reason=f"not a detached CMS signature in DER: {error}")
    certificate = None
    try:
        certificate = _find_signer(signer.identifier, certificates)
        rest = tuple(c for c in certificates if c is not certificate)
        time, reason = _check_signer(signer, certificate, content)
    except _UNREADABLE as error:
        return CmsCheck(False, str(error), certificate, certificates)
    return CmsCheck(not reason, reason, certificate, (certificate, *rest), time, signer.digest.name)


@dataclass(frozen=True)
class _Signer:
    """The one SignerInfo (RFC 5652 5.3), taken apart but not believed."""

    identifier: Node
    digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512
    attributes: Node
    algorithm: str
    value: bytes


def _open_signed_data(signature: bytes) -> tuple[tuple[x509.Certificate, ...], _Signer]:
    """ContentInfo and SignedData (RFC 5652 3 and 5.1) of a detached signature."""
    info = Fields(der.read_one(signature, der.SEQUENCE, "ContentInfo"), "ContentInfo")
    if der.oid_of(info.take(der.OBJECT_IDENTIFIER, "the content type")) != SIGNED_DATA:
        raise DerError("the content is not SignedData")
    wrapped = info.take(der.context(0), "the content")
    info.finish()
    data = Fields(der.read_one(wrapped.content, der.SEQUENCE, "SignedData"), "SignedData")
    version = der.integer_of(data.take(der.INTEGER, "its version"))
    digests = [_algorithm_of(node) for node in der.children(data.take(der.SET, "the digest algorithms"))]
    content = Fields(data.take(der.SEQUENCE, "the content's type"), "EncapsulatedContentInfo")
    if der.oid_of(content.take(der.OBJECT_IDENTIFIER, "the content's type")) != DATA:
        raise DerError("the signed content is not plain data")
    content.finish()  # a content inside would be another one than the file beside it
    bag = data.take_if(der.context(0))
    data.take_if(der.context(1))  # revocation lists: read from where the user names them, not from here
    signers = der.children(data.take(der.SET, "the signers"))
    data.finish()
    if len(signers) != 1:
        raise DerError(f"{len(signers)} signers, not one")
    found = der.children(bag) if bag is not None else []
    if not 1 <= len(found) <= MAX_CERTIFICATES:
        raise DerError(f"{len(found)} certificates, not 1 to {MAX_CERTIFICATES}")
    with warnings.catch_warnings():
        warnings.simplefilter("error", CryptographyDeprecationWarning)  # what RFC 5280 forbids and is read for now
        certificates = tuple(x509.load_der_x509_certificate(node.encoded) for node in found)
    signer = _open_signer(signers[0])
    if [_DIGESTS.get(oid) for oid in digests] != [signer.digest]:
        raise DerError("the digest algorithms are not the signer's one")
    if version != (3 if signer.identifier.tag == SUBJECT_KEY_IDENTIFIER else 1):
        raise DerError("SignedData of a version that does not fit its signer")
    return certificates, signer


def _open_signer(node: Node) -> _Signer:
    fields = Fields(node, "SignerInfo")
    version = der.integer_of(fields.take(der.INTEGER, "its version"))
    identifier = fields.take_if(der.SEQUENCE) or fields.take(SUBJECT_KEY_IDENTIFIER, "the signer's identifier")
    if version != (1 if identifier.tag == der.SEQUENCE else 3):
        raise DerError("SignerInfo of a version that does not fit its identifier")
    digest = _DIGESTS.get(_algorithm_of(fields.take(der.SEQUENCE, "the digest algorithm")))
    if digest is None:
        raise DerError("the digest is none of SHA-256, SHA-384 and SHA-512")
    attributes = fields.take(der.context(0), "signed attributes")
    algorithm = _algorithm_of(fields.take(der.SEQUENCE, "the signature algorithm"))
    value = fields.take(der.OCTET_STRING, "the signature").content
    fields.take_if(der.context(1))  # unsigned attributes: nobody's word, so not read
    fields.finish()
    return _Signer(identifier, digest, attributes, algorithm, value)


def _algorithm_of(node: Node) -> str:
    """The OID of an AlgorithmIdentifier whose parameters are absent or NULL."""
    fields = Fields(node, "AlgorithmIdentifier")
    oid = der.oid_of(fields.take(der.OBJECT_IDENTIFIER, "an algorithm"))
    null = fields.take_if(der.NULL)
    if null is not None and null.content:
        raise DerError("a NULL with content")
    fields.finish()
    return oid


def _find_signer(identifier: Node, certificates: Sequence[x509.Certificate]) -> x509.Certificate:
    """The certificate that SignerIdentifier names, by issuer and number or by the subject's key identifier."""
    if identifier.tag == SUBJECT_KEY_IDENTIFIER:
        matching = [c for c in certificates if _key_identifier(c) == identifier.content]
    else:
        fields = Fields(identifier, "IssuerAndSerialNumber")
        issuer = fields.take(der.SEQUENCE, "the issuer").encoded
        number = der.integer_of(fields.take(der.INTEGER, "the serial number"))
        fields.finish()
        matching = [c for c in certificates if c.serial_number == number and c.issuer.public_bytes() == issuer]
    if len(matching) != 1:
        raise DerError(f"{len(matching)} certificates of the signer in the signature, not one")
    return matching[0]


def _key_identifier(certificate: x509.Certificate) -> bytes | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None


def _check_signer(signer: _Signer, certificate: x509.Certificate, content: bytes) -> tuple[datetime | None, str]:
    """The signing time, and why the signature is not valid; "" where it is (RFC 5652 5.4 and 5.6)."""
    encoded = b"\x31" + signer.attributes.encoded[1:]  # signed is the SET OF, not the implicit tag it travels under
    attributes = der.read_one(encoded, der.SET, "the signed attributes")
    if not der.is_sorted_set(attributes):
        raise DerError("the signed attributes are not in the order of DER")
    values = _attributes_of(attributes)
    if CONTENT_TYPE not in values or der.oid_of(values[CONTENT_TYPE]) != DATA:
        raise DerError("the signed attributes do not name the content's type")
    time = der.time_of(values[SIGNING_TIME]) if SIGNING_TIME in values else None
    reason = _verify(signer, certificate, encoded)
    if reason:
        return time, reason
    claimed = values.get(MESSAGE_DIGEST)
    if claimed is None or claimed.tag != der.OCTET_STRING:
        raise DerError("the signed attributes hold no digest of the content")
    if claimed.content != hashlib.new(signer.digest.name, content).digest():
        return time, "the content is not what was signed"
    return time, ""


def _attributes_of(node: Node) -> dict[str, Node]:
    values: dict[str, Node] = {}
    for child in der.children(node):
        fields = Fields(child, "Attribute")
        oid = der.oid_of(fields.take(der.OBJECT_IDENTIFIER, "its type"))
        held = der.children(fields.take(der.SET, "its values"))
        fields.finish()
        if oid in values or len(held) != 1:
            raise DerError(f"the signed attribute {oid} does not stand there once with one value")
        values[oid] = held[0]
    return values


def _verify(signer: _Signer, certificate: x509.Certificate, signed: bytes) -> str:
    """Why the signature value does not verify under the certificate's key; "" where it does."""
    key = certificate.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            if signer.algorithm != _RSA_ENCRYPTION and _RSA_WITH.get(signer.algorithm) != signer.digest.name:
                return f"the signature algorithm {signer.algorithm} is not RSA PKCS #1 v1.5 with the digest named"
            if key.key_size < 2048:
                return f"an RSA key of {key.key_size} bits is too weak"
            key.verify(signer.value, signed, padding.PKCS1v15(), signer.digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            if _ECDSA_WITH.get(signer.algorithm) != signer.digest.name:
                return f"the signature algorithm {signer.algorithm} is not ECDSA with the digest named"
            key.verify(signer.value, signed, ec.ECDSA(signer.digest))
        else:
            return "the signer's key is neither RSA nor of an elliptic curve"
    except InvalidSignature:
        return "the signature does not belong to this certificate, or was altered"
    return ""
