"""Whole volumes of a campaign: how many forged ones are called suspicious, and how many that nobody touched.

Run from the project folder; some seconds a scan. Each scan is judged by models and thresholds that never saw its
patient, as `verict evaluate` chooses them. A forged volume counts as found if it is called suspicious and one of its
decisive regions lies within 25 mm of a forged place.

    python benchmarks/forged_volumes.py CAMPAIGN [--detector fusion] [--authentic ../shared/data/authentic]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from verict.datasets.scans import Scan, Source, read_authentic_scans, read_labelled_scans
from verict.detect.evidence import Evidence
from verict.detect.result import Region, Verdict
from verict.detect.verdict import assess
from verict.evaluation.fair import enter, score_scan
from verict.evaluation.subjects import make_subject
from verict.statistics import share_of_count

NEAR_MM = 25.0  # half of the largest square CT-GAN touches up, and a cell


@dataclass(frozen=True)
class Judged:
    """One volume: its patient, whether it is forged, called suspicious, and at the right place."""

    patient: str
    is_forged: bool
    is_suspicious: bool
    is_found: bool


def judge(scans: Iterator[Scan], detector: str, workers: int) -> Iterator[Judged]:
    """Every scan that has neighbouring slices."""
    entrant = enter(detector)
    for scan in scans:
        if scan.volume.slice_count < 3:
            continue
        case = score_scan(scan, make_subject(scan, 1), entrant, workers=workers)
        evidence = Evidence(detector, score_map=case.score_map, thresholds=case.calibration)
        assessment = assess(scan.volume, (evidence,), ("",) * scan.volume.slice_count)
        painted = [(z, n.y, n.x) for z, labels in scan.labels.items() for n in labels if n.kind.is_tampered]
        found = any(_is_near(region, place, scan.volume.spacing_mm)
                    for region in assessment.regions if region.decisive for place in painted)
        yield Judged(scan.patient, bool(painted), assessment.verdict is Verdict.SUSPICIOUS, found)


def _is_near(region: Region, place: tuple[int, int, int], spacing_mm: Sequence[float]) -> bool:
    low, high = np.array(region.bounds[::2]), np.array(region.bounds[1::2])
    beyond = np.maximum(np.maximum(low - place, np.array(place) - high), 0) * spacing_mm
    return bool(np.hypot.reduce(beyond) <= NEAR_MM)


def tabulate(judged: Sequence[Judged]) -> Iterator[str]:
    """Shares with exact intervals, which take volumes as independent."""
    yield "| volumes | what | share | 95 % interval | n | patients |"
    yield "|---|---|---|---|---|---|"
    forged, clean = ([j for j in judged if j.is_forged is kind] for kind in (True, False))
    for own, words, what, name in (
        (forged, "forged", "suspicious, at a forged place", "is_found"),
        (forged, "forged", "suspicious", "is_suspicious"),
        (clean, "untouched", "suspicious", "is_suspicious"),
    ):
        if own:
            share = share_of_count(sum(getattr(j, name) for j in own), len(own))
            patients = len({j.patient for j in own})
            yield (f"| {words} | {what} | {share.value:.2f} | {share.low:.2f} to {share.high:.2f} | {len(own)} | "
                   f"{patients} |")


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", type=Path, help="folder that verict tamper campaign made")
    parser.add_argument("--authentic", type=Path, metavar="DIR", help="untouched series beside the campaign's own")
    parser.add_argument("--detector", default="fusion", help="which detector (default fusion)")
    parser.add_argument("--workers", type=int, default=2, help="threads (default 2)")
    options = parser.parse_args(arguments)

    def quiet(*_: object) -> None:
        pass

    judged = list(judge(read_labelled_scans(options.campaign, quiet), options.detector, options.workers))
    if options.authentic:
        untouched = read_authentic_scans(options.authentic, quiet)
        judged += judge((s for s in untouched if s.source is Source.AUTHENTIC), options.detector, options.workers)
    print("\n".join(tabulate(judged)))


if __name__ == "__main__":
    main()
