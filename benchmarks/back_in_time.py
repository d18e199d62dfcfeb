"""Back-in-Time Diffusion against its rivals: a design campaign, a judged one, and the published fakes, in one table.

Run from the project folder, after one training for each model of the table:

    train() { verict train back-in-time --data ../shared/data --unjudged --out MODELS/$1 --work W/$1 $2; }
    for r in small small-published-window small-fine-steps denoiser autoencoder; do train $r "--recipe $r"; done
    for r in small-long medium large large-published-window; do train $r "--recipe $r --device cuda"; done
    train narrow "--recipe narrow --steps 4500"; train short "--steps 4500"
    train chests-only "--steps 4500 --patients 0"
    for n in 7 14 27; do train patients-$n "--steps 4500 --patients $n --chests 0"; done
    python benchmarks/back_in_time.py --models MODELS --design CAMPAIGN --judged CAMPAIGN --data ../shared/data
        --work DIR --ledger docs/real_fakes_ledger.csv --write docs/back-in-time.md

DIR is a scratch folder; a killed run goes on. Every row that is judged on the published fakes adds its line to the
ledger. No network learnt from a patient of either campaign, from the simulated
chests they are made of, or from the fakes' scans.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from fusion_gain import measure_gain
from kept_slices import KeptSlices, keep_files
from residual_cells import Collection, Maps, keep_cells, read_maps
from unsupervised_spectrum import Gaussian, fit_gaussian, keep_maps

from verict.detect.back_in_time import NAME, Denoise, Reading, read_card_input, score_slice
from verict.detect.localiser import score_channels
from verict.detect.localiser_features import slice_channels
from verict.detect.model import load_model
from verict.detect.spectrum_features import ORIGIN_PX, STRIDE_PX
from verict.documents import replace_part
from verict.evaluation import ledger as real_fakes
from verict.evaluation.places import PlaceTable
from verict.statistics import Figure, area_over_patients, matched_area, mean_over_matches, tell_apart
from verict.weights import open_session

METHODS = ("ctgan", "diffusion", "splice", "splice-poisson", "copy-move", "inpaint", "parametric")
TOUCH_UPS = ("none", "jpeg2000", "resampled", "white", "zoomed", "copied", "matched")
START, END = "<!-- back-in-time: start -->", "<!-- back-in-time: end -->"
LEARNT = "tcga-singles"  # the real scans that were learnt from
TIMED = 40  # slices
DESIGN, JUDGED, FAKES = EVERYWHERE = "design campaign", "judged campaign", "published fakes"
STEPS = {0: (DESIGN, FAKES), 19: EVERYWHERE, 99: (DESIGN, FAKES)}
NOTHING = (Figure(None, None, None, 0),) * 2
SHIPPED, LUNG, PUBLISHED = "small-long", "small", "small-published-window"


@dataclass(frozen=True)
class Row:
    """A row of the table: a model, or what stands in its place, and how its residual is read.

    ``only_compared``: cells are made of the slices that hold a place which is compared, since the network is slow.
    """

    words: str
    model: str = ""
    change: tuple[tuple[str, object], ...] = ()
    on: tuple[str, ...] = EVERYWHERE
    only_compared: bool = False

    def read(self, reading: Reading) -> Reading:
        """The card's reading with what differs here."""
        return replace(reading, **dict(self.change))


RAW = (("step", 19), ("brightness_bins", 0), ("is_two_sided", False))
VARIED = {  # what a network is, by the folder of its model
    "narrow": "59,788 parameters, 72,000 crops",
    "short": "235,028 parameters, 72,000 crops",
    "patients-7": "the same, of 7 patients and no simulated chest",
    "patients-14": "the same, of 14 patients and no simulated chest",
    "patients-27": "the same, of all 27 patients and no simulated chest",
    "chests-only": "the same, of simulated chests only",
    "medium": "931,876 parameters, 659,200 crops",
    "large": "published network, 9,190,977 parameters, lung window, 115,200 crops of 96 px",
    "large-published-window": "published network, published window, 121,600 crops of 96 px",
}
ROWS = (
    Row("shipped: lung window, 1,216,000 crops, step 0", SHIPPED, (("step", 0),)),
    Row("the same, step 19", SHIPPED, (("step", 19),)),
    *(Row(f"lung window, 128,000 crops, step {step}", LUNG, (("step", step),), on) for step, on in STEPS.items()),
    *(Row(f"published window, 128,000 crops, step {step}", PUBLISHED, (("step", step),), on)
      for step, on in STEPS.items()),
    *(Row(f"{words}, step {step}", model, (("step", step),), (DESIGN, FAKES), only_compared=True)
      for model, words in VARIED.items() for step in (0, 19)),
    Row("lung window, 128,000 crops, residual as it is, larger = more suspicious", LUNG, RAW),
    Row("published window, 128,000 crops, residual as it is, larger = more suspicious", PUBLISHED, RAW),
    Row("published network and window, residual as it is, larger = more suspicious", "large-published-window", RAW,
        (DESIGN, FAKES), only_compared=True),
    Row("published network, lung window, residual as it is, larger = more suspicious", "large", RAW,
        (DESIGN, FAKES), only_compared=True),
    Row("lung window, against the slice's median, larger = more suspicious", LUNG,
        (("step", 19), ("brightness_bins", 1), ("is_two_sided", False))),
    Row("lung window, against the slice's median, two-sided", LUNG, (("step", 19), ("brightness_bins", 1))),
    Row("lung window, learnt from steps 0 to 99 only, step 19", "small-fine-steps", (("step", 19),), (DESIGN, FAKES)),
    Row("autoencoder", "autoencoder"),
    Row("denoising U-Net, no diffusion", "denoiser"),
    Row("spectrum, unsupervised"),
    Row("brightness alone"),
)


@dataclass(frozen=True, eq=False)
class Judge:
    """A model as it was trained: what it makes of tiles, and how its card reads them."""

    name: str
    denoise: Denoise
    reading: Reading
    card: dict

    @property
    def identity(self) -> str:
        """Its weights, in sixteen digits."""
        return str(self.card["sha256"][:16])


def open_judge(folder: Path) -> Judge:
    """A model from the folder its training wrote."""
    card = json.loads((folder / f"{NAME}.json").read_text(encoding="utf-8"))
    session = open_session(folder / f"{NAME}.onnx", card["sha256"])

    def denoise(tiles: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return session.run(None, {"tiles": tiles, "step": steps})[0]

    return Judge(folder.name, denoise, read_card_input(card), card)


class Bench:
    """Collections and models, and the tables of places they give.

    Parameters
    ----------
    options
        The command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.work = options.work
        self.judges = {row.model: open_judge(options.models / row.model) for row in ROWS if row.model}
        authentic = keep_files(options.data / "authentic", self.work, _report)
        self.untouched = [f for f in authentic if _folder_of(f) != LEARNT]
        self.learnt = [f for f in authentic if _folder_of(f) == LEARNT]
        self.collections = {
            DESIGN: Collection(keep_files(options.design, self.work, _report)),
            JUDGED: Collection(keep_files(options.judged, self.work, _report)),
            FAKES: Collection([*keep_files(options.data / "ctgan", self.work, _report), *self.untouched]),
        }
        self._gaussian: Gaussian | None = None

    def score(self, row: Row, name: str) -> np.ndarray:
        """(places,) of a collection."""
        collection = self.collections[name]
        if row.words == "brightness alone":
            return np.asarray(collection.table.centre_hu)
        if row.words == "spectrum, unsupervised":
            if self._gaussian is None:
                self._gaussian = fit_gaussian(_read(self.learnt))
            gaussian = self._gaussian
            folder = self.work / "gaussian"  # files of two sources may have one name
            return collection.score(
                lambda index: keep_maps(file := collection.files[index], folder / file.parent.name, gaussian),
                (STRIDE_PX, ORIGIN_PX),
            )
        judge = self.judges[row.model]
        reading = row.read(judge.reading)

        def read(index: int) -> Maps:
            file = collection.files[index]
            folder = self.work / f"cells-{judge.identity}-{reading.step}" / file.parent.name
            only = collection.compared(index) if row.only_compared else None
            return read_maps(keep_cells(file, folder, judge.denoise, reading, only), reading)

        return collection.score(read)


def measure(collection: Collection, scores: np.ndarray) -> tuple[Figure, Figure]:
    """Areas of removals against untouched lung of their slices, and of injections against their matches."""
    patients, removed, lung = collection.table.patient, collection.removed, collection.lung
    rows = np.concatenate([removed, lung])
    own, other = collection.injected, collection.matches
    return (
        area_over_patients(scores[rows], np.arange(len(rows)) < len(removed), patients[rows], seed=1),
        matched_area((scores[own], scores[other]), (patients[own], patients[other]), collection.is_match, seed=1),
    )


def list_rows(found: Mapping[tuple[str, str], tuple[Figure, Figure]]) -> Iterator[str]:
    """The table of all rows and collections."""
    heads = [f"{name}, {kind}" for name in EVERYWHERE for kind in ("FB", "FM")]
    yield f"| | {' | '.join(heads)} |"
    yield "|---" * (len(heads) + 1) + "|"
    for row in ROWS:
        pairs = (found.get((row.words, name), NOTHING) for name in EVERYWHERE)
        figures = [figure for pair in pairs for figure in pair]
        yield f"| {row.words} | {' | '.join(map(say, figures))} |"
    yield ("| Grabovski et al.: LIDC CT and MRI averaged, their own injections and removals by CT-GAN, whole crops | "
           "– | – | – | – | 0.96 | 0.90 |")


def say(figure: Figure) -> str:
    """Value, interval and n."""
    if figure.value is None or figure.low is None or figure.high is None:
        return "–"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f}), {figure.n}"


def list_cells(collection: Collection, scores: Sequence[np.ndarray]) -> Iterator[str]:
    """Method x touch-up of the judged campaign: each score's area, and how many places."""
    shares = [_shares_below(collection, one) for one in scores]
    yield f"| | {' | '.join(TOUCH_UPS)} | all |"
    yield "|---" * (len(TOUCH_UPS) + 2) + "|"
    for method in (*METHODS, "all"):
        cells = [_cell(shares, collection.table, method, touch_up) for touch_up in (*TOUCH_UPS, "all")]
        yield f"| {method} | {' | '.join(cells)} |"


def list_margins(collection: Collection, scores: Sequence[np.ndarray]) -> Iterator[str]:
    """Each method and touch-up with an interval over patients: each score's area."""
    shares = [_shares_below(collection, one) for one in scores]
    table = collection.table
    yield "| forged by | shipped | lung window, 128,000 crops | published window, 128,000 crops |"
    yield "|---|---|---|---|"
    for values, names in ((table.method, METHODS), (table.touch_up, TOUCH_UPS)):
        for name in names:
            chosen = np.isfinite(shares[0]) & (values == name)
            told = [mean_share(share[chosen], table.patient[chosen]) for share in shares]
            yield f"| {name} | {' | '.join(map(say, told))} |"


def mean_share(values: np.ndarray, patients: np.ndarray) -> Figure:
    """Mean of shares with a percentile interval from a bootstrap over patients."""
    return mean_over_matches(values[:, None] * np.ones((1, len(values))), (patients, patients),
                             np.eye(len(values), dtype=bool), seed=1)


def _shares_below(collection: Collection, scores: np.ndarray) -> np.ndarray:
    """(places,) share of a forged place's lookalikes that score lower; NaN where it has none, or is not forged."""
    share = np.full(len(scores), np.nan)
    share[collection.removed] = tell_apart(scores[collection.removed], scores[collection.lung]).mean(axis=1)
    gain = tell_apart(scores[collection.injected], scores[collection.matches])
    for index, row in enumerate(collection.injected):
        if collection.is_match[index].any():
            share[row] = gain[index, collection.is_match[index]].mean()
    return share


def _cell(shares: Sequence[np.ndarray], table: PlaceTable, method: str, touch_up: str) -> str:
    chosen = np.isfinite(shares[0])
    for values, wanted in ((table.method, method), (table.touch_up, touch_up)):
        if wanted != "all":
            chosen &= values == wanted
    if not chosen.any():
        return "–"
    return f"{' / '.join(f'{share[chosen].mean():.2f}' for share in shares)}, {int(chosen.sum())}"


def time_slices(files: Sequence[Path], judge: Judge) -> str:
    """CPU time of a slice with lung, one thread, as a ratio to the localiser's in the same run."""
    localiser, own, other = load_model("localiser"), [], []
    for kept in _read(files):
        spacing = kept.subject.geometry.spacing_mm[1:]
        for hu, mask in kept.slices.values():
            if len(own) <= TIMED and mask.any():
                start = time.process_time()
                score_slice(hu, mask, judge.denoise, judge.reading)
                between = time.process_time()
                score_channels(slice_channels(hu, [], mask, spacing), localiser)
                own.append(between - start)
                other.append(time.process_time() - between)
    ratio = np.median(np.array(own[1:]) / np.array(other[1:]))
    return (f"A slice costs {ratio:.1f} times what the localiser takes for it (CPU time of one thread, median of "
            f"{len(own) - 1} slices timed in turn: {1000 * np.median(own[1:]):.0f} ms and "
            f"{1000 * np.median(other[1:]):.0f} ms).")


def _folder_of(file: Path) -> str:
    return next(_read([file])).subject.folder


def _read(files: Sequence[Path]) -> Iterator[KeptSlices]:
    return (pickle.loads(file.read_bytes()) for file in files)


def _report(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{what} {done}/{total}\x1b[K", end="", file=sys.stderr, flush=True)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder with a trained model for each recipe")
    parser.add_argument("--design", type=Path, required=True, help="campaign that step and norm were chosen on")
    parser.add_argument("--judged", type=Path, required=True, help="campaign that is judged")
    parser.add_argument("--data", type=Path, required=True, help="folder with authentic/ and ctgan/")
    parser.add_argument("--work", type=Path, required=True, help="scratch folder")
    parser.add_argument("--ledger", type=Path, required=True, help="CSV that gets a line for each row")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help=f"put the tables between {START} and {END}")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write, and leave lines in the ledger."""
    options = read_options()
    real_fakes.check_ledger(options.ledger)
    bench = Bench(options)
    found = {}
    for row in sorted(ROWS, key=lambda r: -len(r.on)):
        for name in row.on:
            found[row.words, name] = measure(bench.collections[name], bench.score(row, name))
            print(f"{row.words}; {name}: {'; '.join(map(say, found[row.words, name]))}", file=sys.stderr, flush=True)
        if FAKES not in row.on:
            continue
        removed, injected = found[row.words, FAKES]
        real_fakes.append_figures(
            options.ledger, {"auc_fb": removed.value, "auc_fm": injected.value},
            weights_sha256=bench.judges[row.model].card["sha256"] if row.model else "",
            what=f"benchmarks/back_in_time.py: {row.words}",
        )
        _write(options.write, describe_rows(found))  # a long run shows what it has
    chosen = {name: bench.score(ROWS[0], name) for name in bench.collections}
    others = [bench.score(Row("", model, (("step", 19),)), JUDGED) for model in (LUNG, PUBLISHED)]
    judged = bench.collections[JUDGED]
    lines = [
        *describe_rows(found), "",
        "The judged campaign by method and touch-up, removals and injections together: shipped / published window, "
        "128,000 crops, step 19; n.", "", *list_cells(judged, (chosen[JUDGED], others[1])), "",
        *list_margins(judged, (chosen[JUDGED], *others)), "",
        time_slices(bench.untouched, bench.judges[SHIPPED]), "", "Added to the fusion, each slice looked at alone:", "",
        *measure_gain(bench.collections, chosen, bench.work),
    ]
    print("\n".join(lines))
    _write(options.write, lines)


def describe_rows(found: Mapping[tuple[str, str], tuple[Figure, Figure]]) -> list[str]:
    """The table of all rows, and what it tells."""
    return [
        "AUC (95 % interval by patients), n. FB: removals against untouched lung of their slices. FM: those injections "
        "that have matches, against untouched structures of their size, surroundings and brightness.", "",
        *list_rows(found),
    ]


def _write(document: Path | None, lines: Sequence[str]) -> None:
    if document is not None:
        text = document.read_text(encoding="utf-8")
        document.write_text(replace_part(text, START, END, "\n\n" + "\n".join(lines) + "\n\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
