"""A whole run: the same result after an interruption, nothing done twice, and everything written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.small_collection import build_small_collection

from verict.benchmarks import run as module
from verict.benchmarks import store
from verict.benchmarks.detectors import list_cards
from verict.benchmarks.entries import CLASSIFY, Experiment, choose_detectors, choose_entries
from verict.benchmarks.fit import Tuning
from verict.benchmarks.run import Plan, check_plan, run_bench
from verict.benchmarks.table import describe
from verict.detect import registry
from verict.detect.four_classes import load_classes
from verict.errors import UsageError
from verict.evaluation import classes, fair

PUBLISHED = {"1005", "1009"}  # of the small collection: their namesakes are published fakes that models learnt from
CHEAP = ("majority", "content", "forest-middle", "boosted-label", "boosted-table")


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Path:
    return build_small_collection(tmp_path_factory.mktemp("small"))


@pytest.fixture
def plan(collection, tmp_path, require_extra) -> Plan:
    for name in ("sklearn", "torch", "pyarrow"):
        require_extra(name)
    return check_plan(Plan(Experiment.STUDENT, collection, tmp_path, models=CHEAP, folds=2, repeats=2))


def without_times(document: dict) -> dict:
    """Results without what a clock or the memory says."""
    models = [{k: v for k, v in model.items() if k != "cost"} for model in document["models"]]
    return {**{k: v for k, v in document.items() if k != "run"}, "models": models}


def find_units(folder: Path) -> list[Path]:
    return sorted(folder.rglob("folds/*/*/*.json"))


def test_a_run_that_was_stopped_goes_on_to_the_same_result(plan, tmp_path, monkeypatch):
    whole = run_bench(plan)
    stopped = replace(plan, out=tmp_path / "stopped")
    calls = iter(range(99))
    fit = module.run_fold

    def stop_at_the_seventh(*args, **options):
        if next(calls) == 7:
            raise KeyboardInterrupt
        return fit(*args, **options)

    monkeypatch.setattr(module, "run_fold", stop_at_the_seventh)
    with pytest.raises(KeyboardInterrupt):
        run_bench(stopped)
    assert len(find_units(stopped.out)) == 7
    assert all(json.loads(file.read_text()) for file in find_units(stopped.out))
    kept = {file: file.stat().st_mtime_ns for file in find_units(stopped.out)}
    monkeypatch.setattr(module, "run_fold", fit)
    resumed = run_bench(stopped)
    assert without_times(resumed.document) == without_times(whole.document)
    assert resumed.predictions == whole.predictions
    assert {file: file.stat().st_mtime_ns for file in kept} == kept, "finished folds are not done again"


def test_a_second_run_fits_nothing(plan, monkeypatch):
    first = run_bench(plan)
    monkeypatch.setattr(module, "run_fold", lambda *_, **__: pytest.fail("a fold was fitted again"))
    assert without_times(run_bench(plan).document) == without_times(first.document)


def test_other_settings_and_half_a_file_are_not_taken_for_finished(plan, monkeypatch):
    run_bench(plan)
    units = find_units(plan.out)
    units[0].write_text(units[0].read_text()[:50])
    fitted = []
    fit = module.run_fold
    monkeypatch.setattr(module, "run_fold", lambda *a, **o: fitted.append(1) or fit(*a, **o))
    run_bench(plan)
    assert len(fitted) == 1
    run_bench(replace(plan, seed=5))
    assert len(fitted) == 1 + len(units)


def test_what_needs_the_label_runs_only_where_it_is_shown(plan):
    models = {(m["protocol"], m["model"]): m for m in run_bench(plan).document["models"]}
    assert ("leaky", "boosted-label") in models
    assert ("clean", "boosted-label") not in models
    assert len(models) == 9


def test_no_patient_is_on_both_sides_of_a_clean_fold_on_disk(plan):
    prepared = module.prepare(plan.data, plan.out / "cache")
    run_bench(plan)
    for file in find_units(plan.out / "student"):
        if "clean" in file.parts:
            rows = json.loads(file.read_text())["rows"]
            judged = set(prepared.placed.patient[rows])
            others = set(np.delete(prepared.placed.patient, rows))
            assert judged.isdisjoint(others), file


def test_figures_gaps_and_run_are_in_the_document(plan):
    document = run_bench(plan).document
    assert document["schema"] == store.SCHEMA
    assert document["data"]["kinds"] == {"TB": 3, "TM": 4, "FB": 4, "FM": 3}
    assert document["data"]["unplaced"] == 3
    assert {gap["model"] for gap in document["gaps"]} == set(CHEAP) - {"boosted-label"}
    run = document["run"]
    assert run["options"]["seed"] == 0
    assert len(run["data_sha256"]) == 64
    assert run["libraries"]["torch"]
    assert str(plan.data) not in json.dumps(document)
    majority = next(m for m in document["models"] if m["model"] == "majority")
    assert majority["areas"]["removed"]["value"] == 0.5
    assert majority["n"] == 2 * 14
    json.dumps(document, allow_nan=False)


def test_networks_are_frozen_and_tuned(collection, tmp_path, require_extra):
    for name in ("sklearn", "torch", "monai", "pyarrow"):
        require_extra(name)
    plan = Plan(Experiment.COMPARATIVE, collection, tmp_path, protocol="clean", folds=2, repeats=1, copies=1,
                models=("resnet50-frozen", "densenet121-tuned"), init="random",
                tuning=Tuning(epochs=1, window_px=32))  # fmt: skip
    document = run_bench(check_plan(plan)).document
    assert [m["model"] for m in document["models"]] == ["resnet50-frozen", "densenet121-tuned"]
    assert all(0 <= m["macro_f1"]["value"] <= 1 for m in document["models"])
    assert document["gaps"] == []


def test_detectors_answer_at_the_same_places_and_go_on_where_they_were(collection, tmp_path, require_extra):
    require_extra("pyarrow")
    plan = check_plan(Plan(Experiment.DETECTORS, collection, tmp_path, protocol="both", models=("spectrum", CLASSIFY)))
    first = run_bench(plan)
    rows = {(m["protocol"], m["model"]): m for m in first.document["models"]}
    assert set(rows) == {(p, name) for p in ("leaky", "clean") for name in ("spectrum", CLASSIFY)}
    assert rows["clean", "spectrum"]["macro_f1"] is None
    assert rows["clean", CLASSIFY]["macro_f1"]["n"] == 14
    assert rows["clean", CLASSIFY]["areas"].keys() == rows["clean", "spectrum"]["areas"].keys()
    units = sorted(tmp_path.rglob("scans/*/*/*.json"))
    assert len(units) == 4 * 14
    assert [gap["model"] for gap in first.document["gaps"]] == [CLASSIFY]
    assert all(sum(m["seen"].values()) == 14 for m in first.document["models"])
    assert f"fitted on patients of {len(PUBLISHED)} of 14 scans" in describe(first.document)
    assert first.document["protocols"]["leaky"] == "the shipped models, whatever they were fitted on"
    times = [unit.stat().st_mtime_ns for unit in units]
    assert without_times(run_bench(plan).document) == without_times(first.document)
    assert [unit.stat().st_mtime_ns for unit in units] == times
    few = run_bench(replace(plan, scans=5)).document
    assert {m["rows"] for m in few["models"]} == {5}
    assert few["run"]["options"]["scans"] == 5


def test_the_shipped_models_judge_what_they_learnt_from_only_when_leaks_are_asked_for(
    collection, tmp_path, monkeypatch, require_extra
):
    """Three more patients pass for some that everything was fitted on, each in another fold."""
    require_extra("pyarrow")
    cards = [fair.enter(name).shipped.card for name in ("fusion", "nodule")] + [load_classes().card]
    known = [card["training"]["seen"]["patients"] for card in cards]
    by_fold = {known[0][name]: name for name in set(known[0]).intersection(*known)}
    taken = dict(zip(("uci:1001", "uci:1004", "uci:1006"), (by_fold[i] for i in (0, 1, 2)), strict=True))
    genuine = fair.identify_patient
    for place in (fair, classes):
        monkeypatch.setattr(place, "identify_patient", lambda patient: taken.get(patient) or genuine(patient))
    plan = check_plan(Plan(Experiment.DETECTORS, collection, tmp_path, protocol="both", models=(CLASSIFY,)))
    document = run_bench(plan).document
    seen = {m["protocol"]: m["seen"] for m in document["models"]}
    assert seen["clean"].get("out_of_fold") == seen["leaky"].get("in_sample") == 5
    (gap,) = document["gaps"]
    assert gap["macro_f1"]["n"] == document["data"]["patients"]
    tables = {p: {r["uuid"]: r["p_tb"] for r in run_bench(plan).predictions if r["protocol"] == p} for p in seen}
    differ = {uuid for uuid, share in tables["clean"].items() if share != tables["leaky"][uuid]}
    learnt = {"1001", "1004", "1006"}
    assert learnt <= differ <= learnt | PUBLISHED, "by other models where they learnt, by the same elsewhere"


def test_a_scan_is_judged_anew_when_any_model_changed():
    names = {name: fair.enter(name) for name in ("fusion", "localiser", "repeat")}
    fused, alone = (list_cards(names[name]) for name in ("fusion", "localiser"))
    folds = len(names["localiser"].folds)
    assert len(alone) == 1 + folds
    assert len(fused) == 3 * (1 + folds), "of the sum and of both members"
    assert len({card["sha256"] for card in alone}) == len(alone)
    assert all(card in fused for card in alone)
    assert list_cards(names["repeat"]) == []


def test_every_pixel_detector_is_among_the_models():
    others = {"header", "nodule"}  # one reads headers, the other says nothing of tampering
    assert choose_detectors(()) == (*(name for name in registry.names() if name not in others), CLASSIFY)
    with pytest.raises(UsageError, match="did you mean fusion"):
        choose_detectors(("fussion",))


def test_all_published_models_are_named():
    names = [entry.name for entry in choose_entries(Experiment.COMPARATIVE, ())]
    for network in ("densenet121", "densenet201", "resnet50", "resnet101", "vgg19"):
        assert {f"{network}-frozen", f"{network}-tuned"} <= set(names)
    assert {"svm", "forest", "tree", "content", "majority"} <= set(names)
    with pytest.raises(UsageError, match="did you mean ffnn"):
        choose_entries(Experiment.STUDENT, ("fnn",))
