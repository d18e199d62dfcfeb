"""Whether a second scan of the same pixels says the same: after re-export, reordering, on other threads or CPUs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verict.detect.result import Region, SeriesResult
from verict.detect.verdict import Assessment


@dataclass(frozen=True)
class Repeat:
    """What two results of the same series have in common.

    ``score_difference`` is the largest difference of the series' scores and of its regions' scores, in the
    detector's unit; inf where one has a score or a region that the other lacks.
    """

    same_verdict: bool
    same_regions: bool
    score_difference: float

    @property
    def is_same(self) -> bool:
        """Whether a reader of both reports would find the same verdict at the same places."""
        return self.same_verdict and self.same_regions


def compare_results(first: SeriesResult | Assessment, second: SeriesResult | Assessment) -> Repeat:
    """Compare verdict with its reason, regions with their voxels and slices, and scores."""
    places = [[_place(r) for r in series.regions] for series in (first, second)]
    differences = [_difference(first.score, second.score)]
    if len(first.regions) == len(second.regions):
        by_place = [sorted(series.regions, key=_place) for series in (first, second)]
        differences += [_difference(a.score, b.score) for a, b in zip(*by_place, strict=True)]
    else:
        differences.append(float("inf"))
    return Repeat(
        same_verdict=(first.verdict, first.reason) == (second.verdict, second.reason),
        same_regions=sorted(places[0]) == sorted(places[1]),
        score_difference=max(differences),
    )


def largest_difference(first: np.ndarray, second: np.ndarray) -> float:
    """The largest difference of two score maps; inf where they differ in shape or in where they are undefined."""
    if first.shape != second.shape or (np.isfinite(first) != np.isfinite(second)).any():
        return float("inf")
    both = np.isfinite(first)
    return float(np.abs(first[both].astype(np.float64) - second[both]).max(initial=0.0))


def _place(region: Region) -> tuple:
    return region.bounds, region.slices, region.decisive, region.detector


def _difference(first: float | None, second: float | None) -> float:
    if first is None or second is None:
        return 0.0 if first is second else float("inf")
    return abs(first - second)
