"""Each scan is judged by the model that may judge it, and the model is not told whose scan it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluation.cheats import MARK, Detector, Noise, Snoop, make_scan, map_of
from pydicom.dataset import Dataset

from verict.ct.volume import Note
from verict.datasets.scans import Source, identify_patient, identify_slice, read_labelled_scans
from verict.datasets.splits import Scanner
from verict.datasets.uci import SiteType
from verict.detect.evidence import Evidence, Needs
from verict.detect.model import WEIGHTS, Model, load_folds, load_model
from verict.errors import InputError, UsageError
from verict.evaluation.case import Seen
from verict.evaluation.fair import Entrant, choose_model, enter, examine_blind, score_scan, show_volume
from verict.evaluation.subjects import make_subject

CALIBRATION = {"mark_threshold": 1.0, "decisive_threshold": 2.0, "run_mark_threshold": 3.0, "run_decisive_threshold": 4}


def make_model(name: str, seen: dict | None = None, mark: float = 1.0) -> Model:
    training = {} if seen is None else {"seen": seen}
    card = {"id": name, "sha256": name, "calibration": CALIBRATION | {"mark_threshold": mark}, "training": training}
    return Model(card, None)


def make_entrant(seen: dict | None, folds: int = 3) -> Entrant:
    models = tuple(make_model(f"fold {k}", seen, mark=10.0 + k) for k in range(folds))
    return Entrant("learned", lambda model: Learned(model), make_model("shipped", seen), models)


class Learned(Detector):
    """Its map is everywhere the mark threshold of the model it was given."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def score(self, volume, lungs):
        return map_of(np.full(volume.hu.shape, self.model.calibration["mark_threshold"]))


@pytest.fixture(scope="module")
def scan():
    return make_scan(1, (SiteType.FB, SiteType.FM))


def listed(scan, *, patient: int | None = None, first: int | None = None, second: int | None = None) -> dict:
    seen = {"patients": {identify_patient("another"): 0}, "slices": {"0" * 16: 0}}
    if patient is not None:
        seen["patients"][identify_patient(scan.patient)] = patient
    for z, fold in enumerate((first, second)):
        if fold is not None:
            seen["slices"][identify_slice(scan.volume.hu[z])] = fold
    return seen


@pytest.mark.parametrize(
    ("where", "model", "seen"),
    [
        ({}, "shipped", Seen.UNSEEN),
        ({"patient": 2}, "fold 2", Seen.OUT_OF_FOLD),
        ({"first": 1}, "fold 1", Seen.OUT_OF_FOLD),
        ({"second": 0}, "fold 0", Seen.OUT_OF_FOLD),
        ({"patient": 1, "first": 1, "second": 1}, "fold 1", Seen.OUT_OF_FOLD),
        ({"patient": 1, "second": 2}, "shipped", Seen.IN_SAMPLE),
        ({"first": 0, "second": 2}, "shipped", Seen.IN_SAMPLE),
        ({"patient": 3}, "shipped", Seen.IN_SAMPLE),
        ({"patient": -1}, "shipped", Seen.IN_SAMPLE),
    ],
)
def test_a_listed_scan_is_judged_by_the_model_that_did_not_see_it(scan, where, model, seen):
    chosen, told = choose_model(make_entrant(listed(scan, **where)), scan)
    assert (chosen.card["id"], told) == (model, seen)


def test_a_new_patient_of_a_known_scanner_is_told_as_such(scan):
    ge, told, untold = Scanner("ge", "a"), Scanner("siemens", "b"), Scanner("", "")
    for known, own, seen in (([["ge", "a"]], ge, Seen.SCANNER_SEEN), ([["ge", "a"]], told, Seen.UNSEEN),
                             ([["ge", "a"]], untold, Seen.SCANNER_SEEN), ([], ge, Seen.UNSEEN)):  # fmt: skip
        entrant = make_entrant(listed(scan) | {"scanners": known})
        untouched = replace(scan, source=Source.AUTHENTIC, scanner=own)
        assert choose_model(entrant, untouched) == (entrant.shipped, seen)
        assert choose_model(entrant, replace(untouched, source=Source.LABELLED))[1] is Seen.UNSEEN


def test_pixels_tell_a_scan_whose_patient_was_renamed(scan):
    entrant = make_entrant(listed(scan, patient=2, first=2, second=2))
    renamed = replace(scan, patient="somebody else")
    assert choose_model(entrant, renamed)[1] is Seen.OUT_OF_FOLD


def test_without_fold_models_a_listed_scan_is_in_sample(scan):
    assert choose_model(make_entrant(listed(scan, patient=0), folds=0), scan)[1] is Seen.IN_SAMPLE


def test_a_card_that_does_not_tell_what_it_saw_is_taken_to_have_seen_everything(scan):
    assert choose_model(make_entrant(None), scan)[1] is Seen.IN_SAMPLE


def test_what_was_never_fitted_saw_nothing(scan):
    assert choose_model(Entrant("noise", lambda _: Noise()), scan) == (None, Seen.UNTRAINED)


def test_map_and_thresholds_are_those_of_the_chosen_model(scan):
    case = score_scan(scan, make_subject(scan, 1), make_entrant(listed(scan, patient=2)))
    assert case.calibration == CALIBRATION | {"mark_threshold": 12.0}
    assert np.unique(case.score_map.values).tolist() == [12.0]
    assert case.seen is Seen.OUT_OF_FOLD


def test_without_a_model_the_detectors_own_threshold_marks_and_nothing_decides(scan):
    case = score_scan(scan, make_subject(scan, 1), Entrant("noise", lambda _: Noise()))
    assert case.calibration["mark_threshold"] == case.calibration["run_mark_threshold"] == MARK
    assert case.calibration["decisive_threshold"] == case.calibration["run_decisive_threshold"] == np.inf
    assert case.seen is Seen.UNTRAINED


def betrayed(scan):
    """The scan with its identity everywhere a volume has room for it."""
    header = Dataset()
    header.PatientID = "me"
    return replace(
        scan.volume,
        headers=(header,) * 2,
        notes=(Note("note", "it is me", ("1.2.3",)),),
        failures=(InputError("it is me"),),
        input_sha256="f" * 64,
        frame_numbers=(7, 8),
    )


def test_a_pixel_detector_finds_nothing_but_pixels_and_distances(scan):
    snoop = Snoop()
    examine_blind(snoop, betrayed(scan), scan.lungs)
    assert snoop.seen == []


def test_every_field_of_a_volume_that_could_tell_whose_it_is_is_neutral(scan):
    other = make_scan(2, (SiteType.FB, SiteType.FM))
    shown, beside = show_volume(betrayed(scan)), show_volume(replace(other.volume, hu=scan.volume.hu))
    for name in type(shown).__dataclass_fields__:
        assert np.array_equal(getattr(shown, name), getattr(beside, name)), name
    assert shown.positions_mm.tolist() == [0.0, 100.0]


def test_headers_go_to_a_detector_that_needs_them(scan):
    class Reader(Noise):
        needs = Needs(headers=True)

        def score(self, volume, lungs):
            assert [h.PatientID for h in volume.headers] == ["me", "me"]
            assert lungs is None
            return super().score(volume, lungs)

    examine_blind(Reader(), betrayed(scan), scan.lungs)


@pytest.mark.parametrize("needs", [Needs(lungs=True), Needs(lungs=True, headers=True)])
def test_a_detector_cannot_change_what_the_next_one_is_shown(scan, needs):
    class Eraser(Noise):
        def score(self, volume, lungs):
            for array in (volume.hu, lungs.mask, lungs.found):
                with pytest.raises(ValueError, match="read-only"):
                    array[0] = 0
            return super().score(volume, lungs)

    Eraser.needs = needs
    before = scan.volume.hu.copy()
    examine_blind(Eraser(), scan.volume, scan.lungs)
    assert np.array_equal(scan.volume.hu, before)
    assert scan.volume.hu.flags.writeable


def test_a_detector_without_a_map_is_refused(scan):
    class Silent(Detector):
        def examine(self, volume, lungs, *, workers=None):
            return Evidence(self.name)

    with pytest.raises(UsageError, match="no score map"):
        examine_blind(Silent(), scan.volume, scan.lungs)


def test_a_map_of_another_volume_is_refused(scan):
    class Short(Noise):
        def score(self, volume, lungs):
            whole = super().score(volume, lungs)
            return replace(whole, values=whole.values[:1])

    with pytest.raises(UsageError, match="another volume"):
        examine_blind(Short(), scan.volume, scan.lungs)


def test_a_map_without_a_threshold_is_refused(scan):
    class Bare(Noise):
        def examine(self, volume, lungs, *, workers=None):
            return replace(super().examine(volume, lungs), mark_threshold=None)

    with pytest.raises(UsageError, match="no threshold"):
        score_scan(scan, make_subject(scan, 1), Entrant("bare", lambda _: Bare()))


def test_the_shipped_detectors_enter_with_their_models():
    spectrum = enter("spectrum")
    assert (spectrum.shipped, spectrum.folds) == (load_model("spectrum", WEIGHTS), load_folds("spectrum", WEIGHTS))
    assert spectrum.make(spectrum.folds[0]).model is spectrum.folds[0]
    header = enter("header")
    assert (header.shipped, header.folds) == (None, ())
    assert header.make(None).name == "header"


def test_an_unknown_detector_is_refused():
    with pytest.raises(UsageError, match="did you mean"):
        enter("spektrum")


def test_a_real_scan_the_shipped_model_learnt_from_is_judged_by_the_fold_that_did_not(shared_data):
    real = next(read_labelled_scans(shared_data / "ctgan", lambda *_: None))
    spectrum = enter("spectrum")
    model, seen = choose_model(spectrum, real)
    assert seen is Seen.OUT_OF_FOLD
    assert model in spectrum.folds
    assert choose_model(spectrum, replace(real, patient="somebody else")) == (model, seen)


def test_the_source_of_a_campaign_is_known_by_its_patient_and_its_scanner(scan):
    """Scans of a campaign keep their source's headers, so a model fitted on the source is found out."""
    forged = replace(scan, source=Source.LABELLED, of_campaign=True, scanner=Scanner("ge", "a"))
    entrant = make_entrant(listed(scan, patient=1))
    assert choose_model(entrant, forged) == (entrant.folds[1], Seen.OUT_OF_FOLD)
    entrant = make_entrant(listed(scan) | {"scanners": [["ge", "a"]]})
    assert choose_model(entrant, forged) == (entrant.shipped, Seen.SCANNER_SEEN)
    assert choose_model(entrant, replace(forged, of_campaign=False)) == (entrant.shipped, Seen.UNSEEN)
