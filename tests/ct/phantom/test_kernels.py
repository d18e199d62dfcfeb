"""Kernels: 1 at zero, the tail alone from the cutoff on, sharper ones pass more."""

from __future__ import annotations

import numpy as np
import pytest

from verict.ct.phantom.kernels import KERNELS, MEASURED_KERNELS, Kernel, KernelShape, kernel_response


@pytest.mark.parametrize("shape", [*KERNELS.values(), *MEASURED_KERNELS.values()])
def test_a_kernel_keeps_the_mean_and_ends_at_its_cutoff(shape: KernelShape) -> None:
    assert kernel_response(np.array([0.0]), shape)[0] == 1
    np.testing.assert_allclose(kernel_response(np.array([shape.cutoff_per_mm, 3.0]), shape), shape.tail)
    assert kernel_response(np.linspace(0, shape.cutoff_per_mm * 0.99, 50), shape).min() > shape.tail


def test_there_is_a_preset_for_each_kernel_in_order_of_sharpness() -> None:
    assert list(KERNELS) == list(Kernel)
    at_half = [kernel_response(np.array([0.4]), KERNELS[k])[0] for k in (Kernel.SOFT, Kernel.STANDARD, Kernel.BONE)]
    assert at_half == sorted(at_half)
    fine = {k: kernel_response(np.array([0.7]), KERNELS[k])[0] for k in Kernel}
    assert max(fine, key=lambda k: fine[k]) is Kernel.BONE
    response = kernel_response(np.linspace(0, 0.7, 100), KERNELS[Kernel.LUNG])
    assert response.max() > 2  # lung kernels enhance edges
