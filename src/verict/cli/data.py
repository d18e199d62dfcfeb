"""`verict data`: what labelled collections are worth before anything is trained on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from verict.datasets.check import TITLES, CheckReport, Code, Severity, check_collection
from verict.datasets.uci import SiteType
from verict.errors import UsageError, VerictError, printable, say_count
from verict.report.output import check_output_file, write_text

app = typer.Typer(help="Labelled collections: check them before use.", no_args_is_help=True)

SHOWN = 8  # observations listed a code; the rest are in the JSON


@app.callback()
def data() -> None:
    """Labelled collections: check them before use."""


@app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(
        metavar="DIR", help="UCI collection 520: the folder above 'Tampered Scans' or 'CT_Scans', or that folder.")],
    json_file: Annotated[Path | None, typer.Option(
        "--json", metavar="FILE", help="Write the whole report as JSON; - for standard output.")] = None,
) -> None:
    """Say whether a labelled collection is whole.

    Exit codes: 0 sound (known properties of the published set are listed, not counted as damage),
    1 damage, 2 usage.
    """
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    to_stdout = str(json_file) == "-"
    try:
        if json_file is not None and not to_stdout:
            check_output_file(json_file, [folder])
        report = _run(folder, errors)
        text = json.dumps(report.as_dict(), indent=2) + "\n"
        if to_stdout:
            typer.echo(text, nl=False)
        else:
            print_report(report, Console(highlight=False, soft_wrap=True))
        if json_file is not None and not to_stdout:
            write_text(json_file, text)
    except UsageError as error:
        errors.print(_plain(f"verict: {error}"))
        raise typer.Exit(2) from None
    except VerictError as error:
        errors.print(_plain(f"verict: {error}"))
        raise typer.Exit(1) from None
    raise typer.Exit(0 if report.is_sound else 1)


def print_report(report: CheckReport, console: Console) -> None:
    """Print counts, header facts, and each kind of observation with its first places."""
    console.print(_plain(f"{report.root}: {report.layout or 'cannot be read'}"))
    if report.classes:
        console.print(_count_table(report))
        console.print(f"{report.distinct_uuids} distinct uuids")
    for fact in report.header_facts:
        console.print(_plain(f"headers: {fact}"))
    for severity in Severity:
        for code in Code:
            found = [o.message for o in report.of(severity) if o.code is code]
            if found:
                console.print(f"{severity} ({len(found)}): {TITLES[code][1]}")
                for message in found[:SHOWN]:
                    console.print(_plain(f"    {message}"))
                if len(found) > SHOWN:
                    console.print(f"    and {len(found) - SHOWN} more (--json lists all)")
    damage = report.of(Severity.DAMAGE)
    console.print(f"damaged: {say_count(len(damage), 'defect')}" if damage else "sound")


def _run(folder: Path, errors: Console) -> CheckReport:
    if not errors.is_terminal:
        return check_collection(folder)
    with Progress(console=errors, transient=True) as progress:
        task = progress.add_task("slices", total=None)
        return check_collection(folder, on_slice=lambda n, total: progress.update(task, completed=n, total=total))


def _count_table(report: CheckReport) -> Table:
    table = Table(title="rows / scans in the label tables, and what is on disk", title_justify="left",
                  box=box.SIMPLE_HEAD)
    table.add_column("experiment", no_wrap=True)
    for kind in SiteType:
        table.add_column(kind.value, justify="right")
    for name in ("rows", "scans here", "slices here"):
        table.add_column(name, justify="right")
    disk = {d.experiment: d for d in report.disk}
    for experiment in sorted({c.experiment for c in report.classes} | disk.keys()):
        classes = {c.type: c for c in report.classes if c.experiment == experiment}
        here = disk.get(experiment)
        table.add_row(
            str(experiment),
            *(f"{classes[k].rows} / {classes[k].scans}" if k in classes else "no table" for k in SiteType),
            str(sum(c.rows for c in classes.values())),
            str(here.scans) if here else "none",
            str(here.slices) if here else "none",
        )
    return table


def _plain(text: str) -> str:
    """Text for the console: no markup, characters that cannot be shown escaped."""
    return escape(printable(text))
