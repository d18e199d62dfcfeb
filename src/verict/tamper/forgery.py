"""What every forgery is made of: a target, a family that paints, a touch-up that hides the paint, and a record.

A family says what is painted (a network's nodule, a nodule of another scan, lung of the same scan). A touch-up says
what is done to make the paint look like the rest of the scan. Any family goes with any touch-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np

from verict.errors import UsageError
from verict.tamper.cubes import Box, as_dtype


class ForgeryKind(StrEnum):
    """What is forged."""

    INJECT = "inject"
    REMOVE = "remove"


@dataclass(frozen=True, eq=False)
class Donor:
    """Tissue of another scan, to be spliced in.

    Parameters
    ----------
    hu
        (n, n, n) float32 HU at 1 mm, the donated place in the middle.
    kind
        INJECT: a real nodule with its surroundings. REMOVE: healthy lung.
    diameter_mm
        Of the nodule; 0 for healthy lung.
    source
        Which scan and place it is from, for the record; never a patient's name.
    """

    hu: np.ndarray
    kind: ForgeryKind
    diameter_mm: float
    source: str


@dataclass(frozen=True, eq=False)
class Target:
    """A place of an untouched scan, checked: see `verict.tamper.target.aim`.

    Parameters
    ----------
    hu
        (z, y, x) HU of the whole scan, any real dtype. Must not be changed.
    spacing_mm
        (z, y, x) in mm.
    lung
        (z, y, x) bool, the lung region.
    centre
        (z, y, x) voxel the forgery is centred on.
    kind
        INJECT paints a cancer, REMOVE paints lung.
    run
        The slices without a gap that hold the centre: nothing outside of them may be read as a neighbour or written.
    diameter_mm
        Of the nodule to be removed, or wanted for the one to be injected; None where nothing is told.
    donors
        What may be spliced in; empty where there is no other scan.
    """

    hu: np.ndarray
    spacing_mm: tuple[float, float, float]
    lung: np.ndarray
    centre: tuple[int, int, int]
    kind: ForgeryKind
    run: slice
    diameter_mm: float | None = None
    donors: tuple[Donor, ...] = ()


@dataclass(frozen=True, eq=False)
class Paint:
    """What a family, and after it a touch-up, wants to stand in a box of the scan.

    Parameters
    ----------
    box
        Where; within the volume and the target's run.
    hu
        float32 HU of the box's shape.
    weight
        0 to 1, of the box's shape: how far each voxel is paint, for families with a blend of their own, whose
        ``hu`` is blended already. None: a hard-edged cuboid, to be blended by the touch-up as CT-GAN does.
    details
        What was done, every parameter, JSON-ready.
    """

    box: Box
    hu: np.ndarray
    weight: np.ndarray | None = None
    details: Mapping[str, object] = field(default_factory=dict)


class Family(Protocol):
    """A way to paint: one file of `verict.tamper.families`, one line of its registry."""

    name: str
    summary: str
    kinds: frozenset[ForgeryKind]

    def paint(self, target: Target, rng: np.random.Generator) -> Paint:
        """Paint the target.

        Raises
        ------
        InputError
            If this place cannot be painted that way.
        ModelError
            If weights it needs are missing or altered.
        MissingExtraError
            If a library it needs is not installed.
        """
        ...


class TouchUp(Protocol):
    """A way to hide paint: one file of `verict.tamper.touch_ups`, one line of its registry."""

    name: str
    summary: str

    def apply(self, target: Target, paint: Paint, rng: np.random.Generator) -> Paint:
        """What finally stands there; the box may be larger than the one painted.

        The result's ``weight`` is None for a box touched up as a whole, else how far each voxel was changed.

        Raises
        ------
        InputError
            If this place cannot be touched up that way.
        """
        ...


@dataclass(frozen=True, eq=False)
class Forgery:
    """A scan with one place forged.

    Parameters
    ----------
    hu
        (z, y, x) HU of the whole scan, dtype of the target's.
    box
        Holds every voxel that differs.
    footprint
        bool of the box's shape: the voxels that were painted or touched up, whether or not their value differs.
    painted_box
        What the family painted, without the touch-up.
    record
        What was done: kind, family, touch-up, seed, place and every parameter, JSON-ready.
    """

    hu: np.ndarray
    box: Box
    footprint: np.ndarray
    painted_box: Box
    record: dict[str, object]


def forge(target: Target, family: Family, touch_up: TouchUp, *, seed: int) -> Forgery:
    """Forge one place of a scan; the same seed gives the same forgery.

    Raises
    ------
    InputError, ModelError, MissingExtraError, UsageError
        As `Family.paint` and `TouchUp.apply`; also if the family cannot do this kind of forgery.
    """
    check_kind(family, target.kind)
    paint_rng, touch_up_rng = (np.random.default_rng([seed, part]) for part in range(2))
    paint = family.paint(target, paint_rng)
    final = touch_up.apply(target, paint, touch_up_rng)
    hu = target.hu.copy()
    hu[final.box] = as_dtype(final.hu, hu.dtype)
    footprint = np.ones(final.hu.shape, bool) if final.weight is None else final.weight > 0
    record = {
        "kind": str(target.kind),
        "method": family.name,
        "touch_up": touch_up.name,
        "seed": seed,
        "centre_voxel_zyx": list(target.centre),
        "diameter_mm": target.diameter_mm,
        "painted_box": describe_box(paint.box),
        "box": describe_box(final.box),
        "paint": dict(paint.details),
        "touch_up_details": dict(final.details),
    }
    return Forgery(hu, final.box, footprint, paint.box, record)


def check_kind(family: Family, kind: ForgeryKind) -> None:
    """Refuse a family that cannot do this kind of forgery.

    Raises
    ------
    UsageError
        Naming what it can do.
    """
    if kind not in family.kinds:
        raise UsageError(f"the method {family.name} cannot {kind}", expected=" or ".join(sorted(family.kinds)))


def describe_box(box: Box) -> list[list[int]]:
    """First and last voxel of a box along z, y and x.

    >>> describe_box((slice(1, 4), slice(0, 2), slice(5, 6)))
    [[1, 3], [0, 1], [5, 5]]
    """
    return [[side.start, side.stop - 1] for side in box]
