"""An evaluation in words: each figure's name, text and definition, and how sure one may be of all of them."""

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

Path = tuple[str, ...]

CONTENT_ONLY = "content_only"
NOT_GIVEN = "none"
LEFT_OUT = "since the slice is missing, could not be read or is no CT"

COUNTS = frozenset({"slices", "series", "suspicious_series", "marked_series"})  # whole numbers, not shares

TITLES = {
    "auc": "Telling painted places from untouched ones (area under the curve, 0.5 is chance)",
    "sensitivity_at_fpr": "Share of painted places found, where a given share of untouched places is marked too",
    "sensitivity_at_fpr_by_kind": "The same by kind of forgery",
    "frozen": "At the threshold fixed beforehand",
    "froc": "Share of painted places found, by false marks allowed per slice",
    "froc_by_kind": "The same by kind of forgery, false marks per slice",
    "froc_per_scan": "Share of painted places found, by false marks allowed per scan, marks joined along z",
    "authentic": "On series nobody is known to have touched",
    "abstention": "How often it gives no score or no verdict",
    "source_leak": "Does the detector know the data set instead of the forgery?",
    "predictive_value": "What a verdict is worth where forgeries are rare",
}

_WORDS = {
    "pooled": "all forgeries",
    "fb_parenchyma": "removed cancers (FB) against untouched lung",
    "fm_dense": "injected cancers (FM) against matched untouched bright structures",
    "fb": "removed cancers (FB)",
    "fm": "injected cancers (FM)",
    "false_positive_rate_parenchyma": "untouched lung marked: the false-positive rate really achieved",
    "false_positive_rate_bright": "untouched bright structures marked: the false-positive rate really achieved",
    "slices": "slices with lung",
    "false_marks_per_slice": "false marks per slice, before joining along z",
    "series": "series",
    "suspicious_series": "series called suspicious",
    "false_marks_per_scan": "false marks per series, joined along z",
    "marked_series": "series with at least one mark",
    "0.01": "1 % of untouched places marked",
    "0.05": "5 % of untouched places marked",
    "0.02": "0.02 false marks",
    "0.1": "0.1 false marks",
    "0.5": "0.5 false marks",
    "1": "1 false mark",
    "1/1000": "1 in 1,000 forged",
    "1/100000": "1 in 100,000 forged",
    "fm_bright": "injected cancers (FM) against all untouched bright structures, matched or not",
    "false_positive_rate_nodule": "untouched real nodules marked",
    "false_positive_rate_matched": "untouched bright structures matched with the injected cancers marked",
    "auc_parenchyma": "the same, plain lung only",
    "auc_bright": "the same, bright structures only",
    "mirrored": "mirrored left to right",
    "shifted": "moved by a few pixels and one HU",
    "template_headers": "all headers replaced by one template",
    "auc_lost": "area under the curve lost",
    "auc_negatives": "untouched places of the labelled scans against those of the untouched series, AUC",
    "labelled": "labelled scans",
    "authentic": "untouched series",
    "undefined_slices": "slices with lung that got no score",
    "indeterminate_series": "series without a verdict",
    "ppv": "chance that a positive is a forgery",
    "npv": "chance that a negative is untouched",
}

SEEN_WORDS = {
    Seen.UNSEEN: "never seen: neither the patient nor the pixels are among what the model was fitted on",
    Seen.OUT_OF_FOLD: "out of fold: the shipped model was fitted on it, so a model that was not judged it",
    Seen.IN_SAMPLE: (
        "in sample: the model that judged it was fitted on it, or does not tell what it was fitted on; such figures "
        "flatter"
    ),
    Seen.UNTRAINED: "nothing was fitted: the detector learns from no scan",
}

DEFINITIONS = (
    ("Painted place", "A labelled site where published software removed a cancer (FB) or injected one (FM)."),
    ("Untouched place", "A place in the lungs of the same slices, at least 48 mm in-plane from every label near it: "
     "plain lung (parenchyma) or a bright structure (vessel, scar, real nodule), chosen before the detector ran."),
    ("Score of a place", "The highest value of the detector's map within 10 mm; the lowest possible where the map is "
     "undefined. Painted and untouched places are treated alike. Where series are judged by different models, each "
     "fitted without them, scores count from the mark threshold of the series' own model."),
    ("AUC", "The chance that a painted place scores above an untouched one. 0.5 is chance, 1 is perfect."),
    ("Matched", "Injected cancers are compared only with untouched structures of their own size, brightness and "
     "surroundings; against all untouched places brightness alone would do."),
    ("Content only", "What the blurred brightness of the place alone reaches, without any trace of tampering. A figure "
     "is worth what it is above this one."),
    ("1 % or 5 % of untouched places marked", "Share of painted places above the threshold that so many untouched "
     "places reach. The threshold is read off these same places."),
    ("Threshold fixed beforehand", "It was fitted on other patients and scanners; the share of untouched places it "
     "really marks here stands beside it."),
    ("False mark", "A mark of which most lies 48 mm or more from every label; one that overlaps the painted square "
     "(half side 21 mm) is a hit, all others count as neither. On untouched series every mark is false."),
    ("95 % interval", "Bootstrap over patients for areas and rates, Clopper-Pearson for counted shares; where nothing "
     "was counted, its upper end is the bound that matters."),
    ("Source leak", "Untouched places of both collections should look alike to an honest detector: about 0.5. Further "
     "away, it tells the data sets apart, and the figures above may measure just that."),
    ("Predictive value", "How often a series called suspicious would be a forgery, and one not called so untouched, if "
     "one series in 1,000 or in 100,000 were forged."),
)  # fmt: skip
"""The terms a reader of the page needs, see docs/evaluation.md."""


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
    """The figures of a stratum or of the probes, with their whole paths as labels."""
    return tuple(
        _make_row(path, ": ".join(label_of(part) for part in (path[:1], path[1:]) if part), measured, None)
        for path, measured in walk(tree)
    )


def label_of(path: Path) -> str:
    """A figure's name in words.

    >>> label_of(("fb", "0.01")), label_of(("1/1000", "ppv"))
    ('removed cancers (FB), 1 % of untouched places marked', '1 in 1,000 forged, chance that a positive is a forgery')
    """
    return ", ".join(_WORDS.get(key, _plain(key)) for key in path)


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

    >>> [say_value(v) for v in (0.97531, 0.00012345, 0.999999123, 1.0, 0.0, 712.0, None)]
    ['0.975', '0.00012', '0.99999912', '1.000', '0.000', '712', 'none']
    """
    if value is None or not math.isfinite(value):
        return NOT_GIVEN
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
        about="; ".join(f"{_plain(k)} {_say_about(v)}" for k, v in measured.about.items() if v is not None),
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
    if finite_value(measured) is None or figure.low is None or figure.high is None:
        return ""
    ends = (_say(end, is_count=is_count) if math.isfinite(end) else "unbounded" for end in (figure.low, figure.high))
    return " to ".join(ends)


def _say_about(value: object) -> str:
    return say_value(float(value)) if isinstance(value, float) else str(value)


def _plain(key: str) -> str:
    return key.replace("_", " ")
