"""Places to score: negatives beside the labels of a slice, and sites for rows that name none.

The location protocol. Positives are the FB and FM rows. Negatives lie in the same slices, inside the
lung region, at least 48 mm in-plane from every label of that scan within max(40 mm, half its touch-up
cube) in z: 20 in parenchyma and 20 on bright structures a slice, where so many fit.

Points are (y, x) pixels; HU slices (y, x); spacings (y, x) or (z, y, x) in mm.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from zlib import crc32

import numpy as np
from scipy import ndimage, signal

from verict.datasets.uci import LabelRow
from verict.errors import UsageError

CUBOID_MM = 32.0  # side of the cuboid CT-GAN repaints (USENIX Security 2019, section 4; its published code)
TOUCH_UP_FACTOR = 1.3  # the touched-up cube is int(1.3 x largest cuboid side in voxels) (published code)
CLEAR_IN_PLANE_MM = 48.0  # clear of the largest painted square (half side 21 mm) and of a scoring window
CLEAR_IN_Z_MM = 40.0  # at least; more where half the touch-up cube reaches further
SITES_PER_KIND = 20  # negatives of each kind a slice
SEPARATION_MM = 10.0  # parenchyma sites lie this far apart: a site is scored by the maximum within 10 mm
SMOOTHING_MM = 1.0  # sigma of the Gaussian that decides what is parenchyma and what is bright
PARENCHYMA_HU = -600.0  # below it the centre of 97 % of the published FB sites, of no FM site
BRIGHT_HU = -500.0  # smoothed value above it: vessels, nodules, scars, walls
PEAK_RADIUS_MM = 4.0  # a bright structure is the largest smoothed value within this radius
AROUND_MM = 12.0  # radius of the disc around a bright structure that must be lung for the most part
AROUND_SHARE = 0.4  # of it below -600 HU: a point more than about 2 mm inside a flat chest wall has less
MASS_HU = -400.0  # half way from lung (-850) to soft tissue (40): where a mass ends
MASS_RADIUS_MM = 3.0  # of the largest disc that fits; vessels of the outer lung are narrower
MASS_APART_MM = 6.0  # of two centres closer than this only the one of the larger disc counts
MASS_RING_MM = (2.0, 8.0)  # around that disc, beyond its edge: where a mass is surrounded by lung
MASS_RING_SHARE = 0.5  # of the ring is parenchyma: not the hilum or the chest wall
MASS_ELONGATION = 1.5  # at most, of what is bright within twice the disc's radius; a vessel in the plane has 1.8


class SiteKind(StrEnum):
    """What an untouched place looks like."""

    PARENCHYMA = "parenchyma"
    BRIGHT = "bright"
    MASS = "mass"


@dataclass(frozen=True)
class Site:
    """An untouched place of a slice, pixel (y, x)."""

    kind: SiteKind
    y: int
    x: int


def touch_up_slices(spacing_mm: tuple[float, float, float]) -> int:
    """Side of the cube CT-GAN touches up, in voxels, the same number along each axis.

    int(1.3 x largest side of the 32 mm cuboid in voxels); spacing (z, y, x) in mm.

    >>> touch_up_slices((2.5, 0.7, 0.7))
    59
    """
    return int(TOUCH_UP_FACTOR * round(CUBOID_MM / min(spacing_mm)))


def clear_z_mm(spacing_mm: tuple[float, float, float]) -> float:
    """How far along z from a label a slice must be for the label not to matter: max(40 mm, half the cube).

    >>> clear_z_mm((2.5, 0.7, 0.7))
    73.75
    """
    return max(CLEAR_IN_Z_MM, touch_up_slices(spacing_mm) * spacing_mm[0] / 2)


def labels_near(
    rows: Iterable[LabelRow],
    slice_number: int,
    spacing_mm: tuple[float, float, float],
) -> np.ndarray:
    """The labels a slice's negatives must stay clear of.

    Parameters
    ----------
    rows
        All rows of the scan, of both experiments where it is a twin; rows without a place are passed over.
    slice_number
        InstanceNumber of the slice; slices are ``spacing_mm[0]`` apart.
    spacing_mm
        (z, y, x) in mm.

    Returns
    -------
    numpy.ndarray
        (n, 2) float64 (y, x) in mm from the centre of pixel (0, 0).
    """
    reach_mm = clear_z_mm(spacing_mm)
    near = [
        (row.y * spacing_mm[1], row.x * spacing_mm[2])
        for row in rows
        if row.is_placed and abs(row.slice - slice_number) * spacing_mm[0] <= reach_mm
    ]
    return np.array(near, dtype=np.float64).reshape(-1, 2)


def site_rng(seed: int, uuid: str, slice_number: int) -> np.random.Generator:
    """The generator of one slice, so that its sites do not depend on which slices came before."""
    return np.random.default_rng([seed, crc32(uuid.encode()), slice_number])


def choose_negative_sites(
    hu: np.ndarray,
    lung_mask: np.ndarray,
    spacing_mm: tuple[float, float],
    labels_mm: np.ndarray,
    rng: np.random.Generator,
    *,
    per_kind: int = SITES_PER_KIND,
) -> tuple[Site, ...]:
    """Untouched places of one slice, in random order within each kind.

    *Parenchyma*: a lung pixel where HU smoothed by a Gaussian of 1 mm (sigma) lies below -600.
    *Bright structure*: a lung pixel where the smoothed HU exceeds -500 and is the largest within 4 mm,
    surroundings outside the lungs included, and where at least 40 % of the pixels within 12 mm are
    parenchyma: vessels, nodules and scars within the lung, not the chest wall in the region's margin.
    Parenchyma sites lie at least 10 mm apart, peaks at least 4 mm, and all at least 48 mm from each label.

    Parameters
    ----------
    hu
        (y, x) HU.
    lung_mask
        (y, x) bool, see `verict.ct.lungs.find_lungs`.
    spacing_mm
        (y, x) in mm.
    labels_mm
        (n, 2) (y, x) in mm, see `labels_near`.
    rng
        See `site_rng`.
    per_kind
        How many of each kind; fewer are returned where no more fit.

    Returns
    -------
    tuple of Site
        Parenchyma first, then bright structures.

    Raises
    ------
    UsageError
        If the mask has another shape than the slice.
    """
    smooth, spacing = _smooth_slice(hu, lung_mask, spacing_mm)
    lung_mask = lung_mask.astype(bool)
    allowed = lung_mask & _clear_of(hu.shape, spacing, np.asarray(labels_mm).reshape(-1, 2))
    peak = smooth == ndimage.maximum_filter(smooth, footprint=_disc(PEAK_RADIUS_MM / spacing))
    parenchyma = lung_mask & (smooth < PARENCHYMA_HU)
    disc = _disc(AROUND_MM / spacing)
    share = signal.fftconvolve(parenchyma.astype(np.float32), disc / disc.sum(), mode="same")
    candidates = {
        SiteKind.PARENCHYMA: allowed & parenchyma,
        SiteKind.BRIGHT: allowed & (smooth > BRIGHT_HU) & peak & (share >= AROUND_SHARE),
    }
    apart_mm = {SiteKind.PARENCHYMA: SEPARATION_MM, SiteKind.BRIGHT: PEAK_RADIUS_MM}
    return tuple(
        Site(kind, int(y), int(x))
        for kind, region in candidates.items()
        for y, x in _pick_apart(np.argwhere(region), spacing, apart_mm[kind], per_kind, rng)
    )


def find_masses(
    hu: np.ndarray, lung_mask: np.ndarray, spacing_mm: tuple[float, float], labels_mm: np.ndarray
) -> tuple[Site, ...]:
    """Every untouched nodule, mass or structure that looks like one in this slice, at its centre.

    Bright (HU smoothed by 1 mm above -400), larger than the vessels of the outer lung (a disc of 6 mm fits),
    compact (within twice the radius of the largest disc that fits what is bright is at most 1.5 times as long as
    wide, by its second moments) and within the lung (at least half of the ring 2 to 8 mm beyond that disc is
    parenchyma). A large vessel cut across looks the same in one slice and is among them.

    Parameters are those of `choose_negative_sites`; sites lie at least 48 mm from each label, in order of rows.

    Raises
    ------
    UsageError
        If the mask has another shape than the slice.
    """
    smooth, spacing = _smooth_slice(hu, lung_mask, spacing_mm)
    radius_mm = ndimage.distance_transform_edt(smooth > MASS_HU, spacing)
    apart = 2 * np.ceil(MASS_APART_MM / spacing).astype(int) + 1
    centre = (radius_mm >= MASS_RADIUS_MM) & (radius_mm == ndimage.maximum_filter(radius_mm, size=tuple(apart)))
    centre &= lung_mask.astype(bool) & _clear_of(hu.shape, spacing, np.asarray(labels_mm).reshape(-1, 2))
    parenchyma = lung_mask.astype(bool) & (smooth < PARENCHYMA_HU)
    points = np.argwhere(centre)
    points = points[np.argsort(-radius_mm[tuple(points.T)], kind="stable")]
    kept: list[np.ndarray] = []
    for point in points:
        if all(np.hypot(*((point - other) * spacing)) >= MASS_APART_MM for other in kept):
            radius = float(radius_mm[tuple(point)])
            ring = parenchyma[_around(point, radius + MASS_RING_MM[0], radius + MASS_RING_MM[1], spacing, hu.shape)]
            disc = _around(point, -1.0, 2 * radius, spacing, hu.shape)
            if ring.mean() >= MASS_RING_SHARE and _elongation(disc, smooth[disc] > MASS_HU, spacing) <= MASS_ELONGATION:
                kept.append(point)
    return tuple(Site(SiteKind.MASS, y, x) for y, x in sorted((int(y), int(x)) for y, x in kept))


def _around(
    point: np.ndarray, above_mm: float, up_to_mm: float, spacing: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels so far from a point, those beyond the image at its border."""
    reach = np.ceil(up_to_mm / spacing).astype(int)
    y, x = np.mgrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
    distance = np.hypot(y * spacing[0], x * spacing[1])
    chosen = (distance > above_mm) & (distance <= up_to_mm)
    return np.clip(y[chosen] + point[0], 0, shape[0] - 1), np.clip(x[chosen] + point[1], 0, shape[1] - 1)


def _elongation(pixels: tuple[np.ndarray, np.ndarray], chosen: np.ndarray, spacing: np.ndarray) -> float:
    """Length over width of those pixels that are chosen, by their second moments."""
    least, most = np.linalg.eigvalsh(np.cov([axis[chosen] * step for axis, step in zip(pixels, spacing, strict=True)]))
    return float(np.sqrt(most / max(least, 1e-9)))


@dataclass(frozen=True)
class LungPlace:
    """Where in the lungs a site lies, comparable between patients.

    ``on_left`` of the image; ``depth_mm`` in-plane distance to the edge of the lung region (0 outside
    it); ``front_to_back`` 0 at the first row the lungs of that slice reach, 1 at the last; ``height``
    0 at the first slice with lung, 1 at the last, None where only single slices are there.
    """

    on_left: bool
    depth_mm: float
    front_to_back: float
    height: float | None = None


def describe_place(
    lung_mask: np.ndarray,
    spacing_mm: tuple[float, float],
    site_zyx: tuple[int, int, int],
    *,
    whole_scan: bool,
) -> LungPlace:
    """Where in the lungs a site lies.

    Parameters
    ----------
    lung_mask
        (z, y, x) bool.
    spacing_mm
        (y, x) in mm.
    site_zyx
        Voxel.
    whole_scan
        Whether the mask holds the whole scan, so that a height can be told.

    Raises
    ------
    UsageError
        If that slice has no lung.
    """
    z, y, x = site_zyx
    lung = lung_mask[z]
    rows, columns = np.flatnonzero(lung.any(1)), np.flatnonzero(lung.any(0))
    if not len(rows):
        raise UsageError("no lung in the slice of this site", found=f"slice index {z}")
    slices = np.flatnonzero(lung_mask.any((1, 2)))
    return LungPlace(
        on_left=bool(x < (columns[0] + columns[-1]) / 2),
        depth_mm=float(ndimage.distance_transform_edt(lung, spacing_mm)[y, x]),
        front_to_back=float(np.clip((y - rows[0]) / max(rows[-1] - rows[0], 1), 0, 1)),
        height=float((z - slices[0]) / max(slices[-1] - slices[0], 1)) if whole_scan else None,
    )


def choose_benign_sites(
    lung_mask: np.ndarray,
    spacing_mm: tuple[float, float, float],
    like: Sequence[LungPlace],
    count: int,
    rng: np.random.Generator,
) -> list[tuple[int, int, int]]:
    """Sites for TB rows, which name none: inside both lungs, matched to where FB sites lie.

    Each site copies one of the given places, drawn without repeats while they last, alternating
    between left and right lung: the slice at its height (any slice with at least half the median lung
    area where it has none), then one of the 25 lung pixels of that side whose depth and front-to-back
    position are nearest (5 mm of depth weigh as much as a tenth of the lung's extent). Sites of one
    scan lie at least 32 mm apart where the lungs allow it, so that cuboids do not overlap.

    Parameters
    ----------
    lung_mask
        (z, y, x) bool of the whole scan.
    spacing_mm
        (z, y, x) in mm.
    like
        `describe_place` of the FB rows (of the training side of a split only).
    count
        How many sites, one a TB row.
    rng
        See `site_rng`.

    Returns
    -------
    list of (z, y, x)
        Voxels inside the mask, count of them.

    Raises
    ------
    UsageError
        If there is no lung or no place to copy.
    """
    area = lung_mask.sum((1, 2))
    if not area.any() or not like:
        raise UsageError("no site can be chosen", found="no lung" if like else "no place to copy",
                         expected="lungs and at least one FB place")
    queues = {side: [like[i] for i in rng.permutation(len(like)) if like[i].on_left == side] for side in (True, False)}
    sides = [side for side in (True, False) if queues[side]]
    first_side = int(rng.integers(len(sides)))
    sites: list[tuple[int, int, int]] = []
    for number in range(count):
        queue = queues[sides[(first_side + number) % len(sides)]]
        place = queue[number // len(sides) % len(queue)]
        z = _slice_at(area, place.height, rng)
        sites.append((z, *_pixel_like(lung_mask[z], spacing_mm, place, sites, z, rng)))
    return sites


def _slice_at(area: np.ndarray, height: float | None, rng: np.random.Generator) -> int:
    lit = np.flatnonzero(area)
    if height is None:
        return int(rng.choice(np.flatnonzero(area >= np.median(area[lit]) / 2)))
    wanted = lit[0] + height * (lit[-1] - lit[0])
    return int(lit[np.argmin(np.abs(lit - wanted))])


def _pixel_like(
    lung: np.ndarray,
    spacing_mm: tuple[float, float, float],
    place: LungPlace,
    taken: list[tuple[int, int, int]],
    z: int,
    rng: np.random.Generator,
) -> tuple[int, int]:
    points = np.argwhere(lung)
    columns = np.flatnonzero(lung.any(0))
    on_side = (points[:, 1] < (columns[0] + columns[-1]) / 2) == place.on_left
    points = points[on_side] if on_side.any() else points
    apart = np.ones(len(points), bool)
    for other in taken:
        gaps_mm = np.abs(np.c_[np.full(len(points), z), points] - np.array(other)) * spacing_mm
        apart &= gaps_mm.max(1) >= CUBOID_MM
    points = points[apart] if apart.any() else points
    depth_mm = ndimage.distance_transform_edt(lung, spacing_mm[1:])[tuple(points.T)]
    rows = np.flatnonzero(lung.any(1))
    front_to_back = (points[:, 0] - rows[0]) / max(rows[-1] - rows[0], 1)
    cost = np.abs(depth_mm - place.depth_mm) / 5.0 + np.abs(front_to_back - place.front_to_back) / 0.1
    y, x = points[rng.choice(np.argsort(cost, kind="stable")[:25])]
    return int(y), int(x)


def _smooth_slice(hu: np.ndarray, lung_mask: np.ndarray, spacing_mm: tuple) -> tuple[np.ndarray, np.ndarray]:
    if hu.shape != lung_mask.shape or hu.ndim != 2:
        raise UsageError("slice and lung mask do not match", found=f"{hu.shape} and {lung_mask.shape}")
    return ndimage.gaussian_filter(hu.astype(np.float32), SMOOTHING_MM / np.array(spacing_mm)), np.array(spacing_mm)


def _clear_of(shape: tuple[int, int], spacing: np.ndarray, labels_mm: np.ndarray) -> np.ndarray:
    y_mm, x_mm = np.ogrid[: shape[0], : shape[1]]
    y_mm, x_mm = y_mm * spacing[0], x_mm * spacing[1]
    clear = np.ones(shape, bool)
    for y, x in labels_mm:
        clear &= (y_mm - y) ** 2 + (x_mm - x) ** 2 >= CLEAR_IN_PLANE_MM**2
    return clear


def _disc(radii_px: np.ndarray) -> np.ndarray:
    reach = np.maximum(np.floor(radii_px).astype(int), 1)
    y, x = np.mgrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
    return (y / max(radii_px[0], 1)) ** 2 + (x / max(radii_px[1], 1)) ** 2 <= 1


def _pick_apart(
    points: np.ndarray, spacing: np.ndarray, apart_mm: float, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Up to count of the points in random order, each that far from those before it."""
    points = points[rng.permutation(len(points))]
    picked: list[np.ndarray] = []
    while len(points) and len(picked) < count:
        picked.append(points[0])
        points = points[(((points - points[0]) * spacing) ** 2).sum(1) >= apart_mm**2]
    return np.array(picked, dtype=np.int64).reshape(-1, 2)
