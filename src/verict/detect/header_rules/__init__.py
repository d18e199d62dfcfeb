"""The header rules, by subject. A rule is added in its module's ``RULES``; docs and tests follow from there."""

from __future__ import annotations

from verict.detect.header_rules import acquisition, additions, dates, geometry, identity, numbering, pixels, writers
from verict.detect.header_rules.rule import Hit, Rule
from verict.detect.header_rules.table import HeaderTable

RULES: tuple[Rule, ...] = (
    *identity.RULES,
    *writers.RULES,
    *geometry.RULES,
    *numbering.RULES,
    *acquisition.RULES,
    *pixels.RULES,
    *dates.RULES,
    *additions.RULES,
)

__all__ = ["RULES", "HeaderTable", "Hit", "Rule"]
