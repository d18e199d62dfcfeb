"""Rows of a scan as they are forged: each on the untouched volume, with what is done where a place is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import make_series
from tamper.campaign.sources import make_chest, make_spot, register_forgers
from tamper.forgers import Block, OnlyInjects

from verict.ct.discover import find_series
from verict.ct.read import read_series
from verict.ct.write import write_modified
from verict.datasets.uci import SiteType
from verict.errors import InputError
from verict.tamper import families
from verict.tamper.campaign.forge import Forger, as_stored
from verict.tamper.campaign.plan import PlannedScan, Row
from verict.tamper.campaign.survey import find_sources, read_source
from verict.tamper.cubes import cube_around
from verict.tamper.forgery import Donor, ForgeryKind, Paint, Target

NODULE, LUNG, FAR = (12, 60, 90), (14, 60, 40), (14, 80, 90)


class Picky(Block):
    """Refuses to paint anywhere but at one place."""

    name = "picky"

    def paint(self, target: Target, rng: np.random.Generator) -> Paint:
        if target.centre != FAR:
            raise InputError("not here")
        return super().paint(target, rng)


class Wide(Block):
    """Paints a block of 41 voxels, more than was planned for."""

    name = "wide"

    def paint(self, target: Target, rng: np.random.Generator) -> Paint:
        cube = cube_around(target.centre, (41, 41, 41), target.hu.shape, run=target.run)
        return Paint(cube.box, target.hu[cube.box].astype(np.float32) + 1)


@pytest.fixture(scope="module")
def chest(tmp_path_factory):
    (source,), _ = find_sources([make_chest(tmp_path_factory.mktemp("forge") / "p", seed=1)])
    return read_source(source)


@pytest.fixture(autouse=True)
def _plain_forgers(monkeypatch):
    register_forgers(monkeypatch)
    monkeypatch.setattr(families, "create", lambda name: FORGERS[name]())


FORGERS = {cls.name: cls for cls in (Block, OnlyInjects, Picky, Wide)}


def row(kind: SiteType, voxel, method: str = "block", **more) -> Row:
    painted = kind in (SiteType.FB, SiteType.FM)
    return Row(kind, make_spot(voxel), method if painted else "", "as-it-is" if painted else "", seed=5, **more)


def forge(chest, *rows: Row, methods=("block",), donor_of=None):
    forger = Forger(methods, ("as-it-is",), donor_of or (lambda number: None))
    return forger.forge_scan(*chest, PlannedScan("1234", 0, rows))


def test_only_painted_boxes_differ_and_before_and_after_are_told(chest):
    hu, made = forge(chest, row(SiteType.FB, NODULE), row(SiteType.FM, LUNG), row(SiteType.TB, (14, 90, 35)))
    original = chest[0].hu
    untouched = np.ones(original.shape, bool)
    for one, voxel in zip(made[:2], (NODULE, LUNG), strict=True):
        change = one.change
        assert change.record["centre_voxel_zyx"] == list(voxel)
        assert change.footprint.shape == change.before.shape == (7, 7, 7)
        assert (change.before == original[change.box]).all()
        assert (change.after == hu[change.box]).all()
        assert (change.after != change.before).mean() > 0.9
        untouched[change.box] = False
    assert (hu[untouched] == original[untouched]).all()
    assert made[2].change is None
    assert not made[2].is_left_out


def test_each_forgery_is_made_on_the_untouched_volume(chest):
    both, _ = forge(chest, row(SiteType.FB, NODULE), row(SiteType.FM, LUNG))
    alone, made = forge(chest, row(SiteType.FM, LUNG))
    assert (both[made[0].change.box] == alone[made[0].change.box]).all()


def test_an_injection_that_is_refused_moves_to_a_spare_place(chest):
    spares = (make_spot((14, 70, 40)), make_spot(FAR))
    _, (made,) = forge(chest, row(SiteType.FM, LUNG, "picky", spares=spares), methods=("block", "picky"))
    assert made.row.spot.voxel == FAR
    assert made.row.method == "picky"
    assert [(r["method"], r["voxel_zyx"], r["reason"]) for r in made.refused] == [
        ("picky", list(LUNG), "not here"), ("picky", [14, 70, 40], "not here"),
    ]


def test_where_no_place_helps_another_method_takes_its_turn(chest):
    _, (made,) = forge(chest, row(SiteType.FB, NODULE, "picky"), methods=("only-injects", "picky", "block"))
    assert made.row.method == "block", "only-injects cannot remove"
    assert made.row.spot.voxel == NODULE
    assert made.change.record["method"] == "block"
    assert len(made.refused) == 1


def test_a_row_that_nothing_can_paint_is_left_out(chest):
    hu, (made,) = forge(chest, row(SiteType.FB, NODULE, "picky"), methods=("picky",))
    assert made.is_left_out
    assert (hu == chest[0].hu).all()
    _, (made,) = forge(chest, row(SiteType.FM, (2, 64, 64)))
    assert "outside the lung" in made.refused[0]["reason"]


def test_a_forgery_that_reaches_into_another_is_refused(chest):
    """Both fit by plan, had the second kept to what was foretold."""
    rows = row(SiteType.FB, NODULE), row(SiteType.FB, FAR, "wide")
    _, (first, second) = forge(chest, *rows, methods=("wide", "block"))
    assert first.change is not None
    assert second.row.method == "block"
    assert "another one of the same scan" in second.refused[0]["reason"]


def test_a_forgery_that_comes_near_an_untouched_row_is_refused(chest):
    for voxel in ((14, 72, 90), (14, 60, 100)):
        _, (made, _) = forge(chest, row(SiteType.FB, NODULE), row(SiteType.TB, voxel))
        assert made.is_left_out
        assert "another row of the same scan" in made.refused[0]["reason"]


def test_tissue_of_another_scan_is_fetched_for_methods_that_take_it(chest, monkeypatch):
    donor = Donor(np.zeros((9, 9, 9), np.float32), ForgeryKind.INJECT, 8.0, "elsewhere")
    fetched: list[int] = []

    class Splice(Block):
        name = "splice"

    monkeypatch.setattr(families, "create", lambda name: Splice() if name == "splice" else Block())
    for method, count in (("block", 0), ("splice", 2)):
        _, (made,) = forge(chest, row(SiteType.FM, LUNG, method, donors=(3, 4)), methods=(method,),
                           donor_of=lambda number: (fetched.append(number), donor)[1])  # fmt: skip
        assert made.change.record["paint"]["donors"] == count
    assert fetched == [3, 4]


@pytest.mark.parametrize("stored", [
    {"signed": True}, {"signed": False, "bits_stored": 12}, {"signed": False, "slope": 0.5, "intercept": -1024.25},
])  # fmt: skip
def test_what_is_told_to_stand_there_is_what_the_files_hold(tmp_path, stored):
    make_series(tmp_path / "in", slices=3, **stored)
    volume = read_series(find_series(tmp_path / "in").series[0])
    rng = np.random.default_rng(0)
    hu = (volume.hu + rng.uniform(-5000, 5000, volume.hu.shape)).astype(volume.hu.dtype)
    told = as_stored(hu, volume.headers)
    write_modified(volume, told, tmp_path / "out", change=lambda ds: None)
    read = read_series(find_series(tmp_path / "out").series[0])
    assert read.hu.dtype == told.dtype
    assert (read.hu == told).all()
    assert (as_stored(told, volume.headers) == told).all()
    assert (told != hu).any() == bool({"bits_stored", "slope"} & set(stored))


def test_a_volume_is_left_as_it_was(chest):
    volume, lungs = chest
    before = volume.hu.copy()
    forge((replace(volume, hu=volume.hu), lungs), row(SiteType.FB, NODULE))
    assert (volume.hu == before).all()
