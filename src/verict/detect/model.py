"""Shipped models: an ONNX file and the JSON card that says what it is, checked against each other on load."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from verict.errors import ModelError
from verict.weights import open_session, read_card, require_file

WEIGHTS = Path(__file__).parent / "weights"
CARD_SCHEMA = "verict.card/1"
_REQUIRED = ("schema", "id", "version", "sha256", "input", "calibration", "figures", "training")


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded model. ``card`` is its JSON card; calling `score` is safe from several threads."""

    card: dict[str, Any]
    session: onnxruntime.InferenceSession

    @property
    def calibration(self) -> dict[str, float]:
        """The thresholds fitted on authentic scans."""
        return self.card["calibration"]

    def require_width(self, features: int) -> None:
        """Refuse a model that was fitted on another number of features.

        Raises
        ------
        ModelError
            If the weights take another number than ``features``.
        """
        width = self.session.get_inputs()[0].shape[1]
        if width != features:
            raise ModelError(
                "the weights were fitted on other features than this version computes",
                file=f"{self.card['id']}.onnx",
                found=f"{width} features",
                expected=str(features),
                next_step="reinstall verict, or train it again",
            )

    def score(self, features: np.ndarray) -> np.ndarray:
        """(n,) float32 scores of (n, features) float32 inputs; higher = more suspicious."""
        if not len(features):
            return np.empty(0, np.float32)
        return self.session.run(None, {"features": features})[0][:, 0]


def load_card(name: str, folder: Path = WEIGHTS) -> dict[str, Any]:
    """The card ``NAME.json`` of a folder.

    Raises
    ------
    ModelError
        If it is missing or of another schema.
    """
    require_file(folder / f"{name}.json")
    return read_card(folder / f"{name}.json", CARD_SCHEMA, _REQUIRED)


@cache
def load_model(name: str, folder: Path = WEIGHTS) -> Model:
    """Load ``NAME.onnx`` and ``NAME.json`` from a folder.

    Raises
    ------
    ModelError
        If either is missing, the card is of another schema, or the weights are not the ones it describes.
    """
    weights = folder / f"{name}.onnx"
    require_file(weights)
    card = load_card(name, folder)
    return Model(card, open_session(weights, card["sha256"]))


@cache
def load_folds(name: str, folder: Path = WEIGHTS) -> tuple[Model, ...]:
    """The models a shipped model was measured with: each fitted without one fold of the training scans.

    Their cards are the shipped one's, with their own ``sha256`` and ``calibration``. For measuring only: which
    fold a scan was held out in stands in the card's ``training.seen``. Empty where none are shipped.

    Raises
    ------
    ModelError
        As `load_model`.
    """
    card = load_model(name, folder).card
    models = []
    for fold in card.get("folds", []):
        weights = folder / fold["file"]
        own = card | {"sha256": fold["sha256"], "calibration": fold["calibration"]}
        models.append(Model(own, open_session(weights, fold["sha256"])))
    return tuple(models)
