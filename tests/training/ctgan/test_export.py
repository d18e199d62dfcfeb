from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from verict.errors import ModelError
from verict.provenance import sha256_of
from verict.tamper.ctgan_cuboid import HOLE, SIDE, Equaliser
from verict.tamper.families.ctgan import NEEDED, SCHEMA, open_model
from verict.tamper.forgery import ForgeryKind
from verict.training.ctgan import export
from verict.training.ctgan.export import export_generator, measure_parity
from verict.training.ctgan.networks import Generator


@pytest.fixture(scope="module")
def generator() -> Generator:
    """A small network whose batch statistics are not those it began with."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = Generator(4)
    with torch.no_grad():
        for _ in range(3):
            network(0.3 * torch.randn(4, 1, SIDE, SIDE, SIDE))
        for parameter in network.parameters():
            parameter.mul_(2)
    return network.eval()


@pytest.fixture(scope="module")
def equaliser() -> Equaliser:
    return Equaliser.fit(np.random.default_rng(0).normal(-800, 200, (2, SIDE, SIDE, SIDE)))


def write_card(folder: Path) -> None:
    values = dict.fromkeys(NEEDED, "")
    card = {**values, "schema": SCHEMA, "sha256": sha256_of(folder / "ctgan-remove.onnx")}
    (folder / "ctgan-remove.json").write_text(json.dumps(card))


def test_what_is_shipped_paints_as_what_was_trained(tmp_path: Path, generator: Generator, equaliser: Equaliser) -> None:
    difference = export_generator(generator, equaliser, tmp_path / "ctgan-remove.onnx")
    assert difference < 1e-4
    write_card(tmp_path)
    model = open_model(ForgeryKind.REMOVE, tmp_path)
    masked = np.random.default_rng(1).uniform(-0.5, 0.5, (SIDE,) * 3).astype(np.float32)
    masked[HOLE] = 0
    with torch.no_grad():
        wanted = generator(torch.from_numpy(masked)[None, None])[0, 0].numpy()
    assert np.ptp(wanted) > 0.05, "a network that paints nothing would prove nothing"
    assert np.abs(model.generator(masked) - wanted).max() < 1e-4
    hu = np.linspace(-1400, 0, 999)
    assert np.array_equal(model.equaliser.normalise(hu), equaliser.normalise(hu))
    assert np.array_equal(model.equaliser.undo(hu / 2000 + 0.2), equaliser.undo(hu / 2000 + 0.2))


def test_weights_are_stored_in_half_precision(tmp_path: Path, generator: Generator, equaliser: Equaliser) -> None:
    file = tmp_path / "ctgan-remove.onnx"
    export_generator(generator, equaliser, file)
    kernels = [w for w in onnx.load(file).graph.initializer if len(w.dims) == 5]
    assert len(kernels) == 10
    assert {w.data_type for w in kernels} == {onnx.TensorProto.FLOAT16}


def test_a_file_that_paints_otherwise_is_told(tmp_path: Path, generator: Generator, equaliser: Equaliser) -> None:
    export_generator(generator, equaliser, tmp_path / "a.onnx")
    torch.manual_seed(1)
    assert measure_parity(Generator(4).eval(), tmp_path / "a.onnx") > 1e-2


def test_an_export_out_of_parity_is_refused(
    tmp_path: Path, generator: Generator, equaliser: Equaliser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "AFTER", [1, 1, 1])
    monkeypatch.setattr(export, "BEFORE", [2, 2, 2])
    with pytest.raises(ModelError, match="paints otherwise"):
        export_generator(generator, equaliser, tmp_path / "a.onnx")


def test_weights_without_an_equaliser_are_refused(tmp_path: Path, generator: Generator, equaliser: Equaliser) -> None:
    file = tmp_path / "ctgan-remove.onnx"
    export_generator(generator, equaliser, file)
    model = onnx.load(file)
    del model.metadata_props[:]
    onnx.save(model, str(file))
    write_card(tmp_path)
    with pytest.raises(ModelError, match="no equaliser"):
        open_model(ForgeryKind.REMOVE, tmp_path)
