"""The training loop: seeded, checkpointed, resumable to the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from monai.networks.schedulers import DDPMScheduler

from verict.tamper.diffusion import TRAINING_STEPS, Scene, think, to_channels
from verict.training.diffusion_inpaint.network import InpaintingUNet, NetworkRecipe, precondition
from verict.training.fitting import Fitting, falling_rate

CHECKPOINT = "checkpoint.pt"
FINE_LEVELS = 350  # below, noise is finer than 0.6 of the network's units, and texture is decided
Batches = Callable[[np.random.Generator], list[tuple[np.ndarray, Scene]]]
"""Draws a batch: what stands in each hole, and its scene."""


@dataclass(frozen=True)
class FitRecipe:
    """How the network is fitted.

    Parameters
    ----------
    steps
        Batches in all.
    seed
        Of weights, batches and noise.
    learning_rate, warm_up
        Highest rate, reached after so many steps; from there it falls to 0 along a cosine.
    ema
        Decay of the averaged weights, which are the ones that are shipped.
    fine_share
        Of the patches that are shown with little noise, where texture is decided; the rest have any.
    save_every
        Steps between checkpoints.
    """

    steps: int = 4000
    seed: int = 7
    learning_rate: float = 1e-3
    warm_up: int = 200
    ema: float = 0.998
    fine_share: float = 0.4
    save_every: int = 100
    network: NetworkRecipe = field(default_factory=NetworkRecipe)


def fit(
    batches: Batches, file: Path, recipe: FitRecipe, progress: Callable[[str, int, int], None]
) -> tuple[InpaintingUNet, list[float]]:
    """Fit, going on from the checkpoint where the file is there; the averaged weights and each step's loss.

    What a step draws depends on the seed and the step's number alone.

    Raises
    ------
    ModelError
        If the checkpoint is of another recipe or cannot be read.
    """
    torch.manual_seed(recipe.seed)
    network = InpaintingUNet(recipe.network)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4)
    state = Fitting(network, optimiser)
    state.resume(file, _identify(recipe))
    # the table of noise levels is MONAI's; `verict.tamper.diffusion.kept_signal` is the same, which a test sees to
    levels = DDPMScheduler(TRAINING_STEPS, schedule="cosine", prediction_type="v_prediction")
    while state.step < recipe.steps:
        rng = np.random.default_rng([recipe.seed, state.step])
        state.set_rate(falling_rate(state.step, recipe.steps, recipe.learning_rate, recipe.warm_up))
        state.losses.append(_fit_batch(state, batches(rng), levels, recipe, rng))
        state.step += 1
        progress(f"fitting, loss {np.mean(state.losses[-100:]):.4f}", state.step, recipe.steps)
        if state.step % recipe.save_every == 0 or state.step == recipe.steps:
            state.save(file, _identify(recipe))
    network.load_state_dict(state.averaged)
    return network.eval(), state.losses


def _fit_batch(
    state: Fitting[InpaintingUNet], batch: list[tuple[np.ndarray, Scene]], levels: DDPMScheduler, recipe: FitRecipe,
    rng: np.random.Generator,
) -> float:
    clean = torch.from_numpy(np.stack([there for there, _ in batch]))[:, None]
    highest = np.where(rng.random(len(batch)) < recipe.fine_share, FINE_LEVELS, TRAINING_STEPS)
    level = torch.from_numpy(rng.integers(highest))
    noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32))
    noisy = levels.add_noise(clean, noise, level)
    wanted = levels.get_velocity(clean, noise, level)
    seen, holes = [], []
    for (_, scene), one in zip(batch, noisy.numpy(), strict=True):
        holes.append(scene.weight > 0.5)
        seen.append(to_channels(scene, think(scene), holes[-1], one[0]))
    channels = torch.from_numpy(np.stack(seen))
    velocity = state.network(channels, level.float())
    inside, spread = torch.from_numpy(np.stack(holes))[:, None].float(), channels[:, 4:]
    kept = state.network.keep(level)
    unit = precondition(kept, spread)[1] / (1 - kept).sqrt()  # what is learnt, in the velocity
    loss = (((velocity - wanted) / unit) ** 2 * inside).sum() / inside.sum()
    state.optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
    state.optimiser.step()
    state.average(recipe.ema)
    return float(loss.detach())


def _identify(recipe: FitRecipe) -> str:
    """All that decides the weights, as text."""
    return repr(sorted((name, value) for name, value in asdict(recipe).items() if name != "save_every"))
