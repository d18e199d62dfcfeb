"""The documentation of the header rules follows from the rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from verict.detect.header_rules import RULES, across
from verict.detect.header_rules.catalogue import END, START, describe_rules, renew_catalogue
from verict.errors import OutputError

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "header-findings.md"


def test_the_document_is_what_the_rules_say() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert renew_catalogue(text) == text, "run python -m verict.detect.header_rules.catalogue docs/header-findings.md"


def test_every_rule_has_one_row() -> None:
    rows = [line for line in describe_rules().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [rule.code for rule in (*RULES, *across.RULES)]
    assert all(row.count(" | ") == 4 for row in rows)


def test_only_the_part_between_the_marks_is_renewed() -> None:
    text = renew_catalogue(f"before\n{START}\nno longer a rule\n{END}\nafter\n")
    assert text.startswith(f"before\n{START}\n") and text.endswith(f"{END}\nafter\n")
    assert "no longer a rule" not in text and describe_rules() in text


@pytest.mark.parametrize("text", ["", START, END, f"{END} {START}"])
def test_a_document_without_the_marks_is_refused(text: str) -> None:
    with pytest.raises(OutputError):
        renew_catalogue(text)
