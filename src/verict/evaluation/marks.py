"""Marks: cells of a map that reach a threshold and touch, and how many of them are false at every threshold.

A mark hits a label when it overlaps the painted square; it is false when most of it lies 48 mm or more from every
label; all other marks count as neither. A mark that covers a whole lung therefore is a false one, whatever it also
covers. Real cancers (TM) are untouched: a mark on them is false. On a slice that was touched up as a whole no mark is
false.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from scipy import ndimage

from verict.datasets.sites import CLEAR_IN_PLANE_MM
from verict.datasets.uci import SiteType
from verict.detect.verdict import MIN_RUN_SLICES, average_along_z, averaged_slices
from verict.evaluation.case import Case
from verict.evaluation.places import margin_of
from verict.evaluation.subjects import painted_near_mm

PAINTED_HALF_MM = 21.0  # half side of the largest painted square: int(1.3 x 32 mm) / 2 (`datasets.sites`)
_IN_PLANE = np.pad(np.ones((1, 3, 3)), ((1, 1), (0, 0), (0, 0)))  # the eight neighbours within a slice


@dataclass(frozen=True, eq=False)
class Field:
    """A stack of map slices in which marks are joined.

    Parameters
    ----------
    values
        (z, rows, columns) what cells are ranked by, -inf where undefined.
    is_near
        Same shape, bool: cells less than 48 mm from a painted label, or on a slice without an untouched pixel.
    targets
        One (kind, bool array of that shape) a label: the cells that overlap its painted square.
    """

    values: np.ndarray
    is_near: np.ndarray
    targets: tuple[tuple[SiteType, np.ndarray], ...] = ()


@dataclass(frozen=True, eq=False)
class Operating:
    """A threshold with what it finds: ``hits`` (labels,) bool, ``false_marks`` in all fields together.

    ``height`` is what a cell must reach to be a mark, on the scale of the fields.
    """

    height: float
    false_marks: int
    hits: np.ndarray = field(repr=False)


def labelled_slices(case: Case) -> Iterator[Field]:
    """One field for each labelled slice of a case: marks before anything is joined along z."""
    values = margin_of(case.score_map.values, 0.0)
    for z in sorted(z for z, labels in case.subject.labels.items() if labels):
        yield _field(case, values[z : z + 1], range(z, z + 1))


def joined_runs(case: Case) -> Iterator[Field]:
    """One field for each run of a case: marks after joining along z, as `verict.detect.verdict` joins them.

    Scores are told above the case's own threshold for slices or for runs: averages are lower than single slices.
    """
    volume = case.subject.geometry
    averaged = average_along_z(case.score_map.values, volume)
    for run in volume.runs:
        in_depth = averaged_slices(volume, run) >= MIN_RUN_SLICES
        threshold = case.calibration["run_mark_threshold" if in_depth else "mark_threshold"]
        yield _field(case, margin_of(averaged[run], threshold), range(run.start, run.stop))


def count_slice_marks(case: Case, threshold: float | None = None) -> np.ndarray:
    """(z,) separate marks of each slice by itself at a threshold; None: the mark threshold of the case."""
    threshold = case.calibration["mark_threshold"] if threshold is None else threshold
    reached = margin_of(case.score_map.values, threshold) >= 0
    labels, count = ndimage.label(reached, _IN_PLANE)
    slices = [box[0].start for box in ndimage.find_objects(labels, count)]
    return np.bincount(np.array(slices, int), minlength=len(reached))


def operate_at(fields: Sequence[Field], allowed: Sequence[float]) -> list[Operating]:
    """For each number of false marks allowed in all fields together: the threshold that keeps to it and hits most.

    It is kept to at every higher threshold as well: a threshold so low that false marks flow together into few does
    not count. Of thresholds that hit as many labels it is the highest. Marks are grown from the highest cell down, so
    that nothing is labelled twice.

    Parameters
    ----------
    fields
        See `labelled_slices` and `joined_runs`.
    allowed
        False marks, any order.

    Returns
    -------
    list of Operating
        One for each of ``allowed``; threshold inf where none hits anything.
    """
    growth = _Growth(fields)
    states = [Operating(np.inf, 0, growth.hits)] * len(allowed)
    is_open = [True] * len(allowed)
    for height, cells in groupby(growth.descending, key=lambda cell: growth.values[cell]):
        for cell in cells:
            growth.add(cell)
        now = Operating(float(height), growth.false_marks, growth.hits)
        for i, limit in enumerate(allowed):
            is_open[i] = is_open[i] and now.false_marks <= limit
            states[i] = now if is_open[i] and now.hits.sum() > states[i].hits.sum() else states[i]
        if not any(is_open):
            break
    return states


class _Growth:
    """Marks of all fields while the threshold falls: union-find over cells, each mark with what it covers.

    Fields lie one after the other in flat arrays, each with a rim of cells that never count, so that no two touch.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        padded = [np.pad(f.values.astype(np.float64), 1, constant_values=-np.inf) for f in fields]
        starts = np.cumsum([0, *(p.size for p in padded)])
        self.values = np.concatenate([p.ravel() for p in padded]) if padded else np.empty(0)
        self._is_near = np.concatenate([np.pad(f.is_near, 1).ravel() for f in fields]) if fields else np.empty(0, bool)
        self._field_of = np.repeat(np.arange(len(fields)), np.diff(starts))
        self._steps = [_steps_to_neighbours(p.shape) for p in padded]
        self._labels_of: dict[int, list[int]] = {}
        targets = [(start, mask) for f, start in zip(fields, starts, strict=False) for _, mask in f.targets]
        for number, (start, mask) in enumerate(targets):
            for cell in start + np.flatnonzero(np.pad(mask, 1)):
                self._labels_of.setdefault(int(cell), []).append(number)
        defined = np.flatnonzero(self.values > -np.inf)
        self.descending: list[int] = defined[np.argsort(-self.values[defined], kind="stable")].tolist()
        self._parent: dict[int, int] = {}
        self._far: dict[int, int] = {}  # by root: cells 48 mm or more from every label, less those nearer
        self._covers: dict[int, set[int]] = {}
        self._hit_by = [0] * len(targets)
        self._hits = np.zeros(len(targets), bool)
        self.false_marks = 0

    @property
    def hits(self) -> np.ndarray:
        """(labels,) bool, in the order of the fields and of their targets; replaced, never changed."""
        return self._hits

    def add(self, cell: int) -> None:
        """Let one more cell reach the threshold; it joins the marks it touches."""
        roots = {self._root(cell + step) for step in self._steps[self._field_of[cell]] if cell + step in self._parent}
        for root in roots:
            self._count(root, -1)
        self._parent[cell] = cell
        self._far[cell] = -1 if self._is_near[cell] else 1
        self._covers[cell] = set(self._labels_of.get(cell, ()))
        largest = max(roots, key=lambda r: (len(self._covers[r]), r), default=cell)
        for root in roots | {cell}:
            if root != largest:
                self._parent[root] = largest
                self._far[largest] += self._far.pop(root)
                self._covers[largest] |= self._covers.pop(root)
        self._count(largest, 1)

    def _root(self, cell: int) -> int:
        parent = self._parent
        while parent[cell] != cell:
            parent[cell] = cell = parent[parent[cell]]
        return cell

    def _count(self, root: int, sign: int) -> None:
        """Enter a mark into the totals (1) or take it out (-1)."""
        if self._far[root] > 0:
            self.false_marks += sign
            return
        for label in self._covers[root]:
            self._hit_by[label] += sign
            if self._hits[label] != (self._hit_by[label] > 0):
                self._hits = self._hits.copy()
                self._hits[label] = self._hit_by[label] > 0


def _steps_to_neighbours(shape: tuple[int, ...]) -> list[int]:
    """Differences of flat indices between a cell and the 26 that touch it."""
    steps = np.array(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij")).reshape(3, -1).T
    flat = steps @ np.array([shape[1] * shape[2], shape[2], 1])
    return [int(s) for s in flat if s]


def _field(case: Case, values: np.ndarray, slices: range) -> Field:
    subject, grid = case.subject, case.score_map
    spacing_mm = subject.geometry.spacing_mm
    y_mm, x_mm = (
        (grid.origin_px + np.arange(n) * grid.stride_px) * step
        for n, step in zip(values.shape[1:], spacing_mm[1:], strict=True)
    )
    half_mm = [PAINTED_HALF_MM + grid.stride_px * step / 2 for step in spacing_mm[1:]]
    is_near = np.zeros(values.shape, bool)
    targets = []
    for i, z in enumerate(slices):
        is_near[i] = z in subject.retouched
        for y, x in painted_near_mm(subject.labels, subject.avoid_mm, spacing_mm, z):
            is_near[i] |= np.hypot(y_mm[:, None] - y, x_mm - x) < CLEAR_IN_PLANE_MM
        for label in subject.labels.get(z, ()):
            if label.kind.is_tampered:
                square = np.zeros(values.shape, bool)
                rows = np.abs(y_mm - label.y * spacing_mm[1]) < half_mm[0]
                columns = np.abs(x_mm - label.x * spacing_mm[2]) < half_mm[1]
                square[i] = rows[:, None] & columns
                targets.append((label.kind, square))
    return Field(values, is_near, tuple(targets))
