"""An evaluation as one self-contained HTML page, for who has to weigh a verdict: no script, nothing loaded."""

from __future__ import annotations

from dataclasses import dataclass

from verict import __version__
from verict.report import classes
from verict.report import evaluation_charts as charts
from verict.report.evaluation_json import EvaluationReport
from verict.report.evaluation_rows import FigureRow, count_seen, group_figures, rows_of, warnings_of
from verict.report.evaluation_words import DEFINITIONS, PLAIN_TITLE, SEEN_WORDS
from verict.report.html import GENERATOR, flatten, make_environment
from verict.report.words import LIMITS

GRAVE_TITLE = "These figures must not be relied on"
LIMITED_TITLE = f"{PLAIN_TITLE}; what is said below limits them"


@dataclass(frozen=True)
class _Stratum:
    """The figures of one part of the data."""

    by: str
    value: str
    rows: tuple[FigureRow, ...]


def to_html(report: EvaluationReport) -> str:
    """The page of an evaluation."""
    evaluation = report.evaluation
    grave = any(c.grave for c in evaluation.conclusions)
    warnings = warnings_of(report)
    return make_environment().get_template("evaluation.html.j2").render(
        report=report,
        evaluation=evaluation,
        title=GRAVE_TITLE if grave else LIMITED_TITLE if evaluation.conclusions or warnings else PLAIN_TITLE,
        tone="suspicious" if grave else "indeterminate" if warnings else "no_evidence",
        warnings=warnings,
        seen=[(seen.value, SEEN_WORDS[seen], count) for seen, count in count_seen(evaluation.data).items()],
        groups=group_figures(report),
        charts=charts.draw_charts(evaluation.figures),
        size=charts,
        strata=[_Stratum(by.replace("_", " "), value, rows_of(tree)) for by, value, tree in evaluation.strata],
        probes=rows_of(evaluation.probes),
        classes=classes.rows_of(evaluation.classes) if evaluation.classes.get("n") else [],
        confusion=evaluation.classes.get("four_classes", {}).get("confusion"),
        definitions=DEFINITIONS,
        limits=LIMITS,
        model=list((report.model or {}).items()),
        data=[(name.replace("_", " "), value) for name, value in flatten(report.data)],
        provenance=list(flatten(report.provenance)),
        generator=f"{GENERATOR} {__version__}",
    )
