"""Model cards: what a shipped model is, what it was fitted on, and what it is worth."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from verict import __version__
from verict.detect.model import CARD_SCHEMA
from verict.detect.spectrum_features import (
    AIR_HU,
    CEILINGS_HU,
    FEATURE_COUNT,
    PAINTED_HALF_SIDE_MM,
    RING_WIDTH_MM,
    STRIDE_PX,
    WINDOW_PX,
)
from verict.provenance import sha256_of
from verict.training.samples import Sample


def write_card(
    out: Path,
    thresholds: dict[str, float],
    figures: list[dict[str, object]],
    recipe: dict[str, object],
    samples: list[Sample],
) -> dict:
    """Write ``spectrum.json`` beside the weights and return it."""
    card = {
        "schema": CARD_SCHEMA,
        "id": "spectrum",
        "version": __version__,
        "sha256": sha256_of(out / "spectrum.onnx"),
        "input": {
            "features": FEATURE_COUNT,
            "window_px": WINDOW_PX,
            "stride_px": STRIDE_PX,
            "clip_hu": [[AIR_HU, top] for top in CEILINGS_HU],
            "ring_mm": [f"{PAINTED_HALF_SIDE_MM} + half a window's diagonal", RING_WIDTH_MM],
            "axes": "(z, y, x)",
        },
        "output": "log odds of paint, higher = more suspicious",
        "calibration": thresholds,
        "training": {
            "data": _counts(samples),
            "split": "folds by patient; no fold's model or threshold saw its patients or their scanner models",
            "recipe": recipe,
            "command": "verict train spectrum --data ../shared/data",
        },
        "figures": figures,
        "limits": [
            "Fitted on forgeries of one published attack and on simple simulations of its touch-ups.",
            "Copied noise, and noise matched to the scan's own spectrum, can pass unseen.",
            "Needs lung texture: not for other body regions.",
        ],
    }
    (out / "spectrum.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return card


def _counts(samples: list[Sample]) -> dict[str, dict[str, int]]:
    slices = Counter(s.source for s in samples)
    return {
        source: {"slices": slices[source], "patients": len({s.patient for s in samples if s.source == source})}
        for source in sorted(slices)
    }
