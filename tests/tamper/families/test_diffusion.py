"""Diffusion inpainting as a family: what it plans, what it leaves alone, and what the shipped network paints."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tamper.lung_scene import aim_at, fine_texture, make_lung
from tamper.places import LUNG, TISSUE

from verict.errors import InputError, ModelError
from verict.tamper.diffusion import kept_signal, to_network
from verict.tamper.families.diffusion import (
    MOST_VOXELS,
    NAME,
    WEIGHTS,
    DiffusionInpaint,
    DiffusionSettings,
    open_network,
)
from verict.tamper.forgery import ForgeryKind, Paint, Target

INJECT, REMOVE = ForgeryKind.INJECT, ForgeryKind.REMOVE
HERE = (28.0, 40.0, 56.0)
FEW = DiffusionSettings(steps=8)


def guessing_denoiser(channels: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Paints the guess it is shown, without any texture."""
    kept = kept_signal()[int(level[0])]
    noisy, guess = channels[0, 0], channels[0, 1]
    noise = (noisy - np.sqrt(kept) * guess) / np.sqrt(1 - kept)
    return (np.sqrt(kept) * noise - np.sqrt(1 - kept) * guess)[None, None].astype(np.float32)


def paint(target: Target, seed: int = 1, settings: DiffusionSettings = FEW) -> Paint:
    return DiffusionInpaint(settings, guessing_denoiser).paint(target, np.random.default_rng(seed))


def before(target: Target, painted: Paint) -> np.ndarray:
    return target.hu[painted.box].astype(np.float32)


@pytest.mark.parametrize("kind", [INJECT, REMOVE])
def test_nothing_changes_where_its_own_weight_is_zero(kind: ForgeryKind) -> None:
    target = aim_at(make_lung(), HERE, kind, 10.0)
    painted = paint(target)
    assert painted.weight is not None
    assert painted.hu.shape == painted.weight.shape and painted.hu.dtype == np.float32
    assert painted.weight.min() >= 0 and painted.weight.max() == 1
    changed = painted.hu != before(target, painted)
    assert changed.any() and not changed[painted.weight == 0].any()
    faces = [np.take(painted.weight, end, axis) for axis in range(3) for end in (0, -1)]
    assert max(face.max() for face in faces) == 0


def test_the_hole_is_no_cuboid_and_another_at_every_seed() -> None:
    target = aim_at(make_lung(), HERE, REMOVE, 10.0)
    first, again, other = (paint(target, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.hu, again.hu) and np.array_equal(first.weight, again.weight)
    assert not np.array_equal(first.weight, other.weight)
    inside = np.argwhere(first.weight > 0)
    filled = (first.weight > 0).sum() / np.prod(np.ptp(inside, axis=0) + 1)
    assert 0.35 < filled < 0.7  # a ball fills 0.52 of its box


def test_an_injected_nodule_has_the_wanted_size_and_density() -> None:
    target = aim_at(make_lung(), HERE, INJECT, 12.0)
    painted = paint(target, settings=replace(FEW, nodule_hu=20.0))
    bright = painted.hu > -400
    diameter_mm = np.cbrt(6 / np.pi * bright.sum() * np.prod(target.spacing_mm))
    assert diameter_mm == pytest.approx(12, abs=1.5)
    assert float(np.median(painted.hu[painted.hu > -200])) == pytest.approx(20, abs=30)
    assert painted.details["nodule_mm"] == 12.0 and painted.details["nodule_hu"] == 20.0


def test_sizes_and_densities_are_drawn_where_none_is_wanted() -> None:
    sizes = [paint(aim_at(make_lung(), HERE, INJECT), seed).details["nodule_mm"] for seed in range(3)]
    assert len(set(sizes)) == 3 and all(7 <= size <= 16 for size in sizes)


def test_a_nodule_is_removed_whole_even_where_it_is_longer_than_said() -> None:
    scan = make_lung(nodules=[((28, 36, 56), 9.0), ((28, 43, 56), 9.0)])  # one body, 16 mm along y
    target = aim_at(scan, (28, 39.5, 56), REMOVE, 12.0)
    painted = paint(target)
    middle = painted.hu[painted.weight == 1]
    assert (before(target, painted) > -300).sum() > 500
    assert (middle > -300).sum() == 0
    assert middle.mean() == pytest.approx(LUNG, abs=60)


@pytest.mark.parametrize("spacing_mm", [(1.0, 0.55, 0.55), (5.0, 0.9, 0.9)])
def test_places_of_any_spacing_keep_their_own_voxels_or_say_so(spacing_mm: tuple[float, float, float]) -> None:
    painted = paint(aim_at(make_lung(spacing_mm), HERE, REMOVE, 14.0))
    assert np.prod(painted.details["grid_zyx"]) <= MOST_VOXELS
    assert painted.details["is_resampled"] == (spacing_mm[1] < 0.6)
    assert painted.details["is_resampled"] == (tuple(painted.details["grid_zyx"]) != painted.hu.shape)


def test_it_stays_within_the_run_of_slices() -> None:
    target = aim_at(make_lung(), (9.0, 40.0, 56.0), INJECT, 10.0)
    cut = replace(target, run=slice(3, 30))
    painted = paint(cut)
    assert painted.box[0].start >= 3 and painted.box[0].stop <= 30
    assert painted.details["clamped_at_ends"]


def test_a_rib_in_the_hole_is_left_as_it_is_and_a_calcified_nodule_is_not() -> None:
    volume, lungs = make_lung(nodules=[((28, 40, 56), 10.0)])
    hu = volume.hu.copy()
    z, y, x = np.ix_(*(np.arange(n) * s for n, s in zip(hu.shape, volume.spacing_mm, strict=True)))
    hu[np.sqrt((z - 28) ** 2 + (y - 40) ** 2 + (x - 56) ** 2) < 3] = 600  # the nodule's calcified core
    rib = np.broadcast_to((np.abs(x - 64) < 1.5) & (np.abs(z - 28) < 3), hu.shape)
    hu[rib] = 800
    target = aim_at((replace(volume, hu=hu), lungs), HERE, REMOVE, 10.0)
    painted = paint(target)
    here = rib[painted.box]
    assert np.array_equal(painted.hu[here], before(target, painted)[here])
    assert (painted.hu[~here] > 300).sum() == 0


def test_what_is_too_large_is_refused_and_what_was_unknown_is_stated() -> None:
    with pytest.raises(InputError, match="30 mm"):
        paint(aim_at(make_lung(), HERE, REMOVE, 35.0))
    assert paint(aim_at(make_lung(), HERE, REMOVE)).details["network"] == {"id": "given by the caller"}


def test_weights_that_are_missing_or_altered_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model"):
        open_network(tmp_path)
    for name in (f"{NAME}.json", f"{NAME}.onnx"):
        shutil.copy(WEIGHTS / name, tmp_path)
    with (tmp_path / f"{NAME}.onnx").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(ModelError, match="not the ones"):
        open_network(tmp_path)


def test_the_shipped_weights_are_small_and_their_card_is_whole() -> None:
    assert (WEIGHTS / f"{NAME}.onnx").stat().st_size < 6_000_000
    denoise, identity = open_network()
    assert set(identity) == {"id", "version", "sha256"} and identity["id"] == NAME
    channels = np.zeros((1, 5, 8, 16, 24), np.float32)
    channels[:, 4] = 0.3
    assert denoise(channels, np.array([500.0], np.float32)).shape == (1, 1, 8, 16, 24)


def test_the_shipped_network_removes_a_nodule_and_paints_lung_of_the_scans_own_grain() -> None:
    target = aim_at(make_lung(nodules=[(HERE, 9.0)], noise_hu=45), HERE, REMOVE, 9.0)
    painted = DiffusionInpaint(DiffusionSettings(steps=12)).paint(target, np.random.default_rng(3))
    assert painted.weight is not None
    core = painted.weight == 1
    assert (before(target, painted)[core] > -200).sum() > 300
    assert (painted.hu[core] > -400).mean() < 0.03
    assert float(np.median(painted.hu[core])) == pytest.approx(LUNG, abs=60)
    away = (painted.weight == 0) & (before(target, painted) < -600)
    ratio = fine_texture(painted.hu)[core].std() / fine_texture(painted.hu)[away].std()
    assert 0.6 < ratio < 1.6


def test_the_shipped_network_injects_a_nodule_of_about_the_wanted_size() -> None:
    target = aim_at(make_lung(noise_hu=45), HERE, INJECT, 10.0)
    settings = DiffusionSettings(steps=12, nodule_hu=30.0)
    painted = DiffusionInpaint(settings).paint(target, np.random.default_rng(3))
    bright = painted.hu > -400
    diameter_mm = np.cbrt(6 / np.pi * bright.sum() * np.prod(target.spacing_mm))
    assert diameter_mm == pytest.approx(10, abs=2.5)
    assert float(np.median(painted.hu[painted.hu > -200])) == pytest.approx(TISSUE, abs=80)
    assert to_network(painted.hu).max() < 5.3
