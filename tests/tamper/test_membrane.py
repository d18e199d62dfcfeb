"""Gradient-domain blending: the Laplace equation with values at the rim and none across the wall."""

from __future__ import annotations

import numpy as np
import pytest

from verict.errors import InputError
from verict.tamper.membrane import solve_membrane

SPACING_MM = (2.0, 0.7, 0.8)


@pytest.fixture(scope="module")
def ball() -> tuple[np.ndarray, list[np.ndarray]]:
    axes = [(np.arange(n) - n // 2) * s for n, s in zip((17, 41, 37), SPACING_MM, strict=True)]
    grid = np.ix_(*axes)
    return np.sqrt(sum(g**2 for g in grid)) < 12, [np.broadcast_to(g, (17, 41, 37)) for g in grid]


@pytest.mark.parametrize(
    "harmonic", [lambda z, y, x: 3 * z - y + 2 * x + 5, lambda z, y, x: y * x, lambda z, y, x: z**2 - y**2 + 0 * x]
)
def test_a_harmonic_field_is_continued_exactly(ball, harmonic) -> None:
    """Linear and quadratic harmonic functions also solve the seven-point equation."""
    hole, (z, y, x) = ball
    field = harmonic(z, y, x)
    solved = solve_membrane(hole, np.ones_like(hole), field, SPACING_MM)
    assert np.abs(solved - field)[hole].max() < 0.02
    assert (solved[~hole] == 0).all()


def test_noise_at_the_rim_does_not_reach_the_middle(ball) -> None:
    hole, (z, y, x) = ball
    noise = np.random.default_rng(0).normal(0, 50, hole.shape)
    solved = solve_membrane(hole, np.ones_like(hole), noise, SPACING_MM)
    assert np.abs(solved[z**2 + y**2 + x**2 < 36]).max() < 5
    assert np.abs(solved[hole]).max() > 20


def test_nothing_flows_across_the_wall(ball) -> None:
    hole, (_, _, x) = ball
    lung = x < 4
    mismatch = np.where(lung, 20.0, 900.0)
    solved = solve_membrane(hole & (x < 7), lung, mismatch, SPACING_MM)
    np.testing.assert_allclose(solved[hole & (x < 7)], 20, atol=0.05)


def test_a_part_without_lung_at_its_rim_is_refused(ball) -> None:
    hole, (_, _, x) = ball
    with pytest.raises(InputError, match="meets no lung"):
        solve_membrane(hole & ((x < -3) | (x > 3)), x < 0, np.zeros(hole.shape), SPACING_MM)


def test_a_single_slice_is_blended_too(ball) -> None:
    hole, (_, y, x) = ball
    field = (2 * y + x)[8:9]
    solved = solve_membrane(hole[8:9], np.ones((1, 41, 37), bool), field, SPACING_MM)
    assert np.abs(solved - field)[hole[8:9]].max() < 0.02
