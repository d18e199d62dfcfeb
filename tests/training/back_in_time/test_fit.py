"""Fitting: resumed to the same weights, the same in ONNX, on MONAI's scheduler with the published schedule."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from monai.networks.schedulers import DDPMScheduler

from verict.detect.back_in_time import kept_signal, step_back
from verict.errors import ModelError, UsageError
from verict.training.back_in_time.crops import CropSource, Slice, describe
from verict.training.back_in_time.export import LARGEST_DIFFERENCE, write_onnx
from verict.training.back_in_time.fit import DRAWN_AHEAD, SCHEDULE, draw_steps, fit, learning_rate
from verict.training.back_in_time.networks import count_parameters, make_network
from verict.training.back_in_time.recipe import (
    LUNG_HU,
    PUBLISHED,
    PUBLISHED_HU,
    RECIPES,
    FitRecipe,
    NetworkRecipe,
    Objective,
    choose_recipe,
)
from verict.training.back_in_time.samples import sample, write_losses, write_pictures

QUICK = FitRecipe(steps=6, batch=2, warm_up=2, save_every=3)
NETWORKS = {
    Objective.DIFFUSION: NetworkRecipe("cells", (8, 8, 16)),
    Objective.DENOISER: NetworkRecipe("published", (8, 16)),
    Objective.AUTOENCODER: NetworkRecipe("autoencoder", (4, 8)),
}


def quiet(*_: object) -> None:
    """No progress."""


def quick(objective: Objective):
    return replace(RECIPES["small"], objective=objective, network=NETWORKS[objective], fit=QUICK, crop_px=32)


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(0)
    hu = rng.normal(-850, 60, (2, 80, 90)).astype(np.int16)
    lung = np.argwhere(np.ones((80, 90), bool)).astype(np.int16)
    return CropSource((Slice(hu[0], lung, True), Slice(hu[1], lung, False)), quick(Objective.DIFFUSION))


def test_the_published_recipe_is_the_published_configuration():
    assert PUBLISHED.window_hu == PUBLISHED_HU == (-700, 2000)
    assert (PUBLISHED.crop_px, PUBLISHED.network.channels) == (96, (32, 64, 128, 256))
    assert (PUBLISHED.fit.steps, PUBLISHED.fit.batch, PUBLISHED.fit.accumulate) == (700_000, 64, 2)
    assert (PUBLISHED.fit.learning_rate, PUBLISHED.fit.ema, PUBLISHED.fit.highest_step) == (8e-6, 0.995, 999)
    assert learning_rate(0, PUBLISHED.fit) == learning_rate(699_999, PUBLISHED.fit) == 8e-6
    assert count_parameters(make_network(PUBLISHED.network)) == 9_190_977
    assert RECIPES["lung-window"] == replace(PUBLISHED, name="lung-window", window_hu=LUNG_HU)


def test_a_recipe_without_that_name_is_refused():
    with pytest.raises(UsageError, match="did you mean published"):
        choose_recipe("publishd")


def test_monais_scheduler_adds_noise_and_steps_back_as_the_detector_does():
    levels = DDPMScheduler(1000, schedule=SCHEDULE)
    assert levels.alphas_cumprod.numpy() == pytest.approx(kept_signal(), abs=1e-6)
    rng = np.random.default_rng(1)
    image, noise = (rng.uniform(-0.9, 0.9, (1, 1, 8, 8)).astype(np.float32) for _ in range(2))
    for step in (1, 19, 400):
        levels.variance_type = "none"
        mean = _posterior_mean(levels, image, noise, step)
        assert step_back(image, noise, step) == pytest.approx(mean, abs=2e-4)


def _posterior_mean(levels: DDPMScheduler, image: np.ndarray, noise: np.ndarray, step: int) -> np.ndarray:
    """What the scheduler gives on average over the noise that it adds."""
    mirrored = []
    for sign in (1, -1):
        generator = torch.Generator().manual_seed(3)
        given = sign * torch.from_numpy(image), sign * torch.from_numpy(noise)
        mirrored.append(sign * levels.step(given[1], step, given[0], generator=generator)[0].numpy())
    return np.mean(mirrored, axis=0)  # of mirrored inputs the added noise has the other sign


@pytest.mark.parametrize("objective", list(Objective))
def test_a_killed_training_ends_with_the_same_weights(tmp_path, source, objective):
    recipe = quick(objective)
    whole, losses = fit(source.draw, tmp_path / "whole.pt", recipe, quiet)

    def kill(_: str, done: int, __: int) -> None:
        if done == 4:  # after the checkpoint of step 3
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(source.draw, tmp_path / "killed.pt", recipe, kill)
    resumed, others = fit(source.draw, tmp_path / "killed.pt", recipe, quiet)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert losses == others
    assert len(losses) == 6


def test_what_is_drawn_ahead_for_a_graphics_card_is_what_the_processor_draws(source):
    recipe = replace(quick(Objective.DIFFUSION), fit=replace(QUICK, steps=DRAWN_AHEAD + 5, accumulate=2))
    both = [list(draw_steps(source.draw, recipe, 3, torch.device(name))) for name in ("cpu", "cuda")]
    assert [len(one) for one in both] == [DRAWN_AHEAD + 2] * 2
    for own, ahead in zip(*both, strict=True):
        for one, other in zip(own, ahead, strict=True):
            assert torch.equal(one.clean, other.clean)
            assert torch.equal(one.step, other.step)
            assert torch.equal(one.noise, other.noise)


def test_another_recipe_does_not_go_on_from_a_checkpoint(tmp_path, source):
    recipe = quick(Objective.DIFFUSION)
    fit(source.draw, tmp_path / "one.pt", recipe, quiet, snapshots=(2,))
    assert (tmp_path / "weights-2.pt").is_file()
    with pytest.raises(ModelError, match="another recipe"):
        fit(source.draw, tmp_path / "one.pt", replace(recipe, window_hu=PUBLISHED_HU), quiet)
    (tmp_path / "one.pt").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        fit(source.draw, tmp_path / "one.pt", recipe, quiet)


@pytest.mark.parametrize("objective", list(Objective))
def test_onnx_computes_what_torch_does(tmp_path, source, objective):
    recipe = quick(objective)
    network, _ = fit(source.draw, tmp_path / "one.pt", recipe, quiet)
    assert write_onnx(network, tmp_path / "one.onnx", recipe.crop_px) <= LARGEST_DIFFERENCE
    session = onnxruntime.InferenceSession(tmp_path / "one.onnx")
    tiles = source.draw(3, np.random.default_rng(4))
    noise = session.run(None, {"tiles": tiles, "step": np.full(3, 19, np.float32)})[0]
    with torch.no_grad():
        own = network(torch.from_numpy(tiles), torch.full((3,), 19.0)).numpy()
    assert noise == pytest.approx(own, abs=LARGEST_DIFFERENCE)


def test_crops_are_of_the_share_wanted_within_the_window(source):
    assert describe(source.slices) == {"real": 1, "simulated": 1}
    first, again = (source.draw(4, np.random.default_rng(9)) for _ in range(2))
    assert first.shape == (4, 1, 32, 32)
    assert np.abs(first).max() <= 1
    np.testing.assert_array_equal(first, again)


def test_losses_and_pictures_are_kept(tmp_path):
    write_losses([1.0] * 50 + [0.5] * 25, tmp_path / "loss.csv")
    rows = list(csv.reader((tmp_path / "loss.csv").read_text(encoding="utf-8").splitlines()))
    assert rows == [["step", "loss"], ["50", "1.00000"], ["75", "0.50000"]]
    sampled = sample(make_network(NETWORKS[Objective.DIFFUSION]).eval(), 16, 1, count=2)
    assert sampled.shape == (2, 16, 16)
    assert np.abs(sampled).max() <= 1
    write_pictures([sampled, sampled], tmp_path / "samples.png")
    assert (tmp_path / "samples.png").read_bytes().startswith(b"\x89PNG")
