"""One forgery as a call: places as given, donors as asked for, and what the record adds up to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from builders import make_body_hu, make_series
from tamper.forgers import AsItIs, Block
from tamper.places import make_block

from verict.errors import InputError
from verict.tamper.forgery import ForgeryKind
from verict.tamper.single import Order, Place, carry_out, describe_result, find_voxel, is_forged, write_result

SLICES, SIDE, SPACING = 32, 128, (2.5, 2.5, 2.5)
IN_LUNG, NODULE = (16, 64, 37), (15, 60, 90)


def _make_chest(folder: Path, *, with_nodule: bool) -> Path:
    hu = make_body_hu(SLICES, SIDE, SIDE, seed=3)
    z, y, x = np.ogrid[:SLICES, :SIDE, :SIDE]
    if with_nodule:
        hu[sum((a - c) ** 2 for a, c in zip((z, y, x), NODULE, strict=True)) < 4**2] = 30
    make_series(folder, hu=hu, spacing_mm=SPACING)
    return folder


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _make_chest(tmp_path_factory.mktemp("ill") / "chest", with_nodule=True)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _make_chest(tmp_path_factory.mktemp("well") / "chest", with_nodule=False)


def _order(series: Path, kind: ForgeryKind = ForgeryKind.INJECT, **more: object) -> Order:
    return Order(series, kind, Block(), AsItIs(), **{"seed": 1, "at": Place(IN_LUNG), **more})  # type: ignore[arg-type]


def test_voxels_with_a_fraction_go_to_the_nearest() -> None:
    volume, _ = make_block()
    assert find_voxel(volume, Place((3.6, 4.4, 5.0))) == (4, 4, 5)
    assert find_voxel(volume, Place((3.6, 4.4, 5.0), in_mm=True)) == (4, 4, 5)
    with pytest.raises(InputError, match="outside the volume"):
        find_voxel(volume, Place((80.0, 4.0, 5.0)))


def test_a_swapped_order_in_mm_is_suggested_only_where_it_lies_inside() -> None:
    volume, _ = make_block()
    moved = replace(volume, origins_mm=volume.origins_mm + np.array([0.0, 0.0, 500.0]))
    with pytest.raises(InputError, match="outside") as error:
        find_voxel(moved, Place((10.0, 20.0, 530.0), in_mm=True))
    assert "did you mean 530,20,10?" in str(error.value.next_step)
    with pytest.raises(InputError, match="outside") as error:
        find_voxel(moved, Place((10.0, 20.0, 30.0), in_mm=True))
    assert "did you mean" not in str(error.value.next_step)


def test_a_donated_nodule_is_found_or_measured_where_it_is_said_to_be(chest: Path) -> None:
    for donor_at in (None, Place(tuple(c + 1 for c in NODULE))):
        result = carry_out(_order(chest, donor=chest, donor_at=donor_at))
        (donor,) = result.target.donors
        assert donor.kind is ForgeryKind.INJECT
        assert donor.diameter_mm == pytest.approx(20, abs=2)
        assert donor.hu[tuple(n // 2 for n in donor.hu.shape)] > -100
        assert donor.source.startswith("series SHA-256 ")
        assert str(chest) not in donor.source


def test_donated_lung_is_healthy(healthy: Path) -> None:
    for donor_at in (None, Place(IN_LUNG)):
        result = carry_out(_order(healthy, ForgeryKind.REMOVE, donor=healthy, donor_at=donor_at))
        (donor,) = result.target.donors
        assert (donor.kind, donor.diameter_mm) == (ForgeryKind.REMOVE, 0)
        assert np.median(donor.hu) < -800


def test_a_donor_without_what_is_wanted_is_refused(chest: Path, healthy: Path) -> None:
    with pytest.raises(InputError, match="no nodule was found in the donor"):
        carry_out(_order(chest, donor=healthy))
    with pytest.raises(InputError, match="the donor shows no nodule there"):
        carry_out(_order(chest, donor=healthy, donor_at=Place(IN_LUNG)))
    with pytest.raises(InputError, match="the donor shows no plain lung there"):
        carry_out(_order(chest, ForgeryKind.REMOVE, donor=chest, donor_at=Place(NODULE)))
    with pytest.raises(InputError, match="outside the volume"):
        carry_out(_order(chest, donor=chest, donor_at=Place((99.0, 1.0, 1.0))))


def test_the_source_volume_stays_as_it_was_and_the_record_adds_up(tmp_path: Path, chest: Path) -> None:
    stages: list[str] = []
    result = carry_out(_order(chest), progress=lambda stage, *_: stages.append(stage))
    assert list(dict.fromkeys(stages)) == [
        "looking for series", "reading slices", "finding the lungs", "choosing the place", "painting"
    ]
    made_at = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    files = write_result(result, tmp_path / "out", made_at=made_at)
    record = describe_result(result, files, {"seed": 1}, made_at=made_at)
    assert not is_forged(result.volume)
    change = result.forgery.hu.astype(int) - result.volume.hu
    assert record["change"]["changed_voxels"] == np.count_nonzero(change)
    assert record["change"]["highest_hu"] == change.max()
    assert record["change"]["lowest_hu"] == change[result.forgery.box].min() > 0
    assert record["provenance"]["utc"] == "2024-05-06T07:08:09Z"
    assert record["source"]["shape_zyx"] == [SLICES, SIDE, SIDE]
    assert len(record["files"]) == SLICES
