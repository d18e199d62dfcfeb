"""The spectrum detector, the plain trees and the sum of both under one protocol, beside brightness alone, as Markdown.

Run from the project folder; under ten minutes on two cores. Both are judged out of fold: the spectrum detector by its
shipped fold models, the trees by cross-fitting with the same rule (`verict.evaluation.learners.cross_fit`).

    python benchmarks/ruler.py ../shared/data --write docs/evaluation.md
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from plain_trees import PlainTrees
from scipy import ndimage

from verict.datasets.authentic import read_nodules
from verict.datasets.scans import Scan, read_authentic_scans, read_labelled_scans
from verict.detect.evidence import ScoreMap
from verict.documents import replace_part
from verict.evaluation.case import Case, Subject
from verict.evaluation.conclusions import conclude, find_figure
from verict.evaluation.fair import enter, score_scan
from verict.evaluation.learners import cross_fit
from verict.evaluation.measure import measure
from verict.evaluation.result import Evaluation
from verict.evaluation.subjects import make_subject

START, END = "<!-- ruler: start -->", "<!-- ruler: end -->"
AT_90 = "false_marks_per_slice_at_90"
ROWS = (
    ("area under the curve, FB against parenchyma", ("auc", "fb_parenchyma")),
    ("area under the curve, FM against matched dense structures", ("auc", "fm_dense")),
    ("area under the curve, pooled", ("auc", "pooled")),
    ("sensitivity at 1 % false positives", ("sensitivity_at_fpr", "0.01")),
    ("sensitivity at 5 % false positives", ("sensitivity_at_fpr", "0.05")),
    ("FB found at the frozen threshold", ("frozen", "fb")),
    ("FM found at the frozen threshold", ("frozen", "fm")),
    ("false positives it makes in parenchyma", ("frozen", "false_positive_rate_parenchyma")),
    ("false positives it makes on bright structures", ("frozen", "false_positive_rate_bright")),
    ("found at 0.02 false marks a slice", ("froc", "0.02")),
    ("found at 0.1 false marks a slice", ("froc", "0.1")),
    ("found at 0.5 false marks a slice", ("froc", "0.5")),
    ("found at 1 false mark a slice", ("froc", "1")),
    ("false marks a slice of the authentic scans", ("authentic", "false_marks_per_slice")),
    ("false marks an authentic series", ("authentic", "false_marks_per_scan")),
    ("authentic series called suspicious", ("authentic", "suspicious_series")),
    ("false marks a slice of the authentic volumes where 90 % of the fakes are found", ("authentic", AT_90)),
    ("labelled against authentic untouched places (0.5 is clean)", ("source_leak", "auc_negatives")),
)
CONTENT = "content_only"
LEAST_SHARE = 1e-3  # of trees, of 800: a share of none or all has no finite log odds
NEEDS_THRESHOLDS = ("frozen", "authentic")  # the sum has none that were fitted beforehand


def tabulate(spectrum: Evaluation, trees: Evaluation, both: Evaluation) -> str:
    """A Markdown table of all, with 95 % intervals and n, and what has to be said of each."""
    lines = ["| figure | spectrum | plain trees | sum of both | brightness alone |", "|---|---|---|---|---|"]
    for words, path in ROWS:
        known = path[0] not in NEEDS_THRESHOLDS or path[1] == AT_90
        cells = [_say(spectrum, *path), _say(trees, *path), _say(both, *path) if known else ""]
        lines.append(f"| {words} | {' | '.join([*cells, _say(spectrum, CONTENT, *path)])} |")
    for evaluation in (spectrum, trees):
        said = [
            f"- {'**grave** ' if c.grave else ''}`{c.code}`: {c.text}"
            for c in evaluation.conclusions
            if c.code != "not_probed"  # whatever is cross-fitted cannot know the slices it is judged on
        ]
        lines += ["", f"Of {evaluation.detector}:", "", *(said or ["- nothing"])]
    return "\n".join(lines)


def judge(cases: Sequence[Case], name: str) -> Evaluation:
    """Figures and conclusions, without probes."""
    evaluation = measure(cases, name)
    return Evaluation(name, evaluation.figures, evaluation.strata, evaluation.data, conclude(evaluation, cases))


def add_maps(spectrum: Sequence[Case], trees: Sequence[Case]) -> list[Case]:
    """Both maps of each scan added as log odds, the trees' interpolated to the cells of the other.

    Where the trees say nothing their share of votes counts as `LEAST_SHARE`. The thresholds stay the spectrum
    detector's and mean nothing for the sum.
    """
    added = []
    for one, other in zip(spectrum, trees, strict=True):
        share = np.clip(_to_cells(other.score_map, one.score_map), LEAST_SHARE, 1 - LEAST_SHARE)
        values = one.score_map.values + np.log(share / (1 - share))
        added.append(replace(one, score_map=replace(one.score_map, values=values.astype(np.float32))))
    return added


def _to_cells(source: ScoreMap, like: ScoreMap) -> np.ndarray:
    """(z, rows, columns) of ``source`` at the cells of ``like``, linear; 0 where nothing near is defined."""
    at = [
        (like.origin_px + np.arange(n) * like.stride_px - source.origin_px) / source.stride_px
        for n in like.values.shape[1:]
    ]
    grid = np.meshgrid(*at, indexing="ij")
    out = np.zeros(like.values.shape)
    for z, values in enumerate(source.values):
        defined = np.isfinite(values)
        layers = (np.where(defined, values, 0), defined.astype(float))
        total, weight = (ndimage.map_coordinates(layer, grid, order=1, mode="constant") for layer in layers)
        out[z] = np.where(weight > 0.3, total / np.maximum(weight, 1e-6), 0)
    return out


def load_cases(data: Path) -> list[tuple[Scan, Subject]]:
    """Every scan of both collections in memory, with its places."""
    nodules = read_nodules(data / "nodules.csv")
    scans = [*read_labelled_scans(data / "ctgan", _report), *read_authentic_scans(data / "authentic", _report)]
    return [(scan, make_subject(scan, 1, nodules=nodules)) for scan in scans]


def _say(evaluation: Evaluation, *path: str) -> str:
    measured = find_figure(evaluation.figures, *path)
    if measured is None:
        return ""
    figure = measured.figure
    if path[-1] == "suspicious_series":
        return f"{figure.value:.0f} ({figure.low:.1f} to {figure.high:.1f}) of {figure.n}"
    interval = "" if figure.low is None else f" ({figure.low:.3f} to {figure.high:.3f})"
    return f"{figure.value:.3f}{interval}, n {figure.n}"


def _report(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{what} {done}/{total}\x1b[K", end="", file=sys.stderr, flush=True)


def main() -> None:
    """Measure both, print the table, and put it between the marks of a document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with ctgan, authentic and nodules.csv")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help=f"put the table between {START} and {END}")
    parser.add_argument("--workers", type=int, default=2, help="threads (default 2)")
    options = parser.parse_args()
    start = time.perf_counter()
    cases = load_cases(options.data)
    entrant = enter("spectrum")
    spectrum = [score_scan(*case, entrant, workers=options.workers) for case in cases]
    trees = cross_fit(PlainTrees(workers=options.workers), cases, progress=_report)
    named = {"spectrum": spectrum, "plain trees": trees, "sum of both": add_maps(spectrum, trees)}
    table = tabulate(*(judge(scored, name) for name, scored in named.items()))
    print(table)
    print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(replace_part(text, START, END, f"\n\n{table}\n\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
