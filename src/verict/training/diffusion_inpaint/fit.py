"""The training loop: seeded, checkpointed, resumable to the same weights."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.schedulers import DDPMScheduler

from verict.errors import ModelError
from verict.tamper.diffusion import TRAINING_STEPS, Scene, think, to_channels
from verict.training.diffusion_inpaint.network import InpaintingUNet, NetworkRecipe, precondition

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


@dataclass(eq=False)
class _State:
    network: InpaintingUNet
    averaged: dict[str, torch.Tensor]
    optimiser: torch.optim.Optimizer
    step: int = 0
    losses: list[float] = field(default_factory=list)


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
    averaged = {name: value.detach().clone() for name, value in network.state_dict().items()}
    state = _State(network, averaged, optimiser)
    if file.is_file():
        _resume(state, file, recipe)
    # the table of noise levels is MONAI's; `verict.tamper.diffusion.kept_signal` is the same, which a test sees to
    levels = DDPMScheduler(TRAINING_STEPS, schedule="cosine", prediction_type="v_prediction")
    while state.step < recipe.steps:
        rng = np.random.default_rng([recipe.seed, state.step])
        for group in optimiser.param_groups:
            group["lr"] = _learning_rate(state.step, recipe)
        state.losses.append(_fit_batch(state, batches(rng), levels, recipe, rng))
        state.step += 1
        progress(f"fitting, loss {np.mean(state.losses[-100:]):.4f}", state.step, recipe.steps)
        if state.step % recipe.save_every == 0 or state.step == recipe.steps:
            _save(state, file, recipe)
    network.load_state_dict(state.averaged)
    return network.eval(), state.losses


def _fit_batch(
    state: _State, batch: list[tuple[np.ndarray, Scene]], levels: DDPMScheduler, recipe: FitRecipe,
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
    decay = min(recipe.ema, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for name, value in state.network.state_dict().items():
            state.averaged[name].lerp_(value, 1 - decay)
    return float(loss.detach())


def _learning_rate(step: int, recipe: FitRecipe) -> float:
    if step < recipe.warm_up:
        return recipe.learning_rate * (step + 1) / recipe.warm_up
    part = (step - recipe.warm_up) / max(recipe.steps - recipe.warm_up, 1)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * part))


def _save(state: _State, file: Path, recipe: FitRecipe) -> None:
    """Write under another name first, so that a kill leaves the checkpoint before it whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    torch.save(
        {
            "recipe": _identify(recipe), "step": state.step, "losses": state.losses, "averaged": state.averaged,
            "network": state.network.state_dict(), "optimiser": state.optimiser.state_dict(),
        },
        partial,
    )
    partial.replace(file)


def _resume(state: _State, file: Path, recipe: FitRecipe) -> None:
    try:
        saved: dict[str, Any] = torch.load(file, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError("the checkpoint cannot be read", file=file, found=type(error).__name__,
                         next_step="delete it to start anew") from error
    if saved["recipe"] != _identify(recipe):
        raise ModelError("the checkpoint is of another recipe", file=file, found=saved["recipe"],
                         expected=_identify(recipe), next_step="name another folder, or delete it to start anew")
    state.network.load_state_dict(saved["network"])
    state.optimiser.load_state_dict(saved["optimiser"])
    state.averaged, state.step, state.losses = saved["averaged"], saved["step"], saved["losses"]


def _identify(recipe: FitRecipe) -> str:
    """All that decides the weights, as text."""
    return repr(sorted((name, value) for name, value in asdict(recipe).items() if name != "save_every"))
