"""The network that scores places: a few perceptrons of two hidden layers side by side, fitted by torch, kept as ONNX.

Places that are none are many and mostly easy. Twice during the fit all of them are scored, and from then on those that
fool the network are drawn more often.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto, checker, helper, numpy_helper, save
from torch import nn
from torch.nn import functional

from verict.training.nodule.recipe import NetworkRecipe

CLIP = 6.0  # standard deviations beyond which a feature says no more
MINED_AT = (1 / 3, 2 / 3)  # of the steps
EASY, HARD = 0.15, 4.0  # how often an easy place is drawn once mined, and how much more often one that fools
HARD_FROM = -2.0  # log odds at which a place counts half as hard
_AT_ONCE = 20_000


class Perceptron(nn.Module):
    """Log odds (n,) of (n, features); standardises its input."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, mean: torch.Tensor, scale: torch.Tensor, recipe: NetworkRecipe) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.noise = recipe.noise
        self.first = nn.Linear(len(mean), recipe.hidden)
        self.second = nn.Linear(recipe.hidden, recipe.hidden)
        self.last = nn.Linear(recipe.hidden, 1)
        self.drop = nn.Dropout(recipe.drop_out)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(n,) of (n, features); with noise and drop-out while it learns."""
        units = torch.clamp((features - self.mean) / self.scale, -CLIP, CLIP)
        if self.training:
            units = units + self.noise * torch.randn_like(units)
        for layer in (self.first, self.second):
            units = self.drop(functional.silu(layer(units)))
        return self.last(units)[:, 0]

    @property
    def layers(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        """From the features to the log odds."""
        return self.first, self.second, self.last


def fit_network(
    features: np.ndarray, is_nodule: np.ndarray, weight: np.ndarray, recipe: NetworkRecipe, seed: int
) -> list[Perceptron]:
    """Fit every member; one thread, so that the same seed gives the same weights.

    Parameters
    ----------
    features
        (n, features) of any float type.
    is_nodule
        (n,) bool.
    weight
        (n,) how often each is drawn against the others of its side.
    recipe
        See `NetworkRecipe`.
    seed
        Of the first member; the next ones follow it.
    """
    torch.set_num_threads(1)
    some = features[:: max(1, len(features) // 30_000)].astype(np.float32)
    mean, scale = torch.from_numpy(some.mean(axis=0)), torch.from_numpy(np.maximum(some.std(axis=0), 1e-2))
    return [_fit_member(features, is_nodule, weight, Perceptron(mean, scale, recipe), recipe, seed + member)
            for member in range(recipe.members)]


def _fit_member(
    features: np.ndarray, is_nodule: np.ndarray, weight: np.ndarray, network: Perceptron, recipe: NetworkRecipe,
    seed: int,
) -> Perceptron:
    torch.manual_seed(seed)
    for layer in network.layers:
        layer.reset_parameters()
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, recipe.steps)
    sides = [np.flatnonzero(is_nodule), np.flatnonzero(~is_nodule)]
    chances = [_add_up(weight[side]) for side in sides]
    nodules = round(recipe.batch * recipe.positive_share)
    mined = {int(part * recipe.steps) for part in MINED_AT}
    network.train()
    for step in range(recipe.steps):
        if step in mined:
            hardness = 1 / (1 + np.exp(HARD_FROM - score([network], features, sides[1])))
            chances[1] = _add_up(weight[sides[1]] * (EASY + HARD * hardness))
            network.train()
        drawn = np.concatenate([
            side[np.minimum(np.searchsorted(chance, rng.random(count)), len(side) - 1)]
            for side, chance, count in zip(sides, chances, (nodules, recipe.batch - nodules), strict=True)
        ])
        told = network(torch.from_numpy(features[drawn].astype(np.float32)))
        truth = torch.from_numpy(is_nodule[drawn].astype(np.float32))
        loss = functional.binary_cross_entropy_with_logits(told, truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        pace.step()
    return network.eval()


def _add_up(weight: np.ndarray) -> np.ndarray:
    return np.cumsum(weight / weight.sum())


def score(members: Sequence[Perceptron], features: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """(n,) float32 mean log odds of (n, features), or of some rows of them."""
    rows = np.arange(len(features)) if rows is None else rows
    out = np.zeros(len(rows), np.float32)
    with torch.no_grad():
        for member in members:
            member.eval()
            for first in range(0, len(rows), _AT_ONCE):
                part = torch.from_numpy(features[rows[first : first + _AT_ONCE]].astype(np.float32))
                out[first : first + _AT_ONCE] += member(part).numpy() / len(members)
    return out


def write_onnx(members: Sequence[Perceptron], path: Path) -> None:
    """Write as ONNX: input ``features`` (n, features) float32, output ``score`` (n, 1), the mean of the members."""
    nodes = []
    arrays = {"low": np.float32(-CLIP), "high": np.float32(CLIP), "mean": members[0].mean.numpy(),
              "scale": members[0].scale.numpy()}
    nodes += [
        helper.make_node("Sub", ["features", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "low", "high"], ["clipped"]),
    ]
    outputs = []
    for m, member in enumerate(members):
        last = "clipped"
        for number, layer in enumerate(member.layers):
            name = f"{m}.{number}"
            arrays |= {f"{name}.weight": layer.weight.detach().numpy(), f"{name}.bias": layer.bias.detach().numpy()}
            nodes.append(helper.make_node("Gemm", [last, f"{name}.weight", f"{name}.bias"], [name], transB=1))
            last = name
            if number < len(member.layers) - 1:
                nodes.append(helper.make_node("Sigmoid", [name], [f"{name}.gate"]))
                nodes.append(helper.make_node("Mul", [name, f"{name}.gate"], [f"{name}.on"]))
                last = f"{name}.on"
        outputs.append(last)
    nodes.append(helper.make_node("Mean", outputs, ["score"]))
    graph = helper.make_graph(
        nodes, path.stem,
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", len(arrays["mean"])])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in arrays.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="verict")
    model.ir_version = 8
    checker.check_model(model)
    save(model, str(path))
