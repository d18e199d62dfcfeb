"""The network says the same as arrays and as ONNX, and is what its seed makes it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from verict.detect.model import WEIGHTS, load_model
from verict.training.network import CLIP, Network, NetworkRecipe, fit_network, write_onnx

QUICK = NetworkRecipe(hidden=6, members=2, epochs=20, alpha=0.01, learning_rate=1e-2, batch=64)


def two_kinds(count: int = 400, features: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Windows whose first feature tells removals from clean, whose fourth injections; scales differ."""
    rng = np.random.default_rng(0)
    paint = rng.choice(3, size=count, p=[0.5, 0.25, 0.25])
    values = rng.normal(size=(count, features)) * [30, 1, 0.1, 5, 1] + [500, 0, 0, -40, 3]
    values[:, 0] += 120 * (paint == 1)
    values[:, 3] -= 20 * (paint == 2)
    return values.astype(np.float32), paint


def score_experts(network: Network, features: np.ndarray) -> np.ndarray:
    """(n, experts): what each expert says by itself."""
    scaled = np.clip((features - network.mean) / network.scale, -CLIP, CLIP)
    return np.maximum(scaled @ network.hidden + network.hidden_bias, 0) @ network.out + network.out_bias


def run_onnx(path: Path, features: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"features": features})[0][:, 0]


@pytest.fixture(scope="module")
def network() -> Network:
    return fit_network(*two_kinds(), QUICK, seed=3)


def test_it_learns_what_tells_the_kinds_apart(network):
    values, paint = two_kinds()
    scores = network.score(values)
    assert ((scores > 0) == (paint > 0)).mean() > 0.85
    removal, injection = score_experts(network, values).T
    assert ((removal > injection) == (paint == 1))[paint > 0].mean() > 0.85
    assert (scores.shape, scores.dtype) == ((400,), np.float32)


def test_arrays_and_onnx_agree(network, tmp_path):
    write_onnx(network, tmp_path / "x.onnx")
    rng = np.random.default_rng(1)
    usual = two_kinds()[0]
    far = (rng.normal(size=(300, 5)) * 1e5).astype(np.float32)
    for features in (usual, far, usual[:1]):
        np.testing.assert_allclose(run_onnx(tmp_path / "x.onnx", features), network.score(features), atol=1e-4)


def test_the_shipped_onnx_says_what_its_own_arrays_say():
    model = onnx.load(WEIGHTS / "spectrum.onnx")
    arrays = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    network = Network(**{f.name: arrays[f.name] for f in fields(Network)})
    features = np.random.default_rng(2).normal(0, 1, (500, len(network.mean))).astype(np.float32)
    np.testing.assert_allclose(load_model("spectrum").score(features), network.score(features), atol=1e-4)


def test_one_seed_one_network(network):
    again, other = fit_network(*two_kinds(), QUICK, seed=3), fit_network(*two_kinds(), QUICK, seed=4)
    for field in fields(Network):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(network, field.name))
    assert not np.array_equal(other.hidden, network.hidden)


def test_an_ensemble_is_the_mean_of_its_members(network):
    values, paint = two_kinds()
    members = [fit_network(values, paint, replace(QUICK, members=1), seed=seed) for seed in (3, 4)]
    mean = np.mean([score_experts(m, values) for m in members], axis=0)
    np.testing.assert_allclose(score_experts(network, values), mean, atol=1e-4)
    np.testing.assert_allclose(network.score(values), mean.max(axis=1), atol=1e-4)


def test_a_wild_feature_says_no_more_than_the_limit(network):
    values = two_kinds()[0][:50]
    limit, wild = values.copy(), values.copy()
    limit[:, 1] = network.mean[1] + CLIP * network.scale[1]
    wild[:, 1] = 1e9
    np.testing.assert_allclose(network.score(wild), network.score(limit), atol=1e-4)


def test_a_feature_that_never_changes_is_no_division_by_zero():
    values, painted = two_kinds()
    values[:, 4] = 7.0
    assert np.isfinite(fit_network(values, painted, QUICK, seed=0).score(values)).all()
