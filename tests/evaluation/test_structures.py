"""Sizes and surroundings of discs whose diameter is known."""

from __future__ import annotations

import numpy as np
import pytest

from verict.evaluation.structures import blur_centre, measure_structure


def draw_disc(diameter_mm: float, spacing_mm=(0.7, 0.7), *, shape=(101, 101), lung=-850, inside=40) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot((y - shape[0] // 2) * spacing_mm[0], (x - shape[1] // 2) * spacing_mm[1])
    return np.where(distance < diameter_mm / 2, inside, lung).astype(np.int16)


@pytest.mark.parametrize("diameter_mm", [6.0, 9.0, 12.0, 20.0])
@pytest.mark.parametrize("spacing_mm", [(0.7, 0.7), (0.5, 0.9)])
def test_a_disc_has_its_diameter_whatever_the_spacing(diameter_mm, spacing_mm):
    found = measure_structure(draw_disc(diameter_mm, spacing_mm), spacing_mm, 50, 50)
    assert found.diameter_mm == pytest.approx(diameter_mm, abs=1.2)


def test_the_ring_is_the_mean_from_4_to_8_mm():
    """A disc of 12 mm fills (36 - 16) of (64 - 16) of the ring's area."""
    found = measure_structure(draw_disc(12.0, (0.25, 0.25), shape=(201, 201)), (0.25, 0.25), 100, 100)
    assert found.ring_hu == pytest.approx(-850 + 890 * 20 / 48, abs=15)
    assert measure_structure(draw_disc(6.0), (0.7, 0.7), 50, 50).ring_hu == pytest.approx(-850, abs=1)


def test_what_lies_around_does_not_change_the_diameter():
    alone = draw_disc(12.0)
    beside = alone.copy()
    beside[:, 75:] = 60
    sizes = [measure_structure(hu, (0.7, 0.7), 50, 50).diameter_mm for hu in (alone, beside)]
    assert sizes[0] == sizes[1]


def test_no_edge_no_diameter():
    lung, body = np.full((101, 101), -850, np.int16), np.full((101, 101), 40, np.int16)
    assert np.isnan(measure_structure(lung, (0.7, 0.7), 50, 50).diameter_mm)
    found = measure_structure(body, (0.7, 0.7), 50, 50)
    assert np.isnan(found.diameter_mm)
    assert found.ring_hu == 40


def test_at_the_border_of_the_image_what_is_there_counts():
    found = measure_structure(draw_disc(12.0)[50:, 50:], (0.7, 0.7), 0, 0)
    assert found.diameter_mm == pytest.approx(12, abs=1.2)


def test_the_blurred_centre_is_the_gaussian_mean():
    hu = np.zeros((41, 41), np.int16)
    assert blur_centre(hu + 7, 0, 40) == pytest.approx(7)
    hu[20, 20] = 1000
    assert blur_centre(hu, 20, 20) == pytest.approx(1000 / (2 * np.pi * 2.5**2), rel=0.01)
    assert blur_centre(hu, 20, 25) == pytest.approx(1000 / (2 * np.pi * 2.5**2) * np.exp(-2), rel=0.01)
