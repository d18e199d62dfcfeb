"""The localiser on forgers it never met: each method x touch-up judged by a network that saw neither, nor the patient.

Run from the project folder. Methods are dealt into three groups and touch-ups into three; a network is fitted without
one group of each and judges the nine cells or fewer where they cross. Patients are dealt into two halves, each judged
by what was fitted on the other: 18 networks. What a blend of single slices resembles is left out with its group.

    python benchmarks/leave_cell_out.py CAMPAIGN --data ../shared/data --work DIR --write docs/localiser.md

DIR is the scratch folder of `verict train localiser`, whose examples are used, or a new one, which takes half an hour
more.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from zlib import crc32

import numpy as np
import torch

from verict.datasets.scans import Scan, Source
from verict.datasets.splits import Scanner
from verict.detect.evidence import ScoreMap
from verict.detect.localiser import MAP_ORIGIN_PX, MAP_STRIDE_PX, average_runs
from verict.documents import replace_part
from verict.evaluation.case import Case, PlaceKind, Seen
from verict.evaluation.fair import RANKED_ONLY
from verict.evaluation.matching import match_places
from verict.evaluation.outline import mark_patch, on_map, overlap
from verict.evaluation.places import PlaceTable, join_tables, tabulate_places
from verict.statistics import tell_apart
from verict.training.localiser.bank import Maker, Tags
from verict.training.localiser.campaigns import KeptCase, Painted, keep_campaign
from verict.training.localiser.designs import MapNetwork, make_network
from verict.training.localiser.fit import FitRecipe, fit
from verict.training.localiser.shards import Bank, is_complete
from verict.training.localiser.sources import Stock, gather_stock, read_sources
from verict.training.localiser.train import LocaliserRecipe
from verict.training.phantoms import FOLDER as PHANTOM

METHODS = (("ctgan", "diffusion"), ("splice", "splice-poisson", "copy-move"), ("inpaint", "parametric"))
TOUCH_UPS = (("none", "jpeg2000", "resampled"), ("white", "zoomed"), ("copied", "matched"))
HALVES = 2
SEED = 1  # of the untouched places
START, END = "<!-- cells: start -->", "<!-- cells: end -->"
_BANK: Bank | None = None  # of a process that fits; inherited
_KEEP: dict[str, Callable[[Tags], bool]] = {}


@dataclass(frozen=True)
class Fold:
    """A half of the patients, a group of methods and one of touch-ups that a network saw nothing of."""

    half: int
    methods: int
    touch_ups: int

    @property
    def name(self) -> str:
        """What its checkpoint is called."""
        return f"cell-{self.half}-{self.methods}-{self.touch_ups}"

    def may_learn(self, half_of: dict[str, int], scanners: set[Scanner]) -> Callable[[Tags], bool]:
        """Which examples its network may see: nothing of its patients and their scanners, its methods and touch-ups."""
        left_out = {*METHODS[self.methods], *TOUCH_UPS[self.touch_ups]}

        def keep(tags: Tags) -> bool:
            if tags.what == "real" or left_out & set(tags.akin):
                return False
            if any(half_of.get(patient) == self.half for patient in tags.patients):
                return False
            return not any(Scanner(*tags.scanner).may_be(other) for other in scanners)

        return keep


@dataclass(frozen=True, eq=False)
class Judged:
    """A forged place as the network of its fold saw it.

    ``joined`` and ``single`` are the shares of its untouched lookalikes that score lower, with the average along z and
    on its slice alone; ``content`` the same by brightness; NaN where it has too few lookalikes. ``iou`` of the patch
    marked around it, NaN where no cell changed visibly.
    """

    method: str
    touch_up: str
    kind: str
    patient: str
    joined: float
    single: float
    content: float
    iou: float


def deal_halves(scans: Sequence[Scan]) -> dict[str, int]:
    """Half of each patient of a whole series, a manufacturer whole in one: models go by more than one name."""
    series = {s.patient: s.scanner.manufacturer for s in scans if s.source is Source.AUTHENTIC and s.folder != PHANTOM
              and s.volume.slice_count > 20}
    sizes = [0] * HALVES
    half_of: dict[str, int] = {}
    for maker in sorted(set(series.values()), key=lambda m: (-list(series.values()).count(m), m)):
        own = [p for p, m in series.items() if m == maker]
        half = sizes.index(min(sizes))
        sizes[half] += len(own)
        half_of |= dict.fromkeys(own, half)
    return half_of


def fit_all(
    scans: Sequence[Scan], half_of: dict[str, int], work: Path, recipe: LocaliserRecipe, workers: int
) -> dict[Fold, MapNetwork]:
    """Fit every fold's network; those whose checkpoint is complete are taken from it."""
    folds = [Fold(*one) for one in itertools.product(range(HALVES), range(len(METHODS)), range(len(TOUCH_UPS)))]
    global _BANK  # handed to the processes by fork, without a copy
    _BANK = Bank(Maker(Stock((), (), ()), recipe.seed), work / f"bank-{recipe.seed}-{recipe.chests}", recipe.shards, 0)
    for fold in folds:
        held = {s.scanner for s in scans if half_of.get(s.patient) == fold.half}
        _KEEP[fold.name] = fold.may_learn(half_of, held)
    networks = {}
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        jobs = [(f, pool.submit(_fit_one, f.name, work / f"{f.name}.pt", recipe.fit, recipe.seed)) for f in folds]
        for done, (fold, job) in enumerate(jobs):
            network = make_network(recipe.fit.network)
            network.load_state_dict(job.result())
            networks[fold] = network.eval()
            _report("fitting networks", done + 1, len(jobs))
    return networks


def _fit_one(name: str, file: Path, recipe: FitRecipe, seed: int) -> dict[str, torch.Tensor]:
    assert _BANK is not None
    network, _ = fit(_BANK, _KEEP[name], file, recipe, seed, lambda *_: None)
    return network.state_dict()


def judge(
    campaign: Path, work: Path, networks: dict[Fold, MapNetwork], half_of: dict[str, int], workers: int
) -> Iterator[Judged]:
    """Every forged place by the network that saw neither its method nor its touch-up nor its patient.

    Patients of simulated chests are no one's to learn from: they are judged by the networks of their turn.
    """
    for _ in keep_campaign(campaign, work, SEED, workers, _report):
        pass  # measured once, two processes read it
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        jobs = [pool.submit(_score_some, campaign, work, networks, half_of, (n, workers)) for n in range(workers)]
        scored = sorted((one for job in jobs for one in job.result()), key=lambda one: one.index)
    for fold in networks:
        own = [one for one in scored if fold in one.tables]
        joined, alone = (
            reduce(join_tables, [replace(o.tables[fold][i], case=o.tables[fold][i].case + o.index) for o in own])
            for i in range(2)
        )
        overlaps = {key: value for one in own for key, value in one.overlaps[fold].items()}
        yield from _judge_fold(fold, joined, alone, overlaps)


@dataclass(frozen=True, eq=False)
class Scored:
    """A scan of the campaign: its places as each network of its half scores them, averaged along z and alone.

    ``overlaps`` by scan, slice, method and touch-up.
    """

    index: int
    tables: dict[Fold, tuple[PlaceTable, PlaceTable]]
    overlaps: dict[Fold, dict[tuple[int, int, str, str], float]]


def _score_some(
    campaign: Path, work: Path, networks: dict[Fold, MapNetwork], half_of: dict[str, int], part: tuple[int, int]
) -> list[Scored]:
    torch.set_num_threads(1)
    found = []
    for index, case in enumerate(keep_campaign(campaign, work, SEED, 1, lambda *_: None)):
        if index % part[1] != part[0]:
            continue
        half = half_of.get(case.subject.patient, crc32(case.subject.patient.encode()) % HALVES)
        tables, overlaps = {}, {}
        for fold, network in networks.items():
            if fold.half != half:
                continue
            alone = case.score(network, joined=False)
            joined = _to_case(case, average_runs(alone, case.subject.geometry))
            tables[fold] = tabulate_places([joined]), tabulate_places([_to_case(case, alone)])
            overlaps[fold] = {
                (index, p.z, p.method, p.touch_up): _overlap(joined.score_map, p, case) for p in case.painted
            }
        found.append(Scored(index, tables, overlaps))
    return found


def _to_case(case: KeptCase, values: np.ndarray) -> Case:
    return Case(case.subject, ScoreMap(values, MAP_STRIDE_PX, MAP_ORIGIN_PX), RANKED_ONLY, Seen.UNSEEN)


def _judge_fold(
    fold: Fold, joined: PlaceTable, alone: PlaceTable, overlaps: dict[tuple[int, int, str, str], float]
) -> Iterator[Judged]:
    wins = [_shares_below(table, lambda t: t.score) for table in (joined, alone)]
    content = _shares_below(joined, lambda t: t.centre_hu)
    for key, share in wins[0].items():
        method, touch_up, kind, patient = key[2:]
        if method in METHODS[fold.methods] and touch_up in TOUCH_UPS[fold.touch_ups]:
            iou = overlaps.get(key[:4], np.nan)
            yield Judged(method, touch_up, kind, patient, share, wins[1][key], content[key], iou)


def _overlap(score_map: ScoreMap, painted: Painted, case: KeptCase) -> float:
    """Of the patch marked at a label and the visible change there, within the lungs' cells."""
    scored = np.isfinite(score_map.values[painted.z])
    patch = mark_patch(score_map, painted.z, painted.y, painted.x, case.subject.geometry.spacing_mm[1:])
    return overlap(patch, on_map(painted.changed, painted.top, painted.left, score_map) & scored)


def _shares_below(table: PlaceTable, scores: Callable[[PlaceTable], np.ndarray]) -> dict[tuple, float]:
    """By forged place: the share of its lookalikes that score lower, ties counted half.

    A removal's are all untouched places in parenchyma, an injection's the structures it is matched with.
    """
    found: dict[tuple, float] = {}
    removed, lung = table.of(PlaceKind.FB), table.of(PlaceKind.PARENCHYMA)
    for row, share in enumerate(tell_apart(scores(removed), scores(lung)).mean(axis=1)):
        found[_key(removed, row)] = float(share)
    matching = match_places(table)
    gain = tell_apart(scores(matching.positives), scores(matching.negatives))
    for row in range(len(matching.positives)):
        match = matching.is_match[row]
        found[_key(matching.positives, row)] = float(gain[row, match].mean()) if match.any() else np.nan
    return found


def _key(table: PlaceTable, row: int) -> tuple[int, int, str, str, str, str]:
    return (int(table.case[row]), int(table.z[row]), str(table.method[row]), str(table.touch_up[row]),
            str(table.kind[row]), str(table.patient[row]))


def tabulate(judged: Sequence[Judged]) -> Iterator[str]:
    """The matrix, its margins, and what one slice sees against the average along z."""
    methods = [m for group in METHODS for m in group]
    touch_ups = [t for group in TOUCH_UPS for t in group]
    cells = {(m, t): [j for j in judged if (j.method, j.touch_up) == (m, t)] for m in methods for t in touch_ups}
    yield "Each cell: location AUC (brightness alone), mean IoU, n."
    yield ""
    yield f"| | {' | '.join(touch_ups)} | all |"
    yield f"|---|{'---|' * (len(touch_ups) + 1)}"
    for method in methods:
        row = [_cell(cells[method, t]) for t in touch_ups]
        yield f"| {method} | {' | '.join(row)} | {_cell([j for j in judged if j.method == method])} |"
    columns = [_cell([j for j in judged if j.touch_up == t]) for t in touch_ups]
    yield f"| all | {' | '.join(columns)} | {_cell(judged)} |"
    yield ""
    yield "| | mean over cells | cells | over places, 95 % interval | n |"
    yield "|---|---|---|---|---|"
    for words, name in (("AUC, averaged along z", "joined"), ("AUC, one slice", "single"),
                        ("AUC of brightness alone", "content"), ("IoU of the marked patch", "iou")):
        yield _margin(words, name, judged, cells)
    for words, kind in (("AUC of removals, averaged along z", "FB"), ("AUC of injections, averaged along z", "FM")):
        yield _margin(words, "joined", [j for j in judged if j.kind == kind],
                      {k: [j for j in own if j.kind == kind] for k, own in cells.items()})
    for touch_up in ("copied", "matched"):
        own = [j for j in judged if j.touch_up == touch_up]
        for words, name in (("averaged along z", "joined"), ("one slice", "single")):
            yield _margin(f"AUC of touch-up {touch_up}, {words}", name, own,
                          {k: v for k, v in cells.items() if k[1] == touch_up})


def _cell(own: Sequence[Judged]) -> str:
    shares, content, ious = (_finite(own, name) for name in ("joined", "content", "iou"))
    if not len(shares):
        return "–" if not len(own) else f"–, {_two(ious)}, {len(own)}"
    return f"{_two(shares)} ({_two(content)}), {_two(ious)}, {len(own)}"


def _margin(words: str, name: str, judged: Sequence[Judged], cells: dict[tuple[str, str], list[Judged]]) -> str:
    means = [_finite(own, name).mean() for own in cells.values() if len(_finite(own, name))]
    values = np.array([getattr(j, name) for j in judged])
    kept = np.isfinite(values)
    patients = np.array([j.patient for j in judged])[kept]
    low, high = _over_patients(values[kept], patients)
    told = f"{values[kept].mean():.3f} ({low:.3f} to {high:.3f})"
    return f"| {words} | {np.mean(means):.3f} | {len(means)} | {told} | {kept.sum()} |"


def _over_patients(values: np.ndarray, patients: np.ndarray, draws: int = 2000) -> tuple[float, float]:
    """Percentile interval of a mean, patients drawn whole."""
    names, owner = np.unique(patients, return_inverse=True)
    total, count = np.bincount(owner, values), np.bincount(owner)
    drawn = np.random.default_rng(0).integers(len(names), size=(draws, len(names)))
    low, high = np.quantile(total[drawn].sum(1) / count[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)


def _finite(own: Sequence[Judged], name: str) -> np.ndarray:
    values = np.array([getattr(j, name) for j in own], float)
    return values[np.isfinite(values)]


def _two(values: np.ndarray) -> str:
    return f"{values.mean():.2f}" if len(values) else "–"


def _report(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{what} {done}/{total}\x1b[K", end="", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, judge, print the matrix, and put it between the marks of a document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", type=Path, help="folder that verict tamper campaign made")
    parser.add_argument("--data", type=Path, required=True, help="folder with authentic/ and ctgan/")
    parser.add_argument("--work", type=Path, required=True, help="scratch folder")
    parser.add_argument("--steps", type=int, default=1400, help="batches a network is fitted on (default 1400)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help=f"put the tables between {START} and {END}")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    shipped = LocaliserRecipe()
    recipe = replace(shipped, fit=replace(shipped.fit, steps=options.steps, real_share=0.0))
    scans = read_sources(options.data, recipe.chests, recipe.seed, options.work, _report)
    folder = options.work / f"bank-{recipe.seed}-{recipe.chests}"
    if not is_complete(folder, recipe.shards):
        maker = Maker(gather_stock(scans, recipe.seed, _report), recipe.seed)
        with Bank(maker, folder, recipe.shards, options.workers) as bank:
            for index in range(-1, bank.count):
                bank.read(index)
    half_of = deal_halves(scans)
    networks = fit_all(scans, half_of, options.work, recipe, options.workers)
    judged = list(judge(options.campaign, options.work, networks, half_of, options.workers))
    table = "\n".join(tabulate(judged))
    print(table)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(replace_part(text, START, END, f"\n\n{table}\n\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
