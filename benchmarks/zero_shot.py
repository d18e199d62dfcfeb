"""The localiser on the published real fakes, having learnt from none of them.

Once with the lab's CT-GAN among what is learnt from, once without anything that resamples or adds noise as CT-GAN does.
Run from the project folder. No slice of the fakes' scans is learnt from, not even their untouched parts. Every run adds
a line for each network to the ledger.

    python benchmarks/zero_shot.py --data ../shared/data --work DIR --ledger docs/real_fakes_ledger.csv --write
    docs/localiser.md

DIR is the scratch folder of `verict train localiser`, whose examples are used, or a new one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch

from verict.datasets.scans import Source
from verict.detect.evidence import ScoreMap
from verict.detect.localiser import MAP_ORIGIN_PX, MAP_STRIDE_PX
from verict.documents import replace_part
from verict.evaluation import ledger as real_fakes
from verict.evaluation.case import Case, Seen
from verict.evaluation.conclusions import find_figure
from verict.evaluation.fair import RANKED_ONLY
from verict.evaluation.measure import measure
from verict.evaluation.result import Evaluation
from verict.evaluation.subjects import make_subject
from verict.training.localiser.bank import Maker, Tags
from verict.training.localiser.designs import make_network
from verict.training.localiser.fit import FitRecipe, fit
from verict.training.localiser.scoring import KeptScans
from verict.training.localiser.shards import Bank, is_complete
from verict.training.localiser.sources import Stock, gather_stock, read_sources
from verict.training.localiser.train import LocaliserRecipe
from verict.training.samples import REAL_FAKES

START, END = "<!-- zero-shot: start -->", "<!-- zero-shot: end -->"
WITHOUT = {
    "no real fake": (),
    "nor anything that resamples or adds noise as CT-GAN does": ("ctgan", "white", "zoomed", "copied"),
}
ROWS = (
    ("FB against untouched lung, AUC", ("auc", "fb_parenchyma")),
    ("FM against matched structures, AUC", ("auc", "fm_dense")),
    ("FM against every bright structure, AUC", ("auc", "fm_bright")),
    ("pooled, AUC", ("auc", "pooled")),
    ("found where 1 % of untouched places are marked", ("sensitivity_at_fpr", "0.01")),
    ("FB found where 1 % of lung places are", ("sensitivity_at_fpr_by_kind", "fb", "0.01")),
    ("FM found where 1 % of the matches are", ("sensitivity_at_fpr_by_kind", "fm", "0.01")),
)
_BANK: Bank | None = None  # of a process that fits; inherited
_KEEP: dict[str, Callable[[Tags], bool]] = {}


def may_learn(fakes: set[str], left_out: Sequence[str]) -> Callable[[Tags], bool]:
    """Nothing of the fakes' scans, and nothing made by or akin to what is left out."""

    def keep(tags: Tags) -> bool:
        return not (tags.what == "real" or tags.folder == REAL_FAKES or fakes & set(tags.patients)
                    or set(left_out) & set(tags.akin))

    return keep


def _fit_one(name: str, file: Path, recipe: FitRecipe, seed: int) -> dict[str, torch.Tensor]:
    assert _BANK is not None
    return fit(_BANK, _KEEP[name], file, recipe, seed, lambda *_: None)[0].state_dict()


def tabulate(evaluations: dict[str, Evaluation]) -> str:
    """A row for each figure, a column for each network, brightness beside."""
    lines = [f"| learnt from | {' | '.join(evaluations)} | n | brightness alone |", "|---" * (len(WITHOUT) + 3) + "|"]
    for words, path in ROWS:
        found = [find_figure(e.figures, *path) for e in evaluations.values()]
        content = find_figure(next(iter(evaluations.values())).figures, "content_only", *path)
        cells = ["–" if f is None or f.figure.value is None else
                 f"{f.figure.value:.3f} ({f.figure.low:.3f} to {f.figure.high:.3f})" for f in found]
        n = next((f.figure.n for f in found if f is not None), 0)
        if not n:
            continue  # matches are untouched structures of authentic scans, too, which these networks did learn from
        alone = "–" if content is None or content.figure.value is None else f"{content.figure.value:.3f}"
        lines.append(f"| {words} | {' | '.join(cells)} | {n} | {alone} |")
    return "\n".join(lines)


def _report(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{what} {done}/{total}\x1b[K", end="", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, judge, print, write, and leave lines in the ledger."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with authentic/ and ctgan/")
    parser.add_argument("--work", type=Path, required=True, help="scratch folder")
    parser.add_argument("--ledger", type=Path, required=True, help="CSV that gets a line for each network")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help=f"put the table between {START} and {END}")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    real_fakes.check_ledger(options.ledger)
    recipe = LocaliserRecipe()
    recipe = replace(recipe, fit=replace(recipe.fit, real_share=0.0))
    scans = read_sources(options.data, recipe.chests, recipe.seed, options.work, _report)
    folder = options.work / f"bank-{recipe.seed}-{recipe.chests}"
    if not is_complete(folder, recipe.shards):
        maker = Maker(gather_stock(scans, recipe.seed, _report), recipe.seed)
        with Bank(maker, folder, recipe.shards, options.workers) as bank:
            for index in range(-1, bank.count):
                bank.read(index)
    global _BANK  # handed to the processes by fork, without a copy
    _BANK = Bank(Maker(Stock((), (), ()), recipe.seed), folder, recipe.shards, 0)
    fakes = [s for s in scans if s.source is Source.LABELLED]
    _KEEP.update({name: may_learn({s.patient for s in fakes}, out) for name, out in WITHOUT.items()})
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("fork")) as pool:
        jobs = {name: pool.submit(_fit_one, name, options.work / f"zero-shot-{number}.pt", recipe.fit, recipe.seed)
                for number, name in enumerate(WITHOUT)}
        states = {name: job.result() for name, job in jobs.items()}
    kept = KeptScans(fakes, options.work / "fakes", options.workers, _report)
    evaluations = {}
    for name, state in states.items():
        network = make_network(recipe.fit.network)
        network.load_state_dict(state)
        network.eval()
        cases = [Case(make_subject(scan, 1), ScoreMap(kept.score(i, network), MAP_STRIDE_PX, MAP_ORIGIN_PX),
                      RANKED_ONLY, Seen.UNSEEN) for i, scan in enumerate(fakes)]
        evaluations[name] = measure(cases, "localiser", seed=1)
        figures = {key: find_figure(evaluations[name].figures, *path) for key, path in real_fakes.FIGURES.items()}
        values = {key: None if f is None or path[0] == "frozen" else f.figure.value
                  for (key, path), f in zip(real_fakes.FIGURES.items(), figures.values(), strict=True)}
        real_fakes.append_figures(options.ledger, values, weights_sha256="", what=f"zero_shot localiser: {name}")
    table = tabulate(evaluations)
    print(table)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(replace_part(text, START, END, f"\n\n{table}\n\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
