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
FINE_SHARE = 0.5  # of the texture's spread that is as fine as noise
STRUCTURE = 0.4  # spread of vessels and the like around the guess, in the network's units: 80 HU
LEAST_LOG, LOG_UNIT = -8.0, 60.0  # logarithms of noise over spread, -8 to 9, as numbers from 0 to about 1000


@dataclass(frozen=True)
class NetworkRecipe:
    """How large the network is: channels of each level, blocks a level on the way down, groups of each norm."""

    channels: tuple[int, ...] = (40, 64, 64)
    blocks: int = 1
    groups: int = 8


class InpaintingUNet(nn.Module):
    """Velocity of a noisy hole, from `verict.tamper.diffusion.to_channels` and the noise level.

    The texture in the hole and around it is shown in units of its own spread, and the noise as a multiple of that
    spread, so that quiet and noisy scans are one task. What is learnt is by how much the hole differs from the guess
    with white texture of half that spread, in units of the error which that leaves (`Preconditioning`).
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
        self.gate = nn.Linear(wide, first)
        self.filter = zero_module(nn.Conv3d(first, CELL**3, 3, padding=1))
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
        """(n, 5, z, y, x) and (n,) noise levels, to (n, 1, z, y, x); every side a multiple of 8."""
        noisy, guess, hole, nodule, spread = channels.split(1, 1)
        kept = self.keep(level)
        signal, noise = kept.sqrt(), (1 - kept).sqrt()
        away = noisy - torch.where(hole > 0, signal, torch.ones_like(signal)) * guess
        texture = away / torch.where(hole > 0, (kept * spread**2 + 1 - kept).sqrt(), spread)
        usual = (spread * hole).sum((1, 2, 3, 4)) / hole.sum((1, 2, 3, 4)).clamp(min=1)
        multiple = torch.log(noise[:, 0, 0, 0, 0] / (signal[:, 0, 0, 0, 0] * usual.clamp(min=1e-3)))
        time = self.level(get_timestep_embedding((multiple - LEAST_LOG) * LOG_UNIT, self.first))
        learnt = self.walk(torch.cat([texture, guess, hole, nodule, spread], 1), time)
        _, scale = precondition(kept, spread)
        # the velocity of the clean estimate guess + skip * away + scale * learnt, without its small differences
        pull = noise * signal * (1 - (FINE_SHARE * spread) ** 2) / (kept * (FINE_SHARE * spread) ** 2 + 1 - kept)
        return pull * away - noise * guess - scale / noise * learnt

    def keep(self, level: torch.Tensor) -> torch.Tensor:
        """(n, 1, 1, 1, 1) share of the signal's variance left at (n,) noise levels."""
        return self.kept[level.long()][:, None, None, None, None]

    def walk(self, shown: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """The U-Net itself: (n, 5, z, y, x) and (n, w) embedded noise levels to (n, 1, z, y, x)."""
        h = self.enter(_to_cells(shown))
        gate = (1 + self.gate(time))[:, :, None, None, None]
        filtered = self.filter(h * gate)  # linear, to shape the texture's spectrum
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
        return _to_voxels(self.leave(h) + filtered)


def precondition(kept: torch.Tensor, spread: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How much of a noisy voxel's distance from the guess is believed, and the error which that leaves.

    Karras et al., arXiv 2206.00364, table 1, with the guess as the mean. Half the spread is believed to be texture as
    fine as noise; what stands in a hole differs from the guess by that spread and by structures.
    """
    fine, whole = (FINE_SHARE * spread) ** 2, spread**2 + STRUCTURE**2
    skip = kept.sqrt() * fine / (kept * fine + 1 - kept)
    error = (1 - skip * kept.sqrt()) ** 2 * whole + skip**2 * (1 - kept)
    return skip, error.sqrt()


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
