"""The weights of the sum: fitted on a campaign, never on the fold they judge, and loaded by the detector."""

from __future__ import annotations

import json
from shutil import copy, copytree

import numpy as np
import pytest
from tamper.campaign.sources import make_chest
from training.studies import copy_small_study

from verict.detect.fusion import MEMBERS, load_fusion, load_fusion_folds
from verict.detect.model import WEIGHTS, load_model
from verict.errors import UsageError
from verict.tamper.campaign.run import CampaignConfig, make_campaign
from verict.training.fusion import FusionRecipe, Places, add_up, fit_weights, train_fusion


def quiet(*_: object) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def small_campaign(tmp_path_factory):
    """Two simulated chests with nodules removed and injected."""
    folder = tmp_path_factory.mktemp("campaign")
    for seed in (1, 2):
        make_chest(folder / "sources" / f"p{seed}", seed=seed)
    make_campaign(CampaignConfig((folder / "sources",), folder / "out", 16, 3, ("copy-move",), ("none",)))
    return folder / "out"


def make_places(seed: int = 0, count: int = 400) -> Places:
    """Places of five folds at which the first member tells more than the second, and both tell something."""
    rng = np.random.default_rng(seed)
    painted = np.arange(count) % 4 == 0
    scores = rng.standard_normal((count, 2)) + painted[:, None] * np.array([3.0, 1.0])
    return Places(scores, painted, np.arange(count) % 5)


def test_the_member_that_tells_more_counts_more():
    weights = fit_weights(make_places())
    assert weights["spectrum"] > weights["localiser"] > 0


def test_a_member_that_tells_the_opposite_does_not_count():
    places = make_places()
    turned = Places(places.scores * np.array([1, -1]), places.painted, places.fold)
    weights = fit_weights(turned)
    assert weights["localiser"] == 0
    assert weights["spectrum"] > 0


def test_the_fold_that_is_judged_is_left_out():
    places = make_places()
    changed = places.scores.copy()
    changed[places.fold == 2] *= -5
    other = Places(changed, places.painted, places.fold)
    assert fit_weights(places, leave_out=2) == fit_weights(other, leave_out=2)
    assert fit_weights(places) != fit_weights(other)


def test_the_sum_is_what_its_weights_say():
    maps = {name: np.full((1, 2, 2), float(i + 1), np.float32) for i, name in enumerate(MEMBERS)}
    total = add_up(maps, {"spectrum": 2.0, "localiser": 3.0, "constant": -1.0})
    assert (total == 7).all()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, shared_data, small_campaign):
    out = tmp_path_factory.mktemp("fusion")
    study = copy_small_study(shared_data, tmp_path_factory.mktemp("study"))
    card = train_fusion(study, small_campaign, out, FusionRecipe(), quiet, work=out / "work", workers=1)
    return out, card


def test_the_card_is_what_the_detector_loads(trained, tmp_path):
    out, card = trained
    folder = copytree(WEIGHTS, tmp_path / "weights")
    copy(out / "fusion.json", folder / "fusion.json")
    assert load_fusion(folder).card["weights"] == card["weights"]
    assert len(load_fusion_folds(folder)) == len(card["folds"]) == 5
    assert card["training"]["places"]["painted"] > 0
    for own in (card, *card["folds"]):  # some series of the study has neighbouring slices, which were processed too
        assert own["calibration"]["run_doubt_threshold"] <= own["calibration"]["run_decisive_threshold"]
    assert {"false_marks_per_slice", "found_fb"} <= {row["name"] for row in card["figures"]}
    assert (out / "real_fakes_ledger.csv").read_text("utf-8").count("train fusion") == 1


def test_the_same_campaign_gives_the_same_card(trained, tmp_path, shared_data, small_campaign):
    out, card = trained
    study = copy_small_study(shared_data, tmp_path / "study")
    again = train_fusion(study, small_campaign, tmp_path / "out", FusionRecipe(), quiet, work=out / "work")
    assert json.dumps(again) == json.dumps(card)


def test_members_of_different_folds_are_refused(tmp_path, shared_data, small_campaign):
    folder = copytree(WEIGHTS, tmp_path / "weights")
    card = json.loads((folder / "localiser.json").read_text("utf-8"))
    first = next(iter(card["training"]["seen"]["patients"]))
    other = load_model("spectrum").card["training"]["seen"]["patients"][first]
    card["training"]["seen"]["patients"][first] = (other + 1) % 5
    (folder / "localiser.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(UsageError, match="different folds"):
        train_fusion(shared_data, small_campaign, tmp_path / "out", FusionRecipe(), quiet, work=tmp_path / "work",
                     weights=folder)
