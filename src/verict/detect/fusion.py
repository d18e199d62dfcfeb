"""All pixel detectors weighed together: one map of log odds, one set of regions, and what each detector gave to them.

The score of a place is a weighted sum of what `verict.detect.spectrum` and `verict.detect.localiser` say of it, the
weights fitted on forgeries of the lab that neither had seen; thresholds and likelihood ratios are those of the sum.
Both share one measurement of each slice, so the sum costs little more than one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.detect.evidence import Evidence, Needs, ScoreMap
from verict.detect.localiser import (
    FINE_BELOW,
    MAP_ORIGIN_PX,
    MAP_STRIDE_PX,
    channels_of,
    map_shape,
    map_volume,
    score_channels,
)
from verict.detect.model import CARD_SCHEMA, WEIGHTS, Model, load_folds, load_model
from verict.detect.spectrum import note_undefined_slices, smooth_map
from verict.detect.spectrum_features import FEATURE_COUNT, SliceFeatures
from verict.errors import ModelError
from verict.weights import read_card, require_file

NAME = "fusion"
MEMBERS = ("spectrum", "localiser")
WORDS = "the noise here is not that of the scan"
_REQUIRED = ("schema", "id", "version", "sha256", "calibration", "weights", "members", "figures", "training")


@dataclass(frozen=True, eq=False)
class FusionModel:
    """Detectors' models and the weights of their sum; ``card`` has the sum's thresholds."""

    card: dict[str, Any]
    members: Mapping[str, Model]

    @property
    def calibration(self) -> dict[str, float]:
        """The thresholds fitted on authentic scans."""
        return self.card["calibration"]

    def score(self, cells: SliceFeatures) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Of one slice: the map of the sum, and what each member adds to it, (rows, columns) float32 log odds.

        What they add sums to the map but for the constant of the fit, which belongs to none of them.
        """
        weights = self.card["weights"]
        parts = {name: weights[name] * one for name, one in score_members(cells, self.members).items()}
        return sum(parts.values()) + np.float32(weights["constant"]), parts


def score_members(cells: SliceFeatures, members: Mapping[str, Model]) -> dict[str, np.ndarray]:
    """What each member says of one slice, on the localiser's map: (rows, columns) float32, NaN where undefined."""
    if not len(cells.rows):
        nothing = np.full(map_shape(cells.shape), np.nan, np.float32)
        return dict.fromkeys(MEMBERS, nothing)
    windows = np.ascontiguousarray(cells.values[:, :FEATURE_COUNT], np.float32)
    spectrum = smooth_map(cells.to_map(members["spectrum"].score(windows)))
    fine = np.repeat(np.repeat(spectrum, 2, axis=0), 2, axis=1)
    return {"spectrum": fine, "localiser": score_channels(cells, members["localiser"])}


class FusionDetector:
    """The weighted sum of `MEMBERS`. Pixels and spacing, never headers.

    Parameters
    ----------
    model
        The models and weights to use; the shipped ones by default.
    """

    name = NAME
    summary = "spectrum and localiser weighed together: one score a place"
    needs = Needs(lungs=True)
    marks_tampering = True

    def __init__(self, model: FusionModel | None = None) -> None:
        self.model = model

    @staticmethod
    def load_models(folder: Path = WEIGHTS) -> tuple[FusionModel, tuple[FusionModel, ...]]:
        """What is shipped, and what it was measured with, see `load_fusion` and `load_fusion_folds`."""
        return load_fusion(folder), load_fusion_folds(folder)

    def examine(self, volume: CTVolume, lungs: LungRegion | None, *, workers: int | None = None) -> Evidence:
        """Score every cell of the lungs. See `Detector.examine`."""
        model = self.model or load_fusion()
        mask = np.zeros_like(volume.hu, dtype=bool) if lungs is None else lungs.mask
        fine_from = model.calibration["run_mark_threshold"] - FINE_BELOW
        told: dict[int, dict[str, np.ndarray]] = {}

        def score(z: int) -> np.ndarray:
            total, parts = model.score(channels_of(volume, mask, z))
            if np.isfinite(total).any() and np.nanmax(total) >= fine_from:
                told[z] = parts
            return total

        values = map_volume(volume, score, fine_from=fine_from, workers=workers)
        return Evidence(
            self.name,
            score_map=ScoreMap(values, MAP_STRIDE_PX, MAP_ORIGIN_PX),
            notes=note_undefined_slices(self.name, values, lungs),
            card=model.card,
            mark_threshold=model.calibration["mark_threshold"],
            words=WORDS,
            parts=told,
        )


@cache
def load_fusion(folder: Path = WEIGHTS) -> FusionModel:
    """The shipped weights of the sum with the shipped members.

    Raises
    ------
    ModelError
        If a model or the card is missing or altered, or the weights were fitted on other members.
    """
    require_file(folder / f"{NAME}.json")
    card = read_card(folder / f"{NAME}.json", CARD_SCHEMA, _REQUIRED)
    members = {name: load_model(name, folder) for name in MEMBERS}
    for name, model in members.items():
        if model.card["sha256"] != card["members"][name]:
            raise ModelError(
                "the detectors are not those whose sum was fitted", file=folder / f"{NAME}.json",
                found=f"{name} {model.card['sha256'][:16]}", expected=card["members"][name][:16],
                next_step="reinstall verict, or run verict train fusion again",
            )
    return FusionModel(card, members)


@cache
def load_fusion_folds(folder: Path = WEIGHTS) -> tuple[FusionModel, ...]:
    """The members' fold models with weights and thresholds that never saw their fold; for measuring only.

    Raises
    ------
    ModelError
        As `load_fusion`.
    """
    card = load_fusion(folder).card
    members = {name: load_folds(name, folder) for name in MEMBERS}
    return tuple(
        FusionModel(card | own, {name: models[k] for name, models in members.items()})
        for k, own in enumerate(card["folds"])
    )
