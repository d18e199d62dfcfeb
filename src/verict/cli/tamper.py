"""`verict tamper`: forge a series for research, always marked, with a record of exactly what was done."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from verict.cli.campaign import campaign
from verict.cli.terminal import exit_on_error, make_streams_forgiving, open_stdout, show_progress, tell
from verict.errors import InputError, OutputError, UsageError, printable, say_count
from verict.report.output import OutputFile, check_new_folder, check_output_file
from verict.tamper import families, touch_ups
from verict.tamper.forgery import Family, ForgeryKind, check_kind

if TYPE_CHECKING:
    from verict.tamper.single import Order, Place, Progress, Result

USUAL_METHOD, USUAL_TOUCH_UP = "ctgan", "copied"  # CT-GAN and its published code's default
SEEDS = 2**63 - 1

app = typer.Typer(help="Forge scans for research; every file written is marked as a forgery.", no_args_is_help=True)
app.command("campaign")(campaign)

SeriesArgument = Annotated[
    Path, typer.Argument(metavar="SERIES", help="A folder, file or zip with one CT series.", show_default=False)
]
OutArgument = Annotated[
    Path, typer.Argument(metavar="OUT", help="New or empty folder for the forged copy.", show_default=False)
]
AtOption = Annotated[
    str | None,
    typer.Option("--at", metavar="Z,Y,X", show_default=False,
                 help="Where: slice, row, column from 0, slices in the order of their positions, as verict scan "
                      "prints the centre voxel of a region. Unless given, a place is chosen."),
]
MillimetreOption = Annotated[
    bool, typer.Option("--mm", help="--at and --donor-at are patient coordinates (LPS) in mm, in the order z,y,x too.")
]
MethodOption = Annotated[
    str, typer.Option("--method", metavar="NAME", help=f"How it is painted: {', '.join(families.names())}.")
]
TouchUpOption = Annotated[
    str, typer.Option("--touchup", metavar="NAME", help=f"How the paint is hidden: {', '.join(touch_ups.names())}.")
]
SeedOption = Annotated[
    int, typer.Option("--seed", metavar="N", min=0, max=SEEDS, help="The same seed gives the same pixels.")
]
DonorOption = Annotated[
    Path | None,
    typer.Option("--donor", metavar="SERIES", show_default=False, help="The scan that splice takes its tissue from."),
]
DonorAtOption = Annotated[
    str | None,
    typer.Option("--donor-at", metavar="Z,Y,X", show_default=False,
                 help="Where in the donor: the nodule, or healthy lung. Unless given, a place is chosen."),
]
JsonOption = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", show_default=False,
                 help="Where the record goes: a new file, unless given OUT.json beside OUT."),
]


@dataclass(frozen=True)
class _Options:
    """What was typed."""

    series: Path
    out: Path
    at: str | None
    mm: bool
    method: str
    touchup: str
    seed: int
    diameter: float | None
    donor: Path | None
    donor_at: str | None
    json: Path | None

    @property
    def record_file(self) -> Path:
        """Where the record goes."""
        if self.json is not None:
            return self.json
        out = self.out if self.out.name else self.out.absolute()
        return out.with_name(f"{out.name}.json")

    def as_record(self) -> dict[str, object]:
        """For the record: no path, which may hold a patient's name."""
        return {"at": self.at, "mm": self.mm, "method": self.method, "touchup": self.touchup, "seed": self.seed,
                "diameter": self.diameter, "donor": self.donor is not None, "donor_at": self.donor_at}


@app.callback()
def tamper() -> None:
    """Forge scans for research; every file written is marked as a forgery."""


@app.command("inject")
def inject(
    *,
    series: SeriesArgument,
    out: OutArgument,
    at: AtOption = None,
    mm: MillimetreOption = False,
    method: MethodOption = USUAL_METHOD,
    touchup: TouchUpOption = USUAL_TOUCH_UP,
    seed: SeedOption = 0,
    diameter: Annotated[
        float | None,
        typer.Option("--diameter", metavar="MM", show_default=False, help="Of the nodule, if the method can choose."),
    ] = None,
    donor: DonorOption = None,
    donor_at: DonorAtOption = None,
    json: JsonOption = None,
) -> None:
    """Paint a cancer into a scan of the chest.

    OUT gets a copy of the series, one DICOM file a slice, each marked as a synthetic forgery; nothing removes the mark.
    The record says what was done, where, and with which parameters.

    Exit codes:
    0 written;
    1 it cannot be forged: the input, or the place;
    2 wrong usage, or an output that is taken or cannot be written;
    130 interrupted.
    """
    _run(ForgeryKind.INJECT, _Options(series, out, at, mm, method, touchup, seed, diameter, donor, donor_at, json))


@app.command("remove")
def remove(
    *,
    series: SeriesArgument,
    out: OutArgument,
    at: AtOption = None,
    mm: MillimetreOption = False,
    method: MethodOption = USUAL_METHOD,
    touchup: TouchUpOption = USUAL_TOUCH_UP,
    seed: SeedOption = 0,
    diameter: Annotated[
        float | None,
        typer.Option("--diameter", metavar="MM", show_default=False, help="Of the nodule; measured unless given."),
    ] = None,
    donor: DonorOption = None,
    donor_at: DonorAtOption = None,
    json: JsonOption = None,
) -> None:
    """Paint lung over a cancer in a scan of the chest.

    OUT gets a copy of the series, one DICOM file a slice, each marked as a synthetic forgery; nothing removes the mark.
    The record says what was done, where, and with which parameters.

    Exit codes:
    0 written;
    1 it cannot be forged: the input, or the place;
    2 wrong usage, or an output that is taken or cannot be written;
    130 interrupted.
    """
    _run(ForgeryKind.REMOVE, _Options(series, out, at, mm, method, touchup, seed, diameter, donor, donor_at, json))


@app.command("methods")
def methods() -> None:
    """List the ways to paint and the ways to hide the paint."""
    make_streams_forgiving()
    console = open_stdout()
    for option, registry in (("--method", families), ("--touchup", touch_ups)):
        table = Table(box=box.SIMPLE_HEAD, title=option, title_justify="left")
        table.add_column("name", no_wrap=True)
        if registry is families:
            table.add_column("can", no_wrap=True)
        table.add_column("what it does")
        for name in registry.names():
            made = registry.create(name)
            kinds = [", ".join(sorted(made.kinds))] if registry is families else []
            table.add_row(name, *kinds, made.summary)
        console.print(table)


def _run(kind: ForgeryKind, options: _Options) -> None:
    """Check all that can be checked, forge, write."""
    make_streams_forgiving()
    with exit_on_error("tamper", interrupted="interrupted; nothing was written"):
        order = _take_order(kind, options)
        inputs = [path for path in (options.series, options.donor) if path is not None]
        check_new_folder(options.out, inputs)
        _check_record(options.record_file, options.out, inputs)
        _forge(order, options)


def _take_order(kind: ForgeryKind, options: _Options) -> Order:
    """What was typed, checked and made into an order."""
    from verict.tamper.single import Order  # brings in what --help can do without

    family = families.create(options.method)
    touch_up = touch_ups.create(options.touchup)
    check_kind(family, kind)
    _check_donor(family, options)
    if options.mm and options.at is None and options.donor_at is None:
        raise UsageError("--mm says how places are given, and none is given", next_step="give --at")
    return Order(
        series=options.series, kind=kind, family=family, touch_up=touch_up, seed=options.seed,
        at=_read_place("--at", options.at, in_mm=options.mm), diameter_mm=options.diameter, donor=options.donor,
        donor_at=_read_place("--donor-at", options.donor_at, in_mm=options.mm),
    )


def _check_donor(family: Family, options: _Options) -> None:
    """A method without the donor it needs, a donor without a use, a place of no donor."""
    from verict.tamper.families.splice import Splice

    takes_donor = isinstance(family, Splice)
    if takes_donor and options.donor is None:
        raise UsageError(f"the method {family.name} needs a donor", expected="another scan to take tissue from",
                         next_step="name one with --donor")
    if options.donor is not None and not takes_donor:
        raise UsageError(f"the method {family.name} takes no donor",
                         next_step="leave --donor out, or choose --method splice")
    if options.donor_at is not None and options.donor is None:
        raise UsageError("--donor-at names a place of no donor", next_step="name the scan with --donor")


def _read_place(option: str, text: str | None, *, in_mm: bool) -> Place | None:
    from verict.tamper.single import Place

    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(math.isfinite(number) for number in numbers):
        expected = "z,y,x in mm, such as -519.8,130.8,-57.2" if in_mm else "z,y,x from 0, such as 160,243,184"
        raise UsageError(f"{option} is no place", found=printable(text), expected=expected)
    return Place((numbers[0], numbers[1], numbers[2]), in_mm)


def _check_record(file: Path, out: Path, inputs: list[Path]) -> None:
    """Refuse a record that would replace a file, or lie among the slices, before any work."""
    if str(file) == "-":
        raise UsageError("--json needs a file", next_step="name one")
    try:
        taken = file.exists() or file.is_symlink()
    except OSError as error:
        raise OutputError(f"cannot be looked at: {error.strerror}", file=file) from error
    if taken:
        raise OutputError("there is a file where the record goes", file=file, next_step="name a new one with --json")
    if out.resolve() in file.resolve().parents:
        raise OutputError("the record would lie among the slices", file=file, next_step="name a file beside OUT")
    if file.absolute().parent.exists() or file.parent.resolve() != out.resolve().parent:
        check_output_file(file, inputs)  # the folder that OUT is to be made in may be new


def _forge(order: Order, options: _Options) -> None:
    from verict.tamper.single import carry_out, describe_result, is_forged, write_result

    with _watch() as progress:
        try:
            result = carry_out(order, progress=progress)
        except MemoryError:
            raise InputError("not enough memory", file=options.series, next_step="forge a smaller series") from None
        made_at = datetime.now(UTC)
        progress("writing", 0, 0)
        with _make_parents(options.record_file), OutputFile(options.record_file) as record:
            files = write_result(result, options.out, made_at=made_at.astimezone())
            content = describe_result(result, files, options.as_record(), made_at=made_at)
            record.write(json.dumps(content, indent=2) + "\n")
    if is_forged(result.volume):
        tell("tamper", f"{options.series}: is marked as a forgery already; the record of this one does not know of it")
    _tell_result(result, len(files), options)


@contextmanager
def _make_parents(file: Path) -> Iterator[None]:
    """Make the folders above a file; those made and still empty in the end are removed again."""
    new = [parent for parent in file.absolute().parents if not parent.exists()]
    try:
        file.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror or error}", file=file) from error
    try:
        yield
    finally:
        for parent in new:
            with suppress(OSError):
                parent.rmdir()


@contextmanager
def _watch() -> Iterator[Progress]:
    """A progress display where standard error is a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    with show_progress() as update:
        yield update


def _tell_result(result: Result, slices: int, options: _Options) -> None:
    z, y, x = result.target.centre
    x_mm, y_mm, z_mm = result.volume.to_patient_mm(z, y, x)
    first, last = (result.forgery.box[0].start, result.forgery.box[0].stop - 1)
    record = result.forgery.record
    done = {"inject": "cancer injected", "remove": "cancer removed"}[str(result.target.kind)]
    typer.echo(f"{printable(options.out)}: {done} at z {z}, y {y}, x {x} "
               f"({x_mm:.1f}, {y_mm:.1f}, {z_mm:.1f} mm LPS), {record['method']}, touch-up {record['touch_up']}")
    typer.echo(f"  place: {result.site.how}")
    typer.echo(f"  {say_count(slices, 'slice')} written, all marked; pixels may differ on slices {first} to {last}")
    typer.echo(f"  record: {printable(options.record_file)}")
