"""Fitting: resumed to the same weights, the same in ONNX, and deaf to what it may not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from training.localiser.stocks import make_stock

from verict.errors import ModelError
from verict.training.localiser.bank import Maker
from verict.training.localiser.designs import NetworkRecipe, make_network
from verict.training.localiser.export import LARGEST_DIFFERENCE, write_onnx
from verict.training.localiser.fit import FitRecipe, Pool, fit
from verict.training.localiser.shards import Bank

SMALL = FitRecipe(steps=6, batch=4, crop_cells=12, save_every=3, network=NetworkRecipe(hidden=8, width=8))


def everything(_: object) -> bool:
    return True


def quiet(*_: object) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def bank(tmp_path_factory, shared_data):
    with Bank(Maker(make_stock(shared_data), seed=3), tmp_path_factory.mktemp("bank"), 1, workers=0) as made:
        made.read(0)
        yield made


@pytest.mark.parametrize("design", ["map", "window", "pixel"])
def test_a_killed_training_ends_with_the_same_weights(tmp_path, bank, design):
    recipe = replace(SMALL, network=replace(SMALL.network, design=design))
    whole, _ = fit(bank, everything, tmp_path / "whole.pt", recipe, 1, quiet)

    def kill(_: str, done: int, __: int) -> None:
        if done == 4:  # after the checkpoint of step 3
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(bank, everything, tmp_path / "killed.pt", recipe, 1, kill)
    resumed, facts = fit(bank, everything, tmp_path / "killed.pt", recipe, 1, quiet)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert np.isfinite(facts["loss"])
    assert 0 <= facts["waited"] <= 1


def test_another_recipe_does_not_go_on_from_a_checkpoint(tmp_path, bank):
    fit(bank, everything, tmp_path / "one.pt", SMALL, 1, quiet)
    with pytest.raises(ModelError, match="another recipe"):
        fit(bank, everything, tmp_path / "one.pt", replace(SMALL, steps=7), 1, quiet)
    (tmp_path / "one.pt").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        fit(bank, everything, tmp_path / "one.pt", SMALL, 1, quiet)


def test_only_what_may_be_seen_is_drawn(bank):
    pool = Pool(bank, lambda tags: tags.what == "untouched")
    pool.grow(1)
    assert set(pool.members) == {"untouched"}
    batch = pool.draw(np.random.default_rng(0), SMALL)
    assert set(batch.labels.unique().tolist()) <= {0, -1}


def test_batches_show_labels_where_cells_are(bank):
    pool = Pool(bank, everything)
    pool.grow(1)
    batch = pool.draw(np.random.default_rng(1), SMALL)
    assert batch.values.shape[0] == batch.labels.shape[0] == batch.where.shape[0]
    assert batch.mask.sum() == len(batch.where)
    assert (batch.labels > 0).any()
    assert batch.where[:, 1:].max() < SMALL.crop_cells


@pytest.mark.parametrize("design", ["map", "window"])
def test_onnx_computes_what_torch_does(tmp_path, bank, design):
    recipe = replace(SMALL, network=replace(SMALL.network, design=design))
    network, _ = fit(bank, everything, tmp_path / "n.pt", recipe, 1, quiet)
    assert write_onnx(network, tmp_path / "n.onnx") <= LARGEST_DIFFERENCE
    session = onnxruntime.InferenceSession(str(tmp_path / "n.onnx"))
    shard = bank.read(0)
    cells = slice(int(shard.first[0]), int(shard.first[1]))
    values = np.zeros((32, 32, shard.values.shape[1]), np.float32)
    mask = np.zeros((32, 32), np.float32)
    values[shard.rows[cells], shard.columns[cells]] = shard.values[cells]
    mask[shard.rows[cells], shard.columns[cells]] = 1
    with torch.no_grad():
        own = network(torch.from_numpy(values), torch.from_numpy(mask)).numpy()
    other = session.run(None, {"values": values, "mask": mask})[0]
    assert own.shape == (64, 64)
    np.testing.assert_allclose(own, other, atol=LARGEST_DIFFERENCE)


def test_training_and_use_score_a_cell_alike(bank):
    """The sparse path of training and the dense one of scanning."""
    torch.manual_seed(0)
    network = make_network(SMALL.network)
    pool = Pool(bank, everything)
    pool.grow(1)
    batch = pool.draw(np.random.default_rng(2), SMALL)
    with torch.no_grad():
        logits = network.logits(batch)
        score = torch.logsumexp(logits[..., 1:], -1) - logits[..., 0]
        own = batch.where[:, 0] == 0
        dense = torch.zeros(SMALL.crop_cells, SMALL.crop_cells, batch.values.shape[1])
        rows, columns = batch.where[own, 1], batch.where[own, 2]
        dense[rows, columns] = batch.values[own]
        used = network(dense, batch.mask[0, 0])
    for quarter, (dy, dx) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        torch.testing.assert_close(used[2 * rows + dy, 2 * columns + dx], score[own, quarter], atol=1e-5, rtol=1e-5)
