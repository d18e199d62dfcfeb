"""What a further score would add to the fusion: weights fitted on one campaign, judged on another, patients apart."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from zlib import crc32

import numpy as np
from residual_cells import Collection

from verict.datasets.scans import identify_patient, read_labelled_scans
from verict.detect.evidence import ScoreMap
from verict.detect.fusion import MEMBERS, score_members
from verict.detect.localiser import MAP_ORIGIN_PX, MAP_STRIDE_PX, average_runs, channels_of, map_shape
from verict.detect.model import Model, load_folds, load_model
from verict.detect.spectrum_features import SliceFeatures, grid_shape
from verict.evaluation.case import PAINTED, Case, PlaceKind, Seen, Subject
from verict.evaluation.fair import RANKED_ONLY
from verict.evaluation.matching import match_places
from verict.evaluation.paired import difference_of_areas
from verict.evaluation.places import PlaceTable, join_tables, tabulate_places
from verict.evaluation.subjects import make_subject
from verict.statistics import mean_over_matches, tell_apart
from verict.training.localiser.campaigns import keep_campaign
from verict.training.logistic import make_regression

SEED = 1  # of the untouched places
SOFTNESS = 10.0  # as the fusion's own fit
UNDEFINED = -20.0  # log odds of a place without a score


def measure_gain(
    options: argparse.Namespace, collections: Mapping[str, Collection], further: Mapping[str, np.ndarray]
) -> Iterator[str]:
    """Lines of a table: the members' sum, the sum with the further score, and their difference.

    Parameters
    ----------
    options
        ``design``, ``judged``, ``data`` and ``members``.
    collections
        The design campaign, the judged one and the published fakes, in this order.
    further
        (places,) the further score, of each.
    """
    design, judged, fakes = collections
    members = {
        design: _score_campaign(options.design, options.members),
        judged: _score_campaign(options.judged, options.members),
        fakes: _score_fakes(options.data),
    }
    added = {name: replace(own.table, score=further[name]) for name, own in collections.items()}
    added[fakes] = added[fakes][added[fakes].is_labelled]
    for name, (table, _) in members.items():
        if not np.array_equal(table.kind, added[name].kind) or not np.allclose(table.y_mm, added[name].y_mm):
            raise SystemExit(f"the places of the {name} are not those the members were measured at")
    yield "| | members alone | with the further score | difference, 95 % interval | n |"
    yield "|---|---|---|---|---|"
    for name in (judged, fakes):
        table = members[name][0]
        sums = [_sum_scores(members, added, design, name, with_further=extra) for extra in (False, True)]
        for words, rows, others, is_match in _compare(table):
            people = table.patient[rows], table.patient[others]
            both = [(one[rows], one[others]) for one in sums]
            difference = difference_of_areas(both[1], both[0], people, is_match=is_match, seed=SEED)
            match = np.ones((len(rows), len(others)), bool) if is_match is None else is_match
            areas = [mean_over_matches(tell_apart(*one), people, match, seed=SEED) for one in both]
            yield (f"| {name}, {words} | {areas[0].value:.3f} | {areas[1].value:.3f} | {difference.value:+.3f} "
                   f"({difference.low:+.3f} to {difference.high:+.3f}) | {difference.n} |")


def _compare(table: PlaceTable) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray | None]]:
    indexed = replace(table, score=np.arange(len(table), dtype=float))
    removed, lung, injected, bright = (
        indexed.of(kind).score.astype(int)
        for kind in (PlaceKind.FB, PlaceKind.PARENCHYMA, PlaceKind.FM, PlaceKind.BRIGHT)
    )
    yield "FB", removed, lung, None
    matching = match_places(indexed)
    if matching.matched.any():
        yield ("FM, matched", matching.positives.score.astype(int), matching.negatives.score.astype(int),
               matching.is_match)
    else:
        yield "FM, against every bright place", injected, bright, None


def _sum_scores(
    members: Mapping[str, tuple[PlaceTable, np.ndarray]], added: Mapping[str, PlaceTable], design: str, name: str, *,
    with_further: bool,
) -> np.ndarray:
    """(places,) log odds of a sum fitted on the design campaign without the patients of each judged one's fold."""

    def columns(which: str) -> np.ndarray:
        scores = members[which][1]
        extra = added[which].score[:, None]
        every = np.concatenate([scores, extra], axis=1) if with_further else scores
        return np.where(np.isfinite(every), every, UNDEFINED)

    table = members[design][0]
    painted, fold = np.isin(table.kind, PAINTED), _folds_of(table.patient)
    defined = np.isfinite(members[design][1]).all(axis=1) & np.isfinite(added[design].score)
    own = _folds_of(members[name][0].patient)
    out = np.empty(len(own))
    for k in np.unique(own):
        chosen = defined & (fold != k)
        model = make_regression(SOFTNESS).fit(columns(design)[chosen], painted[chosen])
        out[own == k] = model.decision_function(columns(name)[own == k])
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


def _score_campaign(campaign: Path, work: Path) -> tuple[PlaceTable, np.ndarray]:
    return _join(
        _score(case.subject, case.cells, average=True) for case in keep_campaign(campaign, work, SEED, 1, _report)
    )


def _score_fakes(data: Path) -> tuple[PlaceTable, np.ndarray]:
    found = []
    for scan in read_labelled_scans(data / "ctgan", _report):
        subject = make_subject(scan, SEED)
        cells = {z: channels_of(scan.volume, scan.lungs.mask, z) for z in {place.z for place in subject.places}}
        found.append(_score(subject, cells, average=False))
    return _join(found)


def _score(
    subject: Subject, cells: Mapping[int, SliceFeatures], *, average: bool
) -> tuple[PlaceTable, np.ndarray]:
    """The places of a scan, and (places, members) what the members say of them."""
    shape = map_shape(grid_shape(*subject.geometry.hu.shape[1:]))
    models, columns = _models_of(subject.patient), []
    scored = {z: score_members(one, models) for z, one in cells.items()}
    for name in MEMBERS:
        values = np.full((subject.geometry.slice_count, *shape), np.nan, np.float32)
        for z, one in scored.items():
            values[z] = one[name]
        values = average_runs(values, subject.geometry) if average else values
        score_map = ScoreMap(values, MAP_STRIDE_PX, MAP_ORIGIN_PX)
        table = tabulate_places([Case(subject, score_map, RANKED_ONLY, Seen.UNSEEN)])
        columns.append(table.score)
    return table, np.stack(columns, axis=1) if len(table) else np.empty((0, len(MEMBERS)))


def _join(scored: Iterator[tuple[PlaceTable, np.ndarray]] | Sequence[tuple[PlaceTable, np.ndarray]]) -> tuple[
    PlaceTable, np.ndarray
]:
    kept = []
    for index, (table, scores) in enumerate(scored):
        table.case[:] = index
        if len(table):
            kept.append((table, scores))
    return reduce(join_tables, [t for t, _ in kept]), np.concatenate([s for _, s in kept])


def _report(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{what} {done}/{total}\x1b[K", end="", file=sys.stderr, flush=True)
