"""Examples made on the fly: untouched places, forgeries of the lab in 3D, and blends of single slices.

Every example is a crop of `CROP_CELLS` x `CROP_CELLS` cells around a place of a slice: its channels as
`verict.detect.localiser_features` computes them over the whole slice, its pixels, and what was done to each cell. Which
example a number gives depends on the seed and the number alone, so that a killed training goes on with the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from verict.datasets.scans import NOWHERE, Scan, Source
from verict.detect.localiser_features import slice_channels
from verict.detect.spectrum_features import ORIGIN_PX, STRIDE_PX, SliceFeatures
from verict.errors import InputError
from verict.tamper import families, touch_ups
from verict.tamper.forgery import Family, Forgery, ForgeryKind, Target, TouchUp, forge
from verict.tamper.repaint import NoiseKind, repaint_slice
from verict.tamper.target import aim
from verict.tamper.visible_change import TRACE_HU, noise_of, visible_change
from verict.training.localiser.blends import blend_slice
from verict.training.localiser.sources import Stock
from verict.training.phantoms import FOLDER as PHANTOM
from verict.training.samples import CLEAN_MM, draw_config, draw_far_place

CROP_CELLS = 32
CROP_PX = CROP_CELLS * STRIDE_PX
CLEAN, REMOVED, INJECTED, UNTOLD = 0, 1, 2, -1
"""What was done to a cell; UNTOLD where it is neither clearly changed nor clearly not."""
QUARTERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))
LABELS = {ForgeryKind.REMOVE: REMOVED, ForgeryKind.INJECT: INJECTED}
WHOLE_SLICE = ("jpeg2000", "resampled")  # touch-ups of every pixel: what the paint changed is told without them
NEEDS_DONOR = ("splice", "splice-poisson")
TRIES = 6  # places a method may refuse before another is drawn
SLICES_A_FORGERY = 4
REACH_PX = 12  # a cell is clean if nothing changed so near to its centre
PAINTED_MM = 7.0  # of the label of a real fake, whose footprint nobody knows
NEAR_PX = STRIDE_PX // 2


@dataclass(frozen=True)
class Tags:
    """What an example is.

    ``patients`` are all whose tissue is in it. ``akin`` names the methods and touch-ups of the lab it is made by, or,
    for blends, resembles; empty where nothing was forged.
    """

    what: str  # untouched, lab, repaint, blend or real
    patients: tuple[str, ...]
    scanner: tuple[str, str]
    folder: str
    akin: tuple[str, ...] = ()
    kind: str = ""


@dataclass(frozen=True, eq=False)
class Example:
    """One crop.

    ``rows``, ``columns`` (n,) of its cells with lung, their ``values`` (n, channels) float32, ``labels`` (n, 4)
    int8 of their quarters (upper left, upper right, lower left, lower right), ``pixels`` (`CROP_PX`, `CROP_PX`) int16
    from cell (0, 0) on, ``noise_hu`` of the slice.
    """

    tags: Tags
    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    labels: np.ndarray
    pixels: np.ndarray
    noise_hu: float


@dataclass(eq=False)
class Maker:
    """Makes examples of a stock. ``real`` says whether the real fakes' labelled places are among them."""

    stock: Stock
    seed: int
    real: bool = True
    _families: dict[str, Family] = field(default_factory=dict)
    _touch_ups: dict[str, TouchUp] = field(default_factory=dict)

    def make(self, number: int) -> list[Example]:
        """The examples of a number: of 8 numbers, 3 are forged in 3D, 3 as single slices, 2 left alone."""
        rng = np.random.default_rng([self.seed, number])
        turn = number % 8
        if turn < 3:
            return self._forge_volume(rng)
        if turn < 6:
            return self._forge_slice(rng)
        return self._leave_alone(rng)

    def label_real_fakes(self) -> list[Example]:
        """The labelled slices of the real fakes, each once, its cells near a label painted."""
        found = []
        for scan in self.stock.scans:
            for z, labels in scan.labels.items():
                painted = [label for label in labels if label.kind.is_tampered]
                for label in painted if scan.source is Source.LABELLED else ():
                    cells = slice_channels(scan.volume.hu[z], (), scan.lungs.mask[z], scan.volume.spacing_mm[1:])
                    told = np.full((len(cells.rows), 4), CLEAN, np.int8)
                    told[_distance_mm(cells, scan, scan.avoid_mm.get(z, NOWHERE)) < CLEAN_MM] = UNTOLD
                    for one in painted:
                        at = np.array([[one.y, one.x]]) * scan.volume.spacing_mm[1:]
                        kind = REMOVED if str(one.kind) == "FB" else INJECTED
                        told[_distance_mm(cells, scan, at) < PAINTED_MM] = kind
                    tags = Tags("real", (scan.patient,), _scanner(scan), scan.folder, (), str(label.kind))
                    found += _crop(cells, told, scan.volume.hu[z], scan.lungs.mask[z], (label.y, label.x), tags)
        return found

    def _draw_volume(self, rng: np.random.Generator) -> Scan:
        """Patients in turn: two of three draws are of real ones."""
        own = [self.stock.scans[i] for i in self.stock.volumes]
        real = [s for s in own if s.folder != PHANTOM]
        chosen = real if real and (rng.random() < 0.65 or len(real) == len(own)) else [
            s for s in own if s.folder == PHANTOM
        ]
        patients = sorted({s.patient for s in chosen})
        patient = patients[rng.integers(len(patients))]
        of_patient = [s for s in chosen if s.patient == patient]
        return of_patient[rng.integers(len(of_patient))]

    def _forge_volume(self, rng: np.random.Generator) -> list[Example]:
        if not self.stock.volumes:
            return []
        scan = self._draw_volume(rng)
        for _ in range(TRIES):
            kind = ForgeryKind(rng.choice(list(ForgeryKind)))
            name = str(rng.choice([n for n in families.names() if kind in self._family(n).kinds]))
            touch_up = str(rng.choice(touch_ups.names()))
            donation = None
            if name in NEEDS_DONOR:
                fit = [d for d in self.stock.donations if d.donor.kind is kind and d.patient != scan.patient]
                if not fit:
                    continue
                donation = fit[rng.integers(len(fit))]
            seed = int(rng.integers(2**31))
            try:
                target = _aim(scan, kind, rng, () if donation is None else (donation.donor,))
                forgery = forge(target, self._family(name), self._touch_up(touch_up), seed=seed)
                plain = forge(target, self._family(name), self._touch_up("none"), seed=seed) \
                    if touch_up in WHOLE_SLICE else forgery
            except InputError:
                continue
            patients = (scan.patient,) if donation is None else (scan.patient, donation.patient)
            tags = Tags("lab", patients, _scanner(scan), scan.folder, (name, touch_up), str(kind))
            return _cut_forgery(scan, target, forgery, plain, tags, rng)
        return []

    def _forge_slice(self, rng: np.random.Generator) -> list[Example]:
        scan = self.stock.scans[rng.integers(len(self.stock.scans))]
        lit = np.flatnonzero(scan.lungs.found)
        if not len(lit):
            return []
        z = int(rng.choice(lit))
        hu, mask, spacing = scan.volume.hu[z], scan.lungs.mask[z], scan.volume.spacing_mm[1:]
        place = draw_far_place(mask, spacing, scan.avoid_mm.get(z, NOWHERE), rng)
        if place is None:
            return []
        before = vary_scanner(hu[None], rng)[0] if rng.random() < 0.5 else hu
        patients = [scan.patient]
        if rng.random() < 0.4:
            kind, law = ForgeryKind(rng.choice(list(ForgeryKind))), NoiseKind(rng.choice(list(NoiseKind)))
            offset_mm = rng.uniform(0, 20) if kind is ForgeryKind.REMOVE and law is not NoiseKind.NONE else 0.0
            after, _ = repaint_slice(before, spacing, place, kind=kind, rng=rng, offset_mm=offset_mm,
                                     config=draw_config(rng, law, before.shape))
            what, akin = "repaint", {"ctgan", str(law)}
        else:
            other = self.stock.scans[rng.integers(len(self.stock.scans))]
            patients.append(other.patient)
            found = np.flatnonzero(other.lungs.found)
            tissue = _cut_lung(other, int(rng.choice(found))) if len(found) else hu
            blend = blend_slice(before, place, spacing[0], rng, tissue)
            after, kind = blend.hu, ForgeryKind.INJECT if blend.is_bright else ForgeryKind.REMOVE
            what, akin = "blend", set(blend.resembles)
        tags = Tags(what, tuple(patients), _scanner(scan), scan.folder, tuple(sorted(akin)), str(kind))
        cells = slice_channels(after, (), mask, spacing)
        told = _tell(cells, before, after, mask, LABELS[kind])
        near = _distance_mm(cells, scan, scan.avoid_mm.get(z, NOWHERE)) < CLEAN_MM
        told[near] = np.where(told[near] == CLEAN, UNTOLD, told[near])
        return _crop(cells, told, after, mask, _near(place, rng), tags)

    def _leave_alone(self, rng: np.random.Generator) -> list[Example]:
        """Untouched: half of the draws from real volumes, the others from any scan; with neighbours or without."""
        real = [self.stock.scans[i] for i in self.stock.volumes if self.stock.scans[i].folder != PHANTOM]
        anywhere = rng.random() < 0.5 or not real
        scan = (self.stock.scans if anywhere else real)[rng.integers(len(self.stock.scans if anywhere else real))]
        lit = np.flatnonzero(scan.lungs.found)
        if not len(lit):
            return []
        z = int(rng.choice(lit))
        around = neighbours_of(scan, z) if rng.random() < 0.7 else []
        stack = scan.volume.hu[[z, *around]]
        if rng.random() < 0.35:
            stack = vary_scanner(stack, rng)
        mask, avoid = scan.lungs.mask[z], scan.avoid_mm.get(z, NOWHERE)
        cells = slice_channels(stack[0], stack[1:], mask, scan.volume.spacing_mm[1:])
        told = np.full((len(cells.rows), 4), CLEAN, np.int8)
        told[_distance_mm(cells, scan, avoid) < CLEAN_MM] = UNTOLD
        tags = Tags("untouched", (scan.patient,), _scanner(scan), scan.folder)
        places = np.argwhere(mask)
        chosen = places[rng.integers(len(places), size=2)]
        return [e for at in chosen for e in _crop(cells, told, stack[0], mask, tuple(int(v) for v in at), tags)]

    def _family(self, name: str) -> Family:
        if name not in self._families:
            self._families[name] = families.create(name)
        return self._families[name]

    def _touch_up(self, name: str) -> TouchUp:
        if name not in self._touch_ups:
            self._touch_ups[name] = touch_ups.create(name)
        return self._touch_ups[name]


def neighbours_of(scan: Scan, z: int) -> list[int]:
    """The slices before and after, as far as they belong to the same run."""
    run = next(r for r in scan.volume.runs if r.start <= z < r.stop)
    return [n for n in (z - 1, z + 1) if run.start <= n < run.stop]


def vary_scanner(stack: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n, y, x) int16 slices as by another kernel and dose: all alike, each with noise of its own."""
    gain, blur = rng.uniform(-0.8, 1.2), rng.uniform(0.5, 1.2)
    grain, level = rng.uniform(0.4, 1.1, 2), rng.uniform(0, 25)
    out = np.empty_like(stack)
    for i, hu in enumerate(stack):
        image = hu.astype(np.float32)
        image += gain * (image - ndimage.gaussian_filter(image, blur))
        noise = ndimage.gaussian_filter(rng.standard_normal(hu.shape, np.float32), grain)
        image += noise * (level / float(noise.std()))
        out[i] = np.clip(np.rint(image), -3024, 3071)
    return out


def _aim(scan: Scan, kind: ForgeryKind, rng: np.random.Generator, donors: tuple) -> Target:
    """At a random voxel of the lung region with slices on both sides."""
    longest = max(scan.volume.runs, key=lambda run: run.stop - run.start)
    lit = [z for z in range(longest.start, longest.stop) if scan.lungs.found[z]]
    margin = min(len(lit) // 4, int(np.ceil(16 / scan.volume.spacing_mm[0])))
    z = int(rng.choice(lit[margin : len(lit) - margin] or lit))
    places = np.argwhere(scan.lungs.mask[z])
    y, x = places[rng.integers(len(places))]
    diameter_mm = float(np.exp(rng.uniform(np.log(5), np.log(24))))
    return aim(scan.volume, scan.lungs, (z, int(y), int(x)), kind, diameter_mm=diameter_mm, donors=donors)


def _cut_forgery(
    scan: Scan, target: Target, forgery: Forgery, plain: Forgery, tags: Tags, rng: np.random.Generator
) -> list[Example]:
    """Some slices of a forgery: the middle one, and others of those that were changed."""
    depth = plain.box[0]
    middle = target.centre[0]
    others = [z for z in range(depth.start, depth.stop) if z != middle and scan.lungs.found[z]]
    chosen = [middle, *rng.permutation(others)[: SLICES_A_FORGERY - 1].tolist()]
    at = _near(target.centre[1:], rng)
    examples = []
    for z in chosen:
        around = neighbours_of(scan, z) if rng.random() < 0.65 else []
        mask = scan.lungs.mask[z]
        cells = slice_channels(forgery.hu[z], forgery.hu[around], mask, scan.volume.spacing_mm[1:])
        told = _tell(cells, scan.volume.hu[z], plain.hu[z], mask, LABELS[target.kind])
        if (told > 0).any():
            examples += _crop(cells, told, forgery.hu[z], mask, at, tags)
    return examples


def _tell(
    cells: SliceFeatures, before: np.ndarray, after: np.ndarray, mask: np.ndarray, label: int
) -> np.ndarray:
    """(n, 4) what was done to the quarters of each cell of a slice."""
    changed = visible_change(before, after, noise_of(before, mask))
    touched = np.abs(after.astype(np.float32) - before) >= TRACE_HU
    share = ndimage.uniform_filter(changed.astype(np.float32), STRIDE_PX // 2)
    near = ndimage.maximum_filter(touched, 2 * REACH_PX + 1)
    corners = [
        tuple(np.rint(ORIGIN_PX + n * STRIDE_PX + step * STRIDE_PX / 4).astype(int)
              for n, step in zip((cells.rows, cells.columns), steps, strict=True))
        for steps in QUARTERS
    ]
    return np.stack(
        [np.where(share[at] >= 0.5, label, np.where(near[at], UNTOLD, CLEAN)) for at in corners], axis=1
    ).astype(np.int8)


def _crop(
    cells: SliceFeatures, told: np.ndarray, hu: np.ndarray, mask: np.ndarray, at: tuple[int, int], tags: Tags
) -> list[Example]:
    """The crop around a pixel; none where no cell of it is told."""
    first = [int(np.clip((c - ORIGIN_PX) // STRIDE_PX - CROP_CELLS // 2, 0, max(n - CROP_CELLS, 0)))
             for c, n in zip(at, cells.shape, strict=True)]
    rows, columns = cells.rows - first[0], cells.columns - first[1]
    inside = (rows >= 0) & (rows < CROP_CELLS) & (columns >= 0) & (columns < CROP_CELLS)
    if not (told[inside] != UNTOLD).any():
        return []
    start = [int(ORIGIN_PX + f * STRIDE_PX) - NEAR_PX + 1 for f in first]
    pixels = np.full((CROP_PX, CROP_PX), -1024, np.int16)
    part = hu[start[0] : start[0] + CROP_PX, start[1] : start[1] + CROP_PX]
    pixels[: part.shape[0], : part.shape[1]] = np.clip(part, -1100, 3071)
    return [Example(tags, rows[inside].astype(np.int8), columns[inside].astype(np.int8), cells.values[inside],
                    told[inside], pixels, noise_of(hu, mask))]


def _cut_lung(scan: Scan, z: int) -> np.ndarray:
    """The part of a slice that holds lung, and enough around it."""
    rows, columns = (np.flatnonzero(scan.lungs.mask[z].any(axis=axis)) for axis in (1, 0))
    height, width = scan.volume.hu.shape[1:]
    y, x = int(rows.mean()), int(columns.mean())
    half = 90
    y, x = int(np.clip(y, half, height - half)), int(np.clip(x, half, width - half))
    return scan.volume.hu[z, y - half : y + half, max(0, x - 2 * half) : x + 2 * half]


def _near(place: tuple[int, ...], rng: np.random.Generator) -> tuple[int, int]:
    """Somewhere around, so that a forgery is not always in the middle of its crop."""
    y, x = (int(c + rng.integers(-64, 65)) for c in place)
    return y, x


def _distance_mm(cells: SliceFeatures, scan: Scan, points_mm: np.ndarray) -> np.ndarray:
    """(n,) from each cell to the nearest of (m, 2) points; inf without any."""
    if not len(points_mm):
        return np.full(len(cells.rows), np.inf)
    _, step_y, step_x = scan.volume.spacing_mm
    y, x = (ORIGIN_PX + cells.rows * STRIDE_PX) * step_y, (ORIGIN_PX + cells.columns * STRIDE_PX) * step_x
    return np.hypot(y[:, None] - points_mm[:, 0], x[:, None] - points_mm[:, 1]).min(axis=1)


def _scanner(scan: Scan) -> tuple[str, str]:
    return scan.scanner.manufacturer, scan.scanner.model
