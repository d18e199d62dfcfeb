"""Whether forged lung can be told from untouched lung of the same scan: a two-sample test for every touch-up.

Run from the project folder; needs scikit-learn (the extra train). About ten minutes on two cores.

    python benchmarks/matched_touch_up.py ../shared/data/authentic --write docs/touch-ups.md

In every contiguous series pairs of places of plain, healthy lung are chosen, alike in depth, HU and height; a coin says
which of the two is forged. There the lung is "removed": CT-GAN's own pipeline (a cuboid of 32 mm at 1 mm, its middle
20 mm painted) with a fill in place of the network that paints no noise and no vessel, which leaves all the work to the
touch-up; or any family, ``--method``. What is measured is listed in `touch_up_windows`: in the middle of the paint; in
the blend, where half is paint; and over the ends along z, from where all is paint to the first slice beyond.

Properties are compared within pairs. Since a coin chose, the two places of a pair may be exchanged: p is the share of
such exchanges with as large a mean difference, and Holm's rule over all properties keeps the chance of any false
rejection at 5 %. The same for the spread: whether forged places differ more, or less, from the scan's median than
untouched ones. Then logistic regression and trees learn all properties at once, relative to the scan's own median,
and judge patients they have not seen.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measuring import keep_result
from scipy import ndimage, stats
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from touch_up_windows import Blend, Lung, Place, choose_pairs, describe_place, mark_plain

from verict.ct.discover import find_series
from verict.ct.lungs import find_lungs
from verict.ct.read import read_series
from verict.datasets.authentic import read_authentic
from verict.documents import replace_part
from verict.statistics import Figure, area_over_patients
from verict.tamper import families, touch_ups
from verict.tamper.ctgan_cuboid import HOLE
from verict.tamper.families.ctgan import CtGan
from verict.tamper.forgery import Family, Forgery, ForgeryKind, Target, forge

START, END = "<!-- two-sample test: start -->", "<!-- two-sample test: end -->"
PLACES = 24  # pairs a series, where so many fit
FLIPS = 20_000
LEVEL, POWER = 0.05, 0.8
UNTOUCHED = "nothing"  # a row in which neither place is forged: what the test says of itself
CTGAN_MIDDLE_MM = 0.9 * 1.3 * 32 / 2  # where its bell is one half
MATCHED_MIDDLE_MM = 32 / 2 - 6 / 3  # where b is one half: cos 60°, two thirds of the fade of 6 mm
SHAPE = ("kurtosis", "skewness")  # reported apart: what noise of the right spectrum does not give


def fill_smoothly(masked: np.ndarray) -> np.ndarray:
    """A generator that fills the hole by the mean of what is around, without noise or vessels."""
    known = np.ones(masked.shape, np.float32)
    known[HOLE] = 0
    total, weight = (ndimage.gaussian_filter(v, 5.0, mode="nearest") for v in (masked * known, known))
    return np.where(known > 0, masked, total / weight)


@dataclass(frozen=True, eq=False)
class Sample:
    """Properties of pairs: (n, properties) of forged and of untouched places, NaN where one has none."""

    names: list[str]
    forged: np.ndarray
    untouched: np.ndarray
    scan: np.ndarray
    patient: np.ndarray
    seconds: float


@dataclass(frozen=True)
class Test:
    """One property: pairs, effect in standard deviations, how spread compares, and the p of either."""

    name: str
    n: int
    effect: float
    p: float
    spread: float
    spread_p: float


def read_lungs(authentic: Path) -> list[Lung]:
    """Every contiguous series of more than two slices."""
    lungs = []
    for known in read_authentic(authentic):
        if not known.is_contiguous:
            continue
        volume = read_series(find_series(known.files[0].parent).series[0])
        lung = find_lungs(volume).mask
        lungs.append(Lung(known.folder, known.patient, volume, lung, mark_plain(volume, lung)))
    return lungs


def collect(lungs: list[Lung], pairs: list[list[tuple[Place, Place]]], family: Family, touch_up: str) -> Sample:
    """Forge the first place of every pair and measure both."""
    rows: list[tuple[dict[str, float], dict[str, float]]] = []
    scan, patient, started = [], [], time.perf_counter()
    for index, (series, chosen) in enumerate(zip(lungs, pairs, strict=True)):
        for number, (first, second) in enumerate(chosen):
            hu, blend = series.volume.hu, Blend(MATCHED_MIDDLE_MM, default_ends(series))
            if touch_up != UNTOUCHED:
                target = Target(hu, series.volume.spacing_mm, series.lung, first.voxel, ForgeryKind.REMOVE, series.run)
                forgery = forge(target, family, touch_ups.create(touch_up), seed=1000 * index + number)
                hu, blend = forgery.hu, blend_of(forgery, touch_up)
            rows.append((describe_place(series, hu, first.voxel, blend),
                         describe_place(series, series.volume.hu, second.voxel, blend)))
            scan.append(index)
            patient.append(series.patient)
    seconds = (time.perf_counter() - started) / len(rows)
    names = sorted({name for pair in rows for place in pair for name in place}, key=_order)
    forged, untouched = (np.array([[pair[i].get(n, np.nan) for n in names] for pair in rows]) for i in range(2))
    return Sample(names, forged, untouched, np.array(scan), np.array(patient), seconds)


def default_ends(series: Lung) -> tuple[int, int]:
    """First and last slice of a cuboid of 32 mm."""
    count = round(32 / series.volume.spacing_mm[0])
    return -(count // 2), count - count // 2 - 1


def blend_of(forgery: Forgery, touch_up: str) -> Blend:
    """Where a forgery blends."""
    z = forgery.record["centre_voxel_zyx"][0]
    ends = (forgery.box[0].start - z, forgery.box[0].stop - 1 - z)
    return Blend(MATCHED_MIDDLE_MM if touch_up in ("matched", "none") else CTGAN_MIDDLE_MM, ends)


def compare(sample: Sample, rng: np.random.Generator) -> list[Test]:
    """Every property, its mean and its spread, by exchanging the places of pairs."""
    tests = []
    for index, name in enumerate(sample.names):
        whole = np.isfinite(sample.forged[:, index]) & np.isfinite(sample.untouched[:, index])
        forged, untouched = sample.forged[whole, index], sample.untouched[whole, index]
        scan = sample.scan[whole]
        middle = np.array([np.median(np.r_[forged[scan == s], untouched[scan == s]]) for s in scan])
        away, away_untouched = np.abs(forged - middle), np.abs(untouched - middle)
        gain = forged - untouched
        tests.append(Test(
            name, len(gain), float(gain.mean() / (gain.std(ddof=1) / np.sqrt(2))), exchange(gain, rng),
            float(away.mean() / away_untouched.mean()), exchange(away - away_untouched, rng),
        ))
    return tests


def exchange(gain: np.ndarray, rng: np.random.Generator) -> float:
    """Two-sided p of a mean difference under exchange of the two of each pair."""
    signs = rng.integers(0, 2, (FLIPS, len(gain)), dtype=np.int8) * 2 - 1
    as_large = np.abs(signs @ gain) >= abs(gain.sum()) - 1e-12
    return float((1 + as_large.sum()) / (FLIPS + 1))


def holm(p: Sequence[float]) -> np.ndarray:
    """Which hypotheses Holm's rule rejects (Scand. J. Statist. 6, 1979)."""
    order = np.argsort(p)
    passed = np.asarray(p)[order] > LEVEL / (len(order) - np.arange(len(order)))
    rejected = np.zeros(len(order), bool)
    rejected[order[: int(np.argmax(passed)) if passed.any() else len(order)]] = True
    return rejected


def detectable(n: int, hypotheses: int) -> float:
    """Difference of means, in standard deviations of a place, that is rejected with probability `POWER`."""
    return float((stats.norm.isf(LEVEL / hypotheses / 2) + stats.norm.ppf(POWER)) * np.sqrt(2 / n))


def judge(sample: Sample, *, with_shape: bool) -> dict[str, Figure]:
    """Area under the curve of two learners that saw other patients only."""
    chosen = [i for i, name in enumerate(sample.names) if with_shape or not name.endswith(SHAPE)]
    parts = []
    for values in (sample.forged, sample.untouched):
        relative = values[:, chosen].copy()
        for scan in np.unique(sample.scan):
            own = sample.scan == scan
            both = np.concatenate([sample.forged[own][:, chosen], sample.untouched[own][:, chosen]])
            usual = np.array([np.median(c[np.isfinite(c)]) if np.isfinite(c).any() else 0.0 for c in both.T])
            relative[own] -= usual
        parts.append(np.nan_to_num(relative))
    values, is_forged = np.concatenate(parts), np.repeat([True, False], len(parts[0]))
    patient = np.tile(sample.patient, 2)
    areas = {}
    for name, make in LEARNERS.items():
        score = np.empty(len(values))
        for one in np.unique(patient):
            out = patient == one
            score[out] = make().fit(values[~out], is_forged[~out]).predict_proba(values[out])[:, 1]
        areas[name] = area_over_patients(score, is_forged, patient)
    return areas


LEARNERS = {
    "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=2000)),
    "trees": lambda: ExtraTreesClassifier(500, min_samples_leaf=3, random_state=0),
}


@dataclass(frozen=True, eq=False)
class Outcome:
    """All that is said of one touch-up: tests of the properties, those of shape apart, and areas of either kind."""

    touch_up: str
    tests: list[Test]
    shape: list[Test]
    areas: dict[str, Figure]
    areas_with_shape: dict[str, Figure]
    seconds: float

    @property
    def rejected(self) -> np.ndarray:
        """Of the required properties, by their means."""
        return holm([t.p for t in self.tests])

    @property
    def spread_rejected(self) -> np.ndarray:
        """Of the required properties, by their spread."""
        return holm([t.spread_p for t in self.tests])


def run(lungs: list[Lung], pairs: list[list[tuple[Place, Place]]], family: Family, touch_up: str) -> Outcome:
    """Forge, measure and compare."""
    sample = collect(lungs, pairs, family, touch_up)
    tests = compare(sample, np.random.default_rng(0))
    return Outcome(
        touch_up, [t for t in tests if not t.name.endswith(SHAPE)], [t for t in tests if t.name.endswith(SHAPE)],
        judge(sample, with_shape=False), judge(sample, with_shape=True), sample.seconds,
    )


def _order(name: str) -> tuple[int, int, str]:
    where, what = name.split(" ", 1)
    kinds = ("variance", "radial", "direction low", "direction high", "correlation", *SHAPE)
    return ("inside", "blend", "ends").index(where), next(i for i, k in enumerate(kinds) if what.startswith(k)), what


def tabulate(outcomes: list[Outcome]) -> str:
    """One row a touch-up, then one row a property of the last."""
    lines = [
        "| touch-up | means rejected | spreads rejected | largest difference (SD) | where "
        "| AUC logistic | AUC trees | with kurtosis and skewness |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for o in outcomes:
        worst = max(o.tests, key=lambda t: abs(t.effect))
        with_shape = max(o.areas_with_shape.values(), key=lambda f: f.value)
        lines.append(
            f"| {o.touch_up} | {o.rejected.sum()} of {len(o.tests)} | {o.spread_rejected.sum()} of {len(o.tests)} "
            f"| {worst.effect:+.2f} | {worst.name} | {say(o.areas['logistic regression'])} | {say(o.areas['trees'])} "
            f"| {say(with_shape)} |"
        )
    last = outcomes[-1]
    lines += [
        "", f"Property by property, {last.touch_up}:", "",
        "| property | pairs | difference of means (SD) | p | spread, forged / untouched | p |",
        "|---|---|---|---|---|---|",
    ]
    for group in _grouped(last.tests) + [[t] for t in last.shape]:
        least, narrow = min(group, key=lambda t: t.p), min(group, key=lambda t: t.spread_p)
        several = f", {len(group)} sectors: the least p" if len(group) > 1 else ""
        name = " ".join(group[0].name.split()[:3]) if several else group[0].name
        lines.append(f"| {name}{several} | {least.n} | {least.effect:+.2f} | {least.p:.4f} | {narrow.spread:.2f} "
                     f"| {narrow.spread_p:.4f} |")
    return "\n".join(lines)


def _grouped(tests: list[Test]) -> list[list[Test]]:
    """Sectors of one band together, everything else by itself."""
    groups: dict[str, list[Test]] = {}
    for test in tests:
        key = " ".join(test.name.split()[:3]) if "direction" in test.name else test.name
        groups.setdefault(key, []).append(test)
    return list(groups.values())


def say(figure: Figure) -> str:
    """Value and interval."""
    return f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})"


def describe_pairs(lungs: list[Lung], pairs: list[list[tuple[Place, Place]]]) -> str:
    """How many, how alike, and what could have been seen."""
    every = [pair for chosen in pairs for pair in chosen]
    depth = np.mean([abs(a.depth_mm - b.depth_mm) for a, b in every])
    hu = np.mean([abs(a.mean_hu - b.mean_hu) for a, b in every])
    counts = ", ".join(f"{series.name} {len(chosen)}" for series, chosen in zip(lungs, pairs, strict=True))
    return (
        f"{len(every)} pairs in {len(lungs)} series of {len({s.patient for s in lungs})} patients ({counts}). "
        f"The two of a pair differ by {depth:.1f} mm in depth and {hu:.0f} HU on average."
    )


def main() -> None:
    """Run all, print the tables, and write them where wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("authentic", type=Path)
    parser.add_argument("--method", default="smooth", choices=("smooth", *families.names()))
    parser.add_argument("--touch-ups", nargs="+", default=["none", "white", "zoomed", "copied", "matched"])
    parser.add_argument("--places", type=int, default=PLACES, help="pairs a series")
    parser.add_argument("--seed", type=int, default=2, help="of the pairs and the coins; 0 and 1 were designed on")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help=f"put the tables between {START} and {END}")
    options = parser.parse_args()
    family = CtGan(fill_smoothly) if options.method == "smooth" else families.create(options.method)
    lungs = read_lungs(options.authentic)
    pairs = [choose_pairs(s, options.places, np.random.default_rng([options.seed, i]))
             for i, s in enumerate(lungs)]
    outcomes = []
    for touch_up in [UNTOUCHED, *options.touch_ups]:
        outcomes.append(run(lungs, pairs, family, touch_up))
        print(f"{touch_up}: {outcomes[-1].seconds:.1f} s a place", flush=True)
    count, hypotheses = sum(map(len, pairs)), len(outcomes[-1].tests)
    text = (
        f"{describe_pairs(lungs, pairs)} Seen with a chance of {POWER:.0%}: a difference of "
        f"{detectable(count, 1):.2f} standard deviations of a place by one property, of "
        f"{detectable(count, hypotheses):.2f} by Holm's rule over {hypotheses}. Painted by: {options.method}.\n\n"
        f"{tabulate(outcomes)}"
    )
    print(text)
    keep_result(f"matched_touch_up {options.method}", {
        "places": options.places, "method": options.method, "seed": options.seed,
    }, {
        o.touch_up: {"rejected": int(o.rejected.sum()), "spread_rejected": int(o.spread_rejected.sum()),
                     "areas": {k: v.as_dict() for k, v in o.areas.items()},
                     "tests": {t.name: [round(t.effect, 3), t.p, round(t.spread, 3), t.spread_p]
                               for t in o.tests + o.shape}} for o in outcomes
    })
    if options.write:
        document = options.write.read_text(encoding="utf-8")
        options.write.write_text(replace_part(document, START, END, f"\n\n{text}\n\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
