"""Three designs of a localiser, on one footing: what each sees of a crop, and a score for each quarter of a cell.

*map*: the channels of `verict.detect.localiser_features`, cell by cell, then convolutions over the map: a place is
compared with its surroundings, and a forged square is seen as a square. *window*: the same channels, each cell by
itself.
*pixel*: nothing measured beforehand: fixed high-pass filters, divided by the slice's noise and cut off, then
convolutions that learn their own statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from verict.detect.localiser_features import CHANNEL_COUNT, DEPTH

CLASSES = 3  # clean, removed, injected
QUARTERS = 4
CLIP = 6.0  # standard deviations beyond which a channel says no more
AROUND_CELLS = 15
TRUNCATED = 4.0  # times the slice's noise


class Batch(NamedTuple):
    """Crops of one size.

    ``where`` (cells, 3) int64 crop, row and column; ``values`` (cells, channels) float32; ``labels``
    (cells, 4) int64 of each one's quarters; ``mask`` (n, 1, rows, columns) float32; ``pixels`` (n, 1, y, x) float32 HU;
    ``noise_hu`` (n,).
    """

    where: Tensor
    values: Tensor
    labels: Tensor
    mask: Tensor
    pixels: Tensor
    noise_hu: Tensor


@dataclass(frozen=True)
class NetworkRecipe:
    """Sizes of a network.

    ``design`` is map, window or pixel; ``hidden`` and ``width`` are channels, ``dilations`` those of the convolutions
    over the map; ``depth`` and ``level`` say whether these channels are used.
    """

    design: str = "map"
    hidden: int = 64
    width: int = 32
    dilations: tuple[int, ...] = (1, 2, 4, 1)
    depth: bool = True
    level: bool = True


class CellEncoder(nn.Module):
    """(cells, channels) standardised, cut off, and mapped to (cells, width)."""

    mean: Tensor
    scale: Tensor
    used: Tensor

    def __init__(self, recipe: NetworkRecipe) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(CHANNEL_COUNT))
        self.register_buffer("scale", torch.ones(CHANNEL_COUNT))
        used = torch.ones(CHANNEL_COUNT)
        if not recipe.depth:
            used[DEPTH] = 0
        if not recipe.level:
            used[DEPTH.stop :] = 0
        self.register_buffer("used", used)
        self.first = nn.Linear(CHANNEL_COUNT, recipe.hidden)
        self.second = nn.Linear(recipe.hidden, recipe.width)

    def forward(self, values: Tensor) -> Tensor:
        """Standardise, cut off, encode."""
        scaled = ((values - self.mean) / self.scale).clamp(-CLIP, CLIP) * self.used
        return functional.relu(self.second(functional.relu(self.first(scaled))))


class MapTrunk(nn.Module):
    """Cells (n, width, rows, columns) compared with their surroundings and convolved; 4 * `CLASSES` logits each."""

    def __init__(self, width: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2 * width, width, 1)
        self.steps = nn.ModuleList(nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in dilations)
        self.last = nn.Conv2d(2 * width, width, 1)
        self.logits = nn.Conv2d(width, QUARTERS * CLASSES, 1)

    def forward(self, cells: Tensor, mask: Tensor) -> Tensor:
        """(n, 4 * `CLASSES`, rows, columns) logits; ``mask`` (n, 1, rows, columns) is 1 where there is a cell."""
        pad = AROUND_CELLS // 2
        total = functional.avg_pool2d(cells, AROUND_CELLS, 1, pad)
        count = functional.avg_pool2d(mask, AROUND_CELLS, 1, pad)
        around = total / (count + 1e-3)
        here = functional.relu(self.mix(torch.cat([cells, (cells - around) * mask], 1))) * mask
        first = here
        for step in self.steps:
            here = here + functional.relu(step(here)) * mask
        return self.logits(functional.relu(self.last(torch.cat([first, here], 1))))


class MapNetwork(nn.Module):
    """Designs *map* and *window*: cells encoded one by one, and for *map* a trunk that compares them."""

    def __init__(self, recipe: NetworkRecipe) -> None:
        super().__init__()
        self.encoder = CellEncoder(recipe)
        self.trunk = MapTrunk(recipe.width, recipe.dilations) if recipe.design == "map" else None
        self.single = nn.Linear(recipe.width, QUARTERS * CLASSES)

    def logits(self, batch: Batch) -> Tensor:
        """(cells, 4, `CLASSES`) in the batch's order."""
        cells = self.encoder(batch.values)
        if self.trunk is None:
            return self.single(cells).unflatten(1, (QUARTERS, CLASSES))
        n, _, rows, columns = batch.mask.shape
        crop, row, column = batch.where.unbind(1)
        dense = cells.new_zeros(n, rows, columns, cells.shape[1])
        dense = dense.index_put((crop, row, column), cells).permute(0, 3, 1, 2)
        return self.trunk(dense, batch.mask)[crop, :, row, column].unflatten(1, (QUARTERS, CLASSES))

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """(2 rows, 2 columns) score of a whole slice, from (rows, columns, channels) and (rows, columns)."""
        cells = self.encoder(values) * mask[..., None]
        if self.trunk is None:
            return to_score(self.single(cells))
        return to_score(self.trunk(cells.permute(2, 0, 1)[None], mask[None, None])[0].permute(1, 2, 0))


class PixelNetwork(nn.Module):
    """Design *pixel*: fixed high-pass filters, then strided convolutions down to one cell each 8 pixels."""

    filters: Tensor

    def __init__(self, recipe: NetworkRecipe) -> None:
        super().__init__()
        self.register_buffer("filters", _high_pass())
        width = recipe.width
        self.down = nn.ModuleList([
            nn.Conv2d(len(self.filters), 16, 5, padding=2),
            nn.Conv2d(32, 24, 4, stride=2, padding=1),
            nn.Conv2d(24, width, 4, stride=2, padding=1),
            nn.Conv2d(width, width, 4, stride=2, padding=1),
        ])  # fmt: skip
        self.trunk = MapTrunk(width, recipe.dilations)

    def logits(self, batch: Batch) -> Tensor:
        """(cells, 4, `CLASSES`) in the batch's order."""
        crop, row, column = batch.where.unbind(1)
        cells = self.encode(batch.pixels, batch.noise_hu)
        return self.trunk(cells, batch.mask)[crop, :, row, column].unflatten(1, (QUARTERS, CLASSES))

    def encode(self, pixels: Tensor, noise_hu: Tensor) -> Tensor:
        """(n, width, y / 8, x / 8): three halvings."""
        fine = functional.conv2d(pixels.clamp(-1100, 1000), self.filters, padding=2)
        fine = (fine / noise_hu.clamp(min=2.0)[:, None, None, None]).clamp(-TRUNCATED, TRUNCATED)
        first = self.down[0](fine)
        here = torch.cat([functional.relu(first), first**2 / (1 + first.abs())], 1)
        for step in self.down[1:]:
            here = functional.relu(step(here))
        return here

    def forward(self, pixels: Tensor, noise_hu: Tensor, mask: Tensor) -> Tensor:
        """(2 rows, 2 columns) score of (y, x) pixels, of 8 times the size of the mask."""
        cells = self.encode(pixels[None, None], noise_hu[None])
        return to_score(self.trunk(cells, mask[None, None])[0].permute(1, 2, 0))


def to_score(logits: Tensor) -> Tensor:
    """Log odds of any paint: (rows, columns, 4 * `CLASSES`) to (2 rows, 2 columns)."""
    rows, columns, _ = logits.shape
    quarters = logits.reshape(rows, columns, 2, 2, CLASSES)
    score = torch.logsumexp(quarters[..., 1:], -1) - quarters[..., 0]
    return score.permute(0, 2, 1, 3).reshape(2 * rows, 2 * columns)


def make_network(recipe: NetworkRecipe) -> MapNetwork | PixelNetwork:
    """A network of a design, its weights drawn from torch's generator."""
    return PixelNetwork(recipe) if recipe.design == "pixel" else MapNetwork(recipe)


def _high_pass() -> Tensor:
    """(7, 1, 5, 5) differences of second and third order along four directions, of unit norm."""
    kernels = []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        kernel = torch.zeros(5, 5)
        for step, weight in ((-1, -0.5), (0, 1.0), (1, -0.5)):
            kernel[2 + step * dy, 2 + step * dx] += weight
        kernels.append(kernel)
    for dy, dx in ((0, 1), (1, 0)):
        kernel = torch.zeros(5, 5)
        for step, weight in ((-1, 1.0), (0, -3.0), (1, 3.0), (2, -1.0)):
            kernel[2 + step * dy, 2 + step * dx] += weight
        kernels.append(kernel)
    square = torch.tensor([[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2],
                           [-1, 2, -2, 2, -1]], dtype=torch.float32)
    kernels.append(square)
    stack = torch.stack(kernels)
    return (stack / stack.flatten(1).norm(dim=1)[:, None, None])[:, None]
