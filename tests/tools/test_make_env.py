"""tools/make_env.sh, with stand-ins for python and pip that record what they were asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "make_env.sh"
PROGRAMS = ("sh", "cat", "chmod", "cksum", "cp", "cut", "dirname", "mkdir", "rm")

# Answers as Python would. Files beside the script say what this machine lacks; calls.txt records the work done.
FAKE_PYTHON = """#!/bin/sh
here={here}
case "$*" in
    *"version_info < (3, 11)"*) [ ! -e "$here/too-old" ] ;;
    *"import ensurepip"*) [ ! -e "$here/no-ensurepip" ] ;;
    *"version_info[:2]"*) echo 3.11 ;;
    "-m venv .venv")
        echo venv >> "$here/calls.txt"
        mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *"pip"*"install"*)
        for last in "$@"; do :; done
        echo "pip $last" >> "$here/calls.txt"
        [ ! -e "$here/pip-fails" ] ;;
    *) exit 99 ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder with the project's script, and a PATH of nothing but a few programs and one `python3`."""
    if os.name != "posix":
        pytest.skip("make_env.sh is for POSIX systems; on Windows pipx installs verict")
    project, programs = tmp_path / "project with spaces", tmp_path / "bin"
    (project / "tools").mkdir(parents=True)
    shutil.copy(SCRIPT, project / "tools")
    (project / "tools" / "constraints.txt").write_text("torch==1\n")
    (project / "pyproject.toml").write_text("[project]\n")
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).symlink_to(shutil.which(name) or "")
    _add_program(programs / "id", "#!/bin/sh\necho 1000\n")
    _add_program(programs / "apt-get", "#!/bin/sh\nexit 1\n")
    _add_program(programs / "python3", FAKE_PYTHON.format(here=tmp_path))
    return tmp_path


def _add_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _make(machine: Path, level: str, **variables: str) -> subprocess.CompletedProcess[str]:
    script = machine / "project with spaces" / "tools" / "make_env.sh"
    return subprocess.run(
        ["sh", str(script), level], capture_output=True, text=True, timeout=60, check=False,
        cwd=machine, env={"PATH": str(machine / "bin"), **variables},
    )  # fmt: skip


def _calls(machine: Path) -> list[str]:
    calls = machine / "calls.txt"
    return calls.read_text().splitlines() if calls.exists() else []


def test_makes_once_and_widens(machine: Path) -> None:
    assert _make(machine, "core").returncode == 0
    assert _calls(machine) == ["venv", "pip ."]
    assert _make(machine, "core").stderr == ""
    assert _calls(machine) == ["venv", "pip ."]
    assert _make(machine, "dev").returncode == 0
    assert _make(machine, "core").returncode == 0  # dev covers core
    assert _calls(machine) == ["venv", "pip .", "pip .[dev]"]
    assert _make(machine, "all").returncode == 0
    assert _calls(machine)[-1] == "pip .[dev,train,bench,tamper,jpeg-lossless]"
    assert len(_calls(machine)) == 4


def test_changed_dependencies_are_installed(machine: Path) -> None:
    _make(machine, "core")
    (machine / "project with spaces" / "pyproject.toml").write_text("[project]\ndependencies = ['x']\n")
    assert _make(machine, "core").returncode == 0
    assert _calls(machine) == ["venv", "pip .", "pip ."]


def test_changed_constraints_are_installed(machine: Path) -> None:
    _make(machine, "core")
    (machine / "project with spaces" / "tools" / "constraints.txt").write_text("torch==2\n")
    assert _make(machine, "core").returncode == 0
    assert _calls(machine) == ["venv", "pip .", "pip ."]


def test_failed_install_is_not_taken_for_complete(machine: Path) -> None:
    (machine / "pip-fails").touch()
    failed = _make(machine, "dev")
    assert failed.returncode == 1
    assert "installation failed" in failed.stderr
    (machine / "pip-fails").unlink()
    again = _make(machine, "dev")
    assert again.returncode == 0
    assert "incomplete; making it anew" in again.stderr
    assert _calls(machine) == ["venv", "pip .[dev]"] * 2


def test_interrupted_before_pip_is_made_anew(machine: Path) -> None:
    environment = machine / "project with spaces" / ".venv"
    environment.mkdir()
    (environment / "unfinished").touch()
    assert _make(machine, "core").returncode == 0
    assert _calls(machine) == ["venv", "pip ."]
    assert not (environment / "unfinished").exists()


def test_environment_whose_python_is_gone_is_made_anew(machine: Path) -> None:
    _make(machine, "core")
    (machine / "project with spaces" / ".venv" / "bin" / "python").unlink()
    assert _make(machine, "core").returncode == 0
    assert _calls(machine) == ["venv", "pip ."] * 2


def test_environment_made_by_hand_is_kept(machine: Path) -> None:
    programs = machine / "project with spaces" / ".venv" / "bin"
    programs.mkdir(parents=True)
    shutil.copy(machine / "bin" / "python3", programs / "python")
    assert _make(machine, "core").returncode == 0
    assert _calls(machine) == ["pip ."]


def test_names_that_do_not_run_are_passed_over(machine: Path) -> None:
    _add_program(machine / "bin" / "python3.13", "#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    assert _make(machine, "core").returncode == 0
    assert _calls(machine) == ["venv", "pip ."]


def test_missing_python_is_told_with_the_line_to_run(machine: Path) -> None:
    (machine / "too-old").touch()
    done = _make(machine, "core")
    assert done.returncode == 1
    assert "no Python 3.11 or newer" in done.stderr
    assert "    sudo apt-get install python3.11 python3.11-venv\n" in done.stderr
    assert not (machine / "project with spaces" / ".venv").exists()


def test_missing_ensurepip_is_told_with_the_line_to_run(machine: Path) -> None:
    (machine / "no-ensurepip").touch()
    done = _make(machine, "core")
    assert done.returncode == 1
    assert "    sudo apt-get install python3.11-venv\n" in done.stderr
    assert not (machine / "project with spaces" / ".venv").exists()


def test_python_can_be_chosen(machine: Path) -> None:
    chosen = machine / "elsewhere"
    shutil.move(machine / "bin" / "python3", chosen)
    assert _make(machine, "core").returncode == 1
    assert _make(machine, "core", PYTHON=str(chosen)).returncode == 0


def test_unknown_level_is_refused(machine: Path) -> None:
    assert _make(machine, "everything").returncode == 2
