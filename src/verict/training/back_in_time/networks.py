"""The networks by their recipe: all take crops and steps, and give the noise, or what an autoencoder loses."""

from __future__ import annotations

from itertools import pairwise

import torch
from monai.networks.nets import AutoEncoder
from monai.networks.nets.diffusion_model_unet import (
    DiffusionUnetDownsample,
    DiffusionUNetResnetBlock,
    WrappedUpsample,
    get_timestep_embedding,
    zero_module,
)
from torch import Tensor, nn
from torch.nn import functional

from verict.errors import UsageError
from verict.training.back_in_time.recipe import NetworkRecipe
from verict.training.back_in_time.unet import BackInTimeUNet

CELL_PX = 2
GROUPS = 8


class CellUNet(nn.Module):
    """A U-Net of MONAI's diffusion blocks on cells of 2 x 2 pixels, whose four values are channels.

    No detail is lost by the cells, at a quarter of the cost. MONAI's own `DiffusionModelUNet` attends to all pixels at
    its lowest level, so what it says of a place would depend on all that is shown with it; it also needs einops.

    ``forward`` takes (n, 1, rows, columns) and (n,) steps, and gives the noise (n, 1, rows, columns); rows and columns
    are multiples of 2 to the power of the number of levels.
    """

    def __init__(self, recipe: NetworkRecipe) -> None:
        super().__init__()
        first, *_, last = recipe.channels
        self.first, wide = first, 4 * first

        def block(inward: int, outward: int) -> DiffusionUNetResnetBlock:
            return DiffusionUNetResnetBlock(2, inward, wide, outward, norm_num_groups=GROUPS)

        self.time = nn.Sequential(nn.Linear(first, wide), nn.SiLU(), nn.Linear(wide, wide))
        self.enter = nn.Conv2d(CELL_PX**2, first, 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        for before, after in pairwise((first, *recipe.channels)):
            self.down.append(block(before, after))
            self.shrink.append(DiffusionUnetDownsample(2, after, use_conv=True, out_channels=after))
        self.shrink = self.shrink[:-1]
        self.middle = nn.ModuleList([block(last, last), block(last, last)])
        self.up, self.enlarge = nn.ModuleList(), nn.ModuleList()
        for level, (after, before) in reversed(list(enumerate(pairwise((first, *recipe.channels))))):
            self.up.append(block(2 * before, after))
            if level:
                self.enlarge.append(WrappedUpsample(2, mode="nontrainable", in_channels=after, out_channels=after,
                                                   interp_mode="nearest", scale_factor=2.0, align_corners=None))
        self.leave = nn.Sequential(
            nn.GroupNorm(GROUPS, 2 * first), nn.SiLU(), zero_module(nn.Conv2d(2 * first, CELL_PX**2, 3, padding=1))
        )

    def forward(self, x: Tensor, step: Tensor) -> Tensor:  # noqa: D102
        time = self.time(get_timestep_embedding(step, self.first))
        y = entered = self.enter(functional.pixel_unshuffle(x, CELL_PX))
        skipped = []
        for level, block in enumerate(self.down):
            y = block(y, time)
            skipped.append(y)
            if level < len(self.shrink):
                y = self.shrink[level](y)
        for block in self.middle:
            y = block(y, time)
        for level, block in enumerate(self.up):
            y = block(torch.cat((y, skipped.pop()), 1), time)
            if level < len(self.enlarge):
                y = self.enlarge[level](y)
        return functional.pixel_shuffle(self.leave(torch.cat((y, entered), 1)), CELL_PX)


class Losing(nn.Module):
    """What MONAI's autoencoder loses of a crop: x less its reconstruction; the step is not looked at."""

    def __init__(self, recipe: NetworkRecipe) -> None:
        super().__init__()
        self.autoencoder = AutoEncoder(
            spatial_dims=2, in_channels=1, out_channels=1, channels=recipe.channels,
            strides=(2,) * len(recipe.channels), norm="batch",
        )

    def forward(self, x: Tensor, step: Tensor) -> Tensor:  # noqa: D102
        rebuilt: Tensor = self.autoencoder(x)
        return x - rebuilt + 0 * step[:, None, None, None]


def make_network(recipe: NetworkRecipe) -> nn.Module:
    """A network with random weights, drawn from torch's own generator.

    Raises
    ------
    UsageError
        If there is no such design.
    """
    if recipe.design == "published":
        dim = recipe.channels[0]
        return BackInTimeUNet(dim, tuple(c // dim for c in recipe.channels))
    if recipe.design == "cells":
        return CellUNet(recipe)
    if recipe.design == "autoencoder":
        return Losing(recipe)
    raise UsageError("no such design", found=recipe.design, expected="published, cells or autoencoder")


def count_parameters(network: nn.Module) -> int:
    """How many numbers were to be learnt."""
    return sum(parameter.numel() for parameter in network.parameters())


def predict(network: nn.Module, x: Tensor, step: Tensor) -> Tensor:
    """The network without gradients."""
    with torch.no_grad():
        out: Tensor = network(x, step)
    return out
