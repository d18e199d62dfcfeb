"""Traits of noise on lung built in code: each answers to the one thing it is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from detect.volumes import make_lung_hu, make_lungs, make_volume

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.detect.noise_traits import SLICES, NoiseTraits, measure_traits
from verict.evaluation.benign import process


def lung_volume(count: int = 3, size: int = 160, **settings) -> CTVolume:
    return make_volume(count, hu=make_lung_hu((count, size, size), **settings), thickness_mm=1.0)


def everywhere(volume: CTVolume) -> LungRegion:
    return make_lungs(np.ones(volume.hu.shape, bool))


def traits_of(volume: CTVolume) -> NoiseTraits:
    traits = measure_traits(volume, everywhere(volume))
    assert traits is not None
    return traits


def test_untouched_noise_is_gaussian_and_bears_no_grid():
    traits = traits_of(lung_volume())
    assert traits.gaussian == pytest.approx(0, abs=0.05)
    assert traits.jpeg_grid == pytest.approx(0, abs=0.1)
    assert traits.wavelet_grid == pytest.approx(0, abs=0.1)
    assert traits.pixel_mm == pytest.approx(0.7)
    assert traits.slices == 3
    assert (np.diff(traits.power) < 0).all()  # blurred white noise falls with frequency


@pytest.mark.parametrize(
    ("name", "trait", "other"), [("jpeg", "jpeg_grid", "wavelet_grid"), ("jpeg2000", "wavelet_grid", "jpeg_grid")]
)
def test_each_codec_leaves_its_own_grid_and_not_the_others(name, trait, other):
    volume = lung_volume()
    for ratio in (5, 10):
        coded = traits_of(process(volume, name, ratio))
        assert getattr(coded, trait) > 0.4
        assert abs(getattr(coded, other)) < 0.2


@pytest.mark.parametrize("strength", [1, 2])
def test_lossless_codecs_leave_nothing(strength):
    volume = lung_volume()
    before, after = traits_of(volume), traits_of(process(volume, "lossless", strength))
    assert np.array_equal(before.power, after.power)
    assert (before.gaussian, before.jpeg_grid, before.wavelet_grid) == (
        after.gaussian, after.jpeg_grid, after.wavelet_grid,
    )  # fmt: skip


def test_flattened_noise_is_less_gaussian():
    volume = lung_volume()
    sparse = np.where(np.random.default_rng(1).random(volume.hu.shape) < 0.03, volume.hu, -850).astype(np.int16)
    assert traits_of(replace(volume, hu=sparse)).gaussian < -0.5


def test_power_is_that_of_the_noise():
    quiet, loud = traits_of(lung_volume()), traits_of(lung_volume(base_hu=-850))
    np.testing.assert_array_equal(quiet.power, loud.power)
    volume = lung_volume()
    twice = replace(volume, hu=(-850 + 2 * (volume.hu.astype(int) + 850)).astype(np.int16))
    np.testing.assert_allclose(traits_of(twice).power - quiet.power, np.log(4), atol=0.05)


def test_a_few_changed_slices_do_not_count():
    volume = lung_volume(5)
    coded = process(volume, "jpeg", 10).hu
    some = volume.hu.copy()
    some[:2] = coded[:2]
    assert traits_of(replace(volume, hu=some)).jpeg_grid < 0.1
    some[:3] = coded[:3]
    assert traits_of(replace(volume, hu=some)).jpeg_grid > 0.4


def test_a_long_series_is_sampled_and_slices_without_lung_are_left_out():
    volume = lung_volume(20, size=128)
    mask = np.ones(volume.hu.shape, bool)
    mask[:4] = False
    traits = measure_traits(volume, make_lungs(mask))
    assert traits is not None
    assert traits.slices == SLICES


@pytest.mark.parametrize("size", [40, 128])
def test_too_little_lung_is_not_measured(size):
    volume = lung_volume(2, size=size)
    mask = np.zeros(volume.hu.shape, bool)
    mask[:, 10:30, 10:30] = True
    assert measure_traits(volume, make_lungs(mask)) is None
    assert measure_traits(volume, make_lungs(np.zeros(volume.hu.shape, bool))) is None


def test_structure_counts_for_neither_grid_nor_shape():
    volume = lung_volume()
    hu = volume.hu.copy()
    hu[:, ::40] = 100  # straight walls, on and off every grid
    traits = traits_of(replace(volume, hu=hu))
    assert abs(traits.jpeg_grid) < 0.2
    assert abs(traits.wavelet_grid) < 0.2
    assert traits.gaussian == pytest.approx(0, abs=0.1)
