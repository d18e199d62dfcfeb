"""The denoising network: a small 3D U-Net of MONAI's diffusion blocks on cells of 2 x 2 x 2 voxels, without attention.

Without attention it takes boxes of any size. MONAI's `DiffusionModelUNet` has attention at its bottom in any setting.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from monai.networks.nets.diffusion_model_unet import (
    DiffusionUnetDownsample,
    DiffusionUNetResnetBlock,
    WrappedUpsample,
    get_timestep_embedding,
    zero_module,
)
from torch import nn

from verict.tamper.diffusion import CHANNELS, kept_signal

CELL = 2  # voxels a side
SPREAD = 0.5  # of what stands in holes around the guess of it, in the network's units: 100 HU


@dataclass(frozen=True)
class NetworkRecipe:
    """How large the network is: channels of each level, blocks a level on the way down, groups of each norm."""

    channels: tuple[int, ...] = (40, 64, 64)
    blocks: int = 1
    groups: int = 8


class InpaintingUNet(nn.Module):
    """Velocity of a noisy hole, from `verict.tamper.diffusion.to_channels` and the noise level.

    What is learnt is by how much, in spreads left open by the noise, the velocity differs from that of white texture
    of `SPREAD` around the guess (Karras et al., arXiv 2206.00364, table 1, with the guess as the mean).
    """

    kept: torch.Tensor

    def __init__(self, recipe: NetworkRecipe | None = None) -> None:
        super().__init__()
        recipe = recipe or NetworkRecipe()
        first, *_, last = recipe.channels
        self.register_buffer("kept", torch.from_numpy(kept_signal()).float(), persistent=False)
        self.first, wide = first, 4 * first

        def block(inward: int, outward: int) -> DiffusionUNetResnetBlock:
            return DiffusionUNetResnetBlock(3, inward, wide, outward, norm_num_groups=recipe.groups)

        self.level = nn.Sequential(nn.Linear(first, wide), nn.SiLU(), nn.Linear(wide, wide))
        self.enter = nn.Conv3d(CHANNELS * CELL**3, first, 3, padding=1)
        self.down, self.shrink, passed = nn.ModuleList(), nn.ModuleList(), [first]
        for number, channels in enumerate(recipe.channels):
            for _ in range(recipe.blocks):
                self.down.append(block(passed[-1], channels))
                passed.append(channels)
            if number + 1 < len(recipe.channels):
                self.shrink.append(DiffusionUnetDownsample(3, channels, use_conv=True, out_channels=channels))
                passed.append(channels)
        self.middle = nn.ModuleList([block(last, last), block(last, last)])
        self.up, self.enlarge = nn.ModuleList(), nn.ModuleList()
        inward = last
        for number in reversed(range(len(recipe.channels))):
            channels = recipe.channels[number]
            for _ in range(recipe.blocks + 1):
                self.up.append(block(inward + passed.pop(), channels))
                inward = channels
            if number:
                self.enlarge.append(
                    WrappedUpsample(3, mode="nontrainable", in_channels=channels, out_channels=channels,
                                    interp_mode="nearest", scale_factor=2.0, align_corners=None)
                )
        self.blocks = recipe.blocks
        self.leave = nn.Sequential(
            nn.GroupNorm(recipe.groups, first), nn.SiLU(), zero_module(nn.Conv3d(first, CELL**3, 3, padding=1))
        )

    def forward(self, channels: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """(n, 4, z, y, x) and (n,) noise levels, to (n, 1, z, y, x); every side a multiple of 8."""
        noisy, guess, hole, nodule = channels.split(1, 1)
        kept = self.kept[level.long()][:, None, None, None, None]
        open_spread = spread_left_open(kept)
        away = (noisy - kept.sqrt() * guess) * hole
        time = self.level(get_timestep_embedding(level, self.first))
        learnt = self.walk(torch.cat([away / open_spread, guess, hole, nodule], 1), time)
        pull = kept.sqrt() * (1 - kept).sqrt() * (1 - SPREAD**2) / open_spread**2
        return pull * away - (1 - kept).sqrt() * guess - SPREAD / open_spread * learnt

    def walk(self, shown: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """The U-Net itself: (n, 4, z, y, x) and (n, w) embedded noise levels to (n, 1, z, y, x)."""
        h = self.enter(_to_cells(shown))
        passed = [h]
        for number, block in enumerate(self.down):
            h = block(h, time)
            passed.append(h)
            if (number + 1) % self.blocks == 0 and number // self.blocks < len(self.shrink):
                h = self.shrink[number // self.blocks](h)
                passed.append(h)
        for block in self.middle:
            h = block(h, time)
        for number, block in enumerate(self.up):
            h = block(torch.cat([h, passed.pop()], 1), time)
            if (number + 1) % (self.blocks + 1) == 0 and number // (self.blocks + 1) < len(self.enlarge):
                h = self.enlarge[number // (self.blocks + 1)](h)
        return _to_voxels(self.leave(h))


def spread_left_open(kept: torch.Tensor) -> torch.Tensor:
    """Standard deviation of noisy texture of `SPREAD` at levels that keep so much of the signal's variance."""
    return (kept * SPREAD**2 + 1 - kept).sqrt()


def _to_cells(x: torch.Tensor) -> torch.Tensor:
    """(n, c, z, y, x) to (n, 8 c, z / 2, y / 2, x / 2)."""
    n, c, d, h, w = x.shape
    x = x.reshape(n, c, d // CELL, CELL, h // CELL, CELL, w // CELL, CELL)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, c * CELL**3, d // CELL, h // CELL, w // CELL)


def _to_voxels(x: torch.Tensor) -> torch.Tensor:
    """(n, 8, z, y, x) to (n, 1, 2 z, 2 y, 2 x)."""
    n, _, d, h, w = x.shape
    x = x.reshape(n, 1, CELL, CELL, CELL, d, h, w)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, 1, d * CELL, h * CELL, w * CELL)
