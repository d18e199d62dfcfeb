"""CT-GAN's footprint on voxels, with identity in place of the network, and what the shipped networks do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from verict.ct.discover import find_series
from verict.ct.lungs import find_lungs
from verict.ct.read import read_series
from verict.ct.volume import CTVolume
from verict.datasets.authentic import read_nodules
from verict.errors import ModelError
from verict.tamper import touch_ups
from verict.tamper.ctgan_cuboid import Equaliser
from verict.tamper.ctgan_touch_up import touched_up_voxels
from verict.tamper.cubes import Box
from verict.tamper.families.ctgan import WEIGHTS, CtGan, open_model
from verict.tamper.forgery import ForgeryKind, Target, forge
from verict.tamper.target import aim

SPACING_MM = (1.5, 0.8, 0.8)
SIDES = (21, 40, 40)  # 32 mm in voxels
TOUCHED = 52  # int(1.3 x 40)
NOISES = ("white", "zoomed", "copied")
BOTH = pytest.mark.parametrize("kind", list(ForgeryKind))


def make_target(kind: ForgeryKind, centre: tuple[int, int, int] = (40, 60, 66), *, run: slice | None = None) -> Target:
    """A place in noisy lung with vessels, 80 slices of 128 x 128."""
    rng = np.random.default_rng(5)
    hu = rng.normal(-850, 40, (80, 128, 128))
    hu[:, rng.integers(128, size=30), rng.integers(128, size=30)] = 0
    return Target(hu.astype(np.int16), SPACING_MM, np.ones(hu.shape, bool), centre, kind, run or slice(0, 80))


def identity(masked: np.ndarray) -> np.ndarray:
    return masked


def bounds(changed: np.ndarray) -> list[tuple[int, int]]:
    """First voxel and one past the last, along each axis."""
    places = np.argwhere(changed)
    return list(zip(places.min(0).tolist(), (places.max(0) + 1).tolist(), strict=True))


def box_around(centre: tuple[int, int, int], sides: tuple[int, int, int]) -> list[tuple[int, int]]:
    return [(c - n // 2, c - n // 2 + n) for c, n in zip(centre, sides, strict=True)]


def sides_of(box: Box) -> list[tuple[int, int]]:
    return [(side.start, side.stop) for side in box]


@BOTH
def test_without_a_touch_up_the_resampled_cuboid_of_32_mm_is_all_that_changes(kind: ForgeryKind) -> None:
    target = make_target(kind)
    before = target.hu.copy()
    forgery = forge(target, CtGan(identity), touch_ups.create("none"), seed=1)
    assert np.array_equal(target.hu, before)
    wanted = box_around(target.centre, SIDES)
    assert sides_of(forgery.painted_box) == sides_of(forgery.box) == wanted
    changed = forgery.hu != target.hu
    assert bounds(changed) == wanted, "resampling changes the cuboid up to each of its faces"
    assert changed[forgery.box].mean() > 0.9
    paint = forgery.record["paint"]
    assert isinstance(paint, dict)
    assert (paint["cuboid_voxels_zyx"], paint["clamped_at_ends"]) == (list(SIDES), False)
    json.dumps(forgery.record)


@BOTH
@pytest.mark.parametrize("noise", NOISES)
def test_with_noise_before_and_after_subtract_to_the_larger_cube(kind: ForgeryKind, noise: str) -> None:
    target = make_target(kind)
    assert touched_up_voxels(SIDES) == TOUCHED
    forgery = forge(target, CtGan(identity), touch_ups.create(noise), seed=1)
    wanted = box_around(target.centre, (TOUCHED,) * 3)
    assert sides_of(forgery.box) == wanted
    outside = np.ones(target.hu.shape, bool)
    outside[forgery.box] = False
    changed = forgery.hu.astype(int) - target.hu != 0
    assert not changed[outside].any()
    assert bounds(changed)[0] == wanted[0], "nothing fades along z"
    for (low, high), (first, stop) in zip(bounds(changed)[1:], wanted[1:], strict=True):
        assert low <= first + 6
        assert high >= stop - 6


@pytest.mark.parametrize(
    ("centre", "run"), [((4, 60, 66), None), ((76, 60, 66), None), ((40, 60, 66), slice(35, 80)), ((40, 5, 125), None)]
)
def test_at_the_ends_of_the_volume_and_of_a_run_the_cuboid_is_clamped_and_the_record_says_so(
    centre: tuple[int, int, int], run: slice | None
) -> None:
    target = make_target(ForgeryKind.REMOVE, centre, run=run)
    forgery = forge(target, CtGan(identity), touch_ups.create("none"), seed=1)
    low = [target.run.start, 0, 0]
    high = [target.run.stop, 128, 128]
    wanted = [(max(a, c), min(b, d)) for (a, b), c, d in zip(box_around(centre, SIDES), low, high, strict=True)]
    assert sides_of(forgery.box) == wanted
    assert bounds(forgery.hu != target.hu) == wanted
    paint = forgery.record["paint"]
    assert isinstance(paint, dict)
    assert paint["clamped_at_ends"] is True


@pytest.mark.parametrize("noise", NOISES)
def test_no_voxel_falls_where_a_nodule_is_injected(noise: str) -> None:
    target = make_target(ForgeryKind.INJECT)

    def ball(masked: np.ndarray) -> np.ndarray:
        away = np.linalg.norm(np.indices(masked.shape) - 15.5, axis=0)
        return np.where(away < 6, np.float32(0.49), masked)

    straight = Equaliser(-1000.0, 200.0, np.linspace(0, 1, 1000), 0.5)
    forgery = forge(target, CtGan(ball, straight), touch_ups.create(noise), seed=3)
    assert (forgery.hu.astype(int) - target.hu).min() >= 0
    assert forgery.hu[target.centre] > 0


def test_a_place_is_painted_alike_whatever_the_seed() -> None:
    target = make_target(ForgeryKind.REMOVE)
    first, second = (CtGan(identity).paint(target, np.random.default_rng(seed)).hu for seed in (1, 2))
    assert np.array_equal(first, second)


@pytest.fixture(scope="module")
def lidc(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CTVolume]:
    """64 slices of LIDC-IDRI-0314 around its documented nodule."""
    nodule = read_nodules(shared_data / "nodules.csv")[0]
    folder = tmp_path_factory.mktemp("lidc")
    series = shared_data / "authentic" / nodule.folder
    middle = 161  # the file of that slice
    for number in range(middle - 32, middle + 32):
        shutil.copy(series / f"{number:03d}.dcm", folder)
    yield read_series(find_series(folder).series[0])


@pytest.fixture(scope="module")
def nodule_voxel(lidc: CTVolume, shared_data: Path) -> tuple[int, int, int]:
    nodule = read_nodules(shared_data / "nodules.csv")[0]
    return int(np.argmin(np.abs(lidc.positions_mm - nodule.z_mm))), nodule.y, nodule.x


def mean_around(hu: np.ndarray, voxel: tuple[int, int, int], reach: int = 2) -> float:
    return float(hu[tuple(slice(c - reach, c + reach + 1) for c in voxel)].mean())


def test_the_shipped_remover_paints_lung_over_a_real_nodule(lidc: CTVolume, nodule_voxel: tuple[int, int, int]) -> None:
    target = aim(lidc, find_lungs(lidc), nodule_voxel, ForgeryKind.REMOVE)
    assert mean_around(lidc.hu, nodule_voxel) > -100
    forgery = forge(target, CtGan(), touch_ups.create("copied"), seed=1)
    assert -1000 < mean_around(forgery.hu, nodule_voxel) < -650


@pytest.mark.parametrize("noise", NOISES)
def test_the_shipped_injector_paints_a_nodule_and_no_voxel_falls(
    lidc: CTVolume, nodule_voxel: tuple[int, int, int], noise: str
) -> None:
    z, y, x = nodule_voxel
    centre = (z, y + 30, x - 36)  # lung beside the nodule
    target = aim(lidc, find_lungs(lidc), centre, ForgeryKind.INJECT)
    assert mean_around(lidc.hu, centre) < -750
    forgery = forge(target, CtGan(), touch_ups.create(noise), seed=1)
    assert mean_around(forgery.hu, centre) > -300
    assert (forgery.hu.astype(int) - lidc.hu).min() >= 0


@BOTH
def test_a_shipped_card_tells_what_was_learnt_from_and_binds_its_weights(kind: ForgeryKind) -> None:
    card = open_model(kind).card
    assert card["kind"] == kind
    assert card["config"]["filters"] < 100
    assert card["training"]["command"].startswith(f"verict train ctgan-{kind} --data")
    assert {"cmbcrc-ge-LUNG", "fusedct-siemens-B31f"} == set(card["training"]["data"]["left_out"])
    assert not {"cmbcrc-ge-LUNG", "fusedct-siemens-B31f"} & set(card["training"]["data"]["healthy_cuboids"])
    if kind is ForgeryKind.INJECT:
        assert len(card["training"]["real_nodules"]) == 3
        assert "very few real nodules" in " ".join(card["limits"])
    assert (WEIGHTS / f"{card['id']}.onnx").stat().st_size < 5e6


def test_altered_or_missing_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model"):
        open_model(ForgeryKind.REMOVE, tmp_path)
    for suffix in (".onnx", ".json"):
        shutil.copy(WEIGHTS / f"ctgan-remove{suffix}", tmp_path)
    weights = tmp_path / "ctgan-remove.onnx"
    damaged = bytearray(weights.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    weights.write_bytes(damaged)
    with pytest.raises(ModelError, match="not the ones the card describes"):
        open_model(ForgeryKind.REMOVE, tmp_path)
