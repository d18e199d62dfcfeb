"""What a detector says of untouched series after benign processing, and of forged ones processed afterwards.

Run from the project folder:

    python benchmarks/benign_processing.py --detector spectrum --write docs/benign-processing.md

Each contiguous authentic series is processed as a whole (`verict.evaluation.benign`), strength by strength, lungs are
found anew, and the detector's model that saw neither its patient nor its scanner judges it with its own thresholds.
Which model that is is told by the scan as it was: its pixels are no longer known afterwards. Every verdict is given
twice, by the marks alone and with the fitness of the series (`verict.detect.fitness`); the shipped limits of fitness
were fitted on these series too, as they are, not as they are processed.

Then one place of each series is forged (CT-GAN's networks, noise zoomed, once each kind), and the forged series is
processed likewise.

With ``--rows`` they are kept as they are made, and a run that was cut short goes on from there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from benign_figure import draw_curves
from measuring import SHARED, keep_result

from verict.ct.lungs import find_lungs
from verict.ct.volume import CTVolume
from verict.datasets.scans import Scan, read_authentic_scans
from verict.detect.fitness import examine_fitness
from verict.detect.result import Verdict
from verict.detect.verdict import assess
from verict.documents import renew_files, replace_part
from verict.errors import InputError
from verict.evaluation.benign import PROCESSINGS, process
from verict.evaluation.fair import Entrant, choose_model, enter, examine_blind
from verict.evaluation.probes import take_slices
from verict.evaluation.thresholds import count_marks
from verict.statistics import share_of_count
from verict.tamper import families, touch_ups
from verict.tamper.forgery import ForgeryKind, forge
from verict.tamper.sites import find_injection_sites
from verict.tamper.target import aim

LEFT_OUT = "tcga-singles"  # single slices: nothing to join, nothing to reslice
SEED = 7
FORGED_THEN = (("clean", 0), ("jpeg2000", 10), ("jpeg", 10), ("smooth", 50))
TOUCH_UP = "zoomed"
REACH_MM = 24.0  # in the plane, from where a forgery was made to a region that finds it
SIGNS = {Verdict.NO_EVIDENCE: "–", Verdict.INDETERMINATE: "?", Verdict.SUSPICIOUS: "**S**"}
MEASURES = ("mm", "%", "degrees")  # units that are told beside a strength
FIGURE = "images/benign-processing.svg"


@dataclass(frozen=True)
class Row:
    """One series, processed and judged.

    ``forged`` is the kind of forgery, "" for none. ``by_marks`` is the verdict without fitness; ``above`` the highest
    averaged score less the threshold that is decisive in runs; ``marks`` false marks a slice that was scored; ``found``
    whether a region lies at the forged place.
    """

    series: str
    seen: str
    forged: str
    processing: str
    strength: float
    verdict: str
    by_marks: str
    above: float | None
    marks: float
    regions: int
    misfits: tuple[str, ...]
    found: bool | None = None

    @property
    def key(self) -> tuple[str, str, str, float]:
        """What was judged."""
        return self.series, self.forged, self.processing, self.strength


def choose_section(scan: Scan, most: int) -> CTVolume:
    """At most so many neighbouring slices from the middle of those with lung."""
    lit = np.flatnonzero(scan.lungs.found)
    middle, count = int(lit[len(lit) // 2]), min(most, scan.volume.slice_count)
    first = min(max(0, middle - count // 2), scan.volume.slice_count - count)
    return take_slices(scan.volume, np.arange(first, first + count))


def judge(volume: CTVolume, scan: Scan, entrant: Entrant, place_mm: np.ndarray | None) -> dict[str, object]:
    """All of a `Row` but its key."""
    model, seen = choose_model(entrant, scan)
    lungs = find_lungs(volume)
    score_map, evidence = examine_blind(entrant.make(model), volume, lungs, workers=1)
    fitness = examine_fitness(volume, lungs)
    nameless = ("",) * volume.slice_count
    outcome = assess(volume, (evidence,), nameless, fitness.reasons)
    calibration = model.calibration if model else evidence.card["calibration"]
    scored = [s for s in score_map.values if np.isfinite(s).any()]
    marks = [count_marks(s, calibration["mark_threshold"]) for s in scored]
    found = None
    if place_mm is not None:
        away = [np.array(r.centre_mm_lps) - place_mm for r in outcome.regions]
        found = any(np.linalg.norm(a - (a @ volume.normal) * volume.normal) <= REACH_MM for a in away)
    return {
        "seen": str(seen),
        "verdict": str(outcome.verdict),
        "by_marks": str(assess(volume, (evidence,), nameless).verdict),
        "above": None if outcome.score is None else outcome.score - calibration["run_decisive_threshold"],
        "marks": float(np.mean(marks)) if marks else 0.0,
        "regions": len(outcome.regions),
        "misfits": fitness.reasons,
        "found": found,
    }


def judge_series(scan: Scan, entrant: Entrant, most: int, done: dict[tuple, Row]) -> Iterator[Row]:
    """Every row of one series that is not done yet."""
    section = choose_section(scan, most)
    steps = [("clean", 0.0), *((p.name, float(s)) for p in PROCESSINGS for s in p.strengths)]
    clean: dict[str, object] | None = None
    for name, strength in steps:
        key = (scan.folder, "", name, strength)
        if key in done:
            continue
        processed = apply(section, name, strength)
        if processed is None:
            continue
        same = np.array_equal(processed.hu, section.hu)
        if same and clean is None:
            clean = judge(processed, scan, entrant, None)
        outcome = clean if same and clean is not None else judge(processed, scan, entrant, None)
        yield Row(scan.folder, forged="", processing=name, strength=strength, **outcome)
    for kind in ForgeryKind:
        wanted = [(n, float(s)) for n, s in FORGED_THEN if (scan.folder, str(kind), n, float(s)) not in done]
        forged = forge_section(section, kind) if wanted else None
        if forged is None:
            continue
        volume, place_mm = forged
        for name, strength in wanted:
            processed = apply(volume, name, strength)
            if processed is not None:
                outcome = judge(processed, scan, entrant, place_mm)
                yield Row(scan.folder, forged=str(kind), processing=name, strength=strength, **outcome)


def apply(volume: CTVolume, name: str, strength: float) -> CTVolume | None:
    """The volume processed; None where it cannot be, as slices that are thick already."""
    try:
        return process(volume, name, strength) if strength else volume.without_headers()
    except InputError:
        return None


def forge_section(section: CTVolume, kind: ForgeryKind) -> tuple[CTVolume, np.ndarray] | None:
    """A section with one place forged, and where that is in the patient; None where no place can be."""
    lungs = find_lungs(section)
    for site in find_injection_sites(section, lungs, 3, np.random.default_rng(SEED)):
        try:
            target = aim(section, lungs, site.centre, kind, diameter_mm=14.0)
            forgery = forge(target, families.create("ctgan"), touch_ups.create(TOUCH_UP), seed=SEED)
        except InputError:
            continue
        return replace(section, hu=forgery.hu), np.array(section.to_patient_mm(*site.centre))
    return None


def read_rows(file: Path) -> dict[tuple, Row]:
    """Rows made before, by what was judged."""
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    rows = [Row(**{**json.loads(line), "misfits": tuple(json.loads(line)["misfits"])}) for line in lines]
    return {row.key: row for row in rows}


def tabulate_untouched(rows: Sequence[Row]) -> str:
    """Markdown: a line for each processing and strength, a column for each series."""
    own = [r for r in rows if not r.forged]
    series = sorted({r.series for r in own})
    lines = [
        "| processing | " + " | ".join(series) + " | suspicious | the same by marks alone | indeterminate | "
        "highest score above decisive, median | marked regions a series | false marks a slice |",
        "|---|" + "---|" * (len(series) + 6),
    ]
    for name, strength in dict.fromkeys((r.processing, r.strength) for r in own):
        here = {r.series: r for r in own if (r.processing, r.strength) == (name, strength)}
        cells = [_sign(here[s]) if s in here else "" for s in series]
        every = list(here.values())
        above = [r.above for r in every if r.above is not None]
        lines.append(
            f"| {say_step(name, strength)} | {' | '.join(cells)} | {_count(every, 'verdict', Verdict.SUSPICIOUS)} "
            f"| {_count(every, 'by_marks', Verdict.SUSPICIOUS)} | {_count(every, 'verdict', Verdict.INDETERMINATE)} "
            f"| {np.median(above):+.1f} | {np.mean([r.regions for r in every]):.1f} "
            f"| {np.mean([r.marks for r in every]):.2f} |"
        )
    return "\n".join(lines)


def tabulate_forged(rows: Sequence[Row]) -> str:
    """Markdown: what became of forged series, by kind and processing, with 95 % intervals by Clopper and Pearson."""
    own = [r for r in rows if r.forged]
    lines = ["| forged, then | n | suspicious | indeterminate | no evidence | not no evidence, 95 % interval "
             "| a region at the place |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    for kind, name, strength in dict.fromkeys((r.forged, r.processing, r.strength) for r in own):
        here = [r for r in own if (r.forged, r.processing, r.strength) == (kind, name, strength)]
        order = (Verdict.SUSPICIOUS, Verdict.INDETERMINATE, Verdict.NO_EVIDENCE)
        counts = [sum(r.verdict == v for r in here) for v in order]
        share = share_of_count(sum(counts[:2]), len(here))
        lines.append(
            f"| {kind}, {say_step(name, strength)} | {len(here)} | {' | '.join(map(str, counts))} "
            f"| {share.value:.2f} ({share.low:.2f} to {share.high:.2f}) | {sum(bool(r.found) for r in here)} |"
        )
    return "\n".join(lines)


def summarise(rows: Sequence[Row]) -> dict[str, str]:
    """What is kept of a run: by processing, each series with its verdict, score above decisive and marks a slice."""
    kept: dict[str, list[str]] = {}
    for r in rows:
        above = "none" if r.above is None else f"{r.above:+.2f}"
        name = f"{r.forged}, then {r.processing} {r.strength:g}" if r.forged else f"{r.processing} {r.strength:g}"
        doubt = " unfit" if r.misfits else ""
        kept.setdefault(name, []).append(f"{r.series} {r.verdict}{doubt} {above} {r.marks:.2f}")
    return {name: "; ".join(found) for name, found in kept.items()}


def say_step(name: str, strength: float) -> str:
    """A processing and its strength in words."""
    if not strength:
        return "clean"
    unit = next(p.unit for p in PROCESSINGS if p.name == name)
    return f"{name} {strength:g}" + (f" {unit}" if unit in MEASURES else "")


def _sign(row: Row) -> str:
    doubted = "°" if row.misfits else ""
    return SIGNS[Verdict(row.verdict)] + doubted


def _count(rows: Sequence[Row], field: str, verdict: Verdict) -> str:
    called = sum(getattr(r, field) == verdict for r in rows)
    return f"{called} of {len(rows)}"


def main() -> None:
    """Parse, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="spectrum")
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "authentic")
    parser.add_argument("--slices", type=int, default=120, help="contiguous slices of each series, at most")
    parser.add_argument("--rows", type=Path, help="JSON lines of this detector and length, read and added to")
    parser.add_argument("--write", type=Path, help="document whose part for this detector is renewed")
    options = parser.parse_args()
    entrant = enter(options.detector)
    done = read_rows(options.rows) if options.rows else {}
    for scan in read_authentic_scans(options.data, lambda *_: None):
        if scan.folder == LEFT_OUT:
            continue
        for row in judge_series(scan, entrant, options.slices, done):
            done[row.key] = row
            if options.rows:
                with options.rows.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
            print(row, flush=True)
    rows = list(done.values())
    body = (
        f"\n\nDetector `{options.detector}`, at most {options.slices} neighbouring slices of a series; "
        f"models: {', '.join(sorted({r.seen for r in rows}))}.\n\n{tabulate_untouched(rows)}\n\n"
        f"![curves]({FIGURE})\n\n{tabulate_forged(rows)}\n\n"
    )
    print(body)
    keep_result(f"benign_processing_{options.detector}", {"slices": options.slices}, summarise(rows))
    if options.write:
        start, end = (f"<!-- {options.detector}: {edge} -->" for edge in ("start", "end"))
        renew_files([str(options.write)], lambda text: replace_part(text, start, end, body))
        draw_curves(rows, options.write.parent / FIGURE)


if __name__ == "__main__":
    main()
