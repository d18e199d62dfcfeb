"""The spectrum detector: pixels alone decide, bit for bit the same however a scan is handed over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from builders import make_series
from detect.volumes import make_lung_hu, make_lungs, make_volume
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from verict.ct.discover import find_series
from verict.ct.lungs import LungRegion, find_lungs
from verict.ct.read import read_series
from verict.ct.volume import CTVolume
from verict.datasets.sites import choose_negative_sites
from verict.datasets.uci import read_collection
from verict.detect.evidence import Evidence
from verict.detect.model import load_model
from verict.detect.spectrum import SpectrumDetector, score_slice, smooth_map
from verict.detect.spectrum_features import ORIGIN_PX, STRIDE_PX, grid_shape, slice_features

SLICES, SIZE = 5, 160


def scan_of(hu: np.ndarray) -> tuple[CTVolume, LungRegion]:
    """A volume of bare lung whose lung region is a disc in every slice."""
    y, x = np.ogrid[: hu.shape[1], : hu.shape[2]]
    mask = np.hypot(y - hu.shape[1] / 2, x - hu.shape[2] / 2) < 70
    return make_volume(0, hu=hu), make_lungs(np.broadcast_to(mask, hu.shape).copy())


def examine(volume: CTVolume, lungs: LungRegion | None, workers: int | None = 1) -> Evidence:
    return SpectrumDetector().examine(volume, lungs, workers=workers)


def map_of(path: Path) -> np.ndarray:
    (files,) = find_series(path).series
    volume = read_series(files)
    return examine(volume.without_headers(), find_lungs(volume)).score_map.values


@pytest.fixture(scope="module")
def hu() -> np.ndarray:
    image = make_lung_hu((SLICES, SIZE, SIZE))
    image[2, 60:100, 60:100] += np.random.default_rng(1).normal(0, 30, (40, 40)).astype(np.int16)
    return image


@pytest.fixture(scope="module")
def values(hu) -> np.ndarray:
    return examine(*scan_of(hu)).score_map.values


def test_map_has_the_grid_of_its_slices(hu, values):
    evidence = examine(*scan_of(hu))
    assert values.shape == (SLICES, *grid_shape(SIZE, SIZE))
    assert values.dtype == np.float32
    assert (evidence.score_map.stride_px, evidence.score_map.origin_px) == (STRIDE_PX, ORIGIN_PX)
    model = load_model("spectrum")
    assert (evidence.detector, evidence.card) == ("spectrum", model.card)
    assert evidence.mark_threshold == model.calibration["mark_threshold"]
    assert evidence.words
    assert not evidence.notes


def test_scores_are_given_in_the_lungs_only(hu, values):
    _, lungs = scan_of(hu)
    first = int(ORIGIN_PX + 0.5)
    rows, columns = grid_shape(SIZE, SIZE)
    inside = lungs.mask[:, first::STRIDE_PX, first::STRIDE_PX][:, :rows, :columns]
    np.testing.assert_array_equal(np.isfinite(values), inside)


@pytest.mark.parametrize("workers", [2, 5, None])
def test_workers_do_not_change_a_bit(hu, values, workers):
    np.testing.assert_array_equal(examine(*scan_of(hu), workers=workers).score_map.values, values)


def test_slices_are_judged_one_by_one(hu, values):
    order = np.array([3, 0, 4, 2, 1])
    np.testing.assert_array_equal(examine(*scan_of(hu[order])).score_map.values, values[order])
    np.testing.assert_array_equal(examine(*scan_of(hu[2:3])).score_map.values[0], values[2])


def test_integer_and_float_pixels_score_alike(hu, values):
    np.testing.assert_array_equal(examine(*scan_of(hu.astype(np.float32))).score_map.values, values)


def test_headers_are_never_seen(hu, values):
    volume, lungs = scan_of(hu)
    header = pydicom.Dataset()
    header.Manufacturer, header.ConvolutionKernel, header.ImageComments = "FORGER", "FAKE", "this is fake"
    labelled = replace(
        volume,
        headers=(header,) * SLICES,
        series_instance_uid="1.9.9",
        study_instance_uid="1.9",
        sop_instance_uids=("1.9.9.9",) * SLICES,
        source_files=("fake.dcm",) * SLICES,
        slice_thickness_mm=77.0,
    )
    for same in (volume.without_headers(), labelled, labelled.without_headers()):
        np.testing.assert_array_equal(examine(same, lungs).score_map.values, values)
    assert not SpectrumDetector.needs.headers


def test_a_detector_holds_nothing_between_series(hu, values):
    detector = SpectrumDetector()
    detector.examine(*scan_of(make_lung_hu((2, 200, 120), seed=8)), workers=1)
    np.testing.assert_array_equal(detector.examine(*scan_of(hu), workers=1).score_map.values, values)


def test_another_model_may_be_given(hu):
    model = load_model("spectrum")
    card = model.card | {"calibration": dict.fromkeys(model.calibration, 1.5)}
    evidence = SpectrumDetector(replace(model, card=card)).examine(*scan_of(hu), workers=1)
    assert (evidence.mark_threshold, evidence.card) == (1.5, card)


def test_slices_with_too_little_lung_are_noted(hu):
    volume, lungs = scan_of(hu)
    lungs.mask[1] = False
    lungs.mask[1, 70:90, 70:90] = True  # a patch of nine windows at most
    lungs.mask[3] = False  # no lung at all: nothing to note
    evidence = examine(volume, make_lungs(lungs.mask))
    assert [(n.code, "1 slice" in n.message) for n in evidence.notes] == [("too_little_lung", True)]
    assert not np.isfinite(evidence.score_map.values[[1, 3]]).any()
    assert np.isfinite(evidence.score_map.values[[0, 2, 4]]).any()


def test_without_lungs_nothing_is_scored_and_that_is_said(hu):
    volume, _ = scan_of(hu)
    evidence = examine(volume, None)
    assert not np.isfinite(evidence.score_map.values).any()
    assert [n.code for n in evidence.notes] == ["no_lungs"]


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 31, 31), (1, 64, 64), (2, 40, 300)])
def test_odd_sizes_give_a_map(shape):
    volume = make_volume(0, hu=np.full(shape, -850, np.int16))
    evidence = examine(volume, make_lungs(np.ones(shape, bool)))
    assert evidence.score_map.values.shape == (shape[0], *grid_shape(*shape[1:]))


def test_training_and_scanning_make_the_same_features(hu, values):
    volume, lungs = scan_of(hu)
    model = load_model("spectrum")
    features = slice_features(hu[2], lungs.mask[2], volume.spacing_mm[1:])
    by_hand = smooth_map(features.to_map(model.score(features.values)))
    np.testing.assert_array_equal(by_hand, values[2])
    np.testing.assert_array_equal(score_slice(hu[2], lungs.mask[2], volume.spacing_mm[1:], model), values[2])


# --- smoothing ---


def test_smoothing_keeps_level_and_holes():
    cells = np.full((9, 9), 3.0, np.float32)
    cells[:, 6:] = np.nan
    cells[2, 2] = np.nan
    smooth = smooth_map(cells)
    np.testing.assert_array_equal(np.isnan(smooth), np.isnan(cells))
    np.testing.assert_allclose(smooth[np.isfinite(cells)], 3.0, rtol=1e-6)


def test_smoothing_spreads_to_all_sides_alike():
    cells = np.zeros((9, 9), np.float32)
    cells[4, 4] = 1.0
    smooth = smooth_map(cells)
    assert smooth.sum() == pytest.approx(1.0, rel=1e-5)
    for same in (smooth.T, smooth[::-1], smooth[:, ::-1]):
        np.testing.assert_allclose(same, smooth, atol=1e-7)
    assert smooth[4, 4] > smooth[4, 5] > smooth[5, 5] > 0


# --- files ---


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless])
def test_lossless_recompression_does_not_change_a_bit(tmp_path, syntax):
    settings = {"slices": 3, "rows": SIZE, "columns": SIZE, "spacing_mm": (3.0, 2.0, 2.0)}
    make_series(tmp_path / "plain", transfer_syntax=ExplicitVRLittleEndian, **settings)
    make_series(tmp_path / "packed", transfer_syntax=syntax, **settings)
    plain = map_of(tmp_path / "plain")
    assert np.isfinite(plain).any()
    np.testing.assert_array_equal(map_of(tmp_path / "packed"), plain)


def test_stored_values_do_not_matter_hounsfield_units_do(tmp_path):
    settings = {"slices": 3, "rows": SIZE, "columns": SIZE, "spacing_mm": (3.0, 2.0, 2.0)}
    make_series(tmp_path / "signed", **settings)
    make_series(tmp_path / "unsigned", signed=False, bits_stored=12, intercept=-1024, **settings)
    np.testing.assert_array_equal(map_of(tmp_path / "signed"), map_of(tmp_path / "unsigned"))


# --- real scans ---


def test_recompression_of_real_slices_does_not_change_a_bit(shared_data, tmp_path):
    source = sorted((shared_data / "authentic" / "petctdx-siemens-B70f").rglob("*.dcm"))[14:16]
    for name, unpack in (("packed", False), ("plain", True)):
        (tmp_path / name).mkdir()
        for file in source:
            dataset = pydicom.dcmread(file)
            assert dataset.file_meta.TransferSyntaxUID == JPEGLSLossless
            if unpack:
                dataset.decompress(decoding_plugin="pyjpegls", generate_instance_uid=False)
            dataset.save_as(tmp_path / name / file.name)
    packed = map_of(tmp_path / "packed")
    assert np.isfinite(packed).sum() > 100
    np.testing.assert_array_equal(map_of(tmp_path / "plain"), packed)


def test_real_fakes_stand_out_where_they_are_and_untouched_places_do_not(shared_data):
    """The shipped weights were fitted on these fakes: what they are worth is in the card, not here.

    Eleven real fakes; where each was painted, the map must be among the highest hundredth of its slice. Places
    that nobody painted, in the same slices, must not be.
    """
    collection = read_collection(shared_data / "ctgan")
    rows = [r for r in collection.rows if r.type.is_tampered][::5]
    painted, untouched = [], []
    for row in rows:
        volume = read_series(find_series(collection.file_of(row)).series[0])
        lungs = find_lungs(volume)
        values = examine(volume.without_headers(), lungs).score_map.values[0]
        limit = np.nanquantile(values, 0.99)
        here = np.array([[row.y, row.x]]) * volume.spacing_mm[1:]
        rng = np.random.default_rng(0)
        sites = choose_negative_sites(volume.hu[0], lungs.mask[0], volume.spacing_mm[1:], here, rng)
        painted.append(highest_near(values, volume.spacing_mm, row.y, row.x) >= limit)
        untouched += [highest_near(values, volume.spacing_mm, s.y, s.x) >= limit for s in sites]
    assert len(painted) == 11
    assert sum(painted) >= 10
    assert len(untouched) > 11
    assert np.mean(untouched) < 0.25


def highest_near(values: np.ndarray, spacing_mm: tuple[float, float, float], y: float, x: float) -> float:
    """Highest score of a map within 10 mm of a pixel; NaN where it is undefined there."""
    rows, columns = np.indices(values.shape) * STRIDE_PX + ORIGIN_PX
    near = values[np.hypot((rows - y) * spacing_mm[1], (columns - x) * spacing_mm[2]) <= 10]
    return float(np.nanmax(near)) if np.isfinite(near).any() else np.nan
