"""Benign processing changes what it says and nothing else: pixels, geometry, sizes with known answers."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from detect.volumes import make_volume
from pydicom.encaps import generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless
from scipy import ndimage

from verict.ct.discover import find_series
from verict.ct.lungs import LungRegion, find_lungs
from verict.ct.read import read_series
from verict.ct.volume import CTVolume
from verict.ct.write import SeriesHeader, write_series
from verict.detect.spectrum import SpectrumDetector
from verict.errors import InputError, UsageError
from verict.evaluation.benign import PROCESSINGS, process
from verict.evaluation.jpeg_extended import LUMINANCE, find_table, pass_through, scaled_table

EACH = [(p.name, strength) for p in PROCESSINGS for strength in p.strengths]


def make_scene(count: int = 12, *, step_mm: float = 1.0, size: int = 96, seed: int = 3) -> CTVolume:
    """Soft tissue with noise around lung with one bright ball, oblique in the patient."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    lung = np.hypot(y - size / 2, x - size / 2) < size * 0.35
    hu = np.where(lung, -850.0, 40.0) + np.zeros((count, 1, 1))
    z = np.arange(count)[:, None, None]
    hu += 900 * np.exp(-((y - 40) ** 2 + (x - 56) ** 2 + ((z - 5) * step_mm) ** 2) / (2 * 3.0**2))
    hu += ndimage.gaussian_filter(rng.normal(0, 60, hu.shape), (0, 0.8, 0.8))
    tilt = np.radians(20)
    return make_volume(
        np.arange(count) * step_mm,
        hu=np.rint(hu).astype(np.int16),
        thickness_mm=step_mm,
        row_direction=(np.cos(tilt), np.sin(tilt), 0),
        column_direction=(-np.sin(tilt), np.cos(tilt), 0),
    )


def peak_mm(volume: CTVolume) -> np.ndarray:
    """Patient position of the ball's middle: the mean of what stands out of the lung, weighted."""
    smooth = ndimage.gaussian_filter(volume.hu.astype(float), (0, 1, 1))
    _, y, x = np.unravel_index(np.argmax(np.where(_disc(volume), smooth, -9e9)), volume.hu.shape)
    reach = round(6 / volume.spacing_mm[1])
    box = np.s_[:, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
    weight = np.clip(volume.hu[box] + 600.0, 0, None)
    centre = ndimage.center_of_mass(weight)
    return np.array(volume.to_patient_mm(centre[0], centre[1] + box[1].start, centre[2] + box[2].start))


def _disc(volume: CTVolume) -> np.ndarray:
    height, width = volume.hu.shape[1:]
    y, x = np.mgrid[:height, :width]
    return np.broadcast_to(np.hypot(y - height / 2, x - width / 2) < height * 0.25, volume.hu.shape)


# --- every processing ---


@pytest.mark.parametrize("name", [p.name for p in PROCESSINGS])
def test_strength_zero_is_the_series_itself(name):
    volume = make_scene()
    clean = process(volume, name, 0)
    assert clean.hu is volume.hu
    assert np.array_equal(clean.origins_mm, volume.origins_mm)


@pytest.mark.parametrize(("name", "strength"), EACH)
def test_geometry_fits_the_pixels_and_structures_stay_where_they_were(name, strength):
    volume = make_scene()
    done = process(volume, name, strength)
    assert done.hu.dtype == volume.hu.dtype
    assert len(done.origins_mm) == done.slice_count == len(done.sop_instance_uids) == len(done.frame_numbers)
    assert len(done.source_files) == done.slice_count
    assert done.headers == ()
    assert np.diff(done.positions_mm) == pytest.approx(done.spacing_mm[0])
    np.testing.assert_allclose(done.normal, volume.normal, atol=1e-12)
    np.testing.assert_allclose(peak_mm(done), peak_mm(volume), atol=0.35 if name != "reslice" else 0.7)


@pytest.mark.parametrize(("name", "strength"), EACH)
def test_the_same_call_gives_the_same_pixels_and_leaves_its_input_alone(name, strength):
    volume = make_scene(6)
    before = volume.hu.copy()
    assert np.array_equal(process(volume, name, strength).hu, process(volume, name, strength).hu)
    assert np.array_equal(volume.hu, before)


def test_wrong_names_and_strengths_are_refused_with_words():
    volume = make_scene(4)
    with pytest.raises(UsageError, match="sharpen"):
        process(volume, "sharpem", 1)
    for name, strength in (("jpeg", 0.5), ("smooth", 101), ("lossless", 3), ("clip12", 2), ("matrix", 100.5),
                           ("rotate", float("nan")), ("sharpen", -1)):  # fmt: skip
        with pytest.raises(UsageError):
            process(volume, name, strength)


# --- lossless ---


@pytest.mark.parametrize("strength", [1, 2])
def test_lossless_leaves_every_pixel_also_below_12_bits(strength):
    volume = make_scene(3)
    volume.hu[0, :9, :9] = -3024
    assert np.array_equal(process(volume, "lossless", strength).hu, volume.hu)
    with pytest.raises(InputError, match="whole HU"):
        process(replace(volume, hu=volume.hu + np.float32(0.5)), "lossless", strength)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_lossless_recompression_of_files_gives_the_identical_map(tmp_path, syntax):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256]
    lung = np.minimum(np.hypot((y - 128) / 1.4, x - 80), np.hypot((y - 128) / 1.4, x - 176)) < 38
    body = np.hypot(y - 128, (x - 128) / 1.25) < 100
    hu = np.where(lung, -850.0, np.where(body, 40.0, -1000.0)) + np.zeros((4, 1, 1))
    hu += ndimage.gaussian_filter(rng.normal(0, 70, hu.shape), (0, 0.8, 0.8))
    write_series(hu, tmp_path / "plain", spacing_mm=(2.0, 1.3, 1.3), header=SeriesHeader(uid_seed="benign"))
    (tmp_path / "coded").mkdir()
    for file in sorted((tmp_path / "plain").glob("*.dcm")):
        dataset = pydicom.dcmread(file)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(tmp_path / "coded" / file.name)
    plain, coded = (read_series(find_series(tmp_path / name).series[0]) for name in ("plain", "coded"))
    assert np.array_equal(plain.hu, coded.hu)
    maps = []
    for volume in (plain, coded):
        maps.append(SpectrumDetector().examine(volume.without_headers(), find_lungs(volume)).score_map.values)
    assert np.isfinite(maps[0]).any()
    np.testing.assert_array_equal(maps[0], maps[1])


# --- with loss ---


@pytest.mark.parametrize("name", ["jpeg2000", "jpeg"])
def test_more_compression_loses_more(name):
    volume = make_scene(3)
    loss = [float(np.square(process(volume, name, r).hu - volume.hu.astype(float)).mean()) for r in (5, 10, 20)]
    assert 0 < loss[0] < loss[1] < loss[2]


def test_jpeg_of_a_flat_block_keeps_its_value_and_steps_are_the_tables():
    decoded, size = pass_through(np.full((16, 16), 1000), scaled_table(1.0))
    assert np.abs(decoded - 1000).max() <= 1  # a step of 16 in a block's first coefficient is 2 in its pixels
    assert size < 8
    assert np.array_equal(scaled_table(0.01), np.ones((8, 8), int))
    assert np.array_equal(scaled_table(1.0), LUMINANCE)


def test_jpeg_comes_near_the_ratio_asked_for():
    image = make_scene(1, size=128).hu[0].astype(int) + 1024
    for ratio in (4, 8, 16):
        _, size = pass_through(image, find_table(image, ratio))
        assert image.size * 1.5 / size == pytest.approx(ratio, rel=0.05)


@pytest.mark.parametrize("quality", [90, 50])
def test_jpeg_loses_what_the_codec_of_dcmtk_loses(tmp_path, dcmtk, quality):
    image = make_scene(1, size=128).hu
    (file,) = write_series(image, tmp_path / "plain", spacing_mm=(1, 0.7, 0.7))
    coded, back = tmp_path / "coded.dcm", tmp_path / "back.dcm"
    subprocess.run(["dcmcjpeg", "+ee", "+q", str(quality), "+bt", str(file), str(coded)], check=True)
    subprocess.run(["dcmdjpeg", str(coded), str(back)], check=True)
    decoded = pydicom.dcmread(back)
    theirs = decoded.pixel_array.astype(int)
    stored = image[0].astype(int) - int(decoded.RescaleIntercept)  # DCMTK moves the lowest value to where it likes
    assert decoded.RescaleSlope == 1
    scale = (200 - 2 * quality) / 100 if quality >= 50 else 50 / quality  # of the table, as libjpeg reads quality
    ours, size = pass_through(stored, np.maximum((LUMINANCE * round(scale * 100) + 50) // 100, 1))
    off = np.abs(ours - theirs)  # its transforms are of whole numbers: the last digit of many pixels is another
    assert (off <= 1).mean() > 0.92
    assert off.max() <= scaled_table(scale).max() / 2
    stream = next(generate_frames(pydicom.dcmread(coded).PixelData, number_of_frames=1))
    assert 0.9 * len(stream) < size < len(stream)  # which holds tables too


# --- geometry with known answers ---


def test_matrix_keeps_the_field_of_view_and_its_edges():
    volume = make_scene(2)
    for size in (48, 144):
        done = process(volume, "matrix", size)
        assert done.hu.shape == (2, size, size)
        assert done.spacing_mm[1] * size == pytest.approx(volume.spacing_mm[1] * 96)
        edge = [v.to_patient_mm(0, -0.5, -0.5) for v in (volume, done)]
        np.testing.assert_allclose(edge[0], edge[1], atol=1e-9)
    with pytest.raises(InputError, match="already"):
        process(volume, "matrix", 96)


def test_half_the_matrix_is_the_mean_of_four_pixels():
    volume = make_scene(1)
    mean = volume.hu[0].reshape(48, 2, 48, 2).mean(axis=(1, 3))
    assert np.abs(process(volume, "matrix", 48).hu[0] - mean).max() <= 0.51


def test_reslicing_averages_neighbours_and_stands_in_their_middle():
    volume = make_scene(11)
    done = process(volume, "reslice", 3)
    assert done.slice_count == 3
    assert (done.spacing_mm[0], done.slice_thickness_mm) == (3.0, 3.0)
    np.testing.assert_allclose(done.origins_mm, volume.origins_mm[[1, 4, 7]], atol=1e-9)
    assert np.abs(done.hu[1] - volume.hu[3:6].astype(float).mean(axis=0)).max() <= 0.51


def test_reslicing_weighs_a_slice_by_how_much_of_the_slab_it_covers():
    volume = make_scene(4, step_mm=2.0)
    done = process(volume, "reslice", 3)
    assert done.slice_count == 2
    hu = volume.hu.astype(float)
    assert np.abs(done.hu[0] - (2 * hu[0] + hu[1]) / 3).max() <= 0.51
    assert np.abs(done.hu[1] - (hu[1] + 2 * hu[2]) / 3).max() <= 0.51
    np.testing.assert_allclose(np.diff(done.positions_mm), 3)


def test_reslicing_never_crosses_a_gap_and_refuses_what_is_thick():
    volume = make_volume([*range(7), *range(20, 27)], thickness_mm=1.0)
    done = process(volume, "reslice", 3)
    assert done.positions_mm - volume.positions_mm[0] == pytest.approx([1, 4, 21, 24])
    with pytest.raises(InputError, match="thick already"):
        process(make_volume(np.arange(5) * 5.0, thickness_mm=5.0), "reslice", 3)
    with pytest.raises(InputError, match="as long"):
        process(make_volume([0, 1, 10, 11], thickness_mm=1.0), "reslice", 5)


def test_turning_back_gives_the_middle_again_and_directions_stay_square():
    volume = make_scene(1)
    done = process(volume, "rotate", 10)
    assert done.row_direction @ done.column_direction == pytest.approx(0, abs=1e-12)
    assert np.degrees(np.arccos(done.row_direction @ volume.row_direction)) == pytest.approx(10)
    middle = [v.to_patient_mm(0, 47.5, 47.5) for v in (volume, done)]
    np.testing.assert_allclose(middle[0], middle[1], atol=1e-9)


def test_smoothing_takes_noise_and_sharpening_adds_it_while_edges_stay():
    volume = make_scene(1)
    quiet = ndimage.binary_erosion(np.abs(ndimage.gaussian_filter(volume.hu[0].astype(float), 2) + 850) < 30,
                                   iterations=2)  # fmt: skip
    noise = [process(volume, "smooth", s).hu[0][quiet].std() for s in (0, 30, 50, 70)]
    assert noise[0] > noise[1] > noise[2] > noise[3] > 0.3 * noise[0]
    noise = [process(volume, "sharpen", s).hu[0][quiet].std() for s in (0, 0.5, 1, 1.5)]
    assert noise[0] < noise[1] < noise[2] < noise[3]
    wall = [process(volume, "smooth", s).hu[0][48, 5:25].astype(float) for s in (0, 70)]
    assert np.abs(np.diff(wall[1])).max() > 0.8 * np.abs(np.diff(wall[0])).max()


def test_clipping_touches_only_what_12_bits_cannot_hold():
    volume = make_scene(1)
    volume.hu[0, 0, :3] = (-2000, 3500, 100)
    done = process(volume, "clip12", 1)
    assert done.hu[0, 0, :3].tolist() == [-1024, 3071, 100]
    assert np.array_equal(done.hu[0, 1:], volume.hu[0, 1:])


def test_lungs_are_found_again_after_resampling(shared_data):
    from verict.datasets.scans import read_authentic_scans
    from verict.evaluation.probes import take_slices

    folder = shared_data / "authentic" / "petctdx-philips-B"
    scan = next(iter(read_authentic_scans(folder, lambda *_: None)))
    volume = take_slices(scan.volume, np.arange(30, 32))
    region: LungRegion = find_lungs(process(volume, "matrix", 256))
    share = region.mask.mean() / find_lungs(volume).mask.mean()
    assert share == pytest.approx(1, abs=0.1)
