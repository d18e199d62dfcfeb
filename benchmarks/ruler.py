"""The spectrum detector and the plain trees under one protocol, with brightness alone beside them, as Markdown.

Run from the project folder; under ten minutes on two cores. Both are judged out of fold: the spectrum detector by its
shipped fold models, the trees by cross-fitting with the same rule (`verict.evaluation.learners.cross_fit`).

    python benchmarks/ruler.py ../shared/data --write docs/evaluation.md
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from plain_trees import PlainTrees

from verict.datasets.authentic import read_nodules
from verict.datasets.scans import Scan, read_authentic_scans, read_labelled_scans
from verict.documents import replace_part
from verict.evaluation.case import Case, Subject
from verict.evaluation.conclusions import conclude, find_figure
from verict.evaluation.fair import enter, score_scan
from verict.evaluation.learners import cross_fit
from verict.evaluation.measure import measure
from verict.evaluation.result import Evaluation
from verict.evaluation.subjects import make_subject

START, END = "<!-- ruler: start -->", "<!-- ruler: end -->"
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
    ("labelled against authentic untouched places (0.5 is clean)", ("source_leak", "auc_negatives")),
)
CONTENT = "content_only"


def tabulate(spectrum: Evaluation, trees: Evaluation) -> str:
    """A Markdown table of both, with 95 % intervals and n, and what has to be said of each."""
    lines = ["| figure | spectrum | plain trees | brightness alone |", "|---|---|---|---|"]
    for words, path in ROWS:
        cells = [_say(spectrum, *path), _say(trees, *path), _say(spectrum, CONTENT, *path)]
        lines.append(f"| {words} | {' | '.join(cells)} |")
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
    spectrum = judge([score_scan(*case, entrant, workers=options.workers) for case in cases], "spectrum")
    trees = judge(cross_fit(PlainTrees(workers=options.workers), cases, progress=_report), "plain trees")
    table = tabulate(spectrum, trees)
    print(table)
    print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(replace_part(text, START, END, f"\n\n{table}\n\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
