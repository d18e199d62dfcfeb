"""Every benchmark finds what it takes from the package: most are run by hand, long after something moved."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
FILES = sorted(FOLDER.glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_what_a_benchmark_imports_is_there(file, require_extra):
    require_extra("torch")
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "verict":
            module = import_module(str(node.module))
            for name in node.names:
                found = hasattr(module, name.name) or import_module(f"{node.module}.{name.name}")
                assert found, f"{file.name}: {node.module}.{name.name}"
