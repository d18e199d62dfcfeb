"""The MAC of a signature: the hash of the byte stream, and whether a signature's value fits it (PS3.15 C.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from verict.custody.byte_stream import stream_elements
from verict.custody.elements import Element, ParsedObject
from verict.custody.keys import UNREADABLE
from verict.custody.signature import MAC_NAMES, SignatureItem, trim_der

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512, "sha1": hashes.SHA1, "md5": hashes.MD5,
}  # fmt: skip
_DIGEST_INFO = {"ripemd160": bytes.fromhex("3021300906052b2403020105000414")}
"""What stands before the digest in a PKCS #1 signature where cryptography has no such hash (RFC 8017 9.2)."""


def hash_stream(name: str, *streams: Iterable[bytes | memoryview]) -> bytes:
    """The digest of byte streams one after another, by the hash's name in hashlib."""
    hasher = hashlib.new(name, usedforsecurity=False)  # whether it is strong enough is for the caller to say
    for stream in streams:
        for piece in stream:
            hasher.update(piece)
    return hasher.digest()


@cache
def can_hash(algorithm: str) -> bool:
    """Whether this machine computes a MAC algorithm: OpenSSL may have been built without RIPEMD-160."""
    try:
        hashlib.new(MAC_NAMES[algorithm], usedforsecurity=False)
    except ValueError:
        return False
    return True


def holds(parsed: ParsedObject, signed: Sequence[Element], algorithm: str, signature: SignatureItem) -> bool:
    """Whether a signature's value fits the signed elements and the certificate it bears; says nothing of trust."""
    name = MAC_NAMES[algorithm]
    content = stream_elements(parsed.data, parsed.coding, signed)
    digest = hash_stream(name, content, signature.stream(parsed.data, parsed.coding))
    return _fits(signature.certificate, signature.signature, digest, name)


@lru_cache(maxsize=64)
def _public_key(certificate: bytes) -> object | None:
    try:
        return x509.load_der_x509_certificate(certificate).public_key()
    except UNREADABLE:
        return None


def _fits(certificate: bytes, signature: bytes, digest: bytes, name: str) -> bool:
    key = _public_key(certificate)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            if len(signature) != (key.key_size + 15) // 16 * 2:
                return False
            exact = signature[: (key.key_size + 7) // 8]
            if signature[len(exact) :] not in (b"", b"\0"):
                return False
            if name in _DIGEST_INFO:
                recovered = key.recover_data_from_signature(exact, padding.PKCS1v15(), None)
                return recovered == _DIGEST_INFO[name] + digest
            key.verify(exact, digest, padding.PKCS1v15(), utils.Prehashed(_HASHES[name]()))
            return True
        if isinstance(key, ec.EllipticCurvePublicKey) and name in _HASHES:
            trimmed = trim_der(signature, "Signature (0400,0120)")
            if trimmed != utils.encode_dss_signature(*utils.decode_dss_signature(trimmed)):
                return False
            key.verify(trimmed, digest, ec.ECDSA(utils.Prehashed(_HASHES[name]())))
            return True
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return False
