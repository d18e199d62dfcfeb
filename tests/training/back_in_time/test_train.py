"""The whole training on a few real slices: what it writes, and what it learnt from."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from verict.datasets.scans import identify_patient, read_authentic_scans, read_labelled_scans
from verict.detect.back_in_time import NAME, BackInTimeDetector
from verict.detect.model import load_card, load_folds, load_model
from verict.errors import DatasetError
from verict.training.back_in_time.crops import gather_slices
from verict.training.back_in_time.recipe import RECIPES, FitRecipe, NetworkRecipe
from verict.training.back_in_time.train import LOSSES, PICTURES, train_back_in_time

QUICK = replace(RECIPES["small"], chests=0, crop_px=32, network=NetworkRecipe(channels=(8, 8)),
                fit=FitRecipe(steps=3, batch=2, warm_up=1))


def quiet(*_: object) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def few(tmp_path_factory, shared_data: Path) -> Path:
    data = tmp_path_factory.mktemp("data")
    for folder, count in (("tcga-singles", 4), ("petctdx-siemens-B40f", 4), ("petctdx-philips-B", 4)):
        files = sorted((shared_data / "authentic" / folder).rglob("*.dcm"))
        middle = len(files) // 2
        for file in files[middle : middle + count]:
            target = data / "authentic" / folder / file.relative_to(shared_data / "authentic" / folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    return data


def test_it_writes_weights_that_the_detector_runs_and_a_card_that_says_what_they_are(tmp_path, few):
    card = train_back_in_time(few, tmp_path / "out", QUICK, quiet, work=tmp_path / "work")
    model = load_model(NAME, tmp_path / "out")
    assert model.card == json.loads(json.dumps(card))
    assert {file.name for file in (tmp_path / "out").iterdir()} == {f"{NAME}.onnx", f"{NAME}.json", LOSSES, PICTURES}
    assert card["training"]["largest_difference_from_torch"] <= 1e-4
    assert card["training"]["data"]["thresholds"] == {"scans": 2, "patients": 2}
    assert card["training"]["slices"]["simulated"] == 0
    assert len(load_folds(NAME, tmp_path / "out")) == 2
    (scan,) = read_authentic_scans(few / "authentic" / "petctdx-siemens-B40f", quiet)
    evidence = BackInTimeDetector(model).examine(scan.volume, scan.lungs, workers=1)
    assert np.isfinite(evidence.score_map.values).any()
    assert card["training"]["seen"]["patients"][identify_patient(scan.patient)] in (0, 1)


def test_one_patient_is_too_few_for_thresholds(tmp_path, few):
    shutil.copytree(few, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "authentic" / "petctdx-philips-B")
    with pytest.raises(DatasetError, match="too few patients"):
        train_back_in_time(tmp_path / "data", tmp_path / "out", QUICK, quiet, work=tmp_path / "work")


def test_an_unjudged_one_has_no_thresholds(tmp_path, few):
    card = train_back_in_time(few, tmp_path, QUICK, quiet, work=tmp_path / "work", is_judged=False)
    assert card["calibration"] == {}


def test_forged_scans_are_not_learnt_from(few, tmp_path, shared_data):
    scans, source = gather_slices(few, QUICK, tmp_path, quiet)
    assert {scan.folder for scan in scans} != set()
    assert all(piece.is_real for piece in source.slices)
    seen = load_card(NAME)["training"]["seen"]["patients"]
    fakes = next(read_labelled_scans(shared_data / "ctgan", quiet))
    assert identify_patient(fakes.patient) not in seen


def test_fewer_patients_are_drawn_by_the_seed(few, tmp_path):
    whole, _ = gather_slices(few, QUICK, tmp_path, quiet)
    patients = {scan.patient for scan in whole}
    fewer = replace(QUICK, patients=len(patients) - 1)
    some, again = (gather_slices(few, fewer, tmp_path, quiet)[0] for _ in range(2))
    assert {scan.patient for scan in some} < patients
    assert len({scan.patient for scan in some}) == len(patients) - 1 > 0
    assert [scan.folder for scan in some] == [scan.folder for scan in again]
    assert {scan.patient for scan in gather_slices(few, replace(QUICK, patients=99), tmp_path, quiet)[0]} == patients
    with pytest.raises(DatasetError, match="no lung to learn from"):
        gather_slices(few, replace(QUICK, patients=0), tmp_path, quiet)


def test_without_scans_there_is_nothing_to_learn_from(tmp_path):
    with pytest.raises(DatasetError, match="no such scans to learn from"):
        gather_slices(tmp_path, QUICK, tmp_path, quiet)
