"""A simulated chest CT: anatomy as a simulated scanner shows it, no patient."""

from __future__ import annotations

import numpy as np

from verict.ct.phantom.anatomy import draw_chest
from verict.ct.phantom.scanner import Kernel, apply_kernel, mix_slices, simulate_noise


def simulate_chest(
    *,
    shape: tuple[int, int, int] = (48, 512, 512),
    spacing_mm: tuple[float, float, float] = (2.0, 0.7, 0.7),
    kernel: Kernel = Kernel.STANDARD,
    noise_hu: float = 20.0,
    seed: int = 0,
) -> np.ndarray:
    """Simulate a chest CT.

    Parameters
    ----------
    shape, spacing_mm
        (z, y, x), in voxels and mm; the pixels are square. The anatomy is made for about 96 mm around
        the hila and a field of view of 350 mm; smaller ones cut it off.
    kernel
        Reconstruction kernel, applied to anatomy and noise alike.
    noise_hu
        Standard deviation of the noise at the centre of the body, in HU.
    seed
        The same seed gives the same volume.

    Returns
    -------
    np.ndarray
        (z, y, x) int16 HU, -1024 to 3071, slices from the feet to the head.
    """
    kernel = Kernel(kernel)
    rng = np.random.default_rng(seed)
    hu = draw_chest(shape, spacing_mm, rng)
    noise = simulate_noise(hu, spacing_mm, kernel, rng)
    edge = max(2, round(40 / spacing_mm[1]))  # mm, half the side of the square the noise is measured in
    y, x = shape[1] // 2, shape[2] // 2
    centre = noise[:, max(0, y - edge) : y + edge, max(0, x - edge) : x + edge]
    hu = apply_kernel(mix_slices(hu), spacing_mm, kernel)
    hu += noise * (noise_hu / max(float(centre.std()), 1e-12))
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)  # 12 stored bits, as scanners write
