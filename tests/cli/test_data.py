from __future__ import annotations

import json

import pytest
from datasets.uci_folders import build_collection, scan_folder
from typer.testing import CliRunner

from verict.cli.data import SHOWN, app


def run(*arguments):
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def test_sound_collection_exits_zero_and_prints_counts(tmp_path):
    result = run(build_collection(tmp_path))
    assert result.exit_code == 0
    assert "2 / 1" in result.stdout
    assert "4 distinct uuids" in result.stdout
    assert "headers: one cloned template: all 5 scans name GE MEDICAL SYSTEMS LightSpeed16 STANDARD" in result.stdout
    assert "known (2): TB rows at slice, x, y = 0,0,0" in result.stdout
    assert result.stdout.endswith("\nsound\n")
    assert result.stderr == ""


def test_damage_exits_one_and_lists_places(tmp_path):
    folder = scan_folder(build_collection(tmp_path), "1001")
    for number in (1, 2):
        (folder / f"{number}.dcm").write_bytes(b"")
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "damage (2): files that cannot be read as DICOM" in result.stdout
    assert f"    {folder / '2.dcm'}: cannot be read as DICOM" in result.stdout
    assert result.stdout.endswith("\ndamaged: 2 defects\n")


def test_long_lists_are_cut_and_complete_in_the_json(tmp_path):
    folder = scan_folder(build_collection(tmp_path), "1001")
    for number in range(12):
        (folder / f"{number}[red].txt").touch()
    file = tmp_path / "report.json"
    result = run(tmp_path, "--json", file)
    assert result.exit_code == 0
    assert f"and {12 - SHOWN} more (--json lists all)" in result.stdout
    assert "0[red].txt" in result.stdout
    report = json.loads(file.read_text(encoding="utf-8"))
    assert report["counts"]["stray"] == 12


def test_json_on_standard_output_stands_alone(tmp_path):
    result = run(build_collection(tmp_path), "--json", "-")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["sound"] is True


@pytest.mark.parametrize("name", ["", "none"])
def test_what_is_no_collection_is_usage(tmp_path, name):
    result = run(tmp_path / name)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("verict: ")
    assert result.stderr.count("\n") == 1


def test_missing_argument_is_usage():
    assert run().exit_code == 2


def test_report_that_cannot_be_written(tmp_path):
    file = tmp_path / "none" / "report.json"
    result = run(build_collection(tmp_path), "--json", file)
    assert result.exit_code == 1
    assert f"verict: {file}: its folder does not exist" in result.stderr
    assert result.stdout == "", "told before the long work"


def test_a_former_report_is_replaced_and_a_label_table_is_not(tmp_path):
    build_collection(tmp_path)
    file = tmp_path / "report.json"
    assert [run(tmp_path, "--json", file).exit_code for _ in range(2)] == [0, 0]
    (table,) = tmp_path.rglob("labels_exp1.csv")
    before = table.read_bytes()
    result = run(tmp_path, "--json", table)
    assert (result.exit_code, table.read_bytes()) == (1, before)
    assert "would replace an input" in result.stderr


def test_names_that_cannot_be_shown_are_escaped(tmp_path):
    (scan_folder(build_collection(tmp_path), "1001") / "a\x1b[31m\u202eb.txt").touch()
    result = run(tmp_path, "--json", tmp_path / "report.json")
    assert result.exit_code == 0
    assert "a\\x1b[31m\\u202eb.txt" in result.stdout


def test_the_real_single_slices(shared_data):
    result = run(shared_data / "ctgan")
    assert result.exit_code == 0
    assert "34 / 20" in result.stdout
    assert "note (40): scans of labelled slices alone: single slices only, no neighbours" in result.stdout
