"""Splits that cannot leak: by patient, by twin, by scanner model, deterministic.

A patient, and where asked a scanner model, is never on both sides of a split. Two different uuids of
the UCI collection can still be one LIDC-IDRI patient; its headers do not say, so no split can know.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pydicom

from verict.errors import UsageError

# The same machine under two spellings. Philips writes the 16-slice Brilliance with and without the "P" of
# its power configuration; counted as one model, since leaving out too much cannot flatter a figure.
_SAME_MODEL = {"brilliance16p": "brilliance16"}
_MANUFACTURER_WORDS = {"ge": "ge", "general": "ge", "philips": "philips", "picker": "philips", "marconi": "philips",
                       "siemens": "siemens", "toshiba": "canon", "canon": "canon"}


@dataclass(frozen=True, order=True)
class Scanner:
    """A scanner model as headers tell it; "" where they do not.

    ``manufacturer`` is ge, siemens, philips, canon or the header's own word; ``model`` has no
    blanks, hyphens or capitals.
    """

    manufacturer: str = ""
    model: str = ""

    def may_be(self, other: Scanner) -> bool:
        """Whether both can be one model: an untold manufacturer or model can be any.

        >>> Scanner("siemens", "").may_be(Scanner("siemens", "sensation10"))
        True
        """
        return all(not a or not b or a == b for a, b in
                   ((self.manufacturer, other.manufacturer), (self.model, other.model)))

    def __str__(self) -> str:
        """``manufacturer:model``, a question mark for what is untold."""
        return f"{self.manufacturer or '?'}:{self.model or '?'}"


def group_of(uuid: str | int) -> str:
    """The split group of a UCI scan: its uuid, whatever the experiment.

    The twins 6031 and 7507 (before in experiment 1, after in experiment 2) stay whole that way.

    >>> group_of(6031) == group_of("6031")
    True
    """
    return f"uci:{str(uuid).strip()}"


def scanner_of(header: pydicom.Dataset) -> Scanner:
    """The scanner model a header names, spellings of one model joined.

    Manufacturer (0008,0070), ManufacturerModelName (0008,1090): PS3.3 C.7.5.1. Where the manufacturer
    is missing, a kernel named as Siemens names them (a letter B, H, U or T, two digits, f, s or h)
    tells it. Never call it on the UCI collection: its headers are one cloned template.
    """
    words = str(header.get("Manufacturer") or "").casefold().replace(",", " ").split()
    manufacturer = next((_MANUFACTURER_WORDS[w] for w in words if w in _MANUFACTURER_WORDS), "".join(words))
    model = "".join(c for c in str(header.get("ManufacturerModelName") or "").casefold() if c.isalnum())
    kernel = header.get("ConvolutionKernel") or ""
    kernel = kernel if isinstance(kernel, str) else str(kernel[0])
    if not manufacturer and len(kernel) == 4 and kernel[0] in "BHUT" and kernel[1:3].isdigit() and kernel[3] in "fsh":
        manufacturer = "siemens"
    return Scanner(manufacturer, _SAME_MODEL.get(model, model))


def grouped_folds(
    groups: Sequence[Hashable],
    k: int,
    seed: int,
    *,
    classes: Sequence[Hashable] | None = None,
) -> list[np.ndarray]:
    """Deal samples into k folds, each group whole in one fold.

    Groups are dealt largest first (equal ones in seeded order), each into the fold that stays most
    even: least sum over classes of the squared share of that class, ties to the smallest fold, then
    to the first.

    Parameters
    ----------
    groups
        One group a sample, e.g. `group_of` its uuid.
    k
        How many folds: 2 up to the number of different groups.
    seed
        Any whole number >= 0; the same seed and samples give the same folds.
    classes
        One class a sample to spread evenly; None: only the number of samples counts.

    Returns
    -------
    list of numpy.ndarray
        k ascending int64 index arrays, none empty: the held-out samples of each fold. Together they
        hold each sample once.

    Raises
    ------
    UsageError
        If k is below 2 or above the number of groups, or classes has another length than groups.
    """
    _, group = _encode(groups)
    if classes is not None and len(classes) != len(groups):
        raise UsageError("one class a sample is needed", found=len(classes), expected=str(len(groups)))
    count, kind = _encode(classes) if classes is not None else (1, np.zeros(len(group), int))
    group_count = int(group.max()) + 1 if len(group) else 0
    if not 2 <= k <= group_count:
        raise UsageError("folds cannot be dealt", found=f"{k} folds of {group_count} groups",
                         expected="2 up to the number of groups")
    table = np.zeros((group_count, count))
    np.add.at(table, (group, kind), 1)
    shares = table / table.sum(0)
    sizes = table.sum(1)
    order = np.random.default_rng(seed).permutation(group_count)
    order = order[np.argsort(-sizes[order], kind="stable")]
    filled, fold_sizes, fold_of = np.zeros((k, count)), np.zeros(k), np.zeros(group_count, int)
    for place, g in enumerate(order):
        cost = ((filled + shares[g]) ** 2).sum(1) - (filled**2).sum(1)
        open_folds = np.flatnonzero(fold_sizes == 0) if group_count - place <= (fold_sizes == 0).sum() else np.arange(k)
        best = min(open_folds, key=lambda f: (round(cost[f], 12), fold_sizes[f], f))
        fold_of[g] = best
        filled[best] += shares[g]
        fold_sizes[best] += sizes[g]
    return [np.flatnonzero(fold_of[group] == f) for f in range(k)]


def joined_groups(patients: Sequence[Hashable], scanners: Sequence[Scanner]) -> np.ndarray:
    """Groups such that samples that share a patient, or may share a scanner model, are in one group.

    Two kernels of one acquisition are one patient, so they stay together too. An untold model joins
    all models it may be.

    Returns
    -------
    numpy.ndarray
        (n,) int64, numbered in the order of first appearance; for `grouped_folds`.

    Raises
    ------
    UsageError
        If the two have different lengths.
    """
    _same_length(patients, scanners)
    parent = list(range(len(patients)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for key in (patients, scanners):
        first: dict[Hashable, int] = {}
        for i, value in enumerate(key):
            parent[root(i)] = root(first.setdefault(value, i))
    known = list(dict.fromkeys(scanners))
    for a, b in ((a, b) for i, a in enumerate(known) for b in known[:i] if a.may_be(b)):
        parent[root(scanners.index(a))] = root(scanners.index(b))
    return _encode([root(i) for i in range(len(patients))])[1]


def unseen_by(
    patients: Sequence[Hashable],
    scanners: Sequence[Scanner],
    held_out: Iterable[int],
) -> np.ndarray:
    """The samples a model may be fitted on so that it never saw a held-out patient or scanner model.

    Leaves fewer out than whole `joined_groups` would, since what is left out need not be scored.
    For samples whose true scanner nobody knows (the UCI collection), pass a Scanner of their own,
    e.g. ``Scanner("uci", uuid)``; otherwise an untold one counts as any and leaves everything out.

    Returns
    -------
    numpy.ndarray
        Ascending int64 indices.

    Raises
    ------
    UsageError
        If the two have different lengths.
    """
    _same_length(patients, scanners)
    held = list(held_out)
    held_patients, held_scanners = {patients[i] for i in held}, {scanners[i] for i in held}
    keep = [patient not in held_patients and not any(scanner.may_be(other) for other in held_scanners)
            for patient, scanner in zip(patients, scanners, strict=True)]
    return np.flatnonzero(keep)


def _same_length(patients: Sequence[Hashable], scanners: Sequence[Scanner]) -> None:
    if len(patients) != len(scanners):
        raise UsageError("one scanner a sample is needed", found=len(scanners), expected=str(len(patients)))


def _encode(values: Sequence[Hashable]) -> tuple[int, np.ndarray]:
    """How many different values, and each one's number in the order of first appearance."""
    numbers: dict[Hashable, int] = {}
    codes = np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)
    return len(numbers), codes
