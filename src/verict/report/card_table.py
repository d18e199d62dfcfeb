"""A model card's figures as a Markdown table, for the documents.

``python -m verict.report.card_table docs/spectrum.md`` renews the part of that file between the two marks from
the shipped card of the detector it is named after; everything else in it is written by hand.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

from verict.detect.model import load_card
from verict.documents import renew_files, replace_part

START, END = "<!-- figures: start -->", "<!-- figures: end -->"


def tabulate_figures(card: dict[str, Any]) -> str:
    """Every figure of a card as a row: what, value, 95 % interval, n."""
    lines = ["| figure | value | 95 % interval | n |", "|---|---|---|---|"]
    for row in card["figures"]:
        low_high = row["interval"]
        value = "undefined" if row["value"] is None else f"{row['value']:.3f}"
        interval = "" if low_high is None else f"{low_high[0]:.3f} to {low_high[1]:.3f}"
        lines.append(f"| {row['text']} | {value} | {interval} | {row['n']} |")
    return "\n".join(lines)


def renew_figures(text: str, card: dict[str, Any]) -> str:
    """A document with its part between the marks replaced by the card's figures.

    Raises
    ------
    OutputError
        If the document lacks the marks.
    """
    return replace_part(text, START, END, f"\n\n{tabulate_figures(card)}\n\n")


if __name__ == "__main__":
    for document in sys.argv[1:]:
        renew_files([document], partial(renew_figures, card=load_card(Path(document).stem)))
