"""A trained generator as ONNX with its equaliser inside, half-precision weights, and a check that both paint alike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from verict.errors import ModelError
from verict.tamper.ctgan_cuboid import HOLE, SIDE, Equaliser
from verict.tamper.families.ctgan import EQUALISER
from verict.training.ctgan.networks import EPSILON, SLOPE, Down, Generator, Up, UpConvolution

PARITY = 1e-4  # largest difference of any normalised voxel between torch and the exported file
OPSET, IR_VERSION = 17, 8
BEFORE, AFTER = [1, 1, 1], [2, 2, 2]  # padding of the convolutions after upsampling


def round_to_half(generator: Generator) -> Generator:
    """Round the convolutions' weights, in place, to what half precision holds: that is how they are stored."""
    with torch.no_grad():
        for module in generator.modules():
            if isinstance(module, torch.nn.Conv3d):
                module.weight.copy_(module.weight.half().float())
    return generator


def export_generator(generator: Generator, equaliser: Equaliser, file: Path) -> float:
    """Write ``masked`` (1, 1, 32, 32, 32) float32 to ``painted`` of the same shape, and check it.

    Parameters
    ----------
    generator
        In evaluation mode; its weights are rounded to half precision.
    equaliser
        Of its training; goes into the file's metadata.
    file
        Where to.

    Returns
    -------
    float
        Largest difference from torch, of normalised values.

    Raises
    ------
    ModelError
        If it is more than 1e-4.
    """
    graph = _Graph()
    round_to_half(generator)
    skips = ["masked"]
    for module in generator.down:
        skips.append(graph.add_down(skips[-1], module))
    x = skips[-1]
    for module, skip in zip(generator.up, skips[-2:0:-1], strict=True):
        x = graph.add_up(x, skip, module)
    graph.add("Tanh", [graph.add_upconvolution(x, generator.last)], output="painted")
    _save(graph, equaliser, file)
    difference = measure_parity(generator, file)
    if difference > PARITY:
        raise ModelError("the exported network paints otherwise than the trained one", file=file.name,
                         found=f"{difference:.2g}", expected=f"at most {PARITY:g}")
    return difference


def measure_parity(generator: Generator, file: Path, *, seed: int = 0, count: int = 4) -> float:
    """Largest difference between torch and onnxruntime over random masked cuboids."""
    rng = np.random.default_rng(seed)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    largest = 0.0
    for _ in range(count):
        masked = rng.uniform(-0.5, 0.5, (1, 1, SIDE, SIDE, SIDE)).astype(np.float32)
        masked[(..., *HOLE)] = 0
        with torch.no_grad():
            wanted = generator(torch.from_numpy(masked)).numpy()
        largest = max(largest, float(np.abs(session.run(None, {"masked": masked})[0] - wanted).max()))
    return largest


class _Graph:
    """Nodes and stored values of an ONNX graph, named by number."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: list[str], *, output: str = "", **attributes: object) -> str:
        """Append a node and return the name of its output."""
        output = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def keep(self, values: np.ndarray) -> str:
        """Store values and return their name."""
        name = f"w{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add_convolution(self, x: str, conv: torch.nn.Conv3d, pads: list[int]) -> str:
        weight = self.add("Cast", [self.keep(_array(conv.weight).astype(np.float16))], to=TensorProto.FLOAT)
        bias = self.keep(_array(conv.bias))
        return self.add("Conv", [x, weight, bias], pads=pads, strides=list(conv.stride))

    def add_norm(self, x: str, norm: torch.nn.BatchNorm3d) -> str:
        values = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        return self.add("BatchNormalization", [x, *(self.keep(_array(v)) for v in values)], epsilon=EPSILON)

    def add_down(self, x: str, down: Down) -> str:
        x = self.add_convolution(x, down.conv, [1] * 6)
        x = self.add("LeakyRelu", [x], alpha=SLOPE)
        return x if down.norm is None else self.add_norm(x, down.norm)

    def add_upconvolution(self, x: str, up: UpConvolution) -> str:
        scales = self.keep(np.array([1, 1, 2, 2, 2], np.float32))
        x = self.add("Resize", [x, "", scales], mode="nearest", nearest_mode="floor",
                     coordinate_transformation_mode="asymmetric")
        return self.add_convolution(x, up.conv, BEFORE + AFTER)

    def add_up(self, x: str, skip: str, up: Up) -> str:
        x = self.add("Relu", [self.add_upconvolution(x, up.up)])
        return self.add("Concat", [self.add_norm(x, up.norm), skip], axis=1)


def _array(values: torch.Tensor | None) -> np.ndarray:
    if values is None:
        raise ModelError("a layer has no such values")
    array: np.ndarray = values.detach().numpy().astype(np.float32)
    return array


def _save(graph: _Graph, equaliser: Equaliser, file: Path) -> None:
    shape = [1, 1, SIDE, SIDE, SIDE]
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name in ("masked", "painted")
    )
    model = helper.make_model(
        helper.make_graph(graph.nodes, "ctgan", inputs, outputs, graph.stored),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="verict",
    )
    model.ir_version = IR_VERSION
    stored = {
        "lowest_hu": equaliser.lowest_hu,
        "highest_hu": equaliser.highest_hu,
        "mean": equaliser.mean,
        "level": equaliser.level.tolist(),
    }
    helper.set_model_props(model, {EQUALISER: json.dumps(stored)})
    onnx.checker.check_model(model)
    onnx.save(model, str(file))
