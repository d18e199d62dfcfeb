"""Signatures no honest tool makes, and bytes put where they do not belong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from custody.objects import EXPLICIT

from verict.custody.byte_stream import is_signable, stream_elements
from verict.custody.elements import Element, ParsedObject, parse_object
from verict.custody.keys import Signer
from verict.custody.signature import (
    DIGITAL_SIGNATURES,
    MAC_NAMES,
    MAC_PARAMETERS,
    MacParameters,
    mac_parameters_item,
    signature_item,
    signed_part,
    stream_part,
)
from verict.custody.splice import splice_signature


def sign_anyhow(
    data: bytes,
    signer: Signer,
    *,
    tags: Sequence[int] | None = None,
    mac: str = "SHA256",
    signed_at: datetime | None = None,
    certificate: bytes | None = None,
    syntax: str = EXPLICIT,
    number: int = 0,
) -> bytes:
    """A signature over these tags whatever any profile says; ``certificate`` puts another one in."""
    parsed = parse_object(data, file="slice")
    chosen = [e for e in parsed.elements if (is_signable(e) if tags is None else e.tag in tags)]
    part = signed_part(number, signed_at or datetime.now(UTC), None)
    hasher = hashlib.new(MAC_NAMES[mac])
    for piece in stream_elements(parsed.data, parsed.coding, chosen):
        hasher.update(piece)
    hasher.update(stream_part(part))
    value = _sign(signer, hasher.digest(), mac)
    listed = tuple(sorted(tags)) if tags is not None else tuple(e.tag for e in chosen)
    parameters = mac_parameters_item(MacParameters(number, syntax, mac, listed), parsed.coding)
    item = signature_item(part, certificate or signer.certificate_der, value, parsed.coding)
    return b"".join(splice_signature(parsed, parameters, item))


def _sign(signer: Signer, digest: bytes, mac: str) -> bytes:
    weak = {"SHA1": hashes.SHA1, "MD5": hashes.MD5}
    if mac in weak:
        assert isinstance(signer.private_key, rsa.RSAPrivateKey)
        return signer.private_key.sign(digest, padding.PKCS1v15(), utils.Prehashed(weak[mac]()))
    return signer.sign_digest(digest, MAC_NAMES[mac])


def element_bytes(data: bytes, tag: int) -> bytes:
    """All bytes of an element of the dataset."""
    element = _find(parse_object(data, file="slice"), tag)
    return data[element.start : element.end]


def without(data: bytes, *tags: int) -> bytes:
    """The file without these elements."""
    for tag in tags:
        element = _find(parse_object(data, file="slice"), tag)
        data = data[: element.start] + data[element.end :]
    return data


def with_element(data: bytes, element: bytes, *, before: int | None = None) -> bytes:
    """The file with an element more, in its place by the tag, or before another one."""
    tag = before or int.from_bytes(element[:2], "little") << 16 | int.from_bytes(element[2:4], "little")
    parsed = parse_object(data, file="slice")
    at = next((e.start for e in parsed.elements if e.tag >= tag), len(data))
    return data[:at] + element + data[at:]


def with_signature_of(data: bytes, other: bytes) -> bytes:
    """The file with the signature sequences of another."""
    data = without(data, MAC_PARAMETERS, DIGITAL_SIGNATURES)
    for tag in (MAC_PARAMETERS, DIGITAL_SIGNATURES):
        data = with_element(data, element_bytes(other, tag))
    return data


def change_inside(data: bytes, outer: int, tag: int, change: Callable[[bytes], bytes], *, item: int = 0) -> bytes:
    """The file with the value of an element in an item changed to one of the same length."""
    parsed = parse_object(data, file="slice")
    items = _find(parsed, outer).items
    assert items
    element = next(e for e in items[item].elements if e.tag == tag)
    value = change(data[element.value : element.value_end])
    assert len(value) == element.value_end - element.value
    return data[: element.value] + value + data[element.value_end :]


def _find(parsed: ParsedObject, tag: int) -> Element:
    found = parsed.find(tag)
    assert found is not None
    return found
