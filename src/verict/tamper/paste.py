"""How foreign tissue is pasted: soft irregular outlines that leave the wall alone, and the level of the lung there."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage

from verict.errors import InputError
from verict.tamper.ctgan_touch_up import LUNG_BELOW_HU
from verict.tamper.forgery import Paint
from verict.tamper.vicinity import AIR_BELOW_HU, LARGEST_NODULE_MM, Vicinity, grain_of, is_lung

SOLID_HU = 0.0  # from here on tissue is no longer partly lung: fitting the lung's level leaves it alone
LEVEL_LEAST_VOXELS = 30  # of lung at the rim of a paste, to take its level from
DARKER_HU = (60.0, 150.0)  # beyond noise, a voxel may become darker, and over how much more it comes to be kept
STRANGE_HU = (90.0, 450.0)  # so much darker, or brighter, than lung: airways, large vessels and walls
LOWEST_HU = -1024.0
LEAST_WEIGHT = 0.005  # less changes HU by no more than the noise of its rounding


@dataclass(frozen=True)
class Outline:
    """How a mask becomes a soft, irregular weight.

    Parameters
    ----------
    full_mm
        How far beyond the mask all is paint, irregularity aside.
    soft_mm
        Over which width paint fades out beyond that.
    wobble_mm
        Standard deviation of the outline's irregularity.
    grain_mm
        Over which length it changes.
    wall_mm
        Over which depth inside the lung paint fades in; nothing is painted in the wall.
    """

    full_mm: float = 1.5
    soft_mm: float = 4.0
    wobble_mm: float = 0.8
    grain_mm: float = 3.0
    wall_mm: float = 2.0

    @property
    def reach_mm(self) -> float:
        """Farthest beyond the mask that is painted at all."""
        return self.full_mm + self.soft_mm + 3 * self.wobble_mm


def soften(mask: np.ndarray, vicinity: Vicinity, outline: Outline, rng: np.random.Generator) -> np.ndarray:
    """A soft, irregular weight around a mask, (z, y, x) float32 from 0 to 1, 0 in the wall.

    Raises
    ------
    InputError
        If nothing of it lies inside the lung.
    """
    spacing = vicinity.spacing_mm
    field = rng.standard_normal(mask.shape, np.float32)
    field = ndimage.gaussian_filter(field, [outline.grain_mm / s for s in spacing], mode="wrap")
    field *= outline.wobble_mm / max(float(field.std()), 1e-6)
    field = np.clip(field, -outline.full_mm / 2, 3 * outline.wobble_mm)
    beyond_mm = ndimage.distance_transform_edt(~mask, spacing) - field
    fade = np.clip(1 - (beyond_mm - outline.full_mm) / outline.soft_mm, 0, 1)
    weight = smoothstep(fade) * smoothstep(np.clip(vicinity.depth_mm / outline.wall_mm, 0, 1))
    if weight.max() < 0.5:
        raise InputError(
            "nothing can be painted here without painting the chest wall",
            found="a place in the wall, or within 2 mm of it",
            expected="a place inside the lungs",
            next_step="choose a deeper place",
        )
    return weight.astype(np.float32)


def smoothstep(values: np.ndarray) -> np.ndarray:
    """From 0 to 1 without a kink at either end."""
    return values * values * (3 - 2 * values)


def fit_level(hu: np.ndarray, from_hu: float, to_hu: float) -> np.ndarray:
    """Move lung of one level to another; what is solid stays, what lies between moves in proportion."""
    return hu + (to_hu - from_hu) * np.clip((SOLID_HU - hu) / (SOLID_HU - from_hu), 0, 1)


def fit_to_rim(
    patch: np.ndarray, vicinity: Vicinity, weight: np.ndarray
) -> tuple[np.ndarray, dict[str, object]]:
    """Move the patch's lung to the level of the scan's where they meet; both levels in HU, for the record.

    Raises
    ------
    InputError
        If the patch shows no lung.
    """
    rim = (weight > 0) & (weight < 0.6)
    here, there = vicinity.hu[rim & is_lung(vicinity.hu)], patch[rim & is_lung(patch)]
    if min(here.size, there.size) < LEVEL_LEAST_VOXELS:
        here, there = vicinity.hu[is_lung(vicinity.hu)], patch[is_lung(patch)]
    if not there.size:
        raise InputError(
            "the tissue to be pasted shows no lung where it meets this scan",
            expected=f"voxels of {AIR_BELOW_HU:.0f} to {LUNG_BELOW_HU:.0f} HU",
            next_step="choose another source or another place",
        )
    to_hu, from_hu = float(np.median(here)), float(np.median(there))
    levels: dict[str, object] = {"lung_hu": round(to_hu, 1), "pasted_lung_hu": round(from_hu, 1)}
    return np.maximum(fit_level(patch, from_hu, to_hu), LOWEST_HU), levels


def leave_wall(weight: np.ndarray, depth_mm: np.ndarray, outline: Outline) -> np.ndarray:
    """The weight of a patch without the wall that came along with it; ``depth_mm`` is that at the patch's source."""
    left: np.ndarray = weight * smoothstep(np.clip(depth_mm / outline.wall_mm, 0, 1))
    return left


def keep_brighter(weight: np.ndarray, patch: np.ndarray, vicinity: Vicinity) -> np.ndarray:
    """The weight of an injection without the vessels and walls it would darken: they go on into the nodule."""
    blur = [0.8 / s for s in vicinity.spacing_mm]
    darker_hu = ndimage.gaussian_filter(vicinity.hu - patch, blur, mode="nearest")
    from_hu = DARKER_HU[0] + 4 * grain_of(vicinity.hu, vicinity.spacing_mm)  # noise alone is no vessel
    keep = smoothstep(np.clip((darker_hu - from_hu) / DARKER_HU[1], 0, 1))
    keep = ndimage.grey_dilation(keep, [2 * round(1.0 / s) + 1 for s in vicinity.spacing_mm])  # its flanks, too
    kept: np.ndarray = weight * (1 - ndimage.gaussian_filter(keep, [0.5 / s for s in vicinity.spacing_mm]))
    return kept


def seam_cost(patch: np.ndarray, vicinity: Vicinity, weight: np.ndarray) -> float:
    """How badly lung fits over a nodule, HU: the step at its rim, and what in it is a large vessel or airway.

    Root mean square of the step, smoothed by 1 mm; a share of 3 % that is bright, or as much darker than lung as gas
    is, counts like a step of 40 HU.
    """
    blur = [1.0 / s for s in vicinity.spacing_mm]
    smooth, here = (ndimage.gaussian_filter(hu, blur, mode="nearest") for hu in (patch, vicinity.hu))
    rim, inside = (weight > 0.02) & (weight < 0.98), smooth[weight > 0.5]
    strange = (inside > vicinity.lung_hu + STRANGE_HU[1]) | (inside < vicinity.lung_hu - STRANGE_HU[0])
    step = float(np.sqrt(np.mean((smooth - here)[rim] ** 2))) if rim.any() else 0.0
    return step + 40 * float(strange.mean()) / 0.03


def reach_for_removal(diameter_mm: float | None, outline: Outline) -> float:
    """How far around a nodule must be looked at, to find it and to paint over it."""
    return (LARGEST_NODULE_MM / 2 if diameter_mm is None else 0.7 * diameter_mm + 2) + outline.reach_mm + 2


def crop_paint(vicinity: Vicinity, hu: np.ndarray, weight: np.ndarray, details: dict[str, object]) -> Paint:
    """What was painted, in the smallest box that holds it; where the weight is next to nothing, nothing is.

    Raises
    ------
    InputError
        If nothing is painted at all.
    """
    weight = np.where(weight < LEAST_WEIGHT, 0, weight).astype(np.float32)
    if not weight.any():
        raise InputError("nothing is left to be painted here", found="tissue brighter than what would be painted",
                         expected="lung", next_step="choose another place")
    inner = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(weight))
    z, y, x = (slice(b.start + i.start, b.start + i.stop) for b, i in zip(vicinity.cube.box, inner, strict=True))
    painted = np.where(weight > 0, hu, vicinity.hu)[inner]
    return Paint((z, y, x), painted.astype(np.float32), weight[inner], details)


def describe_place(vicinity: Vicinity, outline: Outline) -> dict[str, object]:
    """What every record of these families says of the place."""
    return {
        "is_clamped": vicinity.cube.is_clamped,  # whether the scan's end or a gap cut off what could be painted
        "outline": asdict(outline),
    }
