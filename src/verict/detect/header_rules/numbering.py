"""Rules on instance numbers: repeated, missing, out of order, or running on across a gap."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from verict.detect.evidence import Confidence
from verict.detect.header_rules.rule import Hit, Rule, rule
from verict.detect.header_rules.table import HeaderTable, is_minority


def _numbered(table: HeaderTable) -> tuple[list[int], np.ndarray]:
    """Rows with a whole InstanceNumber, in order along z, and the numbers."""
    numbers = table.number("InstanceNumber")
    rows = [i for i, value in enumerate(numbers) if value is not None and value == int(value)]
    return rows, np.array([int(numbers[i]) for i in rows])


@rule(
    "instance_number_repeated",
    "Several slices carry the same instance number",
    Confidence.UNUSUAL,
    Confidence.NOTABLE,
    why="A scanner counts the slices of a series; a slice put in from elsewhere brings its own number, or takes "
    "that of the slice it replaces.",
    benign=("several acquisitions stored as one series, each counted from one",),
    degrees="UNUSUAL where a few slices are concerned, else NOTABLE",
)
def instance_number_repeated(table: HeaderTable) -> Iterator[Hit]:
    """InstanceNumber occurs more than once in a series."""
    rows, numbers = _numbered(table)
    values, counts = np.unique(numbers, return_counts=True)
    repeated = values[counts > 1]
    if len(repeated):
        bad = [i for i, number in zip(rows, numbers, strict=True) if number in repeated]
        few = is_minority(len(bad), len(table))
        yield Hit(
            (table.tag("InstanceNumber", _some(repeated), "each number once"),),
            table.slices(bad),
            f"{len(bad)} slices share {len(repeated)} numbers",
            Confidence.UNUSUAL if few else Confidence.NOTABLE,
        )


@rule(
    "instance_number_missing",
    "Instance numbers are missing from the count",
    Confidence.NOTABLE,
    why="Slices may have been taken away. What was not examined cannot be judged.",
    benign=("only part of the series was sent", "a scanner that counts other images of the study along"),
)
def instance_number_missing(table: HeaderTable) -> Iterator[Hit]:
    """InstanceNumber leaves out numbers between its lowest and highest."""
    _, numbers = _numbered(table)
    present = np.unique(numbers)
    if len(present) < 2:
        return
    steps = np.diff(present)
    values, counts = np.unique(steps, return_counts=True)
    usual = int(values[counts.argmax()]) if counts.max() > len(steps) / 2 else 1
    gaps = np.flatnonzero(steps > usual)
    missing = int((steps[gaps] // usual - 1).sum())
    if missing > 0:
        after = present[gaps]
        yield Hit(
            (table.tag("InstanceNumber", f"after {_some(after)}", "an unbroken count"),),
            detail=f"about {missing} numbers",
        )


@rule(
    "instance_number_order",
    "Instance numbers do not follow the slice positions",
    Confidence.UNUSUAL,
    Confidence.NOTABLE,
    why="A scanner counts along the table; numbers that jump back and forth mean that slices were put in or moved.",
    benign=("series sorted or joined by a workstation", "interleaved acquisitions"),
    degrees="UNUSUAL where a few slices break the order, else NOTABLE",
)
def instance_number_order(table: HeaderTable) -> Iterator[Hit]:
    """InstanceNumber neither rises nor falls all along z."""
    rows, numbers = _numbered(table)
    steps = np.diff(numbers)
    if len(steps) < 2 or not table.has_positions:
        return
    direction = 1 if (steps > 0).sum() >= (steps < 0).sum() else -1
    wrong = np.flatnonzero(steps * direction < 0)
    if len(wrong):
        few = is_minority(len(wrong), len(steps))
        at = int(wrong[0])
        yield Hit(
            (table.tag("InstanceNumber", f"{numbers[at]} then {numbers[at + 1]}", "one direction along the table"),),
            table.slices([rows[i + 1] for i in wrong]),
            f"{len(wrong)} of {len(steps)} steps",
            Confidence.UNUSUAL if few else Confidence.NOTABLE,
        )


@rule(
    "counted_across_gap",
    "The count runs on where slices are missing",
    Confidence.UNUSUAL,
    why="Positions jump while instance numbers do not: slices were taken away and the rest renumbered, or the "
    "scanner paused.",
    benign=("two scan ranges in one series",),
)
def counted_across_gap(table: HeaderTable) -> Iterator[Hit]:
    """A step of position at least twice the usual one without a step in InstanceNumber."""
    rows, numbers = _numbered(table)
    if len(rows) < 5 or table.has_frames or not table.has_positions:
        return
    steps_mm = np.diff(table.positions_mm[rows])
    usual_mm, counts = float(np.median(steps_mm)), np.abs(np.diff(numbers))
    wide = (steps_mm > 1.9 * usual_mm) & (counts == np.median(counts)) & (usual_mm > 0)
    if wide.any() and wide.sum() <= len(steps_mm) / 5:
        at = int(np.flatnonzero(wide)[0])
        yield Hit(
            (
                table.tag("InstanceNumber", f"{numbers[at]} then {numbers[at + 1]}"),
                table.tag("ImagePositionPatient", f"step {steps_mm[at]:g} mm", f"{usual_mm:g} mm as elsewhere"),
            ),
            table.slices([rows[i + 1] for i in np.flatnonzero(wide)]),
        )


def _some(numbers: np.ndarray) -> str:
    shown = ", ".join(str(n) for n in numbers[:5])
    return shown if len(numbers) <= 5 else f"{shown}, ... ({len(numbers)} in all)"


RULES: tuple[Rule, ...] = (
    instance_number_repeated,
    instance_number_missing,
    instance_number_order,
    counted_across_gap,
)
