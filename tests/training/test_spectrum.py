"""Training: nothing a fold is judged by has seen it, and the same seed makes the same weights."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from training.studies import AUTHENTIC, REAL_FAKES, copy_small_study, make_sample, make_scan

from verict.ct.discover import find_series
from verict.ct.lungs import find_lungs
from verict.ct.read import read_series
from verict.datasets.scans import Scan, Source, identify_patient, identify_slice
from verict.datasets.splits import Scanner
from verict.detect.model import load_folds, load_model
from verict.detect.spectrum import score_slice
from verict.detect.spectrum_features import FEATURE_COUNT, grid_shape, slice_features
from verict.errors import DatasetError, UsageError
from verict.provenance import sha256_of
from verict.training import phantoms
from verict.training import spectrum as training
from verict.training.network import NetworkRecipe
from verict.training.samples import CLEAN_MM, Place, Sample, load_scans, untouched_and_labelled
from verict.training.spectrum import SpectrumRecipe, cross_fit, draw_windows, fold_of_samples, score_sample
from verict.training.whole_maps import assemble_maps

RECIPE = SpectrumRecipe()
SMALL = SpectrumRecipe(
    seed=5, forged=24, varied=6, forged_phantoms=12, varied_phantoms=3, folds=3,
    network=NetworkRecipe(hidden=8, members=1, epochs=4, learning_rate=1e-2),
)  # fmt: skip


def silent(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total


# --- windows ---

DISTANCES = np.concatenate([np.linspace(0, 12, 7), np.linspace(12, 60, 10), np.linspace(49, 90, 8)])


def windows_of(sample: Sample, recipe: SpectrumRecipe = RECIPE) -> tuple[np.ndarray, np.ndarray]:
    """(distances of the clean windows drawn, distances of the painted ones)."""
    features, paint = draw_windows([sample], np.array([0]), recipe)
    return features[paint == 0, 1], features[paint > 0, 1]


def sample_at(distances: np.ndarray, **settings) -> Sample:
    size = int(np.ceil(np.sqrt(len(distances))))
    padded = np.concatenate([distances, np.full(size**2 - len(distances), 30.0)])
    kind = {REAL_FAKES: "FB", "forged": "inject"}.get(settings.get("source", AUTHENTIC))
    places = (Place(kind, 30, 30),) if kind else ()
    return make_sample("p", Scanner("ge", "x"), painted_mm=padded, shape=(size, size), places=places, **settings)


@pytest.mark.parametrize("source", [REAL_FAKES, "forged"])
def test_clean_windows_are_far_from_paint_and_painted_ones_at_it(source):
    clean, painted = windows_of(sample_at(DISTANCES, source=source))
    assert len(clean)
    assert clean.min() >= CLEAN_MM
    assert len(painted)
    assert painted.max() < RECIPE.painted_mm


@pytest.mark.parametrize("source", [AUTHENTIC, "varied"])
def test_where_nothing_is_painted_nothing_is_called_so(source):
    clean, painted = windows_of(sample_at(DISTANCES, source=source))
    assert clean.min() >= CLEAN_MM
    assert not len(painted)


def test_removals_and_injections_are_told_apart():
    for kind, expected in (("FB", 1), ("remove", 1), ("FM", 2), ("inject", 2)):
        places = (Place(kind, 30, 30), Place("bright", 9, 9))
        sample = make_sample("p", Scanner("ge", "x"), painted_mm=np.r_[np.zeros(9)], shape=(3, 3), places=places)
        _, paint = draw_windows([sample], np.array([0]), RECIPE)
        assert set(paint) == {expected}


def test_real_fakes_count_several_times_each_alike():
    _, painted = windows_of(sample_at(DISTANCES, source=REAL_FAKES))
    _, counts = np.unique(painted, return_counts=True)
    assert set(counts) == {RECIPE.real_fake_repeats}


def test_no_window_is_drawn_twice_as_clean_and_no_more_than_asked_for():
    far = 50 + np.arange(400.0)
    for source, wanted in ((AUTHENTIC, RECIPE.clean_windows), ("forged", RECIPE.far_windows)):
        clean, _ = windows_of(sample_at(far, source=source))
        assert len(clean) == len(set(clean)) == wanted


def test_windows_of_a_sample_do_not_depend_on_its_company():
    """Else leaving a fold out would change what is drawn from all the others."""
    samples = [sample_at(50 + i + np.arange(400.0), number=i) for i in range(3)]
    together, _ = draw_windows(samples, np.arange(3), RECIPE)
    alone, _ = draw_windows(samples, np.array([2]), RECIPE)
    np.testing.assert_array_equal(together[-len(alone):], alone)
    other, _ = draw_windows(samples, np.array([2]), replace(RECIPE, seed=RECIPE.seed + 1))
    assert not np.array_equal(other, alone)


# --- folds ---

MODELS = [Scanner(*m) for m in (("ge", "a"), ("siemens", "b"), ("philips", "c"), ("canon", "d"), ("ge", "e"))]
PATIENTS = [f"p{i}" for i in range(12)]
FAKED = [f"uci:{i}" for i in range(8)]


def scanner_of(patient: str) -> Scanner:
    if patient.startswith("uci:"):
        return Scanner("uci", patient)
    number = PATIENTS.index(patient)
    return Scanner("siemens", "") if number == 11 else MODELS[number % len(MODELS)]


def make_study() -> tuple[list[Scan], list[Sample]]:
    """Twelve authentic patients on five scanner models, one untold, and eight patients of the real fakes."""
    near = np.concatenate([np.full(3, 2.0), np.full(4, 30.0), 50.0 + np.arange(18)])
    samples: list[Sample] = []

    def add(patient: str, source: str, painted_mm: np.ndarray | None, **settings) -> None:
        settings |= {"number": len(samples), "source": source, "painted_mm": painted_mm}
        samples.append(make_sample(patient, scanner_of(patient), **settings))

    for z in range(3):
        for patient in PATIENTS:
            add(patient, AUTHENTIC, None, z=z)
        for patient in FAKED:
            add(patient, REAL_FAKES, near, z=z, places=(Place("FB", 30, 30),))
    for patient in [*PATIENTS, *FAKED]:
        add(patient, "forged", near, touch_up="white", places=(Place("inject", 30, 30),))
        add(patient, "forged", near, touch_up="none", places=(Place("remove", 30, 30),))
        add(patient, "varied", None)
    return [make_scan(p, scanner_of(p), slices=3) for p in PATIENTS], samples


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_no_patient_is_in_two_folds_and_no_fold_is_empty(folds):
    _, samples = make_study()
    fold = fold_of_samples(samples, replace(RECIPE, folds=folds))
    assert set(fold) == set(range(folds))
    for patient in {s.patient for s in samples}:
        assert len({fold[i] for i, s in enumerate(samples) if s.patient == patient}) == 1
    for k in range(folds):
        assert {s.source for i, s in enumerate(samples) if fold[i] == k} >= {AUTHENTIC, REAL_FAKES, "forged"}
    np.testing.assert_array_equal(fold_of_samples(samples, replace(RECIPE, folds=folds)), fold)


@dataclass(frozen=True)
class Witness:
    """Stands for a network: knows which samples it was fitted on, scores by its own number and most near paint."""

    number: int
    seen: frozenset[int]

    def score(self, features: np.ndarray) -> np.ndarray:
        return (self.number + 0.4 / (1 + features[:, 1])).astype(np.float32)


def numbers_in(values: np.ndarray) -> list[int]:
    """Which networks a map was made by."""
    return np.unique(values[np.isfinite(values)].round()).astype(int).tolist()


@pytest.fixture
def watched(monkeypatch):
    """`cross_fit` of the study by hand with every network and every fit of thresholds on record."""
    witnesses: list[Witness] = []
    fitted: list[list] = []

    def fit(features: np.ndarray, paint: np.ndarray, recipe: NetworkRecipe, seed: int) -> Witness:
        painted = paint > 0
        assert painted.any()
        assert features[painted, 1].max() < RECIPE.painted_mm
        assert features[~painted, 1].min() >= CLEAN_MM
        witnesses.append(Witness(len(witnesses), frozenset(features[:, 0].astype(int).tolist())))
        return witnesses[-1]

    def thresholds(maps, goals) -> dict[str, float]:
        fitted.append(list(maps))
        return {"mark_threshold": float(len(fitted))}

    monkeypatch.setattr(training, "fit_network", fit)
    monkeypatch.setattr(training, "fit_thresholds", thresholds)
    scans, samples = make_study()
    judged = cross_fit(scans, samples, SMALL, silent)
    return samples, judged, witnesses, fitted


def may_have_met(witness: Witness, samples: list[Sample], i: int) -> bool:
    """Whether a network was fitted on a sample's patient, or on a scanner model that may be its own."""
    return any(
        samples[j].patient == samples[i].patient or samples[j].scanner.may_be(samples[i].scanner) for j in witness.seen
    )


def test_no_sample_is_scored_by_a_model_that_met_its_patient_or_scanner(watched):
    samples, judged, witnesses, _ = watched
    assert sorted(judged.maps) == list(range(len(samples)))
    for i, values in judged.maps.items():
        (number,) = numbers_in(values)
        assert witnesses[number].seen
        assert not may_have_met(witnesses[number], samples, i)
    assert len({n for values in judged.maps.values() for n in numbers_in(values)}) == SMALL.folds


def test_thresholds_of_a_fold_never_met_its_scans(watched):
    samples, judged, witnesses, fitted = watched
    assert len(fitted) == len(judged.thresholds) == SMALL.folds
    for k, maps in enumerate(fitted):
        held = [i for i in range(len(samples)) if judged.fold[i] == k]
        held_patients = {samples[i].patient for i in held}
        assert maps
        for whole in maps:
            assert whole.patient not in held_patients
            assert not any(scanner_of(whole.patient).may_be(samples[i].scanner) for i in held)
            own = next(i for i, s in enumerate(samples) if s.patient == whole.patient)
            for number in numbers_in(whole.values):
                assert not any(may_have_met(witnesses[number], samples, i) for i in [own, *held])


def test_thresholds_are_fitted_on_authentic_scans_alone(watched):
    _, _, _, fitted = watched
    assert {w.patient for maps in fitted for w in maps} <= set(PATIENTS)


# --- the whole ---


@dataclass(frozen=True)
class Trained:
    out: Path
    card: dict
    network: object
    folds: tuple[object, ...]


def train(data: Path, out: Path, recipe: SpectrumRecipe) -> Trained:
    kept = []
    with pytest.MonkeyPatch.context() as patch:
        write = training.write_onnx
        patch.setattr(training, "write_onnx", lambda network, path: (kept.append(network), write(network, path))[1])
        card = training.train_spectrum(data, out, recipe, silent)
    return Trained(out, card, kept[0], tuple(kept[1:]))


@pytest.fixture(scope="module")
def study(shared_data, tmp_path_factory) -> Path:
    return copy_small_study(shared_data, tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def trained(study, tmp_path_factory) -> Trained:
    return train(study, tmp_path_factory.mktemp("weights"), SMALL)


def test_training_writes_a_model_that_loads(trained):
    model = load_model("spectrum", trained.out)
    assert model.card == trained.card == json.loads((trained.out / "spectrum.json").read_text(encoding="utf-8"))
    assert model.card["training"]["recipe"]["seed"] == SMALL.seed
    assert {"spectrum.json", "spectrum.onnx"} <= {p.name for p in trained.out.iterdir()}
    assert str(trained.out.parent) not in json.dumps(model.card)  # no machine's paths


def test_trained_card_has_every_figure_of_the_shipped_one(trained):
    shipped = {f["name"] for f in load_model("spectrum").card["figures"]}
    own = {f["name"] for f in trained.card["figures"]}
    by_folder_or_kind = ("false_marks_per_slice_", "simulated_")
    needs_more_fakes = {"auc_fm", "auc_fm_content_only", "found_fm_1", "found_fm_content_only", "false_marks_at_90"}
    assert {n for n in shipped if not n.startswith(by_folder_or_kind)} <= own | needs_more_fakes
    assert set(trained.card["calibration"]) == set(load_model("spectrum").card["calibration"])
    assert all(isinstance(f["n"], int) and f["n"] > 0 for f in trained.card["figures"])


def test_the_written_model_gives_the_networks_own_map(study, trained):
    (files,) = find_series(study / "authentic" / "cmbcrc-ge-LUNG").series
    volume = read_series(files)
    mask, spacing = find_lungs(volume).mask[1], volume.spacing_mm[1:]
    features = slice_features(volume.hu[1], mask, spacing)
    sample = replace(make_sample("p", Scanner()), features=features)
    by_scan = score_slice(volume.hu[1], mask, spacing, load_model("spectrum", trained.out))
    assert np.isfinite(by_scan).sum() > 100
    np.testing.assert_allclose(by_scan, score_sample(trained.network, sample), atol=1e-4)
    np.testing.assert_array_equal(by_scan, score_sample(load_model("spectrum", trained.out), sample))


def test_one_seed_one_set_of_weights(study, trained, tmp_path):
    again = train(study, tmp_path, SMALL)
    assert again.card == trained.card
    assert sha256_of(tmp_path / "spectrum.onnx") == sha256_of(trained.out / "spectrum.onnx")


def test_training_without_data_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(DatasetError):
        training.train_spectrum(tmp_path / "nothing", tmp_path / "out", SMALL, silent)
    assert not (tmp_path / "out").exists()


def test_each_fold_ships_its_own_model_and_thresholds(trained):
    folds = load_folds("spectrum", trained.out)
    assert len(folds) == len(trained.folds) == SMALL.folds
    features = np.random.default_rng(3).normal(size=(40, FEATURE_COUNT)).astype(np.float32)
    for model, network, listed in zip(folds, trained.folds, trained.card["folds"], strict=True):
        np.testing.assert_allclose(model.score(features), network.score(features), atol=1e-4)
        assert model.calibration == listed["calibration"]
        assert model.card["sha256"] == listed["sha256"] == sha256_of(trained.out / listed["file"])


def test_the_card_lists_every_patient_and_slice_that_was_learnt_from(trained, study):
    seen = trained.card["training"]["seen"]
    scans = load_scans(study, silent)
    samples = untouched_and_labelled(scans, SMALL.seed, silent)
    fold = dict(zip((s.patient for s in samples), fold_of_samples(samples, SMALL), strict=True))
    assert seen["patients"] == {identify_patient(p): k for p, k in fold.items()}
    learnt = {identify_slice(s.volume.hu[z]): fold[s.patient] for s in scans for z in np.flatnonzero(s.lungs.found)}
    assert seen["slices"] == learnt
    learnt_from = [s for s in scans if s.source is Source.AUTHENTIC and s.patient in fold]  # some show no lung
    known = {(s.scanner.manufacturer, s.scanner.model) for s in learnt_from}
    assert {tuple(scanner) for scanner in seen["scanners"]} == known
    assert not any(s.patient in json.dumps(seen) for s in scans)


@pytest.fixture(scope="module")
def trained_on_phantoms(tmp_path_factory) -> Trained:
    with pytest.MonkeyPatch.context() as patch:  # fewer slices than for the shipped model, to be quick
        patch.setattr(phantoms, "SPREAD", (2, 60.0))
        patch.setattr(phantoms, "CONTIGUOUS", 3)
        recipe = replace(SMALL, simulated_only=True, phantoms=6)
        return train(Path("nowhere"), tmp_path_factory.mktemp("simulated"), recipe)


def test_a_model_can_be_fitted_on_simulated_chests_alone(trained_on_phantoms):
    card, out = trained_on_phantoms.card, trained_on_phantoms.out
    assert set(card["training"]["data"]) == {"authentic", "forged", "varied"}
    assert card["training"]["data"]["authentic"]["patients"] == 6
    assert load_model("spectrum", out).calibration == card["calibration"]
    assert len(load_folds("spectrum", out)) == SMALL.folds
    assert not (out / "real_fakes_ledger.csv").exists()  # nobody looked at a real fake
    assert "evidence" not in card


def test_simulated_chests_take_no_part_in_what_real_scans_decide():
    scans = [make_scan("real", Scanner("ge", "x")), make_scan("simulated", Scanner("simulated", "1"), folder="phantom")]
    samples = [make_sample(s.patient, s.scanner, folder=s.folder) for s in scans]
    maps = {0: np.zeros(grid_shape(64, 64)), 1: np.ones(grid_shape(64, 64))}
    assert [w.patient for w in assemble_maps(scans, samples, maps)] == ["real"]
    assert [w.patient for w in assemble_maps(scans[1:], samples, maps)] == ["simulated"]


def test_too_few_simulated_chests_are_refused(tmp_path):
    with pytest.raises(UsageError, match="too few"):
        training.train_spectrum(tmp_path, tmp_path / "out", replace(SMALL, simulated_only=True, phantoms=3), silent)
