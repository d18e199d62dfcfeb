from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler
from training.diffusion_inpaint.known_scans import make_scan

from verict.errors import ModelError
from verict.tamper.diffusion import TRAINING_STEPS, _step, kept_signal
from verict.training.diffusion_inpaint import patches
from verict.training.diffusion_inpaint.export import write_onnx
from verict.training.diffusion_inpaint.fit import Batches, FitRecipe, fit
from verict.training.diffusion_inpaint.network import InpaintingUNet, NetworkRecipe, precondition
from verict.training.diffusion_inpaint.patches import MEDIUM, THICK, THIN, PatchSource

SMALL = NetworkRecipe(channels=(8, 8, 8), groups=4)
RECIPE = FitRecipe(steps=6, seed=3, network=SMALL, save_every=2)


class KilledError(Exception):
    """Stands for a kill."""


def say_nothing(*_: object) -> None:
    pass


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Batches:
    torch.set_num_threads(1)
    monkeypatch.setattr(patches, "SHAPES", {THIN: ((8, 24, 24),), MEDIUM: (), THICK: ()})
    monkeypatch.setattr(patches, "BATCH_VOXELS", 1)
    return PatchSource([make_scan()]).draw_batch


def equal(one: InpaintingUNet, two: InpaintingUNet) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_noise_levels_are_monais() -> None:
    levels = DDPMScheduler(TRAINING_STEPS, schedule="cosine", prediction_type="v_prediction")
    assert np.allclose(kept_signal(), levels.alphas_cumprod.numpy(), rtol=2e-4, atol=1e-8)


@pytest.mark.parametrize("level", [0, 50, 400, 950])
def test_a_step_without_fresh_noise_is_monais(level: int) -> None:
    monai = DDIMScheduler(TRAINING_STEPS, schedule="cosine", prediction_type="v_prediction", clip_sample=False)
    monai.set_timesteps(20)
    rng = np.random.default_rng(level)
    noisy, velocity = (0.3 * rng.standard_normal((4, 4, 4), np.float32) for _ in range(2))
    kept = monai.alphas_cumprod.numpy()
    then = kept[level - 50] if level >= 50 else 1.0
    own = _step(noisy, velocity, (float(kept[level]), float(then)), 0.0, rng)
    wanted, _ = monai.step(torch.from_numpy(velocity), level, torch.from_numpy(noisy))
    assert np.allclose(own, wanted.numpy(), atol=2e-3)


def test_fresh_noise_is_as_much_as_monais() -> None:
    monai = DDIMScheduler(TRAINING_STEPS, schedule="cosine", prediction_type="v_prediction")
    monai.set_timesteps(20)
    kept, zero = monai.alphas_cumprod.numpy(), np.zeros((64, 64, 64), np.float32)
    stepped = _step(zero, zero, (float(kept[400]), float(kept[350])), 0.5, np.random.default_rng(0))
    assert stepped.std() == pytest.approx(0.5 * float(monai._get_variance(400, 350)) ** 0.5, rel=0.01)


def test_a_network_that_has_learnt_nothing_believes_half_the_texture() -> None:
    network = InpaintingUNet(SMALL).eval()
    channels = torch.randn(1, 5, 8, 16, 16)
    channels[:, 2], channels[:, 4] = 1.0, 0.4
    for level in (20.0, 400.0, 980.0):
        at = torch.tensor([level])
        with torch.no_grad():
            velocity = network(channels, at)
        kept = network.keep(at)
        clean = kept.sqrt() * channels[:, :1] - (1 - kept).sqrt() * velocity
        skip, error = precondition(kept, channels[:, 4:])
        away = channels[:, :1] - kept.sqrt() * channels[:, 1:2]
        assert torch.allclose(clean, channels[:, 1:2] + skip * away, atol=1e-3)
        believed = 0.2**2 * kept / (0.2**2 * kept + 1 - kept)
        assert torch.allclose(skip * kept.sqrt(), believed.expand_as(skip), atol=1e-5)
        assert (error > 0).all()


def test_killed_and_resumed_it_comes_to_the_same_weights(batches: Batches, tmp_path: Path) -> None:
    straight, losses = fit(batches, tmp_path / "a.pt", RECIPE, say_nothing)

    def die(_what: str, done: int, _total: int) -> None:
        if done == 5:  # after the checkpoint of step 4
            raise KilledError

    with pytest.raises(KilledError):
        fit(batches, tmp_path / "b.pt", RECIPE, die)
    steps: list[int] = []
    resumed, more = fit(batches, tmp_path / "b.pt", RECIPE, lambda _what, done, _total: steps.append(done))
    assert steps == [5, 6]
    assert equal(straight, resumed) and losses == more
    other, _ = fit(batches, tmp_path / "c.pt", replace(RECIPE, seed=4), say_nothing)
    assert not equal(straight, other)


def test_a_checkpoint_of_another_recipe_or_spoilt_is_refused(batches: Batches, tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    fit(batches, file, replace(RECIPE, steps=2), say_nothing)
    with pytest.raises(ModelError, match="another recipe"):
        fit(batches, file, RECIPE, say_nothing)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be read"):
        fit(batches, file, RECIPE, say_nothing)


def test_it_learns(batches: Batches, tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=40, warm_up=5, learning_rate=5e-3, save_every=100)
    _, losses = fit(batches, tmp_path / "a.pt", recipe, say_nothing)
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_the_exported_network_computes_the_same_from_half_the_bytes(tmp_path: Path) -> None:
    network = InpaintingUNet(NetworkRecipe(channels=(16, 16, 16)))
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.02 * torch.randn_like(value))
    assert write_onnx(network, tmp_path / "network.onnx") < 1e-3
    bytes_single = 4 * sum(value.numel() for value in network.parameters())
    assert (tmp_path / "network.onnx").stat().st_size < 0.7 * bytes_single
