"""Fitting a network: seeded, a fixed number of passes, one thread or a graphics card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from verict.benchmarks.entries import NETWORKS
from verict.benchmarks.imagenet import find_weights, load_imagenet
from verict.benchmarks.networks import CHANNELS, cut_head, make_network
from verict.benchmarks.plain import missing_extra

WINDOW_HU = (-1000.0, 400.0)  # lung and soft tissue; a fixed window, fitted on nothing
IMAGENET_MEAN, IMAGENET_SCALE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # torchvision's preprocessing
EVALUATED_AT_ONCE = 64


@dataclass(frozen=True)
class Tuning:
    """How networks are fitted.

    Parameters
    ----------
    epochs
        Passes over the training rows, their copies included.
    batch, learning_rate, weight_decay
        Of AdamW.
    window_px
        Side of the windows shown to the published networks, at most that of the cuts.
    imagenet
        File or folder of their ImageNet weights; None: random ones.
    device
        ``cpu`` or ``cuda``.
    """

    epochs: int = 20
    batch: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    window_px: int = 64
    imagenet: Path | None = None
    device: str = "cpu"


def start_network(name: str, side: int, tuning: Tuning, seed: int) -> Any:
    """A network with the weights it starts from: those of ImageNet for the published ones, where they are named."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    network = make_network(name, side)
    if name in NETWORKS and tuning.imagenet is not None:
        load_imagenet(name, network, find_weights(name, tuning.imagenet))
    return network


def fit_network(network: Any, images: np.ndarray, kinds: np.ndarray, tuning: Tuning, seed: int) -> Any:
    """Fit all weights by cross-entropy.

    Parameters
    ----------
    network
        Takes (n, channels, ...) and gives (n, 4).
    images
        (n, channels, ...) float32.
    kinds
        (n,) int64, the number of the class.
    tuning
        Passes, batches, rate.
    seed
        Of the order of the batches and of dropout.

    Returns
    -------
    torch.nn.Module
        The same network, ready to judge.
    """
    import torch
    from torch.nn import functional

    torch.manual_seed(seed)
    network = network.to(tuning.device).train()
    optimiser = torch.optim.AdamW(network.parameters(), tuning.learning_rate, weight_decay=tuning.weight_decay)
    truth = torch.from_numpy(kinds)
    for epoch in range(tuning.epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(images))
        for chosen in _batches(order, tuning.batch):
            shown = torch.from_numpy(images[chosen]).to(tuning.device)
            loss = functional.cross_entropy(network(shown), truth[chosen].to(tuning.device))
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
    return network.eval()


def judge(network: Any, images: np.ndarray, device: str) -> np.ndarray:
    """What a network gives of (n, channels, ...) float32 images: (n, outputs) float32."""
    import torch

    network = network.to(device).eval()
    with torch.inference_mode():
        told = [network(torch.from_numpy(images[chosen]).to(device)).flatten(1).cpu().numpy()
                for chosen in _batches(np.arange(len(images)), EVALUATED_AT_ONCE, keep_all=True)]  # fmt: skip
    return np.concatenate(told)


def extract_features(name: str, windows_hu: np.ndarray, tuning: Tuning, seed: int) -> np.ndarray:
    """(n, features) float32 of a published network that learns nothing, for (n, side, side) HU."""
    network = cut_head(name, start_network(name, windows_hu.shape[-1], tuning, seed))
    return judge(network, to_colour(windows_hu), tuning.device)


def to_colour(windows_hu: np.ndarray) -> np.ndarray:
    """(n, side, side) HU as the published networks take pictures: (n, 3, side, side), by constants alone."""
    low, high = WINDOW_HU
    grey = np.clip((windows_hu - low) / (high - low), 0, 1)[:, None]
    shape = (1, CHANNELS, 1, 1)
    colour = (grey - np.reshape(IMAGENET_MEAN, shape)) / np.reshape(IMAGENET_SCALE, shape)
    return np.ascontiguousarray(colour, np.float32)


def to_probabilities(outputs: np.ndarray) -> np.ndarray:
    """(n, classes) that add up to 1."""
    shares = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def _batches(order: np.ndarray, size: int, *, keep_all: bool = False) -> Iterator[np.ndarray]:
    """Parts of an order; a last one of a single row is left out, since batch normalisation needs two."""
    for start in range(0, len(order), size):
        part = order[start : start + size]
        if len(part) > 1 or keep_all or len(order) == 1:
            yield part

