"""What a header rule is: one code, what it looks for, why that matters, how sure it can be, what is harmless."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from verict.detect.evidence import Confidence, Finding, TagValue


@dataclass(frozen=True)
class Hit:
    """One place where a rule holds.

    ``slices`` are z indices (empty: the whole series); ``confidence`` None stands for the first of
    the rule's confidences; ``detail`` completes the rule's title.
    """

    tags: tuple[TagValue, ...] = ()
    slices: tuple[int, ...] = ()
    detail: str = ""
    confidence: Confidence | None = None


@dataclass(frozen=True)
class Rule:
    """One thing to look for in the headers of a series.

    ``check`` yields a `Hit` for each place where the rule holds. ``confidences`` are all the degrees
    the rule can reach, the usual one first; ``degrees`` says when it is which, where there is more than one.
    """

    code: str
    title: str
    why: str
    confidences: tuple[Confidence, ...]
    benign: tuple[str, ...]
    check: Callable[..., Iterable[Hit]]
    degrees: str = ""

    def finding(self, hit: Hit) -> Finding:
        """The finding that a hit of this rule is."""
        return Finding(
            code=self.code,
            title=f"{self.title}: {hit.detail}" if hit.detail else self.title,
            why=self.why,
            confidence=hit.confidence or self.confidences[0],
            tags=hit.tags,
            benign=self.benign,
            slices=hit.slices,
        )

    def findings(self, *subject: object) -> list[Finding]:
        """Everything this rule finds in its subject: a `HeaderTable`, or a fingerprint among others."""
        return [self.finding(hit) for hit in self.check(*subject)]


def rule(
    code: str,
    title: str,
    *confidences: Confidence,
    why: str,
    benign: tuple[str, ...],
    degrees: str = "",
) -> Callable[[Callable[..., Iterable[Hit]]], Rule]:
    """Make a rule of a function that yields hits (decorator)."""

    def make(check: Callable[..., Iterable[Hit]]) -> Rule:
        return Rule(code, title, why, confidences, benign, check, degrees)

    return make
