"""`verict bench`: the experiments of published work on a labelled collection, leaky and clean."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from verict.cli.terminal import FAILED, exit_on_error, make_streams_forgiving, open_stdout, show_progress, tell
from verict.errors import InputError, UsageError, say_count
from verict.evaluation import ledger as ledgers
from verict.report.output import make_output_folder, write_text

if TYPE_CHECKING:
    from verict.benchmarks.run import Bench, Plan

ERRORS_SHOWN = 20

app = typer.Typer(help="Published experiments and verict's detectors, leaky and clean.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Run the experiments of published work as their authors seem to have run them, and as they should be."""


Data = Annotated[
    Path, typer.Option("--data", metavar="DIR", show_default=False,
                       help="Labelled scans in the layout of UCI data set 520, published or a campaign of the lab.")
]
Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", show_default=False,
                       help="Gets cuts, finished folds and results. The same command again goes on where it stopped.")
]
ProtocolName = Annotated[str, typer.Option("--protocol", metavar="NAME", help="leaky, clean or both.")]
Models = Annotated[
    list[str] | None, typer.Option("--models", metavar="NAMES", show_default=False,
                                   help="Some models only, by name, with commas or given again; all by default.")
]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu or cuda.")]
Seed = Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of folds, chosen sites and weights.")]
Folds = Annotated[int, typer.Option("--folds", min=2, metavar="N", help="How many folds.")]
Repeats = Annotated[int, typer.Option("--repeats", min=1, metavar="N", help="How often all is dealt anew.")]
Copies = Annotated[int, typer.Option("--copies", metavar="N", help="Turned copies of each row learnt from, 0 to 7.")]
Epochs = Annotated[int, typer.Option("--epochs", min=1, metavar="N", help="Passes of a network over its rows.")]
LedgerFile = Annotated[
    Path | None, typer.Option("--ledger", metavar="FILE", show_default=False,
                              help=f"CSV that gets a line for each look at the published real fakes; "
                                   f"OUT/{ledgers.DEFAULT_NAME} unless given.")
]


@app.command("comparative")
def comparative(
    *,
    data: Data,
    out: Out,
    protocol: ProtocolName = "both",
    models: Models = None,
    device: Device = "auto",
    imagenet: Annotated[
        Path | None, typer.Option(metavar="PATH", show_default=False,
                                  help="File or folder of torchvision's ImageNet weights, checked by SHA-256.")
    ] = None,
    init: Annotated[
        str | None, typer.Option(metavar="NAME", show_default=False,
                                 help="random: start the published networks from random weights instead.")
    ] = None,
    window_px: Annotated[int, typer.Option(metavar="N", help="Side of the windows, 32 to 64 pixels.")] = 64,
    folds: Folds = 5,
    repeats: Repeats = 2,
    copies: Copies = 3,
    epochs: Epochs = 20,
    seed: Seed = 0,
    ledger: LedgerFile = None,
) -> None:
    """Classifiers and networks of a comparative study (arXiv 2109.12800): frozen, then fine-tuned.

    Exit codes: 0 finished, whatever the figures are; 1 some input could not be read or some row could not be cut (the
    rest is used), or nothing could be, or the extra is not installed, or a graphics card is full; 2 wrong usage, or an
    output cannot be written; 130 interrupted: finished folds stay.
    """
    with _session():
        from verict.benchmarks.fit import Tuning

        tuning = Tuning(epochs=epochs, window_px=window_px, imagenet=imagenet, device=device)
        plan = replace(_plan("comparative", data, out), protocol=protocol, models=_split(models), folds=folds,
                       repeats=repeats, copies=copies, seed=seed, init=init, tuning=tuning)  # fmt: skip
        raise typer.Exit(_run(plan, ledger))


@app.command("student")
def student(
    *,
    data: Data,
    out: Out,
    protocol: ProtocolName = "both",
    models: Models = None,
    device: Device = "auto",
    folds: Folds = 5,
    repeats: Repeats = 2,
    copies: Copies = 3,
    epochs: Epochs = 20,
    seed: Seed = 0,
    ledger: LedgerFile = None,
) -> None:
    """Cuboids of 32 mm and the label table (jtn50/lungdeepfake): trees and small networks.

    Exit codes are those of `verict bench comparative`.
    """
    with _session():
        from verict.benchmarks.fit import Tuning

        plan = replace(_plan("student", data, out), protocol=protocol, models=_split(models), folds=folds,
                       repeats=repeats, copies=copies, seed=seed,
                       tuning=Tuning(epochs=epochs, device=device))  # fmt: skip
        raise typer.Exit(_run(plan, ledger))


@app.command("detectors")
def detectors(
    *,
    data: Data,
    out: Out,
    protocol: ProtocolName = "clean",
    models: Models = None,
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="auto or cpu: detectors run on the processor.")
    ] = "auto",
    scans: Annotated[
        int | None, typer.Option(min=1, metavar="N", show_default=False,
                                 help="Judge so many scans, drawn by the seed; all by default.")
    ] = None,
    seed: Seed = 0,
    ledger: LedgerFile = None,
) -> None:
    """The pixel detectors of verict at the same places, by models that never saw the patient (leaky: the shipped ones).

    Exit codes are those of `verict bench comparative`.
    """
    with _session():
        if device not in ("auto", "cpu"):
            raise UsageError("detectors run on the processor", found=f"--device {device}", expected="auto or cpu")
        plan = replace(_plan("detectors", data, out), protocol=protocol, models=_split(models), scans=scans,
                       seed=seed)  # fmt: skip
        raise typer.Exit(_run(plan, ledger))


def _session() -> AbstractContextManager[None]:
    make_streams_forgiving()
    return exit_on_error("bench", interrupted="interrupted; finished folds are kept, and the same command goes on")


def _plan(experiment: str, data: Path, out: Path) -> Plan:
    from verict.benchmarks.entries import Experiment
    from verict.benchmarks.run import Plan

    return Plan(Experiment(experiment), data, out)


def _split(models: list[str] | None) -> tuple[str, ...]:
    """Names given with commas, or with the option repeated."""
    return tuple(name.strip() for given in models or [] for name in given.split(",") if name.strip())


def _run(plan: Plan, ledger: Path | None) -> int:
    from verict.benchmarks.run import check_plan, run_bench

    if not plan.data.is_dir():
        raise UsageError("no such folder", file=plan.data, next_step="name a folder in the UCI layout")
    checked = check_plan(plan)
    make_output_folder(plan.out, [plan.data])
    ledger = ledger or plan.out / ledgers.DEFAULT_NAME
    ledgers.check_ledger(ledger)
    failures: list[InputError] = []
    with show_progress() if sys.stderr.isatty() else nullcontext(lambda *_: None) as progress:
        finished = run_bench(checked, progress=progress, failures=failures)
    _tell_failures([*failures, *finished.left_out])
    _record(finished, ledger)
    _write(finished, plan.out / str(plan.experiment))
    return FAILED if failures or finished.left_out else 0


def _record(finished: Bench, ledger: Path) -> None:
    """A line in the ledger where published real fakes were among the rows."""
    if finished.real_fakes:
        what = f"bench {finished.document['experiment']}: {say_count(finished.real_fakes, 'published fake')}"
        ledgers.append_figures(ledger, {}, weights_sha256="", what=what)


def _write(finished: Bench, folder: Path) -> None:
    """Results as JSON, Parquet, Markdown and HTML; the tables to standard output."""
    from verict.benchmarks import store
    from verict.benchmarks.page import to_html
    from verict.benchmarks.table import render, to_markdown

    document = finished.document
    store.make_folder(folder)
    store.write_json(folder / "run.json", document["run"])
    store.write_json(folder / "results.json", document)
    store.write_parquet(folder / "results.parquet", store.flatten_models(document))
    store.write_parquet(folder / "predictions.parquet", finished.predictions)
    write_text(folder / "results.md", to_markdown([document]) + "\n")
    write_text(folder / "results.html", to_html(document))
    open_stdout().print(render(document))


def _tell_failures(failures: list) -> None:
    for failure in failures[:ERRORS_SHOWN]:
        tell("bench", failure.one_line())
    if len(failures) > ERRORS_SHOWN:
        tell("bench", f"and {say_count(len(failures) - ERRORS_SHOWN, 'more input')} left out")
