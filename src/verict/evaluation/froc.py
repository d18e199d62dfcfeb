"""How many painted places are found at so many false marks a slice, or a scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from verict.datasets.scans import Source
from verict.datasets.uci import SiteType
from verict.evaluation.case import Case
from verict.evaluation.marks import Field, Operating, joined_runs, labelled_slices, operate_at
from verict.evaluation.result import FALSE_MARKS_PER_SLICE, Measured, Tree
from verict.statistics import share_of_count

KINDS = {"fb": SiteType.FB, "fm": SiteType.FM}


def froc_figures(cases: Sequence[Case]) -> Tree:
    """``froc``, ``froc_by_kind`` and ``froc_per_scan``.

    ``froc``: marks of each labelled slice by itself, false ones counted a labelled slice. ``froc_per_scan``: marks
    after joining along z, false ones counted a scan with labels; a label is hit on its own slice.
    """
    labelled = [c for c in cases if c.subject.source is Source.LABELLED and any(c.subject.labels.values())]
    slices = [field for case in labelled for field in labelled_slices(case)]
    runs = [field for case in labelled for field in joined_runs(case)]
    own = _at_rates(slices, len(slices), "slices")
    joined = _at_rates(runs, len(labelled), "scans")
    return {
        "froc": {rate: leaves["pooled"] for rate, leaves in own.items()},
        "froc_by_kind": {key: {rate: leaves[key] for rate, leaves in own.items()} for key in KINDS},
        "froc_per_scan": {rate: leaves["pooled"] for rate, leaves in joined.items()},
    }


def _at_rates(fields: Sequence[Field], units: int, word: str) -> dict[str, dict[str, Measured]]:
    """For each rate the sensitivity of both kinds together and of each, at one threshold for all."""
    kinds = np.array([str(kind) for field in fields for kind, _ in field.targets], dtype="U2")
    states = operate_at(fields, [float(rate) * units for rate in FALSE_MARKS_PER_SLICE])
    chosen = {"pooled": np.isin(kinds, list(KINDS.values()))} | {key: kinds == kind for key, kind in KINDS.items()}
    return {
        rate: {key: _leaf(state, which, units, word) for key, which in chosen.items()}
        for rate, state in zip(FALSE_MARKS_PER_SLICE, states, strict=True)
    }


def _leaf(state: Operating, chosen: np.ndarray, units: int, word: str) -> Measured:
    if not chosen.any():
        return Measured.missing("no label of this kind")
    about: dict[str, float | int | str | None] = {
        "above": state.height if np.isfinite(state.height) else None,
        "false_marks": state.false_marks,
        f"false_marks_per_{word.removesuffix('s')}": state.false_marks / units,
    }
    return Measured(share_of_count(int(state.hits[chosen].sum()), int(chosen.sum())), units, about)
