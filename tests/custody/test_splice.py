"""Signing puts bytes in and leaves every other byte as it was."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from custody.forging import with_element
from custody.hospital import scanner, trust
from custody.objects import EXPLICIT, SYNTAXES, Writer, make_object

from verict.custody.elements import ParsedObject, parse_object
from verict.custody.sign_object import SignOptions, sign_bytes
from verict.custody.signature import DIGITAL_SIGNATURES, MAC_PARAMETERS
from verict.custody.verify_object import ObjectState, verify_bytes

SEQUENCES = (MAC_PARAMETERS, DIGITAL_SIGNATURES)


def _cut_out(parsed: ParsedObject) -> bytes:
    """The dataset without its signature sequences."""
    kept = [parsed.data[e.start : e.end] for e in parsed.elements if e.tag not in SEQUENCES]
    return b"".join(kept)


def _sign(data: bytes, name: str = "CT-1") -> bytes:
    return sign_bytes(data, scanner(name), SignOptions(), file="slice").data


@pytest.mark.parametrize("name", SYNTAXES)
def test_every_other_byte_stays(name: str) -> None:
    data = make_object(SYNTAXES[name])
    before, after = parse_object(data, file="old"), parse_object(_sign(data), file="new")
    assert after.head == before.head
    assert _cut_out(after) == before.data[before.start :]


@pytest.mark.parametrize("name", SYNTAXES)
def test_a_second_signature_leaves_the_first_byte_for_byte(name: str) -> None:
    once = _sign(make_object(SYNTAXES[name]))
    twice = _sign(once, "CT-7")
    before, after = parse_object(once, file="old"), parse_object(twice, file="new")
    assert _cut_out(after) == _cut_out(before)
    for tag in SEQUENCES:
        old, new = before.find(tag), after.find(tag)
        assert old is not None and new is not None
        assert after.data[new.value : new.value_end].startswith(before.data[old.value : old.value_end])
        assert len(new.items or ()) == 2
    verdict = verify_bytes(twice, trust(), file="new")
    assert verdict.state is ObjectState.VALID
    assert [s.signer for s in verdict.signatures] == ["CT-1", "CT-7"]


def test_group_lengths_stay_and_are_not_signed() -> None:
    w = Writer()
    data = make_object(EXPLICIT, x00080000=w.element(0x00080000, b"UL", struct.pack("<I", 7)))
    signed = _sign(data)
    assert _cut_out(parse_object(signed, file="new")) == data[parse_object(data, file="old").start :]
    verdict = verify_bytes(signed.replace(b"UL\4\0\7\0", b"UL\4\0\x08\0"), trust(), file="new")
    assert verdict.state is ObjectState.VALID


def test_the_group_length_of_a_signature_grows_with_it() -> None:
    w, once = Writer(), _sign(make_object(EXPLICIT))
    found = parse_object(once, file="old").find(MAC_PARAMETERS)
    assert found is not None
    length = w.element(0x4FFE0000, b"UL", struct.pack("<I", found.end - found.start))
    parsed = parse_object(_sign(with_element(once, length), "CT-7"), file="new")
    group, sequence = parsed.find(0x4FFE0000), parsed.find(MAC_PARAMETERS)
    assert group is not None and sequence is not None
    assert struct.unpack_from("<I", parsed.data, group.value)[0] == sequence.end - sequence.start


def test_a_sequence_of_undefined_length_gets_its_item_before_the_delimiter() -> None:
    w, once = Writer(), _sign(make_object(EXPLICIT))
    parsed = parse_object(once, file="old")
    for tag in reversed(SEQUENCES):
        element = parsed.find(tag)
        assert element is not None
        opened = w.element(tag, b"SQ", once[element.value : element.end] + w.end(), undefined=True)
        once = once[: element.start] + opened + once[element.end :]
    twice = _sign(once, "CT-7")
    assert verify_bytes(twice, trust(), file="new").state is ObjectState.VALID
    assert len(verify_bytes(twice, trust(), file="new").signatures) == 2


def test_trailing_padding_stays_last() -> None:
    w = Writer()
    signed = _sign(make_object(EXPLICIT, xFFFCFFFC=w.element(0xFFFCFFFC, b"OB", b"\0" * 6)))
    assert parse_object(signed, file="new").elements[-1].tag == 0xFFFCFFFC


def test_real_files_stay_byte_for_byte(shared_data: Path) -> None:
    files = sorted((shared_data / "authentic").glob("**/*.dcm"))[::40]
    assert len(files) > 15
    for path in files:
        data = path.read_bytes()
        signed = _sign(data)
        before, after = parse_object(data, file=path.name), parse_object(signed, file=path.name)
        assert after.head + _cut_out(after) == before.head + before.data[before.start :] == data
        assert verify_bytes(signed, trust(), file=path.name).state is ObjectState.VALID
