"""Fixtures every test may use: real data, external tools, extras; and no network for anybody.

A test that asks for `dcmtk`, `openssl`, `orthanc` or `require_extra`, or that lies under tests/training, is marked
`extra` by itself: `make test` leaves it out, `make test-all` runs it. What a machine lacks skips with the reason, and
fails instead where the environment variable CI is set.
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before numpy is imported: its thread pools are sized once

import shutil
import socket
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]
TRAINING_TESTS = ROOT / "tests" / "training"
NEEDED_BY_TRAINING = ("sklearn", "onnx", "torch", "monai")
EXTRA_FIXTURES = frozenset({"dcmtk", "openssl", "orthanc", "require_extra"})
LOOPBACK = "127.0.0.1"
IN_CI = bool(os.environ.get("CI"))

_own_ports: set[int] = set()

hypothesis.settings.register_profile("verict", deadline=None, derandomize=IN_CI)
hypothesis.settings.load_profile("verict")


def _do_without(what: str, remedy: str) -> NoReturn:
    """Skip with the reason, or fail where everything must be there."""
    reason = f"{what} is missing: {remedy}"
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as extra what needs an extra or an external tool."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        if EXTRA_FIXTURES.intersection(names) or item.path.is_relative_to(TRAINING_TESTS):
            item.add_marker(pytest.mark.extra)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the training tests uncollected where their imports would fail and nobody asked for them."""
    asked_for = IN_CI and config.option.markexpr != "not extra"
    if asked_for or collection_path != TRAINING_TESTS or not _missing_for_training():
        return None
    return True


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say that the training tests were left out, as skipping would."""
    missing = _missing_for_training()
    if missing and config.option.markexpr != "not extra":
        terminalreporter.write_line(f"tests/training left out: {', '.join(missing)} missing: make test-all installs it")


def _missing_for_training() -> list[str]:
    return [name for name in NEEDED_BY_TRAINING if find_spec(name) is None]


def _is_own_server(host: object, port: object) -> bool:
    return host == LOOPBACK and port in _own_ports


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Refuse every connection but those between processes of this machine: AF_UNIX, and `own_port`."""
    local = getattr(socket, "AF_UNIX", None)
    look_up = socket.getaddrinfo

    def guarded(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: socket.socket, *args: Any) -> Any:
            if self.family != local and not _is_own_server(*args[-1][:2]):
                raise AssertionError(f"a test tried to reach the network: {args}")
            return original(self, *args)

        return call

    def refuse_lookup(*args: Any, **options: Any) -> Any:
        if args[0] == LOOPBACK and _own_ports:  # a number, which nobody is asked about
            return look_up(*args, **options)
        raise AssertionError(f"a test tried to look up a network address: {args[:2]}")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
        patch.setattr(socket, "getaddrinfo", refuse_lookup)
        yield


@pytest.fixture
def own_port() -> Iterator[Callable[[], int]]:
    """Gives free ports of the loopback address, each for a server that the test itself starts."""
    given: set[int] = set()

    def find() -> int:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        given.add(port)
        _own_ports.add(port)
        return port

    yield find
    _own_ports.difference_update(given)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real CT data: $VERICT_SHARED/data, by default ../shared/data beside the repository."""
    folder = Path(os.environ.get("VERICT_SHARED") or ROOT.parent / "shared") / "data"
    if not (folder / "authentic").is_dir():
        _do_without("the real CT data (../shared/data)", "set VERICT_SHARED to the folder that holds data/")
    return folder


@pytest.fixture(scope="session")
def dcmtk() -> Callable[[str], Path]:
    """The path of a DCMTK or dicom3tools program by its name: ``dcmtk("dcmdump")``."""

    def find(tool: str) -> Path:
        path = shutil.which(tool)
        if path is None:
            _do_without(tool, "install the packages dcmtk and dicom3tools")
        return Path(path)

    return find


@pytest.fixture(scope="session")
def openssl() -> Path:
    """The path of the program openssl."""
    path = shutil.which("openssl")
    if path is None:
        _do_without("openssl", "install the package openssl")
    return Path(path)


@pytest.fixture(scope="session")
def orthanc() -> Path:
    """The path of the image archive Orthanc."""
    path = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if path is None:
        _do_without("Orthanc", "install the package orthanc")
    return Path(path)


@pytest.fixture(scope="session")
def require_extra() -> Callable[..., ModuleType]:
    """A module of an optional extra by its name, and what it has to have: ``require_extra("sklearn")``."""

    def load(module: str, has: str | None = None) -> ModuleType:
        if find_spec(module.partition(".")[0]) is None:
            _do_without(f"the optional package {module}", "make test-all installs it")
        loaded = import_module(module)
        if has is not None and not hasattr(loaded, has):
            _do_without(f"{module}.{has}", "make test-all installs a version that has it")
        return loaded

    return load
