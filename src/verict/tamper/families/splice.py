"""A place of another scan, pasted in: a real nodule, or healthy lung over a nodule.

The oldest forgery of images there is, in 3D and in mm. The donor is cut at 1 mm (`verict.tamper.donors`), turned,
mirrored and scaled, resampled to this scan's grid, averaged over this scan's slice thickness, moved to the level of
the lung around, and pasted.

Traces it leaves, none of them CT-GAN's: an irregular footprint no larger than the nodule and a few mm around it, no
cube; inside of it the noise of another scanner, turned and low-passed by two resamplings, so that its variance,
spectrum and correlation between slices are another's. `Splice` blends over a soft rim of some mm, in which the two
noises average and the variance dips to k^2 + (1 - k)^2. `PoissonSplice` meets the values at its rim and needs a rim
half as wide, as in Pezeshk et al., "Seamless lesion insertion for data augmentation in CAD training", IEEE Trans. Med.
Imaging 36(4), 2017, who put lung nodules into other scans by Poisson editing; there the noise of the rim is drawn a
voxel or two into the patch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage

from verict.errors import InputError
from verict.tamper.cubes import Cube
from verict.tamper.forgery import Donor, ForgeryKind, Paint, Target
from verict.tamper.lung_map import BRIGHT_HU
from verict.tamper.membrane import solve_membrane
from verict.tamper.paste import (
    Outline,
    crop_paint,
    describe_place,
    fit_to_rim,
    keep_brighter,
    leave_wall,
    reach_for_removal,
    seam_cost,
    soften,
)
from verict.tamper.vicinity import (
    DEPTH_REACH_MM,
    Vicinity,
    cut_vicinity,
    diameter_of,
    distance_from_centre,
    extent_of,
    find_nodule,
    grain_of,
    is_lung,
)

SCALE = (0.6, 1.6)  # of a donated nodule, so that it gets the wanted diameter as far as its texture bears it
SUBSLICE_MM = 1.0  # the donor's own grid: a thicker slice is the mean of so many of its planes
COVERED_SHARE = 0.05  # of a thick slice's voxel: from here on it counts as a part of the nodule
TRIES = 8  # parts of donated lung that are tried on
GRAIN_SHARE = 0.7  # of the best donor's grain makes as good a donor
NODULE_REACH = 0.6  # of its diameter: what is farther from the middle of a donated nodule and thick is wall
WALL_MM = 3  # how thick, at least, from surface to middle: vessels are thinner
BLUR_MM = tuple(round(0.1 * step, 1) for step in range(13))  # tried one after the other; 0 leaves the donor as it is
NODULE_BLUR_MM = 0.8  # at most, for a nodule, whose edge would be lost otherwise
MISMATCH_HU = (-150.0, 300.0)  # is met at a voxel of the rim: a vessel that is cut off there does not bleed far


@dataclass(frozen=True)
class Pose:
    """How a donor is laid over its new place: turned in plane, mirrored, scaled, and moved (z, y, x) mm."""

    turn_deg: float
    flip_z: bool
    flip_x: bool
    scale: float
    shift_mm: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Laid:
    """A donor in its pose over the target, and how far each voxel there will be its tissue."""

    donor: Donor
    pose: Pose
    vicinity: Vicinity
    weight: np.ndarray
    details: Mapping[str, object]


class Splice:
    """A real nodule, or healthy lung, of another scan, pasted with a soft irregular mask."""

    name = "splice"
    summary = "a nodule or healthy lung of another scan, pasted with a soft irregular mask"
    kinds = frozenset(ForgeryKind)
    outline = Outline()

    def paint(self, target: Target, rng: np.random.Generator) -> Paint:
        """Paint the target.

        Raises
        ------
        InputError
            If no donor fits, or the place is in the wall or holds hardly any lung.
        """
        donors = fitting_donors(target)
        lay = _lay_nodule if target.kind is ForgeryKind.INJECT else _lay_lung
        laid = lay(target, donors, self.outline, rng)
        donor, vicinity, weight = laid.donor, laid.vicinity, laid.weight
        patch, grain = _match_grain(_sample(donor.hu, vicinity, laid.pose), vicinity, target.kind)
        patch, levels = fit_to_rim(patch, vicinity, weight)
        if target.kind is ForgeryKind.INJECT:
            weight = keep_brighter(weight, patch, vicinity)
        hu, weight = self._blend(vicinity, patch, weight)
        details = {
            "donor": donor.source,
            "donor_diameter_mm": donor.diameter_mm,
            **laid.details,
            **asdict(laid.pose),
            **grain,
            **levels,
            **describe_place(vicinity, self.outline),
        }
        return crop_paint(vicinity, hu, weight, details)

    def _blend(self, vicinity: Vicinity, patch: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """HU that finally stand there, and how far each voxel is paint."""
        return vicinity.hu + weight * (patch - vicinity.hu), weight


class PoissonSplice(Splice):
    """The same, blended in the gradient domain: the patch's gradients, the surroundings' values at its rim.

    Poisson image editing (Pérez, Gangnet, Blake, ACM Trans. Graph. 22(3), 2003), seamless cloning, in 3D with the
    scan's own spacing. Dirichlet where lung lies beyond the rim; towards the wall and the scan's ends nothing flows,
    so that the wall's brightness does not bleed into the lung. Over the outermost 2 mm it is faded in besides, so that
    vessels that cross the rim end softly.
    """

    name = "splice-poisson"
    summary = "the same, blended in the gradient domain (Poisson editing): no seam in the values"
    outline = Outline(full_mm=2.5, soft_mm=2.0)

    def _blend(self, vicinity: Vicinity, patch: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mismatch = np.clip(vicinity.hu - patch, *MISMATCH_HU)
        field = solve_membrane(weight > 0, vicinity.depth_mm > 0, mismatch, vicinity.spacing_mm)
        return vicinity.hu + weight * (patch + field - vicinity.hu), weight


def fitting_donors(target: Target) -> list[Donor]:
    """The donors of the right kind.

    Raises
    ------
    InputError
        If there is none.
    """
    fitting = [d for d in target.donors if d.kind is target.kind]
    if not fitting:
        wanted = "a nodule" if target.kind is ForgeryKind.INJECT else "healthy lung"
        raise InputError("there is nothing to splice in", found=f"no donor that is {wanted}",
                         expected=f"{wanted} of another scan", next_step="name another scan, or take copy-move")
    return fitting


def of_fitting_size(donors: list[Donor], wanted_mm: float | None) -> list[Donor]:
    """The nodules that can be scaled to a diameter; all where none can."""
    scales = [(wanted_mm or d.diameter_mm) / d.diameter_mm for d in donors]
    return [d for d, scale in zip(donors, scales, strict=True) if SCALE[0] <= scale <= SCALE[1]] or donors


def of_fitting_grain(donors: list[Donor], vicinity: Vicinity) -> list[Donor]:
    """The lung that is about as grainy as the scan's or more so; the grainiest where none is.

    Too much grain can be smoothed away, what a smooth scan lacks cannot be put back.
    """
    wanted_hu = max(grain_of(vicinity.hu, vicinity.spacing_mm), 1.0)
    shares = np.array([min(1.0, grain_of(d.hu, (1.0, 1.0, 1.0)) / wanted_hu) for d in donors])
    return [donors[i] for i in np.flatnonzero(shares >= GRAIN_SHARE * shares.max())]


def _draw_pose(rng: np.random.Generator, scale: float, shift_mm: tuple[float, float, float]) -> Pose:
    return Pose(round(float(rng.uniform(0, 360)), 1), bool(rng.integers(2)), bool(rng.integers(2)), scale, shift_mm)


def _lay_nodule(target: Target, donors: list[Donor], outline: Outline, rng: np.random.Generator) -> Laid:
    """Find the nodule of a donor and lay it over the target, turned at random."""
    suited = of_fitting_size(donors, target.diameter_mm)
    donor = suited[int(rng.integers(len(suited)))]
    whole = _as_vicinity(donor)
    nodule = find_nodule(whole, donor.diameter_mm)
    if nodule is None:
        raise InputError("the donor shows no nodule in its middle", file=donor.source,
                         found="nothing that stands out from the lung", expected="a nodule",
                         next_step="choose another donor")
    measured_mm = diameter_of(nodule, whole.spacing_mm)
    wanted_mm = target.diameter_mm or measured_mm
    scale = float(np.clip(wanted_mm / measured_mm, *SCALE))
    middle = ndimage.center_of_mass(nodule)
    z, y, x = (float(m - (n - 1) / 2) for m, n in zip(middle, nodule.shape, strict=True))
    pose = _draw_pose(rng, round(scale, 4), (z, y, x))
    farthest_mm = float(np.linalg.norm(np.argwhere(nodule) - middle, axis=1).max())
    vicinity = cut_vicinity(target, farthest_mm * scale + outline.reach_mm + 2)
    mask = _sample(nodule.astype(np.float32), vicinity, pose, order=1) > COVERED_SHARE
    weight = soften(mask, vicinity, outline, rng)
    weight = leave_wall(weight, _sample(whole.depth_mm, vicinity, pose, order=1), outline)
    details = {"diameter_mm": round(measured_mm * scale, 2), "wanted_diameter_mm": round(wanted_mm, 2)}
    return Laid(donor, pose, vicinity, weight, details)


def _lay_lung(target: Target, donors: list[Donor], outline: Outline, rng: np.random.Generator) -> Laid:
    """Find what is to be covered and lay over it what suits best of some parts of the donated lung."""
    vicinity = cut_vicinity(target, reach_for_removal(target.diameter_mm, outline))
    mask, how = extent_of(vicinity, target.diameter_mm)
    weight = soften(mask, vicinity, outline, rng)
    covered_mm = float(vicinity.distance_mm[weight > 0].max())
    roomy = [d for d in donors if _half_side(d) >= covered_mm]
    if not roomy:
        largest = max(donors, key=_half_side)
        raise InputError("the donated lung is too small for this nodule", file=largest.source,
                         found=f"{_half_side(largest):.3g} mm around its middle", expected=f"{covered_mm:.3g} mm",
                         next_step="cut a larger donor, or take copy-move")
    suited = of_fitting_grain(roomy, vicinity)
    tried = []
    for _ in range(TRIES):
        donor = suited[int(rng.integers(len(suited)))]
        z, y, x = (float(s) for s in rng.uniform(-1, 1, 3) * (_half_side(donor) - covered_mm) / np.sqrt(3))
        pose = _draw_pose(rng, 1.0, (z, y, x))
        patch, _ = fit_to_rim(_sample(donor.hu, vicinity, pose, order=1), vicinity, weight)
        tried.append((seam_cost(patch, vicinity, weight), donor, pose))
    _, donor, pose = min(tried, key=lambda one: one[0])
    details = {"covered": how, "covered_diameter_mm": round(diameter_of(mask, target.spacing_mm), 2)}
    return Laid(donor, pose, vicinity, weight, details)


def _half_side(donor: Donor) -> float:
    return (len(donor.hu) - 1) / 2


def _as_vicinity(donor: Donor) -> Vicinity:
    """The donor as a place of its own: thick bright tissue beyond its nodule is the wall."""
    n = len(donor.hu)
    axis, offsets = np.arange(n) - (n - 1) / 2, np.arange(n) - n // 2
    hu = donor.hu.astype(np.float32)
    if not is_lung(hu).any():
        raise InputError("the donor shows no lung", file=donor.source, next_step="choose another donor")
    beyond = (hu > BRIGHT_HU) & (distance_from_centre((axis,) * 3) > NODULE_REACH * donor.diameter_mm + 1)
    thick = ndimage.distance_transform_edt(np.pad(beyond, WALL_MM, "edge"))[(slice(WALL_MM, -WALL_MM),) * 3] >= WALL_MM
    if thick.any():
        wall = beyond & (ndimage.distance_transform_edt(~thick) <= WALL_MM + 1)
        depth_mm = np.minimum(ndimage.distance_transform_edt(~wall), DEPTH_REACH_MM).astype(np.float32)
    else:
        depth_mm = np.full(hu.shape, DEPTH_REACH_MM, np.float32)
    cube = Cube((slice(0, n),) * 3, (offsets,) * 3, is_clamped=False)
    return Vicinity(cube, (axis,) * 3, hu, depth_mm, (1.0, 1.0, 1.0), float(np.median(hu[is_lung(hu)])))


def _sample(values: np.ndarray, vicinity: Vicinity, pose: Pose, order: int = 3) -> np.ndarray:
    """A donor's values on the scan's grid, each the mean over the thickness of its slice; float32."""
    step_mm = vicinity.spacing_mm[0]
    count = max(1, round(step_mm / SUBSLICE_MM))
    inside_slice = ((np.arange(count) + 0.5) / count - 0.5) * step_mm
    z, y, x = vicinity.axes_mm
    z, y, x = np.meshgrid((z[:, None] + inside_slice).ravel(), y, x, indexing="ij", sparse=True)
    turn = np.deg2rad(pose.turn_deg)
    x = -x if pose.flip_x else x
    z = -z if pose.flip_z else z
    across = np.cos(turn) * y - np.sin(turn) * x, np.sin(turn) * y + np.cos(turn) * x
    grid = np.broadcast_arrays(*(v / pose.scale + s + (n - 1) / 2
                                 for v, s, n in zip((z, *across), pose.shift_mm, values.shape, strict=True)))
    out = ndimage.map_coordinates(values, grid, order=order, mode="nearest", output=np.float32)
    return out.reshape(-1, count, *out.shape[1:]).mean(axis=1)


def _match_grain(
    patch: np.ndarray, vicinity: Vicinity, kind: ForgeryKind
) -> tuple[np.ndarray, dict[str, object]]:
    """Smooth a patch that is grainier than the scan, in plane, until it is not."""
    wanted_hu = grain_of(vicinity.hu, vicinity.spacing_mm)
    found_hu = grain_of(patch, vicinity.spacing_mm)
    smooth, blur_mm = patch, 0.0
    for blur_mm in (b for b in BLUR_MM if kind is ForgeryKind.REMOVE or b <= NODULE_BLUR_MM):
        smooth = ndimage.gaussian_filter(patch, [0, *(blur_mm / s for s in vicinity.spacing_mm[1:])], mode="nearest")
        if grain_of(smooth, vicinity.spacing_mm) <= wanted_hu:
            break
    return smooth, {"grain_hu": round(wanted_hu, 1), "donor_grain_hu": round(found_hu, 1), "donor_blur_mm": blur_mm}
