"""Finds nodules in a whole series or on single slices, and says whether the series shows a cancer.

`candidates` names blobs, `rays` describes each, a small network scores it, and of those that lie together the surest is
kept. Nothing here asks whether a nodule was painted: real and fake count alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume, Note
from verict.datasets.masses import measure_mass
from verict.detect.evidence import Evidence, Needs
from verict.detect.model import Model, load_model
from verict.detect.nodule.candidates import find_candidates
from verict.detect.nodule.rays import FEATURE_COUNT, describe, lies_in_lung
from verict.detect.nodule.reading import Nodule, NoduleReading, Shown
from verict.detect.nodule.where import say_where
from verict.errors import say_count

NAME = "nodule"
APART_MM = 9.0  # of two places closer than this, or than the surer one's radius and a half, one nodule is told
SMALL_MM = 6.0  # below it a solid nodule is not suspicious of cancer by itself (Lung-RADS v2022, category 2)
MOST = 20  # nodules told of a series
LOWEST = -20.0  # log odds of what does not lie in the lung
NEAR_MM = 10.0  # of a given site a candidate may lie and still be what is asked about


class NoduleDetector:
    """Nodules and masses that look malignant, whether real or painted. Pixels and spacing, never headers.

    Parameters
    ----------
    model
        The model to use; the shipped one by default.
    """

    name = NAME
    summary = "nodules and masses: does the scan show a lung cancer, whether real or fake"
    needs = Needs(lungs=True)
    marks_tampering = False

    def __init__(self, model: Model | None = None) -> None:
        self.model = model

    def examine(self, volume: CTVolume, lungs: LungRegion | None, *, workers: int | None = None) -> Evidence:
        """Look for nodules; the evidence has a reading and no map. See `Detector.examine`."""
        model = self.model or load_model(NAME)
        model.require_width(FEATURE_COUNT)
        if lungs is None or not lungs.any_found:
            note = Note("no_lungs", f"{NAME}: no lung region, nothing looked at")
            reading = NoduleReading(Shown.INDETERMINATE, "no lung region was found", (), None)
            return Evidence(NAME, notes=(note,), card=model.card, reading=reading)
        return Evidence(NAME, card=model.card, reading=read_nodules(volume, lungs, model, workers=workers))


def read_nodules(
    volume: CTVolume, lungs: LungRegion, model: Model, *, workers: int | None = 1
) -> NoduleReading:
    """Everything that looks like a nodule, and what the series shows by it."""
    volume = with_known_steps(volume)
    centres, scores = score_candidates(volume, lungs, model, workers=workers)
    lone = is_alone(volume, centres)
    calibration = model.calibration
    told = np.where(lone, calibration["lone_mark_threshold"], calibration["run_mark_threshold"])
    nodules: list[Nodule] = []
    for i in np.argsort(-(scores - told), kind="stable"):
        if scores[i] < told[i] or len(nodules) == MOST:
            break
        if not _is_told(nodules, volume, centres[i]):
            nodules.append(_describe(volume, lungs, centres[i], float(scores[i]), bool(lone[i]), calibration))
    shown, reason = _judge(tuple(nodules))
    return NoduleReading(shown, reason, tuple(nodules), float(scores.max()) if len(scores) else None, centres, scores)


def with_known_steps(volume: CTVolume) -> CTVolume:
    """The volume with 1 mm for every step that is not told: a lone slice without a thickness has none along z."""
    known = tuple(step if np.isfinite(step) and step > 0 else 1.0 for step in volume.spacing_mm)
    return volume if known == volume.spacing_mm else replace(volume, spacing_mm=known)  # type: ignore[arg-type]


def score_candidates(
    volume: CTVolume, lungs: LungRegion, model: Model, *, workers: int | None = 1
) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) voxels of every blob, and (n,) log odds that a nodule lies there."""
    centres = find_candidates(volume, lungs, workers=workers).centres
    return centres, score_places(volume, lungs, centres, model, workers=workers)


def score_places(
    volume: CTVolume, lungs: LungRegion, centres: np.ndarray, model: Model, *, workers: int | None = 1
) -> np.ndarray:
    """(n,) log odds that a nodule lies at each of (n, 3) voxels; `LOWEST` where too little around it is lung."""
    features = describe(volume, lungs, centres, workers=workers)
    return np.where(lies_in_lung(features), model.score(features), np.float32(LOWEST))


def score_sites(
    volume: CTVolume, lungs: LungRegion, sites: Sequence[Sequence[float]], model: Model
) -> np.ndarray:
    """(n,) log odds that a nodule lies at each of (n, 3) voxels: the highest of the site and all blobs within 10 mm.

    On the site's own slice and those within 10 mm of it; blobs are looked for in the whole series once.
    """
    volume = with_known_steps(volume)
    at = np.asarray(sites, float).reshape(-1, 3)
    own = score_places(volume, lungs, at, model)
    centres = find_candidates(volume, lungs).centres
    near = np.linalg.norm((centres[None] - at[:, None]) * volume.spacing_mm, axis=2) <= NEAR_MM
    if not near.any():
        return own
    used = near.any(axis=0)
    scores = score_places(volume, lungs, centres[used], model)
    return np.maximum(own, np.where(near[:, used], scores[None], -np.inf).max(axis=1))


def is_alone(volume: CTVolume, centres: np.ndarray) -> np.ndarray:
    """(n,) bool: which of (n, 3) voxels lie on a slice without neighbours."""
    alone = np.zeros(volume.slice_count, bool)
    for run in volume.runs:
        alone[run] = run.stop - run.start == 1
    return alone[np.clip(np.rint(centres[:, 0]).astype(int), 0, volume.slice_count - 1)]


def _is_told(nodules: Sequence[Nodule], volume: CTVolume, centre: np.ndarray) -> bool:
    """Whether a place belongs to a nodule that is told already."""
    for nodule in nodules:
        gap_mm = (np.array(nodule.centre_voxel_zyx) - centre) * volume.spacing_mm
        if np.linalg.norm(gap_mm) <= max(APART_MM, 0.75 * (nodule.long_axis_mm or 0.0)):
            return True
    return False


def _describe(
    volume: CTVolume, lungs: LungRegion, centre: np.ndarray, score: float, alone: bool, calibration: dict[str, float]
) -> Nodule:
    z, y, x = (float(v) for v in centre)
    index = int(np.clip(round(z), 0, volume.slice_count - 1))
    mass = measure_mass(volume, lungs, (index, round(y), round(x)))
    long_axis = mass.long_axis_mm if mass else None
    decide = calibration["lone_decisive_threshold" if alone else "run_decisive_threshold"]
    return Nodule(
        centre_voxel_zyx=(z, y, x),
        centre_mm_lps=volume.to_patient_mm(z, y, x),
        long_axis_mm=long_axis,
        diameter_mm=mass.diameter_mm if mass and not alone else None,
        score=score,
        slice_index=index,
        sop_instance_uid=volume.sop_instance_uids[index],
        where=say_where(volume, lungs, (z, y, x)),
        decisive=score >= decide and (long_axis is None or long_axis >= SMALL_MM),
        alone=alone,
    )


def _judge(nodules: tuple[Nodule, ...]) -> tuple[Shown, str]:
    decisive = [n for n in nodules if n.decisive]
    if decisive:
        return Shown.CANCER, f"shows {_say(decisive)}"
    unsure = [n for n in nodules if n.long_axis_mm is None or n.long_axis_mm >= SMALL_MM]
    if unsure:
        return Shown.INDETERMINATE, f"shows what may be {_say(unsure)}, too unsure to decide"
    if nodules:
        small = f"{say_count(len(nodules), 'nodule')} below {SMALL_MM:g} mm"
        return Shown.NONE_SEEN, f"nothing but {small}; this does not mean healthy"
    return Shown.NONE_SEEN, "no nodule seen; this does not mean healthy"


def _say(nodules: Sequence[Nodule]) -> str:
    """Such as "a 14 mm nodule in the right lung, upper third, and 2 more"."""
    first = max(nodules, key=lambda n: n.long_axis_mm or 0.0)
    size = "a" if first.long_axis_mm is None else f"a {first.long_axis_mm:.0f} mm"
    what = "mass" if (first.long_axis_mm or 0) > 30 else "nodule"
    more = f", and {len(nodules) - 1} more" if len(nodules) > 1 else ""
    return f"{size} {what} in the {first.where}{more}"
