"""The page of an evaluation says what the figures say, warns first, holds itself together, and runs nothing."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from itertools import pairwise

import pytest
from report.evaluations import (
    EVERY_KIND,
    IN_SAMPLE,
    SECRET_PATH,
    figure,
    make_evaluation,
    make_figures,
    make_report,
    make_unreadable,
)
from report.page import Page

from verict.evaluation.result import Conclusion, Measured
from verict.report.evaluation_charts import HEIGHT, LEFT, RIGHT, TOP, WIDTH, draw_charts
from verict.report.evaluation_html import GRAVE_TITLE, LIMITED_TITLE, PLAIN_TITLE, to_html
from verict.report.evaluation_json import EvaluationReport
from verict.report.evaluation_rows import rows_of
from verict.report.evaluation_words import DEFINITIONS
from verict.report.output import check_output_file

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}\x1b[2J\udce9\u202e]]>&lt;"
KNOWN_ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "class", "id", "href", "scope", "viewbox", "role", "aria-label",
    "x", "y", "width", "height", "d", "text-anchor", "cx", "cy", "r",
}  # fmt: skip

each_kind = pytest.mark.parametrize("report", EVERY_KIND.values(), ids=EVERY_KIND)


def _poison(value: object) -> object:
    """The same object with every text and key in it hostile, numbers kept."""
    if isinstance(value, str) and type(value) is str:
        return HOSTILE
    if isinstance(value, tuple):
        return tuple(_poison(v) for v in value)
    if isinstance(value, dict):
        return {k: _poison(v) for k, v in value.items()} | {HOSTILE: "x"}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _poison(getattr(value, f.name)) for f in fields(value)})
    return value


@each_kind
def test_page_is_self_contained(report: EvaluationReport) -> None:
    page = Page(to_html(report))
    assert page.unclosed == []
    names = {name for name, _ in page.elements}
    assert names & {"script", "link", "iframe", "object", "img", "image", "form", "base", "use"} == set()
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    for _, attributes in page.elements:
        assert "src" not in attributes
        assert attributes.get("href", "#figures")[1:] in ids
    assert any("default-src 'none'" in a.get("content", "") for a in page.all("meta"))


@each_kind
def test_headings_leave_no_level_out(report: EvaluationReport) -> None:
    levels = [int(name[1]) for name, _ in Page(to_html(report)).elements if name[0] == "h" and name[1:].isdigit()]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


@each_kind
def test_no_value_is_shown_as_a_program_would(report: EvaluationReport) -> None:
    text = Page(to_html(report)).text
    assert re.findall(r"\b(?:nan|inf|None|True|False(?! mark)|Measured)\b", text) == []


def test_hostile_text_stays_text() -> None:
    given = make_evaluation()
    figures = make_figures() | {HOSTILE: {HOSTILE: Measured.missing(HOSTILE)}}
    hostile = replace(
        given, detector=HOSTILE, figures=figures, strata=((HOSTILE, HOSTILE, {HOSTILE: figure(0.5)}),),
        data=given.data | {HOSTILE: HOSTILE}, conclusions=(Conclusion(HOSTILE, HOSTILE, grave=True),),
        probes={HOSTILE: {HOSTILE: figure(0.1, about={HOSTILE: HOSTILE})}},
    )  # fmt: skip
    report = make_report(hostile, failures=(make_unreadable(),), provenance=_poison(dict(make_report().provenance)))
    html = to_html(report)
    html.encode("utf-8")
    page = Page(html)
    assert {name for name, _ in page.elements} & {"script", "img"} == set()
    assert {a for _, attributes in page.elements for a in attributes} <= KNOWN_ATTRIBUTES
    assert "{{ 7 * 7 }}" in page.text
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_page_says_every_figure_with_its_interval_n_and_content_beside_it() -> None:
    text = Page(to_html(make_report())).text
    for said in (
        LIMITED_TITLE, "Only 21 places of 20 patients",
        "removed cancers (FB) against untouched lung patients 20 0.975 0.928 to 1.000 "
        "34 1081 0.746 (0.670 to 0.830)", "only 3 bright",
        "threshold 0.657", "0.00012", "0.99999912", "brightness marks no regions", "no scan has neighbouring slices",
        "vendor: PHILIPS",
        "mirrored left to right: area under the curve lost AUC as they are 0.941 0.002", "712", "c" * 64,
        "options.detector",
        "out of fold 40", "unseen 7", "55 published real fakes among the data", "Further figures by content only",
        *(term for term, _ in DEFINITIONS),
    ):  # fmt: skip
        assert said in text, said


def test_in_sample_figures_are_warned_of_before_anything_else() -> None:
    page = Page(to_html(make_report(IN_SAMPLE)))
    assert page.all("h1") == [{"class": "verdict suspicious"}]
    order = [page.text.index(said) for said in (
        f": {GRAVE_TITLE}", "Read first: 3 series judged in sample", "Voids the figures: The model was fitted on 3",
        "in sample 3", "Telling painted places",
    )]  # fmt: skip
    assert order == sorted(order)
    warned = to_html(make_report(replace(IN_SAMPLE, conclusions=())))
    assert Page(warned).all("h1") == [{"class": "verdict indeterminate"}]


def test_a_page_with_nothing_to_say_against_its_figures_says_so() -> None:
    page = Page(to_html(make_report(make_evaluation(conclusions=()))))
    assert page.all("h1") == [{"class": "verdict no_evidence"}]
    assert f"{PLAIN_TITLE} Looked for: series judged in sample" in page.text


def test_what_is_missing_is_warned_of_and_not_named() -> None:
    report = make_report(failures=(make_unreadable(),), labels_left_out=2, recorded=False)
    text = Page(to_html(report)).text
    for said in (
        "1 input could not be read", "2 label rows left out, since the slice is missing",
        "could not be recorded in the ledger",
        "pixel data is truncated (PixelData (7FE0,0010))",
    ):  # fmt: skip
        assert said in text, said
    assert SECRET_PATH not in text
    assert "MUSTER" not in text


def test_a_page_and_its_json_may_be_replaced_like_a_report(tmp_path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    page = study / "page.html"
    page.write_text(to_html(make_report()), encoding="utf-8")
    check_output_file(page, [study])


def test_curves_are_drawn_where_they_have_values() -> None:
    page = Page(to_html(make_report()))
    drawings = page.all("svg")
    assert len(drawings) == 2  # FROC per slice and sensitivity; there is nothing per scan
    assert all(d["role"] == "img" for d in drawings)
    assert "all forgeries: 0.400 at 0.02, 0.700 at 0.1, 0.900 at 0.5, 1.000 at 1" in drawings[0]["aria-label"]
    assert "content only, all: 0.300 at 0.01, 0.400 at 0.05" in drawings[1]["aria-label"]
    assert Page(to_html(EVERY_KIND["bare"])).all("svg") == []


def test_points_lie_where_their_values_are() -> None:
    charts = draw_charts({"froc": {
        "0.02": figure(0.0, 0.0, 0.1), "0.1": Measured.missing("x"), "0.5": figure(0.5), "1": figure(1.0, 0.75, 1.0)
    }})  # fmt: skip
    (chart,) = charts
    (line,) = chart.lines
    first, middle, last = line.points
    bottom = dict((text, y) for y, text in chart.ticks_y)["0 %"]
    assert (first.y, last.y) == (bottom, TOP)
    assert middle.y == pytest.approx((bottom + TOP) / 2)
    assert (middle.low_y, middle.high_y) == (None, None)
    assert last.low_y == pytest.approx(TOP + (bottom - TOP) / 4)
    assert [first.x, middle.x, last.x] == [x for x, text in chart.ticks_x if text != "0.1"]
    assert LEFT < first.x < middle.x < last.x < WIDTH - RIGHT
    # A logarithmic axis: from 0.5 to 1 is as far as a factor of two, from 0.02 to 1 a factor of fifty.
    assert (last.x - middle.x) / (last.x - first.x) == pytest.approx(0.1772, abs=1e-4)
    assert "none at 0.1" in chart.words


def test_lines_at_one_place_do_not_hide_each_other() -> None:
    for chart in draw_charts(make_figures()):
        places = [p.x for line in chart.lines for p in line.points]
        assert len(set(places)) == len(places)
        assert len({line.marker for line in chart.lines}) == len(chart.lines)
        assert all(TOP <= y <= HEIGHT for line in chart.lines for p in line.points for y in (p.y, p.low_y, p.high_y))


def test_a_part_of_the_data_has_content_alone_beside_its_figures() -> None:
    tree = {
        "auc": {"fb_parenchyma": figure(0.61, 0.5, 0.7, 8)},
        "content_only": {"auc": {"fb_parenchyma": figure(0.44, 0.4, 0.5, 8)}, "alone": figure(0.222, n=3)},
    }
    rows = rows_of(tree)
    assert [(row.value, row.content_value) for row in rows] == [("0.610", "0.440"), ("0.222", "")]
    text = Page(to_html(make_report(make_evaluation(strata=(("method x touch-up", "ctgan x copied", tree),))))).text
    part = text[text.index("method x touch-up: ctgan x copied"):]
    assert part.index("Content only") < part.index("0.610") < part.index("0.440")
