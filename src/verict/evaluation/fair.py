"""Which model may judge which scan, and what a detector is shown of it: nothing that tells whose it is.

A learned detector's card lists what its model was fitted on (``training.seen``), each patient and each slice with the
fold whose model did not see it. A scan of which anything is listed is scored by that fold's model, with that fold's
thresholds. A fold's model saw no patient of its fold, and no authentic scan by a scanner model of the fold: training
deals the folds so, and the card can only be believed. A scan of which nothing is listed is scored by the shipped
model; where its scanner model is listed (``training.seen.scanners``) that is told. Everything else is in-sample, and
said to be.

Slices are recognised by their exact pixels, patients by their exact name: a scan that was renamed and changed by as
little as one HU counts as unseen. `verict.evaluation.probes` is there for models that memorise.

A detector runs in this process, so it could reach for anything on the machine; what is withheld here is withheld from
detectors that take what they are given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.datasets.scans import Scan, identify_patient, identify_slice
from verict.datasets.splits import Scanner
from verict.detect import registry
from verict.detect.evidence import Detector, Evidence, ScoreMap
from verict.detect.fusion import FusionModel
from verict.detect.model import WEIGHTS, Model, load_folds, load_model
from verict.errors import UsageError
from verict.evaluation.case import Case, Seen, Subject

THRESHOLDS = ("mark_threshold", "decisive_threshold", "run_mark_threshold", "run_decisive_threshold")
RANKED_ONLY = dict.fromkeys(THRESHOLDS, 0.0)
"""Thresholds of cases whose places are ranked and never marked."""


@dataclass(frozen=True, eq=False)
class Entrant:
    """A detector to be measured.

    Parameters
    ----------
    name
        Its name.
    make
        Makes the detector with a model, or with None one that was never fitted.
    shipped
        The model in use; None where nothing was fitted.
    folds
        The models it was cross-fitted with, see `verict.detect.model.load_folds`.
    """

    name: str
    make: Callable[[Any], Detector]
    shipped: Model | FusionModel | None = None
    folds: tuple[Model | FusionModel, ...] = ()


def enter(name: str, weights: Path = WEIGHTS) -> Entrant:
    """A detector of the registry, with its shipped and its fold models where it takes any.

    ``weights`` is the folder its model lies in, e.g. one just trained.

    Raises
    ------
    UsageError
        If no detector has that name.
    ModelError
        If a model is missing or altered.
    """
    cls: Callable[..., Detector] = type(registry.create(name))
    if "model" not in inspect.signature(cls).parameters:
        return Entrant(name, lambda _: cls())
    if hasattr(cls, "load_models"):  # a detector of several models
        return Entrant(name, lambda model: cls(model=model), *cls.load_models(weights))
    return Entrant(name, lambda model: cls(model=model), load_model(name, weights), load_folds(name, weights))


def choose_model(entrant: Entrant, scan: Scan) -> tuple[Model | FusionModel | None, Seen]:
    """The model that may judge a scan, and what it may have learnt from it.

    A card that does not list what its model saw is taken to have seen everything.
    """
    if entrant.shipped is None:
        return None, Seen.UNTRAINED
    seen = entrant.shipped.card["training"].get("seen")
    if seen is None:
        return entrant.shipped, Seen.IN_SAMPLE
    listed = {seen["patients"].get(identify_patient(scan.patient))}
    listed |= {seen["slices"].get(identify_slice(hu)) for hu in scan.volume.hu}
    folds = listed - {None}
    if not folds:
        return entrant.shipped, Seen.SCANNER_SEEN if _scanner_is_listed(scan, seen) else Seen.UNSEEN
    fold = folds.pop()
    if folds or fold not in range(len(entrant.folds)):
        return entrant.shipped, Seen.IN_SAMPLE
    return entrant.folds[fold], Seen.OUT_OF_FOLD


def _scanner_is_listed(scan: Scan, seen: dict) -> bool:
    """Whether the scanner model of a scan may be one learnt from; of the published fakes nobody knows."""
    known = (Scanner(*scanner) for scanner in seen.get("scanners", ()))
    return scan.headers_tell and any(scan.scanner.may_be(scanner) for scanner in known)


def show_volume(volume: CTVolume) -> CTVolume:
    """The volume as a pixel detector is shown it: pixels, read-only, and distances; nothing tells which scan it is.

    Headers, UIDs, file names, frame numbers, notes, failures and the hash of the files are left out, and the first
    voxel is moved to the origin of patient space.
    """
    return replace(
        volume.without_headers(),
        hu=lock_array(volume.hu),
        origins_mm=volume.origins_mm - volume.origins_mm[0],
        frame_numbers=(1,) * volume.slice_count,
        notes=(),
        failures=(),
        input_sha256="",
    )


def lock_array(array: np.ndarray) -> np.ndarray:
    """A view of an array through which it cannot be changed."""
    view = array.view()
    view.flags.writeable = False
    return view


def examine_blind(
    detector: Detector, volume: CTVolume, lungs: LungRegion, *, workers: int | None = None
) -> tuple[ScoreMap, Evidence]:
    """The map of a volume as `show_volume` gives it, with headers only where needed, and all else that was said.

    Raises
    ------
    UsageError
        If it gives no map of the volume.
    """
    shown = replace(volume, hu=lock_array(volume.hu)) if detector.needs.headers else show_volume(volume)
    region = LungRegion(lock_array(lungs.mask), lock_array(lungs.found)) if detector.needs.lungs else None
    evidence = detector.examine(shown, region, workers=workers)
    if evidence.score_map is None:
        raise UsageError(
            f"the detector {detector.name} gives no score map: there is nothing to measure at a place",
            next_step="name a pixel detector",
        )
    if len(evidence.score_map.values) != volume.slice_count:
        raise UsageError(
            f"the detector {detector.name} gives a map of another volume",
            found=f"{len(evidence.score_map.values)} slices",
            expected=str(volume.slice_count),
        )
    return evidence.score_map, evidence


def score_scan(scan: Scan, subject: Subject, entrant: Entrant, *, workers: int | None = None) -> Case:
    """A scan scored by the model that may judge it.

    Parameters
    ----------
    scan
        Pixels, and whose they are; the detector is not told.
    subject
        What the ruler knows of it.
    entrant
        See `enter`.
    workers
        Threads the detector may use; None: one a core.

    Raises
    ------
    UsageError
        If the detector gives no map, or no threshold with it.
    """
    model, seen = choose_model(entrant, scan)
    score_map, evidence = examine_blind(entrant.make(model), scan.volume, scan.lungs, workers=workers)
    return Case(subject, score_map, _calibration_of(evidence, model), seen)


def _calibration_of(evidence: Evidence, model: Model | FusionModel | None) -> dict[str, float]:
    """The model's thresholds, the card's or the detector's own, or the mark threshold, with which nothing decides."""
    if model is not None:
        return dict(model.calibration)
    if evidence.calibration is not None:
        return {key: float(evidence.calibration[key]) for key in THRESHOLDS}
    if evidence.mark_threshold is None:
        raise UsageError(f"the detector {evidence.detector} gives no threshold with its map")
    mark = float(evidence.mark_threshold)
    return dict(zip(THRESHOLDS, (mark, np.inf, mark, np.inf), strict=True))
