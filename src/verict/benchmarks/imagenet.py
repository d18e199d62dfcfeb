"""Weights learnt on ImageNet, from files the user has: torchvision's, checked by hash, loaded by name.

Nothing is downloaded. torchvision puts the first eight digits of a file's SHA-256 into its name, and so do the names
here (https://docs.pytorch.org/vision/stable/models.html; the files lie at https://download.pytorch.org/models/).
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verict.benchmarks.networks import head_of
from verict.errors import ModelError, UsageError
from verict.provenance import sha256_of

FILES = {
    "densenet121": "densenet121-a639ec97.pth",
    "densenet201": "densenet201-c1103571.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "resnet101": "resnet101-63fe2227.pth",
    "vgg19": "vgg19-dcbb9e9d.pth",
}
"""The file of each network, with the beginning of its SHA-256."""
ORIGIN = "https://download.pytorch.org/models/"
_DENSE_LAYER = re.compile(r"(features\.denseblock\d+\.denselayer\d+)\.(norm|conv)\.?([12])\.(.+)")
_COUNTER = "num_batches_tracked"  # older files lack it; only training without momentum reads it


@dataclass(frozen=True)
class Weights:
    """A weights file that was found and whose bytes are those expected."""

    file: Path
    sha256: str


def find_weights(name: str, place: Path) -> Weights:
    """The file of a network, checked.

    Parameters
    ----------
    name
        One of `FILES`.
    place
        The file itself, or the folder it lies in.

    Raises
    ------
    UsageError
        If it is not there: what is expected, and from where.
    ModelError
        If its SHA-256 is not the one its name tells.
    """
    wanted = FILES[name]
    file = place / wanted if place.is_dir() else place
    if not file.is_file() or file.name != wanted:
        raise UsageError(f"no ImageNet weights for {name}", file=place, expected=wanted, next_step=how_to_start(name))
    digest = sha256_of(file)
    prefix = wanted.rpartition("-")[2].removesuffix(".pth")
    if not digest.startswith(prefix):
        raise ModelError("the weights file was altered or cut short", file=file, found=f"SHA-256 {digest[:16]}",
                         expected=f"SHA-256 {prefix}…",
                         next_step=f"download it again from {ORIGIN}{wanted}")  # fmt: skip
    return Weights(file, digest)


def how_to_start(name: str) -> str:
    """What to do where no weights were named, on one line."""
    return (f"name the folder of {ORIGIN}{FILES[name]} with --imagenet, or start from random weights with "
            "--init random")  # fmt: skip


def load_imagenet(name: str, network: Any, weights: Weights) -> None:
    """Put torchvision's weights into a network of `verict.benchmarks.networks`; its last layer stays as it is.

    Raises
    ------
    ModelError
        If the file is no such set of weights.
    """
    import torch

    try:
        state = torch.load(weights.file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise ModelError("the weights file cannot be read", file=weights.file, found=type(error).__name__,
                         next_step=f"download it again from {ORIGIN}{FILES[name]}") from error  # fmt: skip
    fill(name, network, state, weights.file)


def fill(name: str, network: Any, state: Mapping[str, Any], file: Path) -> None:
    """Copy a torchvision state into a network, every parameter but those of the last layer.

    Raises
    ------
    ModelError
        If a parameter is missing, left over or of another shape.
    """
    own, head = network.state_dict(), head_of(name)
    renamed = {rename(key): value for key, value in state.items()}
    wanted = {key for key in own if not key.startswith(f"{head}.")}
    given = {key for key in renamed if not key.startswith(f"{head}.")}
    missing = sorted(key for key in wanted - given if not key.endswith(_COUNTER))
    wrong = [*missing, *sorted(given - wanted),
             *sorted(key for key in wanted & given if own[key].shape != renamed[key].shape)]  # fmt: skip
    if wrong:
        raise ModelError(f"these are no weights of {name}", file=file, found=f"{len(wrong)} parameters differ, the "
                         f"first is {wrong[0]}", expected=FILES[name])  # fmt: skip
    network.load_state_dict({key: renamed[key] for key in wanted & given}, strict=False)


def rename(key: str) -> str:
    """The name torchvision gives a parameter, as MONAI's networks call it.

    >>> rename("features.denseblock1.denselayer2.norm.1.weight")
    'features.denseblock1.denselayer2.layers.norm1.weight'
    >>> rename("classifier.weight"), rename("classifier.6.bias"), rename("layer1.0.conv1.weight")
    ('class_layers.out.weight', 'classifier.6.bias', 'layer1.0.conv1.weight')
    """
    inner = _DENSE_LAYER.fullmatch(key)
    if inner is not None:
        return f"{inner[1]}.layers.{inner[2]}{inner[3]}.{inner[4]}"
    return re.sub(r"^classifier\.(weight|bias)$", r"class_layers.out.\1", key)
