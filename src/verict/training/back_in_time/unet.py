"""The published denoiser of Back-in-Time Diffusion, written anew and plainly.

Grabovski et al. (arXiv 2407.15169) make theirs as the U-Net of denoising_diffusion_pytorch 1.8.3 with dim 32,
multipliers 1, 2, 4, 8 and one channel. With the same weights this one gives what that package gives. MONAI's
`DiffusionModelUNet` cannot be set to it: it has no linear attention, halves by strided convolutions, and normalises
before its convolutions.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

DIM, MULTIPLIERS = 32, (1, 2, 4, 8)  # as published
GROUPS = 8
HEADS, HEAD_WIDTH = 4, 32


class ChannelNorm(nn.Module):
    """Each pixel's channels brought to a mean square of 1, then scaled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1, channels, 1, 1), math.sqrt(channels)))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return functional.normalize(x, dim=1) * self.scale


class ResidualBlock(nn.Module):
    """Two convolutions with group normalisation, the time step scaling and shifting the first one's output."""

    def __init__(self, before: int, after: int, time_width: int) -> None:
        super().__init__()
        self.time = nn.Linear(time_width, 2 * after)
        self.convolutions = nn.ModuleList(nn.Conv2d(n, after, 3, padding=1) for n in (before, after))
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, after) for _ in range(2))
        self.beside = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, step: Tensor) -> Tensor:  # noqa: D102
        scale, shift = self.time(functional.silu(step))[:, :, None, None].chunk(2, dim=1)
        y = self.norms[0](self.convolutions[0](x))
        y = functional.silu(y * (1 + scale) + shift)
        y = functional.silu(self.norms[1](self.convolutions[1](y)))
        beside: Tensor = self.beside(x)
        return y + beside


class Attention(nn.Module):
    """Attention of four heads over all pixels, full or linear, added to its input."""

    def __init__(self, channels: int, *, full: bool) -> None:
        super().__init__()
        self.full = full
        self.norm = ChannelNorm(channels)
        self.split = nn.Conv2d(channels, 3 * HEADS * HEAD_WIDTH, 1, bias=False)
        self.join = nn.Conv2d(HEADS * HEAD_WIDTH, channels, 1)
        self.norm_after = nn.Identity() if full else ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        batch, _, rows, columns = x.shape
        parts = self.split(self.norm(x)).reshape(batch, 3, HEADS, HEAD_WIDTH, rows * columns)
        query, key, value = parts.unbind(1)  # each (batch, head, channel, pixel)
        if self.full:
            y = functional.scaled_dot_product_attention(*(p.transpose(2, 3) for p in (query, key, value)))
            y = y.transpose(2, 3)
        else:
            context = value @ key.softmax(3).transpose(2, 3)
            y = context @ (query.softmax(2) * HEAD_WIDTH**-0.5)
        added: Tensor = self.norm_after(self.join(y.reshape(batch, -1, rows, columns)))
        return x + added


class Halve(nn.Module):
    """Each square of 2 x 2 pixels laid out as channels, and a 1 x 1 convolution."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(4 * before, after, 1)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        halved: Tensor = self.convolution(functional.pixel_unshuffle(x, 2))
        return halved


class Level(nn.Module):
    """Two blocks, attention and the step to the next level, of one arm of the U."""

    def __init__(self, width: int, step: nn.Module, *, skipped: int, full: bool, time_width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(width + skipped, width, time_width) for _ in range(2))
        self.attention = Attention(width, full=full)
        self.step = step


class BackInTimeUNet(nn.Module):
    """The noise in (batch, 1, rows, columns) at the time steps (batch,): one forward pass is one reverse step.

    Linear attention at the upper levels, full attention at the lowest and in the middle. The full one is torch's own
    function, where the original spells the same out.

    Parameters
    ----------
    dim, multipliers
        Width of the entry, and of each level as a multiple of it. Rows and columns are multiples of 2 to the power
        of the number of levels less one.
    """

    def __init__(self, dim: int = DIM, multipliers: tuple[int, ...] = MULTIPLIERS) -> None:
        super().__init__()
        self.dim, wide = dim, 4 * dim
        widths = [dim, *(dim * m for m in multipliers)]  # what enters each level, and the middle
        self.enter = nn.Conv2d(1, dim, 7, padding=3)
        self.time = nn.Sequential(nn.Linear(dim, wide), nn.GELU(), nn.Linear(wide, wide))
        steps = list(pairwise(widths))
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for index, (outer, inner) in enumerate(steps):
            last = index == len(steps) - 1
            down = nn.Conv2d(outer, inner, 3, padding=1) if last else Halve(outer, inner)
            self.down.append(Level(outer, down, skipped=0, full=last, time_width=wide))
        for index, (outer, inner) in reversed(list(enumerate(steps))):
            widen = [nn.Upsample(scale_factor=2)] if index else []
            up = nn.Sequential(*widen, nn.Conv2d(inner, outer, 3, padding=1))
            self.up.append(Level(inner, up, skipped=outer, full=index == len(steps) - 1, time_width=wide))
        self.middle = nn.ModuleList(ResidualBlock(widths[-1], widths[-1], wide) for _ in range(2))
        self.middle_attention = Attention(widths[-1], full=True)
        self.leave = ResidualBlock(2 * dim, dim, wide)
        self.out = nn.Conv2d(dim, 1, 1)

    def forward(self, x: Tensor, step: Tensor) -> Tensor:  # noqa: D102
        step = self.time(embed_step(step, self.dim))
        x = entered = self.enter(x)
        skipped = []
        for level in cast(list[Level], self.down):
            x = level.blocks[0](x, step)
            skipped.append(x)
            x = level.attention(level.blocks[1](x, step))
            skipped.append(x)
            x = level.step(x)
        x = self.middle_attention(self.middle[0](x, step))
        x = self.middle[1](x, step)
        for level in cast(list[Level], self.up):
            for block in level.blocks:
                x = block(torch.cat((x, skipped.pop()), 1), step)
            x = level.step(level.attention(x))
        noise: Tensor = self.out(self.leave(torch.cat((x, entered), 1), step))
        return noise


def embed_step(step: Tensor, width: int) -> Tensor:
    """Time steps (batch,) as sines and cosines of falling frequency, (batch, width)."""
    frequency = torch.exp(torch.arange(width // 2, device=step.device) * (-math.log(10_000) / (width // 2 - 1)))
    angle = step[:, None] * frequency
    return torch.cat((angle.sin(), angle.cos()), 1)
