"""What scores weigh as evidence: likelihood ratios and p-values from out-of-fold scores, ready for a model card.

Every score handed in must come from a model that saw neither the patient nor, for untouched scans, the scanner
model. What `fit_evidence` returns is read by `verict.detect.weight` when a scan is judged.

The likelihood ratio is a logistic regression of two parameters on the score with equal odds of both hypotheses, as
score-based systems are calibrated (Morrison, Australian Journal of Forensic Sciences 45, 2013,
doi:10.1080/00450618.2012.733025). The denominator is the highest score of an untouched slice, so the many places a
slice offers a false mark are counted in. It is held within the empirical lower and upper bound of Vergeer et al.
(Science & Justice 56, 2016, doi:10.1016/j.scijus.2016.06.003), with patients in the place of cases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, special, stats

from verict.ct.volume import CTVolume
from verict.datasets.splits import Scanner, unseen_by
from verict.detect.verdict import average_along_z, peaks_by_unit
from verict.detect.weight import Unit, p_value_of
from verict.errors import say_count
from verict.statistics import share_of_count

H1 = "lung tissue here was repainted the way CT-GAN repaints it"
H2 = "untouched lung of a scanner the model was not fitted on"
LEAST_PATIENTS = 10  # with n patients no ratio above n + 1 is supported, so fewer cannot reach "moderate", 10
RIDGE = 1e-3  # keeps the slope finite where scores separate the two; makes it a little flatter, so ratios cautious
LOG10_GRID = np.arange(0, 6, 0.005)  # decision thresholds the bounds are looked for at
LEVELS = (0.05, 0.1)


class Untouched(NamedTuple):
    """The highest score of an untouched slice, or of an untouched series."""

    score: float
    patient: str
    scanner: Scanner


class Forged(NamedTuple):
    """The score at a forged place."""

    score: float
    patient: str


class _Fit(NamedTuple):
    slope: float
    offset: float
    low: float
    high: float

    def log10_ratio(self, scores: np.ndarray) -> np.ndarray:
        raw = (self.slope * scores + self.offset) / np.log(10)
        return np.clip(raw, np.log10(self.low), np.log10(self.high))


def untouched_scores(
    volume: CTVolume, values: np.ndarray, patient: str, scanner: Scanner
) -> tuple[list[Untouched], list[Untouched]]:
    """The scores one untouched series gives: of each slice by itself, and of its runs together (none or one).

    Parameters
    ----------
    volume
        Geometry; its pixels are not looked at.
    values
        (z, rows, columns) score map, NaN where undefined.
    patient, scanner
        Whose it is.
    """
    slices = [Untouched(float(np.nanmax(part)), patient, scanner) for part in values if np.isfinite(part).any()]
    _, run = peaks_by_unit(volume, average_along_z(values, volume))
    return slices, [] if run is None else [Untouched(run, patient, scanner)]


def fit_evidence(
    untouched: Sequence[tuple[float, str, Scanner]],
    forged: Sequence[tuple[float, str]],
    *,
    untouched_series: Sequence[tuple[float, str, Scanner]] = (),
    forged_series: Sequence[tuple[float, str]] = (),
    h1: str = H1,
    h2: str = H2,
) -> dict[str, Any]:
    """The block ``evidence`` of a model card, from out-of-fold scores; JSON-ready.

    Parameters
    ----------
    untouched
        (score, patient, scanner): the highest score of each untouched slice.
    forged
        (score, patient): the score at each forged place of single slices.
    untouched_series, forged_series
        The same of runs averaged along z: the highest of a series, and the one at a forged place.
    h1, h2
        What the ratio's numerator and denominator suppose, in words. Scores that are not finite are left out.

    Returns
    -------
    dict
        ``null`` by unit: ``scores`` ascending, ``weights`` (1 a patient), ``patients``, ``scanners``.
        ``likelihood_ratio`` by unit: ``scores`` and ``log10_lr`` to interpolate between, ``low`` and ``high``,
        ``h1``, ``h2``, ``n_h1``, ``n_h2`` (patients), ``cllr`` and how it was found; or ``reason`` alone.
        ``uniformity``: see `check_uniformity`.
    """
    sides = {Unit.SLICE: (untouched, forged), Unit.RUN: (untouched_series, forged_series)}
    null: dict[str, Any] = {}
    ratio: dict[str, Any] = {}
    for unit, (clean, painted) in sides.items():
        clean_here = [Untouched(*u) for u in clean if np.isfinite(u[0])]
        painted_here = [Forged(*f) for f in painted if np.isfinite(f[0])]
        null[str(unit)] = _describe_null(clean_here)
        ratio[str(unit)] = _describe_ratio(clean_here, painted_here, h1, h2)
    return {"null": null, "likelihood_ratio": ratio, "uniformity": check_uniformity(untouched)}


def check_uniformity(untouched: Sequence[tuple[float, str, Scanner]]) -> list[dict[str, Any]]:
    """p-values of untouched slices against slices of other patients and other scanner models.

    Uniform p-values would lie at or below 0.05 on 5 % of slices. Slices of one patient go together, so that
    uniformity is a claim about patients: ``ks`` is the greatest distance of the distribution, each patient
    counted once, from a uniform one, ``ks_limit`` what as many independent values stay below in 95 % of cases.

    Returns
    -------
    list of dict
        One row a scanner model, and ``all`` last. ``below`` holds for each level the share of slices at or
        below it with the exact interval of Clopper and Pearson, which takes slices as independent, and
        ``by_patient``, the mean over patients.
    """
    rows = [Untouched(*u) for u in untouched if np.isfinite(u[0])]
    patients, scanners = [r.patient for r in rows], [r.scanner for r in rows]
    p_values = np.full(len(rows), np.nan)
    for scanner in sorted(set(scanners)):
        held = [i for i, other in enumerate(scanners) if other == scanner]
        rest = [rows[i] for i in unseen_by(patients, scanners, held)]
        null = _describe_null(rest)
        for i in held if rest else []:
            p_values[i] = p_value_of(null, rows[i].score)
    table = []
    for name in [*(str(s) for s in sorted(set(scanners))), "all"]:
        chosen = [i for i, s in enumerate(scanners) if name in (str(s), "all") and np.isfinite(p_values[i])]
        if chosen:
            table.append(_describe_p_values(name, p_values[chosen], [patients[i] for i in chosen]))
    return table


def find_bounds(
    h1: tuple[np.ndarray, np.ndarray], h2: tuple[np.ndarray, np.ndarray], patients: tuple[int, int]
) -> tuple[float, float]:
    """Lowest and highest likelihood ratio that so many patients support.

    One misleading case is added to each side. A ratio t is supported as long as deciding at odds of 1 : t by
    this system is no dearer than deciding without it: misses + t x false alarms <= min(1, t).

    Parameters
    ----------
    h1, h2
        (log10 ratios, weights that sum to 1) of forged and of untouched.
    patients
        How many of either.
    """
    highest, lowest = LOG10_GRID, -LOG10_GRID
    high = highest[_first_unsupported(h1, h2, patients, highest) - 1]
    low = lowest[_first_unsupported(h1, h2, patients, lowest) - 1]
    return float(10**low), float(10**high)


def cost_of_ratios(h1: tuple[np.ndarray, np.ndarray], h2: tuple[np.ndarray, np.ndarray]) -> float:
    """Log-likelihood-ratio cost in bits: 0 is perfect, 1 is what always saying "1" gets.

    Bruemmer and du Preez, Computer Speech & Language 20 (2006), doi:10.1016/j.csl.2005.08.001. Parameters as
    for `find_bounds`.
    """
    (log1, weight1), (log2, weight2) = h1, h2
    missed = float(np.sum(weight1 * np.log1p(10.0**-log1)))
    alarmed = float(np.sum(weight2 * np.log1p(10.0**log2)))
    return (missed + alarmed) / 2 / math.log(2)


def weigh_patients(patients: Sequence[str]) -> np.ndarray:
    """(n,) weights such that each patient's sum to 1."""
    _, owner, counts = np.unique(np.asarray(patients, dtype=str), return_inverse=True, return_counts=True)
    return 1.0 / counts[owner]


def _first_unsupported(
    h1: tuple[np.ndarray, np.ndarray], h2: tuple[np.ndarray, np.ndarray], patients: tuple[int, int], grid: np.ndarray
) -> int:
    """Index of the first threshold, going away from 0 in log10, that is not supported; 1 at least."""
    misses = (patients[0] * (1 - _share_above(*h1, grid)) + 1) / (patients[0] + 1)
    alarms = (patients[1] * _share_above(*h2, grid) + 1) / (patients[1] + 1)
    supported = misses + 10**grid * alarms <= np.minimum(1, 10**grid) + 1e-12
    supported[0] = True  # a ratio of 1 claims nothing
    return len(grid) if supported.all() else int(np.argmin(supported))


def _share_above(log10: np.ndarray, weight: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """(len(grid),) weight of the ratios above each threshold."""
    order = np.argsort(log10)
    below = np.concatenate([[0.0], np.cumsum(weight[order])])
    return below[-1] - below[np.searchsorted(log10[order], grid, side="right")]


def _describe_null(rows: Sequence[Untouched]) -> dict[str, Any]:
    order = sorted(rows)
    return {
        "scores": [round(r.score, 4) for r in order],
        "weights": [round(float(w), 6) for w in weigh_patients([r.patient for r in order])],
        "patients": len({r.patient for r in rows}),
        "scanners": len({r.scanner for r in rows}),
    }


def _describe_ratio(clean: Sequence[Untouched], painted: Sequence[Forged], h1: str, h2: str) -> dict[str, Any]:
    counts = {"n_h1": len({f.patient for f in painted}), "n_h2": len({u.patient for u in clean})}
    if min(counts.values()) < LEAST_PATIENTS:
        reason = f"too few to weigh it: forgeries of {say_count(counts['n_h1'], 'patient')} and untouched scans of "
        reason += f"{say_count(counts['n_h2'], 'patient')}, where {LEAST_PATIENTS} of either are needed"
        if counts["n_h2"]:
            reason += f"; so few untouched ones support no ratio above {counts['n_h2'] + 1}, whatever the score"
        return {"reason": reason, **counts}
    fit = _fit_ratio(clean, painted)
    if fit.slope <= 0 or fit.high <= fit.low:
        return {"reason": "the scores do not tell forged from untouched", **counts}
    ends = np.log([fit.low, fit.high])
    return {
        "scores": [round(float(s), 4) for s in (ends - fit.offset) / fit.slope],
        "log10_lr": [round(float(e / np.log(10)), 4) for e in ends],
        "low": round(fit.low, 4),
        "high": round(fit.high, 4),
        "h1": h1,
        "h2": h2,
        **counts,
        "n_h1_places": len(painted),
        "n_h2_slices": len(clean),
        "cllr": round(_cross_validate(clean, painted), 4),
        "cllr_how": "fit and bounds without the patient of each forgery, or without the scanner model and the patient "
        "of each untouched slice; each patient counts once",
    }


def _fit_ratio(clean: Sequence[Untouched], painted: Sequence[Forged]) -> _Fit:
    scores = np.array([f.score for f in painted] + [u.score for u in clean])
    is_forged = np.arange(len(scores)) < len(painted)
    weight = np.concatenate([weigh_patients([f.patient for f in painted]), weigh_patients([u.patient for u in clean])])
    people = float(weight[is_forged].sum()), float(weight[~is_forged].sum())
    weight = np.where(is_forged, weight / people[0], weight / people[1])
    centre = float(np.average(scores, weights=weight))
    spread = float(np.sqrt(np.average((scores - centre) ** 2, weights=weight))) or 1.0
    standard, sign = (scores - centre) / spread, np.where(is_forged, 1.0, -1.0)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slope, offset = parameters
        margin = sign * (slope * standard + offset)
        pull = -weight * sign * special.expit(-margin)
        value = float(np.sum(weight * np.logaddexp(0, -margin))) + RIDGE / 2 * slope**2
        return value, np.array([np.sum(pull * standard) + RIDGE * slope, np.sum(pull)])

    slope, offset = optimize.minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    fit = _Fit(slope / spread, offset - slope * centre / spread, 1e-300, 1e300)
    log10 = fit.log10_ratio(scores)
    bounds = find_bounds(
        (log10[is_forged], weight[is_forged]),
        (log10[~is_forged], weight[~is_forged]),
        (round(people[0]), round(people[1])),
    )
    return fit._replace(low=bounds[0], high=bounds[1])


def _cross_validate(clean: Sequence[Untouched], painted: Sequence[Forged]) -> float:
    """The cost of ratios given by fits that saw neither the patient nor the scanner model."""
    patients, scanners = [u.patient for u in clean], [u.scanner for u in clean]
    log1, log2 = np.zeros(len(painted)), np.zeros(len(clean))
    for patient in {f.patient for f in painted}:
        fit = _fit_ratio([u for u in clean if u.patient != patient], [f for f in painted if f.patient != patient])
        held = [i for i, f in enumerate(painted) if f.patient == patient]
        log1[held] = fit.log10_ratio(np.array([painted[i].score for i in held]))
    for scanner in set(scanners):
        held = [i for i, other in enumerate(scanners) if other == scanner]
        away = {patients[i] for i in held}
        kept = [clean[i] for i in unseen_by(patients, scanners, held)]
        others = [f for f in painted if f.patient not in away]
        if kept and others:  # else the ratio stays 1: nothing was left to fit it on
            log2[held] = _fit_ratio(kept, others).log10_ratio(np.array([clean[i].score for i in held]))
    weight1, weight2 = weigh_patients([f.patient for f in painted]), weigh_patients(patients)
    return cost_of_ratios((log1, weight1 / weight1.sum()), (log2, weight2 / weight2.sum()))


def _describe_p_values(name: str, p_values: np.ndarray, patients: Sequence[str]) -> dict[str, Any]:
    weight = weigh_patients(patients)
    weight /= weight.sum()
    order = np.argsort(p_values)
    reached = np.cumsum(weight[order])
    distance = max(np.max(reached - p_values[order]), np.max(p_values[order] - (reached - weight[order])))
    count = len(set(patients))
    below = {}
    for level in LEVELS:
        hit = p_values <= level
        by_patient = round(float(weight[hit].sum()), 4)
        below[str(level)] = share_of_count(int(hit.sum()), len(hit)).as_dict() | {"by_patient": by_patient}
    return {
        "scanner": name,
        "patients": count,
        "slices": len(p_values),
        "ks": round(float(distance), 4),
        "ks_limit": round(float(stats.kstwo.ppf(0.95, count)), 4),
        "below": below,
    }
