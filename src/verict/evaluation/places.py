"""Scores of places, and the places of all cases in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from verict.datasets.scans import Source
from verict.detect.at_place import score_at
from verict.evaluation.case import Case, PlaceKind


@dataclass(frozen=True, eq=False)
class PlaceTable:
    """Places in columns, (n,) each; ``table[chosen]`` keeps some of them.

    ``score`` is the detector's, -inf where undefined; ``margin`` how far it lies above the mark threshold that judges
    its series. ``case`` numbers the cases, ``is_labelled`` tells which collection a place is of. ``method`` and
    ``touch_up`` are "" where nothing was forged, or that is not known.
    """

    kind: np.ndarray
    score: np.ndarray
    margin: np.ndarray
    centre_hu: np.ndarray
    diameter_mm: np.ndarray
    ring_hu: np.ndarray
    patient: np.ndarray
    case: np.ndarray
    z: np.ndarray
    y_mm: np.ndarray
    x_mm: np.ndarray
    is_labelled: np.ndarray
    method: np.ndarray
    touch_up: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> PlaceTable:
        return PlaceTable(*(getattr(self, f.name)[chosen] for f in fields(self)))

    def __len__(self) -> int:
        return len(self.kind)

    def of(self, *kinds: PlaceKind, labelled: bool | None = None) -> PlaceTable:
        """The places of some kinds, of one collection or (None) of both."""
        chosen = np.isin(self.kind, kinds)
        return self[chosen if labelled is None else chosen & (self.is_labelled == labelled)]

    @property
    def is_marked(self) -> np.ndarray:
        """Where the score reaches the mark threshold of its own series."""
        return self.margin >= 0


def join_tables(first: PlaceTable, second: PlaceTable) -> PlaceTable:
    """The places of both, in that order."""
    return PlaceTable(*(np.concatenate([getattr(first, f.name), getattr(second, f.name)]) for f in fields(first)))


def margin_of(score: np.ndarray, threshold: float) -> np.ndarray:
    """How far (...) scores lie above a threshold; an undefined one is the lowest there is."""
    return np.where(np.isnan(score), -np.inf, score.astype(np.float64) - threshold)


def tabulate_places(cases: Sequence[Case]) -> PlaceTable:
    """Every place of every case with its score, in the order of the cases."""
    rows: list[tuple] = []
    for index, case in enumerate(cases):
        subject = case.subject
        spacing = subject.geometry.spacing_mm
        for p in subject.places:
            score = score_at(case.score_map, p.z, p.y, p.x, spacing)
            rows.append(
                (
                    *(str(p.kind), score, score - case.calibration["mark_threshold"]),
                    *(p.centre_hu, p.diameter_mm, p.ring_hu, subject.patient, index, p.z),
                    *(p.y * spacing[1], p.x * spacing[2], subject.source is Source.LABELLED, p.method, p.touch_up),
                )
            )
    types: tuple[type, ...] = (str, float, float, float, float, float, str, int, int, float, float, bool, str, str)
    return PlaceTable(*(np.array([row[i] for row in rows], dtype=kind) for i, kind in enumerate(types)))
