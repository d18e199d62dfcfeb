"""What is handed out: names, wheel, examples in docstrings, and the commands the README promises."""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
import sys
import zipfile
from importlib import import_module
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer.main

import verict

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "verict"
MODULES = sorted(
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)


def _readme_commands(program: str) -> list[str]:
    """Every line of the README's shell blocks that calls the program, without comment and output."""
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    calls = {" ".join(line.partition(" #")[0].split()) for line in lines}
    return sorted(line for line in calls if line.split(" ")[0] == program)


def test_all_names_exist_and_are_sorted() -> None:
    assert sorted(verict.__all__) == list(verict.__all__)
    assert [name for name in verict.__all__ if not hasattr(verict, name)] == []


def test_version_is_told_once() -> None:
    assert verict.__version__ == version("verict")


def test_console_script_is_the_command_line() -> None:
    (script,) = entry_points(group="console_scripts", name="verict")
    assert script.value == "verict.cli.main:app"


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The paths inside a wheel built from this tree, without network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_wheel_holds_the_whole_package(wheel_names: list[str]) -> None:
    ours = {path.relative_to(ROOT / "src").as_posix() for path in PACKAGE.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts}
    assert {name for name in wheel_names if ".dist-info/" not in name} == ours


@pytest.mark.parametrize("pattern", [
    r"verict/detect/weights/[^/]+\.onnx",
    r"verict/detect/weights/[^/]+\.json",
    r"verict/report/templates/[^/]+\.html(\.\w+)?",
    r"[^/]+\.dist-info/licenses/LICENSE",
])
def test_wheel_holds_what_is_not_python(wheel_names: list[str], pattern: str) -> None:
    assert any(re.fullmatch(pattern, name) for name in wheel_names)


def test_wheel_holds_no_data(wheel_names: list[str]) -> None:
    table = "verict/training/nodule/annotations.csv"  # where nodules lie in public scans; no pixels
    held = [name for name in wheel_names if name.endswith((".dcm", ".npz", ".npy", ".csv", ".pkl", ".joblib"))]
    assert held == [table]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    if name.startswith("verict.training") and find_spec("sklearn") is None:
        pytest.skip("scikit-learn is missing: make test-all installs it")
    module = import_module(name)
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize("line", _readme_commands("verict"))
def test_readme_commands_exist(line: str) -> None:
    command = typer.main.get_command(import_module("verict.cli.main").app)
    words = shlex.split(line)[1:]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert not getattr(command, "commands", None) or words[:1] == ["--help"], f"no such command in: {line}"
    known = {"--help", *(option for parameter in command.params for option in parameter.opts)}
    assert [word for word in words if word.startswith("-") and word.partition("=")[0] not in known] == []


@pytest.mark.parametrize("line", _readme_commands("make"))
def test_readme_targets_exist(line: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert [word for word in line.split()[1:] if "=" not in word and word not in targets] == []


def test_readme_shows_commands() -> None:
    assert {"make demo", "make test"} <= set(_readme_commands("make"))
    assert any(line.startswith("verict scan ") for line in _readme_commands("verict"))
