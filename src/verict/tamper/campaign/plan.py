"""Which rows a campaign has, in which scans and by which methods: decided from surveys and a seed alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import lcm

import numpy as np

from verict.datasets.sites import LungPlace
from verict.datasets.splits import grouped_folds
from verict.datasets.uci import SiteType
from verict.errors import InputError, UsageError, say_count
from verict.tamper.campaign.clearance import Voxel, fits
from verict.tamper.campaign.survey import Spot, Survey
from verict.tamper.forgery import ForgeryKind

ROWS_A_SCAN = 4  # at most; the published scans hold 1 to 4, but for three
USES_OF_A_NODULE = 3  # at most as FB, and as many as TM, each time in another copy of its scan
FOLDS, FEWEST_PATIENTS = 5, 2  # suggested groups, and how many patients each needs so that one can donate to another
SPARES = 6  # further places a row may move to where a method refuses the first
DIAMETERS_MM = (6.0, 16.0)  # of injected nodules, evenly on a logarithmic scale; the published ones are as wide
NEEDS_DONOR = frozenset({"splice", "splice-poisson"})
FIRST_UUID, LAST_UUID = 1000, 9999  # as the published ones
KIND_OF = {SiteType.FM: ForgeryKind.INJECT, SiteType.FB: ForgeryKind.REMOVE}


@dataclass(frozen=True)
class Row:
    """One row to be made.

    Parameters
    ----------
    type
        Of the label table.
    spot
        Where.
    method, touch_up
        "" for untouched rows.
    seed
        Of the forgery.
    diameter_mm
        Of the nodule there, or of the one to be injected; None for untouched lung.
    donors
        Numbers of the tissue it may take, see `verict.tamper.campaign.survey.Survey`.
    spares
        Other places, for an injection that is refused here.
    """

    type: SiteType
    spot: Spot
    method: str = ""
    touch_up: str = ""
    seed: int = 0
    diameter_mm: float | None = None
    donors: tuple[int, ...] = ()
    spares: tuple[Spot, ...] = ()


@dataclass(frozen=True)
class PlannedScan:
    """One scan of the campaign: a copy of a source with its rows; ``source`` numbers the surveys."""

    uuid: str
    source: int
    rows: tuple[Row, ...]

    @property
    def is_control(self) -> bool:
        """Whether nothing is painted in it."""
        return not any(row.method for row in self.rows)


@dataclass(frozen=True)
class Plan:
    """All scans by uuid, the suggested group of each source, and what had to be done otherwise than asked, in words."""

    scans: tuple[PlannedScan, ...]
    groups: tuple[int, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Wish:
    """What is asked for: ``n`` rows, and the methods and touch-ups with what each method can do."""

    n: int
    seed: int
    methods: dict[str, frozenset[ForgeryKind]]
    touch_ups: tuple[str, ...]


@dataclass
class _Copy:
    """A scan while rows are put into it."""

    source: int
    rows: list[Row] = field(default_factory=list)

    def has_room(self, voxel: Voxel, touch_up: str, spacing_mm: Sequence[float]) -> bool:
        others = [(row.spot.voxel, row.touch_up) for row in self.rows]
        return len(self.rows) < ROWS_A_SCAN and fits(voxel, touch_up, others, spacing_mm)


def make_plan(surveys: Sequence[Survey], wish: Wish) -> Plan:
    """Deal the rows out over scans.

    A quarter of the rows is of each type, or as near as the nodules allow. Painted rows come first: each takes the
    method and touch-up whose turn it is, at the nodule or in the patient used least, in a copy of the scan with room
    or in a new one. Untouched rows follow where they are clear of all paint, else in copies of their own.

    Parameters
    ----------
    surveys
        At least one source.
    wish
        What is asked for.

    Raises
    ------
    UsageError
        If no method can do anything here.
    InputError
        If the sources offer no place for what is asked.
    """
    return _Planner(surveys, wish).plan()


def balance_rows(n: int, nodules: int) -> tuple[dict[SiteType, int], str]:
    """How many rows of each type, and what is said where nodules are too few for a quarter each.

    >>> balance_rows(10, 5)[0]
    {<SiteType.FB: 'FB'>: 3, <SiteType.FM: 'FM'>: 3, <SiteType.TM: 'TM'>: 2, <SiteType.TB: 'TB'>: 2}
    """
    order = (SiteType.FB, SiteType.FM, SiteType.TM, SiteType.TB)
    rows = {kind: n // 4 + (i < n % 4) for i, kind in enumerate(order)}
    most = nodules * USES_OF_A_NODULE
    wanted, remark = rows[SiteType.FB], ""
    if wanted > nodules:
        remark = f"Too few nodules: {wanted} rows FB and {rows[SiteType.TM]} TM want one each and there are {nodules}; "
        remark += f"each is used up to {USES_OF_A_NODULE} times as either, in copies of its scan, by different methods"
    for kind, instead in ((SiteType.FB, SiteType.FM), (SiteType.TM, SiteType.TB)):
        lacking = max(rows[kind] - most, 0)
        rows[kind], rows[instead] = rows[kind] - lacking, rows[instead] + lacking
        if lacking:
            remark += f"; {lacking} rows are {instead} instead of {kind}"
    return rows, remark


def order_cells(methods: Sequence[str], touch_ups: Sequence[str], count: int) -> list[tuple[str, str]]:
    """So many (method, touch-up), each method and touch-up as often as the others, every pair before any repeats.

    >>> order_cells(["a", "b"], ["x", "y"], 5)
    [('a', 'x'), ('b', 'y'), ('a', 'y'), ('b', 'x'), ('a', 'x')]
    """
    turn = lcm(len(methods), len(touch_ups))
    return [(methods[i % len(methods)], touch_ups[(i + i // turn) % len(touch_ups)]) for i in range(count)]


def deal_groups(patients: Sequence[str], seed: int) -> tuple[int, ...]:
    """A suggested group for each source: 0 to 4, a patient whole in one, at least two patients in each.

    With fewer than ten patients there are fewer groups; with fewer than four, one.
    """
    k = min(FOLDS, len(set(patients)) // FEWEST_PATIENTS)
    if k < 2:
        return (0,) * len(patients)
    groups = np.zeros(len(patients), int)
    for number, held in enumerate(grouped_folds(patients, k, seed)):
        groups[held] = number
    return tuple(int(g) for g in groups)


class _Planner:
    """The state of the dealing: copies opened so far, and how often each place was used."""

    def __init__(self, surveys: Sequence[Survey], wish: Wish) -> None:
        self._surveys, self._wish = surveys, wish
        self._rng = np.random.default_rng([wish.seed, 1])
        self._groups = deal_groups([s.patient for s in surveys], wish.seed)
        self._copies: list[list[_Copy]] = [[] for _ in surveys]
        self._used: Counter[tuple[SiteType, int, Voxel]] = Counter()
        self._rows_of: Counter[tuple[SiteType, str]] = Counter()
        self._remarks: list[str] = []

    def plan(self) -> Plan:
        nodules = sum(len(s.nodules) for s in self._surveys)
        rows, remark = balance_rows(self._wish.n, nodules)
        self._remarks += [remark] if remark else []
        self._paint(SiteType.FB, rows[SiteType.FB])
        self._paint(SiteType.FM, rows[SiteType.FM])
        self._leave_nodules(rows[SiteType.TM])
        self._leave_lung(rows[SiteType.TB])
        return Plan(self._name_scans(), self._groups, tuple(self._remarks))

    def _paint(self, kind: SiteType, count: int) -> None:
        if not count:
            return
        methods = self._methods_for(kind)
        touch_ups = [str(t) for t in self._rng.permutation(self._wish.touch_ups)]
        for method, touch_up in order_cells(methods, touch_ups, count):
            row = Row(kind, _NOWHERE, method, touch_up)
            if not (self._remove(row) if kind is SiteType.FB else self._inject(row)):
                self._remarks.append(f"No place was left for a row {kind} by {method} with {touch_up}")

    def _methods_for(self, kind: SiteType) -> list[str]:
        able = [name for name, kinds in self._wish.methods.items() if KIND_OF[kind] in kinds]
        able = [name for name in self._rng.permutation(able)] if able else []
        with_donors = [name for name in able if name not in NEEDS_DONOR or self._anyone_donates(KIND_OF[kind])]
        for name in sorted(set(able) - set(with_donors)):
            self._remarks.append(f"{name} is left out for {kind}: no source has tissue of another patient to take")
        if not with_donors:
            raise UsageError(
                f"none of the methods can {KIND_OF[kind]} here", found=", ".join(self._wish.methods),
                next_step="name others with --methods, or sources of more patients",
            )
        return [str(name) for name in with_donors]

    def _anyone_donates(self, kind: ForgeryKind) -> bool:
        return any(self._donors_for(index, kind) for index in range(len(self._surveys)))

    def _donors_for(self, index: int, kind: ForgeryKind) -> tuple[int, ...]:
        """Tissue of other patients: of the same group where that has any, so that none crosses groups."""
        own = self._surveys[index]
        others = [i for i, s in enumerate(self._surveys) if s.patient != own.patient and s.donors[kind]]
        near = [i for i in others if self._groups[i] == self._groups[index]]
        return tuple(number for i in near or others for number in self._surveys[i].donors[kind])

    def _remove(self, row: Row) -> bool:
        """A nodule that was removed least often, of a patient with few removals, by a method new to it."""
        candidates = [
            (self._used[row.type, index, spot.voxel], self._rows_of[row.type, survey.patient], index, spot)
            for index, survey in enumerate(self._surveys)
            for spot in survey.nodules
        ]
        order = self._rng.permutation(len(candidates))
        for i in sorted(order, key=lambda i: candidates[i][:2]):
            uses, _, index, spot = candidates[i]
            if uses < USES_OF_A_NODULE and self._can(index, row) and not self._was_done(index, spot, row):
                self._add(index, replace(row, spot=spot, diameter_mm=spot.diameter_mm))
                return True
        return False

    def _was_done(self, index: int, spot: Spot, row: Row) -> bool:
        """Whether this nodule was removed by this method before."""
        return any(r.type is row.type and r.spot == spot and r.method == row.method
                   for copy in self._copies[index] for r in copy.rows)

    def _inject(self, row: Row) -> bool:
        """Plain lung of a patient with few injections, in a copy with room if there is one."""
        low, high = np.log(DIAMETERS_MM)
        row = replace(row, diameter_mm=round(float(np.exp(self._rng.uniform(low, high))), 1))
        for index in self._sources_by(row.type):
            survey = self._surveys[index]
            if not self._can(index, row):
                continue
            spots = [survey.plain[i] for i in self._rng.permutation(len(survey.plain))]
            spots.sort(key=lambda s: self._used[row.type, index, s.voxel])
            for copy in (*self._copies[index], None):
                room = [s for s in spots if copy is None or copy.has_room(s.voxel, row.touch_up, survey.spacing_mm)]
                if room:
                    self._add(index, replace(row, spot=room[0], spares=tuple(room[1 : SPARES + 1])), copy)
                    return True
        return False

    def _can(self, index: int, row: Row) -> bool:
        return row.method not in NEEDS_DONOR or bool(self._donors_for(index, KIND_OF[row.type]))

    def _leave_nodules(self, count: int) -> None:
        for _ in range(count):
            candidates = [
                (self._used[SiteType.TM, index, spot.voxel], self._rows_of[SiteType.TM, survey.patient], index, spot)
                for index, survey in enumerate(self._surveys)
                for spot in survey.nodules
            ]
            order = self._rng.permutation(len(candidates))
            *_, index, spot = candidates[min(order, key=lambda i: candidates[i][:2])]
            self._add(index, Row(SiteType.TM, spot, diameter_mm=spot.diameter_mm))

    def _leave_lung(self, count: int) -> None:
        """Plain lung that lies where removals lie, each in turn; where injections lie if there are none."""
        painted = [row for copies in self._copies for copy in copies for row in copy.rows if row.method]
        like = [row.spot.place for row in painted if row.type is SiteType.FB] or [row.spot.place for row in painted]
        like = [like[i] for i in self._rng.permutation(len(like))]
        for number in range(count):
            if not self._leave_one(like[number % len(like)] if like else None):
                self._remarks.append(f"No place was left for {say_count(count - number, 'row')} TB")
                break

    def _leave_one(self, like: LungPlace | None) -> bool:
        for index in self._sources_by(SiteType.TB):
            uses = {s: self._used[SiteType.TB, index, s.voxel] for s in self._surveys[index].healthy}
            if uses:
                rare = [spot for spot, count in uses.items() if count == min(uses.values())]
                spot = min(rare, key=lambda s: (_unlike(s.place, like) if like else 0.0, s.voxel))
                self._add(index, Row(SiteType.TB, spot))
                return True
        return False

    def _sources_by(self, kind: SiteType) -> list[int]:
        """Sources, those of patients with the fewest rows of a type first, then those with the fewest rows."""
        order = self._rng.permutation(len(self._surveys))
        size = [sum(len(copy.rows) for copy in copies) for copies in self._copies]
        return sorted((int(i) for i in order), key=lambda i: (self._rows_of[kind, self._surveys[i].patient], size[i]))

    def _add(self, index: int, row: Row, copy: _Copy | None = None) -> None:
        """Put a row into the copy named, the first with room, or a new one."""
        spacing_mm = self._surveys[index].spacing_mm
        if copy is None:
            roomy = (c for c in self._copies[index] if c.has_room(row.spot.voxel, row.touch_up, spacing_mm))
            copy = next(roomy, None)
        if copy is None:
            copy = _Copy(index)
            self._copies[index].append(copy)
        copy.rows.append(row)
        self._used[row.type, index, row.spot.voxel] += 1
        self._rows_of[row.type, self._surveys[index].patient] += 1

    def _name_scans(self) -> tuple[PlannedScan, ...]:
        """Numbers that tell nothing of source or type; donors, seeds and the spares that are still free."""
        copies = [copy for own in self._copies for copy in own]
        if not copies:
            raise InputError("no row can be made of these sources", found=say_count(len(self._surveys), "source"))
        last = max(LAST_UUID, FIRST_UUID + 2 * len(copies))
        uuids = np.random.default_rng([self._wish.seed, 2]).choice(last + 1 - FIRST_UUID, len(copies), replace=False)
        scans = []
        for copy, number in zip(copies, uuids, strict=True):
            uuid = str(FIRST_UUID + int(number))
            rows = tuple(self._finish(row, copy, f"{uuid}-{i}") for i, row in enumerate(copy.rows))
            scans.append(PlannedScan(uuid, copy.source, rows))
        return tuple(sorted(scans, key=lambda scan: int(scan.uuid)))

    def _finish(self, row: Row, copy: _Copy, name: str) -> Row:
        if not row.method:
            return row
        spacing_mm = self._surveys[copy.source].spacing_mm
        others = [(r.spot.voxel, r.touch_up) for r in copy.rows if r is not row]
        taken = {spot.voxel for r in copy.rows for spot in (r.spot,)}
        spares = tuple(
            s for s in row.spares if s.voxel not in taken and fits(s.voxel, row.touch_up, others, spacing_mm)
        )
        seed = int.from_bytes(hashlib.sha256(f"{self._wish.seed} {name}".encode()).digest()[:4], "big")
        donors = self._donors_for(copy.source, KIND_OF[row.type])
        return replace(row, seed=seed, spares=spares, donors=donors)


_NOWHERE = Spot((0, 0, 0), LungPlace(on_left=True, depth_mm=0.0, front_to_back=0.0), None, "", "")


def _unlike(place: LungPlace, wanted: LungPlace) -> float:
    """How differently two places lie, by the weights of `choose_benign_sites`; sides are equal."""
    cost = abs(place.depth_mm - wanted.depth_mm) / 5.0 + abs(place.front_to_back - wanted.front_to_back) / 0.1
    if place.height is not None and wanted.height is not None:
        cost += abs(place.height - wanted.height) / 0.1
    return cost


def count_rows(rows: Iterable[Row]) -> dict[str, int]:
    """Rows of each type, in the order of the tables."""
    counts = Counter(row.type for row in rows)
    return {str(kind): counts[kind] for kind in SiteType}
