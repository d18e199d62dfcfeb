"""The fitted network as ONNX, its weights stored in half precision, checked against the network it was made from."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from verict.errors import ModelError
from verict.tamper.diffusion import CHANNELS, TRAINING_STEPS
from verict.training.diffusion_inpaint.network import InpaintingUNet

OPSET = 17
LEAST_STORED = 64  # values; smaller tensors stay in single precision
LARGEST_DIFFERENCE = 1e-3  # of the velocity, in the network's units (0.2 HU)
CHECKED_BOXES = ((8, 16, 24), (16, 32, 16))  # voxels: sizes and proportions other than the one that was traced


def write_onnx(network: InpaintingUNet, file: Path) -> float:
    """Write the network and check it on boxes of other sizes; the network's own weights are rounded too.

    Returns
    -------
    float
        Largest difference of the velocity between the network and the file, in the network's units.

    Raises
    ------
    ModelError
        If they differ by more than `LARGEST_DIFFERENCE`.
    """
    with torch.no_grad():
        for value in network.parameters():
            if value.numel() >= LEAST_STORED:
                value.copy_(value.half().float())
    network.eval()
    shown = torch.zeros(1, CHANNELS, 16, 24, 24), torch.zeros(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, and of torch about its two exporters
        torch.onnx.export(
            network, shown, str(file), input_names=["channels", "level"], output_names=["velocity"], dynamo=False,
            opset_version=OPSET, dynamic_axes={name: {0: "n", 2: "z", 3: "y", 4: "x"} for name in
                                               ("channels", "velocity")} | {"level": {0: "n"}},
        )
    model = onnx.load(str(file))
    _store_half(model.graph)
    model.producer_name, model.producer_version, model.ir_version = "verict", "", 8
    onnx.checker.check_model(model)
    onnx.save(model, str(file))
    return _check(network, file)


def _store_half(graph: onnx.GraphProto) -> None:
    """Replace each large float tensor by one of half precision and a cast back, which runs once, on load."""
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < LEAST_STORED:
            continue
        name, stored = tensor.name, f"{tensor.name}.half"
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)


def _check(network: InpaintingUNet, file: Path) -> float:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    largest = 0.0
    for box in CHECKED_BOXES:
        channels = rng.standard_normal((1, CHANNELS, *box), np.float32)
        channels[:, 2] = channels[:, 2] > 0  # a hole is or is not, and no spread is below 0
        channels[:, 3:] = abs(channels[:, 3:]) + 0.1
        level = np.array([rng.integers(50, TRAINING_STEPS)], np.float32)
        with torch.no_grad():
            own = network(torch.from_numpy(channels), torch.from_numpy(level)).numpy()
        other = session.run(None, {"channels": channels, "level": level})[0]
        largest = max(largest, float(np.abs(own - other).max()))
    if not largest <= LARGEST_DIFFERENCE:
        raise ModelError("the exported network does not compute what the fitted one does", file=file.name,
                         found=f"velocities {largest:.2g} apart", expected=f"at most {LARGEST_DIFFERENCE:g}")
    return largest
