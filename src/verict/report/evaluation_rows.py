"""An evaluation as rows of text: each figure with its interval and n, and how sure one may be of all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from verict.datasets.scans import Source
from verict.errors import say_count
from verict.evaluation.case import Seen
from verict.evaluation.result import Measured, Tree, walk
from verict.report.evaluation_json import REQUIRED, EvaluationReport, complete, finite_value, reason_of
from verict.report.evaluation_words import ABOUT, ROLES, TITLES, WORDS

Path = tuple[str, ...]

CONTENT_ONLY = "content_only"
NOT_GIVEN = "none"
ONE_PATIENT = "not known: one patient"
LEFT_OUT = (
    "since the slice is missing, could not be read or is no CT, the place is outside the image, or the row stands twice"
)

COUNTS = frozenset({"slices", "series", "suspicious_series", "marked_series"})  # whole numbers, not shares
ROUNDED = 10  # decimals kept at most: what is beyond comes from the order of additions


@dataclass(frozen=True)
class FigureRow:
    """One figure, as text.

    ``value`` is "none" where there is none, ``reason`` then why; ``content_*`` hold what content alone reaches, empty
    where that is no question; ``about`` is what else belongs to the figure.
    """

    label: str
    value: str
    interval: str
    n: str
    negatives: str
    content_value: str
    content_interval: str
    reason: str
    about: str

    @property
    def is_given(self) -> bool:
        """Whether the figure has a value."""
        return self.value != NOT_GIVEN


@dataclass(frozen=True)
class FigureGroup:
    """Figures of one kind under one title."""

    key: str
    title: str
    rows: tuple[FigureRow, ...]


def group_figures(report: EvaluationReport) -> tuple[FigureGroup, ...]:
    """Every figure of an evaluation, those about content alone in the column of the figure they belong to."""
    tree = complete(report.evaluation.figures, REQUIRED)
    content = dict(walk({CONTENT_ONLY: tree.pop(CONTENT_ONLY)}))
    shown: set[Path] = set()
    groups = []
    for key in [*(key for key in TITLES if key in tree), *(key for key in tree if key not in TITLES)]:
        rows = []
        for path, measured in walk({key: tree[key]}):
            beside = _find_content(content, path)
            shown.add(beside)
            rows.append(_make_row(path, label_of(path[1:] or path), measured, content.get(beside)))
        groups.append(FigureGroup(key, TITLES.get(key, _plain(key).capitalize()), tuple(rows)))
    rest = [_make_row(path, label_of(path[1:]), m, None) for path, m in content.items() if path not in shown]
    if rest:
        groups.append(FigureGroup(CONTENT_ONLY, "Further figures by content only", tuple(rest)))
    return tuple(groups)


def rows_of(tree: Tree) -> tuple[FigureRow, ...]:
    """The figures of a stratum or of the probes, with their whole paths as labels, content alone beside them."""
    figures = dict(walk(tree))
    content = {path: measured for path, measured in figures.items() if path[0] == CONTENT_ONLY}
    beside = {path: _find_content(content, path) for path in figures if path not in content}
    rows = []
    for path, measured in figures.items():
        if path in beside or path not in beside.values():
            label = ": ".join(label_of(part) for part in (path[:1], path[1:]) if part)
            rows.append(_make_row(path, label, measured, content.get(beside.get(path, ()))))
    return tuple(rows)


def label_of(path: Path) -> str:
    """A figure's name in words.

    >>> label_of(("fb", "0.01")), label_of(("1/1000", "ppv"))
    ('removed cancers (FB), 1 % of untouched places marked', '1 in 1,000 forged, chance that a positive is a forgery')
    >>> label_of(("p_at_most", "0.05"))
    'untouched slices with a p-value of at most 0.05, where 0.05 is right'
    """
    words, role = [], ""
    for key in path:
        if role:
            words.append(role.replace("{}", key))
        elif key not in ROLES:
            words.append(WORDS.get(key, _plain(key)))
        role = "" if role else ROLES.get(key, "")
    return ", ".join(words)


def count_seen(data: Mapping[str, Any]) -> dict[Seen, int]:
    """How many series of both collections were judged by a model that knew so much of them: "seen" of each."""
    parts = [data.get(source, {}).get("seen", {}) for source in Source]
    counts = {seen: sum(part.get(seen, 0) for part in parts) for seen in Seen}
    return {seen: count for seen, count in counts.items() if count}


def warnings_of(report: EvaluationReport) -> tuple[str, ...]:
    """What must be read before any figure: in-sample series, what was left out, a look not recorded."""
    said = []
    in_sample = count_seen(report.evaluation.data).get(Seen.IN_SAMPLE, 0)
    if in_sample:
        said.append(
            f"{say_count(in_sample, 'series', 'series')} judged in sample: the model was fitted on what it is judged "
            "by here. These figures flatter and say nothing of other scans."
        )
    if report.failures:
        said.append(f"{say_count(len(report.failures), 'input')} could not be read: the figures are of the others.")
    if report.labels_left_out:
        rows = say_count(report.labels_left_out, "label row")
        said.append(f"{rows} left out, {LEFT_OUT}: the figures are of the others.")
    if report.recorded is False:
        said.append("This look at the published real fakes could not be recorded in the ledger.")
    return tuple(said)


def say_value(value: float | None) -> str:
    """A figure for reading: three decimals, more where these would read 0 or 1, none for whole numbers above 1.

    >>> [say_value(v) for v in (0.97531, 0.00012345, 0.999999123, 1.0, 1 - 1e-15, 0.0, 712.0, None)]
    ['0.975', '0.00012', '0.99999912', '1.000', '1.000', '0.000', '712', 'none']
    """
    if value is None or not math.isfinite(value):
        return NOT_GIVEN
    value = round(value, ROUNDED)
    if value > 1 and float(value).is_integer():
        return str(int(value))
    if 0 < abs(value) < 0.0005:
        return np.format_float_positional(value, precision=2, unique=False, fractional=False, trim="-")
    if 0.9995 <= value < 1:
        return f"{value:.{1 - math.floor(math.log10(1 - value))}f}"
    return f"{value:.3f}"


def _make_row(path: Path, label: str, measured: Measured, content: Measured | None) -> FigureRow:
    reason = reason_of(measured)
    if content is not None and reason_of(content) not in ("", reason):
        reason += f"{'; ' if reason else ''}content only: {reason_of(content)}"
    is_count = path[-1] in COUNTS
    return FigureRow(
        label=label,
        value=_say(finite_value(measured), is_count=is_count),
        interval=_say_interval(measured, is_count=is_count),
        n=str(measured.figure.n),
        negatives="" if measured.negatives is None else str(measured.negatives),
        content_value="" if content is None else say_value(finite_value(content)),
        content_interval="" if content is None else _say_interval(content, is_count=False),
        reason=reason,
        about="; ".join(f"{ABOUT.get(k, _plain(k))} {_say_about(v)}" for k, v in measured.about.items()
                        if v is not None),
    )


def _find_content(content: Mapping[Path, Measured], path: Path) -> Path:
    """Where the figure of content alone stands: under the same path, or one for the whole branch; () for none."""
    for length in range(len(path), 0, -1):
        candidate = (CONTENT_ONLY, *path[:length])
        if candidate in content:
            return candidate
    return ()


def _say(value: float | None, *, is_count: bool) -> str:
    return f"{value:.3g}" if is_count and value is not None else say_value(value)


def _say_interval(measured: Measured, *, is_count: bool) -> str:
    figure = measured.figure
    if finite_value(measured) is None:
        return ""
    if figure.low is None or figure.high is None:
        return ONE_PATIENT if measured.about.get("patients") == 1 and not is_count else ""
    ends = (_say(end, is_count=is_count) if math.isfinite(end) else "unbounded" for end in (figure.low, figure.high))
    return " to ".join(ends)


def _say_about(value: object) -> str:
    return say_value(float(value)) if isinstance(value, float) else str(value)


def _plain(key: str) -> str:
    return key.replace("_", " ")
