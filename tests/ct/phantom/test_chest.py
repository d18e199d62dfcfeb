"""The simulated chest: anatomy where it is said to be, noise as a scanner makes it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pydicom
import pytest
from scipy import ndimage

from verict.ct.phantom.anatomy import NODULES, nodule_voxel
from verict.ct.phantom.chest import simulate_chest
from verict.ct.phantom.scanner import Kernel, kernel_response, simulate_noise

SHAPE = (8, 256, 256)
SPACING_MM = (2.0, 1.4, 1.4)
BAND_EDGES = np.arange(2, 22, 2) / 32  # cycles per pixel


@pytest.fixture(scope="module")
def chest() -> np.ndarray:
    return simulate_chest(shape=(24, 512, 512), seed=3)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    """Noise of a water cylinder of 280 mm, three slices long enough to see neighbours."""
    y, x = (np.mgrid[:256, :256] - 127.5) * 1.4
    water = np.where(np.hypot(y, x) < 140, 0, -1000).astype(np.float32)
    stack = np.broadcast_to(water, (6, 256, 256))
    return simulate_noise(stack, (2.0, 1.4, 1.4), Kernel.SOFT, np.random.default_rng(5))


def band_power(patch: np.ndarray) -> np.ndarray:
    taper = np.hanning(32)[:, None] * np.hanning(32)
    power = np.abs(np.fft.fft2((patch - patch.mean()) * taper)) ** 2
    frequency = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32))
    return np.array(
        [power[(frequency >= a) & (frequency < b)].mean() for a, b in pairwise(BAND_EDGES)]
    )


def lung_spectrum(slices: np.ndarray) -> np.ndarray:
    """Median amplitude of each radial band over the 32-pixel windows that hold lung only."""
    found = []
    for hu in slices:
        smooth = ndimage.gaussian_filter(hu.astype(np.float32), 1.5)
        labels, _ = ndimage.label(smooth < -550)
        outside = np.unique(np.r_[labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        lung = ndimage.uniform_filter((~np.isin(labels, outside)).astype(np.float32), 32)
        for y in range(16, hu.shape[0] - 16, 16):
            for x in range(16, hu.shape[1] - 16, 16):
                if lung[y, x] > 0.9:
                    found.append(band_power(np.clip(hu[y - 16 : y + 16, x - 16 : x + 16], -1100, -500).astype(float)))
    assert len(found) > 20
    return np.sqrt(np.median(found, axis=0))


def test_same_seed_same_chest_and_another_seed_another() -> None:
    one, again, other = (simulate_chest(shape=SHAPE, spacing_mm=SPACING_MM, seed=s) for s in (1, 1, 2))
    assert one.dtype == np.int16
    assert one.shape == SHAPE
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.5


def test_tissues_have_their_density(chest: np.ndarray) -> None:
    middle = chest.shape[0] // 2

    def at(y_mm: float, x_mm: float, reach: int = 5) -> float:
        y, x = round(255.5 + y_mm / 0.7), round(255.5 + x_mm / 0.7)
        return float(np.median(chest[middle - 1 : middle + 2, y - reach : y + reach + 1, x - reach : x + reach + 1]))

    assert at(-150, 0) == pytest.approx(-1000, abs=40)  # air before the body
    assert at(44, 16) == pytest.approx(120, abs=30)  # aorta
    assert at(88, 0) == pytest.approx(25, abs=40)  # spinal canal
    assert at(-107, 0, reach=2) == pytest.approx(-100, abs=60)  # fat under the skin
    assert -920 < at(-50, -75, reach=12) < -700  # lung
    assert at(60, -75, reach=12) > at(-60, -75, reach=12)  # denser at the back


def test_nodules_lie_where_they_are_said_to(chest: np.ndarray) -> None:
    inside = 0
    for nodule in NODULES:
        z, y, x = np.rint(nodule_voxel(nodule, chest.shape, (2.0, 0.7, 0.7))).astype(int)
        assert 0 <= z < chest.shape[0]
        core = chest[z, y - 2 : y + 3, x - 2 : x + 3]
        assert core.mean() == pytest.approx(nodule.hu, abs=40)
        inside += 1
    assert inside == len(NODULES)


def test_noise_is_shaped_by_the_kernel_and_not_white(noise: np.ndarray) -> None:
    power = np.mean([band_power(s[112:144, 112:144]) for s in noise], axis=0)
    peak = int(power.argmax())
    assert 0 < peak < 6  # rises, then is cut off
    assert power[-1] < 0.01 * power[peak]  # corner band beyond the cutoff
    assert kernel_response(np.array([0.0]), Kernel.SOFT)[0] == 1
    assert kernel_response(np.array([0.62, 3.0]), Kernel.SOFT).max() < 1e-12


def test_noise_is_strongest_at_the_centre(noise: np.ndarray) -> None:
    centre = noise[:, 118:138, 118:138].std()
    rim = noise[:, 118:138, 36:46].std()
    assert centre > 1.3 * rim


def test_noise_is_correlated_between_neighbours_only(noise: np.ndarray) -> None:
    inside = noise[:, 64:192, 64:192].reshape(6, -1)
    between = np.corrcoef(inside)
    assert np.diag(between, 1).mean() == pytest.approx(0.4, abs=0.1)
    assert abs(np.diag(between, 3)).max() < 0.1


def test_noise_is_streaky_behind_what_absorbs() -> None:
    """A wide flat body lets the fewest photons through along its width: power lies across that direction."""
    y, x = (np.mgrid[:256, :256] - 127.5) * 1.4
    flat = np.where((np.abs(y) < 50) & (np.abs(x) < 160), 0, -1000).astype(np.float32)[None]
    noise = simulate_noise(flat, (2.0, 1.4, 1.4), Kernel.SOFT, np.random.default_rng(2))[0, 112:144, 112:144]
    power = np.abs(np.fft.fft2(noise * np.hanning(32)[:, None] * np.hanning(32))) ** 2
    fy, fx = np.abs(np.fft.fftfreq(32)[:, None]), np.abs(np.fft.fftfreq(32))
    ring = (np.hypot(fy, fx) > 0.1) & (np.hypot(fy, fx) < 0.4)
    along_y, along_x = power[ring & (fy > 2 * fx)].mean(), power[ring & (fx > 2 * fy)].mean()
    assert along_y > 3 * along_x


def test_noise_level_is_what_was_asked_for() -> None:
    quiet, loud = (simulate_chest(shape=SHAPE, spacing_mm=SPACING_MM, noise_hu=n, seed=1) for n in (0.0, 40.0))
    difference = (loud.astype(float) - quiet)[:, 99:157, 99:157]
    assert difference.std() == pytest.approx(40, rel=0.05)


def test_sharper_kernels_pass_higher_frequencies() -> None:
    top = [
        lung_spectrum(simulate_chest(shape=(2, 512, 512), kernel=kernel, seed=1))[5]
        for kernel in (Kernel.SOFT, Kernel.STANDARD, Kernel.LUNG)
    ]
    assert top[0] < top[1] < top[2]


def test_lung_spectrum_lies_within_that_of_real_scanners(chest: np.ndarray, shared_data) -> None:
    """Amplitude of each band, relative to all bands, between the softest and the sharpest real scan."""
    spectra = []
    for folder in ("petctdx-philips-B", "fusedct-siemens-B31f", "lidc-0314-philips-D", "cmbcrc-ge-LUNG"):
        files = sorted((shared_data / "authentic" / folder).glob("*.dcm"))
        datasets = [pydicom.dcmread(files[i]) for i in (len(files) * 2 // 5, len(files) // 2)]
        slices = [d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in datasets]
        spectra.append(lung_spectrum(np.array(slices)))
    simulated = lung_spectrum(chest[::8])
    for band in range(len(simulated)):
        real = [s[band] / s[0] for s in spectra]
        assert min(real) / 1.5 < simulated[band] / simulated[0] < max(real) * 1.5, f"band {band}"
