"""The fitted network as ONNX, checked against the network it was made from."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from verict.detect.back_in_time import TRAINING_STEPS
from verict.errors import ModelError
from verict.training.back_in_time.networks import predict

OPSET = 17
LARGEST_DIFFERENCE = 1e-4  # of the noise, whose standard deviation is 1
CHECKED_TILES = (1, 5)  # at once: other numbers than the one that was traced


def write_onnx(network: nn.Module, file: Path, tile_px: int) -> float:
    """Write: inputs ``tiles`` (n, 1, tile, tile) in [-1, 1] and ``step`` (n,), output ``noise`` (n, 1, tile, tile).

    Returns
    -------
    float
        Largest difference of the noise between the network and the file.

    Raises
    ------
    ModelError
        If they differ by more than `LARGEST_DIFFERENCE`.
    """
    network.eval()
    shown = torch.zeros(2, 1, tile_px, tile_px), torch.zeros(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, and of torch about its two exporters
        torch.onnx.export(
            network, shown, str(file), input_names=["tiles", "step"], output_names=["noise"], dynamo=False,
            opset_version=OPSET, dynamic_axes={name: {0: "n"} for name in ("tiles", "step", "noise")},
        )
    model = onnx.load(str(file))
    model.producer_name, model.producer_version, model.ir_version = "verict", "", 8
    onnx.checker.check_model(model)
    onnx.save(model, str(file))
    return _check(network, file, tile_px)


def _check(network: nn.Module, file: Path, tile_px: int) -> float:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    largest = 0.0
    for count in CHECKED_TILES:
        tiles = rng.uniform(-1, 1, (count, 1, tile_px, tile_px)).astype(np.float32)
        step = rng.integers(TRAINING_STEPS, size=count).astype(np.float32)
        own = predict(network, torch.from_numpy(tiles), torch.from_numpy(step)).numpy()
        other = session.run(None, {"tiles": tiles, "step": step})[0]
        largest = max(largest, float(np.abs(own - other).max()))
    if not largest <= LARGEST_DIFFERENCE:
        raise ModelError("the exported network does not compute what the fitted one does", file=file.name,
                         found=f"noise {largest:.2g} apart", expected=f"at most {LARGEST_DIFFERENCE:g}")
    return largest
