"""A labelled or authentic scan as the ruler sees it: the places a detector is judged at, chosen before it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from verict.datasets.authentic import Nodule
from verict.datasets.scans import NOWHERE, Label, Scan, Source
from verict.datasets.sites import (
    CLEAR_IN_PLANE_MM,
    SiteKind,
    choose_negative_sites,
    find_masses,
    site_rng,
)
from verict.datasets.uci import SiteType
from verict.evaluation.case import Place, PlaceKind, Subject, without_pixels
from verict.evaluation.structures import blur_centre, measure_structure

SLICES_OF_A_SERIES = 20  # of an authentic series carry places: more would only repeat the same lungs
_KIND_OF_SITE = {
    SiteKind.PARENCHYMA: PlaceKind.PARENCHYMA,
    SiteKind.BRIGHT: PlaceKind.BRIGHT,
    SiteKind.MASS: PlaceKind.NODULE,
}
_KIND_OF_LABEL = {SiteType.FB: PlaceKind.FB, SiteType.FM: PlaceKind.FM, SiteType.TM: PlaceKind.NODULE,
                  SiteType.TB: PlaceKind.PARENCHYMA}
MEASURED = (PlaceKind.FM, PlaceKind.BRIGHT, PlaceKind.NODULE)  # have something there to measure


def make_subject(scan: Scan, seed: int, *, nodules: Iterable[Nodule] = ()) -> Subject:
    """Choose the places of one scan.

    Labelled scans: on each labelled slice its FB and FM labels, its TM labels as nodules, its TB labels as parenchyma,
    and untouched places clear of every label: 20 parenchyma, 20 bright structures, and every mass
    (`verict.datasets.sites`); the latter not on slices that were touched up as a whole.
    Authentic scans: the same untouched places on every slice with lung, on 20 seeded ones where there are more, and
    the documented nodules. The same seed gives the same places, whatever else is evaluated.

    Parameters
    ----------
    scan
        From `read_labelled_scans` or `read_authentic_scans`.
    seed
        Any whole number >= 0.
    nodules
        Documented nodules of authentic series; those of this folder and of InstanceNumbers at hand are taken.

    Returns
    -------
    Subject
        It holds no pixels and no headers.
    """
    numbers = scan.numbers or tuple(range(scan.volume.slice_count))
    documented: dict[int, list[tuple[int, int]]] = {}
    if scan.source is Source.AUTHENTIC:
        for nodule in nodules:
            if nodule.folder == scan.folder and nodule.type is SiteType.TM and nodule.instance_number in numbers:
                documented.setdefault(numbers.index(nodule.instance_number), []).append((nodule.y, nodule.x))
        slices = _sampled_slices(scan, seed)
    else:
        slices = [z for z in range(scan.volume.slice_count) if scan.labels.get(z)]
    places: list[Place] = []
    for z in sorted({*slices, *documented}):
        for label in _judged_labels(scan, z):
            place = _describe(scan, _KIND_OF_LABEL[label.kind], z, label.y, label.x)
            places.append(replace(place, method=label.method, touch_up=label.touch_up))
        chosen = [(PlaceKind.NODULE, y, x) for y, x in documented.get(z, ())]
        if z in slices and z not in scan.retouched:
            chosen += _untouched(scan, z, site_rng(seed, scan.patient, numbers[z]))
        places += [_describe(scan, kind, z, y, x) for kind, y, x in chosen]
    return Subject(
        source=scan.source,
        folder=scan.folder,
        patient=scan.patient,
        scanner=scan.scanner,
        kernel=_kernel_of(scan),
        geometry=without_pixels(scan.volume),
        lung_slices=np.array(scan.lungs.found, bool),
        labels=scan.labels,
        avoid_mm=scan.avoid_mm,
        places=tuple(places),
        of_campaign=scan.of_campaign,
        retouched=scan.retouched,
    )


def painted_near_mm(
    labels: Mapping[int, Sequence[Label]], avoid_mm: Mapping[int, np.ndarray], spacing_mm: Sequence[float], z: int
) -> np.ndarray:
    """(n, 2) labels of a slice and its neighbours in mm, without TM and TB, where nothing is painted.

    A label of a slice that is not at hand may be of any kind and stays.
    """
    near = avoid_mm.get(z, NOWHERE)
    everything = [label for of_slice in labels.values() for label in of_slice]

    def stands_at(*, is_painted: bool) -> np.ndarray:
        own = [(n.y * spacing_mm[-2], n.x * spacing_mm[-1]) for n in everything if n.kind.is_tampered == is_painted]
        return (np.abs(near[:, None] - np.reshape(own, (-1, 2))).max(axis=2) < 1e-6).any(axis=1)

    return near[~stands_at(is_painted=False) | stands_at(is_painted=True)]


def _judged_labels(scan: Scan, z: int) -> Iterator[Label]:
    """The labels of a slice that are places: an untouched one within reach of something painted is left out."""
    spacing_mm = scan.volume.spacing_mm
    painted = painted_near_mm(scan.labels, scan.avoid_mm, spacing_mm, z)
    for label in scan.labels.get(z, ()):
        away_mm = np.hypot(*(painted - (label.y * spacing_mm[1], label.x * spacing_mm[2])).T)
        if label.kind.is_tampered or away_mm.min(initial=np.inf) >= CLEAR_IN_PLANE_MM:
            yield label


def _untouched(scan: Scan, z: int, rng: np.random.Generator) -> list[tuple[PlaceKind, int, int]]:
    slice_of = scan.volume.hu[z], scan.lungs.mask[z], scan.volume.spacing_mm[1:], scan.avoid_mm.get(z, NOWHERE)
    found = (*choose_negative_sites(*slice_of, rng), *find_masses(*slice_of))
    return [(_KIND_OF_SITE[site.kind], site.y, site.x) for site in found]


def _sampled_slices(scan: Scan, seed: int) -> list[int]:
    lit = np.flatnonzero(scan.lungs.found)
    if len(lit) > SLICES_OF_A_SERIES:
        lit = site_rng(seed, scan.patient, 0).choice(lit, SLICES_OF_A_SERIES, replace=False)
    return sorted(int(z) for z in lit)


def _describe(scan: Scan, kind: PlaceKind, z: int, y: int, x: int) -> Place:
    hu = scan.volume.hu[z]
    centre_hu = blur_centre(hu, y, x)
    if kind not in MEASURED:
        return Place(kind, z, y, x, centre_hu)
    structure = measure_structure(hu, scan.volume.spacing_mm[1:], y, x)
    return Place(kind, z, y, x, centre_hu, structure.diameter_mm, structure.ring_hu)


def _kernel_of(scan: Scan) -> str:
    """ConvolutionKernel (0018,1210); that of the published fakes is the template's and tells nothing."""
    if not scan.headers_tell or not scan.volume.headers:
        return ""
    kernel = scan.volume.headers[0].get("ConvolutionKernel") or ""
    return kernel if isinstance(kernel, str) else "\\".join(kernel)
