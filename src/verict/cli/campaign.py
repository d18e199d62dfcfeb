"""`verict tamper campaign`: a labelled data set of forged scans, every one of them marked as such."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from verict.cli.terminal import exit_on_error, make_streams_forgiving, show_progress, tell
from verict.errors import InputError, OutputError, UsageError, did_you_mean, printable, say_count
from verict.report.output import check_new_folder
from verict.tamper import families, touch_ups

if TYPE_CHECKING:
    from verict.tamper.campaign.run import CampaignConfig, Outcome

SEEDS = 2**63 - 1
REASONS_SHOWN = 8  # why sources cannot be used; the rest is in the JSON


def campaign(
    *,
    scans: Annotated[
        list[Path],
        typer.Option("--scans", metavar="DIR", show_default=False,
                     help="Series to forge, any folder tree; may be given more than once. Nodules are taken from "
                          "nodules.csv in it or beside it, from labels.csv in a series' own folder, or found."),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", show_default=False,
                     help="New or empty folder; or one in which the same campaign was begun, to go on with it."),
    ],
    n: Annotated[int, typer.Option("--n", metavar="N", min=4, help="Rows in all, a quarter of each type.")] = 200,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, max=SEEDS, help="The same seed gives the same bytes.")
    ] = 0,
    methods: Annotated[
        str | None,
        typer.Option("--methods", metavar="A,B", show_default=False,
                     help=f"All unless given: {', '.join(families.names())}."),
    ] = None,
    touchups: Annotated[
        str | None,
        typer.Option("--touchups", metavar="A,B", show_default=False,
                     help=f"All unless given: {', '.join(touch_ups.names())}."),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=1, max=64, help="Sources in memory and worked on at once.")
    ] = 1,
) -> None:
    """Make a labelled data set of forged scans, in the layout of UCI data set 520.

    OUT gets Tampered Scans, with the scans and the label table: removed cancers (FB), injected ones (FM),
    real nodules (TM) and plain lung (TB) left alone; methods and touch-ups take turns;
    cases, with the footprint, the pixels before and after, and the record of each forgery;
    campaign.json, with sources, plan, all hashes, and the hash that names the campaign.

    Every file is marked as a synthetic forgery; nothing removes the mark. Sources are never written to.

    After a kill the same command goes on where it was, to the same bytes.

    Exit codes:
    0 finished;
    1 no source can be used, one changed meanwhile, or a method's weights or library are missing;
    2 wrong usage, or the folder holds something else or cannot be written;
    130 interrupted: the same command goes on.
    """
    make_streams_forgiving()
    with exit_on_error("tamper campaign", interrupted="interrupted; the same command goes on where it was"):
        config = _check(scans, out, n, seed, (_split("--methods", methods, families.names()),
                                              _split("--touchups", touchups, touch_ups.names())), workers)
        _tell(_run(config), out)


def _split(option: str, text: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """The names of a list with commas."""
    names = tuple(part.strip() for part in text.split(",")) if text is not None else ()
    for name in names:
        if name not in known:
            raise UsageError(f"{option} names nothing known", found=printable(name) or "an empty name",
                             next_step=did_you_mean(name, known))
    return names


def _check(
    scans: list[Path], out: Path, n: int, seed: int, names: tuple[tuple[str, ...], tuple[str, ...]], workers: int
) -> CampaignConfig:
    """What can be known to be wrong before any work."""
    from verict.tamper.campaign.run import CampaignConfig  # brings in what --help can do without

    for folder in scans:
        if not folder.is_dir():
            raise UsageError("no such folder", file=folder, next_step="name a folder of CT series")
        if out.resolve() in (folder.resolve(), *folder.resolve().parents):
            raise OutputError("the output place is or holds the scans", file=out, next_step="name a folder elsewhere")
    try:
        is_new = not out.is_dir() or not any(out.iterdir())
    except OSError as error:
        raise OutputError(f"cannot be looked into: {error.strerror}", file=out) from error
    if is_new:
        check_new_folder(out, scans)
    return CampaignConfig(tuple(scans), out, n, seed, *names, workers)


def _run(config: CampaignConfig) -> Outcome:
    from verict.tamper.campaign.run import make_campaign

    def silent(stage: str, done: int, total: int) -> None:
        """Where standard error is no terminal."""

    with show_progress() if sys.stderr.isatty() else nullcontext(silent) as progress:
        try:
            return make_campaign(config, progress)
        except MemoryError:
            raise InputError("not enough memory", next_step="ask for fewer --workers") from None


def _tell(outcome: Outcome, out: Path) -> None:
    """Counts, what could not be done as asked, how long it took, and the campaign's name."""
    document = outcome.document
    counts = document["counts"]
    unusable = Counter((item["name"], item["reason"]) for item in document["unusable"])
    for (name, reason), number in [*unusable.items()][:REASONS_SHOWN]:
        tell("tamper campaign", f"{say_count(number, 'series', 'series')} of {name} not used: {reason}")
    if len(unusable) > REASONS_SHOWN:
        tell("tamper campaign", f"and others for {len(unusable) - REASONS_SHOWN} more reasons, see campaign.json")
    for remark in document["remarks"]:
        tell("tamper campaign", remark)
    for scan in document["scans"]:
        for row in scan["left_out"]:
            tell("tamper campaign", f"left out: {row['type']} of scan {scan['uuid']}: {row['refused'][0]['reason']}")
    rows = ", ".join(f"{number} {kind}" for kind, number in counts["rows"].items())
    patients = len({source["patient"] for source in document["sources"] if source["scans"]})
    scans = f"{say_count(counts['scans'], 'scan')}, {counts['controls']} of them without a forgery"
    typer.echo(f"{printable(out)}: {say_count(sum(counts['rows'].values()), 'row')} ({rows}) in {scans}, "
               f"of {say_count(patients, 'patient')}")
    if outcome.made_scans:
        pace = f"{60 * outcome.made_rows / outcome.seconds:.1f} rows a minute"
        typer.echo(f"  made now: {say_count(outcome.made_scans, 'scan')} in {outcome.seconds / 60:.1f} minutes, {pace}")
    else:
        typer.echo("  nothing was left to do: every file is as it was written")
    typer.echo(f"  campaign {document['sha256']}")
