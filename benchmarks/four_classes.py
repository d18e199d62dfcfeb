"""Cancer or healthy, real or forged, on a campaign of the lab: all families, each touch-up apart, each family apart.

Run from the project folder; each site is judged by models that saw neither its patient nor, among authentic scans,
its scanner model.

    python benchmarks/four_classes.py CAMPAIGN --write docs/nodule.md

``--keep FILE`` keeps what was scored, and a run that finds it there only tabulates.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from verict.datasets.campaigns import CAMPAIGN_FILE, read_document
from verict.datasets.uci import SiteType
from verict.detect.four_classes import CLASSES
from verict.documents import replace_part
from verict.evaluation.classes import Site, classify_collection, measure_sites
from verict.report.classes import rows_of
from verict.statistics import share_over_patients

START, END = "<!-- classes: start -->", "<!-- classes: end -->"


def tabulate(sites: Sequence[Site]) -> Iterator[str]:
    """Everything in Markdown."""
    figures = measure_sites(sites)
    patients = len({s.patient for s in sites})
    yield f"{len(sites)} sites of {patients} patients."
    yield ""
    yield "| figure | verict | brightness and size alone |"
    yield "|---|---|---|"
    yield from (f"| {' | '.join(row)} |" for row in rows_of(figures))
    yield ""
    confusion = figures["four_classes"]["confusion"]  # type: ignore[index]
    yield f"| label, and what was said | {' | '.join(confusion['classes'])} |"
    yield "|---|" + "---|" * len(CLASSES)
    for name, row in zip(confusion["classes"], confusion["rows_are_truth"], strict=True):
        yield f"| {name} | {' | '.join(map(str, row))} |"
    yield ""
    yield "| forged by | macro-F1 (brightness and size alone) | FB told | FM told | n forged |"
    yield "|---|---|---|---|---|"
    for name in sorted({s.touch_up for s in sites} - {""}):
        yield _part(sites, f"touch-up {name}", lambda s, name=name: s.touch_up == name)
    for name in sorted({s.method for s in sites} - {""}):
        yield _part(sites, f"family {name}", lambda s, name=name: s.method == name)
    yield ""
    yield from _believed(sites)


def _part(sites: Sequence[Site], words: str, belongs: Callable[[Site], bool]) -> str:
    """Forgeries of one kind beside all untouched sites."""
    own = [s for s in sites if belongs(s) or not s.kind.is_tampered]
    figures = measure_sites(own)
    told = []
    for kind in (SiteType.FB, SiteType.FM):
        forged = [s for s in own if s.kind is kind]
        told.append(f"{sum(s.said is kind for s in forged)} of {len(forged)}")
    value = figures["four_classes"]["macro_f1"]["value"]  # type: ignore[index]
    low, high = figures["four_classes"]["macro_f1"]["interval"]  # type: ignore[index]
    content = figures["content_only"]["macro_f1"]["value"]  # type: ignore[index]
    count = sum(belongs(s) for s in sites)
    return f"| {words} | {value:.2f}, {low:.2f} to {high:.2f} ({content:.2f}) | {' | '.join(told)} | {count} |"


def _believed(sites: Sequence[Site]) -> Iterator[str]:
    """Whether a real nodule is called forged more often than untouched lung is."""
    yield "| untouched, called tampered with (FB or FM) | share | n |"
    yield "|---|---|---|"
    for kind, words in ((SiteType.TM, "TM: real nodules"), (SiteType.TB, "TB: lung and vessels")):
        own = [s for s in sites if s.kind is kind]
        share = share_over_patients(np.array([s.said.is_tampered for s in own]), [s.patient for s in own])
        yield f"| {words} | {share.value:.3f} ({share.low:.3f} to {share.high:.3f}) | {len(own)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Classify, print, and put the tables between the marks of a document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", type=Path, help="folder that verict tamper campaign made")
    parser.add_argument("--keep", type=Path, help="file that keeps the scored sites")
    parser.add_argument("--workers", type=int, help="threads")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help=f"put the tables between {START} and {END}")
    options = parser.parse_args(arguments)
    if options.keep and options.keep.is_file():
        sites = pickle.loads(options.keep.read_bytes())
    else:
        sites = classify_collection(options.campaign, workers=options.workers)
        if options.keep:
            options.keep.write_bytes(pickle.dumps(sites))
    name = read_document(options.campaign / CAMPAIGN_FILE)["sha256"][:16]
    table = "\n".join([f"Campaign `{name}`.", "", *tabulate(sites)])
    print(table)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(replace_part(text, START, END, f"\n\n{table}\n\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
