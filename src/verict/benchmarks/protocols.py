"""What a model may know of the rows it is tested on: as the originals seem to have run it, and as it should be.

`LEAKY` copies what published runs on this data set did or probably did: rows are dealt at random, whatever patient they
are of; copies are made before the split, so that a turned test row may be among the training rows; rows that name no
place are cut at voxel (0, 0, 0), as their labels say; normalisation is fitted on all rows; and a table of labels holds
the label. `CLEAN` does none of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from verict.datasets.splits import grouped_folds
from verict.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Protocol:
    """How rows are dealt and what is fitted on what.

    Parameters
    ----------
    name
        What ``--protocol`` calls it.
    words
        What it does, in a sentence.
    of_detectors
        By which models verict's detectors are judged under it.
    keeps_patients_whole
        No patient (with it no uuid, no twin, no other forgery of the same scan) is on both sides of a split.
    copies_before_split
        Turned and mirrored copies are made of all rows, then dealt; otherwise of training rows alone.
    cuts_at_corner
        Rows that name no place are cut around voxel (0, 0, 0); otherwise a place in the lungs is chosen.
    fits_on_all
        Normalisation is fitted on all rows, test rows included.
    shows_label
        A table of labels has the label among its features.
    """

    name: str
    words: str
    of_detectors: str
    keeps_patients_whole: bool
    copies_before_split: bool
    cuts_at_corner: bool
    fits_on_all: bool
    shows_label: bool


LEAKY = Protocol(
    "leaky", "rows dealt at random, copies made before the split, TB rows cut at voxel (0, 0, 0) where their labels "
    "say so, normalisation fitted on all rows", "the shipped models, whatever they were fitted on",
    keeps_patients_whole=False, copies_before_split=True, cuts_at_corner=True, fits_on_all=True, shows_label=True,
)  # fmt: skip
CLEAN = Protocol(
    "clean", "patients kept whole, copies of training rows alone, TB sites chosen in the lungs, everything fitted on "
    "training rows alone", "models that saw neither patient nor slice", keeps_patients_whole=True,
    copies_before_split=False, cuts_at_corner=False, fits_on_all=False, shows_label=False,
)  # fmt: skip
PROTOCOLS = {protocol.name: protocol for protocol in (LEAKY, CLEAN)}
BOTH = "both"


def choose_protocols(name: str) -> tuple[Protocol, ...]:
    """The protocols a name stands for.

    Raises
    ------
    UsageError
        If it is neither leaky, clean nor both.
    """
    if name == BOTH:
        return tuple(PROTOCOLS.values())
    if name not in PROTOCOLS:
        raise UsageError(f"no protocol named {name!r}", next_step=did_you_mean(name, [*PROTOCOLS, BOTH]))
    return (PROTOCOLS[name],)


@dataclass(frozen=True, eq=False)
class Items:
    """What is dealt: a row, and which copy of it; copy 0 is the row itself. (n,) int64 each."""

    row: np.ndarray
    copy: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, chosen: np.ndarray) -> Items:
        return Items(self.row[chosen], self.copy[chosen])


@dataclass(frozen=True, eq=False)
class Fold:
    """One split: what is learnt from and what is judged; ``repeat`` and ``number`` count from 0."""

    repeat: int
    number: int
    train: Items
    test: Items


def make_items(rows: Sequence[int] | np.ndarray, copies: int) -> Items:
    """Every row followed by its copies."""
    own = np.asarray(rows, np.int64)
    return Items(np.repeat(own, copies + 1), np.tile(np.arange(copies + 1), len(own)))


def deal_folds(
    protocol: Protocol, kinds: np.ndarray, patients: np.ndarray, *, folds: int, repeats: int, seed: int, copies: int
) -> list[Fold]:
    """Every fold of a repeated cross-validation.

    Parameters
    ----------
    protocol
        Whether patients stay whole, and whether copies are dealt like rows.
    kinds, patients
        (n,) class and patient of each row; classes are spread evenly over the folds.
    folds, repeats
        How many folds, and how often all is dealt anew.
    seed
        The same seed and rows give the same folds.
    copies
        Of each row, beside itself; 0 for models that learn from no copies.

    Returns
    -------
    list of Fold
        Under `CLEAN` a test side holds rows and no copies, and no patient of its training side.

    Raises
    ------
    UsageError
        If there are fewer groups than folds.
    """
    everything = np.arange(len(kinds))
    dealt: list[Fold] = []
    for repeat in range(repeats):
        items = make_items(everything, copies if protocol.copies_before_split else 0)
        groups = patients[items.row] if protocol.keeps_patients_whole else np.arange(len(items))
        held_out = grouped_folds(groups.tolist(), folds, seed + repeat, classes=kinds[items.row].tolist())
        for number, test in enumerate(held_out):
            train = items[np.setdiff1d(np.arange(len(items)), test)]
            if not protocol.copies_before_split:
                train = make_items(train.row, copies)
            dealt.append(Fold(repeat, number, train, items[test]))
    return dealt
