"""The networks of both experiments, unfitted. Everything of torch is imported when one is asked for.

DenseNet and ResNet are MONAI's in 2D, made as torchvision makes them, so that its weights fit. VGG19 is written out:
Simonyan and Zisserman, arXiv 1409.1556, table 1, column E. The student's networks are known by their sort alone.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from verict.benchmarks.entries import NETWORKS
from verict.benchmarks.plain import missing_extra
from verict.errors import UsageError

CLASS_COUNT = 4
CHANNELS = 3  # of the published networks: a grey slice is shown as all three
VGG19_PLAN = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512, 0)
"""Channels of each 3 x 3 convolution; 0 halves the image."""
FFNN_UNITS = (512, 256, 128)
CNN_CHANNELS = (8, 16, 32)  # small: a fold of 3D cuboids takes seconds on one core


def make_network(name: str, side: int) -> Any:
    """A network by the name its entry gives it, with four outputs and random weights.

    Parameters
    ----------
    name
        One of `NETWORKS`, ffnn, cnn2d or cnn3d.
    side
        Of its images, in pixels or voxels.

    Raises
    ------
    MissingExtraError
        If torch or MONAI is not installed.
    UsageError
        If no network has that name.
    """
    try:
        if name in NETWORKS:
            return _make_published(name)
        if name == "ffnn":
            return _make_ffnn(side**3)
        if name in ("cnn2d", "cnn3d"):
            return _make_cnn(int(name[3]))
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    raise UsageError(f"no network named {name!r}")


def head_of(name: str) -> str:
    """The name of the last layer's parameters, which tell classes and not features."""
    return {"d": "class_layers.out", "r": "fc", "v": "classifier.6"}[name[0]]


def cut_head(name: str, network: Any) -> Any:
    """The network as a feature extractor: its last layer taken off."""
    from torch import nn

    path, _, leaf = head_of(name).rpartition(".")
    setattr(network.get_submodule(path), leaf, nn.Identity())
    return network


def _make_published(name: str) -> Any:
    from monai.networks import nets

    if name.startswith("densenet"):
        cls = {"densenet121": nets.DenseNet121, "densenet201": nets.DenseNet201}[name]
        return cls(spatial_dims=2, in_channels=CHANNELS, out_channels=CLASS_COUNT)
    if name.startswith("resnet"):
        layers = {"resnet50": [3, 4, 6, 3], "resnet101": [3, 4, 23, 3]}[name]
        return nets.ResNet("bottleneck", layers, [64, 128, 256, 512], spatial_dims=2, n_input_channels=CHANNELS,
                           conv1_t_stride=2, num_classes=CLASS_COUNT, bias_downsample=False)  # fmt: skip
    return make_vgg19()


def make_vgg19() -> Any:
    """VGG19 with its layers named as torchvision names them: ``features.0`` to ``classifier.6``."""
    from torch import nn

    layers: list[Any] = []
    before = CHANNELS
    for channels in VGG19_PLAN:
        if channels:
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU(inplace=True)]
            before = channels
        else:
            layers.append(nn.MaxPool2d(2))
    classifier = nn.Sequential(
        nn.Linear(512 * 7 * 7, 4096), nn.ReLU(inplace=True), nn.Dropout(),
        nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(),
        nn.Linear(4096, CLASS_COUNT),
    )  # fmt: skip
    for layer in layers:  # without normalisation, torch's own start would let the signal die out
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return nn.Sequential(OrderedDict(
        features=nn.Sequential(*layers), avgpool=nn.AdaptiveAvgPool2d((7, 7)), flatten=nn.Flatten(),
        classifier=classifier,
    ))  # fmt: skip


def _make_ffnn(inputs: int) -> Any:
    from torch import nn

    layers: list[Any] = [nn.Flatten()]
    for units in FFNN_UNITS:
        layers += [nn.Linear(inputs, units), nn.ReLU(), nn.Dropout(0.3)]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, CLASS_COUNT))


def _make_cnn(axes: int) -> Any:
    """Three convolutions with batch normalisation, each halving the image; the mean of what is left; four outputs."""
    from torch import nn

    convolution, normalise, mean = (
        (nn.Conv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d) if axes == 2
        else (nn.Conv3d, nn.BatchNorm3d, nn.AdaptiveAvgPool3d)
    )  # fmt: skip
    layers: list[Any] = []
    before = 1
    for channels in CNN_CHANNELS:
        layers += [convolution(before, channels, 3, stride=2, padding=1), normalise(channels), nn.ReLU()]
        before = channels
    return nn.Sequential(*layers, mean(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(before, CLASS_COUNT))
