"""The same figures for parts of the data: by manufacturer, kernel, thickness, spacing, depth, lesion size, forgery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from verict.datasets.scans import Source
from verict.evaluation.alarms import Judged, alarm_figures
from verict.evaluation.case import PAINTED, PlaceKind, Subject
from verict.evaluation.figures import areas, compare_kinds, detector_score, frozen_figures
from verict.evaluation.forgeries import forgery_strata
from verict.evaluation.matching import match_places
from verict.evaluation.places import PlaceTable, join_tables
from verict.evaluation.result import Measured, Stratum, Tree

UNTOLD = "untold"  # published fakes: their headers are one cloned template
THICKNESS_MM = (1.5, 3.0, 5.0)  # thin as for planning and CAD, usual, thick; a bin holds what lies below its edge
SPACING_MM = (0.65, 0.75, 0.85)  # quarters of the labelled scans
LESION_MM = (8.0, 12.0, 16.0)  # diameter of injected nodules
REMOVED = "a removed cancer is gone: its size cannot be measured"


def stratify(judged: Sequence[Judged], table: PlaceTable, *, seed: int) -> tuple[Stratum, ...]:
    """One entry for each value of each property that the series at hand have.

    ``auc`` and ``frozen`` where a stratum holds labelled series, ``authentic`` where it holds authentic ones.

    Parameters
    ----------
    judged
        All series, in the order of the cases.
    table
        Their places.
    seed
        Of the bootstraps.
    """
    strata = [
        (name, value, _tree([judged[i] for i in members], table[np.isin(table.case, members)], seed))
        for name, describe in _PROPERTIES.items()
        for value, members in _group(describe(j) for j in judged)
    ]
    return (*strata, *_by_lesion_size(table, seed), *forgery_strata(table, seed=seed))


def _tree(judged: Sequence[Judged], table: PlaceTable, seed: int) -> Tree:
    tree: Tree = {}
    if any(j.case.subject.source is Source.LABELLED for j in judged):
        matching = match_places(table)
        tree["auc"] = areas(compare_kinds(table, matching), detector_score, seed=seed)
        tree["frozen"] = frozen_figures(table, matching, seed=seed)
    if any(j.case.subject.source is Source.AUTHENTIC for j in judged):
        tree["authentic"] = alarm_figures(judged, seed=seed)
    return tree


def _by_lesion_size(table: PlaceTable, seed: int) -> list[Stratum]:
    """Injected nodules by their diameter; removed ones have none."""
    injected = table.of(PlaceKind.FM)
    untouched = table[~np.isin(table.kind, PAINTED)]
    sizes = ["no edge found" if np.isnan(d) else _bin(d, LESION_MM) for d in injected.diameter_mm]
    strata: list[Stratum] = []
    for value, members in _group(iter(sizes)):
        part = join_tables(injected[np.array(members)], untouched)
        matching = match_places(part)
        tree = frozen_figures(part, matching, seed=seed)
        figures: Tree = {"frozen": {"fm": tree["fm"], "fb": Measured.missing(REMOVED)}}
        figures["auc"] = {"fm_dense": areas(compare_kinds(part, matching), detector_score, seed=seed)["fm_dense"]}
        strata.append(("lesion diameter mm", value, figures))
    return strata


def _group(values: Iterable[str]) -> list[tuple[str, list[int]]]:
    """Values in order, each with the positions it stands at."""
    members: dict[str, list[int]] = {}
    for position, value in enumerate(values):
        members.setdefault(value, []).append(position)
    return sorted(members.items())


def _bin(value: float, edges: Sequence[float]) -> str:
    """The bin a value lies in, in words.

    >>> _bin(3.0, (1.5, 3.0)), _bin(1.0, (1.5, 3.0)), _bin(1.5, (1.5, 3.0))
    ('3 and more', 'below 1.5', '1.5 to 3')
    """
    at = int(np.searchsorted(edges, value, side="right"))
    if at == 0:
        return f"below {edges[0]:g}"
    return f"{edges[-1]:g} and more" if at == len(edges) else f"{edges[at - 1]:g} to {edges[at]:g}"


def _manufacturer(judged: Judged) -> str:
    subject = judged.case.subject
    return subject.scanner.manufacturer or UNTOLD if subject.headers_tell else UNTOLD


def _thickness(subject: Subject) -> str:
    thickness_mm = subject.geometry.slice_thickness_mm or subject.geometry.spacing_mm[0]
    return _bin(thickness_mm, THICKNESS_MM) if thickness_mm else UNTOLD


_PROPERTIES: dict[str, Callable[[Judged], str]] = {
    "manufacturer": _manufacturer,
    "kernel": lambda judged: judged.case.subject.kernel or UNTOLD,
    "slice thickness mm": lambda judged: _thickness(judged.case.subject),
    "pixel spacing mm": lambda judged: _bin(judged.case.subject.geometry.spacing_mm[1], SPACING_MM),
    "judged as": lambda judged: "volume" if judged.is_deep else "single slices",
}
