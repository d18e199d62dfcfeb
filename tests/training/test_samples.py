"""Samples: how far each window is from paint, and forgeries that their seed decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from training.studies import copy_small_study, labels_of

from verict.datasets.scans import Source
from verict.detect.spectrum_features import ORIGIN_PX, STRIDE_PX, slice_features
from verict.errors import DatasetError
from verict.training.samples import (
    AUTHENTIC,
    CLEAN_MM,
    REAL_FAKES,
    Scan,
    distance_mm,
    load_scans,
    simulate_forgeries,
    simulate_scanners,
    untouched_and_labelled,
    vary_scanner,
)

SPACING = (0.7, 0.9)


def silent(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.fixture(scope="module")
def study(shared_data, tmp_path_factory) -> Path:
    return copy_small_study(shared_data, tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def scans(study) -> list[Scan]:
    return load_scans(study, silent)


@pytest.fixture(scope="module")
def samples(scans):
    return untouched_and_labelled(scans, 7, silent)


@pytest.fixture(scope="module")
def forged(scans):
    return simulate_forgeries(scans, 16, 7, silent)


def far_from(sample, y: float, x: float) -> np.ndarray:
    """(n,) distance of a sample's windows to a pixel in mm, by hand."""
    dy = (ORIGIN_PX + STRIDE_PX * sample.features.rows - y) * sample.spacing_mm[0]
    dx = (ORIGIN_PX + STRIDE_PX * sample.features.columns - x) * sample.spacing_mm[1]
    return np.sqrt(dy**2 + dx**2)


def test_distance_is_to_the_nearest_point():
    features = slice_features(np.full((128, 160), -850, np.int16), np.ones((128, 160), bool), SPACING)
    points = np.array([[10.0, 20.0], [60.0, 90.0]])
    expected = [
        min(np.hypot((15.5 + 8 * r) * 0.7 - y, (15.5 + 8 * c) * 0.9 - x) for y, x in points)
        for r, c in zip(features.rows, features.columns, strict=True)
    ]
    np.testing.assert_allclose(distance_mm(features, points, SPACING), expected)
    assert np.isinf(distance_mm(features, points[:0], SPACING)).all()


def test_every_series_and_fake_is_loaded_once(study, scans):
    files = [f for s in scans for f in s.volume.source_files]
    assert len(files) == len(list(study.rglob("*.dcm")))
    assert {s.source for s in scans} == set(Source)
    siemens = [s for s in scans if s.folder.startswith("petctdx-siemens")]
    assert len({s.patient for s in siemens}) == 1  # two kernels of one acquisition


def test_no_window_near_a_label_is_called_clean(study, samples):
    """The labels as the table has them, read without verict; the distance by hand."""
    labels = labels_of(study)
    fakes = [s for s in samples if s.source == REAL_FAKES]
    assert len(fakes) >= 6
    painted = 0
    for sample in fakes:
        own = [r for r in labels if f"uci:{r['uuid']}" == sample.patient]
        here = [p for p in sample.places if p.kind in ("FB", "FM")]
        assert here
        distances = [far_from(sample, p.y, p.x) for p in here]
        nearest = np.min(distances, axis=0)
        assert nearest[sample.painted_mm >= CLEAN_MM].min() >= CLEAN_MM
        np.testing.assert_allclose(nearest[sample.painted_mm < 7], sample.painted_mm[sample.painted_mm < 7])
        painted += (sample.painted_mm < 7).sum()
        assert {(p.y, p.x) for p in here} <= {(int(r["y"]), int(r["x"])) for r in own}
    assert painted >= len(fakes)


def test_authentic_slices_are_clean_everywhere_and_have_no_labels(samples):
    authentic = [s for s in samples if s.source == AUTHENTIC]
    assert all(np.isinf(s.painted_mm).all() for s in authentic)
    assert not {p.kind for s in authentic for p in s.places} & {"FB", "FM"}


def test_negative_places_of_fakes_lie_far_from_their_labels(samples):
    for sample in (s for s in samples if s.source == REAL_FAKES):
        labels = [p for p in sample.places if p.kind in ("FB", "FM")]
        for place in sample.places:
            if place.kind not in ("FB", "FM"):
                for label in labels:
                    apart = np.hypot(
                        (place.y - label.y) * sample.spacing_mm[0], (place.x - label.x) * sample.spacing_mm[1]
                    )
                    assert apart >= CLEAN_MM


def test_content_of_a_place_is_its_blurred_hu_and_nothing_else(scans, samples):
    by_series = {s.volume.series_instance_uid: s for s in scans}
    for sample in samples[::4]:
        hu = by_series[sample.series].volume.hu[sample.z].astype(float)
        blurred = ndimage.gaussian_filter(hu, 2.5, truncate=8 / 2.5, mode="nearest")
        assert sample.places
        for place in sample.places:
            assert place.centre_hu == pytest.approx(blurred[place.y, place.x], abs=0.5)


def test_a_forgery_is_painted_where_it_says(scans, forged):
    assert len(forged) >= 12
    for sample in forged:
        (place,) = sample.places
        near = sample.painted_mm < 7
        np.testing.assert_allclose(sample.painted_mm[near], far_from(sample, place.y, place.x)[near])
        assert sample.kind in ("inject", "remove")
        assert sample.touch_up in ("none", "white", "zoomed", "copied")
        assert sample.patient in {s.patient for s in scans}


@pytest.mark.parametrize("simulate", [simulate_forgeries, simulate_scanners])
def test_what_is_made_of_real_fakes_slices_keeps_clear_of_their_labels(study, scans, simulate):
    """The label's own paint is neither clean nor the forgery that was made."""
    fakes = {s.volume.series_instance_uid: s for s in scans if s.source is Source.LABELLED}
    labels = {(f"uci:{r['uuid']}", int(r["slice"])): (int(r["y"]), int(r["x"])) for r in labels_of(study)}
    made = simulate(list(fakes.values()), 12, 3, silent)
    assert len(made) >= 6
    for sample in made:
        number = int(Path(fakes[sample.series].volume.source_files[sample.z]).stem)
        label = labels[sample.patient, number]
        from_label = far_from(sample, *label)
        assert sample.painted_mm[from_label < CLEAN_MM].max(initial=0) < CLEAN_MM
        assert sample.painted_mm[from_label < 20].min(initial=np.inf) >= 20
        for place in sample.places:
            apart = np.hypot(*(np.subtract((place.y, place.x), label) * sample.spacing_mm))
            assert apart > CLEAN_MM


def assert_same(first, second) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert (a.series, a.z, a.kind, a.touch_up, a.places) == (b.series, b.z, b.kind, b.touch_up, b.places)
        np.testing.assert_array_equal(a.features.values, b.features.values)
        np.testing.assert_array_equal(a.painted_mm, b.painted_mm)


def test_the_seed_decides_what_is_forged(scans, forged):
    assert_same(simulate_forgeries(scans, 16, 7, silent), forged)
    other = simulate_forgeries(scans, 16, 8, silent)
    assert [(s.series, s.places) for s in other] != [(s.series, s.places) for s in forged]


def test_the_seed_decides_which_scanners_are_shown(scans):
    first = simulate_scanners(scans, 5, 7, silent)
    assert_same(simulate_scanners(scans, 5, 7, silent), first)
    assert all((s.places, s.kind, s.touch_up) == ((), "", "") for s in first)


def test_another_scanner_changes_noise_and_not_anatomy(scans):
    hu = scans[0].volume.hu[0]
    varied = vary_scanner(hu, np.random.default_rng(0))
    assert (varied.dtype, varied.shape) == (np.dtype(np.int16), hu.shape)
    assert not np.array_equal(varied, hu)
    inside = scans[0].lungs.mask[0]
    blocks = [a[inside].astype(float).mean() for a in (hu, varied)]
    assert abs(blocks[0] - blocks[1]) < 5


@pytest.mark.parametrize("missing", ["authentic", "ctgan"])
def test_a_missing_collection_is_named(tmp_path, missing):
    for name in {"authentic", "ctgan"} - {missing}:
        (tmp_path / name).mkdir()
    with pytest.raises(DatasetError, match=missing):
        load_scans(tmp_path, silent)
