"""Abstentions are counted over slices with lung and over series, with why."""

from __future__ import annotations

import numpy as np
import pytest
from detect.volumes import CALIBRATION, DECISIVE, MARK, ORIGIN_PX, STRIDE_PX, make_map, make_volume

from verict.datasets.scans import Source
from verict.datasets.splits import Scanner
from verict.detect.evidence import ScoreMap
from verict.detect.result import Verdict
from verict.evaluation.abstention import measure_abstention
from verict.evaluation.alarms import Judged, judge_case
from verict.evaluation.case import Case, Seen, Subject, without_pixels


def make_case(values: np.ndarray, *, source: Source = Source.LABELLED, lung=None, calibration=CALIBRATION) -> Judged:
    positions = np.arange(len(values)) * 50.0  # lone slices
    subject = Subject(
        source=source,
        folder="f",
        patient="p",
        scanner=Scanner(),
        kernel="",
        geometry=without_pixels(make_volume(positions, thickness_mm=1.0)),
        lung_slices=np.ones(len(values), bool) if lung is None else np.array(lung),
        labels={},
        avoid_mm={},
        places=(),
    )
    case = Case(subject, ScoreMap(values, STRIDE_PX, ORIGIN_PX), calibration, Seen.UNTRAINED)
    return judge_case(case, "spectrum")


def make_cases() -> list[Judged]:
    """One series each: calm, marked too weakly, decisive, and without any score."""
    calm, weak, decisive, empty = make_map(2), make_map(2), make_map(2), make_map(2, fill=np.nan)
    weak[0, 4, 4], decisive[0, 4, 4] = MARK, DECISIVE
    return [make_case(m) for m in (calm, weak, decisive, empty)]


def test_each_case_is_judged_by_the_rule():
    verdicts = [c.verdict for c in make_cases()]
    assert verdicts == [Verdict.NO_EVIDENCE, Verdict.INDETERMINATE, Verdict.SUSPICIOUS, Verdict.INDETERMINATE]


def test_shares_and_reasons():
    found = measure_abstention(make_cases())["labelled"]
    assert (found["indeterminate_series"].figure.value, found["indeterminate_series"].figure.n) == (0.5, 4)
    assert dict(found["indeterminate_series"].about) == {"undecided": 1, "unscored": 1}
    assert (found["undefined_slices"].figure.value, found["undefined_slices"].figure.n) == (0.25, 8)
    assert 0 < found["undefined_slices"].figure.low < 0.25 < found["undefined_slices"].figure.high < 1


def test_slices_without_lung_are_no_abstention():
    values = make_map(2)
    values[1] = np.nan
    found = measure_abstention([make_case(values, lung=[True, False])])["labelled"]
    assert (found["undefined_slices"].figure.value, found["undefined_slices"].figure.n) == (0, 1)


def test_the_thresholds_of_the_case_decide():
    values = make_map(1)
    values[0, 4, 4] = MARK
    strict = CALIBRATION | {"mark_threshold": MARK + 1}
    found = [measure_abstention([make_case(values, calibration=c)])["labelled"] for c in (CALIBRATION, strict)]
    assert [f["indeterminate_series"].figure.value for f in found] == [1, 0]


@pytest.mark.parametrize("name", ["undefined_slices", "indeterminate_series"])
def test_a_collection_that_is_missing_has_its_reason(name):
    found = measure_abstention(make_cases())["authentic"]
    assert found[name].figure.value is None
    assert found[name].reason == "no series of this collection"


def test_without_any_lung_there_is_no_share():
    found = measure_abstention([make_case(make_map(1), source=Source.AUTHENTIC, lung=[False])])["authentic"]
    assert found["undefined_slices"].reason == "no slice with lung in this collection"
