"""The whole training on a small study: folds that cannot leak, recipes, and a card that the detectors load."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training.studies import copy_small_study

from verict.datasets.scans import identify_patient
from verict.datasets.splits import Scanner
from verict.detect.localiser import LocaliserDetector
from verict.detect.model import load_folds, load_model
from verict.errors import UsageError
from verict.evaluation.fair import Seen, choose_model, enter
from verict.training.localiser import train as training
from verict.training.localiser.bank import Tags
from verict.training.localiser.designs import NetworkRecipe, make_network
from verict.training.localiser.fit import FitRecipe
from verict.training.localiser.scoring import KeptScans
from verict.training.localiser.train import LocaliserRecipe, deal_folds, may_learn, read_recipe
from verict.training.samples import load_scans

SMALL = LocaliserRecipe(
    seed=5, chests=0, shards=1, folds=3,
    fit=FitRecipe(steps=6, batch=4, crop_cells=12, save_every=3, network=NetworkRecipe(hidden=8, width=8)),
)  # fmt: skip


def quiet(*_: object) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def study(tmp_path_factory, shared_data):
    return copy_small_study(shared_data, tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, study):
    out = tmp_path_factory.mktemp("model")
    card = training.train_localiser(study, out, SMALL, quiet, work=out / "work", workers=1)
    return out, card


def test_the_card_and_weights_are_what_the_detector_loads(trained):
    out, card = trained
    assert load_model("localiser", out).card["sha256"] == card["sha256"]
    assert len(load_folds("localiser", out)) == SMALL.folds
    assert {"false_marks_per_slice", "found_fb"} <= {row["name"] for row in card["figures"]}
    assert (out / "real_fakes_ledger.csv").read_text("utf-8").count("train localiser") == 1


def test_the_same_seed_gives_the_same_weights_whatever_the_workers(trained, tmp_path, study):
    _, card = trained
    again = training.train_localiser(study, tmp_path, SMALL, quiet, work=tmp_path / "work", workers=2)
    assert again["sha256"] == card["sha256"]
    assert [f["sha256"] for f in again["folds"]] == [f["sha256"] for f in card["folds"]]
    assert again["calibration"] == card["calibration"]


def test_each_scan_is_judged_by_the_network_that_did_not_see_it(trained, study):
    out, card = trained
    entrant = enter("localiser", out)
    for scan in load_scans(study, quiet):
        model, seen = choose_model(entrant, scan)
        fold = card["training"]["seen"]["patients"][identify_patient(scan.patient)]
        assert seen is Seen.OUT_OF_FOLD
        assert model.card["sha256"] == card["folds"][fold]["sha256"]


def test_maps_in_training_are_maps_in_use(trained, study):
    """Channels are kept in half precision while training: a score moves by less than a hundredth."""
    out, _ = trained
    scan = next(s for s in load_scans(study, quiet) if s.volume.slice_count > 1)
    model = load_model("localiser", out)
    used = LocaliserDetector(model).examine(scan.volume, scan.lungs, workers=1).score_map.values
    network = make_network(SMALL.fit.network)
    network.load_state_dict(torch.load(out / "work" / "network-all.pt", weights_only=True)["averaged"])
    kept = KeptScans([scan], out / "kept", 1, quiet).score(0, network.eval())
    np.testing.assert_allclose(kept, used, atol=0.01)


# --- folds ---


def test_folds_are_those_of_the_spectrum_detector_where_it_lists_the_patient(shared_data, study):
    listed = load_model("spectrum").card["training"]["seen"]["patients"]
    scans = load_scans(study, quiet)
    fold_of = deal_folds(scans, 5, 1)
    known = [s.patient for s in scans if identify_patient(s.patient) in listed]
    assert len(known) > 5
    assert all(fold_of[p] == listed[identify_patient(p)] for p in known)
    assert set(fold_of.values()) <= set(range(5))


def test_a_folds_network_learns_nothing_of_its_patients_or_scanners(study):
    scans = load_scans(study, quiet)
    fold_of = deal_folds(scans, 3, 1)
    for fold in range(3):
        keep = may_learn(scans, fold_of, fold, SMALL)
        for scan in scans:
            scanner = scan.scanner.manufacturer, scan.scanner.model
            tags = Tags("lab", (scan.patient,), scanner, scan.folder, ("ctgan", "white"), "inject")
            if fold_of[scan.patient] == fold:
                assert not keep(tags)
                assert not keep(replace(tags, patients=("a stranger", scan.patient), scanner=("no", "one")))
                if scan.headers_tell:
                    assert not keep(replace(tags, patients=("a stranger",)))
    assert may_learn(scans, fold_of, -1, SMALL)(Tags("lab", ("p",), ("x", "y"), "f", ("ctgan", "white")))


def test_what_is_left_out_is_left_out_by_name_and_by_likeness(study):
    recipe = replace(SMALL, leave_out=("ctgan", "white"), real_fakes=False)
    keep = may_learn([], {}, -1, recipe)
    tags = Tags("lab", ("p",), ("x", "y"), "f", ("splice", "none"))
    assert keep(tags)
    assert not keep(replace(tags, akin=("splice", "white")))
    assert not keep(replace(tags, what="blend", akin=("ctgan", "splice")))
    assert not keep(replace(tags, what="real", akin=()))
    assert Scanner("x", "y").may_be(Scanner("x", "y"))


# --- recipes ---


def test_a_recipe_changes_what_it_names(tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text('shards = 3\nleave_out = ["ctgan"]\n[fit]\nsteps = 9\nlearning_rate = 1\n'
                    '[fit.network]\ndesign = "window"\ndilations = [1, 1]\n', encoding="utf-8")
    recipe = read_recipe(file)
    assert (recipe.shards, recipe.leave_out, recipe.fit.steps) == (3, ("ctgan",), 9)
    assert recipe.fit.learning_rate == 1.0
    assert recipe.fit.network == NetworkRecipe(design="window", dilations=(1, 1))
    assert recipe.goals == LocaliserRecipe().goals


@pytest.mark.parametrize("text", ["shard = 3", 'shards = "many"', "[fit.network]\nwide = 1", "shards = [", "fit = 3"])
def test_a_recipe_that_makes_no_sense_is_refused(tmp_path, text):
    file = tmp_path / "recipe.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="recipe") as refused:
        read_recipe(file)
    assert str(file) in refused.value.one_line()


def test_a_design_that_cannot_be_shipped_is_refused(tmp_path):
    recipe = replace(SMALL, fit=replace(SMALL.fit, network=NetworkRecipe(design="pixel")))
    with pytest.raises(UsageError, match="pixel"):
        training.train_localiser(tmp_path, tmp_path / "out", recipe, quiet, work=tmp_path / "work")
    assert not (tmp_path / "out").exists()
