"""What a run leaves on disk: each finished fold one file, then figures as JSON, Parquet, Markdown and HTML."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from verict.benchmarks.cost import Cost
from verict.benchmarks.fold import Told
from verict.benchmarks.plain import missing_extra
from verict.errors import OutputError
from verict.report.output import write_bytes, write_text

FOLD_SCHEMA = "verict.bench-fold/1"
SCHEMA = "verict.bench/1"
RUN_SCHEMA = "verict.bench-run/1"


def identify(parts: Mapping[str, Any]) -> str:
    """SHA-256 of everything that decides a fold's result, as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder: {error.strerror}", file=folder) from error


def read_unit(file: Path, identity: str) -> dict[str, Any] | None:
    """A finished fold; None where it is not there, not whole, or of other data, settings or weights."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = isinstance(document, dict) and document.get("schema") == FOLD_SCHEMA
    return document if known and document.get("identity") == identity else None


def write_unit(file: Path, identity: str, content: Mapping[str, Any]) -> None:
    """Write a finished fold, whole or not at all."""
    make_folder(file.parent)
    document = {"schema": FOLD_SCHEMA, "identity": identity, **content}
    write_text(file, json.dumps(document, allow_nan=False) + "\n")


def to_plain(told: Told) -> dict[str, Any]:
    """What a model said of a fold, as JSON; undefined numbers are null."""
    return {
        "rows": told.rows.tolist(),
        "copies": told.copies.tolist(),
        "probabilities": [[finite(p) for p in row] for row in told.probabilities.tolist()],
        "score": None if told.score is None else [finite(s) for s in told.score.tolist()],
        "trained_on": told.trained_on,
        **asdict(told.cost),
    }


def from_plain(document: Mapping[str, Any]) -> Told:
    """The same from JSON."""
    score = document["score"]
    return Told(
        np.array(document["rows"], np.int64), np.array(document["copies"], np.int64),
        np.array(document["probabilities"], np.float64).reshape(-1, 4), document["trained_on"],
        Cost(document["cpu_s"], document["wall_s"], document["peak_mib"], document.get("card_mib")),
        None if score is None else np.array(score, np.float64),
    )  # fmt: skip


def finite(value: float) -> float | None:
    """The value, or None where it is no finite number."""
    return value if math.isfinite(value) else None


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    """A document as ASCII text."""
    write_text(file, json.dumps(document, allow_nan=False, indent=1) + "\n")


def write_parquet(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of plain values as one Parquet table.

    Raises
    ------
    MissingExtraError
        If pyarrow is not installed.
    """
    require_parquet()
    import pyarrow
    from pyarrow import parquet

    stream = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), stream)
    write_bytes(file, stream.getvalue())


def require_parquet() -> None:
    """Refuse to start a run whose results could not be written.

    Raises
    ------
    MissingExtraError
        If pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error


def flatten_models(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a model and protocol: what `write_parquet` gets."""
    gaps = {gap["model"]: gap for gap in document["gaps"]}
    rows = []
    for model in document["models"]:
        row = {"experiment": document["experiment"], **{k: model[k] for k in ("protocol", "model", "words", "n", "rows",
                                                                             "patients")}}  # fmt: skip
        for name in ("macro_f1", "accuracy"):
            row |= _spread(name, model[name])
        for name, figure in model["areas"].items():
            row |= _spread(f"auc_{name}", figure)
        for kind, one in (model["classes"] or {}).items():
            row |= {f"{kind}_{name}".lower(): one[name] for name in ("precision", "recall", "f1")}
        row |= _spread("gap_macro_f1", gaps.get(model["model"], {}).get("macro_f1"))
        rows.append(row | model["cost"])
    keys = dict.fromkeys(key for row in rows for key in row)
    return [{key: row.get(key) for key in keys} for row in rows]


def _spread(name: str, figure: Mapping[str, Any] | None) -> dict[str, float | None]:
    low, high = (figure or {}).get("interval") or (None, None)
    return {name: (figure or {}).get("value"), f"{name}_low": low, f"{name}_high": high}
