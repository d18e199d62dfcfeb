"""The rules as a table in Markdown, made from the rules themselves.

``python -m verict.detect.header_rules.catalogue docs/header-findings.md`` renews the part of that file between
the two marks; everything else in it is written by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from verict.detect.header_rules import (
    acquisition,
    across,
    additions,
    dates,
    geometry,
    identity,
    numbering,
    pixels,
    writers,
)
from verict.detect.header_rules.rule import Rule
from verict.documents import renew_files, replace_part

START, END = "<!-- rules: start -->", "<!-- rules: end -->"

_CHAPTERS = (
    ("Who the object says it is", identity.RULES),
    ("One series from two hands", writers.RULES),
    ("Geometry", geometry.RULES),
    ("Counting", numbering.RULES),
    ("Values", acquisition.RULES),
    ("Pixels against the header", pixels.RULES),
    ("Dates and times", dates.RULES),
    ("Additions and marks", additions.RULES),
    ("Across series and patients", across.RULES),
)


def describe_rules() -> str:
    """Every rule as a row of a Markdown table, one table a subject."""
    return "\n".join(line for title, rules in _CHAPTERS for line in _describe_chapter(title, rules))


def _describe_chapter(title: str, rules: Iterable[Rule]) -> list[str]:
    lines = [
        f"### {title}",
        "",
        "| code | what | why it matters | how sure | harmless causes |",
        "|---|---|---|---|---|",
    ]
    for rule in rules:
        sure = ", ".join(confidence.value for confidence in rule.confidences)
        sure += f" ({rule.degrees})" if rule.degrees else ""
        what = f"{rule.title}. {(rule.check.__doc__ or '').strip()}"
        cells = (f"`{rule.code}`", what, rule.why, sure, "; ".join(rule.benign))
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return [*lines, ""]


def renew_catalogue(text: str) -> str:
    """A document with its part between the marks replaced by the current rules.

    Raises
    ------
    OutputError
        If the document lacks the marks.
    """
    return replace_part(text, START, END, f"\n\n{describe_rules()}\n")


if __name__ == "__main__":
    renew_files(sys.argv[1:], renew_catalogue)
