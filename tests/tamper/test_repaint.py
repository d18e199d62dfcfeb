"""The forger without a network: changes what it says it changes, and leaves CT-GAN's kind of trace."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from verict.errors import InputError
from verict.tamper.repaint import ForgeryKind, NoiseKind, RepaintConfig, repaint, repaint_slice

SPACING_MM = (2.0, 1.0, 1.0)
CENTRE = (15, 40, 44)


@pytest.fixture(scope="module")
def lung() -> np.ndarray:
    """Lung with smooth, scanner-like noise and a nodule at CENTRE; soft tissue on one side."""
    rng = np.random.default_rng(4)
    hu = -850 + 120 * ndimage.gaussian_filter(rng.standard_normal((30, 80, 96)), (0.5, 1, 1))
    z, y, x = np.mgrid[:30, :80, :96]
    hu[((z - CENTRE[0]) * 2) ** 2 + (y - CENTRE[1]) ** 2 + (x - CENTRE[2]) ** 2 < 36] = 30
    hu[:, :, 80:] = 40
    return hu.astype(np.int16)


def corner_power(patch: np.ndarray) -> float:
    taper = np.hanning(patch.shape[0])[:, None] * np.hanning(patch.shape[1])
    power = np.abs(np.fft.fft2((patch - patch.mean()) * taper)) ** 2
    frequency = np.hypot(np.fft.fftfreq(patch.shape[0])[:, None], np.fft.fftfreq(patch.shape[1]))
    return float(power[frequency > 0.5].mean())


@pytest.mark.parametrize("touch_up", NoiseKind)
@pytest.mark.parametrize("kind", ForgeryKind)
def test_nothing_changes_outside_the_footprint(lung: np.ndarray, kind: ForgeryKind, touch_up: NoiseKind) -> None:
    before = lung.copy()
    config = RepaintConfig(touch_up=touch_up)
    forged, footprint, record = repaint(lung, SPACING_MM, CENTRE, kind=kind, seed=1, config=config)
    np.testing.assert_array_equal(lung, before)
    assert forged.dtype == lung.dtype
    assert footprint.dtype == bool
    assert footprint.shape == lung.shape
    np.testing.assert_array_equal(forged[~footprint], lung[~footprint])
    assert (forged != lung)[footprint].mean() > 0.02
    assert (record["kind"], record["touch_up"], record["centre_voxel_zyx"]) == (kind, touch_up, list(CENTRE))
    json.dumps(record)
    again, _, _ = repaint(lung, SPACING_MM, CENTRE, kind=kind, seed=1, config=config)
    np.testing.assert_array_equal(forged, again)


def test_footprint_has_the_size_of_the_cubes(lung: np.ndarray) -> None:
    def lengths(config: RepaintConfig) -> list[int]:
        _, footprint, _ = repaint(lung, SPACING_MM, CENTRE, kind=ForgeryKind.REMOVE, seed=1, config=config)
        return [int(np.ptp(np.nonzero(footprint)[axis])) + 1 for axis in range(3)]

    assert lengths(RepaintConfig(touch_up=NoiseKind.NONE)) == [16, 32, 32]
    assert lengths(RepaintConfig()) == [30, 41, 41]  # 1.3 x 32 voxels along z too, cut off at the faces
    assert lengths(RepaintConfig(touch_up_in_mm=True)) == [20, 41, 41]


def test_removal_removes_the_nodule(lung: np.ndarray) -> None:
    for touch_up in NoiseKind:
        config = RepaintConfig(touch_up=touch_up)
        forged, _, _ = repaint(lung, SPACING_MM, CENTRE, kind=ForgeryKind.REMOVE, seed=1, config=config)
        core = forged[13:18, 37:44, 41:48]
        assert lung[15, 40, 44] == 30
        assert core.mean() == pytest.approx(-850, abs=40)
        assert core.max() < -600


def test_injection_adds_a_nodule_of_the_wanted_size(lung: np.ndarray) -> None:
    config = RepaintConfig(nodule_mm=14, touch_up=NoiseKind.NONE)
    forged, _, _ = repaint(lung, SPACING_MM, (15, 40, 20), kind=ForgeryKind.INJECT, seed=2, config=config)
    dense = (forged > -400) & (lung < -600)
    assert dense[15, 40, 20]
    volume_mm3 = dense.sum() * 2.0
    assert volume_mm3 == pytest.approx(np.pi / 6 * 14**3, rel=0.3)


def test_injection_never_lowers_where_it_blends(lung: np.ndarray) -> None:
    forged, _, _ = repaint(lung, SPACING_MM, CENTRE, kind=ForgeryKind.INJECT, seed=2)
    assert (forged >= lung).all()


def test_touch_ups_leave_different_noise(lung: np.ndarray) -> None:
    """White noise fills the corner frequencies, zoomed noise less, resampling alone empties them."""
    window = np.s_[CENTRE[0], 32:48, 36:52]
    power = {}
    for touch_up in NoiseKind:
        config = RepaintConfig(touch_up=touch_up, zoom=2.0, noise_hu=30.0)
        forged, _, _ = repaint(lung, SPACING_MM, CENTRE, kind=ForgeryKind.REMOVE, seed=3, config=config)
        power[touch_up] = corner_power(forged[window].astype(float))
    untouched = corner_power(lung[CENTRE[0], 32:48, 4:20].astype(float))
    assert power[NoiseKind.NONE] < 0.5 * untouched
    assert power[NoiseKind.WHITE] > 3 * untouched
    assert power[NoiseKind.ZOOMED] < 0.3 * power[NoiseKind.WHITE]
    assert power[NoiseKind.COPIED] < power[NoiseKind.WHITE]


def test_copied_noise_is_that_of_the_source(lung: np.ndarray) -> None:
    config = RepaintConfig(touch_up=NoiseKind.COPIED, copy_from_zyx=(15, 40, 22), bell_power=30.0)
    forged, _, _ = repaint(lung, SPACING_MM, (15, 40, 50), kind=ForgeryKind.REMOVE, seed=3, config=config)
    added = forged[15].astype(float) + 850
    source = lung[15].astype(float) - lung[15, 20:60, 2:42].mean()
    here, there = added[33:48, 43:58].ravel(), source[33:48, 15:30].ravel()
    assert np.corrcoef(here, there)[0, 1] > 0.8


def test_the_record_tells_every_setting(lung: np.ndarray) -> None:
    _, _, record = repaint(
        lung, SPACING_MM, CENTRE, kind=ForgeryKind.REMOVE, seed=1, config=RepaintConfig(noise_hu=17.5)
    )
    assert record["noise_hu"] == 17.5
    assert record["cube_mm"] == 32.0
    assert record["touched_up_voxels"] == [41, 41, 41]


@pytest.mark.parametrize("centre", [(-1, 40, 40), (30, 40, 40), (15, 80, 40), (15, 40, 96)])
def test_a_place_outside_the_scan_is_refused(lung: np.ndarray, centre: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="outside"):
        repaint(lung, SPACING_MM, centre, kind=ForgeryKind.REMOVE, seed=1)


@pytest.mark.parametrize("spacing_mm", [(0.0, 1, 1), (1, -1, 1), (1, 1, float("nan"))])
def test_impossible_spacing_is_refused(lung: np.ndarray, spacing_mm: tuple[float, float, float]) -> None:
    with pytest.raises(InputError, match="spacing"):
        repaint(lung, spacing_mm, CENTRE, kind=ForgeryKind.REMOVE, seed=1)


@settings(max_examples=25)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 40), st.integers(1, 40)),
    spacing_mm=st.tuples(st.floats(0.5, 10), st.floats(0.4, 3), st.floats(0.4, 3)),
    place=st.tuples(*[st.floats(0, 1)] * 3),
    kind=st.sampled_from(ForgeryKind),
    touch_up=st.sampled_from(NoiseKind),
    level=st.sampled_from([-1000, -850, 40]),
)
def test_any_place_of_any_scan_can_be_forged(shape, spacing_mm, place, kind, touch_up, level) -> None:
    hu = np.full(shape, level, np.int16)
    centre = tuple(part * (n - 1) for part, n in zip(place, shape, strict=True))
    config = RepaintConfig(touch_up=touch_up)
    forged, footprint, _ = repaint(hu, spacing_mm, centre, kind=kind, seed=0, config=config)
    np.testing.assert_array_equal(forged[~footprint], hu[~footprint])
    assert forged.shape == hu.shape


def test_a_single_slice_gets_the_in_plane_footprint(lung: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    image = lung[CENTRE[0]]
    forged, footprint = repaint_slice(image, SPACING_MM[1:], CENTRE[1:], kind=ForgeryKind.REMOVE, rng=rng)
    assert forged.shape == footprint.shape == image.shape
    np.testing.assert_array_equal(forged[~footprint], image[~footprint])
    assert forged[37:44, 41:48].max() < -600
    assert [int(np.ptp(i)) + 1 for i in np.nonzero(footprint)] == [41, 41]
    another, _ = repaint_slice(image, SPACING_MM[1:], CENTRE[1:], kind=ForgeryKind.REMOVE, rng=rng)
    assert (another != forged).any()


@pytest.mark.parametrize(
    ("offset_mm", "nodule_gone", "resampled"), [(0, True, True), (-13, False, True), (20, False, False)]
)
def test_a_slice_off_the_centre_gets_less(
    lung: np.ndarray, offset_mm: float, nodule_gone: bool, resampled: bool
) -> None:
    image = lung[CENTRE[0]]
    forged, footprint = repaint_slice(
        image,
        SPACING_MM[1:],
        CENTRE[1:],
        kind=ForgeryKind.REMOVE,
        rng=np.random.default_rng(1),
        config=RepaintConfig(touch_up=NoiseKind.NONE),
        offset_mm=offset_mm,
    )
    assert (forged[37:44, 41:48].max() < -600) == nodule_gone
    assert footprint.any() == resampled


def test_lone_slices_get_noise_of_the_same_spread_as_volumes(lung: np.ndarray) -> None:
    config = RepaintConfig(touch_up=NoiseKind.ZOOMED, zoom=1.7, noise_hu=40.0, texture_part=0.0)
    volume, _, _ = repaint(lung, SPACING_MM, CENTRE, kind=ForgeryKind.REMOVE, seed=3, config=config)
    rng = np.random.default_rng(3)
    lone = [
        repaint_slice(lung[15], SPACING_MM[1:], CENTRE[1:], kind=ForgeryKind.REMOVE, rng=rng, config=config)[0]
        for _ in range(8)
    ]
    window = np.s_[36:45, 40:49]
    in_volume = np.std([s[window] for s in volume[11:20]])
    assert np.std([s[window] for s in lone]) == pytest.approx(in_volume, rel=0.25)
