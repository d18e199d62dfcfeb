"""Classical inpainting: the nodule becomes a hole, and the hole is filled as smoothly as what is around it allows.

scikit-image's biharmonic inpainting (Damelin, Hoang, "On surface completion and image inpainting by biharmonic
functions: numerical aspects", Int. J. Math. Math. Sci. 2018) in 3D: of all fillings that meet the values and slopes
at the rim the least curved one. It is solved at 1 mm, or coarser for holes of more than `LARGEST_HOLE` voxels, and
brought to the scan's grid by cubic splines; the time the solution takes grows with the square of the hole.

Traces it leaves, none of them CT-GAN's: an irregular footprint and no cube; inside of it nothing of the scanner's
noise, so that the variance of the residual drops to nearly none and rises again over the soft rim; no texture and no
vessels but those that meet the rim, drawn out a few mm. Without a touch-up it is the easiest of all to find.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from verict.errors import MissingExtraError
from verict.tamper.cubes import resize
from verict.tamper.forgery import ForgeryKind, Paint, Target
from verict.tamper.paste import Outline, crop_paint, describe_place, reach_for_removal, soften
from verict.tamper.vicinity import cut_vicinity, diameter_of, extent_of

GRID_MM = 1.0  # at which the hole is filled, unless it is larger than
LARGEST_HOLE = 4500  # voxels: a ball of 20 mm has 4200 and takes half a second, one of 33 mm has 18,900 and takes 15 s
KNOWN_BLUR_MM = 1.0  # what surrounds the hole is smoothed by, so that no grain of noise is drawn out into it
BRIGHTEST_HU = 300.0  # above the lung's level, at most, is what the filling starts from: the root of a vessel


class ClassicalInpaint:
    """Biharmonic inpainting of the nodule, blended over a soft irregular rim."""

    name = "inpaint"
    summary = "the nodule filled in by biharmonic inpainting (scikit-image): smooth, without noise"
    kinds = frozenset({ForgeryKind.REMOVE})
    outline = Outline(full_mm=1.5, soft_mm=3.0)

    def paint(self, target: Target, rng: np.random.Generator) -> Paint:
        """Paint the target.

        Raises
        ------
        InputError
            If the place is in the wall or holds hardly any lung.
        MissingExtraError
            If scikit-image is not installed.
        """
        vicinity = cut_vicinity(target, reach_for_removal(target.diameter_mm, self.outline))
        mask, how = extent_of(vicinity, target.diameter_mm)
        weight = soften(mask, vicinity, self.outline, rng)
        known = np.where(vicinity.depth_mm > 0, vicinity.hu, vicinity.lung_hu)  # the wall is not drawn into the lung
        known = np.minimum(known, vicinity.lung_hu + BRIGHTEST_HU)
        rim_mm = ndimage.distance_transform_edt(~mask, vicinity.spacing_mm)
        hole = (weight > 0.5) | (rim_mm <= self.outline.full_mm)  # what is left of a nodule at the wall is not known
        filled, grid_mm = fill_hole(known, hole, vicinity.spacing_mm)
        details = {
            "covered": how,
            "covered_diameter_mm": round(diameter_of(mask, target.spacing_mm), 2),
            "grid_mm": grid_mm,
            **describe_place(vicinity, self.outline),
        }
        return crop_paint(vicinity, vicinity.hu + weight * (filled - vicinity.hu), weight, details)


def fill_hole(
    hu: np.ndarray, hole: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[np.ndarray, float]:
    """Fill a hole by biharmonic inpainting.

    Parameters
    ----------
    hu
        (z, y, x) HU; what stands in the hole has no influence.
    hole
        (z, y, x) bool; something must be left around it.
    spacing_mm
        (z, y, x).

    Returns
    -------
    filled
        (z, y, x) float32: the filling, and beyond the hole what it started from, the surroundings smoothed by 1 mm.
    grid_mm
        At which it was solved.

    Raises
    ------
    MissingExtraError
        If scikit-image is not installed.
    """
    try:
        from skimage.restoration import inpaint_biharmonic
    except ImportError as error:
        raise MissingExtraError(
            "the method inpaint needs scikit-image", next_step="install it with: pip install 'verict[tamper]'"
        ) from error
    volume_mm3 = float(hole.sum()) * math.prod(spacing_mm)
    grid_mm = max(GRID_MM, (volume_mm3 / LARGEST_HOLE) ** (1 / 3))
    shape = [max(1, round((n - 1) * s / grid_mm) + 1) for n, s in zip(hu.shape, spacing_mm, strict=True)]
    blur = [KNOWN_BLUR_MM / s for s in spacing_mm]
    known = (~hole).astype(np.float32)
    share = ndimage.gaussian_filter(known, blur, mode="nearest")
    smooth = ndimage.gaussian_filter(np.where(hole, 0, hu).astype(np.float32), blur, mode="nearest")
    smooth /= np.maximum(share, 1e-3)
    nearest = ndimage.distance_transform_edt(hole, spacing_mm, return_distances=False, return_indices=True)
    smooth = smooth[tuple(nearest)]  # what stands in the hole for now, lest splines draw it out of it
    factors = [m / n for m, n in zip(shape, hole.shape, strict=True)]
    coarse_hole = ndimage.zoom(hole.astype(np.float32), factors, order=1)
    flat = [axis for axis, n in enumerate(shape) if n == 1]
    image, missing = (np.squeeze(v, tuple(flat)) for v in (resize(smooth, shape), coarse_hole > 0.3))
    filled = inpaint_biharmonic(image, missing) if missing.any() else image
    return resize(filled.reshape(shape).astype(np.float32), hu.shape), round(grid_mm, 3)
