from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from verict.training.ctgan.networks import (
    DROPOUT,
    Discriminator,
    Down,
    Generator,
    UpConvolution,
    count_parameters,
)


def test_with_100_filters_both_networks_have_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        networks = Generator(100), Discriminator(100)
    assert count_parameters(*networks) == pytest.approx(189.5e6, rel=5e-4)


def test_layers_are_as_wide_and_as_many_as_published() -> None:
    generator, discriminator = Generator(2), Discriminator(2)
    downs = [m.conv.out_channels for m in generator.modules() if isinstance(m, Down)]
    ups = [m.conv.out_channels for m in generator.modules() if isinstance(m, UpConvolution)]
    judges = [m.conv.out_channels for m in discriminator.modules() if isinstance(m, Down)]
    assert downs == [2, 4, 8, 16, 16]
    assert ups == [16, 8, 4, 2, 1]
    assert judges == [2, 4, 8, 16]
    for network in (generator, discriminator):
        normalised = [m.norm is not None for m in network.modules() if isinstance(m, Down)]
        assert normalised == [False] + [True] * (len(normalised) - 1)
    dropped = [m.p for m in generator.modules() if isinstance(m, torch.nn.Dropout)]
    assert dropped == [DROPOUT] * 4


@pytest.mark.parametrize(("inputs", "outputs", "side"), [(3, 5, 1), (4, 2, 4), (2, 1, 7)])
def test_summed_weights_give_what_upsampling_and_convolution_give(inputs: int, outputs: int, side: int) -> None:
    torch.manual_seed(0)
    layer = UpConvolution(inputs, outputs)
    x = torch.randn(2, inputs, side, side + 1, side)
    assert torch.allclose(layer(x), layer.forward_plainly(x), atol=1e-5)
    assert layer(x).shape == (2, outputs, 2 * side, 2 * side + 2, 2 * side)


def test_gradients_of_the_summed_weights_are_those_of_the_plain_ones() -> None:
    torch.manual_seed(0)
    layer = UpConvolution(2, 3)
    x, wanted = torch.randn(1, 2, 4, 4, 4), torch.randn(1, 3, 8, 8, 8)
    gradients = []
    for forward in (layer.forward, layer.forward_plainly):
        layer.zero_grad()
        functional.mse_loss(forward(x), wanted).backward()
        gradients.append(layer.conv.weight.grad.clone())
    assert torch.allclose(*gradients, atol=1e-6)


def test_a_cuboid_goes_in_and_one_comes_out_judged_in_eight_patches() -> None:
    torch.manual_seed(0)
    masked = torch.randn(2, 1, 32, 32, 32)
    painted = Generator(2)(masked)
    assert painted.shape == masked.shape
    assert painted.abs().max() <= 1
    assert Discriminator(2)(painted, masked).shape == (2, 1, 2, 2, 2)


def test_the_rim_reaches_the_middle_of_the_hole() -> None:
    torch.manual_seed(0)
    generator = Generator(4).eval()
    masked = torch.randn(1, 1, 32, 32, 32).requires_grad_()
    generator(masked)[0, 0, 16, 16, 16].backward()
    gradient = masked.grad.clone()
    gradient[:, :, 6:26, 6:26, 6:26] = 0
    assert (gradient != 0).any()


def test_the_discriminator_heeds_the_pair() -> None:
    torch.manual_seed(0)
    judge = Discriminator(2).eval()
    cuboid, masked, other = torch.randn(3, 1, 1, 32, 32, 32)
    assert not torch.allclose(judge(cuboid, masked), judge(cuboid, other))
    assert not torch.allclose(judge(cuboid, masked), judge(other, masked))
