"""A guise changes what it should and nothing else, and a place is found where it went."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluation.cheats import SIZE, Honest, make_authentic, make_scan, map_of
from pydicom.dataset import Dataset

from verict.ct.lungs import LungRegion
from verict.datasets.uci import SiteType
from verict.detect.evidence import Needs
from verict.evaluation.case import Case, Place, PlaceKind, Seen
from verict.evaluation.probes import (
    SHIFT_HU,
    Guise,
    PairedScore,
    disguise,
    guises_for,
    measure_probes,
    move_place,
    probe_scan,
    take_slices,
)
from verict.evaluation.subjects import make_subject

PIXELS = Needs(lungs=True)
THRESHOLDS = {"mark_threshold": 0.25}


@pytest.fixture(scope="module")
def scan():
    return make_scan(1, (SiteType.FB, None, SiteType.FM))


def make_case(scan) -> Case:
    return Case(make_subject(scan, 1), map_of(np.zeros(scan.volume.hu.shape)), THRESHOLDS, Seen.UNTRAINED)


@pytest.mark.parametrize("guise", list(Guise))
def test_a_place_is_found_where_its_pixel_went(scan, guise):
    hu, mask = np.zeros((2, SIZE, SIZE), np.int16), np.zeros((2, SIZE, SIZE), bool)
    place = Place(PlaceKind.FB, 1, 40, 70, 0.0)
    hu[1, 40, 70], mask[1, 40, 70] = 900, True
    plain = replace(take_slices(scan.volume, np.array([0, 2])), hu=hu)
    volume, lungs = disguise(plain, LungRegion(mask, mask.any(axis=(1, 2))), guise)
    y, x = move_place(place, guise, volume)
    assert volume.hu[1, y, x] >= 900
    assert lungs.mask[1, y, x]
    assert lungs.mask.sum() == 1
    assert lungs.found.tolist() == [False, True]
    assert volume.hu.dtype == np.int16


def test_the_mirror_moves_pixels_and_changes_none(scan):
    volume, lungs = disguise(scan.volume, scan.lungs, Guise.MIRRORED)
    assert np.array_equal(volume.hu[..., ::-1], scan.volume.hu)
    assert np.array_equal(lungs.mask[..., ::-1], scan.lungs.mask)
    assert volume.spacing_mm == scan.volume.spacing_mm


def test_no_slice_in_a_guise_is_one_that_was_seen(scan):
    for guise in (Guise.MIRRORED, Guise.SHIFTED):
        shown, _ = disguise(scan.volume, scan.lungs, guise)
        assert not any(np.array_equal(a, b) for a, b in zip(shown.hu, scan.volume.hu, strict=True))


def test_the_highest_value_does_not_wrap_around(scan):
    hu = np.full((1, SIZE, SIZE), np.iinfo(np.int16).max, np.int16)
    hu[0, 0, 0] = 5
    volume = replace(take_slices(scan.volume, np.array([0])), hu=hu)
    shown, _ = disguise(volume, LungRegion(hu > 0, np.array([True])), Guise.SHIFTED)
    assert shown.hu.max() == np.iinfo(np.int16).max
    assert shown.hu.min() == 5 + SHIFT_HU


def test_the_template_is_the_same_for_all_scans_and_tells_no_uid(scan):
    header = Dataset()
    header.PatientID, header.ImageComments, header.Manufacturer = "secret-1", "here", "maker"
    other = make_scan(9, (SiteType.FB, None, SiteType.FM))
    shown = [
        disguise(replace(s.volume, headers=(header,) * 3), s.lungs, Guise.TEMPLATE_HEADERS)[0] for s in (scan, other)
    ]
    assert shown[0].headers == shown[1].headers
    assert "secret-1" not in str(shown[0].headers)
    assert "ImageComments" not in shown[0].headers[0]
    assert set(shown[0].sop_instance_uids) == {""}
    assert np.array_equal(shown[0].hu, scan.volume.hu)


def test_headers_are_replaced_for_those_who_read_them_only():
    assert guises_for(PIXELS) == (Guise.MIRRORED, Guise.SHIFTED)
    assert Guise.TEMPLATE_HEADERS in guises_for(Needs(headers=True))


def test_only_labelled_slices_are_shown_again(scan):
    shown = []

    def examine(volume, lungs):
        shown.append(volume.slice_count)
        return Honest().score(volume, lungs)

    pairs = probe_scan(scan, make_case(scan), examine, PIXELS)
    assert shown == [2, 2, 2]
    assert set(pairs) == {Guise.MIRRORED, Guise.SHIFTED}
    assert len(pairs[Guise.MIRRORED]) == len(make_case(scan).subject.places)


def test_a_detector_that_compares_neighbours_is_shown_whole_runs(scan):
    close = replace(scan.volume, origins_mm=scan.volume.origins_mm * [1, 1, 0.01], spacing_mm=(1.0, 1.0, 1.0))
    near = replace(scan, volume=close)
    shown = []

    def examine(volume, lungs):
        shown.append(volume.slice_count)
        return Honest().score(volume, lungs)

    probe_scan(near, make_case(near), examine, Needs(lungs=True, neighbours=True))
    assert shown == [3, 3, 3]


def test_an_authentic_scan_is_not_shown_again():
    scan = make_authentic(1)[0]
    assert probe_scan(scan, make_case(scan), Honest().score, PIXELS) == {}


def test_scores_are_told_above_the_threshold_of_the_model_that_gave_them(scan):
    def examine(volume, lungs):
        return map_of(np.full(volume.hu.shape, 1.0))

    pairs = probe_scan(scan, make_case(scan), examine, PIXELS)[Guise.SHIFTED]
    assert {(p.as_is, p.in_guise) for p in pairs} == {(0.75, 0.75)}


def make_pairs(lost: bool) -> list[PairedScore]:
    rng = np.random.default_rng(0)
    pairs = []
    for i in range(60):
        kind = PlaceKind.FB if i % 3 == 0 else PlaceKind.NODULE if i % 3 == 1 else PlaceKind.BRIGHT
        score = rng.normal(4 if kind is PlaceKind.FB else 0)
        pairs.append(PairedScore(kind, f"p{i % 7}", score, rng.normal() if lost else score))
    return pairs


def test_what_a_guise_costs_is_measured_with_its_interval():
    measured = measure_probes({Guise.MIRRORED: make_pairs(True), Guise.SHIFTED: make_pairs(False)})
    lost, kept = (measured[g]["auc_lost"] for g in ("mirrored", "shifted"))
    assert lost.figure.low > 0.2
    assert lost.figure.value == pytest.approx(lost.about["auc_as_is"] - lost.about["auc_in_guise"])
    assert (kept.figure.value, kept.figure.low, kept.figure.high) == (0, 0, 0)
    assert (lost.figure.n, lost.negatives) == (20, 40)


def test_every_guise_is_in_the_tree_with_its_figure_or_the_reason():
    assert {g: measured["auc_lost"].reason for g, measured in measure_probes({}).items()} == {
        "mirrored": "no labelled place was shown in this guise",
        "shifted": "no labelled place was shown in this guise",
        "template_headers": "the detector is given no headers",
    }
    one_side = [p for p in make_pairs(True) if p.kind is PlaceKind.FB]
    assert "both needed" in measure_probes({Guise.MIRRORED: one_side})["mirrored"]["auc_lost"].reason
