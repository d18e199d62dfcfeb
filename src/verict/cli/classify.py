"""`verict classify`: which of TB, FB, TM and FM each labelled site of a collection is."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from verict.cli.terminal import FAILED, exit_on_error, make_streams_forgiving, open_stdout, show_progress, tell
from verict.datasets.uci import read_collection
from verict.errors import DatasetError, InputError, OutputError, UsageError, say_count
from verict.evaluation import ledger as ledgers
from verict.evaluation.published_fakes import PUBLISHED_FAKES
from verict.provenance import collect_provenance
from verict.report.output import check_output_file, write_text

if TYPE_CHECKING:
    from verict.evaluation.classes import Site

ERRORS_SHOWN = 20


@dataclass(frozen=True)
class _Job:
    """What was asked for."""

    labelled: Path
    json: Path
    csv: Path | None
    weights: Path | None
    ledger: Path
    seed: int
    workers: int | None


def classify(
    labelled: Annotated[
        Path,
        typer.Argument(metavar="DIR", show_default=False,
                       help="Labelled scans in the layout of UCI data set 520: the folder above 'Tampered Scans' or "
                            "'CT_Scans', or that folder."),
    ],
    *,
    json: Annotated[
        Path, typer.Option(metavar="FILE", show_default=False, help="Write sites and figures, schema verict.classes/1.")
    ],
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default=False, help="Write one row a site as CSV.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default=False, help="Where the models lie; the shipped unless "
                                                                          "given.")
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False,
                     help=f"CSV that gets a line for each look at the published real fakes; {ledgers.DEFAULT_NAME} "
                          "beside the JSON unless given."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of places chosen for rows that name none.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", show_default=False, help="How much runs at once.")
    ] = None,
) -> None:
    """Give each labelled site its probabilities of the four classes, and measure them by the labels.

    TB true-benign, FB false-benign (a cancer was removed), TM true-malicious, FM false-malicious (a cancer was
    injected). Rows that name no place are given one inside the lungs. The table goes to standard output, errors and
    progress to standard error.

    Figures on the published real fakes add a line to the ledger; no option leaves it out.

    Exit codes:
    0 classified, whatever the figures are;
    1 some input could not be read or some label row has no slice (the rest is classified), or nothing could be;
    2 wrong usage, or an output or the ledger cannot be written;
    130 interrupted.
    """
    make_streams_forgiving()
    with exit_on_error("classify", interrupted="interrupted; no output file was written or changed"):
        job = _Job(labelled, json, csv, weights, ledger or json.parent / ledgers.DEFAULT_NAME, seed, workers)
        _check(job)
        raise typer.Exit(_run(job))


def _check(job: _Job) -> None:
    """Everything that can be known to be wrong before the long work."""
    if not job.labelled.is_dir():
        raise UsageError("no such folder", file=job.labelled, next_step="name a folder in the UCI layout")
    named = [path for path in (job.json, job.csv, job.ledger) if path is not None]
    for path in named:
        check_output_file(path, [job.labelled])
        if job.labelled.resolve() in path.resolve().parents:
            raise OutputError("the output lies in the folder that is classified", file=path,
                              next_step="name a file elsewhere")  # fmt: skip
    if len({path.resolve() for path in named}) < len(named):
        raise UsageError("two outputs name the same file", found=", ".join(map(str, named)))
    ledgers.check_ledger(job.ledger)


def _run(job: _Job) -> int:
    from verict.detect.four_classes import load_classes
    from verict.detect.model import WEIGHTS
    from verict.evaluation.classes import classify_collection, measure_sites
    from verict.report.classes import render, to_csv, to_text

    folder = job.weights or WEIGHTS
    failures: list[InputError] = []
    with show_progress() if sys.stderr.isatty() else nullcontext(lambda *_: None) as progress:
        sites = classify_collection(
            job.labelled, weights=folder, seed=job.seed, workers=job.workers, progress=progress, failures=failures
        )
    _tell_failures(failures)
    if not sites:
        raise DatasetError("no site could be classified", file=job.labelled, next_step="verict data check tells more")
    missing = _count_missing(job.labelled, len(sites))
    figures = measure_sites(sites, seed=job.seed)
    card = load_classes(folder).card
    options = {"seed": job.seed, "workers": job.workers, "own_weights": job.weights is not None}
    provenance = collect_provenance(options, models={"four-classes": {"id": card["id"], **card["members"]}})
    _record(job.ledger, sites, figures, card["members"]["fusion"])
    write_text(job.json, to_text(sites, figures, provenance))
    if job.csv is not None:
        write_text(job.csv, to_csv(sites))
    open_stdout().print(render(sites, figures))
    return FAILED if failures or missing else 0


def _tell_failures(failures: list[InputError]) -> None:
    for failure in failures[:ERRORS_SHOWN]:
        tell("classify", failure.one_line())
    if len(failures) > ERRORS_SHOWN:
        tell("classify", f"and {len(failures) - ERRORS_SHOWN} more inputs could not be read")


def _count_missing(labelled: Path, classified: int) -> int:
    """Label rows of the experiments on disk that were not classified; they are told."""
    collection = read_collection(labelled)
    wanted = sum(row.experiment in collection.experiments_on_disk for row in collection.rows)
    missing = max(wanted - classified, 0)
    if missing:
        tell("classify", f"{say_count(missing, 'label row')} left out: no such slice, or no place in the lungs; the "
                         "others are classified; verict data check names them")  # fmt: skip
    return missing


def _record(ledger: Path, sites: Sequence[Site], figures: Mapping[str, Any], weights_sha256: str) -> None:
    """A line in the ledger where published real fakes were among the sites."""
    fakes = sum(s.kind.is_tampered and (s.slice_number, s.x, s.y) in PUBLISHED_FAKES for s in sites)
    if fakes:
        score = figures["four_classes"]["macro_f1"]["value"]
        what = f"classify: {say_count(fakes, 'published fake')}, macro-F1 {score}"
        ledgers.append_figures(ledger, {}, weights_sha256=weights_sha256, what=what)
