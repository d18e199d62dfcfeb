"""No bit of what is signed, of the signature, of its parameters or of the certificate can change unseen."""

from __future__ import annotations

import pytest
from custody.hospital import curve_scanner, scanner, trust
from custody.objects import EXPLICIT, SYNTAXES, make_object
from hypothesis import given, settings
from hypothesis import strategies as st

from verict.custody.byte_stream import is_signable
from verict.custody.elements import parse_object
from verict.custody.profiles import Profile, Purpose
from verict.custody.sign_object import SignOptions, sign_bytes
from verict.custody.signature import DIGITAL_SIGNATURES, MAC_PARAMETERS
from verict.custody.verify_object import ObjectState, verify_bytes
from verict.errors import InputError

TRUST = trust()


def _sign(syntax: str, *, curve: bool = False) -> bytes:
    signer = curve_scanner() if curve else scanner()
    options = SignOptions(Profile.NONE if curve else Profile.CREATOR, purpose=Purpose.CREATED)
    return sign_bytes(make_object(syntax), signer, options, file="slice").data


def _protected_bytes(data: bytes) -> list[int]:
    """The places of every byte that a signature protects: all but file meta and what may not be signed."""
    parsed = parse_object(data, file="slice")
    shift = len(data) - len(parsed.data) if parsed.transfer_syntax != SYNTAXES["deflated"] else None
    assert shift == 0
    places: list[int] = []
    for element in parsed.elements:
        if is_signable(element) or element.tag in (MAC_PARAMETERS, DIGITAL_SIGNATURES):
            places += range(element.start, element.end)
    return places


def _is_accepted(data: bytes) -> bool:
    try:
        return verify_bytes(data, TRUST, file="slice").state is ObjectState.VALID
    except InputError:
        return False


def _flip(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def test_every_single_bit_counts() -> None:
    data = _sign(EXPLICIT)
    assert _is_accepted(data)
    places = _protected_bytes(data)
    assert len(places) > 2000
    accepted = [(p, bit) for p in places for bit in range(8) if _is_accepted(_flip(data, p, bit))]
    assert accepted == []


@pytest.mark.parametrize("curve", [False, True], ids=["rsa", "curve"])
@pytest.mark.parametrize("name", ["implicit", "big", "jpeg-ls", "rle"])
def test_a_changed_bit_is_refused_in_every_encoding(name: str, *, curve: bool) -> None:
    data = _sign(SYNTAXES[name], curve=curve)
    assert _is_accepted(data)
    places = _protected_bytes(data)

    @settings(max_examples=500)
    @given(st.integers(0, len(places) - 1), st.integers(0, 7))
    def change(index: int, bit: int) -> None:
        assert not _is_accepted(_flip(data, places[index], bit))

    change()


def test_changed_bits_of_a_deflated_object_are_refused() -> None:
    data = _sign(SYNTAXES["deflated"])
    whole = parse_object(data, file="slice")
    protected = [e for e in whole.elements if is_signable(e) or e.tag in (MAC_PARAMETERS, DIGITAL_SIGNATURES)]

    def kept(data: bytes) -> bytes | None:
        try:
            parsed = parse_object(data, file="slice")
        except InputError:
            return None
        return parsed.data if len(parsed.data) == len(whole.data) else None

    @settings(max_examples=1000)
    @given(st.integers(len(whole.head), len(data) - 1), st.integers(0, 7))
    def change(place: int, bit: int) -> None:
        changed = _flip(data, place, bit)
        if not _is_accepted(changed):
            return
        inflated = kept(changed)
        assert inflated is not None
        assert all(inflated[e.start : e.end] == whole.data[e.start : e.end] for e in protected)

    change()


def test_unused_bits_of_a_certificate_count() -> None:
    """One certificate in four has a signature whose last bits are null: there the byte before it may not change."""
    data = _sign(EXPLICIT)
    signature = scanner().certificate.signature
    at = data.index(signature)
    spoilt = signature[:-1] + b"\0"
    assert data[at - 1] == 0
    verdict = verify_bytes(data[: at - 1] + b"\1" + spoilt + data[at + len(signature) :], TRUST, file="slice")
    assert "not in DER" in verdict.reasons[0]


@settings(max_examples=500)
@given(st.binary(max_size=400), st.integers(0, 1500), st.integers(0, 400))
def test_bytes_put_in_or_cut_out_never_crash(put: bytes, place: int, cut: int) -> None:
    data = _DATA
    place += 300
    changed = data[:place] + put + data[place + cut :]
    if changed != data:
        assert not _is_accepted(changed) or _only_unsigned_changed(changed)


def _only_unsigned_changed(changed: bytes) -> bool:
    def signed(data: bytes) -> list[bytes]:
        return [data[e.start : e.end] for e in parse_object(data, file="slice").elements if is_signable(e)]

    return signed(changed) == signed(_DATA)


_DATA = _sign(EXPLICIT)
