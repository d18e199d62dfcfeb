"""Beam hardening: none behind water, dark behind bone."""

from __future__ import annotations

import numpy as np

from verict.ct.phantom.hardening import WATER_PER_MM, harden, measure_rays
from verict.ct.phantom.projection import Projector


def test_water_is_corrected_for_and_reads_less_before() -> None:
    water = np.linspace(0, 10, 50, dtype=np.float32)
    measured = harden(water, np.zeros_like(water))
    np.testing.assert_allclose(measured.corrected, water, atol=2e-3)
    assert (measured.raw[1:] < water[1:]).all()  # the beam hardens: what is left passes more easily


def test_bone_reads_otherwise_than_water() -> None:
    total = np.full(50, 6, np.float32)
    bone = np.linspace(0, 2, 50, dtype=np.float32)
    error = harden(total - bone, bone).corrected - total
    assert abs(error[0]) < 2e-3
    assert np.ptp(error) > 0.1
    assert np.ptp(np.diff(error)) > 1e-4  # not in proportion, or it would be bone's own attenuation


def test_one_energy_reads_what_is_there() -> None:
    y, x = (np.mgrid[:64, :64] - 32) * 4.0
    hu = np.where(np.hypot(y, x) < 80, 0, -1000).astype(np.float32)
    ideal, measured = measure_rays(hu, Projector(64, 4.0, 0.1), beam_hardening=False)
    assert measured.raw is ideal
    assert abs(ideal[:, 0].mean() / (160 * WATER_PER_MM) - 1) < 0.05
