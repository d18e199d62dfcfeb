"""Signing folders: originals untouched, each file whole whatever happens."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from custody.hospital import authority, curve_scanner, deep_scanner, intermediate, scanner, trust, write_signer
from custody.objects import IMPLICIT, Writer, make_object

from verict.custody.keys import load_certificates
from verict.custody.profiles import Profile
from verict.custody.sign_object import SignOptions
from verict.custody.sign_study import sign_study, write_intermediates
from verict.custody.verify_object import ObjectState
from verict.custody.verify_study import describe_series, verify_study
from verict.errors import InputError, OutputError, UsageError

FILES = 40


def _write_study(folder: Path, count: int = 3) -> dict[str, bytes]:
    """So many slices at two depths; returns the bytes of each by its name."""
    made = {}
    for number in range(count):
        name = f"{number:02d}.dcm" if number % 2 else f"inner/{number:02d}.dcm"
        instance = Writer().element(0x00200013, b"IS", f"{number:<4}".encode())
        made[name] = make_object(x00200013=instance)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(made[name])
    return made


def _read(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_copies_are_signed_and_originals_stay(tmp_path: Path) -> None:
    before = _write_study(tmp_path / "study")
    (tmp_path / "study" / "note.txt").write_text("no DICOM object")
    signed = sign_study(tmp_path / "study", tmp_path / "out", scanner(), SignOptions())
    assert {k: v for k, v in _read(tmp_path / "study").items() if k != "note.txt"} == before
    assert set(_read(tmp_path / "out")) == set(before)
    assert signed.passed_over == ("note.txt",)
    assert all(file.path.is_file() and file.unsigned for file in signed.files)
    verdict = verify_study(tmp_path / "out", trust())
    assert [v.state for v in verdict.objects] == [ObjectState.VALID] * 3
    assert "unchanged since signed by CT-1" in describe_series(verdict.objects)
    assert "the signer's word" in describe_series(verdict.objects)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "study"]


def test_signing_in_place_twice_signs_once(tmp_path: Path) -> None:
    _write_study(tmp_path)
    (tmp_path / "01.dcm").chmod(0o640)
    assert not any(f.again for f in sign_study(tmp_path, None, scanner(), SignOptions()).files)
    once = _read(tmp_path)
    assert (tmp_path / "01.dcm").stat().st_mode & 0o777 == 0o640
    assert all(f.again for f in sign_study(tmp_path, None, scanner(), SignOptions()).files)
    assert _read(tmp_path) == once
    assert not any(f.again for f in sign_study(tmp_path, None, scanner("CT-7"), SignOptions()).files)


def test_one_file_is_a_study(tmp_path: Path) -> None:
    _write_study(tmp_path / "study")
    sign_study(tmp_path / "study" / "01.dcm", tmp_path / "out", scanner(), SignOptions())
    assert list(_read(tmp_path / "out")) == ["01.dcm"]


def test_what_cannot_be_signed_is_told_and_the_rest_is_signed(tmp_path: Path) -> None:
    _write_study(tmp_path / "study")
    bad = {
        "cut.dcm": make_object()[:-3],
        "overlay.dcm": make_object(x60003000=Writer().element(0x60003000, b"UN", b"ab")),
        "nameless.dcm": make_object(x00080018=None),
        "meta.dcm": Writer().file(b"".join([]), meta_instance=b"1.2 "),
    }
    for name, data in bad.items():
        (tmp_path / "study" / name).write_bytes(data)
    signed = sign_study(tmp_path / "study", tmp_path / "out", scanner(), SignOptions())
    assert len(signed.files) == 3
    assert {Path(f.file or "").name for f in signed.failures} == set(bad)
    assert "held as UN" in " ".join(f.one_line() for f in signed.failures)
    assert set(_read(tmp_path / "out")) == {f.name for f in signed.files}


def test_nobody_signs_on_top_of_a_signature_that_does_not_hold(tmp_path: Path) -> None:
    _write_study(tmp_path, 2)
    sign_study(tmp_path, None, scanner(), SignOptions())
    path = tmp_path / "01.dcm"
    path.write_bytes(path.read_bytes().replace(b"Test^Patient", b"Test^Pat1ent"))
    before = path.read_bytes()
    signed = sign_study(tmp_path, None, scanner("CT-7"), SignOptions())
    assert [file.name for file in signed.files] == ["inner/00.dcm"]
    assert "does not hold; found content changed" in signed.failures[0].one_line()
    assert path.read_bytes() == before


def test_private_attributes_of_implicit_vr_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(make_object(IMPLICIT))
    (file,) = sign_study(tmp_path, None, scanner(), SignOptions()).files
    assert "(0009,1001) private (UN)" in file.unsigned


def test_refusals_come_before_any_work(tmp_path: Path) -> None:
    _write_study(tmp_path / "study")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "full", tmp_path / "study" / "out", tmp_path / "study"):
        with pytest.raises(OutputError):
            sign_study(tmp_path / "study", out, scanner(), SignOptions())
    with pytest.raises(UsageError, match="outside of the RSA profiles"):
        sign_study(tmp_path / "study", tmp_path / "out", curve_scanner(), SignOptions())
    with pytest.raises(InputError, match="nothing to sign"):
        sign_study(tmp_path / "empty", None, scanner(), SignOptions())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "full", "study"]
    sign_study(tmp_path / "study", tmp_path / "out", curve_scanner(), SignOptions(Profile.NONE))


def test_intermediates_lie_beside_the_study(tmp_path: Path) -> None:
    path = write_intermediates(tmp_path / "study", deep_scanner())
    assert path == tmp_path / "study.intermediates.pem"
    assert load_certificates(path) == [intermediate().certificate]
    assert write_intermediates(tmp_path / "other", scanner()) is None


CHILD = """
import os, sys
from pathlib import Path
from verict.custody import whole_files
from verict.custody.keys import load_signer
from verict.custody.sign_object import SignOptions
from verict.custody.sign_study import sign_study
step, at = sys.argv[2], int(sys.argv[3])
whole_files.BATCH = 16
count = 0
def counted(real):
    def call(*arguments, **named):
        global count
        count += 1
        if count == at:
            if step == "write" and len(arguments) > 1:
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            os._exit(9)
        return real(*arguments, **named)
    return call
if step in ("write", "fsync"):
    setattr(os, step, counted(getattr(os, step)))
elif step == "replace":
    Path.replace = counted(Path.replace)
signer = load_signer(Path(sys.argv[4]), Path(sys.argv[5]))
print("begin", flush=True)
sign_study(Path(sys.argv[1]), None, signer, SignOptions())
print("end", flush=True)
"""


def _check_whole(study: Path, before: dict[str, bytes]) -> int:
    """How many files are signed; every one is the old one or a whole signed one."""
    after = {name: data for name, data in _read(study).items() if not Path(name).name.startswith(".")}
    assert set(after) == set(before)
    changed = [name for name in before if after[name] != before[name]]
    states = {v.file: v.state for v in verify_study(study, trust()).objects}
    assert all(states[name] is ObjectState.VALID for name in changed)
    return len(changed)


@pytest.mark.parametrize(
    ("step", "at"),
    [("write", 1), ("write", 40), ("write", 63), ("fsync", 1), ("fsync", 20), ("replace", 1), ("replace", 25)],
)
def test_stopped_at_a_step_each_file_is_whole(tmp_path: Path, step: str, at: int) -> None:
    study = tmp_path / "study"
    before = _write_study(study, FILES)
    keys = write_signer(scanner(), tmp_path / "keys")
    done = subprocess.run([sys.executable, "-c", CHILD, study, step, str(at), *keys], capture_output=True, text=True,
                          timeout=60, check=False)  # fmt: skip
    assert done.returncode == 9, done.stderr
    signed = _check_whole(study, before)
    assert signed < FILES
    sign_study(study, None, scanner(), SignOptions())  # and signing again finishes the work
    assert _check_whole(study, before) == FILES
    assert set(_read(study)) == set(before), "nothing half written is left"
    assert all(len(v.signatures) == 1 for v in verify_study(study, trust()).objects)


@pytest.mark.parametrize("delay_ms", [0, 4, 9, 15, 25, 40])
def test_killed_at_any_moment_each_file_is_whole(tmp_path: Path, delay_ms: int) -> None:
    study = tmp_path / "study"
    before = _write_study(study, FILES)
    keys = write_signer(scanner(), tmp_path / "keys")
    command = [sys.executable, "-c", CHILD, study, "none", "0", *keys]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begin\n"
        time.sleep(delay_ms / 1000)
        child.kill()
    _check_whole(study, before)


def test_a_hospital_root_is_what_the_tests_trust() -> None:
    assert trust().roots == (authority().certificate,)
