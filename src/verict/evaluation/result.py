"""What an evaluation found: a tree of figures, each with its interval, its n, or the reason it is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from verict.statistics import Figure

FALSE_POSITIVE_RATES = ("0.01", "0.05")
FALSE_MARKS_PER_SLICE = ("0.02", "0.1", "0.5", "1")
PREVALENCES = ("1/1000", "1/100000")


@dataclass(frozen=True)
class Measured:
    """One figure, or the reason there is none.

    ``negatives`` is the number of untouched places or slices on the other side, where there is one; ``about``
    holds what else belongs to it, e.g. the threshold used and the false-positive rate really achieved.
    """

    figure: Figure
    negatives: int | None = None
    about: Mapping[str, float | int | str | None] = field(default_factory=dict)
    reason: str = ""

    @classmethod
    def missing(cls, reason: str, n: int = 0) -> Measured:
        """A figure that cannot be given."""
        return cls(Figure(None, None, None, n), reason=reason)


Tree = dict[str, "Measured | Tree"]
Stratum = tuple[str, str, Tree]
"""What a part of the data is told by, its value, and its figures."""


@dataclass(frozen=True)
class Conclusion:
    """One sentence on how far the figures can be believed; ``code`` is stable, ``grave`` voids them."""

    code: str
    text: str
    grave: bool = False


@dataclass(frozen=True)
class Evaluation:
    """Everything `verict evaluate` has to say of one detector.

    Parameters
    ----------
    detector
        Its name.
    figures
        The tree; its keys are those of the JSON document.
    strata
        One entry a stratum: ``by``, ``value`` and a tree of figures.
    data
        Counts of series, patients, slices and places of both collections, and how they were seen by the model.
    conclusions
        Gravest first.
    probes
        What changed when the detector was given the same scans in another guise.
    classes
        What both scores of each labelled site are worth, see `verict.evaluation.classes.measure_sites`; empty where
        the detector is not the one whose score the four classes rest on.
    """

    detector: str
    figures: Tree
    strata: tuple[Stratum, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    conclusions: tuple[Conclusion, ...] = ()
    probes: Tree = field(default_factory=dict)
    classes: Mapping[str, Any] = field(default_factory=dict)


def walk(tree: Tree, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Measured]]:
    """Every figure of a tree with its path of keys, in order."""
    for key, value in tree.items():
        if isinstance(value, Measured):
            yield (*prefix, key), value
        else:
            yield from walk(value, (*prefix, key))
