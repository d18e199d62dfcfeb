"""The curves of an evaluation as plain numbers for inline SVG: positions, error bars, and the same in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from verict.evaluation.result import FALSE_MARKS_PER_SLICE, FALSE_POSITIVE_RATES, Measured, Tree
from verict.report.evaluation_json import REQUIRED, complete, finite_value
from verict.report.evaluation_rows import CONTENT_ONLY, say_value

WIDTH, HEIGHT = 560.0, 340.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 180.0, 16.0, 52.0  # margins; the legend stands in the right one
SIDE_STEP = 7.0  # px between the lines at one place, so that their error bars can be told apart
LEGEND_STEP = 22.0
MARKERS = ("circle", "square", "triangle", "diamond")
_PADDING = 0.25  # of the axis, each side


@dataclass(frozen=True)
class Point:
    """A figure's place in the drawing; ``low_y`` and ``high_y`` are the ends of its interval."""

    x: float
    y: float
    low_y: float | None
    high_y: float | None


@dataclass(frozen=True)
class Line:
    """One line with its marker and its place in the legend."""

    name: str
    marker: str
    points: tuple[Point, ...]
    legend_y: float

    @property
    def path(self) -> str:
        """The line as path data."""
        return "M" + "L".join(f"{p.x:.1f} {p.y:.1f}" for p in self.points)


@dataclass(frozen=True)
class Chart:
    """One drawing. ``ticks_x`` and ``ticks_y`` are (position, text); ``words`` says every value."""

    title: str
    axis: str
    lines: tuple[Line, ...]
    ticks_x: tuple[tuple[float, str], ...]
    ticks_y: tuple[tuple[float, str], ...]
    words: str


def draw_charts(figures: Tree) -> tuple[Chart, ...]:
    """The curves that have at least one value.

    Parameters
    ----------
    figures
        The tree of an evaluation.
    """
    tree = complete(figures, REQUIRED)
    marks = "false marks allowed per slice (on the labelled slices)"
    per_scan = "false marks allowed per scan, marks joined along z"
    share = "share of untouched places marked (false-positive rate)"
    drawn = (
        _draw("Painted places found, by false marks per slice", marks, FALSE_MARKS_PER_SLICE, _by_kind(tree, "froc")),
        _draw("Painted places found, by false marks per scan", per_scan, FALSE_MARKS_PER_SLICE,
              [("all forgeries", _branch(tree, ("froc_per_scan",)))]),
        _draw("Painted places found, by untouched places marked", share, FALSE_POSITIVE_RATES, [
            *_by_kind(tree, "sensitivity_at_fpr"),
            ("content only, all", _branch(tree, (CONTENT_ONLY, "sensitivity_at_fpr"))),
        ]),
    )  # fmt: skip
    return tuple(chart for chart in drawn if chart is not None)


def _by_kind(tree: Tree, key: str) -> list[tuple[str, Tree]]:
    return [
        ("all forgeries", _branch(tree, (key,))),
        ("removals (FB)", _branch(tree, (f"{key}_by_kind", "fb"))),
        ("injections (FM)", _branch(tree, (f"{key}_by_kind", "fm"))),
    ]


def _branch(tree: Tree, path: Sequence[str]) -> Tree:
    for key in path:
        inner = tree.get(key)
        if not isinstance(inner, dict):
            return {}
        tree = inner
    return tree


def _draw(title: str, axis: str, rates: Sequence[str], curves: list[tuple[str, Tree]]) -> Chart | None:
    """Lines over a logarithmic axis of rates; None where no curve has a value."""
    given = [(name, branch) for name, branch in curves if any(_value(branch, rate) is not None for rate in rates)]
    if not given:
        return None
    lines, words = [], []
    for i, (name, branch) in enumerate(given):
        shift = SIDE_STEP * (i - (len(given) - 1) / 2)
        known = [rate for rate in rates if _value(branch, rate) is not None]
        points = tuple(_place(branch[rate], _x(rate, rates) + shift) for rate in known)
        lines.append(Line(name, MARKERS[i], points, TOP + 10 + LEGEND_STEP * i))
        words.append(f"{name}: " + ", ".join(f"{say_value(_value(branch, rate))} at {rate}" for rate in rates))
    return Chart(
        title, axis, tuple(lines),
        ticks_x=tuple((_x(rate, rates), rate) for rate in rates),
        ticks_y=tuple((_y(share / 100), f"{share} %") for share in (0, 25, 50, 75, 100)),
        words=f"{title}; across: {axis}. " + "; ".join(words) + ".",
    )  # fmt: skip


def _value(branch: Tree, rate: str) -> float | None:
    leaf = branch.get(rate)
    return finite_value(leaf) if isinstance(leaf, Measured) else None


def _place(leaf: Measured | Tree, x: float) -> Point:
    figure = leaf.figure if isinstance(leaf, Measured) else None
    if figure is None or figure.value is None:
        raise ValueError("only figures with a value are drawn")
    low, high = (None if v is None or not math.isfinite(v) else _y(v) for v in (figure.low, figure.high))
    return Point(x, _y(figure.value), low, high)


def _x(rate: str, rates: Sequence[str]) -> float:
    logs = [math.log10(float(r)) for r in rates]
    span = (logs[-1] - logs[0]) or 1.0
    share = ((math.log10(float(rate)) - logs[0]) / span + _PADDING) / (1 + 2 * _PADDING)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return TOP + (1 - min(max(share, 0.0), 1.0)) * (HEIGHT - TOP - BOTTOM)
