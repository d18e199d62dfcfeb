"""The ruler catches cheats: each gets the verdict it deserves, and a detector that looks at the paint gets none."""

from __future__ import annotations

from functools import partial

import pytest
from evaluation.cheats import (
    Brightness,
    Flood,
    HeaderReader,
    Honest,
    Leaky,
    Memory,
    MemoryLearner,
    Noise,
    Snoop,
    each,
    make_authentic,
    make_labelled,
    make_scan,
    write_betraying_collection,
)

from verict.datasets.scans import read_labelled_scans
from verict.datasets.uci import SiteType
from verict.evaluation.case import PlaceKind
from verict.evaluation.conclusions import conclude
from verict.evaluation.fair import Entrant
from verict.evaluation.learners import cross_fit
from verict.evaluation.measure import measure
from verict.evaluation.places import score_at
from verict.evaluation.run import evaluate_entrant
from verict.evaluation.subjects import make_subject

BOUND = {"false_alarm_bound", "uneven"}  # true of any detector on so few authentic series


@pytest.fixture(scope="module")
def labelled():
    return make_labelled()


@pytest.fixture(scope="module")
def authentic():
    return make_authentic()


def judge(detector, scans, *, probe: bool = True):
    return evaluate_entrant(Entrant("cheat", lambda _: detector), each(scans), probe=probe)


def codes(evaluation, *, grave: bool | None = None) -> set[str]:
    return {c.code for c in evaluation.conclusions if grave is None or c.grave is grave}


def area(evaluation, name: str) -> float:
    return evaluation.figures["auc"][name].figure.value


def test_an_honest_detector_is_found_good_and_nothing_is_said_against_it(labelled, authentic):
    evaluation = judge(Honest(), [*labelled, *authentic])
    assert codes(evaluation) == BOUND
    assert area(evaluation, "pooled") > 0.99
    for guise in ("mirrored", "shifted"):
        assert abs(evaluation.probes[guise]["auc_lost"].figure.value) < 0.01


def test_local_brightness_is_no_better_than_brightness(labelled, authentic):
    evaluation = judge(Brightness(), [*labelled, *authentic], probe=False)
    assert "no_better_than_brightness" in codes(evaluation, grave=True)
    against = [c.text for c in evaluation.conclusions if c.code == "no_better_than_brightness"]
    assert len(against) == 2, "on removals and on injections alike"


def test_local_brightness_on_real_slices_is_no_better_than_brightness(shared_data):
    every_fourth = list(read_labelled_scans(shared_data / "ctgan", lambda *_: None))[::4]
    evaluation = judge(Brightness(), every_fourth, probe=False)
    assert "no_better_than_brightness" in codes(evaluation, grave=True)
    assert evaluation.data["real_fakes"] == sum(len(n) for s in every_fourth for n in s.labels.values()) == 12


def test_slices_learnt_by_heart_are_lost_in_the_mirror(labelled, authentic):
    evaluation = judge(Memory.of(labelled), [*labelled, *authentic])
    assert area(evaluation, "pooled") > 0.99, "the figures alone look perfect"
    assert codes(evaluation, grave=True) == {"memorised"}
    assert evaluation.conclusions[0].code == "memorised"
    for guise in ("mirrored", "shifted"):
        assert evaluation.probes[guise]["auc_lost"].figure.low > 0.3


def test_a_learner_that_learns_by_heart_collapses_out_of_fold(labelled, authentic):
    cases = [(scan, make_subject(scan, 1)) for scan in [*labelled, *authentic]]
    known = MemoryLearner().fit(cases)
    scan, subject = cases[0]
    painted = next(p for p in subject.places if p.kind is PlaceKind.FB)
    seen = known.score(scan.volume, scan.lungs)
    assert score_at(seen, painted.z, painted.y, painted.x, scan.volume.spacing_mm) == 1, "it did learn"
    judged = cross_fit(MemoryLearner(), cases, folds=3)
    evaluation = measure(judged, "out of fold")
    assert area(evaluation, "pooled") < 0.65
    assert "chance" in {c.code for c in conclude(evaluation, judged)}


def test_noise_is_chance(labelled, authentic):
    evaluation = judge(Noise(), [*labelled, *authentic], probe=False)
    assert "chance" in codes(evaluation)
    assert abs(area(evaluation, "pooled") - 0.5) < 0.15


def test_marking_everything_finds_everything_and_is_worth_nothing(labelled, authentic):
    evaluation = judge(Flood(), [*labelled, *authentic], probe=False)
    assert evaluation.figures["frozen"]["pooled"].figure.value == 1
    assert evaluation.figures["frozen"]["false_positive_rate_parenchyma"].figure.value == 1
    assert [evaluation.figures["froc"][rate].figure.value for rate in ("0.02", "0.1", "0.5")] == [0, 0, 0]
    assert "chance" in codes(evaluation)
    assert area(evaluation, "pooled") == 0.5


def test_a_detector_that_knows_the_collection_leaks(labelled):
    evaluation = judge(Leaky(), [*labelled, *make_authentic(pixel_mm=0.9)], probe=False)
    assert {"source_leak", "chance"} <= codes(evaluation)
    assert "source_leak" in codes(evaluation, grave=True)


@pytest.fixture(scope="module")
def betraying(tmp_path_factory):
    kinds = [SiteType.FB, SiteType.FM] * 10
    scans = [make_scan(seed, [kind]) for seed, kind in enumerate(kinds, start=1)]
    return write_betraying_collection(tmp_path_factory.mktemp("betraying"), scans)


read = partial(read_labelled_scans, progress=lambda *_: None)


def test_a_detector_that_reads_the_answer_in_a_header_is_caught(betraying):
    evaluation = judge(HeaderReader(), read(betraying))
    assert area(evaluation, "pooled") > 0.99, "the figures alone look perfect"
    assert "reads_headers" in codes(evaluation, grave=True)
    assert "memorised" in codes(evaluation), "what it reads is not where the mirrored paint is"
    assert evaluation.probes["template_headers"]["auc_lost"].figure.low > 0.3


def test_a_detector_that_hides_what_it_reads_gets_nothing_to_read(betraying):
    snoop = Snoop()
    evaluation = judge(snoop, read(betraying))
    assert snoop.seen == []
    assert "chance" in codes(evaluation)
    told = evaluation.probes["template_headers"]["auc_lost"]
    assert (told.figure.value, told.reason) == (None, "the detector is given no headers")
