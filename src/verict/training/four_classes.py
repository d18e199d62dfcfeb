"""Fits how the scores of nodules and of tampering become probabilities of the four classes; writes the card alone.

A multinomial logistic regression on the sites of a campaign of the lab, each scored by detectors that saw neither its
patient nor, among authentic scans, its scanner. Weights are fitted once for each fold without its patients, to measure,
and once on all, to ship. No published fake is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from verict import __version__
from verict.datasets.campaigns import CAMPAIGN_FILE, read_document
from verict.datasets.scans import Progress, identify_patient, read_labelled_scans
from verict.datasets.sites import describe_place
from verict.datasets.uci import SiteType
from verict.detect.four_classes import CLASSES, NAME, columns_of, from_weights
from verict.detect.fusion import load_fusion
from verict.detect.model import CARD_SCHEMA, WEIGHTS, load_card
from verict.errors import UsageError
from verict.evaluation.classes import Site, measure_sites, score_collection
from verict.training.logistic import make_regression
from verict.training.nodule.train import FOLDS

SOFTNESS = 3.0  # inverse of the weight decay


def train_classes(
    campaign: Path, out: Path, progress: Progress, *, weights: Path = WEIGHTS, workers: int | None = None
) -> dict[str, Any]:
    """Score the campaign's sites, fit, measure out of fold, and write ``four-classes.json`` into ``out``.

    Parameters
    ----------
    campaign
        What ``verict tamper campaign`` made, with all four classes in it.
    out
        Gets the card.
    progress
        See `verict.datasets.scans.Progress`.
    weights
        Folder of the detectors' models.
    workers
        Threads a detector may use.

    Raises
    ------
    DatasetError
        If the campaign cannot be read.
    UsageError
        If one of the four classes is missing.
    MissingExtraError
        If scikit-learn is missing.
    """
    sites = score_collection(campaign, weights=weights, workers=workers, progress=progress)
    if {s.kind for s in sites} != set(CLASSES):
        found = ", ".join(sorted({s.kind for s in sites}))
        raise UsageError("the campaign does not hold all four classes", found=found)
    listed = load_card("nodule", weights)["training"]["seen"]["patients"]
    fold_of = {p: listed.get(identify_patient(p), crc32(p.encode()) % FOLDS) for p in {s.patient for s in sites}}
    own = [fit_weights([s for s in sites if fold_of[s.patient] != k]) for k in range(FOLDS)]
    final = fit_weights(sites)
    judged = [replace(s, probabilities=_probabilities(s, own[fold_of[s.patient]])) for s in sites]
    card = {
        "schema": CARD_SCHEMA,
        "id": NAME,
        "version": __version__,
        "weights": final,
        "folds": own,
        "members": {"nodule": load_card("nodule", weights)["sha256"], "fusion": load_fusion(weights).card["sha256"]},
        "output": f"probabilities of {', '.join(CLASSES)}, as many of each taken to be there",
        "figures": measure_sites(judged),
        "training": {
            "campaign": read_document(campaign / CAMPAIGN_FILE)["sha256"],
            "sites": {str(c): sum(s.kind is c for s in sites) for c in CLASSES},
            "seen": {"patients": {identify_patient(p): k for p, k in sorted(fold_of.items())}},
            "removals_lay": _list_removals(campaign, progress),
            "command": "verict train four-classes --campaign CAMPAIGN",
        },
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{NAME}.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return card


def fit_weights(sites: Sequence[Site]) -> dict[str, list]:
    """``coefficients`` (4, 3) and ``constant`` (4,), see `verict.detect.four_classes.FourClasses`.

    Raises
    ------
    MissingExtraError
        If scikit-learn is missing.
    """
    columns = columns_of(np.array([s.nodule_score for s in sites]), np.array([s.tamper_score for s in sites]))
    truth = np.array([CLASSES.index(s.kind) for s in sites])
    model = make_regression(SOFTNESS).fit(columns, truth)
    return {
        "coefficients": [[round(float(v), 6) for v in row] for row in model.coef_],
        "constant": [round(float(v), 6) for v in model.intercept_],
    }


def _probabilities(site: Site, weights: Mapping[str, list]) -> tuple[float, ...]:
    classes = from_weights({}, dict(weights))
    return tuple(map(float, classes.probabilities(np.array([site.nodule_score]), np.array([site.tamper_score]))[0]))


def _list_removals(campaign: Path, progress: Progress) -> list[dict[str, Any]]:
    """Where cancers were removed, comparable between patients: places for rows that name none are chosen alike."""
    found = []
    for scan in read_labelled_scans(campaign, progress):
        for z, labels in scan.labels.items():
            for label in labels:
                if label.kind is SiteType.FB:
                    at = (z, label.y, label.x)
                    place = describe_place(scan.lungs.mask, scan.volume.spacing_mm[1:], at, whole_scan=True)
                    found.append({k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(place).items()})
    return found
