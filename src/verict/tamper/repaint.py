"""A forger without a network: repaints a cube and leaves the footprint CT-GAN leaves.

The steps and sizes are those of Mirsky et al., USENIX Security 2019, section 5 and its published code:
cut a cuboid of 32 mm, resample it to 1 mm and back, repaint its middle, paste it, then add noise over a
larger cube and blend it in. What the network paints is replaced by smooth paint, so the trace that is
simulated is that of resampling, noise and blending, not of the network.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np
from scipy import ndimage

from verict.errors import InputError
from verict.tamper.ctgan_touch_up import (
    BELL_POWER,
    LUNG_BELOW_HU,
    TOUCH_UP_FACTOR,
    blend,
    copied_noise,
    lung_spread_hu,
    noise_level_hu,
    touched_up_voxels,
    zoom_of,
    zoomed_noise,
)
from verict.tamper.cubes import as_dtype, cube_around, resize, sigmoid
from verict.tamper.forgery import ForgeryKind

AIR_HU = -1000.0  # nothing is painted below (Mirsky et al., published code)


class NoiseKind(StrEnum):
    """Which noise is added over the larger cube, before blending."""

    NONE = "none"
    WHITE = "white"
    ZOOMED = "zoomed"
    COPIED = "copied"


@dataclass(frozen=True)
class RepaintConfig:
    """How a cube is repainted.

    Parameters
    ----------
    touch_up
        Which noise is added; NONE leaves out the blending too.
    cube_mm, hole_mm
        Sides of the cube that is resampled, and of its middle that is repainted.
    touch_up_factor
        Side of the touched-up cube, relative to the cuboid's longest side in voxels.
    nodule_mm, nodule_hu
        Diameter and density of an injected nodule.
    texture_part
        Spread of the painted lung, as a part of the spread of the lung around.
    noise_hu
        Standard deviation of added noise; None for what CT-GAN takes. Has no meaning for COPIED.
    zoom
        How many voxels wide one grain of zoomed noise is; None for what CT-GAN takes.
    copy_from_zyx
        Voxel that noise is copied from; None for what CT-GAN takes.
    touch_up_in_mm
        Whether the touched-up cube is as long in mm along z as across; CT-GAN's is as long in voxels, which
        spans 42 to 79 slices on its published scans.
    bell_power
        How abruptly a removal's touch-up ends: 2 fades from the middle on, 30 is a box.
    """

    touch_up: NoiseKind = NoiseKind.ZOOMED
    cube_mm: float = 32.0
    hole_mm: float = 20.0
    touch_up_factor: float = TOUCH_UP_FACTOR
    nodule_mm: float = 12.0
    nodule_hu: float = 20.0
    texture_part: float = 0.4
    noise_hu: float | None = None
    zoom: float | None = None
    copy_from_zyx: tuple[int, int, int] | None = None
    touch_up_in_mm: bool = False
    bell_power: float = BELL_POWER


def repaint(
    hu: np.ndarray,
    spacing_mm: tuple[float, float, float],
    centre_zyx: tuple[float, float, float],
    *,
    kind: ForgeryKind,
    seed: int,
    config: RepaintConfig | None = None,
) -> tuple[np.ndarray, np.ndarray, dict[str, object]]:
    """Forge one place of a volume.

    Parameters
    ----------
    hu
        (z, y, x) HU, any real dtype.
    spacing_mm
        (z, y, x) in mm.
    centre_zyx
        Voxel the forgery is centred on. Cubes that reach beyond the volume are cut off at its faces.
    kind
        INJECT paints a nodule, REMOVE paints lung.
    seed
        The same seed gives the same forgery.

    Returns
    -------
    forged_hu
        (z, y, x), dtype of `hu`.
    footprint
        (z, y, x) bool; outside of it nothing has changed.
    record
        What was done, JSON-ready, kind, place and every setting.

    Raises
    ------
    InputError
        If the centre lies outside the volume, or the spacing is not positive.
    """
    rng = np.random.default_rng(seed)
    return _forge(hu, spacing_mm, centre_zyx, ForgeryKind(kind), rng, config or RepaintConfig())


def repaint_slice(
    hu: np.ndarray,
    spacing_mm: tuple[float, float],
    centre_yx: tuple[float, float],
    *,
    kind: ForgeryKind,
    rng: np.random.Generator,
    config: RepaintConfig | None = None,
    offset_mm: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """The in-plane footprint alone, on one slice: what `repaint` does, without any neighbours.

    Parameters
    ----------
    hu
        (y, x) HU.
    spacing_mm
        (y, x) in mm.
    centre_yx
        Pixel the forgery is centred on.
    rng
        Source of all randomness, moved on by the call.
    offset_mm
        Distance of this slice from the forgery's centre along z: beyond half the hole nothing is
        painted, beyond half the cube there is touch-up noise only.

    Returns
    -------
    forged_hu, footprint
        (y, x), dtype of `hu`, and (y, x) bool.

    Raises
    ------
    InputError
        If the centre lies outside the slice, or the spacing is not positive.
    """
    place = (0, *centre_yx)
    forged, footprint, _ = _forge(
        hu[None],
        (1.0, *spacing_mm),
        place,
        ForgeryKind(kind),
        rng,
        config or RepaintConfig(),
        slice_offset_mm=float(offset_mm),
    )
    return forged[0], footprint[0]


def _forge(
    hu: np.ndarray,
    spacing_mm: tuple[float, float, float],
    centre_zyx: tuple[float, float, float],
    kind: ForgeryKind,
    rng: np.random.Generator,
    config: RepaintConfig,
    *,
    slice_offset_mm: float | None = None,
) -> tuple[np.ndarray, np.ndarray, dict[str, object]]:
    """What `repaint` and `repaint_slice` share; `slice_offset_mm` is given for one slice by itself."""
    if not all(np.isfinite(s) and s > 0 for s in spacing_mm):
        raise InputError("spacing that no scan can have", found=spacing_mm, expected="positive numbers, in mm")
    centre = np.rint(centre_zyx).astype(int)
    if (centre < 0).any() or (centre >= hu.shape).any():
        raise InputError("the forgery lies outside the scan", found=tuple(centre), expected=f"within {hu.shape}")
    sides = np.maximum(np.rint(config.cube_mm / np.array(spacing_mm)), 1).astype(int)
    touched = np.full(3, touched_up_voxels(sides, config.touch_up_factor))
    if config.touch_up_in_mm:
        touched[0] = max(1, round(touched[1] * spacing_mm[1] / spacing_mm[0]))
    if slice_offset_mm is not None:
        sides[0] = touched[0] = 1
    inner, outer = cube_around(centre, sides, hu.shape), cube_around(centre, touched, hu.shape)
    axes_mm = [offset * step for offset, step in zip(inner.offsets, spacing_mm, strict=True)]
    if slice_offset_mm is not None:
        axes_mm[0] = np.array([slice_offset_mm])

    forged, footprint = hu.copy(), np.zeros(hu.shape, bool)
    cube = hu[inner.box].astype(np.float32)
    lung_sd_hu = lung_spread_hu(cube)
    if abs(axes_mm[0]).min() <= config.cube_mm / 2:
        forged[inner.box] = as_dtype(_repaint_cube(cube, axes_mm, kind, rng, config), hu.dtype)
        footprint[inner.box] = True
    if config.touch_up is not NoiseKind.NONE:
        painted = forged[outer.box].astype(np.float32)
        noise = _make_noise(hu, painted.shape, kind, lung_sd_hu, rng, config)
        reach = [offset / (touched[1] / 2) for offset in outer.offsets[1:]]
        blended = blend(hu[outer.box].astype(np.float32), painted, noise, reach, kind, config.bell_power)
        forged[outer.box] = as_dtype(blended, hu.dtype)
        footprint[outer.box] = True
    settings = {name: value for name, value in asdict(config).items() if value is not None}
    record = {"kind": str(kind), "centre_voxel_zyx": centre.tolist(), "touched_up_voxels": touched.tolist()}
    return forged, footprint, record | settings | {"touch_up": str(config.touch_up)}


def _repaint_cube(
    cube: np.ndarray, axes_mm: list[np.ndarray], kind: ForgeryKind, rng: np.random.Generator, config: RepaintConfig
) -> np.ndarray:
    """Resample the cube to 1 mm, repaint its middle, resample back; (z, y, x) float32 HU."""
    lengths = [max(1, round(np.ptp(a) + (np.ptp(a) / (a.size - 1) if a.size > 1 else 0))) for a in axes_mm]
    iso = resize(cube, lengths)
    z, y, x = np.ix_(*(np.linspace(a[0], a[-1], n) for a, n in zip(axes_mm, lengths, strict=True)))
    hole = np.maximum(np.maximum(np.abs(z), np.abs(y)), np.abs(x)) <= config.hole_mm / 2
    if hole.any():
        known = ~hole & (iso < LUNG_BELOW_HU)
        if not known.any():
            known = ~hole if not hole.all() else hole
        reach = config.hole_mm / 4  # mm = voxels here
        weight = ndimage.gaussian_filter(known.astype(np.float32), reach, mode="nearest")
        filled = ndimage.gaussian_filter(np.where(known, iso, 0), reach, mode="nearest") / np.maximum(weight, 1e-6)
        grain = ndimage.gaussian_filter(rng.standard_normal(iso.shape, np.float32), 1.0)
        filled += grain * (config.texture_part * float(iso[known].std()) / max(float(grain.std()), 1e-6))
        if kind is ForgeryKind.INJECT:
            lobes = ndimage.gaussian_filter(rng.standard_normal(iso.shape, np.float32), 3.0)
            radius = config.nodule_mm / 2 * (1 + 0.12 * lobes / max(float(lobes.std()), 1e-6))
            nodule = sigmoid((radius - np.sqrt(z**2 + y**2 + x**2)) / 0.7)  # mm, a soft rim
            filled += (config.nodule_hu - filled) * nodule
        iso = iso + (filled - iso) * ndimage.gaussian_filter(hole.astype(np.float32), 1.0, mode="nearest")
    return np.maximum(resize(iso, cube.shape), AIR_HU)


def _make_noise(
    hu: np.ndarray,
    shape: tuple[int, ...],
    kind: ForgeryKind,
    lung_sd_hu: float,
    rng: np.random.Generator,
    config: RepaintConfig,
) -> np.ndarray:
    """The noise that is added over the touched-up cube, float32 HU of the given shape."""
    if config.touch_up is NoiseKind.COPIED:
        return copied_noise(hu, shape, config.copy_from_zyx)[0]
    sd_hu = noise_level_hu(kind, lung_sd_hu) if config.noise_hu is None else config.noise_hu
    if config.touch_up is NoiseKind.WHITE:
        return rng.standard_normal(shape, np.float32) * np.float32(sd_hu)
    zoom = config.zoom or zoom_of(lung_sd_hu, config.touch_up_factor)
    return zoomed_noise(shape, zoom, sd_hu, rng, margin=2 if shape[0] == 1 else 0)
