"""Two published networks with random weights, and how long their forward pass takes: what scan is measured against.

`BackInTimeUNet` is the denoiser of Back-in-Time Diffusion (Grabovski et al., arXiv 2407.15169), whose published code
makes it as the U-Net of denoising_diffusion_pytorch 1.8.3 with dim 32, multipliers 1, 2, 4, 8 and one channel.
`LungUNet` is the R231 of lungmask (Hofmanninger et al., European Radiology Experimental 4:50, 2020), as version 0.2.22
makes it. Both are written anew from their published structure; with the same weights they give what those packages
give. What differs is said with each.

As a script it prints wall and CPU seconds of each batch as JSON, by batch size and after one batch that is not counted.
Reading and cutting the images out lies outside:

    python benchmarks/networks.py back-in-time CROPS.npy --batch-sizes 1 16 --threads 2
"""

from __future__ import annotations

import argparse
import json
import math
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (32, 32, 64, 128, 256)  # dim 32 times 1, 1, 2, 4, 8: what enters each level, and the middle
FULL_ATTENTION = (False, False, False, True)  # of each level, the default of version 1.8.3
TIME_WIDTH = 128
GROUPS = 8
HEADS, HEAD_WIDTH = 4, 32

LUNG_WIDTHS = (64, 128, 256, 512, 1024)  # 2**wf times 1, 2, 4, 8, 16, with wf 6 and depth 5
LUNG_CLASSES = 3  # background, right lung, left lung


class ChannelNorm(nn.Module):
    """Each pixel's channels brought to a mean square of 1, then scaled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1, channels, 1, 1), math.sqrt(channels)))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return functional.normalize(x, dim=1) * self.scale


class ResidualBlock(nn.Module):
    """Two convolutions with group normalisation, the time step scaling and shifting the first one's output."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.time = nn.Linear(TIME_WIDTH, 2 * after)
        self.convolutions = nn.ModuleList(nn.Conv2d(n, after, 3, padding=1) for n in (before, after))
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, after) for _ in range(2))
        self.beside = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, step: Tensor) -> Tensor:  # noqa: D102
        scale, shift = self.time(functional.silu(step))[:, :, None, None].chunk(2, dim=1)
        y = self.norms[0](self.convolutions[0](x))
        y = functional.silu(y * (1 + scale) + shift)
        y = functional.silu(self.norms[1](self.convolutions[1](y)))
        return y + self.beside(x)


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
        return x + self.norm_after(self.join(y.reshape(batch, -1, rows, columns)))


class Halve(nn.Module):
    """Each square of 2 x 2 pixels laid out as channels, and a 1 x 1 convolution."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(4 * before, after, 1)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.convolution(functional.pixel_unshuffle(x, 2))


class Level(nn.Module):
    """Two blocks, attention and the step to the next level, of one arm of the U."""

    def __init__(self, widths: tuple[int, int], step: nn.Module, *, skipped: int, full: bool) -> None:
        super().__init__()
        before, after = widths
        self.blocks = nn.ModuleList(ResidualBlock(n + skipped, after) for n in (before, after))
        self.attention = Attention(after, full=full)
        self.step = step


class BackInTimeUNet(nn.Module):
    """The noise in (batch, 1, rows, columns) at the time steps (batch,): one forward pass is one reverse step.

    Linear attention at the three upper levels, full attention at the lowest and in the middle. The full one is torch's
    own function, where the original spells the same out.
    """

    def __init__(self) -> None:
        super().__init__()
        first = WIDTHS[0]
        self.enter = nn.Conv2d(1, first, 7, padding=3)
        self.time = nn.Sequential(nn.Linear(first, TIME_WIDTH), nn.GELU(), nn.Linear(TIME_WIDTH, TIME_WIDTH))
        steps = list(zip(WIDTHS[:-1], WIDTHS[1:], FULL_ATTENTION, strict=True))
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for index, (outer, inner, full) in enumerate(steps):
            last = index == len(steps) - 1
            down = nn.Conv2d(outer, inner, 3, padding=1) if last else Halve(outer, inner)
            self.down.append(Level((outer, outer), down, skipped=0, full=full))
        for index, (outer, inner, full) in reversed(list(enumerate(steps))):
            widen = [nn.Upsample(scale_factor=2)] if index else []
            up = nn.Sequential(*widen, nn.Conv2d(inner, outer, 3, padding=1))
            self.up.append(Level((inner, inner), up, skipped=outer, full=full))
        self.middle = nn.ModuleList(ResidualBlock(WIDTHS[-1], WIDTHS[-1]) for _ in range(2))
        self.middle_attention = Attention(WIDTHS[-1], full=True)
        self.leave = ResidualBlock(2 * first, first)
        self.out = nn.Conv2d(first, 1, 1)

    def forward(self, x: Tensor, step: Tensor) -> Tensor:  # noqa: D102
        step = self.time(embed_step(step, WIDTHS[0]))
        x = entered = self.enter(x)
        skipped = []
        for level in self.down:
            x = level.blocks[0](x, step)
            skipped.append(x)
            x = level.attention(level.blocks[1](x, step))
            skipped.append(x)
            x = level.step(x)
        x = self.middle_attention(self.middle[0](x, step))
        x = self.middle[1](x, step)
        for level in self.up:
            for block in level.blocks:
                x = block(torch.cat((x, skipped.pop()), 1), step)
            x = level.step(level.attention(x))
        return self.out(self.leave(torch.cat((x, entered), 1), step))


def embed_step(step: Tensor, width: int) -> Tensor:
    """Time steps (batch,) as sines and cosines of falling frequency, (batch, width)."""
    frequency = torch.exp(torch.arange(width // 2) * (-math.log(10_000) / (width // 2 - 1)))
    angle = step[:, None] * frequency
    return torch.cat((angle.sin(), angle.cos()), 1)


class LungUNet(nn.Module):
    """Class of each pixel of (batch, 1, 256, 256), as log probabilities.

    Left out: the 1 x 1 convolutions and batch norms of residual connections, 2,100,736 parameters of 31,054,275 that
    R231 carries and never uses.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(_lung_block(*pair) for pair in pairwise((1, *LUNG_WIDTHS)))
        inward = list(pairwise(LUNG_WIDTHS))[::-1]
        self.widen = nn.ModuleList(
            nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(inner, outer, 1))
            for outer, inner in inward
        )
        self.up = nn.ModuleList(_lung_block(inner, outer) for outer, inner in inward)
        self.out = nn.Conv2d(LUNG_WIDTHS[0], LUNG_CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        skipped = []
        for block in self.down:
            x = block(functional.avg_pool2d(x, 2) if skipped else x)
            skipped.append(x)
        skipped.pop()
        for widen, block in zip(self.widen, self.up, strict=True):
            x = block(torch.cat((widen(x), skipped.pop()), 1))
        return functional.log_softmax(self.out(x), 1)


def _lung_block(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(after)]
    return nn.Sequential(*layers)


def count_parameters(network: nn.Module) -> int:
    """How many numbers were to be learnt."""
    return sum(parameter.numel() for parameter in network.parameters())


def time_batches(network: nn.Module, images: np.ndarray, batch_size: int) -> list[tuple[float, float]]:
    """Wall and CPU seconds of the forward pass of each whole batch of (n, rows, columns) float32.

    The first batch is run once before, uncounted.
    """
    batches = [
        torch.from_numpy(images[start : start + batch_size, None])
        for start in range(0, len(images) - batch_size + 1, batch_size)
    ]
    step = (torch.zeros(batch_size),) if isinstance(network, BackInTimeUNet) else ()
    network.eval()
    with torch.inference_mode():
        network(batches[0], *step)
        taken = []
        for batch in batches:
            start, cpu = time.perf_counter(), time.process_time()
            network(batch, *step)
            taken.append((time.perf_counter() - start, time.process_time() - cpu))
    return taken


NETWORKS = {"back-in-time": BackInTimeUNet, "lungs": LungUNet}


def main() -> None:
    """Time one network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("images", type=Path, help="(n, rows, columns) float32 as .npy; whole batches of them are timed")
    parser.add_argument("--batch-sizes", type=int, nargs="+", required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    network = NETWORKS[options.network]()
    images = np.load(options.images)
    taken = {size: time_batches(network, images, size) for size in options.batch_sizes}
    print(json.dumps({"parameters": count_parameters(network), "batches": taken}))


if __name__ == "__main__":
    main()
