"""Small chests to forge, with their tables of nodules, and surveys of sources that were never made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from builders import make_body_hu, make_series

from verict.ct.discover import SeriesFiles
from verict.datasets.sites import LungPlace
from verict.datasets.splits import Scanner
from verict.tamper import families, touch_ups
from verict.tamper.campaign.survey import Source, Spot, Survey
from verict.tamper.forgery import ForgeryKind

SLICES, SIDE, SPACING_MM = 28, 128, (2.5, 2.5, 2.5)
NODULES = ((12, 60, 90), (16, 76, 40))  # z, y, x
METHODS, TOUCH_UPS = ("block", "only-injects"), ("as-it-is",)


def make_chest(folder: Path, *, seed: int, nodules: Sequence[tuple[int, int, int]] = NODULES, **more: object) -> Path:
    """A chest with nodules of 15 mm, which a table in its folder names; one patient a seed."""
    hu = make_body_hu(SLICES, SIDE, SIDE, seed=seed)
    z, y, x = np.ogrid[:SLICES, :SIDE, :SIDE]
    for centre in nodules:
        hu[sum((a - c) ** 2 for a, c in zip((z, y, x), centre, strict=True)) < 3**2] = 30
    attributes = {"patient_id": f"PATIENT-{seed}", "Manufacturer": "Philips", "ManufacturerModelName": f"M{seed}"}
    make_series(folder, hu=hu, spacing_mm=SPACING_MM, seed=seed, **{**attributes, "ConvolutionKernel": "B", **more})
    rows = [f"TM,{folder.name},{z + 1},{x},{y}" for z, y, x in nodules]
    (folder / "labels.csv").write_text("\n".join(["type,uuid,slice,x,y", *rows, ""]), encoding="ascii")
    return folder


def register_forgers(patch: pytest.MonkeyPatch) -> None:
    """Let the registries hold the plain forgers alone."""
    patch.setattr(families, "_FAMILIES", {
        "block": "tamper.forgers:Block", "only-injects": "tamper.forgers:OnlyInjects",
    })  # fmt: skip
    patch.setattr(touch_ups, "_TOUCH_UPS", {"as-it-is": "tamper.forgers:AsItIs"})


def make_spot(voxel: tuple[int, int, int], depth_mm: float = 20.0, diameter_mm: float | None = None) -> Spot:
    place = LungPlace(on_left=voxel[2] < 256, depth_mm=depth_mm, front_to_back=0.5, height=0.5)
    return Spot(voxel, place, diameter_mm, "label" if diameter_mm else "chosen", "by hand")


def make_survey(
    number: int, *, patient: str = "", nodules: int = 3, donors: bool = True, z_mm: float = 1.5, slices: int = 200
) -> Survey:
    """A source of 512 pixels of 0.7 mm with places spread over both lungs."""
    spread = np.random.default_rng(number)

    def spots(count: int, diameter_mm: float | None = None) -> tuple[Spot, ...]:
        voxels = {tuple(int(v) for v in spread.integers((25, 120, 60), (slices - 25, 400, 450))) for _ in range(count)}
        return tuple(make_spot(v, float(spread.uniform(8, 40)), diameter_mm) for v in sorted(voxels))

    owned = {kind: (10 * number + i,) if donors else () for i, kind in enumerate(ForgeryKind)}
    return Survey(
        source=Source(f"s{number:02d}", SeriesFiles(f"1.{number}", "1", f"s{number}", chest=True, items=())),
        input_sha256=f"{number:064x}",
        patient=patient or f"p{number}",
        scanner=Scanner("ge", "a"),
        kernel="B",
        shape=(slices, 512, 512),
        spacing_mm=(z_mm, 0.7, 0.7),
        numbers=tuple(range(1, slices + 1)),
        nodules=spots(nodules, 12.0),
        plain=spots(24),
        healthy=spots(24),
        donors=owned,
    )
