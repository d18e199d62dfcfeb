"""Header detector: what a careful examiner would point at in the attributes of a series.

How findings count: a header proves nothing about pixels. Headers alone never go beyond "indeterminate",
and only a CONTRADICTION goes that far (`verict.detect.verdict.add_findings`); NOTABLE and UNUSUAL findings are
listed for the examiner and change no verdict. The rules are in `verict.detect.header_rules`, listed in
docs/header-findings.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume, Note
from verict.detect.evidence import Confidence, Evidence, Finding, Needs
from verict.detect.header_rules import RULES, HeaderTable
from verict.detect.header_rules.across import HeaderFingerprint, examine_across, fingerprint

__all__ = [
    "HeaderDetector",
    "HeaderFingerprint",
    "examine_across",
    "fingerprint",
    "order_findings",
]

_ORDER = (Confidence.CONTRADICTION, Confidence.UNUSUAL, Confidence.NOTABLE)


class HeaderDetector:
    """Examines the headers of one series by rules; learns nothing and has no model.

    It looks at pixels only for their range, depth and repetition, where the header makes a claim about these.
    """

    name = "header"
    summary = "headers that contradict themselves, each other or the pixels"
    needs = Needs(headers=True)
    marks_tampering = False

    def examine(
        self, volume: CTVolume, lungs: LungRegion | None = None, *, workers: int | None = None
    ) -> Evidence:
        """Everything the header rules find in one series, the surest first; never raises for what headers hold.

        ``lungs`` and ``workers`` are part of the protocol and not used.
        """
        if not volume.headers:
            note = Note("headers_missing", "no headers were given: the header rules could not be applied")
            return Evidence(self.name, notes=(note,))
        table = HeaderTable(volume)
        findings = [finding for rule in RULES for finding in rule.findings(table)]
        return Evidence(self.name, findings=order_findings(findings))


def order_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings with the surest first, otherwise in the order given."""
    return tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.confidence)))
