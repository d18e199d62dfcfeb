"""The untrained detector repeat: thresholds from untouched scans, and what they find in campaigns.

Run from the project folder; a few minutes each. `thresholds` fits what the detectors' files hold, and judges each
series by thresholds fitted without its patient and its scanner model; `--keep` saves every series' highest scores, and
what is saved there is not scored again. `table` measures them on campaigns of `verict tamper campaign`, each figure
beside brightness alone. Both can put their tables into a document.

    python benchmarks/physics_detectors.py thresholds ../shared/data/authentic --write docs/physics-detectors.md
    python benchmarks/physics_detectors.py table CAMPAIGN... --write docs/physics-detectors.md
    python benchmarks/physics_detectors.py speed
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from measuring import LONGEST_SERIES, keep_result, run_python

from verict.datasets.campaigns import CAMPAIGN_FILE, read_document
from verict.datasets.scans import Scan, read_authentic_scans, read_labelled_scans
from verict.datasets.splits import Scanner
from verict.detect import registry
from verict.detect.verdict import MIN_RUN_SLICES, average_along_z, averaged_slices
from verict.documents import replace_part
from verict.evaluation.conclusions import find_figure
from verict.evaluation.fair import enter, examine_blind
from verict.evaluation.forgeries import METHOD, TOUCH_UP
from verict.evaluation.result import Measured, Tree
from verict.evaluation.run import evaluate_entrant
from verict.statistics import share_of_count

PHYSICS = ("repeat",)
MARGIN, DECISIVE = 0.5, 1.0  # standard deviations above the highest untouched score
ABSENT = "–"
SCAN = ["-c", "from verict.cli.main import app; app()", "scan"]


@dataclass(frozen=True)
class Peaks:
    """The highest scores of an untouched series, and whose it is.

    ``slices`` and ``lone`` are those of each slice that has neighbours and of each that has none, ``along`` those of
    each slice of the map averaged along z. Slices without lungs are left out.
    """

    name: str
    patient: str
    scanner: tuple[str, str]
    slices: list[float]
    lone: list[float]
    along: list[float]

    def may_share(self, other: Peaks) -> bool:
        """Whether patient or scanner model can be the same."""
        return self.patient == other.patient or Scanner(*self.scanner).may_be(Scanner(*other.scanner))


def score_untouched(folders: Sequence[Path], name: str, workers: int, kept: Path | None) -> list[Peaks]:
    """Every untouched series scored, but for those that are saved."""
    saved = json.loads(kept.read_text("utf-8")) if kept and kept.exists() else {}
    found = {key: Peaks(**values) for key, values in saved.get(name, {}).items()}
    for folder in folders:
        if any(key.split("|")[0] == str(folder) for key in found) and saved.get("whole", {}).get(str(folder)):
            continue
        for number, scan in enumerate(read_authentic_scans(folder, lambda *_: None)):
            key = f"{folder}|{number}"
            if key not in found:
                found[key] = _score(scan, name, workers)
                if kept:
                    saved[name] = {k: asdict(v) for k, v in found.items()}
                    kept.write_text(json.dumps(saved), "utf-8")
        if kept:
            saved.setdefault("whole", {})[str(folder)] = True
            kept.write_text(json.dumps(saved), "utf-8")
    return list(found.values())


def _score(scan: Scan, name: str, workers: int) -> Peaks:
    values = examine_blind(registry.create(name), scan.volume, scan.lungs, workers=workers)[0].values
    averaged = average_along_z(values, scan.volume)
    slices, lone, along = [], [], []
    for run in scan.volume.runs:
        in_depth = averaged_slices(scan.volume, run) >= MIN_RUN_SLICES
        (slices if in_depth else lone).extend(_highest(values[run]))
        along += _highest(averaged[run]) if in_depth else []
    return Peaks(scan.folder, scan.patient, (scan.scanner.manufacturer, scan.scanner.model), slices, lone, along)


def _highest(values: np.ndarray) -> list[float]:
    return [round(float(np.nanmax(part)), 3) for part in values if np.isfinite(part).any()]


def fit_above(peaks: Sequence[Peaks]) -> dict[str, float]:
    """The four thresholds: `MARGIN` above the highest untouched score marks, `DECISIVE` above it decides.

    A map that is 0 nearly everywhere has too few untouched marks for a rate to be fitted.
    """
    mark = max(v for p in peaks for v in (*p.slices, *p.lone))
    run_mark = max((v for p in peaks for v in p.along), default=mark)
    return {"mark_threshold": mark + MARGIN, "decisive_threshold": mark + DECISIVE,
            "run_mark_threshold": run_mark + MARGIN, "run_decisive_threshold": run_mark + DECISIVE}  # fmt: skip


def tabulate_untouched(peaks: Sequence[Peaks]) -> Iterator[str]:
    """A row for each series of neighbouring slices, and one of all, by thresholds of the others."""
    counts = np.zeros(6, int)
    for one in peaks:
        limits = fit_above([other for other in peaks if not other.may_share(one)])
        marked = sum(v >= limits["mark_threshold"] for v in one.slices)
        lone = sum(v >= limits["mark_threshold"] for v in one.lone)
        highest = max(one.along, default=0.0)
        decisive = int(highest >= limits["run_decisive_threshold"])
        counts += [marked, len(one.slices), lone, len(one.lone), decisive, len(one.along) > 0]
        if one.along:
            yield (f"| {one.name} | {max(one.slices):.1f} | {highest:.1f} | {limits['mark_threshold']:.1f} | "
                   f"{limits['run_mark_threshold']:.1f} | {marked} of {len(one.slices)} |")  # fmt: skip
    shares = [share_of_count(int(counts[i]), int(counts[i + 1])) if counts[i + 1] else None for i in (0, 2, 4)]
    words = [ABSENT if s is None else f"{counts[i]} of {counts[i + 1]} ({s.low:.3f} to {s.high:.3f})"
             for i, s in zip((0, 2, 4), shares, strict=True)]  # fmt: skip
    yield ""
    yield f"Slices of volumes with a false mark: {words[0]}, lone slices: {words[1]}, suspicious volumes: {words[2]}."


def run_thresholds(options: argparse.Namespace) -> str:
    """The table of untouched series."""
    lines = []
    for name in options.detectors:
        peaks = score_untouched(options.folders, name, options.workers, options.keep)
        lines += [f"| untouched, {name} | highest on a slice | along z | mark of the others | along z | marked |",
                  "|---|---|---|---|---|---|", *tabulate_untouched(peaks)]  # fmt: skip
        fitted = {key: round(value, 2) for key, value in fit_above(peaks).items()}
        lines += ["", "Thresholds by all of them:", "", "```json", json.dumps(fitted), "```"]
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
    parser.add_argument("--keep", type=Path, metavar="FILE", help="save the highest scores of untouched series there")
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
