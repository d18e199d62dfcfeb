"""Places of a scan to forge, or to leave alone beside the forged ones, where none is given.

Injection wants plain lung with room around it; removal wants a nodule, documented or found; an untouched place beside
removals (TB of the UCI tables) wants plain lung that lies where those lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from scipy import ndimage

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.datasets.authentic import Nodule
from verict.datasets.cuboids import SIDE_MM
from verict.datasets.masses import find_nodules, measure_mass
from verict.datasets.sites import MASS_APART_MM, PARENCHYMA_HU, SMOOTHING_MM, LungPlace
from verict.errors import DatasetError, InputError
from verict.tamper.target import check_slices, check_spacing

GRID_MM = 3.0  # of the grid on which walls are measured
WALL_BALL_MM = 6.0  # radius of the ball that fits into a wall; vessels of the lung and most nodules are thinner
WALL_MM = 10.0  # from an injection to the wall: half the 20 mm that CT-GAN repaints anew
MEDIASTINUM_MM = 20.0  # from an injection to what is thick and lies between the lungs: the hilum's vessels are nearer
VESSEL_MM = 4.0  # around a plain place nothing bright: half of a small nodule
AIR_HU = -960.0  # below, on average, it is the windpipe or a bulla; healthy lung lies near -850
APART_MM = 64.0  # between sites of one scan: two cuboids, so that no touch-up reaches the next painting in plane
TRIES = 400  # places looked at closely for each site wanted
NEAREST = 25  # of the places most like the wanted one a plain site is drawn from, as in `choose_benign_sites`


@dataclass(frozen=True)
class CandidateSite:
    """A place that may be forged, voxel (z, y, x).

    ``diameter_mm`` of the nodule there, 0 where there is none. ``how`` says how it was chosen, with what was measured.
    """

    z: int
    y: int
    x: int
    diameter_mm: float
    how: str

    @property
    def centre(self) -> tuple[int, int, int]:
        """The voxel (z, y, x)."""
        return self.z, self.y, self.x


@dataclass(frozen=True, eq=False)
class _Grid:
    """The lung on a grid of about 3 mm, of the slices of one run.

    ``points`` (n, 3) voxels of the volume, in the middle of grid cells that are lung; ``wall_mm``, ``mediastinum_mm``
    (n,) their distances.
    """

    points: np.ndarray
    wall_mm: np.ndarray
    mediastinum_mm: np.ndarray


def find_injection_sites(
    volume: CTVolume,
    lungs: LungRegion,
    count: int,
    rng: np.random.Generator,
    *,
    apart_mm: float = APART_MM,
    avoid: Iterable[Sequence[int]] = (),
) -> list[CandidateSite]:
    """Places of plain lung where a cancer may be painted.

    Each lies in the lung region, below -600 HU and above -960 HU on average, at least 10 mm off the wall (whatever
    is not lung and holds a ball of 6 mm radius: chest wall, diaphragm, heart, large vessels), at least 20 mm off
    the mediastinum and hilum (the part of it with lung on its left and right), with nothing bright within 4 mm, and
    with slices for the whole cuboid of 32 mm. Lungs are taken in turn, heights as equal parts of each lung's volume.

    Parameters
    ----------
    volume, lungs
        The scan and its lung region.
    count
        How many are wanted; fewer are returned where no more fit.
    rng
        Of all choices.
    apart_mm
        Least distance between sites, and from those to be avoided.
    avoid
        Voxels (z, y, x) to stay away from, such as nodules and places forged before.

    Raises
    ------
    GeometryError
        If the spacing of the scan is missing.
    """
    check_spacing(volume)
    taken = [tuple(int(v) for v in place) for place in avoid]
    grid = _map_lung(volume, lungs)
    free = (grid.wall_mm >= WALL_MM) & (grid.mediastinum_mm >= MEDIASTINUM_MM)
    sites: list[CandidateSite] = []
    for order in _in_turn(grid.points, np.flatnonzero(free), _middle_column(lungs), count, rng):
        if len(sites) == count:
            break
        for index in order[:TRIES]:
            z, y, x = (int(v) for v in grid.points[index])
            if _is_apart((z, y, x), taken, volume.spacing_mm, apart_mm) and is_plain(volume, lungs, (z, y, x)):
                how = (f"plain lung, {grid.wall_mm[index]:.0f} mm off the wall, {grid.mediastinum_mm[index]:.0f} mm "
                       f"off the mediastinum, nothing bright within {VESSEL_MM:g} mm")
                sites.append(CandidateSite(z, y, x, 0.0, how))
                taken.append((z, y, x))
                break
    return sites


def find_removal_sites(
    volume: CTVolume, lungs: LungRegion, *, documented: Sequence[CandidateSite] = ()
) -> list[CandidateSite]:
    """Nodules that may be removed: the documented ones as given, then those found, the largest and roundest first.

    Documented ones without a diameter are measured. What makes a structure a nodule stands with
    `verict.datasets.masses`; only those with slices enough for a cuboid are among them.

    Raises
    ------
    GeometryError
        If the spacing of the scan is missing.
    """
    check_spacing(volume)
    sites = [_with_diameter(volume, lungs, site) for site in documented]
    for mass in find_nodules(volume, lungs):
        apart_mm = [(site.centre, site.diameter_mm + MASS_APART_MM) for site in sites]
        is_new = all(_is_apart(mass.centre, [place], volume.spacing_mm, mm) for place, mm in apart_mm)
        if is_new and _has_slices(volume, mass.centre[0]):
            how = (f"found: a ball of {2 * mass.ball_radius_mm:.0f} mm fits, {mass.elongation:.1f} times as long as "
                   f"wide, {mass.lung_share:.0%} of what is around is lung")
            sites.append(CandidateSite(*mass.centre, round(mass.diameter_mm, 1), how))
    return sites


def find_healthy_sites(
    volume: CTVolume,
    lungs: LungRegion,
    like: Sequence[LungPlace],
    rng: np.random.Generator,
    *,
    apart_mm: float = APART_MM,
    avoid: Iterable[Sequence[int]] = (),
) -> list[CandidateSite]:
    """Plain lung to be left alone, one place for each of those given and where that lies: the sites of TB rows.

    Each is drawn from the 25 places on the same side whose depth, front-to-back position and height are nearest
    (5 mm of depth weigh as much as a tenth of the lung's extent), as `verict.datasets.sites.choose_benign_sites` does,
    of those with nothing bright within 4 mm and slices for the whole cuboid. Fewer are returned where no more fit.

    Parameters
    ----------
    volume, lungs
        The scan and its lung region.
    like
        `verict.datasets.sites.describe_place` of the removals, of this scan or of others.
    rng
        Of all choices.
    apart_mm, avoid
        As for `find_injection_sites`.

    Raises
    ------
    GeometryError
        If the spacing of the scan is missing.
    """
    check_spacing(volume)
    taken = [tuple(int(v) for v in place) for place in avoid]
    grid = _map_lung(volume, lungs)
    if not len(grid.points):
        return []
    depth_mm, front_to_back, height = _describe_points(volume, lungs, grid.points)
    on_left = grid.points[:, 2] < _middle_column(lungs)
    sites: list[CandidateSite] = []
    for place in like:
        cost = np.abs(depth_mm - place.depth_mm) / 5.0 + np.abs(front_to_back - place.front_to_back) / 0.1
        if place.height is not None:
            cost += np.abs(height - place.height) / 0.1
        cost[on_left != place.on_left] = np.inf
        fitting = (
            index
            for index in np.argsort(cost, kind="stable")
            if np.isfinite(cost[index])
            and _is_apart(grid.points[index], taken, volume.spacing_mm, apart_mm)
            and is_plain(volume, lungs, grid.points[index])
        )
        nearest = list(islice(fitting, NEAREST))
        if nearest:
            chosen = int(rng.choice(nearest))
            z, y, x = (int(v) for v in grid.points[chosen])
            taken.append((z, y, x))
            how = f"plain lung, {depth_mm[chosen]:.0f} mm deep where {place.depth_mm:.0f} mm were wanted"
            sites.append(CandidateSite(z, y, x, 0.0, how))
    return sites


def place_documented(volume: CTVolume, nodules: Iterable[Nodule]) -> list[CandidateSite]:
    """Sites of documented nodules (``nodules.csv``): the slice by its InstanceNumber.

    Raises
    ------
    DatasetError
        If a nodule's slice is missing or there twice, or its place lies outside the image.
    """
    numbers = [header.get("InstanceNumber") for header in volume.headers]
    sites = []
    for nodule in nodules:
        found = [z for z, number in enumerate(numbers) if number is not None and int(number) == nodule.instance_number]
        inside = 0 <= nodule.y < volume.hu.shape[1] and 0 <= nodule.x < volume.hu.shape[2]
        if len(found) != 1 or not inside:
            raise DatasetError(
                "a documented nodule does not lie in this series", tag="InstanceNumber (0020,0013)",
                found=f"slice {nodule.instance_number}, x {nodule.x}, y {nodule.y}",
                expected="one slice of that number, and a place in its image",
            )
        diameter_mm = round(nodule.extent_px * max(volume.spacing_mm[1:]), 1)
        sites.append(CandidateSite(found[0], nodule.y, nodule.x, diameter_mm, f"documented: {nodule.source}"))
    return sites


def is_plain(volume: CTVolume, lungs: LungRegion, place_zyx: Sequence[int] | np.ndarray) -> bool:
    """Whether all within 4 mm of a voxel is lung: in the region, smoothed below -600 HU, above -960 HU on average."""
    spacing = np.array(volume.spacing_mm)
    reach = np.ceil(2 * VESSEL_MM / spacing).astype(int)  # twice: the smoothing reads beyond
    low, high = np.maximum(np.subtract(place_zyx, reach), 0), np.minimum(np.add(place_zyx, reach + 1), volume.hu.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    offsets = [(np.arange(a, b) - c) * s for a, b, c, s in zip(low, high, place_zyx, spacing, strict=True)]
    z, y, x = np.ix_(*offsets)
    ball = z**2 + y**2 + x**2 <= VESSEL_MM**2
    smooth = ndimage.gaussian_filter(volume.hu[box].astype(np.float32), SMOOTHING_MM / spacing)[ball]
    return bool(lungs.mask[box][ball].all() and smooth.max() < PARENCHYMA_HU and smooth.mean() > AIR_HU)


def _has_slices(volume: CTVolume, z: int) -> bool:
    try:
        check_slices(volume, z)
    except InputError:
        return False
    return True


def _map_lung(volume: CTVolume, lungs: LungRegion) -> _Grid:
    """Grid cells that are lung, with slices for the whole cuboid, and how far they lie from wall and mediastinum."""
    parts = [_map_run(volume, lungs, run) for run in volume.runs if lungs.found[run].any()]
    parts = [part for part in parts if len(part.points)]
    if not parts:
        return _Grid(np.zeros((0, 3), int), np.zeros(0), np.zeros(0))
    return _Grid(*(np.concatenate([getattr(part, name) for part in parts])
                   for name in ("points", "wall_mm", "mediastinum_mm")))


def _map_run(volume: CTVolume, lungs: LungRegion, run: slice) -> _Grid:
    factors = [max(1, round(GRID_MM / s)) for s in volume.spacing_mm]
    spacing = np.multiply(factors, volume.spacing_mm)
    middles = [np.arange(a + f // 2, b, f) for a, b, f in
               zip((run.start, 0, 0), (run.stop, *volume.hu.shape[1:]), factors, strict=True)]
    coarse = np.stack([
        ndimage.uniform_filter(volume.hu[z].astype(np.float32), factors[1:])[np.ix_(*middles[1:])] for z in middles[0]
    ])
    lung = lungs.mask[np.ix_(*middles)] & (coarse < PARENCHYMA_HU)
    wall = ndimage.distance_transform_edt(~lung, spacing) > WALL_BALL_MM
    between = np.logical_or.accumulate(lung, 2) & np.logical_or.accumulate(lung[..., ::-1], 2)[..., ::-1]
    positions = volume.positions_mm[middles[0]]
    reach_mm = (SIDE_MM - 1) / 2
    roomy = (positions - volume.positions_mm[run.start] >= reach_mm) & (
        volume.positions_mm[run.stop - 1] - positions >= reach_mm
    )
    cells = np.argwhere(lung & roomy[:, None, None])
    points = np.stack([middle[cells[:, axis]] for axis, middle in enumerate(middles)], axis=1)
    at = tuple(cells.T)
    return _Grid(points, _distance(wall, spacing)[at], _distance(wall & between, spacing)[at])


def _distance(wall: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Distance in mm from what the balls with these centres fill; inf where there are none."""
    if not wall.any():
        return np.full(wall.shape, np.inf)
    return np.maximum(ndimage.distance_transform_edt(~wall, spacing) - WALL_BALL_MM, 0)


def _middle_column(lungs: LungRegion) -> float:
    columns = np.flatnonzero(lungs.mask.any((0, 1)))
    return float(columns[0] + columns[-1]) / 2 if len(columns) else 0.0


def _in_turn(
    points: np.ndarray, free: np.ndarray, middle: float, count: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Orders in which to try the free points, one for each site: lungs in turn, heights of each lung spread."""
    on_left = points[free, 2] < middle
    sides = [side for side in (free[on_left], free[~on_left]) if len(side)]
    if not sides:
        return
    sides = sides if rng.integers(2) else sides[::-1]
    each = -(-count // len(sides))
    bands = []
    for side in sides:
        parts = np.array_split(side[np.argsort(points[side, 0], kind="stable")], each)
        bands.append([rng.permutation(parts[number]) for number in rng.permutation(each)])
    yield from (side[number] for number in range(each) for side in bands)
    for _ in range(count):  # bands in which no place was found leave their share to all others
        yield rng.permutation(free)


def _is_apart(
    place: Sequence[int] | np.ndarray, others: Iterable[Sequence[int]], spacing_mm: Sequence[float], apart_mm: float
) -> bool:
    return all(np.linalg.norm(np.subtract(place, other) * spacing_mm) >= apart_mm for other in others)


def _describe_points(
    volume: CTVolume, lungs: LungRegion, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth in mm, front-to-back position and height of each point, as `verict.datasets.sites.LungPlace` has them."""
    depth_mm, front_to_back = np.zeros(len(points)), np.zeros(len(points))
    for z in np.unique(points[:, 0]):
        here = points[:, 0] == z
        y, x = points[here, 1], points[here, 2]
        rows = np.flatnonzero(lungs.mask[z].any(1))
        depth_mm[here] = ndimage.distance_transform_edt(lungs.mask[z], volume.spacing_mm[1:])[y, x]
        front_to_back[here] = (y - rows[0]) / max(rows[-1] - rows[0], 1)
    slices = np.flatnonzero(lungs.found)
    return depth_mm, front_to_back, (points[:, 0] - slices[0]) / max(slices[-1] - slices[0], 1)


def _with_diameter(volume: CTVolume, lungs: LungRegion, site: CandidateSite) -> CandidateSite:
    if site.diameter_mm > 0:
        return site
    mass = measure_mass(volume, lungs, site.centre)
    measured_mm = 0.0 if mass is None else round(mass.diameter_mm, 1)
    return CandidateSite(*site.centre, measured_mm, f"{site.how}, measured")
