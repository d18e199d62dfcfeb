"""Learning nodules: which blob is which, thresholds by false candidates, and folds that do not leak."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from verict.datasets.splits import Scanner
from verict.detect.nodule.rays import FEATURE_COUNT
from verict.training.nodule.chests import Truth
from verict.training.nodule.examples import LEFT_OUT, NODULE, OTHER, Examples, label_places
from verict.training.nodule.figures import false_candidates, fit_thresholds, measure
from verict.training.nodule.recipe import NetworkRecipe
from verict.training.nodule.sources import AUTHENTIC, CHESTS, read_annotations
from verict.training.nodule.train import NoduleRecipe, deal_folds, fit, may_learn

SPACING = np.array([2.0, 1.0, 1.0])


def make_examples(patient="a", what=CHESTS, scanner=("", "x"), *, label, places_mm, view=-1, features=None):
    label = np.array(label)
    count = len(label)
    return Examples(
        patient=patient, scanner=Scanner(*scanner), folder=patient, what=what, spacing_mm=(2.0, 1.0, 1.0),
        lung_slices=50, diameters_mm=(10.0,), kinds=("round",),
        features=np.zeros((count, FEATURE_COUNT), np.float16) if features is None else features,
        label=label, truth=np.where(label == NODULE, 0, -1), view=np.full(count, view),
        is_blob=np.ones(count, bool), centres_mm=np.array(places_mm, float),
    )  # fmt: skip


def test_blobs_within_a_nodule_are_it_and_those_beside_it_are_left_out():
    truth = Truth((10.0, 50.0, 50.0), 12.0, "round")
    unsure = Truth((40.0, 50.0, 50.0), 12.0, "uncertain", is_sure=False)
    centres = np.array([[10, 50, 50], [11, 52, 50], [10, 59, 50], [10, 90, 50], [40, 50, 50]], float)
    label, index = label_places(centres, [truth, unsure], SPACING)
    assert label.tolist() == [NODULE, NODULE, LEFT_OUT, OTHER, LEFT_OUT]
    assert index.tolist() == [0, 0, -1, -1, -1]


def test_false_candidates_that_lie_together_count_once_and_nodules_never():
    example = make_examples(label=[OTHER, OTHER, OTHER, NODULE, LEFT_OUT],
                            places_mm=[(0, 0, 0), (0, 4, 0), (0, 60, 0), (0, 90, 0), (0, 120, 0)])
    scores = np.array([1.0, 2.0, 0.5, 9.0, 8.0])
    assert false_candidates(example, scores).tolist() == [2.0, 0.5]


def test_thresholds_let_through_as_many_false_candidates_as_they_say():
    rng = np.random.default_rng(0)
    examples, scores = [], []
    for number in range(10):
        places = [(0, 20.0 * i, 0) for i in range(30)]
        examples.append(make_examples(f"p{number}", label=[OTHER] * 30, places_mm=places))
        examples.append(make_examples(f"p{number}", label=[OTHER] * 30, places_mm=places, view=3))
        scores += [rng.normal(0, 1, 30), rng.normal(0, 1, 30)]
    found = fit_thresholds(examples, scores)
    runs = np.concatenate([s for e, s in zip(examples, scores, strict=True) if e.view[0] < 0])
    lone = np.concatenate([s for e, s in zip(examples, scores, strict=True) if e.view[0] >= 0])
    assert (runs >= found["run_mark_threshold"]).sum() == 10
    assert (runs >= found["run_decisive_threshold"]).sum() == 1
    assert (lone >= found["lone_mark_threshold"]).sum() == 1
    assert found["run_decisive_threshold"] > found["run_mark_threshold"]


def test_no_fold_learns_from_its_patients_nor_from_authentic_scanners_of_theirs():
    examples = [
        make_examples("real", AUTHENTIC, ("ge", "vct"), label=[OTHER], places_mm=[(0, 0, 0)]),
        make_examples("same scanner", AUTHENTIC, ("ge", "vct"), label=[OTHER], places_mm=[(0, 0, 0)]),
        make_examples("other scanner", AUTHENTIC, ("siemens", "16"), label=[OTHER], places_mm=[(0, 0, 0)]),
        make_examples("chest", CHESTS, ("simulated", "1"), label=[OTHER], places_mm=[(0, 0, 0)]),
    ]
    fold_of = {"real": 0, "same scanner": 1, "other scanner": 1, "chest": 1}
    allowed = [e.patient for e in examples if may_learn(e, 0, examples, fold_of)]
    assert allowed == ["other scanner", "chest"]
    assert set(deal_folds(examples).values()) <= set(range(5))


def test_what_is_told_apart_by_one_feature_is_learnt_and_measured(require_extra, tmp_path):
    for module in ("torch", "onnx"):
        require_extra(module)
    from verict.training.nodule.network import score, write_onnx

    rng = np.random.default_rng(1)
    examples = []
    for number in range(6):
        label = [NODULE] * 6 + [OTHER] * 60
        features = rng.normal(0, 0.3, (66, FEATURE_COUNT)).astype(np.float16)
        features[:6, :10] += 1.5
        places = [(0, 0, 0)] * 6 + [(0, 20.0 * (i + 1), 0) for i in range(60)]
        examples.append(make_examples(f"p{number}", label=label, places_mm=places, features=features))
    recipe = NoduleRecipe(network=NetworkRecipe(hidden=16, members=2, steps=150, batch=64))
    network = fit(examples[:4], recipe)
    scores = [score(network, e.features) for e in examples]
    again = fit(examples[:4], recipe)
    np.testing.assert_array_equal(score(again, examples[5].features), scores[5])
    write_onnx(network, tmp_path / "n.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "n.onnx")
    told = session.run(None, {"features": examples[5].features.astype(np.float32)})[0][:, 0]
    np.testing.assert_allclose(told, scores[5], atol=1e-4)
    rows = {row["name"]: row for row in measure(examples[4:], scores[4:], seed=0)}
    assert rows["found_chests"]["value"] == 1.0
    assert rows["found_chests"]["n"] == 2
    assert rows["false_chests"]["value"] <= 1.0


def test_annotations_name_places_that_make_sense():
    rows = [row for own in read_annotations().values() for row in own]
    assert len(rows) > 20
    assert {row["kind"] for row in rows} <= {"nodule", "mass", "uncertain"}
    for row in rows:
        assert 0 <= float(row["x"]) < 512
        assert 0 <= float(row["y"]) < 512
        assert float(row["long_mm"]) >= float(row["short_mm"]) > 0


@pytest.mark.parametrize("folder", ["lidc-0314-philips-D"])
def test_the_documented_nodule_is_among_them(folder):
    near = [r for r in read_annotations()[folder] if np.hypot(float(r["x"]) - 184, float(r["y"]) - 243) < 12]
    assert any(r["kind"] == "nodule" for r in near)
