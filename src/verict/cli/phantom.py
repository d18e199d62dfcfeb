"""`verict phantom`: write a simulated chest CT of nobody, with all that is true of it."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from verict import __version__
from verict.cli.terminal import exit_on_error, make_streams_forgiving, show_progress
from verict.ct.phantom.chest import SimulatedChest, count_slices, simulate_chest, write_chest
from verict.ct.phantom.kernels import KERNELS, Kernel
from verict.ct.phantom.scanner import Protocol
from verict.datasets.uci import COLUMNS, SiteType
from verict.errors import InputError, OutputError, UsageError, did_you_mean, printable, say_count
from verict.report.output import check_new_folder, write_text

TRUTH_FILE, LABEL_FILE = "phantom.json", "labels.csv"
USUAL_NODULES, ROOM_MM = 3, 50.0  # how many unless asked, and over what height there is always room for them


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
    nodules: Annotated[
        int | None, typer.Option(metavar="N", show_default=False, help="How many; true place and size go to "
                                                                       "phantom.json. Unless given 3, or none where "
                                                                       "the slices span less than 50 mm.")
    ] = None,
    beam_hardening: Annotated[bool, typer.Option("--beam-hardening", help="A beam of many energies.")] = False,
    metal: Annotated[bool, typer.Option("--metal", help="A pacemaker, wires or screws, and their streaks.")] = False,
    seed: Annotated[int, typer.Option(metavar="S", help="The same seed gives the same patient.")] = 0,
) -> None:
    """Simulate a chest CT of nobody and write it as DICOM, with its truth.

    OUT gets one DICOM file a slice;
    phantom.json with the seed, the protocol and each nodule's true place, size and density;
    labels.csv with the nodules as rows TM of the UCI tables.

    The same options give the same pixels and UIDs.

    Exit codes:
    0 written;
    1 it could not be simulated, such as more nodules than the lungs hold;
    2 wrong usage, or a folder that is not empty or cannot be written;
    130 interrupted.
    """
    make_streams_forgiving()
    with exit_on_error("phantom", interrupted="interrupted; nothing was written"):
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
        if nodules is None:
            nodules = USUAL_NODULES if count * increment >= ROOM_MM else 0
        check_new_folder(out)
        _make(_Order(out, _find_kernel(kernel), protocol, count, size, nodules, metal, seed))


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
            expected = f"{allowed.low} to {allowed.high} {allowed.unit}".strip()
            raise UsageError(f"{option} beyond what makes sense", found=value, expected=expected)


@contextmanager
def _make_beside(out: Path) -> Iterator[Path]:
    """A hidden folder that gets the wanted name once all is written; before that, and after an error, nothing has it.

    Made before the long work, so that a place that cannot be written is told at once.
    """
    target = out.resolve()
    new_parents = [parent for parent in target.parents if not parent.exists()]
    partial = target.parent / f".verict-{uuid.uuid4().hex[:12]}.partial"
    try:
        partial.mkdir(parents=True)
        yield partial
        if target.exists():
            target.rmdir()
        partial.rename(target)
        new_parents = []
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}"
        raise OutputError(problem, file=out, next_step="check the disk, or name a folder elsewhere") from error
    except OutputError as error:
        raise OutputError(error.problem, file=out, next_step="check the disk, or name a folder elsewhere") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        for parent in new_parents:
            with suppress(OSError):
                parent.rmdir()


def _make(order: _Order) -> None:
    """Simulate and write."""
    with _make_beside(order.out) as partial:
        chest = _simulate(order)
        files = write_chest(chest, partial, kernel_name=order.kernel.upper())
        truth = {"verict_phantom": 1, "verict": __version__, "kernel": str(order.kernel)} | chest.describe()
        write_text(partial / TRUTH_FILE, json.dumps(truth, indent=2) + "\n")
        write_text(partial / LABEL_FILE, _to_table(chest, order.out.resolve().name))
    counts = f"{say_count(len(files), 'slice')}, {say_count(len(chest.anatomy.nodules), 'nodule')}"
    typer.echo(f"{printable(order.out)}: {counts}")


def _simulate(order: _Order) -> SimulatedChest:
    """The scan, with progress on a terminal."""
    with show_progress() if sys.stderr.isatty() else nullcontext() as progress:

        def show(done: int, total: int, stage: str = "scanning") -> None:
            if progress is not None:
                progress(stage, done, total)

        show(0, 0, "growing the patient")
        try:
            return simulate_chest(
                order.protocol, slices=order.slices, size=order.size, nodules=order.nodules, metal=order.metal,
                seed=order.seed, progress=show,
            )
        except MemoryError:
            raise InputError("not enough memory", next_step="ask for fewer or smaller slices") from None


def _to_table(chest: SimulatedChest, name: str) -> str:
    """The nodules as rows of the UCI tables: slice is the InstanceNumber, x the column, y the row."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for nodule in chest.anatomy.nodules:
        z, y, x = (round(v) for v in chest.to_voxel(nodule))
        rows.writerow([SiteType.TM, name, z + 1, x, y])
    return text.getvalue()
