"""Tissue cut out of one scan for another."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tamper.lung_scene import make_lung
from tamper.places import LUNG, make_volume

from verict.errors import InputError, UsageError
from verict.tamper.donors import HEALTHY_SIDE_MM, cut_donor
from verict.tamper.forgery import ForgeryKind

INJECT, REMOVE = ForgeryKind.INJECT, ForgeryKind.REMOVE
PLACE = (28, 56, 62)  # mm


@pytest.fixture(scope="module")
def scan():
    return make_lung((2.0, 0.7, 0.7), nodules=[(PLACE, 12.0)])


def voxel(scan, place_mm=PLACE) -> tuple[int, ...]:
    return tuple(round(p / s) for p, s in zip(place_mm, scan[0].spacing_mm, strict=True))


def test_a_nodule_is_cut_at_1_mm_with_its_surroundings(scan) -> None:
    donor = cut_donor(*scan, voxel(scan), INJECT, diameter_mm=12, source="scan 1")
    assert (donor.kind, donor.diameter_mm, donor.source) == (INJECT, 12, "scan 1")
    assert donor.hu.shape == (37, 37, 37)
    assert donor.hu.dtype == np.float32
    bright = np.argwhere(donor.hu[6:31, 6:31, 6:31] > -400) - 12
    assert len(bright) == pytest.approx(math.pi / 6 * 12**3, rel=0.15)
    assert np.abs(bright.mean(axis=0)).max() < 1
    assert np.median(donor.hu) == pytest.approx(LUNG, abs=15)


def test_healthy_lung_is_cut(scan) -> None:
    donor = cut_donor(*scan, voxel(scan, (26, 45, 36)), REMOVE, source="scan 1")
    assert donor.hu.shape == (HEALTHY_SIDE_MM,) * 3
    assert donor.diameter_mm == 0


def test_places_that_cannot_be_donated_are_refused(scan) -> None:
    def cut(place_mm, kind=REMOVE, **more):
        return cut_donor(*scan, voxel(scan, place_mm), kind, source="scan 1", **more)

    with pytest.raises(UsageError, match="diameter"):
        cut(PLACE, INJECT)
    with pytest.raises(InputError, match=r"scan 1: .*outside the lung"):
        cut((28, 40, 106))
    with pytest.raises(InputError, match="outside the lung"):
        cut((99, 40, 40))
    with pytest.raises(InputError, match="too few slices"):
        cut((2, 40, 40))
    with pytest.raises(InputError, match="not what it should be"):
        cut((28, 40, 91))
    with pytest.raises(InputError, match="not what it should be"):
        cut((28, 40, 97), INJECT, diameter_mm=4)


def test_no_gap_is_bridged() -> None:
    volume, lungs = make_lung((2.0, 0.7, 0.7))
    positions = np.arange(len(volume.hu)) * 2.0
    positions[18:] += 10
    apart = make_volume(volume.hu, volume.spacing_mm, positions)
    with pytest.raises(InputError, match="too few slices"):
        cut_donor(apart, lungs, (13, 60, 60), REMOVE, source="scan 1")
