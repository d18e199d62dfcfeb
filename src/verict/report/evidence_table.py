"""What a model card says of its scores as evidence, as Markdown, for the documents.

``python -m verict.report.evidence_table docs/evidence.md`` renews the part of that file between the two marks from
the shipped card; everything else in it is written by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from verict.detect.model import load_card
from verict.documents import renew_files, replace_part
from verict.evaluation.evidence_fit import LEVELS

START, END = "<!-- evidence: start -->", "<!-- evidence: end -->"


def tabulate_evidence(block: Mapping[str, Any]) -> str:
    """The likelihood ratio's facts and the check of the p-values, as Markdown."""
    lines = ["| score of | ratio from | to | log-LR cost | forged patients | untouched patients | why none |"]
    lines.append("|---|---|---|---|---|---|---|")
    for unit, fit in block["likelihood_ratio"].items():
        cells = [f"{fit[k]:.2f}" if k in fit else "" for k in ("low", "high", "cllr")]
        lines.append(f"| {unit} | {' | '.join(cells)} | {fit['n_h1']} | {fit['n_h2']} | {fit.get('reason', '')} |")
    lines += ["", "| scanner left out | patients | slices | KS | 95 % limit | p <= 0.05 | p <= 0.1 |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in block["uniformity"]:
        shares = [_say_share(row["below"][str(level)]) for level in LEVELS]
        lines.append(
            f"| {row['scanner']} | {row['patients']} | {row['slices']} | {row['ks']:.2f} | {row['ks_limit']:.2f} "
            f"| {' | '.join(shares)} |"
        )
    return "\n".join(lines)


def _say_share(share: Mapping[str, Any]) -> str:
    low, high = share["interval"]
    return f"{share['value']:.3f} ({low:.3f} to {high:.3f}); by patient {share['by_patient']:.3f}"


def renew_evidence(text: str, card: Mapping[str, Any]) -> str:
    """A document with its part between the marks replaced by what the card holds.

    Raises
    ------
    OutputError
        If the document lacks the marks.
    """
    table = tabulate_evidence(card["evidence"]) if "evidence" in card else "The card holds no such block."
    return replace_part(text, START, END, f"\n\n{table}\n\n")


if __name__ == "__main__":
    renew_files(sys.argv[1:], lambda text: renew_evidence(text, load_card("fusion")))
