"""The page says what the result says, holds itself together, and lets no DICOM text run."""

from __future__ import annotations

import math
import re
from dataclasses import fields, is_dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from report.page import Page, decode_png
from report.results import (
    SERIES_UID,
    SOP_ROOT,
    make_failure,
    make_p_value,
    make_picture,
    make_place,
    make_ratio,
    make_reading,
    make_region,
    make_result,
    make_series,
    make_shown_series,
)

from verict.detect.evidence import Evidence
from verict.detect.nodule.reading import Shown
from verict.detect.result import NotExamined, ScanResult, Verdict
from verict.report.html import flatten, to_html
from verict.report.words import CLASSES_MEANING, P_VALUE_MEANING, RATIO_MEANING, SHOWN_MEANING, SHOWN_TITLE

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}{% raw %}\x1b[2J\udce9\u202e]]>&lt;"
KNOWN_ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "class", "id", "href", "scope", "viewbox", "role", "aria-label",
    "x", "y", "width", "height", "preserveaspectratio", "d", "font-size", "stroke-width", "style",
}


def _poison(value: object) -> object:
    """The same object with every text in it replaced by hostile text, numbers and pictures kept."""
    if isinstance(value, str) and type(value) is str:
        return HOSTILE
    if isinstance(value, tuple):
        return tuple(_poison(v) for v in value)
    if isinstance(value, list):
        return [_poison(v) for v in value]
    if isinstance(value, dict):
        return {k: _poison(v) for k, v in value.items()}
    if is_dataclass(value):
        return replace(value, **{f.name: _poison(getattr(value, f.name)) for f in fields(value)})
    return value


def _study() -> ScanResult:
    return make_result(make_series(), make_series(Verdict.NO_EVIDENCE), failures=(make_failure(),))


def _shown() -> ScanResult:
    none_seen = make_series(Verdict.NO_EVIDENCE, shows=make_reading(Shown.NONE_SEEN))
    return make_result(make_shown_series(), none_seen, failures=(make_failure(),))


@pytest.mark.parametrize("anonymous", [False, True])
@pytest.mark.parametrize("study", [_study, _shown])
def test_page_is_self_contained(study, anonymous: bool) -> None:
    page = Page(to_html(study(), anonymous=anonymous))
    assert page.unclosed == []
    assert {name for name, _ in page.elements} & {"script", "link", "iframe", "object", "img", "form", "base"} == set()
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    for _, attributes in page.elements:
        assert "src" not in attributes
        href = attributes.get("href", "")
        assert href == "" or href.startswith("data:image/png;base64,") or href[1:] in ids, href[:40]
    assert any("default-src 'none'" in a.get("content", "") for a in page.all("meta"))


@pytest.mark.parametrize("anonymous", [False, True])
@pytest.mark.parametrize("study", [_study, _shown])
def test_hostile_text_stays_text(study, anonymous: bool) -> None:
    html = to_html(_poison(study()), anonymous=anonymous)
    html.encode("utf-8")
    page = Page(html)
    names = {name for name, _ in page.elements}
    assert names & {"script", "img"} == set()
    assert {a for _, attributes in page.elements for a in attributes} <= KNOWN_ATTRIBUTES
    assert "\x1b" not in html
    assert "\u202e" not in html
    if not anonymous:
        assert "{{ 7 * 7 }}" in page.text
        assert "\\x1b[2J\\udce9\\u202e" in page.text


def test_script_in_series_description_is_shown_not_run() -> None:
    html = to_html(make_result(make_series(description={"SeriesDescription": "<script>alert(1)</script>"})))
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_every_picture_says_what_it_shows() -> None:
    page = Page(to_html(_study()))
    drawings = page.all("svg")
    assert len(drawings) == 5  # where along the series, and four panels
    assert all(d["role"] == "img" and len(d["aria-label"]) > 20 for d in drawings)


def test_pictures_are_inside_the_page() -> None:
    page = Page(to_html(make_result(make_series())))
    shapes = [decode_png(image["href"]).shape for image in page.all("image")]
    # Whole slice; the place of 64 mm at 0.7 mm enlarged; its noise; the slice again, with the map of 32 x 32 cells.
    assert shapes == [(128, 128), (91, 91), (91, 91), (91, 91), (32, 32, 4)]
    assert "10 mm" in page.text


@pytest.mark.parametrize("study", [_study, _shown])
def test_headings_leave_no_level_out(study) -> None:
    levels = [int(name[1]) for name, _ in Page(to_html(study())).elements if name[0] == "h" and name[1:].isdigit()]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_suspicious_study_says_where_and_why() -> None:
    text = Page(to_html(make_result(make_series()))).text
    for said in (
        "Suspicious: signs of tampering", "one region is decisive", "z 12, y 64, x 40", "-62.4, 18.2, -241.5",
        "11 x 11 x 12", "10-14", "8.00", "4.50", f"{SOP_ROOT}.12", SERIES_UID, "finer and whiter",
        "(0002,0003)", "MediaStorageSOPInstanceUID", "an anonymiser that leaves the file meta alone",
        "Whoever wrote the file changed one and not the other.", "2 slices are missing after slice 20",
        "a scout: localizer in ImageType", "0.847 to 0.999", "712", "false marks per slice",
        "not for clinical diagnosis", "ab" * 32, "c" * 64, "options.detectors", "header, spectrum", "PID-0815",
    ):  # fmt: skip
        assert said in text, said


def test_decisive_region_comes_first() -> None:
    text = Page(to_html(make_result(make_series()))).text
    table = text[text.index("Patient position") :]
    assert table.index("1 decisive") < table.index("8.00") < table.index("4.50")
    assert "Region 1: z 12" in text
    assert "Pictures are given for 1 of 2 regions." in text


def test_no_evidence_is_never_called_authentic() -> None:
    page = Page(to_html(make_result(make_series(Verdict.NO_EVIDENCE))))
    assert "No evidence of tampering found; this is no proof of authenticity" in page.text
    assert "This does not prove the series authentic" in page.text
    assert {a["class"] for a in page.all("h1")} == {"verdict no_evidence"}


@pytest.mark.parametrize(
    ("result", "title", "tone"),
    [
        (make_result(make_series(Verdict.NO_EVIDENCE), failures=(make_failure(),)), "Incomplete", "indeterminate"),
        (make_result(make_series(Verdict.INDETERMINATE)), "Indeterminate", "indeterminate"),
        (make_result(), "Nothing examined", "indeterminate"),
        (make_result(make_series(), failures=(make_failure(),)), "Suspicious", "suspicious"),
        (
            make_result(make_series(Verdict.NO_EVIDENCE), not_examined=(NotExamined("s", "gaps", counts=True),)),
            "Indeterminate", "indeterminate",
        ),
    ],
)  # fmt: skip
def test_headline_is_never_better_than_the_worst_part(result: ScanResult, title: str, tone: str) -> None:
    page = Page(to_html(result))
    assert page.all("h1") == [{"class": f"verdict {tone}"}]
    assert f"scan report {title}" in page.text
    assert "No evidence of tampering found" not in page.text.split("Input")[0] or tone == "indeterminate"


def test_failures_are_listed() -> None:
    text = Page(to_html(_study())).text
    assert "1 input could not be read" in text
    assert "pixel data is truncated; tag PixelData (7FE0,0010)" in text


def test_series_without_pixel_evidence() -> None:
    series = make_series(Verdict.INDETERMINATE, score=None, evidence=(Evidence("header"),), slice_count=1)
    text = Page(to_html(make_result(series))).text
    assert "no detector that looks at pixels could judge this series" in text
    assert "No error rate has been measured for this detector." in text


def test_values_that_are_not_known_are_said_so() -> None:
    region = make_region(score=math.nan, centre_mm_lps=(math.nan,) * 3)
    card = {"figures": [{"name": "found"}, {"name": "n as text", "n": "55 sites", "interval": [None, math.nan]}]}
    evidence = (Evidence("spectrum", card=card),)
    text = Page(to_html(make_result(make_series(regions=(region,), pictures=(), evidence=evidence)))).text
    assert "not known, not known, not known" in text
    assert "55 sites" in text
    assert re.search(r"\b(nan|inf|None)\b", text) is None


def test_overview_is_drawn_without_a_contour() -> None:
    series = make_series(Verdict.NO_EVIDENCE, pictures=(make_picture(region=-1, slice_index=7),))
    page = Page(to_html(make_result(series)))
    assert "Overview: slice 7, without a mark" in page.text
    assert [a["class"] for a in page.all("path")] == ["bar-back", "bar"] * 2


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (512, 2)])
def test_odd_slices_are_drawn(shape: tuple[int, int]) -> None:
    empty = np.full((0, 0), np.nan, np.float32)
    picture = replace(
        make_picture(), hu=np.full(shape, np.nan, np.float32), residual=np.zeros(shape, np.float32), score=empty,
        contour=np.ones(shape, bool), lungs=np.zeros(shape, bool), pixel_spacing_mm=(0.0, math.nan),
    )  # fmt: skip
    page = Page(to_html(make_result(make_series(pictures=(picture,)))))
    assert len(page.all("image")) == 3
    assert "their size in mm is not known" in page.text


def test_flatten_nested_provenance() -> None:
    nested = {"a": {"b": None, "c": [1, 2]}, "models": [{"id": "x"}, {"id": "y", "ok": True}], "none": []}
    assert list(flatten(nested)) == [
        ("a.b", "not set"), ("a.c", "1, 2"), ("models 1.id", "x"), ("models 2.id", "y"), ("models 2.ok", "yes"),
        ("none", "none"),
    ]  # fmt: skip


def _weighed() -> ScanResult:
    regions = (
        make_region(likelihood_ratio=make_ratio(), ratio_reason=""),
        make_region(decisive=False, score=3.0, likelihood_ratio=make_ratio(13.6), ratio_reason=""),
        make_region(decisive=False, score=2.0, ratio_reason="too few patients"),
    )
    return make_result(make_series(regions=regions, pictures=(), p_value=make_p_value(), p_value_reason=""))


def test_weights_stand_with_what_they_compare_and_do_not_mean() -> None:
    text = Page(to_html(_weighed())).text
    assert "likelihood ratio 5.40: weak support for repainting" in text
    assert "no likelihood ratio: too few patients" in text
    assert text.count("first, lung was repainted here; second, untouched lung") == 1
    assert text.count(RATIO_MEANING) == 1
    assert "It is not the probability that the scan was forged" in RATIO_MEANING
    assert "0.077 (with 25 untouched patients to compare with, it cannot be below 0.038)" in text
    assert P_VALUE_MEANING in text


def test_without_weights_only_the_reason_is_given() -> None:
    text = Page(to_html(make_result(make_series()))).text
    assert "none: the model card tells no distribution" in text
    assert RATIO_MEANING not in text
    assert P_VALUE_MEANING not in text


def test_hostile_words_of_a_card_stay_text() -> None:
    page = Page(to_html(_poison(_weighed())))
    assert page.all("script") == page.all("img") == []
    assert "alert(1)" in page.text


def test_both_questions_are_answered_apart() -> None:
    page = Page(to_html(make_result(make_shown_series())))
    head, body = page.text.split("What it shows, and whether to believe it")
    assert "Suspicious: signs of tampering" in head
    assert f"{SHOWN_TITLE[Shown.CANCER]}: a 14 mm nodule in the left lung, upper third." in head
    for said in (
        SHOWN_MEANING[Shown.CANCER], "cancer a 14 mm nodule in the left lung, upper third",
        "1 nodule, region 1 a 14 mm nodule in the left lung, upper third; the tissue there looks painted; "
        "most likely FM (a nodule, painted), 87 % left lung, upper third; 14 mm across, volume of a ball of 13 mm; "
        "z 20, y 60, x 90 4.20 8.00 < 1 % 5 % 8 % 87 %",
        "right lung; size not known; on a slice without neighbours; z 25, y 64, x 40 1.50 not known - - - -",
        "region of 11 x 11 x 12 mm; z 12, y 64, x 40 -12.00 4.50 20 % 75 % < 1 % 5 %",
        "TB : no nodule, untouched.", CLASSES_MEANING, "This is no diagnosis.",
    ):  # fmt: skip
        assert said in body, said


def test_a_nodule_without_a_region_has_its_own_picture() -> None:
    page = Page(to_html(make_result(make_shown_series())))
    assert "Place 2: nodule, right lung (z 25, y 64, x 40) Slice 25, " + f"{SOP_ROOT}.25" in page.text
    assert "The line is a ring around the nodule." in page.text
    assert len([a for a in page.all("path") if a["class"] == "contour"]) == 6  # three of each place
    assert "Overview" not in page.text
    assert all(d["role"] == "img" and len(d["aria-label"]) > 20 for d in page.all("svg"))


def test_a_nodule_is_drawn_without_any_score_map() -> None:
    picture = replace(make_shown_series().pictures[1], score=np.zeros((0, 0), np.float32))
    page = Page(to_html(make_result(make_shown_series(pictures=(picture,)))))
    assert len(page.all("image")) == 3
    assert "The line is a ring around the nodule." in page.text


def test_a_page_without_a_reading_says_nobody_looked() -> None:
    page = Page(to_html(make_result(make_series(places=(make_place(nodule=None, nodule_score=None,
                                                                  probabilities=None),)))))  # fmt: skip
    assert "What it shows was not looked at: no detector of nodules was run." in page.text
    assert "1 region 1 a 14 mm nodule" in page.text
    assert CLASSES_MEANING not in page.text


def test_series_at_a_glance_tell_what_each_shows() -> None:
    text = Page(to_html(_shown())).text
    glance = text[text.index("Series at a glance") : text.index("Series 1 of 2")]
    assert "suspicious cancer 8.00" in glance
    assert "no evidence no cancer seen 1.25" in glance
    assert "No nodule was told and no region was marked" in text
