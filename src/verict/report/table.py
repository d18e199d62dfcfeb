"""The result as a short text for a terminal or a pipe: pure functions that return what rich prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from verict.custody.conclusion import StudyCustody
from verict.detect.nodule.reading import Shown
from verict.detect.result import Place, Region, ScanResult, SeriesResult, Verdict
from verict.report import words
from verict.report.custody import (
    CHANGED_TITLE,
    CustodyView,
    exit_code_of,
    is_invalid,
    list_unexamined,
    view_custody,
    view_series,
)

REGIONS_SHOWN = 10
PLACES_SHOWN = 10
NOTES_SHOWN = 8
NOT_EXAMINED_SHOWN = 8
FILES_SHOWN = 8

_STYLE = {Verdict.SUSPICIOUS: "bold red", Verdict.INDETERMINATE: "bold yellow", Verdict.NO_EVIDENCE: "bold cyan"}
_STUDY_WORD = {10: "suspicious", 1: "failed in part", 11: "indeterminate", 0: "no_evidence"}
_STUDY_STYLE = {10: "bold red", 1: "bold yellow", 11: "bold yellow", 0: "bold cyan"}


@dataclass(frozen=True)
class StudyRow:
    """What the table over many studies shows of one; small, so that the result itself can be let go."""

    name: str
    exit_code: int
    series: int
    slices: int
    score: float | None
    regions: int
    findings: str
    failures: int
    reason: str
    shown: Shown | None = None


def render_summary(result: ScanResult, custody: StudyCustody | None = None) -> RenderableType:
    """One study: each series with its verdict, regions, findings and notes, then what was left out.

    ``custody`` is what signatures say of it, None where nobody asked.
    """
    parts: list[RenderableType] = []
    for series in result.series:
        parts += _render_series(series)
        parts += _render_custody(view_series(custody, series)) if custody is not None else []
        parts.append(Text())
    for sealed in list_unexamined(custody, result):
        parts += [_line(f"Signed, but not examined: {sealed.series_instance_uid}")]
        parts += [*_render_custody(view_custody(sealed)), Text()]
    if not result.series:
        parts += [_line(words.NOTHING_EXAMINED, "bold yellow"), Text()]
    if result.not_examined:
        parts.append(_line("Not examined"))
        parts += [
            _indent(f"{n.what} ({words.say_count(n.files, 'file')}): {n.reason}")
            for n in result.not_examined[:NOT_EXAMINED_SHOWN]
        ]
        parts += [*_render_more(len(result.not_examined) - NOT_EXAMINED_SHOWN), Text()]
    if result.failures:
        parts += [_line(f"{words.say_count(len(result.failures), 'input')} could not be read", "bold yellow"), Text()]
    verdicts = {s.verdict for s in result.series}
    parts += [_line(words.VERDICT_MEANING[v]) for v in _STYLE if v in verdicts]
    parts += _explain_shown(result)
    parts.append(_line("Not for clinical diagnosis.", "dim"))
    return Group(*parts)


def summarise_study(result: ScanResult, name: str, custody: StudyCustody | None = None) -> StudyRow:
    """The row of one study in the table over many."""
    scores = [s.score for s in result.series if s.score is not None]
    worst = next((s for v in _STYLE for s in result.series if s.verdict is v), None)
    reason = worst.reason if worst else words.NOTHING_EXAMINED
    if not result.series and result.failures:
        reason = result.failures[0].details.get("problem") or "could not be read"
    unjudged = [n for n in result.not_examined if n.counts]
    if worst and worst.verdict is Verdict.NO_EVIDENCE and unjudged and not result.failures:
        reason = f"{words.say_count(len(unjudged), 'part')} could not be judged: {unjudged[0].reason}"
    if is_invalid(custody):
        reason = f"{CHANGED_TITLE}; forensics: {reason}"
    return StudyRow(
        name=name,
        exit_code=exit_code_of(result, custody),
        series=len(result.series),
        slices=sum(s.slice_count for s in result.series),
        score=max(scores, default=None),
        regions=sum(len(s.regions) for s in result.series),
        findings=words.say_findings([f for s in result.series for f in s.findings]),
        failures=len(result.failures),
        reason=reason,
        shown=words.worst_shown(result.series),
    )


def render_studies(rows: Sequence[StudyRow]) -> RenderableType:
    """Many studies: one row each, in the order they were given, and the count of each verdict."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("Study", overflow="fold", ratio=2)
    table.add_column("Verdict", overflow="fold")
    table.add_column("Shows", overflow="fold")
    table.add_column("Series", justify="right", no_wrap=True)
    table.add_column("Slices", justify="right", no_wrap=True)
    table.add_column("Score", justify="right", no_wrap=True)
    table.add_column("Regions", justify="right", no_wrap=True)
    table.add_column("Failed", justify="right", no_wrap=True)
    table.add_column("Reason", overflow="fold", ratio=3)
    for number, row in enumerate(rows, start=1):
        table.add_row(
            str(number), _text(row.name), Text(_STUDY_WORD[row.exit_code], _STUDY_STYLE[row.exit_code]),
            "-" if row.shown is None else row.shown.value.replace("_", " "), str(row.series),
            str(row.slices), "-" if row.score is None else words.say_number(row.score), str(row.regions),
            str(row.failures), _text(row.reason),
        )
    counts = ", ".join(
        f"{sum(r.exit_code == code for r in rows)} {word}"
        for code, word in _STUDY_WORD.items()
        if any(r.exit_code == code for r in rows)
    )
    closing = f"{words.say_count(len(rows), 'study', 'studies')}: {counts or 'none'}."
    closing += " no_evidence does not mean proven authentic."
    if any(row.shown is not None for row in rows):
        closing += " What a scan shows may be real or painted; no cancer seen does not mean that there is none."
    return Group(table, _line(f"{closing} Not for clinical diagnosis."))


def _explain_shown(result: ScanResult) -> list[RenderableType]:
    """What the words on what the series show mean, each once."""
    shown = {s.shows.shown for s in result.series if s.shows is not None}
    parts: list[RenderableType] = [_line(words.SHOWN_MEANING[s]) for s in Shown if s in shown]
    if any(p.probabilities is not None for s in result.series for p in s.places):
        parts.append(_line(words.CLASSES_MEANING))
    return parts


def _render_series(series: SeriesResult) -> list[RenderableType]:
    head = Text.assemble(
        (series.verdict.value, _STYLE[series.verdict]), "  ", _text(series.series_instance_uid or "series without UID"),
        overflow="fold",
    )
    described = [
        series.description.get(k)
        for k in ("SeriesDescription", "Manufacturer", "ManufacturerModelName", "ConvolutionKernel")
    ]
    facts = [words.printable(d) for d in described if d] + [words.say_count(series.slice_count, "slice")]
    parts: list[RenderableType] = [head, _indent(", ".join(facts)), _indent(series.reason)]
    parts.append(_indent(f"shows: {words.say_shown(series.shows)}"))
    parts += _render_places(series.places)
    judged = "score not known" if series.score is None else f"score {words.say_number(series.score)}"
    parts.append(
        _indent(f"{judged}; {words.say_regions(series)}; header findings: {words.say_findings(series.findings)}")
    )
    if series.p_value is not None:
        parts.append(_indent(f"p-value {words.say_p_value(series)}"))
    if series.regions:
        parts.append(Padding(_render_regions(words.order_regions(series.regions)), (0, 0, 0, 2), expand=False))
    parts += [_indent(f"note: {n.message}") for n in series.notes[:NOTES_SHOWN]]
    parts += _render_more(len(series.notes) - NOTES_SHOWN, "notes")
    return parts


def _render_places(places: Sequence[Place]) -> list[RenderableType]:
    """Each nodule and region as a sentence, with the class it most likely is."""
    said = ["; ".join(filter(None, (p.sentence, words.say_likely(p)))) for p in places[:PLACES_SHOWN]]
    parts: list[RenderableType] = [Padding(_text(text), (0, 0, 0, 4), expand=False) for text in said]
    return parts + _render_more(len(places) - PLACES_SHOWN, "places")


def _render_custody(view: CustodyView) -> list[RenderableType]:
    """Custody of one series in a line, and the files that do not hold."""
    style = "bold red" if view.tone == Verdict.SUSPICIOUS.value else ""
    parts: list[RenderableType] = [Padding(_text(f"custody: {view.sentence}", style), (0, 0, 0, 2), expand=False)]
    for slices, name, found in view.files[:FILES_SHOWN]:
        place = f"{'slice' if slices.isdecimal() else 'slices'} {slices}, {name}" if slices else name
        parts.append(Padding(_text(f"{place}: {found}"), (0, 0, 0, 4), expand=False))
    return parts + _render_more(len(view.files) + view.more_rows - FILES_SHOWN)


def _render_regions(regions: Sequence[tuple[int, Region]]) -> RenderableType:
    """The places as a table, and below it evidence and weight in words, said once for all regions they hold for."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for title in ("Region", "Score", "Centre voxel", "Centre LPS (mm)", "Extent x y z (mm)", "Slices"):
        table.add_column(title, overflow="fold", justify="right" if title == "Score" else "left")
    reasons: dict[str, list[str]] = {}
    weights: dict[str, list[str]] = {}
    for number, (_, region) in enumerate(regions[:REGIONS_SHOWN], start=1):
        table.add_row(
            f"{number} decisive" if region.decisive else str(number), words.say_number(region.score),
            words.say_voxel(region), words.say_place(region), words.say_extent(region), words.say_slices(region.slices),
        )
        reasons.setdefault(region.evidence, []).append(str(number))
        weights.setdefault(words.say_ratio(region), []).append(str(number))
    said = (*reasons.items(), *weights.items())
    evidence = [_text(f"region {', '.join(numbers)}: {text}") for text, numbers in said if text]
    return Group(table, *evidence, *_render_more(len(regions) - REGIONS_SHOWN, "regions"))


def _render_more(hidden: int, what: str = "") -> list[RenderableType]:
    """A line that says how much is not shown, so that a cut list is never taken for a whole one."""
    return [_indent(f"and {hidden} more {what}".rstrip() + "; the JSON lists all")] if hidden > 0 else []


def _text(value: str, style: str = "") -> Text:
    """Text as it is: no markup, no control characters, nothing cut off."""
    return Text(words.printable(value), style, overflow="fold")


def _line(value: str, style: str = "") -> Text:
    return _text(value, style)


def _indent(value: str) -> Padding:
    return Padding(_text(value), (0, 0, 0, 2), expand=False)
