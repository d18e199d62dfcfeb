"""The training loop: seeded, checkpointed, resumable to the same weights; the loss of each step is kept."""

from __future__ import annotations

import copy
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from monai.networks.schedulers import DDPMScheduler, NoiseSchedules
from torch import Tensor, nn

from verict.detect.back_in_time import TRAINING_STEPS, kept_signal
from verict.training.back_in_time.networks import make_network
from verict.training.back_in_time.recipe import BackInTimeRecipe, FitRecipe, Objective
from verict.training.fitting import Fitting, falling_rate

CHECKPOINT = "checkpoint.pt"
DENOISED_SIGMA = 0.06  # of the noise that the plain denoiser takes away, half windows: about 40 HU of the lung window
SCHEDULE = "sigmoid_signal"
DRAWN_AHEAD = 32  # steps whose crops and noise are drawn while a GPU computes
TOLD_EVERY = 20  # steps between looks at the loss, for which a GPU has to be waited for
CPU = torch.device("cpu")
Batches = Callable[[int, np.random.Generator], np.ndarray]
"""Draws (count, 1, crop, crop) float32 crops."""


@NoiseSchedules.add_def(SCHEDULE, "The sigmoid schedule of verict.detect.back_in_time")
def _sigmoid_signal(num_train_timesteps: int) -> tuple[Tensor, Tensor, Tensor]:
    kept = torch.from_numpy(kept_signal(num_train_timesteps))
    alphas = kept / torch.cat((torch.ones(1, dtype=kept.dtype), kept[:-1]))
    betas, alphas, kept = (v.float() for v in (1 - alphas, alphas, kept))
    return betas, alphas, kept


@dataclass(frozen=True, eq=False)
class Draw:
    """What a batch is: (n, 1, rows, columns) clean crops and noise, and (n,) noise steps."""

    clean: Tensor
    step: Tensor
    noise: Tensor

    def to(self, device: torch.device) -> Draw:
        """The same on a device."""
        return Draw(*(one.to(device, non_blocking=True) for one in (self.clean, self.step, self.noise)))


class _State(Fitting[nn.Module]):
    """Also the losses that a device was not yet waited for."""

    def __init__(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        super().__init__(network, optimiser)
        self.untold: list[Tensor] = []

    def tell(self) -> float:
        """Mean loss of the last hundred steps; waits for the device."""
        self.losses += [float(one) for one in self.untold]
        self.untold.clear()
        return float(np.mean(self.losses[-100:]))


def fit(
    batches: Batches, file: Path, recipe: BackInTimeRecipe, progress: Callable[[str, int, int], None],
    *, snapshots: tuple[int, ...] = (), device: torch.device = CPU,
) -> tuple[nn.Module, list[float]]:
    """Fit, going on from the checkpoint where the file is there; the averaged weights and each step's loss.

    What a step draws depends on the seed and the step's number alone. After each of the steps ``snapshots`` the
    averaged weights are kept beside the checkpoint as ``weights-STEP.pt``. On a GPU products are of bfloat16 and sums
    come in any order: the same crops and noise are shown, the weights differ in their last digits. The network comes
    back on the processor.

    Raises
    ------
    ModelError
        If the checkpoint is of another recipe or cannot be read.
    """
    torch.manual_seed(recipe.seed)
    network = make_network(recipe.network).to(device)  # random weights are the processor's, whatever the device
    state = _State(network, torch.optim.Adam(network.parameters(), recipe.fit.learning_rate))
    state.resume(file, _identify(recipe))
    levels = DDPMScheduler(TRAINING_STEPS, schedule=SCHEDULE)
    for draws in draw_steps(batches, recipe, state.step, device):
        state.set_rate(learning_rate(state.step, recipe.fit))
        state.untold.append(_fit_step(state, [one.to(device) for one in draws], levels, recipe))
        state.step += 1
        is_last = state.step == recipe.fit.steps
        if device.type == "cpu" or state.step % TOLD_EVERY == 0 or is_last:
            progress(f"fitting, loss {state.tell():.4f}", state.step, recipe.fit.steps)
        if state.step in snapshots:
            torch.save(state.averaged, file.with_name(f"weights-{state.step}.pt"))
        if state.step % recipe.fit.save_every == 0 or is_last:
            state.tell()
            state.save(file, _identify(recipe))
    fitted = copy.deepcopy(network)
    fitted.load_state_dict(state.averaged)
    return fitted.cpu().eval(), state.losses


def draw_steps(
    batches: Batches, recipe: BackInTimeRecipe, first: int, device: torch.device
) -> Iterator[list[Draw]]:
    """The batches of each step from ``first`` on; ahead of time where a GPU would wait for them."""

    def draw_step(step: int) -> list[Draw]:
        rng = np.random.default_rng([recipe.seed, step])
        return [draw(batches, recipe, rng) for _ in range(recipe.fit.accumulate)]

    if device.type == "cpu":
        yield from map(draw_step, range(first, recipe.fit.steps))
        return
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        waiting: deque[Future[list[Draw]]] = deque()
        for step in range(first, recipe.fit.steps):
            waiting.append(pool.submit(draw_step, step))
            if len(waiting) == DRAWN_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def draw(batches: Batches, recipe: BackInTimeRecipe, rng: np.random.Generator) -> Draw:
    """A batch of clean crops, noise steps and noise."""
    clean = torch.from_numpy(batches(recipe.fit.batch, rng))
    step = torch.from_numpy(rng.integers(recipe.fit.highest_step + 1, size=len(clean)))
    return Draw(clean, step, torch.from_numpy(rng.standard_normal(tuple(clean.shape), np.float32)))


def _fit_step(state: _State, draws: Sequence[Draw], levels: DDPMScheduler, recipe: BackInTimeRecipe) -> Tensor:
    """The step's loss, on the device."""
    state.network.train()
    state.optimiser.zero_grad()
    device = draws[0].clean.device
    total = torch.zeros((), dtype=torch.float64, device=device)
    for one in draws:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu"):
            loss = measure_loss(state.network, one, levels, recipe) / len(draws)
        loss.backward()
        total = total + loss.detach()
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
    state.optimiser.step()
    state.average(recipe.fit.ema)
    return total


def measure_loss(network: nn.Module, shown: Draw, levels: DDPMScheduler, recipe: BackInTimeRecipe) -> Tensor:
    """Mean squared error of the noise, or of the reconstruction, over a batch."""
    clean, step, noise = shown.clean, shown.step, shown.noise
    if recipe.objective is Objective.AUTOENCODER:
        return (network(clean, step.float()).float() ** 2).mean()
    if recipe.objective is Objective.DENOISER:
        told = network(clean + DENOISED_SIGMA * noise, torch.zeros_like(noise[:, 0, 0, 0]))
        return ((told.float() - noise) ** 2).mean()
    noisy = levels.add_noise(clean, noise, step)
    return ((network(noisy, step.float()).float() - noise) ** 2).mean()


def learning_rate(step: int, recipe: FitRecipe) -> float:
    """Rate of a step: rising, then constant or falling along a cosine."""
    if recipe.constant_rate and step >= recipe.warm_up:
        return recipe.learning_rate
    return falling_rate(step, recipe.steps, recipe.learning_rate, recipe.warm_up)


def _identify(recipe: BackInTimeRecipe) -> str:
    """All that decides the weights, as text."""
    told = asdict(recipe)
    told["fit"] = {name: value for name, value in told["fit"].items() if name != "save_every"}
    return repr(sorted((name, str(value)) for name, value in told.items() if name != "name"))
