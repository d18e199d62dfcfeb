"""The figure of `benign_processing.py`: curves over strength, clean first, drawn as SVG without any library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from verict.detect.result import Verdict
from verict.evaluation.benign import PROCESSINGS, Processing

WIDTH, HEIGHT, COLUMNS = 350, 190, 3  # of a panel in pixels, and panels side by side
LEFT, RIGHT, TOP, BOTTOM = 44, 40, 30, 40  # room around a panel's axes
MARKS_COLOUR, ALONE_COLOUR, VERDICT_COLOUR = "#1f77b4", "#d62728", "#2ca02c"
LEGEND = (
    (MARKS_COLOUR, "", "false marks a slice (left axis)"),
    (ALONE_COLOUR, "4 3", "share of series suspicious by marks alone (right axis)"),
    (VERDICT_COLOUR, "", "share of series suspicious (right axis)"),
)


def draw_curves(rows: Sequence[Any], file: Path) -> None:
    """Write the figure of untouched series' rows; each panel has the same axes."""
    own = [r for r in rows if not r.forged]
    shown = [p for p in PROCESSINGS if any(r.processing == p.name for r in own)]
    tallest = max(_mean_marks(own, p.name, s) for p in shown for s in p.strengths)
    top = max(0.1, np.ceil(tallest * 10) / 10)
    panels = [
        f'<g transform="translate({i % COLUMNS * WIDTH},{i // COLUMNS * HEIGHT})">{_panel(own, p, float(top))}</g>'
        for i, p in enumerate(shown)
    ]
    deep = -(-len(shown) // COLUMNS) * HEIGHT
    legend = "".join(
        f'<line x1="20" x2="50" y1="{deep + 14 + 18 * i}" y2="{deep + 14 + 18 * i}" stroke="{colour}" '
        f'stroke-width="2" stroke-dasharray="{dash}"/><text x="56" y="{deep + 18 + 18 * i}">{escape(words)}</text>'
        for i, (colour, dash, words) in enumerate(LEGEND)
    )
    width, height = COLUMNS * WIDTH, deep + 20 + 18 * len(LEGEND)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(panels)}{legend}</svg>\n",
        "utf-8",
    )


def _panel(rows: Sequence[Any], processing: Processing, top: float) -> str:
    """One processing, strengths at equal steps; clean are only the series that it could be applied to."""
    done = [s for s in processing.strengths if any(r.processing == processing.name and r.strength == s for r in rows)]
    own = {r.series for r in rows if r.processing == processing.name}
    kept = [r for r in rows if r.series in own]
    steps = [("clean", 0.0), *((processing.name, s) for s in done)]
    right, low = WIDTH - RIGHT, HEIGHT - BOTTOM
    across = np.linspace(LEFT, right, len(steps))

    def line(values: Sequence[float], most: float, colour: str, dash: str) -> str:
        points = " ".join(f"{x:.1f},{low - (low - TOP) * v / most:.1f}" for x, v in zip(across, values, strict=True))
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'

    curves = [
        line([_mean_marks(kept, *step) for step in steps], top, MARKS_COLOUR, ""),
        line([_share(kept, "by_marks", *step) for step in steps], 1, ALONE_COLOUR, "4 3"),
        line([_share(kept, "verdict", *step) for step in steps], 1, VERDICT_COLOUR, ""),
    ]
    ticks = [
        f'<text x="{x:.1f}" y="{low + 15}" text-anchor="middle">{"clean" if not s else f"{s:g}"}</text>'
        for x, (_, s) in zip(across, steps, strict=True)
    ]
    ends = [
        f'<text x="{LEFT - 5}" y="{y + 4}" text-anchor="end" fill="{MARKS_COLOUR}">{marks:g}</text>'
        f'<text x="{right + 5}" y="{y + 4}">{share}</text>'
        for y, marks, share in ((low, 0, 0), (TOP, top, 1))
    ]
    return (
        f'<text x="{LEFT}" y="18" font-weight="bold">{escape(processing.summary)} (n = {len(own)})</text>'
        f'<rect x="{LEFT}" y="{TOP}" width="{right - LEFT}" height="{low - TOP}" fill="none" stroke="#999"/>'
        f"{''.join(curves)}{''.join(ticks)}{''.join(ends)}"
        f'<text x="{(LEFT + right) / 2:.0f}" y="{low + 30}" text-anchor="middle" fill="#666">'
        f"{escape(processing.unit)}</text>"
    )


def _of(rows: Sequence[Any], name: str, strength: float) -> list[Any]:
    return [r for r in rows if (r.processing, r.strength) == (name, strength)]


def _mean_marks(rows: Sequence[Any], name: str, strength: float) -> float:
    found = [r.marks for r in _of(rows, name, strength)]
    return float(np.mean(found)) if found else 0.0


def _share(rows: Sequence[Any], field: str, name: str, strength: float) -> float:
    found = [getattr(r, field) == Verdict.SUSPICIOUS for r in _of(rows, name, strength)]
    return float(np.mean(found)) if found else 0.0
