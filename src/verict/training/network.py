"""A small ensemble of perceptrons over window features, as plain arrays and as ONNX."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from verict.errors import MissingExtraError

CLIP = 6.0  # standard deviations beyond which a feature says no more


@dataclass(frozen=True)
class NetworkRecipe:
    """How the perceptrons are fitted: hidden units, members, passes over the data, weight decay."""

    hidden: int = 48
    members: int = 3
    epochs: int = 25
    alpha: float = 0.1
    learning_rate: float = 1e-3
    batch: int = 256


@dataclass(frozen=True, eq=False)
class Network:
    """One hidden layer; the members of the ensemble stand side by side in it.

    ``mean`` and ``scale`` (features,), ``hidden`` (features, units), ``hidden_bias`` (units,), ``out``
    (units, 1), ``out_bias`` (1,), all float32.
    """

    mean: np.ndarray
    scale: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    out: np.ndarray
    out_bias: np.ndarray

    def score(self, features: np.ndarray) -> np.ndarray:
        """(n,) float32 mean log odds of (n, features); higher = more suspicious."""
        scaled = np.clip((features - self.mean) / self.scale, -CLIP, CLIP)
        units = np.maximum(scaled @ self.hidden + self.hidden_bias, 0)
        return (units @ self.out + self.out_bias)[:, 0]


def fit_network(features: np.ndarray, painted: np.ndarray, recipe: NetworkRecipe, seed: int) -> Network:
    """Fit on (n, features) float32 windows and (n,) bool labels.

    Raises
    ------
    MissingExtraError
        If scikit-learn is not installed.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier
    except ImportError as error:
        raise MissingExtraError(
            "training needs scikit-learn", next_step="install it with: pip install 'verict[train]'"
        ) from error
    mean = features.mean(axis=0)
    scale = np.maximum(features.std(axis=0), 1e-3)
    scaled = np.clip((features - mean) / scale, -CLIP, CLIP)
    members = []
    for member in range(recipe.members):
        model = MLPClassifier(
            (recipe.hidden,),
            alpha=recipe.alpha,
            batch_size=recipe.batch,
            learning_rate_init=recipe.learning_rate,
            max_iter=recipe.epochs,
            random_state=seed + member,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of passes is the recipe
            members.append(model.fit(scaled, painted))
    single = np.float32
    return Network(
        mean.astype(single),
        scale.astype(single),
        np.concatenate([m.coefs_[0] for m in members], axis=1).astype(single),
        np.concatenate([m.intercepts_[0] for m in members]).astype(single),
        (np.concatenate([m.coefs_[1] for m in members]) / len(members)).astype(single),
        np.mean([m.intercepts_[1] for m in members], axis=0).astype(single),
    )


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
        helper.make_node("Gemm", ["units", "out", "out_bias"], ["score"]),
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
