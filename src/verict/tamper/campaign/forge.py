"""Makes the rows of one scan: forges each painted place, and notes exactly what was changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.errors import InputError
from verict.tamper import families, touch_ups
from verict.tamper.campaign.clearance import is_clear
from verict.tamper.campaign.plan import KIND_OF, NEEDS_DONOR, PlannedScan, Row
from verict.tamper.cubes import Box
from verict.tamper.forgery import Donor, Family, Forgery, TouchUp, forge
from verict.tamper.target import aim

DonorOf = Callable[[int], Donor]
"""Gives back tissue that was put aside, by its number."""


@dataclass(frozen=True, eq=False)
class Change:
    """What was changed for one row.

    Parameters
    ----------
    box
        Holds every voxel that differs.
    footprint
        bool of the box's shape: painted or touched up, whether or not the value differs.
    before, after
        HU in the box, dtype of the volume; ``after`` is what the written files hold.
    record
        See `verict.tamper.forgery.Forgery`.
    """

    box: Box
    footprint: np.ndarray
    before: np.ndarray
    after: np.ndarray
    record: dict[str, object]

    @property
    def slices(self) -> slice:
        """Along z."""
        return self.box[0]


@dataclass(frozen=True, eq=False)
class Made:
    """One row as it was made.

    Parameters
    ----------
    row
        With the place and method it really has.
    change
        None for untouched rows, and for a painted one that every method refused.
    refused
        What was tried before, each with the method, the voxel and the reason.
    """

    row: Row
    change: Change | None = None
    refused: tuple[dict[str, object], ...] = ()

    @property
    def is_left_out(self) -> bool:
        """Whether it should have been painted and could not be."""
        return bool(self.row.method) and self.change is None


class Forger:
    """Forges scans of one source with methods and touch-ups made once.

    Parameters
    ----------
    methods, touch_up_names
        Names of the registries; methods in the order in which they stand in for each other.
    donor_of
        See `DonorOf`.
    """

    def __init__(self, methods: Sequence[str], touch_up_names: Sequence[str], donor_of: DonorOf) -> None:
        self._families: dict[str, Family] = {name: families.create(name) for name in methods}
        self._touch_ups: dict[str, TouchUp] = {name: touch_ups.create(name) for name in touch_up_names}
        self._donor_of = donor_of

    def forge_scan(self, volume: CTVolume, lungs: LungRegion, scan: PlannedScan) -> tuple[np.ndarray, list[Made]]:
        """Forge all rows of a scan, each on the untouched volume, so that none rests on another.

        Where a method refuses a place, an injection moves to one of its spare places; where that does not help
        another method takes its turn. A forgery that would touch what another row needs is refused alike.

        Parameters
        ----------
        volume, lungs
            The source.
        scan
            What is to be made.

        Returns
        -------
        hu
            (z, y, x), dtype of the volume: what the written files will hold.
        made
            One for each row, in order.

        Raises
        ------
        ModelError, MissingExtraError
            If a method's weights or library are not there.
        """
        hu = volume.hu.copy()
        made: list[Made] = []
        for index, row in enumerate(scan.rows):
            others = [m.row for m in made] + list(scan.rows[index + 1 :])
            done = self._make(volume, lungs, row, others, [m.change.box for m in made if m.change])
            if done.change is not None:
                hu[done.change.box] = done.change.after
            made.append(done)
        return hu, made

    def _make(
        self, volume: CTVolume, lungs: LungRegion, row: Row, others: Sequence[Row], taken: Sequence[Box]
    ) -> Made:
        if not row.method:
            return Made(row)
        refused: list[dict[str, object]] = []
        for attempt in self._attempts(row):
            try:
                forgery = self._forge(volume, lungs, attempt)
                _check_room(forgery.box, attempt, others, taken, volume.spacing_mm)
            except InputError as error:
                voxel = list(attempt.spot.voxel)
                refused.append({"method": attempt.method, "voxel_zyx": voxel, "reason": error.one_line()})
                continue
            return Made(attempt, _describe_change(volume, forgery), tuple(refused))
        return Made(row, None, tuple(refused))

    def _attempts(self, row: Row) -> Iterator[Row]:
        """The row as planned, at its spare places, then by each other method that can do this kind."""
        names = list(self._families)
        start = names.index(row.method)
        for name in (*names[start:], *names[:start]):
            can = KIND_OF[row.type] in self._families[name].kinds and (row.donors or name not in NEEDS_DONOR)
            if can:
                yield from (replace(row, method=name, spot=spot) for spot in (row.spot, *row.spares))

    def _forge(self, volume: CTVolume, lungs: LungRegion, row: Row) -> Forgery:
        donors = [self._donor_of(number) for number in row.donors] if row.method in NEEDS_DONOR else []
        target = aim(
            volume, lungs, row.spot.voxel, KIND_OF[row.type], diameter_mm=row.diameter_mm, donors=donors
        )
        return forge(target, self._families[row.method], self._touch_ups[row.touch_up], seed=row.seed)


def _check_room(
    box: Box, row: Row, others: Sequence[Row], taken: Sequence[Box], spacing_mm: Sequence[float]
) -> None:
    """Refuse a forgery that touches another's box, or comes near a row that is to stay untouched."""
    for other in taken:
        if all(a.start < b.stop and b.start < a.stop for a, b in zip(box, other, strict=True)):
            raise InputError("the forgery would reach into another one of the same scan")
    for other_row in others:
        inside = all(side.start <= v < side.stop for side, v in zip(box, other_row.spot.voxel, strict=True))
        clear = other_row.method or is_clear(other_row.spot.voxel, row.spot.voxel, row.touch_up, spacing_mm)
        if inside or not clear:
            raise InputError("the forgery would reach another row of the same scan")


def _describe_change(volume: CTVolume, forgery: Forgery) -> Change:
    box = forgery.box
    after = as_stored(forgery.hu[box], volume.headers[box[0]])
    return Change(box, forgery.footprint, volume.hu[box].copy(), after, forgery.record)


def as_stored(hu: np.ndarray, headers: Sequence[Dataset]) -> np.ndarray:
    """What is read again of (z, y, x) HU written by these headers' rescale and bits (PS3.3 C.11.1, C.7.6.3).

    Values beyond the stored bits become the nearest that fit, those between two stored values the nearest of them.
    """
    kept = np.empty_like(hu)
    for z, header in enumerate(headers):
        slope, intercept = float(header.get("RescaleSlope") or 1), float(header.get("RescaleIntercept") or 0)
        bits, signed = int(header.get("BitsStored") or 16), bool(header.get("PixelRepresentation"))
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        stored = np.clip(np.rint((hu[z] - intercept) / slope), low, high)
        kept[z] = stored * slope + intercept
    return kept
