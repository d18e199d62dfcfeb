"""The same scans in another guise: what an honest detector does not notice, and a cheat cannot do without.

Mirrored left to right, or moved by a few pixels and one HU, a slice holds the same paint and the same noise; a model
that keeps slices in memory does not know it. With all headers replaced by one template, the pixels are what they were;
a detector that reads the answer in a header has lost it.

Only labelled slices are shown again (their whole runs to a detector that compares neighbours), and both times in the
same surroundings, so that a probe's cost is bounded and its two figures differ in nothing but the guise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from pydicom.dataset import Dataset

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.datasets.scans import Scan, Source
from verict.detect.at_place import score_at
from verict.detect.evidence import Needs, ScoreMap
from verict.evaluation.case import PAINTED, Case, Place, PlaceKind, Subject
from verict.evaluation.fair import show_volume
from verict.evaluation.paired import difference_of_areas
from verict.evaluation.places import margin_of
from verict.evaluation.result import Measured, Tree
from verict.statistics import area_under_curve

SHIFT_PX = 3  # not a multiple of any stride in use
SHIFT_HU = 1

Examine = Callable[[CTVolume, LungRegion], ScoreMap]
"""Scores a volume with one and the same model each time."""


class Guise(StrEnum):
    """How a scan is shown again."""

    MIRRORED = "mirrored"  # left to right
    SHIFTED = "shifted"  # down and to the right by SHIFT_PX, one HU brighter
    TEMPLATE_HEADERS = "template_headers"  # all headers those of one template, geometry apart


@dataclass(frozen=True)
class PairedScore:
    """One place scored twice: as the scan is, and in a guise."""

    kind: PlaceKind
    patient: str
    as_is: float
    in_guise: float


def guises_for(needs: Needs) -> tuple[Guise, ...]:
    """The guises that mean anything to a detector with these needs."""
    return tuple(Guise) if needs.headers else (Guise.MIRRORED, Guise.SHIFTED)


def probe_scan(scan: Scan, case: Case, examine: Examine, needs: Needs) -> dict[Guise, list[PairedScore]]:
    """The labelled slices of a scan, scored as they are and in each guise; nothing for an authentic scan.

    Parameters
    ----------
    scan
        Pixels and headers.
    case
        The same scan as it was judged: its places, and its mark threshold, which scores are told less of.
    examine
        See `Examine`; the model that judged the scan, since a guise hides from `choose_model` whose it is.
    needs
        Of the detector.
    """
    chosen = _slices_to_show(scan, case.subject, neighbours=needs.neighbours)
    if not len(chosen):
        return {}
    volume = take_slices(scan.volume, chosen)
    lungs = LungRegion(scan.lungs.mask[chosen], scan.lungs.found[chosen])
    index = {int(z): i for i, z in enumerate(chosen)}
    places = [(p, index[p.z]) for p in case.subject.places if p.z in index]
    threshold = case.calibration["mark_threshold"]

    def margin(score_map: ScoreMap, z: int, pixel: tuple[int, int]) -> float:
        return float(margin_of(np.array(score_at(score_map, z, *pixel, volume.spacing_mm)), threshold))

    as_is = examine(volume, lungs)
    found = {}
    for guise in guises_for(needs):
        shown = examine(*disguise(volume, lungs, guise))
        found[guise] = [
            PairedScore(
                place.kind,
                scan.patient,
                margin(as_is, z, (place.y, place.x)),
                margin(shown, z, move_place(place, guise, volume)),
            )
            for place, z in places
        ]
    return found


def _slices_to_show(scan: Scan, subject: Subject, *, neighbours: bool) -> np.ndarray:
    """(n,) z: slices that hold a place, or all of their runs."""
    if scan.source is not Source.LABELLED:
        return np.empty(0, int)
    held = np.unique([p.z for p in subject.places]).astype(int)
    if not neighbours:
        return held
    runs = [np.arange(run.start, run.stop) for run in scan.volume.runs]
    runs = [run for run in runs if np.isin(run, held).any()]
    return np.concatenate(runs) if runs else held


def take_slices(volume: CTVolume, chosen: np.ndarray) -> CTVolume:
    """The volume with only those slices, (n,) ascending z; distances between slices as they were."""
    keep = [int(z) for z in chosen]
    return replace(
        volume,
        hu=volume.hu[keep],
        origins_mm=volume.origins_mm[keep],
        sop_instance_uids=tuple(volume.sop_instance_uids[z] for z in keep),
        frame_numbers=tuple(volume.frame_numbers[z] for z in keep),
        source_files=tuple(volume.source_files[z] for z in keep),
        headers=tuple(volume.headers[z] for z in keep) if volume.headers else (),
    )


def disguise(volume: CTVolume, lungs: LungRegion, guise: Guise) -> tuple[CTVolume, LungRegion]:
    """A volume and its lungs in a guise; see `Guise` and `move_place`."""
    if guise is Guise.TEMPLATE_HEADERS:
        return replace(show_volume(volume), headers=_template_headers(volume)), lungs
    if guise is Guise.MIRRORED:
        hu, mask = (np.ascontiguousarray(a[..., ::-1]) for a in (volume.hu, lungs.mask))
    else:
        hu, mask = (_shift(a) for a in (volume.hu, lungs.mask))
        hu = np.minimum(hu, np.array(hu.max() - SHIFT_HU, hu.dtype)) + np.array(SHIFT_HU, hu.dtype)
    return replace(volume, hu=hu), LungRegion(mask, np.array([one.any() for one in mask], bool))


def move_place(place: Place, guise: Guise, volume: CTVolume) -> tuple[int, int]:
    """Pixel (y, x) at which a place is found in a guise."""
    if guise is Guise.MIRRORED:
        return place.y, volume.hu.shape[2] - 1 - place.x
    if guise is Guise.SHIFTED:
        return place.y + SHIFT_PX, place.x + SHIFT_PX
    return place.y, place.x


def _shift(array: np.ndarray) -> np.ndarray:
    padded = np.pad(array, ((0, 0), (SHIFT_PX, 0), (SHIFT_PX, 0)), mode="edge")
    return np.ascontiguousarray(padded[:, : array.shape[1], : array.shape[2]])


def _template_headers(volume: CTVolume) -> tuple[Dataset, ...]:
    """One header for all scans; what depends on the scan is what pixel detectors know too (PS3.3 C.7.6.2, C.7.6.3)."""
    origins = volume.origins_mm - volume.origins_mm[0]
    headers = []
    for z in range(volume.slice_count):
        header = Dataset()
        header.Modality = "CT"
        header.PatientID = header.Manufacturer = header.ManufacturerModelName = "TEMPLATE"
        header.ConvolutionKernel = "STANDARD"
        header.InstanceNumber = z + 1
        header.Rows, header.Columns = volume.hu.shape[1:]
        header.PixelSpacing = [float(s) for s in volume.spacing_mm[1:]]
        header.ImagePositionPatient = [float(v) for v in origins[z]]
        header.ImageOrientationPatient = [float(v) for v in (*volume.row_direction, *volume.column_direction)]
        headers.append(header)
    return tuple(headers)


def measure_probes(pairs: Mapping[Guise, Iterable[PairedScore]], *, seed: int = 0) -> Tree:
    """How much of the area under the curve each guise costs: ``auc_lost`` by guise, with both areas in ``about``.

    Painted places against all untouched ones of the same slices; see `difference_of_areas` for the interval.
    """
    tree: Tree = {}
    for guise in Guise:
        scores = list(pairs.get(guise, ()))
        reason = "no labelled place was shown in this guise"
        if guise is Guise.TEMPLATE_HEADERS and not scores:
            reason = "the detector is given no headers"
        tree[str(guise)] = {"auc_lost": _lost(scores, seed) if scores else Measured.missing(reason)}
    return tree


def _lost(scores: list[PairedScore], seed: int) -> Measured:
    painted, clean = ([s for s in scores if (s.kind in PAINTED) is side] for side in (True, False))
    if not painted or not clean:
        return Measured.missing("painted and untouched places are both needed", len(painted))
    as_is, in_guise = (
        (np.array([getattr(s, name) for s in painted]), np.array([getattr(s, name) for s in clean]))
        for name in ("as_is", "in_guise")
    )
    figure = difference_of_areas(as_is, in_guise, ([s.patient for s in painted], [s.patient for s in clean]), seed=seed)
    about = {"auc_as_is": area_under_curve(*as_is), "auc_in_guise": area_under_curve(*in_guise)}
    return Measured(figure, negatives=len(clean), about=about)
