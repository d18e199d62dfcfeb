"""The fitted network as ONNX, checked against the network it was made from."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from verict.detect.localiser_features import CHANNEL_COUNT
from verict.errors import ModelError
from verict.training.localiser.designs import MapNetwork

OPSET = 17
LARGEST_DIFFERENCE = 1e-4  # of a score, between torch and ONNX Runtime
CHECKED_SHAPES = ((20, 30), (45, 38), (7, 5))  # cells: other than the one that was traced


def write_onnx(network: MapNetwork, file: Path) -> float:
    """Write: inputs ``values`` (rows, columns, channels), ``mask`` (rows, columns); output ``score``, four a cell.

    Returns
    -------
    float
        Largest difference of a score between the network and the file.

    Raises
    ------
    ModelError
        If they differ by more than `LARGEST_DIFFERENCE`.
    """
    network.eval()
    shown = torch.zeros(24, 16, CHANNEL_COUNT), torch.ones(24, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, and of torch about its two exporters
        torch.onnx.export(
            network, shown, str(file), input_names=["values", "mask"], output_names=["score"], dynamo=False,
            opset_version=OPSET,
            dynamic_axes={name: {0: "rows", 1: "columns"} for name in ("values", "mask", "score")},
        )
    model = onnx.load(str(file))
    model.producer_name, model.producer_version, model.ir_version = "verict", "", 8
    onnx.checker.check_model(model)
    onnx.save(model, str(file))
    return _check(network, file)


def _check(network: MapNetwork, file: Path) -> float:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    mean, scale = network.encoder.mean.numpy(), network.encoder.scale.numpy()
    largest = 0.0
    for shape in CHECKED_SHAPES:
        values = (mean + scale * rng.standard_normal((*shape, CHANNEL_COUNT))).astype(np.float32)
        mask = (rng.random(shape) < 0.8).astype(np.float32)
        with torch.no_grad():
            own = network(torch.from_numpy(values), torch.from_numpy(mask)).numpy()
        other = session.run(None, {"values": values, "mask": mask})[0]
        largest = max(largest, float(np.abs(own - other).max()))
    if not largest <= LARGEST_DIFFERENCE:
        raise ModelError("the exported network does not compute what the fitted one does", file=file.name,
                         found=f"scores {largest:.2g} apart", expected=f"at most {LARGEST_DIFFERENCE:g}")
    return largest
