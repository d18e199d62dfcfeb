"""`verict phantom`: write a simulated chest CT of nobody, with all that is true of it."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import sys
import uuid
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from verict import __version__
from verict.cli.terminal import make_streams_forgiving, show_progress
from verict.ct.phantom.chest import SimulatedChest, count_slices, simulate_chest, write_chest
from verict.ct.phantom.kernels import KERNELS, Kernel
from verict.ct.phantom.scanner import Protocol
from verict.datasets.uci import COLUMNS, SiteType
from verict.errors import InputError, OutputError, UsageError, VerictError, did_you_mean, say_count
from verict.report.output import write_text

TRUTH_FILE, LABEL_FILE = "phantom.json", "labels.csv"
USAGE, INTERRUPTED = 2, 130


@dataclass(frozen=True)
class _Range:
    """What an option may be, and in which unit."""

    low: float
    high: float
    unit: str


_RANGES = {  # what scanners can be set to, generously; beyond it nothing means anything
    "--dose": _Range(0.01, 100, "times a routine chest"),
    "--thickness": _Range(0.3, 15, "mm"),
    "--increment": _Range(0.2, 20, "mm"),
    "--pixel": _Range(0.2, 8, "mm"),
    "--size": _Range(64, 1024, "pixels"),
    "--slices": _Range(1, 2000, "slices"),
    "--nodules": _Range(0, 60, "nodules"),
    "--seed": _Range(0, 2**63 - 1, ""),
}


@dataclass(frozen=True)
class _Order:
    """What was asked for, checked."""

    out: Path
    kernel: Kernel
    protocol: Protocol
    slices: int
    size: int
    nodules: int
    metal: bool
    seed: int


def phantom(
    *,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the series.", show_default=False)],
    kernel: Annotated[str, typer.Option(metavar="NAME", help=f"Reconstruction: {', '.join(Kernel)}.")] = "standard",
    dose: Annotated[float, typer.Option(metavar="D", help="Against a routine chest; less means more noise.")] = 1.0,
    thickness: Annotated[float, typer.Option(metavar="MM", help="Slice thickness.")] = 2.0,
    increment: Annotated[
        float | None, typer.Option(metavar="MM", show_default=False, help="Distance of slices; as thick as they are "
                                                                          "unless given, overlapping where smaller.")
    ] = None,
    slices: Annotated[
        int | None, typer.Option(metavar="N", show_default=False, help="Around the middle of the chest; the whole "
                                                                       "chest unless given.")
    ] = None,
    size: Annotated[int, typer.Option(metavar="PX", help="Pixels a side.")] = 512,
    pixel: Annotated[
        float | None, typer.Option(metavar="MM", show_default=False, help="Side of a pixel; a field of view of 370 mm "
                                                                          "unless given.")
    ] = None,
    nodules: Annotated[int, typer.Option(metavar="N", help="How many; true place and size go to phantom.json.")] = 3,
    beam_hardening: Annotated[bool, typer.Option("--beam-hardening", help="A beam of many energies.")] = False,
    metal: Annotated[bool, typer.Option("--metal", help="A pacemaker, wires or screws, and their streaks.")] = False,
    seed: Annotated[int, typer.Option(metavar="S", help="The same seed gives the same patient.")] = 0,
) -> None:
    """Simulate a chest CT of nobody and write it as DICOM, with its truth.

    OUT gets one DICOM file a slice; phantom.json with the seed, the protocol and each nodule's true place, size
    and density; and labels.csv with the nodules as rows TM of the UCI tables. The same options give the same
    pixels and UIDs.

    Exit codes:
    0 written;
    1 it could not be simulated, such as more nodules than the lungs hold;
    2 wrong usage, or a folder that is not empty or cannot be written;
    130 interrupted.
    """
    make_streams_forgiving()
    try:
        pixel = 370 / size if pixel is None and size > 0 else pixel
        increment = thickness if increment is None else increment
        numbers = {"--dose": dose, "--thickness": thickness, "--increment": increment, "--pixel": pixel,
                   "--size": size, "--slices": slices, "--nodules": nodules, "--seed": seed}
        _check_numbers(numbers)
        protocol = Protocol(
            kernel=KERNELS[_find_kernel(kernel)], dose=dose, thickness_mm=thickness, increment_mm=increment,
            pixel_mm=float(pixel or 0), beam_hardening=beam_hardening,
        )
        count = count_slices(increment) if slices is None else slices
        _check_folder(out)
        _make(_Order(out, _find_kernel(kernel), protocol, count, size, nodules, metal, seed))
        code = 0
    except (UsageError, OutputError) as error:
        _tell(error.one_line())
        code = USAGE
    except VerictError as error:
        _tell(error.one_line())
        code = 1
    except KeyboardInterrupt:
        _tell("interrupted; nothing was written")
        code = INTERRUPTED
    raise typer.Exit(code)


def _find_kernel(name: str) -> Kernel:
    try:
        return Kernel(name.lower())
    except ValueError:
        raise UsageError(
            "no such kernel", found=name, expected=f"one of {', '.join(Kernel)}", next_step=did_you_mean(name, Kernel)
        ) from None


def _check_numbers(numbers: dict[str, float | int | None]) -> None:
    for option, value in numbers.items():
        allowed = _RANGES[option]
        if value is not None and not (math.isfinite(value) and allowed.low <= value <= allowed.high):
            expected = f"{allowed.low:g} to {allowed.high:g} {allowed.unit}".strip()
            raise UsageError(f"{option} beyond what makes sense", found=f"{value:g}", expected=expected)


def _check_folder(out: Path) -> None:
    """Refuse a place that is taken before the long work; an empty folder is free."""
    try:
        taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise OutputError(f"cannot use the folder: {error.strerror}", file=out) from error
    if taken:
        raise OutputError("the output place is not an empty folder", file=out, next_step="name a new one")


def _make(order: _Order) -> None:
    """Simulate and write, first beside the wanted folder: a half-written one never bears its name."""
    with show_progress() if sys.stderr.isatty() else nullcontext() as progress:

        def show(done: int, total: int) -> None:
            if progress is not None:
                progress("scanning", done, total)

        try:
            chest = simulate_chest(
                order.protocol, slices=order.slices, size=order.size, nodules=order.nodules, metal=order.metal,
                seed=order.seed, progress=show,
            )
        except MemoryError:
            raise InputError("not enough memory", next_step="ask for fewer or smaller slices") from None
        partial = order.out.absolute().with_name(f".{order.out.name}.{uuid.uuid4().hex[:8]}.partial")
        try:
            files = write_chest(chest, partial, kernel_name=order.kernel.upper())
            truth = {"verict_phantom": 1, "verict": __version__, "kernel": str(order.kernel)} | chest.describe()
            write_text(partial / TRUTH_FILE, json.dumps(truth, indent=2) + "\n")
            write_text(partial / LABEL_FILE, _to_table(chest, order.out.absolute().name))
            if order.out.exists():
                order.out.rmdir()
            partial.rename(order.out.absolute())
        except OSError as error:
            raise OutputError(f"cannot write: {error.strerror or error}", file=order.out) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    typer.echo(f"{order.out}: {say_count(len(files), 'slice')}, {say_count(len(chest.anatomy.nodules), 'nodule')}")


def _to_table(chest: SimulatedChest, name: str) -> str:
    """The nodules as rows of the UCI tables: slice is the InstanceNumber, x the column, y the row."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for nodule in chest.anatomy.nodules:
        z, y, x = (round(v) for v in chest.to_voxel(nodule))
        rows.writerow([SiteType.TM, name, z + 1, x, y])
    return text.getvalue()


def _tell(message: str) -> None:
    """One line on standard error."""
    typer.echo(f"verict phantom: {message}", err=True)
