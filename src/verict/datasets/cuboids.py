"""Cut-outs around a site: 32 mm cuboids at 1 mm where neighbours exist, 2D windows where not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from verict.ct.volume import CTVolume
from verict.datasets.uci import LabelRow
from verict.errors import DatasetError, UsageError

SIDE_MM = 32  # side of the cuboid CT-GAN repaints (USENIX Security 2019, section 4; its published code)
MARGIN_PX = 12  # kept around a crop before spline filtering; a cubic spline's memory is shorter (0.27 a pixel)
LEAST_SHARE = 0.5  # of the cuboid along z must be slices, the rest repeats the scan's last slice


@dataclass(frozen=True)
class Voxel:
    """A site in voxels of a volume: slice index, row, column."""

    z: int
    y: int
    x: int


def locate_row(volume: CTVolume, row: LabelRow) -> Voxel:
    """The voxel of a label row: its slice number is the InstanceNumber (0020,0013).

    Parameters
    ----------
    volume
        The scan the row speaks of, with headers.
    row
        A row that names a place.

    Raises
    ------
    DatasetError
        If the row is at slice, x, y = 0,0,0 (a site has to be chosen, see
        `verict.datasets.sites.choose_benign_sites`), its slice is missing or there twice, or its
        place lies outside the image.
    UsageError
        If the volume comes without headers.
    """
    where = f"{row.type} of scan {row.uuid}"
    if not row.is_placed:
        raise DatasetError(f"{where} names no place", found="slice, x, y = 0, 0, 0", expected="a place in the lungs",
                           next_step="choose a benign site for it")
    if len(volume.headers) != volume.slice_count:
        raise UsageError("slice numbers are needed", found="a volume without headers")
    numbers = [header.get("InstanceNumber") for header in volume.headers]
    places = [z for z, number in enumerate(numbers) if number is not None and int(number) == row.slice]
    if len(places) != 1:
        raise DatasetError(f"{where}: the labelled slice is {'there twice' if places else 'missing'}",
                           tag="InstanceNumber (0020,0013)", expected=f"one slice {row.slice}")
    site = Voxel(places[0], row.y, row.x)
    _check_site(volume, site)
    return site


def cut_cuboid(volume: CTVolume, site: Voxel, *, side_mm: int = SIDE_MM, order: int = 1) -> np.ndarray:
    """Cut a cuboid of 1 mm voxels around a site, axes along the slice normal, columns and rows.

    Sample k lies k - (side - 1) / 2 mm from the site along each axis, so that the site is the centre
    of the cuboid. Positions are patient millimetres: slices that shear against each other (gantry
    tilt) are followed. Beyond the image and beyond the scan's first and last slice the nearest value
    is repeated. No smoothing before coarser sampling, as CT-GAN resamples.

    Parameters
    ----------
    volume
        A series.
    site
        Its voxel in the centre.
    side_mm
        Side, and number of samples along each axis.
    order
        Of the spline: 1 linear, 3 cubic.

    Returns
    -------
    numpy.ndarray
        (side, side, side) float32 HU.

    Raises
    ------
    DatasetError
        If the site is voxel (0, 0, 0) or outside the volume, a gap lies within the cuboid, or less
        than half of it along z are slices.
    """
    _check_site(volume, site)
    offsets_mm = np.arange(side_mm) - (side_mm - 1) / 2
    run = _neighbours(volume, site, -offsets_mm[0])
    positions = volume.positions_mm[run]
    z = np.interp(volume.positions_mm[site.z] + offsets_mm, positions, np.arange(run.start, run.stop))
    # in-plane shift of each sampled slice against the site's own: zero unless the gantry was tilted
    index = np.arange(run.start, run.stop)
    origin = np.stack([np.interp(z, index, volume.origins_mm[run, axis]) for axis in range(3)], axis=1)
    shift = volume.origins_mm[site.z] - origin
    y = site.y + (shift @ volume.column_direction)[:, None] / volume.spacing_mm[1] + offsets_mm / volume.spacing_mm[1]
    x = site.x + (shift @ volume.row_direction)[:, None] / volume.spacing_mm[2] + offsets_mm / volume.spacing_mm[2]
    low, high = (f(a) for f, a in ((np.floor, (z.min(), y.min(), x.min())), (np.ceil, (z.max(), y.max(), x.max()))))
    first = np.clip(low.astype(int) - MARGIN_PX, (run.start, 0, 0), None)
    last = np.clip(high.astype(int) + 1 + MARGIN_PX, None, (run.stop, *volume.hu.shape[1:]))
    crop = volume.hu[first[0] : last[0], first[1] : last[1], first[2] : last[2]].astype(np.float32)
    shape = (side_mm,) * 3
    grid = np.stack([
        np.broadcast_to((z - first[0])[:, None, None], shape),
        np.broadcast_to((y - first[1])[:, :, None], shape),
        np.broadcast_to((x - first[2])[:, None, :], shape),
    ])
    return ndimage.map_coordinates(crop, grid, order=order, mode="nearest", output=np.float32)


def cut_window(
    volume: CTVolume,
    site: Voxel,
    *,
    side_mm: float = SIDE_MM,
    pixel_mm: float | None = 1.0,
    order: int = 1,
) -> np.ndarray:
    """Cut a 2D window of one slice around a site: all there is where a slice has no neighbours.

    Parameters
    ----------
    volume
        A series or a single slice.
    site
        The voxel in the centre.
    side_mm
        Side of the window.
    pixel_mm
        Resample to pixels of this size, sampled as in `cut_cuboid`; None cuts the slice's own
        pixels without resampling: round(side / spacing) of them an axis, the site at index n // 2.
    order
        Of the spline, where resampled.

    Returns
    -------
    numpy.ndarray
        (rows, columns) float32 HU; beyond the image the nearest value is repeated.

    Raises
    ------
    DatasetError
        If the site is voxel (0, 0, 0) or outside the volume.
    """
    _check_site(volume, site)
    image = volume.hu[site.z].astype(np.float32)
    if pixel_mm is None:
        counts = [max(round(side_mm / spacing), 1) for spacing in volume.spacing_mm[1:]]
        rows, columns = (np.clip(np.arange(n) - n // 2 + centre, 0, size - 1)
                         for n, centre, size in zip(counts, (site.y, site.x), image.shape, strict=True))
        return image[np.ix_(rows, columns)]
    count = max(round(side_mm / pixel_mm), 1)
    offsets_mm = (np.arange(count) - (count - 1) / 2) * pixel_mm
    grid = np.meshgrid(*(centre + offsets_mm / spacing for centre, spacing in
                         zip((site.y, site.x), volume.spacing_mm[1:], strict=True)), indexing="ij")
    return ndimage.map_coordinates(image, grid, order=order, mode="nearest", output=np.float32)


def room_around(volume: CTVolume, z: int) -> tuple[slice, float, float]:
    """The slices without a gap that hold slice ``z``, and how far they reach below and above it, in mm."""
    run = next(r for r in volume.runs if r.start <= z < r.stop)
    centre_mm = volume.positions_mm[z]
    below_mm, above_mm = centre_mm - volume.positions_mm[run.start], volume.positions_mm[run.stop - 1] - centre_mm
    return run, float(below_mm), float(above_mm)


def _check_site(volume: CTVolume, site: Voxel) -> None:
    index = (site.z, site.y, site.x)
    if index == (0, 0, 0):
        raise DatasetError("voxel (0, 0, 0) is no site", expected="a place in the lungs",
                           next_step="choose a benign site for rows that name none")
    if not all(0 <= i < size for i, size in zip(index, volume.hu.shape, strict=True)):
        raise DatasetError("the site lies outside the image", found=f"z, y, x = {index}",
                           expected=f"inside {volume.hu.shape}")


def _neighbours(volume: CTVolume, site: Voxel, reach_mm: float) -> slice:
    """The run of slices a cuboid can be cut from.

    Raises
    ------
    DatasetError
        If it does not hold enough slices, with the reason.
    """
    run, below_mm, above_mm = room_around(volume, site.z)
    if run.stop - run.start == 1:
        raise DatasetError("the slice has no neighbours", found=f"a single slice at index {site.z}",
                           expected=f"slices {reach_mm:g} mm each way", next_step="cut a 2D window instead")
    cut_off = (below_mm < reach_mm and run.start > 0) or (above_mm < reach_mm and run.stop < volume.slice_count)
    if cut_off:
        raise DatasetError("slices are missing within the cuboid",
                           found=f"slices {below_mm:g} mm below and {above_mm:g} mm above before a gap",
                           expected=f"{reach_mm:g} mm each way", next_step="cut a 2D window instead")
    if min(below_mm, reach_mm) + min(above_mm, reach_mm) < LEAST_SHARE * 2 * reach_mm:
        raise DatasetError("too few slices for a cuboid", found=f"{below_mm + above_mm:g} mm of slices",
                           expected=f"at least {LEAST_SHARE * 2 * reach_mm:g} mm", next_step="cut a 2D window instead")
    return run
