"""`verict demo`: simulate a chest CT, forge one spot, scan both, and see whether the forgery is found."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from math import dist
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from verict.ct.discover import find_series
from verict.ct.phantom.chest import simulate_chest, write_chest
from verict.ct.phantom.nodules import Attachment, NoduleOrder, NoduleShape
from verict.ct.phantom.scanner import Protocol
from verict.ct.read import read_series
from verict.ct.volume import CTVolume
from verict.detect.result import Region, ScanResult, SeriesResult, Verdict
from verict.errors import OutputError, VerictError
from verict.report.html import to_html
from verict.report.json import to_text
from verict.report.output import write_text
from verict.report.words import say_likely, say_shown
from verict.tamper.mark import write_forgery
from verict.tamper.repaint import ForgeryKind, NoiseKind, RepaintConfig, repaint

SLICES, SIZE = 48, 512
PROTOCOL = Protocol()
NODULES = NoduleOrder(  # solid and free, as those that CT-GAN removes; small enough for its cube
    1, diameter_mm=(8.0, 13.0), shapes=(NoduleShape.ROUND, NoduleShape.LOBULATED), attachments=(Attachment.FREE,)
)
GRAIN = 1.04  # zoom of the added noise: CT-GAN's own where the lung spreads by 75 HU, as around a real cancer
NEAR_MM = 15.0  # half a repainted cube: nearer than that is the same place
TRUTH_FILE = "demo.json"  # what was forged and where; also tells a former demo's folder from any other
INDENT = " " * 16
DEFAULT_OUT = Path("verict-demo")


@dataclass(frozen=True)
class _Truth:
    """Where the forgery is."""

    voxel_zyx: tuple[int, int, int]
    mm_lps: tuple[float, float, float]
    record: dict[str, object]


def demo(
    out: Annotated[Path, typer.Option(
        metavar="DIR", help="New folder for the scans and reports. Beside a former demo's folder the next free "
                            "name is taken.")] = DEFAULT_OUT,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Another seed gives another chest and forgery.")] = 0,
) -> None:
    """Simulate a small chest CT, forge one spot in a copy, scan both and compare.

    Exit codes: 0 the forgery was found in its place and the untouched scan is not suspicious, 1 otherwise,
    2 the folder cannot be used.
    """
    errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    try:
        folder = choose_folder(out)
        complaints = run_demo(folder, seed, Console(highlight=False, soft_wrap=True, markup=False), errors)
    except OutputError as error:
        errors.print(f"verict demo: {error}")
        raise typer.Exit(2) from None
    except VerictError as error:
        errors.print(f"verict demo: {error}")
        raise typer.Exit(1) from None
    for complaint in complaints:
        errors.print(f"verict demo: {complaint}")
    raise typer.Exit(1 if complaints else 0)


def choose_folder(wanted: Path) -> Path:
    """The folder itself, or the next free name beside a former demo's.

    Raises
    ------
    OutputError
        If it holds anything else than a former demo.
    """
    number, folder = 1, wanted
    while folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not (folder / TRUTH_FILE).is_file():
            raise OutputError(
                "not an empty folder, and no former demo", file=folder, next_step="name a new folder with --out"
            )
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder


def run_demo(folder: Path, seed: int, console: Console, errors: Console) -> list[str]:
    """Do all of it, print what happened, and give what was not as it should be, one line each."""
    from verict.detect.scan import ScanOptions, examine  # brings in onnxruntime, which --help can do without

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder: {error.strerror}", file=folder) from error
    write_text(folder / TRUTH_FILE, json.dumps({"verict_demo": 1, "seed": seed}) + "\n")  # first: even if cut short
    errors.print(f"simulating a chest CT of {SLICES} slices (seed {seed}) ...")
    truth = make_scans(folder, seed)
    results = {}
    for name in ("untouched", "forged"):
        errors.print(f"scanning the {name} one ...")
        results[name] = result = examine(folder / name, ScanOptions(pictures=True))
        write_text(folder / f"{name}.html", to_html(result))
        write_text(folder / f"{name}.json", to_text(result))
    z, y, x = truth.voxel_zyx
    console.print(f"\nForged:         a nodule painted over at slice {z + 1} of {SLICES}, row {y}, column {x}")
    complaints = judge_untouched(results["untouched"], console) + judge_forged(results["forged"], truth, console)
    console.print(
        "\nEvery forged file says in its headers that verict forged it; no option leaves that out. A real forger\n"
        "would not be so kind, so the place is sought in the pixels alone: detectors of noise never see\n"
        "headers, and headers alone never make a scan suspicious. The chest is simulated; this shows that verict\n"
        "works on this machine, not how well it does on patients' scans."
    )
    console.print(f"\nReport to open: {folder / 'forged.html'}")
    console.print(f"Untouched scan: {folder / 'untouched.html'}")
    return complaints


def make_scans(folder: Path, seed: int) -> _Truth:
    """Write the simulated series and its forged copy into ``untouched`` and ``forged``."""
    chest = simulate_chest(PROTOCOL, slices=SLICES, size=SIZE, nodules=NODULES, seed=seed)
    write_chest(chest, folder / "untouched", kernel_name="STANDARD")
    volume = read_series(find_series(folder / "untouched").series[0])
    z, y, x = (round(v) for v in chest.to_voxel(chest.anatomy.nodules[0]))
    config = RepaintConfig(touch_up=NoiseKind.ZOOMED, zoom=GRAIN, touch_up_in_mm=True)
    forged, _, record = repaint(
        volume.hu, volume.spacing_mm, (z, y, x), kind=ForgeryKind.REMOVE, seed=seed, config=config
    )
    truth = _Truth((z, y, x), volume.to_patient_mm(z, y, x), record)
    _write_truth(folder / TRUTH_FILE, truth, volume, seed)
    write_forgery(volume, forged, folder / "forged", record, made_at=datetime.now())
    return truth


def judge_untouched(result: ScanResult, console: Console) -> list[str]:
    """Print what was said of the untouched scan; a complaint where it was suspected."""
    if not result.series:
        return [_not_examined("untouched", result)]
    series = result.series[0]
    _say_verdict("Untouched scan: ", series, console)
    return ["the untouched scan was called suspicious"] if series.verdict is Verdict.SUSPICIOUS else []


def judge_forged(result: ScanResult, truth: _Truth, console: Console) -> list[str]:
    """Print what was said of the forged scan; a complaint where the place was not found."""
    if not result.series:
        return [_not_examined("forged", result)]
    series = result.series[0]
    _say_verdict("Forged scan:    ", series, console)
    decisive = [r for r in series.regions if r.decisive]
    if series.verdict is not Verdict.SUSPICIOUS or not decisive:
        return ["the forged scan was not called suspicious"]
    best = max(decisive, key=lambda r: r.score)
    off_mm = dist(best.centre_mm_lps, truth.mm_lps)
    console.print(f"Found:          {_place(best)}, {off_mm:.0f} mm from the middle of the forgery")
    likely = next((say_likely(p) for p in series.places if p.region == series.regions.index(best)), "")
    if likely:
        console.print(f"{INDENT}{likely}")
    if off_mm > NEAR_MM:
        return [f"the strongest region lies {off_mm:.0f} mm from the forgery; at most {NEAR_MM:.0f} mm is its place"]
    return []


def _say_verdict(title: str, series: SeriesResult, console: Console) -> None:
    """Both answers: whether it was tampered with, and whether it shows a cancer."""
    console.print(f"{title}{series.verdict}: {series.reason}")
    console.print(f"{INDENT}shows: {say_shown(series.shows)}")


def _place(region: Region) -> str:
    z, y, x = region.centre_voxel_zyx
    return f"by {region.detector} at slice {round(z) + 1}, row {round(y)}, column {round(x)}"


def _not_examined(name: str, result: ScanResult) -> str:
    reasons = [f.message for f in result.failures] + [f"{n.what}: {n.reason}" for n in result.not_examined]
    return f"the {name} scan could not be examined: {'; '.join(reasons) or 'no series found'}"


def _write_truth(path: Path, truth: _Truth, volume: CTVolume, seed: int) -> None:
    content = {
        "verict_demo": 1,
        "seed": seed,
        "forged": truth.record,
        "centre_voxel_zyx": truth.voxel_zyx,
        "centre_mm_lps": truth.mm_lps,
        "untouched_series_instance_uid": volume.series_instance_uid,
    }
    write_text(path, json.dumps(content, indent=2) + "\n")
