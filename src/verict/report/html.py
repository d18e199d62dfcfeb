"""The result as one self-contained HTML page: no script, nothing loaded from elsewhere, pictures inside.

Every text from a DICOM file is hostile until shown otherwise: Jinja2 escapes all of it, control
characters are made visible, and the page forbids the browser to load or run anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from verict import __version__
from verict.custody.conclusion import StudyCustody
from verict.detect.evidence import Evidence
from verict.detect.nodule.reading import Nodule
from verict.detect.result import Place, Region, RegionPicture, ScanResult, SeriesResult, Verdict
from verict.report import words
from verict.report.anonymise import LEFT_OUT, anonymise_result
from verict.report.custody import (
    CHANGED_TITLE,
    CustodyView,
    anonymise_custody,
    is_invalid,
    list_unexamined,
    view_custody,
    view_series,
)
from verict.report.json import figures_of
from verict.report.pictures import Figure, css_gradient, draw_figure

GENERATOR = "verict"  # marks a page as ours, so that it may be replaced: see report.output
DESCRIBED = {  # what names a series to a reader, by DICOM keyword
    "PatientName": "Patient name",
    "PatientID": "Patient ID",
    "StudyDate": "Study date",
    "SeriesDescription": "Series description",
    "Manufacturer": "Manufacturer",
    "ManufacturerModelName": "Model",
    "ConvolutionKernel": "Kernel",
    "SliceThickness": "Slice thickness (mm)",
}
_CARD_TEXTS = {  # the parts of a model card a reader asks for
    "summary": "What it is",
    "training": "Fitted on",
    "input": "Input",
    "calibration": "Calibration",
    "intended_use": "Intended use",
    "limits": "Limits",
}


@dataclass(frozen=True)
class _RegionView:
    """One row of the table of regions, and its pictures if any were kept."""

    number: int
    region: Region
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class _PlaceView:
    """One row of the table of places: a nodule, a region, or both; the region by its number in its own table."""

    number: int
    place: Place
    what: str
    details: tuple[str, ...]
    nodule: Nodule | None
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class _SeriesView:
    """One series as the template needs it."""

    number: int
    series: SeriesResult
    described: tuple[tuple[str, str], ...]
    places: tuple[_PlaceView, ...]
    regions: tuple[_RegionView, ...]
    overviews: tuple[Figure, ...]
    findings: tuple[tuple[str, str, tuple], ...]
    custody: CustodyView


@dataclass(frozen=True)
class _DetectorView:
    """What is known of one detector: its figures and the readable parts of its card."""

    name: str
    card: tuple[tuple[str, str], ...]
    figures: tuple[dict, ...]


def to_html(result: ScanResult, *, anonymous: bool = False, custody: StudyCustody | None = None) -> str:
    """The report as one HTML page.

    Parameters
    ----------
    result
        A finished result. Pictures are drawn from `SeriesResult.pictures` and nothing else.
    anonymous
        Leave out every attribute of the patient and every path, and replace UIDs by stand-ins.
    custody
        What signatures say of the same study; None where nobody asked.
    """
    if anonymous:
        custody, result = anonymise_custody(custody, result), anonymise_result(result)
    return make_environment().get_template("report.html.j2").render(
        result=result,
        anonymous=anonymous,
        title=CHANGED_TITLE if is_invalid(custody) else words.study_title(result),
        tone="suspicious" if is_invalid(custody) else _choose_tone(result),
        forensic_title=words.study_title(result) if is_invalid(custody) else "",
        series=[_view_series(i, s, custody) for i, s in enumerate(result.series, start=1)],
        unexamined=[(s.series_instance_uid, view_custody(s)) for s in list_unexamined(custody, result)],
        detectors=_view_detectors(result),
        provenance=list(flatten(result.provenance)),
        limits=words.LIMITS,
        ratio_meaning=words.RATIO_MEANING,
        p_value_meaning=words.P_VALUE_MEANING,
        meanings=words.VERDICT_MEANING,
        titles=words.VERDICT_TITLE,
        shown_meanings=words.SHOWN_MEANING,
        shown_titles=words.SHOWN_TITLE,
        not_looked_at=words.NOT_LOOKED_AT,
        class_meanings=words.CLASS_MEANING,
        classes_meaning=words.CLASSES_MEANING,
        gradient=Markup(css_gradient()),
        left_out=LEFT_OUT,
        generator=f"{GENERATOR} {__version__}",
    )


@cache
def make_environment() -> Environment:
    """What renders every page: all text escaped and made printable, a name that is missing is an error."""
    environment = Environment(
        loader=PackageLoader("verict.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= {
        "number": words.say_number,
        "slices": words.say_slices,
        "voxel": words.say_voxel,
        "place": words.say_place,
        "extent": words.say_extent,
        "count": words.say_count,
        "counted_findings": words.say_findings,
        "counted_regions": words.say_regions,
        "likely": words.say_likely,
        "percent": words.say_percent,
        "shown_reason": words.say_shown_reason,
        "interval": _say_interval,
        "ratio": words.say_ratio,
        "propositions": words.say_propositions,
        "p_value": words.say_p_value,
    }
    return environment


def _finalize(value: object) -> object:
    """What every expression of the template passes before it is escaped."""
    return words.printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _choose_tone(result: ScanResult) -> str:
    """The verdict whose colour the headline takes; a study that failed in part is never shown as clear."""
    tones = {10: Verdict.SUSPICIOUS, 0: Verdict.NO_EVIDENCE}
    return tones.get(result.exit_code, Verdict.INDETERMINATE).value


def _view_series(number: int, series: SeriesResult, custody: StudyCustody | None) -> _SeriesView:
    kept: dict[tuple[str, int], list[Figure]] = {}
    for picture in series.pictures:
        _keep_figure(kept, picture, series)
    ordered = words.order_regions(series.regions)
    numbers = {index: i for i, (index, _) in enumerate(ordered, start=1)}
    return _SeriesView(
        number=number,
        series=series,
        described=tuple((label, series.description[k]) for k, label in DESCRIBED.items() if series.description.get(k)),
        places=tuple(
            _view_place(i, place, series, numbers, tuple(kept.get(("nodule", _index(place.nodule)), ())))
            for i, place in enumerate(series.places, start=1)
        ),
        regions=tuple(
            _RegionView(i, region, tuple(kept.get(("region", index), ())))
            for i, (index, region) in enumerate(ordered, start=1)
        ),
        overviews=tuple(kept.get(("", -1), ())),
        findings=tuple(
            (words.CONFIDENCE_TITLE[level], meaning, tuple(f for f in series.findings if f.confidence is level))
            for level, meaning in words.CONFIDENCE_MEANING.items()
        ),
        custody=view_series(custody, series),
    )


def _keep_figure(kept: dict[tuple[str, int], list[Figure]], picture: RegionPicture, series: SeriesResult) -> None:
    """Draw a picture and file it under the region or nodule it shows, or as an overview."""
    thresholds = {e.detector: e.mark_threshold for e in series.evidence if e.mark_threshold is not None}
    region = series.regions[picture.region] if 0 <= picture.region < len(series.regions) else None
    # An overview and a nodule show the map of the first detector that has one, see detect.pictures.
    threshold = thresholds.get(region.detector) if region else next(iter(thresholds.values()), None)
    key = ("region", picture.region) if region else ("nodule", picture.nodule) if picture.nodule >= 0 else ("", -1)
    kept.setdefault(key, []).append(draw_figure(picture, region, threshold))


def _index(index: int | None) -> int:
    return -1 if index is None else index


def _view_place(
    number: int, place: Place, series: SeriesResult, region_numbers: Mapping[int, int], figures: tuple[Figure, ...]
) -> _PlaceView:
    """A place in words; ``region_numbers`` are those of the table of regions, by index in the series."""
    nodule = series.shows.nodules[place.nodule] if series.shows and place.nodule is not None else None
    region = series.regions[place.region] if place.region is not None else None
    alone = "on a slice without neighbours" if nodule and nodule.alone else ""
    size = words.say_nodule_size(nodule) if nodule else f"region of {words.say_extent(region)} mm" if region else ""
    marked = f"region {region_numbers[place.region]}" if place.region is not None else ""
    return _PlaceView(
        number=number,
        place=place,
        what=", ".join(filter(None, ("nodule" if nodule else "", marked))),
        details=tuple(filter(None, (nodule.where if nodule else "", size, alone))),
        nodule=nodule,
        figures=figures,
    )


def _view_detectors(result: ScanResult) -> list[_DetectorView]:
    """Each detector that was run, once a model it used."""
    views: dict[tuple, _DetectorView] = {}
    for series in result.series:
        for evidence in series.evidence:
            card = evidence.card or {}
            key = (evidence.detector, str(card.get("id")), str(card.get("sha256")))
            views.setdefault(key, _view_detector(evidence))
    return list(views.values())


def _view_detector(evidence: Evidence) -> _DetectorView:
    card = evidence.card or {}
    rows = [("Model", f"{card.get('id')}, version {card.get('version', 'not known')}")] if card.get("id") else []
    rows += [("SHA-256", str(card["sha256"]))] if card.get("sha256") else []
    if evidence.mark_threshold is not None:
        rows.append(("Marks from score", words.say_number(float(evidence.mark_threshold))))
    rows += [(label, _say(card[k])) for k, label in _CARD_TEXTS.items() if card.get(k)]
    return _DetectorView(evidence.detector, tuple(rows), tuple(figures_of(evidence)))


def flatten(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as rows of (dotted name, text).

    >>> list(flatten({"options": {"workers": 2, "detectors": ["header", "spectrum"]}}))
    [('options.workers', '2'), ('options.detectors', 'header, spectrum')]
    """
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from flatten(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)) and any(isinstance(part, (Mapping, list, tuple)) for part in value):
        for i, part in enumerate(value, start=1):
            yield from flatten(part, f"{name} {i}".strip())
    else:
        yield name, _say(value)


def _say(value: object) -> str:
    """A value of provenance or a card as text; nested ones as "name: value; ..."."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{k}: {_say(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_say(v) for v in value) or "none"
    return str(value)


def _say_interval(interval: list | None) -> str:
    """A confidence interval for reading."""
    return "not known" if interval is None else " to ".join(words.say_number(v, 3) for v in interval)
