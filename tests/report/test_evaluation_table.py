"""The summary on a terminal: verdicts first, every figure with interval, n and content, nothing cut off in silence."""

from __future__ import annotations

import io

import pytest
from report.evaluations import EVERY_KIND, IN_SAMPLE, figure, make_evaluation, make_report, make_unreadable
from rich.console import Console

from verict.evaluation.case import Seen
from verict.evaluation.result import Conclusion
from verict.evaluation.weighing import RATIO_KEYS
from verict.report.evaluation_json import EvaluationReport
from verict.report.evaluation_rows import count_seen, group_figures, label_of, rows_of, say_value
from verict.report.evaluation_table import render_evaluation


def show(report: EvaluationReport, width: int = 100) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
    console.print(render_evaluation(report, width))
    return stream.getvalue()


def test_conclusions_come_first_then_figures() -> None:
    text = " ".join(show(make_report()).split())
    order = [text.index(said) for said in (
        "Detector spectrum: how far the figures can be believed", "- Only 21 places of 20 patients",
        "- 7 series: never seen", "- 40 series: out of fold", "Telling painted places from untouched ones",
        "0.975 0.928 to 1.000 34/1081 0.746 (0.670 to 0.830)", "- no figure for injected cancers (FM) against",
        "Share of painted places found", "712", "Given the same scans in another guise", "n counts painted places",
        "By part of the data: 1 part",
    )]  # fmt: skip
    assert order == sorted(order)


def test_warnings_stand_before_the_figures() -> None:
    text = show(make_report(IN_SAMPLE, failures=(make_unreadable(),), labels_left_out=1, recorded=False))
    head = " ".join(text[: text.index("Telling painted")].split())
    for said in (
        "The model was fitted on 3", "3 series judged in sample", "1 input could not be read",
        "1 label row left out", "could not be recorded",
    ):  # fmt: skip
        assert said in head, said


@pytest.mark.parametrize("report", EVERY_KIND.values(), ids=EVERY_KIND)
@pytest.mark.parametrize("width", [60, 100, 220])
def test_lines_fit_and_no_figure_is_lost(report: EvaluationReport, width: int) -> None:
    text = show(report, width)
    assert max(map(len, text.splitlines())) <= width
    joined = "".join(text.split())
    for group in group_figures(report):
        assert "".join(group.title.split()) in joined
        for row in group.rows:
            assert "".join(row.reason.split()) in joined


def test_text_from_elsewhere_prints_safely() -> None:
    evaluation = make_evaluation(detector="[red]x\x1b[2J", conclusions=(Conclusion("c", "a\u202eb[/red]\nc"),))
    text = show(make_report(evaluation))
    assert "[red]x\\x1b[2J" in text
    assert "a\\u202eb[/red]\\nc" in text


def test_every_figure_is_in_one_row() -> None:
    groups = group_figures(make_report())
    labels = [(g.key, r.label) for g in groups for r in g.rows]
    assert len(set(labels)) == len(labels)
    auc = groups[0].rows
    assert [(r.value, r.content_value) for r in auc] == [("0.941", "0.810"), ("0.975", "0.746"), ("none", "none")]
    assert [g.key for g in groups][-2:] == ["tissue", "content_only"]
    assert [r.label for r in groups[-1].rows] == ["halves"]


def test_labels_of_keys_that_are_not_known() -> None:
    assert label_of(("fb", "some_key")) == "removed cancers (FB), some key"


def test_a_number_means_what_stands_above_it() -> None:
    assert label_of(("fb", "0.1")) == "removed cancers (FB), 0.1 false marks"
    assert label_of(("p_at_most", "0.1")) == "untouched slices with a p-value of at most 0.1, where 0.1 is right"


def test_every_figure_that_is_measured_has_a_name() -> None:
    for key in (*RATIO_KEYS, "p_distance", "fm_dense_labelled"):
        assert "_" not in label_of((key,))
        assert label_of((key,)) != key.replace("_", " "), key


def test_names_of_figures_have_room_on_a_terminal_of_80_columns() -> None:
    lines = show(make_report(), 80).splitlines()
    assert next(line for line in lines if "0.975" in line).startswith("removed cancers (FB)")


def test_one_patient_has_no_interval_over_patients() -> None:
    def interval(key: str, patients: int) -> str:
        (row,) = rows_of({key: figure(0.414, n=29, about={"patients": patients})})
        return row.interval

    assert interval("false_marks_per_slice", 1) == "not known: one patient"
    assert interval("false_marks_per_slice", 2) == ""
    assert interval("slices", 1) == "", "a count of what is there has none anyway"


def test_the_order_of_additions_is_not_shown() -> None:
    (row,) = rows_of({"fm_dense": figure(0.9, about={"share_from_labelled": 0.9999999999999998})})
    assert row.about == "share of these in labelled slices 1.000"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.500"), (1e-7, "0.0000001"), (0.99951, "0.99951"), (1.5, "1.500"), (2.0, "2"), (-0.0021, "-0.002"),
     (float("inf"), "none"), (-1.0, "-1.000")],
)  # fmt: skip
def test_numbers_keep_what_matters(value: float, text: str) -> None:
    assert say_value(value) == text


def test_seen_is_counted_over_all_collections() -> None:
    seen = {"labelled": {"seen": {"in_sample": 2}}, "authentic": {"seen": {"in_sample": 1, "out_of_fold": 4}}}
    assert count_seen(seen) == {Seen.IN_SAMPLE: 3, Seen.OUT_OF_FOLD: 4}
    assert count_seen({"labelled": {"series": 3}}) == {}


def test_counts_are_whole_numbers_and_shares_are_not() -> None:
    (untouched,) = (g for g in group_figures(make_report()) if g.key == "authentic")
    assert [(r.value, r.interval) for r in untouched.rows[:4]] == [
        ("712", ""), ("0.000", "0.000 to 0.040"), ("7", ""), ("0", "0 to 0.41"),
    ]  # fmt: skip
