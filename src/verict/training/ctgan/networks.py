"""The two networks of a 3D conditional GAN: a U-Net that paints and a patch discriminator that judges.

Layer by layer those of Mirsky et al., USENIX Security 2019, and its published code, a pix2pix in 3D. With 100 filters
in each first layer both together have 189.5 million parameters, as published.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

KERNEL = 4
SLOPE = 0.2  # of the leaky rectifiers
DROPOUT = 0.5  # as published
MOMENTUM = 0.2  # of batch statistics, what Keras calls 0.8
EPSILON = 1e-3  # Keras' default


class Down(nn.Module):
    """Strided convolution to half the side, leaky rectifier, batch normalisation in that order."""

    def __init__(self, inputs: int, outputs: int, *, normalised: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, KERNEL, stride=2, padding=1)
        self.norm = nn.BatchNorm3d(outputs, EPSILON, MOMENTUM) if normalised else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs, d, h, w) to (n, outputs, d/2, h/2, w/2)."""
        x = functional.leaky_relu(self.conv(x), SLOPE)
        return x if self.norm is None else self.norm(x)


class UpConvolution(nn.Module):
    """Nearest upsampling by two, then a convolution of kernel 4, padded by 1 before and 2 after.

    Each output voxel sees at most 3 x 3 x 3 different inputs, so the same is computed at the lower resolution with
    summed weights, one set for each of the 8 parities of an output voxel: a third of the work, the same result.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, KERNEL)
        self.register_buffer("taps", _share_taps(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs, d, h, w) to (n, outputs, 2d, 2h, 2w)."""
        outputs, inputs = self.conv.weight.shape[:2]
        summed = torch.einsum("pak,qbl,rcm,oiklm->opqriabc", self.taps, self.taps, self.taps, self.conv.weight)
        bias = self.conv.bias.repeat_interleave(8) if self.conv.bias is not None else None
        y = functional.conv3d(x, summed.reshape(outputs * 8, inputs, 3, 3, 3), bias, padding=1)
        n, _, d, h, w = y.shape
        y = y.view(n, outputs, 2, 2, 2, d, h, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
        return y.reshape(n, outputs, 2 * d, 2 * h, 2 * w)

    def forward_plainly(self, x: torch.Tensor) -> torch.Tensor:
        """The same, computed as it is defined."""
        x = functional.interpolate(x, scale_factor=2, mode="nearest")
        return self.conv(functional.pad(x, (1, 2) * 3))


def _share_taps() -> torch.Tensor:
    """(2 parities, 3 inputs, 4 taps): which input -1, 0, +1 each tap of the upsampled signal falls on."""
    taps = torch.zeros(2, 3, KERNEL)
    for parity in range(2):
        for tap in range(KERNEL):
            taps[parity, (parity + tap - 1) // 2 + 1, tap] = 1
    return taps


class Up(nn.Module):
    """Upsampling and convolution, rectifier, dropout, batch normalisation, and the skip beside it."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.up = UpConvolution(inputs, outputs)
        self.norm = nn.BatchNorm3d(outputs, EPSILON, MOMENTUM)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """(n, inputs, d, h, w) and (n, skipped, 2d, 2h, 2w) to (n, outputs + skipped, 2d, 2h, 2w)."""
        x = self.norm(self.dropout(functional.relu(self.up(x))))
        return torch.cat([x, skip], dim=1)


class Generator(nn.Module):
    """3D U-Net: five halvings of 32 mm to a point, four doublings with skips, a last doubling to the paint.

    Parameters
    ----------
    filters
        Of the first layer; the deeper ones have 2, 4, 8 and 8 times as many. Published: 100.
    dropout
        Share of the values that a step of training leaves out on the way up.
    """

    def __init__(self, filters: int, dropout: float = DROPOUT) -> None:
        super().__init__()
        widths = (filters, 2 * filters, 4 * filters, 8 * filters, 8 * filters)
        self.down = nn.ModuleList(
            Down(inputs, outputs, normalised=level > 0)
            for level, (inputs, outputs) in enumerate(pairwise((1, *widths)))
        )
        self.up = nn.ModuleList([
            Up(8 * filters, 8 * filters, dropout),
            Up(16 * filters, 4 * filters, dropout),
            Up(8 * filters, 2 * filters, dropout),
            Up(4 * filters, filters, dropout),
        ])
        self.last = UpConvolution(2 * filters, 1)

    def forward(self, masked: torch.Tensor) -> torch.Tensor:
        """(n, 1, 32, 32, 32) normalised with 0 in the hole to the same shape, -1 to 1."""
        levels = [masked]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels[-1]
        for up, skip in zip(self.up, levels[-2:0:-1], strict=True):
            x = up(x, skip)
        return torch.tanh(self.last(x))


class Discriminator(nn.Module):
    """Judges 2 x 2 x 2 patches of a pair: the whole cuboid, real or painted, and the masked one it belongs to.

    Parameters
    ----------
    filters
        Of the first layer; the deeper ones have 2, 4 and 8 times as many. Published: 100.
    """

    def __init__(self, filters: int) -> None:
        super().__init__()
        widths = (filters, 2 * filters, 4 * filters, 8 * filters)
        self.down = nn.Sequential(*(
            Down(inputs, outputs, normalised=level > 0)
            for level, (inputs, outputs) in enumerate(pairwise((2, *widths)))
        ))
        self.judge = nn.Conv3d(8 * filters, 1, KERNEL)

    def forward(self, cuboid: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
        """Two of (n, 1, 32, 32, 32) to (n, 1, 2, 2, 2), higher = more real."""
        x = self.down(torch.cat([cuboid, masked], dim=1))
        return self.judge(functional.pad(x, (1, 2) * 3))


def count_parameters(*modules: nn.Module) -> int:
    """Number of learned values."""
    return sum(p.numel() for module in modules for p in module.parameters() if p.requires_grad)
