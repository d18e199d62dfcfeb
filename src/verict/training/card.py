"""Model cards: what a shipped model is, what it was fitted on, and what it is worth."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from verict import __version__
from verict.datasets.scans import Scan, Source, identify_patient, identify_slice
from verict.detect import block_power, window_power
from verict.detect import spectrum_features as sf
from verict.detect.model import CARD_SCHEMA
from verict.provenance import sha256_of
from verict.training.phantoms import FOLDER as PHANTOM
from verict.training.samples import Sample


def list_seen(scans: Iterable[Scan], fold_of: dict[str, int]) -> dict[str, Any]:
    """What was learnt from: each patient and each slice with lung, as the fold whose model did not see it.

    ``fold_of`` gives each patient's fold. Names and pixels are hashed, see `verict.datasets.scans`. ``scanners`` are
    the models (manufacturer, model) of the authentic scans.
    """
    scanners: set[tuple[str, str]] = set()
    patients: dict[str, int] = {}
    slices: dict[str, int] = {}
    for scan in scans:
        if scan.patient in fold_of:
            fold = fold_of[scan.patient]
            patients[identify_patient(scan.patient)] = fold
            slices |= {identify_slice(hu): fold for hu in scan.volume.hu[scan.lungs.found]}
            if scan.source is Source.AUTHENTIC and scan.folder != PHANTOM:
                scanners.add((scan.scanner.manufacturer, scan.scanner.model))
    return {"patients": patients, "slices": slices, "scanners": sorted(map(list, scanners))}


def write_card(
    out: Path,
    thresholds: dict[str, float],
    figures: list[dict[str, object]],
    recipe: dict[str, object],
    samples: list[Sample],
    *,
    folds: list[dict[str, float]],
    seen: dict[str, Any],
    evidence: dict[str, Any] | None = None,
) -> dict:
    """Write ``spectrum.json`` beside the weights and return it.

    ``folds`` are the thresholds of each fold's model, which lies beside as ``spectrum-fold-N.onnx``; ``seen`` is
    `list_seen`'s; ``evidence`` what scores weigh, see `verict.evaluation.evidence_fit`.
    """
    card = {
        "schema": CARD_SCHEMA,
        "id": "spectrum",
        "version": __version__,
        "sha256": sha256_of(out / "spectrum.onnx"),
        "input": {
            "features": sf.FEATURE_COUNT,
            "window_px": window_power.WINDOW_PX,
            "block_px": block_power.BLOCK_PX,
            "stride_px": sf.STRIDE_PX,
            "clip_hu": [block_power.AIR_HU, block_power.CEILING_HU],
            "ring_mm": [f"{sf.PAINTED_HALF_SIDE_MM} + half a window's diagonal", sf.RING_WIDTH_MM],
            "axes": "(z, y, x)",
        },
        "output": "uncalibrated score on a scale of log odds, higher = more suspicious",
        "calibration": thresholds,
        "folds": [
            {"file": fold_file(k), "sha256": sha256_of(out / fold_file(k)), "calibration": own}
            for k, own in enumerate(folds)
        ],
        "training": {
            "data": _counts(samples),
            "split": "folds by patient (real fakes by uuid; two may be one patient); authentic scans also by scanner "
            "model; the scanners of the real fakes are unknown and may be among those trained on",
            "recipe": recipe,
            "command": "verict train spectrum --data ../shared/data",
            "seen": seen,
        },
        **({"evidence": evidence} if evidence else {}),
        "figures": figures,
        "limits": [
            "Fitted on forgeries of one published attack and on simple simulations of its touch-ups.",
            "Copied noise, and noise matched to the scan's own spectrum, can pass unseen.",
            "Needs lung texture: not for other body regions.",
        ],
    }
    (out / "spectrum.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return card


def fold_file(fold: int) -> str:
    """The name of a fold's weights."""
    return f"spectrum-fold-{fold}.onnx"


def _counts(samples: list[Sample]) -> dict[str, dict[str, int]]:
    slices = Counter(s.source for s in samples)
    return {
        source: {"slices": slices[source], "patients": len({s.patient for s in samples if s.source == source})}
        for source in sorted(slices)
    }
