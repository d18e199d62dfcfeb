"""The benchmark's table says of each method and touch-up what the strata say, each figure beside brightness alone."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from evaluation.forged_cases import make_cases

from verict.evaluation.measure import measure
from verict.evaluation.result import Conclusion

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "campaign_table.py"
DOCUMENT = {
    "sha256": "ab" * 32, "config": {"seed": 7}, "remarks": ["Too few nodules"],
    "counts": {"rows": {"FB": 12, "FM": 12, "TM": 0, "TB": 0}, "scans": 6},
    "sources": [{"patient": "a", "scans": 5}, {"patient": "b", "scans": 1}, {"patient": "c", "scans": 0}],
}  # fmt: skip


@pytest.fixture(scope="module")
def table() -> list[str]:
    spec = importlib.util.spec_from_file_location("campaign_table", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    evaluation = measure(make_cases({"a"}), "spectrum")
    said = (Conclusion("too_few", "Few places."), Conclusion("not_probed", "Not shown again."))
    return module.tabulate(replace(evaluation, conclusions=said), DOCUMENT).splitlines()


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def row(table: list[str], kind: str, first: str) -> list[str]:
    start = next(i for i, line in enumerate(table) if line.startswith(f"### {kind}"))
    return cells_of(next(line for line in table[start:] if line.startswith(f"| {first} |")))


def test_it_says_what_was_measured(table):
    assert table[0].startswith("Campaign `abababababababab`: 24 rows (12 FB, 12 FM, 0 TM, 0 TB) in 6 scans of 2 patie")
    assert "6 unseen" in table[0]
    assert table[1] == "Too few nodules."
    assert "- `too_few`: Few places." in table
    assert not any("not_probed" in line for line in table)


@pytest.mark.parametrize("kind", ["Removed cancers (FB)", "Injected cancers (FM)"])
def test_found_and_missed_methods_have_a_row_each(table, kind):
    found, missed = row(table, kind, "method a"), row(table, kind, "method b")
    assert (found[1], missed[1]) == ("6", "6")
    for column, value in ((2, ("1.00", "0.00")), (4, ("1.00", "0.00")), (6, ("1.00", "0.00"))):
        assert (found[column][:4], missed[column][:4]) == value
    assert (found[3][:4], found[5]) == ("0.50", "0.00"), "brightness alone"
    assert row(table, kind, "all")[1] == "12"


def test_pairs_show_hits_of_n_with_area_and_brightness_alone(table):
    assert row(table, "Removed", "a") == ["a", "6 of 6; 1.00 (0.50)", "–"]
    assert row(table, "Removed", "b") == ["b", "–", "0 of 6; 0.00 (0.50)"]
    assert row(table, "Injected", "a") == ["a", "–", "6 of 6; 1.00 (0.50)"]


def test_every_line_of_a_table_has_as_many_cells(table):
    widths = {len(cells_of(line)) for line in table if line.startswith("|")}
    assert widths == {7, 3}
