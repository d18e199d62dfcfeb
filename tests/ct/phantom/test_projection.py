"""Projection and filtered back-projection against what geometry says."""

from __future__ import annotations

import numpy as np
import pytest

from verict.ct.phantom.projection import VIEWS, Projector

SIZE, PIXEL_MM = 128, 2.0
RADIUS_MM, CENTRE_Y_MM, CENTRE_X_MM = 60.0, 12.0, -20.0


@pytest.fixture(scope="module")
def projector() -> Projector:
    return Projector(SIZE, PIXEL_MM, 0.5 / PIXEL_MM)


def from_disc_mm() -> np.ndarray:
    y, x = (np.mgrid[:SIZE, :SIZE] - SIZE // 2) * PIXEL_MM
    return np.hypot(y - CENTRE_Y_MM, x - CENTRE_X_MM)


def project_disc(projector: Projector) -> np.ndarray:
    """The chords of the disc, by geometry."""
    angle = np.arange(VIEWS)[:, None] * np.pi / VIEWS
    distance = projector.offset_mm - (np.sin(angle) * CENTRE_Y_MM + np.cos(angle) * CENTRE_X_MM)
    return (2 * np.sqrt(np.clip(RADIUS_MM**2 - distance**2, 0, None))).astype(np.float32)


def test_projection_of_a_disc_is_its_chords(projector: Projector) -> None:
    disc = np.clip((RADIUS_MM - from_disc_mm()) / PIXEL_MM + 0.5, 0, 1).astype(np.float32)
    error = projector.project(disc) - project_disc(projector)
    assert np.abs(error).max() < 0.08 * 2 * RADIUS_MM  # at the rim, where chords rise vertically
    assert np.sqrt(np.mean(error**2)) < 0.005 * 2 * RADIUS_MM


def test_back_projection_of_chords_is_the_disc(projector: Projector) -> None:
    ramp_alone = np.ones_like(projector.frequency_per_mm)
    found = projector.reconstruct(project_disc(projector), ramp_alone)
    distance = from_disc_mm()
    inside, outside = found[distance < 50], found[(distance > 70) & (distance < 90)]
    assert inside.mean() == pytest.approx(1, abs=0.005)
    assert outside.mean() == pytest.approx(0, abs=0.01)
    assert inside.std() < 0.03


def test_rays_are_as_fine_as_the_kernel_asks() -> None:
    sharp = Projector(SIZE, PIXEL_MM, 0.5)
    assert sharp.pitch_mm == pytest.approx(1.0)
    assert sharp.frequency_per_mm[-1] == pytest.approx(0.5)
    assert Projector(SIZE, PIXEL_MM, 0.1).pitch_mm == PIXEL_MM  # never coarser than the pixels
