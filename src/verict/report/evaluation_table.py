"""An evaluation as a short text for a terminal or a pipe: how far it can be believed, then every figure."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from verict.report.classes import render_figures
from verict.report.evaluation_json import EvaluationReport
from verict.report.evaluation_rows import FigureGroup, FigureRow, count_seen, group_figures, rows_of, warnings_of
from verict.report.evaluation_words import PLAIN_TITLE, SEEN_WORDS
from verict.report.words import printable, say_count

COLUMNS = ("Figure", "Value", "95 % interval", "n", "Content only")
COLUMN_WIDTHS = (9, 16, 9, 22)  # of all but the first, so that the tables of all groups stand in line
NARROW, NARROW_CONTENT = 96, 12  # below so many columns the last one folds, and leaves names the room they need


def render_evaluation(report: EvaluationReport, width: int) -> RenderableType:
    """The conclusions, gravest first; what must be known before; the figures by kind; what is missing and why.

    Parameters
    ----------
    report
        The evaluation.
    width
        Columns it may take.
    """
    evaluation = report.evaluation
    title = f"Detector {evaluation.detector}: how far the figures can be believed"
    parts: list[RenderableType] = [_text(title, "bold")]
    parts += [_bullet(c.text, "bold red" if c.grave else "") for c in evaluation.conclusions]
    if not evaluation.conclusions:
        parts.append(_bullet(PLAIN_TITLE[0].lower() + PLAIN_TITLE[1:]))
    parts += [_bullet(warning, "bold yellow") for warning in warnings_of(report)]
    parts += [
        _bullet(f"{count} series: {SEEN_WORDS[seen]}") for seen, count in count_seen(evaluation.data).items()
    ]
    for group in group_figures(report):
        parts += [Text(), *_render_group(group, width)]
    if evaluation.probes:
        probes = FigureGroup("probes", "Given the same scans in another guise", rows_of(evaluation.probes))
        parts += [Text(), *_render_group(probes, width)]
    if evaluation.classes.get("n"):
        parts += [Text(), _text("Cancer or healthy, real or forged: which of the four each labelled site is", "bold"),
                  render_figures(evaluation.classes)]
    parts += [Text(), _text("n counts painted places, slices, series or patients; after the stroke those on the "
                            "other side. Content only: what brightness alone reaches. Thresholds and what else "
                            "belongs to a figure are in the JSON.", "dim")]
    if evaluation.strata:
        parts.append(_text(f"By part of the data: {say_count(len(evaluation.strata), 'part')}, see the JSON.", "dim"))
    return Group(*parts)


def _render_group(group: FigureGroup, width: int) -> list[RenderableType]:
    given = [row for row in group.rows if row.is_given]
    parts: list[RenderableType] = [_text(group.title, "bold")]
    if given:
        table = Table(
            box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", show_edge=False, expand=True
        )
        table.add_column(COLUMNS[0], overflow="fold", ratio=1)
        last = NARROW_CONTENT if width < NARROW else COLUMN_WIDTHS[-1]
        for title, wide in zip(COLUMNS[1:], (*COLUMN_WIDTHS[:-1], last), strict=True):
            table.add_column(title, overflow="fold", width=wide)
        for row in given:
            table.add_row(*(_text(cell) for cell in _cells(row)))
        parts.append(table)
    remarks: dict[tuple[bool, str], list[str]] = {}
    for row in group.rows:
        if row.reason:
            remarks.setdefault((row.is_given, row.reason), []).append(row.label)
    for (is_given, reason), labels in remarks.items():
        of_which = "; ".join(labels) if len(labels) < len(group.rows) else "all of these"
        parts.append(_bullet(f"{of_which}: {reason}" if is_given else f"no figure for {of_which}: {reason}", "dim"))
    return parts


def _cells(row: FigureRow) -> tuple[str, ...]:
    content = f"{row.content_value} ({row.content_interval})" if row.content_interval else row.content_value
    return row.label, row.value, row.interval, f"{row.n}/{row.negatives}" if row.negatives else row.n, content


def _text(value: str, style: str = "") -> Text:
    """Text as it is: no markup, no control characters, nothing cut off."""
    return Text(printable(value), style, overflow="fold")


def _bullet(value: str, style: str = "") -> Padding:
    return Padding(_text(f"- {value}", style), (0, 0, 0, 2), expand=False)
