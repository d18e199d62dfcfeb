"""Each conclusion is drawn from the figure it speaks of, where it is beyond doubt, and from nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from detect.volumes import DECISIVE, MARK, make_map, make_volume
from evaluation.cases import make_case as make_authentic

from verict.datasets.scans import Source
from verict.datasets.splits import Scanner
from verict.detect.evidence import ScoreMap
from verict.evaluation.alarms import alarm_figures, judge_case
from verict.evaluation.case import Case, Place, PlaceKind, Seen, Subject, without_pixels
from verict.evaluation.conclusions import compare_with_brightness, conclude
from verict.evaluation.figures import location_figures
from verict.evaluation.matching import match_places
from verict.evaluation.places import tabulate_places
from verict.evaluation.result import Evaluation, Measured
from verict.statistics import Figure

CALIBRATION = {"mark_threshold": 0.0}


def make_case(patient: str, places: list[Place], scores: list[float], seen: Seen = Seen.OUT_OF_FOLD) -> Case:
    """A slice with places 40 pixels apart, each with its score."""
    volume = make_volume(1, size=(40, 40 * len(places)))
    values = np.full((1, 40, 40 * len(places)), np.nan, np.float32)
    for place, score in zip(places, scores, strict=True):
        values[0, place.y, place.x] = score
    subject = Subject(
        Source.LABELLED, patient, patient, Scanner("uci", patient), "", without_pixels(volume), np.array([True]),
        {}, {}, tuple(places),
    )  # fmt: skip
    return Case(subject, ScoreMap(values, 1, 0.0), CALIBRATION, seen)


def place_at(index: int, kind: PlaceKind, centre_hu: float) -> Place:
    is_measured = kind is not PlaceKind.PARENCHYMA and kind is not PlaceKind.FB
    size = (10.0, -700.0) if is_measured else (np.nan, np.nan)
    return Place(kind, 0, 20, 40 * index + 20, centre_hu, *size)


def make_cases(*, better: tuple[PlaceKind, ...], seed: int = 0, patients: int = 24) -> list[Case]:
    """FB and FM with six untouched places each; HU tells a little, the score tells all of the kinds in ``better``."""
    rng = np.random.default_rng(seed)
    cases = []
    for p in range(patients):
        kinds = [PlaceKind.FB, *[PlaceKind.PARENCHYMA] * 6, PlaceKind.FM, *[PlaceKind.BRIGHT] * 6]
        hu = [rng.normal(100 if k in (PlaceKind.FB, PlaceKind.FM) else 0, 100) for k in kinds]
        scores = [h + (1000 if k in better else 0) for h, k in zip(hu, kinds, strict=True)]
        places = [place_at(i, k, h) for i, (k, h) in enumerate(zip(kinds, hu, strict=True))]
        cases.append(make_case(f"p{p}", places, scores))
    return cases


def suspicious_series(called: int, series: int, patients: int) -> Measured:
    maps = [make_map(1, fill=DECISIVE if i < called else MARK - 1) for i in range(series)]
    cases = [make_authentic(values, patient=f"p{i % patients}") for i, values in enumerate(maps)]
    return alarm_figures([judge_case(case, "detector") for case in cases], seed=0)["suspicious_series"]


def make_evaluation(
    *,
    pooled: tuple[float, float] = (0.8, 1.0),
    leak: tuple[float, float] = (0.45, 0.55),
    suspicious: tuple[int, int, int] = (1, 7, 5),
    lost: tuple[float, float] = (-0.01, 0.02),
    template: tuple[float, float] = (-0.01, 0.02),
) -> Evaluation:
    def between(ends, n: int = 50, **about) -> Measured:
        return Measured(Figure(float(np.mean(ends)), *ends, n), about=about)

    figures = {
        "auc": {"pooled": between(pooled)},
        "source_leak": {"auc_negatives": between(leak)},
        "authentic": {"suspicious_series": suspicious_series(*suspicious)},
    }
    areas = {"auc_as_is": 0.9, "auc_in_guise": 0.5}
    probes = {
        "mirrored": {"auc_lost": between(lost, **areas)},
        "shifted": {"auc_lost": between((0.3, 0.5), **areas)},
        "template_headers": {"auc_lost": between(template, **areas)},
    }
    return Evaluation("detector", figures, probes=probes)


BOTH = (PlaceKind.FB, PlaceKind.FM)


@pytest.fixture(scope="module")
def good():
    return make_cases(better=BOTH)


def said(evaluation: Evaluation, cases: list[Case]) -> dict[str, bool]:
    return {c.code: c.grave for c in conclude(evaluation, cases)}


def test_nothing_is_said_where_nothing_is_wrong(good):
    assert said(make_evaluation(), good) == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"pooled": (0.49, 0.9)}, {"chance": False}),
        ({"pooled": (0.5, 0.9)}, {"chance": False}),
        ({"pooled": (0.2, 0.4)}, {"chance": False}),
        ({"pooled": (0.51, 0.9)}, {}),
        ({"leak": (0.61, 0.8)}, {"source_leak": True}),
        ({"leak": (0.2, 0.39)}, {"source_leak": True}),
        ({"leak": (0.55, 0.9)}, {}),
        ({"lost": (0.06, 0.5)}, {"memorised": True}),
        ({"lost": (0.04, 0.5)}, {}),
        ({"lost": (-0.5, -0.2)}, {}),
        ({"template": (0.06, 0.5)}, {"reads_headers": True}),
        ({"template": (0.04, 0.5)}, {}),
        ({"suspicious": (0, 7, 5)}, {"false_alarm_bound": False}),
    ],
)
def test_a_conclusion_needs_its_interval_beyond_the_limit(good, changes, expected):
    assert said(make_evaluation(**changes), good) == expected


@pytest.mark.parametrize(("slices", "uneven"), [([1] * 12, False), ([1] * 9, True), ([60, 60, *[1] * 18], True)])
def test_patients_with_most_of_the_slices_count_as_few(good, slices, uneven):
    judged = [
        judge_case(make_authentic(make_map(n), patient=f"p{i}", positions_mm=range(n)), "detector")
        for i, n in enumerate(slices)
    ]
    marks = {"false_marks_per_slice": alarm_figures(judged, seed=0)["false_marks_per_slice"]}
    drawn = conclude(replace(make_evaluation(), figures={"authentic": marks}), good)
    assert [c.code for c in drawn] == ["uneven"] * uneven
    assert all(f"{len(slices)} authentic patients" in c.text for c in drawn)


def test_the_bound_is_a_share_of_the_patients(good):
    """Seven series of five patients tell no more of other patients than five do."""
    (only,) = conclude(make_evaluation(suspicious=(0, 7, 5)), good)
    assert "None of 7 authentic series of 5 patients" in only.text
    assert "below 0.52" in only.text


def test_a_series_the_model_was_fitted_on_is_grave_and_counted(good):
    cases = [make_case("p", list(good[0].subject.places), [1.0] * 14, Seen.IN_SAMPLE), *good]
    first = conclude(make_evaluation(), cases)[0]
    assert (first.code, first.grave) == ("in_sample", True)
    assert "1 of the 25 series" in first.text


@pytest.mark.parametrize("seen", [Seen.UNSEEN, Seen.UNTRAINED, Seen.OUT_OF_FOLD])
def test_other_ways_of_having_been_seen_are_none(good, seen):
    cases = [Case(c.subject, c.score_map, c.calibration, seen) for c in good]
    assert said(make_evaluation(), cases) == {}


@pytest.mark.parametrize(
    ("better", "grave"), [((PlaceKind.FB,), False), ((PlaceKind.FM,), False), ((), True)]
)
def test_brightness_is_to_be_beaten_on_each_kind_and_grave_where_on_none(better, grave):
    cases = make_cases(better=better)
    drawn = conclude(make_evaluation(), cases)
    assert {c.code: c.grave for c in drawn} == {"no_better_than_brightness": grave}
    assert len(drawn) == 2 - len(better)


def test_darkness_is_brightness_too():
    """Painted places that are darker: a detector that outputs -HU does no better than HU read the other way."""
    cases = make_cases(better=())
    table = tabulate_places(cases)
    assert compare_with_brightness(table, PlaceKind.FB).value == pytest.approx(0, abs=1e-6)
    flipped = [
        make_case(
            c.subject.patient,
            [place_at(i, p.kind, -p.centre_hu) for i, p in enumerate(c.subject.places)],
            [p.centre_hu for p in c.subject.places],
        )
        for c in cases
    ]
    figure = compare_with_brightness(tabulate_places(flipped), PlaceKind.FB)
    assert figure.value == pytest.approx(0, abs=1e-6)
    assert figure.high == pytest.approx(0, abs=1e-6)


def test_injections_are_compared_with_what_looks_like_them():
    """Places of another size are no match; where too few match, all bright places are taken."""
    cases = make_cases(better=BOTH)
    table = tabulate_places(cases)
    assert compare_with_brightness(table, PlaceKind.FM).n < 24, "some are left without a match"
    table.diameter_mm[table.kind == "FM"] = 40.0
    unmatched = compare_with_brightness(table, PlaceKind.FM)
    assert unmatched.n == 24
    assert unmatched.low > 0


@pytest.mark.parametrize(("patients", "few"), [(24, False), (19, True), (9, True)])
def test_few_places_are_said_to_be_few(patients, few):
    drawn = conclude(make_evaluation(), make_cases(better=BOTH, patients=patients))
    texts = [c.text for c in drawn if c.code == "too_few"]
    assert len(texts) == 2 * few
    assert all(f"{patients} places of {patients} patients" in text for text in texts)


def test_few_patients_told_apart_completely_are_few_and_not_chance():
    """Of four patients an area of 1 has an interval down to 0.4: that is their number, not the detector."""
    cases = make_cases(better=BOTH, patients=4)
    table = tabulate_places(cases)
    evaluation = Evaluation("detector", location_figures(table, match_places(table), seed=0))
    complete = evaluation.figures["auc"]["pooled"].figure
    assert (complete.value, complete.low) == (1.0, pytest.approx(0.398, abs=1e-3))
    codes = {c.code for c in conclude(evaluation, cases)}
    assert "too_few" in codes
    assert "chance" not in codes


def test_the_gravest_come_first(good):
    drawn = conclude(make_evaluation(pooled=(0.4, 0.9), leak=(0.7, 0.8), suspicious=(0, 7, 5)), good)
    assert [c.grave for c in drawn] == sorted((c.grave for c in drawn), reverse=True)
    assert drawn[0].code == "source_leak"


def test_missing_figures_give_no_conclusion(good):
    figures = {"auc": {"pooled": Measured.missing("none")}, "authentic": {}}
    assert said(Evaluation("detector", figures, probes=make_evaluation().probes), good) == {}


def test_without_probes_it_is_said_what_goes_unnoticed(good):
    evaluation = make_evaluation()
    assert said(Evaluation("detector", evaluation.figures), good) == {"not_probed": False}
