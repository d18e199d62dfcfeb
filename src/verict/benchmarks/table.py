"""A finished experiment, or several together, as tables: for Markdown, for the page and for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from verict.benchmarks.entries import Experiment
from verict.benchmarks.figures import QUESTIONS, find_leaders
from verict.detect.four_classes import CLASSES
from verict.errors import say_count

ABSENT = "–"
TITLES = {
    Experiment.COMPARATIVE: "Comparative study",
    Experiment.STUDENT: "Student project",
    Experiment.DETECTORS: "verict's detectors",
}
COLUMN_WORDS = {"removed": "FB or TB", "injected": "FM or TM"}
PLACE_WORDS = {"fb_parenchyma": "FB against untouched lung", "fm_dense": "FM against matched untouched structures",
               "pooled": "FB and FM against everything untouched"}  # fmt: skip
CLASSES_TITLE, TAMPERED_TITLE = "Which of the four classes", "Tampered?"
TERMINAL = {CLASSES_TITLE: 4, TAMPERED_TITLE: 5}
"""What a terminal shows, and how many columns of it."""
REPEATS = {1: "once", 2: "twice"}
LEAKY, CLEAN = "leaky", "clean"
FIRST_COLUMN = 26  # characters of a terminal, so that the figures have room
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Grid:
    """One table: a title, what to know of it, column titles, rows of text; the first column names the row."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def describe(document: Document) -> str:
    """What was run on what, in sentences."""
    data, options = document["data"], document["run"]["options"]
    kinds = ", ".join(f"{number} {kind}" for kind, number in data["kinds"].items())
    text = (f"{say_count(data['rows'], 'row')} ({kinds}) in {say_count(data['scans'], 'scan')} of "
            f"{say_count(data['patients'], 'patient')}, {say_count(data['slices'], 'slice')}, data "
            f"`{data['sha256'][:16]}`; {say_count(data['unplaced'], 'row names', 'rows name')} no place.")  # fmt: skip
    if document["experiment"] == Experiment.DETECTORS:
        of = f" Judged on {say_count(options['scans'], 'scan')} of them, drawn at random." if options["scans"] else ""
        return f"{text}{of}{_describe_seen(document)} Seed {options['seed']}."
    tuning = options["tuning"]
    dealt = REPEATS.get(options["repeats"]) or f"{options['repeats']} times"
    text += f" {options['folds']} folds, dealt {dealt}, seed {options['seed']}."
    text += f" Networks: {say_count(tuning['epochs'], 'pass', 'passes')} over the training rows"
    if document["experiment"] == Experiment.COMPARATIVE:
        start = "random weights" if options["init"] else "weights of ImageNet"
        copies = say_count(options["copies"], "turned copy", "turned copies")
        text += (f" with {copies} of each, windows of {tuning['window_px']} px, starting from "
                 f"{start}")  # fmt: skip
    return f"{text}; on {tuning['device']}."


def _describe_seen(document: Document) -> str:
    """Of how many scans the shipped models may know something: only there can leaky and clean differ."""
    seen = [model["seen"] for model in document["models"] if model.get("seen")]
    if not seen:
        return ""
    known = max(own.get("in_sample", 0) + own.get("out_of_fold", 0) for own in seen)
    judged = say_count(max(sum(own.values()) for own in seen), "scan")
    return f" The shipped models were fitted on patients of {known} of {judged}: only there can the protocols differ."


def make_grids(documents: Sequence[Document]) -> list[Grid]:
    """Every table, those of several experiments under each other: classes, "tampered?", each class, cost."""
    rows: list[_Row] = []
    for document in documents:
        known = {row.words for row in rows}
        own = [_Row.of(document, name) for name in _names(document)]
        rows += [replace(r, words=f"{r.words} ({document['experiment']})") if r.words in known else r for r in own]
    grids = [_grid_classes(rows), _grid_tampered(rows), _grid_each(rows), _grid_cost(rows),
             *(_grid_places(d) for d in documents if d["places"])]  # fmt: skip
    return [grid for grid in grids if grid.rows]


def say_leaders(documents: Sequence[Document]) -> list[str]:
    """Who leads each column that asks "tampered?" under each protocol, one sentence each."""
    models = [model for document in documents for model in document["models"]]
    own = {m["model"] for d in documents if d["experiment"] == Experiment.DETECTORS for m in d["models"]}
    sentences = []
    for protocol in (LEAKY, CLEAN):
        for name, leaders in find_leaders(models, protocol).items():
            words = list(dict.fromkeys(m["words"] for m in leaders))
            verb = "leads" if len(words) == 1 else "lead"
            whose = "of verict" if any(m["model"] in own for m in leaders) else "none of them a detector of verict"
            sentences.append(f"{COLUMN_WORDS[name]}, {protocol}: {'; '.join(words)} {verb} with "
                             f"{_say(leaders[0]['areas'][name])}{f', {whose}' if own else ''}.")  # fmt: skip
    return sentences


def to_markdown(documents: Sequence[Document]) -> str:
    """All tables in Markdown, with what was run above and who leads below."""
    lines: list[str] = []
    for document in documents:
        lines += [f"**{TITLES[document['experiment']]}.** {describe(document)}", ""]
    for grid in make_grids(documents):
        lines += [f"### {grid.title}", "", *([grid.note, ""] if grid.note else []),
                  f"| {' | '.join(grid.columns)} |", "|" + "---|" * len(grid.columns)]  # fmt: skip
        lines += [f"| {' | '.join(row)} |" for row in grid.rows]
        lines.append("")
    lines += ["Who leads:", "", *(f"- {sentence}" for sentence in say_leaders(documents))]
    return "\n".join(lines)


def render(document: Document) -> RenderableType:
    """The first two tables and who leads, for a terminal."""
    parts: list[RenderableType] = [Text(describe(document))]
    grids = {grid.title: grid for grid in make_grids([document])}
    for title, shown in TERMINAL.items():
        if title in grids:
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", title=title, title_justify="left")
            for index, column in enumerate(grids[title].columns[:shown]):
                table.add_column(column, overflow="fold", width=None if index else FIRST_COLUMN)
            for row in grids[title].rows:
                table.add_row(*row[:shown])
            parts.append(table)
    parts += [Text(sentence) for sentence in say_leaders([document])]
    return Group(*parts, Text("Intervals are 95 %. Each class, costs and plots: results.md and results.html.", "dim"))


@dataclass(frozen=True)
class _Row:
    """One model with its figures by protocol; ``gap`` where both were run."""

    words: str
    figures: Mapping[str, Mapping[str, Any]]
    gap: Mapping[str, Any]

    @classmethod
    def of(cls, document: Document, name: str) -> _Row:
        own = {m["protocol"]: m for m in document["models"] if m["model"] == name}
        gap: Mapping[str, Any] = next((g for g in document["gaps"] if g["model"] == name), {})
        words = next(iter(own.values()))["words"]
        return cls(f"verict: {words}" if document["experiment"] == Experiment.DETECTORS else words, own, gap)

    def find(self, protocol: str, *path: str) -> Any:
        """A value by its path, None where any part of it is missing."""
        value: Any = self.figures.get(protocol)
        for key in path:
            value = None if value is None else value[key]
        return value


def _names(document: Document) -> list[str]:
    return list(dict.fromkeys(model["model"] for model in document["models"]))


def _grid_classes(rows: Sequence[_Row]) -> Grid:
    note = ("Mean F1 of the four classes; 95 % intervals are bootstraps over patients, and for the gap over the same "
            "patients under both protocols. Judged: items, leaky / clean.")  # fmt: skip
    told = []
    for row in rows:
        if any(row.find(protocol, "macro_f1") for protocol in row.figures):
            told.append((
                row.words, _say(row.find(LEAKY, "macro_f1")), _say(row.find(CLEAN, "macro_f1")),
                _say(row.gap.get("macro_f1"), signed=True), _short(row.find(LEAKY, "accuracy")),
                _short(row.find(CLEAN, "accuracy")), _n(row),
            ))  # fmt: skip
    columns = ("model", "macro-F1, leaky", "macro-F1, clean", "leaky − clean", "accuracy, leaky", "accuracy, clean",
               "judged")  # fmt: skip
    return Grid(CLASSES_TITLE, note, columns, tuple(told))


def _grid_tampered(rows: Sequence[_Row]) -> Grid:
    note = ('Area under the curve of "tampered?" between places that look alike but for the paint: FB or TB, a removed '
            "cancer or untouched lung; FM or TM, an injected cancer or a real nodule. 0.5 is chance. FB against FM "
            "would only ask whether a nodule is to be seen.")  # fmt: skip
    columns = ["model"]
    for name in QUESTIONS:
        columns += [f"{COLUMN_WORDS[name]}, {protocol}" for protocol in (LEAKY, CLEAN)]
    told = []
    for row in rows:
        cells = [_say(row.find(protocol, "areas", name)) for name in QUESTIONS for protocol in (LEAKY, CLEAN)]
        told.append((row.words, *cells))
    return Grid(TAMPERED_TITLE, note, tuple(columns), tuple(told))


def _grid_each(rows: Sequence[_Row]) -> Grid:
    told = []
    for row in rows:
        classes = row.find(CLEAN, "classes")
        if classes:
            told.append((row.words, *(_pair(classes[str(kind)]) for kind in CLASSES)))
    return Grid("Each class, clean", "Precision, recall.", ("model", *map(str, CLASSES)), tuple(told))


def _grid_cost(rows: Sequence[_Row]) -> Grid:
    note = ("Of one fold, or of one scan for detectors: items learnt from, CPU seconds of fitting (detectors: of "
            "judging), highest memory of the whole process.")  # fmt: skip
    costs = [[row.find(protocol, "cost") for protocol in (LEAKY, CLEAN)] for row in rows]
    if any(cost and cost.get("card_mib") for both in costs for cost in both):
        note += " On a graphics card: seconds by the clock, and what was held on the card behind the plus."
    told = [(row.words, *(cell for cost in both for cell in _say_cost(cost)))
            for row, both in zip(rows, costs, strict=True)]  # fmt: skip
    columns = ("model", *(f"{what}, {protocol}" for protocol in (LEAKY, CLEAN) for what in ("items", "CPU s", "MiB")))
    return Grid("What it costs", note, columns, tuple(told))


def _grid_places(document: Document) -> Grid:
    note = "Areas at the places that `verict evaluate` chooses, each beside what brightness alone reaches there."
    told = []
    for entry in document["places"]:
        if entry["areas"]:
            cells = [f"{_say(one['detector'])}; {_short(one['content_only'])}" for one in entry["areas"].values()]
            told.append((f"{entry['model']}, {entry['protocol']}", *cells))
    return Grid("At the places of `verict evaluate`", note, ("detector", *PLACE_WORDS.values()), tuple(told))


def _say_cost(cost: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if cost is None:
        return ABSENT, ABSENT, ABSENT
    own = str(cost["peak_mib"] or ABSENT)
    if cost.get("card_mib") is None:  # also results of former versions
        return str(cost["trained_on"]), f"{cost['cpu_s']:.1f}", own
    return str(cost["trained_on"]), f"{cost['wall_s']:.1f} by the clock", f"{own} + {cost['card_mib']}"


def _n(row: _Row) -> str:
    return " / ".join(str(row.find(protocol, "n") or ABSENT) for protocol in (LEAKY, CLEAN))


def _say(figure: Mapping[str, Any] | None, *, signed: bool = False) -> str:
    if not figure or figure["value"] is None:
        return ABSENT
    sign = "+" if signed else ""
    span = "" if figure["interval"] is None else " ({:{s}.2f} to {:{s}.2f})".format(*figure["interval"], s=sign)
    return f"{figure['value']:{sign}.2f}{span}"


def _short(figure: Mapping[str, Any] | None) -> str:
    return ABSENT if not figure or figure["value"] is None else f"{figure['value']:.2f}"


def _pair(one: Mapping[str, Any]) -> str:
    return ", ".join(ABSENT if one[name] is None else f"{one[name]:.2f}" for name in ("precision", "recall"))


def iterate_spans(documents: Sequence[Document], measure: str) -> Iterator[tuple[str, dict[str, Mapping[str, Any]]]]:
    """Each model's figure by protocol where it has one: what `verict.benchmarks.page` draws."""
    for document in documents:
        for name in _names(document):
            row = _Row.of(document, name)
            figures = {p: row.find(p, measure) for p in (LEAKY, CLEAN)}
            there = {p: figure for p, figure in figures.items() if figure and figure["value"] is not None}
            if there:
                yield row.words, there
