"""A nodule of drawn size, shape and density, added to the lung that is there.

Lesions by formula are older than networks that paint them (Li, Samei et al., "Three-dimensional simulation of lung
nodules for paediatric multidetector array CT", Br. J. Radiol. 82, 2009; Solomon, Samei, "A generic framework to
simulate realistic lung, liver and renal pathologies in CT imaging", Phys. Med. Biol. 59, 2014). The shapes are those
of the simulated chest, `verict.ct.phantom.nodules`: round, lobulated, spiculated, ground glass, part-solid. They are
painted on a grid finer than the scan's, averaged over the thickness of each slice, blurred in plane as the scan's own
edges are, and added: where the lung lies at L, the tissue of the nodule takes its share of what is missing to its
density; what is brighter already, a vessel or the wall, stays.

Traces it leaves, none of them CT-GAN's: a footprint that ends where the nodule ends, no cube and no seam; the scan's
own noise goes through it, scaled down from the spread it has in lung to that in soft tissue, so that neither spectrum
nor correlation between slices steps and the variance does as in a real nodule. What is left to find is inside of the
nodule: fine texture of lung shining through, too even a density, and no halo of an edge-enhancing kernel. No voxel
falls.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from verict.ct.phantom.canvas import Canvas, make_raster
from verict.ct.phantom.nodules import Attachment, Nodule, NoduleShape, draw_shape, make_nodule
from verict.errors import InputError
from verict.tamper.edge_blur import measure_edge_blur
from verict.tamper.forgery import ForgeryKind, Paint, Target
from verict.tamper.paste import crop_paint
from verict.tamper.vicinity import Vicinity, cut_vicinity, is_lung

DIAMETER_MM = (5.0, 22.0)  # of nodules whose size is not told; small ones are more frequent
FAINT = (NoduleShape.GROUND_GLASS, NoduleShape.PART_SOLID)
FAINT_MM = 8.0  # below it these would hardly be seen: others are drawn
PITCH_MM = (0.25, 0.5)  # of the grid it is painted on: half a pixel, within these limits
PLANE_MM = 0.5  # between the planes whose mean is a slice
SPICULES_REACH = 1.1  # of the diameter, from the middle: no spicule goes farther
PIXEL_BLUR = 0.6  # of a pixel: blur of edges where it cannot be measured
LEAST_BLUR = 0.35  # of a pixel: no scan shows an edge sharper
SLICES = 1  # to either side of the centre's, in which blur and noise are measured
SOFT_HU = (-50.0, 150.0)  # of soft tissue, whose noise a solid nodule gets
LEAST_VOXELS = 500  # of lung and of soft tissue, to compare their noise; else the lung's is kept
SMOOTH_MM = 1.5  # what varies over less than that is noise and texture, and stays
TEXTURE = 3.0  # standard deviations of it, at most, stay in the nodule: no vessel shines through
WARP = (0.06, 0.25)  # of the diameter: how far, and over which length, the shape is bent in plane; volume stays
MOTTLE = (0.15, 2.0)  # relative spread of what ground glass adds, and over how many mm it varies
BACKGROUNDS_HU = (-850.0, -650.0)  # on which it is painted, to tell what it adds from what it lets through
SHOWS_HU = 0.5  # what is added beyond counts as painted
LEAST_SHOWN_HU = 100.0  # at its brightest, else nothing would be seen


class ParametricNodule:
    """A nodule by formula: drawn diameter, shape and density, blurred as the scan's own edges."""

    name = "parametric"
    summary = "a nodule of drawn size, spiculation and density (solid, part-solid, ground glass), added to the lung"
    kinds = frozenset({ForgeryKind.INJECT})

    def __init__(self, shapes: tuple[NoduleShape, ...] = tuple(NoduleShape)) -> None:
        self.shapes = shapes

    def paint(self, target: Target, rng: np.random.Generator) -> Paint:
        """Paint the target.

        Raises
        ------
        InputError
            If the place holds hardly any lung, or lies in tissue so bright that a nodule would not show.
        """
        diameter_mm = target.diameter_mm or float(np.exp(rng.uniform(*np.log(DIAMETER_MM))))
        dense = tuple(shape for shape in self.shapes if shape not in FAINT) or self.shapes
        shape = draw_shape(diameter_mm, rng, dense if diameter_mm < FAINT_MM else self.shapes)
        nodule = make_nodule(np.zeros(3), diameter_mm, Attachment.FREE, shape, rng)
        blur_mm, is_measured = _edge_blur(target)
        reach_mm = diameter_mm * (SPICULES_REACH if nodule.spicules is not None else 0.8) + 3 * blur_mm + 2
        vicinity = cut_vicinity(target, reach_mm)
        warp_mm = _draw_warp(vicinity, WARP[0] * diameter_mm, WARP[1] * diameter_mm, rng)
        on_dark, on_light = (_render(nodule, vicinity, blur_mm, warp_mm, hu) for hu in BACKGROUNDS_HU)
        mottle = np.clip(1 + MOTTLE[0] * _draw_field(vicinity, MOTTLE[1], rng), 0.5, 1.5)
        quiet = _soft_tissue_share(target)
        hu, weight = _add(vicinity, on_dark, on_light, mottle, quiet)
        shown_hu = float((hu - vicinity.hu).max())
        if shown_hu < LEAST_SHOWN_HU:
            raise InputError("a nodule would not show here", found=f"at most {shown_hu:.0f} HU added",
                             expected=f"{LEAST_SHOWN_HU:.0f} HU, as in lung", next_step="choose a place amid lung")
        details = _describe(nodule, blur_mm, is_measured, vicinity) | {"noise_share": round(quiet, 3)}
        return crop_paint(vicinity, hu, weight, details)


def _slices_around(target: Target) -> list[int]:
    """The slices in which the scan's blur and noise are measured."""
    near = range(target.centre[0] - SLICES, target.centre[0] + SLICES + 1)
    return [z for z in near if target.run.start <= z < target.run.stop]


def _edge_blur(target: Target) -> tuple[float, bool]:
    """Blur of the scan's edges near the target in mm, and whether it was measured."""
    pixel_mm = math.sqrt(target.spacing_mm[1] * target.spacing_mm[2])
    measured_mm = measure_edge_blur(target.hu[_slices_around(target)], target.spacing_mm)
    if measured_mm is None:
        return PIXEL_BLUR * pixel_mm, False
    return max(measured_mm, LEAST_BLUR * pixel_mm), True


def _draw_field(vicinity: Vicinity, grain_mm: float, rng: np.random.Generator) -> np.ndarray:
    """A random field of mean 0 and sd 1 that varies over so many mm, (z, y, x) float32."""
    field = rng.standard_normal(vicinity.hu.shape, np.float32)
    field = ndimage.gaussian_filter(field, [grain_mm / s for s in vicinity.spacing_mm], mode="wrap")
    return field / max(float(field.std()), 1e-6)


def _draw_warp(
    vicinity: Vicinity, size_mm: float, grain_mm: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """How far each voxel's shape is bent along y and x, mm: a curl, so that no area grows or shrinks."""
    height = _draw_field(vicinity, grain_mm, rng)
    along_y, along_x = np.gradient(height, *vicinity.spacing_mm[1:], axis=(1, 2))
    scale = size_mm / max(float(np.sqrt((along_y**2 + along_x**2).mean() / 2)), 1e-6)
    return scale * along_x, -scale * along_y


def _render(
    nodule: Nodule, vicinity: Vicinity, blur_mm: float, warp_mm: tuple[np.ndarray, np.ndarray], background_hu: float
) -> np.ndarray:
    """The nodule amid a uniform background as this scan would show it, (z, y, x) float32 HU."""
    z_mm, y_mm, x_mm = vicinity.axes_mm
    step_mm = vicinity.spacing_mm[0]
    pitch_mm = float(np.clip(min(vicinity.spacing_mm[1:]) / 2, *PITCH_MM))
    half = math.ceil(max(np.abs(y_mm).max(), np.abs(x_mm).max()) / pitch_mm) + 2
    raster = make_raster(2 * half + 1, pitch_mm)
    planes = math.ceil(step_mm / PLANE_MM)
    inside_slice = ((np.arange(planes) + 0.5) / planes - 0.5) * step_mm
    at = np.meshgrid(y_mm / pitch_mm + half, x_mm / pitch_mm + half, indexing="ij")
    out = np.empty(vicinity.hu.shape, np.float32)
    for image, middle_mm, *bent_mm in zip(out, z_mm, *warp_mm, strict=True):
        total = np.zeros((2 * half + 1,) * 2, np.float32)
        for plane_mm in middle_mm + inside_slice:
            canvas = Canvas(raster, float(plane_mm), np.full_like(total, background_hu))
            nodule.paint(canvas)
            total += canvas.hu
        blurred = ndimage.gaussian_filter(total / planes, blur_mm / pitch_mm, mode="nearest")
        bent = [place + bend_mm / pitch_mm for place, bend_mm in zip(at, bent_mm, strict=True)]
        ndimage.map_coordinates(blurred, bent, output=image, order=1, mode="nearest")
    return out


def _add(
    vicinity: Vicinity, on_dark: np.ndarray, on_light: np.ndarray, mottle: np.ndarray, quiet: float
) -> tuple[np.ndarray, np.ndarray]:
    """Lay a rendered nodule over the lung: HU that finally stand there, and how far each voxel is nodule.

    What a voxel shows is linear in what lies behind: two renderings tell the share let through and what is added.
    ``mottle`` is a factor of what is added where the lung shines through, ``quiet`` one of the fine texture where
    nothing does.
    """
    dark_hu, light_hu = BACKGROUNDS_HU
    through = np.clip((on_light - on_dark) / (light_hu - dark_hu), 0, 1)
    behind = ndimage.gaussian_filter(vicinity.hu, [SMOOTH_MM / s for s in vicinity.spacing_mm], mode="nearest")
    added = np.maximum(on_dark + through * (behind - dark_hu) - behind, 0)
    added *= 1 + 4 * through * (1 - through) * (mottle - 1)
    texture = vicinity.hu - behind
    most = TEXTURE * _robust_spread(texture[is_lung(vicinity.hu)])  # vessels do not count
    too_much = texture - quiet * np.clip(texture, -most, most)
    hu = np.maximum(vicinity.hu + added - (1 - through) * too_much, vicinity.hu)
    weight = np.where(hu - vicinity.hu >= SHOWS_HU, np.maximum(1 - through, 0.01), 0)
    return np.where(weight > 0, hu, vicinity.hu), weight


def _soft_tissue_share(target: Target) -> float:
    """Spread of the fine texture in soft tissue over that in lung, in the slices around the centre; 1 at most."""
    pixel_mm = np.array(target.spacing_mm[1:])
    lung, soft = [], []
    for z in _slices_around(target):
        image = target.hu[z].astype(np.float32)
        smooth = ndimage.gaussian_filter(image, SMOOTH_MM / pixel_mm)
        fine = image - smooth
        lung.append(fine[target.lung[z] & is_lung(smooth)])
        even = (smooth > SOFT_HU[0]) & (smooth < SOFT_HU[1])
        soft.append(fine[ndimage.binary_erosion(even, iterations=3)])
    in_lung, in_soft = np.concatenate(lung), np.concatenate(soft)
    if min(in_lung.size, in_soft.size) < LEAST_VOXELS:
        return 1.0
    return min(1.0, _robust_spread(in_soft) / max(_robust_spread(in_lung), 1e-6))


def _robust_spread(values: np.ndarray) -> float:
    """Standard deviation of a Gaussian with the same median absolute value; 0 for nothing."""
    return 1.4826 * float(np.median(np.abs(values))) if values.size else 0.0


def _describe(nodule: Nodule, blur_mm: float, is_measured: bool, vicinity: Vicinity) -> dict[str, object]:
    """Every drawn parameter, for the record."""
    return {
        "diameter_mm": round(nodule.diameter_mm, 2),
        "shape": str(nodule.shape),
        "hu": round(nodule.hu, 1),
        "core_diameter_mm": round(nodule.core_mm, 2) or None,
        "core_hu": round(nodule.core_hu, 1) if nodule.core_mm else None,
        "lobes": np.round(nodule.lobes, 4).tolist(),
        "spicules": None if nodule.spicules is None else len(nodule.spicules.start) // 2,
        "edge_blur_mm": round(blur_mm, 3),
        "is_edge_blur_measured": is_measured,
        "lung_hu": vicinity.lung_hu,
        "is_clamped": vicinity.cube.is_clamped,
    }
