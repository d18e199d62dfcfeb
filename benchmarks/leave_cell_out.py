"""The localiser on forgers it never met: each method x touch-up judged by networks that saw neither, nor the patient.

Run from the project folder. Methods are dealt into three groups and touch-ups into three; a network is fitted without
one group of each and judges the cells where they cross. Patients are dealt into two halves, each judged by what was
fitted on the other: 18 networks a deal. There are two deals: `TOGETHER` leaves out whole families, all that paste or
all that paint; in `APART` siblings lie in different groups, so that pasting, painting and filling are learnt from some
other method. What a blend of single slices resembles is left out with its group. Log odds of both may be averaged, and
the log likelihood of what `repeat` sees, which learnt from no forgery, added. All that was tried is told.

    python benchmarks/leave_cell_out.py CAMPAIGN --data ../shared/data --work DIR --write docs/localiser.md

DIR is the scratch folder of `verict train localiser`, whose examples are used, or a new one, which takes half an hour
more. A killed run goes on: networks, their maps and those of `repeat` are kept there.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from cell_scores import ALONE, AVERAGED, Change, Scored, keep_repeats, keep_scores

from verict.datasets.scans import Scan, Source
from verict.datasets.splits import Scanner
from verict.detect import repeat
from verict.detect.evidence import ScoreMap
from verict.detect.localiser import MAP_ORIGIN_PX, MAP_STRIDE_PX
from verict.documents import replace_part
from verict.evaluation.case import PlaceKind
from verict.evaluation.matching import match_places
from verict.evaluation.outline import mark_patch, overlap
from verict.evaluation.places import PlaceTable, join_tables
from verict.statistics import tell_apart
from verict.training.localiser.bank import Maker, Tags
from verict.training.localiser.designs import MapNetwork, make_network
from verict.training.localiser.fit import FitRecipe, fit
from verict.training.localiser.shards import Bank, is_complete
from verict.training.localiser.sources import Stock, gather_stock, read_sources
from verict.training.localiser.train import LocaliserRecipe
from verict.training.phantoms import FOLDER as PHANTOM

HALVES = 2
REPEAT_FROM = repeat.THRESHOLDS["mark_threshold"]
SIZES_PX = 0, 800, 1600, np.inf  # changed on a label's slice, of which figures are told
REPEAT_MOST = 10.0  # log odds that it adds at most
START, END = "<!-- cells: start -->", "<!-- cells: end -->"
_BANK: Bank | None = None  # of a process that fits; inherited
_KEEP: dict[str, Callable[[Tags], bool]] = {}


@dataclass(frozen=True)
class Deal:
    """Methods and touch-ups in groups: what is left out together."""

    name: str
    methods: tuple[tuple[str, ...], ...]
    touch_ups: tuple[tuple[str, ...], ...]


TOGETHER = Deal(
    "together",
    (("ctgan", "diffusion"), ("splice", "splice-poisson", "copy-move"), ("inpaint", "parametric")),
    (("none", "jpeg2000", "resampled"), ("white", "zoomed"), ("copied", "matched")),
)
APART = Deal(
    "apart",
    (("ctgan", "copy-move"), ("diffusion", "splice-poisson"), ("splice", "inpaint", "parametric")),
    (("none", "copied"), ("jpeg2000", "zoomed", "matched"), ("resampled", "white")),
)
METHODS = tuple(m for group in TOGETHER.methods for m in group)
TOUCH_UPS = tuple(t for group in TOGETHER.touch_ups for t in group)


@dataclass(frozen=True)
class Judges:
    """Whose log odds are averaged, and whether `repeat` is added to them; patches are marked on log odds alone."""

    words: str
    deals: tuple[Deal, ...]
    repeat: bool = False


TRIED = {
    "together": Judges("siblings left out together", (TOGETHER,)),
    "together+repeat": Judges("the same and repeat", (TOGETHER,), repeat=True),
    "apart": Judges("siblings apart", (APART,)),
    "both": Judges("both networks, averaged", (TOGETHER, APART)),
    "both+repeat": Judges("both networks and repeat", (TOGETHER, APART), repeat=True),
}


@dataclass(frozen=True)
class Fold:
    """A half of the patients, a group of methods and one of touch-ups that a network saw nothing of."""

    deal: Deal
    half: int
    methods: int
    touch_ups: int

    @property
    def name(self) -> str:
        """What its checkpoint is called."""
        return f"{self.deal.name}-{self.half}-{self.methods}-{self.touch_ups}"

    def may_learn(self, half_of: dict[str, int], scanners: set[Scanner]) -> Callable[[Tags], bool]:
        """Which examples its network may see: nothing of its patients and their scanners, its methods and touch-ups."""
        left_out = {*self.deal.methods[self.methods], *self.deal.touch_ups[self.touch_ups]}

        def keep(tags: Tags) -> bool:
            if tags.what == "real" or left_out & set(tags.akin):
                return False
            if any(half_of.get(patient) == self.half for patient in tags.patients):
                return False
            return not any(Scanner(*tags.scanner).may_be(other) for other in scanners)

        return keep


def list_folds(deal: Deal) -> list[Fold]:
    """All of a deal."""
    counts = HALVES, len(deal.methods), len(deal.touch_ups)
    return [Fold(deal, *numbers) for numbers in itertools.product(*(range(n) for n in counts))]


def find_fold(deal: Deal, half: int, method: str, touch_up: str) -> Fold:
    """The one whose network saw neither."""
    methods, touch_ups = (
        next(n for n, group in enumerate(groups) if name in group)
        for groups, name in ((deal.methods, method), (deal.touch_ups, touch_up))
    )
    return Fold(deal, half, methods, touch_ups)


@dataclass(frozen=True, eq=False)
class Judged:
    """A forged place as the networks of its cell saw it.

    ``joined`` and ``single`` are the shares of its untouched lookalikes that score lower, with the average along z and
    on its slice alone; ``content`` the same by brightness; NaN where it has too few lookalikes. ``iou`` of the patch
    marked around it, NaN where no cell changed visibly; ``pixels`` are those that changed on its slice.
    """

    method: str
    touch_up: str
    kind: str
    patient: str
    joined: float
    single: float
    content: float
    iou: float
    pixels: float


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
    deals: Sequence[Deal], scans: Sequence[Scan], half_of: dict[str, int], work: Path, recipe: LocaliserRecipe,
    workers: int,
) -> dict[Fold, MapNetwork]:
    """Fit every fold's network; those whose checkpoint is complete are taken from it."""
    folds = [fold for deal in deals for fold in list_folds(deal)]
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


@dataclass(frozen=True, eq=False)
class View:
    """A scan of the campaign: its number, its half, what each deal's networks saw, and what `repeat` did."""

    index: int
    half: int
    scored: dict[Deal, Scored]
    repeat: np.ndarray

    @property
    def any(self) -> Scored:
        """Of one deal, for what all have in common."""
        return next(iter(self.scored.values()))

    def average(self, folds: Sequence[Fold], which: int) -> np.ndarray:
        """(n, rows, columns) mean log odds of some networks, `AVERAGED` or `ALONE`."""
        return np.mean([self.scored[f.deal].maps[f.name][which] for f in folds], axis=0)


def view_campaign(
    campaign: Path, work: Path, networks: dict[Fold, MapNetwork], half_of: dict[str, int], workers: int, *,
    with_repeat: bool,
) -> list[View]:
    """Every scan of a campaign, scored by the networks of its half, and by `repeat` unless not ``with_repeat``.

    Patients of simulated chests are no one's to learn from: they are judged by the networks of their turn.
    """
    deals = {fold.deal: None for fold in networks}
    found = [
        keep_scores(campaign, work, {f.name: n for f, n in networks.items() if f.deal == deal},
                    partial(_list_judges, half_of, deal), workers, _report)
        for deal in deals
    ]
    repeats = keep_repeats(campaign, work, workers, _report) if with_repeat else None
    views = []
    for index, scored in enumerate(zip(*found, strict=True)):
        rows, columns = scored[0].shape
        patients = set(scored[0].table.patient.tolist())
        half = _half_of(half_of, patients.pop()) if patients else 0
        seen = np.zeros((len(scored[0].slices), rows, columns), np.float32)
        if repeats:
            seen = repeats[index][scored[0].slices, :rows, :columns]
        views.append(View(index, half, dict(zip(deals, scored, strict=True)), seen))
    return views


def _half_of(half_of: dict[str, int], patient: str) -> int:
    return half_of.get(patient, crc32(patient.encode()) % HALVES)


def _list_judges(half_of: dict[str, int], deal: Deal, patient: str) -> list[str]:
    return [fold.name for fold in list_folds(deal) if fold.half == _half_of(half_of, patient)]


def judge(views: Sequence[View], judges: Judges) -> Iterator[Judged]:
    """Every forged place by the networks that saw neither its method nor its touch-up nor its patient."""
    for half in range(HALVES):
        own = [view for view in views if view.half == half and len(view.any.table)]
        cells: dict[tuple[Fold, ...], set[tuple[str, str]]] = {}
        for cell in itertools.product(METHODS, TOUCH_UPS):
            cells.setdefault(tuple(find_fold(deal, half, *cell) for deal in judges.deals), set()).add(cell)
        if own:
            for folds, judged in cells.items():
                yield from _judge_cells(folds, judged, own, judges.repeat)


def _judge_cells(
    folds: Sequence[Fold], cells: set[tuple[str, str]], views: Sequence[View], with_repeat: bool
) -> Iterator[Judged]:
    joined, alone, pixels, overlaps = [], [], {}, {}
    for view in views:
        added = weigh_repeat(view.repeat) if with_repeat else 0
        whole, own = view.average(folds, AVERAGED), np.full(len(view.any.table), view.index)
        for which, values in ((joined, whole), (alone, view.average(folds, ALONE))):
            which.append(replace(view.any.table, score=view.any.score_places(values + added), case=own))
        for change in view.any.changes:
            if (change.method, change.touch_up) in cells:
                key = (view.index, change.z, change.method, change.touch_up)
                overlaps[key], pixels[key] = _overlap(view.any, whole, change), change.pixels
    tables = reduce(join_tables, joined), reduce(join_tables, alone)
    wins = [_shares_below(table, lambda t: t.score) for table in tables]
    content = _shares_below(tables[0], lambda t: t.centre_hu)
    for key, share in wins[0].items():
        method, touch_up, kind, patient = key[2:]
        if (method, touch_up) in cells:
            yield Judged(method, touch_up, kind, patient, share, wins[1][key], content[key],
                         overlaps.get(key[:4], np.nan), pixels.get(key[:4], np.nan))


def weigh_repeat(strength: np.ndarray) -> np.ndarray:
    """Log odds that standard deviations of no repeat add: the log likelihood of a normal deviate beyond the mark."""
    return np.clip((strength**2 - REPEAT_FROM**2) / 2, 0, REPEAT_MOST)


def _overlap(scored: Scored, values: np.ndarray, change: Change) -> float:
    """Of the patch marked at a label and the visible change there, within the lungs' cells."""
    at = int(np.searchsorted(scored.slices, change.z))
    patch = mark_patch(ScoreMap(values, MAP_STRIDE_PX, MAP_ORIGIN_PX), at, change.y, change.x, scored.spacing_mm)
    return overlap(patch, change.cells & np.isfinite(values[at]))


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
    cells = _by_cell(judged)
    yield "Each cell: location AUC (brightness alone), mean IoU, n."
    yield ""
    yield f"| | {' | '.join(TOUCH_UPS)} | all |"
    yield f"|---|{'---|' * (len(TOUCH_UPS) + 1)}"
    for method in METHODS:
        row = [_cell(cells[method, t]) for t in TOUCH_UPS]
        yield f"| {method} | {' | '.join(row)} | {_cell([j for j in judged if j.method == method])} |"
    columns = [_cell([j for j in judged if j.touch_up == t]) for t in TOUCH_UPS]
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
    for low, high in pairwise(SIZES_PX):
        own = [j for j in judged if low <= j.pixels < high]
        words = f"{low} pixels or more changed" if high == np.inf else f"{low} to {high - 1} pixels changed"
        for told, name in (("AUC", "joined"), ("IoU", "iou")):
            yield _margin(f"{told} where {words}", name, own, _by_cell(own))
    for touch_up in ("copied", "matched"):
        own = [j for j in judged if j.touch_up == touch_up]
        for words, name in (("averaged along z", "joined"), ("one slice", "single")):
            yield _margin(f"AUC of touch-up {touch_up}, {words}", name, own,
                          {k: v for k, v in cells.items() if k[1] == touch_up})


def _by_cell(judged: Sequence[Judged]) -> dict[tuple[str, str], list[Judged]]:
    cells = itertools.product(METHODS, TOUCH_UPS)
    return {cell: [j for j in judged if (j.method, j.touch_up) == cell] for cell in cells}


def tabulate_tries(tries: Sequence[tuple[Judges, Sequence[Judged]]]) -> Iterator[str]:
    """A row for each way of judging that was tried."""
    yield "| judged by | AUC over cells | over places, 95 % interval | n | IoU over cells | over places | n |"
    yield "|---|---|---|---|---|---|---|"
    for judges, judged in tries:
        cells = _by_cell(judged)
        told = [_figures(name, judged, cells) for name in ("joined", "iou")]
        row = " | ".join(f"{mean} | {over} | {n}" for mean, _, over, n in told)
        yield f"| {judges.words} | {row} |"


def _cell(own: Sequence[Judged]) -> str:
    shares, content, ious = (_finite(own, name) for name in ("joined", "content", "iou"))
    if not len(shares):
        return "–" if not len(own) else f"–, {_two(ious)}, {len(own)}"
    return f"{_two(shares)} ({_two(content)}), {_two(ious)}, {len(own)}"


def _margin(words: str, name: str, judged: Sequence[Judged], cells: dict[tuple[str, str], list[Judged]]) -> str:
    return f"| {words} | {' | '.join(_figures(name, judged, cells))} |"


def _figures(
    name: str, judged: Sequence[Judged], cells: dict[tuple[str, str], list[Judged]]
) -> tuple[str, str, str, str]:
    """Mean over cells, how many of them, mean over places with its interval, how many of those."""
    means = [_finite(own, name).mean() for own in cells.values() if len(_finite(own, name))]
    values = np.array([getattr(j, name) for j in judged])
    kept = np.isfinite(values)
    patients = np.array([j.patient for j in judged])[kept]
    low, high = _over_patients(values[kept], patients)
    return (f"{np.mean(means):.3f}", str(len(means)), f"{values[kept].mean():.3f} ({low:.3f} to {high:.3f})",
            str(int(kept.sum())))


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
    parser.add_argument("--tries", nargs="+", choices=TRIED, default=list(TRIED),
                        help="by which networks, the last with its matrix (default all)")
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
    chosen = [TRIED[name] for name in options.tries]
    deals = [deal for deal in (TOGETHER, APART) if any(deal in judges.deals for judges in chosen)]
    networks = fit_all(deals, scans, half_of, options.work, recipe, options.workers)
    views = view_campaign(options.campaign, options.work, networks, half_of, options.workers,
                          with_repeat=any(judges.repeat for judges in chosen))
    tries = [(judges, list(judge(views, judges))) for judges in chosen]
    table = "\n".join([*tabulate_tries(tries), "", f"By the last of them ({chosen[-1].words}):", "",
                       *tabulate(tries[-1][1])])
    print(table)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(replace_part(text, START, END, f"\n\n{table}\n\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
