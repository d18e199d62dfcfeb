"""A finished experiment as one self-contained HTML page: tables, and leaky beside clean as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verict import __version__
from verict.benchmarks.table import CLEAN, LEAKY, TITLES, describe, iterate_spans, make_grids, say_leaders
from verict.report.html import GENERATOR, flatten, make_environment
from verict.report.words import LIMITS

WIDTH, LEFT, RIGHT, TOP, STEP = 840.0, 390.0, 30.0, 30.0, 26.0
MARKERS = {LEAKY: "square", CLEAN: "circle"}
APART = 5.0  # px between the two markers of a model, so that their intervals can be told apart


@dataclass(frozen=True)
class Mark:
    """One figure: where it stands, the ends of its interval, and its marker."""

    marker: str
    x: float
    y: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Line:
    """One model: its name, and its figures under each protocol."""

    words: str
    y: float
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Chart:
    """One drawing; ``words`` says every value."""

    title: str
    height: float
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]
    words: str


def to_html(document: Mapping[str, Any]) -> str:
    """The page of an experiment."""
    return make_environment().get_template("bench.html.j2").render(
        title=TITLES[document["experiment"]],
        described=describe(document).replace("`", ""),
        protocols=list(document["protocols"].items()),
        leaders=say_leaders([document]),
        charts=[chart for chart in (draw(document, "macro_f1", "Macro-F1 of the four classes"),
                                    draw(document, "accuracy", "Share of rows told rightly")) if chart is not None],
        grids=[(g.title.replace("`", ""), g.note.replace("`", ""), g.columns, g.rows) for g in make_grids([document])],
        width=WIDTH, left=LEFT, right=WIDTH - RIGHT, top=TOP,
        limits=LIMITS,
        run=list(flatten(document["run"])),
        generator=f"{GENERATOR} {__version__}",
    )  # fmt: skip


def draw(document: Mapping[str, Any], measure: str, title: str) -> Chart | None:
    """Each model's figure under both protocols on one line; None where no model has one."""
    lines, words = [], []
    for index, (name, figures) in enumerate(iterate_spans([document], measure)):
        y = TOP + STEP * (index + 0.5)
        lines.append(Line(name, y, tuple(_place(protocol, figure, y) for protocol, figure in figures.items())))
        words.append(f"{name}: " + ", ".join(f"{p} {figure['value']:.2f}" for p, figure in figures.items()))
    if not lines:
        return None
    ticks = tuple((_x(share / 4), f"{share / 4:g}") for share in range(5))
    return Chart(title, TOP + STEP * len(lines) + 34, tuple(lines), ticks, f"{title}. {'; '.join(words)}.")


def _place(protocol: str, figure: Mapping[str, Any], y: float) -> Mark:
    low, high = (None, None) if figure["interval"] is None else (_x(value) for value in figure["interval"])
    return Mark(MARKERS[protocol], _x(figure["value"]), y + (APART if protocol == CLEAN else -APART), low, high)


def _x(share: float) -> float:
    return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)
