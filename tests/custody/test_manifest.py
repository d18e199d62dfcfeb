"""The manifest: canonical, without a patient's name, read back strictly."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from custody.sealed_series import SLICES, change_object, make_rich_series, seal
from report.schema_check import find_violations

from verict.custody.content import read_study
from verict.custody.manifest import Manifest, build_manifest, from_bytes, to_bytes
from verict.errors import InputError

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "manifest.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sealed")
    make_rich_series(folder, patient_id="JANE-7714")
    return folder


@pytest.fixture(scope="module")
def manifest(folder: Path) -> Manifest:
    return seal(folder)


def test_it_follows_its_schema(manifest: Manifest) -> None:
    document = json.loads(to_bytes(manifest))
    assert find_violations(document, SCHEMA) == []
    assert len(document["objects"]) == SLICES
    assert [one["instance_number"] for one in document["objects"]] == [1, 2, 3, 4, 5, 6]


def test_it_is_canonical_and_read_back_as_it_was(manifest: Manifest) -> None:
    data = to_bytes(manifest)
    assert data == json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode()
    again = from_bytes(data, file="m.json")
    assert to_bytes(again) == data
    assert again.entries[3].attributes == manifest.entries[3].attributes
    assert again.entries[3].pixels.frames == manifest.entries[3].pixels.frames


def test_the_same_series_key_and_time_give_the_same_bytes(folder: Path) -> None:
    objects = read_study(folder).objects
    when = datetime(2026, 11, 27, 17, tzinfo=UTC)
    one = to_bytes(build_manifest(objects, key=b"k" * 32, utc=when))
    assert to_bytes(build_manifest(objects[::-1], key=b"k" * 32, utc=when)) == one
    assert b'"created":"2026-11-27T17:00:00Z"' in one


def test_no_value_stands_in_it_and_two_manifests_say_nothing_about_each_other(folder: Path, manifest: Manifest) -> None:
    data = to_bytes(manifest)
    for value in (b"JANE", b"-7714", b"Patient", b"CHEST", b"VERICT TEST", b"private"):
        assert value not in data
    one, other = json.loads(data), json.loads(to_bytes(seal(folder)))
    assert one["shared_attributes"].keys() == other["shared_attributes"].keys()
    assert not set(one["shared_attributes"].values()) & set(other["shared_attributes"].values())


def test_what_most_objects_share_is_written_once(manifest: Manifest) -> None:
    document = json.loads(to_bytes(manifest))
    assert {"00100020", "00280030", "0020000E"} <= document["shared_attributes"].keys()
    assert {"00080018", "00200032", "00200013", "00291002"} <= document["objects"][0]["attributes"].keys()
    assert len(to_bytes(manifest)) < 10_000


def test_objects_that_cannot_be_told_apart_are_not_signed(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "s")
    shutil.copy(tmp_path / "s" / "002.dcm", tmp_path / "s" / "copy.dcm")
    with pytest.raises(InputError, match=r"copy\.dcm: an object cannot be told from others.*found the same as 002"):
        seal(tmp_path / "s")
    (tmp_path / "s" / "copy.dcm").unlink()
    change_object(tmp_path / "s" / "002.dcm", lambda ds: setattr(ds, "SeriesInstanceUID", "1.2.3"))
    with pytest.raises(InputError, match="2 different or none"):
        seal(tmp_path / "s")
    with pytest.raises(InputError, match="a manifest is of one series"):
        build_manifest([])


def _drop(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda document: document.pop(key)


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another schema": (lambda d: d.update(schema="verict.manifest/2"), "schema verict.manifest/1"),
    "no objects": (lambda d: d.update(objects=[]), "a list with at least one"),
    "objects are text": (lambda d: d.update(objects="x"), "a list with at least one"),
    "a key more": (lambda d: d.update(object=[]), "did you mean objects"),
    "a key less": (_drop("attribute_key"), "attribute_key"),
    "a short key": (lambda d: d.update(attribute_key="00"), "attribute_key"),
    "no time": (lambda d: d.update(created="yesterday"), "created"),
    "an object twice": (lambda d: d["objects"].append(d["objects"][0]), "each SOPInstanceUID once"),
    "an object without a UID": (lambda d: d["objects"][0].update(sop_instance_uid=""), "sop_instance_uid"),
    "a fraction": (lambda d: d["objects"][0].update(instance_number=1.5), "whole number"),
    "a truth": (lambda d: d["objects"][0].update(instance_number=True), "whole number"),
    "a short hash": (lambda d: d["objects"][0].update(file_sha256="00"), "file_sha256"),
    "other pixels": (lambda d: d["objects"][0]["pixels"].update(of="dreams"), "values, bytes, none"),
    "pixels of a list": (lambda d: d["objects"][0]["pixels"].update(of=["values"]), "values, bytes, none"),
    "pixels without a digest": (lambda d: d["objects"][0]["pixels"].update(sha256=[]), "a digest a frame"),
    "a path that is none": (lambda d: d["shared_attributes"].update({"PatientName": "0" * 32}), "attributes"),
    "a token that is none": (lambda d: d["shared_attributes"].update({"00100010": "x"}), "attributes"),
    "an attribute twice": (
        lambda d: d["objects"][0]["attributes"].update(d["shared_attributes"]),
        "none that is shared",
    ),
    "a signature that is none": (lambda d: d["objects"][0].update(signatures=["x"]), "signatures"),
    "a number as a UID": (lambda d: d.update(series_instance_uid=5), "series_instance_uid"),
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_what_is_no_manifest_is_refused(case: str, manifest: Manifest) -> None:
    document = json.loads(to_bytes(manifest))
    change, said = BROKEN[case]
    change(document)
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(InputError, match=re.escape(said)):
        from_bytes(data, file="m.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data + b"\n", "canonical"),
        (lambda data: data.replace(b'"made_by"', b' "made_by"'), "canonical"),
        (lambda data: data.replace(b'{"attribute_key"', b'{"schema":"x","attribute_key"'), "canonical"),
        (lambda data: data[:-1], "JSON"),
        (lambda data: b"\xff" + data, "UnicodeDecodeError"),
        (lambda data: b"[" * 100_000, "RecursionError"),
        (lambda data: b"[1]", "schema"),
        (lambda data: b"", "JSON"),
        (lambda data: data.replace(b"verict 0", b"\\ud800 0"), "Unicode"),
    ],
)
def test_other_spellings_are_refused(change: Callable[[bytes], bytes], said: str, manifest: Manifest) -> None:
    with pytest.raises(InputError, match=rf"m\.json: not a manifest of a series.*{said}"):
        from_bytes(change(to_bytes(manifest)), file="m.json")
