"""The simulated scanner: what a scanner's noise and artefacts look like, and where they come from."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from verict.ct.phantom.kernels import KERNELS, Kernel, KernelShape, kernel_response
from verict.ct.phantom.scanner import Protocol, acquire, slice_profile

SIZE, PIXEL_MM = 128, 2.8
COARSE = KernelShape(cutoff_per_mm=0.17, sharpness=3, blur_mm=0, edge_gain=0, edge_skew=1)  # suits the large pixels
PLAIN = Protocol(kernel=COARSE, pixel_mm=PIXEL_MM, dose=0.03, electronic_noise=0.0)
MIDDLE = slice(SIZE // 2 - 16, SIZE // 2 + 16)


class Phantom:
    """Ellipses of constant HU: (centre y, centre x, half height, half width, HU), later over earlier."""

    def __init__(self, *ellipses: tuple[float, float, float, float, float], end_mm: float = np.inf) -> None:
        self.ellipses, self.end_mm = ellipses, end_mm

    def draw_slab(self, z_mm: np.ndarray, size: int, pixel_mm: float) -> np.ndarray:
        y, x = (np.mgrid[:size, :size] - (size - 1) / 2) * pixel_mm
        hu = np.full((len(z_mm), size, size), -1000, np.float32)
        for cy, cx, half_y, half_x, value in self.ellipses:
            hu[:, np.hypot((y - cy) / half_y, (x - cx) / half_x) < 1] = value
        hu[np.abs(z_mm) > self.end_mm] = -1000
        return hu


WATER = Phantom((0, 0, 130, 130, 0))


def scan(protocol: Protocol, body: Phantom = WATER, *, slices: int = 6, seed: int = 1, **more: int) -> np.ndarray:
    return acquire(body, protocol, np.random.default_rng(seed), slices=slices, size=SIZE, **more).astype(np.float32)


def noise_spectrum(noise: np.ndarray, edges_per_mm: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Mean power by frequency of the middle of each slice."""
    part = noise[:, MIDDLE, MIDDLE]
    taper = np.hanning(32)[:, None] * np.hanning(32)
    power = (np.abs(np.fft.fft2((part - part.mean((1, 2), keepdims=True)) * taper)) ** 2).mean(0)
    frequency = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32)) / pixel_mm
    return np.array([power[(frequency >= a) & (frequency < b)].mean() for a, b in pairwise(edges_per_mm)])


def test_the_mean_is_what_was_scanned() -> None:
    hu = scan(PLAIN)
    assert hu[:, MIDDLE, MIDDLE].mean() == pytest.approx(0, abs=6)
    assert hu[:, :5].mean() == pytest.approx(-1000, abs=3)


def test_same_seed_same_bytes_on_any_number_of_threads() -> None:
    one, three = (acquire(WATER, PLAIN, np.random.default_rng(4), slices=10, size=64, workers=n) for n in (1, 3))
    other = acquire(WATER, PLAIN, np.random.default_rng(5), slices=10, size=64)
    assert one.dtype == np.int16
    assert one.tobytes() == three.tobytes()
    assert (one != other).mean() > 0.3


def test_progress_counts_slices() -> None:
    calls: list[tuple[int, int]] = []
    acquire(WATER, PLAIN, np.random.default_rng(0), slices=10, size=32, progress=lambda a, b: calls.append((a, b)))
    assert calls[-1] == (10, 10)
    assert [a for a, _ in calls] == sorted(a for a, _ in calls)


@pytest.mark.parametrize("kernel", list(Kernel))
def test_noise_spectrum_is_ramp_times_kernel_squared(kernel: Kernel) -> None:
    protocol = replace(PLAIN, kernel=KERNELS[kernel], pixel_mm=0.7, increment_mm=4, dose=1e-3)
    edges = np.linspace(0.1, 0.9, 11)
    found = noise_spectrum(scan(protocol, Phantom((0, 0, 38, 38, 0)), slices=24), edges, 0.7)
    middle = (edges[1:] + edges[:-1]) / 2
    expected = middle * kernel_response(middle, KERNELS[kernel]) ** 2
    np.testing.assert_allclose(found / found.mean(), expected / expected.mean(), rtol=0.25, atol=0.12)


def test_noise_variance_goes_as_one_over_dose() -> None:
    quiet, loud = (scan(replace(PLAIN, dose=d))[:, MIDDLE, MIDDLE].var() for d in (0.4, 0.1))
    assert loud / quiet == pytest.approx(4, rel=0.15)


def test_electronics_add_noise() -> None:
    without, withal = (scan(replace(PLAIN, electronic_noise=e))[:, MIDDLE, MIDDLE].std() for e in (0.0, 200.0))
    assert withal > 1.2 * without


def test_noise_is_strongest_at_the_centre_and_weaker_in_lung() -> None:
    noise = scan(replace(PLAIN, increment_mm=4), slices=24)
    noise -= noise.mean(0)
    assert noise[:, 58:70, 58:70].std() > 1.3 * noise[:, 58:70, 19:25].std()
    lungs = scan(PLAIN, Phantom((0, 0, 110, 160, 0), (0, -80, 80, 50, -850), (0, 80, 80, 50, -850)))
    assert lungs[:, 60:68, 60:68].std() > 1.2 * lungs[:, 60:68, 32:40].std()


def test_shoulders_make_streaks_across_them() -> None:
    """The long way through a flat body lets the fewest photons through: power lies across that direction."""
    noise = scan(replace(PLAIN, increment_mm=4), Phantom((0, 0, 50, 165, 40)))[:, MIDDLE, MIDDLE]
    power = (np.abs(np.fft.fft2(noise * np.hanning(32)[:, None] * np.hanning(32))) ** 2).mean(0)
    fy, fx = np.abs(np.fft.fftfreq(32)[:, None]), np.abs(np.fft.fftfreq(32))
    ring = (np.hypot(fy, fx) > 0.1) & (np.hypot(fy, fx) < 0.4)
    assert power[ring & (fy > 2 * fx)].mean() > 3 * power[ring & (fx > 2 * fy)].mean()


def test_noise_runs_along_z_where_slices_overlap() -> None:
    def correlation(increment_mm: float, lag: int) -> float:
        noise = scan(replace(PLAIN, thickness_mm=2, increment_mm=increment_mm), slices=8)[:, MIDDLE, MIDDLE]
        between = np.corrcoef(noise.reshape(len(noise), -1))
        return float(np.diag(between, lag).mean())

    assert correlation(1.0, 1) == pytest.approx(0.65, abs=0.08)
    assert correlation(2.0, 1) == pytest.approx(0.17, abs=0.08)
    assert abs(correlation(5.0, 1)) < 0.06
    assert abs(correlation(1.0, 4)) < 0.08


def test_thick_slices_are_less_noisy_and_average_what_they_cover() -> None:
    thin, thick = (scan(replace(PLAIN, thickness_mm=t, increment_mm=8)) for t in (1.0, 8.0))
    assert thin[:, MIDDLE, MIDDLE].var() / thick[:, MIDDLE, MIDDLE].var() == pytest.approx(6, rel=0.25)
    thick_protocol = replace(PLAIN, thickness_mm=8, increment_mm=8, dose=10)
    half = scan(thick_protocol, Phantom((0, 0, 130, 130, 0), end_mm=2), slices=1)
    assert half[:, MIDDLE, MIDDLE].mean() == pytest.approx(-500, abs=120)  # water in half the thickness


def test_slice_profile_has_its_width_and_sums_to_one() -> None:
    for thickness_mm, increment_mm in ((1.0, 1.0), (2.0, 1.0), (5.0, 5.0), (8.0, 8.0), (1.25, 5.0)):
        protocol = replace(PLAIN, thickness_mm=thickness_mm, increment_mm=increment_mm, row_mm=thickness_mm / 2)
        row_mm, weights = slice_profile(protocol)
        assert (increment_mm / row_mm) % 1 == pytest.approx(0)
        assert weights.sum() == pytest.approx(1)
        np.testing.assert_allclose(weights, weights[::-1])
        assert row_mm / weights.max() == pytest.approx(thickness_mm, rel=0.1)


def test_only_metal_makes_streaks() -> None:
    """Between two dense rods many rays starve; beside them few do."""
    rods = Phantom((0, 0, 110, 150, 0), (0, -60, 8, 8, 9000), (0, 60, 8, 8, 9000))
    plain = Phantom((0, 0, 110, 150, 0))

    def spread(body: Phantom, rows: slice) -> float:
        return float(scan(replace(PLAIN, dose=1), body, slices=3)[:, rows, 52:76].std())

    between, beside = slice(62, 66), slice(90, 94)
    assert spread(rods, between) > 3 * spread(plain, between)
    assert spread(rods, beside) < 2 * spread(plain, beside)


def test_beam_hardening_darkens_between_dense_bones() -> None:
    bones = Phantom((0, 0, 110, 150, 0), (0, -60, 18, 18, 1200), (0, 60, 18, 18, 1200))
    quiet = replace(PLAIN, dose=50)
    one, many = (scan(replace(quiet, beam_hardening=b), bones, slices=1)[0] for b in (False, True))
    assert many[62:66, 56:72].mean() < one[62:66, 56:72].mean() - 5
    water = scan(replace(quiet, beam_hardening=True), slices=1)[0]
    assert water[MIDDLE, MIDDLE].mean() == pytest.approx(0, abs=3)


def test_outside_the_circle_stands_what_the_scanner_writes() -> None:
    padded = scan(replace(PLAIN, outside_hu=-1024), slices=1)[0]
    assert (padded[:10, :10] == -1024).all()
    assert padded[64, 5] > -1020
