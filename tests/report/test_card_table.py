"""The documents show the figures of the card that is shipped, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from verict.detect.model import load_card
from verict.errors import OutputError
from verict.report.card_table import renew_figures, tabulate_figures

DOCUMENTS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("detector", ["spectrum", "localiser", "fusion", "nodule"])
def test_document_holds_the_shipped_figures(detector: str) -> None:
    text = (DOCUMENTS / f"{detector}.md").read_text(encoding="utf-8")
    assert renew_figures(text, load_card(detector)) == text


def test_undefined_figures_are_said_to_be_so() -> None:
    row = {"text": "a share of nothing", "value": None, "interval": None, "n": 0}
    assert "| a share of nothing | undefined |  | 0 |" in tabulate_figures({"figures": [row]})


def test_a_document_without_a_place_is_refused() -> None:
    with pytest.raises(OutputError, match="figures: start"):
        renew_figures("nothing here", {"figures": []})
