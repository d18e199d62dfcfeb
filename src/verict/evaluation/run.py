"""A labelled collection, perhaps an authentic one, and a detector's name: to an evaluation with its conclusions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.datasets.authentic import Nodule, read_nodules
from verict.datasets.scans import Progress, Scan, Source, read_authentic_scans, read_labelled_scans
from verict.detect import four_classes, fusion
from verict.detect.evidence import ScoreMap
from verict.detect.model import WEIGHTS
from verict.errors import InputError, UsageError
from verict.evaluation.case import Case
from verict.evaluation.classes import Site, SiteJudge, measure_sites
from verict.evaluation.conclusions import conclude
from verict.evaluation.fair import Entrant, choose_model, enter, examine_blind, score_scan
from verict.evaluation.ledger import REAL_FAKES
from verict.evaluation.measure import measure
from verict.evaluation.probes import Guise, PairedScore, measure_probes, probe_scan
from verict.evaluation.published_fakes import PUBLISHED_FAKES
from verict.evaluation.result import Evaluation
from verict.evaluation.subjects import make_subject

NODULES_FILE = "nodules.csv"
"""Documented nodules of an authentic collection, in its folder or beside it; see `read_nodules`."""


def evaluate_detector(
    labelled: Path,
    authentic: Path | None,
    detector: str,
    *,
    weights: Path = WEIGHTS,
    seed: int = 1,
    workers: int | None = None,
    probe: bool = True,
    progress: Progress = lambda *_: None,
    failures: list[InputError] | None = None,
) -> Evaluation:
    """Judge a detector on a labelled collection and, where one is named, on authentic series.

    Scans are read one at a time and only their maps are kept, so that memory does not grow with their pixels.

    Parameters
    ----------
    labelled
        A collection in the UCI layout.
    authentic
        A folder of series nobody is known to have touched; its documented nodules are read from `NODULES_FILE`.
    detector
        A name of `verict.detect.registry`.
    weights
        Folder of the detector's model and its card; the shipped one by default.
    seed
        Fixes the untouched places.
    workers
        Threads the detector may use; None: one a core.
    probe
        Show the labelled slices again in other guises, see `verict.evaluation.probes`.
    progress
        See `Progress`.
    failures
        Gets an error for each file and series that cannot be read; without it the first one is raised.

    Raises
    ------
    UsageError
        If no detector has that name, it gives no map, or a folder is not there.
    DatasetError
        If a collection contradicts itself or holds no scan.
    ModelError
        If a model is missing or altered.
    InputError
        If a series cannot be read and ``failures`` is None.
    """
    entrant = enter(detector, weights)
    for folder in (labelled, authentic):
        if folder is not None and not folder.is_dir():
            raise UsageError("no such folder", file=folder, next_step="name a folder of CT series")
    return evaluate_entrant(
        entrant,
        _read_all(labelled, authentic, progress, failures),
        nodules=_find_nodules(authentic),
        seed=seed,
        workers=workers,
        probe=probe,
        judge=_make_judge(detector, weights),
    )


def evaluate_entrant(
    entrant: Entrant,
    scans: Iterator[Scan],
    *,
    nodules: Sequence[Nodule] = (),
    seed: int = 1,
    workers: int | None = None,
    probe: bool = True,
    judge: SiteJudge | None = None,
) -> Evaluation:
    """The same for any detector and any scans, of which one at a time is taken; ``judge`` classifies the sites too."""
    cases: list[Case] = []
    sites: list[Site] = []
    real_fakes = 0
    pairs: dict[Guise, list[PairedScore]] = {}
    for scan in scans:
        case = score_scan(scan, make_subject(scan, seed, nodules=nodules), entrant, workers=workers)
        cases.append(case)
        real_fakes += count_real_fakes(scan)
        if judge is not None and scan.source is Source.LABELLED:
            sites += judge.classify(scan, case.score_map, case.seen)
        if probe and scan.source is Source.LABELLED:
            for guise, scores in _probe(entrant, scan, case, workers).items():
                pairs.setdefault(guise, []).extend(scores)
    evaluation = measure(cases, entrant.name, seed=seed)
    if probe:
        evaluation = replace(evaluation, probes=measure_probes(pairs))
    data = {**evaluation.data, REAL_FAKES: real_fakes, "model": _identify_model(entrant)}
    classes = measure_sites(sites, seed=seed) if judge is not None else {}
    evaluation = replace(evaluation, data=data, classes=classes)
    return replace(evaluation, conclusions=conclude(evaluation, cases))


def _make_judge(detector: str, weights: Path) -> SiteJudge | None:
    """What classifies the sites, where the detector is the one the four classes rest on and their card is there."""
    there = (weights / f"{four_classes.NAME}.json").is_file()
    return SiteJudge(weights) if detector == fusion.NAME and there else None


def _read_all(
    labelled: Path, authentic: Path | None, progress: Progress, failures: list[InputError] | None
) -> Iterator[Scan]:
    yield from read_labelled_scans(labelled, progress, failures)
    if authentic is not None:
        yield from read_authentic_scans(authentic, progress, failures)


def _find_nodules(authentic: Path | None) -> tuple[Nodule, ...]:
    if authentic is None:
        return ()
    for file in (authentic / NODULES_FILE, authentic.resolve().parent / NODULES_FILE):
        if file.is_file():
            return tuple(read_nodules(file))
    return ()


def _probe(entrant: Entrant, scan: Scan, case: Case, workers: int | None) -> dict[Guise, list[PairedScore]]:
    detector = entrant.make(choose_model(entrant, scan)[0])

    def examine(volume: CTVolume, lungs: LungRegion) -> ScoreMap:
        return examine_blind(detector, volume, lungs, workers=workers)[0]

    return probe_scan(scan, case, examine, detector.needs)


def _identify_model(entrant: Entrant) -> dict[str, str] | None:
    """Which model is shipped; None where nothing was fitted."""
    if entrant.shipped is None:
        return None
    return {key: str(entrant.shipped.card[key]) for key in ("id", "sha256")}


def count_real_fakes(scan: Scan) -> int:
    """How many of a scan's painted labels are published real fakes, see `PUBLISHED_FAKES`."""
    return sum(
        label.kind.is_tampered and (scan.numbers[z], label.x, label.y) in PUBLISHED_FAKES
        for z, labels in scan.labels.items()
        for label in labels
    )
