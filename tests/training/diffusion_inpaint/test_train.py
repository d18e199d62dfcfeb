from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tamper.lung_scene import aim_at, make_lung
from training.diffusion_inpaint.known_scans import make_scan

from verict.errors import DatasetError, UsageError
from verict.tamper.families.diffusion import DiffusionInpaint, DiffusionSettings, open_network
from verict.tamper.forgery import ForgeryKind, Paint
from verict.training.diffusion_inpaint import chests, patches, train
from verict.training.diffusion_inpaint.chests import KnownScan
from verict.training.diffusion_inpaint.figures import compare, to_rows
from verict.training.diffusion_inpaint.fit import FitRecipe
from verict.training.diffusion_inpaint.network import NetworkRecipe
from verict.training.diffusion_inpaint.patches import MEDIUM, THICK, THIN
from verict.training.diffusion_inpaint.train import DiffusionRecipe, train_diffusion_inpaint

HERE = (28.0, 40.0, 56.0)


def say_nothing(*_: object) -> None:
    pass


def test_it_writes_weights_that_the_family_opens_and_a_card_that_says_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "read_real_scans", lambda *_: [make_scan("real", is_real=True)])
    monkeypatch.setattr(patches, "SHAPES", {THIN: ((8, 24, 24),), MEDIUM: (), THICK: ()})
    monkeypatch.setattr(train, "simulate_chests", lambda *_: iter([make_scan("phantom:3:0")]))
    fit = FitRecipe(steps=2, seed=3, network=NetworkRecipe(channels=(8, 8, 8), groups=4))
    card = train_diffusion_inpaint(tmp_path, tmp_path / "out", DiffusionRecipe(fit, 1, measured=0), say_nothing)
    assert card["training"]["data"]["left_out"] == ["cmbcrc-ge-LUNG", "fusedct-siemens-B31f"]
    assert card["training"]["nodules"] == {"real": 1, "simulated": 1}
    assert card["training"]["command"].endswith("--steps 2 --seed 3")
    denoise, identity = open_network(tmp_path / "out")
    assert identity["sha256"] == card["sha256"]
    target = aim_at(make_lung(), HERE, ForgeryKind.REMOVE, 8.0)
    paint = DiffusionInpaint(DiffusionSettings(steps=2), denoise).paint(target, np.random.default_rng(0))
    assert np.isfinite(paint.hu).all()


def test_the_series_that_figures_are_measured_on_are_not_learnt_from(shared_data: Path) -> None:
    folders = {folder.name for folder in (shared_data / "authentic").iterdir()}
    assert set(chests.LEFT_OUT) < folders


def test_a_folder_without_series_to_learn_from_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        chests.read_real_scans(tmp_path, say_nothing)
    left_out = [SimpleNamespace(folder=name, volume=None) for name in chests.LEFT_OUT]
    monkeypatch.setattr(chests, "read_authentic_scans", lambda *_: iter(left_out))
    with pytest.raises(DatasetError, match="no authentic series to learn from"):
        chests.read_real_scans(tmp_path, say_nothing)


def test_simulated_chests_are_made_once_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def simulate(seed: int, number: int) -> KnownScan:
        made.append(number)
        return make_scan(f"phantom:{seed}:{number}", seed=number)

    monkeypatch.setattr(chests, "simulate_chest", simulate)
    first = list(chests.simulate_chests(2, 5, tmp_path, say_nothing))
    again = list(chests.simulate_chests(3, 5, tmp_path, say_nothing))
    assert made == [0, 1, 2]
    assert all(np.array_equal(a.hu, b.hu) and a.nodules == b.nodules for a, b in zip(first, again, strict=False))
    (tmp_path / "chest-5-0.npz").write_bytes(b"PK spoilt")
    with pytest.raises(DatasetError, match="cannot be read"):
        list(chests.simulate_chests(1, 5, tmp_path, say_nothing))


def test_a_perfect_painter_has_no_error_and_the_mean_has_that_of_the_texture() -> None:
    target = aim_at(make_lung(noise_hu=30), HERE, ForgeryKind.REMOVE, 10.0)
    painted = DiffusionInpaint(DiffusionSettings(steps=1), lambda c, _: 0 * c[:, :1]).paint(
        target, np.random.default_rng(0))
    perfect = Paint(painted.box, target.hu[painted.box].astype(np.float32), painted.weight)
    found = compare(target, perfect)
    assert found["mae_sample"] == 0 and found["ssim_sample"] == pytest.approx(1) and found["fine"] == pytest.approx(1)
    assert 15 < found["mae_mean"] < 60 and found["ssim_mean"] < 0.9
    rows = to_rows("made", {name: np.array([value]) for name, value in found.items()})
    assert [row["n"] for row in rows] == [1] * 7 and rows[0]["value"] == 0
