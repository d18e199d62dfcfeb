"""The collection of the published size is counted as the published one is, and TB rows can be made to name no place."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest
from benchmarks.small_collection import build_small_collection

from verict.datasets.uci import SiteType, read_collection

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def full_size(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module("full_size")


def test_rows_and_scans_are_those_of_the_published_tables(full_size):
    scans = full_size.plan_scans(22)
    rows = Counter((scan.experiment, kind) for scan in scans for kind in scan.kinds)
    counted = Counter((scan.experiment, scan.kinds[0]) for scan in scans)
    wanted = {(e, kind): pair for e, counts in full_size.COUNTS.items() for kind, pair in counts.items()}
    assert {key: (rows[key], counted[key]) for key in rows} == wanted
    assert (len(scans), sum(rows.values()), len({scan.uuid for scan in scans})) == (100, 169, 98)
    assert full_size.SLICES * len(scans) > 20_000


def test_twins_lie_at_the_same_places(full_size):
    scans = full_size.plan_scans(22)
    for uuid in ("6031", "7507"):
        before, after = (scan for scan in scans if scan.uuid == uuid)
        assert (before.experiment, before.kinds[0], after.experiment, after.kinds[0]) == (
            1, SiteType.TM, 2, SiteType.FB
        )  # fmt: skip
        assert len(before.kinds) == len(after.kinds)
        assert (before.seed, before.chest) == (after.seed, after.chest), "places are drawn by these"


def test_a_sample_is_a_collection_of_its_own(full_size, tmp_path):
    collection = build_small_collection(tmp_path / "whole")
    own = read_collection(full_size.take_sample(collection, tmp_path / "sample", 4))
    assert len(own.scans) == 4
    assert {(row.experiment, row.uuid) for row in own.rows} == set(own.scans)


def test_a_relabelled_campaign_names_no_place_of_tb_rows(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER))
    campaign = build_small_collection(tmp_path / "campaign")
    table = campaign / "Tampered Scans" / "labels_exp1.csv"
    table.write_text(table.read_text().replace("TB,1008,0,0,0", "TB,1008,12,19,32"))
    assert import_module("as_published").relabel(campaign, tmp_path / "out") == 3
    before, after = (read_collection(folder) for folder in (campaign, tmp_path / "out"))
    assert [row for row in after.rows if row.type is not SiteType.TB] == [
        row for row in before.rows if row.type is not SiteType.TB
    ]
    assert not any(row.is_placed for row in after.rows if row.type is SiteType.TB)
    assert after.scans.keys() == before.scans.keys()
