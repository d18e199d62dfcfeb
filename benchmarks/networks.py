"""Two published networks with random weights, and how long their forward pass takes: what scan is measured against.

`BackInTimeUNet` is the denoiser of Back-in-Time Diffusion (`verict.training.back_in_time.unet`). `LungUNet` is the R231
of lungmask (Hofmanninger et al., European Radiology Experimental 4:50, 2020), as version 0.2.22 makes it. Both are
written anew from their published structure; with the same weights they give what those packages give. What differs is
said with each.

As a script it prints wall and CPU seconds of each batch as JSON, by batch size and after one batch that is not counted.
Reading and cutting the images out lies outside:

    python benchmarks/networks.py back-in-time CROPS.npy --batch-sizes 1 16 --threads 2
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from verict.training.back_in_time.unet import BackInTimeUNet

LUNG_WIDTHS = (64, 128, 256, 512, 1024)  # 2**wf times 1, 2, 4, 8, 16, with wf 6 and depth 5
LUNG_CLASSES = 3  # background, right lung, left lung


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
