"""The sampling loop, with denoisers whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from verict.tamper.diffusion import (
    Denoiser,
    Scene,
    from_network,
    kept_signal,
    level_texture,
    sample,
    tell_nodule,
    think,
    to_channels,
    to_network,
)

SHAPE = 16, 32, 32
STEP_MM = 1.0, 0.75, 0.75


def ball_weight(radius: float = 9.0, rim: float = 4.0) -> np.ndarray:
    z, y, x = np.ix_(*(np.arange(n) - n / 2 for n in SHAPE))
    away = np.sqrt((1.6 * z) ** 2 + y**2 + x**2)
    return np.clip((radius - away) / rim + 0.5, 0, 1).astype(np.float32)


def scene(seed: int = 0, spread: float = 0.4) -> Scene:
    known = np.random.default_rng(seed).normal(-0.5, spread, SHAPE).astype(np.float32)
    return Scene(known, ball_weight(), STEP_MM, np.zeros(SHAPE, np.float32), 0.0)


class KnowingDenoiser:
    """Predicts the velocity towards one picture; keeps what it was shown."""

    def __init__(self, picture: np.ndarray) -> None:
        self.picture = picture
        self.shown: list[np.ndarray] = []
        self.levels: list[float] = []

    def __call__(self, channels: np.ndarray, level: np.ndarray) -> np.ndarray:
        self.shown.append(channels[0])
        self.levels.append(float(level[0]))
        kept = kept_signal()[int(level[0])]
        noise = (channels[0, 0] - np.sqrt(kept) * self.picture) / np.sqrt(1 - kept)
        velocity = np.sqrt(kept) * noise - np.sqrt(1 - kept) * self.picture
        return velocity[None, None].astype(np.float32)


def white_denoiser(mean: float, spread: float) -> Denoiser:
    """The best guess for white noise of that mean and spread."""

    def denoise(channels: np.ndarray, level: np.ndarray) -> np.ndarray:
        kept = kept_signal()[int(level[0])]
        noisy = channels[0, 0]
        gain = spread**2 * np.sqrt(kept) / (kept * spread**2 + 1 - kept)
        clean = mean + gain * (noisy - np.sqrt(kept) * mean)
        noise = (noisy - np.sqrt(kept) * clean) / np.sqrt(1 - kept)
        return (np.sqrt(kept) * noise - np.sqrt(1 - kept) * clean)[None, None].astype(np.float32)

    return denoise


def test_units_cover_lung_and_soft_tissue_and_clip_the_rest() -> None:
    hu = np.array([-3024.0, -1024.0, -850.0, 40.0, 300.0, 1500.0])
    assert np.allclose(from_network(to_network(hu)), [-1024, -1024, -850, 40, 300, 300], atol=1e-3)


def test_a_nodule_is_told_by_how_dense_it_is() -> None:
    ball = np.array([0.0, 0.5, 1.0], np.float32)
    assert np.allclose(tell_nodule(ball, 0.0), ball)
    assert np.allclose(tell_nodule(ball, -600.0), 0.4 * ball)


def test_noise_levels_fall_from_almost_all_to_almost_none() -> None:
    kept = kept_signal()
    assert len(kept) == 1000 and kept[0] > 0.999 and kept[-1] < 1e-8
    assert (np.diff(kept) < 0).all()
    assert kept[499] == pytest.approx(0.49, abs=0.01)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_what_the_network_knows_is_painted_and_nothing_else_is_touched(eta: float) -> None:
    place, picture = scene(), np.full(SHAPE, 1.5, np.float32)
    painted = sample(KnowingDenoiser(picture), place, np.random.default_rng(1), steps=12, eta=eta)
    inside, outside = place.weight == 1, place.weight == 0
    assert np.allclose(painted[inside], 1.5, atol=1e-3)
    assert np.array_equal(painted[outside], place.known[outside])


def test_the_network_never_sees_what_stood_in_the_hole() -> None:
    place = scene()
    spoilt = replace(place, known=np.where(place.weight == 1, 5, place.known).astype(np.float32))
    first, other = (KnowingDenoiser(np.zeros(SHAPE, np.float32)) for _ in range(2))
    results = [sample(d, p, np.random.default_rng(1), steps=6) for d, p in ((first, place), (other, spoilt))]
    assert np.array_equal(*results)
    for one, two in zip(first.shown, other.shown, strict=True):
        assert np.array_equal(one, two)


def test_the_hole_grows_from_its_core_to_its_rim_while_noise_falls() -> None:
    denoise = KnowingDenoiser(np.zeros(SHAPE, np.float32))
    place = scene()
    sample(denoise, place, np.random.default_rng(1), steps=10)
    assert len(denoise.shown) == 10
    assert denoise.levels == sorted(denoise.levels, reverse=True) and denoise.levels[0] == 999
    holes = [channels[2] > 0 for channels in denoise.shown]
    assert all((later | earlier).sum() == later.sum() for earlier, later in pairwise(holes))
    assert place.weight[holes[0]].min() > 0.999
    assert holes[-1].sum() > 1.3 * holes[0].sum()


def test_the_rim_keeps_the_spread_of_the_tissue_where_mixing_would_lower_it() -> None:
    spread = 0.4
    place = scene(spread=spread)
    denoise = white_denoiser(-0.5, spread)
    rim, core = (place.weight > 0.35) & (place.weight < 0.65), place.weight == 1
    painted = [sample(denoise, place, np.random.default_rng(seed), steps=25, eta=0.5) for seed in range(3)]
    assert np.mean([p[core].std() for p in painted]) == pytest.approx(spread, rel=0.1)
    in_rim = float(np.mean([p[rim].std() for p in painted]))
    mixed = float(np.std(0.5 * place.known[rim] + 0.5 * np.random.default_rng(9).normal(-0.5, spread, rim.sum())))
    assert mixed < 0.8 * spread  # k^2 + (1 - k)^2 = 0.5 of the variance
    assert in_rim > 0.88 * spread


def test_the_outer_rim_is_like_what_stood_there_and_the_core_is_not() -> None:
    place = scene()
    painted = sample(white_denoiser(-0.5, 0.4), place, np.random.default_rng(2), steps=25, eta=0.5)

    def likeness(where: np.ndarray) -> float:
        return float(np.corrcoef(painted[where], place.known[where])[0, 1])

    weight = place.weight
    assert likeness(weight == 1) < 0.1 < 0.5 < likeness((weight > 0) & (weight < 0.2))


def test_the_same_generator_paints_the_same_and_another_does_not() -> None:
    denoise = white_denoiser(-0.5, 0.4)
    first, again, other = (sample(denoise, scene(), np.random.default_rng(s), steps=5) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_channels_are_what_the_network_was_taught() -> None:
    place = scene()
    hole = place.weight > 0.5
    noisy = np.full(SHAPE, 9.0, np.float32)
    prior = think(place)
    channels = to_channels(place, prior, hole, noisy)
    assert channels.shape == (5, *SHAPE) and channels.dtype == np.float32
    assert (channels[0][hole] == 9).all() and np.array_equal(channels[0][~hole], place.known[~hole])
    assert channels[1][hole].std() < 0.1 and channels[1].std() < 0.5 * place.known.std()
    assert np.array_equal(channels[2] > 0, hole) and not channels[3].any()
    assert np.array_equal(channels[4], prior.spread)


def test_the_spread_expected_in_a_hole_is_that_of_the_lung_around_it() -> None:
    quiet, loud = (think(scene(spread=spread)).spread[8, 16, 16] for spread in (0.2, 0.6))
    assert 0.17 < quiet < 0.23 < 0.5 < loud < 0.65
    walled = scene(spread=0.2)
    walled.known[:, :, 26:] = 4  # soft tissue and its edge are no texture
    assert think(walled).spread[8, 16, 16] == pytest.approx(quiet, rel=0.15)


@pytest.mark.parametrize("loudness", [0.7, 1.5])
def test_texture_too_quiet_or_too_loud_is_levelled_and_a_nodule_left_as_it_is(loudness: float) -> None:
    place = scene(spread=0.3)
    place = replace(place, weight=ball_weight(14, 3))
    ball = (ball_weight(2, 1) > 0).astype(np.float32)
    place = replace(place, known=place.known - 1.0, ball=ball)
    drawn = np.random.default_rng(5).normal(-1.5, 0.3 * loudness, SHAPE).astype(np.float32)
    painted = np.where(ball > 0, 4.0, np.where(place.weight > 0, drawn, place.known)).astype(np.float32)
    levelled = level_texture(painted, place)
    core = (place.weight == 1) & (ball_weight(8, 1) == 0)
    assert painted[core].std() == pytest.approx(0.3 * loudness, rel=0.1)
    assert levelled[core].std() == pytest.approx(0.3, rel=0.1)
    untouched = (place.weight == 0) | (ball > 0)
    np.testing.assert_array_equal(levelled[untouched], painted[untouched])
