"""CT-GAN's last step: noise over a larger cube, and the windows that blend it in.

Mirsky et al., USENIX Security 2019, section 5, and its published code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from verict.tamper.cubes import resize, sigmoid
from verict.tamper.forgery import ForgeryKind

TOUCH_UP_FACTOR = 1.3  # side of the touched-up cube / the cuboid's longest side in voxels
LUNG_BELOW_HU = -600.0  # voxels whose spread is taken as that of the lung around
NOISE_FLAT_ABOVE_HU = -800.0  # copied noise is flattened above, so that no vessel is copied along
COPY_FROM = (0.5, 0.43, 0.27)  # part of (z, y, x) of the scan that noise is copied from
REMOVE_NOISE_HU = 30.0  # standard deviation of the noise added on removal
INJECT_NOISE_PART = 0.6  # the same on injection, as a part of the lung's own spread
ZOOM_AT_HU = 60.0  # zoomed noise is zoomed by touch_up_factor x this / the lung's own spread
BELL_POWER = 8.0  # how abruptly a removal's touch-up ends: 2 fades from the middle on, 30 is a box


def touched_up_voxels(cuboid_voxels: Sequence[int] | np.ndarray, factor: float = TOUCH_UP_FACTOR) -> int:
    """Side of the touched-up cube, the same number of voxels along each axis."""
    return int(factor * max(cuboid_voxels))


def lung_spread_hu(cuboid_hu: np.ndarray) -> float:
    """Standard deviation of a cuboid's lung voxels; 60 HU, at which nothing is zoomed, where there are none."""
    lung = cuboid_hu[cuboid_hu < LUNG_BELOW_HU]
    return float(lung.std()) if lung.size > 1 and lung.std() > 1 else ZOOM_AT_HU


def noise_level_hu(kind: ForgeryKind, lung_sd_hu: float) -> float:
    """Standard deviation of the noise CT-GAN draws."""
    return REMOVE_NOISE_HU if kind is ForgeryKind.REMOVE else INJECT_NOISE_PART * lung_sd_hu


def copied_noise(
    hu: np.ndarray, shape: Sequence[int], from_zyx: Sequence[int] | None = None
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Noise of another place of the scan, flattened where it is no lung; the code's default.

    Returns
    -------
    noise_hu
        float32 of that shape, mean 0.
    start
        First voxel (z, y, x) it was copied from: moved inside where it would reach beyond the scan's faces.
    """
    wanted = from_zyx or tuple(int(part * n) for part, n in zip(COPY_FROM, hu.shape, strict=True))
    start = tuple(int(np.clip(c - n // 2, 0, full - n)) for c, n, full in zip(wanted, shape, hu.shape, strict=True))
    source = hu[tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))].astype(np.float32)
    flat = source > NOISE_FLAT_ABOVE_HU
    source[flat] = source[~flat].mean() if not flat.all() else 0
    return source - source.mean(), start


def zoomed_noise(
    shape: Sequence[int], zoom: float, sd_hu: float, rng: np.random.Generator, *, margin: int = 0
) -> np.ndarray:
    """White Gaussian noise, each grain ``zoom`` voxels wide, float32 HU of that shape.

    ``margin`` is how many slices more are drawn at either end: a lone slice is cut out of noise that has neighbours.
    """
    full = (shape[0] + 2 * margin, *shape[1:])
    grains = rng.standard_normal([max(1, round(n / zoom)) for n in full], np.float32) * np.float32(sd_hu)
    return resize(grains, full)[margin : full[0] - margin]


def zoom_of(lung_sd_hu: float, factor: float = TOUCH_UP_FACTOR) -> float:
    """How many voxels wide CT-GAN makes one grain of its noise: 0.5 to 4."""
    return float(np.clip(factor * ZOOM_AT_HU / lung_sd_hu, 0.5, 4))


def blend_weight(
    painted: np.ndarray, reach: Sequence[np.ndarray], kind: ForgeryKind, power: float = BELL_POWER
) -> np.ndarray:
    """How much of the painted cube is taken, 0 to 1; nothing fades along z.

    Parameters
    ----------
    painted
        (z, y, x) HU, before noise is added.
    reach
        Along y and along x: -1 to 1 over the touched-up cube.
    kind
        INJECT: sigmoid((HU + 700) / 70) times a Gaussian window. REMOVE: a bell that is nearly a box.
    power
        Of the bell.
    """
    y, x = np.ix_(*reach)
    if kind is ForgeryKind.INJECT:
        return sigmoid((painted + 700) / 70) * np.exp(-2.25 * (y**2 + x**2))
    return (1 / ((1 + np.abs(y / 0.9) ** power) * (1 + np.abs(x / 0.9) ** power))).astype(np.float32)


def blend(
    before: np.ndarray,
    painted: np.ndarray,
    noise: np.ndarray | float,
    reach: Sequence[np.ndarray],
    kind: ForgeryKind,
    power: float = BELL_POWER,
) -> np.ndarray:
    """Painted cube and noise blended into what stood there before; on injection HU never falls."""
    weight = blend_weight(painted, reach, kind, power)
    blended = before + (painted + noise - before) * weight
    return np.maximum(blended, before) if kind is ForgeryKind.INJECT else blended
