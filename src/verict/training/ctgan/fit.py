"""The training loop: a 3D conditional GAN on a bank of cuboids, seeded, resumed after a kill to the same weights.

Losses and optimiser are those of Mirsky et al., USENIX Security 2019: generator, least-squares adversarial loss plus
100 times the mean absolute error over the cuboid; discriminator, half the least-squares loss of real and painted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.losses import PatchAdversarialLoss

from verict.errors import UsageError
from verict.tamper.ctgan_cuboid import HOLE, SIDE, Equaliser
from verict.training.ctgan.data import VARIANTS, Bank, augment
from verict.training.ctgan.networks import Discriminator, Generator

IN_HOLE = (..., *HOLE)

StepReport = Callable[[int, dict[str, float]], None]
"""Called with the number of steps done and the losses of the last of them."""


@dataclass(frozen=True)
class FitRecipe:
    """How a generator is fitted.

    Parameters
    ----------
    filters
        Of the first layers of both networks; published 100.
    steps, batch
        Published: 200 epochs of 169 nodules x 67 variants in batches of 32, some 70,000 steps.
    learning_rate, discriminator_rate, beta
        Adam's. The published code has 2e-4, 1e-6 and 0.5.
    mae_weight
        Of the absolute error against the adversarial loss.
    hole_weight
        Of the absolute error within the hole against that of the rim; published 1.
    decay_from
        Share of the steps after which the learning rates fall linearly to 0; published 1, that is never.
    dropout
        Of the generator; published 0.5.
    seed
        The same seed, bank and number of threads give the same weights.
    """

    filters: int = 12
    steps: int = 2000
    batch: int = 16
    learning_rate: float = 2e-4
    discriminator_rate: float = 1e-6
    beta: float = 0.5
    mae_weight: float = 100.0
    hole_weight: float = 1.0
    decay_from: float = 0.5
    dropout: float = 0.5
    seed: int = 7


class _State:
    """Networks and optimisers, as one thing that is saved and loaded."""

    def __init__(self, recipe: FitRecipe) -> None:
        torch.manual_seed(recipe.seed)
        self.generator, self.discriminator = Generator(recipe.filters, recipe.dropout), Discriminator(recipe.filters)
        betas = (recipe.beta, 0.999)
        self.paints = torch.optim.Adam(self.generator.parameters(), recipe.learning_rate, betas)
        self.judges = torch.optim.Adam(self.discriminator.parameters(), recipe.discriminator_rate, betas)
        self.parts: tuple[Any, ...] = (self.generator, self.discriminator, self.paints, self.judges)

    def save(self, file: Path, step: int, identity: dict[str, object]) -> None:
        """Write a checkpoint in one go: a kill leaves the old one or the new one."""
        saved = {"step": step, "identity": identity, "parts": [part.state_dict() for part in self.parts]}
        partial = file.with_suffix(".partial")
        torch.save(saved, partial)
        partial.replace(file)

    def load(self, file: Path, identity: dict[str, object]) -> int:
        """Load a checkpoint and return its step.

        Raises
        ------
        UsageError
            If it is of another recipe.
        """
        saved = torch.load(file, weights_only=True)
        if saved["identity"] != identity:
            raise UsageError("a training of other settings was begun here", file=file,
                             next_step="name another folder, or remove the checkpoint")
        for part, state in zip(self.parts, saved["parts"], strict=True):
            part.load_state_dict(state)
        return int(saved["step"])


def fit_generator(
    bank: Bank,
    equaliser: Equaliser,
    recipe: FitRecipe,
    checkpoint: Path,
    report: StepReport,
    *,
    checkpoint_every: int = 100,
) -> Generator:
    """Fit a generator; where there is a checkpoint of the same recipe and bank, from there on.

    Parameters
    ----------
    bank
        What is learnt from.
    equaliser
        Fitted on it.
    checkpoint
        File for it.
    report
        See `StepReport`.
    checkpoint_every
        Steps.

    Returns
    -------
    Generator
        In evaluation mode.

    Raises
    ------
    UsageError
        If the checkpoint is of another recipe or bank.
    """
    state = _State(recipe)
    identity = {**asdict(recipe), "bank": len(bank), "equaliser_mean": equaliser.mean}
    done = state.load(checkpoint, identity) if checkpoint.is_file() else 0
    for step in range(done, recipe.steps):
        for optimiser, rate in ((state.paints, recipe.learning_rate), (state.judges, recipe.discriminator_rate)):
            optimiser.param_groups[0]["lr"] = rate * _decay(step, recipe)
        torch.manual_seed(recipe.seed * 1_000_003 + step)  # of dropout, so that a resumed step is the same
        report(step + 1, _take_step(state, _draw_batch(bank, equaliser, recipe, step), recipe))
        if (step + 1) % checkpoint_every == 0 or step + 1 == recipe.steps:
            state.save(checkpoint, step + 1, identity)
    return state.generator.eval()


def _decay(step: int, recipe: FitRecipe) -> float:
    left = recipe.steps * (1 - recipe.decay_from)
    return min(1.0, (recipe.steps - step) / left) if left else 1.0


def _draw_batch(bank: Bank, equaliser: Equaliser, recipe: FitRecipe, step: int) -> torch.Tensor:
    """(batch, 1, 32, 32, 32) normalised cuboids of that step."""
    rng = np.random.default_rng([recipe.seed, step])
    chosen, variants = rng.integers(len(bank), size=recipe.batch), rng.integers(VARIANTS, size=recipe.batch)
    hu = augment(torch.from_numpy(bank.hu(chosen)), torch.from_numpy(variants))
    return torch.from_numpy(equaliser.normalise(hu.numpy()))[:, None]


def _take_step(state: _State, real: torch.Tensor, recipe: FitRecipe) -> dict[str, float]:
    judge = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)
    masked = real.clone()
    masked[IN_HOLE] = 0
    state.generator.train()
    painted = state.generator(masked)

    real_loss = judge(state.discriminator(real, masked), target_is_real=True, for_discriminator=True)
    fake_loss = judge(state.discriminator(painted.detach(), masked), target_is_real=False, for_discriminator=True)
    judged = 0.5 * (real_loss + fake_loss)
    state.judges.zero_grad()
    judged.backward()
    state.judges.step()

    error = (painted - real).abs()
    weight = torch.ones(SIDE, SIDE, SIDE)
    weight[HOLE] = recipe.hole_weight
    fooled = judge(state.discriminator(painted, masked), target_is_real=True, for_discriminator=False)
    loss = fooled + recipe.mae_weight * (error * weight).mean() / weight.mean()
    state.paints.zero_grad()
    loss.backward()
    state.paints.step()
    return {
        "generator": loss.item(),
        "adversarial": fooled.item(),
        "discriminator": judged.item(),
        "error": error.mean().item(),
        "error_in_hole": error[IN_HOLE].mean().item(),
    }


def paint_batches(generator: Generator, masked: np.ndarray, batch: int = 16) -> Iterator[np.ndarray]:
    """Paint (n, 32, 32, 32) masked cuboids, batch by batch."""
    with torch.no_grad():
        for part in torch.from_numpy(masked).split(batch):
            yield generator(part[:, None])[:, 0].numpy()
