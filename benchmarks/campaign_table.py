"""Which forgeries of a campaign a detector misses: by method and touch-up, removals and injections apart, as Markdown.

Run from the project folder; a quarter of an hour for 200 rows on two cores. The figures are those of `verict evaluate`
(strata ``method``, ``touch-up`` and ``method x touch-up``), each beside what brightness alone reaches.

    python benchmarks/campaign_table.py CAMPAIGN --authentic ../shared/data/authentic --write docs/campaign.md
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from verict.datasets.campaigns import CAMPAIGN_FILE, read_document
from verict.documents import replace_part
from verict.errors import InputError, say_count
from verict.evaluation.conclusions import find_figure
from verict.evaluation.forgeries import BOTH, METHOD, RATE, TOUCH_UP
from verict.evaluation.result import Evaluation, Measured, Tree
from verict.evaluation.run import evaluate_detector

START, END = "<!-- campaign table: start -->", "<!-- campaign table: end -->"
KINDS = {"fb": ("Removed cancers (FB)", "fb_parenchyma", "untouched lung"),
         "fm": ("Injected cancers (FM)", "fm_dense", "matched untouched structures")}  # fmt: skip
ABSENT = "–"


def tabulate(evaluation: Evaluation, document: Mapping[str, Any]) -> str:
    """All tables, with what has to be said of the evaluation."""
    strata = {(by, value): tree for by, value, tree in evaluation.strata}
    lines = [*_describe(evaluation, document)]
    for kind in KINDS:
        lines += ["", *_tabulate_kind(strata, evaluation.figures, kind)]
    said = [c for c in evaluation.conclusions if c.code != "not_probed"]
    lines += ["", "What the ruler says of these figures:", ""]
    lines += [f"- {'**grave** ' if c.grave else ''}`{c.code}`: {c.text}" for c in said] or ["- nothing"]
    return "\n".join(lines)


def _describe(evaluation: Evaluation, document: Mapping[str, Any]) -> Iterator[str]:
    counts = document["counts"]
    rows = ", ".join(f"{number} {kind}" for kind, number in counts["rows"].items())
    patients = len({source["patient"] for source in document["sources"] if source["scans"]})
    seen = ", ".join(f"{n} {how.replace('_', ' ')}" for how, n in evaluation.data["labelled"]["seen"].items())
    yield (f"Campaign `{document['sha256'][:16]}`: {sum(counts['rows'].values())} rows ({rows}) in "
           f"{say_count(counts['scans'], 'scan')} of {say_count(patients, 'patient')}, seed "
           f"{document['config']['seed']}. Detector {evaluation.detector}; how its models had seen the scans: {seen}.")
    for remark in document["remarks"]:
        yield f"{remark}."


def _tabulate_kind(strata: Mapping[tuple[str, str], Tree], figures: Tree, kind: str) -> Iterator[str]:
    title, key, against = KINDS[kind]
    methods, touch_ups = (
        [value for by, value in strata if by == name and _n(strata[by, value], kind)] for name in (METHOD, TOUCH_UP)
    )
    yield f"### {title}"
    yield ""
    yield f"| forged by | n | AUC against {against} | brightness alone | found at 1 % false positives | "\
          "brightness alone | found at the frozen threshold |"
    yield "|---|---|---|---|---|---|---|"
    yield _margin("all", {**figures, "auc": figures["auc"]}, kind, key)
    for by, values in ((METHOD, methods), (TOUCH_UP, touch_ups)):
        for value in values:
            yield _margin(f"{by} {value}", strata[by, value], kind, key)
    yield ""
    yield ("Each pair: found at 1 % false positives of n; AUC (brightness alone). "
           "A pair has too few places to say anything by itself: read whole rows and columns.")
    yield ""
    yield f"| | {' | '.join(touch_ups)} |"
    yield f"|---|{'---|' * len(touch_ups)}"
    for method in methods:
        cells = (_cell(strata.get((BOTH, f"{method} x {touch_up}")), kind, key) for touch_up in touch_ups)
        yield f"| {method} | {' | '.join(cells)} |"


def _margin(words: str, tree: Tree, kind: str, key: str) -> str:
    cells = (
        str(_n(tree, kind)),
        _say(find_figure(tree, "auc", key)),
        _say(find_figure(tree, "content_only", "auc", key)),
        _say(find_figure(tree, "sensitivity_at_fpr_by_kind", kind, RATE)),
        _say(find_figure(tree, "content_only", "sensitivity_at_fpr_by_kind", kind, RATE), short=True),
        _say(find_figure(tree, "frozen", kind)),
    )
    return f"| {words} | {' | '.join(cells)} |"


def _cell(tree: Tree | None, kind: str, key: str) -> str:
    if tree is None or not _n(tree, kind):
        return ABSENT
    found = find_figure(tree, "sensitivity_at_fpr_by_kind", kind, RATE)
    area, content = (find_figure(tree, *path, "auc", key) for path in ((), ("content_only",)))
    hits = ABSENT if found is None else str(found.about["hits"])
    beside = ABSENT if area is None else f"{area.figure.value:.2f} ({ABSENT if content is None else _two(content)})"
    return f"{hits} of {_n(tree, kind)}; {beside}"


def _two(measured: Measured) -> str:
    return f"{measured.figure.value:.2f}"


def _n(tree: Tree, kind: str) -> int:
    measured = find_figure(tree, "frozen", kind)
    return 0 if measured is None else measured.figure.n


def _say(measured: Measured | None, *, short: bool = False) -> str:
    if measured is None:
        return ABSENT
    figure = measured.figure
    interval = "" if figure.low is None or short else f" ({figure.low:.2f} to {figure.high:.2f})"
    return f"{figure.value:.2f}{interval}"


def _report(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{what} {done}/{total}\x1b[K", end="", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate, print the tables, and put them between the marks of a document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", type=Path, help="folder that verict tamper campaign made")
    parser.add_argument("--authentic", type=Path, metavar="DIR", help="untouched series: more lookalikes")
    parser.add_argument("--detector", default="spectrum", help="which detector (default spectrum)")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help=f"put the tables between {START} and {END}")
    parser.add_argument("--workers", type=int, default=2, help="threads (default 2)")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    failures: list[InputError] = []
    evaluation = evaluate_detector(
        options.campaign, options.authentic, options.detector,
        workers=options.workers, probe=False, progress=_report, failures=failures,
    )  # fmt: skip
    table = tabulate(evaluation, read_document(options.campaign / CAMPAIGN_FILE))
    print(table)
    print(f"{time.perf_counter() - start:.0f} s, {len(failures)} inputs could not be read", file=sys.stderr)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(replace_part(text, START, END, f"\n\n{table}\n\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
