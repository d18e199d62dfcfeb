"""Whether anything more than two scores at a place would tell the four classes better.

Run from the project folder; some ten minutes, and half an hour more for `repeat` unless WORK keeps it already:

    python benchmarks/four_class_inputs.py CAMPAIGN --work WORK --write docs/nodule.md

Each line fits a classifier on the sites of the campaign itself and judges the patients left out. So even the first line
is fitted on more sites, more like those judged, than what is shipped: an upper bound for each choice of inputs. Scores
of tampering are those of models that saw neither the patient nor, among authentic scans, the scanner.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from cell_scores import keep_repeats
from leave_cell_out import REPEAT_FROM
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from verict.datasets.campaigns import CAMPAIGN_FILE, read_document
from verict.datasets.scans import Scan, read_labelled_scans
from verict.detect.at_place import REACH_MM
from verict.detect.four_classes import BOUND, CLASSES
from verict.detect.localiser import MAP_ORIGIN_PX, MAP_STRIDE_PX
from verict.documents import replace_part
from verict.evaluation.classes import Site, _placed, _score_places, describe_classes
from verict.evaluation.fair import choose_model, enter, examine_blind

START, END = "<!-- inputs: start -->", "<!-- inputs: end -->"
FOLDS = 5
WIDE_MM, RING_MM = 25.0, (18.0, 45.0)
REPEAT_MOST = 10.0  # log odds `repeat` may add, as in leave_cell_out.py

Looks = dict[str, float]
"""What is measured at one site, by name."""


def look_at(values: np.ndarray, repeated: np.ndarray, y: int, x: int, spacing_mm: Sequence[float]) -> Looks:
    """Of a slice's (rows, columns) maps of log odds, by fusion and by repeat, around pixel (y, x)."""
    away = _away_mm(values.shape, y, x, spacing_mm)
    there = np.isfinite(values)
    near, ring = there & (away <= REACH_MM), there & (away > RING_MM[0]) & (away <= RING_MM[1])
    own = values[near] if near.any() else np.array([-BOUND])
    around = np.median(values[ring]) if ring.any() else -BOUND
    cell = MAP_STRIDE_PX**2 * spacing_mm[0] * spacing_mm[1]
    z = float(repeated[_away_mm(repeated.shape, y, x, spacing_mm) <= REACH_MM].max(initial=0.0))
    return {
        "highest": float(own.max()),
        "three quarters": float(np.quantile(own, 0.75)),
        "extent": float(np.log1p((values[there & (away <= WIDE_MM)] > 0).sum() * cell / 100)),
        "above surroundings": float(own.max() - around),
        "above the slice": float(own.max() - np.median(values[there])) if there.any() else 0.0,
        "repeat": float(np.clip((z**2 - REPEAT_FROM**2) / 2, 0, REPEAT_MOST)),
    }


def _away_mm(shape: tuple[int, ...], y: int, x: int, spacing_mm: Sequence[float]) -> np.ndarray:
    """(rows, columns) distance of each cell from a pixel; repeat's map reaches a little farther than fusion's."""
    rows, columns = ((MAP_ORIGIN_PX + np.arange(n) * MAP_STRIDE_PX - at) * mm
                     for n, at, mm in zip(shape, (y, x), spacing_mm, strict=True))
    return np.hypot(rows[:, None], columns)


def measure(campaign: Path, work: Path, workers: int) -> list[tuple[Site, Looks]]:
    """Every site of a campaign with all looks; kept in ``work``."""
    kept = work / f"inputs-{read_document(campaign / CAMPAIGN_FILE)['sha256'][:16]}.pickle"
    if kept.is_file():
        return list(pickle.loads(kept.read_bytes()))
    repeats = keep_repeats(campaign, work, workers, lambda *_: None)
    nodules, fusion = enter("nodule"), enter("fusion")
    found: list[tuple[Site, Looks]] = []
    for scan, repeated in zip(read_labelled_scans(campaign, lambda *_: None), repeats, strict=True):
        found += _measure_scan(scan, repeated, (nodules, fusion), workers) if scan.lungs.any_found else []
    kept.write_bytes(pickle.dumps(found))
    return found


def _measure_scan(scan: Scan, repeated: np.ndarray, entrants: tuple, workers: int) -> Iterator[tuple[Site, Looks]]:
    places = _placed(scan)
    if places:
        model, seen = choose_model(entrants[1], scan)
        score_map, _ = examine_blind(entrants[1].make(model), scan.volume, scan.lungs, workers=workers)
        sites = _score_places(scan, places, entrants[0], score_map, seen)
        for place, site in zip(places, sites, strict=True):
            at = score_map.values[place.z], repeated[place.z]
            yield site, look_at(*at, place.y, place.x, scan.volume.spacing_mm[1:])


def tabulate(found: Sequence[tuple[Site, Looks]]) -> Iterator[str]:
    """Macro-F1 of each choice of inputs, patients left out."""
    sites = [site for site, _ in found]
    truth = np.array([CLASSES.index(s.kind) for s in sites])
    patients = [s.patient for s in sites]
    yield "| what is looked at beside the nodule score | classifier | macro-F1, 95 % interval |"
    yield "|---|---|---|"
    linear, bent = LogisticRegression(C=3.0, max_iter=3000), SVC(C=3.0)
    for words, names, classifier in (
        ("the highest tamper score (as shipped)", ("highest",), linear),
        ("and how far the odds are positive around it", ("highest", "extent"), linear),
        ("the upper quarter of scores instead of the highest", ("three quarters",), linear),
        ("the highest above what surrounds it", ("above surroundings",), linear),
        ("the highest above the rest of its slice", ("above the slice",), linear),
        ("all of these", ("highest", "extent", "three quarters", "above surroundings", "above the slice"), linear),
        ("all of these", ("highest", "extent", "three quarters", "above surroundings", "above the slice"), bent),
        ("the highest, with what `repeat` adds", ("highest+repeat",), linear),
        ("all of these and `repeat`", ("highest+repeat", "extent", "three quarters", "above surroundings"), bent),
    ):
        columns = _columns(found, names)
        fitted = make_pipeline(StandardScaler(), classifier)
        said = cross_val_predict(fitted, columns, truth, groups=patients, cv=GroupKFold(FOLDS))
        figure = describe_classes(truth, said, patients, seed=0)["macro_f1"]
        low, high = figure["interval"]  # type: ignore[index]
        kind = "logistic" if classifier is linear else "support vectors"
        yield f"| {words} | {kind} | {figure['value']:.3f} ({low:.2f} to {high:.2f}) |"  # type: ignore[index]


def _columns(found: Sequence[tuple[Site, Looks]], names: Sequence[str]) -> np.ndarray:
    nodule = np.clip([site.nodule_score for site, _ in found], -BOUND, BOUND)
    columns = [nodule]
    for name in names:
        values = np.array([sum(looks[part] for part in name.split("+")) for _, looks in found])
        values = np.clip(values, -BOUND, 2 * BOUND)
        columns += [values, nodule * values / BOUND]
    return np.stack(columns, 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and put the table between the marks of a document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", type=Path, help="folder that verict tamper campaign made")
    parser.add_argument("--work", type=Path, required=True, help="scratch folder")
    parser.add_argument("--workers", type=int, default=2, help="threads")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help=f"put the table between {START} and {END}")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    found = measure(options.campaign, options.work, options.workers)
    name = read_document(options.campaign / CAMPAIGN_FILE)["sha256"][:16]
    patients = len({site.patient for site, _ in found})
    table = "\n".join([f"Campaign `{name}`, {len(found)} sites of {patients} patients.", "", *tabulate(found)])
    print(table)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(replace_part(text, START, END, f"\n\n{table}\n\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
