"""What the document on evidence holds is what the shipped card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from verict.datasets.splits import Scanner
from verict.detect.model import load_card
from verict.errors import OutputError
from verict.evaluation.evidence_fit import fit_evidence
from verict.report.evidence_table import END, START, renew_evidence, tabulate_evidence

DOCUMENT = Path(__file__).parents[2] / "docs" / "evidence.md"


def test_the_document_holds_what_the_shipped_card_holds():
    card, text = load_card("fusion"), DOCUMENT.read_text(encoding="utf-8")
    assert "evidence" in card
    assert renew_evidence(text, card) == text


def test_a_document_is_renewed_between_its_marks():
    rng = np.random.default_rng(0)
    untouched = [(float(rng.normal()), f"u{p}", Scanner("siemens", f"m{p // 4}")) for p in range(20)]
    block = fit_evidence(untouched, [(float(rng.normal(3)), f"f{p}") for p in range(20)])
    assert "| slice |" in tabulate_evidence(block)
    renewed = renew_evidence(f"before {START} old {END} after", {"evidence": block})
    assert renewed.startswith("before ")
    assert renewed.endswith(" after")
    assert " old " not in renewed
    assert "| all | 20 | 20 |" in renewed
    assert "no such block" in renew_evidence(f"{START}{END}", {})
    with pytest.raises(OutputError, match="evidence: start"):
        renew_evidence("nothing here", {"evidence": block})
