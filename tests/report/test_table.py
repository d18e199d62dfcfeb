"""The summary for a terminal is complete, plain in a pipe, and safe whatever the headers say."""

from __future__ import annotations

import io

import pytest
from report.results import (
    SERIES_UID,
    make_failure,
    make_p_value,
    make_place,
    make_ratio,
    make_reading,
    make_region,
    make_result,
    make_series,
    make_shown_series,
)
from rich.console import Console, RenderableType

from verict.ct.volume import Note
from verict.detect.nodule.reading import Shown
from verict.detect.result import NotExamined, ScanResult, Verdict
from verict.report.table import PLACES_SHOWN, REGIONS_SHOWN, render_studies, render_summary, summarise_study
from verict.report.words import CLASSES_MEANING, SHOWN_MEANING, SHOWN_TITLE, VERDICT_MEANING, say_count, say_slices


def _render(renderable: RenderableType, *, terminal: bool = False, width: int = 100) -> str:
    colours = "standard" if terminal else None
    console = Console(
        file=io.StringIO(), width=width, force_terminal=terminal, highlight=False, color_system=colours
    )
    console.print(renderable)
    return console.file.getvalue()


def _joined(text: str) -> str:
    return " ".join(text.split())


def test_summary_says_everything_that_matters() -> None:
    text = _joined(_render(render_summary(make_result(make_series(), failures=(make_failure(),)))))
    for said in (
        f"suspicious {SERIES_UID}", "Thorax nativ 1.0, GE MEDICAL SYSTEMS, LightSpeed16, STANDARD, 30 slices",
        "one region is decisive", "score 8.00; 2 regions marked, 1 decisive",
        "header findings: 1 contradiction, 1 unusual, 1 notable",
        "1 decisive 8.00 z 12, y 64, x 40 -62.4, 18.2, -241.5 11 x 11 x 12 10-14", "2 4.50",
        "region 1, 2: the noise here is finer", "note: 2 slices are missing after slice 20",
        "a scout: localizer in ImageType", "1 input could not be read", "Not for clinical diagnosis",
        "it is not proof of tampering",
    ):  # fmt: skip
        assert said in text, said


def test_no_patient_is_named() -> None:
    text = _render(render_summary(make_result(make_series(), not_examined=())))
    assert "ERIKA" not in text
    assert "PID-0815" not in text
    assert "20051224" not in text.replace(SERIES_UID, "")


def test_no_evidence_says_what_it_does_not_mean() -> None:
    text = _joined(_render(render_summary(make_result(make_series(Verdict.NO_EVIDENCE)))))
    assert VERDICT_MEANING[Verdict.NO_EVIDENCE] in text
    assert "This does not prove the series authentic" in text


def test_nothing_examined() -> None:
    text = _joined(_render(render_summary(make_result())))
    assert text.startswith("Nothing examined")


def test_pipe_gets_no_control_codes_and_a_fixed_width() -> None:
    hostile = "[red]x[/red] \x1b[31m [link=a]\u202e\udce9 :bomb:"
    series = make_series(
        reason=hostile, series_instance_uid=hostile, description={"SeriesDescription": hostile},
        notes=(Note("x", hostile),), regions=(make_region(evidence=hostile),),
        shows=make_reading(reason=hostile), places=(make_place(sentence=hostile),),
    )  # fmt: skip
    result = make_result(series, source=hostile, not_examined=(NotExamined(hostile, hostile),))
    for renderable in (render_summary(result), render_studies([summarise_study(result, hostile)])):
        text = _render(renderable)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "[red]x[/red]" in text
        assert ":bomb:" in _joined(text)
        assert max(map(len, text.splitlines())) <= 100
        text.encode("utf-8")


def test_markup_in_headers_is_not_obeyed_on_a_terminal() -> None:
    series = make_series(Verdict.NO_EVIDENCE, reason="[bold red]SUSPICIOUS[/]", notes=())
    text = _render(render_summary(make_result(series)), terminal=True)
    assert "[bold red]SUSPICIOUS[/]" in text
    assert "\x1b[1;31m" not in text


def test_long_uids_are_never_cut() -> None:
    uid = "1.2." + "3" * 60
    text = _render(render_summary(make_result(make_series(series_instance_uid=uid))), width=40)
    assert uid in text.replace("\n", "")
    assert "…" not in text


def test_cut_lists_say_so() -> None:
    series = make_series(
        regions=tuple(make_region(score=float(i)) for i in range(REGIONS_SHOWN + 3)),
        notes=tuple(Note("n", f"note {i}") for i in range(50)),
        places=tuple(make_place(sentence=f"place {i}") for i in range(PLACES_SHOWN + 2)),
    )
    text = _render(render_summary(make_result(series)))
    assert "and 3 more regions; the JSON lists all" in text
    assert "and 42 more notes; the JSON lists all" in text
    assert "and 2 more places; the JSON lists all" in text


def test_table_over_many_studies() -> None:
    results = [
        make_result(make_series(), failures=(make_failure(),)),
        make_result(make_series(Verdict.NO_EVIDENCE)),
        make_result(failures=(make_failure(),)),
        make_result(),
        make_result(make_series(Verdict.NO_EVIDENCE), failures=(make_failure(),)),
    ]
    rows = [summarise_study(r, f"study {i}") for i, r in enumerate(results)]
    assert [r.exit_code for r in rows] == [10, 0, 1, 11, 1]
    assert [r.score for r in rows] == [8.0, 1.25, None, None, 1.25]
    text = _joined(_render(render_studies(rows)))
    assert "1 study 0 suspicious - 1 30 8.00 2 1 one region" in text
    assert "5 studies: 1 suspicious, 2 failed in part, 1 indeterminate, 1 no_evidence." in text
    assert "no_evidence does not mean proven authentic" in text


def test_row_gives_the_reason_of_the_worst_series() -> None:
    result: ScanResult = make_result(make_series(Verdict.NO_EVIDENCE), make_series(reason="worst"))
    assert summarise_study(result, "x").reason == "worst"
    assert summarise_study(make_result(failures=(make_failure(),)), "x").reason == "pixel data is truncated"


@pytest.mark.parametrize(
    ("slices", "said"), [((), "none"), ((4,), "4"), ((9, 4, 5, 6, 5), "4-6, 9"), ((0, 1), "0-1")]
)
def test_slices_as_ranges(slices: tuple, said: str) -> None:
    assert say_slices(slices) == said


def test_counted_nouns() -> None:
    assert [say_count(n, "study", "studies") for n in (0, 1, 2)] == ["0 studies", "1 study", "2 studies"]


def test_a_study_left_undecided_by_what_was_not_examined_says_so() -> None:
    left_out = NotExamined("apex", "no lung found in the pixels", 1, counts=True)
    series = make_series(verdict=Verdict.NO_EVIDENCE, regions=(), reason="nothing found")
    row = summarise_study(make_result(series, not_examined=(left_out,)), "x")
    assert (row.exit_code, row.reason) == (11, "1 part could not be judged: no lung found in the pixels")
    assert summarise_study(make_result(series), "x").reason == "nothing found"


def test_the_weight_of_each_region_is_said_once() -> None:
    regions = (
        make_region(likelihood_ratio=make_ratio(), ratio_reason=""),
        make_region(decisive=False, score=3.0, likelihood_ratio=make_ratio(13.6), ratio_reason=""),
        make_region(decisive=False, score=2.0, ratio_reason="too few patients"),
        make_region(decisive=False, score=1.0, ratio_reason="too few patients"),
    )
    text = _joined(_render(render_summary(make_result(make_series(regions=regions, p_value=make_p_value())))))
    assert "region 1: likelihood ratio 5.40: weak support for repainting" in text
    assert "region 2: likelihood ratio 14: moderate support for repainting, the most that as few as 25 patients" in text
    assert "region 3, 4: no likelihood ratio: too few patients" in text
    assert "p-value 0.077 (with 25 untouched patients to compare with, it cannot be below 0.038)" in text


def test_without_a_p_value_the_summary_is_silent_about_it() -> None:
    assert "p-value" not in _render(render_summary(make_result(make_series())))


def test_both_questions_are_answered_apart() -> None:
    text = _joined(_render(render_summary(make_result(make_shown_series()))))
    for said in (
        "one region is decisive shows: cancer: a 14 mm nodule in the left lung, upper third",
        "the tissue there looks painted; most likely FM (a nodule, painted), 87 %",
        "a nodule in the right lung; whether it was painted could not be judged no nodule; unusual texture",
        "most likely FB (no nodule, painted: a cancer may have been removed), 75 %",
        VERDICT_MEANING[Verdict.SUSPICIOUS], SHOWN_MEANING[Shown.CANCER], CLASSES_MEANING,
    ):  # fmt: skip
        assert said in text, said


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (Shown.NONE_SEEN, "shows: no cancer seen: no nodule seen; this does not mean healthy"),
        (Shown.INDETERMINATE, "shows: indeterminate: what may be a nodule in the left lung, too unsure to decide"),
    ],
)
def test_what_is_shown_without_a_cancer(shown: Shown, said: str) -> None:
    text = _joined(_render(render_summary(make_result(make_series(Verdict.NO_EVIDENCE, shows=make_reading(shown))))))
    assert said in text
    assert SHOWN_MEANING[shown] in text
    assert CLASSES_MEANING not in text


def test_a_series_nobody_looked_at_for_nodules_says_so() -> None:
    text = _joined(_render(render_summary(make_result(make_series()))))
    assert "shows: not looked at: no detector of nodules was run" in text
    assert not any(meaning in text for meaning in SHOWN_MEANING.values())


def test_no_words_call_a_scan_healthy() -> None:
    assert set(SHOWN_TITLE) == set(SHOWN_MEANING) == set(Shown)
    assert not any("healthy" in said for said in (*SHOWN_TITLE.values(), *SHOWN_MEANING.values()))


def test_a_study_shows_what_its_gravest_series_shows() -> None:
    none, unsure, cancer = (
        make_series(Verdict.NO_EVIDENCE, shows=make_reading(s))
        for s in (Shown.NONE_SEEN, Shown.INDETERMINATE, Shown.CANCER)
    )
    rows = [
        summarise_study(make_result(*series), "x")
        for series in ((none, cancer, unsure), (none, unsure), (none,), (make_series(Verdict.NO_EVIDENCE),), ())
    ]
    assert [r.shown for r in rows] == [Shown.CANCER, Shown.INDETERMINATE, Shown.NONE_SEEN, None, None]
    assert [r.exit_code for r in rows] == [0, 0, 0, 0, 11]
    text = _joined(_render(render_studies(rows), width=200))
    assert "no_evidence cancer 3 90" in text
    assert "no_evidence no cancer seen 1 30" in text
    assert "no_evidence - 1 30" in text
    assert "may be real or painted; no cancer seen does not mean that there is none" in text
