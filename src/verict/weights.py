"""Learned weights: an ONNX file beside a JSON card that holds its hash, checked against each other on load."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from verict.errors import ModelError
from verict.provenance import sha256_of


def read_card(file: Path, schema: str, required: Sequence[str]) -> dict[str, Any]:
    """Read a JSON card of that schema.

    Raises
    ------
    ModelError
        If it is missing, no JSON, of another schema, or lacks a key.
    """
    require_file(file)
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError("the model card is not JSON", file=file.name, found=error) from error
    missing = [key for key in required if not isinstance(card, dict) or key not in card]
    if missing or card["schema"] != schema:
        raise ModelError(
            "not a model card of this version",
            file=file.name,
            found=f"missing {', '.join(missing)}" if missing else card["schema"],
            expected=schema,
        )
    return card


def require_file(file: Path) -> None:
    """Refuse weights or a card that are not there.

    Raises
    ------
    ModelError
        Naming the file.
    """
    if not file.is_file():
        raise ModelError(f"no model {file.stem!r}", file=file.name, next_step="reinstall verict, or train it again")


def open_session(weights: Path, sha256: str) -> onnxruntime.InferenceSession:
    """Open an ONNX file on one thread, so that sums are the same on any machine.

    Raises
    ------
    ModelError
        If it is missing, or not the one with that SHA-256.
    """
    require_file(weights)
    digest = sha256_of(weights)
    if digest != sha256:
        raise ModelError(
            "the weights are not the ones the card describes",
            file=weights.name,
            found=f"SHA-256 {digest[:16]}…",
            expected=f"{sha256[:16]}…",
            next_step="reinstall verict: the file was altered or the pair does not belong together",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # what runs in parallel is slices or cases
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
