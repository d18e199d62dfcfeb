"""How blurred a scan's edges are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage, special

from verict.ct.discover import find_series
from verict.ct.read import read_series
from verict.tamper.edge_blur import measure_edge_blur


@pytest.mark.parametrize("noise_hu", [0, 30, 80])
@pytest.mark.parametrize("blur_mm", [0.3, 0.5, 0.8, 1.2])
def test_known_blur_is_measured(blur_mm: float, noise_hu: float) -> None:
    y, x = (np.arange(300) * 0.7)[:, None], (np.arange(280) * 0.75)[None]
    inside = 60 - np.hypot(y - 105, x - 105)
    hu = -850 + 450 * (1 + special.erf(inside / blur_mm / np.sqrt(2)))
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((3, *hu.shape)), (0, 0.8, 0.8))
    slices = hu + noise * (noise_hu / noise.std())
    assert measure_edge_blur(slices, (1.0, 0.7, 0.75)) == pytest.approx(blur_mm, abs=0.2)


def test_slices_without_edges_have_no_blur() -> None:
    assert measure_edge_blur(np.full((2, 50, 50), -850), (1, 0.7, 0.7)) is None


def test_a_sharp_kernel_is_sharper_than_a_soft_one_of_the_same_acquisition(shared_data: Path) -> None:
    found = {}
    for kernel in "LB":
        (series,) = find_series(shared_data / "authentic" / f"petctdx-philips-{kernel}").series
        volume = read_series(series)
        found[kernel] = measure_edge_blur(volume.hu[30:33], volume.spacing_mm)
    assert found["L"] < 0.25
    assert 0.4 < found["B"] < 0.8
