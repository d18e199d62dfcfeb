"""What an attacker might try on the verifier, and the refusal each attempt gets."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from custody.forging import change_inside, element_bytes, sign_anyhow, with_element, with_signature_of, without
from custody.hospital import (
    NOW,
    authority,
    deep_scanner,
    expired_scanner,
    foreign,
    intermediate,
    look_alike,
    not_an_authority,
    revocation_list,
    scanner,
    self_signed,
    trust,
    weak_scanner,
    web_server,
)
from custody.objects import DEFLATED, JPEG_LS, RLE, SOP_INSTANCE, Writer, make_elements, make_object

from verict.custody.sign_object import SignOptions, sign_bytes
from verict.custody.signature import DIGITAL_SIGNATURES, MAC_PARAMETERS
from verict.custody.trust import TrustStore
from verict.custody.verify_object import ObjectState, verify_bytes
from verict.errors import InputError

W = Writer()
PLAIN = make_object(unknown=False)
SIGNED = sign_bytes(PLAIN, scanner(), SignOptions(), file="slice").data
TWICE = sign_bytes(SIGNED, scanner("CT-7"), SignOptions(), file="slice").data
OTHER = sign_bytes(make_object(unknown=False, x00100020=W.element(0x00100020, b"LO", b"T2")), scanner(), SignOptions(),
                   file="other").data  # fmt: skip
MAC_ID, SYNTAX, MAC, TAGS = 0x04000005, 0x04000010, 0x04000015, 0x04000020
TIME, TYPE, CERTIFICATE, SIGNATURE = 0x04000105, 0x04000110, 0x04000115, 0x04000120
REFUSED = "damaged"  # no verdict: the bytes are no dataset


@dataclass(frozen=True)
class Attack:
    """An attempt: the bytes it makes, the state or error it ends in, a word of the reason, whom the victim trusts."""

    make: Callable[[], bytes]
    state: ObjectState | str
    word: str
    store: Callable[[], TrustStore] = trust


def _replace(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1, data.count(old)
    return data.replace(old, new)


def _wrap() -> bytes:
    """The signed content moved into an item with its signatures, other content around it."""
    signed = SIGNED[SIGNED.index(b"DICM") + 4 :]
    inside = b"".join(element_bytes(SIGNED, tag) for tag in sorted([*make_elements(W, unknown=False), MAC_PARAMETERS,
                                                                    DIGITAL_SIGNATURES]))  # fmt: skip
    assert inside in signed
    forged = make_object(unknown=False, x7FE00010=W.element(0x7FE00010, b"OW", b"\0" * 8))
    return with_element(forged, W.element(0x00400555, b"SQ", W.item(inside)), before=0x00400556)


def _nest(depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        body = W.element(0x00081140, b"SQ", W.item(body))
    return with_element(PLAIN, body)


def _all_but(*left_out: int) -> list[int]:
    return [tag for tag in make_elements(W, unknown=False) if tag not in left_out]


def _strip_one_item(data: bytes, outer: int) -> bytes:
    """Only the first item of a sequence left."""
    whole = element_bytes(data, outer)
    length = struct.unpack_from("<I", whole, 16)[0]
    return with_element(without(data, outer), W.element(outer, b"SQ", whole[12 : 20 + length]))


def _double_item(data: bytes, outer: int) -> bytes:
    whole = element_bytes(data, outer)
    return with_element(without(data, outer), W.element(outer, b"SQ", whole[12:] * 2))


def _cut_certificate(data: bytes) -> bytes:
    return change_inside(data, DIGITAL_SIGNATURES, CERTIFICATE, lambda v: v[:1] + b"\x82\x7f\xff" + v[4:])


def _overlay(vr: bytes = b"OW") -> bytes:
    return W.element(0x60023000, vr, b"\xff\xff\xff\xff")


VALID_OVERLAY = [tag for tag in make_elements(W, unknown=False) if tag >> 16 != 0x6000]
LUT = W.item(W.element(0x00283002, b"US", b"\1\0\2\0\x10\0") + W.element(0x00283006, b"OW", b"\0\0"))

ATTACKS = {
    # content
    "a value changed": Attack(
        lambda: _replace(SIGNED, b"Test^Patient", b"Test^Pat1ent"), ObjectState.INVALID, "content changed"),
    "a pixel changed": Attack(
        lambda: _replace(SIGNED, b"\1\0\2\0\3\0\4\0", b"\1\0\2\0\3\0\5\0"), ObjectState.INVALID, "content changed"),
    "an attribute taken away": Attack(
        lambda: without(SIGNED, 0x00100020), ObjectState.INVALID, "PatientID removed"),
    "an empty sequence taken away": Attack(
        lambda: without(SIGNED, 0x00400555), ObjectState.INVALID, "removed"),
    "an overlay added": Attack(
        lambda: with_element(SIGNED, _overlay()), ObjectState.INVALID, "not signed: (6002,3000)"),
    "an overlay added and signed by another hospital": Attack(
        lambda: sign_anyhow(with_element(SIGNED, _overlay()), foreign(), number=1), ObjectState.UNTRUSTED, "no path"),
    "an overlay added as UN": Attack(
        lambda: with_element(SIGNED, _overlay(b"UN")), ObjectState.INVALID, "not signed: (6002,3000)"),
    "a VOI LUT added": Attack(
        lambda: with_element(SIGNED, W.element(0x00283010, b"SQ", LUT)), ObjectState.INVALID, "VOILUTSequence"),
    "a modality LUT added": Attack(
        lambda: with_element(SIGNED, W.element(0x00283000, b"SQ", LUT)), ObjectState.INVALID, "ModalityLUTSequence"),
    "an inverted presentation added": Attack(
        lambda: with_element(SIGNED, W.element(0x20500020, b"CS", b"INVERSE ")), ObjectState.INVALID,
        "PresentationLUTShape"),
    "a table added that moves the frames": Attack(
        lambda: with_element(SIGNED, W.element(0x7FE00001, b"OV", bytes(8))), ObjectState.INVALID,
        "ExtendedOffsetTable"),
    "pixels of another place added": Attack(
        lambda: with_element(SIGNED, W.element(0x00287FE0, b"UR", b"http://x")), ObjectState.INVALID,
        "PixelDataProviderURL"),
    "a mapping to other values added": Attack(
        lambda: with_element(SIGNED, W.element(0x00409096, b"SQ", W.item(b""))), ObjectState.INVALID,
        "RealWorldValueMappingSequence"),
    "a mask to subtract added": Attack(
        lambda: with_element(SIGNED, W.element(0x00286100, b"SQ", W.item(b""))), ObjectState.INVALID,
        "MaskSubtractionSequence"),
    "a shutter added": Attack(
        lambda: with_element(SIGNED, W.element(0x00181600, b"CS", b"CIRCULAR")), ObjectState.INVALID, "ShutterShape"),
    "an attribute twice": Attack(
        lambda: with_element(SIGNED, W.element(0x00100020, b"LO", b"T2"), before=0x00180050), ObjectState.INVALID,
        "twice or out of order"),
    "an attribute out of order": Attack(
        lambda: with_element(SIGNED, W.element(0x00081030, b"LO", b"T2"), before=0x00180050), ObjectState.INVALID,
        "twice or out of order"),
    "the signed object wrapped in another": Attack(_wrap, ObjectState.UNSIGNED, "no signature"),
    "bytes behind the dataset": Attack(lambda: SIGNED + b"\1\2\3\4\5\6\7\x08", REFUSED, "damaged"),
    # the signature
    "another object's signature": Attack(
        lambda: with_signature_of(SIGNED, OTHER), ObjectState.INVALID, "another object"),
    "all of the signature stripped": Attack(
        lambda: without(SIGNED, MAC_PARAMETERS, DIGITAL_SIGNATURES), ObjectState.UNSIGNED, "no signature"),
    "the signature stripped, its parameters left": Attack(
        lambda: without(SIGNED, DIGITAL_SIGNATURES), ObjectState.INVALID, "signature was removed"),
    "the parameters stripped, the signature left": Attack(
        lambda: without(SIGNED, MAC_PARAMETERS), ObjectState.INVALID, "signature was removed"),
    "one of two signatures stripped": Attack(
        lambda: _strip_one_item(TWICE, DIGITAL_SIGNATURES), ObjectState.INVALID, "signature was removed"),
    "the parameters of one of two stripped": Attack(
        lambda: _strip_one_item(TWICE, MAC_PARAMETERS), ObjectState.INVALID, "missing"),
    "two parameters of one number": Attack(
        lambda: _double_item(SIGNED, MAC_PARAMETERS), ObjectState.INVALID, "one number"),
    "a signature of nothing but nulls": Attack(
        lambda: change_inside(SIGNED, DIGITAL_SIGNATURES, SIGNATURE, lambda v: bytes(len(v))), ObjectState.INVALID,
        "content changed"),
    "a signing time moved": Attack(
        lambda: change_inside(SIGNED, DIGITAL_SIGNATURES, TIME, lambda v: b"2001" + v[4:]), ObjectState.INVALID,
        "content changed"),
    "a thousand signatures": Attack(
        lambda: with_element(
            without(SIGNED, DIGITAL_SIGNATURES),
            W.element(DIGITAL_SIGNATURES, b"SQ", element_bytes(SIGNED, DIGITAL_SIGNATURES)[12:] * 1000)),
        ObjectState.INVALID, "more than 64"),
    # what is signed
    "one attribute signed, the rest open": Attack(
        lambda: sign_anyhow(PLAIN, scanner(), tags=[0x00100010]), ObjectState.INVALID, "not signed"),
    "pixels left open": Attack(
        lambda: sign_anyhow(PLAIN, scanner(), tags=_all_but(0x7FE00010)), ObjectState.INVALID, "PixelData"),
    "the rescale left open": Attack(
        lambda: sign_anyhow(PLAIN, scanner(), tags=_all_but(0x00281053)), ObjectState.INVALID, "RescaleSlope"),
    "the identity left open": Attack(
        lambda: sign_anyhow(PLAIN, scanner(), tags=_all_but(0x00080018)), ObjectState.INVALID, "too little is signed"),
    "an open overlay of a signer who signs all else": Attack(
        lambda: sign_anyhow(PLAIN, scanner(), tags=VALID_OVERLAY), ObjectState.INVALID, "(6000,0010)"),
    "a list that names the signature itself": Attack(
        lambda: sign_anyhow(PLAIN, scanner(), tags=[*_all_but(), DIGITAL_SIGNATURES]), ObjectState.INVALID,
        "may not be signed"),
    "a list that names what is not there": Attack(
        lambda: sign_anyhow(PLAIN, scanner(), tags=[*_all_but(), 0x00102000]), ObjectState.INVALID, "removed"),
    "a list in another order": Attack(
        lambda: change_inside(SIGNED, MAC_PARAMETERS, TAGS, lambda v: v[4:8] + v[:4] + v[8:]), ObjectState.INVALID,
        "order"),
    # the MAC
    "a MAC renamed to MD5": Attack(
        lambda: change_inside(SIGNED, MAC_PARAMETERS, MAC, lambda v: b"MD5   "), ObjectState.INVALID, "plain text"),
    "a genuine signature with MD5": Attack(
        lambda: sign_anyhow(PLAIN, scanner(), mac="MD5"), ObjectState.INVALID, "MD5 can be forged"),
    "a genuine signature with SHA-1": Attack(
        lambda: sign_anyhow(PLAIN, scanner(), mac="SHA1"), ObjectState.INVALID, "SHA1 can be forged"),
    "a MAC nobody defines": Attack(
        lambda: change_inside(SIGNED, MAC_PARAMETERS, MAC, lambda v: b"SHA999"), ObjectState.INVALID,
        "none that PS3.3"),
    "a MAC over another transfer syntax": Attack(
        lambda: sign_anyhow(PLAIN, scanner(), syntax=RLE), ObjectState.INVALID, "transfer syntax"),
    "a certificate of another type": Attack(
        lambda: change_inside(SIGNED, DIGITAL_SIGNATURES, TYPE, lambda v: b"X509_1999_SIG "), ObjectState.INVALID,
        "CertificateType"),
    # the signer
    "a look-alike authority of the same name": Attack(
        lambda: sign_anyhow(PLAIN, look_alike()), ObjectState.INVALID, "altered or forged"),
    "another hospital's scanner": Attack(
        lambda: sign_anyhow(PLAIN, foreign()), ObjectState.UNTRUSTED, "no path"),
    "a scanner that vouches for itself": Attack(
        lambda: sign_anyhow(PLAIN, self_signed()), ObjectState.UNTRUSTED, "no path"),
    "a certificate issued by a scanner": Attack(
        lambda: sign_anyhow(PLAIN, not_an_authority()), ObjectState.UNTRUSTED, "no path",
        lambda: trust(authority(), intermediates=(scanner().certificate,))),
    "a web server's certificate": Attack(
        lambda: sign_anyhow(PLAIN, web_server()), ObjectState.UNTRUSTED, "not issued for signing"),
    "the authority's own certificate": Attack(
        lambda: sign_anyhow(PLAIN, authority()), ObjectState.UNTRUSTED, "not issued for signing"),
    "an RSA key of 1024 bits": Attack(
        lambda: sign_anyhow(PLAIN, weak_scanner()), ObjectState.UNTRUSTED, "1024 bits"),
    "an expired key": Attack(lambda: sign_anyhow(PLAIN, expired_scanner()), ObjectState.EXPIRED, "expired on"),
    "an expired key re-dated into its time": Attack(
        lambda: sign_anyhow(PLAIN, expired_scanner(), signed_at=NOW - timedelta(days=100)), ObjectState.EXPIRED,
        "expired on"),
    "a signing time before the certificate": Attack(
        lambda: sign_anyhow(PLAIN, scanner(), signed_at=NOW - timedelta(days=900)), ObjectState.EXPIRED,
        "outside of the certificate"),
    "a signing time in the future": Attack(
        lambda: sign_anyhow(PLAIN, scanner(), signed_at=NOW + timedelta(days=90)), ObjectState.UNTRUSTED, "future"),
    "a revoked key": Attack(
        lambda: SIGNED, ObjectState.REVOKED, "was revoked on",
        lambda: trust(authority(), crls=(revocation_list(authority(), scanner()),))),
    "a revoked authority in between": Attack(
        lambda: sign_anyhow(PLAIN, deep_scanner()), ObjectState.REVOKED, "Radiology CA was revoked",
        lambda: trust(authority(), intermediates=(intermediate().certificate,),
                      crls=(revocation_list(authority(), intermediate()), revocation_list(intermediate())))),
    "a revocation list held back": Attack(
        lambda: SIGNED, ObjectState.UNTRUSTED, "no current revocation list",
        lambda: trust(authority(), crls=(revocation_list(intermediate()),))),
    "an old revocation list": Attack(
        lambda: SIGNED, ObjectState.UNTRUSTED, "out of date",
        lambda: trust(authority(), crls=(revocation_list(authority(), days=-3),))),
    "a revocation list of the look-alike": Attack(
        lambda: SIGNED, ObjectState.UNTRUSTED, "no current revocation list",
        lambda: trust(authority(), crls=(revocation_list(look_alike()),))),
    "a certificate put in another's place": Attack(
        lambda: sign_anyhow(PLAIN, foreign(), certificate=scanner("CT-7").certificate_der), ObjectState.INVALID,
        "content changed"),
    # bytes
    "reserved bytes used": Attack(
        lambda: with_element(without(SIGNED, 0x7FE00010),
                             W.element(0x7FE00010, b"OW", b"\1\0\2\0\3\0\4\0", reserved=0x4141)),
        ObjectState.INVALID, "reserved bytes"),
    "a delimiter with a length": Attack(
        lambda: _replace(SIGNED, W.end() + W.element(0x00400555, b"SQ", b""),
                         W.end(4) + W.element(0x00400555, b"SQ", b"")),
        ObjectState.INVALID, "delimiter"),
    "a UID padded with a space": Attack(
        lambda: _replace(SIGNED, b"1544.1\0", b"1544.1 "), ObjectState.INVALID, "padded"),
    "a cut certificate": Attack(lambda: _cut_certificate(SIGNED), ObjectState.INVALID, "cut off"),
    "a certificate of gigantic length": Attack(
        lambda: change_inside(SIGNED, DIGITAL_SIGNATURES, CERTIFICATE, lambda v: b"\x30\x84\xff\xff\xff\xff" + v[6:]),
        ObjectState.INVALID, "cut off"),
    "a length of more bytes than there are": Attack(
        lambda: change_inside(SIGNED, DIGITAL_SIGNATURES, CERTIFICATE, lambda v: b"\x30\xff" + v[2:]),
        ObjectState.INVALID, "length that cannot be"),
    "a certificate of nulls": Attack(
        lambda: change_inside(SIGNED, DIGITAL_SIGNATURES, CERTIFICATE, lambda v: bytes(len(v))), ObjectState.INVALID,
        "no ASN.1"),
    "an element of gigantic length": Attack(
        lambda: with_element(SIGNED, W.element(0x00102180, b"SH", b"ab")[:6] + b"\xff\xff"), REFUSED, "damaged"),
    "pixels of gigantic length": Attack(
        lambda: SIGNED[: SIGNED.index(b"OW\0\0\x08\0\0\0\1\0\2\0\3")] + b"OW\0\0\xfe\xff\xff\xff", REFUSED, "damaged"),
    "five thousand sequences in one another": Attack(lambda: _nest(5000), REFUSED, "damaged"),
    "a deflated bomb": Attack(
        lambda: Writer(DEFLATED).file(b"")[:-2] + zlib.compress(bytes(300 << 20), 9, -15), REFUSED, "inflates"),
    "bytes behind a deflated dataset": Attack(
        lambda: sign_bytes(make_object(DEFLATED), scanner(), SignOptions(), file="slice").data + b"\1\2\3",
        ObjectState.INVALID, "follow the deflated"),
    "file meta that names another object": Attack(
        lambda: _replace(SIGNED, b"UI\x1e\0" + SOP_INSTANCE + b"\2\0", b"UI\x1e\0" + SOP_INSTANCE[:-2] + b"8\0\2\0"),
        ObjectState.INVALID, "another object"),
    "file meta of another transfer syntax": Attack(
        lambda: _replace(SIGNED, b"\2\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0", b"\2\0\x10\0UI\x14\x00"
                         + JPEG_LS.encode()[:19] + b"\0"),
        ObjectState.INVALID, "transfer syntax"),
}  # fmt: skip


def test_what_is_attacked_is_valid() -> None:
    for data in (SIGNED, TWICE, OTHER, sign_anyhow(PLAIN, scanner())):
        assert verify_bytes(data, trust(), file="slice").state is ObjectState.VALID
    assert len(ATTACKS) >= 25


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(name: str) -> None:
    attack = ATTACKS[name]
    data = attack.make()
    if attack.state == REFUSED:
        with pytest.raises(InputError, match=attack.word):
            verify_bytes(data, attack.store(), file="slice")
        return
    verdict = verify_bytes(data, attack.store(), file="slice")
    assert verdict.state is attack.state, verdict.reasons
    assert attack.word in "; ".join(verdict.reasons)
