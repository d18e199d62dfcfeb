"""What a beam of one or of many energies reads along the rays of a slice."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from verict.ct.phantom.projection import Projector

WATER_PER_MM = 0.019  # attenuation of water at the mean energy of a 120 kV beam, about 70 keV (NIST XCOM)
BONE_FROM_HU = 150.0  # what is denser counts as bone beyond this, as contrast or metal do

# A 120 kV beam as five energies (40, 50, 60, 80, 100 keV), in shares of its photons, near enough.
SHARES = np.array([0.10, 0.22, 0.27, 0.27, 0.14])
WATER_CM2_PER_G = np.array([0.2683, 0.2269, 0.2059, 0.1837, 0.1707])  # NIST XCOM, water
BONE_CM2_PER_G = np.array([0.6655, 0.4242, 0.3148, 0.2229, 0.1855])  # NIST, cortical bone (ICRU-44)


class Measured(NamedTuple):
    """Line integrals of a beam, (views, bins) float32: as read, and after the correction for water."""

    raw: np.ndarray
    corrected: np.ndarray


def measure_rays(hu: np.ndarray, projector: Projector, *, beam_hardening: bool) -> tuple[np.ndarray, Measured]:
    """Line integrals through a slice.

    Parameters
    ----------
    hu
        (size, size) float32.
    projector
        Of slices of that size.
    beam_hardening
        Whether the beam holds many energies.

    Returns
    -------
    tuple
        What a beam of the one energy HU are defined at reads, (views, bins) float32, and what this beam reads.
        Without beam hardening all three are one.
    """
    attenuation = np.clip(1 + hu / 1000, 0, None) * np.float32(WATER_PER_MM)
    ideal = np.clip(projector.project(attenuation), 0, None)
    if not beam_hardening:
        return ideal, Measured(ideal, ideal)
    excess = np.clip(hu - np.float32(BONE_FROM_HU), 0, None) * np.float32(WATER_PER_MM / 1000)
    bone = np.clip(projector.project(excess), 0, ideal)
    return ideal, harden(ideal - bone, bone)


def harden(water: np.ndarray, bone: np.ndarray) -> Measured:
    """What a beam of many energies reads behind water and bone, both as line integrals at the HU energy."""
    of_water, of_bone = (table / (SHARES @ table) for table in (WATER_CM2_PER_G, BONE_CM2_PER_G))
    passed = np.zeros_like(water)
    for share, w, b in zip(SHARES, of_water, of_bone, strict=True):
        passed += np.float32(share) * np.exp(-np.float32(w) * water - np.float32(b) * bone)
    raw = -np.log(np.maximum(passed, np.float32(1e-30)))
    depth = np.linspace(0, 60, 2000)
    through_water = -np.log(np.exp(-depth[:, None] * of_water) @ SHARES)
    return Measured(raw, np.interp(raw, through_water, depth).astype(np.float32))
