"""Real slices of every scanner at hand, transcoded by DCMTK as archives do: never called changed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from verict.custody.changes import Outcome, compare_series
from verict.custody.content import ObjectContent, read_study
from verict.custody.manifest import build_manifest
from verict.custody.wording import say_series

TOOLS = {
    "explicit": ("dcmconv", "+te"),
    "undefined lengths": ("dcmconv", "+te", "-e"),
    "implicit": ("dcmconv", "+ti"),
    "big endian": ("dcmconv", "+tb"),
    "deflated": ("dcmconv", "+td"),
    "RLE": ("dcmcrle",),
    "JPEG-LS": ("dcmcjpls",),
}


@pytest.fixture(scope="module")
def natives(shared_data: Path, dcmtk: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One slice of each series, uncompressed, with the object as it came."""
    folder = tmp_path_factory.mktemp("native")
    found = []
    for series in sorted((shared_data / "authentic").iterdir()):
        slices = sorted(p for p in series.rglob("*") if p.is_file() and p.read_bytes()[128:132] == b"DICM")
        if slices:
            (folder / series.name).mkdir()
            found.append(folder / series.name / "came.dcm")
            found[-1].write_bytes(slices[len(slices) // 2].read_bytes())
            _run(dcmtk("dcmdjpls"), found[-1], found[-1].with_name("native.dcm"))
    return found


@pytest.mark.parametrize("encoding", list(TOOLS))
def test_a_transcoded_slice_has_identical_content(
    natives: list[Path], dcmtk: Callable[[str], Path], tmp_path: Path, encoding: str
) -> None:
    tool, *options = TOOLS[encoding]
    assert len(natives) >= 5
    for came in natives:
        manifest = build_manifest(read_study(came).objects)
        copy = tmp_path / came.parent.name / "copy.dcm"
        copy.parent.mkdir()
        _run(dcmtk(tool), *options, came.with_name("native.dcm"), copy)
        changes = compare_series(manifest, read_study(copy).objects)
        same = _read(copy).transfer_syntax == _read(came).transfer_syntax
        assert changes.outcome is (Outcome.VALID if same else Outcome.REENCODED), say_series(changes)


def _read(file: Path) -> ObjectContent:
    return read_study(file).objects[0]


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=60)
