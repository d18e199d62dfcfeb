"""What every training loop keeps: weights, their running average and the optimiser, so that a killed one goes on."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from verict.errors import ModelError

Network = TypeVar("Network", bound=nn.Module)


class Fitting(Generic[Network]):
    """A network on its way.

    Parameters
    ----------
    network
        With its first weights, on the device where it is fitted.
    optimiser
        Of its parameters.

    Attributes
    ----------
    averaged
        The weights' running average, which is what is kept in the end.
    step
        How many updates were made.
    losses
        Of each of them.
    """

    def __init__(self, network: Network, optimiser: torch.optim.Optimizer) -> None:
        self.network, self.optimiser = network, optimiser
        self.averaged = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.step = 0
        self.losses: list[float] = []

    def set_rate(self, rate: float) -> None:
        """The next update's learning rate."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def average(self, ema: float) -> None:
        """Take the weights into their average, which forgets faster at first than ``ema``, the decay later on."""
        decay = min(ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                own = self.averaged[name]
                own.lerp_(value, 1 - decay) if own.is_floating_point() else own.copy_(value)

    def save(self, file: Path, recipe: str) -> None:
        """Write under another name first, so that a kill leaves the checkpoint before it whole.

        Parameters
        ----------
        file
            Where.
        recipe
            All that decides the weights, as text.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        torch.save(
            {
                "recipe": recipe, "step": self.step, "losses": self.losses, "averaged": self.averaged,
                "network": self.network.state_dict(), "optimiser": self.optimiser.state_dict(),
            },
            partial,
        )
        partial.replace(file)

    def resume(self, file: Path, recipe: str) -> None:
        """Go on from a checkpoint, if there is one.

        Raises
        ------
        ModelError
            If it is of another recipe or cannot be read.
        """
        if not file.is_file():
            return
        try:
            saved: dict[str, Any] = torch.load(file, weights_only=True, map_location=_device_of(self.averaged))
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ModelError("the checkpoint cannot be read", file=file, found=type(error).__name__,
                             next_step="delete it to start anew") from error
        if saved["recipe"] != recipe:
            raise ModelError("the checkpoint is of another recipe", file=file, found=saved["recipe"], expected=recipe,
                             next_step="name another folder, or delete it to start anew")
        self.network.load_state_dict(saved["network"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.averaged, self.step, self.losses = saved["averaged"], saved["step"], saved["losses"]


def _device_of(weights: dict[str, Tensor]) -> torch.device:
    return next(iter(weights.values())).device


def falling_rate(step: int, steps: int, highest: float, warm_up: int) -> float:
    """Learning rate of a step of so many: rising to the highest in the first ones, then falling to 0 along a cosine."""
    if step < warm_up:
        return highest * (step + 1) / warm_up
    part = (step - warm_up) / max(steps - warm_up, 1)
    return highest * 0.5 * (1 + math.cos(math.pi * part))
