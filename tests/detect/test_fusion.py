"""The weighted sum: shared measurements, parts that add up, and what a region says of them."""

from __future__ import annotations

import json
from dataclasses import replace
from shutil import copytree

import numpy as np
import pytest
from detect.volumes import make_lungs, make_noise, make_volume

from verict.detect.fusion import MEMBERS, FusionDetector, FusionModel, load_fusion, load_fusion_folds
from verict.detect.localiser import LocaliserDetector, channels_of
from verict.detect.model import WEIGHTS
from verict.detect.spectrum import SpectrumDetector
from verict.detect.verdict import find_regions
from verict.errors import ModelError

SIZE = (256, 256)


@pytest.fixture(scope="module")
def forged():
    """A series of noise with a square of other noise in the middle of every slice."""
    hu = np.stack([-850 + make_noise(SIZE, seed=z) for z in range(7)])
    white = 14 * np.random.default_rng(5).standard_normal((7, 48, 48))
    hu[:, 100:148, 100:148] = -850 + 0.4 * (hu[:, 100:148, 100:148] + 850) + white
    return make_volume([2.5 * z for z in range(7)], hu=np.rint(hu).astype(np.int16))


def everywhere(volume):
    return make_lungs(np.ones(volume.hu.shape, bool))


def weigh_only(name: str) -> FusionModel:
    model = load_fusion()
    weights = {member: float(member == name) for member in MEMBERS} | {"constant": 0.0}
    return FusionModel(model.card | {"weights": weights}, model.members)


def test_the_parts_add_up_to_the_score(forged):
    model = load_fusion()
    total, parts = model.score(channels_of(forged, np.ones(forged.hu.shape, bool), 3))
    assert set(parts) == set(MEMBERS)
    np.testing.assert_allclose(sum(parts.values()) + model.card["weights"]["constant"], total, atol=1e-4)


def test_a_member_alone_is_that_detector(forged):
    own = FusionDetector(weigh_only("localiser")).examine(forged, everywhere(forged), workers=1)
    alone = LocaliserDetector().examine(forged, everywhere(forged), workers=1)
    np.testing.assert_allclose(own.score_map.values, alone.score_map.values, atol=1e-4)
    lone = replace(forged, hu=forged.hu[:1], origins_mm=forged.origins_mm[:1])
    lone = make_volume([0.0], hu=forged.hu[:1])
    own = FusionDetector(weigh_only("spectrum")).examine(lone, everywhere(lone), workers=1)
    alone = SpectrumDetector().examine(lone, everywhere(lone), workers=1)
    np.testing.assert_allclose(own.score_map.values[:, ::2, ::2], alone.score_map.values, atol=1e-4)


def test_a_region_says_which_detector_carried_it(forged):
    evidence = FusionDetector().examine(forged, everywhere(forged), workers=1)
    low = dict.fromkeys(evidence.card["calibration"], float(np.nanquantile(evidence.score_map.values, 0.98)))
    evidence = replace(evidence, card=evidence.card | {"calibration": low})
    full = {z: load_fusion().score(channels_of(forged, np.ones(forged.hu.shape, bool), z))[1] for z in range(7)}
    region = find_regions(forged, replace(evidence, parts=full), ("uid",) * 7)[0]
    assert {name for name, _ in region.parts} == set(MEMBERS)
    assert region.parts[0][1] >= region.parts[1][1]
    assert f"from {region.parts[0][0]}" in region.evidence


def test_a_detector_by_itself_has_no_parts(forged):
    evidence = LocaliserDetector().examine(forged, everywhere(forged), workers=1)
    low = dict.fromkeys(evidence.card["calibration"], float(np.nanquantile(evidence.score_map.values, 0.98)))
    regions = find_regions(forged, replace(evidence, card=evidence.card | {"calibration": low}), ("uid",) * 7)
    assert regions
    assert all(region.parts == () for region in regions)


def test_every_fold_has_members_and_weights_of_its_own():
    folds = load_fusion_folds()
    assert len(folds) == 5
    for name in MEMBERS:
        assert len({fold.members[name].card["sha256"] for fold in folds}) == 5
    assert all(weight >= 0 for fold in folds for name, weight in fold.card["weights"].items() if name in MEMBERS)


def test_weights_fitted_on_other_members_are_refused(tmp_path):
    folder = copytree(WEIGHTS, tmp_path / "weights")
    card = json.loads((folder / "fusion.json").read_text("utf-8"))
    card["members"]["localiser"] = "0" * 64
    (folder / "fusion.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(ModelError, match="not those whose sum"):
        load_fusion(folder)
