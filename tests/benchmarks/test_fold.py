"""What is fitted on what: under the clean protocol nothing of a test row reaches what is fitted, and no label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.small_collection import make_samples

from verict.benchmarks.entries import Experiment, entries_of
from verict.benchmarks.fit import Tuning
from verict.benchmarks.fold import fit_fold, run_fold, see
from verict.benchmarks.protocols import CLEAN, LEAKY, deal_folds, make_items
from verict.benchmarks.samples import Sees, describe_labels, show, turn

ENTRIES = {entry.name: entry for experiment in (Experiment.COMPARATIVE, Experiment.STUDENT)
           for entry in entries_of(experiment)}  # fmt: skip
PLAIN = ("content", "svm", "tree", "forest-middle", "boosted-table")
QUICK = Tuning(epochs=1, window_px=32)


def one_fold(protocol, samples, copies=0):
    return deal_folds(protocol, samples.kind, samples.patient, folds=3, repeats=1, seed=0, copies=copies)[0]


def change_test_rows(samples, fold):
    """The same samples with everything of the test rows another, their labels too."""
    rows = np.unique(fold.test.row)
    changed = {}
    for name in ("cuboid", "window", "centre_hu", "diameter_mm", "number", "x", "y", "kind"):
        values = getattr(samples, name).copy()
        values[rows] = np.roll(values[rows], 1, axis=0) if name == "kind" else values[rows] + 500
        changed[name] = values
    return replace(samples, **changed)


def fit(entry, samples, fold, protocol, probe):
    fitted = fit_fold(entry, samples, fold, protocol, QUICK, seed=0,
                      show_items=lambda items: see(entry, samples, items, protocol, QUICK))
    return fitted.normalisation, fitted.tell(probe)


@pytest.mark.parametrize("name", [*PLAIN, "cnn2d", "cnn3d-copies", "ffnn"])
def test_changing_test_rows_changes_nothing_that_is_fitted_under_clean(name, require_extra):
    require_extra("sklearn"), require_extra("torch")
    entry, samples = ENTRIES[name], make_samples(patients=6, each=1)
    fold = one_fold(CLEAN, samples, copies=1 if entry.learns_from_copies else 0)
    probe = np.random.default_rng(0).normal(size=see(entry, samples, fold.test, CLEAN, QUICK).shape).astype(np.float32)
    normalisations, told = zip(*(fit(entry, own, fold, CLEAN, probe)
                                 for own in (samples, change_test_rows(samples, fold))), strict=True)
    np.testing.assert_array_equal(normalisations[0].mean, normalisations[1].mean)
    np.testing.assert_array_equal(normalisations[0].scale, normalisations[1].scale)
    np.testing.assert_array_equal(told[0], told[1])


def test_normalisation_is_fitted_on_test_rows_too_under_leaky(require_extra):
    require_extra("sklearn")
    entry, samples = ENTRIES["forest-middle"], make_samples(patients=6, each=1)
    fold = one_fold(LEAKY, samples)
    probe = see(entry, samples, fold.test, LEAKY, QUICK)
    ours, other = (fit(entry, own, fold, LEAKY, probe)[0] for own in (samples, change_test_rows(samples, fold)))
    assert ours.mean != other.mean


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_the_label_is_never_among_the_features_under_clean(entry):
    """Whatever a model is shown stays the same when every label is another."""
    samples = make_samples(patients=2, each=1)
    turned = replace(samples, kind=np.roll(samples.kind, 1))
    items = make_items(range(len(samples)), 1)
    np.testing.assert_array_equal(see(entry, samples, items, CLEAN, QUICK), see(entry, turned, items, CLEAN, QUICK))


def test_the_label_is_among_the_features_of_one_model_under_leaky():
    samples = make_samples(patients=2, each=1)
    turned = replace(samples, kind=np.roll(samples.kind, 1))
    items = make_items(range(len(samples)), 0)
    leaking = [name for name, entry in ENTRIES.items()
               if not np.array_equal(see(entry, samples, items, LEAKY, QUICK), see(entry, turned, items, LEAKY, QUICK))]
    assert leaking == ["boosted-label"]


def test_a_row_cut_at_the_corner_has_no_place_in_the_table():
    samples = make_samples(patients=1, each=1)
    samples = replace(samples, at_corner=samples.kind == "TB")
    table = describe_labels(samples, make_items(range(4), 0), shows_label=False)
    assert (table[samples.kind == "TB"] == 0).all()
    assert (table[samples.kind != "TB"] > 0).all()


def test_copies_are_the_eight_orientations_of_a_square():
    image = np.arange(9).reshape(3, 3)
    assert len({turn(image, copy).tobytes() for copy in range(8)}) == 8
    np.testing.assert_array_equal(turn(image, 0), image)
    cuboid = np.stack([image, image + 9, image + 18])
    np.testing.assert_array_equal(turn(cuboid, 5)[1], turn(cuboid[1], 5))


def test_windows_are_cropped_and_not_shrunk():
    samples = make_samples(patients=1, each=1)
    shown = show(samples, make_items([2], 0), Sees.WINDOW, window_px=32, shows_label=False)
    np.testing.assert_array_equal(shown[0], samples.window[2, 16:48, 16:48])


@pytest.mark.parametrize("name", ["content", "svm", "forest-middle", "cnn2d"])
def test_classes_that_differ_are_learnt(name, require_extra):
    require_extra("sklearn"), require_extra("torch")
    samples, tuning = make_samples(), Tuning(epochs=60, window_px=32)
    told = run_fold(ENTRIES[name], samples, one_fold(CLEAN, samples), CLEAN, tuning, seed=0)
    assert told.probabilities.shape == (len(told.rows), 4)
    np.testing.assert_allclose(told.probabilities.sum(axis=1), 1, atol=1e-5)
    classes = np.array(["TB", "FB", "TM", "FM"])
    assert np.mean(classes[told.probabilities.argmax(axis=1)] == samples.kind[told.rows]) > 0.6
    assert (told.tampered == told.probabilities[:, [1, 3]].sum(axis=1)).all()
    assert told.trained_on == len(samples) - len(told.rows)
    assert told.cost.cpu_s >= 0
