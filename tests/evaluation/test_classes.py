"""The four classes measured: figures whose right value is known, and no score that answers the other's question."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from verict.datasets.uci import SiteType
from verict.detect.four_classes import BOUND, CLASSES, FourClasses, columns_of
from verict.evaluation import classes as module
from verict.evaluation.classes import Site, SiteJudge, choose_classes, content_only, macro_f1, measure_sites
from verict.report.classes import to_csv, to_document

RIGHT = {SiteType.TB: (-5, -5), SiteType.FB: (-5, 5), SiteType.TM: (5, -5), SiteType.FM: (5, 5)}


def by_hand() -> FourClasses:
    signs = np.array([[-1.0, -1, 0], [-1, 1, 0], [1, -1, 0], [1, 1, 0]])
    return FourClasses({}, signs, np.zeros(4))


def make_site(kind, nodule, tamper, *, patient="p", centre_hu=0.0, said=None):
    probabilities = by_hand().probabilities(np.array([nodule]), np.array([tamper]))[0] if said is None else said
    return Site(uuid="1", patient=patient, kind=kind, slice_number=3, y=10, x=20, chosen=False, nodule_score=nodule,
                tamper_score=tamper, probabilities=tuple(probabilities), centre_hu=centre_hu, diameter_mm=10.0,
                seen="unseen")


def make_sites(count=8, *, centre_hu=lambda kind: 0.0):
    return [make_site(kind, *RIGHT[kind], patient=f"p{i}", centre_hu=centre_hu(kind))
            for kind in CLASSES for i in range(count)]


def test_probabilities_sum_to_one_and_follow_both_scores():
    classes = by_hand()
    rows = classes.probabilities(*np.array([RIGHT[kind] for kind in CLASSES], float).T)
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    assert rows.argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_an_undefined_score_counts_as_lowest_and_an_extreme_one_no_more_than_the_bound():
    columns = columns_of(np.array([np.nan, 99.0]), np.array([-np.inf, -99.0]))
    assert columns[:, 0].tolist() == [-BOUND, BOUND]
    assert columns[:, 1].tolist() == [-BOUND, -BOUND]


def test_a_patient_learnt_from_is_judged_by_the_fold_without_them_unless_leaks_are_asked_for(monkeypatch):
    monkeypatch.setattr(module, "identify_patient", lambda patient: f"id of {patient}")
    shipped = replace(by_hand(), card={"training": {"seen": {"patients": {"id of known": 1}}}})
    folds = [by_hand() for _ in range(3)]
    assert choose_classes(shipped, folds, "known") is folds[1]
    assert choose_classes(shipped, folds, "another") is shipped
    assert choose_classes(shipped, None, "known") is shipped
    assert SiteJudge(leaky=True).cards == SiteJudge().cards


def test_all_right_is_one_everywhere():
    figures = measure_sites(make_sites())
    assert figures["four_classes"]["macro_f1"]["value"] == 1
    assert figures["shows_cancer"]["verict"]["auc"]["value"] == 1
    assert figures["tampered"]["verict"]["accuracy"]["value"] == 1
    assert figures["areas"]["TM against TB, tamper score (should be 0.5)"]["auc"]["value"] == 0.5
    assert figures["n"] == 32


def test_macro_f1_of_a_table_by_hand():
    confusion = np.array([[2, 0, 0, 0], [1, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]])
    assert macro_f1(confusion) == pytest.approx(np.mean([4 / 5, 2 / 3, 1]))  # FM does not occur and does not count


def test_one_mistake_shows_in_precision_and_recall_of_both_classes():
    sites = [*make_sites(), make_site(SiteType.FB, *RIGHT[SiteType.TB], patient="p0")]
    figures = measure_sites(sites)["four_classes"]
    assert figures["classes"]["FB"]["recall"] == pytest.approx(8 / 9, abs=1e-4)
    assert figures["classes"]["TB"]["precision"] == pytest.approx(8 / 9, abs=1e-4)
    assert figures["confusion"]["rows_are_truth"][1] == [1, 8, 0, 0]


def test_brightness_alone_tells_nodules_and_never_tampering():
    figures = measure_sites(make_sites(centre_hu=lambda kind: 0.0 if kind in ("TM", "FM") else -850.0))
    assert figures["shows_cancer"]["content_only"]["auc"]["value"] == 1
    assert figures["tampered"]["content_only"]["auc"]["value"] == pytest.approx(0.5, abs=0.05)
    assert figures["content_only"]["macro_f1"]["value"] < 0.8


def test_the_baseline_never_sees_the_patient_it_judges():
    rng = np.random.default_rng(0)
    sites = [make_site(kind, 0, 0, patient=f"{kind}{i}", centre_hu=float(rng.normal(0, 100)))
             for kind in CLASSES for i in range(12)]
    own = content_only(sites).argmax(axis=1)
    truth = np.array([CLASSES.index(s.kind) for s in sites])
    assert (own == truth).mean() < 0.5


def test_outputs_hold_every_site_and_no_patient():
    sites = make_sites(2)
    document = to_document(sites, measure_sites(sites), {})
    assert len(document["sites"]) == 8
    assert "patient" not in str(document["sites"])
    lines = to_csv(sites).splitlines()
    assert lines[0] == "uuid,slice,x,y,TB,FB,TM,FM,said,type"
    assert lines[1].endswith("TB,TB")
