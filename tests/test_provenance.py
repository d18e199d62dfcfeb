"""provenance.py: what a result records of how it was made."""

from __future__ import annotations

import getpass
import hashlib
import json
import platform
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

import verict
from verict.detect.result import Verdict
from verict.errors import InputError
from verict.provenance import collect_provenance, sha256_of


@dataclass(frozen=True)
class Rule:
    """A stand-in for a resolved configuration."""

    threshold: float
    verdict: Verdict


def test_sha256_of_known_answer(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_sha256_of_more_than_one_buffer(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    path = tmp_path / "large"
    path.write_bytes(content)
    assert sha256_of(path) == hashlib.sha256(content).hexdigest()


def test_sha256_of_missing_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone.*cannot be read.*No such file"):
        sha256_of(tmp_path / "gone")


def test_keys_are_stable_and_survive_json() -> None:
    found = collect_provenance({"detectors": ("header",)})
    assert list(found) == ["verict", "python", "platform", "libraries", "utc", "options", "models"]
    assert json.loads(json.dumps(found)) == found
    assert found["verict"] == verict.__version__
    assert found["python"] == platform.python_version()
    assert found["libraries"]["pydicom"].startswith("3.")


def test_options_are_written_as_json_values() -> None:
    options = {
        "rule": Rule(0.5, Verdict.SUSPICIOUS),
        "out": Path("a") / "b.html",
        "names": {"z", "a"},
        "nested": {"pair": (1, None)},
        "anonymous": True,
    }
    assert collect_provenance(options)["options"] == {
        "rule": {"threshold": 0.5, "verdict": "suspicious"},
        "out": "a/b.html",
        "names": ["a", "z"],
        "nested": {"pair": [1, None]},
        "anonymous": True,
    }


def test_unwritable_option_is_refused() -> None:
    with pytest.raises(TypeError, match="no JSON form for object"):
        collect_provenance({"x": object()})


def test_time_is_utc() -> None:
    noon_in_helsinki = datetime(2024, 5, 1, 12, 0, 30, tzinfo=timezone(timedelta(hours=3)))
    assert collect_provenance({}, utc=noon_in_helsinki)["utc"] == "2024-05-01T09:00:30Z"
    now = datetime.strptime(collect_provenance({})["utc"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - now) < timedelta(minutes=5)
    with pytest.raises(ValueError, match="time zone"):
        collect_provenance({}, utc=datetime(2024, 5, 1))


def test_names_neither_host_nor_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "node", lambda: "ward-7-console")
    monkeypatch.setenv("LOGNAME", "dr-somebody")
    text = json.dumps(collect_provenance({}))
    assert platform.node() not in text
    assert getpass.getuser() not in text


def test_models_are_copied() -> None:
    card = {"id": "spectrum", "version": "1", "sha256": "00"}
    found = collect_provenance({}, models={"spectrum": card})
    card["version"] = "2"
    assert found["models"] == {"spectrum": {"id": "spectrum", "version": "1", "sha256": "00"}}
