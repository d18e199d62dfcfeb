"""`verict evaluate`: how good a detector is on labelled scans, and how far its figures can be believed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from verict.cli.terminal import FAILED, USAGE, exit_on_error, make_streams_forgiving, open_stdout, show_progress, tell
from verict.datasets.scans import Source
from verict.datasets.uci import UciCollection, read_collection
from verict.detect import registry
from verict.errors import DatasetError, InputError, OutputError, UsageError, say_count
from verict.evaluation import ledger as ledgers
from verict.evaluation.result import Evaluation
from verict.provenance import collect_provenance, sha256_of
from verict.report.evaluation_html import to_html
from verict.report.evaluation_json import MODEL, EvaluationReport, to_text
from verict.report.evaluation_rows import LEFT_OUT
from verict.report.evaluation_table import render_evaluation
from verict.report.output import check_output_file, write_text

ERRORS_SHOWN = 20
DEFAULT_DETECTOR = "fusion"
STDOUT = "-"


@dataclass(frozen=True)
class _Job:
    """What was asked for, checked."""

    labelled: Path
    authentic: Path | None
    detector: str
    weights: Path | None
    json: Path
    html: Path | None
    ledger: Path
    seed: int
    probe: bool
    workers: int | None

    @property
    def inputs(self) -> list[Path]:
        """What no output may replace."""
        return [self.labelled, *([self.authentic] if self.authentic else [])]


def evaluate(
    labelled: Annotated[
        Path,
        typer.Argument(metavar="DIR", show_default=False,
                       help="Labelled scans in the layout of UCI data set 520: the folder above 'Tampered Scans' or "
                            "'CT_Scans', or that folder."),
    ],
    *,
    json: Annotated[
        Path, typer.Option(metavar="FILE", show_default=False,
                           help="Write the evaluation as JSON, schema verict.evaluation/1."),
    ],
    detector: Annotated[
        str, typer.Option(metavar="NAME", help="Which detector; one that looks at pixels.")
    ] = DEFAULT_DETECTOR,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default=False,
                     help="Where its model and card lie, as `verict train` writes them; the shipped unless given."),
    ] = None,
    authentic: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default=False,
                     help="Series nobody is known to have touched, any folder tree: for false marks."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default=False, help="Write one self-contained HTML page.")
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False,
                     help=f"CSV that gets a line for each look at the published real fakes; "
                          f"{ledgers.DEFAULT_NAME} beside the JSON unless given."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Which untouched places are drawn, and the bootstrap.")
    ] = 0,
    probes: Annotated[
        bool, typer.Option("--probes/--no-probes", help="Judge the same scans in other guises too; takes longer.")
    ] = True,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", show_default=False, help="How much runs at once.")
    ] = None,
) -> None:
    """Measure a detector on labelled scans, and say how far the figures can be believed.

    The summary goes to standard output, errors and progress to standard error.

    Figures on the published real fakes add a line to the ledger; no option leaves it out.

    Exit codes:
    0 evaluated, whatever the figures and conclusions are;
    1 some input could not be read or some label row has no slice (the rest is evaluated), or nothing could be;
    2 wrong usage, or an output or the ledger cannot be written;
    130 interrupted.
    """
    make_streams_forgiving()
    with exit_on_error("evaluate", interrupted="interrupted; no output file was written or changed"):
        _check_detector(detector)
        ledger = ledger or json.parent / ledgers.DEFAULT_NAME
        job = _Job(labelled, authentic, detector, weights, json, html, ledger, seed, probes, workers)
        try:
            raise typer.Exit(_run(job, _check_job(job)))
        except OSError as error:
            raise InputError(error.strerror or "cannot be read", file=error.filename) from error


def _check_detector(name: str) -> None:
    """Refuse a detector that is not known or has no map to measure."""
    registry.check_name(name)
    detector = registry.create(name)
    if not detector.marks_tampering:
        fit = [known for known in registry.names() if registry.create(known).marks_tampering]
        what = "headers, not at pixels" if detector.needs.headers else "what a scan shows, not at whether to believe it"
        raise UsageError(
            f"the detector {name!r} looks at {what}: it marks no tampered places to measure",
            next_step=f"choose {' or '.join(fit)}",
        )


def _check_job(job: _Job) -> UciCollection:
    """Everything that can be known to be wrong before the long work; gives the labelled collection."""
    if job.weights is not None and not job.weights.is_dir():
        raise UsageError("no such folder", file=job.weights, next_step="name the folder verict train wrote to")
    if job.authentic is not None and not job.authentic.is_dir():
        raise UsageError("no such folder", file=job.authentic, next_step="name the folder of untouched series")
    collection = read_collection(job.labelled)
    if not any(row.is_placed for row in collection.rows):
        raise DatasetError(
            "the label tables name no place", file=job.labelled, found=say_count(len(collection.rows), "row"),
            expected="FB or FM rows with slice, x and y", next_step="verict data check tells more",
        )  # fmt: skip
    _refuse_overlap(job, collection)
    outputs = {"--json": job.json, "--html": job.html, "--ledger": job.ledger}
    taken: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        if str(path) == STDOUT:
            raise UsageError(f"{option} needs a file", next_step="the summary goes to standard output")
        check_output_file(path, job.inputs)
        if any(folder.resolve() in path.resolve().parents for folder in job.inputs):
            raise OutputError(
                "the output lies in a folder that is evaluated", file=path, next_step="name a file elsewhere"
            )
        first = taken.setdefault(path.resolve(), option)
        if first != option:
            raise UsageError(f"{first} and {option} name the same file", file=path)
    ledgers.check_ledger(job.ledger)
    return collection


def _refuse_overlap(job: _Job, collection: UciCollection) -> None:
    """Forged scans must not pass for untouched ones."""
    if job.authentic is None:
        return
    labelled = {scan.folder.resolve() for scan in collection.scans.values()}
    above = {parent for folder in labelled for parent in folder.parents}
    for place in _follow_links(job.authentic.resolve()):
        if place in labelled or place in above or not labelled.isdisjoint(place.parents):
            raise UsageError(
                "--authentic holds labelled scans, or lies in one", file=job.authentic,
                next_step="name a folder that holds untouched series only, and no link to others",
            )


def _follow_links(folder: Path) -> Iterator[Path]:
    """A folder, and what the links in it and in what they lead to point at, each once."""
    pending, seen = [folder], set()
    while pending:
        place = pending.pop()
        if place in seen:
            continue
        seen.add(place)
        yield place
        for here, folders, files in os.walk(place):
            names = (Path(here, name) for name in (*folders, *files))
            pending += [Path(os.path.realpath(name)) for name in names if name.is_symlink()]  # raises at no circle


def _run(job: _Job, collection: UciCollection) -> int:
    """Evaluate, record the look, write and print; whatever cannot be written keeps nothing else from being."""
    failures: list[InputError] = []
    try:
        evaluation = _measure(job, failures)
    except UsageError as error:
        if not failures:
            raise
        raise InputError("no scan is left to evaluate", file=job.labelled) from error
    finally:
        _tell_failures(failures)
    provenance = _collect_provenance(job, collection, evaluation)
    report = EvaluationReport(evaluation, provenance, tuple(failures), _count_left_out(collection, evaluation))
    if report.labels_left_out:
        rows = say_count(report.labels_left_out, "label row")
        tell("evaluate", f"{rows} left out, {LEFT_OUT}; the others are evaluated; verict data check names them")
    report, unwritten = _record(job, report)
    unwritten += _try_to_write(job.json, to_text, report)
    if job.html is not None:
        unwritten += _try_to_write(job.html, to_html, report)
    console = open_stdout()
    console.print(render_evaluation(report, console.width))
    if unwritten:
        return USAGE
    return FAILED if report.failures or report.labels_left_out else 0


def _measure(job: _Job, failures: list[InputError]) -> Evaluation:
    from verict.detect.model import WEIGHTS
    from verict.evaluation.run import evaluate_detector  # brings in onnxruntime, which --help can do without

    with show_progress() if sys.stderr.isatty() else nullcontext(_show_nothing) as progress:
        return evaluate_detector(
            job.labelled, job.authentic, job.detector,
            weights=job.weights or WEIGHTS, seed=job.seed, workers=job.workers, probe=job.probe,
            progress=progress, failures=failures,
        )  # fmt: skip


def _show_nothing(stage: str, done: int, total: int) -> None:
    """Progress where standard error is no terminal."""


def _record(job: _Job, report: EvaluationReport) -> tuple[EvaluationReport, int]:
    """The report with whether its look at the real fakes was recorded, and 1 where that failed."""
    count = say_count(report.evaluation.data[ledgers.REAL_FAKES], "published fake")
    sha256 = report.model["sha256"] if report.model else ""  # nothing was fitted
    what = f"evaluate {job.detector}: {count}, seed {job.seed}"
    try:
        added = ledgers.append(job.ledger, report.evaluation, weights_sha256=sha256, what=what)
    except OutputError as error:
        tell("evaluate", error.one_line())
        return replace(report, recorded=False), 1
    return replace(report, recorded=True if added else None), 0


def _try_to_write(path: Path, render: Callable[[EvaluationReport], str], report: EvaluationReport) -> int:
    """Write one output; 1 where that failed, which has then been told."""
    try:
        write_text(path, render(report))
    except OutputError as error:
        tell("evaluate", error.one_line())
        return 1
    return 0


def _collect_provenance(job: _Job, collection: UciCollection, evaluation: Evaluation) -> dict:
    """Without any path: folders can be named after patients."""
    options = {
        "detector": job.detector,
        "seed": job.seed,
        "probes": job.probe,
        "workers": job.workers,
        "authentic": job.authentic is not None,
        "own_weights": job.weights is not None,
        "label_tables_sha256": {file.name.lower(): sha256_of(file) for file in collection.label_files.values()},
    }
    model = evaluation.data.get(MODEL)
    return collect_provenance(options, models={job.detector: model} if model else {})


def _count_left_out(collection: UciCollection, evaluation: Evaluation) -> int:
    """Label rows with a place that were not evaluated, of the experiments that are on disk."""
    placed = [r for r in collection.rows if r.is_placed and r.experiment in collection.experiments_on_disk]
    evaluated = evaluation.data[Source.LABELLED]["labels"]
    return max(len(placed) - sum(evaluated.values()), 0)


def _tell_failures(failures: list[InputError]) -> None:
    """Each input that could not be read on a line of its own; a long list is cut and says so."""
    for failure in failures[:ERRORS_SHOWN]:
        tell("evaluate", failure.one_line())
    hidden = len(failures) - ERRORS_SHOWN
    if hidden > 0:
        tell("evaluate", f"and {hidden} more inputs could not be read")
