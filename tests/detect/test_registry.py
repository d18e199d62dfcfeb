"""Detectors by name."""

from __future__ import annotations

import pytest

from verict.detect import registry
from verict.detect.evidence import Needs
from verict.errors import UsageError


def test_every_name_gives_a_detector_of_that_name():
    for name in registry.names():
        detector = registry.create(name)
        assert detector.name == name
        assert detector.summary
        assert isinstance(detector.needs, Needs)


def test_names_are_stable_and_default_ones_exist():
    assert registry.names()[:2] == ("header", "spectrum")
    assert set(registry.DEFAULT) <= set(registry.names())


def test_only_the_header_detector_sees_headers():
    assert [name for name in registry.names() if registry.create(name).needs.headers] == ["header"]


def test_each_call_gives_a_detector_of_its_own():
    assert registry.create("spectrum") is not registry.create("spectrum")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("spektrum", "did you mean spectrum"),
        ("", "known: back-in-time, fusion, header"),
        ("X", "known: back-in-time, fusion, header, localiser, nodule, repeat, spectrum"),
    ],
)
def test_unknown_name_is_refused_with_a_hint(name, hint):
    with pytest.raises(UsageError, match=hint):
        registry.create(name)
