"""A small ensemble of perceptrons over window features, as plain arrays and as ONNX."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from verict.errors import MissingExtraError

EXPERTS = (1, 2)  # removal, injection
CLIP = 6.0  # standard deviations beyond which a feature says no more


@dataclass(frozen=True)
class NetworkRecipe:
    """How the perceptrons are fitted: hidden units, members, passes over the data, weight decay."""

    hidden: int = 48
    members: int = 3
    epochs: int = 20
    alpha: float = 0.1
    learning_rate: float = 3e-3
    batch: int = 1024


@dataclass(frozen=True, eq=False)
class Network:
    """Experts for removals and for injections; the members of each stand side by side in one hidden layer.

    ``mean`` and ``scale`` (features,), ``hidden`` (features, units), ``hidden_bias`` (units,), ``out``
    (units, experts), ``out_bias`` (experts,), all float32.
    """

    mean: np.ndarray
    scale: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    out: np.ndarray
    out_bias: np.ndarray

    def score(self, features: np.ndarray) -> np.ndarray:
        """(n,) float32 highest log odds of any expert for (n, features); higher = more suspicious."""
        scaled = np.clip((features - self.mean) / self.scale, -CLIP, CLIP)
        units = np.maximum(scaled @ self.hidden + self.hidden_bias, 0)
        return (units @ self.out + self.out_bias).max(axis=1)


def fit_network(features: np.ndarray, paint: np.ndarray, recipe: NetworkRecipe, seed: int) -> Network:
    """Fit on (n, features) float32 windows and (n,) int labels: 0 clean, 1 removal, 2 injection.

    Each expert tells its own paint from clean windows and does not see the other's.

    Raises
    ------
    MissingExtraError
        If scikit-learn is not installed.
    """
    mean = features.mean(axis=0)
    scale = np.maximum(features.std(axis=0), 1e-3)
    scaled = np.clip((features - mean) / scale, -CLIP, CLIP)
    hidden, hidden_bias, out, out_bias = [], [], [], []
    for expert in EXPERTS:
        chosen = np.isin(paint, (0, expert))
        members = _fit_members(scaled[chosen], paint[chosen] == expert, recipe, seed)
        for member in members:
            hidden.append(member.coefs_[0])
            hidden_bias.append(member.intercepts_[0])
            column = np.zeros((recipe.hidden, len(EXPERTS)))
            column[:, EXPERTS.index(expert)] = member.coefs_[1][:, 0] / len(members)
            out.append(column)
        out_bias.append(np.mean([member.intercepts_[1] for member in members]))
    arrays = mean, scale, np.hstack(hidden), np.concatenate(hidden_bias), np.vstack(out), np.array(out_bias)
    return Network(*(a.astype(np.float32) for a in arrays))


def _fit_members(scaled: np.ndarray, painted: np.ndarray, recipe: NetworkRecipe, seed: int) -> list:
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier
    except ImportError as error:
        raise MissingExtraError(
            "training needs scikit-learn", next_step="install it with: pip install 'verict[train]'"
        ) from error
    members = []
    for member in range(recipe.members):
        model = MLPClassifier(
            (recipe.hidden,),
            alpha=recipe.alpha,
            batch_size=min(recipe.batch, len(scaled)),
            learning_rate_init=recipe.learning_rate,
            max_iter=recipe.epochs,
            random_state=seed + member,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of passes is the recipe
            members.append(model.fit(scaled, painted))
    return members


def write_onnx(network: Network, path: Path) -> None:
    """Write the network as ONNX: input ``features`` (n, features) float32, output ``score`` (n, 1).

    Raises
    ------
    MissingExtraError
        If onnx is not installed.
    """
    try:
        from onnx import TensorProto, checker, helper, numpy_helper, save
    except ImportError as error:
        raise MissingExtraError(
            "writing weights needs onnx", next_step="install it with: pip install 'verict[train]'"
        ) from error
    arrays = {
        "mean": network.mean,
        "scale": network.scale,
        "hidden": network.hidden,
        "hidden_bias": network.hidden_bias,
        "out": network.out,
        "out_bias": network.out_bias,
        "low": np.float32(-CLIP),
        "high": np.float32(CLIP),
    }
    nodes = [
        helper.make_node("Sub", ["features", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "low", "high"], ["clipped"]),
        helper.make_node("Gemm", ["clipped", "hidden", "hidden_bias"], ["summed"]),
        helper.make_node("Relu", ["summed"], ["units"]),
        helper.make_node("Gemm", ["units", "out", "out_bias"], ["experts"]),
        helper.make_node("ReduceMax", ["experts"], ["score"], axes=[1], keepdims=1),
    ]
    graph = helper.make_graph(
        nodes,
        "spectrum",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", len(network.mean)])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="verict")
    model.ir_version = 8
    checker.check_model(model)
    save(model, str(path))
