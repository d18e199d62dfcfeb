"""Untouched structures that look like the injected nodules, so that brightness and size cannot tell them apart.

An injected nodule is brighter and larger than nearly every vessel near it: against all bright places a detector that
reads HU is perfect. Each FM site is therefore compared with untouched structures of its own diameter and its own HU
in the ring of 4 to 8 mm only, soft tissue in the middle like it, from the labelled slices and from the authentic
series: caliper matching, each site with its own set, nearest first. What differs all the same is told beside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verict.datasets.sites import SEPARATION_MM
from verict.evaluation.case import PlaceKind
from verict.evaluation.places import PlaceTable
from verict.statistics import matched_area

DIAMETER_RATIO = 1.1  # a match is at most a tenth wider or narrower: about 1 mm, little more than a pixel
RING_TOLERANCE_HU = 50.0  # a twentieth of the way from lung to soft tissue
CENTRE_TOLERANCE_HU = 100.0  # leaves out calcium, bone and vessels full of contrast: FM sites are soft tissue
LARGEST_SET = 10  # matches a site: more would only add less alike ones
SMALLEST_SET = 5  # a site with fewer is not compared
FEWEST_SITES = 5  # compared sites for an area under the curve; below, its interval says nothing
_CALIPERS = np.array([np.log(DIAMETER_RATIO), RING_TOLERANCE_HU, CENTRE_TOLERANCE_HU])


@dataclass(frozen=True, eq=False)
class Matching:
    """FM sites with untouched structures like them.

    ``positives`` are all FM sites, ``negatives`` the structures that are anyone's match; ``is_match``
    (positives, negatives) bool; rows of sites with fewer than `SMALLEST_SET` matches are empty. ``within_caliper``
    (positives,) counts matches before the nearest were taken.
    """

    positives: PlaceTable
    negatives: PlaceTable
    is_match: np.ndarray
    within_caliper: np.ndarray

    @property
    def matched(self) -> np.ndarray:
        """(positives,) bool, sites that have enough matches to be compared."""
        return np.asarray(self.is_match.any(axis=1))

    @property
    def reason(self) -> str:
        """Why FM sites cannot be compared with matches, "" where they can."""
        sites, matched = len(self.positives), int(self.matched.sum())
        if not sites:
            return "no FM label"
        if matched >= FEWEST_SITES and 2 * matched >= sites:
            return ""
        return (
            f"only {matched} of {sites} FM sites have enough untouched structures of their diameter and ring HU to be "
            "compared with; see their sensitivity at the frozen threshold"
        )

    def of_labelled(self) -> Matching:
        """The same sets without what is of authentic scans, however few are left in each."""
        own = np.flatnonzero(self.negatives.is_labelled & self.is_match.any(axis=0))
        return Matching(self.positives, self.negatives[own], self.is_match[:, own], self.within_caliper)

    def weights(self) -> np.ndarray:
        """(negatives,) what each counts, sum 1: each matched site's set counts the same."""
        share = self.is_match[self.matched] / self.is_match[self.matched].sum(axis=1, keepdims=True)
        return share.mean(axis=0)

    def balance(self) -> dict[str, float | int | None]:
        """How alike sites and matches are: mean differences within sets, and what each property alone is worth."""
        rows = self.matched
        share = self.is_match[rows] / self.is_match[rows].sum(axis=1, keepdims=True)
        own, other = self.positives[rows], self.negatives
        told: dict[str, float | int | None] = {
            "matched_sites": int(rows.sum()),
            "unmatched_sites": int((~rows).sum()),
            "matches": len(other),
            "share_from_labelled": float(self.weights() @ other.is_labelled),
        }
        for name in ("diameter_mm", "ring_hu", "centre_hu"):
            a, b = getattr(own, name), getattr(other, name)
            told[f"difference_{name}"] = float(np.mean(a - share @ b))
            told[f"auc_{name}"] = matched_area((a, b), (own.patient, other.patient), self.is_match[rows]).value
        return told


def match_places(table: PlaceTable) -> Matching:
    """Match each FM site with the bright places and nodules that nobody touched.

    A match differs by at most a factor 1.1 in diameter, 50 HU in the ring and 100 HU in the blurred centre. The ten
    nearest are taken (root of the sum of squares, each in its calipers), at least 10 mm apart from each other where
    they share a slice.

    Parameters
    ----------
    table
        Places of all cases, see `verict.evaluation.places.tabulate_places`.
    """
    positives = table.of(PlaceKind.FM)
    pool = table.of(PlaceKind.BRIGHT, PlaceKind.NODULE)
    pool = pool[np.isfinite(pool.diameter_mm) & np.isfinite(pool.ring_hu)]
    pool = pool[np.lexsort((pool.centre_hu, pool.x_mm, pool.y_mm, pool.z, pool.patient))]  # whatever order cases have
    looks = [np.column_stack([np.log(t.diameter_mm), t.ring_hu, t.centre_hu]) / _CALIPERS for t in (positives, pool)]
    apart = np.abs(looks[0][:, None] - looks[1][None])  # (positives, pool, 3) in calipers
    within = (apart <= 1).all(axis=2)
    is_match = np.zeros(within.shape, bool)
    for row in range(len(positives)):
        candidates = np.flatnonzero(within[row])
        candidates = candidates[np.argsort((apart[row, candidates] ** 2).sum(axis=1), kind="stable")]
        chosen = _take_apart(pool, candidates)
        if len(chosen) >= SMALLEST_SET:
            is_match[row, chosen] = True
    used = np.flatnonzero(is_match.any(axis=0))
    return Matching(positives, pool[used], is_match[:, used], within.sum(axis=1))


def _take_apart(pool: PlaceTable, candidates: np.ndarray) -> list[int]:
    """The first of them that are different structures, up to `LARGEST_SET`."""
    chosen: list[int] = []
    for c in candidates:
        same = [i for i in chosen if pool.case[i] == pool.case[c] and pool.z[i] == pool.z[c]]
        gaps_mm = np.hypot(pool.y_mm[same] - pool.y_mm[c], pool.x_mm[same] - pool.x_mm[c])
        if gaps_mm.min(initial=np.inf) >= SEPARATION_MM:
            chosen.append(int(c))
        if len(chosen) == LARGEST_SET:
            break
    return chosen
