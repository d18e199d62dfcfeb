"""A model is used only as the card describes it; the shipped card says everything it has to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from verict.detect.model import CARD_SCHEMA, WEIGHTS, load_folds, load_model
from verict.detect.spectrum_features import FEATURE_COUNT
from verict.errors import ModelError
from verict.provenance import sha256_of

CARD = json.loads((WEIGHTS / "spectrum.json").read_text(encoding="utf-8"))
THRESHOLDS = ("mark_threshold", "decisive_threshold", "run_mark_threshold", "run_decisive_threshold")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the shipped pair, to be damaged."""
    for name in ("spectrum.onnx", "spectrum.json"):
        shutil.copy(WEIGHTS / name, tmp_path / name)
    return tmp_path


def change_card(folder: Path, **changes: object) -> None:
    card = {key: value for key, value in (CARD | changes).items() if value is not None}
    (folder / "spectrum.json").write_text(json.dumps(card), encoding="utf-8")


def flip_one_bit(folder: Path) -> None:
    weights = bytearray((folder / "spectrum.onnx").read_bytes())
    weights[len(weights) // 2] ^= 1
    (folder / "spectrum.onnx").write_bytes(weights)


DAMAGES = {
    "one bit of the weights": (flip_one_bit, "spectrum.onnx"),
    "weights cut short": (lambda f: (f / "spectrum.onnx").write_bytes(b""), "spectrum.onnx"),
    "no weights": (lambda f: (f / "spectrum.onnx").unlink(), "spectrum.onnx"),
    "no card": (lambda f: (f / "spectrum.json").unlink(), "spectrum.json"),
    "another schema": (lambda f: change_card(f, schema="verict.card/99"), "spectrum.json"),
    "text for a card": (lambda f: (f / "spectrum.json").write_text("weights v1"), "spectrum.json"),
    "an empty card": (lambda f: (f / "spectrum.json").write_text(""), "spectrum.json"),
    "a number for a card": (lambda f: (f / "spectrum.json").write_text("3"), "spectrum.json"),
    "a list for a card": (lambda f: (f / "spectrum.json").write_text("[]"), "spectrum.json"),
    "null for a card": (lambda f: (f / "spectrum.json").write_text("null"), "spectrum.json"),
    "bytes for a card": (lambda f: (f / "spectrum.json").write_bytes(b"\xff\xfe\x00{"), "spectrum.json"),
    "the hash of other weights": (lambda f: change_card(f, sha256="0" * 64), "spectrum.onnx"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_model_is_refused_by_the_name_of_the_file(copy, damage):
    spoil, file = DAMAGES[damage]
    spoil(copy)
    with pytest.raises(ModelError) as refused:
        load_model("spectrum", copy)
    assert refused.value.file == file
    assert str(copy) not in str(refused.value)  # the machine's paths are nobody's business


@pytest.mark.parametrize("key", ["schema", "id", "version", "sha256", "input", "calibration", "figures", "training"])
def test_card_without_a_key_is_refused_by_its_name(copy, key):
    change_card(copy, **{key: None})
    with pytest.raises(ModelError, match=key) as refused:
        load_model("spectrum", copy)
    assert refused.value.file == "spectrum.json"


def test_shipped_folds_are_what_the_card_lists():
    folds = load_folds("spectrum")
    assert [f.card["sha256"] for f in folds] == [f["sha256"] for f in CARD["folds"]]
    assert [f.calibration for f in folds] == [f["calibration"] for f in CARD["folds"]]
    assert len({f.card["sha256"] for f in folds} | {CARD["sha256"]}) == len(folds) + 1 > 2
    assert set(CARD["training"]["seen"]["patients"].values()) == set(range(len(folds)))


def test_an_altered_or_missing_fold_is_refused_by_its_name(copy):
    for fold in CARD["folds"]:
        shutil.copy(WEIGHTS / fold["file"], copy / fold["file"])
    file = copy / CARD["folds"][1]["file"]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ModelError, match="not the ones the card describes") as refused:
        load_folds("spectrum", copy)
    assert refused.value.file == file.name
    file.unlink()
    with pytest.raises(ModelError) as refused:
        load_folds("spectrum", copy)
    assert refused.value.file == file.name


def test_a_model_measured_without_folds_has_none(copy):
    change_card(copy, folds=None)
    assert load_folds("spectrum", copy) == ()


def test_unknown_model_is_refused():
    with pytest.raises(ModelError, match="no model 'other'"):
        load_model("other")


def test_a_copy_scores_as_the_shipped_pair(copy):
    features = np.random.default_rng(0).normal(size=(50, FEATURE_COUNT)).astype(np.float32)
    scores = load_model("spectrum").score(features)
    assert (scores.shape, scores.dtype) == ((50,), np.float32)
    assert np.ptp(scores) > 0.1
    np.testing.assert_array_equal(load_model("spectrum", copy).score(features), scores)


def test_score_of_a_window_does_not_depend_on_its_company():
    features = np.random.default_rng(1).normal(size=(257, FEATURE_COUNT)).astype(np.float32)
    model = load_model("spectrum")
    together = model.score(features)
    np.testing.assert_allclose(np.concatenate([model.score(f[None]) for f in features[:20]]), together[:20], atol=1e-5)
    assert model.score(features[:0]).shape == (0,)


def test_shipped_card_describes_the_shipped_weights():
    model = load_model("spectrum")
    assert model.card == CARD
    assert (CARD["schema"], CARD["id"]) == (CARD_SCHEMA, "spectrum")
    assert CARD["sha256"] == sha256_of(WEIGHTS / "spectrum.onnx")
    (entry,) = model.session.get_inputs()
    assert (entry.name, entry.shape[1]) == ("features", FEATURE_COUNT)
    assert CARD["input"]["features"] == FEATURE_COUNT


def test_shipped_calibration_is_ordered():
    calibration = load_model("spectrum").calibration
    assert set(calibration) == set(THRESHOLDS)
    assert np.isfinite(list(calibration.values())).all()
    assert calibration["mark_threshold"] <= calibration["decisive_threshold"]
    assert calibration["run_mark_threshold"] <= calibration["run_decisive_threshold"]


def test_every_shipped_figure_has_its_interval_and_n():
    figures = CARD["figures"]
    assert len({f["name"] for f in figures}) == len(figures)
    for figure in figures:
        assert figure["text"]
        assert isinstance(figure["n"], int)
        assert figure["n"] > 0, figure["name"]
        if figure["interval"] is None:  # slices of one patient say nothing of others, a mean of folders neither
            assert figure["name"].startswith(("false_marks_by_folder", "false_marks_per_slice_")), figure["name"]
            continue
        low, high = figure["interval"]
        assert low <= figure["value"] <= high, figure["name"]


@pytest.mark.parametrize(
    "name",
    [
        *(f"{what}_{kind}" for kind in ("fb", "fm") for what in ("auc", "found", "false")),
        *(f"{what}_{kind}_content_only" for kind in ("fb", "fm") for what in ("auc", "found")),
        "false_marks_per_slice",
        "suspicious_series",
    ],
)
def test_shipped_card_has_the_figures_a_report_has_to_give(name):
    assert name in {f["name"] for f in CARD["figures"]}


def test_shipped_card_says_what_it_was_fitted_on_and_where_it_ends():
    assert CARD["limits"]
    assert CARD["training"]["split"]
    assert CARD["training"]["data"]["ctgan"] == {"slices": 55, "patients": 40}
    assert CARD["training"]["data"]["authentic"]["patients"] > 7
