"""The DER reader: what it takes, and that it takes nothing but DER."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verict.custody import der
from verict.custody.der import DerError, Fields, Node


def test_a_sequence_is_taken_apart_in_its_order() -> None:
    fields = Fields(der.read_one(bytes.fromhex("30070201050602550a"), der.SEQUENCE, "it"), "it")
    assert der.integer_of(fields.take(der.INTEGER, "number")) == 5
    assert fields.take_if(der.NULL) is None
    assert der.oid_of(fields.take(der.OBJECT_IDENTIFIER, "an oid")) == "2.5.10"
    fields.finish()


@pytest.mark.parametrize(
    ("encoded", "said"),
    [
        ("", "cut off"),
        ("30", "cut off"),
        ("3080", "indefinite"),
        ("308101ff", "shortest"),
        ("30820001ff", "shortest"),
        ("3085000000000100", "gigantic"),
        ("3084ffffffff", "leaves its parent"),
        ("3003020105ff", "behind"),
        ("3002", "leaves its parent"),
        ("1f8101", "several octets"),
        ("0400", "identifier 0x04"),
    ],
)
def test_anything_else_is_refused(encoded: str, said: str) -> None:
    with pytest.raises(DerError, match=said):
        der.read_one(bytes.fromhex(encoded), der.SEQUENCE, "it")


@pytest.mark.parametrize("content", ["", "0005", "ff80", "0000"])
def test_an_integer_has_its_shortest_form(content: str) -> None:
    with pytest.raises(DerError):
        der.integer_of(Node(der.INTEGER, bytes.fromhex(content), b""))


@pytest.mark.parametrize("content", ["", "80", "8001", "2a80", "2a8001", "2a86" + "86" * 80 + "01"])
def test_an_object_identifier_has_its_shortest_form(content: str) -> None:
    with pytest.raises(DerError):
        der.oid_of(Node(der.OBJECT_IDENTIFIER, bytes.fromhex(content), b""))


@pytest.mark.parametrize(
    ("content", "oid"), [("2a864886f70d010702", "1.2.840.113549.1.7.2"), ("550406", "2.5.4.6"), ("8837", "2.999")]
)
def test_object_identifiers_are_read(content: str, oid: str) -> None:
    assert der.oid_of(Node(der.OBJECT_IDENTIFIER, bytes.fromhex(content), b"")) == oid


def test_times_are_read_in_seconds_and_in_z_only() -> None:
    when = datetime(2026, 11, 27, 17, 0, 1, tzinfo=UTC)
    assert der.time_of(Node(der.UTC_TIME, b"261127170001Z", b"")) == when
    assert der.time_of(Node(der.GENERALIZED_TIME, b"20261127170001Z", b"")) == when
    assert der.time_of(Node(der.UTC_TIME, b"501127170001Z", b"")).year == 1950
    for text in (b"261127170001+0100", b"2611271700Z", b"20261327170001Z", b"261127170001z", b"26112717000\xb9Z"):
        with pytest.raises(DerError):
            der.time_of(Node(der.GENERALIZED_TIME if text[:2] == b"20" else der.UTC_TIME, text, b""))
    with pytest.raises(DerError):
        der.time_of(Node(der.INTEGER, b"261127170001Z", b""))


def test_what_a_definition_does_not_know_is_refused() -> None:
    fields = Fields(der.read_one(bytes.fromhex("30050201050500"), der.SEQUENCE, "it"), "it")
    fields.take(der.INTEGER, "number")
    with pytest.raises(DerError, match="something more"):
        fields.finish()
    with pytest.raises(DerError, match="lacks an oid"):
        fields.take(der.OBJECT_IDENTIFIER, "an oid")


@given(st.binary(max_size=60))
def test_hostile_bytes_never_crash_it(data: bytes) -> None:
    try:
        for child in der.children(Node(der.SEQUENCE, data, data)):
            der.children(child)
    except DerError:
        pass
