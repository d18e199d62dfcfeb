"""The untrained detector repeat: thresholds from untouched scans, and what they find in campaigns.

Run from the project folder; a quarter of an hour each on two cores. `thresholds` fits what the detectors' files hold,
and judges each series by thresholds fitted without its patient and its scanner model. `table` measures them on
campaigns of `verict tamper campaign`, each figure beside brightness alone. Both can put their tables into a document.

    python benchmarks/physics_detectors.py thresholds ../shared/data/authentic --write docs/physics-detectors.md
    python benchmarks/physics_detectors.py table CAMPAIGN... --write docs/physics-detectors.md
    python benchmarks/physics_detectors.py speed
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from measuring import LONGEST_SERIES, keep_result, run_python

from verict.datasets.campaigns import CAMPAIGN_FILE, read_document
from verict.datasets.scans import Scan, read_authentic_scans, read_labelled_scans
from verict.datasets.splits import Scanner
from verict.detect import registry
from verict.detect.result import Verdict
from verict.documents import replace_part
from verict.evaluation.alarms import judge_case
from verict.evaluation.case import Case, Seen
from verict.evaluation.conclusions import find_figure
from verict.evaluation.fair import enter, examine_blind
from verict.evaluation.forgeries import METHOD, TOUCH_UP
from verict.evaluation.result import Measured, Tree
from verict.evaluation.run import evaluate_entrant
from verict.evaluation.subjects import make_subject
from verict.evaluation.thresholds import AuthenticMap, Goals, fit_thresholds
from verict.statistics import share_of_count

PHYSICS = ("repeat",)
GOALS = Goals(marks_per_slice=0.02, run_marks_per_series=0.1)
LEAST_SLICES = 10  # of a series that counts as a volume
ABSENT = "–"
SCAN = ["-c", "from verict.cli.main import app; app()", "scan"]


@dataclass(frozen=True, eq=False)
class Judged:
    """An untouched series as one detector scored it, and whose it is."""

    scanner: Scanner
    map: AuthenticMap
    case: Case


def score_untouched(folder: Path, names: Sequence[str], workers: int) -> dict[str, list[Judged]]:
    """Every untouched series scored by every detector."""
    found: dict[str, list[Judged]] = {name: [] for name in names}
    for scan in read_authentic_scans(folder, lambda *_: None):
        subject = make_subject(scan, 0)
        for name in names:
            score_map, _ = examine_blind(registry.create(name), scan.volume, scan.lungs, workers=workers)
            values = AuthenticMap(scan.folder, scan.patient, subject.geometry, score_map.values)
            found[name].append(Judged(scan.scanner, values, Case(subject, score_map, {}, Seen.UNTRAINED)))
    return found


def tabulate_untouched(name: str, judged: Sequence[Judged]) -> tuple[str, dict[str, float]]:
    """One row of the table, and the thresholds fitted on all series."""
    volumes = marks = slices = regions = suspicious = lone = lone_marks = 0
    for one in judged:
        others = [o.map for o in judged if o.map.patient != one.map.patient and not o.scanner.may_be(one.scanner)]
        case = Case(one.case.subject, one.case.score_map, fit_thresholds(others, GOALS), Seen.UNTRAINED)
        seen = judge_case(case, name)
        if case.subject.geometry.slice_count < LEAST_SLICES:
            lone, lone_marks = lone + len(seen.slice_marks), lone_marks + int(seen.slice_marks.sum())
            continue
        volumes, slices = volumes + 1, slices + len(seen.slice_marks)
        marks, regions = marks + int(seen.slice_marks.sum()), regions + seen.regions
        suspicious += seen.verdict is Verdict.SUSPICIOUS
    share = share_of_count(suspicious, volumes)
    singles = f"{lone_marks} on {lone}" if lone else ABSENT
    row = (f"| {name} | {marks / slices:.3f} ({marks} on {slices}) | {singles} | {regions} | "
           f"{suspicious} of {volumes} ({share.low:.2f} to {share.high:.2f}) |")
    return row, fit_thresholds([o.map for o in judged], GOALS)


def run_thresholds(options: argparse.Namespace) -> str:
    """The table of untouched series."""
    lines = ["| detector | false marks a slice, volumes | marks on single slices | regions in volumes | volumes called "
             "suspicious |", "|---|---|---|---|---|"]  # fmt: skip
    fitted: dict[str, dict[str, float]] = {}
    for name, judged in score_untouched(options.folders[0], options.detectors, options.workers).items():
        row, fitted[name] = tabulate_untouched(name, judged)
        lines.append(row)
    lines += ["", "Thresholds fitted on all of them:", "", "```json"]
    lines += [json.dumps({n: {k: round(v, 2) for k, v in t.items()} for n, t in fitted.items()}), "```"]
    return "\n".join(lines)


def run_table(options: argparse.Namespace) -> str:
    """What each detector finds in each campaign."""
    lines: list[str] = []
    kept: dict[str, object] = {}
    for folder in options.folders:
        document = read_document(folder / CAMPAIGN_FILE)
        config = document["config"]
        rows = ", ".join(f"{number} {kind}" for kind, number in document["counts"]["rows"].items())
        lines += ["", f"Campaign `{document['sha256'][:16]}`, seed {config['seed']}: {rows}.", ""]
        lines += ["| detector | forged by | FB: AUC (brightness) | FB marked | FM: AUC (brightness) | FM marked |",
                  "|---|---|---|---|---|---|"]  # fmt: skip
        for name in options.detectors:
            evaluation = evaluate_entrant(enter(name), _forged(folder), workers=options.workers, probe=False)
            rows_of = list(_rows(name, evaluation.figures, evaluation.strata))
            lines += rows_of
            kept[f"{document['sha256'][:16]} {name}"] = rows_of
    keep_result("physics_detectors", {"campaigns": len(options.folders), "detectors": list(options.detectors)}, kept)
    return "\n".join(lines)


def _forged(folder: Path) -> Iterator[Scan]:
    """The scans of a campaign that hold a forgery; their untouched rows and places are what it is compared with."""
    for scan in read_labelled_scans(folder, lambda *_: None):
        if any(label.kind.is_tampered for labels in scan.labels.values() for label in labels):
            yield scan


def _rows(name: str, figures: Tree, strata: Sequence[tuple[str, str, Tree]]) -> Iterator[str]:
    yield _row(name, "all", figures)
    for by in (TOUCH_UP, METHOD):
        of_kind = [(value, tree) for kind, value, tree in strata if kind == by]
        if len(of_kind) > 1:
            for value, tree in of_kind:
                yield _row(name, f"{by} {value}", tree)


def _row(name: str, words: str, tree: Mapping[str, object]) -> str:
    cells = []
    for kind, key in (("fb", "fb_parenchyma"), ("fm", "fm_dense")):
        area, bright = (find_figure(tree, *path, "auc", key) for path in ((), ("content_only",)))
        cells += [f"{_say(area)} ({ABSENT if bright is None else f'{bright.figure.value:.2f}'})" if area else ABSENT]
        cells += [_count(find_figure(tree, "frozen", kind))]
    return f"| {name} | {words} | {' | '.join(cells)} |"


def _say(measured: Measured) -> str:
    figure = measured.figure
    return f"{figure.value:.2f}" + ("" if figure.low is None else f" [{figure.low:.2f}, {figure.high:.2f}]")


def _count(measured: Measured | None) -> str:
    if measured is None or not measured.figure.n:
        return ABSENT
    n = measured.figure.n
    share = share_of_count(round(measured.figure.value * n), n)
    return f"{round(measured.figure.value * n)} of {n} [{share.low:.2f}, {share.high:.2f}]"


def run_speed(options: argparse.Namespace) -> str:
    """Seconds and memory of scanning the longest untouched series by each detector, reading and lungs included."""
    figures = {}
    for name in ("header", *options.detectors):
        how = ["-q", "--detector", name, "--workers", str(options.workers)]
        measured = run_python([*SCAN, str(LONGEST_SERIES), *how], accepted=(0, 10, 11))
        figures[name] = {"wall_s": round(measured.wall_s, 1), "cpu_s": round(measured.cpu_s, 1),
                         "peak_mib": round(measured.peak_mib)}  # fmt: skip
    keep_result("physics_speed", {"workers": options.workers}, figures)
    rows = (f"| {name} | {f['wall_s']} | {f['cpu_s']} | {f['peak_mib']} |" for name, f in figures.items())
    head = "| detector | seconds | CPU seconds | peak MiB |\n|---|---|---|---|\n"
    return head + "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one part and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("thresholds", "table", "speed"))
    parser.add_argument("folders", type=Path, nargs="*", help="untouched series, or campaigns")
    parser.add_argument("--detectors", nargs="+", default=PHYSICS, metavar="NAME", help="which (default repeat)")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help="put the table between its marks")
    parser.add_argument("--workers", type=int, default=2, help="threads (default 2)")
    options = parser.parse_args(arguments)
    if not options.folders and options.part != "speed":
        parser.error("name a folder")
    text = {"thresholds": run_thresholds, "table": run_table, "speed": run_speed}[options.part](options)
    print(text)
    if options.write:
        start, end = (f"<!-- {options.part}: {edge} -->" for edge in ("start", "end"))
        whole = options.write.read_text(encoding="utf-8")
        options.write.write_text(replace_part(whole, start, end, f"\n\n{text}\n\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
