"""What a further score would add to the fusion: weights fitted on one campaign, judged on another, patients apart.

Each slice is looked at alone, by the members' models that never saw its patient.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from zlib import crc32

import numpy as np
from kept_slices import KeptSlices
from residual_cells import Collection, Maps

from verict.datasets.scans import identify_patient
from verict.detect.fusion import MEMBERS, score_members
from verict.detect.localiser import MAP_ORIGIN_PX, MAP_STRIDE_PX
from verict.detect.localiser_features import slice_channels
from verict.detect.model import Model, load_folds, load_model
from verict.evaluation.case import PAINTED
from verict.evaluation.paired import difference_of_areas
from verict.statistics import mean_over_matches, tell_apart
from verict.training.logistic import make_regression

SEED = 1  # of the bootstrap
SOFTNESS = 10.0  # as the fusion's own fit
UNDEFINED = -20.0  # log odds of a place without a score


def measure_gain(
    collections: Mapping[str, Collection], further: Mapping[str, np.ndarray], work: Path
) -> Iterator[str]:
    """Lines of a table: the members' sum, the sum with the further score, and their difference.

    Parameters
    ----------
    collections
        The design campaign, the judged one and the published fakes, in this order.
    further
        (places,) the further score, of each.
    work
        Scratch folder: the members' maps are kept there.
    """
    design, *others = collections
    members = {name: _score_members(own, work / f"members-{name.replace(' ', '-')}")
               for name, own in collections.items()}
    yield "| | members alone | with the further score | difference, 95 % interval | n |"
    yield "|---|---|---|---|---|"
    for name in others:
        own = collections[name]
        sums = [
            _sum_scores(collections[design], _join(members[design], further[design], extra),
                        own, _join(members[name], further[name], extra))
            for extra in (False, True)
        ]
        pairs = {"FB": (own.removed, own.lung, np.ones((len(own.removed), len(own.lung)), bool)),
                 "FM": (own.injected, own.matches, own.is_match)}
        for kind, (rows, against, match) in pairs.items():
            if not match.any():
                continue
            people = own.table.patient[rows], own.table.patient[against]
            alone, both = ((one[rows], one[against]) for one in sums)
            areas = [mean_over_matches(tell_apart(*one), people, match, seed=SEED) for one in (alone, both)]
            gained = difference_of_areas(both, alone, people, is_match=match, seed=SEED)
            yield (f"| {name}, {kind} | {areas[0].value:.3f} | {areas[1].value:.3f} | {gained.value:+.3f} "
                   f"({gained.low:+.3f} to {gained.high:+.3f}) | {gained.n} |")


def _join(scores: np.ndarray, further: np.ndarray, with_further: bool) -> np.ndarray:
    return np.concatenate([scores, further[:, None]], axis=1) if with_further else scores


def _sum_scores(design: Collection, fitted_on: np.ndarray, own: Collection, scores: np.ndarray) -> np.ndarray:
    """(places,) log odds of a sum fitted on the design campaign without the patients of each judged one's fold."""
    painted, fold = np.isin(design.table.kind, PAINTED), _folds_of(design.table.patient)
    defined = np.isfinite(fitted_on).all(axis=1)
    filled, folds = np.where(np.isfinite(scores), scores, UNDEFINED), _folds_of(own.table.patient)
    out = np.empty(len(folds))
    for k in np.unique(folds):
        chosen = defined & (fold != k)
        model = make_regression(SOFTNESS).fit(fitted_on[chosen], painted[chosen])
        out[folds == k] = model.decision_function(filled[folds == k])
    return out


def _folds_of(patients: np.ndarray) -> np.ndarray:
    """Fold of each: that of the members where they list it, else by a hash of its name."""
    listed = load_model(MEMBERS[0]).card["training"]["seen"]["patients"]
    count = len(load_folds(MEMBERS[0]))
    return np.array([listed.get(identify_patient(p), crc32(p.encode()) % count) for p in patients.tolist()])


def _models_of(patient: str) -> Mapping[str, Model]:
    """The members that never saw a patient."""
    fold = load_model(MEMBERS[0]).card["training"]["seen"]["patients"].get(identify_patient(patient), -1)
    return {name: load_model(name) if fold < 0 else load_folds(name)[fold] for name in MEMBERS}


def _score_members(collection: Collection, folder: Path) -> np.ndarray:
    """(places, members) what the members say of each place."""
    folder.mkdir(parents=True, exist_ok=True)

    def read(index: int, name: str) -> Maps:
        kept = folder / f"{index:04d}.pickle"
        if not kept.is_file():
            kept.write_bytes(pickle.dumps(_map_members(collection.files[index]), protocol=5))
        return {z: maps[name] for z, maps in pickle.loads(kept.read_bytes()).items()}

    grid = MAP_STRIDE_PX, MAP_ORIGIN_PX
    return np.stack([collection.score(lambda i, n=name: read(i, n), grid) for name in MEMBERS], axis=1)


def _map_members(file: Path) -> dict[int, dict[str, np.ndarray]]:
    scan: KeptSlices = pickle.loads(file.read_bytes())
    models, spacing = _models_of(scan.subject.patient), scan.subject.geometry.spacing_mm[1:]
    return {z: score_members(slice_channels(hu, [], mask, spacing), models) for z, (hu, mask) in scan.slices.items()}
